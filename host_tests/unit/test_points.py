"""The table of points: what is made of it is current, a value added to it shows everywhere, and what cannot be is refused."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.build import slots

ROOT = Path(__file__).resolve().parents[2]
NEW = '    ("pcs", im.PCS_FAN, "0.1 degC", "fan_temperature", "fan", im.SEQ_PCS, -400, 1500, 310, "temperature of its fan"),\n'
BEHIND = '    ("meter", im.METER_P,'
ASKED = """
import gc, json, sys
sys.path.insert(0, {tree!r})
from host_tests import shims
shims.install()
gc.mem_alloc = gc.mem_free = lambda: 1 << 20
sys.path.insert(0, {tree!r})
from host_tests.both.plant import Plant
from firmware import image as im, points
from firmware.services import monitor
plant = Plant().ready()
class App:
    pm = plant.pm
    metering = type("Metering", (), {{"report": lambda self: {{}}}})()
said = [plant.pm.stats()["fan_temperature"], dict(monitor.state(App))["fan"]]
plant.force[im.PCS_FAN] = 455
plant.cycle()
said += [plant.pm.stats()["fan_temperature"], dict(monitor.state(App))["fan"]]
print(json.dumps([said, points.__file__]))
"""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what the table is in and of what is made of it; tools.build.slots works on it."""
    for name in ("firmware", "lib", "host_tests", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "points.md", tmp_path / "docs" / "points.md")
    monkeypatch.setattr(slots, "ROOT", tmp_path)
    return tmp_path


def edit(tree: Path, old: str, new: str) -> None:
    file = tree / "firmware" / "points.py"
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


def test_a_value_added_to_the_table_shows_everywhere(tree: Path) -> None:
    edit(tree, BEHIND, NEW + BEHIND)
    assert slots.main(["--check"]) == 1, "what is made of the table is not current"
    assert slots.main([]) == 0 and slots.main(["--check"]) == 0
    done = subprocess.run([sys.executable, "-c", ASKED.format(tree=str(tree))], capture_output=True, text=True, cwd=tree)
    assert done.returncode == 0, done.stderr
    said, where = json.loads(done.stdout)
    assert where == str(tree / "firmware" / "points.py")
    assert said == [31.0, 31.0, 45.5, 45.5], "what a healthy site reports, then what was written"
    text = (tree / "docs" / "points.md").read_text()
    assert "| PCS_FAN | 0.1 degC | fan_temperature, degC | fan | inverter | -400 to 1500 | temperature of its fan |" in text


def test_other_blocks_keep_their_numbers_when_one_grows(tree: Path) -> None:
    before = {point.name: point.number for point in slots.read().points}
    edit(tree, BEHIND, NEW + BEHIND)
    after = {point.name: point.number for point in slots.read().points}
    assert after.pop("PCS_FAN") == after["PCS_S_MAX"] + 1
    assert after == before


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        (BEHIND, NEW.replace("PCS_FAN", "PCS_P") + BEHIND, "slot PCS_P stands in two rows"),
        (BEHIND, NEW.replace("fan_temperature", "power") + BEHIND, "key power stands in two rows"),
        (BEHIND, NEW.replace("0.1 degC", "degF") + BEHIND, "unit 'degF' is none of UNITS"),
        (BEHIND, NEW.replace("SEQ_PCS", "SEQ_IO") + BEHIND, "group SEQ_IO is none of block pcs"),
        (BEHIND, NEW.replace("-400", "1501") + BEHIND, "1501 is above 1500"),
        (BEHIND, "".join(NEW.replace("FAN", f"FAN_{i}").replace("fan", f"fan{i}") for i in range(2)) + BEHIND, "block pcs has 18"),
        ('("site", im.AGE, "ms", "", "", 11,', '("site", im.AGE, "ms", "", "", 10,', "AGE takes 10 slots, there are 11 groups"),
        ('("pv", im.SEQ_PV, "pv", im.HAS_PV, "PV"),', '("pv", im.SEQ_NEW, "pv", im.HAS_PV, "PV"),', "SEQ_NEW"),
    ],
)
def test_a_table_that_cannot_be_is_refused(tree: Path, old: str, new: str, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    edit(tree, old, new)
    image = (tree / "firmware" / "image.py").read_text()
    assert slots.main([]) == 1
    assert word in capsys.readouterr().out
    assert (tree / "firmware" / "image.py").read_text() == image, "and nothing is written"
