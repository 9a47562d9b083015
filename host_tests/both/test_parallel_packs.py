"""Packs in parallel on one inverter: the weakest and the fullest decide, who carries more bounds all, a frozen one is found."""

from firmware import image as im
from firmware.modes import Mode
from host_tests.both.bankplant import BankPlant


class Uneven(BankPlant):
    """Two packs on one inverter, of which the first carries a share of its own."""

    share = 0.5

    def _write_battery(self, one):
        total = sum([each.amps for each in self.batteries])
        shares = (self.share, 1 - self.share)
        amps = total * shares[self.batteries.index(one)]
        mine, one.amps = one.amps, amps
        BankPlant._write_battery(self, one)
        one.amps = mine


def site(packs=2, cls=BankPlant, **config):
    plant = cls(shape=((packs, 1),), max_charge_power=100, max_discharge_power=100, **config)
    return plant.ready()


def test_the_weakest_pack_is_what_discharges_to_the_floor():
    plant = site()
    plant.batteries[0].soc, plant.batteries[1].soc = 32.0, 52.0
    plant.run(1)
    plant.pm.set_constant_power(60)
    plant.run(10)
    assert plant.commands() == [60000], plant.pm.stats()["reason"]
    plant.batteries[0].force[im.BMS_SOC] = 2000  # the mean stays above the floor
    plant.run(5)
    stats = plant.pm.stats()
    assert plant.commands() == [0], stats["reason"]
    assert stats["limit_discharge"] == 0 and stats["limit_charge"] == 100, stats
    assert plant.pm.mode == Mode.IDLE, "the operation has come to its end"


def test_the_fullest_pack_is_what_charges_to_the_ceiling():
    plant = site(3)
    for one, soc in zip(plant.batteries, (85.0, 70.0, 60.0)):
        one.soc = soc
    plant.run(1)
    plant.pm.set_constant_power(-60)
    plant.run(10)
    assert plant.commands() == [-60000], plant.pm.stats()["reason"]
    plant.batteries[0].force[im.BMS_SOC] = 9000
    plant.run(5)
    stats = plant.pm.stats()
    assert plant.commands() == [0] and stats["limit_charge"] == 0 and stats["limit_discharge"] == 100, stats["reason"]


def test_packs_of_one_state_of_charge_are_as_one():
    plant = site()
    for one in plant.batteries:
        one.soc = 21.0
    plant.run(1)
    plant.pm.set_constant_power(60)
    plant.run(60)
    assert 20.0 < plant.batteries[0].soc < 21.0
    assert plant.now[im.SOC_LOW] == plant.image.banks[0].now[im.SOC]


def test_the_pack_that_carries_more_than_its_part_bounds_all():
    for share, sign in ((0.8, 1), (0.2, 1), (0.8, -1)):
        plant = site(2, Uneven)
        plant.share = share
        for one in plant.batteries:
            one.force[im.BMS_I_DIS] = one.force[im.BMS_I_CHG] = 600  # 60 A each
        plant.run(1)
        plant.pm.set_constant_power(70 * sign)
        plant.run(10)
        carried = 0.8 * sum([one.amps for one in plant.batteries]) * sign
        assert 55 < carried <= 60.5, "%.1f A of 60 by one pack" % carried
        before = plant.commands()
        plant.run(5)
        assert abs(before[0] - plant.commands()[0]) < 100, "and it stands still"
        assert "bms_current" in plant.pm.stats()["reason"], plant.pm.stats()["reason"]
    plant = site(2, Uneven)
    for one in plant.batteries:
        one.force[im.BMS_I_DIS] = 600
    plant.run(1)
    plant.pm.set_constant_power(70)
    plant.run(10)
    assert plant.commands() == [70000], "evenly shared"


def test_a_frozen_pack_is_found_beside_one_that_moves():
    plant = site()
    plant.pm.set_constant_power(20)
    plant.run(10)
    one = plant.batteries[1]
    one.force[im.BMS_V] = 6435
    one.force[im.BMS_I] = int(one.amps * 10)
    plant.run(30)
    assert plant.pm.stats()["faults"] == []
    for kw in (40, 20, 40, 20):
        plant.pm.set_constant_power(kw)
        plant.run(20)
    assert "bms_frozen" in plant.pm.stats()["last_trip"], plant.pm.stats()["reason"]
    assert plant.commands() == [0]


def test_a_pack_that_carries_nothing_is_not_frozen():
    plant = site()
    one = plant.batteries[1]
    one.force[im.BMS_V] = 6435
    one.force[im.BMS_I] = 0  # its own breaker is open
    for kw in (20, 40, 20, 40, 20):
        plant.pm.set_constant_power(kw)
        plant.run(20)
    assert "bms_frozen" not in plant.pm.stats()["faults"] and plant.pm.mode == Mode.DISCHARGE, plant.pm.stats()["reason"]
