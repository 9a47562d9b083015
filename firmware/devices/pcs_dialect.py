"""What the two SunSpec dialects of an inverter share: blocks that are read now and then, register writes."""

import time
from array import array

from firmware import image as im
from firmware.devices import sunspec_tables as t
from modbus import ModbusRefused


class Dialect:
    """One family of SunSpec models.  A subclass adds `place`, `take`, `command` and `beating`.

    `await place()` finds the family's blocks; `take()` puts the main block's values into the image;
    `await command(watts, run, refresh, asleep)` writes what has changed, or everything on `refresh`;
    `beating(now)`: a heartbeat is due.
    """

    def __init__(self, sun, image, options: dict) -> None:
        self.sun = sun
        self.image = image
        self.options = options
        self.main = None  # the block read every period
        self.slow = []  # [block, period in ms, when due, what to do with it]
        self._words = array("H", bytes(12))  # to be written
        self.forget()

    def forget(self) -> None:
        """Nothing is known of what the PCS was told: everything is written again."""
        self.sent = None  # setpoint as it was written
        self.sent_run = -1

    async def read_one_slow(self, now: int) -> None:
        """Read the first slow block that is due, if any."""
        for entry in self.slow:
            if time.ticks_diff(now, entry[2]) >= 0:
                entry[2] = time.ticks_add(now, entry[1])
                try:
                    if await self.sun.read(entry[0]):
                        entry[3]()
                except ModbusRefused as error:
                    self.sun.note(error)
                return

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

    async def write(self, address: int, *values) -> None:
        """Write numbers, two's complement, one to a register (of a longer one the higher bits: value >> 16)."""
        sun = self.sun
        words = self._words
        sun.count.frames += 1
        for i in range(len(values)):
            words[i] = values[i] & 0xFFFF
        if len(values) == 1:
            await sun.client.write_register(sun.unit, address, words[0])
        else:
            await sun.client.write_registers(sun.unit, address, words, len(values))


def cut_off(value: int, power: int) -> int:
    """value / 10**power, cut off towards zero: a setpoint is never more than was commanded."""
    size = abs(value)
    if power >= 0:
        size //= 10**power
    else:
        size *= 10**-power
    return size if value >= 0 else -size
