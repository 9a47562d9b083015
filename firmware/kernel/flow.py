"""Where the power goes, and the energy that has flowed."""

import micropython
from micropython import const

# slots: begin (copied from image.py by `make slots`)
_SEQ_PCS = const(5)
_SEQ_METER = const(6)
_PCS_P = const(31)
_PCS_P_CHG = const(39)
_PCS_P_DIS = const(40)
_METER_P = const(47)
_AGE = const(58)
_NET_P = const(73)
_LOAD_P = const(74)
_GRID_OK = const(75)
_FLOW = const(77)
_DT = const(94)
_E_IN_WH = const(97)
_E_IN_REM = const(98)
_E_OUT_WH = const(99)
_E_OUT_REM = const(100)
_FLOW_PATHS = const(103)
_E_IN_TURNS = const(123)
_E_OUT_TURNS = const(124)
_PATHS_P = const(125)
_PAR_STALE_PCS = const(13)
_PAR_STALE_METER = const(14)
_PAR_HAS = const(16)
_PAR_FLOW_P = const(42)
_PAR_MOST_P = const(67)
_HAS_METER = const(4)
_RANGE = const(1073741823)
# slots: end

_COUNTED_W = const(1050000)  # the largest power that is counted: times 2 s it stays inside int32


@micropython.viper
def share_paths(img: ptr32, par: ptr32):
    """What flows on each of flows.PATHS, in their order: PATHS_P.

    PV serves the load first, then the battery, then the grid; the battery serves what load is left, then the grid; the grid
    serves the rest.
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
        if img[_GRID_OK] == 0:
            if bat > 0:
                load = bat
        elif (par[_PAR_HAS] & _HAS_METER) != 0 and img[_AGE + _SEQ_METER] <= par[_PAR_STALE_METER]:
            # without the inverter's power: what the grid gives goes there
            load = ((img[_METER_P] + b) & m) - b
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
    if pv < 0:
        pv = 0
    if pv > one << 28:
        pv = one << 28
    p = pv
    if load < p:
        p = load
    img[_PATHS_P + 4] = p
    pv -= p
    load -= p
    p = give
    if load < p:
        p = load
    img[_PATHS_P + 3] = p
    give -= p
    load -= p
    p = pv
    if take < p:
        p = take
    img[_PATHS_P + 5] = p
    img[_PATHS_P] = take - p
    img[_PATHS_P + 1] = give
    img[_PATHS_P + 2] = load
    img[_PATHS_P + 6] = pv - p


@micropython.viper
def name_flow(img: ptr32, par: ptr32):
    """Say which paths carry power (FLOW_PATHS) and name the flow (FLOW), each path with its own hysteresis; after share_paths.

    FLOW: 0 none, 1..4 the single path grid-battery, battery-grid, grid-load, battery-load, 5 mixed, 6..8 the single path
    PV-load, PV-battery, PV-grid.
    """
    one = 1
    was = img[_FLOW_PATHS]
    paths = 0
    flow = 0
    k = 0
    while k < 7:
        edge = par[_PAR_FLOW_P]
        if (was & (one << k)) != 0:
            edge = edge // 2
        if img[_PATHS_P + k] > edge:
            if paths != 0:
                flow = 5
            elif k < 4:
                flow = k + 1
            else:
                flow = k + 2
            paths = paths | (one << k)
        k += 1
    img[_FLOW_PATHS] = paths
    img[_FLOW] = flow


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
