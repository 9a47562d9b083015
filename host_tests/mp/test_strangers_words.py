"""What a device says of itself leaves nothing behind in the interpreter's table of names.

Every character that is a text of its own for a moment stays there for good, and the table grows by doubling: an inverter
whose name had turned to rubbish made the board ask for 18 KB in one piece.
"""

import os
import re
import subprocess
from pathlib import Path

from tools.interpreters import Interpreter


def names(told: str) -> set[str]:
    """Every name that the interpreter has made while it ran."""
    return set(re.findall(r"Q\((.*?)\)\n", told, re.S))


def test_strangers_words_are_not_kept_as_names(mp32: Interpreter, root: Path) -> None:
    command = [*mp32.command, str(root / "host_tests/mp/on_board/strangers_words.py")]
    env = {**os.environ, "MICROPYPATH": f"{root}:{root / 'lib'}:{root / 'tools' / 'sim' / 'board' / 'modules'}:.frozen"}
    told = subprocess.run(command, capture_output=True, env=env, check=True, timeout=60).stdout.decode("latin-1")
    before, after = told.split("----\n")
    assert len(names(before)) > 100
    assert names(after) == names(before)
