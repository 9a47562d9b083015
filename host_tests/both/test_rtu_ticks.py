"""A serial line on a board whose sleeps last whole ticks of 10 ms: how long a request takes, and how often it is looked for."""

from array import array

from modbus import client as client_module
from modbus import hot, rtu_client, rtu_line
from modbus.rtu_client import RtuClient

TICK_US = 10000
TURN_US = 300  # what the other tasks take when this one gives way
BAUDRATE = 115200
CHAR_US = 10 * 1000000 // BAUDRATE


class Chip:
    """A clock that only sleeping and looking move: time and asyncio at once."""

    def __init__(self):
        self.us = 1234
        self.sleeps = 0  # in which the board could have slept
        self.yields = 0

    def ticks_us(self):
        return self.us

    def ticks_ms(self):
        return self.us // 1000

    def ticks_add(self, at, delta):
        return at + delta

    def ticks_diff(self, later, earlier):
        return later - earlier

    async def sleep_ms(self, ms):
        if ms <= 0:
            self.yields += 1
            self.us += TURN_US
        else:
            self.sleeps += 1
            self.us = (self.us + ms * 1000 + TICK_US - 1) // TICK_US * TICK_US


class Wire:
    """A UART, and at its other end a device that answers reads after `think_us`."""

    def __init__(self, chip):
        self.chip = chip
        self.think_us = 1000
        self.looks = 0
        self._sent_by = 0
        self._answer = b""
        self._from = 0  # when its first byte comes
        self._taken = 0

    def write(self, frame, start, length):
        request = bytes(frame[start : start + length])
        self._sent_by = self.chip.us + length * CHAR_US
        answer = bytes((request[0], request[1], 2 * request[5])) + bytes(range(2 * request[5]))
        crc = hot.crc16(answer, 0, len(answer))
        self._answer = answer + bytes((crc & 0xFF, crc >> 8))
        self._from = self._sent_by + self.think_us
        self._taken = 0

    def txdone(self):
        self.chip.us += 10
        return self.chip.us >= self._sent_by

    def any(self):
        self.looks += 1
        self.chip.us += 50
        return min(len(self._answer), max(0, (self.chip.us - self._from) // CHAR_US)) - self._taken

    def readinto(self, buffer, count):
        part = self._answer[self._taken : self._taken + count]
        buffer[: len(part)] = part
        self._taken += len(part)
        return len(part)


class Line:
    """A client on that chip."""

    def __init__(self):
        self.chip = Chip()
        self.wire = Wire(self.chip)
        for module in (rtu_client, rtu_line, client_module):
            for name in ("time", "asyncio"):
                if hasattr(module, name):
                    setattr(module, name, self.chip)
        self.client = RtuClient(self.wire, BAUDRATE, timeout_ms=500)
        self._out = array("H", bytes(2 * 60))

    def read(self, count):
        """Milliseconds that one request took."""
        begun = self.chip.us
        request = self.client.read_registers(1, 40000, count, self._out)
        try:
            request.send(None)
            raise AssertionError("on this chip nothing waits for anything else")
        except StopIteration:
            pass
        assert self._out[1] == 0x0203
        return (self.chip.us - begun) / 1000

    def mean(self, count, times):
        return sum(self.read(count) for _ in range(times)) / times


def on_ticks(test):
    """Run with a chip's sleeps, and put the real ones back."""

    def run():
        kept = [(m, n, getattr(m, n)) for m in (rtu_client, rtu_line, client_module) for n in ("time", "asyncio") if hasattr(m, n)]
        try:
            test(Line())
        finally:
            for module, name, value in kept:
                setattr(module, name, value)

    return run


def _the_wait_does_not_grow(line):
    """What is slept must not be learned as the device's time: the estimate grew to 100 ms a request, and the inverter was lost."""
    line.mean(40, 20)
    for count in (40, 2, 60):
        wire_ms = (8 + 5 + 2 * count) * CHAR_US / 1000
        for _ in range(5):
            assert line.mean(count, 100) < wire_ms + 1 + 15, "a tick and a half beside what wire and device take"


test_the_wait_does_not_grow_by_itself = on_ticks(_the_wait_does_not_grow)


def _a_slow_device(line):
    line.mean(10, 20)
    line.wire.think_us = 60000
    line.mean(10, 40)
    line.wire.looks = 0
    assert line.mean(10, 100) < 60 + 4 + 20
    assert line.wire.looks / 100 < 30, "while it thinks the board sleeps"
    line.wire.think_us = 1000
    line.mean(10, 40)
    assert line.mean(10, 100) < 1 + 4 + 15, "one that has become quick is asked quickly again"


test_a_slow_device_is_waited_for_asleep_and_a_quick_one_again_not_at_all = on_ticks(_a_slow_device)
