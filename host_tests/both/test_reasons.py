"""Why the power is what it is, in words: every state at 0 kW has its sentence, with who, what, since when, what ends it."""

import startup

from firmware import buses, reasons, zones
from firmware import image as im
from firmware.charging import ChargeParams
from firmware.clock import Clock
from firmware.discharging import DischargeParams
from firmware.errors import PowerError
from firmware.event_codes import Event
from firmware.modes import Mode
from firmware.requests import MANUAL, REMOTE, SCHEDULE
from host_tests.both.desk import Desk
from host_tests.both.plant import ALL, Plant, refusal

BATTERY = {0, 1, 2, 3, 4}
PLACES = {
    im.HAS_BMS: ("bms", " on can0 at 500 kbit/s"),
    im.HAS_PCS: ("pcs", " at 10.0.0.5:502, unit 1"),
    im.HAS_METER: ("grid", " on rs485 at 9600 bit/s, unit 3"),
}


def site(has=ALL, **config):
    plant = Plant(has, **config)
    plant.pm.places = PLACES
    return plant


def running(kw=20, **config):
    plant = site(**config).ready()
    plant.pm.set_constant_power(kw)
    plant.run(4)
    assert plant.command() == kw * 1000
    return plant


def reason(plant):
    return plant.pm.stats()["reason"]


def says(plant, *wanted):
    """Every wanted text is in the reason, in this order, and the reason is one line without a bare limit by mode."""
    text = reason(plant)
    at = 0
    for part in wanted:
        found = text.find(part, at)
        assert found >= 0, "%r is not in %r" % (part, text)
        at = found + len(part)
    assert "by mode" not in text and "\n" not in text, text
    return True


# ---- STANDBY --------------------------------------------------------------------------------------------


def test_before_start_nobody_has_called_it():
    plant = site()
    plant.run(3.1)
    assert says(plant, "0 kW: STANDBY for 3 s", "start() was not called")


def test_start_says_what_it_waits_for():
    plant = site()
    plant.silent = set(BATTERY)
    plant.run(1)
    assert plant.pm.start() == "accepted, waiting for: bms (never received on can0 at 500 kbit/s)"
    plant.run(1)
    assert says(plant, "0 kW: STANDBY", "waiting for: bms (never received on can0 at 500 kbit/s)")
    plant.silent.add(im.SEQ_PCS)
    plant.run(4)
    lost = "fault pcs_lost: nothing received from the inverter at 10.0.0.5:502, unit 1 for 4.0 s"
    assert says(plant, lost, "waiting for: bms (never received")
    assert plant.pm.start() == (
        "accepted, waiting for: bms (never received on can0 at 500 kbit/s), "
        "pcs (nothing received at 10.0.0.5:502, unit 1 for 4.0 s)"
    )
    plant.silent.clear()
    plant.run(2)
    assert plant.pm.start() == "accepted" and plant.pm.set_mode(Mode.IDLE) == "accepted"


def test_start_with_the_zeros_of_a_battery_that_boots():
    plant = site()
    plant.force = {im.BMS_V: 0, im.BMS_SOC: 0}
    plant.run(1)
    assert "a state of charge and a voltage" in plant.pm.start()


def test_start_names_a_fault_that_stands():
    plant = site()
    plant.force = {im.PCS_STATE: im.PCS_FAULT, im.PCS_ALARM: 0x40}
    plant.run(1)
    assert plant.pm.start() == "accepted, waiting for: the end of fault pcs_fault: the inverter has stopped itself, alarm bits 0x40"


def test_a_refused_site():
    plant = site()
    error = plant.pm.refused = "power.max_soc = 120: allowed are 0 to 100 %"
    plant.silent = set(range(9))
    plant.run(1)
    assert says(plant, "0 kW: STANDBY", "the site file is refused: " + error)
    assert says(plant, "mend it, `mpremote cp site.json :site.json`, then `reboot`")
    startup.folder = "b/"  # a generation has its own
    try:
        assert says(plant, "`mpremote cp site.json :b/site.json`")
    finally:
        startup.folder = ""
    assert plant.pm.start() == "accepted, waiting for: a site file that is not refused (%s)" % error


def test_a_lost_battery_since_when_where_and_what_ends_it():
    plant = running()
    plant.silent = set(BATTERY)
    plant.run(8.0)
    assert says(
        plant, "0 kW: STANDBY for ", "fault bms_lost: nothing received from the battery on can0 at 500 kbit/s for 8.1 s",
        "starts by itself when that is gone",
    )  # fmt: skip
    plant.run(200)
    assert says(plant, "for 3 min; starts")
    plant.silent = set()
    plant.run(1)
    assert "nothing received" not in reason(plant), "it is received again"
    plant.until_mode(Mode.DISCHARGE)
    assert plant.pm.stats()["last_trip"][:9] == "bms_lost,", "stays until start()"
    plant.pm.start()
    assert plant.pm.stats()["last_trip"] == ""


def test_a_lost_inverter_and_lost_inputs():
    for groups, words in (
        ({im.SEQ_PCS}, "fault pcs_lost: nothing received from the inverter at 10.0.0.5:502, unit 1 for "),
        ({im.SEQ_IO}, "fault io_lost: nothing received from the I/O board for "),
    ):
        plant = running()
        plant.silent = groups
        plant.run(8)
        assert says(plant, "0 kW: STANDBY", words)


def test_a_battery_without_cells_is_silent_by_what_it_sent():
    plant = site(im.HAS_BMS | im.HAS_PCS)
    plant.silent = {im.SEQ_BMS_CELLS, im.SEQ_BMS_TEMPS}
    plant.ready()
    plant.silent = set(BATTERY)
    plant.run(9)
    assert says(plant, "for 9.1 s")


def test_the_wait_after_a_trip_has_its_seconds():
    plant = running(restart_delay=30)
    plant.force = {im.PCS_STATE: im.PCS_FAULT}
    plant.run(1)
    plant.force = {}
    plant.until(lambda: plant.faults() == [])
    plant.run(10)
    assert says(plant, "0 kW: STANDBY", "after fault pcs_fault", "next restart, in 20 s")


def test_used_up_restarts_and_the_trip_behind_them_stay_in_words_until_start():
    plant = running(restart_delay=1, restart_limit=2)
    for _ in range(3):
        plant.until_mode(Mode.DISCHARGE)
        plant.force = {im.PCS_STATE: im.PCS_FAULT}
        plant.until_mode(Mode.STANDBY)
        assert says(plant, "fault pcs_fault: the inverter has stopped itself")
        plant.force = {}
        plant.run(4)
    plant.run(60)
    assert plant.faults() == [] and plant.pm.mode == Mode.STANDBY
    assert says(plant, "0 kW: STANDBY", "stopped by fault pcs_fault", "all 2 restarts are used up", "start() begins again")
    assert "used up the restarts" in plant.pm.stats()["last_end"]
    plant.pm.start()
    plant.run(1)
    assert says(plant, "0 kW: IDLE", "nobody asks")


def test_without_auto_restart_a_trip_needs_start():
    plant = running(auto_restart=False)
    plant.force = {im.PCS_STATE: im.PCS_FAULT}
    plant.run(1)
    plant.force = {}
    plant.run(10)
    assert says(plant, "stopped by fault pcs_fault", "start() begins again")


def test_stop_on_the_way_and_after():
    plant = running(60)
    plant.pm.stop()
    plant.cycles(3)
    assert says(plant, " kW: stop() is under way")
    plant.until_mode(Mode.STANDBY)
    plant.run(1)
    assert says(plant, "0 kW: STANDBY", "stop() was called: start() begins again")
    assert "by stop()" in plant.pm.stats()["last_end"]


def test_a_clock_gives_the_time_and_the_date_of_what_is_long_ago():
    plant = site()
    clock = plant.pm.clock = Clock(zones.zone("Europe/Berlin"), 0)
    clock.set_text("2026-11-22 12:03:10")
    plant.run(3)
    assert says(plant, "0 kW: STANDBY since 12:03,")
    clock.set_text("2026-11-23 00:00:01")
    assert clock.text_ago(2) == "23:59" and clock.text_ago(0) == "00:00"
    assert clock.text_ago(72001) == "2026-11-22 04:00"
    clock.set_text("2026-03-29 03:10:00")
    assert clock.text_ago(3600) == "01:10", "the hour that summer time leaves out"


# ---- EMERGENCY and MAINTENANCE ----------------------------------------------------------------------------


def test_a_commanded_emergency():
    plant = running()
    plant.pm.emergency_shutdown()
    plant.run(3)
    assert says(plant, "0 kW: EMERGENCY for 3 s, commanded by emergency_shutdown()", "reset_emergency() ends it")
    assert plant.pm.emergency_reason == "commanded by emergency_shutdown()"
    latched = [fault for fault in plant.pm.faults() if "latched" in fault]
    assert [fault["name"] for fault in latched] == ["commanded"] and latched[0]["detail"] == plant.pm.emergency_reason
    assert "commanded" not in plant.pm.fault_counts()
    plant.pm.reset_emergency()
    plant.run(1)
    assert says(plant, "0 kW: STANDBY", "the emergency was reset: start() begins again")
    assert plant.pm.emergency_reason == "" and plant.pm.faults() == []


def test_the_emergency_stop_while_it_is_pressed_and_after():
    plant = running()
    plant.force = {im.IO_ESTOP: 1}
    plant.run(2)
    assert says(plant, "EMERGENCY", "fault emergency_stop: the emergency stop is pressed", "reset_emergency() once that is gone")
    assert "emergency_stop" in refusal(PowerError, plant.pm.reset_emergency)
    plant.force = {}
    plant.run(2)
    assert says(plant, "EMERGENCY", "fault emergency_stop, which is gone", "reset_emergency() ends it")


def test_other_causes_that_stand_are_named_beside_the_latched_one():
    plant = running()
    plant.force = {im.CELL_T_MAX: 700}
    plant.run(6)
    assert says(plant, "fault over_temperature: 24.0 to 70.0 degC")
    plant.force = {im.IO_ESTOP: 1}
    plant.run(60)
    assert says(plant, "fault over_temperature, which is gone", "fault emergency_stop: ", "once that is gone")


def test_after_a_reset_of_the_controller_the_cause_is_told_with_an_empty_fault_list():
    before = running()
    before.force = {im.IO_ESTOP: 1}
    before.run(1)
    plant = site()
    plant.pm.restore_emergency(before.pm.emergency_cause)
    plant.run(2)
    assert says(plant, "0 kW: EMERGENCY", "fault emergency_stop, which is gone, before the last reset", "reset_emergency() ends it")
    assert plant.faults() == []
    assert plant.pm.faults() == [
        {
            "name": "emergency_stop", "severity": "emergency", "active": False, "count": 0, "latched": True,
            "detail": plant.pm.emergency_reason,
        }
    ]  # fmt: skip
    plant = site()
    plant.pm.restore_emergency(-1)
    plant.run(1)
    assert says(plant, "commanded by emergency_shutdown(), before the last reset")


def test_maintenance():
    plant = site().ready()
    plant.pm.set_mode(Mode.MAINTENANCE)
    plant.run(2)
    assert says(plant, "0 kW: MAINTENANCE for 2 s, only service() moves anything", "STANDBY")
    plant.pm.service(True, True, 1.0, 30)
    plant.run(1)
    assert says(plant, "MAINTENANCE", "1 kW, 29 s left")


# ---- nobody asks, a pause, who has priority -----------------------------------------------------------------


def test_nobody_asks():
    plant = site().ready()
    plant.run(5)
    assert says(plant, "0 kW: IDLE for 5 s, nobody asks for power")
    plant.soc = 20.0
    plant.run(60)
    assert says(plant, "nobody asks", "discharging is limited to 0.0 kW by soc: state of charge 20.0 %, the floor is 20.0 %")


def test_a_pause_says_how_long():
    plant = running()
    assert plant.pm.stop_operation(2) == "accepted"
    plant.run(10)
    assert says(plant, "0 kW: paused by stop_operation(), 110 s left")
    plant.pm.stop_operation()
    plant.run(1)
    assert says(plant, "0 kW: paused by stop_operation() until resume()")


def test_a_pause_in_standby_says_that_start_ends_it():
    """It was to wait for start(), which ends it: the schedule began that the pause was to hold off."""
    plant = site()
    plant.run(1)
    assert plant.pm.stop_operation() == "accepted, but start() ends it"
    assert list(reasons.waiting(plant.pm.instant())) == ["manual (a pause) ends by start()"]
    plant.pm.claim("schedule", 5, 60, "mine")
    plant.run(1)
    assert list(reasons.waiting(plant.pm.instant())) == [
        "manual (a pause) ends by start()", "schedule (mine, 5 kW, 59 s left) waits: manual (a pause) has priority",
    ]  # fmt: skip
    plant.ready()
    plant.run(5)
    assert plant.command() == 5000
    plant.silent |= BATTERY  # a trip: it starts by itself, and then the pause goes on
    plant.run(5)
    assert plant.pm.mode == Mode.STANDBY and plant.pm.stop_operation() == "accepted"
    plant.run(1)
    assert "manual (a pause) waits" in list(reasons.waiting(plant.pm.instant()))


def test_a_claim_of_0_kw_and_its_owner():
    plant = site().ready()
    plant.pm.claim("remote", 0, 12, "ems")
    plant.run(2)
    assert says(plant, "0 kW: 0 kW asked by remote (ems), 10 s left")


def test_what_waits_behind_a_remote_claim():
    plant = site().ready()
    plant.pm.claim("remote", -20, 12, "ems")
    for call in (lambda: plant.pm.set_constant_power(5), lambda: plant.pm.start_charging(80), plant.pm.stop_operation):
        assert call() == "accepted, but remote (ems, -20 kW, 12 s left) has priority"
    plant.pm.start_discharging(5, 3)
    plant.run(2)
    assert list(reasons.waiting(plant.pm.instant())) == [
        "manual (5 kW, 2 min left) waits: remote (ems, -20 kW, 10 s left) has priority"
    ]
    assert says(plant, "-20 kW asked by remote (ems), 10 s left")


def test_what_runs_as_asked_and_on_the_ramp():
    plant = site().ready()
    assert plant.pm.set_constant_power(-60) == "accepted"
    plant.cycles(5)
    assert says(plant, reasons.kw(plant.command()) + ": ramping to -60 kW asked by manual")
    plant.run(5)
    assert reason(plant) == "not limited: -60 kW asked by manual"
    plant.pm.resume()
    plant.cycles(3)
    assert says(plant, " kW: ramping to 0 W, nobody asks")


def test_the_rest_of_a_pulse():
    plant = site().ready()
    plant.pm.set_charge_params(ChargeParams(method=1, pulse_period=10, pulse_duty=50))
    plant.pm.start_charging(80)
    plant.until(lambda: plant.now[im.REQUEST_P] == 0 and plant.command() == 0 and plant.by() == "manual")
    assert says(plant, "0 kW: the rest between two pulses of the charge by manual")


# ---- limits -------------------------------------------------------------------------------------------------


def limited(kw, force, left, *wanted, **config):
    """The words while kw are asked for and some inputs are as given; left: the kW that flow."""
    plant = site(**config).ready()
    plant.pm.set_constant_power(kw)
    plant.force = force
    plant.run(3)
    assert reason(plant)[: len(left) + 4] == left + " of ", reason(plant)
    assert says(plant, " of %d kW asked by manual: " % kw, *wanted)
    return plant


def test_what_the_battery_forbids():
    forbidden = {im.BMS_REQUESTS: im.BMS_REQ_NO_CHARGE}
    limited(-20, forbidden, "0 kW", "charging is limited to 0.0 kW by bms_forbids for 3 s: the BMS does not permit it")
    limited(20, {im.BMS_PROTECT: im.BMS_PROT_UNDER_V}, "0 kW", "discharging", "the BMS protects itself: under-voltage")
    plant = limited(-20, {im.BMS_PROTECT: im.BMS_PROT_OVER_V}, "0 kW", "charging", "the BMS protects itself: over-voltage")
    plant.force = {}
    plant.run(10)
    assert says(plant, "held off 2", " s more after an over-voltage")
    limited(20, {im.BMS_I_DIS: 0}, "0 kW", "by bms_current", "the battery allows 0.0 A")


def test_the_floor_and_the_ceiling():
    plant = site().ready()
    plant.pm.claim("remote", 20, 600, "ems")
    plant.soc = 20.0
    plant.run(60)
    assert says(plant, "0 kW of 20 kW asked by remote (ems)", "by soc", "state of charge 20.0 %, the floor is 20.0 %")
    plant.pm.claim("remote", -20, 600, "ems")
    plant.soc = 90.0
    plant.run(700, 100)
    plant.pm.claim("remote", -20, 600, "ems")
    plant.run(2)
    assert says(plant, "of -20 kW asked by remote (ems)", "by soc", "the ceiling is 90.0 %")


def test_an_operation_that_nothing_is_left_for_says_so_at_once():
    plant = site().ready()
    plant.soc = 20.0
    plant.run(60)
    assert plant.pm.start_discharging(20) == (
        "accepted, but discharging is limited to 0.0 kW by soc: state of charge 20.0 %, the floor is 20.0 %"
    )
    assert plant.pm.set_constant_power(-20) == "accepted"


def test_a_pack_voltage_with_whichever_bound_is_the_nearest():
    plant = site().ready()
    assert plant.now[im.BMS_V_MAX] > 0 and plant.now[im.BMS_V_MIN] > 0
    for slot, value, params, kw, wanted in (
        (im.BMS_V_MAX, 6400, None, -20, "the cut-off is 640.0 V"),
        (im.BMS_V_MIN, 6500, None, 20, "the cut-off is 650.0 V"),
        (im.BMS_V_MAX, im.NO_VALUE, ChargeParams(charge_voltage_max=630), -20, "the cut-off is 630.0 V (set_charge_params())"),
        (im.BMS_V_MIN, im.NO_VALUE, DischargeParams(min_voltage=900), 20, "the cut-off is 900.0 V (set_discharge_params())"),
    ):
        plant = site().ready()
        plant.force[slot] = value
        if params:
            (plant.pm.set_charge_params if kw < 0 else plant.pm.set_discharge_params)(params)
        plant.pm.set_constant_power(kw)
        plant.run(3)
        assert says(plant, "0.0 kW by pack_voltage", "643.", " V, " + wanted)
    plant.run(5)
    assert plant.pm.mode == Mode.IDLE and says(plant, "the lowest voltage is reached")


def test_a_temperature_with_its_value_and_bounds():
    limited(50, {im.CELL_T_MAX: 560}, "20 kW", "by temperature", "24.0 to 56.0 degC, all of it from ")
    limited(-50, {im.CELL_T_MIN: -50, im.CELL_T_MAX: -50}, "0 kW", "by temperature", "-5.0 degC, all of it from ")


def test_missing_data_names_group_device_place_and_age():
    plant = running()
    plant.silent = {im.SEQ_BMS_CELLS}
    plant.cycle(3500)  # held up ourselves: the battery is not lost, but what is old moves nothing
    assert says(plant, "0 kW of 20 kW", "by missing_data", "bms (nothing received on can0 at 500 kbit/s for 3.5 s)")
    nothing = {im.BMS_TEMP: im.NO_VALUE, im.CELL_T_MAX: im.NO_VALUE}
    plant = limited(20, nothing, "0 kW", "by missing_data", "the battery reports no temperature")
    assert "received" not in reason(plant)
    plant = running()
    plant.silent = {im.SEQ_METER}
    plant.run(8)
    assert says(plant, "0 kW of 20 kW", "by missing_data", "grid (nothing received on rs485 at 9600 bit/s, unit 3 for 8.1 s)")


def test_an_inverter_that_does_not_run():
    limited(20, {im.PCS_STATE: im.PCS_STARTING}, "0 kW", "by pcs", "the inverter is starting")
    limited(20, {im.PCS_STATE: im.NO_VALUE}, "0 kW", "by pcs", "no known state")


def test_grid_and_curtailment():
    limited(-20, {}, "0 kW", "by grid_connection", "EXPORT: only surplus charges", grid_connection=3)
    limited(60, {}, "20 kW", "limited to 20.0 kW by export", "at most 0 kW into the grid", allow_grid_export=False)
    plant = site().ready()
    plant.pm.curtail(5, 0, 30)
    assert plant.pm.set_constant_power(20) == "accepted", "the limit acts from the next cycle on"
    plant.run(2)
    assert says(plant, "5 kW of 20 kW", "by remote for 2 s: curtail(), 28 s left")
    assert plant.pm.set_constant_power(-20) == "accepted, but charging is limited to 0.0 kW by remote: curtail(), 28 s left"


def test_a_trip_has_no_numbers_of_the_time_behind_it():
    """`current_mismatch: the battery reports 0.0 A, the inverter 0.0 A`, of a trip at 90 A."""
    plant = running()
    plant.force[im.PCS_DC_I] = 900
    plant.until_mode(Mode.STANDBY)
    assert says(plant, "fault current_mismatch: the battery reports ", " A, the inverter 90.0 A; starts by itself")
    del plant.force[im.PCS_DC_I]
    plant.cycles(2)
    assert says(plant, "fault current_mismatch: not seen any more, it has to stay so; starts by itself when that is gone")
    assert plant.pm.faults()[0]["detail"] == "not seen any more, it has to stay so"


def test_an_inverter_that_does_not_follow_with_both_powers_and_what_it_says_it_follows():
    for setpoint, more in ((im.NO_VALUE, ""), (26500, ", it says that it follows 26.5 kW")):
        plant = running()
        plant.follows = False
        plant.power = 26000
        plant.force[im.PCS_SETPOINT] = setpoint
        plant.until_mode(Mode.STANDBY)
        told = "fault pcs_not_following: the inverter does not follow its setpoint: commanded 20 kW, measured 26 kW"
        assert says(plant, told + more + "; starts by itself")
        plant.power = 0
        plant.force[im.PCS_SETPOINT] = 0
        plant.run(1)
        assert says(plant, "fault pcs_not_following: not seen any more, it has to stay so: commanded 20 kW, measured 26 kW")


def test_an_inverter_that_takes_its_setpoint_in_another_way_with_what_that_looks_like():
    """A trip ends both powers: what was seen when it came stays in words."""
    for power, seen in ((-20000, "measured -20 kW (its sign is turned?)"), (10000, "10 kW (half of it: a scale or a reference?)")):
        plant = running()
        plant.follows = False
        plant.power = power
        plant.until_mode(Mode.STANDBY)
        plant.power = 0
        plant.run(1)
        assert says(plant, "fault pcs_not_following: not seen any more, it has to stay so: commanded 20 kW, ", seen)


def test_an_inverter_that_refuses_its_setpoint_with_what_its_driver_has_seen():
    plant = running()
    plant.follows = False
    plant.power = 0
    plant.pm.image.barred = told = "it refuses what is commanded: function 16 refused, exception 3: illegal value"
    plant.until_mode(Mode.STANDBY)
    plant.run(1)
    assert says(plant, ": commanded 20 kW, measured 0 kW", ", " + told)
    plant.pm.image.barred = ""
    assert "refuses" not in plant.pm.stats()["reason"]


def test_a_fault_that_forbids_without_a_trip():
    plant = running()
    plant.force = {im.BMS_ODD: im.BMS_ODD_TWO}
    plant.run(3)
    assert says(plant, "of 20 kW", "by fault", "fault two_batteries: two batteries answer on this bus")


def test_since_when_a_limit_binds_begins_anew_with_another_one():
    plant = limited(-20, {im.BMS_REQUESTS: im.BMS_REQ_NO_CHARGE}, "0 kW", "for 3 s")
    plant.run(4)
    assert says(plant, "by bms_forbids for 7 s")
    plant.force = {im.BMS_I_CHG: 0}
    plant.run(2)
    assert says(plant, "by bms_current for 2 s")


# ---- what ended an operation --------------------------------------------------------------------------------


def test_what_ended_an_operation():
    plant = site().ready()
    assert plant.pm.stats()["last_end"] == ""
    plant.pm.start_charging(60)
    plant.run(2)
    plant.soc = 60.6
    plant.until(lambda: plant.events("CHARGE_COMPLETE"), 1200, 200)
    plant.run(3)
    assert says(plant, "0 kW: IDLE", "the charge by manual ended ", "its target is reached")
    plant.pm.set_constant_power(20, 1)
    plant.run(62)
    assert "the operation by manual ended" in plant.pm.stats()["last_end"] and "its time was over" in plant.pm.stats()["last_end"]
    plant.pm.set_constant_power(20, 1)
    plant.run(2)
    plant.pm.resume()
    end = plant.pm.stats()["last_end"]
    assert end == "the operation by manual ended 0 s ago, taken back: pause, resume(), release() or local control"
    plant.pm.start_charging(80)
    plant.run(2)
    plant.pm.stop_operation(5)  # in its place
    plant.run(2)
    plant.pm.resume()  # a pause is no operation
    plant.run(2)
    end = plant.pm.stats()["last_end"]
    assert end == "the charge by manual ended 4 s ago, taken back: pause, resume(), release() or local control"
    plant.pm.claim("remote", 20, 600, "ems")
    plant.pm.claim("remote", 10, 600, "other")
    plant.run(2)
    plant.pm.release("remote", "ems")  # which waits
    plant.run(2)
    assert "by manual" in plant.pm.stats()["last_end"]
    plant.pm.release("remote", "other")
    plant.run(2)
    end = plant.pm.stats()["last_end"]
    assert end == "the operation by remote ended 2 s ago, taken back: pause, resume(), release() or local control"
    plant.pm.claim("remote", 20, 600, "ems")
    plant.run(2)
    plant.pm.emergency_shutdown()
    assert plant.pm.stats()["last_end"] == "the operation by remote ended 0 s ago, by an emergency"


# ---- events as names ------------------------------------------------------------------------------------------


def test_data_of_events_have_the_names_that_they_have():
    for event, data, name in (
        (Event.MODE_CHANGE, 1, "IDLE"),
        (Event.FLOW_CHANGE, 0, "NONE"),
        (Event.FAULT_RAISED, 0, "bms_lost"),
        (Event.FAULT_CLEARED, 5, "emergency_stop"),
        (Event.COMMS_LOST, 1, "pcs_lost"),
        (Event.COMMS_RESTORED, 2, "meter_lost"),
        (Event.EMERGENCY, -1, "commanded"),
        (Event.EMERGENCY, 5, "emergency_stop"),
        (Event.CHARGE_COMPLETE, MANUAL, "manual"),
        (Event.DISCHARGE_COMPLETE, REMOTE, "remote"),
        (Event.OPERATION_TIMEOUT, SCHEDULE, "schedule"),
        (Event.LIMIT_CHANGE, 5, "discharge by soc"),
        (Event.LIMIT_CHANGE, 37, "charge by soc"),
        (Event.OVERPOWER, 1200, 1200),
        (Event.CLOCK_SET, -3, -3),
        (Event.SCHEDULE_STARTED, 2, 2),
    ):
        assert reasons.event_data(event, data) == name, (event, data)


def test_no_number_of_an_event_raises():
    for event in range(len(Event.names)):
        for data in (-1000000, -2, -1, 0, 14, 15, 16, 29, 30, 31, 32, 99, 0x3FFFFFFF):
            assert isinstance(reasons.event_data(event, data), (int, str))


def test_where_a_device_is_reached_is_told_by_its_options():
    section = {"can0": {"type": "can", "bitrate": 250000}, "can1": {"type": "can"}}
    section["rs485"] = {"type": "modbus_rtu", "baudrate": 19200}
    for options, words in (
        ({"bus": "can0"}, " on can0 at 250 kbit/s"),
        ({"bus": "can1"}, " on can1 at 500 kbit/s"),
        ({"bus": "rs485", "host": "", "unit": 7}, " on rs485 at 19200 bit/s, unit 7"),
        ({"host": "10.0.0.5", "port": 502, "unit": 0, "bus": ""}, " at 10.0.0.5:502, unit 0"),
        ({}, ""),
    ):
        assert buses.place(options, section) == words


# ---- at the console --------------------------------------------------------------------------------------------


def test_why_tells_the_reason_what_waits_and_the_devices_own_words():
    plant = running()
    desk = Desk(plant)
    desk.app.site.devices["bms"].counters = lambda: {"last_error": "0x351: length 4", "note": ""}
    desk.ask("why()")
    assert desk.lines[-2] == reason(plant) and desk.answers()[-1] == "= None"
    plant.silent = set(BATTERY)
    plant.run(8)
    desk.lines.clear()
    desk.ask("why()")
    told = desk.lines[-5:-1]
    assert told[0] == reason(plant) and "manual (20 kW) waits" in told[1], told
    assert told[2][:21] == "last trip: bms_lost, " and told[3] == "bms: 0x351: length 4", told


def test_status_is_a_few_lines_of_plain_text():
    plant = running()
    desk = Desk(plant)
    desk.ask("status()")
    why, power, battery, discharge, _, site, _ = desk.lines[-7:]
    assert why == reason(plant) and power.startswith("DISCHARGE: inverter ") and site.startswith("site ")
    assert "SoC 50" in battery and " V, " in battery and "25.0 degC" in battery
    assert discharge == "discharge: at most 100 kW, by configuration"
    plant.pm.emergency_shutdown()
    plant.run(1)
    desk.ask("status()")
    text = "\n".join(desk.lines[-10:])
    assert "emergency: commanded, commanded by emergency_shutdown()" in text and "ended" in text
    plant.silent = set(BATTERY)
    plant.run(7)
    desk.ask("status()")
    assert desk.printed("battery 7 s ago: SoC 50"), "old values are told as such"
    empty = Desk(Plant())
    empty.plant.silent = set(range(9))
    empty.plant.run(7)
    empty.ask("status()")
    assert empty.printed("STANDBY: inverter not measured, grid not measured"), "an old power is none"


def test_console_and_monitor_say_names_and_the_reason():
    plant = running()
    desk = Desk(plant)
    plant.pm.stop_operation()
    plant.run(3)
    desk.turn(50)
    assert '{"event": "MODE_CHANGE", "data": "IDLE", "t": ' in "\n".join(desk.lines)
    desk.ask("monitor(100)")
    desk.turn(60)
    assert '"reason": "0 kW: paused by stop_operation() until resume() or a new operation"' in desk.printed('"soc"')[0]


def test_whatever_the_image_holds_there_is_a_sentence():
    plant = site().ready()
    states = 0
    for mode in range(6):
        for order in range(8):
            for bound in (0, 1, 15, 17, 31):
                now = plant.now
                now[im.MODE], now[im.ORDER], now[im.BOUND] = mode, order, bound
                now[im.FAULTS] = now[im.TRIPPED] = 0x1FFFFFF if order % 2 else 0
                now[im.CAUSE] = mode * 4 - 1
                for missing in (0, 0x1FFF):
                    now[im.MISSING] = missing
                    view = plant.pm.instant()
                    told = [reasons.why(view), reasons.started(view), reasons.accepted(view)] + list(reasons.waiting(view))
                    assert all(told), told
                    states += 1
    assert states == 480
