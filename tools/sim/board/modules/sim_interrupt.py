"""`micropython` for the simulated board: kbd_intr() is about the wire alone; the host's signal always interrupts.

The Unix port's own kbd_intr(-1) would let the host's signal end the process, which is no chip's habit.
"""

import sys

import micropython
import simlink


class _Micropython:
    """The built-in module with another kbd_intr."""

    def __init__(self) -> None:
        self.const = micropython.const  # what every module asks for needs no detour

    def __getattr__(self, name: str) -> object:
        return getattr(micropython, name)

    def kbd_intr(self, character: int) -> None:
        """Which character on the wire interrupts the program; -1: none."""
        simlink.send(0x4B, character & 0xFF)


def install() -> None:
    """From now on `import micropython` finds it."""
    sys.modules["micropython"] = _Micropython()
