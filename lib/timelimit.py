"""Interrupts Python that runs for too long: KeyboardInterrupt is raised in it, whatever it does.

`check` is for a timer's callback, which MicroPython runs between two bytecodes.  What a callback raises itself goes nowhere;
interrupting.py has the way that is left.
"""

import time

import interrupting
import micropython
from micropython import const

_AGAIN_MS = const(250)  # after an interrupt that was caught and changed nothing
_UNDER_WAY_MS = const(500)  # how long one that was asked for is waited for: on a chip it is there at once


class TimeLimit:
    """`with limit:` what must not take longer than so many milliseconds.

    Whoever catches the interrupt is interrupted again; who does so for ever is the watchdog's.
    """

    def __init__(self, ms: int, lock=None) -> None:
        """lock: who holds it is not interrupted, but right after it."""
        self._ms = ms
        self._lock = lock
        self._due = 0
        self._running = False
        self._asked = False  # an interrupt is under way
        self.over = False  # what ran last was interrupted

    def __enter__(self):
        self._due = time.ticks_add(time.ticks_ms(), self._ms)
        self.over = False
        self._asked = False
        self._running = True
        return self

    def __exit__(self, kind, _error, _trace) -> None:
        """An interrupt that is under way is raised here, and none comes later.

        Nor one from the wire: what ran may have switched Ctrl-C on, as mpremote does for each file that it mounts.
        """
        self._running = False
        micropython.kbd_intr(-1)
        if kind is KeyboardInterrupt or not self._asked:
            return
        due = time.ticks_add(time.ticks_ms(), _UNDER_WAY_MS)
        while time.ticks_diff(due, time.ticks_ms()) > 0:
            time.sleep_ms(1)

    def check(self) -> None:
        """Interrupt what has run for too long."""
        now = time.ticks_ms()
        if not self._running or time.ticks_diff(now, self._due) < 0:
            return
        if (self._lock is None or not self._lock.locked()) and interrupting.press():
            self._due = time.ticks_add(now, _AGAIN_MS)
            self._asked = True
            self.over = True
