"""From the request to the command."""

import micropython
from micropython import const

# slots: begin (copied from image.py by `make slots`)
_GRID_OK = const(75)
_REQUEST_P = const(81)
_REQUEST_BY = const(82)
_TARGET_P = const(83)
_LIMIT_DIS = const(84)
_LIMIT_CHG = const(85)
_WHY_DIS = const(86)
_WHY_CHG = const(87)
_CMD_P = const(88)
_DT = const(94)
_UPTIME_S = const(95)
_WORST_P = const(101)
_COMMANDS = const(102)
_BOUND = const(119)
_BOUND_S = const(120)
_RAMP_REM = const(225)
_PAR_GRID_TYPE = const(3)
_PAR_RAMP_UP = const(10)
_PAR_RAMP_DOWN = const(11)
_RANGE = const(1073741823)
_BY_ISLAND = const(1)
# slots: end


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
        bound = img[_WHY_CHG] + 33
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
        if img[_GRID_OK] == 0 and par[_PAR_GRID_TYPE] < 2 and img[_REQUEST_BY] == _BY_ISLAND:
            step = _RANGE  # an island's load is there already: no slewing (ISOLATED, BACKUP)
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
