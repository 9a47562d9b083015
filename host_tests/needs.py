"""The rule for tests that need an interpreter: without it they skip loudly, or fail where it is required."""

import os

import pytest

from tools.interpreters import Interpreter, find32, find64
from tools.sim.board.chip import start

REASON_32 = "the 32-bit MicroPython is NOT there, so nothing of the ESP32's word size was tested: run `make setup`"
REASON_CHIP = "the chip's clock is NOT there, so nothing was tested at a chip's speed"
REASON_64 = "the 64-bit MicroPython is not there: run `make setup`"


def required() -> bool:
    """True where a missing 32-bit interpreter is a failure (REQUIRE_MICROPYTHON32=1, set by .ci/run)."""
    return os.environ.get("REQUIRE_MICROPYTHON32", "") not in ("", "0")


def interpreter(bits: int) -> Interpreter:
    """The interpreter; skips or fails the running test where there is none."""
    found = find32() if bits == 32 else find64()
    if found is not None:
        return found
    reason = REASON_32 if bits == 32 else REASON_64
    if required():
        pytest.fail(reason)
    pytest.skip(reason)


def chip(name: str) -> Interpreter:
    """The 32-bit interpreter at that chip's speed; skips the running test where there is none, or fails (REQUIRE_CHIP=1)."""
    reason = start.missing()
    if reason is None:
        return start.interpreter(name)
    reason = f"{REASON_CHIP}: {reason}"
    if os.environ.get("REQUIRE_CHIP", "") not in ("", "0"):
        pytest.fail(reason)
    pytest.skip(reason)
