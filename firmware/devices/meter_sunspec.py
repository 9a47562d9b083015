"""The meter at the point of connection behind a SunSpec meter model: 201 to 204 (integers), 211 to 214 (floats).

SunSpec's sign is ours: positive is import from the grid.  `reversed` turns it for current transformers that
were mounted the other way round.
"""

import asyncio
import time

from micropython import const
from notice import say

from firmware import image as im
from firmware.devices import sunspec_tables as t
from firmware.devices.sunspec import CONNECTION_OPTIONS, NotSunSpec, SunSpec, open_client
from modbus import ModbusError, ModbusRefused

_OWN_OPTIONS = (
    ("period_ms", "int", 100, 20, 5000, "ms between measurements"),
    ("reversed", "bool", False, 0, 0, "the current transformers face the other way: turn the sign of power"),
)
OPTIONS = (CONNECTION_OPTIONS, _OWN_OPTIONS)

_RETRY_MS = const(200)  # after a discovery that failed
_LOST_MS = const(10000)  # without a measurement, after which the device is discovered anew: it may be another one

# What cannot be true: slot, lowest, highest
_BOUNDS = (
    (im.METER_P, -200000000, 200000000),
    (im.METER_V, 0, 1000000),
    (im.METER_I, -1000000, 1000000),
    (im.METER_HZ, 0, 100000),
)


class Device:
    """One meter.  `sun`: the SunSpec side of it; `found`: what discovery said."""

    def __init__(self, name: str, options: dict, image, buses: dict) -> None:  # rare
        self.name = name
        self.found = ""
        self.model = 0
        self.sun = SunSpec(open_client(name, options, buses), options["unit"])
        self._period_ms = options["period_ms"]
        self._reversed = options["reversed"]
        self._image = image

    async def run(self) -> None:
        """Work for ever; whatever happens on the wire is counted, and tried again."""
        while True:
            try:
                await self._measure(await self._discover())
            except ModbusError as error:
                self.sun.note(error)
            await asyncio.sleep_ms(_RETRY_MS)

    def counters(self) -> dict:
        """Counts of this device since boot."""
        return self.sun.count.as_dict()

    async def _discover(self):  # rare
        sun = self.sun
        await sun.discover()
        if sun.found() != self.found:
            self.found = sun.found()
            say("%s: %s" % (self.name, self.found))
        for self.model in sun.chain:
            block = None
            if 201 <= self.model <= 204:
                block = await sun.block(t.METER_INT, self.model)
            elif 211 <= self.model <= 214:
                block = await sun.block(t.METER_FLOAT, self.model)
            if block is not None:
                return block
        raise ModbusError("%s has no meter model" % self.name)

    async def _measure(self, block) -> None:
        """Read until the map is no longer where it was, or the device has been away for long."""
        heard = time.ticks_ms()
        while True:
            begun = time.ticks_ms()
            try:
                if await self.sun.read(block) and self._plausible():
                    self._take()
                else:
                    self.sun.count.rejected += 1
                heard = begun
            except (NotSunSpec, ModbusRefused):
                raise  # the map has moved: it is another device, or another firmware in it
            except ModbusError as error:
                self.sun.note(error)
                if time.ticks_diff(begun, heard) > _LOST_MS:
                    return
            spent = time.ticks_diff(time.ticks_ms(), begun)
            await asyncio.sleep_ms(max(1, self._period_ms - spent))

    def _plausible(self) -> bool:
        values = self.sun.values
        for slot, low, high in _BOUNDS:
            if values[slot] != im.NO_VALUE and not low <= values[slot] <= high:
                self.sun.count.last_error = "slot %d is %d, allowed %d to %d" % (slot, values[slot], low, high)
                return False
        return values[im.METER_P] != im.NO_VALUE  # a meter without power is none

    def _take(self) -> None:
        values = self.sun.values
        inp = self._image.inp
        inp[im.METER_P] = -values[im.METER_P] if self._reversed else values[im.METER_P]
        voltage = values[im.METER_V]
        if voltage == im.NO_VALUE and values[t.X_PHASE_V] != im.NO_VALUE:
            voltage = values[t.X_PHASE_V]
            if self.model % 10 != 1:  # all but single phase: line to line, of a symmetrical three-phase system
                voltage = voltage * 1732 // 1000
        inp[im.METER_V] = voltage
        inp[im.METER_I] = values[im.METER_I]
        inp[im.METER_HZ] = values[im.METER_HZ]
        self._image.heard(im.SEQ_METER)
