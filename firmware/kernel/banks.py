"""Several banks: what they have together, what each may give of a command, and how it gets there.

Loaded only where a site has several batteries or inverters.  An instance is an array of its own: `img` is the site's (or a
bank's, over its devices), `part` that of one of its parts.
"""

import micropython
from micropython import const

# slots: begin (copied from image.py by `make slots`)
_SEQ_BMS = const(0)
_SEQ_PCS = const(5)
_BMS_V = const(13)
_BMS_I = const(14)
_BMS_REQUESTS = const(25)
_PCS_STATE = const(30)
_PCS_P = const(31)
_AGE = const(58)
_SOC = const(69)
_SOC_LOW = const(70)
_SOC_HIGH = const(71)
_GRID_OK = const(75)
_MODE = const(76)
_GATE = const(80)
_REQUEST_P = const(81)
_REQUEST_BY = const(82)
_TARGET_P = const(83)
_LIMIT_DIS = const(84)
_CMD_P = const(88)
_CMD_BALANCE = const(91)
_DT = const(94)
_COMMANDS = const(102)
_BY_BANK = const(132)
_LIMIT_ROWS_DIS = const(136)
_LIMIT_ROWS_CHG = const(160)
_RAMP_REM = const(218)
_REST_P = const(221)
_REST_LIMIT = const(223)
_PAR_P_CHG = const(0)
_PAR_P_DIS = const(1)
_PAR_GRID_TYPE = const(3)
_PAR_SOC_MIN = const(6)
_PAR_SOC_MAX = const(7)
_PAR_RAMP_UP = const(10)
_PAR_STALE_BMS = const(12)
_PAR_STALE_PCS = const(13)
_OP_I_CHG = const(52)
_OP_SOC_MIN = const(56)
_OP_SOC_MAX = const(57)
_BMS_REQ_FULL_CHARGE = const(16)
_PCS_STANDBY = const(2)
_PCS_RUNNING = const(3)
_PCS_FAULT = const(4)
_GATE_CLOSED = const(4)
_RANGE = const(1073741823)
_ROW_BMS_FORBIDS = const(3)
_ROW_OPERATION = const(12)
_ROW_BANKS = const(15)
# slots: end

_DONE_BAND = const(5)  # as charging.py's
_MOST = const(1000000)  # W of a part that are shared: times 1023 they stay inside int32


@micropython.viper
def join(img: ptr32, part: ptr32, rules: ptr32, n: int, which: int, joined: int):
    """Let img have of each slot what its parts have together.

    rules, n rows of 3: slot, class (a bit), rule: 1 the sum (not known if one is not), 2 the largest known, 3 the smallest known,
    4 all bits, 5 the first known, 6 the smallest, where one that is not known stays so, 7 the state of the inverter that does
    most, 8 the largest magnitude.  which: the classes that this part takes part in; joined: those in which one has before.
    """
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
    most = one << 27
    i = 0
    while i < n * 3:
        if (rules[i + 1] & which) != 0:
            slot = rules[i]
            rule = rules[i + 2]
            v = ((part[slot] + b) & m) - b
            if rule == 1 and v != none:  # 134 MW at most: their sums stay inside a slot, whatever was measured
                if v > most:
                    v = most
                if v + most < 0:
                    v = 0 - most
            if (rules[i + 1] & joined) != 0:
                w = ((img[slot] + b) & m) - b
                if rule == 6:
                    if w < v:
                        v = w
                elif rule == 1:
                    if v != none and w != none:
                        v += w
                        if v > most << 2:
                            v = most << 2
                        if v + (most << 2) < 0:
                            v = 0 - (most << 2)
                    else:
                        v = none
                elif v == none:
                    v = w
                elif w != none:
                    if rule == 4:
                        v = v | w
                    elif rule == 5 or (rule == 2 and w > v) or (rule == 3 and w < v):
                        v = w
                    elif rule == 7:
                        if v == _PCS_FAULT or (w != _PCS_FAULT and w > v):
                            v = w
                    elif rule == 8:
                        q = v
                        if q < 0:
                            q = 0 - q
                        if w > q or w + q < 0:
                            v = w
            img[slot] = v
        i += 3


@micropython.viper
def classes(part: ptr32, par: ptr32) -> int:
    """In which classes of join a bank takes part: 1 always, 2 its battery is measured, 4 its inverter is, 8 it may move power and
    its state of charge is known, 16 its inverter switches: one that does not has its own relay open and sees no grid.

    One that is received without voltage, current or power costs its own bank (find_missing), and not what the others measure.
    """
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
    found = 1
    if part[_AGE + _SEQ_BMS] <= par[_PAR_STALE_BMS]:
        if (((part[_BMS_V] + b) & m) - b) > 0 and (((part[_BMS_I] + b) & m) - b) != none:
            found = found | 2
    if part[_AGE + _SEQ_PCS] <= par[_PAR_STALE_PCS] and (((part[_PCS_P] + b) & m) - b) != none:
        found = found | 4
        if part[_PCS_STATE] == _PCS_STANDBY or part[_PCS_STATE] == _PCS_RUNNING:
            found = found | 16
    mode = part[_MODE]
    if mode > 0 and mode != 4 and part[_SOC] >= 0 and part[_SOC] <= 10000:
        found = found | 8
    return found


@micropython.viper
def spread(img: ptr32, par: ptr32, part: ptr32, part_par: ptr32):
    """What the site knows, to a bank: the grid, what an operation sets for each battery."""
    part[_GRID_OK] = img[_GRID_OK]
    part[_CMD_BALANCE] = img[_CMD_BALANCE]
    k = _OP_I_CHG
    while k <= _OP_SOC_MAX:
        part_par[k] = par[k]
        k += 1
    part_par[_PAR_GRID_TYPE] = par[_PAR_GRID_TYPE]


@micropython.viper
def add_limits(img: ptr32, part: ptr32, part_par: ptr32, k: int):
    """Add what bank number k may give to the site's rows of devices, batteries and operation, and to its row `banks`.

    A row has what those banks may give together that are connected; BY_BANK is the one furthest below its configured power.
    """
    chg = 0
    while chg < 2:
        row = _LIMIT_ROWS_DIS + chg * (_LIMIT_ROWS_CHG - _LIMIT_ROWS_DIS)
        if k == 0:
            i = _ROW_BMS_FORBIDS
            while i <= _ROW_OPERATION:
                img[row + i] = 0
                i += 1
            img[row + _ROW_BANKS] = 0
            img[_REST_LIMIT + chg] = 0
            img[_REST_P + chg] = 0
            img[_BY_BANK + chg] = 0
        most = part_par[_PAR_P_DIS + (_PAR_P_CHG - _PAR_P_DIS) * chg]
        gives = part[_LIMIT_DIS + chg]
        if (part[_GATE] & _GATE_CLOSED) == 0:
            i = _ROW_BMS_FORBIDS
            while i <= _ROW_OPERATION:
                p = part[row + i]
                if p > most:
                    p = most
                img[row + i] += p
                i += 1
            img[_REST_LIMIT + chg] += most
        img[row + _ROW_BANKS] += gives
        if most - gives > img[_REST_P + chg]:
            img[_REST_P + chg] = most - gives
            img[_BY_BANK + chg] = k + 1
        chg += 1


@micropython.viper
def close_limits(img: ptr32):
    """After add_limits of every bank: a row by which no connected bank is bound limits nothing."""
    chg = 0
    while chg < 2:
        row = _LIMIT_ROWS_DIS + chg * (_LIMIT_ROWS_CHG - _LIMIT_ROWS_DIS)
        i = _ROW_BMS_FORBIDS
        while i <= _ROW_OPERATION:
            if img[row + i] >= img[_REST_LIMIT + chg]:
                img[row + i] = _RANGE
            i += 1
        chg += 1


@micropython.viper
def ends(img: ptr32, par: ptr32, part: ptr32, part_par: ptr32, joined: int):
    """How far a connected bank is from its own floor and ceiling, as if those were the site's: SOC_LOW and SOC_HIGH.

    Of several the one furthest from its end, since an operation goes on as long as one can; joined: one was looked at before.
    """
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
    floor = par[_PAR_SOC_MIN]
    own = part_par[_PAR_SOC_MIN]
    if par[_OP_SOC_MIN] != _RANGE:
        if par[_OP_SOC_MIN] > floor:
            floor = par[_OP_SOC_MIN]
        if par[_OP_SOC_MIN] > own:
            own = par[_OP_SOC_MIN]
    low = (((part[_SOC_LOW] + b) & m) - b) - own + floor
    if low < 0:
        low = 0
    if low > 10000:
        low = 10000
    top = part_par[_PAR_SOC_MAX]
    q = ((part[_BMS_REQUESTS] + b) & m) - b
    if q != none and (q & _BMS_REQ_FULL_CHARGE) != 0:
        top = 10000
    high = ((part[_SOC_HIGH] + b) & m) - b
    if high + _DONE_BAND >= top:
        high = 10000  # as full as it may be
    if joined == 0 or low > ((img[_SOC_LOW] + b) & m) - b:
        img[_SOC_LOW] = low
    if joined == 0 or high < ((img[_SOC_HIGH] + b) & m) - b:
        img[_SOC_HIGH] = high


@micropython.viper
def portion(img: ptr32, part: ptr32, par: ptr32, how: int) -> int:
    """Give a part its portion of REST_P, as its limit is to REST_LIMIT, those of all that have none yet: its REQUEST_P.

    Nobody gets more than his limit, and the last gets what whole watts have left over.  how, bits: 1 it is charged; 2 it follows
    at once, else its command rises by its ramp (a change of sign stops at 0), and 1 is returned where that leaves it less.
    """
    one = 1
    b = one << 30
    m = b + _RANGE
    own = part[_LIMIT_DIS + (how & 1)]
    if own > _MOST:
        own = _MOST
    rest = img[_REST_P]
    limit = img[_REST_LIMIT]
    p = rest
    if rest < limit and own < limit:
        f = 0  # rest / limit, 20 bits behind the point
        r = rest
        i = 0
        while i < 20:
            r = r << 1
            f = f << 1
            if r >= limit:
                r -= limit
                f += 1
            i += 1
        p = (own * (f >> 10) + (own * (f & 1023) >> 10)) >> 10
    if p > own:
        p = own
    slow = 0
    if (how & 2) == 0:
        most = ((part[_CMD_P] + b) & m) - b
        if (how & 1) != 0:
            most = 0 - most
        if most < 0:
            most = 0
        else:
            most += (par[_PAR_RAMP_UP] * part[_DT] + part[_RAMP_REM]) // 1000
        if p > most:
            p = most
            slow = 1
    img[_REST_P] = rest - p
    img[_REST_LIMIT] = limit - own
    part[_REQUEST_BY] = img[_REQUEST_BY]
    if (how & 1) != 0:
        part[_REQUEST_P] = 0 - p
    else:
        part[_REQUEST_P] = p
    return slow


@micropython.viper
def take_portion(img: ptr32, par: ptr32):
    """From a bank's portion to its command, and what its ramp leaves over in mW."""
    one = 1
    b = one << 30
    m = b + _RANGE
    goal = ((img[_REQUEST_P] + b) & m) - b
    was = ((img[_CMD_P] + b) & m) - b
    rise = goal - was
    if goal < 0:
        rise = 0 - rise
    move = par[_PAR_RAMP_UP] * img[_DT] + img[_RAMP_REM]
    if goal != 0 and rise >= move // 1000:
        img[_RAMP_REM] = move % 1000
    else:
        img[_RAMP_REM] = 0
    if goal != was:
        img[_COMMANDS] = (img[_COMMANDS] + 1) & _RANGE
    img[_TARGET_P] = goal
    img[_CMD_P] = goal
