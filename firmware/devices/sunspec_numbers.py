"""The numbers on the wire: points of one or two registers, times a power of ten, as the integers of the process image.

A scale factor that is not implemented makes its point not implemented; one that no model allows makes it untrue.
Floats are taken apart bit by bit, as a board's own have 24 bits and a megawatt in watts at 0.001 needs 30.
"""

from array import array

from micropython import const

from firmware import image as im
from firmware.devices import sunspec_tables as tables

_LARGEST = const(0x3FFFFFFF)
_LARGEST_POWER = const(10)  # of a scale factor: the specification's own bound
_NOT_A_SCALE = const(-32768)


def signed16(value: int) -> int:
    """A register as a two's complement number."""
    return value - 0x10000 if value & 0x8000 else value


def scale_factor(raw: int):
    """A scale factor's power of ten; im.NO_VALUE: not implemented; None: beyond -10 to 10, so it is none."""
    power = signed16(raw)
    if power == _NOT_A_SCALE:
        return im.NO_VALUE
    return power if -_LARGEST_POWER <= power <= _LARGEST_POWER else None


def size_of(kind: int) -> int:
    """Registers of a point of this type."""
    if kind in (tables.T_INT32, tables.T_UINT32, tables.T_ACC32, tables.T_BITFIELD32, tables.T_FLOAT32):
        return 2
    return 1


def point(registers: array, at: int, kind: int, power: int):
    """The point at registers[at] times 10**power, an integer; im.NO_VALUE: not implemented; None: does not fit."""
    raw = registers[at]
    if kind == tables.T_INT16:
        return im.NO_VALUE if raw == 0x8000 else scaled(signed16(raw), power)
    if kind == tables.T_UINT16:
        return im.NO_VALUE if raw == 0xFFFF else scaled(raw, power)
    if kind == tables.T_ENUM16 or kind == tables.T_BITFIELD16:
        return im.NO_VALUE if raw == 0xFFFF else raw
    if kind == tables.T_SUNSSF:
        return scale_factor(raw)
    low = registers[at + 1]
    if kind == tables.T_BITFIELD32:  # bits 30 and 31 do not fit a slot; no model uses them
        return im.NO_VALUE if raw == 0xFFFF and low == 0xFFFF else (raw & 0x3FFF) << 16 | low
    if kind == tables.T_INT32:
        if raw == 0x8000 and low == 0:
            return im.NO_VALUE
        return scaled(signed16(raw) << 16 | low, power)
    if kind == tables.T_FLOAT32:
        return from_float(raw, low, 10**power, 1)
    if raw == 0xFFFF and low == 0xFFFF:  # uint32, acc32
        return im.NO_VALUE
    return scaled(raw << 16 | low, power)


def scaled(value: int, power: int):
    """value * 10**power, rounded half away from zero; None beyond +-(2**30 - 1)."""
    while power > 0:
        value *= 10
        if not -_LARGEST <= value <= _LARGEST:
            return None
        power -= 1
    if power < 0:
        divisor = 10**-power
        if value < 0:
            value = -((divisor // 2 - value) // divisor)
        else:
            value = (value + divisor // 2) // divisor
    return value if -_LARGEST <= value <= _LARGEST else None


def from_float(high: int, low: int, multiplier: int, divisor: int):
    """A float32 in two registers times multiplier / divisor, exactly, rounded half away from zero.

    im.NO_VALUE: not a number, which is not implemented; None: beyond +-(2**30 - 1).
    """
    exponent = high >> 7 & 0xFF
    size = (high & 0x7F) << 16 | low
    if exponent == 255:
        return im.NO_VALUE if size else None  # None: infinite
    if exponent:
        size |= 1 << 23
    else:
        exponent = 1  # subnormal
    exponent -= 150  # the float is size * 2**exponent
    if exponent > 27:  # beyond 2**50, and the smallest factor is 2**-20
        return None
    if exponent < -100:
        return 0
    size *= abs(multiplier)
    if exponent >= 0:
        size <<= exponent
    else:
        divisor <<= -exponent
    size = (size + divisor // 2) // divisor
    if size > _LARGEST:
        return None
    return -size if (high & 0x8000 != 0) != (multiplier < 0) else size


def truncate_to_scale(value: int, power: int, largest: int) -> int:
    """value / 10**power, truncated towards zero and to +-largest: a setpoint is never more than was commanded."""
    size = abs(value)
    if power >= 0:
        size //= 10**power
    else:
        size *= 10**-power
    size = min(size, largest)
    return size if value >= 0 else -size
