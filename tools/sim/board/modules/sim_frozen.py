"""What a frozen image has in flash, and ROMFS has not: names, and the constants of its modules.

The names are there when the firmware begins.  Heap is held for the constants: as much is given back when a module is
loaded.  What the module brings stays where it is, also once the firmware has let the module go: a frozen image has none
of it in its heap, so no hole comes there and none is filled.  All of it lies at the heap's end, and what is held is in
small pieces of which the lowest goes first: what is free is in one piece, as on a chip, and no search for a place
passes over what is held.

Of a module without constant objects the address of its table of them is that of whatever lies behind its table of names:
the collector would keep that, which no frozen image has.  It is told by an odd number of bytes, and has another address.
"""

import gc
import os
import sys
from array import array

import uctypes
from micropython import const

_BLOCK = const(16)  # of the heap
_PIECE = const(256)  # of what is held, with the object's own block
_STEP = const(512)
_LOADING = const(24576)  # bytes that bringing the names takes for a moment
_WORD = const(4)
_TABLES = const(8)  # where in a module the address of its tables of constants is (py/obj.h, mp_module_context_t)
_POINTER = {"at": uctypes.UINT32 | 0}  # on the 32-bit interpreter, which alone plays our own image

constants = 0  # bytes of heap given back
loaded = 0  # names that came with the modules that they were given back for: their paths, which a frozen image has in flash
pieces: list = []  # what is held
_freed = 0  # of them
owed = 0  # bytes given back that are not yet a whole piece: still held, and nothing of the chip's
_held: dict = {}  # by module: how many bytes are held for it; once they are given back, minus its place in _tables
_given = 0  # modules that were
_tables = None  # addresses: the collector follows them, so that the constants stay
_bare = None  # of each whether it has no objects


def bring_names() -> None:
    """Loads the names, above SIM_NAMES_BYTES from the heap's end."""
    taken = int(os.getenv("SIM_NAMES_BYTES") or "0")
    low = bytearray(gc.mem_free() - taken - _LOADING) if taken else None
    __import__("frozen_names")  # an empty module
    del sys.modules["frozen_names"]
    del low


def hold() -> int:
    """Takes as much heap as the constants of all modules, those that are loaded included; how much that is."""
    global constants, _tables, _bare
    total = 0
    for entry in os.ilistdir("/chip/constants"):
        total += entry[3] & ~1
        if entry[0] in sys.modules:
            constants += entry[3] & ~1
        else:
            _held[entry[0]] = entry[3]
    _tables = array("P", [0] * len(_held))
    _bare = bytearray(len(_held))
    left = total - constants
    pieces.extend([None] * (-(-left // _PIECE)))
    gc.collect()
    below = gc.mem_free() - left
    while left and not _hold_above(below, left):
        below -= _STEP  # some of what is free is in places too small for a piece
    return total


def _hold_above(below: int, left: int) -> bool:
    """Takes `left` bytes above so many that are free; False where there is no place."""
    low = None
    try:
        low = bytearray(below - _BLOCK)
        for i in range(len(pieces)):
            pieces[i] = bytearray(min(_PIECE, left) - _BLOCK)
            left -= _PIECE
        found = True
    except MemoryError:
        for i in range(len(pieces)):
            pieces[i] = None
        found = False
    del low
    gc.collect()
    return found


def give(module: str) -> None:
    """Before a module is loaded: as much as its constants take, or what it left when it was loaded before, is free."""
    global constants, loaded, _freed, _given, owed
    held = _held.get(module)
    if held is None:
        return
    if held <= 0:
        _tables[-held] = 0
        return
    loaded += 2 if module.startswith("sim_") else 1  # its name is one too, and a chip has none of that
    _bare[_given] = held & 1
    held &= ~1
    constants += held
    _held[module] = -_given
    _given += 1
    owed += held
    while owed >= _PIECE:
        owed -= _PIECE
        pieces[_freed] = None
        _freed += 1


def keep(module: str) -> None:
    """It is loaded: what it brought stays."""
    place = -_held.get(module, 1)
    if place >= 0 and module in sys.modules:
        # id() is an address without its highest bit: the heap's own
        at = id(sys.modules[module]) & 0x7FFFFFFF | uctypes.addressof(_tables) & 0x80000000
        _tables[place] = uctypes.struct(at + _TABLES, _POINTER).at
        if _bare[place]:
            uctypes.struct(at + _TABLES + _WORD, _POINTER).at = _tables[place]
