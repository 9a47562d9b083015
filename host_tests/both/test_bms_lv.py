"""The low-voltage BMS driver: every edition of the 11-bit protocol, from frames that real packs have sent."""

import asyncio
import struct

import canbus
from firmware import image as im
from firmware.devices import bms_pylontech
from host_tests.both import bms
from host_tests.both.fakecan import FakeCAN

# Two US5000 on one DC bus, as published by setfirelabs.com ("Pylontech battery CAN comms V1.2 vs V1.3"):
# the older one speaks V1.2, the newer one V1.3.
V12 = (
    (0x351, bytes([0x14, 0x02, 0xC0, 0x12, 0xC0, 0x12, 0xC2, 0x01])),
    (0x355, bytes([0x58, 0x00, 0x5E, 0x00])),
    (0x356, bytes([0x7A, 0x13, 0xF2, 0xFE, 0x6B, 0x01])),
    (0x359, bytes([0x00, 0x00, 0x00, 0x00, 0x06, 0x50, 0x4E])),
    (0x35C, bytes([0xC0, 0x00])),
    (0x35E, b"PYLON   "),
)
V13 = (
    (0x351, bytes([0x10, 0x02, 0xC0, 0x12, 0xC0, 0x12, 0xC2, 0x01])),
    (0x355, bytes([0x54, 0x00, 0x60, 0x00, 0x00, 0x00])),
    (0x356, bytes([0x7B, 0x13, 0xE9, 0xFE, 0x6B, 0x01])),
    (0x35A, bytes(8)),
    (0x35E, b"PYLON   "),
    (0x35F, bytes([0x4C, 0x49, 0x01, 0x03, 0x3C, 0x02, 0xAA, 0x00])),
)


class Rig:
    """A driver on a bus on a fake controller."""

    def __init__(self, **given):
        self.can = FakeCAN()
        self.can.set_filters(None)
        self.bus = canbus.Bus(self.can)
        self.image = im.Image()
        self.device = bms_pylontech.Device("bms", bms.options(variant="lv", **given), self.image, {"can0": self.bus})

    def hear(self, can_id, data):
        self.can.arrive(can_id, data, extended=False)
        self.bus.drain()

    def slots(self, *names):
        return [self.image.inp[slot] for slot in names]


def test_a_pack_of_edition_1_2():
    rig = Rig()
    for can_id, data in V12:
        rig.hear(can_id, data)
    assert rig.slots(im.BMS_V_MAX, im.BMS_V_MIN, im.BMS_I_CHG, im.BMS_I_DIS) == [532, 450, 4800, 4800]
    assert rig.slots(im.BMS_SOC, im.BMS_SOH) == [8800, 9400]
    assert rig.slots(im.BMS_V, im.BMS_I, im.BMS_TEMP) == [499, 270, 363], "-27.0 A there is 27.0 A discharge here"
    assert rig.slots(im.BMS_REQUESTS, im.BMS_PROTECT, im.BMS_ALARM) == [0, 0, 0]
    assert rig.slots(im.BMS_STATUS) == [im.NO_VALUE]
    assert rig.slots(im.SEQ_BMS, im.SEQ_BMS_LIMITS, im.SEQ_BMS_FLAGS) == [1, 1, 1]
    assert rig.device.equipment() == {"maker": "PYLON"}
    assert rig.device.rejected == 0


def test_a_pack_of_edition_1_3_whose_fine_soc_is_left_empty():
    rig = Rig()
    for can_id, data in V13:
        rig.hear(can_id, data)
    assert rig.slots(im.BMS_SOC, im.BMS_SOH) == [8400, 9600], "0.00 % would be a lie"
    assert rig.slots(im.SEQ_BMS, im.SEQ_BMS_LIMITS, im.SEQ_BMS_FLAGS) == [1, 1, 1]
    assert rig.slots(im.BMS_I) == [279]
    told = rig.device.equipment()
    assert told["version"] == 0x301 and told["nominal_ah"] == 0x23C
    assert rig.device.rejected == 0


def test_a_fine_soc_that_agrees_is_used():
    rig = Rig()
    rig.hear(0x355, struct.pack("<HHH", 57, 99, 5742))
    rig.hear(0x356, V12[2][1])
    assert rig.slots(im.BMS_SOC) == [5742]
    rig.hear(0x355, struct.pack("<HHH", 57, 99, 5900))
    rig.hear(0x356, V12[2][1])
    assert rig.slots(im.BMS_SOC) == [5700]
    rig.hear(0x355, struct.pack("<HHH", 0, 99, 0))
    rig.hear(0x356, V12[2][1])
    assert rig.slots(im.BMS_SOC) == [0]


def test_measurements_are_heard_when_both_frames_have_come():
    rig = Rig()
    rig.hear(0x355, V12[1][1])
    rig.hear(0x355, V12[1][1])
    assert rig.slots(im.SEQ_BMS, im.BMS_SOC) == [0, im.NO_VALUE]
    rig.hear(0x356, V12[2][1])
    assert rig.slots(im.SEQ_BMS, im.BMS_SOC) == [1, 8800]


def test_a_limit_or_voltage_of_zero_means_stop():
    rig = Rig()
    rig.hear(0x351, struct.pack("<HhhH", 0, 0, 0, 450))
    assert rig.slots(im.BMS_V_MAX, im.BMS_I_CHG, im.BMS_I_DIS, im.SEQ_BMS_LIMITS) == [0, 0, 0, 1]


def test_a_frame_without_the_discharge_voltage_leaves_it_open():
    rig = Rig()
    rig.hear(0x351, struct.pack("<Hhh", 532, 1000, -1000))
    assert rig.slots(im.BMS_V_MIN, im.BMS_I_DIS) == [im.NO_VALUE, 1000]
    rig.hear(0x351, struct.pack("<Hhh", 532, -1000, 1000))
    assert rig.slots(im.BMS_I_CHG, im.BMS_I_DIS) == [im.NO_VALUE, 1000], "a negative charge limit cannot be true"


def test_permissions_and_requests():
    for byte, wanted in (
        (0xC0, 0),
        (0x40, im.BMS_REQ_NO_CHARGE),
        (0x80, im.BMS_REQ_NO_DISCHARGE),
        (0x00, im.BMS_REQ_NO_CHARGE | im.BMS_REQ_NO_DISCHARGE),
        (0xE0, im.BMS_REQ_FORCE_CHARGE),
        (0xD0, im.BMS_REQ_FORCE_CHARGE),
        (0xC8, im.BMS_REQ_FULL_CHARGE),
    ):
        rig = Rig()
        rig.hear(0x359, V12[3][1])
        rig.hear(0x35C, bytes([byte, 0]))
        assert rig.slots(im.BMS_REQUESTS, im.SEQ_BMS_FLAGS) == [wanted, 1], (byte, rig.slots(im.BMS_REQUESTS))


def test_protections_and_alarms_of_edition_1_2():
    for at, bit, condition in (
        (0, 1, im.BMS_PROT_OVER_V),
        (0, 2, im.BMS_PROT_UNDER_V),
        (0, 3, im.BMS_PROT_OVER_T),
        (0, 4, im.BMS_PROT_UNDER_T),
        (0, 7, im.BMS_PROT_OVER_I_DIS),
        (1, 0, im.BMS_PROT_OVER_I_CHG),
        (1, 3, im.BMS_PROT_SYSTEM),
    ):
        for place, slots in ((at, [condition, 0]), (at + 2, [0, condition])):
            rig = Rig()
            data = bytearray(V12[3][1])
            data[place] = 1 << bit
            rig.hear(0x359, data)
            rig.hear(0x35C, b"\xc0\x00")
            assert rig.slots(im.BMS_PROTECT, im.BMS_ALARM) == slots, (place, bit)


def test_alarms_of_edition_1_3_are_the_low_bits_of_their_pairs():
    for at, bit, condition in (
        (0, 2, im.BMS_PROT_OVER_V),
        (0, 4, im.BMS_PROT_UNDER_V),
        (0, 6, im.BMS_PROT_OVER_T),
        (1, 0, im.BMS_PROT_UNDER_T),
        (1, 2, im.BMS_PROT_OVER_T_CHG),
        (1, 4, im.BMS_PROT_UNDER_T_CHG),
        (1, 6, im.BMS_PROT_OVER_I_DIS),
        (2, 0, im.BMS_PROT_OVER_I_CHG),
        (2, 2, im.BMS_PROT_CONTACTOR),
        (2, 4, im.BMS_PROT_SHORT),
        (2, 6, im.BMS_PROT_SYSTEM),
    ):
        for place, slots in ((at, [condition, 0]), (at + 4, [0, condition])):
            rig = Rig()
            data = bytearray(b"\xaa" * 8)  # everything supported, nothing wrong
            data[place] = 0xAA ^ (3 << bit)
            rig.hear(0x35A, data)
            assert rig.slots(im.BMS_PROTECT, im.BMS_ALARM) == slots, (place, bit)
    rig = Rig()
    rig.hear(0x35A, b"\xaa" * 8)
    assert rig.slots(im.BMS_PROTECT, im.BMS_ALARM, im.SEQ_BMS_FLAGS) == [0, 0, 1]


def test_short_and_impossible_frames_are_refused():
    for can_id, data in (
        (0x351, bytes(5)),
        (0x355, bytes(3)),
        (0x356, bytes(5)),
        (0x359, bytes(3)),
        (0x35A, bytes(7)),
        (0x35C, b""),
        (0x355, struct.pack("<HH", 126, 126)),
        (0x356, struct.pack("<hhh", -100, 20000, 2000)),
        (0x373, bytes(8)),
    ):
        rig = Rig()
        rig.hear(can_id, data)
        assert (rig.device.rejected, rig.device.frames) == (1, 0), (can_id, data)
        assert list(rig.image.inp)[:9] == [0] * 9
        assert hex(can_id) in rig.device.counters()["last_error"]


def test_29_bit_frames_of_the_same_number_are_not_ours():
    rig = Rig()
    rig.can.arrive(0x355, V12[1][1], extended=True)
    rig.can.arrive(0x356, V12[2][1], extended=True)
    rig.bus.drain()
    assert rig.slots(im.SEQ_BMS) == [0]


def test_it_sends_its_keep_alive_and_forgives_one_missed_period():
    rig = Rig(period_ms=10)

    async def run():
        task = asyncio.create_task(rig.device.run())
        await asyncio.sleep_ms(25)
        assert rig.device.timeouts == 0
        await asyncio.sleep_ms(50)
        task.cancel()

    asyncio.run(run())
    assert rig.device.timeouts >= 1
    assert rig.can.sent[0] == (0x305, bytes(8), 0)
    assert len(rig.can.sent) >= 4
