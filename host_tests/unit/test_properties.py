"""Whatever is called and whatever devices say, in whatever order: what must always hold of the command and the modes."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from firmware import ChargeParams, DischargeParams, Mode, PowerError
from firmware import image as im
from firmware.requests import ISLAND
from host_tests.both.plant import Plant, photo

# slot: what its driver lets through
PLAUSIBLE = {
    im.BMS_SOC: (0, 10000),
    im.BMS_V: (0, 15000),
    im.BMS_I: (-10000, 10000),
    im.BMS_TEMP: (-500, 1500),
    im.BMS_V_MAX: (0, 15000),
    im.BMS_V_MIN: (0, 15000),
    im.BMS_I_CHG: (0, 10000),
    im.BMS_I_DIS: (0, 10000),
    im.CELL_V_MAX: (0, 6000),
    im.CELL_V_MIN: (0, 6000),
    im.CELL_T_MAX: (-500, 1500),
    im.CELL_T_MIN: (-500, 1500),
    im.BMS_REQUESTS: (0, 31),
    im.BMS_PROTECT: (0, (1 << 20) - 1),
    im.BMS_ALARM: (0, (1 << 20) - 1),
    im.BMS_ODD: (0, (1 << 21) - 1),
    im.PCS_STATE: (0, 4),
    im.PCS_P: (-200000, 200000),
    im.PCS_DC_V: (0, 15000),
    im.PCS_DC_I: (-10000, 10000),
    im.PCS_P_CHG: (0, 1000000),
    im.PCS_P_DIS: (0, 1000000),
    im.PCS_GRID: (0, 1),
    im.METER_P: (-1000000, 1000000),
    im.METER_V: (0, 10000),
    im.METER_HZ: (0, 100000),
    im.PV_P: (0, 1000000),
    im.IO_ESTOP: (0, 1),
    im.IO_CONTACTOR: (0, 1),
}
BATTERY = (im.SEQ_BMS, im.SEQ_BMS_LIMITS, im.SEQ_BMS_CELLS, im.SEQ_BMS_TEMPS, im.SEQ_BMS_FLAGS)
PROGRAMS = ("remote", "grid_service", "schedule", "optimiser")


@st.composite
def said(draw: st.DrawFn) -> tuple[str, int, int]:
    """A device says a value, or that it has none."""
    slot = draw(st.sampled_from(sorted(PLAUSIBLE)))
    low, high = PLAUSIBLE[slot]
    return "says", slot, draw(st.one_of(st.integers(low, high), st.just(im.NO_VALUE), st.just(low), st.just(high)))


kilowatts = st.floats(-130, 130, allow_nan=False)
charges = st.builds(ChargeParams, charge_power_max=st.floats(0, 200), method=st.sampled_from((0, 1, 3)))
discharges = st.builds(DischargeParams, discharge_power_max=st.floats(0, 200), min_soc=st.floats(0, 100))
calls = st.one_of(
    st.tuples(st.just("start")),
    st.tuples(st.just("stop")),
    st.tuples(st.just("set_mode"), st.integers(-1, 6)),
    st.tuples(st.just("set_charge_params"), charges),
    st.tuples(st.just("set_discharge_params"), discharges),
    st.tuples(st.just("start_charging"), st.floats(-10, 110)),
    st.tuples(st.just("start_discharging"), st.floats(-10, 110), st.integers(-1, 3)),
    st.tuples(st.just("set_constant_power"), kilowatts, st.integers(-1, 3)),
    st.tuples(st.just("stop_operation"), st.integers(-1, 3)),
    st.tuples(st.just("resume")),
    st.tuples(st.just("claim"), st.sampled_from((*PROGRAMS, "manual")), kilowatts, st.floats(0, 5), st.just("test")),
    st.tuples(st.just("release"), st.sampled_from((*PROGRAMS, "nobody"))),
    st.tuples(st.just("service"), st.booleans(), st.booleans(), st.floats(-6, 6), st.floats(0, 5)),
    st.tuples(st.just("curtail"), st.floats(-10, 130), st.one_of(st.none(), st.floats(0, 130))),
    st.tuples(st.just("set_grid_connection"), st.integers(-1, 4)),
    st.tuples(st.just("update_power_limits"), st.floats(-1, 101), st.floats(0, 300), st.floats(0, 300)),
    st.tuples(st.just("emergency_shutdown")),
    st.tuples(st.just("reset_emergency")),
)
world = st.one_of(
    said(),
    st.tuples(st.just("heals")),
    st.tuples(st.just("silent"), st.integers(0, 8)),
    st.tuples(st.just("load"), st.integers(0, 150000)),
    st.tuples(st.just("sun"), st.integers(0, 150000)),
    st.tuples(st.just("grid"), st.booleans()),
    st.tuples(st.just("soc"), st.floats(0, 100)),
    st.tuples(st.just("follows"), st.booleans()),
)
time_passes = st.tuples(st.just("time"), st.integers(1, 40), st.sampled_from((20, 50, 50, 50, 130, 1000)))
steps = st.lists(st.one_of(calls, calls, world, time_passes, time_passes), min_size=5, max_size=60)
configs = st.fixed_dictionaries(
    {},
    optional={
        "grid_connection": st.integers(0, 3),
        "allow_grid_charging": st.booleans(),
        "allow_grid_export": st.booleans(),
        "max_grid_export_power": st.floats(0, 100),
        "ramp_up": st.floats(0.5, 200),
        "ramp_down": st.floats(0.5, 200),
        "auto_restart": st.booleans(),
        "restart_delay": st.floats(0, 5),
        "soc_rounding": st.sampled_from(("nearest", "down")),
    },
)


class Watched:
    """A plant whose every cycle and call is held against what must always hold."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.plant = Plant(**config)
        self.pm = self.plant.pm
        self.now = self.plant.now
        self.plant.cycles(2)

    def do(self, step: tuple[Any, ...]) -> None:
        name = step[0]
        if name == "time":
            for _ in range(step[1]):
                self.cycle(step[2])
        elif name == "says":
            self.plant.force[step[1]] = step[2]
        elif name == "heals":
            self.plant.force.clear()
            self.plant.silent.clear()
        elif name == "silent":
            self.plant.silent.add(step[1])
        elif name in ("load", "sun", "grid", "soc", "follows"):
            setattr(self.plant, "pv" if name == "sun" else name, step[1])
        else:
            self.call(name, step[1:])

    def call(self, name: str, given: tuple[Any, ...]) -> None:
        before, was = photo(self.pm), self.pm.mode
        try:
            getattr(self.pm, name)(*given)
        except (PowerError, ValueError) as error:
            assert str(error)
            assert photo(self.pm) == before, f"{name}{given} was refused and changed something"
            return
        if was == Mode.EMERGENCY and name != "reset_emergency":
            assert self.pm.mode == Mode.EMERGENCY, f"{name}{given} left EMERGENCY"
        if self.pm.mode == Mode.EMERGENCY:
            assert self.plant.command() == 0

    def cycle(self, dt: int) -> None:
        now = self.now
        was, mode, closed = now[im.CMD_P], now[im.MODE], now[im.CMD_CONTACTOR]
        self.plant.cycle(dt)
        self.inside_limits(was, dt)
        self.mode_allows(mode)
        self.missing_is_zero()
        if closed and not now[im.CMD_CONTACTOR]:
            self.opened_without_current()

    def inside_limits(self, was: int, dt: int) -> None:
        now = self.now
        power = now[im.CMD_P]
        assert -now[im.LIMIT_CHG] <= power <= now[im.LIMIT_DIS] and now[im.WORST_P] == 0
        rows = im.LIMIT_ROWS_DIS
        for chg in (0, 1):
            live = [now[rows + (im.LIMIT_ROWS_CHG - rows) * chg + i] for i in range(16)]
            assert min(live) == now[im.LIMIT_DIS + chg] == live[now[im.WHY_DIS + chg]] >= 0
        par = self.plant.image.par
        rate = par[im.PAR_RAMP_UP]
        island = par[im.PAR_GRID_TYPE] < 2 and not now[im.GRID_OK] and now[im.REQUEST_BY] == ISLAND
        if not island:  # whose load is there already
            assert abs(power) <= abs(was) + rate * min(dt, 2000) // 1000 + 1, "it rose faster than the ramp"
        assert power * was >= 0, "it changed its sign without stopping at 0"
        goal = now[im.TARGET_P]
        assert min(was, goal, 0) <= power <= max(was, goal, 0), "it overshot"
        if now[im.SOC_LOW] <= par[im.PAR_SOC_MIN]:
            assert power <= 0, "discharging under the floor"
        if now[im.SOC_HIGH] >= par[im.PAR_SOC_MAX] and not now[im.BMS_REQUESTS] & im.BMS_REQ_FULL_CHARGE:
            assert power >= 0, "charging over the ceiling"

    def mode_allows(self, was: int) -> None:
        now = self.now
        mode, power = now[im.MODE], now[im.CMD_P]
        assert not (was == Mode.EMERGENCY and mode != Mode.EMERGENCY), "a cycle left EMERGENCY"
        if mode in (Mode.STANDBY, Mode.EMERGENCY):
            assert power == 0 and now[im.CMD_RUN] == 0
        elif mode == Mode.CHARGE:
            assert power <= 0
        elif mode == Mode.DISCHARGE:
            assert power >= 0
        elif mode == Mode.MAINTENANCE:
            assert abs(power) <= 5000
        assert now[im.CMD_RUN] or not power, "power for an inverter that may not switch"
        if now[im.IO_ESTOP] == 1:
            assert mode == Mode.EMERGENCY

    def missing_is_zero(self) -> None:
        now, par = self.now, self.plant.image.par
        gone = any(now[im.AGE + group] > par[im.PAR_STALE_BMS] for group in BATTERY)
        gone = gone or now[im.AGE + im.SEQ_PCS] > par[im.PAR_STALE_PCS] or now[im.AGE + im.SEQ_IO] > par[im.PAR_STALE_IO]
        gone = gone or im.NO_VALUE in (now[im.BMS_V], now[im.BMS_I], now[im.SOC])
        if gone:
            assert now[im.CMD_P] == 0, "power without data"

    def opened_without_current(self) -> None:
        now, par = self.now, self.plant.image.par
        voices = [now[slot] for slot in (im.PCS_DC_I, im.BMS_I) if now[slot] != im.NO_VALUE]
        small = all(abs(amps) < par[im.PAR_BREAK_I] for amps in voices)
        new = now[im.FRESH] >> im.SEQ_BMS & now[im.FRESH] >> im.SEQ_PCS & 1
        assert small or now[im.OPEN_MS] > par[im.PAR_BREAK_MS] or not new


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(configs, steps)
def test_the_command_is_always_inside_every_limit_and_mode(config: dict[str, Any], script: list[tuple[Any, ...]]) -> None:
    watched = Watched(config)
    watched.pm.start()
    watched.do(("time", 2, 50))
    for step in script:
        watched.do(step)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@example([("soc", 1.0), ("time", 8, 1000)])
@given(st.lists(st.one_of(calls, world, time_passes), max_size=30))
def test_whatever_happened_a_healed_site_can_be_brought_back(script: list[tuple[Any, ...]]) -> None:
    """No sequence leaves it stuck: heal, wait out every debounce, reset, stop, start, and it discharges."""
    watched = Watched({})
    for step in script:
        watched.do(step)
    plant = watched.plant
    plant.force.clear()
    plant.silent.clear()
    plant.grid, plant.follows, plant.load, plant.pv, plant.soc = True, True, 20000, 0, 50.0
    plant.run(120, 500)
    watched.pm.accept_soc()  # a BMS that had said 1 % says 50: else it is believed after soc_accept's ten minutes
    if watched.pm.is_emergency:
        watched.pm.reset_emergency()
    watched.pm.stop()
    plant.run(70, 500)
    watched.pm.set_grid_connection(2)
    watched.pm.curtail()
    watched.pm.set_discharge_params(DischargeParams())
    watched.pm.start()
    plant.run(5)
    watched.pm.set_constant_power(15)
    plant.run(6)
    assert plant.command() == 15000, watched.pm.stats()
