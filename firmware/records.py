"""What must survive a power cut: the schedule, energy and faults counted over the system's life, the log of events.

Everything is loaded at start, with what was wrong told in one list, and saved late and seldom: `steps` once a second
does at most one save, in steps of which none erases flash twice.  Files: schedules.json, energy.json, faults.json (each
with the version before), events and events.1.
"""

import json
import os

from flashwear import Wear
from journal import Journal
from micropython import const
from notice import say
from safestore import Store, StoreError
from writeback import WriteBack

from firmware import image as im
from firmware.errors import ConfigError
from firmware.event_codes import Event

_ENERGY_S = const(900)  # at most so much energy count is lost with the power
_ENERGY_STEP_WH = const(50)  # smaller changes are not worth a save
_SCHEDULE_S = const(5)  # and the look once a second, a save under way and its own: 10 s from the edit
_LOG_S = const(600)  # events may be lost that long before a power cut; urgent ones
_URGENT_S = const(1)  # only that long, and until it is written
_AT_ONCE = const(20)  # so many edits and urgent events do not wait for each other: more than a person makes in a row;
_REFILL_S = const(60)  # what never stops changing is saved once in so long
_DIRECTORY = const(0x4000)  # of os.stat()'s mode
_LOG_BYTES = const(16384)
_LOG_FILES = const(2)
# levels of what is logged
ERROR = "E"
WARNING = "W"
INFO = "I"
DEBUG = "D"
LEVELS = (ERROR, WARNING, INFO, DEBUG)


def _is_count(value, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _is_energy(doc: dict) -> bool:
    """What a battery may have moved: 10**12 Wh is 1 MW for a hundred years."""
    return _is_count(doc.get("in_wh"), 10**12) and _is_count(doc.get("out_wh"), 10**12)


def _are_counts(doc: dict) -> bool:
    raised = doc.get("raised")
    return isinstance(raised, dict) and all(_is_count(count, 1 << 30) for count in raised.values())


class Records:
    """`place`: a directory, made if missing; `image`: the process image, whose energy counts begin at boot;
    `planner`: has `planned` (a Scheduler, or None) and `plan` (it, made when asked for): its entries are loaded and saved;
    `capacity_wh`: of the battery, for equivalent cycles; `fault_counts`: a function that gives {fault: times raised since
    boot}, or None; `event_counts`: how often each Event was posted, by its code.
    """

    def __init__(self, place: str, image, planner, capacity_wh: int, fault_counts=None, event_counts=None) -> None:
        self.place = place
        self.quiet = False  # True: nothing is saved any more
        self._now = image.now
        self._planner = planner
        self._capacity_wh = max(1, int(capacity_wh))
        self.wear = Wear()
        self._schedules = Store(place + "/schedules.json", 1, wear=self.wear)
        self._energy = Store(place + "/energy.json", 1, wear=self.wear)
        self._faults = Store(place + "/faults.json", 1, wear=self.wear)
        self._fault_counts = fault_counts
        self._faults_before: dict = {}  # raised before this boot
        self._faults_saved = 0  # how many of this boot are in the file
        self._event_counts = event_counts
        self.events = Journal(place + "/events", _LOG_BYTES, _LOG_FILES, wear=self.wear)
        self.logs = {"events": self.events}
        self._in_wh = self._out_wh = 0  # before this boot
        self._saved_wh = 0
        self._free_blocks = 1  # when it was loaded
        self._told: list = []  # what people know of that cannot be saved
        self._batch = WriteBack()
        self._batch.add("schedules", self._save_schedules, _SCHEDULE_S, _REFILL_S, _AT_ONCE)
        self._batch.add("energy", self._save_energy, 0, _ENERGY_S)
        self._batch.add("faults", self._save_faults, 2, 60)
        self._batch.add("events", self.events.steps, _LOG_S, _LOG_S)
        self._batch.add("urgent events", self.events.steps, _URGENT_S, _REFILL_S, _AT_ONCE)

    # ---- at start -------------------------------------------------------------------------------------

    def load(self) -> list:
        """Reads everything; a list of what was wrong, one line each (empty: nothing).  What cannot be read starts anew."""
        problems = []
        try:
            os.mkdir(self.place)
        except OSError:
            pass  # it is there
        try:
            if not os.stat(self.place)[0] & _DIRECTORY:
                problems.append("storage.place = %r: is a file; nothing can be kept there" % self.place)
        except OSError as error:
            problems.append("storage.place = %r: cannot be made: %s" % (self.place, error))
        try:
            self._free_blocks = os.statvfs(self.place)[3]  # passes over the whole file system: nothing for operation
        except (OSError, AttributeError):
            pass
        doc = self._read(self._energy, problems)
        if doc is not None and not _is_energy(doc):
            problems.append("%s: in_wh and out_wh must be whole numbers of Wh, 0 to 10**12" % self._energy.path)
            doc = self._before(self._energy, _is_energy, problems)
        if doc is not None:
            self._in_wh = doc["in_wh"]
            self._out_wh = doc["out_wh"]
        self._saved_wh = self._in_wh + self._out_wh
        doc = self._read(self._faults, problems)
        if doc is not None and not _are_counts(doc):
            problems.append("%s: raised must hold whole numbers, 0 to 2**30, by the fault's name" % self._faults.path)
            doc = self._before(self._faults, _are_counts, problems)
        if doc is not None:
            self._faults_before = dict(doc["raised"])
        doc = self._read(self._schedules, problems)
        if doc is not None and (doc.get("entries") != [] or not doc.get("enabled")):
            self._load_schedules(doc, problems)  # an empty schedule is not worth loading what runs one
        return problems

    def _read(self, store, problems: list):
        """The document of a store; None, and a problem told, where it cannot be had."""
        try:
            doc = store.load()
        except StoreError as error:
            problems.append(str(error))
            return None
        if store.problem:
            problems.append("%s; using the version before" % store.problem)
        return doc

    def _before(self, store, is_good, problems: list):
        """The version before, where that one is good; else None: counting begins anew."""
        try:
            doc = store.previous()
        except StoreError:
            return None
        if doc is None or not is_good(doc):
            return None
        problems.append("%s: using the version before" % store.path)
        return doc

    def _load_schedules(self, doc: dict, problems: list) -> None:
        try:
            self._planner.plan.from_doc(doc)
        except ConfigError as error:
            problems.extend(["%s: %s" % (self._schedules.path, line) for line in error.errors])
            try:
                self._planner.plan.from_doc(self._schedules.previous())
                problems.append("%s: using the version before" % self._schedules.path)
            except (StoreError, ConfigError):
                pass

    # ---- running --------------------------------------------------------------------------------------

    def log(self, clock, name: str, data=0, urgent: bool = False, level: str = "") -> None:
        """Adds an event to the log: when (UTC; seconds since boot where the clock is not set), its name and data, its level.

        Without a level what was refused is a warning, the others are information.
        """
        if not level:
            level = WARNING if "REFUSED" in name else INFO
        if clock.is_set:
            row = [clock.day, clock.sec, name, data, level]
        else:
            row = [None, clock.elapsed_s, name, data, level]
        self.events.append(json.dumps(row))
        self._batch.mark("urgent events" if urgent else "events")

    def save_beside(self, name: str, save) -> None:
        """What a service keeps, saved in turn with everything else: save() gives its steps, see WriteBack.add; `changed_beside`."""
        self._batch.add(name, save, 0, 0)

    def changed_beside(self, name: str) -> None:
        """That is to be saved next."""
        self._batch.mark(name)

    @property
    def free_blocks(self) -> int:
        """Blocks of the file system that were free at boot."""
        return self._free_blocks

    def steps(self, elapsed_s: int):
        """Once a second: notes what has changed, and does the one save that is due; a generator that stops before each step."""
        if self.quiet:
            return
        self.wear.tick(elapsed_s)
        self._mark_schedules()
        if self._total_wh() - self._saved_wh >= _ENERGY_STEP_WH:
            self._batch.mark("energy")
        self._mark_faults()
        errors = self._batch.errors
        yield from self._batch.steps(elapsed_s)
        if self._told or self._batch.errors != errors:
            self._tell()

    def _tell(self) -> None:
        """Say once of each thing that it cannot be saved, and once that everything is."""
        failing = self._batch.failing
        if not failing:
            say("storage: everything is stored again")
        elif any(name not in self._told for name in failing):
            say("storage: %s; it is lost with the power, and tried again each minute" % self.failing, True)
        self._told = failing

    @property
    def failing(self) -> str:
        """What cannot be stored, and why, for people; "" where everything can."""
        names = ", ".join(self._batch.failing)
        return "cannot store %s (%s)" % (names, self._batch.last_error.split(": ", 1)[1]) if names else ""

    def _mark_schedules(self) -> None:
        plan = self._planner.planned
        if plan is not None and plan.dirty:
            plan.dirty = False
            self._batch.mark("schedules")

    def _mark_faults(self) -> None:
        if self._event_counts is not None and self._event_counts[Event.FAULT_RAISED] != self._faults_saved:
            self._batch.mark("faults")

    def flush(self) -> bool:
        """Saves everything now: before a reset.  False when something could not be saved."""
        for _ in self.flushing():
            pass
        return not self.unsaved

    def flushing(self):
        """flush() as a generator that stops before each step; afterwards `unsaved` says what could not be."""
        if self.quiet:
            return
        if self._total_wh() != self._saved_wh:
            self._batch.mark("energy")
        self._mark_schedules()
        self._mark_faults()
        yield from self._batch.flushing()

    @property
    def unsaved(self) -> str:
        """Why something that waits has not been saved; "" where nothing waits."""
        return (self._batch.last_error or "it waits") if self._batch.waits and not self.quiet else ""

    def _save_schedules(self):
        yield
        yield from self._schedules.steps(self._planner.plan.to_doc())

    def _save_energy(self):
        saved_wh = self._total_wh()
        energy = self.energy()
        yield from self._energy.steps({"in_wh": energy["in_wh"], "out_wh": energy["out_wh"]})
        self._saved_wh = saved_wh

    def _save_faults(self):
        raised = self._event_counts[Event.FAULT_RAISED]
        yield from self._faults.steps({"raised": self.faults()})
        self._faults_saved = raised

    # ---- asking ---------------------------------------------------------------------------------------

    def _total_wh(self) -> int:
        energy = self.energy()
        return energy["throughput_wh"]

    def energy(self) -> dict:
        """Over the system's life, AC side: in_wh, out_wh, throughput_wh (both), cycles (equivalent full ones)."""
        now = self._now
        in_wh = self._in_wh + im.energy_wh(now, im.E_IN_TURNS, im.E_IN_WH)
        out_wh = self._out_wh + im.energy_wh(now, im.E_OUT_TURNS, im.E_OUT_WH)
        return {
            "in_wh": in_wh,
            "out_wh": out_wh,
            "throughput_wh": in_wh + out_wh,
            "cycles": (in_wh + out_wh) / (2 * self._capacity_wh),
        }

    def faults(self) -> dict:
        """{fault: times raised over the system's life}; a fault that ever was stays here."""
        counts = dict(self._faults_before)
        if self._fault_counts is not None:
            for name, count in self._fault_counts().items():
                counts[name] = counts.get(name, 0) + count
        return counts

    def logged(self):
        """Every event of the log, oldest first, as [day or None, second, name, data, level]; one is in RAM at a time."""
        for line in self.events.lines():
            try:
                yield json.loads(line)
            except ValueError:
                pass  # its checksum was right, so an older firmware wrote it otherwise

    def report(self) -> dict:
        """Of the flash: writes and erases a day, years left, saves that failed, log lines lost or damaged.

        Years with the blocks that were free at boot.
        """
        report = self.wear.report(self._free_blocks)
        report["save_errors"] = self._batch.errors
        report["last_error"] = self._batch.last_error
        report["log_lost"] = self.events.lost
        return report
