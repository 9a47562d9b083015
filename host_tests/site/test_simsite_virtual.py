"""The site in virtual time does to the process image what the drivers do, and obeys the commands in it."""

from typing import Any

import pytest

from firmware import image as im
from tools.sim.healthy import POWER
from tools.sim.virtual.site import VirtualSite


class Controller:
    """The least a controller does: a command in the image, and a heartbeat every cycle."""

    def __init__(self, seed: int = 1, **options: Any) -> None:
        self.image = im.Image()
        self.site = VirtualSite(self.image, POWER, seed, **options)
        now = self.image.now
        now[im.CMD_CONTACTOR] = now[im.CMD_RUN] = 1

    def run(self, seconds: float, watts: int = 0, alive: bool = True, dt_s: float = 0.05) -> None:
        now = self.image.now
        for _ in range(round(seconds / dt_s)):
            if alive:
                now[im.CMD_SEQ] += 1
                now[im.CMD_P] = watts
            self.site.step(dt_s)

    def heard(self) -> list[int]:
        return [self.image.inp[slot] for slot in range(im.SEQ_IO + 1)]


def test_image_gets_what_is_true_in_its_own_units() -> None:
    one = Controller(load_kw=20.0, measurement_noise=0.0)
    one.run(5.0)
    one.run(5.0, 60_000)
    inp, plant = one.image.inp, one.site.plant
    assert inp[im.PCS_P] == 60_000 and inp[im.PCS_STATE] == im.PCS_RUNNING
    assert inp[im.PCS_HZ] == 50_000 and inp[im.PCS_V] == 4000 and inp[im.PCS_GRID] == 1
    assert inp[im.PCS_DC_P] == pytest.approx(63_158, rel=0.002)
    assert inp[im.METER_P] == -40_000 and inp[im.METER_HZ] == 50_000
    assert inp[im.BMS_V] / 10 == pytest.approx(plant.pack.voltage_v, abs=0.5)
    assert inp[im.BMS_I] / 10 == pytest.approx(plant.pack.current_a, abs=0.5)
    assert inp[im.BMS_SOC] == 5000 and inp[im.BMS_SOH] == 10_000
    assert inp[im.BMS_I_CHG] == inp[im.BMS_I_DIS] == 1650
    assert inp[im.CELL_V_MAX] == pytest.approx(3290, abs=10)
    assert inp[im.IO_CONTACTOR] == 1 and inp[im.IO_ESTOP] == 0
    assert one.site.auditor.worst_violation_w == 0


@pytest.mark.parametrize(
    ("fault", "quiet"),
    [
        ("bms_silent", range(im.SEQ_BMS, im.SEQ_BMS_FLAGS + 1)),
        ("pcs_silent", [im.SEQ_PCS]),
        ("meter_silent", [im.SEQ_METER]),
    ],
)
def test_silent_device_is_not_heard_and_the_others_are(fault: str, quiet: list[int]) -> None:
    one = Controller()
    one.run(3.0)
    one.site.inject(fault)
    before = one.heard()
    one.run(3.0)
    moved = {slot for slot, (a, b) in enumerate(zip(before, one.heard(), strict=True)) if a != b}
    present = {*range(im.SEQ_BMS, im.SEQ_BMS_FLAGS + 1), im.SEQ_PCS, im.SEQ_METER, im.SEQ_IO}
    assert moved == present - set(quiet)
    one.site.clear(fault)
    one.run(1.5)
    assert all(one.heard()[slot] != before[slot] for slot in quiet)


@pytest.mark.parametrize("why", ["dead", "pcs_refuses", "pcs_silent"])
def test_pcs_that_hears_nothing_goes_to_zero_by_itself(why: str) -> None:
    one = Controller()
    one.run(4.0)
    one.run(3.0, 50_000)
    assert one.site.plant.pcs.power_w == pytest.approx(50_000, rel=0.01)
    if why != "dead":
        one.site.inject(why)
    one.run(5.0, 50_000, alive=why != "dead")
    assert one.site.plant.pcs.power_w == 0 and one.site.plant.pcs.tripped


def test_pv_is_measured_where_it_is_wired() -> None:
    blind, seeing = Controller(pv_kw=30.0), Controller(pv_kw=30.0, pv=True)
    for one in (blind, seeing):
        one.run(2.0)
    assert blind.image.inp[im.SEQ_PV] == 0 and blind.image.inp[im.PV_P] == im.NO_VALUE
    assert seeing.image.inp[im.SEQ_PV] > 0 and seeing.image.inp[im.PV_P] == pytest.approx(30_000, abs=100)


def test_frozen_values_are_heard_but_stand_still() -> None:
    one = Controller()
    one.run(4.0, 20_000)
    one.site.inject("pcs_frozen")
    one.site.inject("bms_frozen")
    old = [one.image.inp[slot] for slot in (im.PCS_P, im.BMS_V, im.BMS_I)]
    before = one.heard()
    one.run(5.0, -20_000)
    assert [one.image.inp[slot] for slot in (im.PCS_P, im.BMS_V, im.BMS_I)] == old
    assert one.heard()[im.SEQ_PCS] > before[im.SEQ_PCS] and one.heard()[im.SEQ_BMS] > before[im.SEQ_BMS]


def test_auditor_sees_a_controller_that_ignores_the_battery() -> None:
    one = Controller(current_max_a=50.0)
    one.run(4.0)
    one.run(2.0, 60_000)
    assert one.site.auditor.worst_violation_w > 25_000


def test_one_second_steps_tell_the_same_story_as_short_ones() -> None:
    energies = []
    for dt_s in (0.02, 1.0):
        one = Controller(measurement_noise=0.0)
        one.run(10.0, 0, dt_s=dt_s)
        one.run(600.0, 45_000, dt_s=dt_s)
        energies.append(one.site.plant.pack.soc)
    assert energies[0] == pytest.approx(energies[1], abs=2e-5)


def test_same_seed_writes_the_same_image() -> None:
    def image(seed: int) -> list[int]:
        one = Controller(seed, load_kw=20.0, load_noise_kw=1.0)
        one.run(10.0, 30_000)
        return list(one.image.inp)

    assert image(5) == image(5)
    assert image(5) != image(6)


def test_faults_of_a_wire_are_refused_here() -> None:
    with pytest.raises(ValueError, match="fault 'bad_crc' is not one of bms_silent"):
        Controller().site.inject("bad_crc")
