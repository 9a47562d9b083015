"""A board that starts reads the tables of its firmware in flash once for each who needs them, not once for each value.

A configuration whose fields were looked up one by one, each from the file, had opened its table 66 times at every start.
"""

import json
import subprocess
from pathlib import Path

import pytest

from firmware import image as im
from tools.build import stage
from tools.interpreters import Interpreter

MADE_AND_USED = 2  # the configuration is checked when it is made, and read as a whole when the manager is

BUILD = """
import builtins, json, sys
tree = sys.argv[1]
sys.path[:] = [tree, tree + "/lib", sys.argv[2], ".frozen"]
from firmware.image import Image
from firmware.banks import divide
from firmware.config import PowerConfig
from firmware.manager import PowerManager
opened, plain = {}, builtins.open
def counted(path, *how):
    name = path[path.rfind("/") + 1 :]
    opened[name] = opened.get(name, 0) + 1
    return plain(path, *how)
builtins.open = counted
power = json.load(plain(tree + "/power.json"))
image = Image()
if len(sys.argv) > 3:
    divide(image, [(name, PowerConfig(**power), 1, 1, 0) for name in sys.argv[3]])
PowerManager(PowerConfig(**power), image, HAS)  # a number: of a board's names the table in flash is asked
print(json.dumps(opened))
"""


def opened(mp: Interpreter, root: Path, tree: Path, *banks: str) -> dict[str, int]:
    """How often a manager of the example site's configuration opens each table, as a board has it."""
    stage.stage(root, tree, mp.march)
    script = tree / "build.py"
    script.write_text(f"HAS = {im.HAS_BMS | im.HAS_PCS | im.HAS_METER}\n{BUILD}")
    power = json.loads((root / "docs" / "site.example.json").read_text())["power"]
    (tree / "power.json").write_text(json.dumps(power))  # the interpreter takes no argument of its length
    modules = root / "tools" / "sim" / "board" / "modules"
    command = [*mp.command, "-X", "heapsize=1M", str(script), str(tree), str(modules), *banks]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)


def test_a_configuration_is_read_when_it_is_made_and_when_it_is_used(mp32: Interpreter, root: Path, tmp_path: Path) -> None:
    found = opened(mp32, root, tmp_path)
    assert found.pop("config.FIELDS") == MADE_AND_USED
    assert found and set(found.values()) == {1}, found


@pytest.mark.parametrize("banks", ["ab", "abcd"])
def test_so_it_is_for_each_of_several_banks(mp32: Interpreter, root: Path, tmp_path: Path, banks: str) -> None:
    found = opened(mp32, root, tmp_path, banks)
    assert found["config.FIELDS"] == MADE_AND_USED * (len(banks) + 1)
    assert max(found.values()) <= MADE_AND_USED * (len(banks) + 1), found
