"""Any Modbus device that a JSON table describes: which registers fill which slots, which take the command.

The table (option `table`, an object or the name of a file; see docs/generic_modbus.md) is read by generic_table.py
when a site file is checked and at boot.  Registers that lie close together are read with one request.  A group of
slots is fresh when the fastest of its requests have been answered with values that can be true, and of the slower ones it
needs no value is older than its period and a margin.  What is written is in generic_writer.py.
"""

import asyncio
import time
from array import array

from micropython import const
from notice import Once, say

from firmware import image as im
from firmware.devices.connection import CONNECTION_OPTIONS
from firmware.devices.modbus_unit import ModbusUnit
from firmware.devices.sunspec_numbers import from_float
from modbus import ModbusError, ModbusRefused

_OWN_OPTIONS = (
    ("table", "any", "REQUIRED", 0, 0, "the device's table, or the name of the file that holds it"),
    ("period_ms", "int", 100, 20, 60000, "ms between readings of what names no period of its own"),
    ("refresh_ms", "int", 1000, 100, 30000, "ms after which everything is written again"),
    ("control_timeout_ms", "int", 1500, 200, 10000, "ms without a control cycle, then nothing is written any more"),
)
OPTIONS = (CONNECTION_OPTIONS, _OWN_OPTIONS)

_BESIDE = (  # slots without which the rest of their group is what it was
    im.PCS_Q, im.PCS_V, im.PCS_I, im.PCS_HZ, im.PCS_DC_V, im.PCS_DC_I, im.PCS_DC_P, im.PCS_TEMP, im.PCS_ALARM, im.PCS_SETPOINT,
    im.PCS_S_MAX, im.METER_V, im.METER_I, im.METER_HZ, im.BMS_SOH, im.BMS_TEMP,
)  # fmt: skip
_PERCENT_MOST = const(12500)  # 0.01 %: up to here a percentage beyond 100 is taken as 100, as of a battery on CAN
_LOOK_MS = const(10)
_AGAIN = const(2)  # time-outs of the connection until what got no answer is asked for again; twice that the next time ...
_MOST_AGAIN = const(8)  # ... up to this, or its period
_MARGIN = const(3)  # time-outs: a value holds for its block's period and so much longer


def _is_needed(block) -> bool:
    """It carries a value that its group is nothing without."""
    for point in block.points:
        if point.slot not in _BESIDE:
            return True
    return False


def check_site(where: str, options: dict, power, errors: list) -> None:
    """Called when a site file is checked: a table's registers must fit the powers of this PowerConfig."""
    options["powers_w"] = (-int(power.max_charge_power * 1000), int(power.max_discharge_power * 1000))
    if "table" in options:
        _tables().problems(where, options["table"], _conditions(options), errors)


def _connection():
    from firmware.devices import connection  # here: as generic_table

    return connection


def _tables():
    from firmware.devices import generic_table  # here: whoever runs does not need it any more, see firmware/loading.py

    return generic_table


def _conditions(options: dict):
    """What the table has to fit, of options that may not be whole."""
    units = _connection().units(options)
    return _tables().Conditions(options.get("longest_read", 125), options.get("unit", 1), units, options.get("powers_w"))


def fills(options: dict) -> int:
    """Called when a site file is checked: the groups that the table fills, as bits (see sitefile.py)."""
    return _tables().filled(options["table"])


def sees_grid(options: dict) -> bool:
    """Called when a site file is checked: the table reads something that says whether the grid is there."""
    return _tables().reads_any(options["table"], (im.PCS_GRID, im.METER_V, im.METER_HZ))


class Device:
    """One such device.  `brings`: image.HAS_* bits of what its table makes it."""

    def __init__(self, name: str, options: dict, image, buses: dict) -> None:
        """Raises ConfigError with everything that is wrong with the table."""
        self.name = name
        self.client = _connection().open_client(name, options, buses)
        self.unit = ModbusUnit(self.client, options["unit"])
        table = _tables().Table(options["table"], options["period_ms"], _conditions(options))
        options["table"] = None  # what was needed of it is in the blocks
        self.brings = table.brings
        self._once = Once(name)
        self._options = options
        self._image = image
        self._swapped = table.swapped
        self._blocks = table.blocks
        self._groups = table.groups
        self._registers = array("H", bytes(120))
        self._pair = array("H", bytes(4))
        self._unmapped = 0  # the code that a map did not have
        self._values = array("i", [im.NO_VALUE] * im.N_INPUTS)
        now = time.ticks_ms()
        for block in self._blocks:
            block.due = now
        self._units = {-1: self.unit}  # by the number in the table; all count as one
        for each in list(table.blocks) + list(table.writes):
            if each.unit not in self._units:
                self._units[each.unit] = ModbusUnit(self.client, each.unit)
                self._units[each.unit].count = self.unit.count
        self._writes = len(table.writes)
        self._writer = None
        self.parts: dict = {}
        if table.writes:
            from firmware.devices.generic_writer import Writer  # a table that only reads leaves it in flash

            self._writer = Writer(image, options, table.writes, self._units, table.swapped, self._once)
            self.parts = {name + " writes": self._writer}

    async def run(self) -> None:
        """Work for ever; whatever happens on the wire is counted, and tried again."""
        values = sum([len(block.points) for block in self._blocks])
        say("%s: %d values in %d requests, %d written" % (self.name, values, len(self._blocks), self._writes))
        while True:
            now = time.ticks_ms()
            for block in self._blocks:
                if time.ticks_diff(now, block.due) >= 0:
                    await self._read_due(now)
                    break
            await asyncio.sleep_ms(_LOOK_MS)

    def counters(self) -> dict:
        """Counts of this device since boot; `note`: what a person has to know or do."""
        counts = self.unit.count.as_dict()
        counts["note"] = self._once.text
        return counts

    def keep_silent(self, ms: int) -> None:
        """For commissioning: it is told nothing for so long (60 s at most), so that its own watchdog is seen to act."""
        if self._writer is not None:
            self._writer.keep_silent(ms)

    # ---- reading ---------------------------------------------------------------------------------------
    async def _read_due(self, now: int) -> None:
        """Read every block that is due.

        A group goes into the image, as a whole, when the fastest of its blocks were due and have come, as when they were read
        last, and of the slower ones that it needs none has lost its values: such a one says nothing new until it is due again.
        """
        due = failed = 0
        for block in self._blocks:
            if time.ticks_diff(now, block.due) >= 0:
                due |= block.leads
                await self._read_block(block, now)
            if block.failures:
                self._look_old(block, now)
                if _is_needed(block):
                    failed |= block.groups if block.lost else block.leads
        if due == 0:
            return
        inp = self._image.inp
        for number, (first, last, seq) in enumerate(self._groups):
            if due >> number & 1 and not failed >> number & 1:
                for slot in range(first, last + 1):
                    inp[slot] = self._values[slot]
                self._image.heard(seq)

    async def _read_block(self, block, now: int) -> None:
        """Read it, and say when it is due next: what has not come is asked for again soon, then ever more seldom."""
        period_ms = block.period_ms
        block.due = time.ticks_add(now, period_ms - block.lag_ms)
        if await self._is_read(block):
            block.heard_ms = now
            block.failures = block.lag_ms = 0
            block.lost = False
            return
        wait_ms = min(period_ms, min(_MOST_AGAIN, _AGAIN << min(block.failures, 2)) * self._timeout_ms())
        block.failures += 1
        block.lag_ms = (block.lag_ms + wait_ms) % period_ms  # blocks of one period are due together again when all have come
        block.due = time.ticks_add(now, wait_ms)

    def _timeout_ms(self) -> int:
        """What an answer that does not come costs; another device of the connection may have made it longer."""
        return self.client.timeout_ms * (1 + self.client.retries)

    def _look_old(self, block, now: int) -> None:
        """After its period and a margin what it said last is no value any more."""
        if not block.lost and time.ticks_diff(now, block.heard_ms) > block.period_ms + _MARGIN * self._timeout_ms():
            block.lost = True
            for each in block.points:
                self._values[each.slot] = im.NO_VALUE

    async def _is_read(self, block) -> bool:
        try:
            await self._ask(block)
            return self._decode(block)
        except ModbusRefused as error:
            self.unit.note(error)
            if len(block.points) > 1:
                return 2 <= error.code <= 3 and await self._read_singly(block)
            return self._leave_out(block, error)
        except ModbusError as error:
            self.unit.note(error)
            return False

    async def _ask(self, block) -> None:
        await self._units[block.unit].read(block.address, block.count, self._registers, block.function)

    async def _read_singly(self, block) -> bool:
        """A block that is refused as a whole may hold registers that there are not: if its points can be had one by one,
        they are read so from now on.  True if all of them were read."""
        parts = block.singly()
        for part in parts:
            try:
                await self._ask(part)
            except ModbusError as error:
                self.unit.note(error)
                if not (isinstance(error, ModbusRefused) and self._leave_out(part, error)):
                    return False
            else:
                if not self._decode(part):
                    return False
        for part in parts:
            part.lost = False
            part.heard_ms = time.ticks_ms()
        at = self._blocks.index(block)
        self._blocks[at : at + 1] = parts
        text = "registers %d to %d cannot be read together, they are read point by point"
        self._once.say(text % (block.address, block.address + block.count - 1))
        return True

    def _leave_out(self, block, error) -> bool:
        """One value that is not there is none; False if its group cannot do without it."""
        slot = block.points[0].slot
        if not 2 <= error.code <= 3 or slot not in _BESIDE:
            return False
        self._values[slot] = im.NO_VALUE
        if not block.left_out:
            block.left_out = True
            self._once.say("register %d cannot be read (%s): its value is left out" % (block.address, error))
        return True

    def _decode(self, block) -> bool:
        """Every point into `values`.  One that cannot be true is named; False, and none of them, if the others need it."""
        results = []
        for each in block.points:
            value = self._value(each, each.address - block.address)
            if value is not None and each.high == 10000 < value <= _PERCENT_MOST and each.slot <= im.BMS_SOH:
                value = 10000
                self._once.say("register %d gives more than 100 %%, it is taken as 100 %%" % (each.address + each.at))
            if value is None or (value != im.NO_VALUE and not each.low <= value <= each.high):
                self._reject(each, value)
                if each.slot not in _BESIDE:
                    return False
                value = im.NO_VALUE
            results.append(value)
        for each, value in zip(block.points, results):
            self._values[each.slot] = value
        return True

    def _reject(self, each, value) -> None:
        """A value that cannot be true, or that nobody described, in words; of the latter a person has to know."""
        where = each.address + each.at
        if value is not None:
            text = "register %d gives %d, allowed %d to %d" % (where, value, each.low, each.high)
        elif each.map is None:
            text = "register %d gives no number, or one beyond %d" % (where, im.NO_VALUE)
        else:
            known = ", ".join([str(code) for code in sorted(each.map)])
            text = "register %d says %d, its map has %s" % (where, self._unmapped, known)
            self._once.say(text)
        self.unit.reject(text)

    def _value(self, each, at: int):
        """One point in its slot's unit; NO_VALUE for what the device leaves out, None for what does not fit."""
        value = self._term(each, at + each.at)
        if each.minus >= 0 and value is not None and value != im.NO_VALUE:
            less = self._term(each, at + each.minus)
            if less is None or less == im.NO_VALUE:
                return less
            value -= less
            if value == im.NO_VALUE:
                return None
        return value if value is None or value == im.NO_VALUE or -1073741823 <= value <= 1073741823 else None

    def _term(self, each, at: int):
        """The number at register `at` of the answer, as far as `_value` has to bound it."""
        registers = self._registers
        high = registers[at]
        if each.words == 2:
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
            self._unmapped = raw
            return each.map.get(raw)  # a state nobody described cannot be passed on
        return raw + each.offset


def _number(pair: array, kind: int, ratio: tuple):
    """The number in `pair` times the ratio, rounded half away from zero; None if it does not fit a slot."""
    multiplier, divisor = ratio
    if kind == 7:
        return from_float(pair[0], pair[1], multiplier, divisor)
    if kind == 0 or kind == 1:
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
