"""The README's program runs as it stands, on both interpreters, and does what the README says it does."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from host_tests import needs
from tools.build.stage import ROOT

README = (ROOT / "README.md").read_text()


def program() -> str:
    """The one Python program in the README."""
    found = re.findall(r"```python\n(.*?)```", README, re.S)
    assert len(found) == 1
    return found[0]


def runs(command: list[str], text: str) -> list[str]:
    """What it prints, run from the repository's root by a fresh interpreter that was told nothing more."""
    # where the README says: beside it, for that is where `tools` is found; a name of its own, for others try theirs meanwhile
    with tempfile.NamedTemporaryFile("w", dir=ROOT, prefix="example-", suffix=".py") as file:
        file.write(text)
        file.flush()
        env = {"PATH": "/usr/bin"}
        command = [*command, Path(file.name).name]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=env)
    assert done.returncode == 0 and done.stderr == "", done.stdout + done.stderr
    return done.stdout.splitlines()


def interpreter(which: str) -> list[str]:
    """Its command: this Python, or the MicroPython of so many bits."""
    return [sys.executable] if which == "python" else list(needs.interpreter(int(which)).command)


WHICH = pytest.mark.parametrize(
    "which", ["python", pytest.param("64", marks=pytest.mark.mp64), pytest.param("32", marks=pytest.mark.mp32)]
)


@WHICH
def test_the_program_charges_to_its_target_and_its_callback_is_called(which: str) -> None:
    lines = runs(interpreter(which), program())
    told = [line.split(" s ")[1] for line in lines[:-1]]
    assert told[0] == "MODE_CHANGE 1" and "MODE_CHANGE 2" in told and "FLOW_CHANGE 1" in told, lines
    assert [line for line in told if line.startswith("CHARGE_COMPLETE")], lines
    last = re.fullmatch(r"IDLE at (\d+\.\d) %, (\d+\.\d+) kWh went in", lines[-1])
    assert last and 79.9 <= float(last[1]) <= 80.1 and 1.5 < float(last[2]) < 2.0, lines[-1]


@WHICH
def test_a_star_import_gives_every_public_name(which: str) -> None:
    text = "import tools.plant\nfrom firmware import *\nprint(*sorted([name for name in globals() if name[0].isupper()]))\n"
    names = runs(interpreter(which), text)[0].split()
    assert set(names) >= {
        "PowerManager", "PowerConfig", "ChargeParams", "DischargeParams", "Mode", "Flow", "Grid", "ChargeMethod",
        "Event", "PowerError", "ConfigError",
    }  # fmt: skip


def test_the_plant_can_be_made_to_fail() -> None:
    text = program() + (
        "from firmware import image as im\n"
        "pm.set_constant_power(-20)\nrun(20)\nprint(plant.power_kw)\n"
        "plant.silent.add(im.SEQ_BMS)\nrun(20)\nprint(plant.power_kw, pm.stats()['faults'])\n"
    )
    lines = runs([sys.executable], text)
    assert "-20.0" in lines and lines[-1] == "0.0 ['bms_lost']", lines[-5:]
