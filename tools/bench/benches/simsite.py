"""How fast the simulated site is: one physics step, and the whole closed loop in one process in virtual time."""

import time
from collections.abc import Callable, Iterator

from tools.sim import healthy

_STEPS = 10_000
_LOOP_CYCLES = 2_000
_ROUNDS = 4  # of which the fastest counts: the others were disturbed by what else the machine does


def _fastest(run: Callable[[int], None], count: int) -> float:
    """Seconds for one of `count`, in the best round."""
    best = float("inf")
    for _ in range(_ROUNDS):
        begun = time.perf_counter()
        run(count)
        best = min(best, time.perf_counter() - begun)
    return best / count


def bench_plant() -> Iterator[tuple[str, float, str]]:
    """One step of pack, BMS, PCS and grid, running at half power."""
    plant = healthy.plant(load_kw=20.0, load_noise_kw=1.0, pcs_watchdog_s=1e9)
    plant.contactor_wanted = True
    for _ in range(200):
        plant.step(0.01)
    plant.pcs.command(50_000.0)

    def run(steps: int) -> None:
        for _ in range(steps):
            plant.step(0.05)

    yield "plant_step", _fastest(run, _STEPS) * 1e6, "us"


def bench_closed_loop() -> Iterator[tuple[str, float, str]]:
    """PowerManager and site in one CPython process, 1 s cycles: how many times faster than real time."""
    from firmware import PowerConfig, PowerManager
    from firmware import image as im
    from tools.sim.virtual.site import VirtualSite

    image = im.Image()
    manager = PowerManager(PowerConfig(cycle_ms=1000), image, im.HAS_BMS | im.HAS_PCS | im.HAS_METER | im.HAS_IO)
    site = VirtualSite(image, healthy.POWER, load_kw=20.0)
    now_ms = 0

    def run(cycles: int) -> None:
        nonlocal now_ms
        for _ in range(cycles):
            now_ms = (now_ms + 1000) & 0x3FFFFFFF
            manager.cycle(now_ms)
            site.step(1.0)

    run(5)
    manager.start()
    run(10)
    manager.set_constant_power(-10.0, 0)
    run(20)
    yield "closed_loop_speed", 1.0 / _fastest(run, _LOOP_CYCLES), "x real time"
