"""The state of charge: whole percents of the BMS refined by counted charge, and who is believed while both part."""

import micropython
from micropython import const

# slots: begin (copied from image.py by `make slots`)
_AGE_MAX = const(900000000)
_SEQ_BMS = const(0)
_SEQ_BMS_FLAGS = const(4)
_BMS_SOC = const(11)
_BMS_SOH = const(12)
_BMS_I = const(14)
_BMS_REQUESTS = const(25)
_AGE = const(58)
_SOC = const(69)
_SOC_LOW = const(70)
_SOC_HIGH = const(71)
_SOC_DRIFT = const(72)
_DT = const(94)
_SOC_KEEP_MS = const(106)
_SOC_SAID = const(191)
_SOC_REM = const(192)
_SOC_LEAK = const(193)
_SOC_ZERO_MS = const(203)
_SOC_YOUNG_MS = const(212)
_SOC_KEEP_DRIFT = const(220)
_SOC_JUMP = const(221)
_PAR_SOC_MIN = const(6)
_PAR_STALE_BMS = const(12)
_PAR_Q_STEP = const(17)
_PAR_SOC_FLOORED = const(18)
_PAR_SOC_BOUND = const(19)
_PAR_SOC_ACCEPT_MS = const(65)
_BMS_REQ_FORCE_CHARGE = const(4)
_RANGE = const(1073741823)
# slots: end


@micropython.viper
def count_soc(img: ptr32, par: ptr32):
    """Refine the BMS's whole percents by counting coulombs; see docs/product.md, State of charge."""
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
    said = ((img[_BMS_SOC] + b) & m) - b
    if said != none:
        before = ((img[_SOC_SAID] + b) & m) - b
        if said != 0 and img[_SOC_ZERO_MS] != 0:
            img[_SOC_ZERO_MS] = 0
            if before == 0:
                before = none  # that 0 was never to be believed: this is the first measurement
        if before != none and img[_SOC_YOUNG_MS] < 8000:
            img[_SOC_YOUNG_MS] += img[_DT]
            if said - before > 2000 or before - said > 2000:
                before = none  # it is still starting up
        amps = ((img[_BMS_I] + b) & m) - b
        q = par[_PAR_Q_STEP]
        steps = img[_BMS_SOH]
        if steps >= 5000 and steps < 10000:
            q = q // 100 * (steps // 100)  # an aged battery moves a step with less charge
        steps = 0
        if amps != none and img[_AGE + _SEQ_BMS] <= par[_PAR_STALE_BMS] and q > 0:
            rem = ((img[_SOC_REM] + b) & m) - b
            rem += amps * img[_DT]
            while rem >= q:
                rem -= q
                steps += 1
            while rem + q <= 0:
                rem += q
                steps -= 1
            img[_SOC_REM] = rem
        soc = ((img[_SOC] + b) & m) - b
        drift = ((img[_SOC_DRIFT] + b) & m) - b
        low = 50  # the true value lies in [said - low, said + 100 - low)
        if par[_PAR_SOC_FLOORED] != 0:
            low = 0
        jump = 0
        if before == none:
            soc = said + 50 - low
            drift = 0
        else:
            soc -= steps
            drift += steps
            moved = said - before
            drift += moved
            if moved > 100:
                jump = moved
            elif moved + 100 < 0:
                jump = 0 - moved
            if moved == 100:
                soc = said - low  # it has just come over the lower edge
            elif moved + 100 == 0:
                soc = said + 100 - low  # it has just gone under the upper edge
            elif moved != 0:
                soc = said + 50 - low
        if soc < said - 100:
            soc = said - 100
        if soc > said + 100:
            soc = said + 100
        if soc < 0:
            soc = 0
        if soc > 10000:
            soc = 10000
        img[_SOC_JUMP] = jump
        img[_SOC_DRIFT] = drift
        img[_SOC_SAID] = said
        img[_SOC] = soc


@micropython.viper
def settle_soc(img: ptr32, par: ptr32):
    """Who is believed while BMS and counter part: SOC_LOW and SOC_HIGH, and when the BMS's value is accepted."""
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
    soc = ((img[_SOC] + b) & m) - b
    if (((img[_BMS_SOC] + b) & m) - b) != none and soc != none:
        drift = ((img[_SOC_DRIFT] + b) & m) - b
        leak = img[_SOC_LEAK] + img[_DT]
        if leak >= 60000:
            leak -= 60000
            if drift > 0:
                drift -= 1
            elif drift < 0:
                drift += 1
        img[_SOC_LEAK] = leak
        if drift > 20000:
            drift = 20000
        if drift + 20000 < 0:
            drift = 0 - 20000
        bound = par[_PAR_SOC_BOUND]
        kept = img[_SOC_KEEP_MS]
        if (drift > bound or drift + bound < 0) and img[_AGE + _SEQ_BMS] <= par[_PAR_STALE_BMS]:
            off = drift - (((img[_SOC_KEEP_DRIFT] + b) & m) - b)
            if off > 200 or off + 200 < 0:
                img[_SOC_KEEP_DRIFT] = drift  # it still moves by itself
                kept = 0
            elif kept < _AGE_MAX:
                kept += img[_DT]
            wants = ((img[_BMS_REQUESTS] + b) & m) - b
            wanted = drift < 0 and wants != none and (wants & _BMS_REQ_FORCE_CHARGE) != 0
            if wanted and img[_AGE + _SEQ_BMS_FLAGS] > par[_PAR_STALE_BMS]:
                wanted = 0 == 1
            q = par[_PAR_SOC_ACCEPT_MS]
            if wanted or (q > 0 and kept >= q):
                drift = 0  # a recalibration is the BMS being right
        if drift <= bound and drift + bound >= 0:
            kept = 0
            img[_SOC_KEEP_DRIFT] = drift
        img[_SOC_KEEP_MS] = kept
        img[_SOC_DRIFT] = drift
        img[_SOC_LOW] = soc
        img[_SOC_HIGH] = soc
        if drift > bound:
            img[_SOC_LOW] = soc - drift  # the counted charge says less than the BMS
            if soc < drift:
                img[_SOC_LOW] = 0
        floor = par[_PAR_SOC_MIN]
        if floor < 1000:
            floor = 1000
        if drift + bound < 0 and soc > floor:  # an empty battery is what charging is for, whatever was counted
            img[_SOC_HIGH] = soc - drift
            if soc - drift > 10000:
                img[_SOC_HIGH] = 10000
