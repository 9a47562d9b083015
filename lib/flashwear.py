"""How fast the flash wears out: writes and erases of the last day, and the years they leave.

A board cannot count erases (LittleFS does them inside), so they are reckoned from what is written; a test compares
the reckoning with erases counted in a simulated flash, and it must not come out lower.
"""

from array import array

from micropython import const

BLOCK = const(4096)  # bytes; an erase block of the ESP32's flash
ENDURANCE = const(100000)  # erases of a block, NOR flash as fitted (W25Q32, GD25Q32: data sheets, page 1)
_HOURS = const(24)
_INLINE = const(128)  # bytes; a file up to this lives in the directory itself (MicroPython's cache size)
_SAVE_TENTHS = const(3)  # directory updates of one save, in tenths of an erase (measured, rounded up)
SPREAD = const(7)  # the block worst off sees up to so many times the mean of the free ones (a year measured: 6.3)


class Wear:
    """Counts writes.  `tick` it with the seconds since boot, once a minute or more often."""

    def __init__(self) -> None:
        self.writes = 0
        self.bytes = 0
        self.tenths = 0  # of erases
        self._writes = array("i", [0] * _HOURS)
        self._tenths = array("i", [0] * _HOURS)
        self._hour = 0

    def wrote(self, size: int, before: int = 0) -> None:
        """A file of `size` bytes was written, or so many were appended to one that had `before` bytes."""
        # An append copies the file's last block, as flash cannot be added to once LittleFS has closed the file.
        blocks = (before % BLOCK + size + BLOCK - 1) // BLOCK if before + size > _INLINE else 0
        tenths = blocks * 10 + _SAVE_TENTHS
        self.writes += 1
        self.bytes += size
        self.tenths += tenths
        self._writes[self._hour % _HOURS] += 1
        self._tenths[self._hour % _HOURS] += tenths

    def tick(self, elapsed_s: int) -> None:
        """Lets hours pass."""
        hour = elapsed_s // 3600
        if hour - self._hour > _HOURS:
            self._hour = hour - _HOURS
        while self._hour < hour:
            self._hour += 1
            self._writes[self._hour % _HOURS] = 0
            self._tenths[self._hour % _HOURS] = 0

    def report(self, free_blocks: int) -> dict:
        """writes_per_day and erases_per_day at the rate of the last 24 h (or since boot, reckoned up), and years left.

        `free_blocks`: of the file system (`os.statvfs`), which share the wear; those that hold files do not.
        """
        hours = min(self._hour + 1, _HOURS)
        writes = sum(self._writes) * _HOURS / hours
        erases = sum(self._tenths) * _HOURS / hours / 10
        years = ENDURANCE * max(free_blocks, 1) / (SPREAD * erases * 365.25) if erases else 1000.0
        return {
            "writes": self.writes,
            "bytes": self.bytes,
            "writes_per_day": round(writes, 1),
            "erases_per_day": round(erases, 1),
            "years": round(min(years, 1000.0), 1),
        }
