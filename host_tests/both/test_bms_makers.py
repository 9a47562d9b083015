"""Growatt's and BYD's batteries on CAN: frames packed by the protocols' description, their odd cases, and the cycle behind them."""

import struct
import time

import micropython
from rows import each

import canbus
from firmware import image as im
from firmware.config import PowerConfig
from firmware.devices import bms_byd, bms_growatt, can_tables
from firmware.modes import Mode
from host_tests.both.fakecan import FakeCAN
from host_tests.both.pack import LV_SITE, Clock, Pack

NOTHING = im.NO_VALUE
GROWATT = "growatt"
BYD = "byd"
MODULES = {GROWATT: bms_growatt, BYD: bms_byd}


def growatt_frames(volts=53.0, amps=0.0, celsius=25, soc=57, soh=99, charge_v=56.0, charge_a=100.0, discharge_a=100.0, permit=0xC0):
    """A healthy second, + charging."""
    return {
        0x311: struct.pack(">HhhH", round(charge_v * 10), round(charge_a * 10), round(discharge_a * 10), 0),
        0x313: struct.pack(">HhhBB", round(volts * 100), round(amps * 10), round(celsius * 10), soc, soh),
        0x319: struct.pack(">BHHBBB", permit, 3320, 3301, 1, 2, 0),
    }


def byd_frames(volts=410.0, amps=0.0, celsius=25.0, soc=57.25, soh=99.0, charge_v=466.0, charge_a=25.0, discharge_a=25.0):
    """A healthy set; amps + charging."""
    return {
        0x110: struct.pack(">HHhh", round(charge_v * 10), 3200, round(discharge_a * 10), round(charge_a * 10)),
        0x150: struct.pack(">HHHH", round(soc * 100), round(soh * 100), 150, 256),
        0x1D0: struct.pack(">Hhhh", round(volts * 10), round(amps * 10), round(celsius * 10), 0),
        0x210: struct.pack(">hhI", 265, 241, 0),
    }


HEALTHY = {GROWATT: growatt_frames, BYD: byd_frames}


def options(maker, **given):
    """The driver's options with their defaults."""
    values = {row[0]: row[2] for row in each(MODULES[maker].OPTIONS)}
    values["bus"] = "can0"
    values.update(given)
    return values


class Rig:
    """A driver on a bus on a fake controller, at a time of its own."""

    def __init__(self, maker, **given):
        self.clock = can_tables.time = Clock()
        self.can = FakeCAN(depth=100)
        self.can.set_filters(None)
        self.bus = canbus.Bus(self.can)
        self.image = im.Image()
        self.device = MODULES[maker].Device("bms", options(maker, **given), self.image, {"can0": self.bus})
        self.maker = maker

    def hear(self, *frames):
        """(id, data) of each."""
        for can_id, data in frames:
            self.can.arrive(can_id, data, extended=False)
            self.bus.drain()

    def healthy(self, **given):
        """One whole set."""
        self.hear(*sorted(HEALTHY[self.maker](**given).items()))

    def slots(self, *names):
        return [self.image.inp[slot] for slot in names]

    def sent(self):
        """{id: data} of what went out since."""
        found = {can_id: data for can_id, data, _ in self.can.sent}
        self.can.sent.clear()
        return found


def test_a_healthy_growatt_fills_its_groups():
    rig = Rig(GROWATT)
    rig.healthy(volts=53.27, amps=-12.3, celsius=-3.5, soc=57, soh=0x80 | 98)
    assert rig.slots(im.BMS_V, im.BMS_I, im.BMS_TEMP, im.BMS_SOC, im.BMS_SOH) == [533, 123, -35, 5700, 9800], "bit 7 is no SoH"
    assert rig.slots(im.BMS_V_MAX, im.BMS_I_CHG, im.BMS_I_DIS) == [560, 1000, 1000]
    assert rig.slots(im.BMS_V_MIN) == [NOTHING], "it does not say"
    assert rig.slots(im.CELL_V_MAX, im.CELL_V_MIN) == [3320, 3301]
    assert rig.slots(im.BMS_REQUESTS, im.BMS_PROTECT, im.BMS_ALARM) == [0, 0, 0]
    assert rig.slots(im.SEQ_BMS, im.SEQ_BMS_LIMITS, im.SEQ_BMS_CELLS, im.SEQ_BMS_FLAGS, im.SEQ_BMS_TEMPS) == [1, 1, 1, 1, 0]
    assert rig.device.counters()["rejected"] == 0 and rig.device.counters()["oddities"] == []


def test_a_healthy_byd_fills_its_groups():
    rig = Rig(BYD)
    rig.healthy(volts=410.2, amps=12.3, celsius=-3.5, soc=57.25, charge_a=20.0, discharge_a=25.0)
    assert rig.slots(im.BMS_V, im.BMS_I, im.BMS_TEMP, im.BMS_SOC, im.BMS_SOH) == [4102, -123, -35, 5725, 9900]
    assert rig.slots(im.BMS_V_MAX, im.BMS_V_MIN, im.BMS_I_CHG, im.BMS_I_DIS) == [4660, 3200, 200, 250]
    assert rig.slots(im.CELL_T_MAX, im.CELL_T_MIN) == [265, 241]
    assert rig.slots(im.SEQ_BMS, im.SEQ_BMS_LIMITS, im.SEQ_BMS_TEMPS, im.SEQ_BMS_FLAGS) == [1, 1, 1, 0]
    assert rig.device.counters()["rejected"] == 0 and rig.device.counters()["oddities"] == []


def test_the_sign_of_the_current_is_an_option():
    for maker in (GROWATT, BYD):
        rig = Rig(maker, current_positive="discharge")
        rig.healthy(amps=12.3)
        assert rig.slots(im.BMS_I) == [123], maker
        rig.healthy(amps=-12.3)
        assert rig.slots(im.BMS_I) == [-123], maker


def test_zero_is_a_stop_and_a_limit_rises_with_the_second_report():
    for maker in (GROWATT, BYD):
        rig = Rig(maker)
        rig.healthy(charge_v=0, charge_a=0, discharge_a=0)
        assert rig.slots(im.BMS_V_MAX, im.BMS_I_CHG, im.BMS_I_DIS) == [0, 0, 0], maker
        rig.healthy(charge_a=20.0, discharge_a=25.0)
        assert rig.slots(im.BMS_I_CHG, im.BMS_I_DIS) == [0, 0], maker
        rig.healthy(charge_a=20.0, discharge_a=25.0)
        assert rig.slots(im.BMS_I_CHG, im.BMS_I_DIS) == [200, 250], maker
        rig.healthy(charge_a=5.0, discharge_a=0.0)
        assert rig.slots(im.BMS_I_CHG, im.BMS_I_DIS) == [50, 0], "it falls at once"


def test_a_negative_discharge_limit_is_a_magnitude_and_a_negative_charge_limit_is_none():
    for maker in (GROWATT, BYD):
        rig = Rig(maker)
        rig.healthy(charge_a=-20.0, discharge_a=-25.0)
        assert rig.slots(im.BMS_I_CHG, im.BMS_I_DIS) == [NOTHING, 250], maker
        assert "charge current limit -20.0 A cannot be true" in rig.device.last_error()


def test_an_odd_value_costs_itself_and_is_named():
    for maker, given, slot, said in (
        (GROWATT, {"soc": 255}, im.BMS_SOC, "0x313: state of charge 255.0 %"),
        (GROWATT, {"soh": 127}, im.BMS_SOH, "0x313: state of health 127.0 %"),
        (GROWATT, {"volts": 655.35}, im.BMS_V, "0x313: voltage 655.4 V"),
        (GROWATT, {"celsius": -150.0}, im.BMS_TEMP, "0x313: temperature -150.0 degC"),
        (GROWATT, {"amps": -3276.8}, im.BMS_I, "0x313: current 3276.8 A"),
        (BYD, {"soc": 327.67}, im.BMS_SOC, "0x150: state of charge 327.7 %"),
        (BYD, {"volts": 6553.5}, im.BMS_V, "0x1d0: voltage 6553.5 V"),
        (BYD, {"celsius": 3276.7}, im.BMS_TEMP, "0x1d0: temperature 3276.7 degC"),
        (BYD, {"amps": 3276.7}, im.BMS_I, "0x1d0: current -3276.7 A"),
        (BYD, {"charge_v": 6553.5}, im.BMS_V_MAX, "0x110: charge cut-off voltage 6553.5 V"),
    ):
        rig = Rig(maker)
        rig.healthy(**given)
        assert rig.device.last_error() == said + " cannot be true", rig.device.last_error()
        assert rig.slots(slot, im.BMS_ODD) == [NOTHING, 1 << slot - im.BMS_SOC], said
        assert rig.slots(im.SEQ_BMS, im.SEQ_BMS_LIMITS) == [1, 1] and rig.device.rejected == 0, "the rest of its frame is used"
        rig.healthy()
        assert rig.slots(im.BMS_ODD) == [0] and rig.image.inp[slot] != NOTHING, "it is over with the next good report"
        assert len(rig.device.oddities()) == 1


def test_a_little_more_than_full_is_full():
    rig = Rig(BYD)
    rig.healthy(soc=100.01)
    assert rig.slots(im.BMS_SOC) == [10000] and "taken as 100 %" in rig.device.oddities()[0]
    rig = Rig(GROWATT)
    rig.healthy(soc=105)
    assert rig.slots(im.BMS_SOC) == [10000]


def test_a_short_frame_is_refused_and_its_group_not_heard():
    for maker, can_id, group in (
        (GROWATT, 0x311, im.SEQ_BMS_LIMITS),
        (GROWATT, 0x313, im.SEQ_BMS),
        (BYD, 0x110, im.SEQ_BMS_LIMITS),
        (BYD, 0x150, im.SEQ_BMS),
        (BYD, 0x1D0, im.SEQ_BMS),
        (BYD, 0x210, im.SEQ_BMS_TEMPS),
    ):
        rig = Rig(maker)
        frames = HEALTHY[maker]()
        frames[can_id] = frames[can_id][:3]
        rig.hear(*sorted(frames.items()))
        assert rig.slots(group) == [0] and rig.device.rejected == 1, hex(can_id)
        assert rig.device.last_error() == "0x%x: length 3" % can_id


def test_cells_of_zero_while_it_boots_are_no_measurement():
    rig = Rig(GROWATT)
    rig.hear((0x319, struct.pack(">BHHBBB", 0xC0, 0, 0, 0, 0, 0)))
    assert rig.slots(im.SEQ_BMS_CELLS, im.CELL_V_MAX) == [0, NOTHING]
    assert rig.slots(im.SEQ_BMS_FLAGS, im.BMS_REQUESTS) == [1, 0], "what it permits stands in the same frame"
    rig.healthy()
    assert rig.slots(im.SEQ_BMS_CELLS, im.CELL_V_MAX, im.BMS_ODD) == [1, 3320, 0]


def test_a_maximum_below_its_minimum_costs_both():
    rig = Rig(GROWATT)
    rig.hear((0x319, struct.pack(">BHHBBB", 0xC0, 3300, 3301, 0, 0, 0)))
    assert rig.slots(im.SEQ_BMS_CELLS) == [0] and "below its minimum" in rig.device.last_error()
    rig = Rig(BYD)
    rig.hear((0x210, struct.pack(">hhI", 200, 201, 0)))
    assert rig.slots(im.SEQ_BMS_TEMPS) == [0] and "below its minimum" in rig.device.last_error()
    rig.healthy(charge_v=300.0)
    assert rig.slots(im.BMS_V_MAX, im.BMS_V_MIN) == [NOTHING, NOTHING]


def test_growatt_permits_and_asks():
    for byte, wanted in (
        (0xC0, 0),
        (0x40, im.BMS_REQ_NO_CHARGE),
        (0x80, im.BMS_REQ_NO_DISCHARGE),
        (0x00, im.BMS_REQ_NO_CHARGE | im.BMS_REQ_NO_DISCHARGE),
        (0xE0, im.BMS_REQ_FORCE_CHARGE),
        (0xD0, im.BMS_REQ_FORCE_CHARGE),
    ):
        rig = Rig(GROWATT)
        rig.healthy(permit=byte)
        assert rig.slots(im.BMS_REQUESTS) == [wanted], hex(byte)


def test_half_a_set_of_ten_seconds_ago_does_not_look_fresh():
    rig = Rig(BYD)
    frames = byd_frames()
    rig.hear((0x150, frames[0x150]))
    rig.clock.ms += 9900  # its 0x1D0 was lost; this one belongs to the next set
    rig.hear((0x1D0, frames[0x1D0]))
    assert rig.slots(im.SEQ_BMS) == [0]
    rig.clock.ms += 100
    rig.hear((0x150, frames[0x150]))
    assert rig.slots(im.SEQ_BMS) == [1]


def test_a_byd_that_is_asked_until_it_answers_says_its_energy():
    rig = Rig(BYD)
    for turn in range(3):
        assert rig.device.poll(turn)
        assert rig.sent()[0x151][0] == 1, "it has not said who it is"
    rig.hear((0x250, bytes([3, 0x16, 0, 0x66, 0, 102, 2, 9])))
    rig.device.poll(3)
    assert rig.sent()[0x151][0] == 0
    assert rig.device.equipment() == {"maker": "BYD", "nominal_kwh": 10.2}


def test_a_byd_is_told_what_the_inverter_measures_with_its_own_sign():
    for positive, amps in (("charge", -125), ("discharge", 125)):
        rig = Rig(BYD, current_positive=positive)
        rig.device.poll(0)
        assert 0x91 not in rig.sent(), "nobody has measured anything"
        rig.healthy()
        inp = rig.image.inp
        inp[im.PCS_DC_V], inp[im.PCS_DC_I], inp[im.PCS_TEMP] = 4098, 125, 312
        rig.device.poll(2)
        sent = rig.sent()
        assert struct.unpack(">Hhh", sent[0x91][:6]) == (4098, amps, 312)
        assert struct.unpack(">H", sent[0xD1][:2]) == (572,), "0.1 %"
    rig = Rig(BYD)
    rig.healthy(volts=410.2, amps=7.5, celsius=21.0)
    rig.device.poll(0)
    assert struct.unpack(">Hhh", rig.sent()[0x91][:6]) == (4102, 75, 210), "its own, where the inverter does not measure"


class At:
    """In the place of a driver's `time`: a clock that says `now`, in seconds since 1970."""

    def __init__(self, now):
        self.now = now - (0 if time.gmtime(0)[0] == 1970 else 946684800)

    def time(self):
        return self.now


def test_a_byd_is_told_the_time_once_the_clock_is_set():
    real = bms_byd.time
    try:
        for now, told in ((1795000000, b"\x6a\xfd\x60\xc0\0\0\0\0"), (1000000000, None)):
            bms_byd.time = At(now)
            rig = Rig(BYD)
            rig.device.poll(10)
            sent = rig.sent()
            assert sent.get(0x111) == (told and struct.pack(">II", now, 0)), sent
            rig.device.poll(11)
            assert 0x111 not in rig.sent(), "every ten seconds"
    finally:
        bms_byd.time = real


def test_limits_of_a_byd_that_stay_away_are_zero_after_three_of_their_periods():
    rig = Rig(BYD)
    rig.device.poll(0)
    assert rig.slots(im.BMS_I_CHG) == [NOTHING], "what never came is missing, not 0"
    rig.healthy()
    rig.device.poll(1)
    for turn in range(5):
        rig.device.poll(turn)
        assert rig.slots(im.BMS_I_CHG, im.BMS_I_DIS) == [250, 250], turn
    rig.device.poll(6)
    assert rig.slots(im.BMS_I_CHG, im.BMS_I_DIS) == [0, 0]
    assert rig.slots(im.SEQ_BMS_LIMITS) == [1], "nothing was heard"
    rig.healthy()
    assert rig.slots(im.BMS_I_CHG, im.BMS_I_DIS) == [250, 250]


def test_a_byd_polled_faster_has_as_long_for_its_limits():
    rig = Rig(BYD, period_ms=500)
    rig.healthy()
    for turn in range(12):
        rig.device.poll(turn)
        assert rig.slots(im.BMS_I_CHG) == [250], turn
    rig.device.poll(12)
    assert rig.slots(im.BMS_I_CHG) == [0]


def test_growatt_is_kept_alive():
    rig = Rig(GROWATT)
    assert rig.device.poll(0) and rig.sent() == {0x301: bytes(8)}


def test_a_site_that_cannot_bear_how_seldom_a_byd_reports_is_refused():
    errors = []
    bms_byd.check_site("devices.bms", options(BYD), PowerConfig(), errors)
    assert len(errors) == 1 and "power.bms_period_ms = 1000" in errors[0] and "10000 to 60000" in errors[0], errors
    bms_byd.check_site("devices.bms", options(BYD), PowerConfig(bms_period_ms=10000), errors)
    assert len(errors) == 1


class Tap:
    """In the place of a bus: the handler that frames are given to."""

    def subscribe(self, _can_id, _mask, _extended, handler):
        self.handler = handler


def test_receiving_allocates_nothing():
    for maker in (GROWATT, BYD):
        can_tables.time = Clock()
        frames = sorted(HEALTHY[maker]().items())
        image, tap = im.Image(), Tap()
        MODULES[maker].Device("bms", options(maker), image, {"can0": tap})
        handler = tap.handler
        for can_id, data in frames:
            handler(can_id, data, 0)
        micropython.heap_lock()
        try:
            for _ in range(100):
                for frame in frames:
                    handler(frame[0], frame[1], 0)
        finally:
            micropython.heap_unlock()
        assert [image.inp[im.SEQ_BMS], image.inp[im.SEQ_BMS_LIMITS]] == [101, 101], maker


# ---- the cycle behind them -----------------------------------------------------------------------------------------


class MakersPack(Pack):
    """A site whose battery speaks another maker's protocol; `given` changes what it says, `mute` holds ids it does not send."""

    def __init__(self, maker, **config):
        site = dict(LV_SITE) if maker == GROWATT else {"module_count": 4, "cells_per_module": 32, "bms_period_ms": 10000}
        site.update(config)
        super().__init__("hv", **site)  # whose frames are not for this driver
        self.maker = maker
        self.bus = canbus.Bus(self.can)
        self.driver = MODULES[maker].Device("bms", options(maker), self.image, {"can0": self.bus})
        self.volts = 53.0 if maker == GROWATT else 410.0
        self.given = {}
        self.mute = ()
        self.every_ms = 1000 if maker == GROWATT else 2000
        self._polls = 0

    def speak(self):
        """One set of frames: BYD's slow ones are sent here as often as its limits."""
        self._noise ^= 1
        given = {"volts": self.volts + 0.1 * self._noise, "amps": -self.dc_amps() / 10}
        given.update(self.given)
        for can_id, data in sorted(HEALTHY[self.maker](**given).items()):
            if can_id not in self.mute:
                self.can.arrive(can_id, data, extended=False)
        while self.bus.drain():
            pass
        for _ in range(self.every_ms // 1000):
            self.driver.poll(self._polls)
            self._polls += 1


def running(maker, kw, **config):
    pack = MakersPack(maker, **config)
    pack.run(6)
    pack.pm.start()
    pack.run(4)
    assert pack.pm.mode == Mode.IDLE, (pack.pm.mode, pack.pm.stats())
    pack.pm.set_constant_power(kw)
    pack.run(6)
    assert pack.command() == kw * 1000, pack.pm.stats()
    return pack


def test_both_ways_move_power_and_a_limit_of_zero_stops_its_own_direction():
    for maker in (GROWATT, BYD):
        for kw, stop in ((2, "discharge_a"), (-2, "charge_a")):
            pack = running(maker, kw)
            pack.given = {stop: 0.0}
            pack.run(4)
            assert pack.command() == 0, (maker, stop)
            pack.pm.set_constant_power(-kw)
            pack.run(6)
            assert pack.command() == -kw * 1000, (maker, stop)
            assert pack.now[im.TRIPS] == 0 and not pack.pm.is_emergency


def test_growatt_without_permission_moves_nothing_that_way():
    pack = running(GROWATT, 2)
    pack.given = {"permit": 0x80}
    pack.run(2)
    assert pack.command() <= 0
    pack.pm.set_constant_power(-2)
    pack.run(4)
    assert pack.command() == -2000


def test_limits_that_stay_away_stop_the_power_long_before_the_slow_frames_would():
    pack = running(BYD, 2)
    pack.mute = (0x110,)
    pack.run(11)
    assert pack.command() == 0, pack.pm.stats()


def test_a_silent_battery_moves_nothing():
    for maker, seconds in ((GROWATT, 4), (BYD, 32)):
        pack = running(maker, 2)
        pack.mute = tuple(HEALTHY[maker]())
        pack.run(seconds)
        assert pack.command() == 0, (maker, pack.pm.stats())
