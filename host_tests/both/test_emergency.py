"""Emergency: 0 W in the same cycle, contactors open under the break current or in time, latched until a reset that may."""

from firmware import image as im
from firmware.errors import PowerError
from firmware.modes import Mode
from firmware.requests import SOURCES
from host_tests.both.plant import Plant, photo, refusal


def loaded(kw=60, **config):
    plant = Plant(**config).ready()
    plant.pm.set_constant_power(kw)
    plant.run(5)
    assert plant.command() == kw * 1000
    return plant


def test_a_call_means_0_w_at_once_without_a_ramp():
    for kw in (80, -80):
        plant = loaded(kw)
        plant.pm.emergency_shutdown()
        assert plant.command() == 0 and plant.now[im.CMD_RUN] == 0, "already before the next cycle"
        plant.cycle()
        assert plant.command() == 0 and plant.pm.is_emergency and plant.pm.mode == Mode.EMERGENCY
        assert plant.events("EMERGENCY") == [-1]


def test_the_e_stop_input_means_0_w_in_the_cycle_that_sees_it():
    plant = loaded()
    plant.force[im.IO_ESTOP] = 1
    plant.cycle()
    assert plant.command() == 0 and plant.now[im.CMD_RUN] == 0 and plant.pm.is_emergency
    assert "emergency_stop" in plant.faults()


def test_contactors_open_once_the_current_is_low():
    plant = loaded()
    plant.follows = False  # the inverter's current decays slowly
    plant.pm.emergency_shutdown()
    opened_at = None
    for power in (40000, 20000, 10000, 4000, 2000, 1000, 0, 0):
        plant.power = power
        plant.cycle()
        if opened_at is None and plant.now[im.CMD_CONTACTOR] == 0:
            opened_at = power
    assert opened_at == 2000, "3.3 A is the first current under 5 A; it opened at %r W" % opened_at


def test_contactors_open_after_the_bounded_wait_though_current_flows():
    plant = loaded(contactor_wait=1)
    plant.follows = False
    plant.pm.emergency_shutdown()
    plant.run(0.9)
    assert plant.now[im.CMD_CONTACTOR] == 1, "opening under load wears them: wait"
    plant.run(0.3)
    assert plant.now[im.CMD_CONTACTOR] == 0, "but not for ever"


def test_contactors_wait_for_a_current_that_was_measured_after_the_power_was_taken_away():
    plant = loaded(60)
    plant.force = {im.PCS_DC_I: 0, im.BMS_I: 0}  # what was measured while the inverter was away; now it is coming back
    plant.pm.emergency_shutdown()
    plant.cycle()
    assert plant.command() == 0 and plant.now[im.CMD_CONTACTOR] == 1, "0 A from before says nothing of now"
    plant.force = {im.PCS_DC_I: 263, im.BMS_I: 0}
    plant.cycle()
    assert plant.now[im.CMD_CONTACTOR] == 1, "26 A are more than the contactors may break"
    plant.force = {im.PCS_DC_I: 0, im.BMS_I: 0}
    plant.cycles(3)
    assert plant.now[im.CMD_CONTACTOR] == 0


def test_contactors_wait_for_an_inverter_that_the_0_w_has_not_reached_yet():
    plant = loaded(0, ramp_up=1000)
    plant.follows = False  # behind a slow line
    plant.pm.set_constant_power(50)
    plant.cycles(3)
    plant.power = 2500  # 4 A, on its way up
    plant.pm.emergency_shutdown()
    plant.cycles(3)
    assert plant.command() == 0 and plant.now[im.CMD_CONTACTOR] == 1, "measured after 0 W was commanded, before it arrived"
    for power in (20000, 2000, 0):
        plant.power = power
        plant.cycle()
    plant.cycles(2)
    assert plant.now[im.CMD_CONTACTOR] == 0


def test_contactors_of_an_inverter_that_rests_open_at_once():
    plant = loaded(0)
    plant.run(1)
    plant.pm.emergency_shutdown()
    plant.cycles(2)
    assert plant.now[im.CMD_CONTACTOR] == 0


def test_contactors_stay_closed_while_either_voice_says_current_flows():
    for slot in (im.PCS_DC_I, im.BMS_I):
        plant = loaded()
        plant.pm.emergency_shutdown()
        plant.force[slot] = 500  # 50 A
        plant.run(0.5)
        assert plant.now[im.CMD_CONTACTOR] == 1, "slot %d says 50 A" % slot
        plant.run(2)
        assert plant.now[im.CMD_CONTACTOR] == 0


def test_it_is_latched():
    plant = loaded()
    plant.force[im.IO_ESTOP] = 1
    plant.run(1)
    plant.force.clear()
    plant.run(120, 500)
    assert plant.pm.is_emergency and plant.command() == 0, "the button is out again; only a reset leaves"
    for call in (plant.pm.start, lambda: plant.pm.set_constant_power(10), lambda: plant.pm.set_mode(Mode.STANDBY)):
        assert "reset_emergency" in refusal(PowerError, call)
    plant.pm.stop()
    plant.pm.claim("remote", 30, 60, "ems")
    plant.run(2)
    assert plant.pm.is_emergency and plant.command() == 0


def test_a_reset_is_refused_while_the_cause_stands_and_names_it():
    plant = loaded()
    plant.force[im.IO_ESTOP] = 1
    plant.run(1)
    assert "emergency_stop" in refusal(PowerError, plant.pm.reset_emergency)
    plant.force[im.CELL_V_MAX] = 3800
    plant.run(1)
    said = refusal(PowerError, plant.pm.reset_emergency)
    assert "emergency_stop" in said and "cell_over_voltage" in said
    del plant.force[im.IO_ESTOP]
    plant.run(1)
    said = refusal(PowerError, plant.pm.reset_emergency)
    assert "emergency_stop" not in said and "cell_over_voltage" in said
    plant.force.clear()
    plant.run(6)
    plant.pm.reset_emergency()
    assert plant.pm.mode == Mode.STANDBY and not plant.pm.is_emergency


def test_the_way_out_leads_to_standby_and_needs_a_start():
    plant = loaded()
    plant.pm.emergency_shutdown()
    plant.run(1)
    plant.pm.reset_emergency()
    plant.run(120, 500)
    assert plant.pm.mode == Mode.STANDBY and plant.command() == 0, "auto_restart does not apply"
    plant.pm.start()
    plant.run(2)
    assert plant.pm.mode == Mode.IDLE and plant.command() == 0, "and what was asked before is forgotten"


def test_a_reset_without_an_emergency_is_refused_and_changes_nothing():
    plant = loaded()
    before = photo(plant.pm)
    assert "DISCHARGE" in refusal(PowerError, plant.pm.reset_emergency)
    assert photo(plant.pm) == before


def test_an_emergency_that_is_commanded_on_top_of_one_is_counted():
    """No event tells it: whoever has given the first, and goes to reset it, is to see that it is not his alone any more."""
    plant = Plant().ready()
    assert plant.pm.emergencies == 0
    plant.pm.emergency_shutdown()
    plant.pm.emergency_shutdown()
    plant.pm.reset_emergency()
    assert plant.pm.emergencies == 2


def test_every_mode_goes_to_emergency_and_a_second_one_is_no_second_event():
    for prepare in (
        lambda pm: None,
        lambda pm: pm.set_constant_power(20),
        lambda pm: pm.set_constant_power(-20),
        lambda pm: pm.set_mode(Mode.MAINTENANCE),
        lambda pm: pm.stop(),
    ):
        plant = Plant().ready()
        prepare(plant.pm)
        plant.run(3)
        plant.pm.emergency_shutdown()
        plant.pm.emergency_shutdown()
        plant.cycle()
        assert plant.pm.is_emergency and plant.events("EMERGENCY") == [-1]


def test_dangerous_cells_and_temperatures_are_emergencies():
    for slot, value, name in (
        (im.CELL_V_MAX, 3760, "cell_over_voltage"),
        (im.CELL_V_MIN, 2390, "cell_under_voltage"),
        (im.CELL_T_MAX, 610, "over_temperature"),
    ):
        plant = loaded(20)
        plant.force[slot] = value
        plant.until(lambda: plant.pm.is_emergency, 5)  # noqa: B023
        assert name in plant.faults() and plant.command() == 0
        assert plant.pm.emergency_cause >= 0 and len(plant.events("EMERGENCY")) == 1


def test_an_emergency_survives_a_reboot_by_what_is_restored():
    plant = Plant()
    plant.pm.restore_emergency(-1)
    plant.run(1)
    assert plant.pm.is_emergency
    assert "reset_emergency" in refusal(PowerError, plant.pm.start)
    plant.pm.reset_emergency()
    plant.pm.start()
    plant.run(1)
    assert plant.pm.mode == Mode.IDLE


def test_emergency_is_the_first_of_the_sources():
    assert SOURCES[:4] == ("emergency", "island", "protection", "maintenance")


def test_without_any_voice_about_the_current_contactors_take_the_whole_wait():
    plant = loaded(contactor_wait=1.5)
    plant.force[im.PCS_DC_I] = plant.force[im.BMS_I] = im.NO_VALUE
    plant.pm.emergency_shutdown()
    plant.run(1.4)
    assert plant.now[im.CMD_CONTACTOR] == 1, "nobody says that the current is gone"
    plant.run(0.3)
    assert plant.now[im.CMD_CONTACTOR] == 0
