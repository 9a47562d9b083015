"""The control loop on the simulated pack: what is promised about voltage, power, ramp, state of charge and the grid."""

from typing import Any

import pytest

from firmware import image as im
from firmware.charging import ChargeParams
from firmware.discharging import DischargeParams
from firmware.flows import Grid
from firmware.modes import Mode
from host_tests.unit.closed_loop import Loop, turns


def later(*values: object) -> Any:
    """One more set of values of the same rule: for make test, as one set is enough for make check."""
    return pytest.param(*values, marks=pytest.mark.slow)


# ---- constant voltage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "volts, soc, noise, cycle_ms", [later(665.0, 95.5, 1.0, 50), (680.0, 97.0, 0.0, 100), (690.0, 98.0, 1.0, 1000)]
)
def test_the_voltage_is_held_within_0_3_percent_until_the_tail(volts: float, soc: float, noise: float, cycle_ms: int) -> None:
    loop = Loop(soc, cycle_ms, noise, max_soc=100.0, ramp_up=100.0)
    loop.pm.set_charge_params(ChargeParams(charge_voltage_max=volts, tail_current=10.0))
    loop.pm.start_charging(100.0)
    samples = loop.run_until("CHARGE_COMPLETE", 1500)
    assert max(s.voltage_v for s in samples) < volts * 1.003, "overshoot"
    first = next(i for i, s in enumerate(samples) if s.voltage_v >= volts * 0.998)
    held = samples[first:]
    assert held[-1].s - held[0].s > 20, "the phase lasts"
    assert min(s.voltage_v for s in held) > volts * 0.997
    assert -11.0 < held[-1].current_a < 0.0


def test_a_charge_ends_at_the_fullest_cell_of_a_pack_out_of_balance() -> None:
    loop = Loop(95.0, max_soc=100.0, site_cell_spread_pct=3.0)
    loop.pm.start_charging(100.0)
    samples = loop.run_until("CHARGE_COMPLETE", 900)
    assert samples[-1].why_chg == "cell_voltage" and loop.plant.pack.cell_voltages()[0] < 3.6 * 1.003


def test_a_discharge_ends_at_the_emptiest_cell_of_a_pack_out_of_balance() -> None:
    loop = Loop(7.0, min_soc=0.0, site_cell_spread_pct=4.0)
    loop.pm.start_discharging(60.0)
    loop.run_until("DISCHARGE_COMPLETE", 900)
    assert loop.plant.pack.soc > 0.03 and loop.plant.pack.cell_voltages()[1] > 2.8 * 0.99


@pytest.mark.parametrize("response_s", [0.5, 1.0])
def test_the_voltage_is_held_with_a_slow_inverter_too(response_s: float) -> None:
    loop = Loop(95.5, max_soc=100.0, site_pcs_tau_s=response_s)
    loop.pm.set_charge_params(ChargeParams(charge_voltage_max=668.0, tail_current=10.0))
    loop.pm.start_charging(100.0)
    samples = loop.run_until("CHARGE_COMPLETE", 900)
    assert 668.0 * 0.998 < max(s.voltage_v for s in samples) < 668.0 * 1.003
    assert turns([s.command_w for s in samples], 1000.0) <= 2
    assert loop.happened("FAULT_RAISED") == 0, "its lag on the ramp is no fault"


# ---- current --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cycle_ms", [50, 1000])
def test_the_current_of_the_parameters_is_held_within_1_percent(cycle_ms: int) -> None:
    loop = Loop(45.0, cycle_ms, 1.0)
    loop.pm.set_charge_params(ChargeParams(charge_current_max=80.0))
    loop.pm.start_charging()
    loop.run(15.0)
    assert all(abs(s.current_a + 80.0) < 0.8 for s in loop.run(30.0))
    loop.pm.set_discharge_params(DischargeParams(discharge_current_max=90.0))
    loop.pm.start_discharging()
    loop.run(15.0)
    assert all(abs(s.current_a - 90.0) < 0.9 for s in loop.run(30.0))


# ---- power and ramp -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kw", [60.0, -45.0, 5.0])
@pytest.mark.parametrize("cycle_ms", [50, 1000])
def test_constant_power_is_held_within_1_percent(kw: float, cycle_ms: int) -> None:
    loop = Loop(55.0, cycle_ms, noise=1.0, site_load_kw=20.0)
    loop.pm.set_constant_power(kw)
    loop.run(10.0)
    powers = [s.power_w for s in loop.run(60.0)]
    assert max(abs(p - kw * 1000) for p in powers) <= abs(kw) * 10


@pytest.mark.parametrize("rate", [0.7, 3.333, 20.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_ramp_is_exact_to_1_watt_per_second_and_does_not_overshoot(rate: float, sign: int) -> None:
    loop = Loop(55.0, 50, ramp_up=rate, ramp_down=rate)
    target_w = min(round(rate * 15000), 90_000)
    loop.pm.set_constant_power(sign * target_w / 1000)
    lengths = (37, 50, 61, 20, 333, 50, 49)  # no cycle is punctual
    began, highest = loop.ms, 0
    while loop.ms - began < 20_000:
        loop.step(lengths[loop.ms % 7])
        passed = loop.ms - began
        highest = max(highest, abs(loop.now[im.CMD_P]))
        if abs(loop.now[im.CMD_P]) < target_w:
            assert abs(abs(loop.now[im.CMD_P]) - rate * passed) <= max(1.0, passed / 1000)  # 1 W/s over what has passed
    assert highest == target_w
    loop.pm.set_constant_power(-sign * target_w / 1000)
    crossed = [loop.now[im.CMD_P]]
    while loop.now[im.CMD_P] != -sign * target_w:
        loop.step()
        crossed.append(loop.now[im.CMD_P])
    assert 0 in crossed
    assert max(abs(p) for p in crossed) == target_w


def test_an_inverter_that_does_nothing_is_found_out() -> None:
    loop = Loop(55.0)
    loop.site.inject("pcs_refuses")
    loop.pm.set_constant_power(60.0)
    samples = loop.run_until("FAULT_RAISED", 10)
    assert "pcs_not_following" in loop.faults() and loop.now[im.CMD_P] == 0
    assert samples[-1].s - samples[0].s > 3, "a ramp may lag that long"


@pytest.mark.parametrize("response_s", [0.2, 1.0])
def test_a_limit_that_falls_far_is_no_fault_of_an_inverter_on_its_way_down(response_s: float) -> None:
    loop = Loop(55.0, site_pcs_tau_s=response_s)
    loop.pm.set_constant_power(85.0)
    loop.run(20.0)
    loop.pm.curtail(discharge_kw=5.0)
    samples = loop.run(10.0)
    assert max(s.command_w for s in samples) <= 5000 and samples[-1].power_w < 6000
    assert loop.happened("FAULT_RAISED") == 0 and loop.happened("OVERPOWER") == 0


# ---- state of charge ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rounding", ["nearest", "down"])
@pytest.mark.parametrize("soc, seed", [(21.3, 1), later(22.8, 2)])
def test_the_true_charge_stops_within_0_3_percent_of_the_floor(rounding: str, soc: float, seed: int) -> None:
    loop = Loop(soc, 100, 1.0, True, seed, soc_rounding=rounding)
    loop.pm.start_discharging(0.0)
    loop.run_until("DISCHARGE_COMPLETE", 1500)
    assert abs(loop.plant.pack.soc * 100 - 20.0) < 0.3


@pytest.mark.parametrize("rounding", ["nearest", "down"])
@pytest.mark.parametrize("soc, target", [(88.4, 0.0), later(77.7, 79.5), later(47.2, 49.0)])
def test_the_true_charge_stops_within_0_3_percent_of_the_target(rounding: str, soc: float, target: float) -> None:
    loop = Loop(soc, 100, 1.0, soc_rounding=rounding)
    loop.pm.start_charging(target)
    loop.run_until("CHARGE_COMPLETE", 1500)
    assert abs(loop.plant.pack.soc * 100 - (target or 90.0)) < 0.3


@pytest.mark.slow
def test_a_bms_that_is_8_percent_wrong_moves_neither_end_and_no_operation_hangs() -> None:
    loop = Loop(78.0, 100, 1.0)
    loop.plant.bms.soc_error_pct = -8.0  # says less than there is
    loop.run(5.0)
    loop.pm.start_charging(80.0)
    loop.run_until("CHARGE_COMPLETE", 900)
    assert loop.plant.pack.soc * 100 < 80.6
    loop = Loop(22.0, 100, 1.0)
    loop.plant.bms.soc_error_pct = 8.0  # says more than there is
    loop.run(5.0)
    loop.pm.start_discharging(0.0)
    loop.run_until("DISCHARGE_COMPLETE", 900)
    assert loop.plant.pack.soc * 100 > 19.4


@pytest.mark.parametrize("told", [80, later(100)])
def test_charge_is_counted_by_the_state_of_health_that_the_bms_tells(told: int) -> None:
    loop = Loop(85.0, 1000, 1.0, site_energy_kwh=208 * 0.8)
    loop.plant.bms.soh_pct = told
    loop.pm.start_discharging(0.0)
    loop.run_until("DISCHARGE_COMPLETE", 7200)
    assert abs(loop.plant.pack.soc * 100 - 20.0) < 0.3
    assert ("soc_disagrees" in loop.faults()) == (told == 100), "nothing is wrong with an old battery that says so"


@pytest.mark.slow
def test_an_aged_pack_of_80_percent_capacity_still_stops_near_the_floor() -> None:
    loop = Loop(23.0, 100, 1.0, site_energy_kwh=208 * 0.8)
    loop.pm.start_discharging(0.0)
    loop.run_until("DISCHARGE_COMPLETE", 1500)
    assert abs(loop.plant.pack.soc * 100 - 20.0) < 0.3


# ---- tapers -------------------------------------------------------------------------------------------------


def _taper(edge: str) -> Loop:
    """A site that will meet one edge within 400 s."""
    if edge == "soc floor":
        loop = Loop(21.5)
        loop.pm.set_constant_power(100.0)
    elif edge == "soc ceiling":
        loop = Loop(88.5)
        loop.pm.set_constant_power(-100.0)
    elif edge == "constant voltage":
        loop = Loop(96.5, max_soc=100.0)
        loop.pm.set_charge_params(ChargeParams(charge_voltage_max=668.0, tail_current=0.5))
        loop.pm.start_charging(100.0)
    elif edge == "bms current":
        loop = Loop(3.6, min_soc=0.0, soc_taper=0.1, cell_voltage_min=2.5)
        loop.pm.set_constant_power(100.0)
    elif edge == "minimum voltage":
        loop = Loop(16.0, min_soc=0.0)
        loop.pm.set_discharge_params(DischargeParams(min_voltage=625.0))
        loop.pm.start_discharging(0.0)
    elif edge == "cell voltage":
        loop = Loop(94.0, max_soc=100.0, site_cell_spread_pct=3.0)
        loop.pm.set_charge_params(ChargeParams(tail_current=0.5))
        loop.pm.start_charging(100.0)
    else:
        loop = Loop(55.0, 50, site_temperature_c=49.0)
        loop.plant.set("ambient", 200.0)  # warms by about 1 K a minute, into the derating
        loop.pm.set_constant_power(-100.0)
    return loop


@pytest.mark.parametrize(
    "edge",
    [
        "soc floor", later("soc ceiling"), "constant voltage", later("minimum voltage"), "cell voltage", later("bms current"),
        later("temperature"),
    ],
)  # fmt: skip
def test_a_taper_is_no_limit_cycle(edge: str) -> None:
    loop = _taper(edge)
    loop.run(20.0)
    samples = loop.run(400.0)
    assert set(loop.faults()) <= {"bms_alarm"}, "a hot BMS warns"
    assert turns([s.command_w for s in samples], 1000.0) <= 3, "the command swings by more than 1 % of the rating"
    assert abs(samples[-1].command_w) < 60_000, "the edge was met"


@pytest.mark.parametrize("edge", ["soc floor", "constant voltage"])
def test_sensor_noise_moves_the_command_by_less_than_2_percent(edge: str) -> None:
    loop = _taper(edge)
    loop.site.noise.share = loop.plant.bms.noise = 1.0
    loop.run(60.0)
    powers = [s.command_w for s in loop.run(120.0)]
    worst = max(abs(powers[i] - (powers[i - 20] + powers[i + 20]) / 2) for i in range(20, len(powers) - 20))
    assert worst < 2000


# ---- the four methods ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given, expected_pct",
    [
        ({"method": 0}, 90.0),
        later({"method": 1, "pulse_period": 10.0, "pulse_duty": 60.0}, 90.0),
        ({"method": 2, "stages": ((89.0, 120.0), (89.6, 60.0))}, 89.6),
        later({"method": 3, "trickle_current": 40.0}, 90.0),
    ],
)
def test_every_method_reaches_its_end_with_the_event(given: dict, expected_pct: float) -> None:
    loop = Loop(88.3, 100, 1.0)
    loop.pm.set_charge_params(ChargeParams(**given))
    loop.pm.start_charging()
    samples = loop.run_until("CHARGE_COMPLETE", 3600)
    assert abs(loop.plant.pack.soc * 100 - expected_pct) < 0.3
    assert loop.happened("OPERATION_TIMEOUT") == 0
    loop.run(3.0)
    assert loop.pm.mode == Mode.IDLE and loop.now[im.CMD_P] == 0
    if given["method"] == 1:
        resting = [s for s in samples[200:] if s.command_w == 0]
        assert 0.25 < len(resting) / len(samples[200:]) < 0.5, "four of ten seconds rest, less the ramps"
    if given["method"] == 3:
        assert max(-s.current_a for s in samples) < 41.0


@pytest.mark.parametrize("method", [0, 1, 3])
def test_a_charge_that_takes_too_long_times_out(method: int) -> None:
    loop = Loop(40.0, 200)
    loop.pm.set_charge_params(ChargeParams(method=method, timeout_minutes=1))
    loop.pm.start_charging()
    loop.run_until("OPERATION_TIMEOUT", 61)
    loop.run(4.0)
    assert loop.happened("CHARGE_COMPLETE") == 0
    assert loop.pm.mode == Mode.IDLE and loop.now[im.CMD_P] == 0


# ---- the grid -----------------------------------------------------------------------------------------------


def _cycles_to_correct(loop: Loop, most_w: float) -> int:
    """Cycles from the first one that has measured more export than `most_w` to the one that commands less."""
    waited = -1
    for _ in range(40):
        loop.step()
        if waited < 0 and -loop.now[im.METER_P] > most_w + 100:
            waited = 0
        if waited >= 0:
            if loop.now[im.CMD_P] <= most_w + loop.plant.load_w - loop.plant.pv_w + 200:
                return waited
            waited += 1
    raise AssertionError("never corrected")


@pytest.mark.parametrize("cycle_ms", [50, 200, 1000])
def test_a_load_that_drops_is_answered_within_two_cycles_and_export_falls_with_the_inverter(cycle_ms: int) -> None:
    loop = Loop(60.0, cycle_ms, 1.0, max_grid_export_power=10.0, site_load_kw=80.0)
    loop.pm.set_constant_power(70.0)
    loop.run(10.0)
    assert loop.sample().grid_w > 0
    loop.plant.set("load_kw", 20.0)
    assert _cycles_to_correct(loop, 10_000) <= 2
    response_s = 5 * loop.plant.options.pcs_tau_s + 2 * cycle_ms / 1000
    loop.run(response_s)
    assert all(-s.grid_w < 10_500 for s in loop.run(20.0))


def test_zero_export_is_kept_while_the_load_walks() -> None:
    loop = Loop(60.0, 50, 1.0, allow_grid_export=False, site_load_kw=40.0, site_load_noise_kw=2.0)
    loop.pm.set_constant_power(90.0)
    loop.run(10.0)
    samples = loop.run(60.0)
    exported = sum(max(0.0, -s.grid_w) for s in samples) / sum(s.power_w for s in samples)
    assert exported < 0.01
    assert min(s.grid_w for s in samples) > -3000


def test_backup_serves_the_load_within_one_cycle_of_the_measured_grid_loss() -> None:
    loop = Loop(60.0, 50, grid_connection=Grid.BACKUP, site_load_kw=90.0, site_pcs_island="form")
    assert loop.now[im.CMD_P] == 0 and loop.now[im.GRID_OK] == 1
    loop.site.inject("grid_lost")
    while loop.now[im.GRID_OK]:
        loop.step()
    assert loop.happened("GRID_DISCONNECTED") == 1
    assert abs(loop.now[im.CMD_P] - loop.now[im.PCS_P]) < 100 and loop.now[im.CMD_P] > 0, "in the cycle that saw it"
    loop.run(2.0)
    assert abs(loop.now[im.CMD_P] - 90_000) < 500
    loop.run(20.0)
    assert loop.plant.served_w > 89_900 and not loop.faults()
    unserved = loop.plant.unserved_wh
    loop.plant.set("load_kw", 30.0)
    loop.run(5.0)
    assert loop.plant.served_w == pytest.approx(30_000, abs=100) and loop.plant.unserved_wh - unserved < 0.1
    loop.site.clear("grid_lost")
    loop.run(3.0)
    assert loop.now[im.CMD_P] == 0 and loop.happened("GRID_CONNECTED") == 2


@pytest.mark.parametrize("grid", [Grid.INTERACTIVE, Grid.EXPORT])
def test_an_island_is_never_exported_to(grid: int) -> None:
    loop = Loop(60.0, 50, grid_connection=grid, site_load_kw=20.0, site_pcs_island="form")
    loop.pm.set_constant_power(70.0)
    loop.run(10.0)
    loop.site.inject("grid_lost")
    while loop.now[im.GRID_OK]:
        loop.step()
    for _ in range(100):
        assert loop.now[im.CMD_P] <= max(0, loop.now[im.NET_P])
        loop.step()
    assert loop.now[im.CMD_P] <= 20_100


def test_an_inverter_that_does_not_island_moves_nothing_without_a_grid() -> None:
    loop = Loop(60.0, 50, site_load_kw=20.0)
    loop.pm.set_constant_power(70.0)
    loop.run(10.0)
    loop.site.inject("grid_lost")
    loop.run(2.0)
    assert loop.now[im.CMD_P] == 0 and loop.plant.pcs.power_w == 0
    loop.site.clear("grid_lost")
    loop.run(10.0)
    assert loop.plant.pcs.power_w == pytest.approx(70_000, rel=0.01), "and goes on by itself"


def test_surplus_of_the_sun_alone_charges_an_isolated_site() -> None:
    loop = Loop(50.0, 100, 1.0, grid_connection=Grid.ISOLATED, site_load_kw=20.0, site_pv_kw=50.0)
    loop.run(10.0)
    samples = loop.run(30.0)
    assert all(abs(s.power_w + 30_000) < 600 for s in samples)
    assert all(s.grid_w < 600 for s in samples), "nothing is imported"
