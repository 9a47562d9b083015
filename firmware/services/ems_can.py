"""An EMS on CAN: sends it what the battery storage does, and lets it command power and limits where the site file allows it.

Frames and their layout: ems_frames.py, for people docs/can.md and docs/dbc/ems.dbc.  Commands are protected by counter, checksum
and time window (lib/canbus/e2e.py).  What is accepted is a claim of "remote" and limits, both of the owner "ems can", and ends by
itself when the EMS falls silent; what is refused changes nothing.  While it has either it has the seat of the site (remote.py);
while another interface has that, its commands are refused, and CONTROLLER says so.

Status goes out after a cycle, a few frames at a time, while the bus is quiet and nothing waits to be sent: it never stands
before a frame of the BMS, whose ids go first in arbitration (check_beside).  Receiving and sending allocate nothing.
"""

import asyncio
import time
from array import array

from micropython import const
from notice import say

from canbus.e2e import Receiver
from canbus.signals import NOTHING, get, put
from firmware import image as im
from firmware.errors import ConfigError, PowerError
from firmware.modes import Mode
from firmware.services import ems_frames as fr

OPTIONS = (
    ("bus", "str", "REQUIRED", 1, 0, "name of the CAN bus"),
    ("base_id", "int", 1536, 0, 0x1FFFFFF0, "id of the first frame, a multiple of 16; the next 15 are taken too"),
    ("extended", "bool", False, 0, 0, "the ids have 29 bits"),
    ("period_ms", "int", 500, 200, 60000, "ms between two status frames of one kind; the slow ones: five times that"),
    ("control", "bool", False, 0, 0, "the EMS may command"),
    ("lifetime_ms", "int", 5000, 500, 600000, "ms for which a setpoint or limit holds after the frame that renewed it"),
    ("window_ms", "int", 2000, 50, 600000, "ms in which the EMS's next frame has to come; at most lifetime_ms"),
)
HEAP_BYTES = 18500

_OWNER = const("ems can")
_STEP_MS = const(20)
_AFTER_MS = const(60)  # where the cycle is slower than that, a step comes without one
_FEW = const(2)  # frames a step: a frame takes an ESP32 1.5 ms,
_MANY = const(3)  # where the period is short
_SHORT_MS = const(300)
_QUIET_MS = const(3)  # since the last frame that was received: a BMS's burst is over
_PATIENCE = const(5)  # steps: on a bus that is never quiet
_AGAIN_MS = const(10000)  # between two refusals that people read
_TELL_MS = const(1000)  # between two lines of the journal, and two looks at what the manager still has
_SOON_MS = const(200)  # before the end of a lifetime, which the manager counts in cycles
_POINTS = const(("SETPOINT", "BOUNDS"))  # in it
_COUNTED = const(65535)
_THIS = const(1)  # codes of CONTROLLER; 0: nobody
_ANOTHER = const(2)
_A_PERSON = const(3)
_ALIVE = const(255)
_TURN = const(60)  # periods; a multiple of every frame's own
_FIRST_FREE = const(0x10000000)  # in arbitration: BMSs have ids of 11 bits below 0x400, or of 29 bits below that


class Service:
    """One EMS on one bus."""

    def __init__(self, name: str, options: dict, pm, app) -> None:
        """ConfigError if there is no such bus."""
        bus = app.site.buses.get(options["bus"])
        if bus is None:
            raise ConfigError(["services.%s.bus = %r: there is no such bus" % (name, options["bus"])])
        self.names = {"ems_can": self}
        self.skipped = 0  # status frames that were not sent in their period
        self.waited = 0  # steps that found the bus busy
        self._pm = pm
        self._image = pm.image
        self._bus = bus
        self._control = options["control"]
        self._base = options["base_id"]
        self._extended = options["extended"]
        self._period_ms = options["period_ms"]
        self._per_step = _MANY if self._period_ms < _SHORT_MS else _FEW
        self._lifetime_ms = options["lifetime_ms"]
        self._seat = pm.remote
        self._turn = self._seat.turn
        app.names["local"] = self._seat.local
        self._guards = [Receiver(self._base + at & 0xFFFF, 8, options["window_ms"]) for at in (fr.SETPOINT, fr.BOUNDS)]
        self._own = array("i", [0] * fr.N_OWN)
        self._own[fr.OWN_SETPOINT_COUNTER] = self._own[fr.OWN_BOUNDS_COUNTER] = NOTHING
        self._data = bytearray(8)
        self._counters = [0] * 8
        self._watts = array("i", [0, im.FREE, im.FREE])  # of what was asked last: setpoint, limits of discharge and charge
        self._until = array("i", [0, 0])  # ticks at which claim and limits end,
        self._holds = bytearray(2)  # while they hold
        self._due = 0  # bit: frame of FRAMES that is to be sent
        self._periods = 0
        self._begin_ms = self._stepped_ms = time.ticks_ms()
        self._seq = 0
        self._busy = 0  # steps in a row that found the bus so
        self._answering = False
        self._refused = 0  # place of the frame and result of the last refusal that nobody has read, 16 x place + result
        self._said = 0  # refusals when one was said last,
        self._said_ms = 0  # and when
        records = app.services.get("records")
        self._records = None if records is None else records.records
        self._told_ms = 0  # the last look at the journal
        self._stopped = False
        top = 0x1FFFFFFF if self._extended else 0x7FF
        bus.subscribe(self._base + fr.SETPOINT, top ^ (fr.SETPOINT ^ fr.BOUNDS), self._extended, self._on_frame)

    # ---- a command arrives: inside the bus's drain -----------------------------------------------------------

    def _on_frame(self, can_id, data, _flags) -> None:
        if self._stopped:
            return
        at = can_id - self._base
        now_ms = time.ticks_ms()
        guard = self._guards[at]
        result = guard.check(data, now_ms)
        if result == fr.ACCEPTED:
            result = self._take(at, data, now_ms)
        own = self._own
        place = fr.OWN_BOUNDS_COUNTER if at else fr.OWN_SETPOINT_COUNTER
        own[place + 1] = result
        if result == fr.ACCEPTED:
            own[place] = guard.counter
            own[fr.OWN_ACCEPTED] = (own[fr.OWN_ACCEPTED] + 1) % _COUNTED
            self._note(at, True, self._asked(at))
        elif result != fr.BEGINS:
            own[fr.OWN_REFUSED] = (own[fr.OWN_REFUSED] + 1) % _COUNTED
            self._refused = 16 * at + result
            self._note(at, False, result)
        self._answering = True

    def _asked(self, at: int) -> int:
        """W of the setpoint, or of the limits: the discharge's, where it is free minus the charge's; 0: given back."""
        watts = self._watts
        if not self._holds[at]:
            return 0
        if not at:
            return watts[0]
        return watts[1] if watts[1] != im.FREE or watts[2] == im.FREE else -watts[2]

    def _note(self, at: int, accepted: bool, value: int) -> None:
        self._seat.commands.note(self._bus.name, accepted, _POINTS[at], value)

    def _take(self, at: int, data, now_ms: int) -> int:
        """A good frame's content: into claim or limits, whole or not at all."""
        used = fr.BOUNDS_USED if at else fr.SETPOINT_USED
        for i in range(8):
            if data[i] & ~used[i]:
                return fr.RESERVED
        why = self._forbidden()
        if why:
            return why
        if not data[fr.ENABLE_BYTE] & fr.ENABLE_BIT:
            self._end(at)
            self._leave()
            return fr.ACCEPTED
        if not self._read(at, data):
            return fr.OUT_OF_RANGE
        if not self._seat.take(self, 0, now_ms, self._lifetime_ms):
            return fr.NOT_IN_CONTROL
        self._look_at_seat()  # what was before it had been taken by another is over
        watts = self._watts
        try:
            if at:
                self._seat.limit(_OWNER, watts[1], watts[2], self._lifetime_ms)
            else:
                self._seat.claim(watts[0], self._lifetime_ms, _OWNER)
        except PowerError:
            self._leave()
            return fr.NO_PLACE
        self._until[at] = time.ticks_add(now_ms, self._lifetime_ms)
        self._holds[at] = 1
        return fr.ACCEPTED

    def _forbidden(self) -> int:
        """Why no command counts now; 0: it does."""
        if not self._control:
            return fr.NO_CONTROL
        mode = self._image.now[im.MODE]
        if mode == Mode.EMERGENCY:
            return fr.EMERGENCY
        if mode == Mode.MAINTENANCE:
            return fr.MAINTENANCE
        return fr.LOCAL if self._pm.is_local else 0

    def _read(self, at: int, data) -> bool:
        """The frame's values into `_watts`, where all of them are in range."""
        watts = self._watts
        if not at:
            par = self._image.par
            value = get(data, fr.SETPOINT_P)
            if not -par[im.PAR_P_CHG] <= value <= par[im.PAR_P_DIS]:
                return False
            watts[0] = value
            return True
        discharge, charge = get(data, fr.BOUND_DIS), get(data, fr.BOUND_CHG)
        if discharge > fr.BOUND_MOST or charge > fr.BOUND_MOST:
            return False
        watts[1] = im.FREE if discharge == NOTHING else discharge
        watts[2] = im.FREE if charge == NOTHING else charge
        return True

    def _end(self, at: int) -> None:
        """What the EMS has of this is over."""
        if self._holds[at]:
            if at:
                self._seat.limit(_OWNER, im.FREE, im.FREE)
            else:
                self._pm.release("remote", _OWNER)
            self._holds[at] = 0

    def _leave(self) -> None:
        """Who has nothing in force does not keep others from controlling."""
        if not self._holds[0] and not self._holds[1]:
            self._seat.leave(self, 0)

    def _look_at_seat(self) -> None:
        """What was commanded before another interface or a person had the control is over."""
        if self._turn != self._seat.turn:
            self._end_both()
            self._turn = self._seat.turn

    def _end_both(self) -> None:
        self._end(0)
        self._end(1)

    # ---- the task ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """For ever, fifty times a second."""
        while True:
            self.look(time.ticks_ms())
            await asyncio.sleep_ms(_STEP_MS)

    def look(self, now_ms: int) -> None:
        """What has ended, what is to be said, and what is due on the bus."""
        self._look_at_seat()
        if (self._holds[0] or self._holds[1]) and self._forbidden():
            self._end_both()
            self._leave()
        for at in range(2):
            self._guards[at].look(now_ms)
            if self._holds[at] and time.ticks_diff(now_ms, self._until[at]) >= 0:
                self._holds[at] = 0  # the manager has ended it by itself
                self._leave()
                what = "limits end" if at else "setpoint ends"
                say("%s: its %s: not renewed for %d ms" % (self._who(), what, self._lifetime_ms))
        self._say_refusal(now_ms)
        if not 0 <= time.ticks_diff(now_ms, self._told_ms) < _TELL_MS:
            self._told_ms = now_ms
            self._look_at_what_holds(now_ms)
            self._seat.look(now_ms)
            self._seat.commands.tell(self._records)
        self._plan(now_ms)
        seq = self._image.now[im.CMD_SEQ]
        if seq == self._seq and 0 <= time.ticks_diff(now_ms, self._stepped_ms) < _AFTER_MS:
            return
        self._seq = seq
        self._stepped_ms = now_ms
        if self._due and self._is_quiet(now_ms):
            self._send()

    def _look_at_what_holds(self, now_ms: int) -> None:
        """What a stop or a person has ended keeps no seat, however long it was to last: the manager knows."""
        for at in range(2):
            if self._holds[at] and time.ticks_diff(self._until[at], now_ms) > _SOON_MS:
                if not (self._seat.limit_left(_OWNER) if at else self._seat.claim_left(_OWNER)):
                    self._holds[at] = 0
                    self._leave()
                    what = "limits have" if at else "setpoint has"
                    say("%s: its %s ended by a stop or a person" % (self._who(), what))

    def _who(self) -> str:
        return "EMS on %s" % self._bus.name

    def _say_refusal(self, now_ms: int) -> None:
        """A refusal in words: the first at once, then one in ten seconds with how many there were."""
        if not self._refused or (self._said and 0 <= time.ticks_diff(now_ms, self._said_ms) < _AGAIN_MS):
            return
        at, result = self._refused >> 4, self._refused & 15
        refused = self._own[fr.OWN_REFUSED]
        text = "%s: %s refused: %s" % (self._who(), "BOUNDS" if at else "SETPOINT", fr.RESULTS.split("\n")[result])
        if result == fr.OUT_OF_RANGE:
            par = self._image.par
            allowed = (0, fr.BOUND_MOST / 1000) if at else (-par[im.PAR_P_CHG] / 1000, par[im.PAR_P_DIS] / 1000)
            text += ": allowed are %s to %s kW" % allowed
        more = (refused - self._said) % _COUNTED
        say(text if more == 1 else "%s (%d since the last line)" % (text, more))
        self._refused = 0
        self._said = refused
        self._said_ms = now_ms

    def _plan(self, now_ms: int) -> None:
        """Which frames are due: at the beginning of a period, and an answer after a command."""
        if self._answering:
            self._answering = False
            self._due |= 1  # ANSWER is the first
        late = time.ticks_diff(now_ms, self._begin_ms)
        if 0 <= late < self._period_ms:
            return
        self._begin_ms = time.ticks_add(self._begin_ms, self._period_ms) if 0 <= late < 2 * self._period_ms else now_ms
        self._periods = (self._periods + 1) % _TURN
        for i in range(len(fr.FRAMES)):
            if (self._periods + i) % fr.FRAMES[i][1] == 0:
                if i and self._due >> i & 1:  # an answer may have become due a moment ago
                    self.skipped = (self.skipped + 1) & 0x3FFFFFFF
                self._due |= 1 << i

    def _is_quiet(self, now_ms: int) -> bool:
        """Nothing waits to be sent, and nothing has just come; a bus that is never quiet is used all the same, seldom."""
        bus = self._bus
        try:
            waiting = bus.can.get_counters(self._counters)[5]
        except OSError:  # the controller is not on its bus
            waiting = 1
        just_now = 0 <= time.ticks_diff(now_ms, bus.last_ms) < _QUIET_MS
        if not waiting and (not just_now or self._busy == _PATIENCE):
            self._busy = 0
            return True
        self._busy = min(self._busy + 1, _PATIENCE)
        self.waited = (self.waited + 1) & 0x3FFFFFFF
        return False

    def _send(self) -> None:
        sent = 0
        for i in range(len(fr.FRAMES)):
            if self._due >> i & 1:
                self._due ^= 1 << i
                frame = fr.FRAMES[i]
                self._fill(frame[2])
                if not self._bus.send(self._base + frame[0], self._data, self._extended):
                    self.skipped = (self.skipped + 1) & 0x3FFFFFFF
                sent += 1
                if sent == self._per_step:
                    return

    def _fill(self, values) -> None:
        """A frame's values as they are between two cycles; what is missing or too old is marked."""
        data = self._data
        now = self._image.now
        own = self._own
        for i in range(8):
            data[i] = 0
        for i in range(0, len(values), 2):
            slot = values[i] >> 7
            old = values[i + 1]
            if old == 1:
                value = own[slot]
                if slot == fr.OWN_ALIVE:
                    own[slot] = (value + 1) % _ALIVE
                elif slot == fr.OWN_CONTROLLER:
                    value = self._controller()
            else:
                value = now[slot]
                if slot == im.FAULTS or slot == im.MISSING:
                    value = self._everywhere(slot)
                elif old and now[old >> 8] > self._image.par[old & 0xFF]:
                    value = NOTHING
            put(data, values[i] & 0x7F, value)

    def _controller(self) -> int:
        """Of the frame CONTROL: whose the control is."""
        if self._forbidden() == fr.LOCAL:
            return _A_PERSON
        seat = self._seat
        if seat.client(self) == 0:
            return _THIS
        return _ANOTHER if seat.is_taken(time.ticks_ms()) else 0

    def who(self, _number: int) -> str:
        """Who commands, in words: for the seat (remote.py)."""
        return self._bus.name

    def _everywhere(self, slot: int) -> int:
        """The bits of the site, and of all its banks where there are several."""
        bits = self._image.now[slot]
        banks = self._image.banks
        for i in range(len(banks)):
            bits |= banks[i].now[slot]
        return bits

    # ---- for people ------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Takes no command from now on; what holds ends by its lifetime."""
        self._stopped = True

    def counters(self) -> dict:
        """The EMS's frames, accepted and refused, what became of the last ones, and the status frames that were late."""
        own = self._own
        words = fr.RESULTS.split("\n")
        return {
            "control": self._control,
            "accepted": own[fr.OWN_ACCEPTED],
            "refused": own[fr.OWN_REFUSED],
            "setpoint": words[own[fr.OWN_SETPOINT_RESULT]],
            "limits": words[own[fr.OWN_BOUNDS_RESULT]],
            "skipped": self.skipped,
            "waited": self.waited,
        }


# ---- the site file ---------------------------------------------------------------------------------------------------


def check_options(where: str, options: dict, errors: list) -> None:
    """What a row cannot say."""
    base = options.get("base_id", 0)
    top = 0x1FFFFFF0 if options.get("extended") else 0x7F0
    if base % 16 or base > top:
        errors.append("%s.base_id = %d: must be a multiple of 16, at most %d" % (where, base, top))
    if options.get("window_ms", 0) > options.get("lifetime_ms", 0) > 0:
        form = "%s.window_ms = %d: must not be above lifetime_ms = %d, or the setpoint ends between two frames that are in time"
        errors.append(form % (where, options["window_ms"], options["lifetime_ms"]))


def check_beside(where: str, options: dict, found) -> None:
    """Beside the buses, devices and other services of a site (sitefile.Checked): its bus, and that no id is another's."""
    name = options.get("bus")
    bus = found.buses.get(name)
    if bus is None or bus.get("type") != "can":
        can = [known for known in sorted(found.buses) if found.buses[known].get("type") == "can"]
        found.errors.append("%s.bus = %r: the CAN buses of this site are %s" % (where, name, ", ".join(can) or "none"))
        return
    if bus.get("silent"):
        found.errors.append("%s.bus = %r: is silent, so nothing can be sent to an EMS" % (where, name))
    if "base_id" not in options or "extended" not in options:
        return  # refused already
    base = options["base_id"]
    extended = options["extended"]
    for device, _, module, given in found.devices:
        if given.get("bus") == name and ((base if extended else base << 18) < _FIRST_FREE or _meets(module, base, extended)):
            form = "%s.base_id = %d: devices.%s is on %s too, and its frames go first: allowed are ids from %d on"
            found.errors.append(form % (where, base, device, name, _FIRST_FREE if extended else _FIRST_FREE >> 18))
    for other, module, given, _ in found.services:
        if where == "services." + other or not hasattr(module, "check_beside"):
            continue
        same = given.get("bus") == name and given.get("extended", False) == extended
        if same and abs(given.get("base_id", 0) - base) < 16:
            found.errors.append("%s.base_id = %d: services.%s has these ids on %s" % (where, base, other, name))
        if options.get("control") and given.get("control"):
            found.errors.append("%s.control: services.%s has it already; one EMS controls over CAN" % (where, other))


def _meets(module, base: int, extended: bool) -> bool:
    """A BMS's table subscribes to one of our ids."""
    if getattr(module, "EXTENDED", False) != extended:
        return False
    for can_id, mask in getattr(module, "SUBSCRIBE", ()):
        for at in range(fr.N_IDS):
            if (base + at) & mask == can_id & mask:
                return True
    return False
