"""Eight recorded days: what the manager commands, allows, decides and announces is what it was when they were recorded.

A line that differs is a change of behaviour: wanted, or not.  `python -m host_tests.replay.golden` records them anew.
"""

import subprocess
from difflib import unified_diff
from pathlib import Path

import pytest

from host_tests import needs
from host_tests.replay import golden
from tools.build import inline, stage
from tools.interpreters import Interpreter

pytestmark = pytest.mark.slow
DAYS = sorted(path.stem for path in golden.FOLDER.glob("*.txt"))
SHOWN = 40


def differences(name: str, played: list[str]) -> str:
    """The first lines that differ, "" if none does."""
    found = unified_diff(golden.recorded(name), played, "recorded", "played", lineterm="", n=2)
    return "\n".join(line for line, _ in zip(found, range(SHOWN), strict=False))


@pytest.mark.parametrize("name", DAYS)
def test_a_recorded_day_is_what_it_was(mp64: Interpreter, root: Path, name: str) -> None:
    assert not differences(name, golden.play(mp64, root, root, name))


@pytest.mark.parametrize("name", ["emergency", "late"])
def test_so_it_is_as_a_board_has_it(mp32: Interpreter, root: Path, tmp_path: Path, name: str) -> None:
    stage.stage(root, tmp_path, "x86")
    players = tmp_path / "host_tests" / "replay"  # as they would be staged: a board has no names for numbers
    players.mkdir(parents=True)
    for path in (root / "host_tests" / "replay").glob("*.py"):
        (players / path.name).write_text(inline.inline(path.read_text(), root))
    assert not differences(name, golden.play(mp32, root, tmp_path, name))


def test_every_day_is_recorded() -> None:
    assert DAYS == sorted(golden.names(needs.interpreter(64)))


def test_a_watt_in_one_limit_is_seen(mp64: Interpreter, root: Path) -> None:
    assert golden.differs(mp64, root, "late", "max_charge_power=99.999")


def test_a_day_that_does_not_exist_says_so(mp64: Interpreter, root: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        golden.play(mp64, root, root, "tomorrow")
