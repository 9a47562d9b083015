"""`select` of the simulated chip: a poll waits for whole ticks of its operating system, 10 ms each.

As in MicroPython's ESP32 port: what is registered is looked at, then the task sleeps until the next tick or until an
interrupt wakes it.  A machine.Timer's interrupt does: its callback runs, and what it set is seen, at once.  Sockets and
the console wake nobody, so they are seen at a tick.  The ticks slide against the firmware's beat, a hundredth of a
per cent, so that within a few minutes every phase of the two comes up.
"""

import os
import time

import uselect
from micropython import const
from sim_pace import off, on
from uselect import POLLERR, POLLHUP, POLLIN, POLLOUT  # noqa: F401  (part of the interface)

_POLL = const(3)  # MP_STREAM_POLL
_TICK_US = const(9999)

_ticking = bool(os.getenv("SIM_FLASH"))  # else the board is a fast PC: waits are exact
_tick_us = time.ticks_us()  # when the next tick comes
timers = None  # sim_timer's function that fires what is due, from the first Timer on; microseconds to the next one, -1: none
waits: list = []  # what to call before the loop waits


def _doze(left_ms: int) -> None:
    """Until the next tick or interrupt; on a fast board at most a millisecond, for nothing else wakes it from here."""
    global _tick_us
    now = time.ticks_us()
    if _ticking:
        behind = time.ticks_diff(now, _tick_us)
        if behind >= 0:
            _tick_us = time.ticks_add(_tick_us, (behind // _TICK_US + 1) * _TICK_US)
        wait = time.ticks_diff(_tick_us, now)
    else:
        wait = 1000 if left_ms else 0
    if timers is not None:
        due = timers()
        if due == 0:
            return  # its callback has run: what it set is looked at first
        if 0 < due < wait:
            wait = due
    time.sleep_us(wait)


class poll:
    """As select.poll."""

    def __init__(self) -> None:
        self._files = uselect.poll()
        self._streams: list = []  # Python objects with an ioctl(), and below what is asked of each
        self._events: list = []
        self._ready: list = []
        self._pairs: list = []  # (object, events) as they are given out, used again: on a chip nothing is allocated
        self._flags = 0

    def _place(self, obj) -> int:
        for i in range(len(self._streams)):
            if self._streams[i] is obj:
                return i
        return -1

    def register(self, obj, events: int = POLLIN | POLLOUT) -> None:
        if not hasattr(obj, "ioctl"):
            self._files.register(obj, events)
            return
        at = self._place(obj)
        if at >= 0:
            self._events[at] = events
        else:
            self._streams.append(obj)
            self._events.append(events)

    def unregister(self, obj) -> None:
        at = self._place(obj)
        if at >= 0:
            self._streams.pop(at)
            self._events.pop(at)
        else:
            self._files.unregister(obj)

    def modify(self, obj, events: int) -> None:
        at = self._place(obj)
        if at >= 0:
            self._events[at] = events
        else:
            self._files.modify(obj, events)

    def _look(self) -> int:
        while self._ready:
            self._ready.pop()
        for found in self._files.ipoll(0, self._flags):
            self._give(found[0], found[1])
        for i in range(len(self._streams)):
            events = self._events[i]
            on()
            seen = self._streams[i].ioctl(_POLL, events)
            off()
            if seen > 0:
                self._give(self._streams[i], seen)
                if self._flags & 1:
                    self._events[i] = 0
        return len(self._ready)

    def _give(self, obj, events: int) -> None:
        at = len(self._ready)
        if at == len(self._pairs):
            self._pairs.append([None, 0])
        pair = self._pairs[at]
        pair[0] = obj
        pair[1] = events
        self._ready.append(pair)

    def _wait(self, timeout, flags: int) -> list:
        if timeout is None:
            timeout = -1
        off()
        try:
            self._flags = flags
            start = time.ticks_ms()
            if timers is not None:
                timers()
            while True:
                left = timeout - time.ticks_diff(time.ticks_ms(), start)
                if self._look() or (timeout >= 0 and left <= 0):
                    return self._ready
                for call in waits:
                    call()
                _doze(left)
        finally:
            on()

    def poll(self, timeout=-1, flags: int = 0) -> list:
        """[(object, events), ...] of what is ready within `timeout` ms."""
        return [(pair[0], pair[1]) for pair in self._wait(timeout, flags)]

    def ipoll(self, timeout=-1, flags: int = 0):
        """The same, in a list that the next call uses again."""
        if timeout == 0 and not self._streams:  # one look, asked for at every byte of the console: no detour, which takes long
            off()
            if timers is not None:
                timers()
            found = self._files.ipoll(0, flags)
            on()
            return found
        return self._wait(timeout, flags)
