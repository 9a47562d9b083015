"""The TWAI driver's viper functions mean the same on CPython and on both MicroPythons: memory in, messages out.

Memory does not react as a chip does, so the same frame stays in the window: enough to compare what is made of it.
The chip's reactions are tested on its emulator.
"""

import random

from canbus.twai import TWAI
from host_tests.both.test_twai_memory import BUFFER, SR, Port

IR, ECC, RMC = 3, 12, 29
DEPTH = 32
RECEIVED = 1  # a bit of SR
LOOKS = 64  # frames that are taken from the chip at once


def _chip(first, timer=False):
    port = Port(first)
    can = TWAI(0, 500000, 0, 5, 4, port=port, timer=timer)
    can.set_filters(None)
    return can, port, port.registers


def _show(registers, frame):
    """The chip has received it, again and again."""
    for i in range(len(frame)):
        registers[BUFFER + i] = frame[i] | 0x5A5A00  # the upper bytes of a register are not the frame's
    registers[SR] |= RECEIVED


def _message():
    return [0, memoryview(bytearray(8)), 0, 0]


def _bytes(can_id, data, extended, remote):
    info = (0x80 if extended else 0) | (0x40 if remote else 0) | len(data)
    if extended:
        head = bytes([can_id >> 21, can_id >> 13 & 0xFF, can_id >> 5 & 0xFF, can_id << 3 & 0xFF])
    else:
        head = bytes([can_id >> 3, can_id << 5 & 0xFF])
    return bytes([info]) + head + (b"" if remote else data)


def test_any_frame_is_taken_apart_rightly():
    random.seed(5)
    chips = [_chip(first) for first in (True, False)]
    message = _message()
    for turn in range(500):  # the ring is gone round many times
        extended = random.randrange(2)
        remote = random.randrange(4) == 0
        can_id = random.getrandbits(29 if extended else 11)
        data = bytes([random.getrandbits(8) for _ in range(random.randrange(9))])
        can, _, registers = chips[turn % 2]
        lost = can.get_counters()[7]
        _show(registers, _bytes(can_id, data, extended, remote))
        errors = can.RECV_ERR_FULL | can.RECV_ERR_OVERRUN
        taken = 0
        while can.recv(message) is not None:
            registers[SR] &= ~RECEIVED
            taken += 1
            assert message[0] == can_id, (can_id, message[0])
            assert message[2] == (2 if extended else 0) | (1 if remote else 0)
            assert bytes(message[1]) == (bytes(len(data)) if remote else data)
            assert message[3] == errors
            errors = 0
        assert taken == DEPTH - 1, "the ring takes one less than its depth"
        assert can.get_counters()[7] - lost == LOOKS - taken


def test_an_empty_fifo_changes_nothing():
    can, port, _ = _chip(True)
    assert can.recv(_message()) is None
    assert can.get_counters()[6:] == [0, 0] and port.done.count("reset") == 1


def test_a_bus_error_while_receiving_asks_for_a_reset_on_the_first_chip_only():
    for first, capture, resets in ((True, 0xAA, 1), (False, 0xAA, 0), (True, 0x8A, 0)):
        can, port, registers = _chip(first)
        registers[IR], registers[ECC] = 0x80, capture
        assert can.recv(_message()) is None
        assert port.done.count("reset") == 1 + resets, (first, capture)


def test_a_fifo_near_its_lock_up_asks_for_a_reset():
    for count, resets in ((61, 0), (62, 1), (64, 1)):
        can, port, registers = _chip(True)
        registers[RMC] = count
        assert can.recv(_message()) is None
        assert port.done.count("reset") == 1 + resets, count


def test_lost_frames_are_counted_and_not_delivered():
    for first, lost in ((True, 2), (False, 0x100)):
        can, _, registers = _chip(first)
        _show(registers, _bytes(1, b"x", 0, 0))
        registers[SR] |= lost
        registers[RMC] = 5
        message = _message()
        assert can.recv(message) is None
        assert can.get_counters()[7] >= LOOKS
        registers[SR] &= ~lost
        assert can.recv(message)[3] & can.RECV_ERR_OVERRUN, "the next one says so"
