"""The monitor's line, key by key, so that nobody needs the heap for all of it at once.  Loaded when a monitor is asked for.

docs/console.md lists the keys.  The numbers are those of reports.stats, read straight from the image.
"""

import gc

import rare

from firmware import image as im
from firmware import requests as rq

# what is shown as the image has it: key and decimal places here (one text: a row for each would take a kilobyte), slot below
_KEYS = "p3 cmd3 req3 soc2 lim_dis3 lim_chg3 grid_p3 load_p3 pv_p3 v1 i1 temp1"
_SLOTS = bytes(
    (
        im.PCS_P,
        im.CMD_P,
        im.REQUEST_P,
        im.SOC,
        im.LIMIT_DIS,
        im.LIMIT_CHG,
        im.METER_P,
        im.LOAD_P,
        im.PV_P,
        im.BMS_V,
        im.BMS_I,
        im.BMS_TEMP,
    )
)

# names as one text each: half the heap of what they come from, which is let go again
_MODES = " ".join(rare.borrow("firmware.modes").Mode._names)
rare.release()  # one after the other, never together in the heap
_FLOWS = " ".join(rare.borrow("firmware.flows").Flow._names)
rare.release()
_EVENTS = " ".join(rare.borrow("firmware.event_codes").Event._names)
rare.release()
_LIMITS = " ".join(rare.borrow("firmware.limits").NAMES)
rare.release()


def state(app):
    """Key and value of all that the line says, "t" first.  The caller does not await in between: it is one instant."""
    yield from _measured(app.pm.image.now)
    yield from _counted(app)


def _measured(now):
    yield "t", now[im.UPTIME_S] + now[im.UPTIME_MS] / 1000
    yield "mode", _word(_MODES, now[im.MODE])
    for i, key in enumerate(_KEYS.split(" ")):
        yield key[:-1], _scaled(now[_SLOTS[i]], 10 ** int(key[-1]))
    yield "by", rq.SOURCES[now[im.REQUEST_BY]]
    yield "why_dis", _word(_LIMITS, now[im.WHY_DIS])
    yield "why_chg", _word(_LIMITS, now[im.WHY_CHG])
    yield "hz", _scaled(now[im.METER_HZ] if now[im.METER_HZ] != im.NO_VALUE else now[im.PCS_HZ], 1000)
    yield "flow", _word(_FLOWS, now[im.FLOW])
    faults = now[im.FAULTS]
    yield "faults", rare.borrow("firmware.faults").names(faults) if faults else []
    yield "e_in", now[im.E_IN_WH] + now[im.E_IN_REM] / 3600000
    yield "e_out", now[im.E_OUT_WH] + now[im.E_OUT_REM] / 3600000
    yield "commands", now[im.COMMANDS]
    yield "violation_w", now[im.WORST_P]


def _counted(app):
    timing = app.metering.report()
    for key in timing:
        yield key, timing[key]
    yield "lock_wait_us", app.pm.lock_wait_us
    yield "events", {_word(_EVENTS, i): n for i, n in enumerate(app.pm.events.counts) if n}
    yield "heap_used", gc.mem_alloc()
    yield "heap_free", gc.mem_free()


def _word(text: str, number: int) -> str:
    """One word of a text; split(), which makes an object of each of them, wants heap for all."""
    start = 0
    for _ in range(number):
        start = text.find(" ", start) + 1
    end = text.find(" ", start)
    return text[start:] if end < 0 else text[start:end]


def _scaled(value: int, divisor: int):
    return None if value == im.NO_VALUE else value / divisor
