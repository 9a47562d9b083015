"""What the site takes without the battery, and whether the grid is there."""

import micropython
from micropython import const

# slots: begin (copied from image.py by `make slots`)
_AGE_MAX = const(900000000)
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
_METER_I = const(49)
_METER_HZ = const(50)
_METER_LOAD_P = const(52)
_PV_P = const(53)
_GEN_P = const(54)
_AGE = const(58)
_NET_P = const(73)
_LOAD_P = const(74)
_GRID_OK = const(75)
_DT = const(94)
_NET_LOW = const(222)
_NET_HIGH = const(223)
_FRESH = const(233)
_METER_SEEN = const(237)
_METER_ANCHOR = const(238)
_METER_STILL_MS = const(239)
_ODD_P = const(240)
_METER_SAID = const(246)
_METER_SAME_MS = const(247)
_PAR_GRID_TYPE = const(3)
_PAR_STALE_PCS = const(13)
_PAR_STALE_METER = const(14)
_PAR_HAS = const(16)
_PAR_HZ_MIN = const(34)
_PAR_HZ_MAX = const(35)
_PAR_VG_MIN = const(36)
_PAR_VG_MAX = const(37)
_PAR_FROZEN_MS = const(43)
_PCS_STANDBY = const(2)
_PCS_RUNNING = const(3)
_HAS_METER = const(4)
_HAS_PV = const(8)
_RANGE = const(1073741823)
# slots: end
_STILL_W = const(200)  # what the inverter may move without the meter: its resolution, and the noise of both
_MOVED = const(2000)  # and what no meter overlooks, W
_RESTS = const(10)  # times as long, of one that repeats all that it says while nothing moves


@micropython.viper
def grid_there(img: ptr32, par: ptr32):
    """Whether the grid is there, by the meter and an inverter that is connected to it: GRID_OK.

    Where neither says it, a site that goes by what they see has none.  Of BACKUP, which serves its load as soon as the grid is
    gone, it is not known: a meter that falls silent has not taken the grid away, unless an inverter gives what nobody told it to
    (ODD_P 3): it forms an island.  What a meter of an ISOLATED site measures is the island.
    """
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
            seen = seen | par[_PAR_GRID_TYPE]
            if volts < par[_PAR_VG_MIN] or volts > par[_PAR_VG_MAX]:
                ok = 0
        hz = ((img[_METER_HZ] + b) & m) - b
        if hz != none:
            seen = seen | par[_PAR_GRID_TYPE]
            if hz < par[_PAR_HZ_MIN] or hz > par[_PAR_HZ_MAX]:
                ok = 0
    if seen == 0:
        ok = 0
        if par[_PAR_GRID_TYPE] == 1:
            if img[_ODD_P] != 3 or meter_ok or not pcs_ok or not switching or (par[_PAR_HAS] & _HAS_METER) == 0:
                ok = none
    img[_GRID_OK] = ok


@micropython.viper
def watch_meter(img: ptr32, par: ptr32):
    """Whether the meter sees what the inverter does: METER_ANCHOR and METER_STILL_MS; after grid_there.

    A meter that repeats itself to the watt although the inverter's power has moved is frozen, or has not measured since.  An
    inverter that reports behind the meter may still mean the same moment.  In an island nothing flows through it, rightly.
    Where nothing moves, one that repeats its voltage and frequency too counts as frozen after ten times as long: a gateway may
    hand out what a dead meter said.  A live one shows by the next volt, or by the power that this takes away.
    """
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
    meter = ((img[_METER_P] + b) & m) - b
    pcs = ((img[_PCS_P] + b) & m) - b
    if img[_AGE + _SEQ_METER] > par[_PAR_STALE_METER] or img[_GRID_OK] == 0 or pcs == none:
        meter = none
    most = one << 28  # as net_power
    if pcs > most:
        pcs = most
    if pcs + most < 0:
        pcs = 0 - most
    still = img[_METER_STILL_MS]
    frozen = par[_PAR_FROZEN_MS]
    same = img[_METER_SAME_MS]
    said = (img[_METER_V] & 0xFFFFF) ^ ((img[_METER_HZ] & 0x3FFFF) << 12)
    if said != 0:
        said = said ^ (img[_METER_I] & 0xFFF)
    moves = meter == none or meter != ((img[_METER_SEEN] + b) & m) - b
    if moves or said == 0 or said != img[_METER_SAID]:
        moves = moves or same > frozen * _RESTS
        img[_METER_SAID] = said
        same = 0
    elif (pcs > _STILL_W or pcs + _STILL_W < 0) and same < _AGE_MAX:
        same += img[_DT]
    img[_METER_SAME_MS] = same
    if moves:
        img[_METER_SEEN] = meter
        img[_METER_ANCHOR] = pcs
        still = img[_FRESH] >> _SEQ_PCS & 1
    elif still == 0:
        img[_METER_ANCHOR] = pcs
        still = img[_FRESH] >> _SEQ_PCS & 1
    else:
        moved = pcs - (((img[_METER_ANCHOR] + b) & m) - b)
        if (moved > _MOVED or moved + _MOVED < 0) and still < _AGE_MAX:
            still += img[_DT]
        if same > frozen * _RESTS and still <= frozen:
            still = frozen + 1
    img[_METER_STILL_MS] = still


@micropython.viper
def net_power(img: ptr32, par: ptr32):
    """What the site takes without the battery (NET_P); after grid_there and watch_meter.

    NET_P is made when the meter speaks and held until it speaks again: between, the inverter's power moves and the
    meter's would not.  Even so the two are never of the same instant, and a limit that followed each difference
    would swing for ever; NET_LOW and NET_HIGH take the bad news at once and a quarter of the good at a time.  Of a meter
    that has not moved since no good news is taken: its sum with the inverter's power would allow what the inverter does.
    """
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
    meter_ok = (par[_PAR_HAS] & _HAS_METER) != 0 and img[_AGE + _SEQ_METER] <= par[_PAR_STALE_METER]
    meter_ok = meter_ok and img[_METER_STILL_MS] <= par[_PAR_FROZEN_MS]
    pcs = ((img[_PCS_P] + b) & m) - b
    meter = ((img[_METER_P] + b) & m) - b
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
    if meter_ok and meter != none:
        net = ((img[_NET_P] + b) & m) - b
        if (img[_FRESH] >> _SEQ_METER & 1) != 0 or net == none:
            least = pcs
            highest = pcs
            if img[_METER_STILL_MS] > 0:
                anchor = ((img[_METER_ANCHOR] + b) & m) - b
                if pcs > anchor + _STILL_W:
                    pcs = anchor + _STILL_W
                    least = pcs
                elif pcs < anchor - _STILL_W:
                    pcs = anchor - _STILL_W
                    highest = pcs
            least += meter
            highest += meter
            low = ((img[_NET_LOW] + b) & m) - b
            high = ((img[_NET_HIGH] + b) & m) - b
            if low == none or least < low:
                low = least
            else:
                low += (least - low + 3) // 4
            if high == none or highest > high:
                high = highest
            else:
                high -= (high - highest + 3) // 4
            img[_NET_P] = meter + pcs
            img[_NET_LOW] = low
            img[_NET_HIGH] = high
    else:
        net = none
        switching = img[_PCS_STATE] == _PCS_STANDBY or img[_PCS_STATE] == _PCS_RUNNING
        if img[_GRID_OK] == 0 and (par[_PAR_HAS] & _HAS_METER) != 0 and par[_PAR_GRID_TYPE] < 2 and not meter_ok:
            if img[_AGE + _SEQ_PCS] <= par[_PAR_STALE_PCS] and switching:
                if par[_PAR_GRID_TYPE] == 0 or img[_PCS_GRID] == 0 or img[_ODD_P] == 3:
                    net = pcs  # an island without its meter: the inverter that forms it measures it
        img[_NET_P] = net
        img[_NET_LOW] = net
        img[_NET_HIGH] = net


@micropython.viper
def load_power(img: ptr32, par: ptr32):
    """What the loads take (LOAD_P): by their own meter, else what the site takes beside what generates; after net_power.

    Behind an inverter that is silent it is not known.
    """
    one = 1
    b = one << 30
    m = b + _RANGE
    none = 0 - b
    most = one << 28  # as net_power
    load = ((img[_METER_LOAD_P] + b) & m) - b
    net = ((img[_NET_P] + b) & m) - b
    if net == none:
        load = none
    elif load == none or img[_AGE + _SEQ_LOAD] > par[_PAR_STALE_METER]:
        pv = ((img[_PV_P] + b) & m) - b
        if pv == none or (par[_PAR_HAS] & _HAS_PV) == 0 or img[_AGE + _SEQ_PV] > par[_PAR_STALE_METER]:
            pv = 0
        gen = ((img[_GEN_P] + b) & m) - b
        if gen != none and img[_AGE + _SEQ_GEN] <= par[_PAR_STALE_METER]:
            pv += gen  # whatever generates beside the battery
        if pv > most:
            pv = most
        if pv + most < 0:
            pv = 0 - most
        load = none
        if img[_AGE + _SEQ_PCS] <= par[_PAR_STALE_PCS]:
            load = net + pv
    if load > 3 * most:
        load = 3 * most
    if load != none and load + 3 * most < 0:
        load = 0 - 3 * most
    img[_LOAD_P] = load
