"""Who has logged in over the network: sessions with a role, by the PINs of the console, and how often a wrong one may be tried.

A login is a cookie with 128 random bits, and a second secret that every request that changes something has to send as a
header.  It ends when its PIN changes.
"""

import os
import time
from binascii import hexlify

from httpd.answer import Refused
from micropython import const

from firmware.services.lines import NAMES, VIEW

NONE = const(-1)  # a role below `view`
_MOST = const(8)  # logins at a time
_FAMILIAR = const(4)  # addresses from which somebody who may command has logged in: no stranger's tries have these wait
_NAMED = const(4)  # addresses whose wrong PINs the journal names
_LONGEST_MS = const(43200000)  # 12 h
_ADDRESSES = const(16)  # whose wrong PINs are kept
_TRIES = const(3)  # wrong ones in a row that cost nothing
_WAIT_MS = const(5000)  # after one more, and twice as long after each that follows
_DOUBLED = const(6)
_PACE_MS = const(1000)  # one PIN in all
_MANY = const(20)  # wrong ones in a row, from wherever
_SLOW_MS = const(10000)
_FORGET_MS = const(3600000)
_COOKIE = const("session=")


class Session:
    """A login; role: VIEW, OPERATE or SERVICE; who: for the journal."""

    def __init__(self, role: int, pin: str, address: str, now: int) -> None:
        self.role = role
        self.token = hexlify(os.urandom(16)).decode()
        self.csrf = hexlify(os.urandom(8)).decode()
        self.who = "web: %s %s" % (NAMES[role], address)
        self.address = address
        self.begun_ms = now
        self.asked_ms = now
        self.second_ms = now  # when the minute began of which these are the commands
        self.commands = 0
        self.is_over = False
        self.pin = pin  # its salted hash


def _stands_in(cookies: str, ours: str) -> bool:
    """As a whole cookie: another server of this host may have one of that name."""
    at = cookies.find(ours)
    end = at + len(ours)
    # slices: a letter of theirs that is a text of its own stays for good (notice.readable), and there are a million of them
    return at >= 0 and (at == 0 or cookies[at - 1 : at] in "; ") and cookies[end : end + 1] in "; "


class Logins:
    """The sessions of a board."""

    def __init__(self, lines, idle_min: int, note) -> None:
        """lines: the console's, which know the PINs; note(who, accepted): told of logins, and of PINs tried too often."""
        self._roles = lines.known()
        self._idle_ms = idle_min * 60000
        self._note = note
        self._sessions: list = []
        self._familiar: list = []
        self._wrong: dict = {}  # address -> [wrong ones in a row, ms to wait, when the last was tried, the highest role]
        self._wrong_ones = 0  # from wherever
        self._wrong_role = VIEW  # the highest of these
        self._tried_ms = 0
        self._trying = False

    def names(self) -> list:
        """The roles that somebody can log in for."""
        return [] if self._roles.problem else [name for name in NAMES if name in self._roles.pins]

    def of(self, request, now: int) -> "Session | None":
        """Whose request that is; it goes on being logged in by it."""
        cookies = request.headers.get("cookie", "")
        if _COOKIE not in cookies:
            return None
        for session in self._sessions:
            if _stands_in(cookies, _COOKIE + session.token):
                if not self.lives(session, now):
                    return None
                session.asked_ms = now
                return session
        return None

    def lives(self, session: Session, now: int) -> bool:
        """It is not over; one that is, is forgotten."""
        idle = time.ticks_diff(now, session.asked_ms)
        age = time.ticks_diff(now, session.begun_ms)
        pin = "" if self._roles.problem else self._roles.pins.get(NAMES[session.role], "")
        if session.is_over or not 0 <= idle < self._idle_ms or not 0 <= age < _LONGEST_MS or pin != session.pin:
            self.end(session)
            return False
        return True

    def left_s(self, session: Session, now: int) -> int:
        """Until it is over, if nothing is asked any more."""
        left = min(self._idle_ms - time.ticks_diff(now, session.asked_ms), _LONGEST_MS - time.ticks_diff(now, session.begun_ms))
        return max(0, left // 1000)

    def end(self, session: Session) -> None:
        """It is over."""
        session.is_over = True
        if session in self._sessions:
            self._sessions.remove(session)

    def sweep(self, now: int) -> None:
        """Forget those that are over."""
        for session in self._sessions[:]:
            self.lives(session, now)

    def count(self) -> int:
        """How many there are."""
        return len(self._sessions)

    # ---- logging in -----------------------------------------------------------------------------------------

    def wait_s(self, address: str, now: int) -> int:
        """Until this address may try a PIN; 0: now."""
        wrong = self._wrong.get(address)
        left = 0 if wrong is None else _left(wrong[1], wrong[2], now)
        if self._wrong_ones >= _MANY and address not in self._familiar:
            left = max(left, _left(_SLOW_MS, self._tried_ms, now))
        return (left + 999) // 1000

    def login(self, address: str, name, pin, now: int):
        """A generator that works on it piece by piece, and returns the Session.  Refused where it is none."""
        if not isinstance(name, str) or name not in NAMES or not isinstance(pin, str) or not 1 <= len(pin) <= 32:
            raise Refused(400, "a login has a role, one of %s, and a pin of 4 to 32 characters" % ", ".join(NAMES))
        wait_s = self.wait_s(address, now)
        if not wait_s and (self._trying or (self._wrong_ones and _left(_PACE_MS, self._tried_ms, now))):
            wait_s = 1
        if wait_s:
            raise Refused(429, "wrong PINs: wait %d s before the next try" % wait_s, "Retry-After: %d\r\n" % wait_s)
        if self._roles.problem:
            raise Refused(409, "the PINs cannot be read: " + self._roles.problem)
        if name not in self._roles.pins:
            raise Refused(409, "the role %s has no PIN; at the console: pin %s ..." % (name, name))
        self._trying = True
        role = NAMES.index(name)
        found = False
        salted = self._roles.pins[name]
        try:
            found = yield from self._roles.is_pin(name, pin)
            found = found and self._roles.pins.get(name) == salted  # one that was changed meanwhile ends logins
        finally:  # who goes away meanwhile has tried too
            self._trying = False
            if not found:
                self._fail(address, role, now)
        if not found:
            raise Refused(401, "wrong PIN")
        session = Session(role, salted, address, now)
        self._make_room(role, now)
        self._succeed(address, role)
        self._sessions.append(session)
        self._note(session.who, True)
        return session

    def _make_room(self, role: int, now: int) -> None:
        """The login that is idle for longest goes, but none of a higher role."""
        if len(self._sessions) < _MOST:
            return
        others = [one for one in self._sessions if one.role <= role]
        if not others:
            raise Refused(503, "all %d logins are in use, by higher roles" % _MOST, "Retry-After: 60\r\n")
        self.end(max(others, key=lambda one: time.ticks_diff(now, one.asked_ms)))

    def _succeed(self, address: str, role: int) -> None:
        """What was tried for a higher role stays wrong: a viewer's PIN buys no tries at the technician's."""
        wrong = self._wrong.get(address)
        if wrong is not None and wrong[3] <= role:
            self._wrong.pop(address)
        if self._wrong_role <= role:
            self._wrong_ones = 0
        if role > VIEW and address not in self._familiar:
            self._familiar = self._familiar[1 - _FAMILIAR :] + [address]

    def _fail(self, address: str, role: int, now: int) -> None:
        if self._wrong_ones and time.ticks_diff(now, self._tried_ms) > _FORGET_MS:
            self._wrong_ones = 0
        self._wrong_role = max(role, self._wrong_role) if self._wrong_ones else role
        self._wrong_ones += 1
        self._tried_ms = now
        wrong = self._wrong.get(address)
        if wrong is None or not 0 <= time.ticks_diff(now, wrong[2]) <= _FORGET_MS:
            if wrong is None and len(self._wrong) >= _ADDRESSES:
                self._wrong.pop(min(self._wrong, key=lambda one: self._wrong[one][0]))
            wrong = self._wrong[address] = [0, 0, now, role]
        wrong[0] += 1
        wrong[2] = now
        wrong[3] = max(role, wrong[3])
        if wrong[0] >= _TRIES:
            wrong[1] = _WAIT_MS << min(wrong[0] - _TRIES, _DOUBLED)
            many = sum([each[0] >= _TRIES for each in self._wrong.values()]) > _NAMED
            self._note("web: " + ("more addresses" if many else address), False)


def _left(wait_ms: int, since_ms: int, now: int) -> int:
    left = wait_ms - time.ticks_diff(now, since_ms) if wait_ms else 0
    return left if 0 < left <= wait_ms else 0
