"""What `network` has: fetched for the moment it is asked for, see network.py."""

import os
import time

import sim_pace
import simlink
from micropython import const

STA_IF = 0
AP_IF = 1
STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_GOT_IP = 1010
STAT_NO_AP_FOUND = 201
STAT_WRONG_PASSWORD = 202

_ACTIVE = const(0)  # places in an interface's list
_STATUS = const(1)
_GOAL = const(2)
_READY_MS = const(3)
_CONFIG = const(4)


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


class WLAN:
    """Station (STA_IF) or access point (AP_IF): all objects for one interface are that interface, as on the chip."""

    IF_STA = STA_IF
    IF_AP = AP_IF
    PM_NONE = 0
    PM_PERFORMANCE = 1
    PM_POWERSAVE = 2

    def __init__(self, interface: int = STA_IF) -> None:
        if interface not in (STA_IF, AP_IF):
            raise ValueError("interface %r (allowed: STA_IF, AP_IF)" % (interface,))
        if os.getenv("SIM_POOL"):
            sim_pace.off()
            try:
                simlink.fetch("sim_pool", "take_wifi", True)()  # the driver starts with its first object
            finally:
                sim_pace.on()
        self._state = simlink.interfaces.setdefault(interface, [False, STAT_IDLE, STAT_IDLE, 0, {}])

    def active(self, on=None) -> bool:
        """Powers the interface."""
        state = self._state
        if on is not None:
            state[_ACTIVE] = bool(on)
            if not on:
                state[_STATUS] = STAT_IDLE
        return state[_ACTIVE]

    def connect(self, ssid: str = "", key: str = "", *, bssid=None) -> None:
        """Starts joining; OSError when the interface is not active."""
        state = self._state
        if not state[_ACTIVE]:
            raise OSError("Wifi Not Started")
        known = os.getenv("SIM_WIFI_SSID")
        state[_GOAL] = STAT_GOT_IP
        if known is not None and ssid != known:
            state[_GOAL] = STAT_NO_AP_FOUND
        elif known is not None and key != (os.getenv("SIM_WIFI_PASSWORD") or ""):
            state[_GOAL] = STAT_WRONG_PASSWORD
        state[_STATUS] = STAT_CONNECTING
        state[_READY_MS] = time.ticks_add(time.ticks_ms(), int(os.getenv("SIM_WIFI_MS") or "200"))
        state[_CONFIG]["ssid"] = ssid

    def disconnect(self) -> None:
        """Leaves the access point."""
        self._state[_STATUS] = STAT_IDLE

    def status(self, what: str = ""):
        """One of STAT_*, or status("rssi") in dBm."""
        if what == "rssi":
            return -60
        state = self._state
        if state[_STATUS] == STAT_CONNECTING and time.ticks_diff(time.ticks_ms(), state[_READY_MS]) >= 0:
            state[_STATUS] = state[_GOAL]
        return state[_STATUS]

    def isconnected(self) -> bool:
        """True once there is an address."""
        return self.status() == STAT_GOT_IP

    def ifconfig(self, settings=None) -> tuple:
        """(address, netmask, gateway, DNS); static settings are accepted."""
        config = self._state[_CONFIG]
        if settings is not None and settings != "dhcp":
            config["static"] = tuple(settings)
        if not self.isconnected():
            return ("0.0.0.0", "0.0.0.0", "0.0.0.0", "0.0.0.0")
        return config.get("static", ("127.0.0.1", "255.0.0.0", "127.0.0.1", "127.0.0.1"))

    def config(self, *names, **settings):
        """Reads one setting by name, or sets several."""
        if names:
            if names[0] == "mac":
                return simlink.unique_id
            if names[0] in ("hostname", "dhcp_hostname"):
                return hostname()
            return self._state[_CONFIG].get(names[0])
        self._state[_CONFIG].update(settings)
        return None

    def scan(self) -> list:
        """The one access point there is: (ssid, bssid, channel, rssi, security, hidden)."""
        name = os.getenv("SIM_WIFI_SSID") or "simulated"
        return [(name.encode(), b"\x02\x00\x00\x00\x00\x01", 6, -60, 3, False)]
