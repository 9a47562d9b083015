"""Units that do not answer, where several share a client: each is left in peace for a while that doubles, so it costs the
others little.

What counts is what it costs.  A request that was waited for in vain is one, and so is a gateway's word that nobody answered
it (exceptions 10 and 11) if that took as long; where the gateway says so at once, it takes several.

What is asked of another behind a request that was given up has the time that the gateway still spends on that one.
"""

import time

from micropython import const

_DEAF = const(6)  # weight of the failures in a row after which a unit is left in peace for ever longer
_HEAVY = const(3)  # of one that kept the others waiting
_LIGHT = const(1)  # of one that did not
_LONG_MS = const(100)
_FIRST_MS = const(500)
_MOST_MS = const(10000)
_HELD_MS = const(3000)  # so long after a request was given up a gateway may still wait for the unit's answer


class Silent:
    """Which units of a client do not answer; and, of a gateway, which one's answer it may still wait for."""

    # of the class, for a serial line has none of it
    _held_by = -1  # the unit for whose answer a gateway may still wait, until _held_until; -1: none
    _held_until = 0
    _held_transaction = 0  # of the request that was given up
    _borne = False  # another one was given the time, and nothing has come since

    def __init__(self) -> None:
        self._units = {}  # unit -> [weight of its failures in a row, when it may be asked again, length of the next pause]

    def is_left(self, unit: int, again: bool) -> bool:
        """It is not asked now.  again: a request that was not answered is repeated, for which one failure is no reason."""
        entry = self._units.get(unit)
        if entry is None or (again and entry[0] < _DEAF):
            return False
        return 0 < time.ticks_diff(entry[1], time.ticks_ms()) <= _MOST_MS  # days later the moment would look like the future

    def failed(self, unit: int, spent_ms: int, timed_out: bool) -> None:
        """A request to it has cost so much and brought nothing: at first it gives way to the others for as long."""
        entry = self._units.get(unit)
        if entry is None:
            entry = self._units[unit] = [0, 0, _FIRST_MS]
        heavy = timed_out or spent_ms >= _LONG_MS
        pause_ms = spent_ms if heavy else 0
        entry[0] = min(entry[0] + (_HEAVY if heavy else _LIGHT), _DEAF)
        if entry[0] == _DEAF:
            pause_ms = max(pause_ms, entry[2])
            entry[2] = min(2 * entry[2], _MOST_MS)
        entry[1] = time.ticks_add(time.ticks_ms(), min(pause_ms, _MOST_MS))

    def give_way(self, unit: int, ms: int) -> None:
        """It is not asked for so long from now on, if it has failed: it has cost more than was known then."""
        entry = self._units.get(unit)
        until = time.ticks_add(time.ticks_ms(), ms)
        if entry is not None and time.ticks_diff(until, entry[1]) > 0:
            entry[1] = until

    def answered(self, unit: int) -> None:
        """Nothing is held against it any more."""
        self._units.pop(unit, None)

    # ---- what a gateway is held by -----------------------------------------------------------------------
    def hold(self, unit: int, transaction: int) -> None:
        """A request is given up: the gateway may go on with that one for a while."""
        if not self._borne:
            self._held_by = unit
            self._held_until = time.ticks_add(time.ticks_ms(), _HELD_MS)
            self._held_transaction = transaction

    def held_ms(self, unit: int) -> int:
        """How much longer a request to this unit may take for another one's sake.

        Once until something comes: a peer that says nothing more is gone, and that is found out soon.
        """
        if self._held_by < 0 or self._held_by == unit or self._borne:
            return 0
        self._borne = True
        return min(max(0, time.ticks_diff(self._held_until, time.ticks_ms())), _HELD_MS)

    def frees(self, transaction: int) -> bool:
        """Whether an answer that comes too late says that the gateway goes on."""
        return self._borne or transaction == self._held_transaction

    def freed(self, ms: int) -> None:
        """It goes on: now the others have the time that the unit has kept them waiting."""
        if self._held_by >= 0:
            self.give_way(self._held_by, ms)
        self._held_by = -1
        self._borne = False
