"""tiny-is-not-none: only exactly 0 means "the default"; what is smaller than the resolution is nothing, never everything."""

from civil import day_number
from posixtz import PosixTZ

from firmware import image as im
from firmware.charging import ChargeMethod, ChargeParams
from firmware.clock import CONSOLE, Clock
from firmware.discharging import DischargeParams
from firmware.errors import ConfigError
from firmware.modes import Mode
from firmware.schedule_entry import ScheduleEntry
from firmware.scheduler import Scheduler
from host_tests.both.plant import Plant, refusal

SUNDAY = day_number(2026, 11, 22)
TINY = (5.6e-17, 0.0004, 0.0009)  # kW: less than 1 W


def nothing_flows(plant, seconds=8):
    """Cycle, and fail at the first watt."""
    for _ in range(int(seconds * 20)):
        plant.cycle()
        assert plant.command() == 0, "%d W by %s" % (plant.command(), plant.by())


def test_start_discharging_with_less_than_a_watt_moves_nothing():
    for kw in TINY:
        plant = Plant().ready()
        plant.pm.start_discharging(kw)
        nothing_flows(plant)
    plant = Plant().ready()
    plant.pm.start_discharging(0.0)
    plant.run(7)
    assert plant.command() == 100000, "exactly 0 is the maximum"
    plant = Plant().ready()
    plant.pm.start_discharging(0.001)
    plant.run(2)
    assert plant.command() == 1, "1 W is a watt"


def test_a_setpoint_or_a_claim_of_less_than_a_watt_moves_nothing():
    for kw in TINY:
        for signed in (kw, -kw):
            plant = Plant().ready()
            plant.pm.set_constant_power(signed)
            nothing_flows(plant, 3)
            for source in ("remote", "grid_service", "schedule", "optimiser"):
                plant = Plant().ready()
                plant.pm.claim(source, signed, 60, "ems")
                nothing_flows(plant, 2)
            plant = Plant().ready()
            plant.pm.set_mode(Mode.MAINTENANCE)
            plant.cycle()
            plant.pm.service(contactor=True, pcs=True, kw=signed)
            nothing_flows(plant, 2)


def test_start_charging_to_less_than_a_hundredth_of_a_percent_is_there_at_once():
    plant = Plant().ready()
    plant.pm.start_charging(0.004)
    nothing_flows(plant)
    assert plant.events("CHARGE_COMPLETE") and plant.pm.mode == Mode.IDLE
    plant.pm.set_charge_params(ChargeParams(target_soc=0.004))
    plant.pm.start_charging(0)
    nothing_flows(plant)
    plant.pm.set_charge_params(ChargeParams())
    plant.pm.start_charging(0)
    plant.run(7)
    assert plant.command() == -100000, "exactly 0 is the parameters' target, and then the ceiling"


def test_a_tiny_current_or_power_of_the_parameters_is_no_current():
    for params in (
        {"charge_current_max": 0.09},
        {"charge_current_max": 0.04},
        {"charge_current_max": 1e-9},
        {"charge_power_max": 0.0004},
        {"charge_voltage_max": 0.04},
        {"charge_current_max": 0.09, "method": ChargeMethod.PULSED},
        {"charge_current_max": 0.09, "method": ChargeMethod.MULTI_STAGE, "stages": ((60, 50), (90, 20))},
        {"trickle_current": 0.05, "method": ChargeMethod.TRICKLE},
        {"trickle_current": 0.099, "method": ChargeMethod.TRICKLE},
    ):
        plant = Plant().ready()
        plant.pm.set_charge_params(ChargeParams(**params))
        plant.pm.start_charging(80)
        nothing_flows(plant)
        if "charge_voltage_max" not in params:  # that one is long passed
            assert not plant.events("CHARGE_COMPLETE"), "a limit of 0 A is no full battery: %r" % (params,)
    for params in ({"discharge_current_max": 0.04}, {"discharge_current_max": 0.09}, {"discharge_power_max": 0.0004}):
        plant = Plant().ready()
        plant.pm.set_discharge_params(DischargeParams(**params))
        plant.pm.start_discharging(50)
        nothing_flows(plant)


def test_a_tiny_floor_leaves_the_configured_one_and_no_tail_current_is_no_default():
    plant = Plant()
    plant.soc = 20.0
    plant.ready()
    plant.pm.set_discharge_params(DischargeParams(min_soc=0.004, min_voltage=0.04))
    plant.pm.start_discharging(50)
    nothing_flows(plant, 3)
    plant = Plant()
    plant.soc = 60.0
    plant.ready()
    plant.pm.set_charge_params(ChargeParams(charge_voltage_max=660.0, tail_current=0.05))
    plant.pm.start_charging(90)
    plant.run(4)
    plant.volts = 659.5
    plant.force[im.BMS_I_CHG] = 95  # under C/20, the default of a tail current
    plant.run(20)
    assert plant.pm.mode == Mode.CHARGE and not plant.events("CHARGE_COMPLETE")


def test_a_stage_of_less_than_a_tenth_of_an_ampere_is_refused():
    for amps in (0.05, 0.09, 1e-9):
        said = refusal(ConfigError, ChargeParams, method=ChargeMethod.MULTI_STAGE, stages=((60, 50), (90, amps)))
        assert "stages" in said and "0.1" in said
    ChargeParams(method=ChargeMethod.MULTI_STAGE, stages=((60, 50), (90, 0.1)))


def test_curtailment_to_less_than_a_watt_is_none_at_all_and_a_tiny_lifetime_ends():
    plant = Plant().ready()
    plant.pm.set_constant_power(50)
    plant.pm.curtail(0.0004, 0.0004)
    nothing_flows(plant, 3)
    plant.pm.curtail(10, 10, 0.0004)
    plant.run(5)
    assert plant.command() == 50000, "0.4 ms are not for ever"
    plant.pm.curtail(10, 10, 0)
    plant.run(5)
    assert plant.command() == 10000, "exactly 0 s has no end"


def _through_the_schedule(entry, minutes=3):
    """What a stored entry makes of the power: the entry goes through storage, the scheduler and the claim."""
    first = Scheduler()
    first.add(entry)
    plant = Plant().ready()
    pm = plant.pm
    pm.plan.from_doc(first.to_doc())
    pm.enable_scheduling(True)
    pm.clock = Clock(PosixTZ("UTC0"), plant.ms)
    pm.clock.set(CONSOLE, SUNDAY, 3600)
    for _ in range(minutes * 60):
        plant.cycles(2, 500)
        pm.clock.tick(plant.ms)
        pm.run_schedule()
        yield plant


def test_a_scheduled_power_of_less_than_a_watt_moves_nothing():
    for mode, sign in ((Mode.CHARGE, -1), (Mode.DISCHARGE, 1)):
        for kw in TINY:
            entry = ScheduleEntry(hour=1, mode=mode, power_setpoint=sign * kw)
            for plant in _through_the_schedule(entry, 1):
                assert plant.command() == 0, "%s: %d W" % (entry, plant.command())
            assert plant.events("SCHEDULE_STARTED")
        plant = list(_through_the_schedule(ScheduleEntry(hour=1, mode=mode, power_setpoint=0), 1))[-1]
        assert plant.command() == sign * 100000, "exactly 0 is as much as is allowed"


def test_an_edit_of_a_running_entry_keeps_nothing_and_everything_apart():
    entry = ScheduleEntry(hour=1, mode=Mode.DISCHARGE, power_setpoint=0)
    second = 0
    for plant in _through_the_schedule(entry, 2):
        second += 1
        if second == 30:
            assert plant.command() == 100000
            plant.pm.update_schedule(0, ScheduleEntry(hour=1, mode=Mode.DISCHARGE, power_setpoint=0.0004))
        if second == 60:
            assert plant.command() == 0
            plant.pm.update_schedule(0, ScheduleEntry(hour=1, mode=Mode.DISCHARGE, power_setpoint=0))
    assert plant.command() == 100000
