"""The way for a timer's callback to interrupt the program that it interrupts: as Ctrl-C would.

What a scheduled callback raises is printed and forgotten.  A Ctrl-C that os.dupterm_notify reads from a second terminal is
not: KeyboardInterrupt is raised in the program as soon as the callback is over.
"""

import io
import os

import micropython
from micropython import const

_CTRL_C = const(3)


class _Terminal(io.IOBase):
    """Has one Ctrl-C to read, and swallows what is printed."""

    def __init__(self) -> None:
        super().__init__()
        self.pressed = False

    def readinto(self, buf):
        """One byte, once."""
        if not self.pressed:
            return None
        self.pressed = False
        buf[0] = _CTRL_C
        return 1

    def write(self, buf) -> int:
        """All of it, to nowhere."""
        return len(buf)


_terminal = _Terminal()


def press() -> bool:
    """Press Ctrl-C, for the main thread.  False on a port that has no second terminal: nothing happens."""
    if not hasattr(os, "dupterm_notify"):
        return False
    _terminal.pressed = True
    micropython.kbd_intr(_CTRL_C)
    try:
        before = os.dupterm(_terminal)
        os.dupterm_notify(None)
        os.dupterm(before)
    finally:
        micropython.kbd_intr(-1)
    return True
