"""The hot functions of the cycle, in viper: freeze, diagnose, SoC, claims, limits, ramp, account.

A call costs more than the arithmetic in it, so each function does a whole job over the image.  They are
pure (arrays in, arrays out), integer only, allocate nothing, and mean the same in 32-bit viper, 64-bit
viper and CPython: no floats, no unary minus, no shift by 32 or more, divisors checked, intermediates
inside int32.  `img` is Image.now, `par` is Image.par.

Signed loads: a 64-bit viper reads ptr32 without sign, so a slot that may be negative is read as
`((a[i] + b) & m) - b` with b = 2**30 and m = 2**31 - 1, which changes nothing elsewhere.  Neither is a small
int on the chip, so each function makes them from one = 1.
"""

import micropython
from micropython import const

# slots: begin (copied from image.py by `make slots`)
_AGE_NEVER = const(1000000000)
_AGE_MAX = const(900000000)
_SEQ_BMS = const(0)
_SEQ_BMS_LIMITS = const(1)
_SEQ_BMS_CELLS = const(2)
_SEQ_BMS_TEMPS = const(3)
_SEQ_BMS_FLAGS = const(4)
_SEQ_PCS = const(5)
_SEQ_METER = const(6)
_SEQ_PV = const(7)
_SEQ_IO = const(8)
_BMS_SOC = const(10)
_BMS_SOH = const(11)
_BMS_V = const(12)
_BMS_I = const(13)
_BMS_TEMP = const(14)
_BMS_V_MAX = const(15)
_BMS_V_MIN = const(16)
_BMS_I_CHG = const(17)
_BMS_I_DIS = const(18)
_CELL_V_MAX = const(19)
_CELL_V_MIN = const(20)
_CELL_T_MAX = const(21)
_BMS_REQUESTS = const(24)
_BMS_PROTECT = const(25)
_BMS_ALARM = const(26)
_BMS_ODD = const(27)
_PCS_STATE = const(30)
_PCS_P = const(31)
_PCS_DC_V = const(36)
_PCS_DC_I = const(37)
_PCS_P_CHG = const(39)
_PCS_P_DIS = const(40)
_PCS_GRID = const(43)
_METER_P = const(50)
_METER_V = const(51)
_METER_HZ = const(53)
_PV_P = const(54)
_IO_ESTOP = const(56)
_IO_CONTACTOR = const(57)
_N_INPUTS = const(60)
_AGE = const(60)
_SOC = const(70)
_SOC_LOW = const(71)
_SOC_HIGH = const(72)
_SOC_SAID = const(73)
_SOC_REM = const(74)
_SOC_DRIFT = const(75)
_SOC_LEAK = const(76)
_NET_P = const(77)
_LOAD_P = const(78)
_GRID_OK = const(79)
_MODE = const(80)
_FLOW = const(81)
_FAULTS = const(82)
_CONDITIONS = const(83)
_GATE = const(84)
_REQUEST_P = const(85)
_REQUEST_BY = const(86)
_TARGET_P = const(87)
_LIMIT_DIS = const(88)
_LIMIT_CHG = const(89)
_WHY_DIS = const(90)
_WHY_CHG = const(91)
_RAMP_REM = const(92)
_CMD_P = const(93)
_CMD_CONTACTOR = const(95)
_CMD_SEQ = const(97)
_DT = const(98)
_UPTIME_S = const(99)
_UPTIME_MS = const(100)
_E_IN_WH = const(101)
_E_IN_REM = const(102)
_E_OUT_WH = const(103)
_E_OUT_REM = const(104)
_STILL_BMS_MS = const(105)
_STILL_PCS_MS = const(106)
_STILL_SUM_BMS = const(107)
_SLOW_P = const(109)
_WORST_P = const(110)
_COMMANDS = const(111)
_FLOW_PATHS = const(113)
_SOC_JUMP = const(114)
_NET_LOW = const(115)
_NET_HIGH = const(116)
_LOOP_MS = const(117)
_HOLD_CHG_MS = const(118)
_MISSING = const(119)
_LIMIT_ROWS_DIS = const(120)
_SOC_KEEP_MS = const(152)
_SOC_KEEP_DRIFT = const(153)
_SOC_ZERO_MS = const(154)
_READS_CELL_HI = const(155)
_READS_CELL_LO = const(156)
_READS_TEMP_HI = const(157)
_DOUBT_SLOT = const(158)
_DOUBT_VALUE = const(159)
_DOUBTS = const(160)
_DOUBTS_SEEN = const(161)
_DOUBT_READ = const(162)
_STILL_LOW = const(165)
_STILL_HIGH = const(167)
_BMS_ENDS_MS = const(169)
_SOC_YOUNG_MS = const(170)
_CONDITIONS_BMS = const(171)
_BOUND = const(180)
_BOUND_S = const(181)
_FRESH = const(184)
_E_IN_TURNS = const(185)
_E_OUT_TURNS = const(186)
_HELD_MS = const(187)
_PAR_P_CHG = const(0)
_PAR_P_DIS = const(1)
_PAR_P_EXPORT = const(2)
_PAR_GRID_TYPE = const(3)
_PAR_GRID_CHG = const(4)
_PAR_EXPORT = const(5)
_PAR_SOC_MIN = const(6)
_PAR_SOC_MAX = const(7)
_PAR_SOC_TAPER = const(8)
_PAR_EFF = const(9)
_PAR_RAMP_UP = const(10)
_PAR_RAMP_DOWN = const(11)
_PAR_STALE_BMS = const(12)
_PAR_STALE_PCS = const(13)
_PAR_STALE_METER = const(14)
_PAR_STALE_IO = const(15)
_PAR_HAS = const(16)
_PAR_Q_STEP = const(17)
_PAR_SOC_FLOORED = const(18)
_PAR_SOC_BOUND = const(19)
_PAR_R_PACK = const(20)
_PAR_V_MAX = const(21)
_PAR_V_MIN = const(22)
_PAR_CELL_MAX = const(23)
_PAR_CELL_MIN = const(24)
_PAR_CELLS = const(25)
_PAR_T_CHG = const(26)
_PAR_T_DIS = const(30)
_PAR_HZ_MIN = const(34)
_PAR_HZ_MAX = const(35)
_PAR_VG_MIN = const(36)
_PAR_VG_MAX = const(37)
_PAR_OVER_P = const(40)
_PAR_FOLLOW_P = const(41)
_PAR_FLOW_P = const(42)
_PAR_FROZEN_MS = const(43)
_PAR_SERVICE_P = const(44)
_PAR_CELL_TRIP_HI = const(45)
_PAR_CELL_TRIP_LO = const(46)
_PAR_T_TRIP_HI = const(47)
_PAR_T_TRIP_LO = const(48)
_OP_P_CHG = const(50)
_OP_P_DIS = const(51)
_OP_I_CHG = const(52)
_OP_I_DIS = const(53)
_OP_V_MAX = const(54)
_OP_V_MIN = const(55)
_OP_SOC_MIN = const(56)
_OP_SOC_MAX = const(57)
_EMS_P_CHG = const(58)
_EMS_P_DIS = const(59)
_PAR_STALL_MS = const(60)
_PAR_PROT_CHG = const(61)
_PAR_PROT_DIS = const(62)
_PAR_PROT_SEP = const(63)
_PAR_OV_HOLD_MS = const(64)
_PAR_SOC_ACCEPT_MS = const(65)
_PAR_CELL_DEAD = const(66)
_PAR_MOST_P = const(67)
_BMS_REQ_NO_CHARGE = const(1)
_BMS_REQ_NO_DISCHARGE = const(2)
_BMS_REQ_FORCE_CHARGE = const(4)
_BMS_REQ_FULL_CHARGE = const(16)
_BMS_PROT_OVER_V = const(1)
_BMS_PROT_UNDER_V = const(2)
_BMS_ODD_TWO = const(1048576)
_PCS_STANDBY = const(2)
_PCS_RUNNING = const(3)
_PCS_FAULT = const(4)
_HAS_BMS = const(1)
_HAS_PCS = const(2)
_HAS_METER = const(4)
_HAS_PV = const(8)
_HAS_IO = const(16)
_GATE_NO_CHG = const(1)
_GATE_NO_DIS = const(2)
_GATE_CLOSED = const(4)
_GATE_SERVICE = const(8)
_ROW_MODE = const(0)
_N_LIMIT_ROWS = const(15)
_ROW_FAULT = const(1)
_ROW_MISSING_DATA = const(2)
_ROW_BMS_FORBIDS = const(3)
_ROW_PCS = const(4)
_ROW_SOC = const(5)
_ROW_CELL_VOLTAGE = const(6)
_ROW_PACK_VOLTAGE = const(7)
_ROW_TEMPERATURE = const(8)
_ROW_BMS_CURRENT = const(9)
_ROW_GRID_CONNECTION = const(10)
_ROW_EXPORT = const(11)
_ROW_OPERATION = const(12)
_ROW_REMOTE = const(13)
_ROW_CONFIGURATION = const(14)
_C_BMS_LOST = const(1)
_C_PCS_LOST = const(2)
_C_METER_LOST = const(4)
_C_PV_LOST = const(8)
_C_IO_LOST = const(16)
_C_EMERGENCY_STOP = const(32)
_C_BMS_PROTECTION = const(64)
_C_BMS_ALARM = const(128)
_C_CELL_OVER_VOLTAGE = const(256)
_C_CELL_UNDER_VOLTAGE = const(512)
_C_OVER_TEMPERATURE = const(1024)
_C_UNDER_TEMPERATURE = const(2048)
_C_SOC_JUMP = const(4096)
_C_SOC_DISAGREES = const(8192)
_C_PCS_FAULT = const(16384)
_C_PCS_NOT_FOLLOWING = const(32768)
_C_OVERPOWER = const(65536)
_C_BMS_FROZEN = const(131072)
_C_PCS_FROZEN = const(262144)
_C_CURRENT_MISMATCH = const(524288)
_C_CONTACTOR = const(1048576)
_C_BMS_NO_CHARGE = const(2097152)
_C_BMS_NO_DISCHARGE = const(4194304)
_C_BMS_VALUE = const(8388608)
_C_TWO_BATTERIES = const(16777216)
# slots: end

_RANGE = const(0x3FFFFFFF)  # the largest value a slot may hold
_NONE = const(-1073741824)  # image.NO_VALUE
_COUNTED_W = const(1050000)  # the largest power that is counted: times 2 s it stays inside int32
# the bits of MISSING; battery_words.MISSING has the words
_MISS_PCS = const(1)
_MISS_BMS = const(2)  # and its further groups in the next four bits
_MISS_IO = const(64)
_MISS_SOC = const(128)
_MISS_V = const(256)
_MISS_I = const(512)
_MISS_PCS_P = const(1024)
_MISS_TEMP = const(2048)
_MISS_METER = const(4096)


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
    while g < 9:
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
def believe(img: ptr32, par: ptr32):
    """Which of the battery's readings count: the zeros of a BMS that boots do not, and a trip takes two that agree.

    READS_* count the readings in a row beyond a trip that do not contradict the pack's voltage; one that the next does
    not confirm is remembered (DOUBT_*), and so is one that contradicts.
    """
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


@micropython.viper
def site_power(img: ptr32, par: ptr32):
    """What the site takes without the battery (NET_P), its load, and whether the grid is there.

    NET_P is made when the meter speaks and held until it speaks again: between, the inverter's power moves and the
    meter's would not.  Even so the two are never of the same instant, and a limit that followed each difference
    would swing for ever; NET_LOW and NET_HIGH take the bad news at once and a quarter of the good at a time.
    """
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
    pcs_ok = img[_AGE + _SEQ_PCS] <= par[_PAR_STALE_PCS]
    meter_ok = (par[_PAR_HAS] & _HAS_METER) != 0 and img[_AGE + _SEQ_METER] <= par[_PAR_STALE_METER]
    pcs = ((img[_PCS_P] + b) & m) - b
    meter = ((img[_METER_P] + b) & m) - b
    pv = ((img[_PV_P] + b) & m) - b
    if pv == none or (par[_PAR_HAS] & _HAS_PV) == 0 or img[_AGE + _SEQ_PV] > par[_PAR_STALE_METER]:
        pv = 0
    if pcs == none:
        pcs = 0
    most = one << 28  # 268 MW: their sums stay inside a slot, whatever was measured
    if meter > most:
        meter = most
    if meter != none and meter + most < 0:
        meter = 0 - most
    if pcs > most:
        pcs = most
    if pcs + most < 0:
        pcs = 0 - most
    if pv > most:
        pv = most
    if meter_ok and meter != none:
        net = ((img[_NET_P] + b) & m) - b
        if (img[_FRESH] >> _SEQ_METER & 1) != 0 or net == none:
            net = meter + pcs
            low = ((img[_NET_LOW] + b) & m) - b
            high = ((img[_NET_HIGH] + b) & m) - b
            if low == none or net < low:
                low = net
            else:
                low += (net - low + 3) // 4
            if high == none or net > high:
                high = net
            else:
                high -= (high - net + 3) // 4
            img[_NET_P] = net
            img[_NET_LOW] = low
            img[_NET_HIGH] = high
        img[_LOAD_P] = net + pv
    else:
        img[_NET_P] = none
        img[_NET_LOW] = none
        img[_NET_HIGH] = none
        img[_LOAD_P] = none
    seen = 0
    ok = 1
    switching = img[_PCS_STATE] == _PCS_STANDBY or img[_PCS_STATE] == _PCS_RUNNING  # else its own relay is open
    if pcs_ok and switching and (((img[_PCS_GRID] + b) & m) - b) != none:
        seen = 1
        if img[_PCS_GRID] == 0:
            ok = 0
    if meter_ok:
        volts = ((img[_METER_V] + b) & m) - b
        if volts != none:
            seen = 1
            if volts < par[_PAR_VG_MIN] or volts > par[_PAR_VG_MAX]:
                ok = 0
        hz = ((img[_METER_HZ] + b) & m) - b
        if hz != none:
            seen = 1
            if hz < par[_PAR_HZ_MIN] or hz > par[_PAR_HZ_MAX]:
                ok = 0
    if seen == 0:
        ok = 0
    img[_GRID_OK] = ok
    if ok == 0 and not meter_ok and (par[_PAR_HAS] & _HAS_METER) != 0 and par[_PAR_GRID_TYPE] < 2:
        if pcs_ok and switching and img[_PCS_GRID] == 0:  # an island without its meter: the inverter that forms it measures it
            img[_NET_P] = pcs
            img[_NET_LOW] = pcs
            img[_NET_HIGH] = pcs
            img[_LOAD_P] = pcs + pv


@micropython.viper
def limit_battery(img: ptr32, par: ptr32, chg: int):
    """Fill the limit rows that come from the battery, for discharge (chg 0) or charge (chg 1)."""
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
    row = _LIMIT_ROWS_DIS + chg * 16
    odd = img[_BMS_ODD]
    full = par[_PAR_P_DIS + (_PAR_P_CHG - _PAR_P_DIS) * chg]
    volts = ((img[_BMS_V] + b) & m) - b

    # state of charge: full power down to the taper, 0 at the floor or ceiling
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

    # temperature: two ends, each with its ramp between "nothing" and "everything"
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
        k += 1
    img[row + _ROW_TEMPERATURE] = p

    # currents: 0 the BMS's limit, 1 the operation's, then what the voltage headroom leaves over the internal
    # resistance from where we are now: 2 pack as the BMS sees it, 3 pack as the PCS sees it, 4 the worst cell
    img[row + _ROW_PACK_VOLTAGE] = _RANGE
    img[row + _ROW_CELL_VOLTAGE] = _RANGE
    now = ((img[_BMS_I] + b) & m) - b
    if now == none:
        now = 0  # missing_data says 0 W; here it only must not overflow
    if chg != 0:
        now = 0 - now
    r = par[_PAR_R_PACK]
    k = 0
    while k < 5:
        amps = 10000
        gap = _RANGE
        here = now
        if k == 0:
            q = ((img[_BMS_I_DIS + (_BMS_I_CHG - _BMS_I_DIS) * chg] + b) & m) - b
            if q < amps:
                amps = q
        elif k == 1:
            q = par[_OP_I_DIS + (_OP_I_CHG - _OP_I_DIS) * chg]
            if q < amps:
                amps = q
        elif k == 4:
            q = ((img[_CELL_V_MIN + (_CELL_V_MAX - _CELL_V_MIN) * chg] + b) & m) - b
            if q != none:
                gap = q - par[_PAR_CELL_MIN]
                if chg != 0:
                    gap = par[_PAR_CELL_MAX] - q
                gap = gap * par[_PAR_CELLS] // 100  # mV of a cell to 0.1 V of the pack
            elif (odd >> (_CELL_V_MIN + (_CELL_V_MAX - _CELL_V_MIN) * chg - _BMS_SOC) & 1) != 0:
                gap = none  # it was refused, so it may be anything
        else:
            q = volts
            if k == 3:
                q = none
                here = ((img[_PCS_DC_I] + b) & m) - b
                if here != none and img[_AGE + _SEQ_PCS] <= par[_PAR_STALE_PCS] and img[_PCS_STATE] == _PCS_RUNNING:
                    q = ((img[_PCS_DC_V] + b) & m) - b
                    if chg != 0:
                        here = 0 - here
            if q != none:
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
        if gap == none:
            amps = 0
        elif gap != _RANGE and r > 0:
            if gap > 15000:
                gap = 15000
            if gap + 15000 < 0:
                gap = 0 - 15000
            amps = here + (gap * 1000 + 15000000) // r - 15000000 // r
            if amps > 10000:
                amps = 10000
        if amps < 0:
            amps = 0
        p = _RANGE
        if amps < 10000:
            q = volts  # discharging, the voltage sags further on the way to that current
            if chg == 0 and amps > now:
                q = volts - (amps - now) * r // 1000
                if q < volts // 2:
                    q = volts // 2
            if q < 0:
                q = 0
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


@micropython.viper
def limit_site(img: ptr32, par: ptr32, chg: int):
    """Fill the limit rows that do not come from the battery's cells, then find the binding one (chg as above)."""
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
    row = _LIMIT_ROWS_DIS + chg * 16

    gate = img[_GATE]
    p = _RANGE
    if (gate & _GATE_CLOSED) != 0:
        p = 0
    elif (gate & _GATE_SERVICE) != 0:
        p = par[_PAR_SERVICE_P]
    img[row + _ROW_MODE] = p
    p = _RANGE
    if (chg == 0 and (gate & _GATE_NO_DIS) != 0) or (chg != 0 and (gate & _GATE_NO_CHG) != 0):
        p = 0
    img[row + _ROW_FAULT] = p

    # what the BMS forbids; 0 as a current limit is in BMS_CURRENT, a protection stops the way that it is about
    p = _RANGE
    q = img[_BMS_REQUESTS]
    if (((q + b) & m) - b) != none:
        if (chg == 0 and (q & _BMS_REQ_NO_DISCHARGE) != 0) or (chg != 0 and (q & _BMS_REQ_NO_CHARGE) != 0):
            p = 0
    q = img[_BMS_PROTECT]
    if (((q + b) & m) - b) != none:
        if (q & par[_PAR_PROT_DIS - (_PAR_PROT_DIS - _PAR_PROT_CHG) * chg]) != 0:
            p = 0
    if chg != 0 and img[_HOLD_CHG_MS] > 0:
        p = 0
    img[row + _ROW_BMS_FORBIDS] = p

    # the inverter: its rating now, and only while it can switch
    p = ((img[_PCS_P_DIS + (_PCS_P_CHG - _PCS_P_DIS) * chg] + b) & m) - b
    if p == none:
        p = _RANGE
    q = ((img[_PCS_STATE] + b) & m) - b
    if p < 0 or (q != _PCS_STANDBY and q != _PCS_RUNNING):
        p = 0
    img[row + _ROW_PCS] = p

    # grid connection and export: flows.Grid 0 ISOLATED, 1 BACKUP, 2 INTERACTIVE, 3 EXPORT
    kind = par[_PAR_GRID_TYPE]
    grid = img[_GRID_OK]
    net = ((img[_NET_LOW + chg] + b) & m) - b
    if grid == 0:
        net = ((img[_NET_P] + b) & m) - b  # an island's load and surplus are there already: nothing to smooth
    p = _RANGE
    q = _RANGE
    blind = 0  # a row needs the meter and there is none to read
    if chg != 0:
        if kind == 0 or kind == 3 or grid == 0 or par[_PAR_GRID_CHG] == 0:
            p = 0  # only surplus may charge
            if net == none:
                blind = 1
            elif net < 0:
                p = 0 - net
    elif kind == 1 and grid != 0:
        p = 0
    elif grid != 0:
        q = 0  # ISOLATED where a grid is seen: serves what is measured, exports nothing
        if kind == 3 or (kind == 2 and par[_PAR_EXPORT] != 0):
            q = par[_PAR_P_EXPORT]
        if (par[_PAR_HAS] & _HAS_METER) != 0:
            if net == none:
                blind = 1
                q = 0
            else:
                q += net
                if q < 0:
                    q = 0
    elif kind == 2 or kind == 3:
        p = 0  # the grid is gone: a grid-following site exports nothing and serves what it measures
        if net == none:
            blind = 1
        elif net > 0 and kind == 2:
            p = net
    img[row + _ROW_GRID_CONNECTION] = p
    img[row + _ROW_EXPORT] = q

    p = _RANGE
    if blind != 0:
        img[_MISSING] = img[_MISSING] | _MISS_METER
    if blind != 0 or (img[_MISSING] & (_MISS_METER - 1)) != 0:
        p = 0
    img[row + _ROW_MISSING_DATA] = p

    q = par[_OP_P_DIS + (_OP_P_CHG - _OP_P_DIS) * chg]
    if q < img[row + _ROW_OPERATION]:
        img[row + _ROW_OPERATION] = q
    img[row + _ROW_REMOTE] = par[_EMS_P_DIS + (_EMS_P_CHG - _EMS_P_DIS) * chg]
    if kind == 0 or (kind == 1 and grid == 0):
        img[row + _ROW_REMOTE] = _RANGE  # what an EMS curtails is the exchange with a grid: in an island the load decides
    img[row + _ROW_CONFIGURATION] = par[_PAR_P_DIS + (_PAR_P_CHG - _PAR_P_DIS) * chg]

    p = _RANGE
    q = _ROW_CONFIGURATION
    k = 0
    while k < _N_LIMIT_ROWS:
        if img[row + k] < p:
            p = img[row + k]
            q = k
        k += 1
    img[_LIMIT_DIS + chg] = p
    img[_WHY_DIS + chg] = q


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


@micropython.viper
def ramp(img: ptr32, par: ptr32):
    """Move CMD_P towards REQUEST_P inside the limits: up slewed, down slewed unless a limit forces it at once.

    W/s exact over time: what a cycle's whole watts leave over is carried in mW.  A change of sign stops at 0
    for a cycle, and nothing overshoots.
    """
    one = 1
    b = one << 30
    m = b + _RANGE
    dis = img[_LIMIT_DIS]
    low = 0 - img[_LIMIT_CHG]
    goal = ((img[_REQUEST_P] + b) & m) - b
    bound = 0
    if goal > dis:
        goal = dis
        bound = img[_WHY_DIS] + 1
    if goal < low:
        goal = low
        bound = img[_WHY_CHG] + 17
    if bound != img[_BOUND]:
        img[_BOUND] = bound
        img[_BOUND_S] = img[_UPTIME_S]
    img[_TARGET_P] = goal
    was = ((img[_CMD_P] + b) & m) - b
    p = was
    if p > dis:
        p = dis
    if p < low:
        p = low
    stop = goal
    if (was > 0 and goal < 0) or (was < 0 and goal > 0):
        stop = 0  # also where a limit has already forced p to 0
    if stop == p:
        img[_RAMP_REM] = 0
    else:
        rate = par[_PAR_RAMP_UP]
        if (p > 0 and stop < p) or (p < 0 and stop > p):
            rate = par[_PAR_RAMP_DOWN]
        move = rate * img[_DT] + img[_RAMP_REM]
        step = move // 1000
        img[_RAMP_REM] = move - step * 1000
        if img[_GRID_OK] == 0 and par[_PAR_GRID_TYPE] < 2 and img[_REQUEST_BY] == 5:
            step = _RANGE  # an island's load is there already: no slewing (ISOLATED, BACKUP; requests.GRID_SERVICE)
        if stop > p:
            if stop - p <= step:
                p = stop
                img[_RAMP_REM] = 0
            else:
                p += step
        elif p - stop <= step:
            p = stop
            img[_RAMP_REM] = 0
        else:
            p -= step
    if p != was:
        img[_COMMANDS] = (img[_COMMANDS] + 1) & _RANGE
    img[_CMD_P] = p
    over = p - dis
    if low - p > over:
        over = low - p
    if over > img[_WORST_P]:
        img[_WORST_P] = over


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


@micropython.viper
def classify_flow(img: ptr32, par: ptr32):
    """Say which paths carry power (FLOW_PATHS) and name the flow (FLOW), each path with its own hysteresis.

    PV serves the load first, then the battery, then the grid; the battery serves what load is left, then the
    grid; the grid serves the rest.  FLOW: 0 none, 1..4 the single path grid-battery, battery-grid, grid-load,
    battery-load, 5 mixed, 6..8 the single path PV-load, PV-battery, PV-grid.
    """
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
    bat = ((img[_PCS_P] + b) & m) - b
    if bat == none or img[_AGE + _SEQ_PCS] > par[_PAR_STALE_PCS]:
        bat = 0
    pv = 0
    load = ((img[_LOAD_P] + b) & m) - b
    if load == none:
        load = 0
        if img[_GRID_OK] == 0 and bat > 0:
            load = bat
    else:
        pv = load - (((img[_NET_P] + b) & m) - b)
    if load < 0:
        load = 0
    give = 0
    take = 0
    if bat > 0:
        give = bat
    else:
        take = 0 - bat
    was = img[_FLOW_PATHS]
    paths = 0
    count = 0
    last = 0
    k = 0
    while k < 7:
        p = 0
        if k == 0:  # PV to load
            p = pv
            if load < p:
                p = load
            pv -= p
            load -= p
            bit = 16
            code = 6
        elif k == 1:  # battery to load
            p = give
            if load < p:
                p = load
            give -= p
            load -= p
            bit = 8
            code = 4
        elif k == 2:  # PV to battery
            p = pv
            if take < p:
                p = take
            pv -= p
            take -= p
            bit = 32
            code = 7
        elif k == 3:  # grid to load
            p = load
            bit = 4
            code = 3
        elif k == 4:  # grid to battery
            p = take
            bit = 1
            code = 1
        elif k == 5:  # battery to grid
            p = give
            bit = 2
            code = 2
        else:  # PV to grid
            p = pv
            bit = 64
            code = 8
        edge = par[_PAR_FLOW_P]
        if (was & bit) != 0:
            edge = edge // 2
        if p > edge:
            paths += bit
            count += 1
            last = code
        k += 1
    if count > 1:
        last = 5
    img[_FLOW_PATHS] = paths
    img[_FLOW] = last


@micropython.viper
def examine(img: ptr32, par: ptr32):
    """What the cycle may not do without and has not (MISSING), and which of the battery's faults hold (CONDITIONS_BMS).

    A BMS that never sends cells, temperatures or flags is judged without them.  limit_site adds the meter to MISSING where a
    row needs it.
    """
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
    found = 0
    if img[_AGE + _SEQ_PCS] > par[_PAR_STALE_PCS]:
        found = _MISS_PCS
    stale = par[_PAR_STALE_BMS]
    k = _SEQ_BMS
    while k <= _SEQ_BMS_FLAGS:
        if img[_AGE + k] > stale and (k <= _SEQ_BMS_LIMITS or img[_AGE + k] < _AGE_NEVER):
            found = found | (_MISS_BMS << k)
        k += 1
    if (par[_PAR_HAS] & _HAS_IO) != 0 and img[_AGE + _SEQ_IO] > par[_PAR_STALE_IO]:
        found = found | _MISS_IO
    q = ((img[_BMS_SOC] + b) & m) - b
    if q < 0 or q > 10000:
        found = found | _MISS_SOC
    if (((img[_BMS_V] + b) & m) - b) <= 0:
        found = found | _MISS_V
    if (((img[_BMS_I] + b) & m) - b) == none:
        found = found | _MISS_I
    if (((img[_PCS_P] + b) & m) - b) == none:
        found = found | _MISS_PCS_P  # what flows is not known
    if (((img[_BMS_TEMP] + b) & m) - b) == none and (((img[_CELL_T_MAX] + b) & m) - b) == none:
        found = found | _MISS_TEMP
    img[_MISSING] = found

    found = 0
    protect = ((img[_BMS_PROTECT] + b) & m) - b
    if protect < 0:
        protect = 0
    alarm = ((img[_BMS_ALARM] + b) & m) - b
    if alarm < 0:
        alarm = 0
    if (protect & par[_PAR_PROT_SEP]) != 0:
        found = _C_BMS_PROTECTION
    if (protect & par[_PAR_PROT_CHG]) != 0 or img[_HOLD_CHG_MS] > 0:
        found = found | _C_BMS_NO_CHARGE
    if (protect & par[_PAR_PROT_DIS]) != 0:
        found = found | _C_BMS_NO_DISCHARGE
    if alarm != 0:
        found = found | _C_BMS_ALARM
    if img[_BMS_ODD] != 0:
        if (img[_BMS_ODD] & _BMS_ODD_TWO) != 0:
            found = found | _C_TWO_BATTERIES
        if (img[_BMS_ODD] & (_BMS_ODD_TWO - 1)) != 0:
            found = found | _C_BMS_VALUE
    if img[_DOUBTS] != img[_DOUBTS_SEEN]:
        img[_DOUBTS_SEEN] = img[_DOUBTS]
        found = found | _C_BMS_VALUE
    if img[_READS_CELL_HI] == 2:
        found = found | _C_CELL_OVER_VOLTAGE
    if img[_READS_CELL_LO] == 2:
        # a BMS that knows of it and lets itself be charged heals it; one that would go on discharging does not see it,
        # and a cell that is nearly empty of everything must not be charged either
        q = ((img[_BMS_REQUESTS] + b) & m) - b
        knows = img[_BMS_I_DIS] == 0 or ((protect | alarm) & _BMS_PROT_UNDER_V) != 0
        if q > 0 and (q & (_BMS_REQ_FORCE_CHARGE + _BMS_REQ_NO_DISCHARGE)) != 0:
            knows = 1 == 1
        if not knows or (((img[_CELL_V_MIN] + b) & m) - b) < par[_PAR_CELL_DEAD]:
            found = found | _C_CELL_UNDER_VOLTAGE
    if img[_READS_TEMP_HI] == 2:
        found = found | _C_OVER_TEMPERATURE
    k = 0
    while k < 2:
        q = ((img[_CELL_T_MAX + k] + b) & m) - b
        if q == none:
            q = ((img[_BMS_TEMP] + b) & m) - b
        if q != none and q < (((par[_PAR_T_TRIP_LO] + b) & m) - b):
            found = found | _C_UNDER_TEMPERATURE
        k += 1
    img[_CONDITIONS_BMS] = found


@micropython.viper
def diagnose(img: ptr32, par: ptr32):
    """Set CONDITIONS: one bit per row of the fault table whose condition holds now, before any debounce."""
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
    has = par[_PAR_HAS]
    found = img[_CONDITIONS_BMS]
    patient = img[_UPTIME_S] >= 10  # what was never heard is missing at once, but a fault only after a while
    waited = patient and img[_UPTIME_S] > par[_PAR_STALE_BMS] // 1000  # and a slow BMS only after its own

    # While we were held up ourselves nobody could be received: a device is lost when it was silent for the whole of its
    # time with us listening.  (The limits take the age as it is: what is old moves nothing.)
    listening = img[_LOOP_MS] + img[_DT]
    if listening > _AGE_MAX:
        listening = _AGE_MAX
    if img[_DT] > par[_PAR_STALL_MS]:
        listening = 0
    img[_LOOP_MS] = listening
    lost = img[_CONDITIONS]
    stale = par[_PAR_STALE_BMS]
    k = _SEQ_BMS
    while k <= _SEQ_IO:
        age = img[_AGE + k]
        if listening < age and age < _AGE_NEVER:
            bit = _C_BMS_LOST
            if k > _SEQ_BMS_FLAGS:
                bit = _C_PCS_LOST << (k - _SEQ_PCS)
            if (lost & bit) == 0:
                age = listening
        bit = 0
        if k <= _SEQ_BMS_FLAGS:
            if (has & _HAS_BMS) != 0 and age > stale and (age < _AGE_NEVER or (waited and k <= _SEQ_BMS_LIMITS)):
                bit = _C_BMS_LOST
        elif age < _AGE_NEVER or patient:
            if k == _SEQ_PCS:
                if (has & _HAS_PCS) != 0 and age > par[_PAR_STALE_PCS]:
                    bit = _C_PCS_LOST
            elif k == _SEQ_METER:
                if (has & _HAS_METER) != 0 and age > par[_PAR_STALE_METER]:
                    bit = _C_METER_LOST
            elif k == _SEQ_PV:
                if (has & _HAS_PV) != 0 and age > par[_PAR_STALE_METER]:
                    bit = _C_PV_LOST
            elif (has & _HAS_IO) != 0 and age > par[_PAR_STALE_IO]:
                bit = _C_IO_LOST
        found = found | bit
        k += 1

    if img[_IO_ESTOP] == 1:
        found = found | _C_EMERGENCY_STOP
    if img[_SOC_JUMP] > 200:
        found = found | _C_SOC_JUMP
    q = ((img[_SOC_DRIFT] + b) & m) - b
    if q < 0:
        q = 0 - q
    if q > par[_PAR_SOC_BOUND]:
        found = found | _C_SOC_DISAGREES

    cmd = ((img[_CMD_P] + b) & m) - b
    slow = ((img[_SLOW_P] + b) & m) - b
    q = cmd - slow
    if q < 0:
        q = 0 - q
    k = img[_DT]
    if k > 1000:
        k = 1000
    k = q // 8 * k // 250  # time constant 2 s
    if k == 0 and q > 0:
        k = 1
    if cmd < slow:
        slow -= k
    else:
        slow += k
    img[_SLOW_P] = slow
    pcs = ((img[_PCS_P] + b) & m) - b
    if pcs != none and img[_AGE + _SEQ_PCS] <= par[_PAR_STALE_PCS]:
        if img[_PCS_STATE] == _PCS_FAULT:
            found = found | _C_PCS_FAULT
        low = cmd  # between the command and how a slow inverter would follow it, it is on its way
        high = cmd
        if slow < low:
            low = slow
        else:
            high = slow
        island = img[_GRID_OK] == 0 and par[_PAR_GRID_TYPE] < 2  # the load decides what a forming inverter gives
        if (pcs - high > par[_PAR_FOLLOW_P] or low - pcs > par[_PAR_FOLLOW_P]) and not island:
            found = found | _C_PCS_NOT_FOLLOWING
        q = par[_PAR_OVER_P]  # beyond a live limit, and not on the way down from before it fell
        if (pcs - img[_LIMIT_DIS] > q and pcs - high > q) or (0 - pcs - img[_LIMIT_CHG] > q and low - pcs > q):
            found = found | _C_OVERPOWER
        if img[_STILL_BMS_MS] > par[_PAR_FROZEN_MS]:
            found = found | _C_BMS_FROZEN
        if img[_STILL_PCS_MS] > par[_PAR_FROZEN_MS]:
            found = found | _C_PCS_FROZEN
        amps = ((img[_PCS_DC_I] + b) & m) - b
        q = ((img[_BMS_I] + b) & m) - b
        if amps != none and q != none and img[_AGE + _SEQ_BMS] <= stale:
            q = q - amps
            if q < 0:
                q = 0 - q
            if amps < 0:
                amps = 0 - amps
            if q > 200 + amps // 4:
                found = found | _C_CURRENT_MISMATCH
    q = ((img[_IO_CONTACTOR] + b) & m) - b
    if q != none and q != img[_CMD_CONTACTOR]:
        found = found | _C_CONTACTOR
    img[_CONDITIONS] = found


@micropython.viper
def still(img: ptr32, par: ptr32):
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


@micropython.viper
def age_claims(table: ptr32, n: int, dt: int) -> int:
    """Let claims run out; returns the first live source in the low byte and the bits of those just expired above it.

    table, 4 a source: ms left (0 none, the largest value for ever), W, goal, target SoC.
    """
    winner = n
    expired = 0
    k = n
    while k > 0:
        k -= 1
        left = table[k * 4]
        if left != 0:
            if left < _RANGE:
                left -= dt
                if left <= 0:
                    left = 0
                    expired = expired | (256 << k)
                table[k * 4] = left
            if left != 0:
                winner = k
    return winner | expired
