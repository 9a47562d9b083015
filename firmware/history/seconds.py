"""The last hour by the second, in RAM: taken in pieces at boot, and nothing is allocated from then on.

A minute is a piece: four powers of every second, the state of charge of every tenth.  Limits, their reasons and the mode are kept
as runs of seconds in which neither reason nor mode changes and no limit moves by more than 1 %.  A power is kept in 16 bits: to
the watt below 4,096 W, to 0.03 % above.  Pieces that are given back, when the heap runs short, are gone until the next boot.
"""

from array import array

from micropython import const

from firmware import image as im
from firmware.history.five import measured

MINUTE = const(60)
_POWERS = const(4)
_EVERY = const(10)  # seconds of one state of charge
_PIECE = const(246)  # numbers: four powers a second, and behind them
_SOC = const(240)  # the states of charge
_RUNS = const(4)  # of limits, for each minute
_RUN = const(5)  # numbers of a run: second since boot, in two halves; limits; reasons and mode
_NONE = const(-32768)
_MANTISSA = const(4095)
_LARGEST = const(0x7FFF)
_FEW_W = const(50)  # a limit that moves by less is the same


def coded(value: int) -> int:
    """A number of W in 16 bits; im.NO_VALUE as none."""
    if value == im.NO_VALUE:
        return _NONE
    magnitude = abs(value)
    shifts = 0
    while magnitude > _MANTISSA:
        magnitude = (magnitude + 2) >> 2
        shifts += 1
    code = min(shifts << 12 | magnitude, _LARGEST) if shifts < 8 else _LARGEST
    return -code if value < 0 else code


def decoded(code: int):
    """The W; None for none."""
    if code == _NONE:
        return None
    magnitude = (abs(code) & _MANTISSA) << 2 * (abs(code) >> 12)
    return -magnitude if code < 0 else magnitude


class Seconds:
    """`minutes` of them back, 0 for none.  `image`: the site's."""

    def __init__(self, image, minutes: int) -> None:
        self._now = image.now
        self._par = image.par
        self._pieces = [array("h", [_NONE] * _PIECE) for _ in range(minutes + 1 if minutes else 0)]  # the newest last
        self._begins = array("i", [-1] * len(self._pieces))  # the second since boot that each begins with; -1: it is empty
        self._filled = array("h", [0] * len(self._pieces))  # seconds in it
        self._most_runs = _RUNS * len(self._pieces)
        self._runs = array("h", [0] * (_RUN * self._most_runs))
        self._run = -1  # the newest, counted on for ever
        self.last_s = -1  # second since boot

    @property
    def minutes(self) -> int:
        """How far back it reaches at most."""
        return max(0, len(self._pieces) - 1)

    def sample(self) -> None:
        """Take in what is now, as what its second was; once more in the same second changes nothing."""
        now = self._now
        second = now[im.UPTIME_S]
        if not self._pieces or second <= self.last_s:
            return
        self.last_s = second
        begin = second - second % MINUTE
        if self._begins[-1] != begin:
            self._turn(begin)
        piece = self._pieces[-1]
        place = second - begin
        for missed in range(self._filled[-1] * _POWERS, place * _POWERS):
            piece[missed] = _NONE
        for i in range(_POWERS):
            piece[place * _POWERS + i] = coded(measured(now, self._par, i))
        self._filled[-1] = place + 1
        if place % _EVERY == 0 or piece[_SOC + place // _EVERY] == _NONE:
            soc = now[im.SOC]
            piece[_SOC + place // _EVERY] = soc if 0 <= soc <= 10000 else _NONE
        self._limits(second)

    def _turn(self, begin: int) -> None:
        """The oldest minute becomes the newest."""
        piece = self._pieces.pop(0)
        for i in range(_SOC, _PIECE):
            piece[i] = _NONE
        self._pieces.append(piece)
        for i in range(len(self._begins) - 1):
            self._begins[i] = self._begins[i + 1]
            self._filled[i] = self._filled[i + 1]
        self._begins[-1] = begin
        self._filled[-1] = 0

    def _limits(self, second: int) -> None:
        now = self._now
        runs = self._runs
        words = now[im.WHY_DIS] | now[im.WHY_CHG] << 5 | now[im.MODE] << 10
        discharge = _limit(now[im.LIMIT_DIS])
        charge = _limit(now[im.LIMIT_CHG])
        at = self._run % self._most_runs * _RUN
        if self._run >= 0 and runs[at + 4] == words and _same(runs[at + 2], discharge) and _same(runs[at + 3], charge):
            return
        self._run += 1
        at = self._run % self._most_runs * _RUN
        runs[at] = second >> 15
        runs[at + 1] = second & 0x7FFF
        runs[at + 2] = discharge
        runs[at + 3] = charge
        runs[at + 4] = words

    def give_back(self, minutes: int) -> int:
        """Let go of the oldest so many; with the last one of all.  How many were given back."""
        before = self.minutes
        if minutes >= before:
            self._pieces = []
            self._run = -1
            self._runs = array("h")
            return before
        for _ in range(minutes):
            self._pieces.pop(0)
        self._begins = self._begins[minutes:]
        self._filled = self._filled[minutes:]
        return minutes

    # ---- reading --------------------------------------------------------------------------------------

    def rows(self, first: int, last: int):
        """Of every second since boot from `first` to `last` that is there, oldest first: (second, four powers in W, SoC in 0.01 %,
        discharge and charge limit in W, their reasons, mode); None is not measured, not limited or not known any more."""
        second = max(first, self.last_s - MINUTE * len(self._pieces), 0)
        while second <= min(last, self.last_s):
            begin = second - second % MINUTE
            index = self._index(begin)
            while index >= 0 and second - begin < self._filled[index] and second <= last:
                piece = self._pieces[index]
                place = second - begin
                soc = piece[_SOC + place // _EVERY]
                powers = tuple([decoded(piece[place * _POWERS + i]) for i in range(_POWERS)])
                yield (second,) + powers + (None if soc == _NONE else soc,) + self._run_of(second)
                second += 1
                index = self._index(begin)  # whoever takes the rows may be slow: it may be another one by now
            second = begin + MINUTE

    def _index(self, begin: int) -> int:
        for i in range(len(self._pieces) - 1, -1, -1):
            if self._begins[i] == begin:
                return i
        return -1

    def _run_of(self, second: int) -> tuple:
        """Limits, reasons and mode of a second."""
        runs = self._runs
        low = max(0, self._run - self._most_runs + 1)
        high = self._run
        if high < 0 or self._begin_of(low) > second:
            return None, None, None, None, None
        while low < high:
            middle = (low + high + 1) // 2
            if self._begin_of(middle) <= second:
                low = middle
            else:
                high = middle - 1
        at = low % self._most_runs * _RUN
        words = runs[at + 4]
        return decoded(runs[at + 2]), decoded(runs[at + 3]), words & 31, words >> 5 & 31, words >> 10 & 31

    def _begin_of(self, run: int) -> int:
        at = run % self._most_runs * _RUN
        return self._runs[at] << 15 | self._runs[at + 1]


def _limit(value: int) -> int:
    return _NONE if value == im.FREE else coded(value)


def _same(code: int, other: int) -> bool:
    """Whether a limit is within 1 % of another, or 50 W."""
    if code == other:
        return True
    if code == _NONE or other == _NONE:
        return False
    value = decoded(code)
    return abs(decoded(other) - value) <= max(_FEW_W, value // 100)
