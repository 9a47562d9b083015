"""Runs parts of the test suite: `python -m tools.run_tests lint fast all times [-- pytest arguments]`.

fast: of unit and both what is quick, three quarters of the tests; all: every test; times: see host_tests/times.py.
Those of host_tests/site mostly wait for real time: six at a time, then those that keep a pace, three files at a time.  The others
compute: they use, at a low priority, what of the processors that leaves.  Each of these three runs reads the files of its own
tests only: that takes seconds a process.  Lint runs beside tests too.  What runs beside is shown when it has ended.

Properties meet the examples of the change's seed (tools/change_seed.py): -- --hypothesis-seed=NUMBER gives others.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tools.change_seed import change_seed

ROOT = Path(__file__).resolve().parents[1]
NO_TESTS = 5  # pytest's status when nothing was selected
CORES = str(os.cpu_count() or 2)
SHARING = "worksteal"
GIVES_WAY = ("nice", "-n", "10")
LIVE = "host_tests/site"  # all in it is marked live (host_tests/conftest.py)
PACED = (LIVE, "host_tests/mp")  # where tests marked serial are; test_run_tests.py looks


def _pytest(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "-q", f"--hypothesis-seed={change_seed()}", *arguments]


def _status(returned: int) -> int:
    return 0 if returned == NO_TESTS else returned


def pytest(*arguments: str) -> int:
    """One pytest run; its status, with "nothing selected" as success."""
    return _status(subprocess.run(_pytest(*arguments), cwd=ROOT).returncode)


class Beside:
    """A command that runs beside what comes until `end()`, which shows what it has said."""

    def __init__(self, command: list[str]) -> None:
        self._said = tempfile.TemporaryFile()
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=self._said, stderr=subprocess.STDOUT)

    def end(self) -> int:
        """Its status, once it has ended; "nothing selected" is success."""
        status = self._process.wait()
        self._said.seek(0)
        sys.stdout.flush()
        sys.stdout.buffer.write(self._said.read())
        sys.stdout.flush()
        self._said.close()
        return _status(status)


def fast(extra: list[str], profile: str = "check") -> int:
    """Tiers 1 and 2, without what is slow, and with a few examples of each property; profile "times": with it, to measure it."""
    os.environ["TEST_PROFILE"] = profile
    chosen = ("-m", "not serial and not slow", "host_tests/unit", "host_tests/both")
    return pytest("-n", CORES, "--dist", SHARING, *chosen, *extra)


def everything(extra: list[str]) -> int:
    """All tiers; of those in the files that are named, where some are."""
    named = any((ROOT / name.split("::")[0]).exists() for name in extra)
    elsewhere, live, paced_ones = ((), (), ()) if named else ((f"--ignore={LIVE}",), (LIVE,), PACED)
    computing = _pytest("-n", CORES, "--dist", SHARING, "-m", "not serial and not live", *elsewhere, *extra)
    beside = Beside([*GIVES_WAY, *computing])
    waiting = pytest("-n", "6", "--dist", SHARING, "-m", "not serial and live", *live, *extra)
    # by the file: its tests share boards that take long to play
    paced = pytest("-n", "3", "--dist", "loadfile", "-m", "serial", *paced_ones, *extra)
    return beside.end() or waiting or paced


def main(arguments: list[str]) -> int:
    """See the top of the file."""
    parts = [name for name in arguments if name in ("lint", "fast", "all", "times")]
    extra = [name for name in arguments if name not in parts and name != "--"]
    if not parts:
        print(__doc__, file=sys.stderr)
        return 2
    start = time.monotonic()
    beside = Beside([sys.executable, "-m", "tools.lint"]) if "lint" in parts else None
    status = 0
    if "fast" in parts:
        status = fast(extra)
    if "times" in parts:
        status = fast(extra, "times") or status
    if "all" in parts:
        status = everything(extra) or status
    if beside:
        status = beside.end() or status
    print(f"{' and '.join(parts)}: {'passed' if status == 0 else 'FAILED'} in {time.monotonic() - start:.0f} s")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
