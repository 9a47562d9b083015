"""How the control task keeps its time: period, gaps and what held it up, compute time; `add` allocates nothing."""

from array import array

from histogram import Histogram
from micropython import const

_GOOD_US = const(5000)  # a cycle within this of its period is in time
_LATE_US = const(20000)  # beyond it the cycle was held up, and somebody is named for it
_PERMILLE = const(999)
_MOST = const(0x3FFFFFFF)

# what can hold the loop besides a task: in the order of their slots behind the tasks'
COLLECTION = const(-1)
FLASH = const(-2)  # a store to flash: an erase stops the chip, whoever asked for it


class Metering:
    """Timings of the control task in microseconds; `loop_time`: a looptime.LoopTime, which knows who held the loop."""

    def __init__(self, period_ms: int, loop_time) -> None:
        self.loop_time = loop_time
        self._late = Histogram(-12800, 200)
        self._gap = Histogram(0, 4000, 64)  # up to 256 ms
        self._compute = Histogram(0, 32, 64)  # up to 2 ms
        self.expect(period_ms)
        self.cycles = 0
        self.good = 0
        self.gap_flash_us = 0  # the longest gap in which something was stored to flash; the others are in _gap
        self.held_up = array("H", bytes(2 * (len(loop_time.worst_us) + 2)))  # cycles that came late, by cause
        self.worst_gap_us = array("i", [0] * len(self.held_up))
        self.collections = 0
        self.free_bytes = -1  # of the heap after the last one; -1 until it is known: a heap that is full has 0
        self.collection_us = 0  # the longest
        self._collected_us = 0  # since the last cycle
        self.stores = 0  # to flash, since boot: whoever stores counts here
        self._stores_before = 0

    def expect(self, period_ms: int) -> None:
        """From now on, cycles are to come so many ms apart."""
        self._period_us = period_ms * 1000

    def add(self, period_us: int, compute_us: int) -> None:
        """One cycle: microseconds since the one before, and spent in it."""
        late = period_us - self._period_us
        self._late.add(late)
        self._compute.add(compute_us)
        if self.cycles == _MOST:  # after 1.7 years: half of both says the same, and one more would be a number of the heap
            self.cycles >>= 1
            self.good >>= 1
        self.cycles += 1
        if -_GOOD_US <= late <= _GOOD_US:
            self.good += 1
        if self.stores != self._stores_before:
            if period_us > self.gap_flash_us:
                self.gap_flash_us = period_us
        else:
            self._gap.add(period_us)
        if late > _LATE_US:
            self._blame(period_us)
        self._stores_before = self.stores
        self._collected_us = 0
        self.loop_time.forget()

    def _blame(self, period_us: int) -> None:
        cause = self.loop_time.since_by
        if self.stores != self._stores_before:
            cause = FLASH
        elif self._collected_us > self.loop_time.since_us:
            cause = COLLECTION
        if self.held_up[cause] < 65535:
            self.held_up[cause] += 1
        if period_us > self.worst_gap_us[cause]:
            self.worst_gap_us[cause] = period_us

    def collected(self, us: int) -> None:
        """A collection that the application had made took so long."""
        self.collections += 1
        self._collected_us += us
        if us > self.collection_us:
            self.collection_us = us

    def clear(self) -> None:
        """Begin anew: after boot and discovery, or for a measurement."""
        for histogram in (self._late, self._gap, self._compute):
            histogram.clear()
        for i in range(len(self.held_up)):
            self.held_up[i] = self.worst_gap_us[i] = 0
        self.cycles = self.good = self.gap_flash_us = self.collections = self.collection_us = 0
        self.loop_time.clear()

    def causes(self) -> dict:
        """{who held control up: [late cycles, longest gap in ms]}, of those that ever did."""
        names = self.loop_time.names
        found = {}
        for i, count in enumerate(self.held_up):
            if count:
                name = {len(self.held_up) + COLLECTION: "collection", len(self.held_up) + FLASH: "flash"}.get(i)
                found[name or names[i]] = [count, self.worst_gap_us[i] / 1000]
        return found

    def report(self) -> dict:
        """cycles, period_p50/p99 (ms), period_ok (share within +-5 ms), gap_ms_max/p999 between two cycles (and the
        longest one with a store to flash in it), compute_p50/p99/max (us), collections and the longest (ms)."""
        if not self.cycles:
            return {"cycles": 0}
        return {
            "cycles": self.cycles,
            "period_p50": (self._period_us + self._late.percentile(50)) / 1000,
            "period_p99": (self._period_us + self._late.percentile(99)) / 1000,
            "period_ok": self.good / self.cycles,
            "gap_ms_max": max(self._gap.largest, 0) / 1000,
            "gap_ms_p999": self._gap.permille(_PERMILLE) / 1000,
            "gap_ms_flash": self.gap_flash_us / 1000,
            "compute_p50": self._compute.percentile(50),
            "compute_p99": self._compute.percentile(99),
            "compute_max": self._compute.largest,
            "collections": self.collections,
            "collection_ms_max": self.collection_us / 1000,
        }
