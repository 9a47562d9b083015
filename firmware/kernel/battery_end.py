"""When a battery has ended what runs by itself."""

import micropython
from micropython import const

# slots: begin (copied from image.py by `make slots`)
_AGE_MAX = const(900000000)
_SEQ_BMS_LIMITS = const(1)
_BMS_V_MAX = const(15)
_BMS_I_CHG = const(17)
_BMS_I_DIS = const(18)
_BMS_PROTECT = const(25)
_AGE = const(60)
_SOC_LOW = const(71)
_SOC_HIGH = const(72)
_MODE = const(80)
_DT = const(98)
_HOLD_CHG_MS = const(118)
_LIMIT_ROWS_DIS = const(120)
_BMS_ENDS_MS = const(169)
_PAR_STALE_BMS = const(12)
_PAR_OV_HOLD_MS = const(64)
_BMS_PROT_OVER_V = const(1)
_BMS_PROT_UNDER_V = const(2)
_RANGE = const(1073741823)
_ROW_BMS_FORBIDS = const(3)
_ROW_TEMPERATURE = const(8)
# slots: end


@micropython.viper
def bms_ends(img: ptr32, par: ptr32):
    """Time how long charging is held off after an over-voltage, and how long the BMS has given nothing in the running
    direction, near its end: it has ended what runs.

    Near the end: 90 % and more, or an over-voltage, for a charge; 10 % and less, or an under-voltage, for a discharge.  A
    temperature that leaves nothing is no end.
    """
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
    protect = ((img[_BMS_PROTECT] + b) & m) - b
    if protect < 0:
        protect = 0
    hold = img[_HOLD_CHG_MS] - img[_DT]
    if (protect & _BMS_PROT_OVER_V) != 0:
        hold = par[_PAR_OV_HOLD_MS]
    if hold < 0:
        hold = 0
    img[_HOLD_CHG_MS] = hold
    mode = img[_MODE]
    ends = 0
    if (mode == 2 or mode == 3) and img[_AGE + _SEQ_BMS_LIMITS] <= par[_PAR_STALE_BMS]:
        chg = 3 - mode
        row = _LIMIT_ROWS_DIS + chg * 16
        near = 0
        if chg != 0:
            if (((img[_SOC_HIGH] + b) & m) - b) >= 9000 or img[_HOLD_CHG_MS] > 0:
                near = 1
        elif (((img[_SOC_LOW] + b) & m) - b) <= 1000 or (protect & _BMS_PROT_UNDER_V) != 0:
            near = 1
        gives = ((img[_BMS_I_DIS - (_BMS_I_DIS - _BMS_I_CHG) * chg] + b) & m) - b
        if chg != 0 and img[_BMS_V_MAX] == 0:
            gives = 0  # a charge voltage of 0 is a stop
        if near != 0 and img[row + _ROW_TEMPERATURE] != 0 and gives != none:
            if gives == 0 or img[row + _ROW_BMS_FORBIDS] == 0:
                ends = img[_BMS_ENDS_MS]
                if ends < _AGE_MAX:
                    ends += img[_DT]
    img[_BMS_ENDS_MS] = ends
