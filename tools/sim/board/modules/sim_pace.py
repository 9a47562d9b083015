"""What the simulated chip's modules say to its clock: what is no work of the chip's, and what takes it how long.

The clock (tools/sim/board/chip) counts instructions, and sees a number of its own being loaded into a register.  That is
all that these functions do, so they cost the chip next to nothing, and nothing happens on an interpreter without it.

    off()  # what follows is the host's work
    self._file.readinto(buf)
    on_after_us(97)  # on the chip all of it took this long
"""

import time

import micropython

_RECORDS_FD = 222  # the clock's file descriptor in this process
_MAGIC = b"SP.Pace1"


@micropython.viper
def off():
    """Nothing counts as the chip's work until on(); nests.  Only collections do, whoever sets them off."""
    _ = 0x2C5EA501


@micropython.viper
def on():
    """The chip works again, once there was an on() for every off()."""
    _ = 0x2C5EA502


@micropython.viper
def pad_us(us: int):
    """That many microseconds of the chip's time pass (0 to 2^30 - 1), between off() and on() too."""
    while us:
        if us & 1:
            _ = 0x2C5EA504
        else:
            _ = 0x2C5EA503
        us >>= 1
    _ = 0x2C5EA505


@micropython.viper
def on_after_us(us: int):
    """pad_us() and on() in one call: what was uncounted has taken the chip that long."""
    while us:
        if us & 1:
            _ = 0x2C5EA504
        else:
            _ = 0x2C5EA503
        us >>= 1
    _ = 0x2C5EA505
    _ = 0x2C5EA502


@micropython.viper
def count() -> int:
    """Instructions that this thread has spent as the chip, modulo 2^30 as ticks are (time.ticks_diff); 0 without the clock.

    Allocates nothing.
    """
    _ = 0x2C5EA501
    _look(_record)
    _ = 0x2C5EA502
    return ptr32(_record)[0] & 0x3FFFFFFF


@micropython.viper
def chip_us() -> int:
    """The time as the chip has it: ticks_us() without the moments when the host was late.  Modulo 2^30; allocates nothing.

    Without the clock it is ticks_us().
    """
    if not paced:
        return int(time.ticks_us())
    _ = 0x2C5EA501
    _look(_record)
    _ = 0x2C5EA502
    return ptr32(_record)[2] & 0x3FFFFFFF


_record = bytearray(24)  # instructions and microseconds of the chip, and the clock's mark
_look = len  # brings the record up to date
paced = False  # this interpreter runs at a chip's speed
try:
    _file = open(_RECORDS_FD, "rb")
    if _file.readinto(_record) == 24 and _record[16:] == _MAGIC:
        paced = True
        _look = _file.readinto
except OSError:
    pass
