"""The manager and the simulated pack joined in virtual time, for tests of what the loop does to a battery."""

from typing import Any, NamedTuple

from firmware import image as im
from firmware.config import PowerConfig
from firmware.event_codes import Event
from firmware.limits import NAMES
from firmware.manager import PowerManager
from firmware.modes import Mode
from tools.sim.virtual.site import VirtualSite


class Sample(NamedTuple):
    """One cycle, as the plant truly was and as the manager had decided."""

    s: float
    command_w: int
    power_w: float
    voltage_v: float
    current_a: float
    soc_pct: float
    grid_w: float
    why_dis: str
    why_chg: str
    mode: int


class Loop:
    """A started site.  Keyword arguments: fields of PowerConfig, and with `site_` in front options of the plant."""

    def __init__(
        self, soc: float, cycle_ms: int = 100, noise: float = 0.0, meter: bool = True, seed: int = 1, **given: Any
    ) -> None:
        power = {key: value for key, value in given.items() if not key.startswith("site_")}
        options = {key[5:]: value for key, value in given.items() if key.startswith("site_")}
        config = PowerConfig(cycle_ms=cycle_ms, **power)
        has = im.HAS_BMS | im.HAS_PCS | im.HAS_IO | (im.HAS_METER if meter else 0)
        self.pm = PowerManager(config, None, has)
        self.now = self.pm.image.now
        self.site = VirtualSite(
            self.pm.image, power, seed, meter, soc=soc, soc_rounding=config.soc_rounding, measurement_noise=noise, **options
        )
        self.plant = self.site.plant
        self.cycle_ms = cycle_ms
        self.ms = 0
        self.events: list[tuple[float, str, int]] = []
        self.pm.register_callback(Event.ALL, self._heard)
        self.pm.start()
        self.run(3.0)
        assert self.pm.mode in (Mode.IDLE, Mode.CHARGE, Mode.DISCHARGE), self.pm.stats()

    def _heard(self, event: int, data: int, _user: object) -> None:
        self.events.append((self.ms / 1000, Event.name(event), data))

    def step(self, ms: int = 0) -> None:
        """The plant lives for one cycle's length, then the cycle runs."""
        ms = ms or self.cycle_ms
        self.site.step(ms / 1000)
        self.ms += ms
        self.pm.cycle(self.ms)
        while self.pm.events.dispatch():
            pass

    def sample(self) -> Sample:
        """This instant."""
        plant, now = self.plant, self.now
        return Sample(
            self.ms / 1000, now[im.CMD_P], plant.pcs.power_w, plant.pack.voltage_v, plant.pack.current_a, plant.pack.soc * 100,
            plant.grid_w, NAMES[now[im.WHY_DIS]], NAMES[now[im.WHY_CHG]], now[im.MODE],
        )  # fmt: skip

    def run(self, seconds: float) -> list[Sample]:
        """So many seconds; a sample of every cycle."""
        samples = []
        for _ in range(round(seconds * 1000 / self.cycle_ms)):
            self.step()
            samples.append(self.sample())
        return samples

    def run_until(self, event: str, at_most_s: float) -> list[Sample]:
        """Until the event comes; fails if it does not."""
        samples = []
        seen = self.happened(event)
        while self.happened(event) == seen:
            self.step()
            samples.append(self.sample())
            assert samples[-1].s - samples[0].s < at_most_s, f"no {event} in {at_most_s} s; stats: {self.pm.stats()}"
        return samples

    def happened(self, event: str) -> int:
        """How often an event has come."""
        return sum(1 for _, name, _ in self.events if name == event)

    def faults(self) -> list[str]:
        """Names of the active faults."""
        return self.pm.stats()["faults"]


def turns(values: list[float], least: float) -> int:
    """How often a series turns round by more than `least`: what a limit cycle does for ever and a taper never."""
    count, extreme, direction = 0, values[0], 0
    for value in values:
        if direction >= 0 and value < extreme - least:
            count += direction > 0
            direction, extreme = -1, value
        elif direction <= 0 and value > extreme + least:
            count += direction < 0
            direction, extreme = 1, value
        elif (direction >= 0 and value > extreme) or (direction <= 0 and value < extreme):
            extreme = value
    return count
