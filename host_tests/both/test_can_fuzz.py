"""Random and mutated frames into the bus and the BMS drivers: no crash, no growth, nothing false, the next one works.

CAN_FUZZ_FRAMES in the environment makes the run longer; the default is what a test run affords.
"""

import gc
import os
import random

import micropython

import canbus
from firmware import image as im
from firmware.devices import bms_pylontech
from host_tests.both import bms, test_bms_makers
from host_tests.both.fakecan import FakeCAN

BATCH = 200  # frames made at once, then heard with the heap locked

# What no frame may ever make of a slot: the ranges of the image, whatever the wire said.
BOUNDS = (
    (im.BMS_SOC, 0, 10000),
    (im.BMS_SOH, 0, 10000),
    (im.BMS_V, 0, 15000),
    (im.BMS_I, -10000, 10000),
    (im.BMS_TEMP, -500, 1500),
    (im.BMS_V_MAX, 0, 15000),
    (im.BMS_I_CHG, 0, 10000),
    (im.BMS_I_DIS, 0, 10000),
    (im.CELL_V_MAX, 0, 5000),
    (im.CELL_V_MIN, 0, 5000),
    (im.CELL_T_MAX, -500, 1500),
    (im.CELL_T_MIN, -500, 1500),
)

LV_FRAMES = (
    (0x351, bytes([0x14, 0x02, 0xC0, 0x12, 0xC0, 0x12, 0xC2, 0x01])),
    (0x355, bytes([0x58, 0x00, 0x5E, 0x00])),
    (0x356, bytes([0x7A, 0x13, 0xF2, 0xFE, 0x6B, 0x01])),
    (0x359, bytes([0x00, 0x00, 0x00, 0x00, 0x06, 0x50, 0x4E])),
    (0x35C, bytes([0xC0, 0x00])),
    (0x35A, bytes(8)),
    (0x35E, b"PYLON   "),
    (0x35F, bytes([0x4C, 0x49, 0x01, 0x03, 0x3C, 0x02, 0xAA, 0x00])),
    (0x360, b"\xff"),
    (0x372, bytes([4, 0, 1, 0, 1, 0, 0, 0])),
    (0x373, bytes([0xB9, 0x0C, 0xC2, 0x0C, 0x27, 0x01, 0x28, 0x01])),
    (0x379, b"\x2c\x01"),
)


class Feed(FakeCAN):
    """Hands out a prepared batch of (id, data, flags) without allocating."""

    def __init__(self):
        super().__init__()
        self.batch = []
        self.at = 0

    def recv(self, message=None):
        if self.at >= len(self.batch):
            return None
        frame = self.batch[self.at]
        self.at += 1
        data = frame[1]
        for i in range(len(data)):
            self._buffer[i] = data[i]
        message[0] = frame[0]
        message[1] = self._views[len(data)]
        message[2] = frame[2]
        message[3] = 0
        return message


def _frame(good, extended):
    """A random frame, or a good one with its id, length or bytes spoilt."""
    flags = 2 if extended else 0
    if random.randrange(4) == 0:
        data = bytes([random.getrandbits(8) for _ in range(random.randrange(9))])
        return (random.getrandbits(29 if random.randrange(2) else 11), data, random.randrange(4))
    can_id, data = good[random.randrange(len(good))]
    data = bytearray(data)
    kind = random.randrange(4)
    if kind == 0:
        data = data[: random.randrange(len(data) + 1)]
    elif kind == 1:
        for _ in range(1 + random.randrange(3)):
            data[random.randrange(len(data))] = random.getrandbits(8)
    elif kind == 2:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    elif random.randrange(3) == 0:
        can_id ^= 1 << random.randrange(11)
    return (can_id, bytes(data), flags)


def _in_bounds(image):
    for slot, low, high in BOUNDS:
        value = image.inp[slot]
        if value != im.NO_VALUE and not low <= value <= high:
            return False
    v_max = image.inp[im.CELL_V_MAX]
    return v_max == im.NO_VALUE or v_max >= image.inp[im.CELL_V_MIN]  # NO_VALUE is below everything


def _used():
    gc.collect()
    return gc.mem_alloc() if hasattr(gc, "mem_alloc") else 0


def _device(variant, image, bus):
    if variant in test_bms_makers.MODULES:
        options = test_bms_makers.options(variant, current_max=1000)
        return test_bms_makers.MODULES[variant].Device("bms", options, image, {"can0": bus})
    return bms_pylontech.Device("bms", bms.options(variant=variant), image, {"can0": bus})


def _fuzz(variant, good, count):
    can = Feed()
    bus = canbus.Bus(can)
    image = im.Image()
    device = _device(variant, image, bus)
    extended = variant == "hv"
    for can_id, data in good:  # the equipment answers are kept once, which allocates
        can.batch = [(can_id, data, 2 if extended else 0)]
        can.at = 0
        bus.drain()
    used = 0
    done = 0
    while done < count:
        can.batch = [_frame(good, extended) for _ in range(BATCH)]
        can.at = 0
        micropython.heap_lock()
        try:
            while bus.drain():
                pass
        finally:
            micropython.heap_unlock()
        assert _in_bounds(image), (done, list(image.inp)[10:27])
        done += BATCH
        can.batch = None
        if done == BATCH:
            used = _used()
    if count > BATCH:
        assert _used() <= used + 256, "memory grows"
    assert bus.handler_errors == 0, bus.last_error
    assert device.rejected > count // 50, "the mutations do reach the driver"
    before = image.inp[im.SEQ_BMS]
    can.batch = [(can_id, data, 2 if extended else 0) for can_id, data in good]
    can.at = 0
    bus.drain()
    assert image.inp[im.SEQ_BMS] == before + 1, "the next good frame works"
    return done


def _count():
    return int(os.getenv("CAN_FUZZ_FRAMES") or 4000)


def test_random_frames_do_the_high_voltage_driver_no_harm():
    random.seed(20)
    _fuzz("hv", bms.FRAMES, _count())


def test_random_frames_do_the_low_voltage_driver_no_harm():
    random.seed(21)
    _fuzz("lv", LV_FRAMES, _count())


def test_random_frames_do_the_other_makers_drivers_no_harm():
    for seed, maker in enumerate(sorted(test_bms_makers.MODULES)):
        random.seed(22 + seed)
        equipment = [(can_id, bytes(8)) for can_id in test_bms_makers.MODULES[maker].EQUIPMENT]
        _fuzz(maker, sorted(test_bms_makers.HEALTHY[maker]().items()) + equipment, _count())
