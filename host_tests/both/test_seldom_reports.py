"""Batteries and inverters that report every few seconds: they are judged by what they say when they say it."""

from firmware import image as im
from host_tests.both.plant import Plant

STEPS = (60, 5, 60, 5)


class Seldom(Plant):
    """A group arrives every `every_ms` only, `phase` ms behind the others."""

    group = im.SEQ_PCS
    every_ms = 5000
    phase = 0
    lies_a = 0  # of the battery's current, 0.1 A
    _last = -1

    def _write(self):
        turn = (self.ms + self.phase) // self.every_ms
        if turn == self._last:
            self.silent.add(self.group)
        else:
            self.silent.discard(self.group)
        self._last = turn
        Plant._write(self)

    def _bms(self, inp, volts, amps):
        Plant._bms(self, inp, volts, amps + self.lies_a)


def plant_of(group, every_ms, phase):
    plant = Seldom(bms_period_ms=10000, pcs_timeout_ms=30000)
    plant.group = group
    plant.every_ms = every_ms
    plant.phase = phase
    plant.load = 100000
    plant.run(2 * every_ms / 1000 + 2)
    plant.ready()
    plant.run(every_ms / 1000 + 2)
    return plant


def steps_cost_nothing(group):
    for every_ms in (1000, 3000, 5000, 8000, 10000):
        for phase in range(0, every_ms, max(500, every_ms // 4)):
            plant = plant_of(group, every_ms, phase)
            for kw in STEPS:
                plant.pm.set_constant_power(kw)
                plant.run(2 * every_ms / 1000 + 3)
            assert plant.events("FAULT_RAISED") == [], (every_ms, phase)


def test_steps_of_power_are_no_fault_of_a_battery_that_reports_seldom():
    steps_cost_nothing(im.SEQ_BMS)


def test_nor_of_an_inverter_that_is_read_seldom():
    steps_cost_nothing(im.SEQ_PCS)


def test_a_battery_that_reports_seldom_and_whose_current_is_not_the_inverters_is_found():
    for every_ms in (1000, 10000):
        plant = plant_of(im.SEQ_BMS, every_ms, 0)
        plant.pm.set_constant_power(40)
        plant.run(2 * every_ms / 1000 + 3)
        plant.lies_a = 400
        plant.until(lambda plant=plant: plant.faults() == ["current_mismatch"], 2 * every_ms / 1000 + 6)


def test_an_inverter_that_is_read_seldom_and_does_not_follow_is_found():
    for every_ms in (1000, 10000):
        plant = plant_of(im.SEQ_PCS, every_ms, 0)
        plant.follows = False
        plant.pm.set_constant_power(40)
        plant.until(lambda plant=plant: "pcs_not_following" in plant.faults(), 3 * every_ms / 1000 + 6)


def test_an_inverter_that_is_read_seldom_and_gives_too_much_is_found():
    for every_ms in (1000, 10000):
        plant = plant_of(im.SEQ_PCS, every_ms, 0)
        plant.follows = False
        plant.power = 120000
        plant.until(lambda plant=plant: "overpower" in plant.faults(), 3 * every_ms / 1000 + 6)
