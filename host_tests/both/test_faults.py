"""Faults: each row raised and cleared by its condition after its debounce, its reaction, restarts with back-off and a cap."""

from firmware import image as im
from firmware.event_codes import Event
from firmware.faults import EMERGENCY, FAULT, TABLE, TRIP, WARNING, debounce_rows, rows
from firmware.modes import Mode
from host_tests.both.plant import Plant

ROWS = {row[0]: (i, row) for i, row in enumerate(TABLE)}
GROUPS = {  # group: (fault, s until it is stale)
    im.SEQ_BMS: ("bms_lost", 3),
    im.SEQ_BMS_LIMITS: ("bms_lost", 3),
    im.SEQ_BMS_CELLS: ("bms_lost", 3),
    im.SEQ_BMS_TEMPS: ("bms_lost", 3),
    im.SEQ_BMS_FLAGS: ("bms_lost", 3),
    im.SEQ_PCS: ("pcs_lost", 1),
    im.SEQ_METER: ("meter_lost", 1),
    im.SEQ_PV: ("pv_lost", 1),
    im.SEQ_IO: ("io_lost", 0.5),
}
# slot, value, fault, least s it must hold, most s, severity, does it trip
CONDITIONS = (
    (im.IO_ESTOP, 1, "emergency_stop", 0, 0.1, EMERGENCY, True),
    (im.BMS_PROTECT, im.BMS_PROT_SYSTEM, "bms_protection", 0, 0.1, FAULT, True),
    (im.BMS_ALARM, im.BMS_PROT_OVER_T, "bms_alarm", 0.9, 1.2, WARNING, False),
    (im.CELL_V_MAX, 3751, "cell_over_voltage", 0.1, 0.4, EMERGENCY, True),
    (im.CELL_V_MIN, 2399, "cell_under_voltage", 1.9, 2.2, EMERGENCY, True),
    (im.CELL_T_MAX, 601, "over_temperature", 1.9, 2.2, EMERGENCY, True),
    (im.CELL_T_MIN, -201, "under_temperature", 1.9, 2.2, WARNING, False),
    (im.PCS_STATE, im.PCS_FAULT, "pcs_fault", 0.05, 0.3, FAULT, True),
    (im.IO_CONTACTOR, 0, "contactor", 1.9, 2.2, FAULT, True),
    (im.PCS_DC_I, 900, "current_mismatch", 4.9, 5.2, FAULT, True),
)


def test_what_the_table_waits_for_is_told_apart_in_16_bits():
    numbers = [number for row in rows() for number in row[1:4]]
    assert list(debounce_rows()) == numbers and max(numbers) < 65535


def loaded(kw=20, **config):
    plant = Plant(**config).ready()
    if kw:
        plant.pm.set_constant_power(kw)
        plant.run(6)
    return plant


def raised_after(plant, name, most_s):
    return plant.until(lambda: name in plant.faults(), most_s) / 1000


def test_every_condition_raises_its_row_after_its_debounce_and_clears_it_again():
    for slot, value, name, least, most, severity, trips in CONDITIONS:
        plant = loaded()
        row = ROWS[name][1]
        assert row[4] == severity and (row[5] == TRIP) == trips, name
        plant.force[slot] = value
        seconds = raised_after(plant, name, most + 1)
        assert least <= seconds <= most, "%s was raised after %s s" % (name, seconds)
        assert plant.events("FAULT_RAISED").count(ROWS[name][0]) == 1
        plant.cycle()
        expected = Mode.EMERGENCY if severity == EMERGENCY else Mode.STANDBY if trips else Mode.DISCHARGE
        assert plant.pm.mode == expected, "%s led to mode %d" % (name, plant.pm.mode)
        stops = trips or name == "under_temperature"  # which derating has stopped already
        assert (plant.command() == 0) == stops, name
        plant.force.clear()
        gone_ms = row[3]
        plant.run(gone_ms / 1000 - 0.1)
        assert name in plant.faults(), "%s went too early" % name
        plant.run(1)
        assert name not in plant.faults(), "%s stays" % name
        assert plant.events("FAULT_CLEARED").count(ROWS[name][0]) == 1
        assert not plant.events("COMMS_LOST") and not plant.events("COMMS_RESTORED"), "%s is no loss of comms" % name


def test_a_condition_shorter_than_its_debounce_raises_nothing():
    for slot, value, name, least, _most, _severity, _trips in CONDITIONS:
        if least < 0.2:
            continue
        plant = loaded()
        for _ in range(4):
            plant.force[slot] = value
            plant.run(least - 0.1)
            plant.force.clear()
            plant.run(0.2)
        assert plant.faults() == [] and not plant.events("FAULT_RAISED"), name


def test_a_value_on_its_threshold_is_no_fault():
    plant = loaded()
    plant.force = {im.CELL_V_MAX: 3750, im.CELL_V_MIN: 2400, im.CELL_T_MAX: 600, im.CELL_T_MIN: -200}
    plant.run(8)
    assert plant.faults() == [] and not plant.pm.is_emergency


def test_a_silent_device_is_its_own_fault_and_an_event_and_comes_back():
    for group, (name, seconds) in GROUPS.items():
        plant = loaded()
        plant.silent.add(group)
        plant.run(seconds - 0.1)
        assert plant.faults() == [], name
        plant.run(0.3)
        assert name in plant.faults(), name
        assert plant.events("COMMS_LOST") == [ROWS[name][0]]
        plant.silent.clear()
        plant.run(8)
        assert plant.faults() == [] and plant.events("COMMS_RESTORED") == [ROWS[name][0]], name
        assert plant.pm.mode == Mode.DISCHARGE and plant.command() == 20000, "it goes on by itself"


def test_a_silent_bms_means_0_w_within_three_periods_and_a_cycle():
    plant = loaded(80)
    plant.silent.update((im.SEQ_BMS, im.SEQ_BMS_LIMITS, im.SEQ_BMS_CELLS, im.SEQ_BMS_TEMPS, im.SEQ_BMS_FLAGS))
    took = plant.until(lambda: plant.command() == 0, 5)
    assert took <= 3050 and plant.events("COMMS_LOST") == [0]


def test_a_device_that_never_was_is_a_fault_after_a_while_not_at_once():
    plant = Plant()
    plant.silent.update((im.SEQ_BMS, im.SEQ_BMS_LIMITS, im.SEQ_PCS, im.SEQ_METER, im.SEQ_PV, im.SEQ_IO))
    plant.run(9)
    assert plant.faults() == []
    plant.run(2)
    assert plant.faults() == ["bms_lost", "pcs_lost", "meter_lost", "pv_lost", "io_lost"]


def test_a_site_without_a_device_does_not_miss_it():
    plant = Plant(im.HAS_BMS | im.HAS_PCS)
    plant.silent.update((im.SEQ_METER, im.SEQ_PV, im.SEQ_IO))
    plant.ready()
    plant.run(20)
    assert plant.faults() == [] and plant.pm.mode == Mode.IDLE


def test_an_inverter_that_does_not_follow_is_a_fault():
    plant = loaded(20)
    plant.follows = False
    plant.power = 26000
    plant.run(2.5)
    assert plant.faults() == [], "6 kW off, but it has 3 s"
    seconds = raised_after(plant, "pcs_not_following", 2)
    assert seconds <= 0.7 and plant.pm.mode == Mode.STANDBY
    plant = loaded(20)
    plant.follows = False
    plant.power = 24000
    plant.run(10)
    assert plant.faults() == [], "4 kW of 100 are inside the tolerance"


def test_power_measured_beyond_the_limit_is_overpower_with_its_size():
    plant = loaded(50)
    plant.follows = False
    plant.power = 50000
    plant.pm.curtail(40, None)
    plant.until(lambda: plant.events("OVERPOWER"), 3)
    assert "overpower" in plant.faults()
    assert 9900 <= plant.events("OVERPOWER")[0] <= 10100, "W beyond the limit"
    assert plant.pm.mode == Mode.STANDBY
    plant = loaded(-50)
    plant.follows = False
    plant.power = -50000
    plant.pm.curtail(None, 30)
    plant.until(lambda: plant.events("OVERPOWER"), 3)
    assert 19900 <= plant.events("OVERPOWER")[0] <= 20100


def test_values_that_do_not_change_although_the_power_does_are_frozen():
    for slots, name in (
        ({im.BMS_V: 6435, im.BMS_I: 327}, "bms_frozen"),
        ({im.PCS_DC_V: 6435, im.PCS_P: 20000}, "pcs_frozen"),
    ):
        plant = loaded(20)
        plant.force.update(slots)
        plant.run(180, 200)
        assert plant.faults() == [], "%s: at a steady 20 kW nothing has to change" % name
        plant.pm.set_constant_power(22)  # more than 1 % of the rating, less than a wrong answer of the inverter
        plant.run(58, 200)
        assert plant.faults() == [], name
        plant.run(4, 200)
        assert name in plant.faults() and plant.pm.mode == Mode.STANDBY
        plant.force.clear()
        plant.run(8)
        assert plant.faults() == [] and plant.command() == 22000


def test_standing_still_without_load_is_not_frozen():
    plant = loaded(0)
    plant.force.update({im.BMS_V: 6435, im.BMS_I: 0, im.PCS_DC_V: 6435, im.PCS_P: 0})
    plant.run(180, 500)
    assert plant.faults() == [] and plant.pm.mode == Mode.IDLE


def test_what_rests_after_a_lie_about_the_power_starts_again():
    plant = loaded(0)
    plant.force.update({im.BMS_V: 6435, im.BMS_I: 0, im.PCS_DC_I: 0})
    for power in (30000, 5000, 30000):  # the inverter reports what does not flow
        plant.force[im.PCS_P] = power
        plant.run(61, 500)
    assert "bms_frozen" in plant.faults()
    plant.force[im.PCS_P] = 0
    plant.run(30, 500)
    assert "bms_frozen" not in plant.faults(), "no battery at rest can show that it lives"


def test_contactor_feedback_disagrees_both_ways_and_without_a_wire_it_says_nothing():
    plant = Plant()
    plant.cycles(3)
    plant.force[im.IO_CONTACTOR] = 1  # welded
    seconds = raised_after(plant, "contactor", 4)
    assert 1.9 <= seconds <= 2.3
    plant.pm.start()
    plant.run(2)
    assert plant.pm.mode == Mode.STANDBY, "does not start on a welded contactor"
    plant = loaded()
    plant.force[im.IO_CONTACTOR] = im.NO_VALUE
    plant.run(10)
    assert plant.faults() == []


# ---- restarts ---------------------------------------------------------------------------------------------


def trip(plant, seconds=0.2):
    plant.force[im.PCS_STATE] = im.PCS_FAULT
    plant.until(lambda: plant.pm.mode == Mode.STANDBY, 5)
    plant.run(seconds)
    plant.force.clear()


def test_a_restart_comes_after_the_fault_and_a_back_off_that_doubles():
    plant = loaded(0, restart_delay=2, restart_limit=4)
    waits = []
    for _ in range(4):
        trip(plant)
        waits.append(plant.until(lambda: plant.pm.mode == Mode.IDLE, 60) / 1000)
        plant.run(1)
    for wait, expected in zip(waits, (4, 6, 10, 18)):  # 2 s until it counts as gone, then 2, 4, 8, 16
        assert abs(wait - expected) < 0.3, waits


def test_a_back_off_shorter_than_a_second_counts_too():
    plant = loaded(0, restart_delay=0.6, restart_limit=4)
    waits = []
    for _ in range(3):
        trip(plant)
        waits.append(plant.until(lambda: plant.pm.mode == Mode.IDLE, 60) / 1000)
    for wait, expected in zip(waits, (2.6, 3.2, 4.4)):
        assert abs(wait - expected) < 0.2, waits


def test_restarts_are_capped_and_start_forgives():
    plant = loaded(0, restart_delay=0, restart_limit=2)
    for _ in range(2):
        trip(plant)
        plant.until_mode(Mode.IDLE, 10)
        plant.run(1)
    trip(plant)
    plant.run(300, 500)
    assert plant.pm.mode == Mode.STANDBY and plant.faults() == []
    plant.pm.start()
    plant.until_mode(Mode.IDLE, 10)
    trip(plant)
    plant.until_mode(Mode.IDLE, 10)


def test_the_back_off_has_a_ceiling():
    plant = loaded(0, restart_delay=20, restart_limit=10)
    waits = []
    for _ in range(4):
        trip(plant)
        waits.append(plant.until(lambda: plant.pm.mode == Mode.IDLE, 200, 200) / 1000)
    for wait, expected in zip(waits, (22, 42, 62, 62)):
        assert abs(wait - expected) < 0.6, waits


def test_restarts_used_up_come_back_after_a_quiet_hour():
    plant = loaded(0, restart_delay=0, restart_limit=1)
    trip(plant)
    plant.until_mode(Mode.IDLE, 10)
    plant.run(3601, 1000)
    trip(plant)
    plant.until_mode(Mode.IDLE, 10)


def test_restarts_that_are_hours_apart_are_never_used_up():
    plant = loaded(0, restart_delay=0, restart_limit=2)
    for _ in range(9):
        trip(plant)
        plant.until_mode(Mode.IDLE, 70)
        plant.run(1800, 1000)  # two in an hour, all day long


def test_each_restart_comes_back_an_hour_after_it_was_used():
    plant = loaded(0, restart_delay=0, restart_limit=3)
    for minutes in (20, 30, 0):
        trip(plant)
        plant.until_mode(Mode.IDLE, 70)
        plant.run(60 * minutes, 1000)
    plant.run(15 * 60, 1000)  # the first one has come back, the second not yet
    trip(plant)
    plant.until_mode(Mode.IDLE, 70)
    trip(plant)
    plant.run(4000, 1000)
    assert plant.pm.mode == Mode.STANDBY and "all 3 restarts" in plant.pm.stats()["reason"], plant.pm.stats()["reason"]


def test_without_auto_restart_a_trip_stays():
    plant = loaded(20, auto_restart=False)
    trip(plant)
    plant.run(120, 500)
    assert plant.pm.mode == Mode.STANDBY and plant.command() == 0 and plant.now[im.CMD_CONTACTOR] == 0
    plant.pm.start()
    plant.run(3)
    assert plant.pm.mode == Mode.IDLE, "start() is not a command to go on discharging"


def test_stop_during_the_back_off_stays_stopped():
    plant = loaded(20)
    trip(plant)
    plant.pm.stop()
    plant.run(60, 500)
    assert plant.pm.mode == Mode.STANDBY


def test_a_fault_does_not_ramp():
    plant = loaded(90)
    plant.force[im.PCS_STATE] = im.PCS_FAULT
    plant.cycle()
    assert plant.command() == 0, "an inverter in fault cannot switch: 0 W in the same cycle"


# ---- what people see --------------------------------------------------------------------------------------


def test_faults_are_listed_with_severity_and_count():
    plant = loaded(20)
    for _ in range(3):
        plant.force[im.BMS_ALARM] = 1
        plant.run(2)
        plant.force.clear()
        plant.run(6)
    plant.silent.add(im.SEQ_METER)
    plant.run(2)
    assert plant.pm.faults() == [
        {
            "name": "meter_lost", "severity": "warning", "active": True, "count": 1,
            "detail": "nothing received from the meter for 2.0 s",
        },
        {"name": "bms_alarm", "severity": "warning", "active": False, "count": 3},
    ]  # fmt: skip


def test_the_table_is_whole():
    wanted = {"bms_lost", "pcs_lost", "meter_lost", "pv_lost", "io_lost", "soc_jump", "soc_disagrees", "pcs_not_following"}
    wanted |= {"overpower", "bms_frozen", "pcs_frozen", "contactor", "current_mismatch"}
    wanted |= {entry[2] for entry in CONDITIONS}
    assert wanted <= set(ROWS), wanted - set(ROWS)
    assert len(TABLE) <= 30, "a bit each, in 31"
    for name, cycles, hold_ms, gone_ms, severity, reaction in TABLE:
        assert cycles >= 1 and hold_ms >= 0 and gone_ms >= 0 and 0 <= severity <= 3, name
        assert severity < FAULT or reaction != 0, "%s: a fault without a reaction" % name
    assert Event.name(Event.FAULT_RAISED) == "FAULT_RAISED"


# ---- restarts (the case of that name) -----------------------------------------------------------------------


def test_restarts_are_not_used_up_by_protections_that_forbid_the_direction_that_runs():
    for kw, bit in (
        (-20, im.BMS_PROT_OVER_V), (-20, im.BMS_PROT_OVER_I_CHG), (-20, im.BMS_PROT_OVER_T_CHG), (-20, im.BMS_PROT_UNDER_T_CHG),
        (20, im.BMS_PROT_UNDER_V), (20, im.BMS_PROT_OVER_I_DIS), (20, im.BMS_PROT_OVER_T_DIS), (20, im.BMS_PROT_UNDER_T_DIS),
    ):  # fmt: skip
        plant = loaded(kw, restart_limit=1, overvoltage_hold=1)
        for _ in range(8):
            plant.force[im.BMS_PROTECT] = bit
            plant.run(3, 100)
            assert plant.command() == 0 and plant.pm.mode != Mode.STANDBY
            plant.force.clear()
            plant.run(8, 100)
            assert plant.command() == kw * 1000, "goes on by itself"
        assert plant.now[im.TRIPS] == 0 and plant.pm.stats()["last_trip"] == ""


def test_restarts_used_up_say_which_fault_did_it_until_start():
    plant = loaded(20, restart_delay=0, restart_limit=2)
    for n in range(3):
        plant.force[im.PCS_STATE] = im.PCS_FAULT
        plant.until(lambda: plant.pm.mode == Mode.STANDBY, 5)
        at_s = plant.now[im.UPTIME_S]
        plant.force.clear()
        if n < 2:
            plant.until_mode(Mode.DISCHARGE, 10)
    plant.run(600, 500)
    assert plant.pm.mode == Mode.STANDBY and plant.faults() == []
    assert plant.now[im.TRIPPED] == 1 << [row[0] for row in rows()].index("pcs_fault") and abs(plant.now[im.TRIP_S] - at_s) <= 1
    stats = plant.pm.stats()
    assert "pcs_fault" in stats["last_trip"] and "pcs_fault" in stats["reason"] and "start()" in stats["reason"], stats["reason"]
    plant.force[im.BMS_ALARM] = 1  # another fault that trips nothing does not take its place
    plant.run(3)
    assert "pcs_fault" in plant.pm.stats()["last_trip"]
    plant.pm.start()
    plant.run(2)
    assert plant.pm.stats()["last_trip"] == ""


def test_restarts_the_last_of_several_trips_is_told_also_while_it_runs_again():
    plant = loaded(0, restart_delay=0)
    trip(plant)
    plant.until_mode(Mode.IDLE, 10)
    assert "pcs_fault" in plant.pm.stats()["last_trip"]
    plant.silent = {im.SEQ_BMS}
    plant.until(lambda: plant.pm.mode == Mode.STANDBY, 5)
    plant.silent = set()
    plant.until_mode(Mode.IDLE, 10)
    assert "bms_lost" in plant.pm.stats()["last_trip"] and "pcs_fault" not in plant.pm.stats()["last_trip"]


# ---- a slow inverter ----------------------------------------------------------------------------------------


class Slow(Plant):
    """Its inverter moves by so many W/s; noise: of what it reports, W."""

    rate = 167  # 10 % of 100 kW in a minute, as grid codes want it
    noise = 0
    exact = 0.0

    def _move(self, dt):
        Plant._move(self, dt)
        step = self.rate * dt / 1000
        if not self.now[im.CMD_RUN]:
            self.exact = 0.0
        elif self.power > self.exact:
            self.exact = min(self.power, self.exact + step)
        else:
            self.exact = max(self.power, self.exact - step)
        self.power = int(self.exact) + self.noise * (self.ms // dt % 7 - 3) // 3


def slow(noise=0):
    plant = Slow().ready()
    plant.noise = noise
    return plant


def test_an_inverter_whose_own_ramp_is_ten_percent_a_minute_is_on_its_way():
    for kw, noise in ((80, 0), (-80, 0), (80, 150), (-80, 150)):
        plant = slow(noise)
        plant.pm.set_constant_power(kw)
        plant.run(120)
        assert plant.faults() == [] and plant.command() == kw * 1000, plant.pm.stats()["reason"]
        assert 19000 < abs(plant.power) < 22000
        plant.run(400)
        assert abs(plant.power - kw * 1000) <= noise + 1
        plant.pm.stop_operation()  # and back, as slowly
        plant.run(120)
        assert plant.faults() == [] and plant.now[im.TRIPS] == 0, plant.pm.stats()["reason"]


def test_an_inverter_that_stands_still_is_none_whatever_its_noise_and_wherever_it_stands():
    for noise in (0, 150):
        plant = slow(noise)
        plant.pm.set_constant_power(80)
        plant.run(60)
        assert plant.faults() == []
        plant.rate = 0
        plant.run(6)
        assert plant.events("FAULT_RAISED") == [ROWS["pcs_not_following"][0]], plant.faults()
    plant = slow()
    plant.pm.set_constant_power(80)
    plant.run(60)
    plant.rate = -167  # the wrong way
    plant.run(6)
    assert plant.events("FAULT_RAISED") == [ROWS["pcs_not_following"][0]]


def _charged_by_a_bms_that_repeats_itself(**changes):
    """A steady charge of 60 kW, and from then on the BMS says the same for ever; its frames go on coming."""
    plant = Plant(max_soc=95)
    plant.ready()
    plant.pm.set_constant_power(-60)
    plant.run(20)
    for slot in (im.BMS_V, im.BMS_I, im.BMS_SOC):
        plant.force[slot] = plant.image.inp[slot]
    plant.force.update(changes)
    return plant


def test_a_bms_whose_values_are_repeated_by_somebody_else_is_found_by_the_charge_they_tell():
    """A gateway may go on telling what a dead one said last: nothing moved, so it was charged blindly to the ceiling."""
    plant = _charged_by_a_bms_that_repeats_itself()
    plant.until(lambda: "bms_frozen" in plant.faults(), 900, 100)
    assert plant.soc < 57 and plant.pm.mode == Mode.STANDBY
    plant.run(600, 100)
    assert plant.pm.mode == Mode.STANDBY and plant.command() == 0
    plant.force.clear()
    plant.until(lambda: plant.pm.mode != Mode.STANDBY, 120)


def test_one_whose_state_of_charge_alone_is_stuck_is_not_frozen():
    plant = _charged_by_a_bms_that_repeats_itself()
    del plant.force[im.BMS_V]
    plant.run(900, 100)
    assert "bms_frozen" not in plant.faults() and "soc_disagrees" in plant.faults()


def test_one_that_rests_at_a_steady_power_and_counts_on_is_not_frozen():
    plant = _charged_by_a_bms_that_repeats_itself()
    del plant.force[im.BMS_SOC]
    plant.run(1500, 100)
    assert "bms_frozen" not in plant.faults() and plant.command() == -60000
