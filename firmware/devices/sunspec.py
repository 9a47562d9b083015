"""SunSpec over Modbus: finds a device's model chain, reads blocks of points, scales them to integers.

A device maps its models from register 40000, 0 or 50000 on: the marker "SunS", then (id, length, points)
one after the other up to id 0xFFFF.  Scale factors are read once, at discovery; after that a block costs
one request.  Numbers: SunSpec Device Information Model Specification V1.1, and the model definitions from
which tools/gen_sunspec.py makes sunspec_tables.py.
"""

import asyncio
import time
from array import array

from micropython import const

from firmware.devices import sunspec_tables as tables
from firmware.image import NO_VALUE
from modbus import ModbusError, ModbusRefused, ModbusTimeout, ModbusUnreachable
from modbus.client import Counters

_BASES = (40000, 0, 50000)
_MARK_HIGH = const(0x5375)  # "Su"
_MARK_LOW = const(0x6E53)  # "nS"
_END = const(0xFFFF)
_MOST_MODELS = const(64)  # a chain longer than this is a loop or rubbish
_TRIES = const(4)  # of each request of the discovery
_TRY_AGAIN_MS = const(50)
_ROW = const(5)  # bytes of a row of a block table
_NO_SCALE = const(255)
_NOT_IMPLEMENTED = const(-128)  # in Block.scales: the device leaves this point out
LONGEST_READ = const(44)  # registers; the longest block of sunspec_tables.py has 42
_LOST_MS = const(10000)  # without a measurement, after which the device is discovered anew: it may be another one
_LARGEST = const(0x3FFFFFFF)


class NotSunSpec(ModbusError):
    """The device answers, but there is no "SunS" at any of the three places."""


_NAMES = ((tables.COMMON_MN, 16), (tables.COMMON_MD, 16), (tables.COMMON_VR, 8), (tables.COMMON_SN, 16))


class Block:
    """A table of sunspec_tables.py placed at its address in one device, with that device's scale factors."""

    def __init__(self, table: tuple, model: int, address: int) -> None:
        self.model = model if table[1] == 0 else 0  # 0: the block does not begin with the model's id
        self.address = address + table[1]
        self.count = table[2]
        self.rows = table[5]
        self.scales = array("b", bytes(len(self.rows) // _ROW))
        self.rejected = -1  # slot of the value that could not be true, last time

    def set_scales(self, table: tuple, registers: array) -> None:
        """Take the scale factors from the registers that the table says hold them."""
        rows = self.rows
        for row in range(len(self.scales)):
            where = rows[row * _ROW + 2]
            power = 0
            if where != _NO_SCALE:
                power = signed16(registers[where])
                if not -10 <= power <= 10:  # -32768: the scale factor, and so the point, is not implemented
                    self.scales[row] = _NOT_IMPLEMENTED
                    continue
            self.scales[row] = power + rows[row * _ROW + 4]

    def decode(self, registers: array, values: array) -> bool:
        """Scale every point into values[slot]; False if one is too large to be true (its slot in `rejected`)."""
        rows = self.rows
        for row in range(len(self.scales)):
            at = row * _ROW
            value = NO_VALUE
            if self.scales[row] != _NOT_IMPLEMENTED:
                value = point(registers, rows[at], rows[at + 1], self.scales[row])
                if value is None:
                    self.rejected = rows[at + 3]
                    return False
            values[rows[at + 3]] = value
        return True


class SunSpec:
    """The models of one device behind a Modbus client.

    After `discover`: `base`, `models` (id -> (address of the id register, length)), `identity` (maker,
    model, version, serial number).  Every method that talks raises ModbusError.

    bounds: what can be true of this device: slot, lowest, highest, and so on.
    """

    # All devices share these: whoever reads uses what came before the next await, and no two kinds of device fill the
    # same values but those.
    registers = array("H", bytes(2 * LONGEST_READ))
    values = array("i", [NO_VALUE] * tables.N_VALUES)

    def __init__(self, client, unit: int, bounds: tuple) -> None:
        self.client = client
        self.unit = unit
        self._bounds = bounds
        self.base = -1
        self.models = {}
        self.chain = []  # ids in the order of the chain
        self.identity = ""
        self.count = Counters()  # this device's own, where the client's are those of a bus that others use too

    async def discover(self) -> None:
        """Walk the chain and read who the device is.  Raises NotSunSpec if there is none."""
        base = await self._find_base()
        self.models = {}
        self.chain = []
        self.base = base
        address = base + 2
        for _ in range(_MOST_MODELS):
            await self._read_surely(address, 2)
            model, length = self.registers[0], self.registers[1]
            if model == _END:
                break
            if model == 0 or address + 2 + length > 65534:
                raise NotSunSpec("model %d of length %d at %d" % (model, length, address))
            self.chain.append(model)
            if model not in self.models:
                self.models[model] = (address, length)
            address += 2 + length
        if 1 in self.models:
            await self._identify(self.models[1][0])

    def forget(self) -> None:
        """Let go of the map of models and of the name, which nobody needs once the blocks are placed: 400 bytes."""
        self.identity = ""
        self.models = {}
        self.chain = []

    def found(self) -> str:
        """One line that says what was discovered."""
        return "%s, SunSpec at %d, models %s" % (self.identity, self.base, " ".join([str(n) for n in self.chain]))

    async def block(self, table: tuple, model: int = 0):
        """The block of `table` in this device, or None if the device lacks the model (or that part of it)."""
        model = model or table[0]
        if model not in self.models:
            return None
        address, length = self.models[model]
        if table[1] + table[2] > length + 2:
            return None
        block = Block(table, model, address)
        if table[4]:
            await self._read_surely(address + table[3], table[4])
        block.set_scales(table, self.registers)
        return block

    async def read(self, block: Block) -> bool:
        """Read a block's registers and decode them into `values`; False, and counted, if a value cannot be true."""
        await self._read(block.address, block.count)
        if block.model and self.registers[0] != block.model:
            raise NotSunSpec("model %d is not at %d any more" % (block.model, block.address))
        values = self.values
        good = block.decode(self.registers, values)
        bounds = self._bounds
        for i in range(0, len(bounds), 3):
            value = values[bounds[i]]
            if value != NO_VALUE and not bounds[i + 1] <= value <= bounds[i + 2]:
                self.count.last_error = "slot %d is %d, allowed %d to %d" % (bounds[i], value, bounds[i + 1], bounds[i + 2])
                good = False
        if not good:
            self.count.rejected += 1
        return good

    async def scale(self, model: int, offset: int) -> int:
        """One scale factor, 0 if it is not implemented."""
        await self._read_surely(self.models[model][0] + offset, 1)
        power = signed16(self.registers[0])
        return power if -10 <= power <= 10 else 0

    async def _find_base(self) -> int:
        for base in _BASES:
            try:
                await self._read_surely(base, 2)
            except ModbusRefused:
                continue
            if self.registers[0] == _MARK_HIGH and self.registers[1] == _MARK_LOW:
                return base
        raise NotSunSpec("no SunSpec marker at 40000, 0 or 50000")

    async def _identify(self, address: int) -> None:
        words = []
        for offset, count in _NAMES:
            await self._read_surely(address + offset, count)
            text = "".join([chr(r >> 8) + chr(r & 0xFF) for r in self.registers[0:count]])
            words.append("".join([c for c in text if " " <= c <= "~"]).strip())
        self.identity = " ".join([w for w in words if w]) or "unnamed"

    def note(self, error: ModbusError) -> None:
        """Count what went wrong with a request to this device."""
        count = self.count
        count.last_error = str(error)
        if isinstance(error, (ModbusTimeout, ModbusUnreachable)):
            count.timeouts += 1
        elif isinstance(error, ModbusRefused):
            count.exceptions += 1
        else:
            count.rejected += 1

    async def _read_surely(self, address: int, count: int) -> None:
        """Read, and on a bad line read again: discovery is some twenty requests, one lost answer must not end it."""
        for attempt in range(_TRIES):
            try:
                return await self._read(address, count)
            except ModbusRefused:
                raise
            except ModbusError as error:
                if attempt == _TRIES - 1:
                    raise
                self.note(error)
                await asyncio.sleep_ms(_TRY_AGAIN_MS)

    async def _read(self, address: int, count: int) -> None:
        self.count.frames += 1
        await self.client.read_registers(self.unit, address, count, self.registers)


async def measure(sun: SunSpec, read, period_ms: int) -> None:
    """`await read(now)` every period, until the map is no longer where it was, or the device has been away for long."""
    heard = time.ticks_ms()
    while True:
        begun = time.ticks_ms()
        try:
            await read(begun)
            heard = begun
        except (NotSunSpec, ModbusRefused):
            raise  # the map has moved: it is another device, or another firmware in it
        except ModbusError as error:
            sun.note(error)
            if time.ticks_diff(begun, heard) > _LOST_MS:
                return
        spent = time.ticks_diff(time.ticks_ms(), begun)
        await asyncio.sleep_ms(max(1, period_ms - spent))


def signed16(value: int) -> int:
    """A register as a two's complement number."""
    return value - 0x10000 if value & 0x8000 else value


def point(registers: array, at: int, kind: int, power: int):
    """The point at registers[at] times 10**power, an integer; NO_VALUE: not implemented; None: does not fit."""
    raw = registers[at]
    if kind == tables.T_INT16:
        return NO_VALUE if raw == 0x8000 else scaled(signed16(raw), power)
    if kind == tables.T_UINT16:
        return NO_VALUE if raw == 0xFFFF else scaled(raw, power)
    if kind == tables.T_ENUM16 or kind == tables.T_BITFIELD16:
        return NO_VALUE if raw == 0xFFFF else raw
    low = registers[at + 1]
    if kind == tables.T_BITFIELD32:  # bits 30 and 31 do not fit a slot; no model uses them
        return NO_VALUE if raw == 0xFFFF and low == 0xFFFF else (raw & 0x3FFF) << 16 | low
    if kind == tables.T_INT32:
        if raw == 0x8000 and low == 0:
            return NO_VALUE
        return scaled(signed16(raw) << 16 | low, power)
    if kind == tables.T_FLOAT32:
        from firmware.devices.sunspec_float import from_float  # few devices have floats

        return from_float(raw, low, power)
    if raw == 0xFFFF and low == 0xFFFF:  # uint32, acc32
        return NO_VALUE
    return scaled(raw << 16 | low, power)


def scaled(value: int, power: int):
    """value * 10**power, rounded half away from zero; None beyond +-(2**30 - 1)."""
    while power > 0:
        value *= 10
        if not -_LARGEST <= value <= _LARGEST:
            return None
        power -= 1
    if power < 0:
        divisor = 10**-power
        if value < 0:
            value = -((divisor // 2 - value) // divisor)
        else:
            value = (value + divisor // 2) // divisor
    return value if -_LARGEST <= value <= _LARGEST else None
