"""A meter that repeats itself while the inverter moves: frozen, or seldom up to date.  What it says allows nothing new."""

from firmware import image as im
from firmware.modes import Mode
from host_tests.both.plant import Plant

NOISE_W = 200  # what an inverter may move without a meter seeing it


class Slow(Plant):
    """Its meter measures every `every_ms` only, in steps of `step_w`, but answers each time it is asked."""

    every_ms = 50
    step_w = 1
    frozen = False
    dead = False  # all of it repeats itself, also what is no power
    _last = -1
    _shown = 0

    def _write(self):
        turn = self.ms // self.every_ms
        if turn != self._last and not self.frozen:
            self._last = turn
            self._shown = (self.load - self.pv - self.power) // self.step_w * self.step_w
        self.force[im.METER_P] = self._shown
        if self.dead:
            self.force[im.METER_I] = 300
        Plant._write(self)


def exporting(**given):
    """A site that may export 5 kW and gives 8 kW to a load of 10."""
    plant = Slow(max_grid_export_power=5)
    plant.load = 10000
    for name in given:
        setattr(plant, name, given[name])
    plant.ready()
    plant.pm.set_constant_power(8)
    plant.run(20)
    assert plant.command() == 8000
    return plant


def highest(plant, seconds):
    most = -100000
    for _ in range(seconds * 20):
        plant.cycle()
        most = max(most, plant.command())
    return most


def test_a_frozen_meter_lets_no_more_power_out_than_it_did_before_and_is_told():
    plant = exporting(frozen=False)
    plant.frozen = True
    plant.pm.set_constant_power(60)
    assert 14900 <= highest(plant, 55) <= 15000 + NOISE_W
    plant.until(lambda: plant.faults() == ["meter_frozen"], 30)
    plant.run(3)
    assert plant.command() == 0 and plant.why() == "missing_data"
    assert "the meter's values do not change though the inverter works" in plant.pm.stats()["reason"]
    plant.frozen = False
    plant.until(lambda: plant.command() > 14000 and not plant.faults(), 30)


def test_a_frozen_meter_lets_no_more_surplus_in_than_there_was():
    plant = Slow(allow_grid_charging=False)
    plant.pv = 30000
    plant.ready()
    plant.pm.set_constant_power(-3)
    plant.run(20)
    plant.frozen = True
    plant.pm.set_constant_power(-60)
    least = 0
    for _ in range(55 * 20):
        plant.cycle()
        least = min(least, plant.command())
    assert -10000 - NOISE_W <= least <= -9900


def test_a_meter_that_rests_with_all_others_is_not_frozen():
    plant = exporting()
    plant.run(300)
    plant.pm.set_constant_power(0)
    plant.run(300)
    assert plant.faults() == []


def test_a_dead_meter_behind_a_gateway_that_goes_on_answering_is_found_while_nothing_else_moves():
    """The load went, and 8 kW of it went out for ever: nobody moved, so nothing was seen to stand still."""
    plant = exporting(dead=True)
    plant.pm.limit("zero export", discharge_kw=8)
    plant.run(10)
    plant.frozen = True
    plant.load = 0
    plant.run(480, 100)
    assert plant.command() == 8000 and plant.faults() == []
    plant.until(lambda: plant.command() == 0, 180, 100)
    plant.run(3600, 100)
    assert plant.faults() == ["meter_frozen"] and plant.command() == 0 and plant.why() == "missing_data"
    assert "the meter's values do not change though the inverter works" in plant.pm.stats()["reason"]
    plant.frozen = False
    plant.until(lambda: plant.command() == 5000 and not plant.faults(), 30)


def test_one_whose_voltage_moves_is_alive_though_its_power_rests():
    plant = exporting()
    plant.frozen = True
    plant.run(3000, 100)
    assert plant.faults() == [] and plant.command() == 8000


def test_a_live_meter_of_coarse_values_shows_when_its_power_is_taken_away():
    plant = exporting(dead=True)
    low = 0
    for _ in range(15 * 60 * 10):
        plant.cycle(100)
        low += plant.command() < 8000
    assert 0 < low < 300, "a dip of some seconds in a quarter of an hour"
    assert plant.command() == 8000 and plant.faults() == []


def test_a_meter_of_nothing_but_power_or_of_an_inverter_at_rest_is_not_judged_so():
    plant = exporting(dead=True)
    plant.frozen = True
    plant.force.update({im.METER_V: im.NO_VALUE, im.METER_HZ: im.NO_VALUE})
    plant.run(3000, 100)
    assert plant.faults() == [] and plant.command() == 8000
    plant = exporting(dead=True)
    plant.pm.set_constant_power(0)
    plant.run(10)
    plant.frozen = True
    plant.run(3000, 100)
    assert plant.faults() == []


def test_nothing_flows_through_the_meter_of_an_island_and_it_is_not_frozen():
    plant = Slow(grid_connection="BACKUP")
    plant.ready()
    plant.grid = False
    plant.load = 0
    plant.frozen = True
    for watts in (5000, 12000, 3000):
        plant.power = watts
        plant.follows = False
        plant.run(60)
        assert "meter_frozen" not in plant.faults()


def test_a_meter_that_measures_every_ten_seconds_does_not_let_the_export_run_away():
    plant = exporting(every_ms=10000)
    plant.pm.set_constant_power(60)
    assert highest(plant, 120) <= 15000 + NOISE_W
    assert plant.faults() == [] and plant.command() >= 14000


def test_a_meter_in_coarse_steps_still_lets_out_what_the_load_takes():
    plant = exporting(step_w=1000)
    plant.pm.set_constant_power(60)
    plant.run(20)
    plant.load = 30000
    plant.run(20)
    assert 34000 <= plant.command() <= 35000 + 1000
    assert plant.faults() == [] and plant.pm.mode == Mode.DISCHARGE


def test_the_load_behind_a_silent_inverter_is_not_known():
    plant = exporting()
    plant.silent.add(im.SEQ_PCS)
    plant.run(5)
    assert plant.pm.stats()["load_power"] is None
    plant.silent.discard(im.SEQ_PCS)
    plant.run(30)
    assert plant.pm.stats()["load_power"] == 10.0
