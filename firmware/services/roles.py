"""Who is at the console: the roles view, operate and service, their PINs, and how often a wrong one may be tried.

Loaded where somebody has set a PIN, and by whoever sets the first.  A PIN is kept as its salted hash only, in a file beside the
site, and never said again.  There is none by default: until a service PIN is set, whoever has the cable has the service role.
"""

import os
import time
from binascii import hexlify
from hashlib import sha256

from micropython import const

from firmware import loading
from firmware.errors import PowerError
from firmware.services.lines import NAMES, OPERATE, SERVICE, VIEW

_LEAST = const(4)  # characters of a PIN
_MOST = const(32)
_ROUNDS = const(256)
_TRIES = const(3)  # wrong ones in a row that cost nothing
_WAIT_MS = const(5000)  # after one more, and twice as long after each that follows
_DOUBLED = const(6)
_FORGET_MS = const(3600000)
_LOG_IN = const(
    "lines of Python and programs need the role service, yours is %s: login PIN first (mpremote: exec \"login('PIN')\")"
)


class Roles:
    """The PINs of a board, and the role of who is at its console now."""

    def __init__(self, path: str, app) -> None:
        """path: of the file with the PINs."""
        self._path = path
        self._app = app
        self.pins: dict = {}  # role's name -> "salt:hash"
        self.problem = ""  # why the file with them is of no use: then nobody gets a role
        self.role = SERVICE
        self._wrong = 0
        self._wait_ms = 0
        self._tried_ms = 0

    def load(self, store) -> None:
        """Read the PINs from a safestore.Store."""
        try:
            found = store.load() or {}
            self.pins = {name: found[name] for name in NAMES if name in found}
        except Exception as error:  # nobody may become a technician by damaging a file
            self.problem = str(error)
        self.fall_back()

    def fall_back(self) -> None:
        """The role of who has not logged in."""
        self.role = VIEW if self.problem or NAMES[SERVICE] in self.pins else SERVICE

    def login(self, pin: str) -> str:
        """The role that a PIN gives, from now on.  PowerError where it gives none, or is tried too soon."""
        left = self._wait_ms - time.ticks_diff(time.ticks_ms(), self._tried_ms) if self._wait_ms else 0
        if 0 < left <= self._wait_ms:
            raise PowerError("wrong PINs: wait %d s before the next try" % ((left + 999) // 1000))
        if self.problem:
            raise PowerError("the PINs cannot be read: " + self.problem)
        if not self.pins:
            return "no PIN is set: the role is service"
        for role in (SERVICE, OPERATE):
            if NAMES[role] in self.pins and _whole(self.is_pin(NAMES[role], pin)):
                self.role = role
                if role == SERVICE:  # the operator's buys no tries at the technician's
                    self._wrong = self._wait_ms = 0
                return "the role is %s" % NAMES[role]
        now = time.ticks_ms()
        if not 0 <= time.ticks_diff(now, self._tried_ms) <= _FORGET_MS:
            self._wrong = self._wait_ms = 0
        self._wrong += 1
        self._tried_ms = now
        if self._wrong >= _TRIES:
            self._wait_ms = _WAIT_MS << min(self._wrong - _TRIES, _DOUBLED)
        raise PowerError("wrong PIN")

    def is_pin(self, name: str, pin: str):
        """A generator that works piece by piece, and returns whether this is the PIN of a role that has one."""
        salted = self.pins[name]
        found = yield from _hashing(pin, salted.split(":")[0])
        return found == salted

    def login_by(self, text: str) -> str:
        """login("PIN") as a line of Python, the only one for who is no technician."""
        pin = _pin_in(text)
        if not pin:
            raise PowerError(_LOG_IN % NAMES[self.role])
        return self.login(pin)

    def set_pin(self, name: str, pin: str):
        """Give a role another PIN, "off" for none: the steps that store it.

        PowerError for a PIN that is none, ValueError for a role that has none: before the first step.
        """
        if name not in NAMES:
            raise ValueError("pin takes a role, operate or service (or view, for the web page), and its PIN")
        pins = dict(self.pins)
        if pin == "off":
            pins.pop(name, None)
        elif not _LEAST <= len(pin) <= _MOST:
            raise PowerError("a PIN has %d to %d characters; nothing was changed" % (_LEAST, _MOST))
        else:
            pins[name] = _whole(_hashing(pin, hexlify(os.urandom(8)).decode()))
        if pins and NAMES[SERVICE] not in pins:
            raise PowerError("without a PIN for service everybody has that role: set it first, and take it away last")
        return self._storing(pins)

    def _storing(self, pins: dict):
        yield from loading.storing(self._path, pins, self._app.kept())
        self.pins = pins
        self.problem = ""


def _pin_in(text: str) -> str:
    """The PIN in a line that is login("PIN") and nothing else, "" in any other: the only Python for who is no technician."""
    if text[:6] != "login(" or text[-1] != ")":
        return ""
    quoted = text[6:-1].strip()
    pin = quoted[1:-1]
    if len(quoted) < 3 or quoted[0] not in "'\"" or quoted[-1] != quoted[0] or quoted[0] in pin or "\\" in pin:
        return ""
    return pin


def _hashing(pin: str, salt: str):
    """A generator that returns "salt:hash": all at once it holds a chip some 20 ms."""
    value = pin.encode()
    for i in range(_ROUNDS):
        value = sha256(salt.encode() + value).digest()
        if i & 31 == 31:
            yield
    return salt + ":" + hexlify(value).decode()


def _whole(work):
    """What such a generator returns."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value
