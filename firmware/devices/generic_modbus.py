"""Any Modbus device that a JSON table describes: which registers fill which slots, which take the command.

The table (option `table`, an object or the name of a file; see docs/generic_modbus.md) is read by generic_table.py
at boot.  Registers that lie close together are read with one request.  A group of slots is heard when every
request that was due for it has been answered with values that can be true.
"""

import asyncio
import time
from array import array

from micropython import const
from notice import say

from firmware import config
from firmware import image as im
from firmware.devices.connection import CONNECTION_OPTIONS, open_client
from firmware.devices.sunspec import point
from modbus import ModbusError, ModbusRefused, ModbusTimeout, ModbusUnreachable
from modbus.client import Counters

_OWN_OPTIONS = (
    ("table", "any", config.REQUIRED, 0, 0, "the device's table, or the name of the file that holds it"),
    ("period_ms", "int", 100, 20, 60000, "ms between readings of what names no period of its own"),
    ("refresh_ms", "int", 1000, 100, 30000, "ms after which everything is written again"),
    ("control_timeout_ms", "int", 1500, 200, 10000, "ms without a control cycle, then nothing is written any more"),
)
OPTIONS = (CONNECTION_OPTIONS, _OWN_OPTIONS)

_LOOK_MS = const(10)
_HOLD_MS = const(100)  # after a write that failed
_FAILURES = const(3)  # of a block in a row, after which its slots have no value
_HEARTBEAT_MS = const(1000)


class Device:
    """One such device.  `brings`: image.HAS_* bits of what its table makes it."""

    def __init__(self, name: str, options: dict, image, buses: dict) -> None:
        """Raises ConfigError with everything that is wrong with the table."""
        from firmware.devices.generic_table import Table

        self.name = name
        self.count = Counters()
        self.client = open_client(name, options, buses)
        table = Table(options["table"], options["period_ms"])
        options["table"] = None  # what was needed of it is in the blocks, and who checked it may go
        self.brings = table.brings
        self._unit = options["unit"]
        self._options = options
        self._image = image
        self._swapped = table.swapped
        self._blocks = table.blocks
        self._writes = table.writes
        self._groups = table.groups
        self._registers = array("H", bytes(120))
        self._pair = array("H", bytes(4))
        self._values = array("i", [im.NO_VALUE] * im.N_INPUTS)
        now = time.ticks_ms()
        for block in self._blocks:
            block.due = now
        self._seq = -1
        self._seq_ms = self._refreshed = self._beat_ms = self._hold_until = now
        self._beat = 0
        self._alive = False

    async def run(self) -> None:
        """Work for ever; whatever happens on the wire is counted, and tried again."""
        if self._writes:
            asyncio.create_task(self._write_for_ever())
        values = sum([len(block.points) for block in self._blocks])
        say("%s: %d values in %d requests, %d written" % (self.name, values, len(self._blocks), len(self._writes)))
        while True:
            now = time.ticks_ms()
            for block in self._blocks:
                if time.ticks_diff(now, block.due) >= 0:
                    await self._read_due(now)
                    break
            await asyncio.sleep_ms(_LOOK_MS)

    def counters(self) -> dict:
        """Counts of this device since boot."""
        return self.count.as_dict()

    def _note(self, error: ModbusError) -> None:
        self.count.last_error = str(error)
        if isinstance(error, (ModbusTimeout, ModbusUnreachable)):
            self.count.timeouts += 1
        elif isinstance(error, ModbusRefused):
            self.count.exceptions += 1
        else:
            self.count.rejected += 1

    # ---- reading ---------------------------------------------------------------------------------------
    async def _read_due(self, now: int) -> None:
        """Read every block that is due.

        A group goes into the image, as a whole, when the fastest of its blocks were due and none that was due failed.
        """
        due = failed = 0
        for block in self._blocks:
            if time.ticks_diff(now, block.due) >= 0:
                block.due = time.ticks_add(now, block.period_ms)
                due |= block.leads
                if not await self._read_block(block):
                    failed |= block.groups
        if due == 0:
            return
        inp = self._image.inp
        for number, (first, last, seq) in enumerate(self._groups):
            if due >> number & 1 and not failed >> number & 1:
                for slot in range(first, last + 1):
                    inp[slot] = self._values[slot]
                self._image.heard(seq)

    async def _read_block(self, block) -> bool:
        self.count.frames += 1
        try:
            await self.client.read_registers(self._unit, block.address, block.count, self._registers, block.function)
            good = self._decode(block)
        except ModbusError as error:
            self._note(error)
            good = False
        block.failures = 0 if good else block.failures + 1
        if block.failures >= _FAILURES:
            for each in block.points:
                self._values[each.slot] = im.NO_VALUE
        return good

    def _decode(self, block) -> bool:
        """Every point into `values`; False, and none of them, if one cannot be true."""
        results = []
        for each in block.points:
            value = self._value(each, each.address - block.address)
            if value is None or (value != im.NO_VALUE and not each.low <= value <= each.high):
                self.count.rejected += 1
                self.count.last_error = "register %d gives %s, allowed %d to %d" % (
                    each.address, value, each.low, each.high)
                return False
            results.append(value)
        for each, value in zip(block.points, results):
            self._values[each.slot] = value
        return True

    def _value(self, each, at: int):
        """One point in its slot's unit; NO_VALUE for what the device leaves out, None for what does not fit."""
        registers = self._registers
        high = registers[at]
        if each.size == 2:
            low = registers[at + 1]
            if self._swapped:
                high, low = low, high
            self._pair[0] = high
            self._pair[1] = low
            high = high << 16 | low
        else:
            self._pair[0] = high
        if each.missing is not None and high == each.missing:
            return im.NO_VALUE
        if each.mask:
            raw = high & each.mask
            mask = each.mask
            while not mask & 1:
                mask >>= 1
                raw >>= 1
        else:
            raw = _number(self._pair, each.kind, each.ratio)
            if raw is None or raw == im.NO_VALUE:
                return raw
        if each.map is not None:
            return each.map.get(raw)  # a state nobody described cannot be passed on
        value = raw + each.offset
        return value if -1073741823 <= value <= 1073741823 else None

    # ---- writing ---------------------------------------------------------------------------------------
    async def _write_for_ever(self) -> None:
        while True:
            await asyncio.sleep_ms(_LOOK_MS)
            now = time.ticks_ms()
            seq = self._image.now[im.CMD_SEQ]
            if seq != self._seq:
                self._alive = self._seq >= 0
                self._seq = seq
                self._seq_ms = now
            elif time.ticks_diff(now, self._seq_ms) > self._options["control_timeout_ms"]:
                self._alive = False  # nobody decides: let the device's own watchdog act
            if not self._alive or time.ticks_diff(now, self._hold_until) < 0:
                continue
            refresh = time.ticks_diff(now, self._refreshed) >= self._options["refresh_ms"]
            try:
                for write in self._writes:
                    value = self._wanted(write, now)
                    if value != write.sent or (refresh and not write.heartbeat):
                        await self._write(write, value)
                if refresh:
                    self._refreshed = now
            except ModbusError as error:
                self._note(error)
                for write in self._writes:
                    write.sent = None
                self._hold_until = time.ticks_add(time.ticks_ms(), _HOLD_MS)

    async def _write(self, write, value: int) -> None:
        self.count.frames += 1
        if write.size == 1 and write.function == 6:
            await self.client.write_register(self._unit, write.address, value & 0xFFFF)
        else:
            words = self._pair_of(value, write.size)
            await self.client.write_registers(self._unit, write.address, words, write.size)
        write.sent = value

    def _wanted(self, write, now: int) -> int:
        """What the register should hold.  Power is cut off towards zero, and 0 while the device may not run."""
        if write.heartbeat:
            if time.ticks_diff(now, self._beat_ms) >= _HEARTBEAT_MS:
                self._beat_ms = now
                self._beat = (self._beat + 1) & 0x7FFF
            return self._beat
        if write.source < 0:
            return write.value
        command = self._image.now
        value = command[write.source]
        if write.source == im.CMD_P and not command[im.CMD_RUN]:
            value = 0
        if write.map is not None:
            return write.map.get(value, value)
        multiplier, divisor = write.ratio
        size = abs(value) * divisor // abs(multiplier)
        return size if (value >= 0) == (multiplier >= 0) else -size

    def _pair_of(self, value: int, size: int):
        words = array("H", (0, 0))
        if size == 1:
            words[0] = value & 0xFFFF
        else:
            words[0] = value >> 16 & 0xFFFF
            words[1] = value & 0xFFFF
            if self._swapped:
                words[0], words[1] = words[1], words[0]
        return words


def _number(pair: array, kind: int, ratio: tuple):
    """The number in `pair` times the ratio, rounded half away from zero; None if it does not fit a slot."""
    multiplier, divisor = ratio
    if kind == 7:
        raw = point(pair, 0, kind, 3)  # in thousandths
        if raw is None or raw == im.NO_VALUE:
            return raw
        divisor *= 1000
    elif kind == 0 or kind == 1:
        raw = pair[0] - 0x10000 if kind == 0 and pair[0] & 0x8000 else pair[0]
    else:
        raw = pair[0] << 16 | pair[1]
        if kind == 2 and pair[0] & 0x8000:
            raw -= 1 << 32
    scaled = abs(raw * multiplier)
    scaled = (scaled + divisor // 2) // divisor
    if (raw < 0) != (multiplier < 0):
        scaled = -scaled
    return scaled if -1073741823 <= scaled <= 1073741823 else None
