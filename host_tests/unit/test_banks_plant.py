"""Several batteries and inverters: currents share by voltage and resistance, powers add up, one battery is what it was alone."""

from typing import Any

import pytest

from firmware import image as im
from tools.sim import healthy
from tools.sim.banks_auditor import PATIENCE, BanksAuditor
from tools.sim.physics.banks import BankLayout, BanksPlant, one_of_each
from tools.sim.physics.bms import OVER_VOLTAGE
from tools.sim.physics.pcs import RUNNING
from tools.sim.physics.plant import PlantOptions
from tools.sim.virtual.banks import VirtualBanks

PAIR = (BankLayout("a", ("bms_1", "bms_2"), ("pcs_1", "pcs_2"), {}),)


def started(layouts: Any, seed: int = 1, **options: Any) -> BanksPlant:
    """Contactors closed, inverters running, no sensor noise."""
    plant = BanksPlant(layouts, PlantOptions(**{"measurement_noise": 0.0, "pcs_watchdog_s": 1e9, **options}), seed)
    plant.contactor_wanted = True
    run(plant, 3.0)
    assert all(one.pcs.state == RUNNING for one in plant.inverters)
    return plant


def run(plant: Any, seconds: float, dt_s: float = 0.02) -> None:
    for _ in range(round(seconds / dt_s)):
        plant.step(dt_s)


def test_a_bank_of_one_of_each_is_the_plant_of_one_of_each() -> None:
    one, alone = started(one_of_each(1), load_kw=12.0), healthy.plant(1, load_kw=12.0, pcs_watchdog_s=1e9)
    alone.contactor_wanted = True
    run(alone, 3.0)
    for watts in (80_000.0, -60_000.0):
        one.inverters[0].pcs.command(watts)
        alone.pcs.command(watts)
        run(one, 60.0)
        run(alone, 60.0)
        pack = one.batteries[0].pack
        for name in ("soc", "voltage_v", "current_a", "temperature_c"):
            assert getattr(pack, name) == pytest.approx(getattr(alone.pack, name), rel=1e-9)
        assert one.grid_w == pytest.approx(alone.grid_w) and one.pcs.power_w == pytest.approx(alone.pcs.power_w)
    assert one.export_wh == pytest.approx(alone.export_wh) and one.import_wh == pytest.approx(alone.import_wh)


@pytest.mark.parametrize("watts", [90_000.0, -90_000.0])
def test_alike_batteries_share_evenly_and_what_they_give_is_what_the_inverters_take(watts: float) -> None:
    plant = started(PAIR)
    plant.inverters[0].pcs.command(watts)
    plant.inverters[1].pcs.command(watts / 3)
    run(plant, 20.0)
    first, second = (one.pack for one in plant.batteries)
    assert first.current_a == pytest.approx(second.current_a)
    assert first.current_a * (1 if watts > 0 else -1) > 50
    dc = sum(one.pcs.dc_power_w() for one in plant.inverters)
    assert first.current_a * first.voltage_v + second.current_a * second.voltage_v == pytest.approx(dc, rel=1e-3)
    amps = [one.pack.current_a for one in plant.inverters]
    assert amps[0] == pytest.approx(3 * amps[1], rel=0.01) and sum(amps) == pytest.approx(plant.pack.current_a, rel=1e-3)
    assert plant.pcs.power_w == pytest.approx(watts * 4 / 3, rel=1e-6) and plant.grid_w == pytest.approx(-watts * 4 / 3, rel=1e-6)


def test_a_cold_battery_has_more_resistance_and_carries_less() -> None:
    plant = started(PAIR)
    plant.set("temperature", -10.0, "bms_2")
    plant.inverters[0].pcs.command(80_000.0)
    run(plant, 5.0)
    warm, cold = (one.pack for one in plant.batteries)
    assert cold.r0_ohm > 1.4 * warm.r0_ohm
    assert 0 < cold.current_a < 0.75 * warm.current_a
    assert warm.voltage_v == pytest.approx(cold.voltage_v, abs=0.5), "one bus"


def test_unequal_batteries_move_charge_between_them_without_any_inverter() -> None:
    plant = started(PAIR)
    plant.set("soc", 80.0, "bms_1")
    plant.set("soc", 12.0, "bms_2")
    run(plant, 10.0)
    full, empty = (one.pack for one in plant.batteries)
    assert full.current_a > 5 and empty.current_a == pytest.approx(-full.current_a, rel=1e-6)
    assert full.soc < 0.80 and empty.soc > 0.12 and plant.pcs.power_w == 0.0


def test_a_battery_whose_relay_opens_leaves_the_bus_and_the_others_carry_on() -> None:
    plant = started(PAIR)
    plant.inverters[0].pcs.command(60_000.0)
    run(plant, 5.0)
    before = plant.batteries[1].pack.current_a
    plant.batteries[0].bms.relay_closed = False
    run(plant, 5.0)
    assert plant.batteries[0].pack.current_a == 0.0
    assert plant.batteries[1].pack.current_a == pytest.approx(2 * before, rel=0.03)
    assert all(one.pcs.dc_present for one in plant.inverters)
    plant.batteries[1].contactor_stuck = False
    plant.batteries[1].bms.relay_closed = False
    run(plant, 1.0)
    assert not any(one.pcs.dc_present for one in plant.inverters) and plant.pcs.power_w == 0.0


def test_banks_have_nothing_to_do_with_each_other_but_the_grid() -> None:
    plant = started(one_of_each(3), load_kw=30.0, pv_kw=10.0)
    for inverter, watts in zip(plant.inverters, (50_000.0, -20_000.0, 0.0), strict=True):
        inverter.pcs.command(watts)
    run(plant, 10.0)
    amps = [one.pack.current_a for one in plant.batteries]
    assert amps[0] > 70 and amps[1] < -25 and amps[2] == 0.0
    assert plant.grid_w == pytest.approx(30_000 - 10_000 - 30_000, abs=5)
    plant.set("soc", 90.0, "b")
    assert [round(one.pack.soc, 2) for one in plant.batteries] == [0.5, 0.9, 0.5]


def test_inverters_that_form_an_island_share_its_load() -> None:
    plant = started(one_of_each(2), load_kw=40.0, pcs_island="form")
    for inverter in plant.inverters:
        inverter.pcs.command(0.0)
    plant.set("grid", 0)
    run(plant, 10.0)
    assert [round(one.pcs.power_w / 1000) for one in plant.inverters] == [20, 20]
    assert plant.served_w == pytest.approx(40_000, rel=1e-3) and plant.grid_w == 0.0


@pytest.mark.parametrize(
    ("layouts", "complaint"),
    [
        ((), "at least one bank"),
        ((BankLayout("a", (), ("p",), {}),), "at least one battery"),
        (tuple(BankLayout(n, (f"b{n}",), (f"p{n}",), {}) for n in "abcde"), "5 banks, 5 batteries, 5 inverters: at most 4 of each"),
        ((BankLayout("a", ("b", "b"), ("p",), {}),), "a name stands twice"),
    ],
)
def test_a_site_that_cannot_be_is_refused(layouts: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        BanksPlant(layouts)


def test_the_auditor_judges_each_bank_by_its_own_batteries_and_the_site_by_its_sum() -> None:
    plant = started(one_of_each(2))
    auditor = BanksAuditor(plant, {"a": {"max_discharge_power": 100.0}, "b": {}}, {"max_discharge_power": 120.0})
    for battery in plant.batteries:
        auditor.banks[battery.name[-1]].reporter(battery.name)(battery.bms.report())
    auditor.watch()
    auditor.banks["a"].setpoint(90_000.0)
    assert auditor.worst_violation_w == 0
    auditor.banks["b"].setpoint(103_000.0)
    assert 0 < auditor.worst_violation_w < 5_000 and "given: 103000 W" in auditor.worst_text, "more than its inverter's rating"
    for inverter in plant.inverters:
        inverter.pcs.command(75_000.0)
    for _ in range(PATIENCE - 1):
        auditor.watch()
    assert auditor.worst_violation_w < 5_000, "one may still go down"
    auditor.watch()
    assert auditor.worst_violation_w == pytest.approx(30_000) and auditor.worst_text.startswith("the site: 150000 W")


def test_a_silent_battery_allows_its_bank_nothing_any_more() -> None:
    plant = started(one_of_each(2))
    auditor = BanksAuditor(plant, {"a": {}, "b": {}}, {})
    auditor.banks["a"].reporter("bms_a")(plant.batteries[0].bms.report())
    auditor.watch()
    assert auditor.banks["a"].allowed_w()[1] > 90_000 and auditor.banks["b"].allowed_w() == (0.0, 0.0)
    run(plant, 4.0)
    assert auditor.banks["a"].allowed_w() == (0.0, 0.0)


# ---- in virtual time ------------------------------------------------------------------------------------------


class Controller:
    """An Image for the site and one for each device, a command in each, and a heartbeat every cycle."""

    def __init__(self, layouts: Any, **options: Any) -> None:
        self.image = im.Image()
        batteries = sum(len(each.batteries) for each in layouts)
        inverters = sum(len(each.inverters) for each in layouts)
        self.image.batteries = [im.Image() for _ in range(batteries)]
        self.image.inverters = [im.Image() for _ in range(inverters)]
        self.site = VirtualBanks(self.image, layouts, healthy.POWER, **options)
        self.image.now[im.CMD_CONTACTOR] = 1
        for own in self.image.inverters:
            own.now[im.CMD_RUN] = 1

    def run(self, seconds: float, *watts: int, dt_s: float = 0.05) -> None:
        for _ in range(round(seconds / dt_s)):
            for own, each in zip(self.image.inverters, watts, strict=False):
                own.now[im.CMD_SEQ] += 1
                own.now[im.CMD_P] = each
            self.site.step(dt_s)


def test_every_device_writes_its_own_image_and_obeys_its_own_command() -> None:
    one = Controller(one_of_each(2), measurement_noise=0.0, load_kw=20.0)
    one.run(5.0, 0, 0)
    one.site.plant.set("soc", 70.0, "b")
    one.run(6.0, 60_000, -20_000)
    first, second = one.image.inverters
    assert (first.inp[im.PCS_P], second.inp[im.PCS_P]) == (60_000, -20_000)
    assert first.inp[im.PCS_DC_I] > 900 and second.inp[im.PCS_DC_I] < -250
    assert [own.inp[im.BMS_SOC] for own in one.image.batteries] == [5000, 7000]
    assert one.image.batteries[0].inp[im.BMS_I] > 900 > 0 > one.image.batteries[1].inp[im.BMS_I]
    assert one.image.inp[im.METER_P] == -20_000 and one.image.inp[im.IO_CONTACTOR] == 1
    assert one.image.inp[im.PCS_P] == im.NO_VALUE, "the site's sums are the cycle's to make"
    assert one.site.auditor.worst_violation_w == 0


def test_a_fault_of_one_device_leaves_the_others_alone() -> None:
    one = Controller(one_of_each(2))
    one.run(5.0, 30_000, 30_000)
    one.site.inject("bms_silent", "bms_a")
    one.site.inject("pcs_refuses", "b")
    heard = [own.inp[im.SEQ_BMS] for own in one.image.batteries]
    one.run(6.0, 30_000, 50_000)
    assert one.image.batteries[0].inp[im.SEQ_BMS] == heard[0] and one.image.batteries[1].inp[im.SEQ_BMS] > heard[1] + 4
    powers = [round(each.pcs.power_w / 1000) for each in one.site.plant.inverters]
    assert powers == [30, 0], "who is not obeyed any more stops by its own watchdog"
    one.site.clear("bms_silent", "bms_a")
    one.site.clear("pcs_refuses", "b")
    one.run(6.0, 30_000, 50_000)
    assert one.image.batteries[0].inp[im.SEQ_BMS] > heard[0] + 3
    assert round(one.site.plant.inverters[1].pcs.power_w / 1000) == 50 and one.site.active == set()


def test_a_fault_without_a_name_befalls_all_and_one_that_cannot_be_is_refused() -> None:
    one = Controller(one_of_each(2))
    one.site.inject("cell_over_voltage")
    one.site.inject("grid_lost")
    one.site.inject("estop")
    one.run(2.0, 0, 0)
    assert all(each.bms.protection & OVER_VOLTAGE for each in one.site.plant.batteries)
    assert one.image.inp[im.METER_V] == 0 and one.image.inp[im.IO_ESTOP] == 1
    for name, of, complaint in (
        ("bms_silent", "pcs_a", "pcs_a has nothing that bms_silent"),
        ("bms_silent", "bms_z", "'bms_z' is no bank or device"),
        ("slow_pcs", "", "'slow_pcs' is not one of"),
    ):
        with pytest.raises(ValueError, match=complaint):
            one.site.inject(name, of)


def test_the_same_seed_makes_the_same_images() -> None:
    def images(seed: int) -> list[bytes]:
        one = Controller(PAIR, seed=seed, load_kw=5.0)
        one.run(8.0, 20_000, -5_000)
        return [bytes(own.inp) for own in (one.image, *one.image.batteries, *one.image.inverters)]

    assert images(3) == images(3) != images(4)
