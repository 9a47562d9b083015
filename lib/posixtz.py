"""Local time from a POSIX TZ string, both ways, in small integers only.

Instants and local times are pairs (day, sec) as in `civil.py`.  All forms of POSIX.1-2017, section 8.3, are
read: `CET-1CEST,M3.5.0,M10.5.0/3`, quoted names (`<+0330>-3:30`), Julian rules (`J60`, and `59` which counts
29 February), and the extension of RFC 9636, section 3.3.1, of rule times from -167 to 167 hours.  Where DST has
no rules the ones of the United States apply (M3.2.0,M11.1.0), as in the tz reference code.  The `:characters`
form names no rule and is refused.

When local clocks change, local times are missing or come twice.  `utc()` is defined there as PEP 495 has it:
  gap       fold 0 counts on as if clocks had not been changed yet: 02:30 that is missing means 03:30 summer time.
  overlap   fold 0 is the first of the two instants, fold 1 the second.
"""

from civil import DAY_S, date_of, day_number, days_in_month, is_leap, weekday
from micropython import const

UNIQUE = const(0)  # this local time exists once
GAP = const(1)  # clocks are put forward over it: it does not exist
OVERLAP = const(2)  # clocks are put back over it: it comes twice

_FAR = const(0x10000000)  # days; farther than any date
_DEFAULT_RULES = const(",M3.2.0,M11.1.0")


class _Reader:
    """Takes a TZ string apart from left to right, and says where it stopped understanding."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.pos = 0

    def fail(self, wanted: str) -> None:
        raise ValueError("TZ '%s', character %d: expected %s" % (self.text, self.pos + 1, wanted))

    def peek(self) -> str:
        return self.text[self.pos : self.pos + 1]

    def take(self, char: str) -> bool:
        if self.peek() != char:
            return False
        self.pos += 1
        return True

    def need(self, char: str) -> None:
        if not self.take(char):
            self.fail("'" + char + "'")

    def number(self, low: int, high: int, digits: int, what: str) -> int:
        start = self.pos
        while self.pos - start < digits and "0" <= self.peek() <= "9":
            self.pos += 1
        value = int(self.text[start : self.pos]) if self.pos > start else -1
        if not low <= value <= high:
            self.pos = start
            self.fail("%s, %d to %d" % (what, low, high))
        return value

    def name(self) -> str:
        quoted = self.take("<")
        start = self.pos
        while True:
            c = self.peek()
            if not ("a" <= c <= "z" or "A" <= c <= "Z" or (quoted and ("0" <= c <= "9" or c == "+" or c == "-"))):
                break
            self.pos += 1
        name = self.text[start : self.pos]
        if len(name) < 3:
            self.pos = start
            self.fail("a zone name of at least 3 letters (with digits or signs: in <>)")
        if quoted:
            self.need(">")
        return name

    def seconds(self, most_hours: int, what: str) -> int:
        """[+-]hh[:mm[:ss]] in seconds."""
        sign = -1 if self.take("-") else 1
        if sign > 0:
            self.take("+")
        total = self.number(0, most_hours, 3, what) * 3600
        if self.take(":"):
            total += self._sixty("minutes") * 60
            if self.take(":"):
                total += self._sixty("seconds")
        return sign * total

    def _sixty(self, what: str) -> int:
        start = self.pos
        value = self.number(0, 59, 2, what)
        if self.pos - start != 2:
            self.pos = start
            self.fail("two digits of " + what)
        return value

    def rule(self) -> tuple:
        """(kind, month or day, week, weekday, seconds after midnight); kind "M", "J" or "" for the zero-based day."""
        if self.take("M"):
            month = self.number(1, 12, 2, "a month")
            self.need(".")
            week = self.number(1, 5, 1, "a week")
            self.need(".")
            found = ("M", month, week, self.number(0, 6, 1, "a day of the week"))
        elif self.take("J"):
            found = ("J", self.number(1, 365, 3, "a day of the year"), 0, 0)
        else:
            found = ("", self.number(0, 365, 3, "M, J or a day of the year"), 0, 0)
        return found + (self.seconds(167, "hours of a rule") if self.take("/") else 7200,)


def _rule_day(rule: tuple, year: int) -> int:
    """The day number on which a rule falls in this year."""
    kind = rule[0]
    first = day_number(year, 1, 1)
    if kind == "":
        return first + rule[1]
    if kind == "J":
        return first + rule[1] - 1 + (1 if rule[1] >= 60 and is_leap(year) else 0)
    month = rule[1]
    first = day_number(year, month, 1)
    mday = (rule[3] - weekday(first)) % 7 + 7 * rule[2] - 7
    if mday >= days_in_month(year, month):
        mday -= 7  # week 5 means the last one
    return first + mday


class PosixTZ:
    """The local time of one zone.  Raises ValueError naming the character where the string is wrong.

    `std`, `dst`: the names (`dst` is "" without daylight saving time); `std_offset_s`, `dst_offset_s`: seconds
    east of UTC.  Holds the one period between two clock changes that was asked for last, so asking for the time
    now, again and again, computes the rules twice a year.
    """

    def __init__(self, text: str) -> None:
        reader = _Reader(text)
        self.text = text
        self.std = reader.name()
        self.std_offset_s = 0 - reader.seconds(24, "hours of the offset")
        self.dst = ""
        self.dst_offset_s = self.std_offset_s
        self._start: tuple = ()  # rules; () without DST
        self._end: tuple = ()
        if reader.peek():
            self._read_dst(reader)
        # The period [from, until) in UTC and its offset; until <= from holds nothing.
        self._from_day = self._from_sec = self._until_day = self._until_sec = 0
        self._offset_s = self.std_offset_s
        self._is_dst = False

    def _read_dst(self, reader: _Reader) -> None:
        self.dst = reader.name()
        self.dst_offset_s = self.std_offset_s + 3600
        if reader.peek() not in ("", ","):
            self.dst_offset_s = 0 - reader.seconds(24, "hours of the offset")
        if not reader.peek():
            reader = _Reader(reader.text + _DEFAULT_RULES)
            reader.pos = len(reader.text) - len(_DEFAULT_RULES)
        reader.need(",")
        self._start = reader.rule()
        reader.need(",")
        self._end = reader.rule()
        if reader.peek():
            reader.fail("the end")

    def offset_at(self, day: int, sec: int) -> int:
        """Seconds east of UTC at this UTC instant."""
        if self._start:
            self._find(day, sec)
        return self._offset_s

    def is_dst_at(self, day: int, sec: int) -> bool:
        """Whether daylight saving time holds at this UTC instant (the rule's word: in Dublin it is the winter)."""
        self.offset_at(day, sec)
        return self._is_dst

    def name_at(self, day: int, sec: int) -> str:
        """The zone's name at this UTC instant, such as CEST."""
        return self.dst if self.is_dst_at(day, sec) else self.std

    def named(self, day: int, sec: int) -> tuple:
        """Local (day, sec) of a UTC instant, and the zone's name then."""
        sec += self.offset_at(day, sec)
        return (day + sec // DAY_S, sec % DAY_S, self.dst if self._is_dst else self.std)

    def local(self, day: int, sec: int) -> tuple:
        """Local (day, sec) of a UTC instant."""
        sec += self.offset_at(day, sec)
        return (day + sec // DAY_S, sec % DAY_S)

    def utc(self, day: int, sec: int, fold: int = 0) -> tuple:
        """UTC (day, sec) of a local time; gap and overlap as the head of this file says."""
        # More than a day inside the period held: no change is near.
        near_s = sec - self._offset_s
        near_day = day + near_s // DAY_S
        if self._from_day + 1 < near_day < self._until_day - 1:
            return (near_day, near_s % DAY_S)
        # Of the two offsets the larger gives the earlier instant: the first of an overlap, the second reading of a gap.
        large = max(self.std_offset_s, self.dst_offset_s)
        small = min(self.std_offset_s, self.dst_offset_s)
        kind = self._kind(day, sec, large, small)
        if kind == UNIQUE:
            use_large = self._holds(day, sec, large)
        else:
            use_large = (kind == OVERLAP) == (fold == 0)
        sec -= large if use_large else small
        return (day + sec // DAY_S, sec % DAY_S)

    def kind(self, day: int, sec: int) -> int:
        """UNIQUE, GAP or OVERLAP: how often this local time exists."""
        return self._kind(day, sec, max(self.std_offset_s, self.dst_offset_s), min(self.std_offset_s, self.dst_offset_s))

    def _kind(self, day: int, sec: int, large: int, small: int) -> int:
        if large == small:
            return UNIQUE
        count = self._holds(day, sec, large) + self._holds(day, sec, small)
        return OVERLAP if count == 2 else UNIQUE if count else GAP

    def _holds(self, day: int, sec: int, offset_s: int) -> bool:
        """Whether this local time, read with this offset, is an instant that has this offset."""
        sec -= offset_s
        return self.offset_at(day + sec // DAY_S, sec % DAY_S) == offset_s

    def next_change(self, day: int, sec: int) -> tuple | None:
        """The UTC instant (day, sec) of the first clock change after this one; None where there are none."""
        if not self._start:
            return None
        self._find(day, sec)
        return (self._until_day, self._until_sec)

    def _find(self, day: int, sec: int) -> None:
        """Makes the held period the one of this UTC instant."""
        if (day > self._from_day or (day == self._from_day and sec >= self._from_sec)) and (
            day < self._until_day or (day == self._until_day and sec < self._until_sec)
        ):
            return
        now = (day, sec)
        year = date_of(day)[0]
        last = (-_FAR, 0)
        following = (_FAR, 0)
        for y in (year - 1, year, year + 1):
            # In this order a start that falls together with the end of the year before wins: DST all the year round.
            for is_dst in (False, True):
                change = self._change(y, is_dst)
                if change > now:
                    following = min(following, change)
                elif change >= last:
                    last = change
                    self._is_dst = is_dst
        self._from_day, self._from_sec = last
        self._until_day, self._until_sec = following
        self._offset_s = self.dst_offset_s if self._is_dst else self.std_offset_s

    def _change(self, year: int, to_dst: bool) -> tuple:
        """The UTC instant of this year's change to (or from) DST.  Rules are told in the time that ends there."""
        rule = self._start if to_dst else self._end
        sec = rule[4] - (self.std_offset_s if to_dst else self.dst_offset_s)
        return (_rule_day(rule, year) + sec // DAY_S, sec % DAY_S)
