"""The TWAI driver's viper functions mean the same on CPython and on both MicroPythons: memory in, ring out.

Memory does not react as a chip does, so the same frame stays in the window: enough to compare what is made of it.
The chip's reactions are tested on its emulator.
"""

import random
from array import array

from canbus import twai
from canbus.controller import _copy

DEPTH = 32


def _chip(frame, status=1, interrupts=0, capture=0, count=1):
    registers = array("i", [0] * 32)
    registers[2] = status
    registers[3] = interrupts
    registers[12] = capture
    registers[29] = count
    for i in range(len(frame)):
        # The upper bytes of a register are not the frame's.
        registers[16 + i] = frame[i] | 0x5A5A00
    return registers


def _rings():
    return array("i", [0] * DEPTH), bytearray(10 * DEPTH), array("i", [0] * 5)


def _bytes(can_id, data, extended, remote):
    info = (0x80 if extended else 0) | (0x40 if remote else 0) | len(data)
    if extended:
        head = bytes([can_id >> 21, can_id >> 13 & 0xFF, can_id >> 5 & 0xFF, can_id << 3 & 0xFF])
    else:
        head = bytes([can_id >> 3, can_id << 5 & 0xFF])
    return bytes([info]) + head + (b"" if remote else data)


def test_any_frame_is_taken_apart_rightly():
    random.seed(5)
    for _ in range(500):
        extended = random.randrange(2)
        remote = random.randrange(4) == 0
        can_id = random.getrandbits(29 if extended else 11)
        data = bytes([random.getrandbits(8) for _ in range(random.randrange(9))])
        ids, info, ends = _rings()
        ends[0] = ends[1] = random.randrange(DEPTH)
        start = ends[1]
        registers = _chip(_bytes(can_id, data, extended, remote))
        assert twai._drain(registers, ids, info, ends, DEPTH, random.randrange(2)) == 0
        assert ids[start] == can_id, (can_id, ids[start])
        entry = info[10 * start : 10 * start + 10]
        assert entry[0] == (2 if extended else 0) | (1 if remote else 0)
        assert entry[1] == len(data)
        assert bytes(entry[2 : 2 + len(data)]) == (bytes(len(data)) if remote else data)
        assert (ends[1] - start) % DEPTH == DEPTH - 1, "the ring takes one less than its depth"
        assert ends[2] == 64 - (DEPTH - 1) and ends[3] == 0 and ends[4] == 1


def test_an_empty_fifo_changes_nothing():
    ids, info, ends = _rings()
    assert twai._drain(_chip(b"", status=0), ids, info, ends, DEPTH, 1) == 0
    assert list(ends) == [0] * 5


def test_a_bus_error_while_receiving_asks_for_a_reset_on_the_first_chip_only():
    for first, capture, answer in ((1, 0xAA, 1), (0, 0xAA, 0), (1, 0x8A, 0)):
        ids, info, ends = _rings()
        registers = _chip(_bytes(1, b"x", 0, 0), status=0, interrupts=0x80, capture=capture)
        assert twai._drain(registers, ids, info, ends, DEPTH, first) == answer


def test_a_fifo_near_its_lock_up_asks_for_a_reset():
    for count, answer in ((61, 0), (62, 1), (64, 1)):
        ids, info, ends = _rings()
        assert twai._drain(_chip(b"", status=0, count=count), ids, info, ends, DEPTH, 1) == answer


def test_lost_frames_are_counted_and_not_delivered():
    for first, status in ((1, 3), (0, 0x103)):
        ids, info, ends = _rings()
        registers = _chip(_bytes(1, b"x", 0, 0), status=status, count=5)
        assert twai._drain(registers, ids, info, ends, DEPTH, first) == 0
        assert ends[1] == 0 and ends[3] >= 64 and ends[4] == 1


def test_copy():
    to = bytearray(8)
    _copy(to, b"0123456789", 2, 8)
    assert to == b"23456789"
