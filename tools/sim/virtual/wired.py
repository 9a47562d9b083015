"""The site in virtual time with its inverter and meter on Modbus: the board's own drivers stand between them and the image.

What lies between a register and the image (scale factors, busy devices, several requests to one measurement) is played
here; everything else is VirtualSite's.
"""

import random
from collections import deque
from typing import Any

import notice

from firmware import image as im
from firmware.devices import meter_sunspec, pcs_sunspec
from tools.sim.devices.meter_device import MeterDevice
from tools.sim.devices.pcs_device import PcsDevice
from tools.sim.devices.sunspec_server import SunSpecServer
from tools.sim.faults import WireFaults
from tools.sim.virtual.clock import VirtualLoop
from tools.sim.virtual.peer import Line
from tools.sim.virtual.site import VirtualSite

_PIECE_S = 0.05  # the plant's step while the drivers talk
TRUTH_S = 1.5  # how long ago a value may have been true that the image holds
# scale factors that change, with powers of ten at which no value of this site is cut off
FACTORS = {
    "701.W_SF": (1, 2), "701.Hz_SF": (-3, -2), "701.V_SF": (-1, 0), "702.W_SF": (1, 2), "704.WSet_SF": (-1, 0, 1),
    "714.DCW_SF": (1, 2), "714.DCV_SF": (-1, 0), "203.W_SF": (1, 2), "203.V_SF": (-1, 0),
}  # fmt: skip


def _options(rows: Any, **given: Any) -> dict[str, Any]:
    """A device's options as a site file with `given` alone would have them."""
    options = {row[0]: row[2] for part in rows for row in part}
    return {**options, **given}


class WiredSite(VirtualSite):
    """`pcs_line`, `meter_line`: what happens to the requests; `truth`: what was true lately."""

    playable = (*VirtualSite.playable, "slow_pcs")

    def __init__(self, image: Any, power: dict[str, Any], seed: int, meter: bool, pv: bool, ticks: int, **options: Any) -> None:
        """As VirtualSite; ticks: the board's clock when it begins."""
        super().__init__(image, power, seed, meter, pv, **options)
        notice.sink = lambda text: None
        rng = random.Random(seed + 29)
        self.loop = VirtualLoop(ticks)
        self.truth: deque[tuple[float, float, float]] = deque()  # (s, W of the inverter, W at the meter)
        self.commands: deque[tuple[float, int]] = deque()  # (s, W commanded)
        self.response_s = 0.8
        self.written: list[tuple[float, list[int]]] = []  # W that came to the inverter, with what was commanded lately
        self._pcs = PcsDevice(self.plant, self._was_written, rng)
        server = SunSpecServer(self._pcs.chain, WireFaults(rng), self._pcs.refresh, self._pcs.written)
        self.pcs_line = Line(server, rng, 0.01, self._time_s)
        longest = rng.choice((20, 60, 125))
        given = {"bus": "pcs", "period_ms": rng.choice((50, 100, 200)), "longest_read": longest}
        buses = {"pcs": self.pcs_line}
        self.pcs_driver = pcs_sunspec.Device("pcs", _options(pcs_sunspec.OPTIONS, **given), image, buses)
        self.loop.start(self.pcs_driver.run())
        for part in self.pcs_driver.parts.values():
            self.loop.start(part.run())
        self.meter_line: Line | None = None
        if meter:
            device = MeterDevice(self.plant, 203, rng)
            server = SunSpecServer(device.chain, WireFaults(rng), device.refresh)
            self.meter_line = Line(server, rng, 0.01, self._time_s)
            given = {"bus": "meter", "longest_read": rng.choice((11, 60, 125))}
            driver = meter_sunspec.Device("meter", _options(meter_sunspec.OPTIONS, **given), image, {"meter": self.meter_line})
            self.meter_driver = driver
            self.loop.start(driver.run())
        self._switches.parts["pcs"] = self.pcs_line.server.faults
        if self.meter_line is not None:
            self._switches.parts["meter"] = self.meter_line.server.faults

    def _time_s(self) -> float:
        return self.plant.time_s

    def measured_s(self, seq: int) -> float:
        """As VirtualSite's; what comes over Modbus was measured when it should have arrived."""
        if seq == im.SEQ_PCS:
            return self.pcs_line.read_s
        if seq == im.SEQ_METER and self.meter_line is not None:
            return self.meter_line.read_s
        return super().measured_s(seq)

    def _was_written(self, watts: float) -> None:
        self.written.append((watts, [given for _, given in self.commands]))

    def end(self) -> None:
        """Let go of the loop."""
        self.loop.end()

    def busy(self, share: float, codes: tuple[int, ...]) -> None:
        """From now on a share of all requests is answered with one of these exceptions."""
        for line in (self.pcs_line, self.meter_line):
            if line is not None:
                line.busy_share = share
                line.busy_codes = codes

    def rescale(self, factor: str, power: int) -> None:
        """A scale factor changes between two of the requests that follow."""
        line = self.meter_line if factor.startswith("203.") else self.pcs_line
        if line is not None:
            line.rescale(factor, power)

    def break_point(self, name: str, raw: int) -> None:
        """A sensor of inverter or meter breaks: from now on `raw` stands in its registers."""
        line = self.meter_line if name.startswith("203.") else self.pcs_line
        if line is not None:
            line.broken[name] = raw

    def mend_points(self) -> None:
        """Every sensor works again."""
        for line in (self.pcs_line, self.meter_line):
            if line is not None:
                line.broken.clear()

    def _obey(self) -> None:
        now = self.image.now
        self.plant.contactor_wanted = now[im.CMD_CONTACTOR] == 1
        self.commands.append((self.loop.time(), now[im.CMD_P] if now[im.CMD_RUN] == 1 else 0))

    def _pass(self, dt_s: float) -> None:
        left = dt_s
        while True:
            piece = min(left, _PIECE_S)
            self._live(piece)
            self.loop.run_for(piece)
            left -= piece
            if left <= 1e-9:
                return

    def _hold_up(self, dt_s: float) -> None:
        self._live(dt_s)
        self.loop.skip(dt_s)

    def _live(self, dt_s: float) -> None:
        plant = self.plant
        truth, commands, now_s = self.truth, self.commands, self.loop.time()
        while truth and truth[0][0] < now_s - TRUTH_S:
            truth.popleft()
        while len(commands) > 1 and commands[1][0] < now_s - TRUTH_S:
            commands.popleft()  # the one before is what was in force when the time began
        truth.append((now_s, plant.pcs.power_w, plant.grid_w))
        plant.step(dt_s)
        truth.append((now_s + dt_s, plant.pcs.power_w, plant.grid_w))

    def _write_pcs(self, frozen: bool) -> None:
        """The driver does it."""

    def _write_meter(self, frozen: bool) -> None:
        """The driver does it."""
