"""What the batteries of the cases' neighbours do: the other direction, the other protocol, at boot, two at once, flapping."""

import pytest

from firmware import image as im
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
