"""From people's units to the cycle's whole numbers."""

from micropython import const

_LEAST = const(0.999)  # of one part: what a float of 32 bits makes of exactly one may be a little less


def parts(value: float, per_unit: int) -> int:
    """`value` in whole parts of its unit: the nearest number of them, and none for less than one.

    Where a call knows a default it is exactly 0 that asks for it, and the caller looks for that before it asks here: what
    is smaller than the resolution is nothing, never everything.
    """
    size = abs(value) * per_unit
    if size < _LEAST:
        return 0
    return int(size + 0.5) if value > 0 else -int(size + 0.5)
