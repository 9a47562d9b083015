"""The rows of the limit list that do not come from the battery's cells, and the one that binds."""

import micropython
from micropython import const

# slots: begin (copied from image.py by `make slots`)
_BMS_REQUESTS = const(25)
_BMS_PROTECT = const(26)
_PCS_STATE = const(30)
_PCS_P_CHG = const(39)
_PCS_P_DIS = const(40)
_NET_P = const(73)
_GRID_OK = const(75)
_GATE = const(80)
_LIMIT_DIS = const(84)
_WHY_DIS = const(86)
_HOLD_CHG_MS = const(104)
_MISSING = const(105)
_LIMIT_ROWS_DIS = const(143)
_LIMIT_ROWS_CHG = const(167)
_NET_LOW = const(222)
_PAR_P_CHG = const(0)
_PAR_P_DIS = const(1)
_PAR_P_EXPORT = const(2)
_PAR_GRID_TYPE = const(3)
_PAR_GRID_CHG = const(4)
_PAR_EXPORT = const(5)
_PAR_HAS = const(16)
_PAR_SERVICE_P = const(44)
_OP_P_CHG = const(50)
_OP_P_DIS = const(51)
_EMS_P_CHG = const(58)
_EMS_P_DIS = const(59)
_PAR_PROT_CHG = const(61)
_PAR_PROT_DIS = const(62)
_BMS_REQ_NO_CHARGE = const(1)
_BMS_REQ_NO_DISCHARGE = const(2)
_PCS_STANDBY = const(2)
_PCS_RUNNING = const(3)
_HAS_METER = const(4)
_GATE_NO_CHG = const(1)
_GATE_NO_DIS = const(2)
_GATE_CLOSED = const(4)
_GATE_SERVICE = const(8)
_RANGE = const(1073741823)
_MISS_METER = const(4096)
_MISS_GRID = const(8192)
_ROW_MODE = const(0)
_N_LIMIT_ROWS = const(16)
_ROW_FAULT = const(1)
_ROW_MISSING_DATA = const(2)
_ROW_BMS_FORBIDS = const(3)
_ROW_PCS = const(4)
_ROW_GRID_CONNECTION = const(10)
_ROW_EXPORT = const(11)
_ROW_OPERATION = const(12)
_ROW_REMOTE = const(13)
_ROW_CONFIGURATION = const(14)
# slots: end


@micropython.viper
def gate_rows(img: ptr32, par: ptr32):
    """What the mode moves, whether a fault forbids this direction, and whether something is missing: after find_missing."""
    gate = img[_GATE]
    chg = 0
    while chg < 2:
        row = _LIMIT_ROWS_DIS + chg * (_LIMIT_ROWS_CHG - _LIMIT_ROWS_DIS)
        p = _RANGE
        if img[_MISSING] != 0:
            p = 0
        img[row + _ROW_MISSING_DATA] = p
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
        chg += 1


@micropython.viper
def device_rows(img: ptr32, par: ptr32):
    """What the BMS forbids, and what the inverter can: its rating now, and only while it can switch.

    0 as a current limit is in bms_current; a protection stops the way that it is about.
    """
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
    chg = 0
    while chg < 2:
        row = _LIMIT_ROWS_DIS + chg * (_LIMIT_ROWS_CHG - _LIMIT_ROWS_DIS)
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

        p = ((img[_PCS_P_DIS + (_PCS_P_CHG - _PCS_P_DIS) * chg] + b) & m) - b
        if p == none:
            p = _RANGE
        q = ((img[_PCS_STATE] + b) & m) - b
        if p < 0 or (q != _PCS_STANDBY and q != _PCS_RUNNING):
            p = 0
        img[row + _ROW_PCS] = p
        chg += 1


@micropython.viper
def grid_rows(img: ptr32, par: ptr32):
    """The grid connection and the export, and whether something is missing that one of them needs: after gate_rows.

    The grid type is a flows.Grid: 0 ISOLATED, 1 BACKUP, 2 INTERACTIVE, 3 EXPORT.  Of BACKUP it may not be known whether the
    grid is there: it counts as there then, and who would say it is missing.  What is charged from a grid needs no witness: it
    flows from there or not at all.
    """
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
    kind = par[_PAR_GRID_TYPE]
    grid = img[_GRID_OK]
    unknown = (((grid + b) & m) - b) == none
    switching = img[_PCS_STATE] == _PCS_STANDBY or img[_PCS_STATE] == _PCS_RUNNING  # else it cannot see a grid yet
    chg = 0
    while chg < 2:
        row = _LIMIT_ROWS_DIS + chg * (_LIMIT_ROWS_CHG - _LIMIT_ROWS_DIS)
        net = ((img[_NET_LOW + chg] + b) & m) - b
        if grid == 0:
            net = ((img[_NET_P] + b) & m) - b  # an island's load and surplus are there already: nothing to smooth
        p = _RANGE
        q = _RANGE
        blind = 0  # what a row needs and there is none to read, a bit of MISSING
        if chg != 0:
            if kind == 0 or kind == 3 or grid == 0 or par[_PAR_GRID_CHG] == 0:
                p = 0  # only surplus may charge
                if net == none:
                    blind = _MISS_METER
                elif net < 0:
                    p = 0 - net
        elif unknown:
            p = 0
            if switching:
                blind = _MISS_GRID
                if (par[_PAR_HAS] & _HAS_METER) != 0 and net == none:
                    blind = _MISS_GRID + _MISS_METER
        elif kind == 1 and grid != 0:
            p = 0
        elif grid != 0:
            q = 0  # ISOLATED where a grid is seen: serves what is measured, exports nothing
            if kind == 3 or (kind == 2 and par[_PAR_EXPORT] != 0):
                q = par[_PAR_P_EXPORT]
            if (par[_PAR_HAS] & _HAS_METER) != 0:
                if net == none:
                    blind = _MISS_METER
                    q = 0
                else:
                    q += net
                    if q < 0:
                        q = 0
        elif kind == 2 or kind == 3:
            p = 0  # the grid is gone: a grid-following site exports nothing and serves what it measures
            if net == none:
                blind = _MISS_METER
            elif net > 0 and kind == 2:
                p = net
        img[row + _ROW_GRID_CONNECTION] = p
        img[row + _ROW_EXPORT] = q
        if blind != 0:
            img[_MISSING] = img[_MISSING] | blind
            img[row + _ROW_MISSING_DATA] = 0
        chg += 1


@micropython.viper
def binding(img: ptr32, par: ptr32):
    """The rows of operation, EMS and configuration, and then which row binds: LIMIT_DIS, WHY_DIS and their twins."""
    kind = par[_PAR_GRID_TYPE]
    chg = 0
    while chg < 2:
        row = _LIMIT_ROWS_DIS + chg * (_LIMIT_ROWS_CHG - _LIMIT_ROWS_DIS)
        q = par[_OP_P_DIS + (_OP_P_CHG - _OP_P_DIS) * chg]
        if q < img[row + _ROW_OPERATION]:
            img[row + _ROW_OPERATION] = q
        img[row + _ROW_REMOTE] = par[_EMS_P_DIS + (_EMS_P_CHG - _EMS_P_DIS) * chg]
        if kind == 0 or (kind == 1 and img[_GRID_OK] == 0):
            img[row + _ROW_REMOTE] = _RANGE  # what an EMS curtails is the exchange with a grid: in an island the load decides,
            img[row + _ROW_OPERATION] = _RANGE  # and no operation runs
        img[row + _ROW_CONFIGURATION] = par[_PAR_P_DIS + (_PAR_P_CHG - _PAR_P_DIS) * chg]

        p = _RANGE
        q = _ROW_CONFIGURATION
        k = 0
        while k < _N_LIMIT_ROWS:
            if img[row + k] < p:
                p = img[row + k]
                q = k
            k += 1
        if p < 0:
            p = 0  # whatever was measured: no limit is an order to the other direction
        img[_LIMIT_DIS + chg] = p
        img[_WHY_DIS + chg] = q
        chg += 1
