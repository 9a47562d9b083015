"""What the chip's clock has counted in a running interpreter, read from outside."""

import os
import struct
from dataclasses import dataclass

RECORDS_FD = 222
_MAGIC = b"SP.Pace1"
_LAYOUT = struct.Struct("<QQ8s10Q24x")  # struct record in pace.c


@dataclass(frozen=True)
class Record:
    """The first thread's counts, as of its last system call or 250 us ago; times in microseconds of the chip's."""

    counted: int  # instructions, without what was uncounted
    chip_us: int  # the chip's clock
    uncounted: int  # instructions
    padded_us: int
    late_us_max: int  # the most that the host was behind the chip, which caught up
    given_up_us: int  # what it could not catch up with: not 0 means a host too slow or too busy, and times that are not the chip's
    waited_us: int  # in system calls
    depth: int  # how many off() are still without their on()
    collections: int
    gc_counted: int  # instructions
    gc_us: int  # of all collections
    gc_us_max: int  # of the longest


def read(pid: int) -> Record:
    """The record of that process.  Raises OSError where it has ended, ValueError where it has no chip's clock."""
    try:
        file = os.open(f"/proc/{pid}/fd/{RECORDS_FD}", os.O_RDONLY)
    except FileNotFoundError:
        os.stat(f"/proc/{pid}")
        raise ValueError(f"process {pid} does not run at a chip's speed") from None
    try:
        data = os.read(file, _LAYOUT.size)
    finally:
        os.close(file)
    if len(data) < _LAYOUT.size or data[16:24] != _MAGIC:
        raise ValueError(f"process {pid} does not run at a chip's speed")
    counted, chip_us, _, uncounted, padded, late, given_up, waited, depth, collections, gc, gc_ns, gc_max = _LAYOUT.unpack(data)
    return Record(
        counted, chip_us, uncounted, padded // 1000, late // 1000, given_up // 1000, waited // 1000,
        depth, collections, gc, gc_ns // 1000, gc_max // 1000,
    )  # fmt: skip
