"""Garbage collections at a chosen moment: right after a control cycle, while the CAN buses are quiet.

A collection stops everything: 2 to 7 ms without PSRAM, tens of ms with it.  Right after a cycle the whole period is left
for it, and away from the BMS's burst no frame is lost to it.  How often follows from how fast garbage is made: by the
time half of what was free is used up.  MicroPython's own threshold is off meanwhile: it counts what is allocated, and a
call with many locals allocates its frame and gives it back, so that it would collect ten times as often, anywhere.
"""

import gc
import time

from micropython import const

_MIN_MS = const(200)
_MAX_MS = const(10000)
_QUIET_MS = const(20)  # a bus is quiet when its last frame is older than this,
_SOON_MS = const(400)  # and younger than this: the next burst of a BMS that speaks each second is not due yet
_OFF = const(-1)


class Collector:
    """`buses`: objects with `last_ms`, ticks_ms of the last frame; `metering`: is told how long each collection took."""

    def __init__(self, metering, buses: list) -> None:
        self._metering = metering
        self._buses = buses
        self._interval_ms = _MIN_MS
        self._last_ms = time.ticks_ms()
        self._free = 0  # bytes after the last collection; 0: there was none

    def step(self, now_ms: int) -> None:
        """Call right after a cycle: collects when it is time, half as late again where a bus is not quiet."""
        waited = time.ticks_diff(now_ms, self._last_ms)
        if waited >= self._interval_ms and (2 * waited >= 3 * self._interval_ms or self._quiet(now_ms)):
            self.collect(now_ms)

    def _quiet(self, now_ms: int) -> bool:
        for bus in self._buses:
            since = time.ticks_diff(now_ms, bus.last_ms)
            if since < _QUIET_MS or _SOON_MS < since < 2 * _SOON_MS:
                return False
        return True

    def collect(self, now_ms: int) -> None:
        """Collect now, and reckon when to do it again."""
        made = self._free - gc.mem_free()  # since the last one, by everybody
        waited = time.ticks_diff(now_ms, self._last_ms)
        begun = time.ticks_us()
        gc.collect()
        self._metering.collected(time.ticks_diff(time.ticks_us(), begun))
        gc.threshold(_OFF)
        self._last_ms = now_ms
        if self._free == 0:
            waited = 0  # what there was is boot's
        self._free = gc.mem_free()
        longest = min(2 * self._interval_ms, _MAX_MS)  # a quiet second says little of the next
        if made > 0:
            longest = min(self._free // 2 * waited // made, longest)
        self._interval_ms = max(longest, _MIN_MS)
