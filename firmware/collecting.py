"""Garbage collections at a chosen moment: right after a control cycle, while the CAN buses are quiet.

A collection stops everything: 2 to 7 ms without PSRAM, tens of ms with it.  Right after a cycle the whole period is left
for it, and away from the BMS's burst no frame is lost to it.  It is due when a third of what was free is used up, so that
what is in use for a moment does not lie all over the heap, and a large piece stays whole.  That is looked at the more often
the nearer it is: who reckons ahead from the garbage of a quiet minute meets the end of the heap in one that is not, and
then MicroPython collects by itself, in the middle of anything.  Its own threshold is off
meanwhile: it counts what is allocated, and a call with many locals allocates its frame and gives it back, so that it would
collect ten times as often, anywhere.  But for the first seconds in a small heap, when nothing flows yet: finding the devices
makes much garbage, and what they then build for good would lie all over what is free, above it.
"""

import gc
import time

from micropython import const

_MIN_MS = const(200)
_MAX_MS = const(10000)
_LOOK_MIN_MS = const(100)  # a look passes over the table of the whole heap: 2 ms of 112,000 bytes, 7 ms of 512 KB
_LOOK_MAX_MS = const(300)  # a line typed makes 50 KB at once
_QUIET_MS = const(20)  # a bus is quiet when its last frame is older than this,
_SOON_MS = const(400)  # and younger than this: the next burst of a BMS that speaks each second is not due yet
_MOST_PUT_OFF = const(2)  # cycles in a row: what a ramp commands moves in each of them
_SMALL = const(64000)  # bytes free, when control begins
_FOUND_MS = const(3000)  # by then devices that are there have been found
_OFF = const(-1)
_UNSEEN = const(-1)


class Collector:
    """`buses`: objects with `last_ms`, ticks_ms of the last frame; `metering`: is told how long each collection took.

    `kept`: bytes that are free when control begins.  `small`: those and what is free now are little.
    """

    def __init__(self, metering, buses: list, kept: int = 0) -> None:
        self._metering = metering
        self._buses = buses
        self._last_ms = self._look_ms = time.ticks_ms()
        self.small = gc.mem_free() + kept < _SMALL
        self._begun_ms = self._last_ms if self.small else None  # devices are being found: boot.py's threshold stays
        self._free = 0  # bytes after the last collection; 0: there was none, _UNSEEN: not looked at yet
        self._due = True
        self._hurry = True  # whatever the buses do
        self._commanded_w = 0
        self._put_off = 0

    def step(self, now_ms: int, commanded_w: int = 0) -> bool:
        """Call right after a cycle: collects when it is time, somewhat later where a bus is not quiet; whether it has.

        Not in the period of a look: that takes its time too.  Neither where the cycle commands other watts than the one before:
        those go out to the inverter first, unless the heap is near its end, which is looked for all the same.
        """
        moves = commanded_w != self._commanded_w and self._put_off < _MOST_PUT_OFF
        self._commanded_w = commanded_w
        self._put_off = self._put_off + 1 if moves else 0
        if moves and not self._due:
            return False
        if self._free == _UNSEEN:
            self._free = self._metering.free_bytes = gc.mem_free()
            self._look_ms = time.ticks_add(now_ms, _LOOK_MIN_MS)
            return False
        waited = time.ticks_diff(now_ms, self._last_ms)
        if waited < _MIN_MS:
            return False
        if self._due and (self._hurry or (not moves and self._quiet(now_ms))):
            self.collect(now_ms)
            return True
        if self._due or time.ticks_diff(now_ms, self._look_ms) >= 0:
            self._look(now_ms, waited)
        return False

    def _look(self, now_ms: int, waited: int) -> None:
        """How much is left, and when to look again."""
        free = gc.mem_free()
        if free > self._free:  # what was in use behind the last collection is not any more: the heap's end collected it
            self._free = self._metering.free_bytes = free
        left = free - self._free * 2 // 3  # until it is due
        self._due = left <= 0 or waited >= _MAX_MS
        self._hurry = 4 * free <= self._free or 2 * waited >= 3 * _MAX_MS
        made = self._free - free
        half_way = _LOOK_MAX_MS if made <= 0 else (left >> 6) * waited // ((made >> 6) + 1) // 2
        self._look_ms = time.ticks_add(now_ms, max(_LOOK_MIN_MS, min(half_way, _LOOK_MAX_MS)))

    def _quiet(self, now_ms: int) -> bool:
        for bus in self._buses:
            since = time.ticks_diff(now_ms, bus.last_ms)
            if 0 <= since < _QUIET_MS or _SOON_MS < since < 2 * _SOON_MS:  # silent for days it looks like the future
                return False
        return True

    def before_a_line(self) -> None:
        """Collect now, where the heap is small: what a person's line makes for good, as parameters or a callback, is to lie
        low, and not above the garbage of the moment, in the middle of what is free."""
        if self.small:
            self.sweep()

    def sweep(self) -> None:
        """Collect now, and know at once what is free."""
        self.collect(time.ticks_ms())
        self._free = self._metering.free_bytes = gc.mem_free()

    def collect(self, now_ms: int) -> None:
        """Collect now."""
        begun = time.ticks_us()
        gc.collect()
        self._metering.collected(time.ticks_diff(time.ticks_us(), begun))
        if self._begun_ms is not None and not 0 <= time.ticks_diff(now_ms, self._begun_ms) < _FOUND_MS:
            self._begun_ms = None
        if self._begun_ms is None:
            gc.threshold(_OFF)
        self._last_ms = now_ms
        self._free = _UNSEEN
        self._due = self._hurry = False
