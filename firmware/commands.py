"""What was commanded from outside, over whatever interface: kept for people, and in the journal of the site's records.

What one repeats within ten minutes is one line more at their end, and none where it is always the same; one client has its
share of the table, and where it is full what was accepted takes the place of what was refused, or else is told already, and an
emergency any: so that a flood neither fills the journal nor hides another's commands.  `note` allocates nothing.
"""

from array import array

from micropython import const

from firmware import image as im

_WINDOW_S = const(600)  # what a client repeats meanwhile is one line more of the journal, which is written as often
_KINDS = const(16)  # of commands that are told apart at a time: so many windows, and twice as many lines
_SHARE = const(8)  # of them one client's; what it asks for besides is counted together
_REFUSED_SHARE = const(5)  # the same of what is refused
_REST = const("other points")
_URGENT = const("emergency")  # however many others there are, it is told
_MOST = const(0x3FFFFFFF)  # of a value: it is shown, not used

# A kind of command: in two lists who asked ("" nobody: it is free) and for which point, and of numbers
_FIGURES = const(8)
_ACCEPTED = const(0)
_VALUE = const(1)  # the last
_COUNT = const(2)
_TOLD = const(3)  # of them in the journal
_FIRST_S = const(4)  # uptime
_LAST_S = const(5)
_WRITTEN = const(6)  # the value of its last line
_CHANGED = const(7)  # there was another value since

# what a kind is worth that another one wants the place of
_TOLD_REFUSED = const(0)
_WAITING_REFUSED = const(1)
_TOLD_ACCEPTED = const(2)
_WAITS = const(3)
_URGENT_WAITS = const(4)


class Commands:
    """One table for all interfaces of a site."""

    def __init__(self, pm) -> None:
        self.lost = 0  # commands that found no space to be told apart
        self._pm = pm
        self._uptime = pm.image.now
        self._who = [""] * _KINDS
        self._points = [""] * _KINDS
        self._figures = array("i", [0] * (_KINDS * _FIGURES))

    def note(self, who: str, accepted: bool, point: str, value: int, told: bool = False) -> None:
        """Keep that somebody commanded `value` for a point, and whether it was accepted.

        who: "web: ..." has it come through the web; without such a word it is an EMS's.  told: it is in the journal already.
        """
        at = self._kind(who, accepted, point)
        if at < 0:
            at = self._kind(who, accepted, _REST)
        if at < 0:
            self.lost += 1
            return
        figures = self._figures
        now_s = self._uptime[im.UPTIME_S]
        value = max(-_MOST, min(_MOST, value))
        if not figures[at + _COUNT]:
            figures[at + _FIRST_S] = now_s
            figures[at + _WRITTEN] = value
        elif value != figures[at + _WRITTEN]:
            figures[at + _CHANGED] = 1
        figures[at + _LAST_S] = now_s
        figures[at + _VALUE] = value
        figures[at + _COUNT] += 1
        if told:
            figures[at + _TOLD] = figures[at + _COUNT]
            figures[at + _WRITTEN] = value

    def _kind(self, who: str, accepted: bool, point: str) -> int:
        """Where the figures of such commands are; -1: this client has its share, or there is no space."""
        figures = self._figures
        at = -1
        used = 0
        for i in range(_KINDS):
            if not self._who[i]:
                if at < 0:
                    at = i
            elif self._who[i] == who:
                if self._points[i] == point and figures[i * _FIGURES + _ACCEPTED] == accepted:
                    return i * _FIGURES
                used += 1
        urgent = accepted and point == _URGENT
        share = _SHARE + 2 if point is _REST else _SHARE if accepted else _REFUSED_SHARE
        if used >= share and not urgent:
            at = self._less(who, _TOLD_ACCEPTED) if accepted else -1  # its own refusals make room
        elif at < 0 and accepted:
            at = self._less("", _URGENT_WAITS if urgent else _WAITS)
        if at < 0:
            return -1
        self._begin(at, who, accepted, point)
        return at * _FIGURES

    def _less(self, who: str, below: int) -> int:
        """Which kind may make room: the least worth below this, of those the oldest, of this client ("": of any); -1: none."""
        found = -1
        for i in range(_KINDS):
            if self._who[i] and (not who or self._who[i] == who):
                worth = self._worth(i)
                last_s = self._figures[i * _FIGURES + _LAST_S]
                if worth < below or (worth == below and found >= 0 and last_s < self._figures[found * _FIGURES + _LAST_S]):
                    found = i
                    below = worth
        return found

    def _worth(self, i: int) -> int:
        """What would be lost with a kind: a refusal is less than what was accepted, and what is told already than what waits."""
        at = i * _FIGURES
        waits = self._figures[at + _COUNT] > self._figures[at + _TOLD]
        if not self._figures[at + _ACCEPTED]:
            return _WAITING_REFUSED if waits else _TOLD_REFUSED
        return _TOLD_ACCEPTED if not waits else _URGENT_WAITS if self._points[i] == _URGENT else _WAITS

    def _begin(self, i: int, who: str, accepted: bool, point: str) -> None:
        """A new kind; what is not told of the one that was there is lost."""
        figures = self._figures
        at = i * _FIGURES
        if self._who[i]:
            self.lost += figures[at + _COUNT] - figures[at + _TOLD]
        self._who[i] = who
        self._points[i] = point
        figures[at + _ACCEPTED] = accepted
        figures[at + _COUNT] = figures[at + _TOLD] = figures[at + _CHANGED] = 0

    def tell(self, records) -> None:
        """Write one line into the records (None: there are none), if any is due; to be called once a second.

        The first command of a kind is due at once, how often it was repeated when its window ends.
        """
        now_s = self._uptime[im.UPTIME_S]
        figures = self._figures
        for i in range(_KINDS):
            if not self._who[i]:
                continue
            at = i * _FIGURES
            over = now_s - figures[at + _FIRST_S] >= _WINDOW_S
            told = figures[at + _TOLD]
            count = figures[at + _COUNT]
            if count > told and (not told or (over and figures[at + _CHANGED])):
                figures[at + _TOLD] = count
                figures[at + _WRITTEN] = figures[at + _VALUE]
                figures[at + _CHANGED] = 0
                self._log(records, i, count - told)
                return
            if over and count > told:  # always the same: it needs no line, and the next window begins
                figures[at + _COUNT] = told
                figures[at + _FIRST_S] = now_s
            elif over:
                self._who[i] = ""

    def _log(self, records, i: int, more: int) -> None:
        if records is not None:
            at = i * _FIGURES
            through, known, who = self._who[i].partition(": ")
            what = "%s%s" % (through.upper() if known else "EMS", "" if self._figures[at + _ACCEPTED] else " REFUSED")
            repeated = "" if more == 1 else " x%d" % more
            line = "%s %s %s%s" % (what, who or self._who[i], self._points[i], repeated)
            records.log(self._pm.clock, line, self._figures[at + _VALUE])

    def listed(self) -> "list[dict]":
        """The last ten minutes' commands: who, point, accepted, the last value, how many, s since boot of the first and last."""
        found = []
        for i, who in enumerate(self._who):
            if who:
                accepted, value, count, _, first, last = self._figures[i * _FIGURES : i * _FIGURES + _WRITTEN]
                one = {"who": who, "point": self._points[i], "accepted": bool(accepted), "value": value, "count": count}
                one["first_s"] = first
                one["last_s"] = last
                found.append(one)
        return found
