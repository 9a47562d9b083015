"""A control cycle allocates nothing, and the wrap of the clock passes unnoticed: 10,000 cycles with the heap locked."""

import subprocess
from pathlib import Path

from tools.interpreters import Interpreter

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).parent / "on_board" / "cycle_alloc.py"
CYCLES = 10_000


def run(mp: Interpreter, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*mp.command, str(SCRIPT), str(ROOT), str(CYCLES), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_ten_thousand_cycles_allocate_nothing_and_cross_the_clocks_wrap(mp: Interpreter) -> None:
    done = run(mp)
    assert done.returncode == 0, done.stdout + done.stderr
    words = done.stdout.split()
    said = {name: int(value) for name, value in zip(words[0::2], words[1::2], strict=True)}
    assert said["cycles"] >= CYCLES
    assert said["low"] < -20_000 and said["high"] > 20_000, "the battery was neither charged nor discharged"
    assert said["faulty"] > 0, "the silent BMS went unnoticed"
    assert said["worst"] == 0


def test_nor_do_those_of_several_batteries_and_inverters(mp: Interpreter) -> None:
    done = run(mp, "several")
    assert done.returncode == 0, done.stdout + done.stderr
    words = done.stdout.split()
    said = {name: int(value) for name, value in zip(words[0::2], words[1::2], strict=True)}
    assert said["low"] < -20_000 and said["high"] > 20_000 and said["faulty"] > 0 and said["worst"] == 0


def test_nor_do_those_of_an_island_that_goes_dark_and_comes_back(mp: Interpreter) -> None:
    done = run(mp, "island")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split()[-2:] == ["dark", "3"], done.stdout


def test_one_planted_allocation_would_be_caught(mp: Interpreter) -> None:
    done = run(mp, "leak")
    assert done.returncode != 0 and "MemoryError" in done.stdout + done.stderr
