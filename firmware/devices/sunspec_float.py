"""SunSpec's floats, for the devices that have them."""

import struct

from firmware.image import NO_VALUE


def from_float(high: int, low: int, power: int):
    """A float32 in two registers times 10**power, an integer; NO_VALUE: not implemented; None: does not fit."""
    value = struct.unpack(">f", struct.pack(">HH", high, low))[0]
    if value != value:  # NaN: not implemented
        return NO_VALUE
    value *= 10**power
    if not -1e9 < value < 1e9:
        return None
    return int(value + 0.5) if value >= 0 else -int(0.5 - value)
