"""Remembers what a site did: the last hour by the second in RAM; on flash a row every five minutes, and energy by day, month, year.

A row is written when its five minutes are over, so a power cut costs at most these, and no energy is counted twice
(docs/history.md).  The values are those of the whole site, of several banks too.  `rows`, `pieces` and `totals` are what
others read.
"""

import asyncio
import gc
import os

from civil import DAY_S
from micropython import const
from notice import say
from rowlog import RowLog
from safestore import Store, StoreError

from firmware import image as im
from firmware.history import books as bk
from firmware.history import five as fv
from firmware.history.reading import Reading
from firmware.history.seconds import Seconds

OPTIONS = (
    ("days", "int", 30, 1, 366, "days of five-minute rows kept on the flash, 24 KB each"),
    ("minutes", "int", -1, -1, 60, "of the last hour by the second, 560 bytes of heap each; -1: 60 with PSRAM, 5 without"),
)
HEAP_BYTES = 33000  # with five minutes by the second; the hour where there is PSRAM takes 30 KB more, given back when it runs short
OWN_HEAP_BYTES = 15000
NEEDS = ("records",)
NAME = "history"  # of its folder
_EVERY_S = const(300)
_A_DAY = const(288)  # rows of one file
_TAIL = const(12)  # an hour of rows has files of its own, before they go together into one
# rows a file and files, of days, months and years: three years of days and more, ten of months, fifty of years
_PERIODS = const(((183, 7), (60, 3), (60, 2)))
_PERIOD_TAIL = const(1)
_LARGE_HEAP = const(1000000)  # bytes: who has more has PSRAM
_SMALL_MINUTES = const(5)  # what is not on the flash yet
_GIVEN_BACK = const(10)  # minutes at once
_DAY_BLOCKS = const(6)  # of flash, for a file of five-minute rows


class Service:
    """Looks once a second.  People know it as `history`."""

    keeps = "safestore"  # it stores with it: it stays when those leave that build a site

    def __init__(self, name: str, options: dict, pm, app) -> None:
        """What was wrong with what is stored is in `problems`."""
        self._name = name
        self._pm = pm
        self._app = app
        self._records = app.services["records"].records
        self._now = pm.image.now
        self.problems: list = []
        self.given_back = 0  # minutes of the last hour, because the heap ran short
        place = self._records.place + "/" + NAME
        try:
            os.mkdir(place)
        except OSError:
            pass  # it is there
        self.days = self._that_fit(options["days"], place)
        wear = self._records.wear
        self.fives = RowLog(place, "five", fv.ROW_BYTES, _A_DAY, self.days + 1, _TAIL, wear)
        self.periods = [
            RowLog(place, bk.PERIODS[i], bk.PERIOD_BYTES, per_file, files, _PERIOD_TAIL, wear)
            for i, (per_file, files) in enumerate(_PERIODS)
        ]
        self._store = Store(place + "/books.json", 1, wear=wear)
        self.books = bk.Books()
        self._load()
        minutes = options["minutes"]
        if minutes < 0:
            heap = gc.mem_free() + gc.mem_alloc() if hasattr(gc, "mem_free") else 0  # a laptop that checks a site
            minutes = 60 if heap > _LARGE_HEAP else _SMALL_MINUTES
        self.seconds = Seconds(pm.image, minutes)
        self._five = fv.Five(pm.image)
        self._flags = bk.BOOT
        self._turn = -1  # which five minutes
        self._date = None
        self._at = (0, 0)  # the wall clock at the last look,
        self._at_s = 0  # and the seconds since boot
        self._was_set = False
        self._clock_steps = 0  # when that was looked at last
        self._undated = False  # something of this boot was taken in without a date
        self.reading = Reading(self, pm)
        self.rows, self.pieces, self.log = self.reading.rows, self.reading.pieces, self.reading.log
        self.answer, self.told = self.reading.answer, self.reading.told
        self.names = {"history": self}
        self._records.save_beside(NAME, self._steps)

    # ---- at start -------------------------------------------------------------------------------------

    def _that_fit(self, days: int, place: str) -> int:
        """At most half of what the flash has free, with what is kept already."""
        held = len([name for name in os.listdir(place) if name[:5] == "five."])
        blocks = (self._records.free_blocks + held * _DAY_BLOCKS) // 2
        most = max(1, blocks // _DAY_BLOCKS - 1)
        if self._records.free_blocks > 1 and days > most:
            self.problems.append("days = %d: the flash has space for %d" % (days, most))
            return most
        return days

    def _load(self) -> None:
        """What is stored, and what has happened since it was stored."""
        rows = -1
        try:
            doc = self._store.load()
            if doc is not None:
                rows = self.books.from_doc(doc)
            if self._store.problem:
                self.problems.append("%s; using the version before" % self._store.problem)
        except (StoreError, ValueError) as error:
            self.problems.append("%s: energies are counted anew" % error)
            self.books = bk.Books()
        self.fives.begin(max(0, rows))
        for kind, log in enumerate(self.periods):
            log.begin()
            if log.next < self.books.count[kind]:  # somebody has removed its files
                log.begin(self.books.count[kind])
                self.books.count[kind] = log.next
        if rows < 0:  # never stored, or lost: what was taken in cannot be told from what was not
            rows = self.fives.next if self.fives.next - self.fives.first > _TAIL else self.fives.first
            self.books.count = [log.next for log in self.periods]
        for _, packed in self.fives.rows(rows):
            if packed is not None:
                row = fv.unpacked(packed)
                date, flags = fv.date_and_flags(row)
                self.books.take(date, flags, fv.numbers(row))

    def begin(self) -> None:
        """Say what was wrong; what a cut has left half done is done next."""
        if self.books.closed or self.fives.is_full:
            self._records.changed_beside(NAME)
        for problem in self.problems:
            print("%s: %s" % (self._name, problem))

    # ---- every second ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """For ever, right behind the second's turn."""
        while True:
            self.sample()
            self.spare_the_heap()
            await asyncio.sleep_ms(max(100, 1010 - self._now[im.UPTIME_MS]))

    def sample(self) -> None:
        """Take in what is measured now; when five minutes of the clock are over, or its date is, their row is written."""
        clock = self._pm.clock
        up_s = self._now[im.UPTIME_S]
        date = clock.tz.local(clock.day, clock.sec)[0] if clock.is_set else None
        turn = (clock.sec if clock.is_set else clock.elapsed_s) // _EVERY_S
        self.seconds.sample()
        self._five.sample()
        if clock.steps != self._clock_steps and self._turn >= 0:
            self._jump(clock, up_s)
        elif turn != self._turn or date != self._date:
            self._end((clock.day, clock.sec) if clock.is_set else (fv.NO_DAY, clock.elapsed_s), self._date)
        self._turn = turn
        self._date = date
        self._at = (clock.day, clock.sec)
        self._at_s = up_s
        self._was_set = clock.is_set
        self._clock_steps = clock.steps

    def _jump(self, clock, up_s: int) -> None:
        """The clock was set or stepped: the row ends here, by the clock that it began with; one without a clock by the new one."""
        if self._was_set:
            sec = self._at[1] + up_s - self._at_s
            self._end((self._at[0] + sec // DAY_S, sec % DAY_S), self._date)
            return
        day, sec = clock.tz.local(clock.day, clock.sec)
        self._end((clock.day, clock.sec), day if self._five.ms < sec * 1000 else None)

    def _end(self, at: tuple, date) -> None:
        """The row is over: take it into the books, and keep it.  MemoryError, and it goes on, where there is no heap for that."""
        if self._turn < 0 or self._five.ms < 500:
            return
        flags = self._flags
        if date is None:
            at = (fv.NO_DAY, self._pm.clock.elapsed_s)
        elif self._undated and self._pm.clock.elapsed_s <= self._pm.clock.local()[1]:  # it began today
            flags |= bk.SETTLES
        row = self._five.row(at[0], at[1], date, flags)
        self.books.take(date, flags, self._five.numbers())
        self._five.begin()
        self._undated = date is None
        if self.fives.append(row):
            self._flags = 0
        self._records.changed_beside(NAME)

    def spare_the_heap(self) -> None:
        """Give back of the last hour when the heap runs short: whoever steers needs it more."""
        watch = self._app.heap_watch
        if watch is not None and 0 <= self._app.metering.free_bytes < watch.reserve and self.seconds.minutes:
            given = self.seconds.give_back(_GIVEN_BACK)
            self.given_back += given
            say("%s: %d minutes by the second given back: the heap runs short" % (self._name, given))

    # ---- saving ---------------------------------------------------------------------------------------

    def _steps(self):
        """What waits, a step at a time: rows first, then periods that are over, then, with every hour of rows, the books.

        The books hold every row that was made, so nothing that they have come to may still wait: else the next time.
        """
        is_due = self.fives.is_full or bool(self.books.closed)
        yield from self.fives.steps()
        while self.books.closed:
            kind, number, packed = self.books.closed[0]
            yield from self.periods[kind].steps()  # there is room for one now
            if number >= self.periods[kind].next:  # else it was kept, and the power was cut before the books were
                self.periods[kind].append(packed)
            self.books.closed.pop(0)
        for log in self.periods:
            yield from log.steps()
        if is_due and not self.fives.waiting:
            yield from self._store.steps(self.books.to_doc(self.fives.next))

    # ---- asking ---------------------------------------------------------------------------------------

    def totals(self) -> dict:
        """Wh since the history began: charged, discharged, imported, exported, pv, load, to this second; None: never measured."""
        return _energies(_sum(self.books.books[bk.TOTAL], self._five.numbers()))

    def today(self) -> dict:
        """The same of the local day; None for all of them without a clock."""
        for key, numbers in self.open_periods(0):
            if key == self._date:
                return _energies(numbers)
        return _energies([0] * bk.NUMBERS)

    def open_periods(self, kind: int):
        """(which, numbers) of the day, month or year that goes on; before it of what is over and waits for the flash, or for the
        first row of the new one."""
        for which, number, packed in self.books.closed:
            if which == kind and number >= self.periods[kind].next:
                yield bk.period(packed)
        key = self.books.keys[kind]
        book = self.books.books[kind]
        running = self._five.numbers()
        now = -1 if self._date is None else bk.keys_of(self._date)[kind]
        if key >= 0 and any(book):
            yield key, _sum(book, running) if key == now else book
        if now >= 0 and now != key and any(running):
            yield now, running

    def undated(self) -> list:
        """What was measured while the clock was not set, and cannot be given to a day."""
        found = _sum(self.books.books[bk.UNDATED], self.books.books[bk.LOOSE])
        return _sum(found, self._five.numbers()) if self._date is None else found

    def begins(self, first: tuple):
        """From which row on to look for what is younger than this time, better and better: one file back at each step."""
        number = self.fives.next
        while number > self.fives.first:
            number = max(self.fives.first, (number - 1) // _A_DAY * _A_DAY)
            packed = self.fives.row(number)
            yield number
            if packed is not None:
                row = fv.unpacked(packed)
                if row[0] != fv.NO_DAY and row[:2] <= first:
                    return

    def counters(self) -> dict:
        """What is kept, what waits for the flash and what was lost; minutes by the second."""
        return {
            "days": self.days, "rows": self.fives.next - self.fives.first, "waiting": self.fives.waiting,
            "lost": self.fives.lost + self.books.dropped, "damaged": self.fives.damaged, "minutes": self.seconds.minutes,
            "given_back": self.given_back, "problems": self.problems,
        }  # fmt: skip


def _sum(one, other) -> list:
    return [one[i] + other[i] for i in range(bk.NUMBERS)]


def _energies(numbers) -> dict:
    return {name: numbers[i] if numbers[6 + bk.SOURCE[i]] else None for i, name in enumerate(bk.ENERGIES)}
