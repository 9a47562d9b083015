"""What real batteries do on CAN, and what an owner wants then: one test a case, its id in the docstring, its neighbours beside it.

A protection forbids the direction it is about; what heals a battery works without a person; what a BMS says while it
boots is no measurement; one untrue value costs itself; an emergency takes two readings; an operation that the battery
ends is complete.
"""

import asyncio

from firmware import image as im
from firmware.modes import Mode
from host_tests.both import bms
from host_tests.both.pack import Pack, hexed, unhex

NO_RESTART = 0


def running(variant="lv", kw=0.0, seconds=4.0, **given):
    """A healthy pack under way at kw."""
    pack = Pack(variant, **given)
    pack.run(2)
    pack.pm.start()
    pack.run(2)
    assert pack.pm.mode == Mode.IDLE, (pack.pm.mode, pack.pm.stats())
    if kw:
        pack.pm.set_constant_power(kw)
        pack.run(seconds)
        assert pack.command() == kw * 1000, pack.pm.stats()
    return pack


def unhurt(pack):
    """Nothing tripped, no restart was used up, nothing latched."""
    return pack.now[im.TRIPS] == NO_RESTART and not pack.pm.is_emergency and pack.pm.mode != Mode.STANDBY


# ---- recoverable ------------------------------------------------------------------------------------------


def test_under_voltage_is_recharged_without_a_person_low_voltage():
    """uv-recharge-lv"""
    pack = Pack(min_soc=10, max_soc=95)
    pack.volts = 46.0
    pack.says("351#3002C8000000C001", "355#03006400", "359#0400000001504E", "35C#A000")
    pack.run(3)
    pack.pm.start()
    pack.run(3)
    assert pack.pm.mode == Mode.CHARGE and pack.by() == "protection", pack.pm.stats()
    assert -20 * 48 <= pack.command() < 0 and -200 <= pack.dc_amps() < -40, pack.command()
    assert pack.limit()[0] == 0 and unhurt(pack)
    assert "under-voltage" in pack.details()["bms_no_discharge"]
    pack.says("35C#8000")  # it only permits the charge: a person's or a program's one works as well
    pack.run(3)
    pack.pm.start_charging(50)
    pack.run(3)
    assert pack.by() == "manual" and -200 <= pack.dc_amps() < -40 and unhurt(pack)
    pack.pm.stop_operation()
    pack.pm.resume()
    pack.volts = 52.0
    pack.ordinary()
    pack.says("355#0F006400")
    pack.run(5)
    assert pack.faults() == [] or pack.faults() == ["soc_jump"], pack.faults()
    pack.pm.accept_soc()
    pack.pm.set_constant_power(2)
    pack.run(3)
    assert pack.command() == 2000 and unhurt(pack), pack.pm.stats()


def test_under_voltage_in_operation_ends_the_discharge_and_nothing_else():
    for told in (("359#0400000001504E", "35C#A000"), ("35A#1000000000000000",)):
        pack = Pack(min_soc=10, max_soc=95)
        if told[0].startswith("35A"):
            pack.send.pop(0x359), pack.send.pop(0x35C)
            pack.says("35A#AAAAAAAAAAAAAAAA")
        pack.run(2)
        pack.pm.start()
        pack.run(2)
        pack.pm.set_constant_power(2)
        pack.run(3)
        assert pack.command() == 2000
        pack.says(*told)
        pack.run(1.2)
        assert pack.command() <= 0 and unhurt(pack), told
        pack.pm.set_constant_power(-1)
        pack.run(3)
        assert pack.command() == (-250 if "35C" in told[-1] else -1000) and unhurt(pack), pack.pm.stats()


def _chargeable_hv(pack):
    sent = [can_id for can_id, data, _ in pack.can.sent if can_id == 0x8210 and data[0] == 0xAA]
    return len(sent)


def poll_for(pack, ms=30):
    """The driver's own task, for some real milliseconds."""

    async def run():
        task = asyncio.create_task(pack.driver.run())
        await asyncio.sleep_ms(ms)
        task.cancel()

    asyncio.run(run())


def test_under_voltage_is_recharged_without_a_person_high_voltage():
    """uv-recharge-hv"""
    pack = Pack("hv", options={"period_ms": 10})
    pack.volts = 560.0
    pack.send.update(unhex(("4250#0B00000000000500", "4280#00AA000000000000")))
    pack.send[0x4210] = bms.measurements(soc=3)
    pack.send[0x4230] = bms.cells(2950, 2300)  # below cell_trip_low: the BMS knows of it
    pack.run(3)
    poll_for(pack)
    assert _chargeable_hv(pack) == 0, "not before somebody wants the contactors closed"
    pack.pm.start()
    pack.run(4)
    assert pack.pm.mode == Mode.CHARGE and pack.by() == "protection" and unhurt(pack), pack.pm.stats()
    assert pack.command() == -5000 and pack.limit()[0] == 0
    poll_for(pack)
    assert _chargeable_hv(pack) >= 1, "its contactors are open and only this closes them"
    pack.send[0x4250] = unhex(("4250#0900000000000500",))[0x4250]  # it is charged now
    pack.run(1)
    before = _chargeable_hv(pack)
    poll_for(pack)
    assert _chargeable_hv(pack) == before
    pack.send[0x4250] = bms.status()
    pack.send[0x4280] = bms.forbidden()
    pack.send[0x4230] = bms.cells()
    pack.volts = 630.0
    pack.run(4)
    assert not pack.details() and unhurt(pack)


def test_an_under_voltage_latches_only_if_the_bms_does_not_see_it_or_the_cell_is_dead():
    for cell, status, forbid, latched in (
        (2390, bms.status(), bms.forbidden(), True),  # it offers to discharge on: its protection has failed
        (2390, bms.status(protection=1), bms.forbidden(), False),
        (2390, bms.status(alarm=1), bms.forbidden(), False),
        (2390, bms.status(basic=0x0B), bms.forbidden(), False),  # it asks for a charge
        (2390, bms.status(), bms.forbidden(discharge=True), False),
        (1500, bms.status(protection=1), bms.forbidden(discharge=True), True),  # charging it is a danger of its own
    ):
        pack = running("hv", -1 if latched else 0)
        pack.send.update({0x4230: bms.cells(3000, cell), 0x4250: status, 0x4280: forbid})
        pack.volts = 584.0
        pack.run(8)
        assert pack.pm.is_emergency == latched, (cell, status, pack.details())
        if not latched:
            assert pack.limit()[0] == 0 and pack.limit()[1] > 0, pack.pm.stats()


def test_a_soc_that_falls_from_100_to_5_can_be_charged_at_once():
    """soc-100-to-5"""
    pack = Pack(min_soc=10, max_soc=95)
    pack.says("355#64006400")
    pack.run(3)
    pack.pm.start()
    pack.run(7)
    pack.says("355#05006400")
    pack.run(2)
    assert pack.limit()[0] == 0 and pack.limit()[1] > 3, pack.pm.stats()
    pack.pm.set_constant_power(-2)
    pack.run(8)
    assert pack.command() == -2000
    said = pack.details()["soc_disagrees"]
    assert "5.0" in said or "5.1" in said, said
    assert "100.0" in said, said
    pack.pm.set_constant_power(0)
    pack.run(580, 200)
    assert "soc_disagrees" in pack.faults()
    pack.run(90, 200)
    assert "soc_disagrees" not in pack.faults() and unhurt(pack), "ten minutes of the same is the truth"


def test_a_soc_that_disagrees_is_accepted_by_a_call_or_a_forced_charge_in_either_direction():
    for first, then in (("64", "1E"), ("0F", "5A"), ("5F", "05")):
        pack = Pack(min_soc=10, max_soc=95)
        pack.says("355#%s006400" % first)
        pack.run(3)
        pack.pm.start()
        pack.run(7)
        pack.says("355#%s006400" % then)
        pack.run(8)
        assert "soc_disagrees" in pack.faults()
        low = min(int(first, 16), int(then, 16))
        assert pack.now[im.SOC_LOW] <= low * 100 + 100, "the lower one limits discharging until then"
        pack.pm.accept_soc()
        pack.run(1)
        assert pack.now[im.SOC_LOW] == pack.now[im.SOC_HIGH] == pack.now[im.SOC]
        assert abs(pack.now[im.SOC] - int(then, 16) * 100) <= 100
    pack.says("355#05006400", "35C#E000")
    pack.run(2)
    pack.says("355#03006400")
    pack.run(2)
    assert pack.now[im.SOC_LOW] == pack.now[im.SOC_HIGH], "who asks for a charge knows that it is empty"


def test_the_time_to_accept_a_soc_is_a_setting_and_starts_anew_while_it_still_moves():
    pack = Pack(soc_accept=2)
    pack.says("355#50006400")
    pack.run(10)
    pack.says("355#1E006400")
    pack.run(60, 200)
    pack.says("355#28006400")
    pack.run(110, 200)
    assert pack.now[im.SOC_LOW] != pack.now[im.SOC_HIGH] or pack.now[im.SOC_DRIFT] != 0
    pack.run(20, 200)
    assert pack.now[im.SOC_DRIFT] == 0
    pack = Pack(soc_accept=0)
    pack.says("355#50006400")
    pack.run(10)
    pack.says("355#1E006400")
    pack.run(3600, 1000)
    assert "soc_disagrees" in pack.faults(), "0: never by itself"
    pack.pm.accept_soc()
    pack.run(70, 500)
    assert pack.faults() == []


# ---- direction --------------------------------------------------------------------------------------------


def test_a_full_battery_with_its_over_current_bit_goes_on_discharging():
    """full-with-overcurrent-bit"""
    pack = running(kw=2, max_soc=100)
    pack.says("351#30020000E803C001", "355#3A006400", "359#0001000101504E", "35C#4000")
    pack.run(5)
    assert pack.command() == 2000 and pack.limit()[1] == 0 and unhurt(pack)
    assert "over-current charging" in pack.details()["bms_no_charge"]
    assert "over-current charging" in pack.details()["bms_alarm"]
    pack = running(kw=-2, max_soc=100)  # and the other way round
    pack.says("351#3002E8030000C001", "359#8000800001504E", "35C#8000")
    pack.run(5)
    assert pack.command() == -2000 and pack.limit()[0] == 0 and unhurt(pack)
    assert "over-current discharging" in pack.details()["bms_no_discharge"]


def test_each_protection_forbids_its_direction_and_only_what_separates_trips():
    lv = (
        ("359#0200000001504E", 1, 0, 0),
        ("359#0400000001504E", 0, 1, 0),
        ("359#0800000001504E", 1, 1, 0),
        ("359#1000000001504E", 1, 0, 0),
        ("359#8000000001504E", 0, 1, 0),
        ("359#0001000001504E", 1, 0, 0),
        ("359#0008000001504E", 1, 1, 1),
        ("35A#0400000000000000", 1, 0, 0),
        ("35A#1000000000000000", 0, 1, 0),
        ("35A#4000000000000000", 1, 1, 0),
        ("35A#0001000000000000", 1, 0, 0),
        ("35A#0004000000000000", 1, 0, 0),
        ("35A#0010000000000000", 1, 0, 0),
        ("35A#0040000000000000", 0, 1, 0),
        ("35A#0000010000000000", 1, 0, 0),
        ("35A#0000040000000000", 1, 1, 1),
        ("35A#0000100000000000", 1, 1, 1),
        ("35A#0000400000000000", 1, 1, 1),
    )
    hv = [("4250#030000000000%02X00" % (1 << bit), no_chg, no_dis, 0) for bit, no_chg, no_dis in (
        (0, 0, 1), (1, 1, 0), (2, 0, 1), (3, 1, 0), (4, 1, 0), (5, 1, 0), (6, 0, 1), (7, 0, 1),
    )]  # fmt: skip
    hv += [("4250#03000000000000%02X" % (1 << bit), no_chg, no_dis, 0) for bit, no_chg, no_dis in (
        (0, 1, 0), (1, 0, 1), (2, 0, 1), (3, 1, 0),
    )]  # fmt: skip
    hv.append(("4250#0300000100000000", 1, 1, 1))
    for variant, table in (("lv", lv), ("hv", hv)):
        for frame, no_charge, no_discharge, separate in table:
            pack = running(variant)
            pack.send.update(unhex((frame,)))
            pack.run(3)
            discharge, charge = pack.limit()
            assert (charge == 0) == bool(no_charge) and (discharge == 0) == bool(no_discharge), (frame, discharge, charge)
            assert (pack.pm.mode == Mode.STANDBY) == bool(separate), frame
            assert ("bms_protection" in pack.faults()) == bool(separate), frame


def test_an_over_voltage_at_each_end_of_charge_holds_charging_off_and_costs_no_restart():
    """over-voltage-at-each-end-of-charge"""
    for variant, kw in (("lv", 2), ("hv", 20)):
        pack = running(variant, max_soc=100)
        charged_s, ends, protected_s = 0, [], 0
        ordinary = dict(pack.send)
        for second in range(1800):
            pack.pm.claim("remote", -kw, 5, "ems")
            if protected_s:
                protected_s -= 1
                if not protected_s:
                    pack.send.update(ordinary)
            elif pack.command() < 0:
                charged_s += 1
                if charged_s % 20 == 0:
                    ends.append(second)
                    protected_s = 60
                    if variant == "lv":
                        pack.says("351#30020000E803C001", "359#0200000001504E", "35C#4000")
                    else:
                        pack.send.update({0x4250: bms.status(protection=2), 0x4280: bms.forbidden(charge=True)})
            pack.run(1, 500)
            assert unhurt(pack), (variant, second)
        assert 4 <= len(ends) <= 6, ends
        gaps = [later - before for before, later in zip(ends, ends[1:])]
        assert min(gaps) >= 60 + 300 + 20, gaps
        pack.pm.claim("remote", kw, 5, "ems")
        pack.run(2)
        assert pack.command() == kw * 1000, "discharging was never touched"


def test_the_time_that_an_over_voltage_holds_charging_off_is_a_setting_and_is_told():
    for hold in (0, 30):
        pack = running(kw=-2, max_soc=100, overvoltage_hold=hold)
        pack.says("359#0200000001504E")
        pack.run(3)
        assert pack.command() == 0
        pack.says("359#0000000001504E")
        pack.run(5)
        if hold:
            assert pack.command() == 0 and "held off" in pack.details()["bms_no_charge"], pack.details()
        pack.run(hold)
        assert pack.command() == -2000 and unhurt(pack)


def test_too_cold_to_charge_forbids_only_charging():
    """too-cold-to-charge-lv"""
    for told in (("35A#AA9AAAAAAAAAAAAA",), ("359#1000000001504E", "35C#4000")):
        pack = running(kw=2)
        if told[0].startswith("35A"):
            pack = Pack()
            pack.send.pop(0x359), pack.send.pop(0x35C)
            pack.says("35A#AAAAAAAAAAAAAAAA")
            pack.run(2)
            pack.pm.start()
            pack.run(2)
            pack.pm.set_constant_power(2)
            pack.run(2)
        pack.says("351#30020000E803C001", "356#B4140000%s" % hexed(-30), *told)
        pack.run(5)
        assert pack.command() == 2000 and pack.limit()[1] == 0 and unhurt(pack), pack.pm.stats()
        pack.says("356#B4140000%s" % hexed(-200))
        pack.run(3)
        assert pack.command() == 0 and pack.why() == "temperature"
    pack = running("hv", 20)
    pack.send.update({0x4240: bms.temperatures(-2.0, -3.0), 0x4250: bms.status(protection=0x10)})
    pack.send[0x4280] = bms.forbidden(charge=True)
    pack.run(5)
    assert pack.command() == 20000 and pack.limit()[1] == 0 and unhurt(pack), pack.pm.stats()


def test_protections_count_without_their_companion_frame():
    """protections-without-0x35C"""
    for frame, no_charge, no_discharge in (
        ("359#0C08000001504E", 1, 1),
        ("359#0400000001504E", 0, 1),
        ("359#0800000001504E", 1, 1),
        ("359#0008000001504E", 1, 1),
    ):
        pack = Pack()
        pack.send.pop(0x35C)
        pack.run(2)
        pack.pm.start()
        pack.run(2)
        assert pack.pm.mode == Mode.IDLE and pack.limit() > (4, 4), "it is judged by what it sends"
        pack.says(frame)
        pack.run(3)
        discharge, charge = pack.limit()
        assert (charge == 0) == bool(no_charge) and (discharge == 0) == bool(no_discharge), frame
    pack = running(kw=2)  # another edition takes over: what the old frames said is over with them
    pack.says("359#8000000001504E")
    pack.run(3)
    assert pack.command() == 0
    pack.send[0x359] = pack.send[0x35C] = None
    pack.says("35A#AAAAAAAAAAAAAAAA")
    pack.run(8)
    assert pack.command() == 2000 and unhurt(pack), pack.pm.stats()
    pack = Pack()  # a frame that has come must go on coming
    pack.run(2)
    pack.pm.start()
    pack.run(2)
    pack.send[0x35C] = None
    pack.run(4.5)
    assert "bms_lost" in pack.faults()


def test_a_maker_that_sends_warnings_first_is_understood_by_an_option():
    pack = running(options={"warnings_first": True})
    pack.says("359#0200000001504E")
    pack.run(3)
    assert pack.limit()[1] > 0 and "over-voltage" in pack.details()["bms_alarm"]
    pack.says("359#0000020001504E")
    pack.run(3)
    assert pack.limit()[1] == 0


def test_two_batteries_on_one_bus_are_found_and_nothing_moves():
    """two-masters-on-one-bus"""
    for second in (("355#1E006400", "35C#8000"), ("355#1E006400", "351#3002E8030000C001"), ("355#1E006400",)):
        pack = Pack()
        pack.every_ms = 500
        first = dict(pack.send)
        first[0x355] = unhex(("355#58006400",))[0x355]
        other = dict(first)
        other.update(unhex(second))
        turn = 0
        for half_second in range(40):
            pack.send = other if turn else first
            turn ^= 1
            for _ in range(10):
                pack.cycle()
                if len(second) > 1:
                    assert pack.command() <= 0, "never power that one of them forbids"
            if half_second == 2:
                pack.pm.start()
            if half_second == 4 and pack.pm.mode != Mode.STANDBY:
                pack.pm.set_constant_power(2)
        assert pack.command() == 0 and pack.limit() == (0, 0)
        assert "two batteries" in pack.details()["two_batteries"]
        assert "two batteries" in pack.driver.counters()["oddities"][-1]
        pack.send = first
        pack.every_ms = 1000
        pack.run(60)
        assert "two_batteries" not in pack.faults(), "one of them was unplugged"
    pack = Pack("hv")  # two with the same address answer one poll
    first = bms.measurements(soc=88)
    other = bms.measurements(soc=30)
    pack.follow = False
    pack.every_ms = 500
    for turn in range(20):
        pack.send[0x4210] = other if turn & 1 else first
        pack.run(0.5)
    assert "two_batteries" in pack.faults() and pack.limit() == (0, 0)


def test_one_slip_of_the_soc_is_not_two_batteries():
    pack = running(kw=2)
    for _ in range(3):
        pack.says("355#5A006400")
        pack.run(1)
        pack.says("355#39006400")
        pack.run(20)
    assert "two_batteries" not in pack.faults()


def test_alarms_without_a_consequence_are_named():
    """silent-alarms"""
    for frame, word in (
        ("35A#0100000000000000", "general alarm"),
        ("35A#0000000100000000", "cell imbalance"),
        ("35A#0000000001000000", "general alarm"),
        ("35A#0000000000000001", "cell imbalance"),
        ("359#0010000000504E", "bit without a known meaning"),
        ("359#0080000000504E", "bit without a known meaning"),
        ("359#0000004000504E", "bit without a known meaning"),
        ("359#0000020000504E", "over-voltage"),
    ):
        pack = running(kw=2)
        pack.says(frame)
        pack.run(4)
        assert word in pack.details()["bms_alarm"], (frame, pack.details())
        assert [said for said in pack.driver.counters()["alarms"] if word in said], pack.driver.counters()["alarms"]
        assert pack.command() == 2000 and unhurt(pack)
        severities = [fault["severity"] for fault in pack.pm.faults() if fault["name"] == "bms_alarm"]
        assert severities == ["warning"]


# ---- start-up ---------------------------------------------------------------------------------------------


def test_a_soc_of_0_in_the_first_seconds_is_no_measurement():
    """soc-0-for-the-first-5-s"""
    pack = Pack()
    pack.says("355#00006400")
    pack.run(1)
    pack.pm.start()
    pack.run(4)
    assert pack.pm.mode == Mode.STANDBY and pack.command() == 0 and pack.now[im.SOC] == im.NO_VALUE
    assert "no state of charge" in pack.pm.stats()["missing"][0]
    pack.says("355#39006400")
    pack.run(2)
    pack.pm.set_constant_power(2)
    pack.run(2)
    assert pack.command() == 2000 and pack.faults() == [], pack.pm.stats()
    assert abs(pack.now[im.SOC] - 5700) <= 50 and pack.now[im.SOC_DRIFT] in (-1, 0, 1)
    pack.says("355#00006400")  # its BMS starts again while we run
    pack.run(4)
    assert pack.command() == 0
    pack.says("355#39006400")
    pack.run(3)
    assert pack.command() == 2000 and pack.faults() == [] and unhurt(pack)


def test_any_wild_soc_of_the_first_seconds_poisons_no_counter():
    for first, then in (("64", "0F"), ("01", "39"), ("32", "50")):
        pack = Pack(min_soc=10)
        pack.says("355#%s006400" % first)
        pack.run(4)
        pack.says("355#%s006400" % then)
        pack.run(8)
        assert pack.faults() == [], (first, pack.faults())
        assert pack.now[im.SOC_LOW] == pack.now[im.SOC_HIGH] == int(then, 16) * 100


def test_a_battery_that_is_empty_is_believed():
    for told in (("351#3002E8030000C001",), ("35C#8000",), ("359#0400000001504E",)):
        pack = Pack(min_soc=10)
        pack.says("355#00006400", *told)
        pack.run(2)
        pack.pm.start()
        pack.run(2)
        assert pack.pm.mode == Mode.IDLE and pack.limit()[1] > 1, told
    pack = Pack(min_soc=10)
    pack.says("355#00006400")
    pack.run(3)
    pack.pm.start()
    pack.run(20)
    assert pack.pm.mode == Mode.IDLE and pack.limit()[1] > 1, "it may offer to discharge at 0 %, if it stays with it"
    pack.says("355#39006400")
    pack.run(8)
    assert pack.faults() == [] and pack.limit()[0] > 1, "it was a start-up after all"
    pack = running(kw=1, min_soc=0)
    for soc in (3, 2, 1, 0):
        pack.says("355#%02X006400" % soc)
        pack.pm.accept_soc()
        pack.run(2)
    assert pack.now[im.SOC] <= 100 and pack.now[im.MISSING] == 0


def test_a_pack_that_boots_with_zeros_waits_and_starts():
    """cells-0-while-booting"""
    good = dict(Pack("hv").send)
    pack = Pack("hv")
    pack.follow = False
    pack.send.update(
        {
            0x4210: bms.measurements(volts=0, soc=0),
            0x4220: bytes(8),
            0x4230: bytes(8),
        }
    )
    pack.pm.start()
    for _ in range(6):
        pack.run(1)
        assert pack.pm.mode == Mode.STANDBY and pack.command() == 0 and not pack.pm.is_emergency
    pack.send[0x4210] = bytes(8)
    pack.run(1)
    assert pack.pm.mode == Mode.STANDBY and not pack.pm.is_emergency
    pack.send = good
    pack.follow = True
    pack.run(4)
    assert pack.pm.mode == Mode.IDLE, pack.pm.stats()
    pack.pm.set_constant_power(20)
    pack.run(5)
    assert pack.command() == 20000 and not pack.pm.is_emergency


def test_zeros_in_operation_are_no_emergency_either():
    pack = running("hv", 20)
    good = dict(pack.send)
    pack.send.update({0x4220: bytes(8), 0x4230: bytes(8), 0x4240: bytes(8)})
    pack.send[0x4210] = bytes(8)
    pack.follow = False
    pack.run(6)
    assert pack.command() == 0 and not pack.pm.is_emergency
    pack.send = good
    pack.follow = True
    pack.run(40)
    assert pack.command() == 20000, pack.pm.stats()


# ---- one value --------------------------------------------------------------------------------------------


def test_a_soc_of_105_is_100():
    """soc-105"""
    pack = Pack(max_soc=95)
    pack.says("355#69006400")
    pack.run(2)
    pack.pm.start()
    pack.run(2)
    pack.pm.set_constant_power(2)
    pack.run(3)
    assert pack.command() == 2000 and pack.limit()[1] == 0
    named = [said for said in pack.driver.counters()["oddities"] if "105" in said]
    assert len(named) == 1 and "100" in named[0] and "state of charge" in named[0]


def test_without_a_temperature_sensor_the_rest_is_used_low_voltage():
    """no-temperature-sensor-lv"""
    pack = Pack()
    pack.says("356#B914350124FA")
    pack.follow = False
    pack.force[im.PCS_DC_I] = im.NO_VALUE
    pack.run(2)
    pack.pm.start()
    pack.run(2)
    inp = pack.image.inp
    assert [inp[im.BMS_V], inp[im.BMS_I], inp[im.BMS_SOC]] == [531, -309, 5700]
    pack.pm.set_constant_power(2)
    pack.run(2)
    stats = pack.pm.stats()
    assert pack.command() == 0 and stats["binding"] == "missing_data" and "temperature" in stats["reason"], stats
    assert "temperature -150.0 degC" in pack.driver.last_error() and "temperature" in pack.details()["bms_value"]
    pack.says("373#B90CC20C27012801")
    pack.run(4)
    assert pack.command() == 2000, pack.pm.stats()


def test_without_a_temperature_sensor_the_cells_tell_it_high_voltage():
    """no-temperature-sensor-hv"""
    pack = Pack("hv")
    pack.send[0x4210] = bms.measurements(celsius=-100.0)
    pack.run(2)
    pack.pm.start()
    pack.run(2)
    pack.pm.set_constant_power(20)
    pack.run(3)
    assert pack.command() == 20000 and "temperature" in pack.details()["bms_value"]
    pack.send[0x4240] = bms.temperatures(-25.0, -26.0)
    pack.run(2)
    assert pack.command() == 0 and pack.why() == "temperature"


def test_without_an_offset_the_words_are_signed():
    """hv-without-offset"""
    pack = Pack("hv", options={"current_offset": 0})
    pack.follow = False
    pack.send[0x4210] = unhex(("4210#231938FFE2043763",))[0x4210]
    pack.send[0x4220] = unhex(("4220#6C1B5415400%sC0F9" % "6",))[0x4220]
    pack.run(2)
    inp = pack.image.inp
    assert [inp[im.BMS_V], inp[im.BMS_I], inp[im.BMS_SOC]] == [6435, 200, 5500]
    assert [inp[im.BMS_I_CHG], inp[im.BMS_I_DIS]] == [1600, 1600]
    assert pack.driver.oddities() == []


def test_the_rows_of_the_second_edition():
    """v2-rows"""
    pack = running(kw=2)
    pack.says("373#B90CC20C27012801", "379#2C01", "370#FFFFFFFFFFFFFFFF", "371#FFFFFFFFFFFFFFFF")
    pack.run(3)
    inp = pack.image.inp
    assert [inp[im.CELL_V_MIN], inp[im.CELL_V_MAX], inp[im.CELL_T_MIN], inp[im.CELL_T_MAX]] == [3257, 3266, 220, 230]
    assert pack.driver.equipment()["nominal_ah"] == 300 and pack.command() == 2000
    pack.says("373#B90CC20C27015801")  # 344 K
    pack.run(6)
    assert pack.pm.is_emergency and "over_temperature" in pack.faults()
    pack = running(kw=2)
    pack.says("373#8C0A740E27012801")  # 2700 mV and 3700 mV
    pack.run(3)
    assert pack.limit() == (0, 0) and pack.why() == "cell_voltage" == pack.why(charge=True)
    pack = running(kw=2)
    pack.says("360#FF")
    pack.run(3)
    assert pack.by() == "protection" and pack.command() == -250
    pack.says("360#00")
    pack.run(3)
    assert pack.command() == 2000
    pack.says("360#FF")
    pack.run(2)
    pack.send[0x360] = None  # it is sent only while it is wanted
    pack.run(6)
    assert pack.command() == 2000 and pack.faults() == []
    pack.says("372#0300010002000000")
    pack.run(3)
    assert "modules block charging" in pack.details()["bms_alarm"] and pack.command() == 2000
    assert "modules: 3 online, 1 block charging, 2 block discharging, 0 offline" in pack.driver.counters()["alarms"]


# ---- latch ------------------------------------------------------------------------------------------------


def test_one_frame_with_a_cell_at_4095_mv_latches_nothing():
    """one-cell-frame-at-4095-mv"""
    pack = running("hv", 20)
    good = pack.send[0x4230]
    pack.send[0x4230] = unhex(("4230#FF0FDA0C11006800",))[0x4230]
    pack.run(1)
    pack.send[0x4230] = good
    pack.run(1)
    assert not pack.pm.is_emergency and unhurt(pack)
    assert "4095 mV" in pack.details()["bms_value"], pack.details()
    pack.run(3)
    assert pack.command() == 20000
    pack.send[0x4230] = unhex(("4230#FF0FDA0C11006800",))[0x4230]
    pack.run(2.5)
    assert pack.pm.is_emergency, "two that agree do"


def test_one_reading_of_anything_latches_nothing_and_two_do():
    for frames in (
        {0x4230: bms.cells(3300, 2300)},
        {0x4240: bms.temperatures(75.0, 25.0)},
        {0x4240: bms.temperatures(160.0, 25.0), 0x4210: bms.measurements(celsius=75.0)},
    ):
        pack = running("hv", 20)
        good = dict(pack.send)
        pack.send.update(frames)
        pack.run(1)
        pack.send = dict(good)
        pack.run(10)
        assert not pack.pm.is_emergency and unhurt(pack) and pack.command() == 20000, frames
        assert "bms_value" in pack.faults()
        pack.send.update(frames)
        pack.run(6)
        assert pack.pm.is_emergency, frames


def test_a_reading_that_contradicts_the_pack_voltage_never_latches():
    pack = running(kw=2)
    pack.says("373#%s%s27012801" % (hexed(3300), hexed(4500)))
    pack.volts = 45.0  # 15 cells at 3.3 V and one at 4.5 V would be 54 V
    pack.run(10)
    assert not pack.pm.is_emergency and pack.limit()[1] == 0
    assert "4500 mV" in pack.details()["bms_value"]
    pack = running(kw=2)
    pack.says("373#%s%s27012801" % (hexed(600), hexed(3310)))
    pack.run(10)
    assert not pack.pm.is_emergency and pack.limit()[0] == 0, "15 cells at 3.31 V are no 53 V"
    assert "600 mV" in pack.details()["bms_value"]


def test_readings_must_be_fresh():
    pack = running("hv", 20)
    good = pack.send[0x4230]
    pack.send[0x4230] = bms.cells(3900, 3300)
    pack.run(1)
    pack.send[0x4230] = None
    pack.run(6)
    assert not pack.pm.is_emergency and "bms_lost" in pack.faults()
    pack.send[0x4230] = good
    pack.run(2)
    assert not pack.pm.is_emergency


# ---- honest end -------------------------------------------------------------------------------------------


def test_values_that_rest_are_not_frozen_and_frozen_ones_are_found():
    """values-that-rest"""
    for variant, kw in (("lv", 2), ("hv", 40)):
        for sign in (1, -1):
            pack = running(variant, kw * sign)
            pack.follow = False
            resting = 0x356 if variant == "lv" else 0x4210
            amps = int(pack.dc_amps())
            if variant == "lv":
                pack.says("356#%s%sFA00" % (hexed(5300), hexed(-amps)))
            else:
                pack.send[resting] = bms.measurements(volts=643.5, amps_charging=-amps / 10)
            pack.run(120, 100)
            assert pack.command() == kw * sign * 1000 and pack.faults() == [] and unhurt(pack), pack.pm.stats()
            pack.force[im.PCS_DC_I] = im.NO_VALUE  # else its current would tell at once
            pack.pm.set_constant_power(kw * sign * 0.9)
            pack.run(58, 100)
            assert pack.faults() == []
            pack.run(5, 100)
            assert "bms_frozen" in pack.faults() and pack.command() == 0


def test_a_charge_that_the_bms_ends_is_complete_and_gives_way():
    """bms-ends-the-charge-at-98"""
    for told in (("351#30020000E803C001", "35C#4000"), ("35C#4000",), ("351#30020000E803C001",)):
        pack = running(max_soc=100)
        pack.pm.claim("schedule", 1, 600, "plan")
        pack.says("355#61006400")
        pack.pm.accept_soc()
        pack.run(1)
        pack.pm.accept_soc()
        pack.pm.start_charging(100)
        pack.run(5)
        assert pack.command() < 0 and pack.by() == "manual"
        pack.says("355#62006400", *told)
        pack.volts = 53.5
        pack.run(50)
        assert pack.events("CHARGE_COMPLETE") == [] and pack.by() == "manual"
        pack.run(15)
        assert len(pack.events("CHARGE_COMPLETE")) == 1 and unhurt(pack)
        assert [claim["source"] for claim in pack.pm.claims()] == ["schedule"]
        assert pack.command() == 1000 and pack.by() == "schedule"


def test_a_discharge_that_the_bms_ends_is_complete_too():
    for variant in ("lv", "hv"):
        pack = running(variant, min_soc=0)
        if variant == "lv":
            pack.says("355#05006400")
        else:
            pack.send[0x4210] = bms.measurements(soc=5)
        pack.run(1)
        pack.pm.accept_soc()
        pack.pm.start_discharging(1)
        pack.run(4)
        assert pack.command() == 1000
        if variant == "lv":
            pack.says("351#3002E8030000C001", "35C#8000")
        else:
            pack.send[0x4280] = bms.forbidden(discharge=True)
        pack.run(65)
        assert len(pack.events("DISCHARGE_COMPLETE")) == 1 and pack.pm.claims() == [], pack.pm.stats()


def test_one_slip_of_the_soc_ends_no_operation():
    for slip, start in (("64", lambda pm: pm.start_charging(80)), ("05", lambda pm: pm.start_discharging(1))):
        pack = running(min_soc=10)
        start(pack.pm)
        pack.run(5)
        pack.says("355#%s006400" % slip)
        pack.run(1)
        pack.says("355#39006400")
        pack.run(5)
        assert abs(pack.command()) >= 1000 and pack.by() == "manual"
        pack.says("355#%s006400" % slip)
        pack.run(8)
        assert len(pack.events("CHARGE_COMPLETE") + pack.events("DISCHARGE_COMPLETE")) == 1, "reports that agree do"


def test_a_charge_that_waits_for_warmth_or_in_the_middle_is_not_complete():
    pack = running(max_soc=100)
    pack.pm.start_charging(100)
    pack.says("351#30020000E803C001", "35C#4000")
    pack.run(120, 200)
    assert pack.events("CHARGE_COMPLETE") == [], "57 % is no end"
    pack.says("355#62006400", "356#B4140000%s" % hexed(-30))
    pack.pm.accept_soc()
    pack.run(120, 200)
    assert pack.events("CHARGE_COMPLETE") == [], "it is too cold"


# ---- slow senders -----------------------------------------------------------------------------------------


def test_a_slow_sender_works_with_a_period_to_match():
    for every_s in (2, 5, 10):
        for options, config in (({"period_ms": every_s * 1000}, {}), ({}, {})):
            pack = Pack(options=options, bms_period_ms=every_s * 1000, **config)
            pack.every_ms = every_s * 1000
            pack._since_ms = 0
            pack.run(9)
            pack.pm.start()
            pack.run(3 * every_s)
            assert pack.faults() == [] and pack.pm.mode == Mode.IDLE, every_s
            pack.pm.set_constant_power(2)
            pack.run(120, 200)
            assert pack.command() == 2000 and pack.faults() == [] and unhurt(pack)
            pack.every_ms = 1000000
            pack.run(3 * every_s + 1)
            assert pack.command() == 0 and "bms_lost" in pack.faults()


def test_frames_of_a_slow_sender_may_come_seconds_apart():
    pack = Pack(bms_period_ms=10000)
    early, late = dict(pack.send), dict(pack.send)
    for can_id in (0x355, 0x359):
        early.pop(can_id)
    for can_id in (0x351, 0x356, 0x35C):
        late.pop(can_id)
    pack.every_ms = 5000
    for _ in range(8):
        pack.send = early
        pack.run(5)
        pack.send = late
        pack.run(5)
    pack.pm.start()
    for _ in range(4):
        pack.send = early
        pack.run(5)
        pack.send = late
        pack.run(5)
    assert pack.pm.mode == Mode.IDLE and pack.faults() == [], pack.pm.stats()


def test_the_keep_alive_is_sent_every_second_to_a_slow_sender():
    pack = Pack(options={"period_ms": 10000})
    poll_for(pack, 1150)
    assert len([can_id for can_id, _, _ in pack.can.sent if can_id == 0x305]) == 2
    assert pack.driver.timeouts == 0
