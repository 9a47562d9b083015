"""The calendar: the site's clock with its time zone, who sets it, and the schedule that goes by it.

A site has it with a "clock" or "storage" section; one without them does not load it.
"""

import asyncio
import time

from machine import RTC
from micropython import const

from firmware import zones
from firmware.clock import Clock
from firmware.errors import ConfigError
from firmware.timekeeper import OPTIONS as TIMEKEEPER_OPTIONS
from firmware.timekeeper import Timekeeper

_OWN_OPTIONS = (
    ("rtc_scl_pin", "int", -1, -1, 48, "GPIO of a DS3231's I2C clock; -1: there is none"),
    ("rtc_sda_pin", "int", -1, -1, 48, "GPIO of its I2C data"),
    ("ems_port", "int", 0, 0, 65535, "TCP port on which an EMS may read and set the clock over Modbus; 0: none"),
)
OPTIONS = (TIMEKEEPER_OPTIONS, _OWN_OPTIONS)
HEAP_BYTES = 19500
_BOUND_S = const(0x3FFFFFFF)


class Service:
    """Clock and timekeeper of a site; `run` ticks them once a second."""

    def __init__(self, name: str, options: dict, pm, app) -> None:
        """ConfigError for an unknown time zone."""
        try:
            zone = zones.zone(options["zone"])
        except ValueError as error:
            raise ConfigError(["clock.zone: %s" % error])
        self._pm = pm
        self.clock = pm.clock = Clock(zone, time.ticks_ms())
        if app.site.name_server is None:  # no network: nobody is asked for the time
            options["ntp"] = ""
        self.timekeeper = Timekeeper(self.clock, options, _chip(options), RTC(), app.site.name_server)
        self.parts = {"timekeeper": self.timekeeper}
        self.names = {"clock": self.clock}
        self._steps = 0

    async def run(self) -> None:
        """For ever, once a second."""
        while True:
            self.step_on()
            await asyncio.sleep_ms(1000)

    def step_on(self) -> None:
        """Carry the clock on, run the schedule."""
        pm = self._pm
        clock = self.clock
        clock.tick(time.ticks_ms())
        steps = clock.steps
        if steps != self._steps:
            pm.clock_was_set(max(-_BOUND_S, min(_BOUND_S, clock.step_s)))
            self._steps = steps  # once it is told
        pm.run_schedule()

    def counters(self) -> dict:
        """The clock's state, and what the timekeeper counts."""
        return {"clock": self.clock.report(), "timekeeper": self.timekeeper.counters()}


def _chip(options: dict):
    """The DS3231, if the site has one."""
    if options["rtc_scl_pin"] < 0 or options["rtc_sda_pin"] < 0:
        return None
    from ds3231 import DS3231  # few sites have one
    from machine import I2C, Pin

    return DS3231(I2C(0, scl=Pin(options["rtc_scl_pin"]), sda=Pin(options["rtc_sda_pin"])))
