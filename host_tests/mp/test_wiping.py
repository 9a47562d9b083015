"""A factory reset on LittleFS: what is on its list stays, everything else goes, and no byte of a secret is left in the flash."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tools.interpreters import Interpreter

FIRMWARE = {"boot.py", "main.py", "switch", "generations.mpy", "lib/x.mpy", "firmware/y.mpy", "www/index.html.gz"}
GENERATIONS = {"a/firmware/y.mpy", "a/lib/x.mpy", "a/manifest", "a/tables/meter.json", "b/firmware/y.mpy"}
RECORDS = {
    "data/energy.json", "data/energy.json.old", "data/events", "data/events.1", "data/faults.json",
    "data/history/five.3", "data/history/days",
}  # fmt: skip


def wiped(mp32: Interpreter, root: Path, word: str, readsize: int) -> dict[str, Any]:
    script = root / "host_tests" / "mp" / "on_board" / "wipe.py"
    command = [*mp32.command, "-X", "heapsize=8M", str(script), str(root), str(readsize), word]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(("word", "kept"), [("ERASE", FIRMWARE | GENERATIONS | RECORDS), ("ERASE ALL", FIRMWARE | GENERATIONS)])
@pytest.mark.parametrize("readsize", [128, 512])  # as boot.py mounts it
def test_what_is_not_on_the_list_is_gone_with_every_byte_of_its_secrets(
    mp32: Interpreter, root: Path, word: str, kept: set[str], readsize: int
) -> None:
    found = wiped(mp32, root, word, readsize)
    assert set(found["left"]) == kept and found["whole"]
    assert len(found["before"]) == 4 and found["removed"], "removed alone they would be there still"
    assert found["secrets"] == []
    assert found["most"] == 1, "no step erases flash twice"
    assert found["percents"] == sorted(set(found["percents"])) and found["percents"][-1] >= 95
    assert found["free"] > 60, "what was written to overwrite is gone again"
