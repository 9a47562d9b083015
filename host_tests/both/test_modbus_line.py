"""The serial line of Modbus on three interpreters: direction pin, silence, echo, overflow, a clock that wraps."""

import time

from modbus import rtu_line
from modbus.rtu_line import RtuLine


class Uart:
    """A UART whose other end and whose transmitter the test holds."""

    def __init__(self):
        self.incoming = b""
        self.sent = b""
        self.looks_until_done = 3

    def any(self):
        return len(self.incoming)

    def readinto(self, buffer, size):
        got = min(size, len(self.incoming))
        buffer[:got] = self.incoming[:got]
        self.incoming = self.incoming[got:]
        return got

    def write(self, buffer, start, size):
        self.sent += bytes(buffer[start : start + size])
        return size

    def txdone(self):
        self.looks_until_done -= 1
        return self.looks_until_done <= 0


class Later:
    """The line's time module, so many us later than it is."""

    def __init__(self, us):
        self.us = us

    def __enter__(self):
        rtu_line.time = self

    def __exit__(self, *_):
        rtu_line.time = time

    def __getattr__(self, name):
        return getattr(time, name)

    def ticks_us(self):
        return time.ticks_add(time.ticks_us(), self.us)


class Pin:
    def __init__(self):
        self.levels = []

    def __call__(self, level):
        self.levels.append(level)


def test_direction_pin_is_raised_while_sending_only():
    uart, de = Uart(), Pin()
    line = RtuLine(uart, 1000000, de=de)
    assert de.levels == [0]
    line.send(b"xx\x01\x02\x03yy", 2, 3)
    assert de.levels == [0, 1]
    assert line.sent(), "the last bits are waited for"
    assert de.levels == [0, 1, 0]
    assert uart.sent == b"\x01\x02\x03"


def test_direction_pin_is_not_awaited_long_before_the_end():
    uart, de = Uart(), Pin()
    line = RtuLine(uart, 1200, de=de)
    line.send(bytes(100), 0, 100)
    uart.looks_until_done = 1000000
    assert not line.sent()
    assert line.sending_ms() > 700
    assert de.levels[-1] == 1
    line.receiving()
    assert de.levels[-1] == 0


def test_without_a_pin_sending_is_only_asked_about():
    uart = Uart()
    line = RtuLine(uart, 115200)
    line.send(b"abc", 0, 3)
    assert [line.sent(), line.sent(), line.sent()] == [False, False, True]


def test_uart_that_never_ends_does_not_hold_the_line():
    uart, de = Uart(), Pin()
    line = RtuLine(uart, 1000000, de=de)
    uart.looks_until_done = 1000000000
    line.send(b"abc", 0, 3)
    with Later(100000):
        assert line.sent()
    assert de.levels[-1] == 0


def test_silence_is_three_and_a_half_characters_and_fixed_above_19200():
    assert RtuLine(Uart(), 9600, 11).silence_us == 3.5 * 1145 // 1
    assert RtuLine(Uart(), 19200, 11).silence_us == 3.5 * 572 // 1
    assert RtuLine(Uart(), 115200, 11).silence_us == 1750


def test_a_new_line_is_silent_and_one_with_bytes_is_not():
    uart = Uart()
    line = RtuLine(uart, 1200)
    assert line.silence_left_us() == 0
    uart.incoming = b"abc"
    buffer = bytearray(10)
    assert line.receive(buffer, 2) == 5
    assert bytes(buffer[:5]) == b"\0\0abc"
    assert 20000 < line.silence_left_us() <= line.silence_us


def test_silence_is_over_also_when_the_clock_has_wrapped():
    uart = Uart()
    line = RtuLine(uart, 115200)
    uart.incoming = b"a"
    line.receive(bytearray(4), 0)
    with Later(-0x1FFFFFF0):  # the last byte lies "later than now": nine minutes ago
        assert line.silent_us() > 1000000
        assert line.silence_left_us() == 0


def test_own_echo_is_dropped_even_when_it_comes_in_pieces():
    uart = Uart()
    line = RtuLine(uart, 115200, echo=True)
    line.send(b"request", 0, 7)
    buffer = bytearray(20)
    uart.incoming = b"requ"
    assert line.receive(buffer, 0) == 0
    uart.incoming = b"estANSWER"
    assert line.receive(buffer, 0) == 6
    assert bytes(buffer[:6]) == b"ANSWER"
    uart.incoming = b"MORE"
    assert line.receive(buffer, 6) == 10


def test_an_echo_that_does_not_come_or_is_another_is_told_until_the_next_request():
    uart = Uart()
    line = RtuLine(uart, 115200, echo=True)
    buffer = bytearray(20)
    for came, lacks in ((b"request", False), (b"", True), (b"reque", True), (b"regards", True), (b"requestANSWER", False)):
        line.send(b"..request", 2, 7)
        uart.incoming = came
        line.receive(buffer, 0)
        assert line.lacks_echo() == lacks, came
    plain = RtuLine(uart, 115200)
    plain.send(b"request", 0, 7)
    assert not plain.lacks_echo()


def test_bytes_without_end_are_thrown_away_and_counted():
    uart = Uart()
    line = RtuLine(uart, 115200)
    buffer = bytearray(100)
    uart.incoming = bytes(range(250))
    assert line.receive(buffer, 0) <= 100
    assert line.overruns > 100
    uart.incoming = b"abc"
    before = line.receive(buffer, 0)
    assert bytes(buffer[:before]) == b"abc"
