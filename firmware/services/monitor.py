"""The monitor's line, key by key, so that nobody needs the heap for all of it at once.

docs/console.md lists the keys.  The numbers are those of reports.stats, of one instant, however long the
line takes.  Counters that only grow are read when their turn comes.
"""

import gc

from micropython import const

from firmware import faults, reasons
from firmware import image as im
from firmware import requests as rq
from firmware.event_codes import Event
from firmware.flows import Flow
from firmware.limits import NAMES
from firmware.modes import Mode

_VALUES = (  # what is shown as the image has it: key, slot, parts of its unit in one
    ("p", im.PCS_P, 1000),
    ("cmd", im.CMD_P, 1000),
    ("req", im.REQUEST_P, 1000),
    ("soc", im.SOC, 100),
    ("lim_dis", im.LIMIT_DIS, 1000),
    ("lim_chg", im.LIMIT_CHG, 1000),
    ("grid_p", im.METER_P, 1000),
    ("load_p", im.LOAD_P, 1000),
    ("pv_p", im.PV_P, 1000),
    ("v", im.BMS_V, 10),
    ("i", im.BMS_I, 10),
    ("temp", im.BMS_TEMP, 10),
)
_REASON = const(160)  # characters of the reason: the line has to fit into the console's buffer


def state(app):
    """Key and value of all that the line says, "t" first."""
    view = app.pm.instant()
    yield from _measured(view.now)
    yield "reason", reasons.why(view)[:_REASON]
    view = None  # what follows needs no copies
    yield from _counted(app)


def _measured(now):
    yield "t", now[im.UPTIME_S] + now[im.UPTIME_MS] / 1000
    yield "mode", Mode.name(now[im.MODE])
    for key, slot, parts in _VALUES:
        yield key, _scaled(now[slot], parts)
    yield "by", rq.SOURCES[now[im.REQUEST_BY]]
    yield "why_dis", NAMES[now[im.WHY_DIS]]
    yield "why_chg", NAMES[now[im.WHY_CHG]]
    yield "hz", _scaled(now[im.METER_HZ] if now[im.METER_HZ] != im.NO_VALUE else now[im.PCS_HZ], 1000)
    yield "flow", Flow.name(now[im.FLOW])
    yield "faults", faults.names(now[im.FAULTS])
    yield "e_in", im.energy_wh(now, im.E_IN_TURNS, im.E_IN_WH) + now[im.E_IN_REM] / 3600000
    yield "e_out", im.energy_wh(now, im.E_OUT_TURNS, im.E_OUT_WH) + now[im.E_OUT_REM] / 3600000
    yield "commands", now[im.COMMANDS]
    yield "violation_w", now[im.WORST_P]


def _counted(app):
    timing = app.metering.report()
    for key in timing:
        yield key, timing[key]
    yield "lock_wait_us", app.pm.lock_wait_us
    yield "events", {Event.name(i): n for i, n in enumerate(app.pm.events.counts) if n}
    yield "heap_used", gc.mem_alloc()
    yield "heap_free", gc.mem_free()


def _scaled(value: int, divisor: int):
    return None if value == im.NO_VALUE else value / divisor
