"""The chain of SunSpec models: what is written is kept, all else is made when somebody reads it.

What is read between two cycles is of one instant.  Reading allocates nothing.
"""

from array import array

from firmware import image as im
from firmware.ems import tables as t
from firmware.ems.figures import Figures
from modbus.registers import expand, fill, index_of, overlay

_INITIAL = t.INITIAL  # each read needs them
_KEPT = t.KEPT
_FILLS = t.FILLS
_N_KEPT = len(_KEPT) // 3
_N_FILLS = len(_FILLS) // 5


class Chain:
    """`registers`: what is kept, by tables.*; `own`: what firmware.ems.figures makes of the image; `size`: of the chain."""

    def __init__(self, image, texts: "tuple[str, str, str, str]", unit: int) -> None:
        """texts: manufacturer, model, version and serial number; unit: the one that answers."""
        self.registers = array("H", bytes(2 * t.N_KEPT))
        self.own = array("i", [0] * t.N_OWN)
        self.image = image
        self.size = t.SIZE
        self.figures = Figures(image, self.own)
        self._ports = None  # of several banks
        self._seen = -1
        from firmware.ems import filling  # it leaves with those that build a site

        self._divisors = filling.fill(self.registers, self.own, image.par, texts, unit)
        if image.divided:
            from firmware.ems.ports import Ports  # a site of one bank does not load them

            self._ports = Ports(self, image.banks)

    def count_from(self, out_wh: int, in_wh: int) -> None:
        """The AC energy out of the battery and into it before this boot: what counts goes on from there."""
        before = self.figures.before
        before[0], before[1] = out_wh >> 30, out_wh & 0x3FFFFFFF
        before[2], before[3] = in_wh >> 30, in_wh & 0x3FFFFFFF

    def read(self, start: int, count: int, words) -> None:
        """The registers from start on, which are inside the chain, into words."""
        cycle = self.image.now[im.CMD_SEQ]
        if cycle != self._seen:
            self._seen = cycle
            self.figures.make()
        if self._ports is not None:
            self._ports.read(start, count, words)
            return
        expand(_INITIAL, start, count, words, 0)
        overlay(_KEPT, _N_KEPT, self.registers, start, count, words, 0)
        fill(_FILLS, _N_FILLS, self.figures.now, self.image.par, self.own, self._divisors, start, count, words, 0)

    def make(self, start: int, count: int, words, at: int, now, own) -> None:
        """The same of a window of the chain of one bank, into words[at:]; now, own: what they are made of."""
        expand(_INITIAL, start, count, words, at)
        overlay(_KEPT, _N_KEPT, self.registers, start, count, words, at)
        fill(_FILLS, _N_FILLS, now, self.image.par, own, self._divisors, start, count, words, at)

    def kept(self, start: int) -> int:
        """Where a register is kept; -1: it is not."""
        return index_of(_KEPT, _N_KEPT, start)

    def inside(self, start: int) -> int:
        """Which register of the chain of one bank this one is, for what is written."""
        return start if self._ports is None else self._ports.inside(start)

    # ---- points of several registers ------------------------------------------------------------------------

    def signed(self, at: int) -> int:
        """An int16."""
        value = self.registers[at]
        return value - 0x10000 if value & 0x8000 else value

    def long(self, at: int) -> int:
        """An int32, which a check has kept inside 30 bits."""
        return self.signed(at) << 16 | self.registers[at + 1]
