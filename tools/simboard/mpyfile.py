"""What is in a compiled module (.mpy, version 6): the names it brings along and how much machine code it holds."""

from dataclasses import dataclass, field
from pathlib import Path

_BYTECODE, _NATIVE, _VIPER = 0, 1, 2
_TUPLE, _LAST_WITHOUT_DATA = 10, 4
_FLAG_RODATA, _FLAG_BSS, _FLAG_RELOC = 0x20, 0x40, 0x10
_FUN_TABLE = 0


@dataclass
class Module:
    """`names`: those that the file spells out, so not the ones every MicroPython has.  `code`: bytes of machine code."""

    names: set[str] = field(default_factory=set)
    code: int = 0


def read(path: Path) -> Module:
    """Takes a file apart.  Raises ValueError for anything but a module of version 6."""
    return _Reader(path.read_bytes(), str(path)).module()


class _Reader:
    def __init__(self, data: bytes, name: str) -> None:
        self.data = data
        self.name = name
        self.at = 4
        self.found = Module()

    def module(self) -> Module:
        if self.data[:2] != b"M\x06":
            raise ValueError(f"{self.name}: is no compiled module of version 6")
        if self.data[2] & 0x40:  # flags of the architecture follow
            self._uint()
        names, objects = self._uint(), self._uint()
        for _ in range(names):
            self._name()
        for _ in range(objects):
            self._object()
        self._function()
        return self.found

    def _uint(self) -> int:
        value = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value

    def _name(self) -> None:
        size = self._uint()
        if size & 1:  # one that every MicroPython has, by its number
            return
        size >>= 1
        self.found.names.add(self.data[self.at : self.at + size].decode())
        self.at += size + 1

    def _object(self) -> None:
        kind = self.data[self.at]
        self.at += 1
        if kind <= _LAST_WITHOUT_DATA:
            return
        size = self._uint()
        if kind == _TUPLE:
            for _ in range(size):
                self._object()
        else:
            self.at += size + (kind in (5, 6))  # text and bytes end with a zero

    def _function(self) -> None:
        head = self._uint()
        kind, has_children, size = head & 3, head & 4, head >> 3
        self.at += size
        flags = 0
        if kind != _BYTECODE:
            self.found.code += size
            flags = self._uint()
            if kind == _VIPER:
                sizes = [self._uint() if flags & flag else 0 for flag in (_FLAG_RODATA, _FLAG_BSS)]
                self.at += sizes[0]
            elif kind != _NATIVE:
                raise ValueError(f"{self.name}: holds assembler, which is not read here")
        if has_children:
            for _ in range(self._uint()):
                self._function()
        if kind == _VIPER and flags & _FLAG_RELOC:
            raise ValueError(f"{self.name}: holds relocations, which are not read here")
