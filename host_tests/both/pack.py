"""A plant whose battery is what a BMS sends on CAN: frames through the real driver, in virtual time.

`send` holds the frames of a second (id: bytes, None for silence), `every_ms` how often they are sent; change them as
the story goes.  Charge and power are the plant's own: `soc` and `volts` only show where a test sends them.
"""

import canbus
from firmware import image as im
from firmware.config import PowerConfig
from firmware.devices import bms_pylontech, can_tables
from host_tests.both import bms
from host_tests.both.fakecan import FakeCAN
from host_tests.both.plant import ALL, Plant

BATTERY = (im.SEQ_BMS, im.SEQ_BMS_LIMITS, im.SEQ_BMS_CELLS, im.SEQ_BMS_TEMPS, im.SEQ_BMS_FLAGS)
LV_SITE = {
    "module_count": 1,
    "cells_per_module": 16,
    "module_energy": 10,
    "system_voltage_nominal": 51.2,
    "max_charge_power": 5,
    "max_discharge_power": 5,
    "internal_resistance": 0.02,
}


class Clock:
    """In the place of the driver's `time`: the plant's milliseconds."""

    def __init__(self):
        self.ms = 0

    def ticks_ms(self):
        return self.ms & 0x3FFFFFFF

    def ticks_diff(self, a, b):
        return ((a - b + 0x20000000) & 0x3FFFFFFF) - 0x20000000


def unhex(frames):
    """{id: bytes} of texts "355#03006400"."""
    found = {}
    for text in frames:
        can_id, data = text.split("#")
        found[int(can_id, 16)] = bytes([int(data[i : i + 2], 16) for i in range(0, len(data), 2)])
    return found


def hexed(value, signed=True):
    """A number as two bytes, lowest first."""
    return "%02X%02X" % (value & 255, value >> 8 & 255)


class Pack(Plant):
    """A site with a low-voltage ("lv") or high-voltage ("hv") battery on a CAN bus."""

    def __init__(self, variant="lv", has=ALL, options=None, **config):
        self.clock = can_tables.time = Clock()
        site = dict(LV_SITE) if variant == "lv" else {}
        site.update(config)
        super().__init__(has, **site)
        self.variant = variant
        self.can = FakeCAN(depth=100)
        self.can.set_filters(None)
        self.bus = canbus.Bus(self.can)
        given = bms.options(variant=variant, **(options or {}))
        self.driver = bms_pylontech.Device("bms", given, self.image, {"can0": self.bus})
        self.silent = set(BATTERY)  # the plant's own battery says nothing
        self.send = {}
        self.every_ms = 1000
        self.follow = True  # voltage and current are sent as the plant has them
        self.percent = None  # the SoC that is sent, if not the one in `send`
        self.load = 2000
        self._since_ms = self.every_ms
        self._noise = 0
        if variant == "lv":
            self.volts = 53.0
            self.ordinary()
        else:
            self.send = dict(bms.FRAMES[:8])

    def ordinary(self):
        """The healthy set of the low-voltage protocol."""
        self.send = unhex(
            ("351#3002E803E803C001", "355#39006400", "356#B4140000FA00", "359#0000000001504E", "35C#C000")
        )

    def says(self, *frames):
        """From now on these frames (texts) are sent instead of those with the same id."""
        self.send.update(unhex(frames))

    def dc_amps(self):
        """0.1 A, + discharge."""
        return int(self.dc_watts() / self.volts * 10)

    def _bms(self, inp, volts, amps):
        """Nothing: the driver writes these slots."""

    def _pcs(self, inp, volts, amps):
        super()._pcs(inp, volts, amps)
        inp[im.PCS_P_CHG] = inp[im.PCS_P_DIS] = 120000

    def cycle(self, dt=50):
        self.clock.ms += dt
        self._since_ms += dt
        if self._since_ms >= self.every_ms:
            self._since_ms -= self.every_ms
            self.speak()
        super().cycle(dt)

    def speak(self):
        """One set of frames on the bus."""
        self._noise ^= 1
        for can_id in sorted(self.send):
            data = self.send[can_id]
            if data is None:
                continue
            if callable(data):
                data = data()
            elif self.follow and can_id == 0x356:
                data = self._measured_lv(data)
            elif self.follow and can_id == 0x4210:
                data = self._measured_hv(data)
            if can_id == 0x355 and self.percent is not None:
                data = bytes([self.percent]) + data[1:]
            self.can.arrive(can_id, data, extended=self.variant == "hv")
        while self.bus.drain():
            pass

    def _measured_lv(self, data):
        raw = hexed(int(self.volts * 100) + self._noise) + hexed(-self.dc_amps())
        return bytes([int(raw[i : i + 2], 16) for i in (0, 2, 4, 6)]) + data[4:]

    def _measured_hv(self, data):
        raw = hexed(int(self.volts * 10) + self._noise) + hexed(30000 - self.dc_amps())
        return bytes([int(raw[i : i + 2], 16) for i in (0, 2, 4, 6)]) + data[4:]

    def limit(self):
        """(discharge kW, charge kW) now."""
        stats = self.pm.stats()
        return stats["limit_discharge"], stats["limit_charge"]

    def details(self):
        """{active fault: its detail}."""
        return {fault["name"]: fault.get("detail", "") for fault in self.pm.faults() if fault["active"]}


def config_of(variant, **more):
    """The PowerConfig that a Pack of this variant has."""
    site = dict(LV_SITE) if variant == "lv" else {}
    site.update(more)
    return PowerConfig(**site)
