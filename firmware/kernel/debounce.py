"""Conditions become faults when they have held for long enough."""

import micropython
from micropython import const

# slots: begin (copied from image.py by `make slots`)
_AGE_MAX = const(900000000)
_FAULTS = const(82)
_CONDITIONS = const(83)
_DT = const(98)
_RANGE = const(1073741823)
# slots: end


@micropython.viper
def debounce(img: ptr32, rows: ptr32, state: ptr32, n: int) -> int:
    """Turn CONDITIONS into FAULTS; returns the bits that changed.

    rows, 3 a fault: cycles the condition must hold, ms it must hold, ms it must be gone.  state, 3 a fault:
    cycles held, ms held (or gone, while active), times raised.
    """
    dt = img[_DT]
    conditions = img[_CONDITIONS]
    active = img[_FAULTS]
    changed = 0
    bit = 1
    k = 0
    while k < n * 3:
        on = active & bit
        if (conditions & bit) == on:
            state[k] = 0
            state[k + 1] = 0
        else:
            if state[k] < _RANGE:
                state[k] += 1
            if state[k + 1] < _AGE_MAX:
                state[k + 1] += dt
            if on != 0:
                if state[k + 1] > rows[k + 2]:
                    changed = changed | bit
            elif state[k] >= rows[k] and state[k + 1] > rows[k + 1]:
                changed = changed | bit
                state[k + 2] = (state[k + 2] + 1) & _RANGE
            if (changed & bit) != 0:
                state[k] = 0
                state[k + 1] = 0
        bit = bit << 1
        k += 3
    img[_FAULTS] = active ^ changed
    return changed
