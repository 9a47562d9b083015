"""Numbers in the bytes of a CAN frame, the lowest byte first, each with a mark for "not available".  Nothing here allocates.

A place: first byte (0 to 7) | how many (1 to 4) << 3 | SIGNED.  Not available is the lowest number of a signed one, the highest
of another.
"""

from micropython import const

SIGNED = const(64)
NOTHING = const(-1073741824)  # what stands for "not available" here: the lowest number that needs no heap


def put(data, place: int, value: int) -> None:
    """Write a number, or NOTHING; one that is out of range becomes the nearest that is not."""
    at = place & 7
    size = place >> 3 & 7
    if value == NOTHING:
        value = 0 if place & SIGNED else -1
        if place & SIGNED:
            data[at + size - 1] = 0x80
            size -= 1
    elif not place & SIGNED:
        value = max(0, value)
        if size < 4:
            value = min(value, (1 << 8 * size) - 2)
    elif size < 4:
        most = (1 << 8 * size - 1) - 1
        value = max(-most, min(value, most))
    for i in range(at, at + size):
        data[i] = value & 0xFF
        value >>= 8


def get(data, place: int) -> int:
    """The number, of at most three bytes, or NOTHING."""
    at = place & 7
    last = at + (place >> 3 & 7) - 1
    value = data[last]
    if place & SIGNED and value & 0x80:
        value -= 256
    nothing = -128 if place & SIGNED else 0
    for i in range(last - 1, at - 1, -1):
        value = value << 8 | data[i]
        nothing <<= 8
    if not place & SIGNED:
        nothing = (1 << 8 * (last - at + 1)) - 1
    return NOTHING if value == nothing else value
