"""What a technician reads and types at the console: what binds, what pm can do, what waits for a clock, what latched first."""

from typing import Any

import notice
import pytest
from civil import day_number
from posixtz import PosixTZ

from firmware import ChargeParams, DischargeParams, Mode, PowerConfig, PowerManager
from firmware import image as im
from firmware.clock import CONSOLE, Clock
from firmware.flows import Grid
from firmware.schedule_entry import ScheduleEntry
from host_tests.both.desk import Desk
from host_tests.both.plant import Plant

INTERNAL = set(  # what the application and the services use: no person's calls
    "cycle instant note_end halt start_again going_on restore_emergency clock_was_set run_schedule plan planned".split()
)


def reason(plant: Plant) -> str:
    return str(plant.pm.stats()["reason"])


# ---- what binds -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kw, slot, way", [(50, im.PCS_P_DIS, "gives"), (-50, im.PCS_P_CHG, "takes")])
@pytest.mark.parametrize("rating, told", [(30000, "30 kW"), (0, "0 kW"), (-1, "0 kW")])
def test_an_inverter_that_limits_is_told_by_its_rating(kw: float, slot: int, way: str, rating: int, told: str) -> None:
    plant = Plant().ready()
    plant.force[slot] = rating
    plant.pm.set_constant_power(kw)
    plant.run(5)
    assert f"by pcs for 5 s: the inverter {way} at most {told} at present" in reason(plant), reason(plant)


def test_an_inverter_that_cannot_switch_is_told_by_its_state() -> None:
    plant = Plant().ready()
    plant.pm.set_constant_power(50)
    for state, told in ((im.PCS_OFF, "is off"), (im.PCS_STARTING, "is starting"), (7, "is in no known state")):
        plant.force[im.PCS_STATE] = state
        plant.run(1)
        assert "by pcs" in reason(plant) and "the inverter " + told in reason(plant)


def test_a_meter_that_reports_no_power_is_not_said_to_be_silent() -> None:
    plant = Plant(max_grid_export_power=10).ready()
    plant.force[im.METER_P] = im.NO_VALUE
    plant.pm.set_constant_power(50)
    plant.run(3)
    assert "the meter reports no power" in reason(plant), reason(plant)
    plant.silent.add(im.SEQ_METER)
    plant.run(3)
    assert "meter (nothing received for" in reason(plant)


def test_a_charge_by_the_parameters_is_not_said_to_go_to_100_percent() -> None:
    plant = Plant(grid_connection=Grid.BACKUP).ready()
    plant.pm.set_charge_params(ChargeParams(target_soc=70))
    plant.pm.claim("remote", 0, 600, "ems")
    plant.pm.start_charging()
    plant.run(1)
    desk = Desk(plant)
    desk.ask("why()")
    waits = desk.printed("manual (")
    assert waits and "a charge to the target of its parameters" in waits[0], desk.lines
    desk.ask("pm.start_charging(80)")
    plant.run(1)
    desk.ask("why()")
    assert "manual (a charge to 80.0 %) waits" in desk.printed("manual (")[-1]


# ---- what latched ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["status()", "why()"])
@pytest.mark.parametrize("by_wire", [True, False])
def test_the_latched_cause_comes_before_an_older_trip(command: str, by_wire: bool) -> None:
    plant = Plant().ready()
    plant.silent.add(im.SEQ_BMS)
    plant.run(5)
    assert "bms_lost" in plant.faults()
    plant.silent.clear()
    plant.until_mode(Mode.IDLE, 10)
    plant.run(3)
    cause = "emergency_stop" if by_wire else "commanded by emergency_shutdown()"
    if by_wire:
        plant.force[im.IO_ESTOP] = 1
    else:
        plant.pm.emergency_shutdown()
    plant.run(3)
    for gone in (False, True):
        if gone:
            plant.force.clear()
            plant.run(3)
        desk = Desk(plant)
        desk.ask(command)
        text = "\n".join(desk.lines)
        assert text.index(cause) < text.index("bms_lost") if "bms_lost" in text else cause in text
        (trip,) = desk.printed("last trip: ")
        assert trip.startswith("last trip: " + cause), trip
    plant.pm.reset_emergency()
    plant.run(1)
    desk = Desk(plant)
    desk.ask(command)
    assert desk.printed("last trip: ")[0].startswith("last trip: " + ("emergency_stop" if by_wire else "bms_lost"))


# ---- what is typed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["emergency_shutdown()", " emergency_shutdown()", "emergency_shutdown()  # x"])
def test_the_emergency_works_without_pm(line: str) -> None:
    desk = Desk()
    assert desk.ask(line)[:2] in ("= ", "! ") and desk.plant.pm.is_emergency, desk.lines


def test_the_emergency_without_brackets_says_how() -> None:
    desk = Desk()
    for line in ("emergency_shutdown", "pm.emergency_shutdown"):
        assert desk.ask(line) == f"! {line} is a function, and was not called: {line}() calls it"


@pytest.mark.parametrize("line", ["set_constant_power(5)", "set_mode()", "pm.strat()", "stats"])
def test_a_name_that_is_not_there_is_told_with_what_to_type(line: str) -> None:
    desk = Desk()
    answer = desk.ask(line)
    name = line.replace("()", "").replace("(5)", "")
    if name.startswith("pm."):
        assert answer.startswith("! AttributeError") and answer.endswith("help(pm) lists what there is"), answer
    else:
        assert answer.startswith("! NameError") and answer.endswith(f"pm.{name} is meant, or see help"), answer


def test_help_lists_what_a_person_may_call_and_nothing_else() -> None:
    desk = Desk()
    desk.ask("help(pm)")
    listed = set(desk.lines[-2].split(", "))
    public = {name for name in dir(PowerManager) if name[0] != "_" and name[0].islower()}
    assert listed == public - INTERNAL
    assert listed >= {"start", "set_constant_power", "emergency_shutdown", "mode", "stats", "add_schedule", "claim", "accept_soc"}


# ---- schedules without a clock --------------------------------------------------------------------------------------


def test_an_entry_that_waits_for_a_clock_says_so() -> None:
    said: list[str] = []
    before, notice.sink = notice.sink, said.append
    entry: Any = ScheduleEntry(mode=Mode.CHARGE, hour=1)
    try:
        plant = Plant().ready()
        assert plant.pm.add_schedule(entry) == 0
        assert said == ['schedule 0: accepted, but this site has no clock ("clock" in its site file): it never starts without one']
        said.clear()
        plant.pm.clock = Clock(PosixTZ("UTC0"), plant.ms)
        plant.pm.update_schedule(0, entry)
        assert said == ['schedule 0: accepted, but waits for the clock to be set: clock.set_text("2026-11-22 09:56:17")']
        said.clear()
        plant.pm.clock.set(CONSOLE, day_number(2026, 11, 22), 0)
        assert plant.pm.add_schedule(entry) == 1 and said == []
        plant.pm.enable_scheduling(False)
        plant.pm.add_schedule(entry)
        assert said == ["schedule 2: accepted, but scheduling is off: pm.enable_scheduling(True)"]
    finally:
        notice.sink = before


# ---- what cannot be meant -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("owner", [5, None, b"ems", ["ems"], "", "x" * 65])
def test_a_claims_owner_is_a_short_text(owner: object) -> None:
    plant = Plant().ready()
    with pytest.raises(ValueError, match=r"owner = .*: must be a text of 1 to 64 characters"):
        plant.pm.claim("remote", 5, 600, owner)
    assert plant.pm.claims() == [] and plant.pm.set_constant_power(3) == "accepted"


@pytest.mark.parametrize("kind, field", [(ChargeParams, "charge_current_max"), (DischargeParams, "discharge_current_max")])
def test_parameters_without_their_names_are_refused_with_how_to_give_them(kind: Any, field: str) -> None:
    with pytest.raises(ValueError, match=f"fields are given by name, as in {kind.__name__}\\({field}=...\\)"):
        kind(95)
    with pytest.raises(ValueError, match=r"PowerConfig\(grid_connection=...\)"):
        PowerConfig(2, 13)


@pytest.mark.parametrize(
    "group, name, option", [(im.SEQ_BMS, "bms_lost", "bms_period_ms"), (im.SEQ_PCS, "pcs_lost", "pcs_timeout_ms")]
)
def test_a_device_that_is_only_slow_is_told_with_the_setting_that_bears_it(group: int, name: str, option: str) -> None:
    plant = Plant(restart_limit=1, restart_delay=0).ready()
    for _ in range(4):  # it reports a little less often than is allowed
        plant.silent.add(group)
        plant.run(3.3)
        plant.silent.clear()
        plant.run(3)
    said = reason(plant)
    assert f"stopped by fault {name}" in said and f"if it only reports more slowly, raise power.{option}" in said, said
    plant.silent.add(group)
    plant.run(4)
    assert option not in reason(plant), "while it is silent that is the reason"
