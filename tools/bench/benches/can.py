"""CAN: from the chip's FIFO to the ring, and from the ring to the image, on both MicroPythons."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools.build import stage
from tools.interpreters import Interpreter, chosen

SCRIPT = Path(__file__).parents[2] / "onboard" / "can_times.py"
ROUNDS = 3000
NAMES = {
    "answer": "can_bms_answer",  # a poll's answer of 9 frames, drained, checked and in the image
    "drain": "can_twai_frame",  # one frame from the controller's FIFO to the ring
    "tick": "can_twai_tick",  # the look of every millisecond that finds nothing
}


def _run(interpreter: Interpreter, what: str, folder: Path) -> list[list[str]]:
    command = [*interpreter.command, str(SCRIPT), str(ROUNDS), what]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(done.stdout[-400:] + done.stderr[-400:])
    return [line.split() for line in done.stdout.splitlines()]


def bench_can() -> Iterator[tuple[str, float, str]]:
    """Time of an answered BMS poll, of one frame out of the TWAI's FIFO, and of an idle look at it."""
    for bits in ("64", "32"):
        interpreter = chosen(bits)
        with tempfile.TemporaryDirectory() as scratch:
            stage.stage(stage.ROOT, Path(scratch), interpreter.march)
            lines = _run(interpreter, "answer", Path(scratch))
        for name, nanoseconds in lines + _run(interpreter, "drain", stage.ROOT):
            yield f"{NAMES[name]}_mp{bits}", int(nanoseconds) / 1000, "us"
