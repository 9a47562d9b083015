"""Runs parts of the test suite: `python -m tools.run_tests lint fast all [-- pytest arguments]`.

fast: unit and both (CPython and both MicroPythons) without the slow ones; all: every test, three at a time as most of
them wait, then those that keep a pace, two files at a time.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from tools import lint

ROOT = Path(__file__).resolve().parents[1]
NO_TESTS = 5  # pytest's status when nothing was selected


def pytest(*arguments: str) -> int:
    """One pytest run; its status, with "nothing selected" as success."""
    command = [sys.executable, "-m", "pytest", "-q", *arguments]
    status = subprocess.run(command, cwd=ROOT).returncode
    return 0 if status == NO_TESTS else status


def fast(extra: list[str]) -> int:
    """Tiers 1 and 2, without what is marked slow, and with a few examples of each property."""
    os.environ.setdefault("TEST_PROFILE", "check")
    return pytest("-n", "2", "-m", "not serial and not slow", "host_tests/unit", "host_tests/both", *extra)


def everything(extra: list[str]) -> int:
    """All tiers."""
    shared = pytest("-n", "3", "--dist", "worksteal", "-m", "not serial", *extra)
    paced = pytest("-n", "2", "--dist", "loadfile", "-m", "serial", *extra)
    return shared or paced


def main(arguments: list[str]) -> int:
    """See the top of the file."""
    parts = [name for name in arguments if name in ("lint", "fast", "all")]
    extra = [name for name in arguments if name not in parts and name != "--"]
    if not parts:
        print(__doc__, file=sys.stderr)
        return 2
    start = time.monotonic()
    status = 0
    for part in parts:
        found = lint.main() if part == "lint" else fast(extra) if part == "fast" else everything(extra)
        status = status or found
    print(f"{' and '.join(parts)}: {'passed' if status == 0 else 'FAILED'} in {time.monotonic() - start:.0f} s")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
