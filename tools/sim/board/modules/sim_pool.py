"""The memory that ESP-IDF has left, in bytes: Wi-Fi, sockets and machine code come out of it, and so does the heap's third area.

And heap held for the constants that a frozen module has in flash: it is given back when the module is loaded.  What
the module brings stays where it is, also once the firmware has let the module go: a frozen image has none of it in its
heap, so no hole comes there and none is filled.

The garbage-collected heap has two areas at first (SIM_AREAS bytes).  When more than that lives after a collection it
takes all there is: from then on there is no new socket, no Wi-Fi and no machine code, for ever.
"""

import errno
import gc
import os
import sys
from array import array

import sim_pace
import simlink
import uctypes
from micropython import const

_TCP = const(4096)  # a socket with its lwIP control block and half-filled buffers
_SOCKETS_MAX = const(16)  # CONFIG_LWIP_MAX_SOCKETS
_BLOCK = const(16)  # of the heap
_TABLES = const(8)  # where in a module the address of its tables of constants is (py/obj.h, mp_module_context_t)
_SOCK = const(0xC000)  # S_IFSOCK
_POINTER = {"at": uctypes.UINT32 | 0}  # on the 32-bit interpreter, which alone plays our own image

_areas = int(os.getenv("SIM_AREAS") or "0")
_wifi = int(os.getenv("SIM_WIFI_BYTES") or "0")
size = int(os.getenv("SIM_POOL") or "0")  # 0: nothing is counted
code = 0  # bytes of machine code
wifi = 0
third = False  # the heap has taken its third area
collections = 0
constants = 0  # bytes of heap given back
_given = 0  # modules that were
loaded = 0  # names that came with the modules that they were given back for: their paths, which a frozen image has in flash
_held: dict = {}  # by module: what is held for its constants; once they are given back, its place in _tables
_tables = None  # addresses: the collector follows them, so that the constants stay
_record = bytearray(128)
_records = open(222, "rb") if sim_pace.paced else None


def record() -> bytearray:
    """The clock's record of this interpreter (struct record of tools/sim/board/chip/pace.c)."""
    _records.readinto(_record)
    return _record


_COLLECTIONS = record().find(b"SP.Pace1") + 56 if sim_pace.paced else 0  # where in it their number is


def look() -> None:
    """Has the heap taken its third area?  Asked after a collection; without the clock that is when it is asked."""
    global third, collections
    if third or not _areas:
        return
    if _records is not None:
        now = record()[_COLLECTIONS]  # their number's lowest byte
        if now == collections:
            return
        collections = now
    else:
        gc.collect()
    third = gc.mem_alloc() > _areas


def sockets() -> int:
    """Sockets that the firmware has open, those it was given by accept() too."""
    count = -len(simlink.own)
    for entry in os.ilistdir("/proc/self/fd"):
        try:
            if os.stat("/proc/self/fd/" + entry[0])[0] & 0xF000 == _SOCK:
                count += 1
        except OSError:
            pass  # the folder's own, closed meanwhile
    return count


def free() -> int:
    """Bytes left; 0 once the heap has taken its third area."""
    return 0 if third else size - code - wifi - sockets() * _TCP


def take_socket() -> None:
    """Before a socket is made.  Raises OSError ENFILE above the limit, ENOMEM where nothing is left."""
    if not size:
        return
    look()
    if sockets() >= _SOCKETS_MAX:
        raise OSError(errno.ENFILE if hasattr(errno, "ENFILE") else 23)
    if free() < _TCP:
        raise OSError(errno.ENOMEM)


def take_code(module: str) -> None:
    """Before a module is loaded: the machine code in it.  Raises MemoryError where there is no place for it."""
    global code
    if not size:
        return
    try:
        wanted = os.stat("/chip/code/" + module)[6]
    except OSError:
        return
    look()
    if free() < wanted:
        raise MemoryError("memory allocation failed, allocating %d bytes" % wanted)
    code += wanted


def hold_constants() -> int:
    """Takes as much heap as the constants of all modules, those that are loaded included; how much that is."""
    global constants, _tables
    held = 0
    for entry in os.ilistdir("/chip/constants"):
        held += entry[3]
        if entry[0] in sys.modules:
            constants += entry[3]
        else:
            _held[entry[0]] = bytearray(entry[3] - _BLOCK)
    _tables = array("P", [0] * len(_held))
    return held


def give_constants(module: str) -> None:
    """Before a module is loaded: what was held for its constants, or what it left when it was loaded before, is free."""
    global constants, loaded, _given
    held = _held.get(module)
    if isinstance(held, bytearray):
        loaded += 2 if module.startswith("sim_") else 1  # its name is one too, and a chip has none of that
        constants += _BLOCK + len(held)
        _held[module] = _given
        _given += 1
    elif held is not None:
        _tables[held] = 0


def keep_constants(module: str) -> None:
    """It is loaded: what it brought stays."""
    place = _held.get(module)
    if isinstance(place, int) and module in sys.modules:
        # id() is an address without its highest bit: the heap's own
        at = id(sys.modules[module]) & 0x7FFFFFFF | uctypes.addressof(_record) & 0x80000000
        _tables[place] = uctypes.struct(at + _TABLES, _POINTER).at


def take_wifi() -> None:
    """Before Wi-Fi starts.  Raises OSError where there is no place for it."""
    global wifi
    if not size or wifi:
        return
    look()
    if free() < _wifi:
        raise OSError(0x101, "ESP_ERR_NO_MEM")
    wifi = _wifi
