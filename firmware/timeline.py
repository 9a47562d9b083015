"""Joins what depends on the calendar to a running site: clock, schedule, energy counters, event log.

Loaded when the site file has a "clock" or "storage" section, so that a site without them does not carry it.
"""

import asyncio
import time

from machine import RTC

from firmware import faults, zones
from firmware import image as im
from firmware.clock import Clock
from firmware.errors import ConfigError
from firmware.event_codes import Event
from firmware.events import Cursor
from firmware.records import Records
from firmware.timekeeper import OPTIONS as TIMEKEEPER_OPTIONS
from firmware.timekeeper import Timekeeper

_OWN_OPTIONS = (
    ("rtc_scl_pin", "int", -1, -1, 48, "GPIO of a DS3231's I2C clock; -1: there is none"),
    ("rtc_sda_pin", "int", -1, -1, 48, "GPIO of its I2C data"),
    ("ems_port", "int", 0, 0, 65535, "TCP port on which an EMS may read and set the clock over Modbus; 0: none"),
)
CLOCK_OPTIONS = (TIMEKEEPER_OPTIONS, _OWN_OPTIONS)
STORAGE_OPTIONS = (("place", "str", "data", 1, 64, "directory on the flash"),)
_TAKEN = "boot.py firmware lib main.py rom site.json"  # names of the board's own in its flash
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789_-."
_URGENT = (Event.EMERGENCY, Event.FAULT_RAISED)
_BOUND_S = 0x3FFFFFFF


def check_place(place: str, errors: list) -> None:
    """Add to `errors` why records cannot be kept in this directory: it must be one of their own, below the board's."""
    names = place.lower().split("/")
    for name in names:
        if not name or name.startswith(".") or any(letter not in _LETTERS for letter in name):
            errors.append("storage.place = %r: must be a name, or names with / between, of letters, digits, _ - and ." % place)
            return
    if names[0] in _TAKEN.split() or names[0].startswith("site.json"):
        errors.append("storage.place = %r: %s is the board's own; give another name, such as data" % (place, names[0]))


class Timeline:
    """clock, timekeeper and records of a site; `run` ticks them once a second."""

    def __init__(self, pm, clock_options: dict, place: str, name_server=None, turn=None) -> None:
        """ConfigError for an unknown time zone.  What was wrong with the stored files is in `problems`.

        name_server: a function that returns the address of the network's name server, "" while there is none; None: the
        site has no network, and nobody is asked for the time.  turn: awaited before each step of a save; None: not.
        """
        try:
            zone = zones.zone(clock_options["zone"])
        except ValueError as error:
            raise ConfigError(["clock.zone: %s" % error])
        self._pm = pm
        self.clock = pm.clock = Clock(zone, time.ticks_ms())
        if name_server is None:
            clock_options["ntp"] = ""
        self.timekeeper = Timekeeper(self.clock, clock_options, _chip(clock_options), RTC(), name_server)
        self.records = Records(place, pm.image, pm, pm.image.par[im.PAR_ENERGY], pm.fault_counts, pm.events.counts)
        self.problems = self.records.load()
        self.ems = None  # the Modbus server of the clock
        if clock_options["ems_port"]:
            from firmware.services.ems_clock import server

            self.ems = server(self.clock, clock_options["ems_port"])
        self._events = Cursor(pm.events.total)
        self._steps = 0
        self._turn = turn
        self.stores = 0  # steps of saves so far: each may erase flash

    def begin(self, reset_cause: int) -> None:
        """Log the boot, at once: the first write after it looks for free blocks, 0.2 s that control is spared."""
        self.records.log(self.clock, "BOOT", reset_cause, True)
        self.records.flush()

    async def run(self) -> None:
        """For ever, once a second."""
        while True:
            self.step()
            while self.log_one():
                await asyncio.sleep_ms(0)  # a line takes milliseconds: control comes between two of them
            for _ in self.records.steps(self.clock.elapsed_s):
                if self._turn is not None:
                    await self._turn()
                self.stores += 1
            await asyncio.sleep_ms(1000)

    def step(self) -> None:
        """Carry the clock on, run the schedule."""
        pm = self._pm
        clock = self.clock
        clock.tick(time.ticks_ms())
        if clock.steps != self._steps:
            self._steps = clock.steps
            pm.clock_was_set(max(-_BOUND_S, min(_BOUND_S, clock.step_s)))
        pm.run_schedule()

    def log_one(self) -> bool:
        """Log the oldest event that is not logged yet; False when there is none."""
        cursor = self._events
        if not self._pm.events.next(cursor):
            return False
        name = Event.name(cursor.event)
        if cursor.event in (Event.FAULT_RAISED, Event.FAULT_CLEARED):
            name += " " + faults.names(1 << cursor.data)[0]
        self.records.log(self.clock, name, cursor.data, cursor.event in _URGENT)
        return True

    def report(self) -> dict:
        """The clock's state, energy over the system's life, and the flash's wear."""
        return {
            "clock": self.clock.report(),
            "timekeeper": self.timekeeper.counters(),
            "energy": self.records.energy(),
            "faults": self.records.faults(),
            "flash": self.records.report(),
            "problems": self.problems,
        }


def _chip(options: dict):
    """The DS3231, if the site has one."""
    if options["rtc_scl_pin"] < 0 or options["rtc_sda_pin"] < 0:
        return None
    from ds3231 import DS3231  # few sites have one
    from machine import I2C, Pin

    return DS3231(I2C(0, scl=Pin(options["rtc_scl_pin"]), sda=Pin(options["rtc_sda_pin"])))
