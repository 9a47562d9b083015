"""A rig for one device driver: the real driver in a real MicroPython, its peer in this process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from firmware import image as im

ROOT = Path(__file__).resolve().parents[2]
BOARD_SIDE = ROOT / "host_tests" / "mp" / "on_board"


class Rig:
    """The driver's side as a test sees it: what it put into the image, what it printed, and the command it reads."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.inp: list[int] = []
        self.printed: list[str] = []
        self._process = process
        self._counters: dict[str, Any] | None = None
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout
        async for raw in self._process.stdout:
            line = raw.decode().strip()
            if line.startswith('{"inp"'):
                self.inp = json.loads(line)["inp"]
            elif line.startswith('{"counters"'):
                self._counters = json.loads(line)["counters"]
            else:
                self.printed.append(line)

    async def send(self, message: dict[Any, int]) -> None:
        """Put values into image.now by slot number (or one of the words rig_board.py knows)."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps({str(k): v for k, v in message.items()}).encode() + b"\n")
        await self._process.stdin.drain()

    async def command(self, watts: int, run: int = 1) -> None:
        """What the control cycle commands."""
        await self.send({im.CMD_P: watts, im.CMD_RUN: run})

    async def reactive(self, var: int) -> None:
        """What a service asks for, + injects."""
        await self.send({im.CMD_Q: var})

    async def counters(self) -> dict[str, Any]:
        """The driver's counters."""
        self._counters = None
        await self.send({"counters": 1})
        await self.until(lambda: self._counters is not None)
        assert self._counters is not None
        return self._counters

    async def until_error(self, words: str, seconds: float = 60.0) -> None:
        """Wait until the driver's last error has these words: errors of one box take turns in it."""
        async with asyncio.timeout(seconds):
            while words not in (await self.counters())["last_error"]:
                await asyncio.sleep(0.02)

    async def until(self, true: Callable[[], bool], seconds: float = 60.0) -> float:
        """Wait until it is true, and say how long that took; fails after `seconds`."""
        begun = time.monotonic()
        while not true():
            spent = time.monotonic() - begun
            if self._process.returncode is not None:
                raise AssertionError("the driver ended:\n" + "\n".join(self.printed))
            assert spent < seconds, f"not within {seconds} s; image {self.inp[:60]}; printed {self.printed}"
            await asyncio.sleep(0.01)
        return time.monotonic() - begun

    def has(self, **slots: int) -> bool:
        """These slots of the image (by their names) have these values."""
        return bool(self.inp) and all(self.inp[getattr(im, name)] == value for name, value in slots.items())

    def seq(self, slot: int) -> int:
        """How often a group was heard."""
        return self.inp[slot] if self.inp else 0

    async def stop(self) -> None:
        """End the interpreter."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader


@contextlib.asynccontextmanager
async def rig(
    command: Sequence[str], module: str, options: dict[str, Any], env: dict[str, str] | None = None, **more: Any
) -> AsyncIterator[Rig]:
    """Run driver `module` with `options` (the others at their defaults) under the interpreter `command`."""
    path = f"{ROOT}:{ROOT / 'lib'}:{BOARD_SIDE}:{ROOT / 'tools' / 'sim' / 'board' / 'modules'}:.frozen"
    setup = json.dumps({"module": module, "options": options, **more})  # argv would not take it: 255 characters
    process = await asyncio.create_subprocess_exec(
        *command,
        str(BOARD_SIDE / "rig_board.py"),
        env={**os.environ, "MICROPYPATH": path, "RIG_SETUP": setup, **(env or {})},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    one = Rig(process)
    try:
        yield one
    finally:
        await one.stop()
