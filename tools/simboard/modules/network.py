"""`network` for the simulated board: a station that joins the simulated access point; traffic uses the host's network.

SIM_WIFI_SSID and SIM_WIFI_PASSWORD name the access point (default: any name and password are right);
SIM_WIFI_MS is how long joining takes (default 200).  What is not the station itself is in sim_wlan.py.
"""

import time

import simlink

STA_IF = 0
AP_IF = 1


def __getattr__(name: str) -> object:
    return simlink.fetch("sim_wlan", name)


class WLAN:
    """Station (STA_IF) or access point (AP_IF)."""

    IF_STA = 0
    IF_AP = 1
    PM_NONE = 0
    PM_PERFORMANCE = 1
    PM_POWERSAVE = 2

    def __init__(self, interface: int = STA_IF) -> None:  # rare
        if interface not in (STA_IF, AP_IF):
            raise ValueError("interface %r (allowed: STA_IF, AP_IF)" % (interface,))
        self._active = False
        self._status = self._goal = 1000  # STAT_IDLE
        self._ready_ms = 0
        self._config = {}

    def active(self, on=None) -> bool:  # rare
        """Powers the interface."""
        if on is not None:
            self._active = bool(on)
            if not on:
                self._status = 1000  # STAT_IDLE
        return self._active

    def connect(self, ssid: str = "", key: str = "", *, bssid=None) -> None:  # rare
        """Starts joining; OSError when the interface is not active."""
        if not self._active:
            raise OSError("Wifi Not Started")
        self._goal, wait_ms = simlink.fetch("sim_wlan", "outcome")(ssid, key)
        self._config["ssid"] = ssid
        self._status = 1001  # STAT_CONNECTING
        self._ready_ms = time.ticks_add(time.ticks_ms(), wait_ms)

    def disconnect(self) -> None:  # rare
        """Leaves the access point."""
        self._status = 1000  # STAT_IDLE

    def status(self, what: str = ""):
        """One of STAT_*, or status("rssi") in dBm."""
        if what == "rssi":
            return -60
        if self._status == 1001 and time.ticks_diff(time.ticks_ms(), self._ready_ms) >= 0:
            self._status = self._goal
        return self._status

    def isconnected(self) -> bool:
        """True once there is an address."""
        return self.status() == 1010  # STAT_GOT_IP

    def ifconfig(self, settings=None) -> tuple:  # rare
        """(address, netmask, gateway, DNS); static settings are accepted."""
        if settings is not None and settings != "dhcp":
            self._config["static"] = tuple(settings)
        if not self.isconnected():
            return ("0.0.0.0", "0.0.0.0", "0.0.0.0", "0.0.0.0")
        return self._config.get("static", ("127.0.0.1", "255.0.0.0", "127.0.0.1", "127.0.0.1"))

    def config(self, *names, **settings):  # rare
        """Reads one setting by name, or sets several."""
        if names:
            if names[0] == "mac":
                return simlink.unique_id
            if names[0] in ("hostname", "dhcp_hostname"):
                return simlink.fetch("sim_wlan", "hostname")()
            return self._config.get(names[0])
        self._config.update(settings)
        return None

    def scan(self) -> list:  # rare
        """The one access point there is: (ssid, bssid, channel, rssi, security, hidden)."""
        return simlink.fetch("sim_wlan", "in_the_air")()
