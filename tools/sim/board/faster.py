"""A board and its site in a time that passes several times as fast as the host's: hours in minutes, for what is counted.

What a wait lasts is divided; what work lasts is not.  So it is for a board at full speed, and durations mean nothing.
The board is the 32-bit interpreter with faster.c preloaded, which a C compiler makes here.
"""

import asyncio
import os
import selectors
import shutil
import subprocess
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_suffix(".c")
MOST = 20  # times; beyond it the host's own work is no small part of a period any more


class _Selector(selectors.DefaultSelector):
    """Waits a part of what it is asked to."""

    factor = 1

    def select(self, timeout: float | None = None) -> list[Any]:
        return super().select(timeout / self.factor if timeout and timeout > 0 else timeout)


def run(work: Coroutine[Any, Any, None], factor: int) -> None:
    """As asyncio.run, with time.monotonic() and every wait `factor` times as fast."""
    if factor == 1:
        asyncio.run(work)
        return
    host = time.monotonic
    began = host()
    selector = _Selector()
    selector.factor = factor
    loop = asyncio.SelectorEventLoop(selector)
    asyncio.set_event_loop(loop)
    time.monotonic = lambda: began + (host() - began) * factor
    try:
        loop.run_until_complete(work)
    finally:
        time.monotonic = host
        asyncio.set_event_loop(None)
        loop.close()


def environment(factor: int, place: Path) -> dict[str, str]:
    """What the 32-bit interpreter is started with so that its time passes as fast; what that needs is made in `place`.

    (The shell that starts it says that it cannot use it: that is another machine's.)  ValueError for a factor that cannot
    be, OSError where nothing can be compiled.
    """
    if not (isinstance(factor, int) and 1 <= factor <= MOST):
        raise ValueError(f"{factor} times as fast: allowed are whole numbers from 1 to {MOST}")
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise OSError("faster.c: needs a C compiler (cc, or the one that CC names)")
    made = place / "faster.so"
    options = ["-m32", "-O2", "-fPIC", "-shared", "-nostdlib", "-ffreestanding", f"-DFASTER={factor}"]
    done = subprocess.run([compiler, *options, "-o", str(made), str(SOURCE)], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise OSError(f"faster.c: {done.stderr.strip()[-500:]}")
    return {"LD_PRELOAD": str(made)}
