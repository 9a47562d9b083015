"""Numbers as the 32 bits of a float32 for the wire: exact where a board's own floats are not."""

from array import array


def float_bits(value: int, multiplier: int, divisor: int) -> int:
    """value x multiplier / divisor as the 32 bits of a float32, truncated towards zero; multiplier and divisor positive.

    Whole numbers up to 2**60 and quotients down to 2**-60 are far within its range.
    """
    size = abs(value) * multiplier
    if size == 0:
        return 0
    exponent = 150  # of a fraction of 24 bits that is a whole number
    while size < divisor << 23:
        size <<= 1
        exponent -= 1
    while size >= divisor << 24:
        divisor <<= 1
        exponent += 1
    bits = exponent << 23 | size // divisor & 0x7FFFFF
    return bits | 0x80000000 if value < 0 else bits


def nearest_bits(value) -> int:
    """A number of a table as the 32 bits of the float32 that is nearest."""
    words = array("H", bytes(array("f", [value])))  # low word first, on the chip as on every host of ours
    return words[1] << 16 | words[0]
