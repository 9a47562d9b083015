"""What programs outside a site use: who of them controls, one at a time over whatever interface, or a person; and the manager's
calls in whole watts and ms, which allocate nothing where an owner renews what it has.

An interface is an object with who(number), the client of that number in words.  Taking and asking allocate nothing.
"""

import time

from micropython import const

from firmware import image as im
from firmware import requests as rq
from firmware.commands import Commands
from firmware.errors import PowerError, in_range
from firmware.modes import Mode, refusal

_OWNER_MAX = const(64)  # characters
_LONGEST_MS = const(86400000)
_MOST_W = const(1000000)  # of a limit
# bits of PowerManager.held, so many for each EMS's server in the order of the site's services
HELD_OUT = const(1)  # the permit to enter service is taken (703 ES 0)
HELD_STANDBY = const(2)  # ENTER_STANDBY (715 OpCtl 2)
HELD_AWAY = const(4)  # disconnected (123 Conn 0), and nobody has ordered anything since
HELD_ALL = const(7)
HELD_BITS = const(3)


def _check(owner: str, ms: int) -> None:
    if not isinstance(owner, str) or not 1 <= len(owner) <= _OWNER_MAX:
        raise ValueError("owner = %r: must be a text of 1 to %d characters" % (owner, _OWNER_MAX))
    if not 0 < ms <= _LONGEST_MS and ms != rq.FOREVER:
        raise PowerError("ms = %r: allowed are 1 to %d ms" % (ms, _LONGEST_MS))


def _check_limit(watts: int) -> None:
    if not 0 <= watts <= _MOST_W and watts != im.FREE:
        raise PowerError("watts = %r: allowed are 0 to %d W" % (watts, _MOST_W))


class Remote:
    """`holder` and `number`: the interface and its client that control; number -1: the seat is free, and holder had it last.

    `turn` changes when what an interface has commanded is over: another one controls, or a person does.
    """

    def __init__(self, pm) -> None:
        self.holder = None
        self.number = -1
        self.turn = 0
        self.local_holder = None  # the interface by which a person has taken local control for a time; None: nobody has
        self.commands = Commands(pm)
        self._kept_ms = 0  # when who controls last commanded, or said that it still does
        self.places = 0  # bits of PowerManager.held that are given: each server takes HELD_BITS
        self._keeps_ms = 0  # for how long it has the seat from then on
        self._pm = pm
        self._lock = pm.image.lock

    # ---- who controls -----------------------------------------------------------------------------------

    def take(self, holder, number: int, now: int, keeps_ms: int) -> bool:
        """This client controls from now on, and for so long without another command; False: another one does."""
        if holder is not self.holder or number != self.number:
            if self.is_taken(now):
                return False
            if holder is not self.holder:
                self.turn += 1
            self.holder = holder
            self.number = number
        self._kept_ms = now
        self._keeps_ms = keeps_ms
        return True

    def keep(self, holder, number: int, now: int) -> None:
        """A client's heartbeat: who controls keeps the seat by it, nobody else gets it.  Who only reads does not control."""
        if number == self.number and holder is self.holder:
            self._kept_ms = now

    def look(self, now: int) -> None:
        """Once a second: the seat of who has not commanded for too long is free, also where nobody else wants it."""
        if self.number >= 0 and not self.is_taken(now):
            self.number = -1

    def leave(self, holder, number: int) -> None:
        """A client is gone, or has given back what it had: the seat is free if it was its."""
        if number == self.number and holder is self.holder:
            self.number = -1

    def client(self, holder) -> int:
        """The number of the interface's client that controls; -1: none of its own does."""
        return self.number if holder is self.holder else -1

    def is_taken(self, now: int) -> bool:
        """Somebody controls, and has commanded lately enough."""
        return self.number >= 0 and 0 <= time.ticks_diff(now, self._kept_ms) < self._keeps_ms

    @property
    def controller(self) -> str:
        """Who controls: "local" while a person does, "" nobody, else who commanded last, for as long as its seat lasts."""
        if self._pm.is_local:
            return "local"
        return self.holder.who(self.number) if self.is_taken(time.ticks_ms()) else ""

    def local(self, on=None) -> "str | None":
        """The console's word: who controls, or with True and False set_local()."""
        if on is None:
            return self.controller or "nobody"
        self.set_local(on)
        return None

    def set_local(self, on: bool, who: str = "a person", holder=None) -> None:
        """Give the control to a person: what was commanded from outside ends, what is commanded is refused.  False: give it back.

        A grid operator's relays, schedules and a person's own calls go on.  After a reset it is as it was, but where an
        interface (holder) has it for a time: who would end it then has forgotten it.
        """
        pm = self._pm
        on = in_range("on", on, 0, 1, "", bool)
        with self._lock:
            pm.is_local = on
            self.local_holder = holder if on else None
            if on:
                pm.arbiter.take_back(rq.REMOTE)
                pm.arbiter.orders += 1
                self.holder = None
                self.number = -1
                self.turn += 1
        self.commands.note(who, True, "local control", 1 if on else 0)
        if pm.run_memory is not None:
            pm.run_memory.settle()

    # ---- what is ordered --------------------------------------------------------------------------------

    def start(self, after: int = -1) -> bool:
        """PowerManager.start() by a program: a person's pause stays one.  PowerError as there.

        after: arbiter.orders as it was, and what was ordered since then stands instead; whether it was started.
        """
        pm = self._pm
        with self._lock:
            if after >= 0 and after != pm.arbiter.orders:
                return False
            if pm.mode in (Mode.EMERGENCY, Mode.MAINTENANCE):
                raise PowerError(refusal(pm.mode, Mode.IDLE))
            pm.states.want_running()
            pm.arbiter.orders += 1
            if pm.planned is not None:
                pm.planned.claimed = None  # an entry whose window it is goes on, as after a reboot
        return True

    def stop(self) -> None:
        """PowerManager.stop() by a program: a person's pause stands when the site is started again."""
        pm = self._pm
        with self._lock:
            pm.arbiter.end_all(rq.END_STOP)
            pm.states.want_standby()
        if pm.run_memory is not None:
            pm.run_memory.settle()

    def hold(self, held: int, place: int) -> None:
        """An EMS's orders that stand over a reset, from now on; that less may go on is stored before this returns."""
        pm = self._pm
        less = held & ~(pm.held >> place) & ~HELD_AWAY  # its stop is stored already
        pm.held = pm.held & ~(HELD_ALL << place) | held << place
        if less and pm.run_memory is not None:
            pm.run_memory.settle()

    # ---- claims and limits ------------------------------------------------------------------------------

    def claim_left(self, owner: str) -> int:
        """ms for which what this owner claims as "remote" still holds; 0: it has nothing, or no longer, whoever ended it."""
        claims = self._pm.arbiter.claims
        table = claims.table
        with self._lock:
            for place in range(rq.PLACES):
                at = place * rq.PARTS
                if table[at] and table[at + rq.SOURCE] == rq.REMOTE and claims.owners[place] == owner:
                    return table[at]
        return 0

    def limit_left(self, owner: str) -> int:
        """The same of its limits."""
        limits = self._pm.arbiter.curtailments
        with self._lock:
            for place in range(rq.OWNERS):
                if limits.table[3 * place] and limits.owners[place] == owner:
                    return limits.table[3 * place]
        return 0

    def claim(self, watts: int, ms: int, owner: str) -> None:
        """PowerManager.claim() of "remote", in whole W and ms.  PowerError while a person has the control."""
        par = self._pm.image.par
        if not -par[im.PAR_P_CHG] <= watts <= par[im.PAR_P_DIS]:
            raise PowerError("watts = %r: allowed are %d to %d W" % (watts, -par[im.PAR_P_CHG], par[im.PAR_P_DIS]))
        _check(owner, ms)
        with self._lock:
            if self._pm.is_local:
                raise PowerError("owner = %r: a person has the control (local)" % owner)
            self._pm.arbiter.claims.put(rq.REMOTE, watts, ms, rq.POWER, 0, owner)

    def limit(self, owner: str, discharge: int, charge: int, ms: int = rq.FOREVER) -> None:
        """PowerManager.limit() in whole W (image.FREE: not bounded) and ms."""
        _check_limit(discharge)
        _check_limit(charge)
        _check(owner, ms)
        arbiter = self._pm.arbiter
        with self._lock:
            arbiter.curtailments.put(owner, discharge, charge, ms)
            arbiter.curtail(0)
