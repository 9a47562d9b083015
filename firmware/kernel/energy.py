"""The energy that has flowed."""

import micropython
from micropython import const

# slots: begin (copied from image.py by `make slots`)
_SEQ_PCS = const(5)
_PCS_P = const(31)
_PCS_P_CHG = const(39)
_PCS_P_DIS = const(40)
_AGE = const(60)
_DT = const(98)
_E_IN_WH = const(101)
_E_IN_REM = const(102)
_E_OUT_WH = const(103)
_E_OUT_REM = const(104)
_E_IN_TURNS = const(185)
_E_OUT_TURNS = const(186)
_PAR_STALE_PCS = const(13)
_PAR_MOST_P = const(67)
_RANGE = const(1073741823)
# slots: end

_COUNTED_W = const(1050000)  # the largest power that is counted: times 2 s it stays inside int32


@micropython.viper
def account(img: ptr32, par: ptr32):
    """Count AC energy in and out (Wh) from the measured inverter power; a dead measurement counts nothing, and one beyond
    what the site is configured for and the inverter says it can move as that much: an island takes what it wants.
    """
    one = 1
    b = one << 30
    m = b + _RANGE
    p = ((img[_PCS_P] + b) & m) - b
    if p != 0 - b and img[_AGE + _SEQ_PCS] <= par[_PAR_STALE_PCS]:
        most = par[_PAR_MOST_P]
        rating = ((img[_PCS_P_DIS] + b) & m) - b
        if p < 0:
            rating = ((img[_PCS_P_CHG] + b) & m) - b
        if rating > most:
            most = rating
        if most > _COUNTED_W:
            most = _COUNTED_W
        if p > most:
            p = most
        if p + most < 0:
            p = 0 - most
        if p < 0:
            rem = img[_E_IN_REM] + (0 - p) * img[_DT]
            while rem >= 3600000:
                rem -= 3600000
                img[_E_IN_WH] = (img[_E_IN_WH] + 1) & _RANGE
                if img[_E_IN_WH] == 0:
                    img[_E_IN_TURNS] = (img[_E_IN_TURNS] + 1) & _RANGE
            img[_E_IN_REM] = rem
        else:
            rem = img[_E_OUT_REM] + p * img[_DT]
            while rem >= 3600000:
                rem -= 3600000
                img[_E_OUT_WH] = (img[_E_OUT_WH] + 1) & _RANGE
                if img[_E_OUT_WH] == 0:
                    img[_E_OUT_TURNS] = (img[_E_OUT_TURNS] + 1) & _RANGE
            img[_E_OUT_REM] = rem
