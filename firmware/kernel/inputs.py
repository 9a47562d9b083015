"""What the devices have written becomes this cycle's inputs, and what of the battery's readings counts."""

import micropython
from micropython import const

# slots: begin (copied from image.py by `make slots`)
_AGE_MAX = const(900000000)
_SEQ_BMS = const(0)
_SEQ_BMS_CELLS = const(2)
_SEQ_BMS_TEMPS = const(3)
_SEQ_IO = const(8)
_N_GROUPS = const(11)
_BMS_SOC = const(11)
_BMS_V = const(13)
_BMS_TEMP = const(15)
_BMS_I_CHG = const(18)
_BMS_I_DIS = const(19)
_CELL_V_MAX = const(20)
_CELL_V_MIN = const(21)
_CELL_T_MAX = const(22)
_BMS_REQUESTS = const(25)
_BMS_PROTECT = const(26)
_N_INPUTS = const(58)
_AGE = const(58)
_CMD_SEQ = const(93)
_DT = const(94)
_UPTIME_S = const(95)
_UPTIME_MS = const(96)
_DOUBT_SLOT = const(107)
_DOUBT_VALUE = const(108)
_SOC_SAID = const(191)
_SOC_ZERO_MS = const(203)
_READS_CELL_HI = const(204)
_DOUBT_READ = const(207)
_DOUBTS = const(210)
_FRESH = const(233)
_HELD_MS = const(234)
_PAR_STALE_BMS = const(12)
_PAR_CELLS = const(25)
_PAR_CELL_TRIP_HI = const(45)
_PAR_CELL_TRIP_LO = const(46)
_PAR_T_TRIP_HI = const(47)
_BMS_REQ_NO_DISCHARGE = const(2)
_BMS_REQ_FORCE_CHARGE = const(4)
_BMS_PROT_UNDER_V = const(2)
_RANGE = const(1073741823)
# slots: end


@micropython.viper
def freeze(inp: ptr32, img: ptr32, dt: int):
    """Take this cycle's inputs, and turn the SEQ counters into ages (ms).

    A group that is new may have arrived right after the cycle before: it is as old as the time since then; where that
    cycle came late it may have waited in a receiver all that time too (HELD_MS); the board's own inputs wait nowhere.  DT,
    which scales ramp and energy, is bounded; ages and uptime take the whole of a late cycle.
    """
    img[_DT] = dt
    if dt > 2000:
        img[_DT] = 2000
    fresh = 0
    g = 0
    while g < _N_GROUPS:
        age = img[_AGE + g]
        if inp[g] != img[g]:
            age = 0
            if g != _SEQ_IO:
                age = img[_HELD_MS]
            fresh = fresh | (1 << g)
        if age < _AGE_MAX:
            age += dt
            if age > _AGE_MAX:
                age = _AGE_MAX
        img[_AGE + g] = age
        g += 1
    img[_FRESH] = fresh
    i = 0
    while i < _N_INPUTS:
        img[i] = inp[i]
        i += 1
    ms = img[_UPTIME_MS] + dt
    img[_UPTIME_S] = (img[_UPTIME_S] + ms // 1000) & _RANGE
    img[_UPTIME_MS] = ms % 1000
    img[_CMD_SEQ] = (img[_CMD_SEQ] + 1) & _RANGE


@micropython.viper
def doubt_zero_soc(img: ptr32, par: ptr32):
    """The zeros of a BMS that boots are no measurement."""
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
    dt = img[_DT]
    volts = ((img[_BMS_V] + b) & m) - b
    protect = ((img[_BMS_PROTECT] + b) & m) - b
    if protect < 0:
        protect = 0
    requests = ((img[_BMS_REQUESTS] + b) & m) - b
    if requests < 0:
        requests = 0

    # SoC 0 out of nothing: no measurement while the BMS reports no voltage, or no limits without saying that it is empty,
    # nor for 20 s while it offers to discharge
    if img[_BMS_SOC] == 0:
        before = ((img[_SOC_SAID] + b) & m) - b
        give = ((img[_BMS_I_DIS] + b) & m) - b
        if before == none or before > 100:
            take = ((img[_BMS_I_CHG] + b) & m) - b
            empty = (protect & _BMS_PROT_UNDER_V) | (requests & _BMS_REQ_FORCE_CHARGE)
            doubt = volts <= 0 or (give <= 0 and take <= 0 and empty == 0)
            if give > 0 and (requests & _BMS_REQ_NO_DISCHARGE) == 0 and (protect & _BMS_PROT_UNDER_V) == 0:
                img[_SOC_ZERO_MS] += dt
                if img[_SOC_ZERO_MS] < 20000:
                    doubt = 1 == 1
            if doubt:
                img[_BMS_SOC] = none


@micropython.viper
def confirm_trips(img: ptr32, par: ptr32):
    """Which of the battery's readings beyond a trip count: it takes two that agree.

    READS_* count the readings in a row beyond a trip that do not contradict the pack's voltage; one that the next does
    not confirm is remembered (DOUBT_*), and so is one that contradicts.
    """
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
    volts = ((img[_BMS_V] + b) & m) - b

    # what all cells together may have, from the highest and the lowest: 3 % beyond it contradicts the pack's voltage
    n = par[_PAR_CELLS] - 1
    high = ((img[_CELL_V_MAX] + b) & m) - b
    low = ((img[_CELL_V_MIN] + b) & m) - b
    k = 0
    while k < 3:
        group = _SEQ_BMS_CELLS
        slot = _CELL_V_MAX + k
        value = high
        agrees = volts > 0
        if k == 0:
            beyond = high != none and high > par[_PAR_CELL_TRIP_HI]
            if beyond and low != none and (n * low + high) // 103 > volts:
                agrees = 0 == 1
        elif k == 1:
            value = low
            beyond = low != none and low < par[_PAR_CELL_TRIP_LO]
            if beyond and high != none and (n * high + low) // 97 < volts:
                agrees = 0 == 1
        else:
            agrees = 1 == 1
            group = _SEQ_BMS_TEMPS
            value = ((img[_CELL_T_MAX] + b) & m) - b
            if value == none:
                value = ((img[_BMS_TEMP] + b) & m) - b
                group = _SEQ_BMS
                slot = _BMS_TEMP
            beyond = value != none and value > (((par[_PAR_T_TRIP_HI] + b) & m) - b)
        reads = img[_READS_CELL_HI + k]
        if (img[_FRESH] >> group & 1) != 0:
            if beyond and agrees:
                img[_DOUBT_READ + k] = value
                if reads < 2:
                    reads += 1
            else:
                if beyond:
                    img[_DOUBT_READ + k] = value
                if (beyond and volts > 0) or reads == 1:
                    img[_DOUBT_SLOT] = slot
                    img[_DOUBT_VALUE] = img[_DOUBT_READ + k]
                    img[_DOUBTS] = (img[_DOUBTS] + 1) & _RANGE
                reads = 0
        elif reads == 1 and img[_AGE + group] > par[_PAR_STALE_BMS]:
            reads = 0
        img[_READS_CELL_HI + k] = reads
        k += 1
