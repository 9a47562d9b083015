"""A newcomer's test: on a copy of the tree a value, a limit and a fault are added, each in the files that docs/architecture.md
(Seams) names, `make slots` is run, and on the real interpreter the limit binds, all three show, and what was raised clears.
Then a battery: one table file, and its DBC, its simulated pack and its place in `make size` are there.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.interpreters import Interpreter

ROOT = Path(__file__).resolve().parents[2]
VALUE = '    ("pcs", im.PCS_FAN, "count", "fan_speed", "fan", im.SEQ_PCS, 0, 6000, 1200, "turns of its fan in a minute"),\n'
LIMIT = '    "transformer",  # what the site\'s transformer carries while the inverter is hot\n'
FAULT = '    ("hot_cabinet", 1, 100, 1000, FAULT, NO_CHARGE),  # charging heats it most\n'

TRIAL = '''
from firmware import image as im
from firmware.limits import published
from host_tests.both.plant import Plant

plant = Plant().ready()
plant.force[im.PCS_FAN] = 900
plant.pm.set_constant_power(-60.0)
plant.run(8)
stats = plant.pm.stats()
assert stats["fan_speed"] == 900, stats
assert plant.command() == -60000 and stats["binding"] is None

plant.force[im.PCS_TEMP] = 650  # the limit binds
plant.run(3)
stats = plant.pm.stats()
assert plant.command() == -30000 and stats["binding"] == "transformer" and "transformer" in stats["reason"], stats["reason"]
assert ("transformer", 30000, 30000) in published(plant.image)
assert "hot_cabinet" not in stats["faults"]

plant.force[im.PCS_TEMP] = 850  # the fault forbids charging
plant.run(2)
stats = plant.pm.stats()
assert plant.command() == 0 and stats["faults"] == ["hot_cabinet"] and stats["binding"] == "fault", stats
assert "hot_cabinet" in stats["reason"] and [fault["name"] for fault in plant.pm.faults() if fault["active"]] == ["hot_cabinet"]
row = plant.events("FAULT_RAISED")[-1]

del plant.force[im.PCS_TEMP]  # and all of it clears
plant.run(8)
stats = plant.pm.stats()
assert plant.command() == -60000 and stats["faults"] == [] and stats["binding"] is None, stats
assert plant.events("FAULT_CLEARED")[-1] == row
print("all three")
'''

BATTERY = '''"""Acme's battery on CAN: one frame of state and one of limits, every half second."""

import sys

from firmware import image as im
from firmware.devices import can_fields as f
from firmware.devices.can_tables import Battery

OPTIONS = (
    ("bus", "str", "REQUIRED", 0, 0, "name of the CAN bus"),
    ("period_ms", "int", 500, 100, 60000, "ms between its reports"),
    ("current_positive", ("charge", "discharge"), "charge", 0, 0, "which way a positive current flows on this bus"),
    ("current_max", "int", 500, 1, 3000, "A; a current or limit beyond it cannot be true"),
    ("voltage_max", "int", 1500, 10, 1500, "V; a battery voltage beyond it cannot be true"),
)
EXTENDED = ADDRESSED = FLAG_WORDS = False
SUBSCRIBE = ((0x2A0, 0x7FE),)
SILENT_REPORTS = 3
BEAT_MS = 500
BYTE_ORDER = "little"
FRAMES = (
    (0x2A0, 8 | im.SEQ_BMS << 4 | 1 << 8 | 1 << 16, (
        im.BMS_V << 12 | 0 << 8 | f.U16 | f.VOLTS, im.BMS_I << 12 | 2 << 8 | f.S16 | f.AMPS | f.CURRENT,
        im.BMS_SOC << 12 | 4 << 8 | f.U8 | f.PERCENT, im.BMS_TEMP << 12 | 6 << 8 | f.S16 | f.DEGREES), ()),
    (0x2A1, 8 | im.SEQ_BMS_LIMITS << 4 | 1 << 8 | 1 << 16, (
        im.BMS_V_MAX << 12 | 0 << 8 | f.U16 | f.VOLTS, im.BMS_V_MIN << 12 | 2 << 8 | f.U16 | f.VOLTS,
        im.BMS_I_CHG << 12 | 4 << 8 | f.U16 | f.AMPS | f.CHARGE_LIMIT,
        im.BMS_I_DIS << 12 | 6 << 8 | f.U16 | f.AMPS | f.DISCHARGE_LIMIT), ()),
)
PAIRS = EQUIPMENT = ()


class Device(Battery):
    """One such battery."""

    def __init__(self, name, options, image, buses):
        super().__init__(name, options, image, buses, sys.modules[__name__])

    def poll(self, _turn):
        """It wants nothing."""
        return True


def equipment(_known, _order):
    """It says nothing of itself."""
    return {}
'''
BATTERY_TRIAL = '''
from tools import bms_tables
import canbus
from firmware import image as im
from host_tests.both.fakecan import FakeCAN
from tools.build import size
from tools.generate import gen_dbc
from tools.sim.devices import bms_can
from tools.sim.physics.plant import Plant

assert "BO_ 672 BMS_2A0: 8 BMS" in gen_dbc.dbc("acme"), gen_dbc.dbc("acme")
assert size.variants()["device bms_acme"][0]["devices"]["x"]["type"] == "bms_acme"
table = bms_tables.makers()["acme"]
report = Plant().bms.report()
fake = FakeCAN(depth=100)
fake.set_filters(None)
bus, image = canbus.Bus(fake), im.Image()
table.Device("bms", {**{row[0]: row[2] for row in table.OPTIONS}, "bus": "can0"}, image, {"can0": bus})
for can_id, data in bms_can.table_frames(report, table):
    fake.arrive(can_id, data, False)
    bus.drain()
seen = [image.inp[slot] for slot in (im.BMS_V, im.BMS_SOC, im.BMS_I_DIS, im.SEQ_BMS, im.SEQ_BMS_LIMITS)]
assert seen == [round(report.voltage_v * 10), report.soc_pct * 100, round(report.discharge_limit_a * 10), 1, 1], seen
print("a battery")
'''


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, (file, old)
    file.write_text(text.replace(old, new))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for folder in ("firmware", "lib", "tools", "host_tests/both", "host_tests/shims", "docs"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_a_value_a_limit_and_a_fault_are_added_by_the_seams(tree: Path, mp: Interpreter) -> None:
    firmware = tree / "firmware"
    # a value: one row
    last = '    ("pcs", im.PCS_S_MAX,'
    edit(firmware / "points.py", last, VALUE + last)
    # a limit: one row, one line
    edit(firmware / "limits.py", '    "banks",', LIMIT + '    "banks",')
    line = "        img[row + _ROW_MODE] = p\n"
    bound = "        img[row + _ROW_TRANSFORMER] = _RANGE\n        if img[_PCS_TEMP] > 600 and img[_PCS_TEMP] < 5000:\n"
    edit(firmware / "kernel" / "site_limits.py", line, line + bound + "            img[row + _ROW_TRANSFORMER] = 30000\n")
    # a fault: one row, one line
    edit(firmware / "faults.py", "    (\"inverter_silent\",", FAULT + "    (\"inverter_silent\",")
    line = "    if img[_PARTS_LOST] != 0:\n"
    seen = "    if img[_PCS_TEMP] > 800 and img[_PCS_TEMP] < 5000:\n        found = found | _C_HOT_CABINET\n"
    edit(firmware / "kernel" / "diagnosis.py", line, seen + line)
    made = subprocess.run([sys.executable, "-B", "-m", "tools.build.slots"], cwd=tree, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    trial = tree / "trial.py"
    paths = [str(tree), str(tree / "lib"), str(tree / "host_tests" / "both"), ".frozen"]
    trial.write_text(f"import sys\nsys.path[:] = {paths!r}\n" + TRIAL)
    done = subprocess.run([*mp.command, str(trial)], cwd=tree, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "all three" in done.stdout, done.stdout + done.stderr
    text = (tree / "docs" / "points.md").read_text()
    assert "PCS_FAN" in text


def test_a_battery_is_one_file(tree: Path) -> None:
    (tree / "firmware" / "devices" / "bms_acme.py").write_text(BATTERY)
    (tree / "trial.py").write_text(BATTERY_TRIAL)
    command = [sys.executable, "-c", "import sys; sys.path.insert(0, ''); exec(open('trial.py').read())"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "a battery" in done.stdout, done.stdout + done.stderr
