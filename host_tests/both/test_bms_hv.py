"""The high-voltage BMS driver: what its frames mean, what it refuses, when a group counts as heard."""

import asyncio

import canbus
from firmware import image as im
from firmware.devices import bms_pylontech
from host_tests.both import bms
from host_tests.both.fakecan import FakeCAN

NOTHING = im.NO_VALUE


class Rig:
    """A driver on a bus on a fake controller."""

    def __init__(self, **given):
        self.can = FakeCAN()
        self.can.set_filters(None)
        self.bus = canbus.Bus(self.can)
        self.image = im.Image()
        self.device = bms_pylontech.Device("bms", bms.options(**given), self.image, {"can0": self.bus})

    def hear(self, can_id, data):
        self.can.arrive(can_id, data)
        self.bus.drain()

    def slots(self, *names):
        return [self.image.inp[slot] for slot in names]


async def _run_for(rig, ms):
    task = asyncio.create_task(rig.device.run())
    await asyncio.sleep_ms(ms)
    task.cancel()


def test_measurements_arrive_in_the_images_units_and_sign():
    rig = Rig()
    rig.hear(0x4210, bms.measurements(volts=651.2, amps_charging=-80.4, celsius=-7.5, soc=57, soh=99))
    got = rig.slots(im.BMS_V, im.BMS_I, im.BMS_TEMP, im.BMS_SOC, im.BMS_SOH, im.SEQ_BMS)
    assert got == [6512, 804, -75, 5700, 9900, 1], got


def test_charging_is_negative_here():
    rig = Rig()
    rig.hear(0x4210, bms.measurements(amps_charging=12.5))
    assert rig.slots(im.BMS_I) == [-125]
    rig = Rig(current_positive="discharge")
    rig.hear(0x4210, bms.measurements(amps_charging=12.5))
    assert rig.slots(im.BMS_I) == [125]


def test_limits_are_magnitudes_whichever_sign_the_maker_uses():
    for sign, amps, accepted in (
        ("either", 165.0, True),
        ("either", -165.0, True),
        ("positive", 165.0, True),
        ("positive", -165.0, False),
        ("negative", -165.0, True),
        ("negative", 165.0, False),
    ):
        rig = Rig(discharge_limit_sign=sign)
        rig.hear(0x4220, bms.limits(charge_v=702.0, discharge_v=546.0, charge_a=160.5, discharge_a=amps))
        got = rig.slots(im.BMS_V_MAX, im.BMS_V_MIN, im.BMS_I_CHG, im.BMS_I_DIS, im.SEQ_BMS_LIMITS)
        assert got == [7020, 5460, 1605, 1650 if accepted else NOTHING, 1], (sign, amps, got)


def test_zero_is_data_not_missing():
    rig = Rig()
    rig.hear(0x4220, bms.limits(charge_v=0, discharge_v=546.0, charge_a=0, discharge_a=0))
    assert rig.slots(im.BMS_V_MAX, im.BMS_I_CHG, im.BMS_I_DIS, im.SEQ_BMS_LIMITS) == [0, 0, 0, 1]
    rig.hear(0x4210, bms.measurements(soc=0))
    assert rig.slots(im.BMS_SOC, im.SEQ_BMS) == [0, 1]


def test_cell_extremes():
    rig = Rig()
    rig.hear(0x4230, bms.cells(3652, 2501))
    rig.hear(0x4240, bms.temperatures(41.5, -12.0))
    got = rig.slots(im.CELL_V_MAX, im.CELL_V_MIN, im.CELL_T_MAX, im.CELL_T_MIN, im.SEQ_BMS_CELLS, im.SEQ_BMS_TEMPS)
    assert got == [3652, 2501, 415, -120, 1, 1], got


def test_a_value_that_cannot_be_true_costs_itself_and_is_named():
    for can_id, data, slot, group, said in (
        (0x4210, bms.measurements(soc=126), im.BMS_SOC, im.SEQ_BMS, "state of charge 126.0 %"),
        (0x4210, bms.measurements(volts=1501), im.BMS_V, im.SEQ_BMS, "voltage 1501.0 V"),
        (0x4210, bms.measurements(amps_charging=1001), im.BMS_I, im.SEQ_BMS, "current -1001.0 A"),
        (0x4210, bms.measurements(celsius=160), im.BMS_TEMP, im.SEQ_BMS, "temperature 160.0 degC"),
        (0x4220, bms.limits(charge_a=-1), im.BMS_I_CHG, im.SEQ_BMS_LIMITS, "charge current limit -1.0 A"),
        (0x4230, bms.cells(12000, 3300), im.CELL_V_MAX, im.SEQ_BMS_CELLS, "highest cell voltage 12000 mV"),
        (0x4230, bms.cells(3300, 0), im.CELL_V_MIN, im.SEQ_BMS_CELLS, "lowest cell voltage 0 mV"),
        (0x4240, bms.temperatures(20.0, -60.0), im.CELL_T_MIN, im.SEQ_BMS_TEMPS, "lowest cell temperature -60.0 degC"),
    ):
        rig = Rig()
        rig.hear(can_id, data)
        assert (rig.device.rejected, rig.device.frames) == (0, 1), (can_id, data)
        assert rig.slots(group, slot, im.BMS_ODD) == [1, NOTHING, 1 << slot - im.BMS_SOC], said
        fields = [field >> 12 for frame in rig.device.protocol.FRAMES if frame[0] == can_id for field in frame[2]]
        assert [other for other in fields if rig.image.inp[other] == NOTHING] == [slot], said
        counted = rig.device.counters()
        assert counted["last_error"] == "0x%x: %s cannot be true" % (can_id, said), counted["last_error"]
        assert counted["oddities"] == ["0x%x: %s cannot be true (1 times)" % (can_id, said)]
        for good_id, good in bms.FRAMES:
            rig.hear(good_id, good)
        assert rig.slots(im.BMS_ODD) == [0] and rig.image.inp[slot] != NOTHING, "it is over with the next good report"


def test_a_maximum_below_its_minimum_costs_both():
    for can_id, data, high, low in (
        (0x4220, bms.limits(charge_v=500.0, discharge_v=546.0), im.BMS_V_MAX, im.BMS_V_MIN),
        (0x4230, bms.cells(3300, 3301), im.CELL_V_MAX, im.CELL_V_MIN),
        (0x4240, bms.temperatures(20.0, 20.1), im.CELL_T_MAX, im.CELL_T_MIN),
    ):
        rig = Rig()
        rig.hear(can_id, data)
        assert rig.slots(high, low) == [NOTHING, NOTHING]
        assert hex(can_id) in rig.device.last_error() and "below its minimum" in rig.device.last_error()
        assert rig.device.frames == (1 if can_id == 0x4220 else 0), "the current limits beside it are good"


def test_a_frame_without_any_value_that_can_be_true_is_not_heard():
    for can_id, group in ((0x4230, im.SEQ_BMS_CELLS), (0x4240, im.SEQ_BMS_TEMPS)):
        rig = Rig()
        rig.hear(can_id, bytes(8))
        assert (rig.device.rejected, rig.device.frames) == (1, 0)
        assert rig.slots(group) == [0]


def test_a_percentage_beyond_100_is_taken_as_100_and_named_once():
    rig = Rig()
    for _ in range(3):
        rig.hear(0x4210, bms.measurements(soc=104, soh=102))
    assert rig.slots(im.BMS_SOC, im.BMS_SOH, im.SEQ_BMS, im.BMS_ODD) == [10000, 10000, 3, 0]
    assert rig.device.oddities() == [
        "0x4210: state of charge 104.0 % is taken as 100 % (3 times)",
        "0x4210: state of health 102.0 % is taken as 100 % (3 times)",
    ]
    assert rig.device.last_error() == ""


def test_frames_of_a_wrong_length_are_refused_and_counted():
    rig = Rig()
    for can_id, data in bms.FRAMES[:5]:
        for length in range(8):
            rig.hear(can_id, data[:length])
    assert rig.device.rejected == 5 * 8
    assert list(rig.image.inp)[:9] == [0] * 9
    assert rig.device.counters()["last_error"] == "0x4250: length 7"


def test_swapped_bytes_are_refused_until_the_option_says_so():
    swapped = bytes([bms.cells()[at ^ 1] for at in range(8)])
    rig = Rig()
    rig.hear(0x4230, swapped)
    assert rig.slots(im.CELL_V_MAX, im.CELL_V_MIN) == [3085, NOTHING], "a value at a time, and what is left contradicts the pack"
    assert "lowest cell voltage 63756 mV" in rig.device.last_error()
    rig = Rig(byte_order="big")
    rig.hear(0x4230, swapped)
    assert rig.slots(im.CELL_V_MAX, im.CELL_V_MIN) == [3340, 3321]
    status = bms.status(basic=1, alarm=0x0002, protection=0x0200)
    rig.hear(0x4250, status[:4] + bytes([status[5], status[4], status[7], status[6]]))
    rig.hear(0x4280, bms.forbidden())
    assert rig.slots(im.BMS_ALARM, im.BMS_PROTECT) == [im.BMS_PROT_OVER_V, im.BMS_PROT_OVER_I_DIS]


def test_a_pack_without_the_current_offset_is_refused_until_the_option_says_so():
    plain = bytes([0x80, 0x19, 0x40, 0x00]) + bms.measurements()[4:]  # 652.8 V, 6.4 A
    rig = Rig()
    rig.hear(0x4210, plain)
    assert rig.slots(im.BMS_I, im.BMS_V) == [NOTHING, 6528] and "current" in rig.device.last_error()
    rig = Rig(current_offset=0)
    rig.hear(0x4210, plain)
    assert rig.slots(im.BMS_I) == [-64]
    rig.hear(0x4210, plain[:2] + b"\xc0\xff" + plain[4:])
    assert rig.slots(im.BMS_I) == [64], "without an offset the words are signed"


def test_flags_are_heard_when_all_of_their_frames_that_ever_came_have_come():
    rig = Rig()
    rig.hear(0x4250, bms.status(basic=2 | 0x08 | 0x10))
    asks = im.BMS_REQ_FORCE_CHARGE | im.BMS_REQ_BALANCE
    assert rig.slots(im.SEQ_BMS_FLAGS, im.BMS_STATUS, im.BMS_REQUESTS) == [1, 2, asks]
    rig.hear(0x4280, bms.forbidden(charge=True, discharge=True))
    wanted = asks | im.BMS_REQ_NO_CHARGE | im.BMS_REQ_NO_DISCHARGE
    assert rig.slots(im.SEQ_BMS_FLAGS, im.BMS_STATUS, im.BMS_REQUESTS) == [1, 2, wanted], "what it forbids counts at once"
    rig.hear(0x4250, bms.status(basic=3))
    assert rig.slots(im.SEQ_BMS_FLAGS) == [2]
    rig.hear(0x4280, bms.forbidden())
    rig.hear(0x4250, bms.status(basic=3))
    forbids = im.BMS_REQ_NO_CHARGE | im.BMS_REQ_NO_DISCHARGE
    assert rig.slots(im.SEQ_BMS_FLAGS, im.BMS_STATUS, im.BMS_REQUESTS) == [3, 3, forbids], "one report lifts nothing"
    rig.hear(0x4280, bms.forbidden())
    assert rig.slots(im.SEQ_BMS_FLAGS, im.BMS_STATUS, im.BMS_REQUESTS) == [3, 3, 0]
    rig.hear(0x4250, bms.status(basic=3))
    assert rig.slots(im.SEQ_BMS_FLAGS) == [4]


def test_alarm_and_protection_bits_keep_their_meaning():
    meaning = (
        (0, im.BMS_PROT_UNDER_V),
        (1, im.BMS_PROT_OVER_V),
        (2, im.BMS_PROT_UNDER_V),
        (3, im.BMS_PROT_OVER_V),
        (4, im.BMS_PROT_UNDER_T_CHG),
        (5, im.BMS_PROT_OVER_T_CHG),
        (6, im.BMS_PROT_UNDER_T_DIS),
        (7, im.BMS_PROT_OVER_T_DIS),
        (8, im.BMS_PROT_OVER_I_CHG),
        (9, im.BMS_PROT_OVER_I_DIS),
        (10, im.BMS_PROT_UNDER_V),
        (11, im.BMS_PROT_OVER_V),
    )
    for bit, condition in meaning:
        for alarm, protection in ((1 << bit, 0), (0, 1 << bit)):
            rig = Rig()
            rig.hear(0x4250, bms.status(alarm=alarm, protection=protection))
            rig.hear(0x4280, bms.forbidden())
            assert rig.slots(im.BMS_ALARM) == [condition if alarm else 0]
            assert rig.slots(im.BMS_PROTECT) == [condition if protection else 0]
    rig = Rig()
    rig.hear(0x4250, bms.status(error=4))
    rig.hear(0x4280, bms.forbidden())
    assert rig.slots(im.BMS_PROTECT) == [im.BMS_PROT_SYSTEM]


def test_another_batterys_frames_are_not_ours():
    rig = Rig(address=3)
    rig.hear(0x4210, bms.measurements())
    rig.hear(0x4214, bms.measurements())
    assert rig.slots(im.SEQ_BMS) == [0]
    rig.hear(0x4213, bms.measurements())
    assert rig.slots(im.SEQ_BMS) == [1]


def test_equipment_is_asked_for_and_told():
    rig = Rig()
    for can_id, data in bms.FRAMES:
        rig.hear(can_id, data)
    told = rig.device.equipment()
    assert told["cells"] == 195 and told["modules_in_series"] == 13 and told["cells_per_module"] == 15
    assert told["nominal_v"] == 624 and told["nominal_ah"] == 333 and told["maker"] == "Example Battery"


def test_it_polls_and_counts_the_polls_that_nobody_answers():
    rig = Rig(period_ms=10)

    async def run():
        task = asyncio.create_task(rig.device.run())
        await asyncio.sleep_ms(35)
        silent = rig.device.timeouts
        for _ in range(10):
            rig.hear(0x4210, bms.measurements())
            await asyncio.sleep_ms(10)
        task.cancel()
        return silent

    silent = asyncio.run(run())
    assert 1 <= silent <= 4
    assert rig.device.timeouts <= silent + 3
    questions = [data[0] for can_id, data, flags in rig.can.sent if can_id == 0x4200 and flags == 2]
    assert questions[:2] == [2, 0]
    assert questions.count(0) >= 5


def test_a_sleeping_pack_is_woken_only_when_the_contactors_are_wanted():
    """Or are to be: start() waits for the voltage of a pack that says 0 V while it sleeps."""
    cases = ((0, im.ORDER_STOP, False), (1, im.ORDER_STOP, True), (0, im.ORDER_START, True), (0, im.ORDER_RESTORED, False))
    for wanted, order, woken in cases:
        rig = Rig(period_ms=10)
        rig.image.now[im.CMD_CONTACTOR] = wanted
        rig.image.now[im.ORDER] = order
        rig.hear(0x4250, bms.status(basic=0))
        rig.hear(0x4280, bms.forbidden())

        asyncio.run(_run_for(rig, 5))
        assert ((0x8200, b"\xaa" + bytes(7), 2) in rig.can.sent) == woken


def test_an_unknown_bus_is_refused_by_name():
    try:
        bms_pylontech.Device("bms", bms.options(bus="can7"), im.Image(), {})
    except ValueError as err:
        assert "can7" in str(err) and "bms" in str(err)
    else:
        raise AssertionError("accepted")
