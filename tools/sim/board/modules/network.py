"""`network` for the simulated board: a station that joins the simulated access point; traffic uses the host's network.

SIM_WIFI_SSID and SIM_WIFI_PASSWORD name the access point (default: any name and password are right);
SIM_WIFI_MS is how long joining takes (default 200).  All of it is in sim_wlan.py and leaves the heap when nobody holds it,
unless it is one of the instruments, mapped outside: what the interfaces know is kept in simlink.py.
"""

import sys

import simlink


def __getattr__(name: str) -> object:
    stays = "sim_import" in sys.modules  # with the instruments
    found = simlink.fetch("sim_wlan", name, stays)
    if stays:
        globals()[name] = found  # a look-up costs the chip nothing
    return found
