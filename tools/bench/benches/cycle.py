"""The control cycle and the kernels, on both MicroPythons, as .mpy with inlined constants as on a board."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools.build import stage
from tools.interpreters import Interpreter, chosen

SCRIPT = Path(__file__).parents[2] / "onboard" / "cycle_times.py"
CYCLES = 5000


def _run(interpreter: Interpreter, banks: int = 1) -> list[list[str]]:
    with tempfile.TemporaryDirectory() as scratch:
        stage.stage(stage.ROOT, Path(scratch), interpreter.march)
        command = [*interpreter.command, str(SCRIPT), str(CYCLES), str(banks)]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(done.stdout[-400:] + done.stderr[-400:])
    return [line.split() for line in done.stdout.splitlines()]


def bench_cycle() -> Iterator[tuple[str, float, str]]:
    """Compute time of a cycle, p50, p99 and worst, also of two and four banks; one call of each kernel."""
    for bits in ("64", "32"):
        for words in _run(chosen(bits)):
            if words[0] == "cycle_us":
                times = sorted(int(word) for word in words[1:])
                yield f"cycle_compute_p50_mp{bits}", times[len(times) // 2], "us"
                yield f"cycle_compute_p99_mp{bits}", times[len(times) * 99 // 100], "us"
                yield f"cycle_compute_max_mp{bits}", times[-1], "us"
            elif words[0] == "kernel":
                yield f"kernel_{words[1]}_call_mp{bits}", int(words[2]), "ns"
        for banks in (2, 4):
            times = sorted(int(word) for word in _run(chosen(bits), banks)[0][1:])
            yield f"cycle_compute_p50_{banks}_banks_mp{bits}", times[len(times) // 2], "us"
