"""The schedule with 16 entries, on both MicroPythons: the tick that finds nothing, a start, and a clock that jumps."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools.build import stage
from tools.interpreters import Interpreter, chosen

SCRIPT = Path(__file__).parents[2] / "onboard" / "schedule_times.py"
ROUNDS = 5000


def _run(interpreter: Interpreter) -> list[list[str]]:
    with tempfile.TemporaryDirectory() as scratch:
        stage.stage(stage.ROOT, Path(scratch), interpreter.march)
        command = [*interpreter.command, str(SCRIPT), str(ROUNDS)]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(done.stdout[-400:] + done.stderr[-400:])
    return [line.split() for line in done.stdout.splitlines()]


def bench_schedule() -> Iterator[tuple[str, float, str]]:
    """Time of a tick of the schedule, by what it finds, and of one conversion to local time."""
    for bits in ("64", "32"):
        for name, nanoseconds in _run(chosen(bits)):
            yield f"schedule_{name}_mp{bits}", int(nanoseconds) / 1000, "us"
