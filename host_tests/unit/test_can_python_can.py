"""The whole way: python-can and cantools as the battery, a wire, an emulated controller chip, our CAN and BMS drivers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import can
import cantools
import pytest

import canbus
from firmware import image as im
from firmware.devices import bms_pylontech
from host_tests.both import bms as pack
from host_tests.unit.can_rigs import McpRig, Rig, TwaiRig
from tools.generate import gen_dbc
from tools.sim.chips import wire
from tools.sim.chips.station import PythonCan

pytestmark = pytest.mark.slow

RIGS: dict[str, Callable[[], Rig]] = {
    "esp32": lambda: TwaiRig("esp32"),
    "esp32s3": lambda: TwaiRig("esp32s3"),
    "mcp2515": McpRig,
}
_channels = count()


class Battery:
    """A high-voltage pack written with python-can and cantools: answers polls in a burst, as packs do."""

    def __init__(self, bus: can.BusABC) -> None:
        self.bus = bus
        self.database = cantools.database.load_string(gen_dbc.dbc("hv"), "dbc")
        self.values: dict[str, float] = {
            "BMS_V": 648.3, "BMS_I": -42.5, "BMS_TEMP": 27.5, "BMS_SOC": 61, "BMS_SOH": 98, "BMS_V_MAX": 702.0,
            "BMS_V_MIN": 546.0, "BMS_I_CHG": 160.0, "BMS_I_DIS": 165.0, "CELL_V_MAX": 3341, "CELL_V_MIN": 3329,
            "CELL_T_MAX": 29.0, "CELL_T_MIN": 26.5, "BMS_STATUS": 1,
        }  # fmt: skip
        self.polls = 0

    def answer(self) -> None:
        """Answer what has been asked since the last call."""
        while (message := self.bus.recv(0)) is not None:
            if message.is_extended_id and message.arbitration_id == 0x4200 and message.data[0] == 0:
                self.polls += 1
                for row in self.database.messages:  # type: ignore[union-attr]
                    told = {signal.name: self.values.get(signal.name, 0) for signal in row.signals}
                    data = row.encode(told, strict=False)
                    self.bus.send(can.Message(arbitration_id=row.frame_id, data=data, is_extended_id=True))


class Site:
    """A rig, a python-can bus joined to its wire, the battery on it, and our drivers on the chip."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        rig.peer.present = False
        channel = f"site{next(_channels)}"
        self.adapter = can.Bus(interface="virtual", channel=channel)
        self.bridge = PythonCan(self.adapter)
        rig.wire.join(self.bridge)
        self.battery = Battery(can.Bus(interface="virtual", channel=channel))
        self.bus = canbus.Bus(rig.can)
        self.image = im.Image()
        self.device = bms_pylontech.Device("bms", pack.options(period_ms=100), self.image, {"can0": self.bus})

    async def _wire(self) -> None:
        """Let the wire's time be the real one."""
        begun = time.monotonic()
        start = self.rig.wire.now_us
        while True:
            self.bridge.pump()
            self.rig.wire.run_us(max(0, (time.monotonic() - begun) * 1e6 - (self.rig.wire.now_us - start)))
            self.battery.answer()
            await asyncio.sleep(0.001)

    async def until(self, true: Callable[[], bool], seconds: float = 30.0) -> None:
        """Wait for it."""
        async with asyncio.timeout(seconds):
            while not true():
                await asyncio.sleep(0.01)

    def play(self, story: Callable[[], Any]) -> None:
        """Run drivers and wire while the story goes on."""

        async def run() -> None:
            tasks = [asyncio.create_task(job) for job in (self._wire(), self.bus.run(), self.device.run())]
            try:
                await story()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

        try:
            asyncio.run(run())
        finally:
            self.adapter.shutdown()
            self.battery.bus.shutdown()


@pytest.fixture(params=sorted(RIGS))
def site(request: pytest.FixtureRequest) -> Site:
    """One for each controller."""
    return Site(RIGS[request.param]())


def test_the_image_holds_what_the_battery_says(site: Site) -> None:
    async def story() -> None:
        await site.until(lambda: site.image.inp[im.SEQ_BMS_FLAGS] >= 3)

    site.play(story)
    scale = {"V": 10, "A": 10, "degC": 10, "%": 100, "mV": 1}
    for row in site.battery.database.messages:  # type: ignore[union-attr]
        for signal in row.signals:
            if signal.unit is not None:
                wanted = round(site.battery.values[signal.name] * scale[signal.unit])
                assert site.image.inp[getattr(im, signal.name)] == wanted, signal.name
    assert site.image.inp[im.BMS_STATUS] == 1
    counters = site.bus.counters()
    assert counters["overruns"] == 0 and counters["handler_errors"] == 0 and counters["state"] == site.rig.can.STATE_ACTIVE
    assert site.device.rejected == 0 and site.device.timeouts == 0
    site.rig.sane()


def test_damaged_frames_are_repeated_and_a_broken_wire_is_survived(site: Site) -> None:
    async def story() -> None:
        await site.until(lambda: site.image.inp[im.SEQ_BMS] >= 2)
        site.rig.wire.faults = [wire.IN_DATA, 0, 0, wire.IN_CRC, 0, wire.IN_ID] * 3
        heard = site.image.inp[im.SEQ_BMS]
        await site.until(lambda: site.image.inp[im.SEQ_BMS] >= heard + 2)
        site.bridge.present = False  # the cable is pulled: nobody acknowledges
        site.rig.wire.silent_ack = True
        await site.until(lambda: site.device.timeouts >= 2)
        site.rig.wire.silent_ack = False
        site.bridge.present = True
        heard = site.image.inp[im.SEQ_BMS]
        await site.until(lambda: site.image.inp[im.SEQ_BMS] >= heard + 2)

    site.play(story)
    assert all(site.image.inp[slot] != im.NO_VALUE for slot in (im.BMS_V, im.BMS_I, im.CELL_V_MAX))
    assert site.image.inp[im.CELL_V_MAX] == 3341
    assert site.device.rejected == 0, "what arrives has passed the CRC"
    site.rig.sane()


def test_bus_off_is_left_by_itself(site: Site) -> None:
    async def story() -> None:
        await site.until(lambda: site.image.inp[im.SEQ_BMS] >= 2)
        site.rig.wire.faults = [wire.IN_DATA] * 60  # everything anybody sends is destroyed
        await site.until(lambda: site.bus.bus_off >= 1 or not site.rig.wire.faults)
        site.rig.wire.faults = []
        site.bridge.errors.off = False
        site.bridge.errors.tec = 0
        heard = site.image.inp[im.SEQ_BMS]
        site.rig.wire.request()
        await site.until(lambda: site.image.inp[im.SEQ_BMS] >= heard + 2)

    site.play(story)
    assert site.bus.counters()["state"] != site.rig.can.STATE_BUS_OFF
