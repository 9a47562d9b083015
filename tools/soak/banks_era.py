"""An era of a site of several batteries and inverters: its own shape, banks and faults from its own seed."""

import random
import time
from collections import deque
from typing import Any

from firmware import image as im
from firmware.banks import divide
from firmware.config import PowerConfig
from firmware.manager import PowerManager
from tools.sim.virtual.banks import VirtualBanks
from tools.soak import restart
from tools.soak.banks_chaos import BanksChaos
from tools.soak.banks_watch import BanksWatch
from tools.soak.invariants import Broken
from tools.soak.shapes import Shape, shape_of
from tools.soak.soak import AFTER_LIES_MS, ERA_CYCLES, STEP_MS, TICKS, Era, NoAuditor
from tools.soak.wires import Wires

_PERIODS = (20, 50, 50, 100, 200, 500, 1000, 1000)


class BanksEra(Era):
    """As Era, with 1 to 4 banks."""

    def __init__(self, seed: int, number: int, cycle_ms: int = 0) -> None:
        self.rng = rng = random.Random(f"banks {seed}:{number}")
        self._clock = time.ticks_ms  # type: ignore[attr-defined]  # the shims'
        self.shape = shape = shape_of(rng)
        self.period_ms = cycle_ms or rng.choice(_PERIODS)
        shape.power["cycle_ms"] = self.period_ms
        self.ticks = TICKS - rng.randrange(ERA_CYCLES // 2 * self.period_ms)
        self._has = im.HAS_BMS | im.HAS_PCS | im.HAS_IO | im.HAS_METER * shape.meter | im.HAS_PV * shape.pv
        self._wired = False
        restart.memory()
        time.ticks_ms = lambda: self.ticks  # type: ignore[attr-defined]  # until run() has ended
        self.manager = self._manager()
        self.memories = restart.Memories(self.manager)
        seed = rng.randrange(1 << 30)
        self.site: Any = VirtualBanks(
            self.manager.image, shape.layouts, shape.power, shape.powers, seed, shape.meter, shape.pv, **shape.options
        )
        self._unlike(self.site.plant)
        self.site.auditor = NoAuditor()  # type: ignore[assignment]  # as Era's
        self.wire: Any = self._wires()
        self.watch: Any = BanksWatch(self.manager, self.site, self._has, self.wire)
        self.chaos: BanksChaos = BanksChaos(self.manager, self.site, self.wire, self.watch, rng, self.ticks)
        self.late = None
        self.manager.start()
        self.acts = 0
        self.first = True
        self.lied_ms = AFTER_LIES_MS
        self.simulated_ms = 0
        self.stall_ms = self.manager.image.par[im.PAR_STALL_MS]
        self.about = f"{self.period_ms} ms a cycle, {_told(shape)}"

    def _unlike(self, plant: Any) -> None:
        """Batteries in parallel are not quite alike."""
        for battery in plant.batteries:
            charge = battery.pack.soc * 100 + self.rng.uniform(-1.0, 1.0)
            battery.pack.rest(min(100.0, max(0.0, charge)))

    def _manager(self) -> Any:
        """A manager without a past, of the same banks."""
        image, shape = im.Image(), self.shape
        plan = []
        for layout in shape.layouts:
            config = PowerConfig(**{**shape.power, **shape.powers[layout.name]})
            plan.append((layout.name, config, len(layout.batteries), len(layout.inverters), 0))
        divide(image, plan)
        return PowerManager(PowerConfig(**shape.power), image, self._has)

    def _wires(self) -> Wires:
        plant = self.site.plant
        return Wires(self.manager.image, [one.name for one in plant.batteries], [one.name for one in plant.inverters])

    def _reset(self) -> None:
        while self.manager.events.dispatch():
            pass
        away_ms = restart.boot_ms(self.rng)
        self.site.plant.contactor_wanted = False
        self.site.stall(away_ms / 1000)
        self.ticks = self.rng.randrange(1 << 20)
        self.simulated_ms += away_ms
        self.manager = self._manager()
        memories = restart.Memories(self.manager)
        wrong = self.memories.wrong_after(self.manager)
        if wrong:
            raise Broken(wrong)
        self.memories = memories
        self.site.attach(self.manager.image)
        self.wire = self._wires()
        watch = BanksWatch(self.manager, self.site, self._has, self.wire)
        watch.counted_wh, watch.true_wh, watch.shared = self.watch.counted_wh, self.watch.true_wh, self.watch.shared
        self.watch, self.lied_ms, self.first = watch, 0, True
        self.chaos.restarted(self.manager, self.wire, watch, self.ticks)

    def _wait(self, ms: int) -> None:
        """Let the plant live for `ms` without control: everything on the board is held up, or control alone is."""
        if self.rng.random() < 0.6:
            self.site.stall(ms / 1000)
            return
        while ms > STEP_MS:
            self.site.step(STEP_MS / 1000)
            ms -= STEP_MS
        self.site.step(ms / 1000)

    def _settle(self) -> str:
        self.chaos.played["sharing judged"] += self.watch.shared
        return super()._settle()

    def _write(self, n: int, dt: int, trace: deque[str]) -> None:
        s = self.manager.stats()
        acts = "; ".join(self.chaos.log or ())
        self.chaos.log = []
        faults = [f"{name}@{whom}" for name, whom in sorted(self.site.active)]
        faults += [f"wire@{name}" for name, wire in self.wire.each.items() if wire.busy]
        trace.append(
            f"{n:6} {self.ticks:10} +{dt:5} ms {s['mode']:11} req {s['request']:8.3f} by {s['requested_by']:12} "
            f"cmd {s['command']:8.3f} p {self.site.plant.pcs.power_w / 1000:8.3f} kW  "
            f"limits -{s['limit_charge']:.3f} {s['why_charge']} +{s['limit_discharge']:.3f} {s['why_discharge']}  "
            f"{' '.join(s['faults'])} | {' '.join(faults)} | {acts}"
        )
        for bank, part in zip(self.manager.banks(), self.watch.parts, strict=True):
            watts = [inverter.image.now[im.CMD_P] for inverter in part.inverters]
            trace.append(
                f"       {bank['name']}: {bank['mode']:9} cmd {bank['command']:8.3f} to {watts} "
                f"limits -{bank['limit_charge']:.3f} {bank['why_charge']} +{bank['limit_discharge']:.3f} {bank['why_discharge']} "
                f"soc {bank['soc']} true {[round(b.battery.pack.soc * 100, 2) for b in part.batteries]} "
                f"I {[round(b.battery.pack.current_a, 1) for b in part.batteries]} {' '.join(bank['faults'])}"
            )


def _told(shape: Shape) -> str:
    banks = []
    for one in shape.layouts:
        banks.append(f"{one.name} {len(one.batteries)}+{len(one.inverters)} {shape.powers[one.name]} {one.options}")
    return f"{shape.power}, {shape.options}, meter {shape.meter}, PV meter {shape.pv}; banks " + "; ".join(banks)
