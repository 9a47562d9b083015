"""The meter at the point of connection behind a SunSpec meter model: 201 to 204 (integers), 211 to 214 (floats).

SunSpec's sign is ours: positive is import from the grid.  `reversed` turns it for current transformers that
were mounted the other way round.
"""

import asyncio

from micropython import const
from notice import say

from firmware import image as im
from firmware.devices import sunspec_tables as t
from firmware.devices.connection import CONNECTION_OPTIONS, open_client
from firmware.devices.sunspec import LONGEST_READ, SunSpec, measure
from modbus import ModbusError

_OWN_OPTIONS = (
    ("period_ms", "int", 100, 20, 5000, "ms between measurements"),
    ("reversed", "bool", False, 0, 0, "the current transformers face the other way: turn the sign of power"),
)
OPTIONS = (CONNECTION_OPTIONS, _OWN_OPTIONS)

_RETRY_MS = const(200)  # after a discovery that failed

_BOUNDS = (  # what can be true: slot, lowest, highest; one flat tuple, as a row of its own takes 32 bytes
    im.METER_P, -200000000, 200000000,
    im.METER_V, 0, 1000000,
    im.METER_I, -1000000, 1000000,
    im.METER_HZ, 0, 100000,
)  # fmt: skip


class Device:
    """One meter.  `sun`: the SunSpec side of it; `found`: what discovery said."""

    def __init__(self, name: str, options: dict, image, buses: dict) -> None:
        self.name = name
        self.found = ""
        self.model = 0
        self.sun = SunSpec(open_client(name, options, buses, LONGEST_READ), options["unit"], _BOUNDS)
        self._period_ms = options["period_ms"]
        self._reversed = options["reversed"]
        self._image = image
        self._block = None  # where its measurement is

    async def run(self) -> None:
        """Work for ever; whatever happens on the wire is counted, and tried again."""
        while True:
            try:
                await self._discover()
                await measure(self.sun, self._read, self._period_ms)
            except ModbusError as error:
                self.sun.note(error)
            await asyncio.sleep_ms(_RETRY_MS)

    def counters(self) -> dict:
        """Counts of this device since boot."""
        return self.sun.count.as_dict()

    async def _discover(self) -> None:
        sun = self.sun
        await sun.discover()
        if sun.found() != self.found:
            self.found = sun.found()
            say("%s: %s" % (self.name, self.found))
        self._block = None
        for self.model in sun.chain:
            if 201 <= self.model <= 204:
                self._block = await sun.block(t.METER_INT, self.model)
            elif 211 <= self.model <= 214:
                self._block = await sun.block(t.METER_FLOAT, self.model)
            if self._block is not None:
                sun.forget()
                return
        raise ModbusError("%s has no meter model" % self.name)

    async def _read(self, _now: int) -> None:
        """One measurement into the image.  A meter without power is none."""
        if not await self.sun.read(self._block):
            return
        if self.sun.values[im.METER_P] == im.NO_VALUE:
            self.sun.count.rejected += 1
            return
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
