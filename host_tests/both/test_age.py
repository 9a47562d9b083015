"""age: data are as old as they can be, so what came in before a gap is old after it; and only the device's silence loses it."""

from firmware import image as im
from firmware.modes import Mode
from host_tests.both.plant import Plant

GROUPS = range(im.SEQ_BMS, im.SEQ_IO + 1)


def running(cycle_ms=50, kw=20):
    plant = Plant(cycle_ms=cycle_ms).ready()
    plant.pm.set_constant_power(kw)
    plant.run(5, cycle_ms)
    assert plant.pm.mode == Mode.DISCHARGE and plant.command() == kw * 1000
    return plant


def after_a_gap(plant, ms, groups):
    """Values arrive right after a cycle; the next cycle comes `ms` later."""
    for group in groups:
        plant.image.heard(group)
    plant.ms = (plant.ms + ms) & 0x3FFFFFFF
    plant.pm.cycle(plant.ms)


def ages(plant):
    return [plant.now[im.AGE + group] for group in GROUPS]


def test_age_a_group_seen_after_a_gap_is_as_old_as_the_gap():
    for ms in (50, 400, 2001, 40000, 3600000):
        plant = running()
        after_a_gap(plant, ms, GROUPS)
        assert ages(plant) == [ms] * 9


def test_age_each_group_has_its_own():
    for seen in GROUPS:
        plant = running()
        plant.cycle(20)
        after_a_gap(plant, 40000, (seen,))
        assert plant.now[im.AGE + seen] == 40000
        assert [age for group, age in enumerate(ages(plant)) if group != seen] == [40020] * 8


def test_age_a_gap_longer_than_a_devices_time_moves_nothing_for_a_cycle():
    for ms, missing in ((40000, True), (3051, True), (1051, True), (551, True), (550, False), (400, False)):
        plant = running()
        after_a_gap(plant, ms, GROUPS)
        assert (plant.command() == 0) == missing, "%d ms: %d W" % (ms, plant.command())
        assert plant.pm.stats()["limit_discharge"] == (0 if missing else 100)
        assert plant.faults() == [], "our own gap loses nobody"
        plant.run(3)
        assert plant.command() == 20000 and plant.faults() == [] and plant.events("FAULT_RAISED") == []


def test_age_is_at_most_a_cycle_while_everything_arrives():
    for cycle_ms in (20, 50, 500, 1000):
        plant = running(cycle_ms)
        for late in (0, -10, 10, cycle_ms // 2):
            plant.cycle(cycle_ms + late)
            assert ages(plant) == [cycle_ms + late] * 9
            assert plant.command() == 20000 and plant.faults() == []


def test_age_a_device_as_slow_as_its_timeout_is_not_lost():
    for cycle_ms in (50, 100, 500, 1000):
        plant = running(cycle_ms)
        passed = 0
        for _ in range(120000 // cycle_ms):
            passed += cycle_ms
            plant.silent = set() if passed % 1000 == 0 else {im.SEQ_PCS, im.SEQ_METER}
            plant.cycle(cycle_ms)
            assert plant.command() == 20000, "after %d ms" % passed
        assert plant.events("FAULT_RAISED") == []


def test_age_a_silent_device_is_lost_as_before():
    for seq, name, ms in ((im.SEQ_PCS, "pcs_lost", 1000), (im.SEQ_BMS, "bms_lost", 3000), (im.SEQ_IO, "io_lost", 500)):
        plant = running()
        plant.silent = {seq}
        passed = plant.until(lambda plant=plant: plant.faults() != [], 5)
        assert plant.faults() == [name] and ms < passed <= ms + 100
        assert plant.command() == 0


def test_age_two_readings_of_a_cell_are_two_and_not_one_looked_at_twice():
    plant = running()
    plant.force = {im.CELL_V_MAX: 3800, im.BMS_V: 7100}
    plant.cycle()
    plant.silent = {im.SEQ_BMS_CELLS}
    plant.run(2)
    assert plant.now[im.READS_CELL_HI] == 1 and not plant.pm.is_emergency
    plant.silent = set()
    plant.run(1)
    assert plant.pm.is_emergency


def test_age_contactors_open_on_a_current_measured_after_the_power_was_taken():
    plant = running(50, 60)
    plant.follows = False  # its last word before the stop stands
    plant.pm.halt()
    plant.force = {im.BMS_I: 0, im.PCS_DC_I: 0}
    plant.silent = {im.SEQ_BMS, im.SEQ_PCS}
    plant.image.inp[im.BMS_I] = plant.image.inp[im.PCS_DC_I] = 0
    plant.cycles(3)
    assert plant.now[im.CMD_CONTACTOR] == 1, "nobody has measured since"
    plant.silent = set()
    plant.cycles(2)
    assert plant.now[im.CMD_CONTACTOR] == 0


def test_age_what_waited_through_a_gap_and_is_read_after_the_next_cycle_is_as_old_as_the_gap():
    for ms in (1200, 3500, 40000):
        for seen in GROUPS:
            plant = running()
            after_a_gap(plant, ms, ())
            after_a_gap(plant, 50, (seen,))
            waited = 0 if seen == im.SEQ_IO else ms  # a pin is read, it waits in no receiver
            assert plant.now[im.AGE + seen] == waited + 50, "it may have been received before the gap"
            after_a_gap(plant, 50, (seen,))
            assert plant.now[im.AGE + seen] == 50


def test_age_what_waited_through_a_gap_moves_nothing():
    for ms in (4000, 40000):
        plant = running()
        after_a_gap(plant, ms, ())
        assert plant.command() == 0
        after_a_gap(plant, 50, GROUPS)
        assert plant.command() == 0 and plant.faults() == []
        plant.run(3)
        assert plant.command() == 20000 and plant.faults() == [] and plant.events("FAULT_RAISED") == []


def test_age_a_cycle_a_little_late_makes_nothing_older():
    for cycle_ms in (20, 50, 500):
        plant = running(cycle_ms)
        late = cycle_ms * 3 // 2
        after_a_gap(plant, late, GROUPS)
        after_a_gap(plant, cycle_ms, GROUPS)
        assert ages(plant) == [cycle_ms] * 9 and plant.command() == 20000
