"""The monitor's line, key by key, so that nobody needs the heap for all of it at once.

docs/console.md and docs/points.md list the keys.  The numbers are those of reports.stats, of one instant, however long
the line takes.  Counters that only grow are read when their turn comes.
"""

import gc
import json

from micropython import const

from firmware import image as im
from firmware import reasons, reports
from firmware.event_codes import Event

_REASON = const(160)  # characters of the reason: the line has to fit into the console's buffer


def line(app, waiting: int):
    """The line in pieces; waiting: characters of lines for people that are not yet written."""
    before = "{"
    for key, value in state(app):
        yield '%s"%s": %s' % (before, key, json.dumps(value))
        before = ", "
    yield ', "waiting": %d}\r\n' % waiting


def state(app):
    """Key and value of all that the line says, "t" first."""
    view = app.pm.instant()
    yield from _measured(view.told)
    yield "reason", reasons.why(view)[:_REASON]
    view = None  # what follows needs no copies
    yield from _counted(app)


def _measured(now):
    yield "t", now[im.UPTIME_S] + now[im.UPTIME_MS] / 1000
    for key, value in reports.brief(now):
        if key == "hz" and value is None:
            value = reports.number(now[im.PCS_HZ], 1000)
        yield key, value
    yield "e_in", reports.wh(now, im.E_IN_TURNS, im.E_IN_WH, im.E_IN_REM)
    yield "e_out", reports.wh(now, im.E_OUT_TURNS, im.E_OUT_WH, im.E_OUT_REM)
    yield "violation_w", now[im.WORST_P]


def _counted(app):
    timing = app.metering.report()
    for key in timing:
        yield key, timing[key]
    yield "lock_wait_us", app.pm.lock_wait_us
    yield "events", {Event.name(i): n for i, n in enumerate(app.pm.events.counts) if n}
    yield "heap_used", gc.mem_alloc()
    yield "heap_free", gc.mem_free()
