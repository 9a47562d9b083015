"""Finds the garbage collector in the 32-bit interpreter, so that the clock sees every collection, asked for or not.

The interpreter has no symbols, but one function of its machine code looks like MicroPython's gc_collect(): begin, the
registers, the other threads, end, and nothing else.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from tools.sim.board.chip.build import ChipError

_PUSH_AND_CALL = rb"\x53\xe8....\x81\xc3....\x83\xec\x08"  # push ebx; call (for the address of the data); add; sub esp, 8
_FOUR_CALLS = rb"(?:\xe8....){4}"
_RETURN = rb"\x83\xc4\x08\x5b\xc3"  # add esp, 8; pop ebx; ret
_COLLECT = re.compile(b"(" + _PUSH_AND_CALL + _FOUR_CALLS + b")" + _RETURN, re.DOTALL)


@dataclass(frozen=True)
class Collector:
    """Where gc_collect() is: its offset in the program, its first six bytes, and after how many it is done."""

    offset: int
    first: bytes
    length: int

    def options(self) -> str:
        """As the plugin is told; it compares addresses within a page, as programs are loaded anywhere."""
        return f"gc_at={self.offset & 0xFFF:#x},gc_bytes=0x{self.first[::-1].hex()},gc_end={self.length:#x}"


def find(program: Path) -> Collector:
    """gc_collect() of that program.  Raises ChipError where there is not exactly one function like it."""
    found = list(_COLLECT.finditer(program.read_bytes()))
    if len(found) != 1:
        raise ChipError(f"{program} has {len(found)} functions like gc_collect(), so its collections cannot be told apart")
    start, end = found[0].span(1)
    return Collector(start, found[0][1][:6], end - start)
