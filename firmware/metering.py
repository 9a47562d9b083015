"""How the control task keeps its time: period, jitter, compute time; `add` allocates nothing."""

from histogram import Histogram
from micropython import const

_GOOD_US = const(5000)  # a cycle within this of its period is in time


class Metering:
    """Timings of the control task in microseconds."""

    def __init__(self, period_ms: int) -> None:
        self.expect(period_ms)
        self._late = Histogram(-12800, 200)
        self._compute = Histogram(0, 25)
        self.cycles = 0
        self.good = 0

    def expect(self, period_ms: int) -> None:
        """From now on, cycles are to come so many ms apart."""
        self._period_us = period_ms * 1000

    def add(self, period_us: int, compute_us: int) -> None:
        """One cycle: microseconds since the one before, and spent in it."""
        late = period_us - self._period_us
        self._late.add(late)
        self._compute.add(compute_us)
        self.cycles += 1
        if -_GOOD_US <= late <= _GOOD_US:
            self.good += 1

    def report(self) -> dict:
        """cycles, period_p50/p99 (ms), period_ok (share within +-5 ms), compute_p50/p99/max (us)."""
        if not self.cycles:
            return {"cycles": 0}
        return {
            "cycles": self.cycles,
            "period_p50": (self._period_us + self._late.percentile(50)) / 1000,
            "period_p99": (self._period_us + self._late.percentile(99)) / 1000,
            "period_ok": self.good / self.cycles,
            "compute_p50": self._compute.percentile(50),
            "compute_p99": self._compute.percentile(99),
            "compute_max": self._compute.largest,
        }
