"""Fixtures and rules for every test: CPython shims, the MicroPython interpreters, loud skips.

REQUIRE_MICROPYTHON32=1 (set by .ci/run) turns the skip of 32-bit tests into a failure.
"""

import os
from pathlib import Path

import pytest

from host_tests import shims

shims.install()

from tools.interpreters import Interpreter, find32, find64  # noqa: E402  (needs the path that shims adds)

ROOT = Path(__file__).resolve().parents[1]
_REASON_32 = "the 32-bit MicroPython is NOT there, so nothing of the ESP32's word size was tested: run `make setup`"


def _required() -> bool:
    return os.environ.get("REQUIRE_MICROPYTHON32", "") not in ("", "0")


def _need(interpreter: Interpreter | None, reason: str) -> Interpreter:
    if interpreter is not None:
        return interpreter
    if _required():
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository root, which is also the board's root directory."""
    return ROOT


@pytest.fixture(scope="session")
def mp64() -> Interpreter:
    """The 64-bit MicroPython; `mp64.command` starts it."""
    return _need(find64(), "the 64-bit MicroPython is not there: run `make setup`")


@pytest.fixture(scope="session")
def mp32() -> Interpreter:
    """The 32-bit MicroPython, skipped loudly (or failed, see above) where it cannot be had."""
    return _need(find32(), _REASON_32)


@pytest.fixture(params=[64, 32], ids=["mp64", "mp32"])
def mp(request: pytest.FixtureRequest) -> Interpreter:
    """Both interpreters in turn: a test that takes `mp` runs once on each."""
    return request.getfixturevalue(f"mp{request.param}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says in red, after the counts, that the 32-bit interpreter was missing."""
    skipped = [r for r in terminalreporter.stats.get("skipped", []) if _REASON_32 in str(r.longrepr)]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests skipped: {_REASON_32}", red=True, bold=True)
