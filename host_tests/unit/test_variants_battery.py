"""What the batteries of the cases' neighbours do: the other direction, the other protocol, at boot, two at once, flapping."""

import pytest

from firmware import image as im
from firmware import requests as rq
from firmware.modes import Mode
from host_tests.both import bms
from host_tests.both.pack import Pack, unhex
from host_tests.both.test_bms_cases import poll_for, running, unhurt

# ---- recoverable ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["lv", "hv"])
def test_an_empty_battery_that_gives_and_takes_nothing_yet_is_believed_and_charged(variant: str) -> None:
    """Its contactors are open, so both limits are 0 until the system that should close them has started."""
    pack = Pack(variant, min_soc=10, options={"period_ms": 10} if variant == "hv" else {})
    if variant == "lv":
        pack.volts = 46.0
        pack.says("351#3002000000000000", "355#00006400", "359#0400000001504E", "35C#2000")
    else:
        pack.volts = 560.0
        pack.send.update(unhex(("4250#0B00000000000500", "4280#00AA000000000000")))
        pack.send[0x4210] = bms.measurements(soc=0)
        pack.send[0x4220] = bms.limits(charge_a=0, discharge_a=0)
    pack.run(3)
    pack.pm.start()
    pack.run(3)
    assert pack.pm.mode in (Mode.IDLE, Mode.CHARGE) and pack.command() == 0, pack.pm.stats()["reason"]
    if variant == "hv":
        poll_for(pack)
        assert [data for can_id, data, _ in pack.can.sent if can_id == 0x8210], "it is asked to close its contactors"
        pack.send[0x4220] = bms.limits(charge_a=20, discharge_a=0)
    else:
        pack.says("351#3002C80000000000", "35C#A000")
    pack.run(4)
    assert pack.command() < 0 and unhurt(pack), pack.pm.stats()["reason"]


def test_a_boot_with_zeros_stays_no_measurement() -> None:
    pack = Pack()
    pack.says("351#0000000000000000", "355#00000000", "359#0000000001504E", "35C#0000")
    pack.run(2)
    pack.pm.start()
    pack.run(4)
    assert pack.pm.mode == Mode.STANDBY and pack.now[im.SOC] == im.NO_VALUE


# ---- a frame that is missing or short ---------------------------------------------------------------------------


@pytest.mark.parametrize("companion", [None, b"\0", b"\0\0"])
def test_a_high_voltage_packs_protections_count_whatever_becomes_of_0x4280(companion: "bytes | None") -> None:
    pack = Pack("hv")
    pack.send[0x4280] = companion
    pack.run(2)
    pack.pm.start()
    pack.run(2)
    assert pack.limit() > (50, 50), "it is judged by what it sends"
    pack.send[0x4250] = bms.status(protection=1)
    pack.run(3)
    assert pack.limit()[0] == 0 < pack.limit()[1] and unhurt(pack)
    pack.send[0x4250] = bms.status(protection=2)
    pack.run(3)
    assert pack.limit()[1] == 0 < pack.limit()[0] and unhurt(pack)
    pack.send[0x4250] = bms.status(error=1)
    pack.run(2)
    assert pack.pm.mode == Mode.STANDBY and "bms_protection" in pack.faults()


def test_a_high_voltage_pack_may_forbid_in_two_bytes_and_without_a_status() -> None:
    pack = Pack("hv")
    pack.send[0x4250] = None
    pack.send[0x4280] = b"\xaa\0"
    pack.run(2)
    pack.pm.start()
    pack.run(2)
    assert pack.limit()[1] == 0 < pack.limit()[0]
    pack.send[0x4280] = None  # what has come must go on coming
    pack.run(4.5)
    assert "bms_lost" in pack.faults()


# ---- two at once, flapping --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kw", [4, -4])
def test_of_two_batteries_in_turn_that_agree_in_everything_else_the_smaller_limit_counts(kw: int) -> None:
    """Their states of charge are too near to tell them apart."""
    pack = Pack()
    pack.every_ms = 500
    first = dict(pack.send)
    other = {**first, **unhex(("351#3002C800C800C001", "355#38006400"))}
    for half_second in range(30):
        pack.send = other if half_second & 1 else first
        if half_second == 3:
            pack.pm.start()
        if half_second == 6 and pack.pm.mode != Mode.STANDBY:
            pack.pm.set_constant_power(kw)
        for _ in range(10):
            pack.cycle()
            assert abs(pack.dc_amps()) <= 202, "20 A is what one of them takes and gives"
    assert abs(pack.command()) > 500


def test_a_limit_falls_at_once_and_rises_with_the_second_report() -> None:
    pack = running(kw=4)
    pack.says("351#3002C800C800C001")
    pack.run(1.2)
    assert pack.dc_amps() <= 202
    pack.says("351#3002E803E803C001")
    pack.run(1.5)
    assert pack.dc_amps() <= 202
    pack.run(3)
    assert pack.command() == 4000


def test_an_alarm_that_comes_and_goes_with_every_report_is_named() -> None:
    for variant, frames in (
        ("lv", ("359#0000020001504E", "359#0000000001504E")),
        ("hv", ("4250#0300000002000000", "4250#0300000000000000")),
    ):
        pack = running(variant)
        for turn in range(10):
            pack.send.update(unhex((frames[turn & 1],)))
            pack.run(1)
        assert "over-voltage" in pack.details().get("bms_alarm", ""), variant
        pack.run(8)
        assert "bms_alarm" not in pack.faults()


def test_a_protection_that_comes_and_goes_with_every_report_holds_all_the_time() -> None:
    for variant, kw, frames in (
        ("lv", 2, ("359#8000000001504E", "359#0000000001504E")),
        ("hv", 20, ("4250#0300000000000002", "4250#0300000000000000")),
    ):
        pack = running(variant, kw)
        for turn in range(10):
            pack.send.update(unhex((frames[turn & 1],)))
            pack.run(1)
            assert pack.command() == 0 and unhurt(pack), variant


# ---- requests at the top ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant, kw", [("lv", 2), ("hv", 20)])
@pytest.mark.parametrize("full", [False, True])
def test_a_forced_charge_ends_at_the_ceiling_and_gives_way(variant: str, kw: int, full: bool) -> None:
    pack = running(variant, min_soc=10, max_soc=90)
    if variant == "lv":
        pack.says("35C#F800" if full else "35C#E000")
    elif full:
        return  # it has no such request
    else:
        pack.send[0x4250] = bms.status(basic=0x0B)

    def reports(soc: int) -> None:
        pack.send.update({0x355: bytes([soc, 0, 100, 0]), 0x4210: bms.measurements(soc=soc)})
        pack.run(1.5)
        pack.pm.accept_soc()
        pack.run(2)

    pack.run(2)
    pack.pm.set_constant_power(kw)
    top = 100 if full else 90
    reports(top - 2)
    assert pack.by() == "protection" and pack.command() < 0, pack.pm.stats()["reason"]
    reports(top)
    assert pack.by() == "manual" and pack.command() == kw * 1000, pack.pm.stats()["reason"]
    reports(top - 2)
    assert pack.by() == "manual", "it does not begin anew at once"
    reports(top - 7)
    assert pack.by() == "protection" and pack.command() < 0


def test_a_forced_charge_out_of_under_voltage_begins_wherever_the_state_of_charge_is_said_to_be() -> None:
    """One weak cell of a pack that counts itself nearly full."""
    pack = running(min_soc=10, max_soc=100)
    pack.says("355#61006400")
    pack.run(2)
    pack.pm.accept_soc()
    pack.says("351#3002C8000000C001", "359#0400000001504E", "35C#A000")
    pack.run(3)
    assert pack.by() == "protection" and pack.command() < 0 and unhurt(pack), pack.pm.stats()["reason"]


def test_the_ceiling_that_a_wanted_full_charge_lifts_is_told_as_it_is() -> None:
    pack = running(max_soc=90)
    pack.says("355#64006400", "35C#C800")
    pack.run(2)
    pack.pm.accept_soc()
    pack.pm.set_constant_power(-2)
    pack.run(2)
    assert "the ceiling is 100.0 %" in pack.pm.stats()["reason"], pack.pm.stats()["reason"]


# ---- in words ---------------------------------------------------------------------------------------------------


def test_a_discharge_voltage_of_all_ones_is_one_that_is_not_told() -> None:
    pack = running(kw=2)
    pack.says("351#3002E803E803FFFF")
    pack.run(3)
    assert pack.command() == 2000 and pack.faults() == []


@pytest.mark.parametrize(
    "variant, kw, frame, word",
    [
        ("lv", -2, "351#FFFFE803E803C001", "charge cut-off voltage"),
        ("lv", 2, "351#3002E803E803E8FD", "discharge cut-off voltage"),
        ("hv", 20, "4220#6C1B60EA40073E07", "discharge cut-off voltage"),
        ("hv", -20, "4230#FFFFDA0C00000000", "highest cell voltage"),
        ("hv", 20, "4230#0C0D000000000000", "lowest cell voltage"),
        ("lv", 2, "351#3002E8030080C001", "discharge current limit"),
        ("hv", -20, "4220#6C1B5415FFFFA47B", "charge current limit"),
    ],
)
def test_a_bound_that_cannot_be_true_is_named_by_what_it_costs(variant: str, kw: int, frame: str, word: str) -> None:
    pack = running(variant, kw)
    pack.send.update(unhex((frame,)))
    pack.run(3)
    said = pack.pm.stats()["reason"]
    assert pack.command() == 0 and word + " that is reported cannot be true" in said, said
    assert pack.command() == 0 and "-1073741" not in said and "-107374" not in said


@pytest.mark.parametrize(
    "site, grid, kw, word",
    [
        ({"allow_grid_charging": False}, True, -2, "from the grid is not allowed (allow_grid_charging): only surplus charges"),
        ({"grid_connection": 3}, True, -2, "EXPORT: only surplus charges"),
        ({"grid_connection": 1}, True, 2, "BACKUP: it discharges only while there is no grid"),
        ({"grid_connection": 2}, False, -2, "there is no grid: only surplus charges"),
        ({"grid_connection": 2}, False, 3, "there is no grid: only what the site takes is served"),
        ({"grid_connection": 3}, False, 3, "there is no grid"),
    ],
)
def test_what_the_grid_connection_forbids_is_told(site: dict, grid: bool, kw: int, word: str) -> None:
    pack = running(**site)
    pack.grid = grid
    pack.run(2)
    pack.pm.set_constant_power(kw)
    pack.run(2)
    assert word in pack.pm.stats()["reason"], pack.pm.stats()["reason"]


# ---- state of charge --------------------------------------------------------------------------------------------


def test_a_fine_state_of_charge_that_is_left_0_does_not_make_1_percent_0() -> None:
    pack = running(min_soc=10)
    pack.says("355#0100640000000000", "359#0400000001504E")
    pack.run(2)
    assert pack.image.inp[im.BMS_SOC] == 100 and pack.now[im.MISSING] == 0


@pytest.mark.parametrize("accept", [10, 0])
def test_a_recalibration_under_way_is_no_end_of_an_operation_that_only_the_counter_sees_at_its_end(accept: int) -> None:
    """Charging at 89 % the BMS finds that it is 40 %, discharging at 21 % that it is 60 %."""
    for first, then, start, event in (
        ("59", "28", lambda pm: pm.start_charging(), "CHARGE_COMPLETE"),
        ("15", "3C", lambda pm: pm.start_discharging(2), "DISCHARGE_COMPLETE"),
        ("15", "3C", lambda pm: pm.set_constant_power(2), "DISCHARGE_COMPLETE"),
    ):
        pack = Pack(min_soc=20, max_soc=90, soc_accept=accept)
        pack.says(f"355#{first}006400")
        pack.run(10)
        pack.pm.start()
        pack.run(2)
        start(pack.pm)
        pack.run(5)
        pack.says(f"355#{then}006400")
        pack.run(400, 500)
        if accept:
            assert not pack.events(event), pack.pm.stats()["reason"]
            assert "soc" in pack.pm.stats()["reason"]
            pack.run(300, 500)
            assert abs(pack.command()) >= 2000 and unhurt(pack), pack.pm.stats()["reason"]
        else:
            assert pack.events(event), "nobody will ever say who was right, so the counter does"


def test_a_schedule_goes_on_charging_after_a_recalibration() -> None:
    pack = Pack(min_soc=20, max_soc=90)
    pack.says("355#59006400")
    pack.run(10)
    pack.pm.start()
    pack.run(2)
    pack.pm.take_schedule((5000, 7200000, rq.CHARGE, rq.BY_PARAMS, "schedule 0"), [], 0)
    pack.run(5)
    pack.says("355#28006400")
    pack.run(700, 500)
    assert pack.by() == "schedule" and pack.command() < -2000, pack.pm.stats()["reason"]


def test_what_the_bms_itself_sees_at_its_end_is_the_end() -> None:
    for first, then, start, event in (
        ("28", "5F", lambda pm: pm.start_charging(), "CHARGE_COMPLETE"),
        ("3C", "0F", lambda pm: pm.start_discharging(2), "DISCHARGE_COMPLETE"),
    ):
        pack = Pack(min_soc=20, max_soc=90)
        pack.says(f"355#{first}006400")
        pack.run(10)
        pack.pm.start()
        pack.run(2)
        start(pack.pm)
        pack.run(5)
        pack.says(f"355#{then}006400")
        pack.run(10)
        assert pack.events(event), pack.pm.stats()["reason"]


# ---- after a silence of days ------------------------------------------------------------------------------------


@pytest.mark.parametrize("silent_ms", [5000, 0x18000000, 0x20000000 + 10, 0x2C000000, 0x3FFFFF00])
def test_half_of_a_set_from_before_a_silence_makes_no_fresh_one(silent_ms: int) -> None:
    pack = Pack()
    ordinary = dict(pack.send)
    pack.send = {0x355: ordinary[0x355], 0x360: b"\xff", 0x35C: ordinary[0x35C]}
    pack.speak()
    pack.clock.ms += silent_ms
    before = pack.image.inp[im.SEQ_BMS]
    pack.send = {0x356: ordinary[0x356], 0x359: ordinary[0x359], 0x35C: ordinary[0x35C]}
    pack.speak()
    assert pack.image.inp[im.SEQ_BMS] == before, "a state of charge from before it"
    assert pack.image.inp[im.BMS_REQUESTS] & im.BMS_REQ_FORCE_CHARGE == 0, "what is not sent any more says nothing"
    pack.send = ordinary
    pack.speak()
    assert pack.image.inp[im.SEQ_BMS] == before + 1


# ---- a frame that comes once, or says nothing -------------------------------------------------------------------


@pytest.mark.parametrize("kw", [2, -2])
@pytest.mark.parametrize("frame", ["373#FFFFFFFFFFFFFFFF", "373#0000000000000000", "373#0200FFFF00000000"])
def test_a_frame_that_came_once_and_could_not_be_true_does_not_strand(kw: int, frame: str) -> None:
    """Somebody else's, or spoilt: what is not sent any more says nothing, neither good nor bad."""
    pack = running(kw=kw)
    pack.says(frame)
    pack.run(1)
    pack.send[0x373] = None
    pack.run(12)
    assert pack.by() == "manual" and pack.command() == kw * 1000, pack.pm.stats()["reason"]
    assert "373" in pack.driver.counters()["oddities"][0] if "F" in frame else True


def test_cells_and_temperatures_of_0_that_never_were_anything_else_are_none() -> None:
    pack = running(kw=2)
    pack.says("373#0000000000000000")
    pack.run(10)
    assert pack.command() == 2000 and pack.faults() == [], pack.pm.stats()["reason"]
    assert "0x373: lowest cell voltage 0 mV was never measured" in "; ".join(pack.driver.oddities())
    pack.says("373#B90CC20C27012801")
    pack.run(3)
    assert pack.command() == 2000 and pack.image.inp[im.CELL_V_MAX] == 3266
    pack.says("373#0000C20C27012801")
    pack.run(3)
    assert pack.command() == 0 and "lowest cell voltage" in pack.pm.stats()["reason"], "once it was measured it is missing"


@pytest.mark.parametrize("frame", ["4230#0C0D000000000000", "4220#6C1B60EA40073E07"])
def test_a_lowest_voltage_that_cannot_be_true_is_no_end_of_a_discharge(frame: str) -> None:
    pack = running("hv")
    ordinary = dict(pack.send)
    pack.pm.start_discharging(20)
    pack.run(3)
    pack.send.update(unhex((frame,)))
    pack.run(12)
    assert pack.command() == 0 and not pack.events("DISCHARGE_COMPLETE")
    pack.send = ordinary
    pack.run(6)
    assert pack.by() == "manual" and pack.command() == 20000


@pytest.mark.parametrize("variant, frame", [("lv", "351#0000E803E803C001"), ("hv", "4220#00005415707B707B")])
def test_a_charge_voltage_of_0_stops_a_charge_and_does_not_complete_it(variant: str, frame: str) -> None:
    pack = running(variant)
    ordinary = dict(pack.send)
    pack.pm.start_charging(90)
    pack.run(3)
    pack.send.update(unhex((frame,)))
    pack.run(30)
    assert pack.command() == 0 and not pack.events("CHARGE_COMPLETE"), pack.pm.stats()["reason"]
    pack.send = ordinary
    pack.run(6)
    assert pack.by() == "manual" and pack.command() < 0


@pytest.mark.parametrize("variant, frame", [("lv", "351#0000E803E803C001"), ("hv", "4220#00005415707B707B")])
def test_a_charge_voltage_of_0_near_the_top_ends_a_charge_after_a_minute(variant: str, frame: str) -> None:
    pack = running(variant, max_soc=100)
    pack.send.update({0x355: bytes([97, 0, 100, 0]), 0x4210: bms.measurements(soc=97)})
    pack.run(2)
    pack.pm.accept_soc()
    pack.pm.start_charging(100)
    pack.run(3)
    pack.send.update(unhex((frame,)))
    pack.run(50)
    assert not pack.events("CHARGE_COMPLETE")
    pack.run(20)
    assert pack.events("CHARGE_COMPLETE") == [5]


@pytest.mark.parametrize("kw", [2, -2])
def test_cells_that_came_once_are_not_awaited_for_ever(kw: int) -> None:
    """One frame is no rhythm: it may be somebody else's, or a greeting."""
    pack = running(kw=kw)
    for _ in range(3):
        pack.says("373#B90CC20C27012801")
        pack.run(1)
        pack.send[0x373] = None
        pack.run(12)
        assert pack.by() == "manual" and pack.command() == kw * 1000, pack.pm.stats()["reason"]
        assert pack.image.inp[im.CELL_V_MAX] == pack.image.inp[im.CELL_T_MAX] == im.NO_VALUE
    pack.says("373#B90CC20C27012801")
    pack.run(3)
    assert (pack.image.inp[im.CELL_V_MAX], pack.image.inp[im.CELL_T_MAX]) == (3266, 230) and pack.command() == kw * 1000
    pack.send[0x373] = None
    pack.run(5)
    assert "bms_lost" in pack.faults(), "what comes regularly has to go on coming"
