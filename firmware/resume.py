"""Starts again after a reset what ran before it, by the site's rule: power.resume and power.resume_manual.

What start() began goes on, and with it the schedule, an island's supply, and programs that renew their claims; not after
stop(), an emergency, used-up restarts or maintenance.  A pause stays one whatever starts, a timed one for at least its rest.
Where a manual operation ran nothing starts, unless resume_manual says that it goes on, and it has no end of its own: how long
power was away is not known.  Resets that follow each other end it too.

A person's limit without an end is kept whatever starts, and said.  Kept are seven numbers in the chip's non-volatile storage,
the fourth whether a person has the control (local) until he gives it back, two the limit, one an EMS's orders that stand until
the opposite is given (remote.HELD_*).  That less is to go on is stored before the call answers.
"""

import _thread
import time

import esp32
from micropython import const
from notice import say

from firmware import image as im
from firmware import requests as rq

# kinds, in the low three bits of what is stored
_NOTHING = const(0)
_RUNNING = const(1)
_PAUSED = const(2)  # + minutes << 6, 0: no end
_MANUAL = const(3)  # + goal << 3 + target SoC as PowerManager.start_again takes it << 6; its W in a number of their own
_TIMED = const(4)  # a manual operation with an end
_HELD = const(5)  # + minutes << 6: a pause while nothing runs

_KEY = const("resume")
_WATTS = const("resume_w")
_COUNT = const("resumed")
_LOCAL = const("local")
_ORDERS = const("held")
_LIMITS = const(("limit_dis", "limit_chg"))  # W and 1, 0: none
_MOST_W = const(1000000)  # of a limit
_NOT_FOUND = const(-0x1102)  # ESP_ERR_NVS_NOT_FOUND
_SELDOM_MS = const(10000)  # between two stores that may wait
_RETRY_MS = const(1000)
_MOST = const(5)  # starts by itself ...
_QUIET_S = const(600)  # ... without having run so long in between
_UNKNOWN = const(-1)


class Resume:
    """Keeps NVS in step with what would go on.  Made at boot, when the emergency's memory has been read: it may start."""

    def __init__(self, pm) -> None:
        self._pm = pm
        self._lock = _thread.allocate_lock()  # never the manager's: flash takes up to 80 ms
        self._tried_ms = time.ticks_add(time.ticks_ms(), -_SELDOM_MS)
        self._failing = False
        self.stores = 0  # times the flash was written
        self.text = "nothing ran before the last reset"  # what became of it, for people
        self._nvs = None
        self._watts = self._read(_WATTS)
        self._count = self._read(_COUNT)
        self._stored = self._later = self._read(_KEY)
        self.stays = ""  # why what ran before it did not start again
        self._local = self._read(_LOCAL) > 0
        self._held = pm.held = self._read(_ORDERS)
        if self._local:
            pm.remote.set_local(True)
            say("resume: a person has the control, as before the reset: local(False) gives it back")
        self._limits = [_limit_of(self._read(key)) for key in _LIMITS]
        self._bind()
        if self._stored > _NOTHING:
            self.text = self._begin()
            if pm.image.now[im.ORDER] == im.ORDER_NONE:
                self.stays = self.text
            say("resume: " + self.text)
        pm.run_memory = self

    def _bind(self) -> None:
        """Bind what starts, as before the reset, and say so: who typed it may have forgotten it."""
        kw = [None if watts == im.FREE else watts / 1000 for watts in self._limits]
        bounds = ["%s %s kW" % (way, kw[n]) for n, way in enumerate(("discharge", "charge")) if kw[n] is not None]
        if bounds:
            self._pm.limit(rq.PERSON, kw[0], kw[1])
            say("resume: bound to %s, as before the reset: `limit off` ends it" % ", ".join(bounds))

    def _begin(self) -> str:
        """Start again, where the rule says so; what became of it."""
        pm = self._pm
        config = pm.config
        kind = self._stored & 7
        rest = self._stored >> 6
        paused = kind in (_PAUSED, _HELD)
        fits = 0 <= rest <= rq.MINUTES_MAX
        if paused and fits:
            pm.stop_operation(rest)  # before anybody starts it: no program ends a pause
        if pm.is_emergency:
            return "nothing starts again after an emergency"
        if not _RUNNING <= kind <= _HELD or (kind == _RUNNING and rest) or (paused and not fits):
            return "what is stored of before the reset cannot be: start() is a person's"
        if kind == _HELD:
            return "it stood still before the reset, paused: start() is a person's and ends that"
        if kind >= _MANUAL and not (config.resume_manual and kind == _MANUAL):
            return "a manual operation ran before the reset: start() and what is to be done are a person's (power.resume_manual)"
        if kind < _MANUAL and not config.resume:
            return "it ran before the reset: start() is a person's (power.resume)"
        if self._count >= _MOST:
            return "%d resets came one after the other: start() is a person's" % self._count
        self._count += 1
        self._set(_COUNT, self._count)
        if kind == _PAUSED:
            pm.start_again()
            return "started again, paused as before the reset: resume() ends the pause"
        if kind == _MANUAL:
            goal = self._stored >> 3 & 7
            par = pm.image.par
            power_fits = -par[im.PAR_P_CHG] <= self._watts <= max(par[im.PAR_P_DIS], par[im.PAR_P_CHG])
            soc = rest - rq.BY_PARAMS if rest > rq.BY_PARAMS else rest
            target_fits = soc <= par[im.PAR_SOC_MAX] or rest == rq.BY_PARAMS
            if goal > rq.DISCHARGE or not (power_fits and target_fits):
                return "the manual operation before the reset does not fit this site: start() is a person's"
            pm.start_again(goal, self._watts, rest, rq.FOREVER)
            return "started again, and the manual operation goes on"
        pm.start_again()
        return "started again: schedules and claims that are renewed go on as before the reset"

    def settle(self) -> None:
        """Store what would go on now; where that fails `step` tries again."""
        with self._lock:
            self._settle()

    def step(self) -> None:
        """Call a few times a second: stores what has changed, soon when less is to go on, seldom else."""
        if self._count and self._pm.image.now[im.UPTIME_S] >= _QUIET_S:
            self._count = 0
            self._set(_COUNT, 0)
        if not self._lock.acquire(0):
            return  # another thread is at it: the loop does not wait for the flash
        try:
            waited_ms = time.ticks_diff(time.ticks_ms(), self._tried_ms)
            if not 0 <= waited_ms <= _SELDOM_MS:
                waited_ms = _SELDOM_MS
                self._tried_ms = time.ticks_add(time.ticks_ms(), -_SELDOM_MS)  # so that it cannot wrap
            wanted = self._later = self._wanted()
            wait_ms = _RETRY_MS if self._failing else 0
            starts_less = wanted & 7 == _TIMED and self._stored & 7 != _NOTHING  # nothing would, and now something does
            if wanted & 7 in (_RUNNING, _MANUAL, _TIMED) and not starts_less:
                wait_ms = _SELDOM_MS
            held = self._pm.held
            if held & ~self._held or self._keeps_local() != self._local or self._pm.lasting_limit() != self._limits:
                wait_ms = _RETRY_MS
            elif wanted == self._stored:
                if held == self._held:
                    return
                wait_ms = _SELDOM_MS
            if waited_ms >= wait_ms:
                self._settle()
        finally:
            self._lock.release()

    def _wanted(self) -> int:
        """What is to be stored; at the end of the program what was before it."""
        order, by, left, watts, goal, target = self._pm.going_on()
        ends = order == im.ORDER_END and self._later >= _NOTHING
        if left and goal == rq.PAUSE:
            goes_on = _RUNNING <= self._later & 7 <= _TIMED if ends else order == im.ORDER_START
            kind = _PAUSED if goes_on else _HELD
            minutes = 0 if left == rq.FOREVER else (left + 59999) // 60000
            kept = self._stored >> 6
            if self._stored & 7 == kind and minutes and minutes <= kept:
                return self._stored  # it has begun to pass
            return kind | minutes << 6
        if ends:
            return self._later
        if order != im.ORDER_START:
            return _NOTHING
        if not left or by != rq.MANUAL:
            return _RUNNING
        if left != rq.FOREVER:
            return _TIMED
        if watts != self._watts:
            self._watts = watts
            self._stored = _UNKNOWN
        return _MANUAL | goal << 3 | target << 6

    def _keeps_local(self) -> bool:
        """Local control that stands after a reset: what was taken for a time does not."""
        return self._pm.is_local and self._pm.remote.local_holder is None

    def _settle(self) -> None:
        local = self._keeps_local()
        if local != self._local:
            self._tried_ms = time.ticks_ms()
            if not self._set(_LOCAL, 1 if local else 0):
                return
            self._local = local
        held = self._pm.held
        if held != self._held:
            self._tried_ms = time.ticks_ms()
            if not self._set(_ORDERS, held):
                return
            self._held = held
        for n, watts in enumerate(self._pm.lasting_limit()):
            if watts != self._limits[n]:
                self._tried_ms = time.ticks_ms()
                self._limits[n] = _UNKNOWN  # until it is
                if not self._set(_LIMITS[n], 0 if watts == im.FREE else watts + 1):
                    return
                self._limits[n] = watts
        wanted = self._later = self._wanted()  # a stop on the way to the end of the program is one: it is not what was before that
        if wanted == self._stored:
            return
        self._tried_ms = time.ticks_ms()
        self._stored = _UNKNOWN  # until it is
        if wanted & 7 == _MANUAL and not self._set(_WATTS, self._watts):
            return
        if self._set(_KEY, wanted):
            self._stored = wanted

    def _set(self, key: str, value: int) -> bool:
        try:
            if self._nvs is None:
                self._nvs = esp32.NVS("bess")
            self._nvs.set_i32(key, value)
            self._nvs.commit()
        except Exception as error:  # no heap or no flash for it: said once, tried again
            if not self._failing:
                self._failing = True
                _tell(error)
            return False
        self._failing = False
        self.stores += 1
        return True

    def _read(self, key: str) -> int:
        """What is stored, 0 if nothing is: what cannot be read does not start anything."""
        try:
            if self._nvs is None:
                self._nvs = esp32.NVS("bess")
            return self._nvs.get_i32(key)
        except MemoryError:
            raise
        except Exception as error:
            if not (error.args and error.args[0] == _NOT_FOUND):
                say("resume: what ran before the reset cannot be read (%s): start() is a person's" % error)
            return 0


def _limit_of(stored: int) -> int:
    """What a number that is stored bounds, W; one that cannot be does so as far as there is power, or to 0."""
    return im.FREE if stored == 0 else max(0, min(stored - 1, _MOST_W))


def _tell(error) -> None:
    """In a full heap nothing is said."""
    try:
        say("resume: what runs could NOT be stored (%s: %s): tried again" % (type(error).__name__, error))
    except MemoryError:
        pass
