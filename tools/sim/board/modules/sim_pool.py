"""The memory that ESP-IDF has left, in bytes: Wi-Fi, sockets and machine code come out of it, and so does the heap's third area.

The garbage-collected heap has two areas at first (SIM_AREAS bytes).  When more than that lives after a collection it
takes all there is: from then on there is no new socket, no Wi-Fi and no machine code, for ever.
"""

import errno
import gc
import os

import sim_pace
import simlink
from micropython import const

_TCP = const(4096)  # a socket with its lwIP control block and half-filled buffers
_SOCKETS_MAX = const(16)  # CONFIG_LWIP_MAX_SOCKETS
_SOCK = const(0xC000)  # S_IFSOCK

_areas = int(os.getenv("SIM_AREAS") or "0")
_wifi = int(os.getenv("SIM_WIFI_BYTES") or "0")
size = int(os.getenv("SIM_POOL") or "0")  # 0: nothing is counted
code = 0  # bytes of machine code
wifi = 0
third = False  # the heap has taken its third area
collections = 0
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


def take_wifi() -> None:
    """Before Wi-Fi starts.  Raises OSError where there is no place for it."""
    global wifi
    if not size or wifi:
        return
    look()
    if free() < _wifi:
        raise OSError(0x101, "ESP_ERR_NO_MEM")
    wifi = _wifi
