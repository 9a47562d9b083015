"""The TWAI driver over plain memory, on every interpreter: what it writes where.  The chip's reactions: test_twai.py."""

from array import array

from canbus.twai import TWAI

MOD, CMR, SR, BTR0, BTR1, EWL, REC, TEC, BUFFER, CDR = 0, 1, 2, 6, 7, 13, 14, 15, 16, 31


class Port:
    """Memory in place of the chip, and a note of what is done to clock, reset and pins."""

    prescaler_most = 128

    def __init__(self, first=True):
        self.first = first
        self.registers = array("i", [0] * 32)
        self.registers[SR] = 4 | 8  # the transmit buffer is free
        self.done = []

    def power(self, on):
        self.done.append(("power", on))

    def reset(self):
        self.done.append("reset")

    def route(self, tx_pin, rx_pin):
        self.done.append((tx_pin, rx_pin))


def _open(first=True, **more):
    port = Port(first)
    can = TWAI(0, 500000, 0, 5, 4, port=port, timer=False, **more)
    return can, port, port.registers


def test_start():
    can, port, r = _open()
    assert port.done == [(5, 4), ("power", True), "reset"]
    assert r[CDR] == 0x88 and r[BTR0] == 3 and r[BTR1] == 0x4D and r[EWL] == 96
    assert r[MOD] == 8, "operating, one acceptance filter"
    assert (r[TEC], r[REC]) == (0, 0)
    assert can.get_timings() == [500000, 1, 14, 5, None, None]
    _, _, r = _open(first=False)
    assert r[CDR] == 0x100


def test_a_frame_to_send_is_laid_out_as_the_chip_wants_it():
    can, _, r = _open()
    assert can.send(0x1ABCDEF3, b"\x01\x02\xff", can.FLAG_EXT_ID) == 0
    assert [r[BUFFER + i] & 0xFF for i in range(8)] == [0x83, 0xD5, 0xE6, 0xF7, 0x98, 0x01, 0x02, 0xFF]
    assert r[CMR] == 1
    can, _, r = _open()
    can.send(0x351, b"\xaa")
    assert [r[BUFFER + i] & 0xFF for i in range(4)] == [0x01, 0x6A, 0x20, 0xAA]
    can, _, r = _open()
    can.send(0x351, b"12", can.FLAG_RTR)
    assert r[BUFFER] == 0x42


def test_filters_are_written_in_reset_mode_and_the_counters_kept():
    can, _, r = _open()
    r[TEC], r[REC] = 17, 9
    can.set_filters([(0x4210, 0x1FFFFF0F, can.FLAG_EXT_ID)])
    assert [r[BUFFER + i] for i in range(8)] == [0x00, 0x02, 0x10, 0x00, 0x00, 0x00, 0x07, 0x87]
    assert (r[TEC], r[REC]) == (17, 9) and r[MOD] == 8


def test_receiving_stops_at_a_full_ring_and_reports_it():
    can, _, r = _open()
    can.set_filters(None)
    for i, byte in enumerate(b"\x82\x00\x02\x10\x80\xab\xcd"):
        r[BUFFER + i] = byte
    r[SR] |= 1
    message = [0, memoryview(bytearray(8)), 0, 0]
    assert can.recv(message) is message
    assert (message[0], bytes(message[1]), message[2], message[3]) == (0x4210, b"\xab\xcd", 2, 3)
    r[SR] &= 0xFE
    n = 1
    while can.recv(message) is not None:
        n += 1
    assert n == 31 and can.get_counters()[7] == 64 - 31


def test_states_follow_the_counters():
    can, _, r = _open()
    for tec, rec, state in ((0, 0, 1), (95, 0, 1), (96, 0, 2), (0, 127, 2), (128, 0, 3), (0, 128, 3), (0, 0, 1)):
        r[TEC], r[REC] = tec, rec
        assert can.state() == state, (tec, rec, can.state())
    assert can.get_counters()[2:5] == [1, 1, 0]


def test_bus_off_is_left_as_the_errata_want_it():
    can, port, r = _open()
    r[SR] |= 128
    assert can.state() == can.STATE_BUS_OFF
    try:
        can.send(1, b"")
    except OSError:
        pass
    else:
        raise AssertionError("sent while bus-off")
    can.restart()
    assert r[TEC] == 255 and r[MOD] == 2 | 8, "counting down with the receive counter frozen"
    r[SR] &= 0x7F
    assert can.state() == can.STATE_ACTIVE
    assert r[MOD] == 8 and r[TEC] == 0


def test_deinit():
    can, port, r = _open()
    can.deinit()
    assert r[MOD] & 1 and port.done[-1] == ("power", False)
    assert can.state() == can.STATE_STOPPED
