"""Receiving allocates nothing: a drained burst through bus and BMS driver under a locked heap."""

import micropython

import canbus
from canbus.mcp2515 import MCP2515
from canbus.twai import TWAI
from firmware import image as im
from firmware.devices import bms_pylontech
from host_tests.both import test_twai_memory
from host_tests.both.bms import FRAMES, options
from host_tests.both.fakecan import FakeCAN


class Replay(FakeCAN):
    """Hands out the same frames for ever without allocating."""

    def __init__(self):
        super().__init__()
        self.left = 0
        self.flags = 2
        self.errors = 0
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
        message[2] = self.flags
        message[3] = self.errors
        return message

    def send(self, can_id, data, flags=0):
        return 0


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


def test_frames_are_counted_without_heap_however_many_there_were():
    """At 400 frames a second, as a battery with many modules and an EMS have, 2**30 are there after a month."""
    can = Replay()
    bus = canbus.Bus(can)
    image = im.Image()
    device = bms_pylontech.Device("bms", options(), image, {"can0": bus})
    can.left = len(FRAMES)
    bus.drain()
    for counter in ("frames", "unclaimed", "overruns", "remote", "sent", "send_full"):
        setattr(bus, counter, 0x3FFFFFFF)
    device.frames = device.rejected = 0x3FFFFFFF
    before = image.inp[im.SEQ_BMS]
    data = bytes(8)

    all_flags = bytes((can.FLAG_EXT_ID, can.FLAG_EXT_ID | can.FLAG_RTR, 0))  # the last: nobody has subscribed to such

    def turn():
        for i in range(len(all_flags)):
            can.flags = all_flags[i]
            can.errors = can.RECV_ERR_OVERRUN
            can.left = len(FRAMES)
            bus.drain()
        bus.send(0x4200, data, True)

    turn()
    micropython.heap_lock()
    try:
        turn()
    finally:
        micropython.heap_unlock()
    assert image.inp[im.SEQ_BMS] == before + 2 and bus.handler_errors == 0
    counted = bus.counters()
    assert [counted[name] < 3 * len(FRAMES) for name in ("frames", "unclaimed", "remote", "sent")] == [True] * 4


class Timer:
    """machine.Timer; `tick`: what it calls every millisecond."""

    PERIODIC = 1

    def init(self, period, mode, callback):
        self.tick = callback


def test_the_twai_back_end_receives_and_sends_without_allocating():
    timer = Timer()
    port = test_twai_memory.Port()
    registers = port.registers
    can = TWAI(0, 500000, 0, 5, 4, port=port, timer=timer)
    can.set_filters([(0x4200, 0x1FFFFF0F, can.FLAG_EXT_ID)])
    for i, byte in enumerate(b"\x88\x00\x02\x10\x8012345678"):
        registers[test_twai_memory.BUFFER + i] = byte
    registers[test_twai_memory.SR] |= 1
    message = [0, memoryview(bytearray(8)), 0, 0]
    numbers = [0] * 8
    data = bytes(8)
    got = 0
    can.recv(message)
    micropython.heap_lock()
    try:
        for _ in range(300):
            timer.tick(timer)
            registers[test_twai_memory.SR] &= 0xFE
            while can.recv(message) is not None:
                got += 1
            registers[test_twai_memory.SR] |= 1
            can.send(0x4200, data, 2)
            can.get_counters(numbers)
    finally:
        micropython.heap_unlock()
    assert message[0] == 0x4200, "what was sent lies in the same memory"
    assert got >= 300 and numbers[7] > 300


class QuietSpi:
    """An MCP2515 that has a frame in each buffer, for ever."""

    def __init__(self):
        self.flags = 0

    def write_readinto(self, out, into):
        for i in range(len(into)):
            into[i] = 0
        if out[0] == 0x03 and out[1] == 0x0E:
            into[2] = self.mode
        elif out[0] == 0x03 and out[1] == 0x2A:
            into[2] = 0x00
        elif out[0] == 0x03 and out[1] == 0x2B:
            into[2] = 0x23
            into[3] = self.flags
            into[5] = self.mode
            self.flags = 0
        elif out[0] & 0xF9 == 0x90:
            for i in range(13):
                into[1 + i] = b"\x02\x08\x42\x10\x0812345678"[i]
        elif out[0] == 0xC0:
            self.mode = 0x80
        elif out[0] == 0x05 and out[1] == 0x0F and out[2] == 0xE0:
            self.mode = out[3]

    def value(self, level):
        pass


class Pin:
    """The chip's interrupt pin; `fall`: what is called when it falls."""

    IRQ_FALLING = 2

    def irq(self, handler, trigger=0):
        self.fall = handler


def test_the_mcp2515_back_end_receives_and_sends_without_allocating():
    spi = QuietSpi()
    pin = Pin()
    can = MCP2515(1, 500000, spi=spi, cs=spi, int=pin)
    can.set_filters(None)
    message = [0, memoryview(bytearray(8)), 0, 0]
    numbers = [0] * 8
    data = bytes(8)
    got = 0
    can.recv(message)
    micropython.heap_lock()
    try:
        for _ in range(300):
            spi.flags = 3
            pin.fall(pin)
            while can.recv(message) is not None:
                got += 1
            can.send(0x4200, data, 2)
            can.get_counters(numbers)
    finally:
        micropython.heap_unlock()
    assert got == 600 and bytes(message[1]) == b"12345678"
