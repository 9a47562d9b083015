"""A MicroPython process of host_tests/mp/on_board that talks one JSON line at a time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tools.interpreters import Interpreter

ROOT = Path(__file__).resolve().parents[2]
BOARD_SIDE = ROOT / "host_tests" / "mp" / "on_board"


class BoardProcess:
    """The process; `ask` sends a line and returns the next line that comes, both as JSON."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> str:
        """The next line it prints; what it died of if there is none."""
        assert self._process.stdout
        raw = await asyncio.wait_for(self._process.stdout.readline(), 30)
        assert raw, "the process has ended"
        return raw.decode().strip()

    async def say(self, text: str) -> None:
        """Send a line."""
        assert self._process.stdin
        self._process.stdin.write(text.encode() + b"\n")
        await self._process.stdin.drain()

    async def ask(self, message: Any) -> Any:
        """Send a message, return the answer."""
        await self.say(message if isinstance(message, str) else json.dumps(message))
        text = await self.line()
        try:
            return json.loads(text)
        except ValueError:
            rest = b"" if not self._process.stdout else await self._process.stdout.read(4000)
            raise AssertionError(text + "\n" + rest.decode()) from None

    async def stop(self) -> None:
        """Kill it."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


@contextlib.asynccontextmanager
async def board_process(
    mp: Interpreter, script: str, setup: dict[str, Any], env: dict[str, str] | None = None, heap: str = "512K"
) -> AsyncIterator[BoardProcess]:
    """Run host_tests/mp/on_board/`script` with `setup` under `mp`, ready to be asked."""
    path = ":".join(map(str, (BOARD_SIDE, ROOT / "tools" / "sim" / "board" / "modules", ROOT, ROOT / "lib", ".frozen")))
    process = await asyncio.create_subprocess_exec(
        *mp.command,
        "-X",
        f"heapsize={heap}",
        str(BOARD_SIDE / script),
        json.dumps(setup),
        env={**os.environ, "MICROPYPATH": path, **(env or {})},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    one = BoardProcess(process)
    try:
        first = await one.line()
        assert "ready" in first, first + (await process.stdout.read(4000)).decode()  # type: ignore[union-attr]
        yield one
    finally:
        await one.stop()
