"""What the console keeps of the heap for the line that is asked next, and what happens when a line has taken all of it.

In a heap that fills up the reserve goes to the line, then the monitor rests; what people have kept under names of their
own is forgotten before control lacks anything.
"""

import time

from micropython import const

_RESERVE = const(1280)  # bytes in one place, and three of them: a full heap has no large one
_PLENTY = const(16384)  # bytes free after the last collection: a line needs no reserve, nor has a small heap to keep one
_ENOUGH = const(18432)  # the same, with it: a small heap has it back
_LEAST = const(6144)  # the same: with less, control goes first: the reserve and half of it again
_RETRY_MS = const(1000)  # a reserve that cannot be had costs a collection: not more often than this


def _is_in_crumbs() -> bool:
    """Whether no line could be made of what is free: a hoard may leave kilobytes of it in pieces of some bytes."""
    try:
        bytearray(_RESERVE)
        return False
    except MemoryError:
        return True


class Spare:
    """`starved`: times that the heap had nothing for the console."""

    def __init__(self, app) -> None:
        self.starved = 0
        self._app = app
        self._pieces = None
        self._again_ms = time.ticks_ms()
        self._spends = False  # a line has run since the names were looked at
        self._is_sure = False  # what is free has just been told by a collection

    def give(self) -> None:
        """To the line that comes, where the heap is short."""
        self._spends = True
        self._app.collector.before_a_line()
        if self._app.metering.free_bytes < _PLENTY:  # else it stays where it is: taken again it would lie amid what is free
            self._pieces = None

    def give_up(self) -> None:
        """To whoever needs it now."""
        self._pieces = None

    def starve(self) -> None:
        """There was no heap for something small: the reserve is given up for it, the monitor rests."""
        self._pieces = None
        self._again_ms = time.ticks_add(time.ticks_ms(), _RETRY_MS)
        self.starved += 1

    def is_spent(self) -> None:
        """A line has found the heap full: whether it is, or that line alone wanted too much, a collection tells."""
        self.starve()
        self.sweep()

    def sweep(self) -> None:
        """Collect, and know what is free."""
        self._app.collector.sweep()
        self._is_sure = True

    def is_short(self, idle: bool) -> bool:
        """Whether so little is free since a line has run that what it has kept must go; said once.  idle: no answer is made."""
        if self._spends and (self._is_sure or 0 <= self._app.metering.free_bytes < _LEAST):
            if not self._is_sure:  # it is looked at a cycle after it is collected: what a line has left behind since is in it
                self.sweep()
            if self._app.metering.free_bytes < _LEAST or _is_in_crumbs():
                self._spends = self._is_sure = False
                return True
        self._is_sure = False
        if idle:
            self.keep()
            if self._app.collector.small and self._app.metering.free_bytes > _ENOUGH:
                self._pieces = None
        return False

    def keep(self) -> bool:
        """Have the reserve, a small heap when it runs short, again if need be, tried once a second; False: it cannot be had."""
        if self._pieces is not None or (self._app.collector.small and not 0 <= self._app.metering.free_bytes < _PLENTY):
            return True
        if time.ticks_diff(time.ticks_ms(), self._again_ms) < 0:
            return False
        try:
            self._pieces = (bytearray(_RESERVE), bytearray(_RESERVE), bytearray(_RESERVE))
        except MemoryError:
            self._again_ms = time.ticks_add(time.ticks_ms(), _RETRY_MS)
            return False
        return True
