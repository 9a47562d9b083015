"""Storage on real LittleFS2 under MicroPython: no power cut loses anything, and flash outlives the battery.

STORAGE_CUTS sets how many cuts are made (default 3000, and half as many on the 32-bit interpreter), HISTORY_CUTS how many
while a history is written (default 80), WEAR_DAYS how many days of operation are simulated (default 25).
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import flashwear
import pytest

from tools.interpreters import Interpreter

_CUTS = int(os.environ.get("STORAGE_CUTS", "3000"))
_WEAR_DAYS = int(os.environ.get("WEAR_DAYS", "25"))


_HISTORY_CUTS = int(os.environ.get("HISTORY_CUTS", "80"))


def _run(mp: Interpreter, root: Path, script: str, *arguments: object) -> dict[str, Any]:
    """The JSON object a script prints last; everything before it (losses) is shown when the test fails."""
    path = root / "host_tests" / "mp" / "on_board" / script
    done = subprocess.run(
        [*mp.command, "-X", "heapsize=16M", str(path), str(root), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
    )
    print(done.stdout[-4000:], done.stderr[-4000:])
    assert done.returncode == 0
    return json.loads(done.stdout.splitlines()[-1])


def _check_cuts(counts: dict[str, Any], wanted: int) -> None:
    assert counts["lost"] == 0
    assert counts["cuts"] >= wanted
    assert all(counts[kind] > 0 for kind in ("site", "schedules", "faults", "energy", "log", "together"))


def test_no_power_cut_at_any_flash_operation_loses_anything(mp64: Interpreter, root: Path) -> None:
    counts = _run(mp64, root, "storage_power_cut.py", _CUTS, 1)
    _check_cuts(counts, _CUTS)
    assert counts["rotations"] > 0


def test_nor_does_one_on_the_32_bit_interpreter(mp32: Interpreter, root: Path) -> None:
    _check_cuts(_run(mp32, root, "storage_power_cut.py", _CUTS // 2, 2), _CUTS // 2)


def test_a_power_cut_costs_a_history_five_minutes_at_most_and_counts_nothing_twice(mp32: Interpreter, root: Path) -> None:
    found = _run(mp32, root, "history_power_cut.py", _HISTORY_CUTS, 3)
    assert found["cuts"] >= _HISTORY_CUTS and found["failures"] == []
    assert 0 < found["lost_s_max"] <= 300 + found["step_s"], "five minutes, and until that is written"
    assert found["days"] > 2 and found["stores"] > 20, "midnights, and hours of rows that went into one file"


@pytest.mark.parametrize("readsize", [32, 128, 512])  # MicroPython's own, and boot.py's with an image and with files or PSRAM
def test_no_step_of_a_save_erases_flash_twice(mp32: Interpreter, root: Path, readsize: int) -> None:
    found = _run(mp32, root, "storage_steps.py", 50, readsize)
    assert found["rotations"] > 2 and found["erases"] > 200
    for name, (steps, erasing, most) in found["seen"].items():
        assert steps > 200 and 0 < erasing < steps, name
        assert most == 1, name


@pytest.fixture(scope="module", params=["default", "history"])
def worn(request: pytest.FixtureRequest, mp64: Interpreter, root: Path) -> dict[str, Any]:
    """What default operation does to the flash, and what it does with the powers of the day kept besides."""
    if request.param == "default":
        return _run(mp64, root, "storage_wear.py", _WEAR_DAYS)
    return _run(mp64, root, "storage_wear.py", _WEAR_DAYS // 3, "history")


def test_default_operation_leaves_the_flash_more_than_twenty_years(worn: dict[str, Any]) -> None:
    assert worn["errors"] == 0 and worn["saves"] > 100 * (_WEAR_DAYS // 3)
    assert worn["years"] > 20
    assert worn["reckoned"]["years"] > 20


def test_the_published_estimate_is_not_rosier_than_the_counted_erases(worn: dict[str, Any]) -> None:
    assert worn["erases"] <= worn["reckoned_erases"] <= 4 * worn["erases"]
    mean = worn["reckoned_erases"] / worn["free_blocks"]
    # LittleFS moves the root directory on only after 100 erases (MicroPython's block_cycles), whatever the rate.
    assert worn["worst_block"] <= flashwear.SPREAD * mean + 100
