"""What must hold after every cycle of a site of several banks, worked out from the Images and the plant again."""

from typing import Any

from firmware import image as im
from firmware.limits import NAMES
from firmware.modes import Mode
from tools.sim.virtual.banks import VirtualBanks

MOVING = (Mode.IDLE, Mode.CHARGE, Mode.DISCHARGE, Mode.MAINTENANCE)
ROUNDING_W = 1
SHARE = 0.01  # of what a bank may give: so exactly is a power shared
_NEAR = 300  # 0.01 % from floor and ceiling
_CALM_MS = 5000
_GRID_MS = 10000  # after which it counts as there again
_LATE_CYCLES = 2  # a report that is due is seen so much later


class Broken(AssertionError):
    """A rule did not hold; the text says which, with the figures."""


class Rules:
    """`check` after every cycle; `shared` when a site at peace should do what it is asked."""

    def __init__(self, pm: Any, site: VirtualBanks) -> None:
        self._pm = pm
        self._site = site
        self._image = pm.image
        banks = pm.image.banks
        self._banks = list(zip(banks, site.plant.banks, strict=True))
        self._batteries = {node.battery.name: node for node in site.batteries}
        self._was_w = 0
        self._worst_w = 0.0
        self._cycle_ms = pm.config.cycle_ms
        self._grid_ms = 0
        self._calm_ms = 0

    def check(self, dt_ms: int) -> None:
        """Raises Broken."""
        site = self._image.now
        self._sums()
        self._inside("the site", site)
        for image, bank in self._banks:
            self._inside(f"bank {bank.name}", image.now)
            self._heard(image, bank, dt_ms)
            self._charge(image, bank)
        self._ramp(site, dt_ms)
        self._audit(dt_ms)
        self._grid(site, dt_ms)
        self._was_w = site[im.CMD_P]

    def _sums(self) -> None:
        """A command is what its parts make of it, all in one direction."""
        whole = self._image.now[im.CMD_P]
        parts = [image.now[im.CMD_P] for image, _ in self._banks]
        if sum(parts) != whole or any(part * whole < 0 for part in parts):
            raise Broken(f"the site's command is {whole} W, its banks' are {parts}")
        for image, bank in self._banks:
            whole = image.now[im.CMD_P]
            parts = [own.now[im.CMD_P] for own in getattr(image, "inverters", [image])]
            if sum(parts) != whole or any(part * whole < 0 for part in parts):
                raise Broken(f"bank {bank.name}'s command is {whole} W, its inverters' are {parts}")

    def _inside(self, who: str, now: Any) -> None:
        """Inside the limits, and 0 W where the mode moves nothing."""
        watts = now[im.CMD_P]
        if not -now[im.LIMIT_CHG] - ROUNDING_W <= watts <= now[im.LIMIT_DIS] + ROUNDING_W:
            raise Broken(f"{who} is given {watts} W, limits are -{now[im.LIMIT_CHG]} and +{now[im.LIMIT_DIS]} W")
        if watts and now[im.MODE] not in MOVING:
            raise Broken(f"{who} is given {watts} W in {Mode.name(now[im.MODE])}")

    def _heard(self, image: Any, bank: Any, dt_ms: int) -> None:
        """What is not heard moves nothing."""
        slack_s = _LATE_CYCLES * dt_ms / 1000
        config = self._pm.config
        stale_s = 3 * config.bms_period_ms / 1000 + slack_s
        silent_s = max(self._batteries[one.name].silent_s for one in bank.batteries)
        if image.now[im.CMD_P] and silent_s > stale_s:
            raise Broken(f"bank {bank.name} is given {image.now[im.CMD_P]} W, a battery of it is silent for {silent_s:.1f} s")
        stale_s = config.pcs_timeout_ms / 1000 + slack_s
        for own, node in zip(self._image_of_inverters(image), self._nodes(bank), strict=True):
            if own.now[im.CMD_P] and node.silent_s > stale_s:
                watts = own.now[im.CMD_P]
                raise Broken(f"an inverter of bank {bank.name} is given {watts} W and is silent for {node.silent_s:.1f} s")

    def _image_of_inverters(self, image: Any) -> Any:
        return getattr(image, "inverters", [image])

    def _nodes(self, bank: Any) -> list[Any]:
        return [node for node, one in zip(self._site.inverters, self._site.plant.inverters, strict=True) if one in bank.inverters]

    def _charge(self, image: Any, bank: Any) -> None:
        """Nothing discharges at the floor, nothing charges at the ceiling."""
        now, par = image.now, image.par
        watts = now[im.CMD_P]
        if watts > 0 and now[im.SOC_LOW] <= par[im.PAR_SOC_MIN]:
            raise Broken(f"bank {bank.name} discharges {watts} W at {now[im.SOC_LOW] / 100} %")
        if watts < 0 and now[im.SOC_HIGH] >= par[im.PAR_SOC_MAX]:
            raise Broken(f"bank {bank.name} charges {watts} W at {now[im.SOC_HIGH] / 100} %")

    def _ramp(self, now: Any, dt_ms: int) -> None:
        """The sum rises as fast as the site's ramp allows, and passes through 0."""
        watts, was = now[im.CMD_P], self._was_w
        most = self._pm.config.ramp_up * dt_ms + ROUNDING_W  # kW/s x ms
        if watts * was < 0 or abs(watts) - abs(was) > most:
            raise Broken(f"the site's command goes from {was} to {watts} W in {dt_ms} ms, at most {most:.0f} W up")

    def _grid(self, now: Any, dt_ms: int) -> None:
        """A grid that is there, and metered, is seen, whichever inverter is off or silent."""
        node = self._site.meter
        there = self._site.plant.grid_present and node is not None and not node.link.silent and not node.link.frozen
        self._grid_ms = self._grid_ms + dt_ms if there and not any(one.link.frozen for one in self._site.inverters) else 0
        if min(self._grid_ms - _GRID_MS, self._calm_ms - _CALM_MS) > 0 and not now[im.GRID_OK]:
            raise Broken(f"the grid is there for {self._grid_ms / 1000:g} s, and metered, and is not seen")

    def _audit(self, dt_ms: int) -> None:
        """The auditor allows for the ordinary cycle: what a longer one has delayed is not judged, nor what follows from it."""
        worst = self._site.auditor.worst_violation_w
        self._calm_ms = 0 if dt_ms > self._cycle_ms else self._calm_ms + dt_ms
        if self._calm_ms < _CALM_MS:
            self._worst_w = worst
        elif worst > self._worst_w:
            raise Broken(f"the auditor finds {worst:.0f} W too much: {self._site.auditor.worst_text}")

    def shared(self, kw: float) -> bool:
        """Whether the site does what is asked, each bank in proportion to what it may; nothing only one that is empty or full."""
        watts = round(abs(kw) * 1000)
        sign, slot = (1, im.LIMIT_DIS) if kw > 0 else (-1, im.LIMIT_CHG)
        images = [image for image, _ in self._banks]
        limits = [image.now[slot] for image in images]
        if any(not limit and not _spent(image, sign) for image, limit in zip(images, limits, strict=True)):
            return False
        whole = min(watts, sum(limits))
        if abs(sign * self._image.now[im.CMD_P] - whole) > SHARE * watts:
            return False
        return all(
            abs(sign * image.now[im.CMD_P] - whole * limit / sum(limits)) <= SHARE * limit + ROUNDING_W
            for image, limit in zip(images, limits, strict=True)
            if limit
        )

    def words(self) -> str:
        """The figures of now."""
        now = self._image.now
        banks = ", ".join(f"{bank.name} {_bank_words(image.now)}" for image, bank in self._banks)
        return f"{_bank_words(now)}; {banks}; {self._pm.stats()['reason']}"


def _spent(image: Any, sign: int) -> bool:
    """Whether a bank has nothing more to give (1), or to take (-1)."""
    if sign > 0:
        return bool(image.now[im.SOC_LOW] <= image.par[im.PAR_SOC_MIN] + _NEAR)
    return bool(image.now[im.SOC_HIGH] >= image.par[im.PAR_SOC_MAX] - _NEAR)


def _bank_words(now: Any) -> str:
    charge, discharge = NAMES[now[im.WHY_CHG]], NAMES[now[im.WHY_DIS]]
    limits = f"-{now[im.LIMIT_CHG]} ({charge}) to {now[im.LIMIT_DIS]} W ({discharge})"
    return f"{Mode.name(now[im.MODE])} {now[im.CMD_P]} in {limits} at {now[im.SOC_LOW]}..{now[im.SOC_HIGH]}"
