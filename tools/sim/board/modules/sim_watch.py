"""What is looked at besides, once somebody has typed __import__("sim_watch").install(app, slot): none of it is the chip's work.

Flash erases between two cycles, cycles from emergency_shutdown() to 0 W, collections inside a cycle and those that nobody has
asked for; the longest time between two cycles by the chip's clock, which knows nothing of a host that is late; and the longest
step of every task and the longest cycle in instructions.
"""

import gc
import time

import micropython
import sim_flash
import sim_pace

_RECORDS_FD = 222
_NONE = -1

weight = 0  # bytes of heap that all this takes
_record = bytearray(96)  # the clock's: tools/sim/board/chip/record.py has its layout


def _look(record) -> None:
    """Brings the record up to date; nothing without the clock."""


if sim_pace.paced:
    _file = open(_RECORDS_FD, "rb")
    _look = _file.readinto


@micropython.viper
def work() -> int:
    """Instructions of the chip so far without those of collections, as ticks; allocates nothing."""
    _ = 0x2C5EA501  # sim_pace.off(), and below on()
    _look(_record)
    _ = 0x2C5EA502
    return (ptr32(_record)[0] - ptr32(_record)[20]) & 0x3FFFFFFF


@micropython.viper
def collections() -> int:
    """So many there were so far."""
    _ = 0x2C5EA501
    _look(_record)
    _ = 0x2C5EA502
    return ptr32(_record)[18] & 0x3FFFFFFF


class _Instructions:
    """Stands for `time` in looptime.py."""

    ticks_us = work
    ticks_diff = time.ticks_diff


class Watch:
    """Stands between the control task and what it calls."""

    def __init__(self, app, command_slot: int) -> None:
        self._cycle = app.pm.cycle
        self._add = app.metering.add
        self._shutdown = app.pm.emergency_shutdown
        self._now = app.pm.image.now
        self._slot = command_slot
        self._erases = sim_flash.counts[sim_flash.ERASES]
        self._since = _NONE  # cycles since emergency_shutdown(), while the command is not 0 W
        self._loop_time = app.metering.loop_time
        self.cycles = 0
        self.erases_most = 0
        self.emergency_cycles = _NONE
        self.collections_inside = 0
        self.cycle_instructions = 0
        self._chip_us = _NONE  # of the cycle before
        self.gaps_us = [0, 0]  # the longest without an erase, and with one
        self.gaps_by = ["", ""]  # the longest step in it
        self.chosen = 0
        self._collections = collections()  # before
        self._collect = app.collector.collect
        app.collector.collect = self.collect
        app.pm.cycle = self.cycle
        app.metering.add = self.add
        app.pm.emergency_shutdown = self.emergency_shutdown

    def cycle(self, now_ms: int) -> int:
        """As PowerManager.cycle."""
        sim_pace.off()
        before = collections()
        begun = work()
        sim_pace.on()
        commanded_w = self._cycle(now_ms)
        sim_pace.off()
        took = time.ticks_diff(work(), begun)
        if took > self.cycle_instructions:
            self.cycle_instructions = took
        if collections() != before:
            self.collections_inside += 1
        self.cycles += 1
        if self._since >= 0:
            self._since += 1
            if self._now[self._slot] == 0:
                self.emergency_cycles = self._since
                self._since = _NONE
        sim_pace.on()
        return commanded_w

    def add(self, period_us: int, compute_us: int) -> None:
        """As Metering.add."""
        sim_pace.off()
        erases = sim_flash.counts[sim_flash.ERASES] - self._erases
        if erases > self.erases_most:
            self.erases_most = erases
        self._erases += erases
        now = sim_pace.chip_us()
        if self._chip_us != _NONE:
            gap = time.ticks_diff(now, self._chip_us)
            kind = 1 if erases else 0
            if gap > self.gaps_us[kind]:
                self.gaps_us[kind] = gap
                loop_time = self._loop_time
                self.gaps_by[kind] = "%s %d us" % (loop_time.longest(), loop_time.since_us)
        self._chip_us = now
        sim_pace.on()
        self._add(period_us, compute_us)

    def collect(self, now_ms: int) -> None:
        """As Collector.collect."""
        self._collect(now_ms)
        sim_pace.off()
        self.chosen += 1
        sim_pace.on()

    def unasked(self) -> int:
        """Collections since then that the heap's end has brought about, in the middle of anything."""
        return collections() - self._collections - self.chosen if sim_pace.paced else 0

    def steps(self) -> dict:
        """The longest step of every task since it was asked last."""
        loop_time = self._loop_time
        found = {name: loop_time.worst_us[i] for i, name in enumerate(loop_time.names)}
        for i in range(len(loop_time.worst_us)):
            loop_time.worst_us[i] = 0
        return found

    def emergency_shutdown(self) -> bool:
        """As PowerManager.emergency_shutdown; counts only where power was commanded."""
        if self._now[self._slot]:
            self._since = 0
        return self._shutdown()


watch = None
_counting = False  # the longest steps are in instructions


def install(app, command_slot: int, instructions: bool = False) -> None:
    """From now on.  `command_slot`: of the commanded power in the image.  `instructions`: app's loop_time counts them."""
    global watch, weight, _counting
    sim_pace.off()
    gc.collect()
    before = gc.mem_alloc()
    watch = Watch(app, command_slot)
    if instructions:
        import looptime  # here: at start there is no firmware yet

        _counting = True
        looptime.time = _Instructions
        watch.steps()
    weight += gc.mem_alloc() - before
    sim_pace.on()


def pass_over_one() -> None:
    """A collection was the supervisor's, who asked for figures: nobody's on the chip, whoever asks for them next."""
    if watch is not None:
        watch.chosen += 1


def report() -> dict:
    """What was seen."""
    if watch is None:
        return {}
    found = {
        "weight": weight,
        "watched_cycles": watch.cycles,
        "erases_between_cycles": watch.erases_most,
        "emergency_cycles": watch.emergency_cycles,
        "collections_in_cycle": watch.collections_inside,
        "collections_unasked": watch.unasked(),
        "cycle_instructions_max": watch.cycle_instructions,
        "gap_chip_ms": [us / 1000 for us in watch.gaps_us],
        "gap_chip_by": watch.gaps_by,
    }
    if _counting:
        found["step_instructions"] = watch.steps()
    return found

