"""What `network` has besides the station: fetched for the moment it is asked for, see network.py."""

import os

import simlink

STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_GOT_IP = 1010
STAT_NO_AP_FOUND = 201
STAT_WRONG_PASSWORD = 202


def hostname(name: str = "") -> str:
    """The name given to DHCP and mDNS, or sets it (32 characters at most)."""
    if name:
        if len(name) > 32:
            raise ValueError("hostname too long: %d characters (allowed: 32)" % len(name))
        simlink.hostname = name
    return getattr(simlink, "hostname", "mpy-esp32")


def country(code: str = "XX") -> str:
    """Accepted and given back."""
    return code


def outcome(ssid: str, key: str) -> tuple:
    """What joining that network comes to (one of STAT_*), and after how many ms."""
    known = os.getenv("SIM_WIFI_SSID")
    status = STAT_GOT_IP
    if known is not None and ssid != known:
        status = STAT_NO_AP_FOUND
    elif known is not None and key != (os.getenv("SIM_WIFI_PASSWORD") or ""):
        status = STAT_WRONG_PASSWORD
    return status, int(os.getenv("SIM_WIFI_MS") or "200")


def in_the_air() -> list:
    """The one access point there is, as WLAN.scan gives it."""
    name = os.getenv("SIM_WIFI_SSID") or "simulated"
    return [(name.encode(), b"\x02\x00\x00\x00\x00\x01", 6, -60, 3, False)]
