"""Lets board code import under CPython: `install()` adds what MicroPython has and CPython lacks.

Host programs that run the manager in process (the soak, benches) call it too:

    from host_tests import shims
    shims.install()
"""

import asyncio
import builtins
import sys
import time
from pathlib import Path

_TICKS_PERIOD = 1 << 30  # as on a board: ticks_ms and ticks_us wrap here
_TICKS_HALF = _TICKS_PERIOD // 2

ROOT = Path(__file__).resolve().parents[2]


def _ticks_ms() -> int:
    return (time.monotonic_ns() // 1_000_000) & (_TICKS_PERIOD - 1)


def _ticks_us() -> int:
    return (time.monotonic_ns() // 1_000) & (_TICKS_PERIOD - 1)


def _ticks_diff(later: int, earlier: int) -> int:
    return ((later - earlier + _TICKS_HALF) & (_TICKS_PERIOD - 1)) - _TICKS_HALF


def _ticks_add(ticks: int, delta: int) -> int:
    return (ticks + delta) & (_TICKS_PERIOD - 1)


def _identity(value: object) -> object:
    return value


async def _sleep_ms(ms: int) -> None:
    await asyncio.sleep(ms / 1000)


async def _wait_for_ms(awaitable: object, ms: int) -> object:
    return await asyncio.wait_for(awaitable, ms / 1000)  # type: ignore[arg-type]


def install() -> None:
    """Puts the repository root, lib/ and the shim modules on sys.path and adds ticks, sleep_ms and viper's types.

    Safe to call more than once.  The types (`ptr32` ...) are identities, so a viper function is plain Python.
    """
    for entry in (ROOT / "host_tests" / "shims", ROOT / "lib", ROOT):
        if str(entry) not in sys.path:
            sys.path.insert(0, str(entry))
    for name in ("ptr8", "ptr16", "ptr32", "uint"):
        if not hasattr(builtins, name):
            setattr(builtins, name, _identity)
    extras = {
        "ticks_ms": _ticks_ms,
        "ticks_us": _ticks_us,
        "ticks_diff": _ticks_diff,
        "ticks_add": _ticks_add,
        "sleep_ms": lambda ms: time.sleep(ms / 1000),
        "sleep_us": lambda us: time.sleep(us / 1_000_000),
    }
    for name, function in extras.items():
        if not hasattr(time, name):
            setattr(time, name, function)
    if not hasattr(asyncio, "sleep_ms"):
        asyncio.sleep_ms = _sleep_ms  # type: ignore[attr-defined]
        asyncio.wait_for_ms = _wait_for_ms  # type: ignore[attr-defined]
