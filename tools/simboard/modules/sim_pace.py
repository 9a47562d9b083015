"""What the simulated chip's modules say to its clock: what is no work of the chip's, and what takes it how long.

The clock (tools/simboard/chip) counts instructions, and sees a number of its own being loaded into a register.  That is
all that these functions do, so they cost the chip next to nothing, and nothing happens on an interpreter without it.

    off()           # what follows is the host's work, until on()
    try:
        self._file.readinto(buf)
        pad_us(97)  # on the chip all of it takes this long
    finally:
        on()
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
def _low_bits(record, word: int) -> int:
    return ptr32(record)[word] & 0x3FFFFFFF


def _look() -> None:
    off()
    _records.readinto(_record)
    on()


def count() -> int:
    """Instructions that this thread has spent as the chip, modulo 2^30 as ticks are (time.ticks_diff); 0 without the clock.

    Allocates nothing.
    """
    if not paced:
        return 0
    _look()
    return _low_bits(_record, 0)


def chip_us() -> int:
    """The time as the chip has it: ticks_us() without the moments when the host was late.  Modulo 2^30; allocates nothing.

    Without the clock it is ticks_us().
    """
    if not paced:
        return time.ticks_us()
    _look()
    return _low_bits(_record, 2)


_record = bytearray(24)  # instructions and microseconds of the chip, and the clock's mark
paced = False  # this interpreter runs at a chip's speed
try:
    _records = open(_RECORDS_FD, "rb")
    paced = _records.readinto(_record) == 24 and _record[16:] == _MAGIC
except OSError:
    pass
if not paced:
    _records = None
