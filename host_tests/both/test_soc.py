"""State of charge: whole percents refined by counting, bounded by the BMS, and both voices when they disagree."""

from firmware import image as im
from host_tests.both.plant import Plant

AH = 13 * 16000 / 624  # of the pack


class Cell:
    """A pack whose true SoC is known, and a BMS that says it in whole percents once a second."""

    def __init__(self, rounding, soc, late_s=0):
        self.plant = Plant(soc_rounding=rounding)
        self.rounding = rounding
        self.true = soc
        self.said = []
        self.late_s = late_s
        plant = self.plant
        plant.soc = soc
        self.seconds(0)
        plant.ready()

    def report(self):
        whole = int(self.true + 0.5) if self.rounding == "nearest" else int(self.true + 1e-9)
        self.said.append(whole * 100)
        return self.said[max(0, len(self.said) - 1 - self.late_s)]

    def seconds(self, count, amps=0.0):
        """amps for count seconds, + discharge."""
        force = self.plant.force
        force[im.BMS_I] = int(amps * 10)
        force[im.PCS_DC_I] = int(amps * 10)
        force[im.BMS_SOC] = self.report()
        for _ in range(count):
            self.true -= amps / 3600 / AH * 100
            force[im.BMS_SOC] = self.report()
            self.plant.run(1, 250)

    def soc(self):
        return self.plant.now[im.SOC] / 100


def settled():
    """A plant whose BMS has long started up."""
    plant = Plant().ready()
    plant.run(10, 200)
    return plant


def test_it_starts_from_what_the_bms_says():
    assert Cell("nearest", 63.0).soc() == 63.0
    assert Cell("down", 63.0).soc() == 63.5, "63 % cut down is 63 to 64 %"


def test_it_follows_the_true_charge_between_the_steps():
    for rounding in ("nearest", "down"):
        for amps in (120.0, -120.0):
            cell = Cell(rounding, 55.0)
            worst = 0.0
            for minute in range(12):
                cell.seconds(60, amps)
                if minute >= 2:  # from the first step on it knows where it is
                    worst = max(worst, abs(cell.soc() - cell.true))
            assert abs(cell.true - 55.0) > 6
            assert worst < 0.1, "%s, %s A: off by %s %%" % (rounding, amps, worst)


def test_a_late_bms_is_followed_too():
    cell = Cell("nearest", 55.0, late_s=5)
    for _ in range(10):
        cell.seconds(60, 100.0)
        assert abs(cell.soc() - cell.true) < 0.6


def test_it_is_never_further_from_the_bms_than_one_step():
    for rounding in ("nearest", "down"):
        for amps in (150.0, -150.0):
            cell = Cell(rounding, 60.0)
            cell.plant.force[im.BMS_I] = int(amps * 10)
            for _ in range(240):  # the BMS's value stands still, the current is (or seems) large
                cell.plant.run(1, 500)
                assert abs(cell.soc() - cell.plant.now[im.BMS_SOC] / 100) <= 1.0
            assert abs(cell.soc() - 60) > 0.9, "it did count"


def test_no_current_no_movement():
    cell = Cell("nearest", 42.0)
    cell.seconds(300, 0.0)
    assert cell.soc() == 42.0


def test_a_bms_that_disagrees_is_a_fault_and_each_direction_takes_the_worse_voice():
    plant = Plant().ready()
    plant.force[im.BMS_SOC] = 5000
    plant.cycles(3)
    for step in range(1, 9):  # the BMS climbs by itself, though no current flows
        plant.force[im.BMS_SOC] = 5000 + 100 * step
        plant.run(2, 500)
    plant.run(8, 500)
    assert "soc_disagrees" in plant.faults()
    assert plant.now[im.SOC_LOW] < 5200 and plant.now[im.SOC_HIGH] >= 5700, "counted 50 %, said 58 %"
    plant = Plant().ready()
    for step in range(1, 9):
        plant.force[im.BMS_SOC] = 5000 - 100 * step
        plant.run(2, 500)
    plant.run(8, 500)
    assert "soc_disagrees" in plant.faults()
    assert plant.now[im.SOC_HIGH] > 4800 and plant.now[im.SOC_LOW] <= 4300, "counted 50 %, said 42 %"


def test_the_lower_voice_limits_discharge_and_the_higher_one_charge():
    plant = Plant()
    plant.soc = 18.0
    plant.ready()
    for said in range(1900, 2700, 100):
        plant.force[im.BMS_SOC] = said
        plant.run(2, 500)
    stats = plant.pm.stats()
    assert stats["limit_discharge"] == 0 and stats["why_discharge"] == "soc", "the counted charge is under the floor"
    assert stats["limit_charge"] == 100
    plant = Plant()
    plant.soc = 92.0
    plant.ready()
    for said in range(9100, 8300, -100):
        plant.force[im.BMS_SOC] = said
        plant.run(2, 500)
    stats = plant.pm.stats()
    assert stats["limit_charge"] == 0 and stats["why_charge"] == "soc"
    assert stats["limit_discharge"] == 100


def test_a_jump_is_a_fault_and_is_seen_in_its_cycle():
    plant = settled()
    plant.force[im.BMS_SOC] = 7000
    plant.cycle()
    assert "soc_jump" in plant.faults()
    assert plant.now[im.SOC_LOW] <= 5000 and plant.now[im.SOC_HIGH] >= 6900
    plant = settled()
    plant.force[im.BMS_SOC] = 5100
    plant.cycle()
    assert plant.faults() == [], "one step is no jump"
    plant = Plant().ready()
    plant.force[im.BMS_SOC] = 7500
    plant.run(10)
    assert plant.faults() == [] and plant.now[im.SOC] == plant.now[im.SOC_LOW] == 7500, "in its first seconds it finds itself"


def test_both_faults_pass_once_the_voices_agree_again():
    plant = settled()
    plant.force[im.BMS_SOC] = 7000
    plant.cycle()
    plant.force[im.BMS_SOC] = 5000  # a slip of the BMS
    plant.run(70, 500)
    assert plant.faults() == [], "the difference is gone, and so is the fault"
    assert abs(plant.now[im.SOC] - 5000) <= 100


def test_counting_stops_while_the_bms_is_silent():
    plant = Plant().ready()
    plant.pm.set_constant_power(50)
    plant.run(5)
    plant.silent.update((im.SEQ_BMS,))
    plant.run(4)
    before = plant.now[im.SOC]
    plant.run(30)
    assert plant.now[im.SOC] == before, "an old current counts nothing"
