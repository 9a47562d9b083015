"""The API under four threads at once, on the interpreter without a GIL and on the 32-bit one."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tools.interpreters import Interpreter

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent / "on_board"
CYCLES = 2500
DEADLOCK_S = 100
CONFIG_CHANGED = 16  # Event


def run(mp: Interpreter, seed: int) -> dict:
    command = [*mp.command, str(HERE / "threads.py"), str(ROOT), str(seed), str(CYCLES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLOCK_S)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return json.loads(done.stdout.splitlines()[-1])


def test_four_threads_call_everything_while_the_cycle_runs(mp: Interpreter) -> None:
    said = run(mp, 1)
    assert said["ended"] == 4, "a thread is stuck"
    assert said["problems"] == [], said["problems"][:10]
    assert said["worst"] == 0 and said["abandoned"] == 0
    # it was no idle run
    assert len(said["calls"]) >= 25 and min(said["calls"].values()) > 10, said["calls"]
    assert said["reads"] > 500 and said["refused"] > 100
    assert sum(1 for cycles in said["modes"] if cycles) >= 5, f"modes visited: {said['modes']}"
    # no event lost, none doubled
    assert sum(said["posted"]) > 200
    assert said["posted"][CONFIG_CHANGED] == said["grids_set"] > 100
    assert sum(said["heard"]) + said["overflows"] == sum(said["posted"])
    assert all(heard <= posted for heard, posted in zip(said["heard"], said["posted"], strict=True))
    if said["overflows"] == 0:
        assert said["heard"] == said["posted"] and said["mode_changes_heard"] == said["posted"][0]
    assert said["lock_wait_us"] > 0, "the wait is measured"


def test_the_cycles_wait_for_the_lock_is_measured(mp: Interpreter) -> None:
    done = subprocess.run([*mp.command, str(HERE / "lock_wait.py"), str(ROOT)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert said["undisturbed_us"] < said["held_us"] // 2
    assert said["reported_us"] >= said["held_us"] // 2
