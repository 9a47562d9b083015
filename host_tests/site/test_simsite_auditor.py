"""The auditor finds a setpoint beyond what the battery had allowed, and only that."""

import pytest

from tools.sim import healthy
from tools.sim.auditor import TRANSPORT_S, Auditor
from tools.sim.healthy import POWER
from tools.sim.physics import BmsReport, Plant


def audited(**options: object) -> tuple[Plant, Auditor]:
    plant = healthy.plant(1, **options)
    plant.contactor_wanted = True
    for _ in range(150):
        plant.step(0.01)
    auditor = Auditor(plant, POWER)
    auditor.reported(plant.bms.report())
    return plant, auditor


def give(plant: Plant, auditor: Auditor, watts: float) -> None:
    plant.pcs.command(watts)
    auditor.setpoint(watts)


def let_pass(plant: Plant, auditor: Auditor, seconds: float, reports: bool = True) -> None:
    for n in range(round(seconds * 10)):
        for _ in range(10):
            plant.step(0.01)
        if reports and n % 10 == 9:
            auditor.reported(plant.bms.report())
        auditor.watch()


def test_setpoints_inside_every_limit_pass() -> None:
    plant, auditor = audited()
    for watts in (0, 100_000, -100_000, 60_000, -1):
        give(plant, auditor, watts)
        let_pass(plant, auditor, 1.0)
    assert auditor.worst_violation_w == 0 and auditor.setpoints == 5


@pytest.mark.parametrize("watts", [100_400, -100_400])
def test_more_than_the_configured_power_is_found(watts: float) -> None:
    plant, auditor = audited()
    give(plant, auditor, watts)
    assert auditor.worst_violation_w == pytest.approx(400)
    assert "given" in auditor.worst_text


def test_bms_current_counts_at_the_battery_side_of_the_inverter() -> None:
    plant, auditor = audited(current_max_a=100.0)
    charge, discharge = auditor.allowed_w()
    assert discharge == pytest.approx(100 * plant.pack.voltage_v * 0.95, rel=1e-3)
    assert charge == pytest.approx(100 * plant.pack.voltage_v / 0.95, rel=1e-3)
    give(plant, auditor, discharge + 100)
    assert auditor.worst_violation_w == pytest.approx(100, abs=1)


def test_reports_permit_for_three_periods_and_a_cycle() -> None:
    plant, auditor = audited(pcs_watchdog_s=60.0)
    give(plant, auditor, 50_000)
    let_pass(plant, auditor, 3.0, reports=False)
    assert auditor.worst_violation_w == 0
    let_pass(plant, auditor, 0.4 + TRANSPORT_S, reports=False)
    assert auditor.worst_violation_w == 50_000
    assert "in force" in auditor.worst_text


def test_zero_is_always_allowed() -> None:
    plant, auditor = audited()
    let_pass(plant, auditor, 10.0, reports=False)
    give(plant, auditor, 0)
    assert auditor.worst_violation_w == 0


def test_older_report_of_the_window_still_permits() -> None:
    plant, auditor = audited(pcs_watchdog_s=60.0)
    tighter = replace_limits(plant, 20.0)
    auditor.reported(tighter)
    give(plant, auditor, 90_000)
    assert auditor.worst_violation_w == 0
    for _ in range(5):
        let_pass(plant, auditor, 1.0, reports=False)
        auditor.reported(tighter)
    assert auditor.worst_violation_w > 70_000


def replace_limits(plant: Plant, amps: float) -> BmsReport:
    return plant.bms.report()._replace(charge_limit_a=amps, discharge_limit_a=amps)


@pytest.mark.parametrize(("soc", "watts"), [(19.3, 1_000), (90.7, -1_000)])
def test_leaving_the_soc_window_further_is_found(soc: float, watts: float) -> None:
    plant, auditor = audited(soc=soc)
    give(plant, auditor, -watts)
    assert auditor.worst_violation_w == 0
    give(plant, auditor, watts)
    assert auditor.worst_violation_w == 1_000


def test_forbidden_direction_allows_nothing() -> None:
    plant, auditor = audited()
    report = plant.bms.report()._replace(charge_forbidden=True)
    plant.step(5.0)
    auditor.reported(report)
    give(plant, auditor, 10_000)
    assert auditor.worst_violation_w == 0
    give(plant, auditor, -10_000)
    assert auditor.worst_violation_w == 10_000
