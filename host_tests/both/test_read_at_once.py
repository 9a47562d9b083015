"""A block is one moment's: what a hold-up of the controller has torn apart is read again; a slow device is taken as it is."""

import asyncio
from array import array

from firmware.devices import sunspec
from firmware.devices.sunspec import SunSpec


class Ticks:
    """The time module of the driver: it passes in requests only."""

    now_ms = 0x3FFFFF00  # it wraps on the way

    @classmethod
    def ticks_ms(cls):
        return cls.now_ms

    @staticmethod
    def ticks_diff(later, earlier):
        return ((later - earlier + 0x20000000) & 0x3FFFFFFF) - 0x20000000


class Unit:
    """A device whose register holds the number of requests so far; `spans`: what each request takes, ms."""

    def __init__(self, spans):
        self.spans = spans
        self.requests = 0

    async def read(self, _address, count, view, _function=3, _to_write=False):
        Ticks.now_ms = (Ticks.now_ms + self.spans[min(self.requests, len(self.spans) - 1)]) & 0x3FFFFFFF
        self.requests += 1
        for i in range(count):
            view[i] = self.requests

    def reject(self, text):
        raise AssertionError(text)


class Block:
    """Two requests to one block."""

    def __init__(self):
        self.registers = array("H", bytes(4))
        view = memoryview(self.registers)
        self.pieces = [(0, 1, view[0:1]), (1, 1, view[1:2])]
        self.again = []
        self.count = 0
        self.rows = b""  # nothing of it is decoded

    @property
    def model(self):
        return self.registers[0]

    @property
    def length(self):
        return self.registers[1]


def registers(spans):
    """What is decoded, and how many requests it took."""
    sun = SunSpec(None, 1, (), (), 2, 125, 0)
    sun.unit = Unit(spans)
    block = Block()
    real = sunspec.time
    sunspec.time = Ticks
    try:
        assert asyncio.run(sun.read(block))
    finally:
        sunspec.time = real
    return list(block.registers), sun.unit.requests


def test_what_was_read_before_and_after_a_hold_up_is_read_again():
    for held_ms in (1500, 5000, 40000):
        assert registers((10, held_ms, 10, 10)) == ([3, 4], 4)
        assert registers((held_ms, 10, 10, 10)) == ([3, 4], 4)


def test_what_is_quick_is_read_once():
    for ms in (1, 20, 400):
        assert registers((ms,)) == ([1, 2], 2)


def test_a_device_that_is_always_slow_is_taken_as_it_is():
    assert registers((700,)) == ([5, 6], 6)
