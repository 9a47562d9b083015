"""The physics behind every closed-loop test: it conserves energy, keeps its figures, and repeats itself."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.sim import healthy
from tools.sim.physics import Bms, Pack, Plant
from tools.sim.physics.bms import OVER_TEMPERATURE, OVER_VOLTAGE
from tools.sim.physics.ocv import KNOTS, cell_ocv, mean_ocv
from tools.sim.physics.pcs import OFF, RUNNING, STANDBY, Pcs

DT = 0.01


def running_plant(watts: float = 0.0, seed: int = 1, **options: object) -> Plant:
    """A plant with closed contactors, its inverter running and given a setpoint; no watchdog unless asked for."""
    given_options: dict[str, object] = {"pcs_watchdog_s": 1e9, **options}
    plant = healthy.plant(seed, **given_options)
    plant.contactor_wanted = True
    for _ in range(150):
        plant.step(DT)
    assert plant.pcs.state == RUNNING
    plant.pcs.command(watts)
    return plant


def let_pass(plant: Plant, seconds: float, dt: float = DT) -> None:
    for _ in range(round(seconds / dt)):
        plant.step(dt)


# ---- the cell ---------------------------------------------------------------------------------------------


def test_rest_voltage_rises_with_charge_and_is_flat_in_the_middle() -> None:
    volts = [cell_ocv(n / 1000) for n in range(1001)]
    assert all(b > a for a, b in itertools.pairwise(volts))
    assert cell_ocv(0.7) - cell_ocv(0.2) < 0.08
    assert cell_ocv(1.0) - cell_ocv(0.95) > 0.2
    assert all(abs(cell_ocv(soc) - v) < 1e-6 for soc, v in KNOTS[1:-1])


def test_full_pack_holds_208_kwh_in_195_cells() -> None:
    pack = Pack(soc_pct=100.0)
    assert pack.cells == 195
    assert pack.stored_wh() == pytest.approx(208_000, rel=1e-6)
    assert pack.voltage_v == pytest.approx(702.0)
    assert pack.capacity_ah * mean_ocv() * 195 == pytest.approx(208_000)


# ---- the pack ---------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    currents=st.lists(st.floats(-160, 160), min_size=1, max_size=20),
    soc=st.floats(25, 85),
)
def test_state_of_charge_is_the_integral_of_the_current(currents: list[float], soc: float) -> None:
    pack = Pack(soc_pct=soc)
    expected = soc / 100
    for current in currents:
        for _ in range(20):
            pack.step(0.5, current)
        moved_c = current * 10.0
        expected -= (moved_c if moved_c > 0 else moved_c * pack.coulombic) / (pack.capacity_ah * 3600)
    assert pack.soc == pytest.approx(expected, abs=1e-9)


def test_no_energy_comes_from_nowhere() -> None:
    """What leaves the terminals, plus heat, is what the stored energy lost."""
    pack = Pack(soc_pct=60.0)
    stored = pack.stored_wh()
    out_wh = heat_wh = 0.0
    for n in range(36_000):
        current = 120.0 if n < 18_000 else 40.0
        pack.step(0.1, current)
        out_wh += pack.voltage_v * current * 0.1 / 3600
        heat_wh += current * (current * pack.r0_ohm + pack.polarisation_v) * 0.1 / 3600
    assert stored - pack.stored_wh() == pytest.approx(out_wh + heat_wh, rel=1e-4)
    assert heat_wh > 0.003 * out_wh


def test_current_solves_the_power_equation() -> None:
    pack = Pack(soc_pct=50.0)
    for power in (-95_000.0, -1_000.0, 0.0, 5_000.0, 105_000.0):
        current = pack.current_for(power)
        assert (pack.emf_v - current * pack.r0_ohm) * current == pytest.approx(power, abs=1e-6)


def test_voltage_sags_at_once_and_then_slowly() -> None:
    pack = Pack(soc_pct=50.0)
    rest = pack.voltage_v
    pack.step(0.01, 150.0)
    at_once = rest - pack.voltage_v
    pack.step(120.0, 150.0)
    later = rest - pack.voltage_v
    assert at_once == pytest.approx(150 * 0.00013 * 195, rel=0.02)
    assert later > 1.3 * at_once


def test_pack_warms_with_the_square_of_the_current() -> None:
    rises = []
    for current in (60.0, 120.0):
        pack = Pack(soc_pct=80.0)
        for _ in range(600):
            pack.step(1.0, current)
        rises.append(pack.temperature_c - 25.0)
    assert rises[1] == pytest.approx(4 * rises[0], rel=0.05)


# ---- the inverter -----------------------------------------------------------------------------------------


def test_inverter_answers_as_a_first_order_system() -> None:
    plant = running_plant(60_000.0)
    let_pass(plant, 0.1)
    assert plant.pcs.power_w == pytest.approx(60_000 * 0.632, rel=0.01)
    let_pass(plant, 0.9)
    assert plant.pcs.power_w == pytest.approx(60_000, rel=1e-3)


@pytest.mark.parametrize("watts", [60_000.0, -40_000.0])
def test_ac_energy_times_efficiency_accounts_for_the_charge(watts: float) -> None:
    plant = running_plant(watts)
    start = plant.pack.stored_wh()
    let_pass(plant, 600.0, 0.05)
    pcs = plant.pcs
    drawn_wh = pcs.wh_out / pcs.efficiency - pcs.wh_in * pcs.efficiency
    assert drawn_wh == pytest.approx(start - plant.pack.stored_wh(), rel=0.02)
    nominal_wh = (50.0 - plant.pack.soc * 100) / 100 * 208_000
    assert drawn_wh == pytest.approx(nominal_wh, rel=0.02)


def test_silent_controller_means_zero_watts() -> None:
    plant = running_plant(pcs_watchdog_s=3.0)
    plant.pcs.command(50_000.0)
    let_pass(plant, 2.9)
    assert plant.pcs.power_w == pytest.approx(50_000, rel=0.01)
    let_pass(plant, 1.5)
    assert plant.pcs.power_w == 0.0
    assert plant.pcs.watchdog_trips == 1


def test_heartbeat_alone_keeps_a_setpoint_alive_but_does_not_revive_one() -> None:
    plant = running_plant(pcs_watchdog_s=2.0)
    plant.pcs.command(50_000.0)
    for _ in range(5):
        let_pass(plant, 1.0)
        plant.pcs.heard()
    assert plant.pcs.power_w == pytest.approx(50_000, rel=0.01)
    let_pass(plant, 4.0)
    plant.pcs.heard()
    let_pass(plant, 1.0)
    assert plant.pcs.power_w == 0.0


def test_reversion_timer_falls_back_to_its_own_setpoint() -> None:
    plant = running_plant()
    plant.pcs.revert_after_s, plant.pcs.revert_to_w, plant.pcs.revert_enabled = 2.0, 0.0, True
    plant.pcs.command(30_000.0)
    let_pass(plant, 1.5)
    plant.pcs.command(30_000.0)  # a refresh starts the timer again
    let_pass(plant, 1.5)
    assert plant.pcs.power_w > 29_000
    let_pass(plant, 2.0)
    assert plant.pcs.power_w == 0.0


@given(watts=st.floats(-300_000, 300_000), fraction=st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_inverter_never_exceeds_its_derated_rating(watts: float, fraction: float) -> None:
    plant = running_plant()
    plant.set("pcs_derate", fraction)
    plant.pcs.command(watts)
    let_pass(plant, 2.0)
    assert abs(plant.pcs.power_w) <= fraction * 100_000 + 1e-6


def test_open_contactors_stop_everything() -> None:
    plant = running_plant(60_000.0)
    let_pass(plant, 1.0)
    plant.contactor_wanted = False
    let_pass(plant, 0.2)
    assert plant.pcs.state == OFF
    assert plant.pcs.power_w == 0.0
    assert plant.pack.current_a == 0.0


# ---- the site ---------------------------------------------------------------------------------------------


@given(load=st.floats(0, 150), sun=st.floats(0, 80), watts=st.floats(-100_000, 100_000))
@settings(max_examples=50, deadline=None)
def test_grid_power_closes_the_balance(load: float, sun: float, watts: float) -> None:
    plant = running_plant(watts, load_kw=load, pv_kw=sun)
    let_pass(plant, 1.0)
    assert plant.grid_w == pytest.approx(load * 1000 - sun * 1000 - plant.pcs.power_w, abs=1e-6)


def test_grid_loss_stops_an_inverter_that_may_not_island() -> None:
    plant = running_plant(20_000.0, load_kw=10.0)
    let_pass(plant, 1.0)
    plant.set("grid", 0)
    let_pass(plant, 0.1)
    assert plant.pcs.power_w == 0.0 and plant.pcs.state == STANDBY
    assert plant.grid_w == 0.0 and plant.served_w == 0.0
    plant.set("grid", 1)
    let_pass(plant, 3.0)
    assert plant.pcs.power_w == pytest.approx(20_000, rel=0.01)


def test_grid_forming_inverter_carries_the_load_and_what_the_sun_lacks() -> None:
    plant = running_plant(0.0, load_kw=30.0, pv_kw=12.0, pcs_island="form")
    plant.set("grid", 0)
    let_pass(plant, 1.0)
    assert plant.pcs.power_w == pytest.approx(18_000, rel=0.01)
    assert plant.served_w == pytest.approx(30_000, rel=0.01)


def test_following_inverter_sheds_the_load_its_setpoint_does_not_cover() -> None:
    plant = running_plant(10_000.0, load_kw=30.0, pcs_island="follow")
    plant.set("grid", 0)
    let_pass(plant, 1.0)
    assert plant.served_w == pytest.approx(10_000, rel=0.01)
    assert plant.unserved_wh > 0


def test_profiles_are_followed_between_their_points() -> None:
    plant = running_plant()
    now = plant.time_s
    plant.follow("load_kw", [(now, 10.0), (now + 10.0, 30.0)])
    let_pass(plant, 5.0)
    assert plant.load_w == pytest.approx(20_000, rel=0.01)
    let_pass(plant, 20.0)
    assert plant.load_w == pytest.approx(30_000)
    with pytest.raises(ValueError, match="load_kw, pv_kw, grid_hz, grid_v"):
        plant.follow("moon", [(0, 1)])
    with pytest.raises(ValueError, match="must rise"):
        plant.follow("pv_kw", [(5, 1), (5, 2)])


def test_unknown_quantity_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'lod_kw' cannot be set; known: load_kw"):
        Plant().set("lod_kw", 1)


def test_same_seed_same_site_other_seed_other_noise() -> None:
    def trace(seed: int) -> list[float]:
        plant = running_plant(5_000.0, seed=seed, load_kw=20.0, load_noise_kw=2.0)
        values = []
        for _ in range(200):
            plant.step(0.05)
            values.append(plant.grid_w)
        return values

    assert trace(7) == trace(7)
    assert trace(7) != trace(8)


# ---- the BMS ----------------------------------------------------------------------------------------------


def test_bms_permits_100_kw_in_the_middle() -> None:
    report = Bms(Pack(soc_pct=50.0)).report()
    assert report.charge_limit_a * report.voltage_v > 100_000 * 0.95
    assert report.discharge_limit_a * report.voltage_v > 100_000 / 0.95


def test_bms_takes_the_current_away_step_by_step_at_both_ends() -> None:
    pack = Pack(soc_pct=90.0)
    bms = Bms(pack)
    charge = []
    for tenths in range(900, 1005):
        pack.rest(tenths / 10)
        charge.append(bms.limits_a()[0])
    assert charge[0] == 165.0 and charge[-1] == 0.0
    assert all(b <= a for a, b in itertools.pairwise(charge))
    discharge = []
    for tenths in range(80, -5, -1):
        pack.rest(tenths / 10)
        discharge.append(bms.limits_a()[1])
    assert discharge[0] == 165.0 and discharge[-1] == 0.0
    assert all(b <= a for a, b in itertools.pairwise(discharge))


@pytest.mark.parametrize(
    ("celsius", "charge", "discharge"), [(25, 1, 1), (-1, 0, 1), (5, 0.3, 1), (52, 0.2, 0.7), (61, 0, 0)]
)
def test_bms_derates_with_temperature(celsius: float, charge: float, discharge: float) -> None:
    pack = Pack(soc_pct=50.0, temperature_c=celsius)
    limits = Bms(pack).limits_a()
    assert limits[0] / 165 == pytest.approx(charge, abs=0.15)
    assert limits[1] / 165 == pytest.approx(discharge, abs=0.15)
    assert (limits[0] == 0) == (charge == 0)


def test_bms_speaks_in_whole_percents() -> None:
    for soc, told in ((54.4, 54), (54.6, 55), (0.2, 0), (100.3, 100)):
        assert Bms(Pack(soc_pct=soc)).report().soc_pct == told


def test_protection_forbids_and_ends_by_itself_with_hysteresis() -> None:
    bms = Bms(Pack(soc_pct=50.0))
    bms.cell_v_offset = 0.5
    for _ in range(10):
        bms.step(0.1)
    assert bms.protection == OVER_VOLTAGE
    report = bms.report()
    assert report.charge_forbidden and not report.discharge_forbidden and report.charge_limit_a == 0
    bms.cell_v_offset = 0.25  # below the trip, above the return
    bms.step(0.1)
    assert bms.protection == OVER_VOLTAGE
    bms.cell_v_offset = 0.0
    bms.step(0.1)
    assert bms.protection == 0


def test_controller_that_ignores_a_protection_loses_the_battery() -> None:
    plant = running_plant(-50_000.0)
    plant.bms.temperature_offset_c = 40.0
    let_pass(plant, 4.0)
    assert plant.bms.protection & OVER_TEMPERATURE and plant.bms.relay_closed
    let_pass(plant, 4.0)
    assert plant.bms.relay_trips == 1
    assert plant.pack.current_a == 0.0 and plant.pcs.power_w == 0.0


def test_pcs_alone_needs_dc_and_a_start() -> None:
    pcs = Pcs(autostart=False)
    pcs.dc_present = True
    pcs.command(1000.0)
    for _ in range(300):
        pcs.step(DT, 0.0, 1e6)
    assert pcs.state == OFF and pcs.power_w == 0
    pcs.run = True
    for _ in range(300):
        pcs.command(1000.0)
        pcs.step(DT, 0.0, 1e6)
    assert pcs.state == RUNNING and pcs.power_w == pytest.approx(1000)
