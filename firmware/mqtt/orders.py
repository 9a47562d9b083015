"""What somebody commands over MQTT: checked, carried out as a claim and limits with a lifetime, and answered in words.

A command is a JSON object, {"do": "power", "kw": 5, "minutes": 15, "id": "any"}; docs/mqtt.md has them all.  Over MQTT a broker
speaks for everybody: whom it lets publish commands is one client of the site's seat (firmware/remote.py), "mqtt", or "mqtt ha"
where the command says that Home Assistant made it.  What is accepted ends by itself; what is refused changes nothing.
"""

import json
import time
from array import array

from marks import wrong
from micropython import const
from notice import say

from firmware import image as im
from firmware import reasons
from firmware.bounding import bound
from firmware.errors import PowerError, in_range
from firmware.image import parts
from firmware.modes import Mode

_OWNER = const("mqtt")
_HOME_ASSISTANT = const("mqtt ha")
_MOST_MINUTES = const(1440)
_SHORT_MS = const(1000)  # for which a command without a lifetime keeps the seat
_A_SECOND = const(5)  # commands in it
_AGAIN_MS = const(10000)  # between two refusals that people read
_LONGEST_ID = const(40)
_MODES = const(("automatic", "hold", "charge", "discharge"))
_WORDS = const("power limit give_back mode lifetime start stop reset emergency")
_OVER = const(("ended: the time of the setpoint is over", "ended: the time of the limits is over"))
_TAKEN = const((
    "ended: the setpoint was ended by a stop, or by a person",
    "ended: the limits were ended by a person",
))
_COMMON = const("do id by")  # keys of every command, and
_KEYS = const((
    ("power", "kw minutes"), ("limit", "discharge_kw charge_kw minutes"), ("mode", "mode minutes"), ("lifetime", "minutes"),
))  # fmt: skip


class Orders:
    """control: commands are carried out; minutes: the lifetime of those that say none.  Every second somebody calls `look`."""

    def __init__(self, pm, control: bool, minutes: int, records) -> None:
        self.minutes = minutes
        self.accepted = 0
        self.refused = 0
        self.ended: list = []  # what has ended by itself and nobody has published yet, in words
        self._pm = pm
        self._control = control
        self._records = records
        self._seat = pm.remote
        self._turn = self._seat.turn
        self._watts = array("i", (0, im.FREE, im.FREE))  # setpoint, limits of discharge and charge
        self._until = array("i", (0, 0))  # ticks at which the claim and the limits end by themselves,
        self._holds = bytearray(2)  # as long as nobody has ended them before: see _left
        self._who = _OWNER
        self._second = 0
        self._in_it = 0
        self._said_ms = -1
        self._said = 0  # refusals then

    # ---- a command -----------------------------------------------------------------------------------------

    def take(self, payload: bytes, retained: bool, now: int) -> "bytes | None":
        """Carry out a command; the answer, None where none is due (a flood)."""
        if self._is_flood(now) and not self._is_emergency(payload, retained):
            return self._refuse_flood(payload, now)
        order: dict = {}
        self._who = _OWNER
        try:
            given = json.loads(payload)
            if not isinstance(given, dict):
                raise ValueError("a command is a JSON object such as {\"do\": \"power\", \"kw\": 5, \"minutes\": 15}")
            order = given
            why = wrong(payload, given)
            if why and order.get("do") != "emergency":  # that one is done however it is written
                raise ValueError("the command is no JSON: " + why)
            if order.get("by") == "ha":
                self._who = _HOME_ASSISTANT
            says = self._obey(order, retained, now)
        except (PowerError, ValueError, TypeError, RuntimeError) as error:  # RuntimeError: too deep for the stack
            says = str(error) or "a command is a JSON object"
            self._refuse(order.get("do", ""), says, now)
            return _answer(order, False, says)
        self.accepted += 1
        return _answer(order, True, says)

    def refuse_long(self, most: int, now: int) -> "bytes | None":
        """A command that had more bytes than that came, and nobody has read it; the answer as of `take`."""
        self._who = _OWNER
        if self._is_flood(now):
            return self._refuse_flood(b"", now)
        says = "a command of more than %d bytes, its topic among them, is not read" % most
        self._refuse("", says, now)
        return _answer({}, False, says)

    def _is_flood(self, now: int) -> bool:
        """One more command has come, and that is too many for this second."""
        if not 0 <= time.ticks_diff(now, self._second) < 1000:
            self._second = now
            self._in_it = 0
        self._in_it += 1
        return self._in_it > _A_SECOND

    def _is_emergency(self, payload: bytes, retained: bool) -> bool:
        """The one command that no flood keeps out: what only has the word in it is a part of the flood."""
        return self._control and not retained and b'"emergency"' in payload and _parsed(payload).get("do") == "emergency"

    def _refuse_flood(self, payload: bytes, now: int) -> "bytes | None":
        """The first of a second is answered."""
        self._refuse("", "%d commands a second are too many" % self._in_it, now)
        if self._in_it > _A_SECOND + 1:
            return None
        return _answer(_parsed(payload), False, "more than %d commands a second" % _A_SECOND)

    def _refuse(self, what, why: str, now: int) -> None:
        """Counted, in the journal, and told people: the first at once, then one in ten seconds with how many there were."""
        self.refused += 1
        point = what if isinstance(what, str) and what and what in _WORDS.split(" ") else "command"
        self._seat.commands.note(self._who, False, point, 0)
        if self._said_ms < 0 or not 0 <= time.ticks_diff(now, self._said_ms) < _AGAIN_MS:
            more = self.refused - self._said
            say("%s: %s refused: %s%s" % (self._who, point, why, "" if more == 1 else " (%d since the last line)" % more))
            self._said = self.refused
            self._said_ms = now

    def _obey(self, order: dict, retained: bool, now: int) -> str:
        what = order.get("do")
        if not isinstance(what, str) or what not in _WORDS.split(" "):
            raise ValueError("do = %.40r: allowed are %s" % (what, _WORDS.replace(" ", ", ")))
        if retained:
            raise ValueError("a retained command is not carried out: it may be of any age; publish it without retain")
        if not self._control:
            raise PowerError("access is read: the site file allows no commands over MQTT")
        if what == "emergency":
            stored = self._pm.emergency_shutdown()
            self._note(what, 1)
            return "EMERGENCY" + ("" if stored else ", not stored yet: a reset would end it")
        _check_keys(what, order)  # not of an emergency: that one is carried out whatever else it says
        if self._pm.is_local:
            raise PowerError("a person has the control (local)")
        if what == "lifetime":
            self.minutes = in_range("minutes", order.get("minutes"), 1, _MOST_MINUTES, "min", int)
            self._note(what, self.minutes)
            return "what says no minutes holds for %d min" % self.minutes
        return self._act(what, order, now)

    def _act(self, what: str, order: dict, now: int) -> str:
        """What needs the seat: the site has one who commands."""
        if what == "give_back":
            self._end_both()
            self._keep_seat(now)
            self._note(what, 1)
            return "given back"
        if what in ("power", "limit", "mode"):
            mode = self._pm.mode
            if mode in (Mode.EMERGENCY, Mode.MAINTENANCE):
                raise PowerError("%s does not count in %s" % (what, Mode.name(mode)))
        if what == "mode":
            return self._mode(order, now)
        if what == "power":
            par = self._pm.image.par
            kw = in_range("kw", order.get("kw"), -par[im.PAR_P_CHG] / 1000, par[im.PAR_P_DIS] / 1000, "kW")
            return self._claim(parts(kw, 1000), self._life(order), now)
        if what == "limit":
            return self._limit(order, self._life(order), now)
        says = "accepted"
        self._sit(now)
        try:
            if what == "start":
                self._seat.start()
            elif what == "stop":
                self._seat.stop()
                if self._holds[0]:
                    says = "accepted, and the setpoint has ended with it"
                    self._holds[0] = 0
            else:
                self._reset()
        finally:
            self._keep_seat(now)
        self._note(what, 1)
        return says

    def _life(self, order: dict) -> int:
        """ms; every setpoint and limit has an end."""
        minutes = order.get("minutes", self.minutes)
        return int(in_range("minutes", minutes, 0.1, _MOST_MINUTES, "min") * 60000)

    def _sit(self, now: int) -> None:
        """Have the seat for what follows, and `_keep_seat` behind it.  PowerError while another has it."""
        self._look_at_seat()
        if not self._seat.take(self, 0, now, self._longest()):
            raise PowerError("%s has the control" % (self._seat.controller or "another interface"))
        self._look_at_seat()

    def _claim(self, watts: int, ms: int, now: int) -> str:
        self._sit(now)
        try:
            self._seat.claim(watts, ms, _OWNER)
            self._hold(0, now, ms)
        finally:
            self._keep_seat(now)
        self._watts[0] = watts
        self._note("power", watts)
        return "%s for %s, then it ends by itself%s" % (reasons.kw(watts), _time(ms), self._waits())

    def _waits(self) -> str:
        """What a setpoint waits for before anything moves."""
        if self._pm.mode != Mode.STANDBY:
            return ""
        until = "the site has started" if self._pm.image.now[im.ORDER] == im.ORDER_START else "start"
        return "; nothing moves before %s: the mode is STANDBY" % until

    def _limit(self, order: dict, ms: int, now: int) -> str:
        watts = [im.FREE, im.FREE]
        for i, key in enumerate(("discharge_kw", "charge_kw")):
            if order.get(key) is not None:
                watts[i] = parts(bound(self._pm.image.par, key, order[key]), 1000)
        if watts[0] == watts[1] == im.FREE:
            self._end(1)
            self._keep_seat(now)
            self._note("limit", 0)
            return "no limit of ours holds any more"
        self._sit(now)
        try:
            self._seat.limit(_OWNER, watts[0], watts[1], ms)
            self._hold(1, now, ms)
        finally:
            self._keep_seat(now)
        self._watts[1], self._watts[2] = watts
        self._note("limit", watts[0] if watts[0] != im.FREE else -watts[1])
        return "the limits hold for %s, then they end by themselves" % _time(ms)

    def _mode(self, order: dict, now: int) -> str:
        mode = order.get("mode")
        if mode not in _MODES:
            raise ValueError("mode = %.40r: allowed are %s" % (mode, ", ".join(_MODES)))
        if mode == "automatic":
            self._end(0)
            self._keep_seat(now)
            self._note("mode", 0)
            return "given back: what the site does by itself goes on"
        par = self._pm.image.par
        watts = 0 if mode == "hold" else -par[im.PAR_P_CHG] if mode == "charge" else par[im.PAR_P_DIS]
        return self._claim(watts, self._life(order), now)

    def _reset(self) -> None:
        """Of an emergency whose cause is gone, but a person's own."""
        if self._pm.mode == Mode.EMERGENCY and self._pm.emergency_cause < 0:
            raise PowerError("the emergency was commanded: reset_emergency() is a person's")
        self._pm.reset_emergency()

    def _note(self, point: str, value: int) -> None:
        self._seat.commands.note(self._who, True, point, value)

    # ---- what stands ---------------------------------------------------------------------------------------

    def _hold(self, at: int, now: int, ms: int) -> None:
        self._until[at] = time.ticks_add(now, ms)
        self._holds[at] = 1

    def _left(self, at: int) -> int:
        """ms for which it still holds: the manager is asked, as a stop, an emergency or a person may have ended it."""
        if not self._holds[at]:
            return 0
        return self._seat.limit_left(_OWNER) if at else self._seat.claim_left(_OWNER)

    def _longest(self) -> int:
        """ms for which the seat is ours: while anything of ours holds, and for a command itself."""
        return max(_SHORT_MS, self._left(0), self._left(1))

    def _end(self, at: int) -> None:
        if self._holds[at]:
            if at:
                self._seat.limit(_OWNER, im.FREE, im.FREE)
            else:
                self._pm.release("remote", _OWNER)
            self._holds[at] = 0

    def _end_both(self) -> None:
        self._end(0)
        self._end(1)

    def _keep_seat(self, now: int) -> None:
        """Have it for as long as anything of ours holds: who has nothing in force does not keep others from controlling."""
        if self._holds[0] or self._holds[1]:
            self._seat.take(self, 0, now, self._longest())
        else:
            self._seat.leave(self, 0)

    def _look_at_seat(self) -> None:
        """What was commanded before another interface or a person had the control is over."""
        if self._turn != self._seat.turn:
            if self._seat.holder is not self and (self._holds[0] or self._holds[1]):
                self._end_both()
                self.ended.append("ended: another has the control")
            self._turn = self._seat.turn

    def look(self, now: int) -> None:
        """What has ended by itself; and a line of the journal, if any is due."""
        self._look_at_seat()
        if (self._holds[0] or self._holds[1]) and self._pm.mode in (Mode.EMERGENCY, Mode.MAINTENANCE):
            self.ended.append("ended: the mode is " + Mode.name(self._pm.mode))
            self._end_both()
        for at in range(2):
            if self._holds[at] and not self._left(at):
                self._holds[at] = 0
                over = time.ticks_diff(now, self._until[at]) > -_SHORT_MS  # its time is the cycle's, to within a second
                self.ended.append((_OVER if over else _TAKEN)[at])
        self._keep_seat(now)
        self._seat.commands.tell(self._records)

    def end(self) -> None:
        """The service ends: what was commanded is over."""
        self._end_both()
        self._seat.leave(self, 0)

    # ---- for people ----------------------------------------------------------------------------------------

    def who(self, _number: int) -> str:
        """Who commands, in words: for the seat (remote.py)."""
        return self._who

    def figures(self):
        """Key and value of what the state says of commands."""
        left = self._left(0)
        held = left > 0
        watts = self._watts[0]
        par = self._pm.image.par
        if not held or not watts:
            asked = _MODES[1 if held else 0]
        elif watts in (-par[im.PAR_P_CHG], par[im.PAR_P_DIS]):
            asked = _MODES[2 if watts < 0 else 3]
        else:
            asked = None  # another power: none of them
        yield "asked", asked
        yield "setpoint", watts / 1000 if held else None
        yield "setpoint_left_s", left // 1000
        yield "lifetime", self.minutes
        yield "limits_left_s", self._left(1) // 1000
        yield "controller", self._seat.controller
        yield "local", bool(self._pm.is_local)
        yield "refused", self.refused


def _check_keys(what: str, order: dict) -> None:
    """ValueError at one that this command has not: a limit whose name is mistyped is none, and ends what holds."""
    keys = _COMMON
    for name, its in _KEYS:
        if name == what:
            keys += " " + its
    known = keys.split(" ")
    for key in order:
        if key not in known:
            raise ValueError("%.40s: %s has no such key; allowed are %s" % (key, what, ", ".join(known)))


def _parsed(payload: bytes) -> dict:
    """The command, as far as it is one."""
    try:
        order = json.loads(payload)
    except (ValueError, TypeError, RuntimeError):
        return {}
    return order if isinstance(order, dict) else {}


def _time(ms: int) -> str:
    return "%d s" % (ms // 1000) if ms < 120000 else "%d min" % (ms // 60000)


def answer(what, ident, ok: bool, says: str) -> bytes:
    """What is published on the topic `answer`."""
    return json.dumps({"do": what, "id": ident, "ok": ok, "says": says}).encode()


def _answer(order: dict, ok: bool, says: str) -> bytes:
    ident = order.get("id")
    if not isinstance(ident, (int, str)) or (isinstance(ident, str) and len(ident) > _LONGEST_ID):
        ident = None
    what = order.get("do")
    return answer(what if isinstance(what, str) and len(what) <= _LONGEST_ID else None, ident, ok, says)
