"""An EMS on CAN for tests: the service on a plant with a CAN controller of lists, and frames as an EMS makes them."""

import time

from rows import each

import canbus
import canbus.bus
from firmware import remote
from firmware.services import ems_can
from firmware.services import ems_frames as fr
from host_tests.both.fakecan import FakeCAN
from host_tests.both.plant import Plant

BASE = 0x600


def crc8(data_id, data):
    """AUTOSAR E2E profile 1, bit by bit."""
    crc = 0
    for byte in bytes([data_id & 255, data_id >> 8]) + bytes(data[1:]):
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x1D if crc & 128 else crc << 1) & 255
    return crc


def sealed(can_id, data):
    """The bytes with their checksum."""
    data = bytearray(data)
    data[0] = crc8(can_id & 0xFFFF, data)
    return bytes(data)


def setpoint(counter, watts, enable=1, base=BASE):
    """A SETPOINT as an EMS makes it."""
    data = bytearray(8)
    data[1] = counter | enable << 4
    data[2:5] = bytes([(watts & 0xFFFFFF) >> shift & 255 for shift in (0, 8, 16)])
    return sealed(base, data)


def bounds(counter, discharge, charge, enable=1, base=BASE):
    """A BOUNDS in W; None: not bounded."""
    data = bytearray(8)
    data[1] = counter | enable << 4
    for at, watts in ((2, discharge), (5, charge)):
        watts = 0xFFFFFF if watts is None else watts
        data[at : at + 3] = bytes([watts >> shift & 255 for shift in (0, 8, 16)])
    return sealed(base + 1, data)


class Site:
    """What the service looks at of a site."""

    def __init__(self, bus):
        self.buses = {"can0": bus}


class Journal:
    """The records of a site, as lines of name and value."""

    def __init__(self):
        self.records = self
        self.lines = []

    def log(self, clock, name, data=0, urgent=False):
        self.lines.append((name, data))


class App:
    """And of the application."""

    def __init__(self, bus, journal):
        self.site = Site(bus)
        self.services = {} if journal is None else {"records": journal}
        self.names = {}


class Clock:
    """The firmware's time, which is the plant's."""

    def __init__(self, plant):
        self._plant = plant
        self.ticks_add = time.ticks_add
        self.ticks_diff = time.ticks_diff

    def ticks_ms(self):
        return self._plant.ms


class Rig:
    """Plant, bus and service, all on the plant's time; `said` is what people read."""

    def __init__(self, plant=None, controller=None, records=True, **given):
        self.plant = plant or Plant().ready()
        self.can = controller or FakeCAN()
        self.bus = canbus.Bus(self.can, "can0")
        options = {row[0]: row[2] for row in each(ems_can.OPTIONS)}
        options["bus"] = "can0"
        options["control"] = True
        options.update(given)
        self.options = options
        self.said = []
        self.journal = Journal()
        self._clock = Clock(self.plant)
        self.counters = [0, 0]
        self.service = None
        with self:
            self.service = ems_can.Service("ems", options, self.plant.pm, App(self.bus, self.journal if records else None))
        self.can.set_filters(None)

    def __enter__(self):
        """The firmware's clock is the plant's, and what it says comes here."""
        ems_can.time = canbus.bus.time = remote.time = self._clock
        self._say = ems_can.say
        ems_can.say = self.said.append
        return self

    def __exit__(self, *error):
        ems_can.time = canbus.bus.time = remote.time = time
        ems_can.say = self._say

    def receive(self, can_id, data, extended=None):
        """One frame comes in."""
        self.can.arrive(can_id, data, self.options["extended"] if extended is None else extended)
        with self:
            self.bus.drain()

    def run(self, ms=50):
        """Time passes: cycles, and the service's steps between them."""
        for _ in range(ms // 50):
            self.plant.cycle(50)
            with self:
                self.service.look(self.plant.ms)

    def ask(self, watts, enable=1, skip=1):
        """The EMS's next SETPOINT; its result."""
        self.counters[0] = (self.counters[0] + skip) % 15
        self.receive(self.options["base_id"], setpoint(self.counters[0], watts, enable, self.options["base_id"]))
        return self.result()

    def bound(self, discharge, charge, enable=1):
        """The EMS's next BOUNDS; its result."""
        self.counters[1] = (self.counters[1] + 1) % 15
        self.receive(self.options["base_id"] + 1, bounds(self.counters[1], discharge, charge, enable, self.options["base_id"]))
        return self.result(1)

    def result(self, which=0):
        """What became of the last SETPOINT (1: BOUNDS), in the next ANSWER's words."""
        answer = self.answer()
        return fr.RESULTS.split("\n")[answer[1 + 2 * which]]

    def answer(self):
        """The next ANSWER."""
        self.can.sent = []
        for _ in range(40):
            self.run()
            for can_id, data, _ in self.can.sent:
                if can_id == self.options["base_id"] + fr.FRAMES[0][0]:
                    return data
        raise AssertionError("no answer among %r" % self.can.sent)

    def status(self):
        """Of each id above the base its newest frame, of all that are sent in the slowest period."""
        self.can.sent = []
        self.run(6 * self.options["period_ms"])
        return {can_id - self.options["base_id"]: data for can_id, data, _ in self.can.sent}

    def claims(self):
        """(owner, kW) of every remote claim."""
        return [(claim["owner"], claim["kw"]) for claim in self.plant.pm.claims() if claim["source"] == "remote"]


def number(data, at, size, signed=False):
    """A little-endian number; None: not available."""
    value = 0
    for i in range(size):
        value |= data[at + i] << 8 * i
    if signed:
        value -= (value >> 8 * size - 1) << 8 * size
        return None if value == -(1 << 8 * size - 1) else value
    return None if value == (1 << 8 * size) - 1 else value

