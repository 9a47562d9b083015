"""PowerManager: the public API, its lock, and the cycle that decides how many watts flow.

`cycle(now_ms)` is a plain function without I/O, clock or asyncio: freeze, diagnose, mode, request, limits, ramp,
command, events.  It allocates nothing and always finishes.  Every public method takes the lock for microseconds;
callbacks run outside it (events.py).
"""

import _thread
import time
from array import array

from micropython import const
from notice import say

from firmware import image as im
from firmware import parameters, reasons
from firmware import requests as rq
from firmware.charging import DONE_BAND, ChargeParams, Charger
from firmware.config import PowerConfig
from firmware.discharging import DischargeParams, Discharger
from firmware.errors import PowerError, in_range
from firmware.event_codes import Event
from firmware.events import Events
from firmware.faults import EMERGENCY, SEVERITIES, debounce_rows, names, rows
from firmware.flows import Grid
from firmware.kernel import (
    battery_limits,
    diagnosis,
    flow,
    inputs,
    ramp,
    requests,
    site_limits,
    site_power,
    soc,
)
from firmware.modes import Mode, refusal
from firmware.reports import Instant
from firmware.reports import stats as _stats
from firmware.supervisor import Supervisor
from firmware.units import parts

_MINUTES_MAX = const(10080)  # a week
_OWNER_MAX = const(64)  # characters of a claim's
_LIMIT_DEBOUNCE_MS = const(1000)
_FLOW_DEBOUNCE_MS = const(200)  # two readings of the meters
_ENDED_MS = const(60000)  # a BMS that gives nothing near the end for so long has ended the operation
_NO_CAUSE = const(-2)
_AHEAD_MS = const(0x20000000)  # half of the ticks' range
_FORCE_CHARGE = "bms force charge"  # 5 % of the rating, inside every limit
_FORCE_AGAIN = const(500)  # 0.01 %: it ends at the ceiling, whatever the BMS says, and begins so far below it


def _check_owner(owner: str) -> None:
    if not isinstance(owner, str) or not 1 <= len(owner) <= _OWNER_MAX:
        raise ValueError("owner = %r: must be a text of 1 to %d characters" % (owner, _OWNER_MAX))


class PowerManager:
    """The power manager of one battery.  Thread-safe; positive power is discharge; kW, V, A, %, minutes."""

    def __init__(self, config=None, image=None, has: int = im.HAS_BMS | im.HAS_PCS) -> None:
        """A manager in STANDBY.  config: a PowerConfig; image: an Image; has: image.HAS_* bits of the site's devices."""
        if config is None:
            config = PowerConfig()
        if not isinstance(config, PowerConfig):
            raise ValueError("config = %r: must be a PowerConfig" % (config,))
        self.config = config
        self.image = image or im.Image()
        par = self.image.par
        parameters.apply(config, par, has)
        self._lock = self.image.lock
        self.events = Events(self._lock)
        self._claims = rq.Claims()
        self._charge_params = ChargeParams()
        self._discharge_params = DischargeParams()
        self._charger = Charger(self._charge_params, self.config.capacity_ah())
        self._discharger = Discharger()
        self._target = self._target_of(self._charge_params)
        self._apply_params()
        self._fault_rows = debounce_rows()
        self._n_faults = len(self._fault_rows) // 3
        self._fault_state = array("i", self._fault_rows)  # as long: three numbers for each
        for i in range(len(self._fault_state)):
            self._fault_state[i] = 0
        self._states = Supervisor(self)
        self._last_ms = -1
        self._active = rq.IDLE  # the source whose operation runs
        self._begun_s = 0  # uptime at which the manual operation was asked for
        self._timed_by_params = False  # it ends by its parameters' timeout
        self._parted = False  # BMS and counter parted when the operation began
        self._was_limit = -1
        self._limit_ms = 0
        self._was_flow = 0
        self._flow_ms = 0
        self._was_grid = -1
        self._serves_island = False  # the load of an island decides the power
        self.lock_wait_us = 0  # the longest the cycle ever waited for the lock
        self._plan = None  # the Scheduler, loaded when there is something to schedule
        self._run_schedule = None  # scheduling.step, loaded with it
        self.plan_lock = _thread.allocate_lock()  # looking at a schedule takes milliseconds: never under the cycle's lock
        self.clock = None  # the application's wall clock, see clock.Clock
        self.places: dict = {}  # by image.HAS_* bit: (name of the device, where it is reached), for reasons.py
        self.refused = ""  # why the site file was refused
        self.run_memory = None  # what keeps over a reset what runs: settle() stores what stands
        self.emergency_memory = None  # what keeps an emergency over a reset: settle() stores what stands, True once it is
        self._curtailed = rq.Curtailments()
        self._curtail(0)
        par[im.OP_SOC_MAX] = im.FREE

    def _apply_params(self) -> None:
        """Turn the operation parameters into the cycle's integers."""
        par = self.image.par
        charge = self._charge_params
        discharge = self._discharge_params
        for slot, value, scale in (
            (im.OP_P_CHG, charge.charge_power_max, 1000),
            (im.OP_I_CHG, charge.charge_current_max, 10),
            (im.OP_V_MAX, charge.charge_voltage_max, 10),
            (im.OP_P_DIS, discharge.discharge_power_max, 1000),
            (im.OP_I_DIS, discharge.discharge_current_max, 10),
            (im.OP_V_MIN, discharge.min_voltage, 10),
            (im.OP_SOC_MIN, discharge.min_soc, 100),
        ):
            par[slot] = im.FREE if value == 0 else parts(value, scale)

    def _target_of(self, params: ChargeParams) -> int:
        """The SoC to which these parameters charge, in 0.01 %."""
        return self.image.par[im.PAR_SOC_MAX] if params.target_soc == 0 else parts(params.target_soc, 100)

    # ---- start, stop, modes -----------------------------------------------------------------------------

    def start(self) -> str:
        """Leave STANDBY for IDLE as soon as BMS and PCS are alive and no fault forbids it; ends a manual pause.

        Returns "accepted", and for what it waits.  PowerError in EMERGENCY and MAINTENANCE.
        """
        with self._lock:
            mode = self.image.now[im.MODE]
            if mode in (Mode.EMERGENCY, Mode.MAINTENANCE):
                raise PowerError(refusal(mode, Mode.IDLE))
            if self._claims.table[rq.MANUAL * 4 + 2] == rq.PAUSE:
                self._claims.drop(rq.MANUAL)
            self._states.want_running()
            if self._plan is not None:
                self._plan.claimed = None  # an entry whose window it is goes on, as after a reboot
        return self._answer(reasons.started)

    def stop(self) -> None:
        """End every operation, ramp to 0 W, open the contactors, STANDBY.  No effect in EMERGENCY."""
        with self._lock:
            self.note_end(rq.END_STOP)
            self._claims.drop_all()
            self._states.want_standby()
        self._keep()

    def start_again(self, goal: int = -1, watts: int = 0, target: int = 0, ms: int = 0) -> None:
        """After a reset (resume.py): start() as before it, and the manual operation or pause of that time, if goal is one.

        A target behind requests.BY_PARAMS is that much, and what the parameters of before the reset said: new ones change it.
        """
        with self._lock:
            self._states.want_running()
            if target > rq.BY_PARAMS:
                self._target = target - rq.BY_PARAMS
                target = rq.BY_PARAMS
            if goal >= 0:
                self._timed_by_params = goal in (rq.CHARGE, rq.DISCHARGE)  # one with an end of its own does not go on
                self._begun_s = self.image.now[im.UPTIME_S]
                self._claims.put(rq.MANUAL, watts, ms, goal, target, "pause" if goal == rq.PAUSE else "manual")

    def going_on(self) -> tuple:
        """For resume.py, of one instant: image.ORDER, who is asked for, and the manual claim's ms left, W, goal and target.

        The target is as start_again takes it.
        """
        with self._lock:
            now = self.image.now
            left, watts, goal, target = self._claims.table[rq.MANUAL * 4 : rq.MANUAL * 4 + 4]
            if target == rq.BY_PARAMS and self._target != self.image.par[im.PAR_SOC_MAX]:
                target += self._target  # the parameters do not outlive a reset
            return now[im.ORDER], now[im.REQUEST_BY], left, watts, goal, target

    def _keep(self) -> None:
        """Outside the lock: that a reset does not start it again is stored before the call answers."""
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
                moving = self._states.moving()
                if moving:
                    raise PowerError(moving)
                self._claims.drop_all()
                self._states.enter_maintenance()
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
        """How to charge from now on, a running charge included.

        ValueError if it is no ChargeParams; PowerError if its target_soc is above max_soc.
        """
        if not isinstance(params, ChargeParams):
            raise ValueError("params = %r: must be a ChargeParams" % (params,))
        highest = self.image.par[im.PAR_SOC_MAX] / 100
        in_range("target_soc of the ChargeParams", params.target_soc, 0, highest, "% (at most max_soc)")
        charger = Charger(params, self.config.capacity_ah())
        with self._lock:
            charger.go_on(self._charger)
            self._charge_params = params
            self._charger = charger
            self._target = self._target_of(params)
            self._apply_params()
            self._retime(rq.CHARGE, params.timeout_minutes)

    def set_discharge_params(self, params: DischargeParams) -> None:
        """How far to discharge from now on, a running discharge included.  ValueError if it is no DischargeParams."""
        if not isinstance(params, DischargeParams):
            raise ValueError("params = %r: must be a DischargeParams" % (params,))
        with self._lock:
            self._discharge_params = params
            self._apply_params()
            self._retime(rq.DISCHARGE, params.timeout_minutes)

    def _retime(self, goal: int, minutes: int) -> None:
        """New parameters' timeout for the manual operation that runs by their timeout, counted from its beginning."""
        table = self._claims.table
        if not self._timed_by_params or not table[rq.MANUAL * 4] or table[rq.MANUAL * 4 + 2] != goal:
            return
        left_s = minutes * 60 - (self.image.now[im.UPTIME_S] - self._begun_s)
        table[rq.MANUAL * 4] = max(1, left_s * 1000) if minutes else rq.FOREVER

    def start_charging(self, target_soc: float = 0.0) -> str:
        """Charge by the ChargeParams to target_soc % (0: theirs, or max_soc).  PowerError if out of range or not now.

        Returns, as every operation does, "accepted", and what has priority or limits it at present.
        """
        in_range("target_soc", target_soc, 0, self.image.par[im.PAR_SOC_MAX] / 100, "% (0: default; at most max_soc)")
        target = rq.BY_PARAMS if target_soc == 0 else parts(target_soc, 100)
        return self._operate(-1, rq.CHARGE, self.image.par[im.PAR_P_CHG], 0, target)

    def start_discharging(self, kw: float = 0.0, minutes: int = 0) -> str:
        """Discharge with kw at the AC terminals (0: the maximum) for minutes (0: the parameters' timeout, or no end).

        Only exactly 0 is the maximum: less than 1 W is 0 W.
        """
        most = self.image.par[im.PAR_P_DIS]
        in_range("kw", kw, 0, most / 1000, "kW")
        in_range("minutes", minutes, 0, _MINUTES_MAX, "min", int)
        watts = most if kw == 0 else parts(kw, 1000)
        return self._operate(1, rq.DISCHARGE, watts, minutes, 0)

    def set_constant_power(self, kw: float, minutes: int = 0) -> str:
        """Hold kw at the AC terminals (+ discharge, - charge) for minutes (0: no end), inside every limit."""
        self._check_kw(kw)
        in_range("minutes", minutes, 0, _MINUTES_MAX, "min", int)
        watts = parts(abs(kw), 1000)
        return self._operate(-1 if kw < 0 else 1, rq.POWER, watts, minutes, 0)

    def _check_kw(self, kw: float) -> None:
        par = self.image.par
        in_range("kw", kw, -par[im.PAR_P_CHG] / 1000, par[im.PAR_P_DIS] / 1000, "kW")

    def _operate(self, sign: int, goal: int, watts: int, minutes: int, target: int) -> str:
        with self._lock:
            mode = self.image.now[im.MODE]
            why = refusal(mode, Mode.CHARGE if sign < 0 else Mode.DISCHARGE)
            if why:
                raise PowerError(why)
            if self._states.stop_ms >= 0:
                raise PowerError("stop() is under way: start() it first")
            if goal != rq.CHARGE:
                watts *= sign
            self._timed_by_params = goal != rq.POWER and not minutes
            if self._timed_by_params:
                params = self._charge_params if goal == rq.CHARGE else self._discharge_params
                minutes = params.timeout_minutes  # type: ignore[union-attr]  # fields come from ROWS
            self._begun_s = self.image.now[im.UPTIME_S]
            self._active = rq.IDLE  # begin anew, even if the same source asks again
            self._claims.put(rq.MANUAL, watts, minutes * 60000 or rq.FOREVER, goal, target, "manual")
        return self._answer(reasons.accepted)

    def stop_operation(self, minutes: int = 0) -> str:
        """Ramp to 0 W and hold it against every lower source for minutes (0: until resume() or a new operation)."""
        in_range("minutes", minutes, 0, _MINUTES_MAX, "min", int)
        with self._lock:
            self._claims.put(rq.MANUAL, 0, minutes * 60000 or rq.FOREVER, rq.PAUSE, 0, "pause")
        self._keep()
        return self._answer(reasons.accepted)

    def resume(self) -> None:
        """End the manual operation or pause: the next claim below takes over."""
        with self._lock:
            self._claims.drop(rq.MANUAL)

    def claim(self, source: str, kw: float, seconds: float, owner: str) -> None:
        """A setpoint of a program: "remote", "grid_service", "schedule" or "optimiser"; it ends unless renewed in time."""
        allowed = rq.SOURCES[rq.REMOTE : rq.REMOTE + 1] + rq.SOURCES[rq.GRID_SERVICE : rq.IDLE]
        if source not in allowed:
            raise PowerError("source = %r: allowed are %s" % (source, ", ".join(allowed)))
        self._check_kw(kw)
        in_range("seconds", seconds, 0.1, 86400, "s")
        _check_owner(owner)
        with self._lock:
            self._claims.put(rq.SOURCES.index(source), parts(kw, 1000), int(seconds * 1000), rq.POWER, 0, owner)

    def release(self, source: str) -> None:
        """End a program's claim.  PowerError if there is no such source."""
        if source not in rq.SOURCES[: rq.IDLE]:
            raise PowerError("source = %r: allowed are %s" % (source, ", ".join(rq.SOURCES[: rq.IDLE])))
        with self._lock:
            self._claims.drop(rq.SOURCES.index(source))

    def claims(self) -> "list[dict]":
        """Every live claim, highest first: source, owner, kw, seconds_left, goal."""
        with self._lock:
            table = self._claims.table[:]
            owners = self._claims.owners[:]
        return rq.listed(table, owners)

    # ---- maintenance ------------------------------------------------------------------------------------

    def service(self, contactor: bool = False, pcs: bool = False, kw: float = 0.0, seconds: float = 10.0) -> None:
        """MAINTENANCE only: close the contactors, let the PCS switch, and one small setpoint; all of it ends after `seconds`.

        A fault that trips ends it at once.  PowerError in other modes, and while such a fault is active.
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
            tripping = self._states.tripping()
            if tripping and (contactor or pcs):
                raise PowerError("service() closes nothing during fault %s" % ", ".join(names(tripping)))
            ms = int(seconds * 1000)
            self._states.service(contactor, pcs, ms)
            self._claims.put(rq.MAINTENANCE, parts(kw, 1000), ms, rq.POWER, 0, "service")

    def halt(self) -> None:
        """The program ends: every claim dropped, 0 W at once without a ramp, the contactors open as soon as they may."""
        with self._lock:
            self._claims.drop_all()
            self._states.want_standby(im.ORDER_END)
            if self.image.now[im.MODE] not in (Mode.STANDBY, Mode.EMERGENCY):
                self._states.enter(Mode.STANDBY)

    # ---- emergency --------------------------------------------------------------------------------------

    def emergency_shutdown(self) -> bool:
        """0 W at once, contactors open, latched until reset_emergency().

        True: it is stored, and stands again after a reset.  False: it could not be stored (or nothing here stores it); it
        stands until a reset, and storing it is tried again.
        """
        with self._lock:
            self._enter_emergency(-1)
        return self._remember()

    def _remember(self) -> bool:
        """Outside the lock: flash takes longer than the cycle may wait."""
        return self.emergency_memory is not None and self.emergency_memory.settle()

    def _enter_emergency(self, cause: int) -> None:
        now = self.image.now
        self.note_end(rq.END_EMERGENCY)
        self._claims.drop_all()
        if now[im.MODE] != Mode.EMERGENCY:
            self._states.enter(Mode.EMERGENCY)
            now[im.CAUSE] = cause
            self.events.post(Event.EMERGENCY, cause, now[im.UPTIME_S])
        now[im.CMD_P] = 0
        now[im.CMD_RUN] = 0

    def restore_emergency(self, cause: int) -> None:
        """At boot: the emergency latched before the reset still stands."""
        with self._lock:
            self.image.now[im.ORDER] = im.ORDER_RESTORED
            self._enter_emergency(cause)

    def reset_emergency(self) -> bool:
        """Leave EMERGENCY for STANDBY.  PowerError while a cause stands (it names it), or if there is no emergency.

        True: that it is over is stored too.  False: a reset before it could be stored brings the emergency back.
        """
        with self._lock:
            if self.image.now[im.MODE] != Mode.EMERGENCY:
                raise PowerError("there is no emergency to reset, the mode is %s" % Mode.name(self.image.now[im.MODE]))
            causes = self._states.emergency_causes()
            if causes:
                raise PowerError("the emergency cannot be reset while its cause stands: %s" % ", ".join(names(causes)))
            self._states.want_standby(im.ORDER_RESET)
            self._states.enter(Mode.STANDBY)
        return self._remember()

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
            now[im.SOC_DRIFT] = 0

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
        with self.plan_lock:
            entry_id = self.plan.add(entry)
        self._say_wait(entry_id)
        return entry_id

    def _say_wait(self, entry_id: int) -> None:
        """For people: an entry that was accepted, and what it waits for beside its time."""
        if self.clock is None:
            waits = 'this site has no clock ("clock" in its site file): it never starts without one'
        elif not self.clock.is_set:
            waits = 'waits for the clock to be set: clock.set_text("2026-11-22 09:56:17")'
        elif not self.plan.enabled:
            waits = "scheduling is off: pm.enable_scheduling(True)"
        else:
            return
        say("schedule %d: accepted, but %s" % (entry_id, waits))

    def update_schedule(self, entry_id: int, entry) -> None:
        """Put an entry in this one's place.  PowerError when there is no such id."""
        if not hasattr(entry, "duration_minutes"):
            raise ValueError("entry = %r: must be a ScheduleEntry" % (entry,))
        with self.plan_lock:
            self.plan.update(entry_id, entry)
        self._say_wait(entry_id)

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

    def _schedule_claim(self, claim, events) -> None:
        """scheduling.step's way to the claims and events: claim is None (leave it), () (drop it) or Claims.put's arguments."""
        with self._lock:
            at_s = self.image.now[im.UPTIME_S]
            for event, entry_id in events:
                self.events.post(event, entry_id, at_s)
            if claim is not None:
                if not claim and self._active == rq.SCHEDULE:
                    self.note_end(rq.END_TIME)
                self._claims.drop(rq.SCHEDULE)
                if claim:
                    self._active = rq.IDLE if self._active == rq.SCHEDULE else self._active  # begin anew
                    self._claims.put(rq.SCHEDULE, *claim)

    # ---- what people see --------------------------------------------------------------------------------

    def stats(self) -> dict:
        """Everything at one instant; keys and units in reports.stats."""
        return _stats(self.instant())

    def _answer(self, words) -> str:
        """What a call that was accepted says; it is accepted in a heap without space for words too."""
        try:
            return words(self.instant())
        except MemoryError:
            return "accepted"

    def instant(self) -> Instant:
        """Copies of what words and figures are made of."""
        with self._lock:
            claims = self._claims
            return Instant(self, self.image.now[:], self.image.par[:], claims.table[:], claims.owners[:], self._curtailed)

    def note_end(self, how: int) -> None:
        """Keep how the operation under way has ended, a requests.END_*; under the lock.  Nothing runs: nothing ends."""
        now = self.image.now
        if self._active != rq.IDLE and now[im.REQUEST_BY] == self._active:
            now[im.ENDED] = self._active + 16 * how + (256 if now[im.REQUEST_P] < 0 else 0)
            now[im.ENDED_S] = now[im.UPTIME_S]

    def faults(self) -> "list[dict]":
        """Every fault that is active or has ever been raised since boot: name, severity, active, times raised.

        An active one says more in "detail" where there is more to say.  What an EMERGENCY is latched by has "latched": True
        and is told in "detail", also after a reset of the controller; commanded, it is named "commanded".
        """
        view = self.instant()
        now = view.now
        state = self._fault_state[:]  # of each fault the times it was raised are the third number
        latched = now[im.CAUSE] if now[im.MODE] == Mode.EMERGENCY else _NO_CAUSE
        found: list = []
        if latched == -1:
            found.append({"name": "commanded", "severity": SEVERITIES[EMERGENCY], "active": True, "count": 1, "latched": True})
            found[-1]["detail"] = reasons.emergency(view)
        for i, row in enumerate(rows()):
            if state[3 * i + 2] or i == latched:
                active = bool(now[im.FAULTS] >> i & 1)
                fault = {"name": row[0], "severity": SEVERITIES[row[4]], "active": active, "count": state[3 * i + 2]}
                more = reasons.emergency(view) if i == latched else reasons.detail(view, row[0]) if active else ""
                if i == latched:
                    fault["latched"] = True
                if more:
                    fault["detail"] = more
                found.append(fault)
        return found

    def fault_counts(self) -> dict:
        """{fault: times raised since boot}, of those ever raised."""
        with self._lock:
            state = self._fault_state[:]
        return {row[0]: state[3 * i + 2] for i, row in enumerate(rows()) if state[3 * i + 2]}

    def limit(
        self, owner: str, discharge_kw: "float | None" = None, charge_kw: "float | None" = None, seconds: float = 0.0
    ) -> None:
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
            self._curtailed.put(owner, discharge, charge, ms)
            self._curtail(0)

    def curtail(
        self, discharge_kw: "float | None" = None, charge_kw: "float | None" = None, seconds: float = 0.0
    ) -> None:
        """limit() of an EMS that is the only one: its owner is "curtail()"."""
        self.limit("curtail()", discharge_kw, charge_kw, seconds)

    def curtailments(self) -> "list[dict]":
        """Every live limit that has an owner: owner, discharge_kw, charge_kw (None: not bounded), seconds_left (None: no end)."""
        with self._lock:
            table = self._curtailed.table[:]
            owners = self._curtailed.owners[:]
        return rq.limits_listed(table, owners)

    def register_callback(self, event: int, fn, user_data=None) -> None:
        """Call fn(event, event_data, user_data) for an Event, or for all (Event.ALL).  fn is plain or async."""
        self.events.register(event, fn, user_data)

    def unregister_callback(self, event: int, fn) -> None:
        """Undo a registration; PowerError if there is none."""
        self.events.unregister(event, fn)

    # ---- the cycle --------------------------------------------------------------------------------------

    def cycle(self, now_ms: int) -> None:
        """One control cycle at time.ticks_ms() now_ms: from frozen inputs to the command slot, allocating nothing."""
        asked = time.ticks_us()
        with self._lock:
            waited = time.ticks_diff(time.ticks_us(), asked)
            if waited > self.lock_wait_us:
                self.lock_wait_us = waited
            dt = (now_ms - self._last_ms) & 0x3FFFFFFF  # ticks wrap at 2**30, also where the host's do not
            if self._last_ms < 0 or dt >= _AHEAD_MS:
                dt = 0
            self._last_ms = now_ms
            self._run(dt)

    def _run(self, dt: int) -> None:
        now = self.image.now
        par = self.image.par
        inputs.freeze(self.image.inp, now, dt)
        now[im.HELD_MS] = dt if dt > par[im.PAR_STALL_MS] else 0
        inputs.doubt_zero_soc(now, par)
        inputs.confirm_trips(now, par)
        soc.count_soc(now, par)
        soc.settle_soc(now, par)
        site_power.grid_there(now, par)
        site_power.net_power(now, par)
        diagnosis.find_missing(now, par)
        diagnosis.battery_conditions(now, par)
        diagnosis.detect_frozen(now, par)
        diagnosis.lost_devices(now, par)
        diagnosis.expect_power(now, par)
        diagnosis.plant_conditions(now, par)
        changed = diagnosis.debounce(now, self._fault_rows, self._fault_state, self._n_faults)
        if changed:
            self._states.faults_changed(changed)
        self._states.step(dt)
        self._curtail(dt)
        self._automatic()
        self._request(requests.age_claims(self._claims.table, rq.IDLE, dt))
        battery_limits.soc_row(now, par)
        battery_limits.temperature_row(now, par)
        battery_limits.headroom(now, par)
        battery_limits.current_rows(now, par)
        site_limits.gate_rows(now, par)
        site_limits.device_rows(now, par)
        site_limits.grid_rows(now, par)
        site_limits.binding(now, par)
        battery_limits.bms_ends(now, par)
        ramp.ramp(now, par)
        flow.account(now, par)
        flow.share_paths(now, par)
        flow.name_flow(now, par)
        self._announce()

    def _curtail(self, dt: int) -> None:
        """Let limits with owners run out, and take the smallest."""
        requests.least(self._curtailed.table, self.image.now, self.image.par, rq.OWNERS, dt)

    def _automatic(self) -> None:
        """The manager's own claims: serving an island's load, and the charge that a BMS needs for its cells' sake."""
        now = self.image.now
        par = self.image.par
        claims = self._claims
        kind = par[im.PAR_GRID_TYPE]
        islanded = kind == 0 or (kind == 1 and now[im.GRID_OK] == 0)
        self._serves_island = islanded and now[im.NET_P] != im.NO_VALUE and now[im.GATE] & (im.GATE_CLOSED | im.GATE_SERVICE) == 0
        if self._serves_island:
            claims.put(rq.GRID_SERVICE, now[im.NET_P], rq.FOREVER, rq.POWER, 0, rq.ISLAND)
        elif claims.owners[rq.GRID_SERVICE] is rq.ISLAND:
            claims.drop(rq.GRID_SERVICE)
        flags = now[im.BMS_REQUESTS]
        if now[im.GATE] & im.GATE_SERVICE:
            flags = 0  # somebody may have their hands in it
        top = 10000 if flags & im.BMS_REQ_FULL_CHARGE else par[im.PAR_SOC_MAX]
        empty = now[im.BMS_PROTECT] > 0 and now[im.BMS_PROTECT] & im.BMS_PROT_UNDER_V
        top -= DONE_BAND if claims.table[rq.PROTECTION * 4] or empty else _FORCE_AGAIN  # where it ends, and where it begins anew
        wanted = flags != im.NO_VALUE and flags & im.BMS_REQ_FORCE_CHARGE and now[im.SOC_HIGH] < top
        if wanted and now[im.AGE + im.SEQ_BMS_FLAGS] <= par[im.PAR_STALE_BMS]:
            claims.put(rq.PROTECTION, -(par[im.PAR_P_CHG] // 20), rq.FOREVER, rq.POWER, 0, _FORCE_CHARGE)
        else:
            claims.drop(rq.PROTECTION)

    def _request(self, answer: int) -> None:
        """Let the winning claim ask: REQUEST_P, REQUEST_BY, and the mode that goes with it."""
        now = self.image.now
        source = answer & 0xFF
        if self._serves_island:
            source = rq.GRID_SERVICE  # whoever asks for something else: the load decides
        if now[im.GATE] & im.GATE_SERVICE and source != rq.MAINTENANCE:
            source = rq.IDLE  # in MAINTENANCE nothing moves but by service()
        if self._states.stop_ms >= 0:
            source = rq.IDLE  # stop() means it, whoever goes on claiming
        expired = answer >> 8
        at_s = now[im.UPTIME_S]
        if expired:
            for i in range(rq.IDLE):
                if expired >> i & 1:
                    if i == self._active:
                        self.note_end(rq.END_TIME)
                    self.events.post(Event.OPERATION_TIMEOUT, i, at_s)
        now[im.REQUEST_BY] = source
        now[im.CMD_BALANCE] = 0
        self._charger.rest(self.image.par)  # what a charge sets ends with it
        if source == rq.IDLE:
            self._active = rq.IDLE
            now[im.REQUEST_P] = 0
            self._states.follow(0)
            return
        if source != self._active:
            self._active = source
            self._parted = self._parts()
            self._charger.begin()
            self._discharger.begin()
        table = self._claims.table
        watts = table[source * 4 + 1]
        goal = table[source * 4 + 2]
        target = table[source * 4 + 3]
        if target == rq.BY_PARAMS:
            target = self._target
        direction = watts
        if goal == rq.CHARGE:
            direction = -1
            watts = self._charger.step(now, self.image.par, watts, target)
        now[im.REQUEST_P] = watts
        self._states.follow(direction)
        how = self._done(source, goal, direction, target) if direction else 0
        if how:
            self.note_end(how)
            self._claims.drop(source)
            self.events.post(Event.CHARGE_COMPLETE if direction < 0 else Event.DISCHARGE_COMPLETE, source, at_s)

    def _done(self, source: int, goal: int, direction: int, target: int) -> int:
        """How the operation has ended, 0: not yet.  A program's bare setpoint has no end: its owner renews it, or not."""
        if goal == rq.POWER and source != rq.MANUAL:
            return 0
        now = self.image.now
        par = self.image.par
        if now[im.MODE] != (Mode.CHARGE if direction < 0 else Mode.DISCHARGE):
            return 0
        if now[im.BMS_ENDS_MS] >= _ENDED_MS:
            return rq.END_BMS
        if self._parts():
            if now[im.SOC_KEEP_MS] < par[im.PAR_STALE_BMS]:
                return 0  # a SoC that has just jumped there ends nothing: the next reports must agree
            if par[im.PAR_SOC_ACCEPT_MS] and not self._parted and (now[im.SOC_DRIFT] > 0) == (direction > 0):
                return 0  # recalibrated meanwhile: only the counter sees the end, and the BMS will be believed in minutes
        if direction > 0:
            return self._discharger.done(now, par)
        return self._charger.done(now, par, target if goal == rq.CHARGE else par[im.PAR_SOC_MAX])

    def _parts(self) -> bool:
        """BMS and counter part by more than the bound."""
        bound = self.image.par[im.PAR_SOC_BOUND]
        return not -bound <= self.image.now[im.SOC_DRIFT] <= bound

    def _sees_grid(self) -> bool:
        """Meter or inverter looks at the grid now; an inverter that is off has its relay open and sees nothing."""
        now = self.image.now
        par = self.image.par
        if par[im.PAR_HAS] & im.HAS_METER and now[im.AGE + im.SEQ_METER] <= par[im.PAR_STALE_METER]:
            return True
        return now[im.AGE + im.SEQ_PCS] <= par[im.PAR_STALE_PCS] and im.PCS_STANDBY <= now[im.PCS_STATE] <= im.PCS_RUNNING

    def _announce(self) -> None:
        """Post what has changed since the last cycle: flow, grid, and (debounced) the binding limit."""
        now = self.image.now
        at_s = now[im.UPTIME_S]
        if now[im.FLOW] == self._was_flow:
            self._flow_ms = 0
        else:
            self._flow_ms += now[im.DT]
            if self._flow_ms >= _FLOW_DEBOUNCE_MS:
                self._flow_ms = 0
                self._was_flow = now[im.FLOW]
                self.events.post(Event.FLOW_CHANGE, self._was_flow, at_s)
        if now[im.GRID_OK] != self._was_grid and (now[im.GRID_OK] or (self._was_grid >= 0 and self._sees_grid())):
            self._was_grid = now[im.GRID_OK]
            self.events.post(Event.GRID_CONNECTED if self._was_grid else Event.GRID_DISCONNECTED, 0, at_s)
        why = now[im.WHY_DIS]
        if now[im.REQUEST_P] < 0:
            why = now[im.WHY_CHG] + 16
        if why == self._was_limit:
            self._limit_ms = 0
        else:
            self._limit_ms += now[im.DT]
            if self._limit_ms >= _LIMIT_DEBOUNCE_MS:
                self._limit_ms = 0
                self._was_limit = why
                self.events.post(Event.LIMIT_CHANGE, why, at_s)
