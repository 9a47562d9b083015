"""A heap that is full: the monitor rests first, then lines are refused, the emergency works, and all comes back with the heap."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tools.interpreters import Interpreter

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).parent / "on_board" / "console_full.py"
DISCHARGE, EMERGENCY = 3, 4


def story(mp: Interpreter, how: str) -> dict:
    """What the console said in each phase."""
    heap = "700K" if mp.bits == 32 else "900K"
    command = [*mp.command, "-X", f"heapsize={heap}", str(SCRIPT), str(ROOT), how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("how", ["crumbs", "all"])
def test_a_full_heap_costs_the_monitor_first_and_the_emergency_never(mp: Interpreter, how: str) -> None:
    said = story(mp, how)
    assert any('"soc": ' in line for line in said["before"]), "the monitor was on"
    assert all(json.loads(line) for line in said["monitor"] if line.startswith("{")), "what comes of it is whole"
    if how == "all":
        assert not any('"soc": ' in line for line in said["monitor"]), "it rests"
        assert "console: the heap is full, the monitor rests" in said["line"] + said["monitor"]
    assert said["modes"] == [DISCHARGE, EMERGENCY], "control went on, and the emergency came in the turn that read it"
    assert said["emergency"][-1] == "= False", "nothing stores it there"
    answers = [line for line in said["line"] if line[:2] in ("= ", "! ")]
    assert len(answers) == 1, "the line has its answer, or it is said that there was no heap for it"
    if how == "crumbs" and mp.bits == 32:  # of a board's words, which are half as long
        assert answers[0].startswith("= {"), "the reserve is for a line"
    elif answers[0].startswith("! "):
        assert "MemoryError" in answers[0]


@pytest.mark.parametrize("how", ["crumbs", "all"])
def test_with_the_heap_the_console_comes_back(mp: Interpreter, how: str) -> None:
    after = story(mp, how)["after"]
    assert "= 2" in after and any(line.startswith("= {") and "'mode': 'EMERGENCY'" in line for line in after)
    monitor = [json.loads(line) for line in after if '"soc": ' in line]
    assert monitor and all(line["mode"] == "EMERGENCY" for line in monitor)


def test_a_full_heap_costs_no_emergency_amid_a_program_and_programs_come_back(mp: Interpreter) -> None:
    said = story(mp, "raw")
    before = "\n".join(said["before"])
    assert "raw REPL; CTRL-B to exit" in before and "'mode': 'DISCHARGE'" in before, "programs were read"
    assert "MemoryError" in "\n".join(said["line"]) and said["line"][-1].count("\x04") <= 2, "the host has the end of its answer"
    assert said["modes"] == [DISCHARGE, EMERGENCY], "control went on, and the emergency came in the turn that read it"
    after = "\n".join(said["after"])
    answers = [line for line in said["after"] if not line.startswith('{"t"')]  # the monitor may have its line behind it
    assert "'mode': 'EMERGENCY'" in after and answers[-1] == "= 2"


def test_a_full_heap_refuses_no_stop(mp: Interpreter) -> None:
    said = story(mp, "stop")
    assert said["stopped"], said["monitor"]
    assert said["monitor"][-1] == "= None" and said["modes"] == [DISCHARGE, EMERGENCY], "the emergency comes over it"
