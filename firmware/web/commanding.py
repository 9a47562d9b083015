"""Commands from the network: one table of who may what, each with an end, through the seat of the site and into its journal."""

import sys
import time
from array import array

from httpd.answer import Refused
from micropython import const

from firmware import requests as rq
from firmware.bounding import bound
from firmware.errors import PowerError, in_range
from firmware.image import parts
from firmware.modes import Mode
from firmware.services.lines import NAMES, OPERATE, SERVICE

_OWNER = const("web")
_LONGEST_MIN = const(1440)
_SEAT_MS = const(60000)  # who has commanded without a time keeps the seat for so long
_MINUTE_MS = const(60000)
_AT_CONSOLE = const("local control: a person at the console has the control; local(False) there gives it back")
# what is asked for, least role, what must be given, whether it takes the seat
_TABLE = (
    ("start", OPERATE, "", True),
    ("stop", OPERATE, "", True),
    ("power", OPERATE, "kw minutes", True),
    ("charge", OPERATE, "soc minutes", True),
    ("discharge", OPERATE, "kw minutes", True),
    ("pause", OPERATE, "minutes", True),
    ("limit", OPERATE, "minutes", True),
    ("take", OPERATE, "minutes", False),
    ("give_back", OPERATE, "", False),
    ("emergency", OPERATE, "", False),
    ("reset", OPERATE, "", False),
    ("scheduling", OPERATE, "on", False),
    ("clock", OPERATE, "time", False),
    ("maintenance", SERVICE, "on", True),
    ("reboot", SERVICE, "", False),
)
_OPERATIONS = const(("power", "charge", "discharge", "pause"))
_BOUNDS = const(("discharge_kw", "charge_kw"))


class Commanding:
    """What who is logged in may command.  As an interface of the seat (remote.py) all of them are client 0."""

    def __init__(self, app, per_min: int) -> None:
        pm = self._pm = app.pm
        self._app = app
        self.seat = pm.remote
        self._per_min = per_min
        self._who = ""  # who commanded last
        self._commanded_ms = 0  # and when
        self._holds = False  # something that was commanded here may be in force
        self._own = array("i", (0, 0, 0, 0))  # the operation, as the claims' table has it: ms left, W, goal, target; 0 ms: none
        self._local_until = 0  # ticks at which local control that was taken here ends

    def who(self, _number: int) -> str:
        """For the seat."""
        return self._who

    def is_free(self, now: int) -> bool:
        """Whether the page may command."""
        if self._pm.is_local:
            return self._is_local_here()
        return not self.seat.is_taken(now) or self.seat.holder is self

    def seat_report(self, now: int) -> dict:
        """Who controls, for people."""
        by = self.seat.controller
        return {"by": "" if by == "nobody" else by, "local": self._pm.is_local, "mine": self.is_free(now)}

    def step(self, now: int) -> None:
        """Once a second: what has an end ends."""
        if self._holds:
            self._keep_seat(now)
        if self._is_local_here() and time.ticks_diff(now, self._local_until) >= 0:
            self.seat.set_local(False, "web: its time is over")
            if self._holds:  # what was commanded meanwhile goes on
                self.seat.take(self, 0, now, _SEAT_MS)

    def _keep_seat(self, now: int) -> None:
        """Have it while what was commanded is in force, whoever ends that, and a minute from the last command on."""
        operates = self._operates()
        if operates or self.seat.limit_left(_OWNER):
            self.seat.keep(self, 0, now)
            return
        self._holds = False
        if time.ticks_diff(now, self._commanded_ms) >= _SEAT_MS:
            self.seat.leave(self, 0)

    def _operates(self) -> bool:
        """The operation that runs is the one of here: another one, a person's say, has other numbers or more time left."""
        own = self._own
        table = self._pm.arbiter.claims.table
        at = rq.MANUAL * rq.PARTS
        with self._pm.image.lock:
            same = 0 < table[at] <= own[0]
            for i in range(rq.WATTS, rq.TARGET + 1):
                same = same and table[at + i] == own[i]
            own[0] = table[at] if same else 0
        return same

    def _remember(self) -> None:
        """The operation that was just commanded here."""
        table = self._pm.arbiter.claims.table
        with self._pm.image.lock:
            for i in range(len(self._own)):
                self._own[i] = table[rq.MANUAL * rq.PARTS + i]

    def _is_local_here(self) -> bool:
        """Local control was taken here, and nobody has taken it since."""
        return self._pm.is_local and self.seat.local_holder is self

    def leave(self, who: str) -> None:
        """Local control that was taken here ends, and the seat is free."""
        if self._is_local_here():
            self.seat.set_local(False, who)
        self._holds = False
        self.seat.leave(self, 0)

    def note(self, who: str, accepted: bool, what: str, value: int) -> None:
        """Into the journal: each that was accepted, as people ask for few; what was refused, and logins, which programs make too,
        as often as an EMS's commands, see Commands."""
        records = self._app.services.get("records") if accepted and what != "login" else None
        if records is not None:
            records.records.log(self._pm.clock, "%s %s" % (who.replace("web: ", "WEB "), what), value)
        self.seat.commands.note(who, accepted, what, value, records is not None)

    # ---- a command ------------------------------------------------------------------------------------------

    def run(self, session, body, now: int) -> str:
        """Do what a request asks for; what was said to it.  Refused where it is not done: nothing was changed then."""
        what, takes = self._checked(session, body)
        if what != "emergency":
            self._count(session, now)
        value = self._value(body)
        try:
            if takes:
                self._check_seat(now)
            says = self._call(what, body, session)
            if what in _OPERATIONS:
                self._remember()
            if takes:  # what was refused keeps nobody else from controlling
                self._take(session, body, now)
        except Refused:
            self.note(session.who, False, what, value)
            raise
        except (PowerError, ValueError) as error:
            self.note(session.who, False, what, value)
            raise Refused(400 if isinstance(error, ValueError) or "allowed are" in str(error) else 409, str(error))
        self.note(session.who, True, what, value)
        return says if isinstance(says, str) else "accepted"

    def _checked(self, session, body) -> tuple:
        """The row of the table: what, whether it takes the seat."""
        if not isinstance(body, dict) or not isinstance(body.get("do"), str):
            raise Refused(400, '"do" is missing: one of ' + ", ".join([row[0] for row in _TABLE]))
        for row in _TABLE:
            if row[0] == body["do"]:
                break
        else:
            raise Refused(400, "do = %.40r: allowed are %s" % (body["do"], ", ".join([row[0] for row in _TABLE])))
        what, role, needs, takes = row
        if session.role < role:
            raise Refused(403, "%s needs the role %s, yours is %s" % (what, NAMES[role], NAMES[session.role]))
        needed = needs.split(" ") if needs else []
        known = ["do", "confirm"] + needed + (list(_BOUNDS) if what == "limit" else [])
        for key in body:
            if key not in known and what != "emergency":  # a charge with 20 kW to 80 % would be one with all there is
                raise Refused(400, "%.40s: %s has no such key; allowed are %s" % (key, what, ", ".join(known)))
        if body.get("confirm") is not True:
            raise Refused(400, '%s: "confirm": true is missing: has the person been asked?' % what)
        for key in needed:
            if key not in body:
                raise Refused(400, "%s: %s is missing" % (what, key))
        try:
            if "minutes" in needs:
                body["minutes"] = in_range("minutes", body["minutes"], 1, _LONGEST_MIN, "min", int)
            if "on" in needs and not isinstance(body["on"], bool):
                raise ValueError("on = %.40r: must be true or false" % (body["on"],))
        except (PowerError, ValueError) as error:
            raise Refused(400, str(error))
        return what, takes

    def _count(self, session, now: int) -> None:
        if not 0 <= time.ticks_diff(now, session.second_ms) < _MINUTE_MS:
            session.second_ms = now
            session.commands = 0
        if session.commands >= self._per_min:
            raise Refused(429, "more than %d commands in a minute" % self._per_min, "Retry-After: 10\r\n")
        session.commands += 1

    def _value(self, body) -> int:
        """For the journal: W (a bound on charging with -, as charging has it), 0.01 %, or minutes."""
        for key, scale in (("kw", 1000), ("soc", 100), ("discharge_kw", 1000), ("charge_kw", -1000), ("minutes", 1)):
            if key in body and isinstance(body[key], (int, float)) and -1e5 < body[key] < 1e5:
                return parts(body[key], abs(scale)) * (1 if scale > 0 else -1)
        return int(body.get("on") is True)

    def _check_seat(self, now: int) -> None:
        """Refused while somebody else controls."""
        if self._pm.is_local:
            if not self._is_local_here():
                raise Refused(409, _AT_CONSOLE)
        elif not self.is_free(now):
            raise Refused(409, "%s controls: take it, or wait until it is silent" % (self.seat.controller or "another"))

    def _take(self, session, body, now: int) -> None:
        """Have the seat for as long as what is commanded stands; under local control from its end on."""
        self._who = session.who
        self._commanded_ms = now
        if "minutes" in body:
            self._holds = True
        if not self._pm.is_local:
            self.seat.take(self, 0, now, _SEAT_MS)

    # ---- what the table calls -------------------------------------------------------------------------------

    def _call(self, what: str, body: dict, session):
        pm = self._pm
        minutes = body.get("minutes", 0)
        if what == "start":
            return pm.start()
        if what == "stop":
            return pm.stop()
        if what == "power":
            return pm.set_constant_power(body["kw"], minutes)
        if what == "charge":
            return pm.start_charging(body["soc"], minutes)
        if what == "discharge":
            return pm.start_discharging(body["kw"], minutes)
        if what == "pause":
            return pm.stop_operation(minutes)
        if what == "emergency":
            stored = pm.emergency_shutdown()
            return "EMERGENCY: 0 W, contactors open" + ("" if stored else "; it could not be stored: a reset forgets it")
        if what == "reset":
            pm.reset_emergency()
            return "the emergency is over"
        if what == "reboot":
            sys.modules["machine"].reset()
            return "the board starts again in a moment: 0 W, contactors, reset"
        return getattr(self, what)(body, session)

    def limit(self, body: dict, _session) -> str:
        """Bound discharge, charge or both."""
        bounds = [None if body.get(key) is None else bound(self._pm.image.par, key, body[key]) for key in _BOUNDS]
        if bounds == [None, None]:
            raise ValueError("limit: discharge_kw or charge_kw is missing")
        self._pm.limit(_OWNER, bounds[0], bounds[1], body["minutes"] * 60)
        return "bound for %d min" % body["minutes"]

    def give_back(self, _body: dict, session) -> str:
        """What was commanded here is over, and others may control."""
        self._pm.limit(_OWNER)
        if self._operates():
            self._pm.resume()
        self.leave(session.who)
        return "given back"

    def take(self, body: dict, session) -> str:
        """Local control for so long: what an EMS has commanded is over."""
        pm = self._pm
        self._who = session.who
        if not self._is_local_here():
            if pm.is_local:
                raise PowerError(_AT_CONSOLE)
            self.seat.set_local(True, session.who, self)
        self._local_until = time.ticks_add(time.ticks_ms(), body["minutes"] * _MINUTE_MS)
        return "local control for %d min: no EMS has it" % body["minutes"]

    def scheduling(self, body: dict, _session) -> str:
        """Let the schedule run, or not."""
        self._pm.enable_scheduling(body["on"])
        return "scheduling is %s" % ("on" if body["on"] else "off")

    def clock(self, body: dict, _session) -> str:
        """Set the clock, as at the console."""
        if self._pm.clock is None:
            raise PowerError('this site has no clock: its site file has no "clock" section')
        if not isinstance(body["time"], str):
            raise ValueError("time = %.40r: must be a text such as 2026-11-22 09:56:17" % (body["time"],))
        self._pm.clock.set_text(body["time"])
        return "the clock is set"

    def maintenance(self, body: dict, _session) -> str:
        """MAINTENANCE, and out of it."""
        self._pm.set_mode(Mode.MAINTENANCE if body["on"] else Mode.STANDBY)
        return "accepted"
