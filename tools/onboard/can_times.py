"""Runs under MicroPython: times the way of CAN frames to the image.  Prints `name nanoseconds` lines.

    micropython can_times.py ROUNDS answer    in a staged flash directory
    micropython can_times.py ROUNDS drain     in the source tree, where private functions have their names
"""

import sys
import time
from array import array

sys.path[:] = ["", "lib", ".frozen"]

import canbus  # noqa: E402
from firmware import image as im  # noqa: E402
from firmware.devices import bms_pylontech  # noqa: E402

ROUNDS = int(sys.argv[1])

# One poll's answer of a high-voltage pack: 9 frames, the last two of no interest.
ANSWER = (
    (0x4210, b"\x53\x19\xd9\x78\xfb\x04\x3d\x62"),
    (0x4220, b"\x6c\x1b\x54\x15\x70\x7b\xa2\x7b"),
    (0x4230, b"\x0d\x0d\x01\x0d\x0c\x00\xbe\x00"),
    (0x4240, b"\x0a\x05\xf1\x04\x03\x00\x4d\x00"),
    (0x4250, b"\x03\x00\x00\x00\x00\x00\x00\x00"),
    (0x4260, b"\x00\x00\x00\x00\x00\x00\x00\x00"),
    (0x4270, b"\x00\x00\x00\x00\x00\x00\x00\x00"),
    (0x4280, b"\x00\x00\x00\x00\x00\x00\x00\x00"),
    (0x4290, b"\x00\x00\x00\x00\x00\x00\x00\x00"),
)
OPTIONS = {
    "bus": "can0",
    "variant": "hv",
    "address": 0,
    "period_ms": 1000,
    "byte_order": "little",
    "current_offset": 30000,
    "current_positive": "charge",
    "discharge_limit_sign": "either",
    "current_max": 1000,
    "voltage_max": 1500,
    "wake": True,
}


class Answers:
    """A controller that has an answer waiting each time it is filled: what is timed is everything after it."""

    FLAG_RTR = 1
    FLAG_EXT_ID = 2
    RECV_ERR_OVERRUN = 2

    def __init__(self):
        self.at = len(ANSWER)
        self.views = [memoryview(data) for _, data in ANSWER]

    def recv(self, message):
        at = self.at
        if at == len(ANSWER):
            return None
        self.at = at + 1
        message[0] = ANSWER[at][0]
        message[1] = self.views[at]
        message[2] = 2
        message[3] = 0
        return message


def answers():
    """Controller to image: one answered poll."""
    can = Answers()
    bus = canbus.Bus(can)
    image = im.Image()
    bms_pylontech.Device("bms", OPTIONS, image, {"can0": bus})
    spent = 0
    for _ in range(ROUNDS):
        can.at = 0
        begun = time.ticks_us()
        bus.drain()
        spent += time.ticks_diff(time.ticks_us(), begun)
    if image.inp[0] != ROUNDS or image.inp[4] != ROUNDS or bus.frames != ROUNDS * len(ANSWER):
        raise ValueError("the driver did not hear %d answers" % ROUNDS)
    print("answer", spent * 1000 // ROUNDS)


def drains():
    """Chip to ring: the viper function, a frame in the window every time (31 are kept, 33 found no room)."""
    from canbus import twai

    registers = array("i", [0] * 32)
    registers[2] = 1
    for i, byte in enumerate(b"\x88\x00\x02\x10\x80\x01\x02\x03\x04\x05\x06\x07\x08"):
        registers[16 + i] = byte
    ids = array("i", [0] * 32)
    info = bytearray(320)
    ends = array("i", [0] * 5)
    begun = time.ticks_us()
    for _ in range(ROUNDS):
        ends[0] = ends[1] = 0
        twai._drain(registers, ids, info, ends, 32, 0)
    print("drain", time.ticks_diff(time.ticks_us(), begun) * 1000 // (ROUNDS * 64))
    registers[2] = 0
    begun = time.ticks_us()
    for _ in range(ROUNDS):
        twai._drain(registers, ids, info, ends, 32, 0)
    print("tick", time.ticks_diff(time.ticks_us(), begun) * 1000 // ROUNDS)


if sys.argv[2] == "answer":
    answers()
else:
    drains()
