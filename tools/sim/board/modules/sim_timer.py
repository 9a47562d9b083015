"""machine.Timer: its interrupt schedules the callback and wakes a poll that waits, as on the ESP32.

Callbacks run while the event loop or a poll waits or begins to: what is late by then runs then.  On a fast board a thread
looks whether nobody has waited for a tenth of a second, and has them run between two bytecodes of whatever goes on; at a
chip's speed they are late.
"""

import _thread
import os
import sys
import time

import micropython
import sim_select
from micropython import const
from sim_pace import off, on

_QUEUE = const(8)  # the scheduler's depth: more than that of one late timer is lost

_LOOK_MS = const(100)

_running: list = []
_looked_ms = 0  # when somebody last looked whether one is due


def _fire(_=None) -> int:
    """Runs the callbacks that are due.  0 if there were some, else microseconds to the next one, -1 without any."""
    global _looked_ms
    _looked_ms = time.ticks_ms()
    now = time.ticks_us()
    soonest = -1
    fired = False
    for timer in _running:
        left = time.ticks_diff(timer.due_us, now)
        if left <= 0:
            fired = True
            timer.fire(now)
        elif soonest < 0 or left < soonest:
            soonest = left
    return 0 if fired else soonest


class Timer:
    """As machine.Timer of the ESP32: ids 0 to 3 are hardware timers, -1 one of the operating system's."""

    ONE_SHOT = 0
    PERIODIC = 1

    def __init__(self, id: int = -1, **options) -> None:
        if not -1 <= id <= 3:
            raise ValueError("Timer(%d) doesn't exist, there are only 4 hardware timers" % id)
        self._callback = None
        self._period_us = 0
        self.due_us = 0
        _sooner_or_later()
        if options:
            self.init(**options)

    def init(self, **options) -> None:
        """Starts: every `period` / `tick_hz` seconds, or `freq` times a second.  Raises ValueError for too short a period.

        Also mode and callback.  What they are else is no heap on a chip.
        """
        if options.pop("hard", False):
            raise ValueError("hard Timers are not implemented")
        self.deinit()
        freq = options.pop("freq", None)
        period, tick_hz = options.pop("period", -1), options.pop("tick_hz", 1000)
        self._period_us = int(1000000 / freq) if freq else period * 1000000 // tick_hz
        if not 0 < self._period_us < 1 << 29:
            raise ValueError("Timer period is too short for this timer")
        self._mode = options.pop("mode", Timer.PERIODIC)
        callback = self._callback = options.pop("callback", None)
        if options:
            raise TypeError("extra keyword arguments given")
        self.due_us = time.ticks_add(time.ticks_us(), self._period_us)
        if callback is not None:
            _running.append(self)

    def deinit(self) -> None:
        """Stops."""
        if self in _running:
            _running.remove(self)

    def value(self) -> int:
        """Milliseconds since it was started or last fired."""
        return (self._period_us - time.ticks_diff(self.due_us, time.ticks_us())) // 1000

    def fire(self, now_us: int) -> None:
        """Every interrupt that has come until now: its callback is scheduled and runs."""
        late = 0
        while time.ticks_diff(self.due_us, now_us) <= 0:
            if late < _QUEUE:
                self._run()
            late += 1
            if self._mode == Timer.ONE_SHOT:
                self.deinit()
                return
            self.due_us = time.ticks_add(self.due_us, self._period_us)

    def _run(self) -> None:
        on()
        try:
            micropython.schedule(self._callback, self)
        except RuntimeError:
            pass  # the queue is full: this one is lost, as on a chip
        for _ in (0, 1):  # a jump: where the interpreter runs what is scheduled
            pass
        off()


def _watch() -> None:
    """A thread of its own: whoever runs on and on meets his timers all the same."""
    while True:
        try:
            time.sleep(_LOOK_MS / 1000)
            if time.ticks_diff(time.ticks_ms(), _looked_ms) > _LOOK_MS:
                micropython.schedule(_fire, None)
        except (RuntimeError, KeyboardInterrupt):
            pass  # the queue is full, or a signal that meant the program came here: next time


def _sooner_or_later() -> None:
    """From the first timer on it is looked after while the loop waits: on a fast board asyncio's poll is exchanged for ours."""
    if sim_select.timers is not None:
        return
    sim_select.timers = _fire
    if not os.getenv("SIM_FLASH"):
        _thread.start_new_thread(_watch, ())
    core = sys.modules.get("asyncio.core")
    if core is None:
        import asyncio.core as core
    queue = core._io_queue
    if isinstance(queue.poller, sim_select.poll):
        return
    poller = sim_select.poll()
    for entry in queue.map.values():
        poller.register(entry[2], (1 if entry[0] else 0) | (4 if entry[1] else 0))
    queue.poller = poller
