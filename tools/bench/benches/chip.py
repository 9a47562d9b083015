"""The chip's clock: its calibration beside what was measured on an emulated ESP32, and the control cycle at each chip's speed."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools.bench.benches.cycle import SCRIPT
from tools.build import stage
from tools.sim.board.chip import calibrate
from tools.sim.board.chip.profiles import PROFILES
from tools.sim.board.chip.start import interpreter

CYCLES = 400
MEASURED_US = {  # a stock 1.25 image on an emulated ESP32, 2026-11
    "loop_turn": 3.9,
    "call_3_arguments": 11.7,
    "viper_call": 9.6,
    "ticks_us": 6.3,
    "collection": 7000.0,
    "cycle_p50": 551.0,
}


def _cycle_us(name: str, banks: int = 1) -> list[float]:
    """Microseconds of each cycle of pm.cycle(), sorted: its instructions at the chip's speed, whatever else this machine does."""
    chip = interpreter(name)
    with tempfile.TemporaryDirectory() as scratch:
        stage.stage(stage.ROOT, Path(scratch), chip.march)
        command = [*chip.command, str(SCRIPT), str(CYCLES), str(banks), str(calibrate.MODULES)]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(done.stdout[-400:] + done.stderr[-400:])
    words = next(line for line in done.stdout.splitlines() if line.startswith("cycle_us")).split()
    return sorted(int(word) / PROFILES[name].mips for word in words[1:])


def bench_chip() -> Iterator[tuple[str, float, str]]:
    """Each part of the calibration in instructions and in time; refused beyond 10 % of the chip's speed."""
    for name in PROFILES:
        for part, found in calibrate.check(name).items():
            yield f"{name}_{part}_instructions", found.instructions, "instructions"
            yield f"{name}_{part}", found.host_us, "us"
            if name == "esp32" and part in MEASURED_US:
                yield f"{name}_{part}_on_emulated_chip", MEASURED_US[part], "us"
        times = _cycle_us(name)
        yield f"{name}_cycle_p50", times[len(times) // 2], "us"
        if name == "esp32":
            yield f"{name}_cycle_p50_on_emulated_chip", MEASURED_US["cycle_p50"], "us"
        yield f"{name}_cycle_max", times[-1], "us"
        times = _cycle_us(name, 2)
        yield f"{name}_cycle_p50_2_banks", times[len(times) // 2], "us"
