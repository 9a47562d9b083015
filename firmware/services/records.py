"""Keeps records on the flash: the schedule, energy and faults counted over the system's life, the log of events."""

import asyncio

import machine
import notice
from micropython import const

from firmware import faults, reasons
from firmware import image as im
from firmware.errors import ConfigError
from firmware.event_codes import Event
from firmware.events import Cursor
from firmware.records import ERROR, INFO, LEVELS, Records

OPTIONS = (
    ("place", "str", "data", 1, 64, "directory on the flash"),
    ("level", ("error", "warning", "info", "debug"), "info", 0, 0, "the least that the log keeps"),
)
HEAP_BYTES = 20000
NEEDS = ("calendar",)
# names of the board's own in its flash
_TAKEN = const("a b boot.py firmware generations.mpy image image.new incoming.mpy keys lib main.py rom site.json switch switch.new")
_LETTERS = const("abcdefghijklmnopqrstuvwxyz0123456789_-.")
_URGENT = (Event.EMERGENCY, Event.FAULT_RAISED)
_OF_EVENTS = const("IDIIIWIIWEIWIWIIIIWI")  # the level of each event, in the order of their codes; FAULT_RAISED: of a mere warning
# of what is said to people, which a device may do without end
_SAID_MOST = const(12)  # lines in
_SAID_S = const(600)
_SAID_LONG = const(160)  # characters of each
_PIECE = const(3000)  # characters of a log in one answer: the console cuts longer ones


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
        self._least = ("error", "warning", "info", "debug").index(options["level"])
        self._mild = faults.mask(4, faults.WARNING) | faults.mask(4, faults.INFO)
        self._site = app.site
        self._said = self._said_since = 0
        self.unsaid = 0  # lines for people that were too many for the log
        notice.keep = self.keep

    def begin(self) -> None:
        """Log the boot, at once: the first write after it looks for free blocks, 0.2 s that control is spared."""
        self.records.log(self._pm.clock, "BOOT", machine.reset_cause(), True)
        self.records.flush()

    @property
    def stores(self) -> int:
        """How often anything was stored to flash since boot."""
        return self._steps + self.records.wear.writes

    async def run(self) -> None:
        """For ever, once a second, and behind a save at once: what is urgent may have come meanwhile."""
        while True:
            while self.log_one():
                await asyncio.sleep_ms(0)  # a line takes milliseconds: control comes between two of them
            before = self._steps
            for _ in self.records.steps(self._pm.clock.elapsed_s):
                await self._turn()
                self._steps += 1
            if self._steps == before:
                await asyncio.sleep_ms(1000)

    def last_steps(self):
        """At the end of the program: log what has happened, save what waits.  Stops before each step; OSError if it could not."""
        while self.log_one():
            yield
        yield from self.records.flushing()
        if self.records.unsaved:
            raise OSError(self.records.unsaved)

    def log_one(self) -> bool:
        """Log the oldest event that is not logged yet; False when there is none, or no heap for it."""
        cursor = self._events
        if not self._pm.events.next(cursor):
            return False
        try:
            self._log_event(cursor.event, cursor.data)
        except MemoryError:  # it is the oldest still: a second later it may fit
            cursor.at = (cursor.at - 1) & 0x3FFFFFFF
            return False
        return True

    def _log_event(self, event: int, data: int) -> None:
        name = Event.name(event)
        level = _OF_EVENTS[event]
        if event in (Event.FAULT_RAISED, Event.FAULT_CLEARED):
            name += " " + str(reasons.event_data(event, data, self._pm.image.banks))
            if event == Event.FAULT_RAISED and not self._mild >> (data & 31) & 1:
                level = ERROR
        self._log(name, data, event in _URGENT, level)

    def _log(self, name: str, data, urgent: bool, level: str) -> None:
        if LEVELS.index(level) <= self._least:
            self.records.log(self._pm.clock, name, data, urgent, level)

    def keep(self, text: str, error: bool) -> None:
        """Log a line that was said to people, without secrets and not without end; never raises."""
        elapsed_s = self._pm.clock.elapsed_s
        if not 0 <= elapsed_s - self._said_since < _SAID_S:
            self._said_since = elapsed_s
            self._said = 0
        if self._said >= _SAID_MOST:
            self.unsaid += 1
            return
        self._said += 1
        try:
            for secret in self._site.secrets:
                text = text.replace(secret, "***")
            self._log("SAID", text[:_SAID_LONG], False, ERROR if error else INFO)
        except MemoryError:
            self.unsaid += 1

    def stop(self) -> None:
        """Hear nothing more."""
        notice.keep = None

    # ---- for people and tools/logs ---------------------------------------------------------------------

    def logs(self):
        """A line for every file of the logs, the oldest of each log first: its bytes and its path, then "end"."""
        for path, size in self._files():
            yield "%d %s" % (size, path)
        yield "end"

    def _files(self) -> list:
        found = []
        for name in self.records.logs:
            found += self.records.logs[name].files()
        return found

    def log(self, path: str, at: int = 0):
        """The lines of one of these files from byte `at` on, each with its checksum as it is stored.

        At most some 3,000 characters; the last line says how far it came, "next 3012" or "end 3012".  ValueError for another file.
        """
        paths = [name for name, _ in self._files()]
        if path not in paths:
            raise ValueError("path = %r: allowed are %s" % (path, ", ".join(paths)))
        return _lines(path, at)

    def counters(self) -> dict:
        """Energy and faults over the system's life, the flash's wear, and what was wrong with what was stored."""
        records = self.records
        return {"energy": records.energy(), "faults": records.faults(), "flash": records.report(), "problems": self.problems}

    def report(self) -> dict:
        """The calendar's counters and these."""
        found = {} if self._calendar is None else self._calendar.counters()
        found.update(self.counters())
        return found


def _lines(path: str, at: int):
    with open(path, "rb") as file:
        file.seek(at)
        begun = at
        while at - begun < _PIECE:
            line = file.readline()
            if not line:
                yield "end %d" % at
                return
            at += len(line)
            try:
                yield line.decode().rstrip("\n")
            except UnicodeError:
                pass  # damaged: its checksum would be wrong too
        yield "next %d" % at
