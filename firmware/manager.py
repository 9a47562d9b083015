"""PowerManager: the public API, in people's units, with its checks and its lock.

Behind it are the arbiter (claims and operations, arbiter.py), the supervisor (modes, supervisor.py) and the cycle (cycle.py).
`cycle(now_ms)` is a plain function without I/O, clock or asyncio; it allocates nothing and always finishes.  Every public
method takes the lock for microseconds; callbacks run outside it (events.py).
"""

import _thread
import time

from micropython import const

from firmware import image as im
from firmware import reasons, reports
from firmware import requests as rq
from firmware.arbiter import Arbiter
from firmware.charging import ChargeParams
from firmware.config import PowerConfig, capacity_ah
from firmware.cycle import Cycle
from firmware.discharging import DischargeParams
from firmware.errors import PowerError, in_range
from firmware.event_codes import Event
from firmware.events import Events
from firmware.flows import Grid
from firmware.image import parts
from firmware.modes import Mode, refusal
from firmware.supervisor import Supervisor

_OWNER_MAX = const(64)  # characters of a claim's
_PROGRAMS = rq.SOURCES[rq.REMOTE : rq.REMOTE + 1] + rq.SOURCES[rq.GRID_SERVICE : rq.IDLE]
_AHEAD_MS = const(0x20000000)  # half of the ticks' range


def _check_owner(owner: str) -> None:
    if not isinstance(owner, str) or not 1 <= len(owner) <= _OWNER_MAX:
        raise ValueError("owner = %r: must be a text of 1 to %d characters" % (owner, _OWNER_MAX))


def _check_kw(kw: float, par) -> None:
    in_range("kw", kw, -par[im.PAR_P_CHG] / 1000, par[im.PAR_P_DIS] / 1000, "kW")


def _answer(pm, words) -> str:
    """What a call that was accepted says; it is accepted in a heap without space for words too."""
    try:
        return words(pm.instant())
    except MemoryError:
        return "accepted"


class PowerManager:
    """The power manager of one battery.  Thread-safe; positive power is discharge; kW, V, A, %, minutes."""

    def __init__(self, config=None, image=None, has: int = im.HAS_BMS | im.HAS_PCS) -> None:
        """A manager in STANDBY.  config: a PowerConfig; image: an Image; has: image.HAS_* bits of the site's devices."""
        from firmware import parameters  # here: whoever runs does not need it any more, see loading.py

        if config is None:
            config = PowerConfig()
        if not isinstance(config, PowerConfig):
            raise ValueError("config = %r: must be a PowerConfig" % (config,))
        if image is None:
            config.copy()  # refused where a field was set since to what cannot be; a site file's was made just now
        self.config = config
        fields = config.whole()
        self.image = image or im.Image()
        parameters.apply(fields, self.image.par, has)
        self._lock = self.image.lock
        self.events = Events(self._lock)
        if self.image.divided:
            from firmware import bank_reports, bank_supervisors, banks  # a site of one bank does not load them

            self.bank_view = bank_reports.BankInstant
            several = banks.Several(self.image, has, self.events)
            self.states = bank_supervisors.SiteSupervisor(self.image, fields, self.events, several.banks)
        else:
            several = None
            self.states = Supervisor(self.image, fields, self.events)
        self.arbiter = Arbiter(self.image, capacity_ah(fields), self.events)
        self._cycle = Cycle(self.image, self.arbiter, self.states, self.events, several)
        self._last_ms = -1
        self.lock_wait_us = 0  # the longest the cycle ever waited for the lock
        self.is_local = False  # a person has the control, and no program outside: see remote.Remote
        self.held = 0  # remote.HELD_*: what an EMS has ordered to stand over a reset; resume.py keeps it
        self._remote = None
        self._plan = None  # the Scheduler, loaded when there is something to schedule
        self._run_schedule = None  # scheduling.step, loaded with it
        self.plan_lock = _thread.allocate_lock()  # looking at a schedule takes milliseconds: never under the cycle's lock
        self.clock = None  # the application's wall clock, see clock.Clock
        self.places: dict = {}  # by image.HAS_* bit: (name of the device, where it is reached), for reasons.py
        self.refused = ""  # why the site file was refused
        self.run_memory = None  # what keeps over a reset what runs: settle() stores what stands
        self.emergencies = 0  # commanded since the start: whoever resets his own sees that there is another on top of it
        self.emergency_memory = None  # what keeps an emergency over a reset: settle() stores what stands, True once it is

    # ---- start, stop, modes -----------------------------------------------------------------------------

    def start(self) -> str:
        """Leave STANDBY for IDLE as soon as BMS and PCS are alive and no fault forbids it; ends a manual pause.

        Returns "accepted", and for what it waits.  PowerError in EMERGENCY and MAINTENANCE, and once the program ends.
        """
        with self._lock:
            mode = self.image.now[im.MODE]
            if mode in (Mode.EMERGENCY, Mode.MAINTENANCE):
                raise PowerError(refusal(mode, Mode.IDLE))
            self.states.want_running()
            self.arbiter.end_pause()
            if self._plan is not None:
                self._plan.claimed = None  # an entry whose window it is goes on, as after a reboot
        return _answer(self, reasons.started)

    def stop(self) -> None:
        """End every operation and a pause, ramp to 0 W, open the contactors, STANDBY; in EMERGENCY it ends the pause alone."""
        with self._lock:
            self.arbiter.end_pause()
            self.arbiter.end_all(rq.END_STOP)
            self.states.want_standby()
        self._keep()

    def start_again(self, goal: int = -1, watts: int = 0, target: int = 0, ms: int = 0) -> None:
        """After a reset (resume.py): start() as before it, and the manual operation or pause of that time, if goal is one.

        A target behind requests.BY_PARAMS is that much, and what the parameters of before the reset said: new ones change it.
        """
        with self._lock:
            self.states.want_running()
            self.arbiter.go_on(goal, watts, target, ms)

    def going_on(self) -> tuple:
        """For resume.py, of one instant: image.ORDER, who is asked for, and the manual claim's ms left, W, goal and target.

        The target is as start_again takes it.
        """
        with self._lock:
            now = self.image.now
            left, watts, goal, target = self.arbiter.going_on()
            return now[im.ORDER], now[im.REQUEST_BY], left, watts, goal, target

    def lasting_limit(self) -> "list[int]":
        """For resume.py: a person's limit without an end, W of discharge and of charge, image.FREE for none."""
        with self._lock:
            return self.arbiter.curtailments.lasting(rq.PERSON)

    def _keep(self) -> None:
        """Outside the lock: that a reset does not start it again, nor without its limit, is stored before the call answers."""
        if self.run_memory is not None:
            self.run_memory.settle()

    @property
    def mode(self) -> int:
        """What the system is doing now, a Mode."""
        return self.image.now[im.MODE]

    def set_mode(self, mode: int) -> "str | None":
        """Ask for a Mode: IDLE pauses (stop_operation), CHARGE and DISCHARGE start with default parameters.

        Returns what those calls return.  PowerError with the reason where the transition table refuses it.
        """
        Mode.name(mode)
        with self._lock:
            now = self.image.now[im.MODE]
            why = refusal(now, mode)
            if why and not (mode == Mode.IDLE and now == Mode.STANDBY):
                raise PowerError(why)
            if mode == Mode.MAINTENANCE:  # at once: let go here, another thread might start an operation
                moving = self.states.moving()
                if moving:
                    raise PowerError(moving)
                self.arbiter.end_pause()
                self.arbiter.let_go()
                self.states.enter_maintenance()
        if mode == Mode.MAINTENANCE:
            self._keep()
        if mode == Mode.IDLE:
            return self.start() if now == Mode.STANDBY else self.stop_operation()
        if mode == Mode.CHARGE:
            return self.start_charging()
        if mode == Mode.DISCHARGE:
            return self.start_discharging()
        if mode == Mode.STANDBY:
            self.stop()
        elif mode == Mode.EMERGENCY:
            self.emergency_shutdown()
        return None

    # ---- operations -------------------------------------------------------------------------------------

    def set_charge_params(self, params: ChargeParams) -> None:
        """How to charge from now on, a running charge included: takes a copy.

        ValueError if it is no ChargeParams; PowerError if a field is out of range, its target_soc also above max_soc.
        """
        if not isinstance(params, ChargeParams):
            raise ValueError("params = %r: must be a ChargeParams" % (params,))
        params = params.copy()
        highest = self.image.par[im.PAR_SOC_MAX] / 100
        in_range("target_soc of the ChargeParams", params.target_soc, 0, highest, "% (at most max_soc)")
        charger = self.arbiter.charger(params)
        with self._lock:
            self.arbiter.take_charge_params(params, charger)

    def set_discharge_params(self, params: DischargeParams) -> None:
        """How far to discharge from now on, a running discharge included: takes a copy.

        ValueError if it is no DischargeParams, PowerError if a field is out of range.
        """
        if not isinstance(params, DischargeParams):
            raise ValueError("params = %r: must be a DischargeParams" % (params,))
        params = params.copy()
        with self._lock:
            self.arbiter.take_discharge_params(params)

    def start_charging(self, target_soc: float = 0.0, minutes: int = 0) -> str:
        """Charge by the ChargeParams to target_soc % (0: theirs, or max_soc) for minutes (0: their timeout, or no end).

        PowerError if out of range or not now.  Returns, as all operations, "accepted", and what has priority or limits it.
        """
        in_range("target_soc", target_soc, 0, self.image.par[im.PAR_SOC_MAX] / 100, "% (0: default; at most max_soc)")
        minutes = in_range("minutes", minutes, 0, rq.MINUTES_MAX, "min", int)
        target = rq.BY_PARAMS if target_soc == 0 else parts(target_soc, 100)
        return self._operate(-1, rq.CHARGE, self.image.par[im.PAR_P_CHG], minutes, target)

    def start_discharging(self, kw: float = 0.0, minutes: int = 0) -> str:
        """Discharge with kw at the AC terminals (0: the maximum) for minutes (0: the parameters' timeout, or no end).

        Only exactly 0 is the maximum: less than 1 W is 0 W.
        """
        most = self.image.par[im.PAR_P_DIS]
        in_range("kw", kw, 0, most / 1000, "kW")
        minutes = in_range("minutes", minutes, 0, rq.MINUTES_MAX, "min", int)
        watts = most if kw == 0 else parts(kw, 1000)
        return self._operate(1, rq.DISCHARGE, watts, minutes, 0)

    def set_constant_power(self, kw: float, minutes: int = 0) -> str:
        """Hold kw at the AC terminals (+ discharge, - charge) for minutes (0: no end), inside every limit."""
        _check_kw(kw, self.image.par)
        minutes = in_range("minutes", minutes, 0, rq.MINUTES_MAX, "min", int)
        watts = parts(abs(kw), 1000)
        return self._operate(-1 if kw < 0 else 1, rq.POWER, watts, minutes, 0)

    def _operate(self, sign: int, goal: int, watts: int, minutes: int, target: int) -> str:
        with self._lock:
            mode = self.image.now[im.MODE]
            why = refusal(mode, Mode.CHARGE if sign < 0 else Mode.DISCHARGE)
            if why:
                raise PowerError(why)
            if self.states.stop_ms >= 0:
                raise PowerError("stop() is under way: start() it first")
            if goal != rq.CHARGE:
                watts *= sign
            self.arbiter.operate(goal, watts, minutes, target)
        return _answer(self, reasons.accepted)

    def stop_operation(self, minutes: int = 0) -> str:
        """Ramp to 0 W and hold it against every lower source for minutes (0: until resume() or a new operation)."""
        minutes = in_range("minutes", minutes, 0, rq.MINUTES_MAX, "min", int)
        with self._lock:
            self.arbiter.pause(minutes * 60000 or rq.FOREVER)
        self._keep()
        return _answer(self, reasons.accepted)

    def resume(self) -> None:
        """End the manual operation or pause: the next claim below takes over."""
        with self._lock:
            self.arbiter.take_back(rq.MANUAL)

    def claim(self, source: str, kw: float, seconds: float, owner: str) -> None:
        """A setpoint of a program: "remote", "grid_service", "schedule" or "optimiser"; it ends unless its owner renews it in time.

        Of several owners of one source the newest wins; when its claim ends, the one before takes over.
        """
        if source not in _PROGRAMS or (self.is_local and source == "remote"):
            why = " while a person has the control (local)" if self.is_local else ""
            raise PowerError("source = %r: allowed are %s%s" % (source, ", ".join(_PROGRAMS[self.is_local :]), why))
        _check_kw(kw, self.image.par)
        in_range("seconds", seconds, 0.1, 86400, "s")
        _check_owner(owner)
        with self._lock:
            self.arbiter.claims.put(rq.SOURCES.index(source), parts(kw, 1000), int(seconds * 1000), rq.POWER, 0, owner)

    def release(self, source: str, owner: "str | None" = None) -> None:
        """End an owner's claim, or without one all claims of a source, but what is not a program's: an entry of the schedule, and a
        person's pause.  PowerError for the pause, and if there is no such source.
        """
        if source not in rq.SOURCES[: rq.IDLE]:
            raise PowerError("source = %r: allowed are %s" % (source, ", ".join(rq.SOURCES[: rq.IDLE])))
        if owner is not None:
            _check_owner(owner)
        number = rq.SOURCES.index(source)
        with self._lock:
            if number == rq.MANUAL and owner in (None, self.arbiter.claims.owners[number]):
                left, _, goal, _ = self.arbiter.going_on()
                if left and goal == rq.PAUSE:
                    raise PowerError("source = 'manual': only resume() ends a person's pause")
            self.arbiter.take_back(number, owner)

    def claims(self) -> "list[dict]":
        """Every live claim, the one that wins first: source, owner, kw, seconds_left, goal."""
        with self._lock:
            table, owners = self.arbiter.claims.told(), self.arbiter.claims.owners[:]
        return rq.listed(table, owners)

    @property
    def remote(self):
        """What programs outside use, and who of them controls: a remote.Remote, made when first asked for."""
        if self._remote is None:
            from firmware.remote import Remote  # a site that nobody commands from outside does not load it

            self._remote = Remote(self)
        return self._remote

    # ---- maintenance ------------------------------------------------------------------------------------

    def service(self, contactor: bool = False, pcs: bool = False, kw: float = 0.0, seconds: float = 10.0, bank=None) -> None:
        """MAINTENANCE only: close the contactors, let the PCS switch, and one small setpoint; all of it ends after `seconds`.

        bank: the name of the one of several that is served, with the others off; None: all.  A fault that trips ends it at
        once.  PowerError in other modes, while such a fault is active, and if there is no such bank.
        """
        cap = self.image.par[im.PAR_SERVICE_P] / 1000
        in_range("contactor", contactor, 0, 1, "", bool)
        in_range("pcs", pcs, 0, 1, "", bool)
        in_range("kw", kw, -cap, cap, "kW (service_power)")
        in_range("seconds", seconds, 0.1, 60, "s")
        with self._lock:
            if self.image.now[im.MODE] != Mode.MAINTENANCE:
                raise PowerError("service commands need MAINTENANCE, the mode is %s" % Mode.name(self.image.now[im.MODE]))
            if kw and not (contactor and pcs):
                raise PowerError("kw = %s: needs contactor=True and pcs=True" % kw)
            tripping = self.states.tripping(bank)
            if tripping and (contactor or pcs):
                raise PowerError("service() closes nothing during fault %s" % self.states.named(tripping))
            ms = int(seconds * 1000)
            self.states.service(contactor, pcs, ms, bank)
            self.arbiter.claims.put(rq.MAINTENANCE, parts(kw, 1000), ms, rq.POWER, 0, "service")

    def halt(self) -> None:
        """The program ends: every claim dropped, 0 W at once without a ramp, the contactors open as soon as they may."""
        with self._lock:
            self.arbiter.end_pause()
            self.arbiter.let_go()
            self.states.want_standby(im.ORDER_END)
            if self.image.now[im.MODE] not in (Mode.STANDBY, Mode.EMERGENCY):
                self.states.enter(Mode.STANDBY)

    # ---- emergency --------------------------------------------------------------------------------------

    def emergency_shutdown(self) -> bool:
        """0 W at once, contactors open, latched until reset_emergency().

        True: it is stored, and stands again after a reset.  False: it could not be stored (or nothing here stores it); it
        stands until a reset, and storing it is tried again.
        """
        with self._lock:
            self.arbiter.end_all(rq.END_EMERGENCY)
            self.states.enter_emergency(-1)
            self.emergencies += 1
        # outside the lock: flash takes longer than the cycle may wait
        return self.emergency_memory is not None and self.emergency_memory.settle()

    def restore_emergency(self, cause: int) -> None:
        """At boot: the emergency latched before the reset still stands."""
        with self._lock:
            self.arbiter.end_all(rq.END_EMERGENCY)
            self.states.restore_emergency(cause)

    def reset_emergency(self) -> bool:
        """Leave EMERGENCY for STANDBY.  PowerError while a cause stands (it names it), or if there is no emergency.

        True: that it is over is stored too.  False: a reset before it could be stored brings the emergency back.
        """
        with self._lock:
            if self.image.now[im.MODE] != Mode.EMERGENCY:
                raise PowerError("there is no emergency to reset, the mode is %s" % Mode.name(self.image.now[im.MODE]))
            causes = self.states.emergency_causes()
            if causes:
                raise PowerError("the emergency cannot be reset while its cause stands: %s" % self.states.named(causes))
            self.states.want_standby(im.ORDER_RESET)
            self.states.enter(Mode.STANDBY)
        return self.emergency_memory is not None and self.emergency_memory.settle()

    @property
    def emergency_cause(self) -> int:
        """What led to EMERGENCY: a row of faults.TABLE, -1 for a command; `emergency_reason` has it in words."""
        return self.image.now[im.CAUSE]

    @property
    def emergency_reason(self) -> str:
        """What led to EMERGENCY, in words, also after a reset of the controller; "" while there is none."""
        return reasons.emergency(self.instant()) if self.is_emergency else ""

    @property
    def is_emergency(self) -> bool:
        """EMERGENCY is latched."""
        return self.image.now[im.MODE] == Mode.EMERGENCY

    # ---- configuration at run time ----------------------------------------------------------------------

    def set_grid_connection(self, grid: int) -> None:
        """Change the Grid connection type, from the next cycle."""
        Grid.name(grid)
        with self._lock:
            self.config.grid_connection = grid
            self.image.par[im.PAR_GRID_TYPE] = grid
            self.events.post(Event.CONFIG_CHANGED, 0, self.image.now[im.UPTIME_S])

    @property
    def grid_connection(self) -> int:
        """The Grid connection type."""
        return self.image.par[im.PAR_GRID_TYPE]

    def update_power_limits(
        self, soc: float, max_charge_current: float, max_discharge_current: float, voltage=None, current=None, temperature=None
    ) -> None:
        """For a site whose BMS is read by other code: SoC in % and current limits in A, as a BMS driver would write them.

        They age like any measurement: not renewed within three BMS periods they are missing and the limit is 0 W.  With
        voltage (V), current (A, + discharge) and temperature (degC) all given no BMS driver is needed; without, those
        must come from one, and a dead one stays dead.
        """
        if self.image.divided:
            raise PowerError("update_power_limits() is for a site of one battery; this one has several")
        in_range("soc", soc, 0, 100, "%")
        in_range("max_charge_current", max_charge_current, 0, 1000, "A")
        in_range("max_discharge_current", max_discharge_current, 0, 1000, "A")
        whole = voltage is not None and current is not None and temperature is not None
        if whole:
            in_range("voltage", voltage, 1, 1500, "V")
            in_range("current", current, -1000, 1000, "A (+ discharge)")
            in_range("temperature", temperature, -50, 120, "degC")
        elif not (voltage is None and current is None and temperature is None):
            raise PowerError("voltage %s, current %s, temperature %s: give all three or none" % (voltage, current, temperature))
        with self._lock:
            inp = self.image.inp
            inp[im.BMS_SOC] = int(soc * 100 + 0.5)
            inp[im.BMS_I_CHG] = int(max_charge_current * 10)
            inp[im.BMS_I_DIS] = int(max_discharge_current * 10)
            self.image.heard(im.SEQ_BMS_LIMITS)
            if whole:
                inp[im.BMS_V] = int(voltage * 10 + 0.5)
                inp[im.BMS_I] = int(current * 10)
                inp[im.BMS_TEMP] = int(temperature * 10)
                self.image.heard(im.SEQ_BMS)

    def accept_soc(self) -> None:
        """Believe the BMS's state of charge from now on, and forget what was counted.  PowerError if there is none."""
        with self._lock:
            now = self.image.now
            if now[im.BMS_SOC] == im.NO_VALUE or now[im.SOC] == im.NO_VALUE:
                raise PowerError("the BMS reports no state of charge that could be accepted")
            for bank in self.image.banks:
                bank.now[im.SOC_DRIFT] = 0

    # ---- schedules --------------------------------------------------------------------------------------

    @property
    def planned(self):
        """The Scheduler where there is something to schedule, else None: asking loads nothing."""
        return self._plan

    @property
    def plan(self):
        """The Scheduler behind the schedule calls (scheduler.py), made when first asked for."""
        if self._plan is None:
            from firmware import scheduling  # a site without an entry does not load it
            from firmware.scheduler import Scheduler

            self._plan = Scheduler()
            self._run_schedule = scheduling.step
        return self._plan

    def add_schedule(self, entry) -> int:
        """Add a copy of a ScheduleEntry; its id.  PowerError when 16 are in use, ValueError if it is none."""
        if not hasattr(entry, "duration_minutes"):
            raise ValueError("entry = %r: must be a ScheduleEntry" % (entry,))
        entry.check_fits(self.image.par)
        with self.plan_lock:
            entry_id = self.plan.add(entry)
        from firmware import scheduling  # which came with the plan

        scheduling.say_wait(self, entry_id)
        return entry_id

    def update_schedule(self, entry_id: int, entry) -> None:
        """Put an entry in this one's place.  PowerError when there is no such id."""
        if not hasattr(entry, "duration_minutes"):
            raise ValueError("entry = %r: must be a ScheduleEntry" % (entry,))
        entry.check_fits(self.image.par)
        with self.plan_lock:
            self.plan.update(entry_id, entry)
        from firmware import scheduling  # which came with the plan

        scheduling.say_wait(self, entry_id)

    def delete_schedule(self, entry_id: int) -> None:
        """Remove an entry; what it was running ends.  PowerError when there is no such id."""
        with self.plan_lock:
            self.plan.delete(entry_id)

    def get_schedule(self, entry_id: int):
        """A copy of the entry.  PowerError when there is no such id."""
        with self.plan_lock:
            return self.plan.get(entry_id)

    def schedules(self) -> list:
        """[(id, copy of the entry)], by id."""
        with self.plan_lock:
            return [] if self._plan is None else self._plan.entries()

    def enable_scheduling(self, on: bool) -> None:
        """Let the schedule run, or stop it; entries keep their own `enabled`."""
        in_range("on", on, 0, 1, "", bool)
        with self.plan_lock:
            self.plan.enable(on)

    @property
    def scheduling_enabled(self) -> bool:
        """Whether the schedule runs."""
        return self._plan is None or self._plan.enabled

    def upcoming(self, n: int = 5) -> "list[dict]":
        """What will start next, soonest first: id, start (local time), minutes, mode, power_kw.  Empty without a clock."""
        in_range("n", n, 1, 100, "", int)
        if self.clock is None or self._plan is None:
            return []
        with self.plan_lock:
            return self.plan.upcoming(n, self.clock)

    def run_schedule(self) -> None:
        """Let the schedule claim power by the clock; the application calls it once a second."""
        if self._plan is not None and self.clock is not None:
            self._run_schedule(self)

    def clock_was_set(self, by_s: int) -> None:
        """Post CLOCK_SET: the wall clock was set, or stepped by so many seconds."""
        with self._lock:
            self.events.post(Event.CLOCK_SET, by_s, self.image.now[im.UPTIME_S])

    def take_schedule(self, claim: "tuple | None", events: list, how: int) -> None:
        """scheduling.step's way to claims and events: claim is None (leave it), () (drop it: how) or Claims.put's arguments."""
        with self._lock:
            if claim is not None:
                self.arbiter.schedule(claim, how)
            at_s = self.image.now[im.UPTIME_S]
            for event, entry_id in events:  # allocates nothing: once the claim is put, all of it is done
                self.events.post(event, entry_id, at_s)

    # ---- what people see --------------------------------------------------------------------------------

    def stats(self) -> dict:
        """Everything at one instant; keys and units in reports.stats."""
        return reports.stats(self.instant())

    def instant(self) -> reports.Instant:
        """Copies of what words and figures are made of."""
        with self._lock:
            return reports.Instant(self, self.image.now[: im.LIMIT_ROWS_DIS], self.image.par[:], self.arbiter)

    def faults(self) -> "list[dict]":
        """Every fault that is active or has ever been raised since boot: name, severity, active, times raised.

        An active one says more in "detail" where there is more to say.  What an EMERGENCY is latched by has "latched": True
        and is told in "detail", also after a reset of the controller; commanded, it is named "commanded".
        """
        view = self.instant()
        return reports.fault_list(view, self._cycle)

    def fault_counts(self) -> dict:
        """{fault: times raised since boot}, of those ever raised."""
        return reports.fault_counts(self.instant(), self._cycle)

    def banks(self) -> "list[dict]":
        """Each of several banks in a few figures: name, mode, soc, power, command, limits with why, faults, reason; [] of one."""
        return [bank.figures() for bank in self.instant().banks]

    def limit(self, owner: str, discharge_kw: "float | None" = None, charge_kw: "float | None" = None, seconds: float = 0) -> None:
        """Bound the power for an owner, on top of all others: the smallest binds, and its owner is the reason people read.

        None frees that direction; both None end it.  The limits hold for so many seconds (0: until the owner's next call); a
        program that may die renews them in time.  PowerError when eight owners have given limits.
        """
        _check_owner(owner)
        in_range("seconds", seconds, 0, 86400, "s (0: until the next call)")
        for name, kw in (("discharge_kw", discharge_kw), ("charge_kw", charge_kw)):
            if kw is not None:
                in_range(name, kw, 0, 1000, "kW")
        discharge = im.FREE if discharge_kw is None else parts(discharge_kw, 1000)
        charge = im.FREE if charge_kw is None else parts(charge_kw, 1000)
        ms = rq.FOREVER if seconds == 0 else max(1, parts(seconds, 1000))  # only exactly 0 has no end
        with self._lock:
            self.arbiter.curtailments.put(owner, discharge, charge, ms)
            self.arbiter.curtail(0)
        if owner == rq.PERSON:
            self._keep()

    def curtail(self, discharge_kw: "float | None" = None, charge_kw: "float | None" = None, seconds: float = 0.0) -> None:
        """limit() of an EMS that is the only one: its owner is "curtail()"."""
        self.limit("curtail()", discharge_kw, charge_kw, seconds)

    def curtailments(self) -> "list[dict]":
        """Every live limit that has an owner: owner, discharge_kw, charge_kw (None: not bounded), seconds_left (None: no end)."""
        with self._lock:
            table, owners = self.arbiter.curtailments.told(), self.arbiter.curtailments.owners[:]
        return rq.limits_listed(table, owners)

    def register_callback(self, event: int, fn, user_data=None) -> None:
        """Call fn(event, event_data, user_data) for an Event, or for all (Event.ALL).  fn is plain or async."""
        self.events.register(event, fn, user_data)

    def unregister_callback(self, event: int, fn) -> None:
        """Undo a registration; PowerError if there is none."""
        self.events.unregister(event, fn)

    # ---- the cycle --------------------------------------------------------------------------------------

    def cycle(self, now_ms: int) -> int:
        """One control cycle at time.ticks_ms() now_ms: from frozen inputs to the command slot, allocating nothing.

        Gives the watts it commands.
        """
        asked = time.ticks_us()
        with self._lock:
            waited = time.ticks_diff(time.ticks_us(), asked)
            if waited > self.lock_wait_us:
                self.lock_wait_us = waited
            dt = (now_ms - self._last_ms) & 0x3FFFFFFF  # ticks wrap at 2**30, also where the host's do not
            if self._last_ms < 0 or dt >= _AHEAD_MS:
                dt = 0
            self._last_ms = now_ms
            self._cycle.run(dt)
            return self.image.now[im.CMD_P]
