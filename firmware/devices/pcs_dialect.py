"""What the two SunSpec dialects of an inverter share: blocks that are read now and then, bounds, register writes."""

import time
from array import array

from firmware import image as im
from firmware.devices import sunspec_tables as t
from modbus import ModbusRefused

# What cannot be true: slot, lowest, highest
_BOUNDS = (
    (im.PCS_P, -20000000, 20000000),
    (im.PCS_V, 0, 20000),
    (im.PCS_HZ, 0, 100000),
    (im.PCS_DC_V, 0, 20000),
    (im.PCS_DC_I, -100000, 100000),
    (t.X_TMP_CAB, -1000, 2500),
    (t.X_TMP_SNK, -1000, 2500),
)


class Dialect:
    """One family of SunSpec models.  A subclass adds `place`, `take` and `command`.

    `await place()` finds the family's blocks; `take()` puts the main block's values into the image;
    `await command(watts, run, refresh, asleep)` writes what has changed, or everything on `refresh`.
    """

    def __init__(self, sun, image, options: dict) -> None:
        self.sun = sun
        self.image = image
        self.options = options
        self.main = None  # the block read every period
        self.slow = []  # [block, period in ms, when due, what to do with it]
        self._words = array("H", bytes(12))
        self.forget()

    def take(self) -> None:
        """The main block's values into the image."""
        raise NotImplementedError

    def beating(self, now: int) -> bool:
        """A heartbeat is due."""
        return False

    def forget(self) -> None:
        """Nothing is known of what the PCS was told: everything is written again."""
        self.sent = None  # setpoint as it was written
        self.sent_run = -1

    async def add_slow(self, table: tuple, period_ms: int, take) -> None:
        """Read a block now and every period_ms; one that the device lists but refuses is left out."""
        sun = self.sun
        try:
            block = await sun.block(table)
            if block is not None and await sun.read(block):
                take()
                self.slow.append([block, period_ms, time.ticks_add(time.ticks_ms(), period_ms), take])
        except ModbusRefused as error:
            sun.note(error)

    async def read_main(self) -> None:
        """Read the main block; what cannot be true is counted and goes no further."""
        if await self.sun.read(self.main) and self._plausible():
            self.take()
        else:
            self.sun.count.rejected += 1

    async def read_one_slow(self, now: int) -> None:
        """Read the first slow block that is due, if any."""
        for entry in self.slow:
            if time.ticks_diff(now, entry[2]) < 0:
                continue
            entry[2] = time.ticks_add(now, entry[1])
            try:
                good = await self.sun.read(entry[0]) and self._plausible()
            except ModbusRefused as error:
                self.sun.note(error)
                return
            if good:
                entry[3]()
            else:
                self.sun.count.rejected += 1
            return

    def _plausible(self) -> bool:
        values = self.sun.values
        for slot, low, high in _BOUNDS:
            if values[slot] != im.NO_VALUE and not low <= values[slot] <= high:
                self.sun.count.last_error = "slot %d is %d, allowed %d to %d" % (slot, values[slot], low, high)
                return False
        return True

    def copy(self, slots: tuple) -> None:
        """Values into the image, slot by slot."""
        for slot in slots:
            self.image.inp[slot] = self.sun.values[slot]

    def take_voltage(self) -> None:
        """Line to line; from the phase voltage of a symmetrical three-phase system where only that is measured."""
        values = self.sun.values
        voltage = values[im.PCS_V]
        if voltage == im.NO_VALUE and values[t.X_PHASE_V] != im.NO_VALUE:
            voltage = values[t.X_PHASE_V] * 1732 // 1000
        self.image.inp[im.PCS_V] = voltage

    def take_heat(self) -> None:
        """The hotter of cabinet and heat sink (NO_VALUE is below every temperature)."""
        values = self.sun.values
        self.image.inp[im.PCS_TEMP] = max(values[t.X_TMP_CAB], values[t.X_TMP_SNK])

    def least(self, *slots) -> int:
        """The smallest of the values that there are, NO_VALUE if there is none."""
        least = im.NO_VALUE
        for slot in slots:
            value = self.sun.values[slot]
            if value != im.NO_VALUE and (least == im.NO_VALUE or value < least):
                least = value
        return least

    def put16(self, at: int, value: int) -> None:
        """A number, two's complement, into the words to be written."""
        self._words[at] = value & 0xFFFF

    def put32(self, at: int, value: int) -> None:
        """A 32-bit number, high word first, into the words to be written."""
        self._words[at] = value >> 16 & 0xFFFF
        self._words[at + 1] = value & 0xFFFF

    async def write(self, address: int, count: int) -> None:
        """Write the first `count` words."""
        self.sun.count.frames += 1
        if count == 1:
            await self.sun.client.write_register(self.sun.unit, address, self._words[0])
        else:
            await self.sun.client.write_registers(self.sun.unit, address, self._words, count)


def cut_off(value: int, power: int) -> int:
    """value / 10**power, cut off towards zero: a setpoint is never more than was commanded."""
    size = abs(value)
    if power >= 0:
        size //= 10**power
    else:
        size *= 10**-power
    return size if value >= 0 else -size
