"""The rows of the limit list that come from the battery, and when it has ended by itself what runs."""

import micropython
from micropython import const

# slots: begin (copied from image.py by `make slots`)
_AGE_MAX = const(900000000)
_SEQ_BMS_LIMITS = const(1)
_SEQ_BMS_FLAGS = const(4)
_SEQ_PCS = const(5)
_BMS_SOC = const(11)
_BMS_V = const(13)
_BMS_I = const(14)
_BMS_TEMP = const(15)
_BMS_V_MAX = const(16)
_BMS_V_MIN = const(17)
_BMS_I_CHG = const(18)
_BMS_I_DIS = const(19)
_CELL_V_MAX = const(20)
_CELL_V_MIN = const(21)
_CELL_T_MAX = const(22)
_BMS_REQUESTS = const(25)
_BMS_PROTECT = const(26)
_BMS_ODD = const(28)
_PCS_STATE = const(30)
_PCS_DC_V = const(36)
_PCS_DC_I = const(37)
_AGE = const(58)
_SOC_LOW = const(70)
_SOC_HIGH = const(71)
_MODE = const(76)
_DT = const(94)
_HOLD_CHG_MS = const(104)
_LIMIT_ROWS_DIS = const(143)
_LIMIT_ROWS_CHG = const(167)
_GAPS = const(214)
_BMS_ENDS_MS = const(232)
_PAR_P_CHG = const(0)
_PAR_P_DIS = const(1)
_PAR_SOC_MIN = const(6)
_PAR_SOC_MAX = const(7)
_PAR_SOC_TAPER = const(8)
_PAR_EFF = const(9)
_PAR_STALE_BMS = const(12)
_PAR_STALE_PCS = const(13)
_PAR_R_PACK = const(20)
_PAR_V_MAX = const(21)
_PAR_V_MIN = const(22)
_PAR_CELL_MAX = const(23)
_PAR_CELL_MIN = const(24)
_PAR_CELLS = const(25)
_PAR_T_CHG = const(26)
_PAR_T_DIS = const(30)
_OP_I_CHG = const(52)
_OP_I_DIS = const(53)
_OP_V_MAX = const(54)
_OP_V_MIN = const(55)
_OP_SOC_MIN = const(56)
_OP_SOC_MAX = const(57)
_PAR_OV_HOLD_MS = const(64)
_BMS_REQ_FULL_CHARGE = const(16)
_BMS_PROT_OVER_V = const(1)
_BMS_PROT_UNDER_V = const(2)
_PCS_RUNNING = const(3)
_RANGE = const(1073741823)
_ROW_BMS_FORBIDS = const(3)
_ROW_SOC = const(5)
_ROW_CELL_VOLTAGE = const(6)
_ROW_PACK_VOLTAGE = const(7)
_ROW_TEMPERATURE = const(8)
_ROW_BMS_CURRENT = const(9)
_ROW_OPERATION = const(12)
# slots: end
_MOST = const(210000000)  # of 0.1 A x 0.1 V: 2.1 MW, more than any site's power by any efficiency, and times 1000 inside int32


@micropython.viper
def soc_row(img: ptr32, par: ptr32):
    """The state of charge: full power down to the taper, 0 at the floor or the ceiling."""
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
    chg = 0
    while chg < 2:
        row = _LIMIT_ROWS_DIS + chg * (_LIMIT_ROWS_CHG - _LIMIT_ROWS_DIS)
        full = par[_PAR_P_DIS + (_PAR_P_CHG - _PAR_P_DIS) * chg]
        if chg == 0:
            gap = par[_PAR_SOC_MIN]
            if par[_OP_SOC_MIN] > gap and par[_OP_SOC_MIN] != _RANGE:
                gap = par[_OP_SOC_MIN]
            gap = (((img[_SOC_LOW] + b) & m) - b) - gap
        else:
            gap = par[_PAR_SOC_MAX]
            q = ((img[_BMS_REQUESTS] + b) & m) - b
            if q != none and (q & _BMS_REQ_FULL_CHARGE) != 0 and img[_AGE + _SEQ_BMS_FLAGS] <= par[_PAR_STALE_BMS]:
                gap = 10000  # the BMS wants to see the cells full, to find its 100 % again
            if par[_OP_SOC_MAX] < gap:
                gap = par[_OP_SOC_MAX]
            gap = gap - (((img[_SOC_HIGH] + b) & m) - b)
        p = _RANGE
        if gap <= 0:
            p = 0
        elif gap < par[_PAR_SOC_TAPER]:
            p = full * gap // par[_PAR_SOC_TAPER]
        img[row + _ROW_SOC] = p
        chg += 1


@micropython.viper
def temperature_row(img: ptr32, par: ptr32):
    """The temperatures: two ends, each with its ramp between nothing and everything."""
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
    chg = 0
    while chg < 2:
        row = _LIMIT_ROWS_DIS + chg * (_LIMIT_ROWS_CHG - _LIMIT_ROWS_DIS)
        full = par[_PAR_P_DIS + (_PAR_P_CHG - _PAR_P_DIS) * chg]
        p = _RANGE
        knee = _PAR_T_DIS + (_PAR_T_CHG - _PAR_T_DIS) * chg
        k = 0
        while k < 2:
            t = ((img[_CELL_T_MAX + k] + b) & m) - b
            if t == none:
                t = ((img[_BMS_TEMP] + b) & m) - b
            if t != none:
                t0 = ((par[knee] + b) & m) - b
                t1 = ((par[knee + 1] + b) & m) - b
                t2 = ((par[knee + 2] + b) & m) - b
                t3 = ((par[knee + 3] + b) & m) - b
                q = _RANGE
                if t <= t0 or t >= t3:
                    q = 0
                elif t < t1:
                    q = full * (t - t0) // (t1 - t0)
                elif t > t2:
                    q = full * (t3 - t) // (t3 - t2)
                if q < p:
                    p = q
            elif (img[_BMS_ODD] >> (_CELL_T_MAX + k - _BMS_SOC) & 1) != 0:
                p = 0  # it was refused, so it may be anything
            k += 1
        img[row + _ROW_TEMPERATURE] = p
        chg += 1


@micropython.viper
def headroom(img: ptr32, par: ptr32):
    """How far the voltages are from where this direction ends, in 0.1 V of the pack: GAPS, for current_rows.

    0 the pack as the BMS has it, 1 the pack as the inverter has it, 2 the worst cell.  FREE: not known; NO_VALUE: its bound or
    its measurement was refused, so it may be anything.
    """
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
    odd = img[_BMS_ODD]
    chg = 0
    while chg < 2:
        k = 0
        while k < 2:
            gap = _RANGE
            q = ((img[_BMS_V] + b) & m) - b
            if k == 1:
                q = none
                here = ((img[_PCS_DC_I] + b) & m) - b
                if here != none and img[_AGE + _SEQ_PCS] <= par[_PAR_STALE_PCS] and img[_PCS_STATE] == _PCS_RUNNING:
                    q = ((img[_PCS_DC_V] + b) & m) - b
            if q > 0:  # neither has 0 V while it runs: one that says so does not measure it
                if chg == 0:
                    gap = par[_PAR_V_MIN]
                    t = ((img[_BMS_V_MIN] + b) & m) - b
                    if t > gap:
                        gap = t
                    if par[_OP_V_MIN] > gap and par[_OP_V_MIN] != _RANGE:
                        gap = par[_OP_V_MIN]
                    gap = q - gap
                else:
                    gap = par[_PAR_V_MAX]
                    t = ((img[_BMS_V_MAX] + b) & m) - b
                    if t != none and t < gap:
                        gap = t
                    if par[_OP_V_MAX] < gap:
                        gap = par[_OP_V_MAX]
                    gap = gap - q
                if (odd >> (_BMS_V_MIN + (_BMS_V_MAX - _BMS_V_MIN) * chg - _BMS_SOC) & 1) != 0:
                    gap = none  # its cut-off was refused
            img[_GAPS + chg * 3 + k] = gap
            k += 1
        gap = _RANGE
        q = ((img[_CELL_V_MIN + (_CELL_V_MAX - _CELL_V_MIN) * chg] + b) & m) - b
        if q != none:
            gap = q - par[_PAR_CELL_MIN]
            if chg != 0:
                gap = par[_PAR_CELL_MAX] - q
            gap = gap * par[_PAR_CELLS] // 100  # mV of a cell to 0.1 V of the pack
        elif (odd >> (_CELL_V_MIN + (_CELL_V_MAX - _CELL_V_MIN) * chg - _BMS_SOC) & 1) != 0:
            gap = none  # it was refused, so it may be anything
        img[_GAPS + chg * 3 + 2] = gap
        chg += 1


@micropython.viper
def current_rows(img: ptr32, par: ptr32):
    """The rows that are currents: 0 the BMS's limit, 1 the operation's, then what the voltage headroom leaves over the internal
    resistance from where we are now: 2 pack as the BMS has it, 3 pack as the inverter has it, 4 the worst cell; after headroom.
    """
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
    volts = ((img[_BMS_V] + b) & m) - b
    r = par[_PAR_R_PACK]
    whole = 0  # 0.1 A over which the highest voltage there is falls off
    if r > 0:
        whole = 15000000 // r
    chg = 0
    while chg < 2:
        row = _LIMIT_ROWS_DIS + chg * (_LIMIT_ROWS_CHG - _LIMIT_ROWS_DIS)
        img[row + _ROW_PACK_VOLTAGE] = _RANGE
        img[row + _ROW_CELL_VOLTAGE] = _RANGE
        now = ((img[_BMS_I] + b) & m) - b
        if now == none:
            now = 0  # missing_data says 0 W; here it only must not overflow
        if chg != 0:
            now = 0 - now
        k = 0
        while k < 5:
            amps = _RANGE  # bounds nothing; whatever is below it does
            gap = _RANGE
            here = now
            if k == 0:
                amps = ((img[_BMS_I_DIS + (_BMS_I_CHG - _BMS_I_DIS) * chg] + b) & m) - b
            elif k == 1:
                amps = par[_OP_I_DIS + (_OP_I_CHG - _OP_I_DIS) * chg]
            else:
                gap = ((img[_GAPS + chg * 3 + k - 2] + b) & m) - b
                if k == 3:
                    here = ((img[_PCS_DC_I] + b) & m) - b
                    if chg != 0:
                        here = 0 - here
            if gap == none:
                amps = 0
            elif gap != _RANGE and r > 0:
                if gap > 15000:
                    gap = 15000
                if gap + 15000 < 0:
                    gap = 0 - 15000
                amps = here + (gap * 1000 + 15000000) // r - whole
            if amps < 0:
                amps = 0
            p = _RANGE
            if amps != _RANGE:
                q = volts  # discharging, the voltage sags further on the way to that current
                if chg == 0 and amps > now:
                    t = amps - now
                    if t > whole:
                        t = whole
                    q = volts - t * r // 1000
                    if q < volts // 2:
                        q = volts // 2
                if q < 0:
                    q = 0
                if q > 0 and amps > _MOST // q:
                    amps = _MOST // q
                p = amps * q // 100
                if chg == 0:
                    p = p * par[_PAR_EFF] // 1000
                elif par[_PAR_EFF] > 0:
                    p = p * 1000 // par[_PAR_EFF]
            t = row + _ROW_PACK_VOLTAGE
            if k == 0:
                img[row + _ROW_BMS_CURRENT] = p
            elif k == 1:
                img[row + _ROW_OPERATION] = p
            else:
                if k == 4:
                    t = row + _ROW_CELL_VOLTAGE
                if p < img[t]:
                    img[t] = p
            k += 1
        chg += 1


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
        row = _LIMIT_ROWS_DIS + chg * (_LIMIT_ROWS_CHG - _LIMIT_ROWS_DIS)
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
