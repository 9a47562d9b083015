"""What the site takes without the battery, and whether the grid is there."""

import micropython
from micropython import const

# slots: begin (copied from image.py by `make slots`)
_SEQ_PCS = const(5)
_SEQ_METER = const(6)
_SEQ_PV = const(7)
_SEQ_LOAD = const(9)
_SEQ_GEN = const(10)
_PCS_STATE = const(30)
_PCS_P = const(31)
_PCS_GRID = const(43)
_METER_P = const(47)
_METER_V = const(48)
_METER_HZ = const(50)
_METER_LOAD_P = const(52)
_PV_P = const(53)
_GEN_P = const(54)
_AGE = const(58)
_NET_P = const(73)
_LOAD_P = const(74)
_GRID_OK = const(75)
_NET_LOW = const(215)
_NET_HIGH = const(216)
_FRESH = const(226)
_PAR_GRID_TYPE = const(3)
_PAR_STALE_PCS = const(13)
_PAR_STALE_METER = const(14)
_PAR_HAS = const(16)
_PAR_HZ_MIN = const(34)
_PAR_HZ_MAX = const(35)
_PAR_VG_MIN = const(36)
_PAR_VG_MAX = const(37)
_PCS_STANDBY = const(2)
_PCS_RUNNING = const(3)
_HAS_METER = const(4)
_HAS_PV = const(8)
_RANGE = const(1073741823)
# slots: end


@micropython.viper
def grid_there(img: ptr32, par: ptr32):
    """Whether the grid is there, by the meter and an inverter that is connected to it: GRID_OK."""
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
    pcs_ok = img[_AGE + _SEQ_PCS] <= par[_PAR_STALE_PCS]
    meter_ok = (par[_PAR_HAS] & _HAS_METER) != 0 and img[_AGE + _SEQ_METER] <= par[_PAR_STALE_METER]
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


@micropython.viper
def net_power(img: ptr32, par: ptr32):
    """What the site takes without the battery (NET_P), and its load, measured where it has a meter; after grid_there.

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
    gen = ((img[_GEN_P] + b) & m) - b
    if gen != none and img[_AGE + _SEQ_GEN] <= par[_PAR_STALE_METER]:
        pv += gen  # whatever generates beside the battery
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
    if pv + most < 0:
        pv = 0 - most
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
        load = ((img[_METER_LOAD_P] + b) & m) - b
        if load == none or img[_AGE + _SEQ_LOAD] > par[_PAR_STALE_METER]:
            load = net + pv
        if load > 3 * most:
            load = 3 * most
        if load + 3 * most < 0:
            load = 0 - 3 * most
        img[_LOAD_P] = load
    else:
        net = none
        load = none
        switching = img[_PCS_STATE] == _PCS_STANDBY or img[_PCS_STATE] == _PCS_RUNNING
        if img[_GRID_OK] == 0 and (par[_PAR_HAS] & _HAS_METER) != 0 and par[_PAR_GRID_TYPE] < 2 and not meter_ok:
            if pcs_ok and switching and img[_PCS_GRID] == 0:  # an island without its meter: the inverter that forms it measures it
                net = pcs
                load = pcs + pv
        img[_NET_P] = net
        img[_NET_LOW] = net
        img[_NET_HIGH] = net
        img[_LOAD_P] = load
