"""`network` for the simulated board: a station that joins the simulated access point; traffic uses the host's network.

SIM_WIFI_SSID and SIM_WIFI_PASSWORD name the access point (default: any name and password are right);
SIM_WIFI_MS is how long joining takes (default 200).
"""

import os
import time

import simlink

STA_IF = 0
AP_IF = 1
STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_GOT_IP = 1010
STAT_NO_AP_FOUND = 201
STAT_WRONG_PASSWORD = 202

_hostname = "mpy-esp32"


def hostname(name: str = "") -> str:
    """The name given to DHCP and mDNS, or sets it (32 characters at most)."""
    global _hostname
    if name:
        if len(name) > 32:
            raise ValueError("hostname too long: %d characters (allowed: 32)" % len(name))
        _hostname = name
    return _hostname


def country(code: str = "XX") -> str:
    """Accepted and given back."""
    return code


class WLAN:
    """Station (STA_IF) or access point (AP_IF)."""

    IF_STA = STA_IF
    IF_AP = AP_IF
    PM_NONE = 0
    PM_PERFORMANCE = 1
    PM_POWERSAVE = 2

    def __init__(self, interface: int = STA_IF) -> None:
        if interface not in (STA_IF, AP_IF):
            raise ValueError("interface %r (allowed: STA_IF, AP_IF)" % (interface,))
        self._interface = interface
        self._active = False
        self._status = STAT_IDLE
        self._ready_ms = 0
        self._goal = STAT_IDLE
        self._config = {}

    def active(self, on=None) -> bool:
        """Powers the interface."""
        if on is not None:
            self._active = bool(on)
            if not on:
                self._status = STAT_IDLE
        return self._active

    def connect(self, ssid: str = "", key: str = "", *, bssid=None) -> None:
        """Starts joining; OSError when the interface is not active."""
        if not self._active:
            raise OSError("Wifi Not Started")
        known = os.getenv("SIM_WIFI_SSID")
        self._goal = STAT_GOT_IP
        if known is not None and ssid != known:
            self._goal = STAT_NO_AP_FOUND
        elif known is not None and key != (os.getenv("SIM_WIFI_PASSWORD") or ""):
            self._goal = STAT_WRONG_PASSWORD
        self._config["ssid"] = ssid
        self._status = STAT_CONNECTING
        self._ready_ms = time.ticks_add(time.ticks_ms(), int(os.getenv("SIM_WIFI_MS") or "200"))

    def disconnect(self) -> None:
        """Leaves the access point."""
        self._status = STAT_IDLE

    def status(self, what: str = ""):
        """One of STAT_*, or status("rssi") in dBm."""
        if what == "rssi":
            return -60
        if self._status == STAT_CONNECTING and time.ticks_diff(time.ticks_ms(), self._ready_ms) >= 0:
            self._status = self._goal
        return self._status

    def isconnected(self) -> bool:
        """True once there is an address."""
        return self.status() == STAT_GOT_IP

    def ifconfig(self, settings=None) -> tuple:
        """(address, netmask, gateway, DNS); static settings are accepted."""
        if settings is not None and settings != "dhcp":
            self._config["static"] = tuple(settings)
        if not self.isconnected():
            return ("0.0.0.0", "0.0.0.0", "0.0.0.0", "0.0.0.0")
        return self._config.get("static", ("127.0.0.1", "255.0.0.0", "127.0.0.1", "127.0.0.1"))

    def config(self, *names, **settings):
        """Reads one setting by name, or sets several."""
        if names:
            if names[0] == "mac":
                return simlink.unique_id
            if names[0] in ("hostname", "dhcp_hostname"):
                return hostname()
            return self._config.get(names[0])
        self._config.update(settings)
        return None

    def scan(self) -> list:
        """The one access point there is: (ssid, bssid, channel, rssi, security, hidden)."""
        name = os.getenv("SIM_WIFI_SSID") or "simulated"
        return [(name.encode(), b"\x02\x00\x00\x00\x00\x01", 6, -60, 3, False)]
