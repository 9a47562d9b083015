"""Writes documents to flash late and seldom: changes wait, urgent ones shortly, and one save is done at a time.

A save stalls a board for tens of milliseconds while flash is erased, and wears it, so many small changes become one.
"""

from micropython import const

_RETRY_S = const(60)


class _Row:
    """One thing that is saved."""

    def __init__(self, name: str, save, delay_s: int, interval_s: int) -> None:
        self.name = name
        self.save = save
        self.delay_s = delay_s
        self.interval_s = interval_s
        self.dirty_s = -1  # when it was marked; -1: nothing to save
        self.next_s = 0  # not before


class WriteBack:
    """Saves what is marked, when it is due.  `errors` and `last_error` tell of saves that failed and are tried again."""

    def __init__(self) -> None:
        self.errors = 0
        self.last_error = ""
        self._rows = {}
        self._now_s = 0

    def add(self, name: str, save, delay_s: int, interval_s: int) -> None:
        """`save()` is called `delay_s` after the first unsaved change, but at most once in `interval_s`."""
        self._rows[name] = _Row(name, save, delay_s, interval_s)

    def mark(self, name: str) -> None:
        """This has changed."""
        row = self._rows[name]
        if row.dirty_s < 0:
            row.dirty_s = self._now_s

    def is_dirty(self, name: str) -> bool:
        """Whether a change waits."""
        return self._rows[name].dirty_s >= 0

    def tick(self, now_s: int) -> str:
        """Does the save that has been due longest, if there is one, and returns its name ("" for none)."""
        self._now_s = now_s
        due = None
        for row in self._rows.values():
            if row.dirty_s >= 0 and now_s >= max(row.dirty_s + row.delay_s, row.next_s):
                if due is None or row.dirty_s < due.dirty_s:
                    due = row
        if due is None:
            return ""
        self._save(due)
        return due.name

    def flush(self) -> bool:
        """Saves everything that waits, now: before a reset.  False when something could not be saved."""
        for row in self._rows.values():
            if row.dirty_s >= 0:
                self._save(row)
        return all(row.dirty_s < 0 for row in self._rows.values())

    def _save(self, row: _Row) -> None:
        since_s = row.dirty_s
        row.dirty_s = -1  # before the save: what changes during it is saved next time
        try:
            row.save()
            row.next_s = self._now_s + row.interval_s
        except (OSError, MemoryError) as error:
            row.dirty_s = since_s
            row.next_s = self._now_s + _RETRY_S
            self.errors += 1
            self.last_error = "%s: %s" % (row.name, error)
