"""Garbage collections at a chosen moment: right after a control cycle, while the CAN buses are quiet.

A collection stops everything: 2 to 7 ms without PSRAM, tens of ms with it.  Right after a cycle the whole period is left
for it, and away from the BMS's burst no frame is lost to it.  MicroPython's own collections stay armed behind these, as a
net for what fills the heap faster.
"""

import gc
import time

from micropython import const

_SHARE = const(100)  # a collection may take one part in so many of the time ...
_MIN_MS = const(500)  # ... and these are the bounds of what follows from that
_MAX_MS = const(5000)
_QUIET_MS = const(20)  # a bus is quiet when its last frame is older than this,
_SOON_MS = const(400)  # and younger than this: the next burst of a BMS that speaks each second is not due yet
_NET = const(16384)  # bytes allocated since the last collection, after which MicroPython makes one by itself
_LARGE = const(131072)  # bytes free: PSRAM, where the net may hang lower


class Collector:
    """`buses`: objects with `last_ms`, ticks_ms of the last frame; `metering`: is told how long each collection took."""

    def __init__(self, metering, buses: list) -> None:
        self._metering = metering
        self._buses = buses
        self._interval_ms = _MIN_MS
        self._last_ms = time.ticks_ms()

    def step(self, now_ms: int) -> None:
        """Call right after a cycle: collects when it is time."""
        waited = time.ticks_diff(now_ms, self._last_ms)
        if waited >= self._interval_ms and (waited >= 2 * self._interval_ms or self._quiet(now_ms)):
            self.collect(now_ms)

    def _quiet(self, now_ms: int) -> bool:
        for bus in self._buses:
            since = time.ticks_diff(now_ms, bus.last_ms)
            if since < _QUIET_MS or _SOON_MS < since < 2 * _SOON_MS:
                return False
        return True

    def collect(self, now_ms: int) -> None:
        """Collect now, and set the net for what comes until the next time."""
        begun = time.ticks_us()
        gc.collect()
        took = time.ticks_diff(time.ticks_us(), begun)
        self._metering.collected(took)
        self._last_ms = now_ms
        self._interval_ms = min(max(took * _SHARE // 1000, _MIN_MS), _MAX_MS)
        free = gc.mem_free()
        gc.threshold(free // 2 if free > _LARGE else min(free // 2, _NET))
