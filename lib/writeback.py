"""Writes documents to flash late and seldom: changes wait, urgent ones shortly, and one save is done at a time.

A save stalls a board for tens of milliseconds each time flash is erased, and wears it, so many small changes become one,
and one may be done in steps.  What must not wait has a budget: so many saves at once, refilled by one in each interval, so
that what changes without end wears no more than what waits.
"""

from micropython import const

_RETRY_S = const(60)


class _Row:
    """One thing that is saved."""

    def __init__(self, name: str, save, delay_s: int, interval_s: int, at_once: int) -> None:
        self.name = name
        self.save = save
        self.delay_s = delay_s
        self.interval_s = interval_s
        self.ahead_s = (at_once - 1) * interval_s
        self.dirty_s = -1  # when it was marked; -1: nothing to save
        self.next_s = 0  # when the next would be, one in each interval; so much of them may be ahead of it as its budget says
        self.retry_s = 0  # not before
        self.failed = False  # the last time


def _turn(row: _Row) -> tuple:
    """Of two, the smaller goes first: the one with the larger budget, then the one that has waited longer."""
    return -row.ahead_s, row.dirty_s


class WriteBack:
    """Saves what is marked, when it is due.  `errors` and `last_error` tell of saves that failed and are tried again."""

    def __init__(self) -> None:
        self.errors = 0
        self.last_error = ""
        self._rows = {}
        self._now_s = 0
        self._saving = None  # the steps of the save under way

    def add(self, name: str, save, delay_s: int, interval_s: int, at_once: int = 1) -> None:
        """`save()` is called `delay_s` after the first unsaved change, but at most once in `interval_s`.

        Of `at_once` it is so many times that do not wait for the interval, and again as many `interval_s` have passed; such
        a save goes before the others.  It saves, or returns a generator that does, and stops before each step.
        """
        self._rows[name] = _Row(name, save, delay_s, interval_s, at_once)

    def mark(self, name: str) -> None:
        """This has changed."""
        row = self._rows[name]
        if row.dirty_s < 0:
            row.dirty_s = self._now_s

    def is_dirty(self, name: str) -> bool:
        """Whether a change waits."""
        return self._rows[name].dirty_s >= 0

    @property
    def waits(self) -> bool:
        """Whether anything does."""
        return any(row.dirty_s >= 0 for row in self._rows.values())

    @property
    def failing(self) -> list:
        """The names of what could not be saved the last time."""
        return [row.name for row in self._rows.values() if row.failed]

    def tick(self, now_s: int) -> str:
        """Does the save that is due, the most urgent if there are several, and returns its name ("" for none)."""
        self._finish()
        due = self._due(now_s)
        if due is None:
            return ""
        self._saving = self._save(due)
        self._finish()
        return due.name

    def steps(self, now_s: int):
        """The save that is due, the most urgent if there are several, as a generator that stops before each of its steps.

        One that was left half done goes on first.
        """
        if self._saving is None:
            due = self._due(now_s)
            if due is None:
                return
            self._saving = self._save(due)
        yield from self._saving

    def _due(self, now_s: int):
        """The most urgent row whose save is due; None when none is."""
        self._now_s = now_s
        due = None
        for row in self._rows.values():
            if row.dirty_s >= 0 and now_s >= max(row.dirty_s + row.delay_s, row.next_s - row.ahead_s, row.retry_s):
                if due is None or _turn(row) < _turn(due):
                    due = row
        return due

    def flush(self) -> bool:
        """Saves everything that waits, now: before a reset.  False when something could not be saved."""
        for _ in self.flushing():
            pass
        return not self.waits

    def flushing(self):
        """flush() as a generator that stops before each step: what was begun, then the most urgent first."""
        while self._saving is not None:
            yield from self._saving
        for row in sorted(self._rows.values(), key=_turn):
            if row.dirty_s >= 0:
                self._saving = self._save(row)
                yield from self._saving

    def _finish(self) -> None:
        """The save under way, to its end."""
        while self._saving is not None:
            for _ in self._saving:
                pass

    def _save(self, row: _Row):
        since_s = row.dirty_s
        row.dirty_s = -1  # before the save: what changes during it is saved next time
        saved = False
        try:
            steps = row.save()
            if steps is not None:
                yield from steps
            saved = True
            row.failed = False
            row.next_s = max(row.next_s, self._now_s) + row.interval_s
        except (OSError, MemoryError) as error:
            row.retry_s = self._now_s + _RETRY_S
            row.failed = True
            self.errors += 1
            self.last_error = "%s: %s" % (row.name, error)
        finally:
            if not saved:
                row.dirty_s = since_s
            self._saving = None
