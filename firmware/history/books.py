"""The energy of a site by day, month and year of local time, in total, and while the clock was not set.

Every five-minute row is taken into these books exactly once: they are stored seldom, with the number of the row that they have
come to, and after a power cut the rows behind it are taken in again.  So taking in depends on nothing but the row.
"""

import struct

from civil import date_of
from micropython import const

ENERGIES = ("charged", "discharged", "imported", "exported", "pv", "load")  # Wh each
MEASURED = ("battery", "grid", "load", "pv")  # s each in which it was measured, and counted
NUMBERS = const(11)  # of a book: these, and the seconds recorded at all, measured or not
SOURCE = (0, 0, 1, 1, 3, 2)  # which of MEASURED each energy comes from
PERIODS = ("day", "month", "year")
TOTAL = const(3)
UNDATED = const(4)  # of boots whose clock was set too late, or never
LOOSE = const(5)  # of the present boot: its date is not known yet
_PERIOD = const("<H6Q5I")  # a period that is over: which, and the numbers
PERIOD_BYTES = const(70)

_WAIT = const(40)  # periods that are over, 130 bytes each: more than a month of a flash that takes nothing

# what a row says beside its numbers
BOOT = const(1)  # the first one of a boot
SETTLES = const(2)  # what this boot measured before the clock was set belongs to the date of this row


class Books:
    """`take` every row; what is over waits in `closed` as (which of PERIODS, its number there, packed) until it is kept."""

    def __init__(self) -> None:
        self.keys = [-1, -1, -1]  # the period that each of the first three is of
        self.books = [[0] * NUMBERS for _ in range(6)]
        self.closed: list = []
        self.count = [0, 0, 0]  # periods of each kind that are over
        self.dropped = 0  # of them, since boot, because too many waited

    def take(self, date, flags: int, numbers) -> None:
        """A row's numbers: its energies in Wh, its seconds measured of each, and its seconds; date: local, None: not known.

        All of it or, with MemoryError, nothing.
        """
        before = self.keys, self.books, self.closed, self.count
        after = self.keys[:], [book[:] for book in self.books], self.closed[:], self.count[:]
        self.keys, self.books, self.closed, self.count = after
        try:
            self._take(date, flags, numbers)
        except MemoryError:
            self.keys, self.books, self.closed, self.count = before
            raise

    def _take(self, date, flags: int, numbers) -> None:
        if flags & BOOT:
            self._add(UNDATED, self.books[LOOSE])
            self.books[LOOSE] = [0] * NUMBERS
        self._add(TOTAL, numbers)
        if date is None:
            self._add(LOOSE, numbers)
            return
        for kind, key in enumerate(keys_of(date)):
            if key != self.keys[kind]:
                self._close(kind)
                self.keys[kind] = key
            self._add(kind, numbers)
            if flags & SETTLES:
                self._add(kind, self.books[LOOSE])
        if flags & SETTLES:
            self.books[LOOSE] = [0] * NUMBERS

    def _close(self, kind: int) -> None:
        if any(self.books[kind]):
            packed = struct.pack(_PERIOD, self.keys[kind], *self.books[kind])
            self.closed.append((kind, self.count[kind], packed))
            self.count[kind] += 1
            if len(self.closed) > _WAIT:  # the oldest goes; those behind it move up, as they are kept without a gap
                gone = self.closed.pop(0)[0]
                self.closed = [(which, number - (which == gone), row) for which, number, row in self.closed]
                self.count[gone] -= 1
                self.dropped += 1
        self.books[kind] = [0] * NUMBERS

    def _add(self, book: int, numbers) -> None:
        into = self.books[book]
        for i in range(NUMBERS):
            into[i] += numbers[i]

    def to_doc(self, row: int) -> dict:
        """All of it as JSON has it, of this moment; row: how many rows are in it."""
        return {"rows": row, "keys": self.keys[:], "count": self.count[:], "books": [book[:] for book in self.books]}

    def from_doc(self, doc: dict) -> int:
        """Take over what was stored; gives how many rows are in it.  ValueError where it cannot be."""
        for name, length in (("keys", 3), ("count", 3), ("books", 6)):
            if not isinstance(doc.get(name), list) or len(doc[name]) != length:
                raise ValueError("%s must be a list of %d" % (name, length))
        for numbers, length in [(doc["keys"], 3), (doc["count"], 3)] + [(book, NUMBERS) for book in doc["books"]]:
            if not isinstance(numbers, list) or len(numbers) != length or not all(_is_count(number) for number in numbers):
                raise ValueError("books of energy hold whole numbers, -1 to 10**15")
        if not _is_count(doc.get("rows")) or doc["rows"] < 0:
            raise ValueError("rows must be a whole number")
        self.keys, self.count, self.books = doc["keys"], doc["count"], doc["books"]
        return doc["rows"]


def keys_of(date: int) -> tuple:
    """What day, month and year a local date is of, as numbers below 65536."""
    year, month, _ = date_of(date)
    return (date, year * 12 + month - 1, year)


def period(packed) -> tuple:
    """(which, the numbers) of a period that is over."""
    numbers = struct.unpack(_PERIOD, packed)
    return numbers[0], numbers[1:]


def _is_count(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -1 <= value <= 10**15
