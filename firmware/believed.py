"""What of an image's numbers is told: what a device brought is, until it is older than control believes it.

Control has the same bound for itself, in its kernels.  A rating stays: it does not change with time.
"""

from firmware import image as im

# points: begin (what each group brings; copied from points.py by `make slots`)
# first slot, the one behind the last, slot of their age, parameter that bounds it
_BROUGHT = (
    im.BMS_SOC, im.BMS_TEMP + 1, im.AGE + im.SEQ_BMS, im.PAR_STALE_BMS,
    im.BMS_V_MAX, im.BMS_I_DIS + 1, im.AGE + im.SEQ_BMS_LIMITS, im.PAR_STALE_BMS,
    im.CELL_V_MAX, im.CELL_V_MIN + 1, im.AGE + im.SEQ_BMS_CELLS, im.PAR_STALE_BMS,
    im.CELL_T_MAX, im.CELL_T_MIN + 1, im.AGE + im.SEQ_BMS_TEMPS, im.PAR_STALE_BMS,
    im.BMS_STATUS, im.BMS_ALARM + 1, im.AGE + im.SEQ_BMS_FLAGS, im.PAR_STALE_BMS,
    im.PCS_STATE, im.PCS_SETPOINT + 1, im.AGE + im.SEQ_PCS, im.PAR_STALE_PCS,
    im.METER_P, im.METER_HZ + 1, im.AGE + im.SEQ_METER, im.PAR_STALE_METER,
    im.METER_LOAD_P, im.METER_LOAD_P + 1, im.AGE + im.SEQ_LOAD, im.PAR_STALE_METER,
    im.PV_P, im.PV_P + 1, im.AGE + im.SEQ_PV, im.PAR_STALE_METER,
    im.GEN_P, im.GEN_P + 1, im.AGE + im.SEQ_GEN, im.PAR_STALE_METER,
    im.IO_ESTOP, im.IO_CONTACTOR + 1, im.AGE + im.SEQ_IO, im.PAR_STALE_IO,
)  # fmt: skip
# points: end


def value(now, par, slot: int) -> int:
    """One of the numbers; NO_VALUE where it was never measured, or is too old."""
    for i in range(0, len(_BROUGHT), 4):
        if _BROUGHT[i] <= slot < _BROUGHT[i + 1]:
            if now[_BROUGHT[i + 2]] > par[_BROUGHT[i + 3]]:
                return im.NO_VALUE
            break
    return now[slot]


def told(now, par, copy=None):
    """The numbers themselves where nothing is too old, else a copy that has NO_VALUE for what is.

    copy: where to make it, and how far; None makes a new one, of what people see.  Allocates nothing with it.
    """
    found = now
    none = im.NO_VALUE
    brought = _BROUGHT
    for i in range(0, len(brought), 4):
        if now[brought[i + 2]] > par[brought[i + 3]]:
            for slot in range(brought[i], brought[i + 1]):
                if now[slot] != none:  # a site without a meter needs no copy
                    if found is now:
                        found = _copied(now, copy)
                    found[slot] = none
    return found


def _copied(now, copy):
    if copy is None:
        return now[: im.LIMIT_ROWS_DIS]
    for slot in range(len(copy)):
        copy[slot] = now[slot]
    return copy
