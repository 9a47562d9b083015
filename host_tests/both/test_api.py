"""The public API as a whole: the original requirement's examples, bad arguments, and what the reference firmware got wrong."""

import firmware
from firmware import ChargeMethod, ChargeParams, DischargeParams, Event, Grid, Mode, PowerConfig, PowerError, PowerManager
from firmware import image as im
from host_tests.both.plant import Plant, photo, refusal

METHODS = (
    "start stop set_mode set_charge_params set_discharge_params start_charging start_discharging stop_operation "
    "set_constant_power stats register_callback unregister_callback emergency_shutdown reset_emergency "
    "set_grid_connection update_power_limits add_schedule update_schedule delete_schedule get_schedule schedules "
    "enable_scheduling"
)


def test_every_function_and_name_of_the_product_is_there():
    for name in METHODS.split():
        assert callable(getattr(PowerManager, name)), name
    for name in ("mode", "is_emergency", "grid_connection", "scheduling_enabled"):
        assert hasattr(PowerManager(), name), name
    names = "PowerManager PowerConfig ChargeParams DischargeParams Mode Flow Grid ChargeMethod Event PowerError"
    for name in names.split():
        assert getattr(firmware, name).__name__ == name
    assert issubclass(PowerError, Exception)


# ---- the original requirement's examples ------------------------------------------------------------------


def four_modules():
    """A system of four 48 V modules, as in the examples, with a battery of that size attached."""
    plant = Plant(
        grid_connection=Grid.INTERACTIVE,
        module_count=4,
        system_voltage_nominal=48.0 * 4,
        max_charge_power=100.0,
        max_discharge_power=100.0,
        max_grid_export_power=100.0,
        min_soc=20.0,
        max_soc=90.0,
        allow_grid_charging=True,
        allow_grid_export=True,
        inverter_efficiency=95.0,
        auto_restart=True,
    )
    plant.volts = 3.3 * 60
    plant.force = {im.BMS_V_MAX: 2160, im.BMS_V_MIN: 1680, im.BMS_I_CHG: 4000, im.BMS_I_DIS: 4000}
    return plant.ready()


def example_charge_params():
    return ChargeParams(
        charge_current_max=80.0,
        charge_voltage_max=54.0 * 4,
        charge_power_max=80.0,
        method=ChargeMethod.CC_CV,
        enable_balancing=True,
        timeout_minutes=120,
        target_soc=90.0,
    )


def example_discharge_params():
    return DischargeParams(
        discharge_current_max=90.0, discharge_power_max=90.0, min_voltage=44.0 * 4, min_soc=20.0, timeout_minutes=120
    )


def test_the_examples_configure_charge_discharge_and_stop():
    plant = four_modules()
    pm = plant.pm
    pm.set_mode(Mode.CHARGE)
    plant.run(2)
    assert pm.mode == Mode.CHARGE and plant.command() < 0
    pm.set_charge_params(example_charge_params())
    pm.set_discharge_params(example_discharge_params())
    pm.start_charging(80.0)
    plant.run(4)
    assert pm.mode == Mode.CHARGE
    assert abs(-plant.command() - 80 * 198 / 0.95) < 60, "80 A at the battery: %d W" % plant.command()
    pm.start_discharging(50.0, 60)
    plant.run(4)
    assert pm.mode == Mode.DISCHARGE
    assert abs(plant.command() - 90 * 198 * 0.95) < 700, "50 kW asked, 90 A allowed: %d W" % plant.command()
    assert pm.claims()[0]["kw"] == 50.0 and 3500 < pm.claims()[0]["seconds_left"] <= 3600
    pm.stop_operation()
    plant.run(2)
    assert pm.mode == Mode.IDLE and plant.command() == 0


def test_the_examples_of_constant_power():
    plant = four_modules()
    plant.pm.set_constant_power(-20.0, 0)
    plant.run(3)
    assert plant.command() == -20000 and plant.pm.claims()[0]["seconds_left"] is None
    plant.pm.set_constant_power(30.0, 120)
    plant.run(4)
    assert plant.command() == 30000
    assert 7100 < plant.pm.claims()[0]["seconds_left"] <= 7200


def test_small_powers_and_zero_keep_their_sign():
    plant = Plant().ready()
    for kw in (0.5, -0.5, 0.001, -0.001, 99.999, -99.999, 0):
        plant.pm.set_constant_power(kw)
        plant.run(12)
        assert plant.command() == int(kw * 1000 + (0.5 if kw >= 0 else -0.5)), "%s kW became %d W" % (kw, plant.command())
    assert plant.pm.mode == Mode.IDLE


def test_the_examples_of_events_and_emergency():
    plant = four_modules()
    pm = plant.pm
    heard, complete = [], []

    def handler(event, event_data, user_data):
        if event == Event.MODE_CHANGE:
            heard.append("Mode changed to %d" % event_data)
        elif event == Event.CHARGE_COMPLETE:
            heard.append("Charging completed")

    def finished(event, event_data, user_data):
        complete.append(user_data)

    while pm.events.dispatch():
        pass
    pm.register_callback(Event.CHARGE_COMPLETE, finished, "me")
    pm.register_callback(-1, handler, None)
    pm.start_charging(50.0)
    plant.run(2)
    pm.emergency_shutdown()
    assert pm.is_emergency is True
    pm.reset_emergency()
    assert pm.is_emergency is False
    while pm.events.dispatch():
        pass
    assert heard == ["Mode changed to 2", "Charging completed", "Mode changed to 1", "Mode changed to 4", "Mode changed to 0"]
    assert complete == ["me"]


# ---- bad arguments ----------------------------------------------------------------------------------------


def test_constant_power_and_pauses_name_value_and_range_and_change_nothing():
    plant = Plant(max_charge_power=60, max_discharge_power=80).ready()
    pm = plant.pm
    before = photo(pm)
    for kw in (80.5, -60.5, 1e6, float("-inf")):
        said = refusal(PowerError, pm.set_constant_power, kw)
        assert "-60" in said and "80" in said and "kW" in said and str(kw) in said
    for minutes in (-5, 10081):
        for call, given in ((pm.set_constant_power, (1, minutes)), (pm.stop_operation, (minutes,))):
            said = refusal(PowerError, call, *given)
            assert "10080" in said and "min" in said and str(minutes) in said
    for wrong in ("1", None, True, float("nan"), (1,)):
        assert "kw" in refusal(ValueError, pm.set_constant_power, wrong)
        assert "minutes" in refusal(ValueError, pm.set_constant_power, 1, wrong)
        assert "minutes" in refusal(ValueError, pm.stop_operation, wrong)
    assert photo(pm) == before


def test_outside_limits_name_value_and_range_and_change_nothing():
    plant = Plant().ready()
    pm = plant.pm
    before = photo(pm)
    for given, pieces in (
        ((101, 10, 10), ("soc", "101", "100")),
        ((-0.1, 10, 10), ("soc", "-0.1")),
        ((50, 1001, 10), ("max_charge_current", "1001", "1000")),
        ((50, 10, -1), ("max_discharge_current", "-1")),
    ):
        said = refusal(PowerError, pm.update_power_limits, *given)
        for piece in pieces:
            assert piece in said
    for wrong in ("50", None, float("nan")):
        refusal(ValueError, pm.update_power_limits, wrong, 10, 10)
        refusal(ValueError, pm.update_power_limits, 50, wrong, 10)
        refusal(ValueError, pm.update_power_limits, 50, 10, wrong)
    for given in ((-1, None), (None, 1001)):
        assert "1000" in refusal(PowerError, pm.curtail, *given)
    for seconds in (-1, 86401):
        assert "86400" in refusal(PowerError, pm.curtail, 5, 5, seconds)
    assert "seconds" in refusal(ValueError, pm.curtail, 5, 5, None)
    for given in (("5", None), (None, float("nan"))):
        assert "kw" in refusal(ValueError, pm.curtail, *given)
    assert photo(pm) == before


def test_limits_from_other_code_count_as_the_bms_and_age_as_it_does():
    plant = Plant().ready()
    pm = plant.pm
    plant.silent = {im.SEQ_BMS, im.SEQ_BMS_LIMITS, im.SEQ_BMS_CELLS, im.SEQ_BMS_TEMPS, im.SEQ_BMS_FLAGS}
    plant.image.now[im.AGE + im.SEQ_BMS_CELLS] = plant.image.now[im.AGE + im.SEQ_BMS_TEMPS] = im.AGE_NEVER
    plant.image.now[im.AGE + im.SEQ_BMS_FLAGS] = im.AGE_NEVER  # a BMS that was never on this board's buses
    pm.set_constant_power(60)
    for _ in range(10):
        pm.update_power_limits(64.0, 50.0, 40.0, plant.volts, plant.dc_watts() / plant.volts, 25.0)
        plant.run(1)
    assert abs(plant.command() - 40 * 643.5 * 0.95) < 700 and plant.why() == "bms_current"
    assert abs(pm.stats()["limit_charge"] - 50 * 0.6435 / 0.95) < 0.1 and plant.why(True) == "bms_current"
    assert abs(pm.stats()["soc"] - 64) < 1
    plant.run(3.2)
    assert plant.command() == 0, "not renewed for three BMS periods"
    for _ in range(5):
        pm.update_power_limits(64.0, 50.0, 40.0)
        plant.run(1)
    assert plant.command() == 0 and plant.why() in ("missing_data", "mode"), "limits alone do not make a dead voltage fresh"
    assert "all three" in refusal(PowerError, pm.update_power_limits, 64.0, 50.0, 40.0, 640.0)


# ---- what the reference firmware gets wrong ---------------------------------------------------------------


def test_the_power_shown_is_measured_not_the_target_copied():
    plant = Plant().ready()
    plant.follows = False
    plant.power = 0
    plant.pm.set_constant_power(40)
    plant.run(1)
    stats = plant.pm.stats()
    assert stats["command"] == 20.0 and stats["power"] == 0.0, "the inverter was told, and did nothing"
    assert plant.now[im.CMD_RUN] == 1 and plant.now[im.CMD_SEQ] > 0


def test_it_decides_in_every_cycle_with_a_configured_ramp_and_never_ramps_an_emergency():
    plant = Plant(ramp_up=40, ramp_down=80).ready()
    plant.pm.set_constant_power(100)
    plant.cycle()
    assert plant.command() == 2000, "50 ms after the call"
    plant.run(3)
    assert plant.command() == 100000, "40 kW/s, not 10"
    plant.pm.emergency_shutdown()
    assert plant.command() == 0


def test_no_event_is_lost_to_a_lock_of_its_own():
    plant = Plant().ready()
    pm = plant.pm
    heard = []

    def calls_back(event, data, user_data):
        heard.append(event)
        pm.stats()
        pm.claims()
        pm.history = pm.events.history()

    before = sum(pm.events.counts)
    while pm.events.dispatch():
        pass
    pm.register_callback(Event.ALL, calls_back)
    pm.set_grid_connection(Grid.BACKUP)
    pm.set_constant_power(-10)
    plant.run(3)
    pm.emergency_shutdown()
    while pm.events.dispatch():
        pass
    assert len(heard) == sum(pm.events.counts) - before >= 4


def test_timers_are_right_for_a_week_and_over_every_wrap_of_the_clock():
    plant = Plant().ready()
    plant.ms = (1 << 30) - 86400000
    plant.cycle()
    plant.pm.set_constant_power(0, 10080)
    plant.cycles(2015, 300000)
    assert [claim["source"] for claim in plant.pm.claims()] == ["manual"], "it ended too early"
    plant.cycles(2, 300000)
    assert plant.pm.claims() == [] and len(plant.events("OPERATION_TIMEOUT")) == 1
    assert abs(plant.pm.stats()["uptime_s"] - 604800) < 700


def test_more_than_ten_may_listen_and_a_bad_one_stops_nothing():
    plant = Plant().ready()
    pm = plant.pm
    heard, reports = [], []
    pm.events.report = lambda callback, error: reports.append(str(error))

    def good(event, data, user_data):
        heard.append(user_data)

    def bad(event, data, user_data):
        raise RuntimeError("broken listener")

    for i in range(20):
        pm.register_callback(Event.EMERGENCY, bad if i % 4 == 0 else good, i)
    plant.pm.emergency_shutdown()
    while pm.events.dispatch():
        pass
    assert heard == [i for i in range(20) if i % 4] and len(reports) == 5
    plant.cycle()
    assert pm.is_emergency


def test_a_field_that_was_set_after_its_parameters_were_made_is_checked_like_any_other():
    plant = Plant().ready()
    pm = plant.pm
    for made, use, wrong in (
        (DischargeParams, pm.set_discharge_params, ("min_soc", float("nan"), "discharge.min_soc = nan")),
        (DischargeParams, pm.set_discharge_params, ("min_soc", 150, "discharge.min_soc = 150: allowed are 0 to 100")),
        (DischargeParams, pm.set_discharge_params, ("discharge_power_max", -5, "discharge_power_max = -5: allowed are 0 to 1000")),
        (DischargeParams, pm.set_discharge_params, ("timeout_minutes", 2**33, "allowed are 0 to 10080")),
        (DischargeParams, pm.set_discharge_params, ("min_sok", 30, "no such key; did you mean min_soc?")),
        (ChargeParams, pm.set_charge_params, ("charge_power_max", -5, "charge.charge_power_max = -5: allowed are 0 to 1000")),
        (ChargeParams, pm.set_charge_params, ("method", 2, "MULTI_STAGE needs 1 to 8 pairs")),
        (ChargeParams, pm.set_charge_params, ("pulse_period", float("nan"), "charge.pulse_period = nan")),
        (ChargeParams, pm.set_charge_params, ("timeout_minutes", 2**33, "allowed are 0 to 10080")),
        (ChargeParams, pm.set_charge_params, ("target_soc", 1e30, "target_soc")),
    ):
        params = made(timeout_minutes=30)
        setattr(params, wrong[0], wrong[1])
        before = photo(pm)
        assert wrong[2] in refusal(PowerError, use, params), wrong
        assert photo(pm) == before, wrong
    pm.set_charge_params(ChargeParams(charge_power_max=10))
    pm.set_discharge_params(DischargeParams(discharge_power_max=12))
    plant.run(1)
    assert (pm.image.par[im.OP_P_CHG], pm.image.par[im.OP_P_DIS]) == (10000, 12000), "a good one still counts"


def test_what_is_done_to_parameters_after_they_were_given_changes_nothing():
    plant = Plant().ready()
    charge, discharge = ChargeParams(timeout_minutes=1), DischargeParams(timeout_minutes=1)
    plant.pm.set_charge_params(charge)
    plant.pm.set_discharge_params(discharge)
    charge.timeout_minutes = discharge.timeout_minutes = 2**33
    for start in (plant.pm.start_discharging, plant.pm.start_charging):
        start()
        plant.run(2)
        assert plant.by() == "manual" and 55 < plant.pm.claims()[0]["seconds_left"] <= 60
        plant.run(60)
        assert plant.command() == 0


def test_a_configuration_of_which_a_field_was_set_to_what_cannot_be_is_refused():
    for name, value in (("max_charge_power", -5), ("max_soc", 150), ("cycle_ms", 0), ("min_soc", float("nan"))):
        config = PowerConfig()
        setattr(config, name, value)
        assert "power.%s = %s" % (name, value) in refusal(PowerError, PowerManager, config), name


def test_a_configuration_is_required_to_be_one():
    assert PowerManager().config.module_count == PowerConfig().module_count
    for wrong in ({}, "config", 5):
        refusal(ValueError, PowerManager, wrong)
