"""A plain bank of registers to serve: arrays with a first address, and which of them may be written."""

from array import array

from micropython import const

from modbus import hot
from modbus.server import COILS, DISCRETE_INPUTS, HOLDING_REGISTERS, INPUT_REGISTERS

_ILLEGAL_ADDRESS = const(2)


class Bank:
    """Holding and input registers and bits, each from an address of its own; all in plain sight.

    holding, inputs: how many registers; coils, discretes: how many bits (sixteen to a word of `bits`);
    first: the address each table begins at.  `written(table, address, count)` is called after each write.
    """

    def __init__(self, holding: int = 0, inputs: int = 0, coils: int = 0, discretes: int = 0, first: int = 0) -> None:
        self.first = first
        self.holding = array("H", bytes(2 * holding))
        self.inputs = array("H", bytes(2 * inputs))
        self.coils = bytearray(coils)  # one byte a bit: 0 or 1
        self.discretes = bytearray(discretes)
        self.written = None

    def _table(self, table: int):
        if table == HOLDING_REGISTERS:
            return self.holding
        if table == INPUT_REGISTERS:
            return self.inputs
        return self.coils if table == COILS else self.discretes

    def read(self, table: int, address: int, count: int, words) -> int:
        """As modbus.server asks for it."""
        source = self._table(table)
        start = address - self.first
        if start < 0 or start + count > len(source):
            return _ILLEGAL_ADDRESS
        if table == HOLDING_REGISTERS or table == INPUT_REGISTERS:
            hot.copy_words(source, start, count, words, 0)
            return 0
        for i in range((count + 15) >> 4):
            words[i] = 0
        for i in range(count):
            if source[start + i]:
                words[i >> 4] |= 1 << (i & 15)
        return 0

    def check(self, table: int, address: int, count: int, words) -> int:
        """Everything inside a table that can be written at all is acceptable."""
        start = address - self.first
        if table == DISCRETE_INPUTS or start < 0 or start + count > len(self._table(table)):
            return _ILLEGAL_ADDRESS
        return 0

    def write(self, table: int, address: int, count: int, words) -> int:
        """Takes what `check` has accepted."""
        target = self._table(table)
        start = address - self.first
        if table == HOLDING_REGISTERS:
            hot.copy_words(words, 0, count, target, start)
        else:
            for i in range(count):
                target[start + i] = words[i >> 4] >> (i & 15) & 1
        if self.written is not None:
            self.written(table, address, count)
        return 0
