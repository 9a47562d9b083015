"""Runs callbacks: plain ones in a thread of their own, so that one that blocks cannot hold the control loop.

A callback that does not come back within STUCK_MS is suspended; its thread is left to it and the next one goes on.  While
all that are registered are async functions no thread is needed: the loop starts their coroutines, and its stack is spared.
"""

import _thread
import sys
import time

from micropython import const

from firmware.dispatching import abandon, dispatch, print_report

STUCK_MS = const(5000)
_AT_ONCE = const(4)  # events at one step, where the loop hands them on
_IDLE_MS = const(20)
_STACK = const(8192)  # bytes on a 32-bit chip


async def _nothing() -> None:
    """Its type is that of MicroPython's async functions."""


def _is_async(fn) -> bool:
    """An async function beyond doubt; CPython, where it has the type of a plain one, takes the thread."""
    return type(fn) is type(_nothing) and type(fn) is not type(_is_async)


class Worker:
    """What dispatches events to callbacks, from the loop or in a thread."""

    def __init__(self, events) -> None:
        self._events = events
        self._number = 0  # of the thread in charge; an abandoned one sees that it no longer is
        self._refused = False  # there is none: the chip had no memory for it
        self.abandoned = 0

    def step(self) -> None:
        """Call a few times a second from the loop: starts the thread, replaces one that hangs.

        OSError and MemoryError where there is no thread to be had; not again, while it asks again.
        """
        events = self._events
        if self._number == 0 or self._refused:
            for callback in events.callbacks:
                if not _is_async(callback.fn):
                    self._start()
                    return
            for _ in range(_AT_ONCE):  # each only makes a coroutine
                if not dispatch(events):
                    return
            return
        if events.running is not None and time.ticks_diff(time.ticks_ms(), events.running_since) > STUCK_MS:
            stuck = abandon(events)
            if stuck is None:
                return
            self.abandoned += 1
            (events.report or print_report)(stuck, RuntimeError("has not returned for %d ms: suspended" % STUCK_MS))
            self._start()

    def stop(self) -> None:
        """The thread ends after the callback it is in."""
        self._number = -1

    def _start(self) -> None:
        self._number += 1
        try:
            _thread.stack_size(_STACK << 4 if sys.maxsize >> 31 else _STACK)  # a 64-bit host does not check it: it dies
        except (AttributeError, ValueError):
            pass  # a port with a fixed stack
        before, self._refused = self._refused, True
        try:
            _thread.start_new_thread(self._run, (self._number,))
            self._refused = False
        except (OSError, MemoryError):  # the next step tries again
            if not before:
                raise  # once, for who says so

    def _run(self, number: int) -> None:
        while self._number == number:
            if not dispatch(self._events):
                time.sleep_ms(_IDLE_MS)
