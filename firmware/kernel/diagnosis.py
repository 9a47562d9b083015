"""What is missing, which conditions of the fault table hold, and which have held for long enough to be faults."""

import micropython
from micropython import const

# slots: begin (copied from image.py by `make slots`)
_AGE_NEVER = const(1000000000)
_AGE_MAX = const(900000000)
_SEQ_BMS = const(0)
_SEQ_BMS_LIMITS = const(1)
_SEQ_BMS_FLAGS = const(4)
_SEQ_PCS = const(5)
_SEQ_METER = const(6)
_SEQ_PV = const(7)
_SEQ_IO = const(8)
_BMS_SOC = const(11)
_BMS_V = const(13)
_BMS_I = const(14)
_BMS_TEMP = const(15)
_BMS_I_DIS = const(19)
_CELL_V_MIN = const(21)
_CELL_T_MAX = const(22)
_BMS_REQUESTS = const(25)
_BMS_PROTECT = const(26)
_BMS_ALARM = const(27)
_BMS_ODD = const(28)
_PCS_STATE = const(30)
_PCS_P = const(31)
_PCS_DC_V = const(36)
_PCS_DC_I = const(37)
_IO_ESTOP = const(55)
_IO_CONTACTOR = const(56)
_AGE = const(58)
_SOC_DRIFT = const(72)
_GRID_OK = const(75)
_FAULTS = const(78)
_CONDITIONS = const(79)
_LIMIT_DIS = const(84)
_LIMIT_CHG = const(85)
_CMD_P = const(88)
_CMD_CONTACTOR = const(90)
_DT = const(94)
_UPTIME_S = const(95)
_HOLD_CHG_MS = const(104)
_MISSING = const(105)
_BREACH = const(132)
_PARTS_LOST = const(136)
_STILL_BMS_MS = const(194)
_STILL_PCS_MS = const(195)
_STILL_SUM_BMS = const(196)
_SLOW_P = const(198)
_STILL_LOW = const(199)
_STILL_HIGH = const(201)
_READS_CELL_HI = const(204)
_READS_CELL_LO = const(205)
_READS_TEMP_HI = const(206)
_DOUBTS = const(210)
_DOUBTS_SEEN = const(211)
_CONDITIONS_BMS = const(213)
_SOC_JUMP = const(221)
_LOOP_MS = const(224)
_FRESH = const(233)
_METER_STILL_MS = const(239)
_ODD_P = const(240)
_WAY_P = const(241)
_ODD_I = const(242)
_ODD_I_CAME = const(243)
_STILL_SOC = const(244)
_STILL_DRIFT = const(245)
_PAR_GRID_TYPE = const(3)
_PAR_STALE_BMS = const(12)
_PAR_STALE_PCS = const(13)
_PAR_STALE_METER = const(14)
_PAR_STALE_IO = const(15)
_PAR_HAS = const(16)
_PAR_SOC_BOUND = const(19)
_PAR_OVER_P = const(40)
_PAR_FOLLOW_P = const(41)
_PAR_FLOW_P = const(42)
_PAR_FROZEN_MS = const(43)
_PAR_T_TRIP_LO = const(48)
_PAR_STALL_MS = const(60)
_PAR_PROT_CHG = const(61)
_PAR_PROT_DIS = const(62)
_PAR_PROT_SEP = const(63)
_PAR_CELL_DEAD = const(66)
_BMS_REQ_NO_DISCHARGE = const(2)
_BMS_REQ_FORCE_CHARGE = const(4)
_BMS_PROT_UNDER_V = const(2)
_BMS_ODD_TWO = const(1048576)
_PCS_FAULT = const(4)
_HAS_BMS = const(1)
_HAS_PCS = const(2)
_HAS_METER = const(4)
_HAS_PV = const(8)
_HAS_IO = const(16)
_RANGE = const(1073741823)
_MISS_PCS = const(1)
_MISS_BMS = const(2)
_MISS_IO = const(64)
_MISS_SOC = const(128)
_MISS_V = const(256)
_MISS_I = const(512)
_MISS_PCS_P = const(1024)
_MISS_TEMP = const(2048)
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
_C_BREACH = const(33554432)
_C_INVERTER_SILENT = const(67108864)
_C_METER_FROZEN = const(134217728)
# slots: end
_MOST = const(65535)  # of 16 bits
_BOTH = const(0x21)  # of FRESH: battery and inverter


@micropython.viper
def find_missing(img: ptr32, par: ptr32):
    """What the cycle may not do without and has not: MISSING.

    A BMS that never sends cells, temperatures or flags is judged without them.  grid_rows adds the meter and the grid where a
    row needs them.
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


@micropython.viper
def battery_conditions(img: ptr32, par: ptr32):
    """Which of the battery's faults hold: CONDITIONS_BMS."""
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
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
def lost_devices(img: ptr32, par: ptr32):
    """Begin CONDITIONS, a bit for each row of the fault table whose condition holds now: the battery's, who is not received,
    what the board's own inputs say, and whether the cycle has broken a rule of its own.
    """
    one = 1
    b = one << 30
    m = b + _RANGE
    has = par[_PAR_HAS]
    found = img[_CONDITIONS_BMS]
    if (has & _HAS_METER) != 0 and img[_METER_STILL_MS] > par[_PAR_FROZEN_MS]:
        found = found | _C_METER_FROZEN
    if img[_IO_ESTOP] == 1:
        found = found | _C_EMERGENCY_STOP
    q = ((img[_IO_CONTACTOR] + b) & m) - b
    if q >= 0 and q != img[_CMD_CONTACTOR]:
        found = found | _C_CONTACTOR
    if img[_BREACH] != 0:
        found = found | _C_BREACH
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
    img[_CONDITIONS] = found


@micropython.viper
def judge_power(img: ptr32, par: ptr32):
    """Let SLOW_P follow the command as an inverter with 2 s response would, and add to CONDITIONS whether the inverter does.

    Who reports seldom reports what was: power is judged when it comes, and has to be odd twice in a row (ODD_P).
    """
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
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
        low = cmd  # between the command and how a slow inverter would follow it, it is on its way
        high = cmd
        if slow < low:
            low = slow
        else:
            high = slow
        island = img[_GRID_OK] == 0 and par[_PAR_GRID_TYPE] < 2  # the load decides what a forming inverter gives
        q = par[_PAR_FOLLOW_P]
        odd = 0
        way = ((img[_WAY_P] + b) & m) - b
        fresh = (img[_FRESH] >> _SEQ_PCS & 1) != 0
        if (pcs - high > q or low - pcs > q) and not island:
            odd = _C_PCS_NOT_FOLLOWING
            k = par[_PAR_FLOW_P] // 2 + 1
            if fresh and ((pcs < low and pcs - way >= k) or (pcs > high and way - pcs >= k)):
                img[_WAY_P] = pcs
                odd = 0  # slowly, by a ramp of its own, it is on its way
        elif fresh:
            img[_WAY_P] = pcs
        more = (pcs > 0 and pcs - high > q and pcs - way > q) or (pcs < 0 and low - pcs > q and way - pcs > q)
        q = par[_PAR_OVER_P]  # beyond a live limit, and not on the way down from before it fell
        if island and img[_LIMIT_DIS] == 0 and pcs > 0:
            q = par[_PAR_FLOW_P]  # a small load would empty the battery all the same
        if (pcs - img[_LIMIT_DIS] > q and pcs - high > q) or (0 - pcs - img[_LIMIT_CHG] > q and low - pcs > q):
            odd = odd | _C_OVERPOWER
        if fresh:
            count = 0
            if odd != 0:
                count = img[_ODD_P] + 1
                if count > 2:
                    count = 2
                if count == 2 and more and (((img[_GRID_OK] + b) & m) - b) == none:
                    count = 3  # from its command to more, and nobody says whether there is a grid: it carries an island
            if island and img[_ODD_P] == 3:
                count = 3
            img[_ODD_P] = count
        if img[_ODD_P] > 1:
            img[_CONDITIONS] = img[_CONDITIONS] | odd


@micropython.viper
def plant_conditions(img: ptr32, par: ptr32):
    """Add to CONDITIONS what state of charge and inverter say, before any debounce: after judge_power.

    Of currents as of power: odd twice in a row, when they come.
    """
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
    found = img[_CONDITIONS]
    stale = par[_PAR_STALE_BMS]
    if img[_SOC_JUMP] > 200:
        found = found | _C_SOC_JUMP
    q = ((img[_SOC_DRIFT] + b) & m) - b
    if q < 0:
        q = 0 - q
    if q > par[_PAR_SOC_BOUND]:
        found = found | _C_SOC_DISAGREES
    if (((img[_PCS_P] + b) & m) - b) != none and img[_AGE + _SEQ_PCS] <= par[_PAR_STALE_PCS]:
        if img[_PCS_STATE] == _PCS_FAULT:
            found = found | _C_PCS_FAULT
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
            odd = 0
            if q > 200 + amps // 4:
                odd = _C_CURRENT_MISMATCH
            came = img[_ODD_I_CAME] | (img[_FRESH] & _BOTH)
            if came == _BOTH:  # of the same time, but for what the quicker one is older
                came = 0
                count = 0
                if odd != 0:
                    count = img[_ODD_I] + 1
                    if count > 2:
                        count = 2
                img[_ODD_I] = count
            img[_ODD_I_CAME] = came
            if img[_ODD_I] > 1:
                found = found | odd
    if img[_PARTS_LOST] != 0:
        found = found | _C_INVERTER_SILENT
    img[_CONDITIONS] = found


@micropython.viper
def detect_frozen(img: ptr32, par: ptr32):
    """Time how long BMS and PCS have repeated the same voltage, current and power although the power has moved.

    A live sender may rest as long as what it measures rests; frozen is one that does not see what the other one sees: a
    load over 5 A that has moved by more than 2 A.  So is a BMS that goes on saying the same of everything while the current
    that it says itself has moved more charge than soc_bound.
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
            drift = ((img[_SOC_DRIFT] + b) & m) - b
            if drift < 0:
                drift = 0 - drift
            if s != img[_STILL_SUM_BMS] or rests or img[_BMS_SOC] != img[_STILL_SOC]:
                img[_STILL_SOC] = img[_BMS_SOC]
                img[_STILL_DRIFT] = drift
            elif drift - img[_STILL_DRIFT] > par[_PAR_SOC_BOUND] and img[_STILL_BMS_MS] <= par[_PAR_FROZEN_MS]:
                img[_STILL_BMS_MS] = par[_PAR_FROZEN_MS] + 1
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
def debounce(img: ptr32, rows: ptr16, state: ptr16, n: int) -> int:
    """Turn CONDITIONS into FAULTS; returns the bits that changed.

    rows, 3 a fault: cycles the condition must hold, ms it must hold, ms it must be gone.  state, 3 a fault:
    cycles held, ms held (or gone, while active), times raised.  All of them stay at 65535 when they are there.
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
            if state[k] < _MOST:
                state[k] += 1
            if dt < _MOST - state[k + 1]:
                state[k + 1] += dt
            else:
                state[k + 1] = _MOST
            if on != 0:
                if state[k + 1] > rows[k + 2]:
                    changed = changed | bit
            elif state[k] >= rows[k] and state[k + 1] > rows[k + 1]:
                changed = changed | bit
                if state[k + 2] < _MOST:
                    state[k + 2] += 1
            if (changed & bit) != 0:
                state[k] = 0
                state[k + 1] = 0
        bit = bit << 1
        k += 3
    img[_FAULTS] = active ^ changed
    return changed
