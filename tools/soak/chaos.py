"""What people, programs and broken boxes do to a manager, at random: every API call, every fault, all from one seed."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from posixtz import PosixTZ

from firmware import image as im
from firmware import requests as rq
from firmware.charging import ChargeParams
from firmware.clock import Clock
from firmware.discharging import DischargeParams
from firmware.errors import PowerError
from firmware.event_codes import Event
from firmware.modes import Mode
from firmware.schedule_entry import ScheduleEntry
from tools.sim.virtual.peer import BUSY
from tools.sim.virtual.site import VirtualSite
from tools.sim.virtual.wired import FACTORS, WiredSite
from tools.soak.invariants import Broken, Watch
from tools.soak.recalibration import CALM_MS, LEAST_PERIOD_MS, Recalibration
from tools.soak.tiny import more_than_given, tiny
from tools.soak.wire import GROUPS, PLAUSIBLE, SENSORS, Wire

SITE_FAULTS = (
    "bms_silent", "bms_frozen", "pcs_silent", "pcs_refuses", "pcs_frozen", "meter_silent", "meter_frozen", "cell_over_voltage",
    "over_temperature", "estop", "contactor_stuck", "grid_lost", "pcs_fault",
)  # fmt: skip
# with these the plant does not do what the manager wants, or the manager is told what is not so
_MISLEADING = (
    "pcs_refuses", "pcs_silent", "pcs_frozen", "bms_frozen", "meter_silent", "meter_frozen",
    "cell_over_voltage", "over_temperature",
)  # fmt: skip
LIMITERS = ("curtail()", "ems", "tariff", "grid operator")
_PCS_LIES = ("pcs_silent", "pcs_frozen")
_NOT_TRUE = ("pcs_silent", "pcs_frozen", "pcs_refuses", "meter_silent", "meter_frozen", "slow_pcs")  # of what is on Modbus
# beyond every trip: one reading of it may be wrong
_WILD = {im.CELL_V_MAX: (3750, 5000), im.CELL_V_MIN: (500, 2300), im.CELL_T_MAX: (700, 1500), im.BMS_TEMP: (700, 1500)}
# what broken sensors of a SunSpec device say: "not implemented", or what cannot be true
_POINTS = {
    "701.TmpCab": (0x8000, 30000), "701.TmpSnk": (0x8000, 30000, 0x8AD0), "701.Hz": (0xFFFFFFFF,), "701.LLV": (0xFFFF,),
    "203.PPV": (0x8000,), "203.Hz": (0x8000,), "714.Prt.0.DCV": (0xFFFF,),
}  # fmt: skip
_USUAL = {"temperature": 25.0, "grid_hz": 50.0, "grid_v": 400.0}
_UNUSUAL = {"temperature": (-25.0, 65.0), "grid_hz": (46.0, 53.0), "grid_v": (300.0, 500.0)}
_ZONE = "CET-1CEST,M3.5.0,M10.5.0/3"
_DAYS = ("2026-03-29 01:45", "2026-10-25 02:30", "2026-12-31 23:40", "2027-02-28 23:50", "2026-11-22 12:00")
_SOURCES = ("remote", "grid_service", "schedule", "optimiser")


class Chaos:
    """One site's bad days.  `act` does one thing; `tick` ends what has lasted long enough."""

    def __init__(self, manager: Any, site: VirtualSite, wire: Wire, watch: Watch, rng: random.Random, ticks: int) -> None:
        self.manager = manager
        self.site = site
        self.wire = wire
        self.watch = watch
        self.rng = rng
        self.log: list[str] | None = None  # a list here collects what was done
        self.refused = 0
        self.received = 0  # events that reached a callback
        self.misleading = False
        self.pcs_lies = False
        self.calm: Recalibration | None = None
        self.busy_burst = False
        self._ends: list[tuple[int, str]] = []
        self.played: Counter[str] = Counter()  # what has happened, besides calls
        self._serve(ticks)
        self._api: tuple[tuple[int, Callable[[], str]], ...] = (
            (5, self._start), (1, self._stop), (3, self._set_mode), (8, self._start_charging), (8, self._start_discharging),
            (10, self._constant_power), (2, self._stop_operation), (2, self._resume), (6, self._claim), (2, self._release),
            (4, self._charge_params), (4, self._discharge_params), (2, self._service), (1, self._emergency), (6, self._reset),
            (1, self._grid_connection), (1, self._power_limits), (2, self._curtail), (2, self._look), (6, self._schedule),
            (1, self._accept_soc),
        )  # fmt: skip
        self._api_weights = [weight for weight, _ in self._api]

    def _serve(self, ticks: int) -> None:
        """What an application gives its manager."""
        self.manager.clock = Clock(PosixTZ(_ZONE), ticks)
        if self.rng.random() < 0.8:  # else never set: no schedule may run
            self.manager.clock.set_text(self.rng.choice(_DAYS))
        self.manager.register_callback(Event.ALL, self._heard, None)

    def restarted(self, manager: Any, wire: Wire, watch: Watch, ticks: int) -> None:
        """The controller has been reset: another manager, which has heard of nothing; the faults outside go on."""
        self.manager, self.wire, self.watch = manager, wire, watch
        self.received = 0
        self._ends = [end for end in self._ends if end[1] != "wire"]
        self.played["reset"] += 1
        self._serve(ticks)
        self._judge()

    def _heard(self, event: int, data: int, user_data: object) -> None:
        self.received += 1

    def _note(self, text: str) -> None:
        if self.log is not None:
            self.log.append(text)

    # ---- one thing at a time ------------------------------------------------------------------------------
    def act(self, cycle: int) -> None:
        """Something happens: mostly a call of the API, else a change outside, else a fault."""
        if self.calm is not None:
            return
        kind = self.rng.random()
        if kind < 0.008 and self._may_be_calm(cycle):
            self._begin_calm()
            return
        if kind > 0.97 and isinstance(self.site, WiredSite):
            self._note(self._rescale(self.site))
            return
        if kind < 0.75:
            self._call()
        elif kind < 0.91:
            self._outside()
        else:
            self._fault(cycle)

    def tick(self, cycle: int, ticks: int) -> None:
        """End the faults that are over; what the application does once a second."""
        self.manager.clock.tick(ticks)
        self.manager.run_schedule()
        for end in [end for end in self._ends if end[0] <= cycle]:
            self._end(end)
        if self.calm is not None:
            self._note(self.calm.step(self.watch.time_ms, self.watch))
            if self.calm.over:
                self.wire.mend()
                self.calm = None
        self._judge()

    def _end(self, end: tuple[int, str]) -> None:
        self._ends.remove(end)
        name, site = end[1], self.site
        self._note(f"{name} ends")
        if name == "wire":
            self.wire.mend()
        elif name == "soc":
            site.plant.bms.soc_error_pct = 0.0
        elif name in _USUAL:
            site.plant.set(name, _USUAL[name])
        elif name == "busy" and isinstance(site, WiredSite):
            site.busy(0.0, ())
            self.busy_burst = False
        elif name == "point" and isinstance(site, WiredSite):
            site.mend_points()
        else:
            site.clear(name)

    def _judge(self) -> None:
        active = self.site.active
        plant = self.site.plant
        self.pcs_lies = self.wire.busy or self.busy_burst or any(name in active for name in _PCS_LIES)
        self.watch.wired_honest = not (self.busy_burst or self.wire.busy or any(name in active for name in _NOT_TRUE))
        self.misleading = (
            self.wire.lies
            or self.busy_burst
            or any(name in active for name in _PCS_LIES)
            or plant.bms.soc_error_pct != 0.0
            or any(name in active for name in _MISLEADING)
            or (not plant.grid_present and plant.pcs.island == "form")
        )

    def _may_be_calm(self, cycle: int) -> bool:
        """The era is long enough for it, and the site lets something flow."""
        period_ms = self.manager.config.cycle_ms
        config = self.manager.config
        fits = period_ms >= LEAST_PERIOD_MS and cycle + CALM_MS // period_ms < 4900
        return fits and (config.allow_grid_charging or config.allow_grid_export) and 6.0 <= config.min_soc <= 30.0

    def _begin_calm(self) -> None:
        for end in self._ends[:]:
            self._end(end)
        self.calm = Recalibration(self.manager, self.site.plant, self.wire, self.rng)
        self.played["recalibration"] += 1
        self._note(self.calm.begin())
        self.watch.configure()
        self._judge()

    def _call(self) -> None:
        manager = self.manager
        (_, call) = self.rng.choices(self._api, self._api_weights)[0]
        was = manager.mode
        if was in (Mode.STANDBY, Mode.EMERGENCY) and self.rng.random() < 0.6:
            call = self._start if was == Mode.STANDBY else self._reset  # else most of the time nothing would flow
        elif was == Mode.IDLE and self.rng.random() < 0.5:
            call = self.rng.choice((self._resume, self._start_charging, self._start_discharging, self._constant_power))
        par = manager.image.par[:]
        claims = manager.arbiter.claims.table[:]
        try:
            self._note(call())
        except (PowerError, ValueError) as error:
            self.refused += 1
            self._note(f"refused: {error}")
            if par != manager.image.par or claims != manager.arbiter.claims.table:
                raise Broken(f"a refused call changed something: {error}") from error
        if was == Mode.EMERGENCY and manager.mode != was and call != self._reset:
            raise Broken(f"EMERGENCY was left by {call.__name__}")

    # ---- the API --------------------------------------------------------------------------------------------
    def _start(self) -> str:
        self.manager.start()
        return "start()"

    def _stop(self) -> str:
        self.manager.stop()
        return "stop()"

    def _set_mode(self) -> str:
        mode = self.rng.choice((0, 1, 1, 2, 2, 3, 3, 5, 6, -1) if self.rng.random() < 0.97 else (4,))
        self.manager.set_mode(mode)
        return f"set_mode({mode})"

    def _kw(self) -> float:
        rng = self.rng
        any_kw = rng.uniform(-110.0, 110.0)
        return rng.choice((0.0, 0.001, tiny(rng, True), 1.0, -1.0, any_kw, any_kw, 100.0, -100.0))

    def _minutes(self) -> int:
        return self.rng.choice((0, 0, 0, 1, 2, 60, 10080, 10081))

    def _check_watts(self, source: int, kw: float, owner: str = "") -> None:
        """owner: whose claim it is, which is not the source's newest where he only renews it."""
        claims = self.manager.arbiter.claims
        table = claims.table
        place = rq.newest(table, source)
        for i, whose in enumerate(claims.owners):
            if owner and whose == owner and table[i * rq.PARTS] and table[i * rq.PARTS + rq.SOURCE] == source:
                place = i
        self._check_given("power", kw, "kW", table[place * rq.PARTS + rq.WATTS], 1000)

    @staticmethod
    def _check_given(what: str, given: float, unit: str, held: int, per_unit: int) -> None:
        """What was asked for is what is held: a tiny number is nothing, never everything."""
        wrong = more_than_given(what, given, unit, held, per_unit)
        if wrong:
            raise Broken(wrong)

    def _start_charging(self) -> str:
        target = self.rng.choice((0.0, 0.0, self.rng.uniform(0.0, 105.0), 80.0, tiny(self.rng)))
        self.manager.start_charging(target)
        self._check_given("target_soc", target, "%", self.manager.arbiter.claims.table[rq.MANUAL * rq.PARTS + rq.TARGET], 100)
        return f"start_charging({target})"

    def _start_discharging(self) -> str:
        kw, minutes = self.rng.choice((0.0, self.rng.uniform(-5.0, 110.0), 50.0, tiny(self.rng))), self._minutes()
        self.manager.start_discharging(kw, minutes)
        self._check_watts(rq.MANUAL, kw)
        return f"start_discharging({kw}, {minutes})"

    def _constant_power(self) -> str:
        kw, minutes = self._kw(), self._minutes()
        self.manager.set_constant_power(kw, minutes)
        self._check_watts(rq.MANUAL, kw)
        return f"set_constant_power({kw}, {minutes})"

    def _stop_operation(self) -> str:
        minutes = self._minutes()
        self.manager.stop_operation(minutes)
        return f"stop_operation({minutes})"

    def _resume(self) -> str:
        self.manager.resume()
        return "resume()"

    def _claim(self) -> str:
        source = self.rng.choice((*_SOURCES, *_SOURCES, *_SOURCES, "emergency", "nobody"))
        kw, seconds = self._kw(), self.rng.choice((0.1, 1.0, 30.0, 600.0, 86400.0, 0.0))
        self.manager.claim(source, kw, seconds, "soak")
        self._check_watts(rq.SOURCES.index(source), kw, "soak")
        return f"claim({source!r}, {kw}, {seconds}, 'soak')"

    def _release(self) -> str:
        source = self.rng.choice((*_SOURCES, "protection", "nobody"))
        self.manager.release(source)
        return f"release({source!r})"

    def _charge_params(self) -> str:
        rng = self.rng
        given = {
            "charge_current_max": rng.choice((0.0, 0.0, rng.uniform(1.0, 200.0), tiny(rng))),
            "charge_voltage_max": rng.choice((0.0, 0.0, 0.0, 702.0, rng.uniform(600.0, 720.0), tiny(rng))),
            "charge_power_max": rng.choice((0.0, 0.0, rng.uniform(1.0, 120.0), tiny(rng))),
            "trickle_current": rng.choice((0.0, rng.uniform(0.0, 20.0), tiny(rng))),
            "tail_current": rng.choice((0.0, 0.0, rng.uniform(0.0, 20.0), tiny(rng))),
            "method": rng.randrange(5),
            "timeout_minutes": self._minutes(),
            "target_soc": rng.choice((0.0, rng.uniform(10.0, 100.0))),
            "pulse_period": rng.choice((1.0, 10.0, 60.0)),
            "pulse_duty": rng.uniform(1.0, 99.0),
            "stages": rng.choice(((), ((50.0, 150.0), (80.0, 60.0), (95.0, 15.0)))),
        }
        self.manager.set_charge_params(ChargeParams(**given))
        return f"set_charge_params({given})"

    def _discharge_params(self) -> str:
        rng = self.rng
        given = {
            "discharge_current_max": rng.choice((0.0, 0.0, rng.uniform(1.0, 200.0), tiny(rng))),
            "discharge_power_max": rng.choice((0.0, 0.0, rng.uniform(1.0, 120.0), tiny(rng))),
            "min_voltage": rng.choice((0.0, 0.0, 572.0, rng.uniform(540.0, 650.0), tiny(rng))),
            "min_soc": rng.choice((0.0, 0.0, rng.uniform(0.0, 60.0), tiny(rng))),
            "timeout_minutes": self._minutes(),
        }
        self.manager.set_discharge_params(DischargeParams(**given))
        return f"set_discharge_params({given})"

    def _service(self) -> str:
        rng = self.rng
        on, run = rng.random() < 0.8, rng.random() < 0.8
        kw, seconds = rng.choice((0.0, rng.uniform(-6.0, 6.0), tiny(rng, True))), rng.choice((0.1, 10.0, 60.0, 61.0))
        self.manager.service(on, run, kw, seconds)
        self._check_watts(rq.MAINTENANCE, kw)
        return f"service({on}, {run}, {kw}, {seconds})"

    def _emergency(self) -> str:
        self.manager.emergency_shutdown()
        return "emergency_shutdown()"

    def _reset(self) -> str:
        self.manager.reset_emergency()
        if self.rng.random() < 0.8:
            self.manager.start()
        return "reset_emergency()"

    def _grid_connection(self) -> str:
        grid = self.rng.choice((0, 1, 2, 2, 2, 3, 3, 4))
        self.manager.set_grid_connection(grid)
        self.watch.configure()
        self.watch.quiet_ms = 0
        return f"set_grid_connection({grid})"

    def _power_limits(self) -> str:
        soc, chg, dis = self.rng.uniform(-1.0, 101.0), self.rng.uniform(0.0, 200.0), self.rng.uniform(0.0, 200.0)
        self.manager.update_power_limits(soc, chg, dis)
        self.watch.honest_ms = 0
        return f"update_power_limits({soc}, {chg}, {dis})"

    def _curtail(self) -> str:
        rng, par = self.rng, self.manager.image.par
        discharge, charge = (rng.choice((None, 0.0, rng.uniform(-1.0, 120.0), tiny(rng))) for _ in range(2))
        seconds = rng.choice((0.0, 0.0, 30.0, tiny(rng)))
        owner = LIMITERS[self.manager.image.now[im.UPTIME_S] % len(LIMITERS)]  # not drawn: the eras of before stay what they were
        self.manager.limit(owner, discharge, charge, seconds)
        live = self.manager.curtailments()
        for kw, slot, key in ((discharge, im.EMS_P_DIS, "discharge_kw"), (charge, im.EMS_P_CHG, "charge_kw")):
            if kw is not None and par[slot] > kw * 1000 + 0.51:
                raise Broken(f"{owner} limits to {kw} kW, held are {par[slot]} W")
            given = [round(one[key] * 1000) for one in live if one[key] is not None]
            if par[slot] != (min(given) if given else im.FREE):
                raise Broken(f"{par[slot]} W are held of {key} in {live}")
        for one in live:
            if one["owner"] == owner and (one["seconds_left"] is None) != (seconds == 0):
                raise Broken(f"limited for {seconds} s, held are {one['seconds_left']} s")
        return f"limit({owner!r}, {discharge}, {charge}, {seconds})"

    def _accept_soc(self) -> str:
        self.manager.accept_soc()
        self.watch.accepted = True
        return "accept_soc()"

    def _schedule(self) -> str:
        rng, manager = self.rng, self.manager
        kind = rng.random()
        if kind < 0.6:
            minute = manager.clock.local()[1] // 60 + rng.randrange(-5, 20)
            mode = rng.choice((1, 2, 2, 3, 3, 4))
            size = rng.choice((rng.uniform(0.0, 110.0), rng.uniform(0.0, 110.0), tiny(rng)))
            kw = {2: -size, 3: size}.get(mode, 0.0)
            given = {
                "hour": minute // 60 % 24, "minute": minute % 60, "mode": mode, "power_setpoint": kw,
                "duration_minutes": rng.choice((1, 2, 10, 1440, 1441)), "repeat": rng.random() < 0.5,
            }  # fmt: skip
            manager.add_schedule(ScheduleEntry(**given))
            return f"add_schedule({given})"
        if kind < 0.8:
            number = rng.randrange(17)
            manager.delete_schedule(number)
            return f"delete_schedule({number})"
        if kind < 0.9:
            text = rng.choice(_DAYS)
            manager.clock.set_text(text)
            return f"the clock is set to {text}"
        on = rng.random() < 0.8
        manager.enable_scheduling(on)
        return f"enable_scheduling({on})"

    def _look(self) -> str:
        manager = self.manager
        stats = manager.stats()
        if not isinstance(manager.claims(), list) or stats["mode"] != Mode.name(manager.mode):
            raise Broken("stats() and mode disagree")
        return "stats(), claims()"

    # ---- the world ------------------------------------------------------------------------------------------
    def _outside(self) -> None:
        """Load, sun, and a battery at another charge."""
        rng, plant = self.rng, self.site.plant
        self.watch.quiet_ms = 0
        what = rng.choice(("load_kw", "load_kw", "pv_kw", "pv_kw", "soc", "pcs_derate"))
        if what == "soc":
            value = rng.uniform(*rng.choice(((0.5, 100.0), (0.5, 4.0), (18.0, 24.0), (86.0, 92.0), (97.0, 100.0))))
            self.watch.honest_ms = 0
            plant.bms.reset()
        elif what == "pcs_derate":
            value = rng.choice((1.0, 1.0, rng.uniform(0.0, 1.0)))
        else:
            value = rng.choice((0.0, rng.uniform(0.0, 120.0)))
        plant.set(what, value)
        self._note(f"{what} = {value}")

    def _fault(self, cycle: int) -> None:
        rng, plant = self.rng, self.site.plant
        if len(self._ends) >= 3:
            return
        until = cycle + int(rng.choice((1, 3, 30, 30, 100, 300)) * rng.uniform(0.5, 2.0)) + 1
        kind = rng.random()
        if kind < 0.4:
            name = rng.choice(SITE_FAULTS)
            if name in self.site.active:
                return
            self.site.inject(name)
            self._note(f"{name} begins")
            self.played["site fault"] += 1
        elif kind < 0.52:
            self.played["heat, frost, grid"] += 1
            name = rng.choice(tuple(_USUAL))
            value = rng.uniform(*_UNUSUAL[name])
            plant.set(name, value)
            self.watch.honest_ms = 0
            self._note(f"{name} = {value}")
        elif kind < 0.6:
            name = "soc"
            self.played["wrong SoC"] += 1
            plant.bms.soc_error_pct = rng.choice((-3.0, 3.0, rng.uniform(-40.0, 40.0)))
            self._note(f"BMS's SoC is off by {plant.bms.soc_error_pct} %")
        elif kind < 0.75 and isinstance(self.site, WiredSite):
            name, text = self._on_modbus(self.site)
            self._note(text)
            if not name:
                return
        else:
            name = "wire"
            self._note(self._cut_wire())
        self.watch.quiet_ms = 0
        self._ends.append((until, name))
        self._judge()

    def _rescale(self, site: WiredSite) -> str:
        factor = self.rng.choice(tuple(FACTORS))
        power = self.rng.choice(FACTORS[factor])
        site.rescale(factor, power)
        self.played["scale factor"] += 1
        return f"{factor} becomes {power}"

    def _on_modbus(self, site: WiredSite) -> tuple[str, str]:
        """A device is busy, or a sensor of it breaks: (what ends again, what it is)."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.6:
            share = rng.choice((0.05, 0.05, 0.05, 0.5, 1.0))
            codes = rng.choice(((5,), (6,), (10,), (11,), BUSY))
            site.busy(share, codes)
            self.played["busy device"] += 1
            self.busy_burst = self.busy_burst or share > 0.05
            return "busy", f"{share:.0%} of the requests are answered with {codes}"
        name = rng.choice(tuple(_POINTS))
        if name.startswith("203.") and not site.has_meter:
            return "", "no meter breaks"
        raw = rng.choice(_POINTS[name])
        site.break_point(name, raw)
        self.played["broken sensor"] += 1
        return "point", f"{name} reads {raw:#x}"

    def _cut_wire(self) -> str:
        rng, wire = self.rng, self.wire
        group = rng.choice(tuple(GROUPS))
        kind = rng.random()
        if kind < 0.2:
            wire.silence(group)
            return f"group {group} silent"
        if kind < 0.35:
            wire.freeze(group)
            return f"group {group} frozen"
        if kind < 0.5:
            return self._odd_battery()
        if kind < 0.7:
            self.played["broken sensor"] += 1
            slots = [rng.choice(SENSORS) for _ in range(rng.randrange(1, 3))]
            for slot in slots:
                wire.refuse(slot)
            return f"the sensors of slots {slots} are broken"
        if kind < 0.82:
            slot = rng.choice(tuple(_WILD))
            value = rng.randint(*_WILD[slot])
            wire.wild(slot, value)
            self.played["wild reading"] += 1
            return f"one reading of slot {slot} is {value}"
        slot = rng.randrange(*GROUPS[group])
        low, high = PLAUSIBLE.get(slot, (0, 32767))
        value = im.NO_VALUE if kind < 0.88 else rng.choice((low, high, min(high, max(low, 0)), rng.randint(low, high)))
        wire.force(slot, value)
        return f"slot {slot} holds {value}"

    def _odd_battery(self) -> str:
        """What real packs do besides: zeros while they boot, a broken sensor, one protection, a second pack on the bus."""
        rng, wire = self.rng, self.wire
        kind = rng.randrange(4)
        if kind == 0:
            self.played["boot zeros"] += 1
            wire.boot()
            return "the BMS boots"
        if kind == 1:
            slot = rng.randrange(im.BMS_SOC, im.CELL_T_MIN + 1)
            wire.refuse(slot)
            return f"slot {slot} is refused"
        if kind == 2:
            self.played["one protection"] += 1
            bit = 1 << rng.randrange(20)
            wire.force(im.BMS_PROTECT, bit)
            return f"protection {bit:#x}"
        self.played["two batteries"] += 1
        wire.two_batteries(rng.randrange(2))
        return "two batteries on the bus"
