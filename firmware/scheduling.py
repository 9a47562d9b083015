"""Lets the schedule claim power: looks at it by the clock, outside the cycle's lock, and hands the manager one claim.

A claim is put when a run begins or its entry is edited, not at every look: an operation that has reached its target
stays ended for the rest of the window.  It outlives its window by a moment, so that SCHEDULE_ENDED ends it.
"""

from micropython import const
from notice import say

from firmware import image as im
from firmware import reasons
from firmware import requests as rq
from firmware.event_codes import Event
from firmware.modes import Mode
from firmware.scheduler import ENDED, STARTED

_GRACE_MS = const(5000)


def step(pm) -> None:
    """One look, about once a second.  What a full heap kept from being handed over is handed over at the next one."""
    plan = pm.plan
    if not pm.plan_lock.acquire(0):
        return  # another thread reads the plan, which may take long: the loop does not wait for it, and looks again
    try:
        plan.tick(pm.clock)
        key = (plan.active, plan.run, plan.power_w, plan.mode, plan.wants_most)
        left_ms = plan.remaining_s * 1001 + _GRACE_MS  # by a crystal that may be faster than the clock, which is slewed
        happened = plan.take_events()  # the last that needs heap
        how = plan.how
        plan.how = rq.END_TIME
    finally:
        pm.plan_lock.release()
    claim = None
    is_new = key != plan.claimed
    try:
        if is_new:
            plan.claimed = key  # before it is: a start() meanwhile wants it claimed anew
            claim = _claim(pm, key, left_ms)
        if claim is not None or happened:
            pm.take_schedule(claim, [(_event(kind), entry_id) for kind, entry_id in happened], how)
    except MemoryError:
        if is_new:
            plan.claimed = None
            plan.how = how
        plan.keep_events(happened)
        raise


def _event(kind: int) -> int:
    if kind == STARTED:
        return Event.SCHEDULE_STARTED
    return Event.SCHEDULE_ENDED if kind == ENDED else Event.SCHEDULE_MISSED


def _claim(pm, key: tuple, left_ms: int) -> tuple:
    """Claims.put's arguments for what the schedule wants; () for nothing."""
    entry_id, _, watts, mode, wants_most = key
    if entry_id < 0:
        return ()
    owner = "schedule %d" % entry_id
    par = pm.image.par
    if mode == Mode.CHARGE:
        most = par[im.PAR_P_CHG]
        return (most if wants_most else min(-watts, most), left_ms, rq.CHARGE, rq.BY_PARAMS, owner)
    if mode == Mode.DISCHARGE:
        most = par[im.PAR_P_DIS]
        return (most if wants_most else min(watts, most), left_ms, rq.DISCHARGE, 0, owner)
    return (0, left_ms, rq.PAUSE, 0, owner)


def say_wait(pm, entry_id: int) -> None:
    """For people: an entry that was accepted, and what it waits for beside its time."""
    if pm.refused:
        waits = reasons.refused(pm)
    elif pm.clock is None:
        waits = 'this site has no clock ("clock" in its site file): it never starts without one'
    elif not pm.clock.is_set:
        waits = 'waits for the clock to be set: clock.set_text("2026-11-22 09:56:17")'
    elif not pm.plan.enabled:
        waits = "scheduling is off: pm.enable_scheduling(True)"
    else:
        return
    say("schedule %d: accepted, but %s" % (entry_id, waits))
