"""What is in a compiled module (.mpy, version 6): its names, its machine code, and the constants that it takes heap for.

The constants are those that a frozen module has in flash: its table of names, its table of objects and the objects in it, and
what the functions inside its functions are made from.  From ROMFS they are built in the heap (py/persistentcode.c), though
text and bytecode stay in flash.
"""

from dataclasses import dataclass, field
from pathlib import Path

_BYTECODE, _NATIVE, _VIPER = 0, 1, 2
_TUPLE, _LAST_WITHOUT_DATA = 10, 4
_FLAG_RODATA, _FLAG_BSS, _FLAG_RELOC = 0x20, 0x40, 0x10
_STR, _BYTES, _INT = 5, 6, 7
BLOCK, _WORD = 16, 4  # of the heap on a 32-bit chip
_DESCRIPTION = 12  # bytes of mp_raw_code_t
_SMALL = 1 << 30  # integers from -_SMALL to _SMALL - 1 are no objects
# of the texts in the firmware those that every MicroPython has as names: they are no objects
BUILT_IN = frozenset(
    "/ /lib <stdin> MemoryError _mpy any application/json bool count end format generator id int key keys little map read replace"
    " req start stop str type v value".split()
)
_CLASS_BODY = b"\x11\x16\x10\x16"  # LOAD_NAME __name__, STORE_NAME __module__, LOAD_CONST_STRING its name, STORE_NAME __qualname__


@dataclass
class Module:
    """`names`: those that the file spells out, so not the ones every MicroPython has.  `code`: bytes of machine code.

    `constants`: bytes of 32-bit heap that its tables and constant objects take from ROMFS, but for its `texts`: constant
    strings, which take a block each unless they are names too.  `objects`: how many its table of objects has.
    """

    names: set[str] = field(default_factory=set)
    code: int = 0
    constants: int = 0
    texts: list[str] = field(default_factory=list)
    objects: int = 0

    def constant_bytes(self, names: set[str]) -> int:
        """What a frozen image has in flash of it, where these names are known."""
        return self.constants + sum(BLOCK for text in self.texts if text not in names and text not in BUILT_IN)


def read(path: Path) -> Module:
    """Takes a file apart.  Raises ValueError for anything but a module of version 6."""
    return _Reader(path.read_bytes(), str(path)).module()


def with_names(data: bytes, names: list[str]) -> bytes:
    """A compiled module that brings these names too: whoever loads it knows them.  ValueError for anything but a module."""
    reader = _Reader(data, "the module")
    reader.module()
    start, first, last = reader.parts
    reader.at = start
    count, objects = reader._uint(), reader._uint()
    more = b"".join(_number(2 * len(name.encode())) + name.encode() + b"\0" for name in names)
    return data[:start] + _number(count + len(names)) + _number(objects) + data[first:last] + more + data[last:]


def _number(value: int) -> bytes:
    """As a module has its numbers: seven bits a byte, the highest first."""
    found = [value & 0x7F]
    while value := value >> 7:
        found.insert(0, 0x80 | value & 0x7F)
    return bytes(found)


class _Reader:
    def __init__(self, data: bytes, name: str) -> None:
        self.data = data
        self.name = name
        self.at = 4
        self.found = Module()
        self.parts = 0, 0, 0  # where the counts, the names and what is behind them begin

    def module(self) -> Module:
        if self.data[:2] != b"M\x06":
            raise ValueError(f"{self.name}: is no compiled module of version 6")
        if self.data[2] & 0x40:  # flags of the architecture follow
            self._uint()
        start = self.at
        names, objects = self._uint(), self._uint()
        self.found.objects = objects
        first = self.at
        for _ in range(names):
            self._name()
        self.parts = start, first, self.at
        for _ in range(objects):
            self._object()
        self._take(-(-2 * names // _WORD) * _WORD + _WORD * objects)  # 2 bytes a name, a word an object, in one piece
        self._function(kept=False, made=False)
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

    def _take(self, size: int) -> None:
        self.found.constants += -(-size // BLOCK) * BLOCK

    def _object(self) -> None:
        kind = self.data[self.at]
        self.at += 1
        if kind <= _LAST_WITHOUT_DATA:
            return
        size = self._uint()
        if kind == _TUPLE:
            self._take((2 + size) * _WORD if size else 0)  # type and length, then the items; () is everywhere the same
            for _ in range(size):
                self._object()
            return
        text = self.data[self.at : self.at + size]
        self.at += size + (kind in (_STR, _BYTES))  # they end with a zero
        if kind == _STR and not size:
            return  # "" is a name that every MicroPython has
        if kind == _STR:
            self.found.texts.append(text.decode())
        elif kind == _INT and not -_SMALL <= int(text) < _SMALL:
            self._take(BLOCK)
            self._take(2 * (size * 8 // 16 + 1))  # its digits, 16 bits each, as many as so long a text may need
        elif kind != _INT and size:
            self._take(BLOCK)  # bytes: type, hash, length, address; a float: type, value

    def _function(self, kept: bool, made: bool) -> None:
        """One function and those inside it.

        kept: its description stays in the heap, for the function around it makes it anew with each call.  made: it is a
        function that stays, made when its module or class was, after which its own description is garbage; else it is run once.
        """
        head = self._uint()
        kind, has_children, size = head & 3, head & 4, head >> 3
        stays = kept or (made and not (kind == _BYTECODE and self._is_class_body(self.at)))
        self.at += size
        flags = 0
        if kept:
            self._take(_DESCRIPTION)
        if kind != _BYTECODE:
            self.found.code += size
            self._take(BLOCK)  # the Unix port's list of its machine code; there is none on a chip
            flags = self._uint()
            if kind == _VIPER:
                sizes = [self._uint() if flags & flag else 0 for flag in (_FLAG_RODATA, _FLAG_BSS)]
                self.at += sizes[0]
            elif kind != _NATIVE:
                raise ValueError(f"{self.name}: holds assembler, which is not read here")
        if has_children:
            children = self._uint()
            if stays:
                self._take(_WORD * (children + (kind == _NATIVE)))
            for _ in range(children):
                self._function(kept=stays, made=True)
        if kind == _VIPER and flags & _FLAG_RELOC:
            raise ValueError(f"{self.name}: holds relocations, which are not read here")

    def _is_class_body(self, at: int) -> bool:
        """Bytecode that begins there is that of a class statement: it names the class first."""
        at = self._behind(at)  # the signature, of which only the first byte has its own meaning
        bits, shift, size = 0, 0, 0
        more = True
        while more:  # how long are names and lines, how many cells
            byte = self.data[at]
            at += 1
            more = byte >= 0x80
            size |= ((byte & 0x7E) >> 1) << shift
            bits |= (byte & 1) << (shift // 6)
            shift += 6
        at += size + bits
        for code in _CLASS_BODY:
            if self.data[at] != code:
                return False
            at = self._behind(at + 1)
        return True

    def _behind(self, at: int) -> int:
        """Where the number that begins there is over."""
        while self.data[at] >= 0x80:
            at += 1
        return at + 1
