"""Devices that go on sending what they measured long ago."""

import micropython
from micropython import const

# slots: begin (copied from image.py by `make slots`)
_AGE_MAX = const(900000000)
_SEQ_BMS = const(0)
_SEQ_PCS = const(5)
_BMS_V = const(12)
_BMS_I = const(13)
_PCS_P = const(31)
_PCS_DC_V = const(36)
_AGE = const(60)
_DT = const(98)
_STILL_BMS_MS = const(105)
_STILL_SUM_BMS = const(107)
_STILL_LOW = const(165)
_STILL_HIGH = const(167)
_PAR_STALE_BMS = const(12)
_PAR_STALE_PCS = const(13)
_RANGE = const(1073741823)
# slots: end


@micropython.viper
def detect_frozen(img: ptr32, par: ptr32):
    """Time how long BMS and PCS have repeated the same voltage, current and power although the power has moved.

    A live sender may rest as long as what it measures rests; frozen is one that does not see what the other one sees: a
    load over 5 A that has moved by more than 2 A.
    """
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
    volts = ((img[_BMS_V] + b) & m) - b
    amps = ((img[_BMS_I] + b) & m) - b
    edge = _RANGE
    if volts > 0:
        edge = volts // 5  # W of 2 A
    # both at rest agree with each other, whatever was seen before: nothing would ever change then
    rests = amps < 20 and amps + 20 > 0 and (((img[_PCS_P] + b) & m) - b) < edge and (((img[_PCS_P] + b) & m) - b) + edge > 0
    k = 0
    while k < 2:
        if k == 0:
            s = ((img[_BMS_V] & 0xFFFF) << 12) ^ (img[_BMS_I] & 0xFFFFF)
            p = ((img[_PCS_P] + b) & m) - b
            if img[_AGE + _SEQ_PCS] > par[_PAR_STALE_PCS]:
                p = none
        else:
            s = ((img[_PCS_DC_V] & 0xFFFF) << 12) ^ (img[_PCS_P] & 0xFFFFF)
            p = none
            if amps != none and volts > 0 and img[_AGE + _SEQ_BMS] <= par[_PAR_STALE_BMS]:
                p = amps * volts // 100
        low = ((img[_STILL_LOW + k] + b) & m) - b
        high = ((img[_STILL_HIGH + k] + b) & m) - b
        if s != img[_STILL_SUM_BMS + k] or rests:
            img[_STILL_SUM_BMS + k] = s
            img[_STILL_BMS_MS + k] = 0
            low = p
            high = p
        elif p != none:
            if low == none or p < low:
                low = p
            if high == none or p > high:
                high = p
        load = high  # the largest power in between, as a magnitude: near 0 W an inverter's own needs move more
        if high + low < 0:
            load = 0 - low
        if high - low > edge and load > volts // 2 and img[_STILL_BMS_MS + k] < _AGE_MAX:
            img[_STILL_BMS_MS + k] += img[_DT]
        img[_STILL_LOW + k] = low
        img[_STILL_HIGH + k] = high
        k += 1
