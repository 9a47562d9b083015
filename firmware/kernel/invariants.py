"""What may never be, looked at after every cycle on the board itself: a command that breaks a rule becomes 0 W, and is told."""

import micropython
from micropython import const

# slots: begin (copied from image.py by `make slots`)
_SOC_LOW = const(70)
_MODE = const(76)
_GATE = const(80)
_REQUEST_BY = const(82)
_CMD_P = const(88)
_DT = const(94)
_MISSING = const(105)
_BREACH = const(132)
_BREACHES = const(133)
_BROKE = const(134)
_BROKE_P = const(135)
_LIMIT_ROWS_DIS = const(143)
_LIMIT_ROWS_CHG = const(167)
_WAS_P = const(226)
_PAR_SOC_MIN = const(6)
_PAR_RAMP_UP = const(10)
_GATE_CLOSED = const(4)
_RANGE = const(1073741823)
_MISS_METER = const(4096)
_N_LIMIT_ROWS = const(16)
_BY_ISLAND = const(1)
# slots: end

# what BREACH says; reasons.py has the words
_LIMIT = const(1)
_SIGN = const(2)
_FLOOR = const(4)
_RAMP = const(8)
_CLOSED = const(16)
_BLIND = const(32)


@micropython.viper
def check_command(img: ptr32, par: ptr32) -> int:
    """BREACH: what the command of this cycle breaks.  Looked at anew from the rows, not from what `binding` made of them.

    |P| inside every row, no sign against the mode's, nothing out of a battery at its floor, no rise faster than the ramp but
    in an island, 0 W where the mode moves nothing or something is missing.
    """
    one = 1
    b = one << 30
    m = b + _RANGE
    p = ((img[_CMD_P] + b) & m) - b
    was = ((img[_WAS_P] + b) & m) - b
    size = p
    row = _LIMIT_ROWS_DIS
    if p < 0:
        size = 0 - p
        row = _LIMIT_ROWS_CHG
    if was < 0:
        was = 0 - was
    found = 0
    if p != 0:
        k = 0
        while k < _N_LIMIT_ROWS:
            if img[row + k] < size:
                found = _LIMIT
            k += 1
        mode = img[_MODE]
        if (mode == 2 and p > 0) or (mode == 3 and p < 0):
            found = found | _SIGN
        if p > 0 and (((img[_SOC_LOW] + b) & m) - b) <= par[_PAR_SOC_MIN]:
            found = found | _FLOOR
        if size - was > par[_PAR_RAMP_UP] * img[_DT] // 1000 + 1 and img[_REQUEST_BY] != _BY_ISLAND:
            found = found | _RAMP
        if (img[_GATE] & _GATE_CLOSED) != 0 or mode == 0 or mode == 4:
            found = found | _CLOSED
        if (img[_MISSING] & (_MISS_METER - 1)) != 0:
            found = found | _BLIND
    if found != 0:
        img[_BROKE] = found
        img[_BROKE_P] = p
        img[_CMD_P] = 0
        img[_BREACHES] = (img[_BREACHES] + 1) & _RANGE
        p = 0
    img[_BREACH] = found
    img[_WAS_P] = p
    return found
