"""`make soak`: the manager and the simulated plant in virtual time, under seeded chaos, with invariants in every cycle.

    python -m tools.soak --seed 7 --cycles 200000
    python -m tools.soak --cycle-ms 1000            every cycle 1 s: the speed that docs/soak.md states
    python -m tools.soak --seeds 5 --cycles 1000000 the bar of a release
    python -m tools.soak --banks                    sites of several batteries and inverters
    python -m tools.soak --seed 7 --era 3           one era again, with its last cycles written out

A run is cut into eras: a new site with another configuration, another cycle length, and a clock that is about to wrap.
Whatever fails can be repeated from its seed and era alone.
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, NamedTuple

ERA_CYCLES = 5000
TRACE = 12
TICKS = (1 << 30) - 1
AFTER_LIES_MS = 2000  # a spoilt value stays in the image until the next report
STEP_MS = 1000  # the plant's longest step
WIRED_EVERY = 5  # one era in so many has inverter and meter on Modbus, behind the board's own drivers
RESETS = 0.0003  # of a cycle: the controller is reset
WIRED_MS = 200  # its longest cycle: the drivers cost a hundredth of real time


class Result(NamedTuple):
    """What one era has come to."""

    cycles: int
    simulated_s: float
    acts: int
    refused: int
    events: int
    counted_wh: float
    true_wh: float
    played: Counter[str]
    broken: str  # "" if nothing is


def site_of(rng: random.Random) -> tuple[dict[str, Any], dict[str, Any], bool, bool]:
    """A random site: fields of PowerConfig, options of the plant, whether grid and PV are metered."""
    aside = random.Random(rng.getstate()[1][0])  # what came later takes nothing from rng: the eras of before stay what they were
    energy = rng.choice((1.0, 4.0, 16.0))  # kWh a module: small ones reach the ends of the SoC
    power = {
        "grid_connection": rng.choice((0, 1, 2, 2, 2, 2, 3)),
        "max_charge_power": rng.choice((100.0, 100.0, rng.uniform(10.0, 100.0))),
        "max_discharge_power": rng.choice((100.0, 100.0, rng.uniform(10.0, 100.0))),
        "max_grid_export_power": rng.choice((100.0, 100.0, 0.0, rng.uniform(0.0, 100.0))),
        "min_soc": rng.choice((20.0, 20.0, 5.0, rng.uniform(0.0, 30.0))),
        "max_soc": rng.choice((90.0, 90.0, 100.0, rng.uniform(70.0, 100.0))),
        "allow_grid_charging": rng.random() < 0.8,
        "allow_grid_export": rng.random() < 0.8,
        "auto_restart": rng.random() < 0.9,
        "restart_limit": aside.choice((100, 100, 5, 2)),
        "restart_delay": rng.choice((0.0, 1.0, 2.0)),
        "module_energy": energy,
        "ramp_up": rng.choice((0.1, 1.0, 20.0, 20.0, 1000.0, rng.uniform(0.1, 50.0))),
        "ramp_down": rng.choice((0.1, 1.0, 50.0, 50.0, 1000.0, rng.uniform(0.1, 50.0))),
        "soc_taper": rng.choice((0.1, 2.0, 2.0, 5.0)),
        "soc_rounding": rng.choice(("nearest", "down")),
        "resume": rng.random() < 0.8,
        "resume_manual": rng.random() < 0.3,
    }
    options = {
        "energy_kwh": energy * 13,
        "soc": rng.uniform(5.0, 99.0),
        "soc_rounding": power["soc_rounding"],
        "pcs_island": rng.choice(("off", "off", "follow", "form")),
        "pcs_tau_s": rng.choice((0.05, 0.1, 0.3, 0.6)),
        "load_kw": rng.choice((0.0, rng.uniform(0.0, 80.0))),
        "pv_kw": rng.choice((0.0, 0.0, rng.uniform(0.0, 60.0))),
        "measurement_noise": rng.choice((0.0, 1.0, 1.0)),
    }
    return power, options, rng.random() < 0.8, rng.random() < 0.4


class NoAuditor:
    """In the auditor's place: it judges by honest reports only, and the soak's own invariants know which those are."""

    def reported(self, report: object) -> None:
        """Nothing."""

    def setpoint(self, watts: float) -> None:
        """Nothing."""

    def watch(self) -> None:
        """Nothing."""


class Era:
    """One site from its first cycle to its last."""

    def __init__(self, seed: int, number: int, cycle_ms: int = 0) -> None:
        from firmware import image as im
        from firmware.config import PowerConfig
        from firmware.manager import PowerManager
        from tools.sim.virtual.site import VirtualSite
        from tools.sim.virtual.wired import WiredSite
        from tools.soak import restart
        from tools.soak.chaos import Chaos
        from tools.soak.invariants import Watch
        from tools.soak.wire import Wire

        self.rng = random.Random(f"{seed}:{number}")
        self._clock = time.ticks_ms  # type: ignore[attr-defined]  # the shims'
        power, options, meter, pv = site_of(self.rng)
        has = im.HAS_BMS | im.HAS_PCS | im.HAS_IO | (im.HAS_METER if meter else 0) | (im.HAS_PV if pv else 0)
        wired = number % WIRED_EVERY == WIRED_EVERY - 1 and cycle_ms <= WIRED_MS
        periods = (20, 50, 50, 100, WIRED_MS) if wired else (20, 50, 50, 100, 200, 500, 1000, 1000)
        self.period_ms = cycle_ms or self.rng.choice(periods)
        power["cycle_ms"] = self.period_ms
        # the clock wraps somewhere in the era's first half
        self.ticks = TICKS - self.rng.randrange(ERA_CYCLES // 2 * self.period_ms)
        self._power, self._has, self._wired = power, has, wired
        restart.memory()
        time.ticks_ms = lambda: self.ticks  # type: ignore[attr-defined]  # until run() has ended
        self.manager = PowerManager(PowerConfig(**power), None, has)
        self.memories = restart.Memories(self.manager)
        given = (self.manager.image, power, self.rng.randrange(1 << 30), meter, pv)
        self.site = WiredSite(*given, self.ticks, **options) if wired else VirtualSite(*given, **options)
        self.site.auditor = NoAuditor()  # type: ignore[assignment]
        self.wire = Wire(self.manager.image)
        self.watch = Watch(self.manager, self.site, has, self.wire)
        self.chaos = Chaos(self.manager, self.site, self.wire, self.watch, self.rng, self.ticks)
        self.late: Any = None  # a report that will be read after the next cycle
        self.manager.start()
        self.acts = 0
        self.first = True  # the next cycle is its manager's first
        self.lied_ms = AFTER_LIES_MS
        self.simulated_ms = 0
        self.stall_ms = self.manager.image.par[im.PAR_STALL_MS]  # a longer cycle was held up
        self.about = f"{self.period_ms} ms a cycle, {power}, {options}, meter {meter}, PV meter {pv}"

    def _reset(self) -> None:
        """The controller is reset: its outputs fall, the plant lives on, and a manager without a past takes over."""
        from firmware.config import PowerConfig
        from firmware.manager import PowerManager
        from tools.soak import restart
        from tools.soak.invariants import Broken, Watch
        from tools.soak.wire import Wire

        while self.manager.events.dispatch():
            pass
        away_ms = restart.boot_ms(self.rng)
        self.site.plant.contactor_wanted = False
        self.site.stall(away_ms / 1000)
        self.ticks = self.rng.randrange(1 << 20)
        self.simulated_ms += away_ms
        self.manager = PowerManager(PowerConfig(**self._power), None, self._has)
        memories = restart.Memories(self.manager)
        wrong = self.memories.wrong_after(self.manager)
        if wrong:
            raise Broken(wrong)
        self.memories = memories
        self.site.image = self.manager.image
        self.wire = Wire(self.manager.image)
        watch = Watch(self.manager, self.site, self._has, self.wire)
        watch.counted_wh, watch.true_wh = self.watch.counted_wh, self.watch.true_wh
        self.watch, self.lied_ms, self.late, self.first = watch, 0, None, True
        self.chaos.restarted(self.manager, self.wire, watch, self.ticks)

    def _length(self) -> int:
        """The next cycle's length, ms: now and then early, late, doubled, or a stall."""
        rng, period = self.rng, self.period_ms
        kind = rng.random()
        if kind < 0.7:
            return max(0, period + rng.randrange(-period // 2, period // 2 + 1))
        if kind < 0.9:
            return rng.choice((0, 1, 20, 1000))
        return rng.choice((1500, 2000, 2001, 5000, 30000))

    def _wait(self, ms: int) -> None:
        """Let the plant live for `ms` without control: everything on the board is held up, or control alone is."""
        held_up = self.rng.random()
        if held_up < 0.6:
            waits = ms > self.stall_ms  # less is a cycle that came a little late
            if waits and held_up > 0.4:
                self.late = self.site.taken()
                self.chaos.played["late data"] += 1
            self.site.stall(ms / 1000, waits and held_up < 0.2)
            return
        while ms > STEP_MS:
            self.site.step(STEP_MS / 1000)
            ms -= STEP_MS
        self.site.step(ms / 1000)

    def run(self, cycles: int, trace: deque[str] | None = None) -> Result:
        """Run; never raises for what it finds.  time.ticks_ms() is the era's own meanwhile."""
        try:
            return self._run(cycles, trace)
        finally:
            time.ticks_ms = self._clock  # type: ignore[attr-defined]
            if hasattr(self.site, "end"):
                self.site.end()

    def _run(self, cycles: int, trace: deque[str] | None) -> Result:
        from tools.soak.invariants import Broken

        broken, n = "", 0
        if trace is not None:
            self.chaos.log = []
        try:
            for n in range(cycles):
                self._cycle(n, trace)
            broken = self._settle()
        except Broken as error:
            broken = f"cycle {n}: {error}"
        except Exception as error:
            if trace is not None:
                raise
            broken = f"cycle {n}: {type(error).__name__}: {error}"
        watch, chaos = self.watch, self.chaos
        events = int(self.manager.events.total)
        return Result(
            n + 1, self.simulated_ms / 1000, self.acts, chaos.refused, events, watch.counted_wh, watch.true_wh, chaos.played, broken
        )

    def _cycle(self, n: int, trace: deque[str] | None) -> None:
        rng, watch, chaos = self.rng, self.watch, self.chaos
        dt = self.period_ms
        luck = rng.random()
        if luck < 0.06:
            if luck < RESETS and not self._wired and chaos.calm is None:
                self._reset()
                watch = self.watch
            elif luck < 0.05:
                self.acts += 1
                chaos.act(n)
            else:
                dt = self._length()
        if n & 15 == 0:
            chaos.tick(n, self.ticks)
            while self.manager.events.dispatch():
                pass
        if self.late is not None:
            self.site.read_late(self.late)
            self.late = None
        if dt > STEP_MS:
            self._wait(dt)
        else:
            self.site.step(dt / 1000)
        if self.wire.busy:
            self.wire.spoil()
        if chaos.misleading:
            watch.honest_ms = 0
        self.ticks = (self.ticks + dt) & TICKS
        self.simulated_ms += dt
        watch.before()
        self.manager.cycle(self.ticks)
        self.memories.step(dt)
        if trace is not None:
            self._write(n, dt, trace)
        watch.after(0 if self.first else dt)
        self.first = False
        if chaos.pcs_lies or dt > self.stall_ms:
            self.lied_ms = 0  # who is held up himself does not count either
        else:
            self.lied_ms += dt
        watch.count_energy(self.lied_ms > AFTER_LIES_MS)

    def _settle(self) -> str:
        """What must hold at the end: energy, and every event handed over."""
        watch, events = self.watch, self.manager.events
        while events.dispatch():
            pass
        lost = events.overflows
        if self.chaos.received + lost != events.total:
            return f"{events.total} events were posted, {self.chaos.received} reached the callback and {lost} were overwritten"
        tolerance = 0.05 * watch.true_wh + 50.0
        if abs(watch.counted_wh - watch.true_wh) > tolerance:
            return f"the manager counted {watch.counted_wh:.0f} Wh, through the inverter went {watch.true_wh:.0f} Wh"
        return ""

    def _write(self, n: int, dt: int, trace: deque[str]) -> None:
        s = self.manager.stats()
        acts = "; ".join(self.chaos.log or ())
        self.chaos.log = []
        faults = sorted(self.site.active) + (["wire"] if self.wire.busy else [])
        trace.append(
            f"{n:6} {self.ticks:10} +{dt:5} ms {s['mode']:11} req {s['request']:8.3f} by {s['requested_by']:12} "
            f"cmd {s['command']:8.3f} p {self.site.plant.pcs.power_w / 1000:8.3f} kW  "
            f"limits -{s['limit_charge']:.3f} {s['why_charge']} "
            f"+{s['limit_discharge']:.3f} {s['why_discharge']}  soc {s['soc']} true {self.site.plant.pack.soc * 100:.2f}  "
            f"I {self.site.plant.pack.current_a:.1f} A  {' '.join(s['faults'])} | {' '.join(faults)} | {acts}"
        )


def era_of(seed: int, number: int, cycle_ms: int, banks: bool) -> Era:
    """An era of a site of one battery and one inverter, or of several."""
    if not banks:
        return Era(seed, number, cycle_ms)
    from tools.soak.banks_era import BanksEra

    return BanksEra(seed, number, cycle_ms)


def repeat(seed: int, number: int, cycles: int, cycle_ms: int, write: Callable[[str], Any], banks: bool = False) -> Result:
    """One era again, with its last cycles written out."""
    trace: deque[str] = deque(maxlen=TRACE * (5 if banks else 1))
    era = era_of(seed, number, cycle_ms, banks)
    write(f"seed {seed}, era {number}: {era.about}")
    result = era.run(cycles, trace)
    for line in trace:
        write(line)
    return result


def soak(
    seed: int, cycles: int, cycle_ms: int, progress: Callable[[int], Any], banks: bool = False
) -> tuple[list[Result], int]:
    """Eras until `cycles` are done or one breaks; the results, and the number of the last era."""
    results: list[Result] = []
    done, number = 0, 0
    gc.disable()  # nothing in the loop makes cycles of references; between eras it is collected
    while done < cycles:
        gc.collect()
        era = era_of(seed, number, cycle_ms, banks)
        result = era.run(min(ERA_CYCLES, cycles - done))
        results.append(result)
        done += result.cycles
        progress(done)
        if result.broken:
            break
        number += 1
    return results, number


def _bar(cycles: int) -> Callable[[int], None]:
    """A progress bar on a terminal, a line now and then elsewhere."""
    start = time.monotonic()
    terminal = sys.stderr.isatty()
    last = [0.0]

    def show(done: int) -> None:
        seconds = time.monotonic() - start
        if seconds - last[0] < (0.2 if terminal else 15.0) and done < cycles:
            return
        last[0] = seconds
        left = seconds / done * (cycles - done) if done else 0
        full = 40 * done // cycles
        line = f"[{'#' * full}{'.' * (40 - full)}] {done:,} of {cycles:,} cycles, {done / seconds:,.0f}/s, {left:.0f} s left"
        print(f"\r{line} " if terminal else line, end="\n" if not terminal or done >= cycles else "", file=sys.stderr, flush=True)

    return show


def _install(hot: str) -> None:
    """Load the firmware as asked: "quick" as a build compiles it, "plain" as it stands, "checked" with int32 checks."""
    from tools.soak import quick

    if hot == "quick":
        quick.install()
        return
    quick.shims.install()
    if hot == "checked":
        from host_tests import kernels

        for name, kernel in vars(kernels.checked()).items():
            kernels.put(name, kernel)


def main(argv: list[str] | None = None) -> int:
    """See the top of the file; 0 if nothing broke."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seed", type=int, help="default: a fresh one, printed")
    parser.add_argument("--seeds", type=int, default=1, help="so many seeds, one after the other; the release bar: 5 of 1,000,000")
    parser.add_argument("--cycles", type=int, default=200_000)
    parser.add_argument("--cycle-ms", type=int, default=0, help="one cycle length for all eras (default: each its own)")
    parser.add_argument("--era", type=int, help="only this era of the seed, with a trace of its last cycles")
    parser.add_argument("--banks", action="store_true", help="sites of 1 to 4 banks, batteries and inverters")
    parser.add_argument("--hot", choices=("quick", "plain", "checked"), default="quick", help="how the kernels are loaded")
    args = parser.parse_args(argv)
    if args.cycles < 1 or args.seeds < 1 or not 0 <= args.cycle_ms <= 1000:
        parser.error("--cycles and --seeds must be at least 1, --cycle-ms 20 to 1000 (0: each era its own)")
    first = random.SystemRandom().randrange(1 << 31) if args.seed is None else args.seed
    _install(args.hot)
    status = 0
    for seed in range(first, first + args.seeds):
        status |= _one_seed(args, seed)
    return status


def _one_seed(args: argparse.Namespace, seed: int) -> int:
    print(f"seed {seed}", flush=True)
    if args.era is not None:
        one = repeat(seed, args.era, min(args.cycles, ERA_CYCLES), args.cycle_ms, print, args.banks)
        print(one.broken or "nothing broke")
        return 1 if one.broken else 0
    start, spent = time.perf_counter(), time.process_time()
    results, number = soak(seed, args.cycles, args.cycle_ms, _bar(args.cycles), args.banks)
    return _report(args, seed, results, number, time.perf_counter() - start, time.process_time() - spent)


def _report(args: argparse.Namespace, seed: int, results: list[Result], number: int, seconds: float, cpu_s: float) -> int:
    cycles = sum(r.cycles for r in results)
    simulated = sum(r.simulated_s for r in results)
    last = results[-1]
    if last.broken:
        again = f"--seed {seed} --era {number} --hot {args.hot}" + (f" --cycle-ms {args.cycle_ms}" if args.cycle_ms else "")
        again += " --banks" * args.banks
        left = args.cycles - (cycles - last.cycles)
        if left < ERA_CYCLES:
            again += f" --cycles {left}"
        print(f"BROKEN: seed {seed}, era {number}, {last.broken}\nthe same again:")
        repeat(seed, number, min(ERA_CYCLES, left), args.cycle_ms, print, args.banks)
        print(f"repeat with: python -m tools.soak {again}")
    print(
        f"{len(results)} eras, {sum(r.acts for r in results):,} acts ({sum(r.refused for r in results):,} calls refused), "
        f"{sum(r.events for r in results):,} events, {sum(r.true_wh for r in results) / 1000:,.1f} kWh moved "
        f"(counted {sum(r.counted_wh for r in results) / 1000:,.1f})"
    )
    played: Counter[str] = sum((r.played for r in results), Counter())
    print("played: " + ", ".join(f"{name} {times:,}" for name, times in sorted(played.items())))
    print(f"on the processor {cpu_s:.1f} s: {cycles / cpu_s:,.0f} cycles/s, {simulated / cpu_s:,.0f} times real time")
    print(f"{cycles:,} cycles in {seconds:.1f} s: {cycles / seconds:,.0f} cycles/s, {simulated / seconds:,.0f} times real time")
    return 1 if last.broken else 0


if __name__ == "__main__":
    sys.exit(main())
