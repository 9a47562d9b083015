"""Several banks: what they have together, what each may give of a command, and how it gets there.

Loaded only where a site has several batteries or inverters.  An instance is an array of its own: `img` is the site's (or a
bank's, over its devices), `parts` the n arrays of its parts in a list, `pars` their parameters: one call does a step for all.
"""

import micropython
from micropython import const

# slots: begin (copied from image.py by `make slots`)
_AGE_MAX = const(900000000)
_SEQ_BMS = const(0)
_SEQ_PCS = const(5)
_BMS_SOC = const(11)
_BMS_V = const(13)
_BMS_I = const(14)
_BMS_REQUESTS = const(25)
_PCS_STATE = const(30)
_PCS_P = const(31)
_AGE = const(58)
_SOC = const(69)
_SOC_LOW = const(70)
_SOC_HIGH = const(71)
_NET_P = const(73)
_GRID_OK = const(75)
_MODE = const(76)
_GATE = const(80)
_REQUEST_P = const(81)
_REQUEST_BY = const(82)
_TARGET_P = const(83)
_LIMIT_DIS = const(84)
_CMD_P = const(88)
_CMD_RUN = const(89)
_CMD_BALANCE = const(91)
_DT = const(94)
_COMMANDS = const(102)
_ORDER = const(110)
_TRIPS = const(113)
_BY_BANK = const(137)
_LIMIT_ROWS_DIS = const(143)
_LIMIT_ROWS_CHG = const(167)
_RAMP_REM = const(225)
_REST_P = const(228)
_REST_LIMIT = const(230)
_BMS_ENDS_MS = const(232)
_FRESH = const(233)
_REST_MS = const(236)
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
_ORDER_SPENT = const(3)
_GATE_CLOSED = const(4)
_RANGE = const(1073741823)
_ROW_BMS_FORBIDS = const(3)
_ROW_OPERATION = const(12)
_ROW_BANKS = const(15)
# slots: end

_DONE_BAND = const(5)  # as charging.py's
_ENDED_MS = const(60000)  # as arbiter.py's
_MOST = const(1000000)  # W of a part that are shared: times 1023 they stay inside int32
_GROUPS = const(0x3F)  # of FRESH: battery and inverter
_EVERY = const(31)  # all classes
_REST_MOST_MS = const(60000)  # as supervisor.py's


@micropython.viper
def classes(img: ptr32, parts, pars, which: ptr32, n: int) -> int:
    """In which classes of join each part takes part, into `which`, and all of them together; what has arrived of any, in FRESH.

    1 always, 2 its battery is measured, 4 its inverter is, 8 it may move power and its state of charge is known, 16 its inverter
    switches: one that does not has its own relay open and sees no grid.  One that is received without voltage, current or power
    costs its own bank (find_missing), and not what the others measure.
    """
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
    joined = 0
    fresh = img[_FRESH]
    k = 0
    while k < n:
        part = ptr32(parts[k])
        par = ptr32(pars[k])
        found = 1
        if part[_AGE + _SEQ_BMS] <= par[_PAR_STALE_BMS]:
            if (((part[_BMS_V] + b) & m) - b) > 0 and (((part[_BMS_I] + b) & m) - b) != none:
                found = 3
        if part[_AGE + _SEQ_PCS] <= par[_PAR_STALE_PCS] and (((part[_PCS_P] + b) & m) - b) != none:
            found = found | 4
            if part[_PCS_STATE] == _PCS_STANDBY or part[_PCS_STATE] == _PCS_RUNNING:
                found = found | 16
        mode = part[_MODE]
        if mode > 0 and mode != 4 and part[_SOC] >= 0 and part[_SOC] <= 10000:
            found = found | 8
        which[k] = found
        joined = joined | found
        fresh = fresh | (part[_FRESH] & _GROUPS)
        k += 1
    img[_FRESH] = fresh
    return joined


@micropython.viper
def join(img: ptr32, parts, which: ptr32, n: int, rules: ptr32, rows: int):
    """Let img have of each slot what its parts have together, of which none takes part in a slot's class: NO_VALUE.

    rules, 3 numbers a row: slot, class (a bit), rule: 1 the sum (not known if one is not), 2 the largest known, 3 the smallest
    known, 4 all bits, 5 the first known, 6 the smallest, where one that is not known stays so, 7 the state of the inverter that
    does most, 8 the largest magnitude, 9 the oldest age of what was ever heard.  which: the classes that each part takes part in.
    """
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
    most = one << 27
    joined = 0
    k = 0
    while k < n:
        part = ptr32(parts[k])
        mine = which[k]
        i = 0
        while i < rows:
            kind = rules[i + 1]
            if (kind & mine) != 0:
                slot = rules[i]
                rule = rules[i + 2]
                v = ((part[slot] + b) & m) - b
                if rule == 1 and v != none:  # 134 MW at most: their sums stay inside a slot, whatever was measured
                    if v > most:
                        v = most
                    if v + most < 0:
                        v = 0 - most
                if (kind & joined) != 0:
                    w = ((img[slot] + b) & m) - b
                    if rule == 1:
                        if v == none or w == none:
                            v = none
                        else:
                            v += w  # of four at most
                    elif rule == 2:
                        if w > v:
                            v = w
                    elif rule == 6:
                        if w < v:
                            v = w
                    elif rule == 9:
                        if v > _AGE_MAX or (w > v and w <= _AGE_MAX):
                            v = w
                    elif w != none:
                        if v == none or rule == 5:
                            v = w
                        elif rule == 3:
                            if w < v:
                                v = w
                        elif rule == 4:
                            v = v | w
                        elif rule == 7:
                            if v == _PCS_FAULT or (w != _PCS_FAULT and w > v):
                                v = w
                        elif (w > v and w + v > 0) or (w < v and w + v < 0):
                            v = w
                img[slot] = v
            i += 3
        joined = joined | mine
        k += 1
    i = 0
    while joined != _EVERY and i < rows:
        if (rules[i + 1] & joined) == 0:
            img[rules[i]] = none
        i += 3


@micropython.viper
def state_of_charge(img: ptr32, par: ptr32, parts, pars, which: ptr32, weights: ptr32, n: int):
    """Of several banks: SOC by their energies (`weights`, kWh), and how far an operation may go on: SOC_LOW and SOC_HIGH.

    How far a connected bank (8 in `which`) is from its own floor and ceiling, as if those were the site's; of several the one
    furthest from its end, since an operation goes on as long as one can (one whose BMS has ended it is there).  Where none is
    connected, SOC.
    """
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
    total = 0
    weight = 0
    lowest = none
    highest = none
    floor = par[_PAR_SOC_MIN]
    least = par[_OP_SOC_MIN]
    if least == _RANGE:
        least = 0
    if least > floor:
        floor = least
    k = 0
    while k < n:
        part = ptr32(parts[k])
        soc = ((part[_SOC] + b) & m) - b
        if soc >= 0 and soc <= 10000:
            total += soc * weights[k]
            weight += weights[k]
        if (which[k] & 8) != 0:
            its = ptr32(pars[k])
            own = its[_PAR_SOC_MIN]
            if least > own:
                own = least
            low = (((part[_SOC_LOW] + b) & m) - b) - own + floor
            if low < 0:
                low = 0
            if low > 10000:
                low = 10000
            top = its[_PAR_SOC_MAX]
            q = ((part[_BMS_REQUESTS] + b) & m) - b
            if q != none and (q & _BMS_REQ_FULL_CHARGE) != 0:
                top = 10000
            high = ((part[_SOC_HIGH] + b) & m) - b
            if high + _DONE_BAND >= top:
                high = 10000  # as full as it may be
            if part[_BMS_ENDS_MS] >= _ENDED_MS:  # its BMS has ended what runs: as near as it comes
                if part[_MODE] == 2:
                    high = 10000
                else:
                    low = 0
            if low > lowest:
                lowest = low
            if highest == none or high < highest:
                highest = high
        k += 1
    soc = none
    if weight > 0:
        soc = total // weight
    if lowest == none:  # nobody is connected
        lowest = soc
        highest = soc
    img[_SOC] = soc
    img[_BMS_SOC] = soc
    img[_SOC_LOW] = lowest
    img[_SOC_HIGH] = highest


@micropython.viper
def spread(img: ptr32, par: ptr32, parts, pars, n: int):
    """What the site knows, to its banks: grid and net load, what an operation sets for each battery."""
    k = 0
    while k < n:
        part = ptr32(parts[k])
        its = ptr32(pars[k])
        part[_GRID_OK] = img[_GRID_OK]
        part[_NET_P] = img[_NET_P]
        part[_CMD_BALANCE] = img[_CMD_BALANCE]
        i = _OP_I_CHG
        while i <= _OP_SOC_MAX:
            its[i] = par[i]
            i += 1
        its[_PAR_GRID_TYPE] = par[_PAR_GRID_TYPE]
        k += 1


@micropython.viper
def rest(parts, n: int, order: int, dt: int) -> int:
    """The site's order to every bank but one whose restarts are used up; returns how many have their mode machine to run.

    0: each is connected, and has neither outputs to change nor a restart to get back; then all that time does is REST_MS.
    """
    found = 0
    k = 0
    while k < n:
        part = ptr32(parts[k])
        if part[_ORDER] != _ORDER_SPENT:
            part[_ORDER] = order
        mode = part[_MODE]
        if mode == 0 or mode > 3 or part[_CMD_RUN] == 0 or part[_TRIPS] != 0 or part[_ORDER] == _ORDER_SPENT:
            found += 1
        k += 1
    k = 0
    while found == 0 and k < n:
        part = ptr32(parts[k])
        ms = 0
        if part[_CMD_P] == 0:
            ms = part[_REST_MS] + dt
            if ms > _REST_MOST_MS:
                ms = _REST_MOST_MS
        part[_REST_MS] = ms
        k += 1
    return found


@micropython.viper
def add_limits(img: ptr32, parts, pars, n: int):
    """What the banks may give together: the site's rows of devices, batteries and operation, and its row `banks`.

    A row has what those banks may give that are connected, and limits nothing where none of them is bound by it; BY_BANK is the
    one furthest below its configured power.
    """
    k = 0
    while k < n:
        part = ptr32(parts[k])
        par = ptr32(pars[k])
        chg = 0
        while chg < 2:
            row = _LIMIT_ROWS_DIS + chg * (_LIMIT_ROWS_CHG - _LIMIT_ROWS_DIS)
            if k == 0:
                i = row + _ROW_BMS_FORBIDS
                while i <= row + _ROW_OPERATION:
                    img[i] = 0
                    i += 1
                img[row + _ROW_BANKS] = 0
                img[_REST_LIMIT + chg] = 0
                img[_REST_P + chg] = 0
                img[_BY_BANK + chg] = 0
            most = par[_PAR_P_DIS + (_PAR_P_CHG - _PAR_P_DIS) * chg]
            gives = part[_LIMIT_DIS + chg]
            if (part[_GATE] & _GATE_CLOSED) == 0:
                i = row + _ROW_BMS_FORBIDS
                while i <= row + _ROW_OPERATION:
                    p = part[i]
                    if p > most:
                        p = most
                    if p > 0:
                        img[i] += p
                    i += 1
                img[_REST_LIMIT + chg] += most
            img[row + _ROW_BANKS] += gives
            if most - gives > img[_REST_P + chg]:
                img[_REST_P + chg] = most - gives
                img[_BY_BANK + chg] = k + 1
            if k == n - 1:
                i = row + _ROW_BMS_FORBIDS
                while i <= row + _ROW_OPERATION:
                    if img[i] >= img[_REST_LIMIT + chg]:
                        img[i] = _RANGE
                    i += 1
            chg += 1
        k += 1


@micropython.viper
def portions(img: ptr32, parts, pars, n: int, how: int, served: int) -> int:
    """Give parts their portions of CMD_P, as the limit of each is to that of all: REQUEST_P, REQUEST_BY; what is left is REST_P.

    served, a bit each: who is given one now; who is not keeps what he has, which may be the other way.  Nobody gets more than
    his limit, and the last gets what whole watts have left over.  how, bits: 1 they are charged; 2 they follow at once, else a
    command rises by its ramp (a change of sign stops at 0), and the bits of those are returned whom that leaves less.
    """
    one = 1
    b = one << 30
    m = b + _RANGE
    chg = how & 1
    rest = ((img[_CMD_P] + b) & m) - b
    if chg != 0:
        rest = 0 - rest
    limit = 0
    k = 0
    while k < n:
        part = ptr32(parts[k])
        if (served >> k & 1) != 0:
            limit += part[_LIMIT_DIS + chg]
        else:
            p = ((part[_REQUEST_P] + b) & m) - b
            if chg != 0:
                p = 0 - p
            rest -= p
        k += 1
    if rest < 0:
        rest = 0
    slow = 0
    k = 0
    while k < n:
        if (served >> k & 1) != 0:
            part = ptr32(parts[k])
            own = part[_LIMIT_DIS + chg]
            if own > _MOST:
                own = _MOST
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
            if (how & 2) == 0:
                most = ((part[_CMD_P] + b) & m) - b
                if chg != 0:
                    most = 0 - most
                if most < 0:
                    most = 0
                else:
                    par = ptr32(pars[k])
                    most += (par[_PAR_RAMP_UP] * part[_DT] + part[_RAMP_REM]) // 1000
                if p > most:
                    p = most
                    slow = slow | (1 << k)
            rest -= p
            limit -= own
            part[_REQUEST_BY] = img[_REQUEST_BY]
            if chg != 0:
                p = 0 - p
            part[_REQUEST_P] = p
        k += 1
    img[_REST_P] = rest
    return slow


@micropython.viper
def take_portions(img: ptr32, parts, pars, n: int):
    """From the banks' portions to their commands, and what a bank's ramp leaves over in mW; the site's is their sum."""
    one = 1
    b = one << 30
    m = b + _RANGE
    total = 0
    k = 0
    while k < n:
        part = ptr32(parts[k])
        par = ptr32(pars[k])
        goal = ((part[_REQUEST_P] + b) & m) - b
        was = ((part[_CMD_P] + b) & m) - b
        rise = goal - was
        if goal < 0:
            rise = 0 - rise
        move = par[_PAR_RAMP_UP] * part[_DT] + part[_RAMP_REM]
        part[_RAMP_REM] = 0
        if goal != 0 and rise >= move // 1000:
            part[_RAMP_REM] = move % 1000
        if goal != was:
            part[_COMMANDS] = (part[_COMMANDS] + 1) & _RANGE
        part[_TARGET_P] = goal
        part[_CMD_P] = goal
        total += goal
        k += 1
    img[_CMD_P] = total
