"""The soak of several banks: `python -m tools.soak.several --seeds 5 --cycles 1000000`, with 1 to 4 batteries and inverters.

Every era is a new site: banks of one or two batteries and inverters, their powers, sizes and charges, and the cycle's length.
Devices fall silent, freeze, fail and come back one by one; people ask, stop, bound and restart.  After every cycle the rules of
several_rules.py hold, and at the end of an era a mended site must share what is asked of it.  A failure names seed, era and
cycle, and repeats.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from typing import Any

from host_tests import shims

shims.install()

from firmware import image as im  # noqa: E402
from firmware.config import PowerConfig  # noqa: E402
from firmware.errors import PowerError  # noqa: E402
from firmware.manager import PowerManager  # noqa: E402
from tools.sim.physics.banks import MOST, BankLayout  # noqa: E402
from tools.sim.virtual.banks import VirtualBanks  # noqa: E402
from tools.soak.several_rules import Broken, Rules  # noqa: E402

ERA_CYCLES = 4000
_TICKS = (1 << 30) - 1
_SETTLE_S = 700.0  # a mended site starts again within this: waits after trips, 11 minutes where the BMS and the count have parted
_SHARE_S = 20.0  # and holds what is asked of it for so long
_FAULTS = (  # in a device
    "bms_silent", "bms_frozen", "pcs_silent", "pcs_frozen", "pcs_refuses", "pcs_fault", "cell_over_voltage", "over_temperature",
)  # fmt: skip
_SITE_FAULTS = ("meter_silent", "meter_frozen", "grid_lost", "estop")


def layouts_of(rng: random.Random) -> list[BankLayout]:
    """One to four banks, at most four batteries and four inverters in all."""
    found: list[BankLayout] = []
    batteries = inverters = MOST
    for name in "abcd"[: rng.choice((1, 2, 2, 2, 3, 4))]:
        if not batteries or not inverters:
            break
        packs, bridges = (min(rng.choice((1, 1, 1, 2)), left) for left in (batteries, inverters))
        options = {"soc": rng.uniform(15.0, 95.0), "energy_kwh": rng.choice((60.0, 208.0)), "pcs_kw": rng.choice((50.0, 100.0))}
        named = tuple(f"bms_{name}{k}" for k in range(packs)), tuple(f"pcs_{name}{k}" for k in range(bridges))
        found.append(BankLayout(name, *named, options))
        batteries -= packs
        inverters -= bridges
    return found


def divided(layouts: list[BankLayout], configs: list[PowerConfig]) -> Any:
    """The site's Image with its banks; with one of each it is its own."""
    image = im.Image()
    if len(layouts) > 1 or len(layouts[0].batteries) > 1 or len(layouts[0].inverters) > 1:
        from firmware import banks  # only a site of several has it

        plan = [(bank.name, own, len(bank.batteries), len(bank.inverters), 0) for bank, own in zip(layouts, configs, strict=True)]
        banks.divide(image, plan)
    return image


class Era:
    """One site from its first cycle to its last."""

    def __init__(self, seed: int, number: int) -> None:
        self.rng = rng = random.Random(f"several {seed}:{number}")
        layouts = layouts_of(rng)
        self.period_ms = rng.choice((20, 50, 50, 100, 200))
        common = {"cycle_ms": self.period_ms, "max_grid_export_power": 1000.0}
        powers = {bank.name: self._power(bank) for bank in layouts}
        sums = {name: sum(power[name] for power in powers.values()) for name in ("max_charge_power", "max_discharge_power")}
        self.power = {**common, **{name: round(most * rng.choice((1.0, 1.0, 0.7)), 1) for name, most in sums.items()}}
        if len(layouts) == 1:
            powers = {layouts[0].name: self.power}
        image = divided(layouts, [PowerConfig(**{**common, **powers[bank.name]}) for bank in layouts])
        has = im.HAS_BMS | im.HAS_PCS | im.HAS_METER | im.HAS_IO
        self.pm = PowerManager(PowerConfig(**self.power), image, has)
        self.site = VirtualBanks(
            image, layouts, {**self.power, "cycle_s": self.period_ms / 1000}, powers, rng.randrange(1 << 30),
            own_contactors=rng.random() < 0.5, load_kw=rng.uniform(0.0, 60.0), soc_rounding=rng.choice(("nearest", "down")),
        )  # fmt: skip
        self.rules = Rules(self.pm, self.site)
        self.ticks = _TICKS - rng.randrange(ERA_CYCLES // 2 * self.period_ms)
        self.played: Counter[str] = Counter()
        self.said: list[str] = []  # the newest acts, for who repeats an era
        self.moved_wh = 0.0
        sizes = ", ".join(f"{len(bank.batteries)} batteries and {len(bank.inverters)} inverters" for bank in layouts)
        self.about = f"{self.period_ms} ms a cycle; banks: {sizes}; {self.power}"

    def _power(self, bank: BankLayout) -> dict[str, float]:
        most = bank.options["pcs_kw"] * len(bank.inverters)
        return {name: round(most * self.rng.uniform(0.4, 1.0), 1) for name in ("max_charge_power", "max_discharge_power")}

    # ---- what happens -----------------------------------------------------------------------------------
    def act(self) -> None:
        """One thing that people or devices do."""
        rng, names = self.rng, self.site.plant.names()
        kind = rng.choice(("ask", "ask", "ask", "fault", "fault", "mend", "mend", "run", "bound", "world"))
        try:
            if kind == "ask":
                self._ask()
            elif kind == "fault":
                name, of = rng.choice(_FAULTS), rng.choice(names)
                if rng.random() < 0.15:
                    name, of = rng.choice(_SITE_FAULTS), ""
                self.site.inject(name, of)
                self._note(f"{name} of {of}" if of else name)
            elif kind == "mend":
                self._mend(rng.choice(sorted(self.site.active))) if self.site.active else None
            elif kind == "run":
                self._run()
            elif kind == "bound":
                self.pm.curtail(*(rng.choice((None, round(rng.uniform(0.0, 150.0), 1))) for _ in range(2)))
                self._note("curtail")
            else:
                self.site.plant.set("load_kw", rng.uniform(0.0, 150.0))
        except (PowerError, ValueError):
            self.played["refused"] += 1  # a fault that cannot befall that device, or a call at the wrong time

    def _ask(self) -> None:
        kw = round(self.rng.uniform(-1.0, 1.0) * self.power["max_discharge_power"], 1)
        self._note(f"{kw} kW")
        if self.rng.random() < 0.1:
            self.pm.stop_operation()
        else:
            self.pm.set_constant_power(kw, self.rng.choice((0, 0, 30)))

    def _run(self) -> None:
        self._note("start")
        if self.pm.is_emergency and "estop" not in {name for name, _ in self.site.active}:
            self.pm.reset_emergency()
        if self.rng.random() < 0.1:
            self.pm.stop()
        else:
            self.pm.start()

    def _mend(self, fault: tuple[str, str]) -> None:
        self.site.clear(*fault)
        self._note(f"{fault[0]} of {fault[1] or 'the site'} ends")

    def _note(self, text: str) -> None:
        self.played[text.split(" ")[0] if "kW" not in text else "power"] += 1
        self.said = [*self.said[-11:], text]

    # ---- time -------------------------------------------------------------------------------------------
    def cycle(self, dt_ms: int) -> None:
        """The plant, then the manager, then the rules."""
        if dt_ms > self.pm.image.par[im.PAR_STALL_MS]:
            self.site.stall(dt_ms / 1000)
        else:
            self.site.step(dt_ms / 1000)
        self.ticks = (self.ticks + dt_ms) & _TICKS
        self.pm.cycle(self.ticks)
        while self.pm.events.dispatch():
            pass
        self.moved_wh += abs(self.site.plant.pcs.power_w) * dt_ms / 3.6e6
        self.rules.check(dt_ms)

    def run(self, cycles: int) -> None:
        """So many cycles of trouble, then the end.  Raises Broken."""
        rng = self.rng
        self.pm.start()
        for n in range(cycles):
            luck = rng.random()
            dt = self.period_ms
            if luck < 0.01:
                self.act()
            elif luck < 0.012:
                dt = rng.choice((1, 1000, 1500, 4000))
            try:
                self.cycle(dt)
            except Broken as error:
                raise Broken(f"cycle {n}: {error}; lately: {'; '.join(self.said)}") from None
        self.settle()

    def settle(self) -> None:
        """Everything is mended: after the waits that trips cost, each bank does its part of what is asked."""
        for fault in sorted(self.site.active):
            self.site.clear(*fault)
        plant = self.site.plant
        for battery in plant.batteries:
            battery.bms.reset()
            battery.pack.temperature_c = 25.0
        self.pm.curtail(None, None)
        name, way = ("max_discharge_power", 1) if plant.pack.soc > 0.55 else ("max_charge_power", -1)
        kw = way * round(0.4 * self.power[name], 1)
        self._wait_for(lambda: self._asked(kw) and self.rules.shared(kw), f"does not share {kw} kW")
        left = _SHARE_S
        while left > 0:
            left -= self.period_ms / 1000
            self.cycle(self.period_ms)
            if not self.rules.shared(kw):
                raise Broken(f"a mended site stops sharing {kw} kW: {self.rules.words()}")

    def _asked(self, kw: float) -> bool:
        """Whether the request is taken; it is made anew, as it ends where the only bank that runs yet is empty or full."""
        try:
            if self.pm.is_emergency:
                self.pm.reset_emergency()
            self.pm.start()
            self.pm.set_constant_power(kw, 0)
        except PowerError:
            return False
        return True

    def _wait_for(self, true: Any, what: str) -> None:
        left = _SETTLE_S
        while not true():
            for _ in range(max(1, 1000 // self.period_ms)):
                self.cycle(self.period_ms)
            left -= 1.0
            if left < 0:
                raise Broken(f"a mended site {what} in {_SETTLE_S:g} s: {self.rules.words()}")


def soak(seed: int, cycles: int) -> tuple[int, str, Counter[str], float]:
    """Eras until so many cycles are done or one breaks: (eras, what broke or "", what was played, kWh moved)."""
    done, number, played, moved = 0, 0, Counter[str](), 0.0
    while done < cycles:
        era = Era(seed, number)
        try:
            era.run(min(ERA_CYCLES, cycles - done))
        except Exception as error:
            kind = "" if isinstance(error, Broken) else f"{type(error).__name__}: "
            return number, f"seed {seed}, era {number}: {kind}{error}\n{era.about}", played, moved
        played += era.played
        moved += era.moved_wh / 1000
        done += ERA_CYCLES
        number += 1
    return number, "", played, moved


def main(arguments: list[str] | None = None) -> int:
    """Command line entry; see the top of the file."""
    parser = argparse.ArgumentParser(prog="python -m tools.soak.several", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1, help="so many, one after the other")
    parser.add_argument("--cycles", type=int, default=200_000, help="of each seed")
    parser.add_argument("--era", type=int, help="this one alone")
    args = parser.parse_args(arguments)
    for seed in range(args.seed, args.seed + args.seeds):
        begun = time.monotonic()
        if args.era is not None:
            era = Era(seed, args.era)
            print(era.about)
            era.run(ERA_CYCLES)
            continue
        eras, broken, played, moved = soak(seed, args.cycles)
        if broken:
            print(f"BROKEN: {broken}\nrepeat with: python -m tools.soak.several --seed {seed} --era {eras}")
            return 1
        what = ", ".join(f"{name} {count}" for name, count in sorted(played.items()))
        took = time.monotonic() - begun
        print(f"seed {seed}: {eras} eras, {args.cycles:,} cycles in {took:.0f} s, {moved:.0f} kWh moved; {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
