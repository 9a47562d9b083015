"""Moves between the modes inside the cycle: start and stop, faults and restarts, contactors, emergency, maintenance.

Everything here runs under the manager's lock, in the cycle or for a moment from the API; it allocates nothing.
"""

from array import array

from micropython import const

from firmware import faults as ft
from firmware import image as im
from firmware.errors import PowerError
from firmware.event_codes import Event
from firmware.flows import Grid
from firmware.limits import NAMES
from firmware.modes import Mode

_BACKOFF_MAX_MS = const(60000)
_HOUR_S = const(3600)
_FIRST_ROW = NAMES.index("bms_forbids")  # of the battery's, with the inverter's in between
_LAST_ROW = NAMES.index("bms_current")
_PCS_ROW = NAMES.index("pcs")
_REST_MS = const(60000)  # counted so far
_TRAVEL_MS = const(200)  # until a command has reached an inverter behind a slow line
_REST_W = const(300)  # what an inverter at rest takes for itself
# what a step has decided, for the cycle to act on
NOTHING = const(0)
EMERGENCY = const(1)  # an emergency has begun: every claim ends
SPENT = const(2)  # the restarts are used up: the manual operation ends
UNSERVED = const(4)  # a fault has ended service()
CONNECTED = (Mode.IDLE, Mode.CHARGE, Mode.DISCHARGE)  # made once: a tuple in the cycle would allocate


class Supervisor:
    """The mode machine: what moves the modes is decided here, and what follows for claims is returned."""

    def __init__(self, image, fields: dict, events) -> None:  # fields: PowerConfig.whole()
        self._events = events
        self._now = image.now
        self._par = image.par
        self._closed = False  # the contactors are wanted closed
        self._run = False  # the PCS may switch
        self._ends = False  # the program ends
        self._service_ms = 0  # left of service()'s commands
        self.stop_ms = -1  # how long a stop has been ramping down; -1: none is
        self._restart_ms = int(fields["restart_delay"] * 1000)
        self._restart_limit = fields["restart_limit"] if fields["auto_restart"] else 0
        self._restarts_s = array("i", [0] * max(1, self._restart_limit))  # uptime at which each was used up, in turn
        self._restart = 0  # place of the next one
        self._now[im.CAUSE] = -1
        self._trip_mask = 0
        self._comms_mask = 0
        self._overpower = -1  # its row
        for i, row in enumerate(ft.rows()):
            if row[5] == ft.TRIP:
                self._trip_mask |= 1 << i
            if row[0].endswith("_lost"):
                self._comms_mask |= 1 << i
            if row[0] == "overpower":
                self._overpower = i
        self._no_charge_mask = ft.mask(5, ft.NO_CHARGE)
        self._no_discharge_mask = ft.mask(5, ft.NO_DISCHARGE)
        self._emergency_mask = ft.mask(4, ft.EMERGENCY)
        self.enter(Mode.STANDBY)

    # ---- asked for by the API ---------------------------------------------------------------------------

    def want_running(self) -> None:
        """start(): also forgives the restarts used up.  PowerError on the way to the program's end, which has looked already."""
        if self._ends:
            raise PowerError("the program ends: nothing is started any more")
        now = self._now
        now[im.ORDER] = im.ORDER_START
        self.stop_ms = -1
        now[im.TRIPPED] = 0
        now[im.TRIPS] = 0
        now[im.RESTART_MS] = 0
        now[im.DARK_P] = 0

    def want_standby(self, order: int = im.ORDER_STOP) -> None:
        """stop(): ramp down, then STANDBY; at once from MAINTENANCE."""
        self._ends = self._ends or order == im.ORDER_END
        self._now[im.ORDER] = order
        mode = self._now[im.MODE]
        if mode == Mode.MAINTENANCE:
            self.enter(Mode.STANDBY)
        elif mode in CONNECTED:
            self.stop_ms = 0

    def enter_maintenance(self) -> None:
        """From STANDBY or IDLE: everything off until service() says otherwise."""
        self._now[im.ORDER] = im.ORDER_SERVICE
        self.stop_ms = -1
        self._service_ms = 0
        self.enter(Mode.MAINTENANCE)

    def service(self, contactor: bool, pcs: bool, ms: int, bank=None) -> None:
        """MAINTENANCE's low-level commands, for so long; bank: see tripping."""
        self._closed = contactor
        self._run = pcs
        self._service_ms = ms

    def moving(self) -> str:
        """Why MAINTENANCE has to wait: power that is commanded or measured, or nobody who measures it; "" at rest."""
        now = self._now
        known = now[im.AGE + im.SEQ_PCS] <= self._par[im.PAR_STALE_PCS] and now[im.PCS_P] != im.NO_VALUE
        if not known and now[im.CMD_CONTACTOR] == 0 and now[im.MODE] == Mode.STANDBY:
            return ""  # an inverter that is off or broken, behind open contactors: what maintenance is for
        if known and now[im.CMD_P] == 0 and -_REST_W <= now[im.PCS_P] <= _REST_W:
            return ""
        measured = "%d W measured" % now[im.PCS_P] if known else "none measured"
        return "MAINTENANCE needs 0 W: %d W commanded, %s; stop() or stop_operation(), then wait" % (now[im.CMD_P], measured)

    def tripping(self, bank=None) -> int:
        """The active faults that trip; bank: those of the site and of the bank of that name, PowerError where there is none."""
        if bank is not None:
            raise PowerError("bank = %r: this site is one" % (bank,))
        return self._now[im.FAULTS] & self._trip_mask

    def emergency_causes(self) -> int:
        """The faults of severity EMERGENCY that are active, or whose condition still holds."""
        return (self._now[im.FAULTS] | self._now[im.CONDITIONS]) & self._emergency_mask

    def named(self, bits: int) -> str:
        """Those of some faults that are active or whose condition holds, by name."""
        return ", ".join(ft.names(bits & (self._now[im.FAULTS] | self._now[im.CONDITIONS])))

    # ---- transitions ------------------------------------------------------------------------------------

    def enter(self, mode: int) -> None:
        """Go to a mode and set its outputs; the event follows."""
        now = self._now
        running = mode in CONNECTED
        self._closed = running
        self._run = running
        if running:
            now[im.GATE] &= ~im.GATE_CLOSED & ~im.GATE_SERVICE
        elif mode == Mode.MAINTENANCE:
            now[im.GATE] = (now[im.GATE] & ~im.GATE_CLOSED) | im.GATE_SERVICE
        else:
            now[im.GATE] = (now[im.GATE] & ~im.GATE_SERVICE) | im.GATE_CLOSED
            now[im.CMD_P] = 0  # also where the API enters it between two cycles
            now[im.CMD_RUN] = 0
            self.stop_ms = -1
        if mode != Mode.STANDBY:
            now[im.DARK_P] = 0
        if now[im.MODE] != mode:
            now[im.MODE] = mode
            now[im.MODE_S] = now[im.UPTIME_S]
            self._events.post(Event.MODE_CHANGE, mode, now[im.UPTIME_S])

    def enter_emergency(self, cause: int) -> None:
        """0 W at once, EMERGENCY; cause: a row of faults.TABLE, -1 for a command.  Every claim is to end with it."""
        now = self._now
        if now[im.MODE] != Mode.EMERGENCY:
            self.enter(Mode.EMERGENCY)
            now[im.CAUSE] = cause
            self._events.post(Event.EMERGENCY, cause, now[im.UPTIME_S])
        now[im.CMD_P] = 0
        now[im.CMD_RUN] = 0

    def restore_emergency(self, cause: int) -> None:
        """At boot: the emergency latched before the reset still stands."""
        self._now[im.ORDER] = im.ORDER_RESTORED
        self.enter_emergency(cause)

    def faults_changed(self, changed: int) -> int:
        """Post events for the faults that came and went, trip or go to EMERGENCY for the new ones; returns what it decided."""
        decided = NOTHING
        now = self._now
        active = now[im.FAULTS]
        at_s = now[im.UPTIME_S]
        if active & changed & self._trip_mask:
            now[im.FAULT_CMD] = now[im.CMD_P]
            now[im.FAULT_P] = now[im.PCS_P]
            if self._closed or self._run:
                now[im.TRIPPED] = active & changed & self._trip_mask
                now[im.TRIP_S] = at_s
        i = 0
        bit = 1
        while bit <= changed:
            if changed & bit:
                raised = active & bit
                self._events.post(Event.FAULT_RAISED if raised else Event.FAULT_CLEARED, i, at_s)
                if bit & self._comms_mask:
                    self._events.post(Event.COMMS_LOST if raised else Event.COMMS_RESTORED, i, at_s)
                if raised and i == self._overpower:
                    self._events.post(Event.OVERPOWER, _over_power(now), at_s)
                if raised and bit & self._emergency_mask and now[im.MODE] != Mode.EMERGENCY:
                    self.enter_emergency(i)
                    decided |= EMERGENCY
            i += 1
            bit <<= 1
        gate = now[im.GATE] & ~(im.GATE_NO_CHG | im.GATE_NO_DIS)
        if active & self._no_charge_mask:
            gate |= im.GATE_NO_CHG
        if active & self._no_discharge_mask:
            gate |= im.GATE_NO_DIS
        now[im.GATE] = gate
        if active & changed & self._trip_mask and now[im.MODE] in CONNECTED:
            decided |= self._trip()
        return decided

    def bank_changed(self, bank, changed: int) -> int:
        """faults_changed of a bank: the only one is the site."""
        return self.faults_changed(changed)

    def _trip(self) -> int:
        """A fault takes the system to STANDBY; with auto_restart it comes back after a back-off, a capped number of times."""
        self.enter(Mode.STANDBY)
        now = self._now
        if self._restart_limit and self._was_too_much():
            return NOTHING
        trips = now[im.TRIPS] = now[im.TRIPS] + 1
        if trips <= self._restart_limit:
            self._restarts_s[self._restart] = now[im.UPTIME_S]
            self._restart = (self._restart + 1) % self._restart_limit
        else:
            now[im.ORDER] = im.ORDER_SPENT
        wait = self._restart_ms
        for _ in range(trips - 1):
            if wait < _BACKOFF_MAX_MS:
                wait *= 2
        now[im.RESTART_MS] = wait if wait < _BACKOFF_MAX_MS or trips == 1 else _BACKOFF_MAX_MS
        return NOTHING if trips <= self._restart_limit else SPENT  # the next start() is a person's, who says anew what to do

    def _was_too_much(self) -> bool:
        """Overpower in an island, beyond what its battery may take or give: no fault, so it uses up no restart; see _may_serve."""
        now = self._now
        taken = now[im.PCS_P]
        row = now[im.WHY_CHG if taken < 0 else im.WHY_DIS]
        island = now[im.GRID_OK] == 0 and self._par[im.PAR_GRID_TYPE] < Grid.INTERACTIVE
        if not island or now[im.TRIPPED] != 1 << self._overpower or not _FIRST_ROW <= row <= _LAST_ROW or row == _PCS_ROW:
            return False
        now[im.DARK_P] = taken
        now[im.DARK_BY] = row
        now[im.RESTART_MS] = max(self._restart_ms, _BACKOFF_MAX_MS)
        return True

    # ---- every cycle ------------------------------------------------------------------------------------

    def _may_serve(self) -> bool:
        """An island that was left with an empty battery may come back: that may carry it again, there is a grid or a surplus.

        In the dark neither its load nor a sun whose inverters need the island is seen: once in an hour it is tried.
        """
        now = self._now
        par = self._par
        if now[im.GRID_OK] > 0 or now[im.UPTIME_S] - now[im.TRIP_S] >= _HOUR_S:
            return True
        if im.NO_VALUE < now[im.NET_P] < -par[im.PAR_FLOW_P]:
            return True
        least = im.FREE
        for row in range(im.LIMIT_ROWS_DIS + _FIRST_ROW, im.LIMIT_ROWS_DIS + _LAST_ROW + 1):
            if row != im.LIMIT_ROWS_DIS + _PCS_ROW:
                least = min(least, now[row])
        return least >= max(now[im.DARK_P], par[im.PAR_OVER_P])

    def step(self, dt: int) -> int:
        """Advance start, stop, back-off and contactors by dt ms; returns what it decided."""
        decided = NOTHING
        now = self._now
        mode = now[im.MODE]
        now[im.REST_MS] = 0 if now[im.CMD_P] else min(now[im.REST_MS] + dt, _REST_MS)
        if 0 < now[im.TRIPS] <= self._restart_limit:  # each comes back an hour after it was used up
            first_s = self._restarts_s[(self._restart - now[im.TRIPS]) % self._restart_limit]
            if now[im.UPTIME_S] - first_s >= _HOUR_S:
                now[im.TRIPS] -= 1
        if mode == Mode.STANDBY:
            if now[im.FAULTS] & self._trip_mask == 0:
                if now[im.RESTART_MS] > 0:
                    now[im.RESTART_MS] -= dt
                elif now[im.ORDER] == im.ORDER_START and self._alive() and (now[im.DARK_P] <= 0 or self._may_serve()):
                    self.enter(Mode.IDLE)
        elif mode == Mode.MAINTENANCE:
            decided = self._serve(dt)
        elif self.stop_ms >= 0:
            self.stop_ms += dt
            if now[im.CMD_P] == 0 and (self.current_broken() or self.stop_ms > self._par[im.PAR_BREAK_MS]):
                self.enter(Mode.STANDBY)
        elif now[im.CMD_RUN]:
            return decided  # connected, and its outputs are so already
        self._drive(dt)
        return decided

    def _serve(self, dt: int) -> int:
        """MAINTENANCE: let go when service()'s time is over or a fault trips; an inverter that may not switch gets 0 W."""
        now = self._now
        self._service_ms -= dt
        tripping = now[im.FAULTS] & self._trip_mask
        if tripping or self._service_ms <= 0:
            self._service_ms = 0
            self._closed = False
            self._run = False
        if self._run:
            now[im.GATE] &= ~im.GATE_CLOSED
        else:
            now[im.GATE] |= im.GATE_CLOSED  # a limit: at once, in this cycle
        return UNSERVED if tripping else NOTHING

    def follow(self, direction: int) -> None:
        """Let the mode follow the winning claim's direction; CHARGE <-> DISCHARGE rests in IDLE at 0 W for a cycle."""
        mode = self._now[im.MODE]
        if mode in CONNECTED:
            wanted = Mode.IDLE
            if direction < 0:
                wanted = Mode.CHARGE
            elif direction > 0:
                wanted = Mode.DISCHARGE
            if wanted != mode:
                if mode != Mode.IDLE and wanted != Mode.IDLE:
                    if self._now[im.CMD_P] != 0:
                        return
                    wanted = Mode.IDLE
                    self._now[im.REQUEST_P] = 0  # this cycle rests
                elif self._now[im.CMD_P] * direction < 0:
                    return  # in IDLE, the other direction's power is still ramping down
                self.enter(wanted)

    def _alive(self) -> bool:
        """BMS and PCS are received, and what the BMS says is a measurement: not the zeros of one that boots."""
        now = self._now
        par = self._par
        stale = par[im.PAR_STALE_BMS]
        return (
            now[im.AGE + im.SEQ_BMS] <= stale
            and now[im.AGE + im.SEQ_BMS_LIMITS] <= stale
            and now[im.AGE + im.SEQ_PCS] <= par[im.PAR_STALE_PCS]
            and now[im.SOC] != im.NO_VALUE
            and now[im.BMS_V] > 0
        )

    def current_broken(self) -> bool:
        """|I| is under what the contactors may break, by every device that measures it; one that nobody measures is not.

        What was measured before the 0 W reached the inverter says nothing: it may have been on its way up.
        """
        now = self._now
        since_ms = now[im.REST_MS] - _TRAVEL_MS
        par = self._par
        limit = par[im.PAR_BREAK_I]
        heard = False
        if now[im.AGE + im.SEQ_PCS] <= par[im.PAR_STALE_PCS] and now[im.PCS_DC_I] != im.NO_VALUE:
            heard = now[im.AGE + im.SEQ_PCS] <= since_ms
            if not -limit < now[im.PCS_DC_I] < limit:
                return False
        if now[im.AGE + im.SEQ_BMS] <= par[im.PAR_STALE_BMS] and now[im.BMS_I] != im.NO_VALUE:
            heard = heard or now[im.AGE + im.SEQ_BMS] <= since_ms
            if not -limit < now[im.BMS_I] < limit:
                return False
        return heard

    def _drive(self, dt: int) -> None:
        """The outputs: contactors close at once, and open under the break current or after the bounded wait."""
        now = self._now
        if self._closed:
            now[im.CMD_CONTACTOR] = 1
            now[im.OPEN_MS] = 0
        elif now[im.CMD_CONTACTOR]:
            if now[im.OPEN_MS] == 0:
                now[im.OPEN_MS] = 1  # from now on
            else:
                now[im.OPEN_MS] += dt
                if self.current_broken() or now[im.OPEN_MS] > self._par[im.PAR_BREAK_MS]:
                    now[im.CMD_CONTACTOR] = 0
        now[im.CMD_RUN] = 1 if self._run else 0


def _over_power(now) -> int:
    """W that flow beyond the limit."""
    power = now[im.PCS_P]
    return power - now[im.LIMIT_DIS] if power > 0 else -power - now[im.LIMIT_CHG]
