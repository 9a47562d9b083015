"""A request of the EMS allocates nothing, read or write, accepted or refused: asked with the heap locked."""

import subprocess
from pathlib import Path

from tools.interpreters import Interpreter

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).parent / "on_board" / "ems_alloc.py"
ROUNDS = 200


def run(mp: Interpreter, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*mp.command, str(SCRIPT), str(ROOT), str(ROUNDS), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_requests_allocate_nothing(mp: Interpreter) -> None:
    done = run(mp)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"rounds {ROUNDS} refused 4 " in done.stdout and done.stdout.endswith("error ''\n"), done.stdout


def test_one_planted_allocation_would_be_caught(mp: Interpreter) -> None:
    done = run(mp, "leak")
    assert done.returncode != 0 and "MemoryError" in done.stdout + done.stderr
