"""Units that do not answer, where several share a client: each is left in peace for a while that doubles, so it costs the
others little.

What counts is what it costs.  A request that was waited for in vain is one, and so is a gateway's word that nobody answered
it (exceptions 10 and 11) if that took as long; where the gateway says so at once, it takes several.
"""

import time

from micropython import const

_DEAF = const(6)  # weight of the failures in a row after which a unit is left in peace for ever longer
_HEAVY = const(3)  # of one that kept the others waiting
_LIGHT = const(1)  # of one that did not
_LONG_MS = const(100)
_FIRST_MS = const(500)
_MOST_MS = const(10000)


class Silent:
    """Which units of a client do not answer."""

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
