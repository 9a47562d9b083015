"""Devices that answer nonsense, into the SunSpec and generic drivers, under MicroPython: `driver_fuzz.py SEED ANSWERS`.

One JSON line on stdin: {"chains": [[base, registers], ...], "table": {...}}.  Three drivers run in a time of their own.  Each
round their device becomes one of the chains with registers changed at random; whatever it says, no driver ends, and there
are only numbers of 31 bits in the image and in what is written.  Ends with one JSON line.
"""

import gc
import json
import sys

import notice

import firmware.image as im
from firmware import config
from firmware.devices import (
    connection,
    generic_modbus,
    generic_writer,
    meter_sunspec,
    pcs_der,
    pcs_dialect,
    pcs_inverter,
    pcs_sunspec,
    sunspec,
)
from host_tests.both.virtual import Virtual
from modbus import ModbusBadFrame, ModbusRefused, ModbusTimeout, ModbusUnreachable

seed = int(sys.argv[1])
answers = int(sys.argv[2])
given = json.loads(sys.stdin.readline())


def rand(n):
    """The next of a fixed sequence of numbers, below n."""
    global seed
    low = 16807 * (seed & 0xFFFF)
    high = 16807 * (seed >> 16) + (low >> 16)
    seed = (((high & 0x7FFF) << 16) | (low & 0xFFFF)) + (high >> 15)
    if seed > 0x7FFFFFFF:
        seed -= 0x7FFFFFFF
    return (seed >> 4) % n


ODD = (0, 1, 2, 0x7FFF, 0x8000, 0x8001, 0xFFFE, 0xFFFF, 10, 0xFFF6, 0xFFF5, 701, 704, 103, 213)


class Nonsense:
    """A Modbus client whose device has lost its mind."""

    connections = 0
    timeout_ms = 500
    retries = 0

    def __init__(self):
        self.count = 0
        self.base = 0
        self.registers = []
        self.calm = False

    def become(self, base, registers, changes):
        self.connections += rand(2)
        self.base = base
        self.registers = list(registers)
        self.change(changes)

    def change(self, changes):
        for _ in range(changes):
            at = rand(len(self.registers))
            self.registers[at] = ODD[rand(len(ODD))] if rand(2) else rand(65536)

    def fail(self):
        if self.calm:
            return
        kind = rand(60)
        if kind == 0:
            raise ModbusTimeout("no answer")
        if kind == 1:
            raise ModbusRefused(3, 1 + rand(11))
        if kind == 2:
            raise ModbusBadFrame("noise")
        if kind == 3:
            raise ModbusUnreachable("gone")

    async def read_registers(self, unit, address, count, out, function=3, to_write=False):
        self.count += 1
        self.fail()
        for i in range(count):
            at = address + i - self.base
            if not 0 <= at < len(self.registers):
                raise ModbusRefused(3, 2)
            out[i] = self.registers[at] if self.calm or rand(200) else rand(65536)

    async def write_registers(self, unit, address, values, count, function=16, fresh=None):
        self.count += 1
        if fresh:
            fresh()
        for i in range(count):
            assert 0 <= values[i] <= 0xFFFF
        self.fail()


def check(image):
    for slot in range(10, im.N_INPUTS):
        value = image.inp[slot]
        assert value == im.NO_VALUE or -1073741823 <= value <= 1073741823, (slot, value)


def made(module, name, image, peer, **given):
    """A driver of this module, whose device is the peer."""
    connection.open_client = lambda name, options, buses, registers=125: peer
    given["host"] = "10.0.0.2"
    return module.Device(name, config.check(module.OPTIONS, given, name, []), image, {})


def live(life, image, peer, seconds):
    """So long control commands this and that, the drivers measure and write, and more and more of their device is odd."""
    for _ in range(4 * seconds):
        if not peer.calm:
            peer.change(rand(8))
        image.now[im.CMD_P] = rand(300000) - 150000
        image.now[im.CMD_RUN] = rand(2)
        image.now[im.CMD_SEQ] += rand(8) > 0
        life.run(250)
        check(image)


def calmed(life, image, peer):
    """The bytes in use when the device has been sane for a while: what each driver holds for it is the same each time."""
    peer.calm = True
    peer.become(given["chains"][0][0], given["chains"][0][1], 0)
    live(life, image, peer, 20)
    before = image.inp[im.SEQ_PCS]
    live(life, image, peer, 1)
    assert image.inp[im.SEQ_PCS] >= before + 9, "a sane device is understood again"
    peer.calm = False
    gc.collect()
    return gc.mem_alloc()


def main(life):
    notice.sink = lambda text: None
    peer = Nonsense()
    image = im.Image()
    for device in (
        made(pcs_sunspec, "pcs", image, peer),
        made(meter_sunspec, "meter", image, peer),
        made(generic_modbus, "box", image, peer, table=given["table"], period_ms=1000),
    ):
        life.live(device)
    start = None
    before = image.inp[im.SEQ_PCS] + image.inp[im.SEQ_METER]
    while peer.count < answers:
        base, registers = given["chains"][rand(len(given["chains"]))]
        peer.become(base, registers, rand(12))
        live(life, image, peer, 2 + rand(6))
        if start is None and peer.count >= answers // 4:
            start = calmed(life, image, peer)
    heard = image.inp[im.SEQ_PCS] + image.inp[im.SEQ_METER] - before
    print(json.dumps({"answers": peer.count, "heard": heard, "grown": calmed(life, image, peer) - start}))


with Virtual(pcs_sunspec, pcs_dialect, pcs_der, pcs_inverter, sunspec, generic_modbus, generic_writer) as one:
    main(one)
