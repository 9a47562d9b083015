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
ON_32_BITS = ("emergency", "late")
SHOWN = 40


def differences(name: str, played: list[str]) -> str:
    """The first lines that differ, "" if none does."""
    found = unified_diff(golden.recorded(name), played, "recorded", "played", lineterm="", n=2)
    return "\n".join(line for line, _ in zip(found, range(SHOWN), strict=False))


def played(interpreter: Interpreter, root: Path, tree: Path, name: str) -> list[str]:
    """The day's lines from the tree as a board has it, laid out in the folder `tree`."""
    stage.stage(root, tree, interpreter.march)
    players = tree / "host_tests" / "replay"  # as they would be staged: a board has no names for numbers
    players.mkdir(parents=True)
    for path in (root / "host_tests" / "replay").glob("*.py"):
        (players / path.name).write_text(inline.inline(path.read_text(), root))
    return golden.play(interpreter, root, tree, name)


@pytest.mark.parametrize("name", [name for name in DAYS if name not in ON_32_BITS])
def test_a_recorded_day_is_what_it_was(mp64: Interpreter, root: Path, tmp_path: Path, name: str) -> None:
    assert not differences(name, played(mp64, root, tmp_path, name))


@pytest.mark.parametrize("name", ON_32_BITS)
def test_so_it_is_where_words_are_as_short_as_a_board_s(mp32: Interpreter, root: Path, tmp_path: Path, name: str) -> None:
    assert not differences(name, played(mp32, root, tmp_path, name))


def test_every_day_is_recorded() -> None:
    assert DAYS == sorted(golden.names(needs.interpreter(64)))


def test_a_watt_in_one_limit_is_seen(mp64: Interpreter, root: Path) -> None:
    assert golden.differs(mp64, root, "late", "max_charge_power=99.999")


def test_a_day_that_does_not_exist_says_so(mp64: Interpreter, root: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        golden.play(mp64, root, root, "tomorrow")
