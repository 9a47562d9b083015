"""Charging: each method's current, where it ends and with which event, balancing, what the BMS asks for."""

from firmware import image as im
from firmware.charging import ChargeMethod, ChargeParams
from firmware.discharging import DischargeParams
from firmware.errors import ConfigError, PowerError
from firmware.modes import Mode
from host_tests.both.plant import Plant, photo, refusal


def charging(target=0.0, soc=50.0, **params):
    plant = Plant()
    plant.soc = soc
    plant.ready()
    plant.pm.set_charge_params(ChargeParams(**params))
    plant.pm.start_charging(target)
    return plant


def amps(plant):
    """A into the battery by the command, as the limits count it (AC watts, efficiency, pack voltage)."""
    return -plant.command() * 0.95 / plant.volts


def test_it_charges_within_current_and_power_of_its_parameters():
    plant = charging(charge_current_max=80, charge_power_max=90)
    plant.run(8)
    assert plant.pm.mode == Mode.CHARGE and abs(amps(plant) - 80) < 0.5
    plant = charging(charge_current_max=80, charge_power_max=30)
    plant.run(8)
    assert plant.command() == -30000


def test_it_ends_at_the_target_with_charge_complete():
    plant = charging(52, 50.0)
    seconds = plant.until(lambda: plant.pm.mode == Mode.IDLE and plant.events("CHARGE_COMPLETE"), 900, 500) / 1000
    assert abs(plant.soc - 52) < 0.3, "stopped at %s %%" % plant.soc
    assert 150 < seconds < 900, "4 kWh at 100 kW and the taper took %s s" % seconds
    assert len(plant.events("CHARGE_COMPLETE")) == 1 and not plant.events("OPERATION_TIMEOUT")
    assert plant.pm.claims() == []
    plant.run(2)
    assert plant.command() == 0


def test_zero_is_the_parameters_target_and_then_the_ceiling():
    for params, target in (({"target_soc": 70.0}, 70), ({}, 90)):
        plant = charging(0, target - 0.6, **params)
        plant.until(lambda: plant.events("CHARGE_COMPLETE"), 600, 500)  # noqa: B023
        assert abs(plant.soc - target) < 0.3, "stopped at %s %%" % plant.soc


def test_a_target_already_reached_completes_at_once():
    plant = charging(60, 75.0)
    plant.run(2)
    assert plant.pm.mode == Mode.IDLE and len(plant.events("CHARGE_COMPLETE")) == 1 and plant.soc == 75.0


def test_the_tail_current_at_the_voltage_ends_it():
    plant = charging(90, 60.0, charge_voltage_max=660.0, tail_current=10.0)
    plant.run(4)
    assert plant.pm.mode == Mode.CHARGE
    plant.volts = 659.5
    plant.force[im.BMS_I_CHG] = 105  # the cells take less and less
    plant.run(20)
    assert plant.pm.mode == Mode.CHARGE, "over the tail current"
    plant.force[im.BMS_I_CHG] = 95
    plant.run(4)
    assert plant.pm.mode == Mode.CHARGE, "not for long enough yet"
    plant.run(3)
    assert plant.pm.mode == Mode.IDLE and len(plant.events("CHARGE_COMPLETE")) == 1


def test_a_voltage_below_the_batterys_is_not_called_full():
    """100 V for a pack of 643 V left 0 kW from the first cycle on, and 5 s later the battery was "full" at 50 %."""
    plant = charging(90, 50.0, charge_voltage_max=100.0)
    plant.run(3)
    assert "V, the cut-off is 100.0 V (set_charge_params())" in plant.pm.stats()["reason"]
    plant.run(4)
    assert plant.pm.mode == Mode.IDLE and len(plant.events("CHARGE_COMPLETE")) == 1
    assert "the highest voltage was there already, and no current flowed" in plant.pm.stats()["last_end"]


def test_new_parameters_with_such_a_voltage_do_not_make_a_running_charge_full():
    plant = charging(90, 50.0, charge_power_max=20)
    plant.run(5)
    assert plant.command() == -20000
    plant.pm.set_charge_params(ChargeParams(charge_voltage_max=100.0))
    plant.run(10)
    assert plant.pm.mode == Mode.IDLE and "no current flowed" in plant.pm.stats()["last_end"]


def test_parameters_that_are_set_again_and_again_leave_a_full_battery_full():
    for again in (False, True):
        plant = charging(90, 60.0, charge_voltage_max=660.0, tail_current=10.0)
        plant.run(4)
        plant.volts = 659.5
        plant.force[im.BMS_I_CHG] = 95
        for _ in range(20):
            plant.run(1)
            if again:
                plant.pm.set_charge_params(ChargeParams(charge_voltage_max=660.0, tail_current=10.0))
        assert "full: the tail current is reached" in plant.pm.stats()["last_end"]


def test_the_voltage_is_held_not_passed():
    plant = charging(90, 60.0, charge_voltage_max=660.0)
    before = None
    for tenths in range(6435, 6610, 5):
        plant.volts = tenths / 10
        plant.run(0.5)
        if before is not None and plant.volts > 655:
            assert plant.pm.stats()["limit_charge"] <= before + 0.1 or plant.why(True) != "pack_voltage"
        before = plant.pm.stats()["limit_charge"]
    plant.volts = 668.0
    for _ in range(40):
        plant.cycle()
    assert plant.why(True) == "pack_voltage" and -plant.command() < 5000, "8 V too high: the current goes"


def test_pulsed_gives_current_for_its_duty_and_rests():
    plant = charging(90, 50.0, method=ChargeMethod.PULSED, pulse_period=10, pulse_duty=70, charge_power_max=20)
    plant.run(20)
    on = 0
    for _ in range(1000):  # five periods
        plant.cycle()
        on += plant.command() < 0
        assert plant.pm.mode == Mode.CHARGE, "resting belongs to the charge"
    assert 690 <= on <= 700
    plant.run(9.5)
    assert plant.pm.mode == Mode.CHARGE


def test_charge_ends_a_pulse_is_as_long_as_its_duty_says_with_the_ramps_in_it():
    """charge-ends: with ramps of seconds a pulse of 50 % carried current for 70 % of the time."""
    steep = {"ramp_up": 1000, "ramp_down": 10}
    for duty, period, ramps in ((50, 10, {}), (50, 60, {}), (20, 10, {}), (80, 4, {}), (50, 10, steep)):
        plant = Plant(**ramps)
        plant.soc = 50.0
        plant.ready()
        plant.pm.set_charge_params(ChargeParams(method=ChargeMethod.PULSED, pulse_period=period, pulse_duty=duty))
        plant.pm.start_charging(90)
        plant.run(2 * period)
        cycles = 3 * period * 20
        carried = 0
        for _ in range(cycles):
            plant.cycle()
            carried += plant.command() < 0
            assert plant.pm.mode == Mode.CHARGE, "the rest belongs to the charge"
        share = 100 * carried / cycles
        assert duty - 3 <= share <= duty, "%s %% of the time for %s %%, period %s s, %s" % (share, duty, period, ramps)


def test_charge_ends_a_pulse_is_no_higher_than_it_can_fall_within_its_duty():
    """Where power rises at once and falls slowly a short pulse overlapped the next: 1 % of 2 s was current for 90 %."""
    for duty, period in ((1, 2), (50, 1), (20, 4)):
        plant = Plant(ramp_up=1000, ramp_down=5)
        plant.soc = 50.0
        plant.ready()
        plant.pm.set_charge_params(ChargeParams(method=ChargeMethod.PULSED, pulse_period=period, pulse_duty=duty))
        plant.pm.start_charging(90)
        plant.run(2 * period)
        cycles = 10 * period * 20
        carried = 0
        for _ in range(cycles):
            plant.cycle()
            carried += plant.command() < 0
        share = 100 * carried / cycles
        one_cycle = 100 / (20 * period)
        assert share <= duty + one_cycle, "%s %% of the time for %s %%, period %s s" % (share, duty, period)


def test_multi_stage_takes_each_stages_current_and_ends_after_the_last():
    stages = ((60, 90), (70, 45.5), (80, 20))
    for soc, expected in ((55.0, 90), (65.0, 45.5), (75.0, 20)):
        plant = charging(90, soc, method=ChargeMethod.MULTI_STAGE, stages=stages)
        plant.run(7)
        assert abs(amps(plant) - expected) < 0.5, "at %s %%: %s A" % (soc, amps(plant))
    plant = charging(90, 79.7, method=ChargeMethod.MULTI_STAGE, stages=stages)
    plant.until(lambda: plant.pm.mode == Mode.IDLE and plant.events("CHARGE_COMPLETE"), 600, 500)
    assert 79.7 <= plant.soc < 80.6


def test_a_constant_power_goes_on_past_the_stages_of_a_charge():
    """It ended at the last stage's state of charge, as used up, although no stage shapes it."""
    plant = Plant()
    plant.soc = 79.0
    plant.ready()
    plant.pm.set_charge_params(ChargeParams(method=ChargeMethod.MULTI_STAGE, stages=((60, 50), (80, 20))))
    plant.pm.set_constant_power(-60)
    plant.run(900, 500)
    assert plant.soc > 83 and plant.command() == -60000 and not plant.events("CHARGE_COMPLETE")
    plant.pm.start_charging(0)
    plant.run(2)
    assert "its stages are used up" in plant.pm.stats()["last_end"]


def test_trickle_is_small_and_slow():
    plant = charging(90, 50.0, method=ChargeMethod.TRICKLE, trickle_current=4)
    plant.run(5)
    assert abs(amps(plant) - 4) < 0.2
    plant = charging(90, 50.0, method=ChargeMethod.TRICKLE)
    plant.run(5)
    assert abs(amps(plant) - 333.3 / 50) < 0.2, "C/50 unless told"


def test_a_methods_current_does_not_outlive_its_charge():
    for params in ({"method": ChargeMethod.TRICKLE}, {"method": ChargeMethod.MULTI_STAGE, "stages": ((55, 5),)}):
        plant = charging(56, 50.0, **params)
        plant.run(5)
        plant.pm.set_constant_power(-40)
        plant.run(5)
        assert plant.command() == -40000, "%s W, limited by %s" % (plant.command(), plant.why(True))


def test_the_timeout_ends_a_charge():
    plant = charging(90, 50.0, timeout_minutes=2, charge_power_max=5)
    plant.run(118, 500)
    assert plant.pm.mode == Mode.CHARGE
    plant.run(4, 500)
    assert plant.pm.mode == Mode.IDLE and plant.command() == 0
    assert len(plant.events("OPERATION_TIMEOUT")) == 1 and not plant.events("CHARGE_COMPLETE")


def test_a_full_signal_of_the_bms_ends_it():
    plant = charging(90, 89.0)
    plant.run(4)
    plant.force = {im.BMS_REQUESTS: im.BMS_REQ_NO_CHARGE, im.BMS_I_CHG: 0, im.CELL_V_MAX: 3600, im.CELL_V_MIN: 3590}
    plant.volts = 702.0
    plant.run(15)
    assert plant.events("CHARGE_COMPLETE") and plant.pm.mode == Mode.IDLE


def test_balancing_is_asked_for_while_charging_if_enabled():
    plant = charging(90, 50.0, enable_balancing=True)
    plant.run(1)
    assert plant.now[im.CMD_BALANCE] == 1
    plant.pm.stop_operation()
    plant.cycles(2)
    assert plant.now[im.CMD_BALANCE] == 0
    plant = charging(90, 50.0, enable_balancing=False)
    plant.run(1)
    assert plant.now[im.CMD_BALANCE] == 0


def test_force_charge_is_honoured_without_being_asked():
    plant = Plant()
    plant.soc = 19.0
    plant.ready()
    plant.force[im.BMS_REQUESTS] = im.BMS_REQ_FORCE_CHARGE
    plant.run(2)
    assert plant.command() == -5000 and plant.by() == "protection" and plant.pm.mode == Mode.CHARGE
    plant.pm.stop_operation()
    plant.run(1)
    assert plant.command() == -5000, "a pause does not starve the cells"
    plant.pm.curtail(None, 2)
    plant.run(1)
    assert plant.command() == -2000, "but limits hold"
    plant.silent.add(im.SEQ_BMS_FLAGS)
    plant.run(4)
    assert plant.by() != "protection", "an old flag asks for nothing"


def test_a_wanted_full_charge_lifts_the_ceiling():
    plant = Plant()
    plant.soc = 89.9
    plant.ready()
    plant.pm.start_charging()
    plant.run(3)
    assert plant.command() == 0 and plant.events("CHARGE_COMPLETE")
    plant.force[im.BMS_REQUESTS] = im.BMS_REQ_FULL_CHARGE
    plant.pm.start_charging()
    plant.run(6)
    assert plant.command() < -50000 and plant.pm.mode == Mode.CHARGE
    plant.pm.start_charging(85)
    plant.run(3)
    assert plant.command() == 0, "a target asked for by a person stays"


def test_new_parameters_count_for_a_running_charge():
    plant = charging(90, 50.0, charge_power_max=60)
    plant.run(5)
    assert plant.command() == -60000
    plant.pm.set_charge_params(ChargeParams(charge_power_max=25))
    plant.cycle()
    assert plant.command() == -25000


def test_charge_ends_at_the_target_of_new_parameters_unless_the_charge_named_its_own():
    """charge-ends: new parameters reach a running charge, target included."""
    plant = charging(0, 50.0, target_soc=80)
    plant.run(5)
    plant.pm.set_charge_params(ChargeParams(target_soc=50.0))
    plant.run(2)
    assert plant.pm.mode == Mode.IDLE and len(plant.events("CHARGE_COMPLETE")) == 1
    plant = charging(0, 50.0, target_soc=50.5)
    plant.run(3)
    plant.pm.set_charge_params(ChargeParams())
    plant.run(120, 500)
    assert plant.soc > 51.0 and plant.pm.mode == Mode.CHARGE, "the lower target is over: to max_soc"
    plant = charging(70, 50.0, target_soc=80)
    plant.run(5)
    plant.pm.set_charge_params(ChargeParams(target_soc=40))
    plant.run(5)
    assert plant.pm.mode == Mode.CHARGE, "start_charging(70) means 70"


def test_charge_ends_by_the_timeout_of_new_parameters_counted_from_its_beginning():
    """charge-ends: new parameters reach a running operation, timeout included, in both directions."""
    for begin, change, ask in (
        (charging(90, 50.0, charge_power_max=5, timeout_minutes=10), ChargeParams, "set_charge_params"),
        (Plant().ready(), DischargeParams, "set_discharge_params"),
    ):
        plant = begin
        if change is DischargeParams:
            plant.pm.start_discharging(5)
        plant.run(90, 500)
        getattr(plant.pm, ask)(change(timeout_minutes=2))
        plant.run(28, 500)
        assert plant.pm.mode in (Mode.CHARGE, Mode.DISCHARGE)
        plant.run(4, 500)
        assert plant.pm.mode == Mode.IDLE and len(plant.events("OPERATION_TIMEOUT")) == 1
    plant = charging(90, 50.0, charge_power_max=5)
    plant.run(90, 500)
    plant.pm.set_charge_params(ChargeParams(timeout_minutes=1))
    plant.run(2)
    assert plant.pm.mode == Mode.IDLE and len(plant.events("OPERATION_TIMEOUT")) == 1, "its time is over already"
    plant = charging(90, 50.0, charge_power_max=5, timeout_minutes=1)
    plant.run(30, 500)
    plant.pm.set_charge_params(ChargeParams())
    plant.run(60, 500)
    assert plant.pm.mode == Mode.CHARGE, "without a timeout there is none"
    plant = Plant().ready()
    plant.pm.start_discharging(5, 10)
    plant.run(30, 500)
    plant.pm.set_discharge_params(DischargeParams(timeout_minutes=1))
    plant.run(60, 500)
    assert plant.pm.mode == Mode.DISCHARGE, "ten minutes were asked for by name"


def test_a_stage_of_less_than_the_resolution_is_refused():
    for amps in (0.05, 0.0001, 0):
        assert "0.1" in refusal(ConfigError, ChargeParams, method=ChargeMethod.MULTI_STAGE, stages=((90, amps),))


def test_bad_parameters_are_all_named_at_once_with_their_range():
    said = refusal(ConfigError, ChargeParams, charge_current_max=-1, target_soc=101, method=4, pulse_duty=0, puls_period=3)
    pieces = ("charge_current_max", "-1", "1000", "target_soc", "101", "method", "pulse_duty", "99", "puls_period", "pulse_period")
    for piece in pieces:
        assert piece in said, "%r is not in %s" % (piece, said)
    nine = tuple((i * 10 + 1, 5) for i in range(9))
    for stages in ((), ((50,),), ((50, 0),), ((50, 10), (40, 5)), ((101, 5),), ((50, 2000),), nine):
        assert "stages" in refusal(ConfigError, ChargeParams, method=ChargeMethod.MULTI_STAGE, stages=stages)
    plant = Plant().ready()
    before = photo(plant.pm)
    for wrong in (None, {}, "fast", 80, ChargeParams):
        assert "ChargeParams" in refusal(ValueError, plant.pm.set_charge_params, wrong)
    for target in (90.1, -1, 200):
        said = refusal(PowerError, plant.pm.start_charging, target)
        assert "90" in said and str(target) in said
    for wrong in ("80", None, True, float("nan")):
        assert "target_soc" in refusal(ValueError, plant.pm.start_charging, wrong)
    assert photo(plant.pm) == before


def test_a_target_above_the_ceiling_is_refused_with_the_parameters_not_with_the_charge():
    plant = Plant(max_soc=90).ready()
    before = photo(plant.pm)
    for target in (90.1, 95, 100):
        said = refusal(PowerError, plant.pm.set_charge_params, ChargeParams(target_soc=target))
        assert "target_soc" in said and str(target) in said and "90" in said
    assert photo(plant.pm) == before
    for target in (0, 90, 89.9):
        plant.pm.set_charge_params(ChargeParams(target_soc=target))
        plant.pm.start_charging()


def test_stages_of_the_wrong_form_are_a_value_error_that_says_the_form():
    for wrong in (None, 5, "x", {}, {50: 10}, (50, 10), ("ab",), (("a", 5),), ((50, None),), ((True, 5),), ([50, []],)):
        for method in (ChargeMethod.CC_CV, ChargeMethod.MULTI_STAGE):
            said = refusal(ValueError, ChargeParams, method=method, stages=wrong)
            assert "stages = " in said and repr(wrong) in said and "8 pairs" in said, said
    assert ChargeParams(stages=[[50, 10], (80.0, 5)], method=ChargeMethod.MULTI_STAGE).stages


def test_floor_any_source_charges_a_battery_that_is_under_it_and_none_discharges_it():
    for soc in (19.0, 10.0, 3.0):
        for ask in (
            lambda pm: pm.start_charging(80),
            lambda pm: pm.set_constant_power(-30),
            lambda pm: pm.claim("remote", -30, 600, "ems"),
            lambda pm: pm.claim("grid_service", -30, 600, "droop"),
            lambda pm: pm.claim("schedule", -30, 600, "plan"),
            lambda pm: pm.claim("optimiser", -30, 600, "tariff"),
        ):
            plant = Plant()
            plant.soc = soc
            plant.ready()
            ask(plant.pm)
            plant.run(4)
            assert plant.command() <= -30000, "%s %%: %r" % (soc, plant.pm.stats()["reason"])
        for source in ("remote", "grid_service", "schedule", "optimiser"):
            plant = Plant()
            plant.soc = soc
            plant.ready()
            plant.pm.claim(source, 30, 600, "x")
            plant.run(4)
            assert plant.command() == 0 and plant.why() == "soc"


def test_parameters_that_are_set_again_and_again_neither_prolong_a_pulse_nor_hold_off_the_tail():
    """A program may renew its parameters every second: the method goes on where it was."""
    for renewed in (1.0, 4.0):
        plant = Plant()
        plant.soc = 50.0
        plant.ready()
        wanted = {"method": ChargeMethod.PULSED, "pulse_period": 10, "pulse_duty": 50}
        plant.pm.set_charge_params(ChargeParams(**wanted))
        plant.pm.start_charging(90)
        carried = 0
        for _ in range(int(60 / renewed)):
            plant.pm.set_charge_params(ChargeParams(**wanted))
            for _ in range(int(renewed * 20)):
                plant.cycle()
                carried += plant.command() < 0
        assert 46 <= 100 * carried / 1200 <= 50, carried
    plant = charging(90, 60.0, charge_voltage_max=660.0, tail_current=10.0)
    plant.run(4)
    plant.volts = 659.5
    plant.force[im.BMS_I_CHG] = 95
    for _ in range(20):
        plant.pm.set_charge_params(ChargeParams(charge_voltage_max=660.0, tail_current=10.0))
        plant.run(1)
    assert plant.pm.mode == Mode.IDLE and len(plant.events("CHARGE_COMPLETE")) == 1
