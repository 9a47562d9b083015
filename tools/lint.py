"""Ruff over everything, mypy over host code and over board code (ESP32 stubs), copied slot numbers, house rules: `make lint`."""

import re
import subprocess
import sys
from pathlib import Path

from tools import house_rules
from tools.build import slots
from tools.generate import gen_ems, gen_ems_can

ROOT = Path(__file__).resolve().parents[1]
BIN = ROOT / ".venv" / "bin"
BOARD_CODE = ("boot.py", "main.py", "firmware", "lib")

# What mypy says about board code and is not an error of ours; each pattern with its reason.
NOT_OURS = (
    (r"^\.cache/", "the stubs' own flaws"),
    (r"_Ticks", "the stubs make ticks an opaque type; here they are ints, as the language has them"),
    (r'"ptr(8|16|32)"', "viper takes any buffer for a pointer; the stubs want a cast at every call"),
    (r'"None" has no attribute|Value of type "None"', "attributes and list slots start as None: see mypy-board.ini"),
    (r'Cannot determine type of "_', "the same, seen from a base class"),
    (r'__setitem__" of "list" matches argument', "a list of None is preallocated, then filled"),
    (r'"(PowerConfig|ChargeParams|DischargeParams|Stats)" has no attribute', "fields are made from their tables"),
)


def ruff() -> bool:
    """True when clean."""
    return subprocess.run([str(BIN / "ruff"), "check", "."], cwd=ROOT).returncode == 0


def mypy_host() -> bool:
    """True when clean."""
    return subprocess.run([str(BIN / "mypy")], cwd=ROOT).returncode == 0


def mypy_board() -> bool:
    """True when nothing but NOT_OURS remains."""
    paths = [name for name in BOARD_CODE if (ROOT / name).exists()]
    command = [str(BIN / "mypy"), "--config-file", "mypy-board.ini", "--no-error-summary", *paths]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if " note: " not in line]
    ours = [line for line in lines if not any(re.search(pattern, line) for pattern, _ in NOT_OURS)]
    for line in ours:
        print(line)
    if done.stderr.strip():
        print(done.stderr.strip())
        return False
    print(f"mypy, board code against the ESP32 stubs: {len(ours)} errors, {len(lines) - len(ours)} known not to be ours")
    return not ours


def copied_slots() -> bool:
    """True when the kernels' constants are those of the slot table."""
    return slots.main(["--check"]) == 0


def ems_registers() -> bool:
    """True when the EMS's register tables and their map are those of the models and of gen_ems_points.py."""
    return gen_ems.main(["--check"]) == 0


def ems_frames() -> bool:
    """True when the frames for an EMS on CAN are what the table of points makes of them."""
    return gen_ems_can.main(["--check"]) == 0


def house() -> bool:
    """True when every rule of house_rules.py holds, but for what house_debts.py owns up to."""
    found = house_rules.beyond(house_rules.everything())
    for line in found:
        print(line)
    return not found


def main() -> int:
    """Runs them all, whatever the first says."""
    results = {"ruff": ruff(), "mypy (host)": mypy_host(), "mypy (board)": mypy_board(), "slots": copied_slots()}
    results["EMS registers"] = ems_registers()
    results["EMS frames"] = ems_frames()
    results["house rules"] = house()
    for name, clean in results.items():
        if not clean:
            print(f"lint: {name} found something", file=sys.stderr)
    return 0 if all(results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
