"""Five minutes of a site as one row: means, extremes, the least limits with their reasons, and the energy that flowed.

Energy is what was measured times how long by the cycle's own time, whatever the wall clock does meanwhile.  What was not
measured, or is older than control believes it, is in no mean and in no energy; the row says of how many seconds each is.
"""

import struct

from micropython import const

from firmware import believed
from firmware import image as im
from firmware.history.books import NUMBERS

# day and second of its end in UTC (NO_DAY: seconds since boot); its seconds; mode; books.BOOT, SETTLES, and the local date's
# distance from the UTC day; mean W of MEANS; least and most W of the battery; SoC in 0.01 %; least limits in W; their reasons;
# Wh of books.ENERGIES; s of books.MEASURED
_ROW = const("<HIHBB4i2iH2iBB6I4H")
ROW_BYTES = const(78)
NO_DAY = const(0xFFFF)
NO_SOC = const(0xFFFF)
MEANS = (im.PCS_P, im.METER_P, im.LOAD_P, im.PV_P)  # battery + discharge, grid + import
_AWAY = const(4)  # in the flags: where the distance of the local date is, + 1, of four bits: 12 and more is below 0
_WH = const(3600000)  # W ms
_MOST_MS = const(5000)  # who was not there for longer knows nothing of the time between


def measured(now, par, which: int) -> int:
    """W of one of MEANS; NO_VALUE where it is not measured, or too old to be believed."""
    return believed.value(now, par, MEANS[which])


class Five:
    """The row that is being made; `sample` it about once a second."""

    def __init__(self, image) -> None:
        self._now = image.now
        self._par = image.par
        self._uptime_s = image.now[im.UPTIME_S]
        self._uptime_ms = image.now[im.UPTIME_MS]
        self._in_wh = im.energy_wh(image.now, im.E_IN_TURNS, im.E_IN_WH)
        self._out_wh = im.energy_wh(image.now, im.E_OUT_TURNS, im.E_OUT_WH)
        self._rest = [0] * 6  # W ms of each energy that are not yet a Wh; the battery's are in the image
        self.wh = [0] * 6
        self._sums = [0] * 4
        self._samples = [0] * 4
        self._measured_ms = [0] * 4
        self._limits = [0, 0]
        self._why = [0, 0]
        self.begin()

    def begin(self) -> None:
        """The next row, from now on.  Allocates nothing: the one before is in the books."""
        self.ms = 0
        self._least = im.RANGE
        self._most = -im.RANGE
        for i in range(6):
            self.wh[i] = 0
        for i in range(4):
            self._sums[i] = self._samples[i] = self._measured_ms[i] = 0
        for i in range(2):
            self._limits[i] = im.FREE
            self._why[i] = 0

    def sample(self) -> None:
        """Take in what is measured now."""
        now = self._now
        passed = (now[im.UPTIME_S] - self._uptime_s) * 1000 + now[im.UPTIME_MS] - self._uptime_ms
        self._uptime_s = now[im.UPTIME_S]
        self._uptime_ms = now[im.UPTIME_MS]
        if passed <= 0:
            return
        self.ms += passed
        counts = passed <= _MOST_MS
        for i in range(4):
            value = measured(now, self._par, i)
            if value == im.NO_VALUE:
                continue
            self._sums[i] += value
            self._samples[i] += 1
            if counts:
                self._measured_ms[i] += passed
                if i == 1:
                    self._flow(2 if value > 0 else 3, abs(value) * passed)
                elif i and value > 0:
                    self._flow(5 if i == 2 else 4, value * passed)
            if i == 0:
                self._least = min(self._least, value)
                self._most = max(self._most, value)
        self._battery()
        for charge in range(2):
            if now[im.LIMIT_DIS + charge] < self._limits[charge]:
                self._limits[charge] = now[im.LIMIT_DIS + charge]
                self._why[charge] = now[im.WHY_DIS + charge]

    def _flow(self, which: int, watt_ms: int) -> None:
        rest = self._rest[which] + watt_ms
        if rest >= _WH:
            self.wh[which] += rest // _WH
            rest %= _WH
        self._rest[which] = rest

    def _battery(self) -> None:
        """What the cycle has counted since, in every single one of its steps."""
        in_wh = im.energy_wh(self._now, im.E_IN_TURNS, im.E_IN_WH)
        out_wh = im.energy_wh(self._now, im.E_OUT_TURNS, im.E_OUT_WH)
        self.wh[0] += in_wh - self._in_wh
        self.wh[1] += out_wh - self._out_wh
        self._in_wh = in_wh
        self._out_wh = out_wh

    def numbers(self) -> list:
        """Of the row so far, as a book takes them."""
        seconds = [(ms + 500) // 1000 for ms in self._measured_ms]
        return self.wh + seconds + [(self.ms + 500) // 1000]

    def row(self, day: int, sec: int, date, flags: int) -> bytes:
        """The row so far.

        day and sec: its end in UTC (NO_DAY and seconds since boot); date: the local one, or None.
        """
        now = self._now
        if date is not None:
            flags |= (date - day + 1 & 15) << _AWAY
        means = [self._sums[i] // self._samples[i] if self._samples[i] else im.NO_VALUE for i in range(4)]
        seen = self._samples[0] > 0
        soc = now[im.SOC]
        return struct.pack(
            _ROW, day, sec, min((self.ms + 500) // 1000, 0xFFFF), now[im.MODE], flags, *means,
            self._least if seen else im.NO_VALUE, self._most if seen else im.NO_VALUE,
            soc if 0 <= soc <= 10000 else NO_SOC, self._limits[0], self._limits[1], self._why[0], self._why[1],
            *[min(each, 0xFFFFFFFF) for each in self.wh], *[min(each, 0xFFFF) for each in self.numbers()[6:10]],
        )  # fmt: skip


def unpacked(row) -> tuple:
    """All the numbers of a row, see _ROW."""
    return struct.unpack(_ROW, row)


def date_and_flags(row: tuple) -> tuple:
    """(local date or None, what it says to the books) of an unpacked row."""
    date = None if row[0] == NO_DAY else row[0] + ((row[4] >> _AWAY) + 4 & 15) - 5  # zones reach from -25 h to 25 h
    return date, row[4] & ((1 << _AWAY) - 1)


def numbers(row: tuple) -> tuple:
    """What a book takes of an unpacked row."""
    found = row[16:26] + (row[2],)
    assert len(found) == NUMBERS
    return found
