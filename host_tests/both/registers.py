"""A Modbus client whose device is a dict of registers, for drivers, on every interpreter."""

from modbus import ModbusRefused
from modbus.client import Counters


class Registers:
    """`refuse(address, count)` says with which exception a request is answered, 0: none; `written`: (address, words)."""

    connections = 0
    timeout_ms = 500
    retries = 0

    def __init__(self, registers):
        self.count = Counters()
        self.registers = registers
        self.refuse = lambda address, count: 0
        self.reads = 0
        self.written = []

    def widen(self, registers):
        pass

    async def read_registers(self, unit, address, count, out, function=3, to_write=False):
        self.reads += 1
        code = self.refuse(address, count)
        for i in range(count):
            if address + i not in self.registers:
                code = code or 2
        if code:
            raise ModbusRefused(function, code)
        for i in range(count):
            out[i] = self.registers[address + i]

    async def write_registers(self, unit, address, values, count, function=16, fresh=None):
        if fresh is not None:
            fresh()
        code = self.refuse(address, count)
        if code:
            raise ModbusRefused(function, code)
        self.written.append((address, list(values[:count])))
        for i in range(count):
            self.registers[address + i] = values[i]
