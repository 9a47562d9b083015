"""What the firmware does to itself (a cycle that comes late) is never taken for a lost device, and moves nothing old."""

from firmware import image as im
from firmware.flows import Grid
from firmware.modes import Mode
from host_tests.both.plant import Plant

LOST = ("bms_lost", "pcs_lost", "meter_lost", "pv_lost", "io_lost")


def running(cycle_ms=50):
    plant = Plant(grid_connection=Grid.INTERACTIVE, cycle_ms=cycle_ms).ready()
    plant.pm.set_constant_power(20)
    plant.run(5, cycle_ms)
    assert plant.pm.mode == Mode.DISCHARGE
    return plant


def late(plant, ms):
    """One cycle that comes `ms` after the last, before any device could deliver anything."""
    plant.ms = (plant.ms + ms) & 0x3FFFFFFF
    plant.pm.cycle(plant.ms)


def raised(plant):
    return [fault["name"] for fault in plant.pm.faults() if fault["name"] in LOST]


def test_a_cycle_that_comes_late_by_any_time_loses_no_device():
    for ms in (200, 655, 1200, 3500, 40000):
        plant = running()
        late(plant, ms)
        assert raised(plant) == [], ms
        plant.run(5)
        assert raised(plant) == [], ms
        assert plant.pm.mode == Mode.DISCHARGE, ms


def test_with_a_long_cycle_too():
    for cycle_ms in (20, 100, 300, 500, 1000):
        for percent in (105, 120, 149, 151, 160, 199, 250, 400):
            plant = running(cycle_ms)
            late(plant, cycle_ms * percent // 100)
            assert raised(plant) == [], (cycle_ms, percent)
            plant.run(5, cycle_ms)
            assert raised(plant) == [] and plant.command() == 20000, (cycle_ms, percent)


def test_what_is_old_after_a_stall_moves_nothing_until_it_is_measured_again():
    plant = running()
    late(plant, 5000)
    assert plant.image.now[im.CMD_P] == 0 and plant.image.now[im.LIMIT_DIS] == 0
    plant.run(5)
    assert plant.image.now[im.CMD_P] > 15000


def test_a_device_that_stays_silent_after_a_stall_is_lost_after_its_own_time():
    plant = running()
    late(plant, 5000)
    plant.silent = {im.SEQ_PCS}
    plant.run(0.9)
    assert raised(plant) == []
    plant.run(0.5)
    assert raised(plant) == ["pcs_lost"]


def test_a_device_that_was_lost_before_a_stall_stays_lost():
    plant = running()
    plant.silent = {im.SEQ_PCS}
    plant.run(2)
    assert raised(plant) == ["pcs_lost"]
    late(plant, 3000)
    plant.run(0.5)
    state = next(fault for fault in plant.pm.faults() if fault["name"] == "pcs_lost")
    assert state["active"] and state["count"] == 1


def test_a_loop_that_is_held_up_again_and_again_keeps_0_w_while_a_device_is_gone():
    plant = running()
    plant.silent = {im.SEQ_BMS, im.SEQ_BMS_LIMITS}
    late(plant, 3500)
    for _ in range(20):
        late(plant, 900)
        assert plant.image.now[im.CMD_P] == 0
