"""Receiving allocates nothing: a drained burst through bus and BMS driver under a locked heap."""

import micropython

import canbus
from firmware import image as im
from firmware.devices import bms_pylontech
from host_tests.both.bms import FRAMES, options
from host_tests.both.fakecan import FakeCAN


class Replay(FakeCAN):
    """Hands out the same frames for ever without allocating."""

    def __init__(self):
        super().__init__()
        self.left = 0
        self._at = 0
        self._frames = [(can_id, data) for can_id, data in FRAMES]

    def recv(self, message=None):
        if not self.left:
            return None
        self.left -= 1
        frame = self._frames[self._at]
        self._at = (self._at + 1) % len(self._frames)
        data = frame[1]
        for i in range(8):
            self._buffer[i] = data[i]
        message[0] = frame[0]
        message[1] = self._views[8]
        message[2] = 2
        message[3] = 0
        return message


def test_a_thousand_polls_answered_allocate_nothing():
    can = Replay()
    bus = canbus.Bus(can)
    image = im.Image()
    device = bms_pylontech.Device("bms", options(), image, {"can0": bus})
    can.left = len(FRAMES)
    bus.drain()  # the equipment answers are kept once, which allocates
    before = image.inp[im.SEQ_BMS]
    micropython.heap_lock()
    try:
        for _ in range(1000):
            can.left = len(FRAMES)
            bus.drain()
    finally:
        micropython.heap_unlock()
    assert image.inp[im.SEQ_BMS] == before + 1000
    assert device.rejected == 0 and bus.handler_errors == 0
