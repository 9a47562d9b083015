"""The chip's flash as a block device over a file: every read, program and erase is counted and takes the flash's time.

What is read is put down to an import or an opened file (code and configuration), or to a store: from the moment a
file is opened for writing or anything is written, until the next import or the next file opened for reading.

SIM_CUT=n: the power goes in the middle of the n-th program or erase since it came.
"""

import os
import time
from array import array

import micropython
from micropython import const
from sim_pace import off, on, on_after_us, pad_us

BLOCK = const(4096)
_SHORT = const(128)  # bytes; a read up to this takes the same time, the rest at 10 MB/s (two data lines at 40 MHz)
_BYTES_US = const(10)
_READ_US = const(85)  # 97 in all: the interpreter takes 12 to get here and back
_PROGRAM_US = const(9500)
_ERASE_US = const(80000)

READS = const(0)  # places in `counts`: since power-on
PROGRAMS = const(1)
ERASES = const(2)
STORE_READS = const(3)
IMPORTS = const(4)  # import statements that read flash
OPENS = const(5)  # files opened for reading that read flash
BOOT = const(6)  # from here on the same six as they were when the boot ended
BOOT_MS = const(12)
counts = array("i", [0] * 13)

device = None  # the one Flash, once it is mounted
_began_ms = time.ticks_ms()
_storing = False
_until_cut = int(os.getenv("SIM_CUT") or 0)
_settled = 0  # reads up to here are known to be no store's
importing = 0  # how deep: what is read meanwhile is no store's, whoever writes


def begin(store: bool) -> None:
    """What is read from now on is read for a store, or is not."""
    global _storing, _settled
    _storing = store
    _settled = counts[READS]


def boot_over() -> None:
    """The event loop has nothing to do for the first time: all that comes now is operation."""
    if counts[BOOT_MS] == 0:
        for i in range(BOOT):
            counts[BOOT + i] = counts[i]
        counts[BOOT_MS] = time.ticks_diff(time.ticks_ms(), _began_ms) or 1


def booted() -> bool:
    """The boot is over."""
    return counts[BOOT_MS] != 0


class Flash:
    """The partition of the file system."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "r+b")
        self._blocks = self._file.seek(0, 2) // BLOCK
        self._blank = b"\xff" * 256

    @micropython.native
    def readblocks(self, block: int, buffer, offset: int = 0) -> None:
        global _settled
        off()
        counts[READS] += 1
        if _storing:
            counts[STORE_READS] += 1
            _settled = counts[READS]
        self._file.seek(block * BLOCK + offset)
        self._file.readinto(buffer)
        on_after_us(_READ_US + max(0, len(buffer) - _SHORT) // _BYTES_US)

    def writeblocks(self, block: int, buffer, offset: int = -1) -> None:
        off()
        if offset < 0:  # a whole block, as a block device without offsets has it: erased first
            self._erase(block)
            offset = 0
        self._stores()
        counts[PROGRAMS] += 1
        self._file.seek(block * BLOCK + offset)
        if _is_cut():
            self._file.write(memoryview(buffer)[: len(buffer) // 2])
            _power_off()
        self._file.write(buffer)
        on_after_us(_PROGRAM_US)

    def ioctl(self, request: int, argument: int):
        if request == 4:
            return self._blocks
        if request == 5:
            return BLOCK
        if request == 6:
            off()
            self._erase(argument)
            on()
        return 0

    def _erase(self, block: int) -> None:
        self._stores()
        counts[ERASES] += 1
        self._file.seek(block * BLOCK)
        half = BLOCK // 512 if _is_cut() else -1
        for number in range(BLOCK // 256):
            if number == half:
                _power_off()
            self._file.write(self._blank)
        pad_us(_ERASE_US)

    def _stores(self) -> None:
        """Something is written: what was read since the last import or opened file was read for it."""
        global _storing, _settled
        if not importing:
            _storing = True
            counts[STORE_READS] += counts[READS] - _settled
            _settled = counts[READS]


def _is_cut() -> bool:
    global _until_cut
    if not _until_cut:
        return False
    _until_cut -= 1
    return _until_cut == 0


def _power_off() -> None:
    import ffi  # here: it weighs, and hardly any board wants it

    ffi.open("libc.so.6").func("v", "_exit", "i")(0)
