"""Devices that answer nonsense, into the SunSpec and generic drivers, under MicroPython: `driver_fuzz.py SEED ANSWERS`.

One JSON line on stdin: {"chains": [[base, registers], ...], "table": {...}}.  Each round a device is made from one of
the chains with registers changed at random; whatever it says, the driver raises nothing but ModbusError, leaves only
numbers of 31 bits in the image, and writes setpoints no larger than commanded.  Ends with one JSON line.
"""

import asyncio
import gc
import json
import sys
import time

import firmware.image as im
from firmware.devices import generic_modbus, meter_sunspec, pcs_sunspec
from modbus import ModbusBadFrame, ModbusError, ModbusRefused, ModbusTimeout, ModbusUnreachable

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

    def __init__(self):
        self.count = 0
        self.base = 0
        self.registers = []
        self.calm = False

    def become(self, base, registers, changes):
        self.base = base
        self.registers = list(registers)
        for _ in range(changes):
            at = rand(len(registers))
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

    async def read_registers(self, unit, address, count, out, function=3):
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


def options(module, **more):
    chosen = {}
    for table in module.OPTIONS:
        for row in table:
            chosen[row[0]] = row[2]
    chosen.update(more)
    return chosen


def check(image):
    for slot in range(10, im.N_INPUTS):
        value = image.inp[slot]
        assert value == im.NO_VALUE or -1073741823 <= value <= 1073741823, (slot, value)


async def quietly(work):
    try:
        await work
    except ModbusError:
        pass


async def exercise_pcs(device, image):
    await quietly(device._discover())
    for _ in range(6):
        image.now[im.CMD_P] = rand(300000) - 150000
        image.now[im.CMD_RUN] = rand(2)
        if device._dialect is None:
            return
        await quietly(device._read(time.ticks_add(time.ticks_ms(), 5000)))
        if device.ready:
            await quietly(device._command(time.ticks_add(time.ticks_ms(), rand(3000))))


async def exercise_meter(device):
    try:
        await device._discover()
        for _ in range(4):
            await device._read(0)
    except ModbusError:
        pass


async def main():
    peer = Nonsense()
    image = im.Image()
    devices = []
    for module in (pcs_sunspec, meter_sunspec):
        module.open_client = lambda name, options, buses, registers=125: peer
        module.print = lambda *words: None
        devices.append(module.Device("device", options(module), image, {}))
    generic_modbus.open_client = lambda name, options, buses, registers=125: peer
    generic = generic_modbus.Device("device", options(generic_modbus, table=given["table"]), image, {})
    asyncio.sleep_ms = lambda ms: _none()
    start = None
    heard = 0
    while peer.count < answers:
        base, registers = given["chains"][rand(len(given["chains"]))]
        peer.calm = False
        peer.become(base, registers, rand(12))
        before = image.inp[im.SEQ_PCS] + image.inp[im.SEQ_METER]
        await exercise_pcs(devices[0], image)
        await exercise_meter(devices[1])
        for block in generic._blocks:
            await generic._read_block(block)
        heard += image.inp[im.SEQ_PCS] + image.inp[im.SEQ_METER] - before
        check(image)
        if start is None and peer.count >= answers // 4:
            gc.collect()
            start = gc.mem_alloc()
    peer.calm = True
    peer.become(given["chains"][0][0], given["chains"][0][1], 0)
    before = image.inp[im.SEQ_PCS]
    await devices[0]._discover()
    await devices[0]._read(time.ticks_ms())
    assert image.inp[im.SEQ_PCS] == before + 1, "a sane device is understood again"
    gc.collect()
    print(json.dumps({"answers": peer.count, "heard": heard, "grown": gc.mem_alloc() - start}))


async def _none():
    pass


asyncio.run(main())
