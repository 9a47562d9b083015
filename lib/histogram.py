"""A histogram of small integers in one preallocated array: percentiles of timings for the price of an increment.

Counts are 16 bits.  When one is full all are halved: what is old counts less, and the percentiles hardly move.
"""

from array import array

from micropython import const

_FULL = const(65535)


class Histogram:
    """Counts values from `low` in steps of `width`; what lies outside lands in the end buckets.  `add` allocates nothing."""

    def __init__(self, low: int, width: int, buckets: int = 128) -> None:
        self.low = low
        self.width = width
        self.counts = array("H", bytes(2 * buckets))
        self.largest = -0x3FFFFFFF

    def clear(self) -> None:
        """Count from nothing again."""
        for i in range(len(self.counts)):
            self.counts[i] = 0
        self.largest = -0x3FFFFFFF

    def add(self, value: int) -> None:
        """Count one value."""
        i = (value - self.low) // self.width
        counts = self.counts
        last = len(counts) - 1
        i = 0 if i < 0 else last if i > last else i
        if counts[i] == _FULL:
            for k in range(last + 1):
                counts[k] >>= 1
        counts[i] += 1
        if value > self.largest:
            self.largest = value

    def percentile(self, percent: int) -> int:
        """The upper edge of the bucket in which that share of the values is reached; the largest value if that is lower."""
        return self.permille(10 * percent)

    def permille(self, share: int) -> int:
        """The same for a share in thousandths."""
        total = sum(self.counts)
        want = total * share // 1000
        seen = 0
        for i, count in enumerate(self.counts):
            seen += count
            if seen > want or seen == total:
                return min(self.low + (i + 1) * self.width - 1, self.largest)
        return self.largest
