"""Runs callbacks outside the lock, for the thread of callbacks.py or whoever else calls Events.dispatch.

A callback is `fn(event, event_data, user_data)`, plain or async.  It can be slow, raise, or call the API back: the
cycle never waits for it.  One that fails MAX_FAILURES times in a row is suspended, and both are reported.
"""

import sys
import time

from micropython import const

MAX_FAILURES = const(3)
UNDER_WAY = const(32)  # of one async callback that have not ended: each is a task of the loop, and keeps heap
_COUNTED = const(0x3FFFFFFF)


def dispatch(events) -> bool:
    """Hand the oldest waiting event to its callbacks; False when none waits.  One thread only."""
    cursor = events.cursor
    turn = events.turn
    if events.served >= len(events.listeners):
        if not events.next(cursor):
            return False
        events.listeners = events.callbacks
        events.served = 0
    while events.served < len(events.listeners):
        callback = events.listeners[events.served]
        events.served += 1
        if not callback.suspended and callback.event in (-1, cursor.event):
            _run(events, callback, cursor.event, cursor.data)
            if turn != events.turn:
                return False  # given up meanwhile: another thread serves the rest
    return True


def abandon(events):
    """Suspend the callback that hangs and let another thread's `dispatch` go on behind it.

    Returns that callback, or None if it has come back just now.
    """
    stuck = events.running
    if stuck is None:
        return None
    stuck.suspended = True
    events.turn += 1
    events.running = None
    return stuck


def _run(events, callback, event: int, data: int) -> None:
    events.running_since = time.ticks_ms()
    events.running = callback  # a watcher abandons it if it never comes back
    try:
        result = callback.fn(event, data, callback.user_data)
        if hasattr(result, "send"):
            if events.start_task is None:
                raise RuntimeError("an async callback needs the running application")
            if (callback.begun - callback.ended) & _COUNTED >= UNDER_WAY:
                result.close()
                raise RuntimeError("%d calls of it have not ended" % UNDER_WAY)
            events.start_task(_finish(events, callback, result))  # it must be safe to call from this thread
            callback.begun = (callback.begun + 1) & _COUNTED
        else:
            callback.failures = 0
    except (Exception, SystemExit) as error:
        _failed(events, callback, error)
    if events.running is callback:
        events.running = None


async def _finish(events, callback, coroutine) -> None:
    try:
        await coroutine
        callback.failures = 0
    except (Exception, SystemExit) as error:
        _failed(events, callback, error)
    finally:
        callback.ended = (callback.ended + 1) & _COUNTED


def _failed(events, callback, error) -> None:
    callback.failures += 1
    if callback.failures >= MAX_FAILURES:
        callback.suspended = True
    (events.report or print_report)(callback, error)


def print_report(callback, error) -> None:
    """The default report: one line, and the trace."""
    times = "%d times in a row%s" % (callback.failures, ", suspended" if callback.suspended else "")
    print("callback %r failed %s: %s: %s" % (callback.fn, times, type(error).__name__, error))
    printer = getattr(sys, "print_exception", None)
    if printer is not None:
        printer(error)
