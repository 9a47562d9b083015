"""Keeps records on the flash: the schedule, energy and faults counted over the system's life, the log of events."""

import asyncio

import machine

from firmware import image as im
from firmware import reasons
from firmware.errors import ConfigError
from firmware.event_codes import Event
from firmware.events import Cursor
from firmware.records import Records

OPTIONS = (("place", "str", "data", 1, 64, "directory on the flash"),)
HEAP_BYTES = 17500
NEEDS = ("calendar",)
_TAKEN = "boot.py firmware lib main.py rom site.json"  # names of the board's own in its flash
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789_-."
_URGENT = (Event.EMERGENCY, Event.FAULT_RAISED)


def check_options(where: str, options: dict, errors: list) -> None:
    """Add to `errors` why records cannot be kept in this place: a directory of their own, below the board's."""
    if "place" not in options:
        return
    place = options["place"]
    names = place.lower().split("/")
    for name in names:
        if not name or name.startswith(".") or any(letter not in _LETTERS for letter in name):
            text = "%s.place = %r: must be a name, or names with / between, of letters, digits, _ - and ."
            errors.append(text % (where, place))
            return
    if names[0] in _TAKEN.split() or names[0].startswith("site.json"):
        errors.append("%s.place = %r: %s is the board's own; give another name, such as data" % (where, place, names[0]))


class Service:
    """The records of a site; `run` looks once a second what is to be kept.  People know it as `timeline`."""

    keeps = "safestore"  # records store with it: it stays when those leave that build a site

    def __init__(self, name: str, options: dict, pm, app) -> None:
        """ConfigError without a clock.  What was wrong with the stored files is in `problems`."""
        if pm.clock is None:
            raise ConfigError(["services.%s: there is no clock to keep records by" % name])
        self._pm = pm
        self._calendar = app.services.get("calendar")
        self._turn = app.metering.loop_time.turn
        self.records = Records(options["place"], pm.image, pm, pm.image.par[im.PAR_ENERGY], pm.fault_counts, pm.events.counts)
        self.problems = self.records.load()
        for problem in self.problems:
            print("storage: " + problem)
        self.names = {"timeline": self}
        self._events = Cursor(pm.events.total)
        self._steps = 0  # of saves so far: each may erase flash

    def begin(self) -> None:
        """Log the boot, at once: the first write after it looks for free blocks, 0.2 s that control is spared."""
        self.records.log(self._pm.clock, "BOOT", machine.reset_cause(), True)
        self.records.flush()

    @property
    def stores(self) -> int:
        """How often anything was stored to flash since boot."""
        return self._steps + self.records.wear.writes

    async def run(self) -> None:
        """For ever, once a second."""
        while True:
            while self.log_one():
                await asyncio.sleep_ms(0)  # a line takes milliseconds: control comes between two of them
            for _ in self.records.steps(self._pm.clock.elapsed_s):
                await self._turn()
                self._steps += 1
            await asyncio.sleep_ms(1000)

    def log_one(self) -> bool:
        """Log the oldest event that is not logged yet; False when there is none."""
        cursor = self._events
        if not self._pm.events.next(cursor):
            return False
        name = Event.name(cursor.event)
        if cursor.event in (Event.FAULT_RAISED, Event.FAULT_CLEARED):
            name += " " + str(reasons.event_data(cursor.event, cursor.data))
        self.records.log(self._pm.clock, name, cursor.data, cursor.event in _URGENT)
        return True

    def counters(self) -> dict:
        """Energy and faults over the system's life, the flash's wear, and what was wrong with what was stored."""
        records = self.records
        return {"energy": records.energy(), "faults": records.faults(), "flash": records.report(), "problems": self.problems}

    def report(self) -> dict:
        """The calendar's counters and these."""
        found = {} if self._calendar is None else self._calendar.counters()
        found.update(self.counters())
        return found
