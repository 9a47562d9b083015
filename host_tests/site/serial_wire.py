"""An RS485 line made of ptys: what one node sends, all others receive, at the pace of the line.

Each node gets the path of a pty.  Bytes take their time (10 bits each at the baud rate), and `spoil` may change,
drop, double or add bytes of a message on the way.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import tty
from collections.abc import AsyncIterator, Callable
from types import TracebackType


class Wire:
    """The line.  `log`: (node, bytes) of every burst that was put on it."""

    def __init__(self, baudrate: int = 115200, bits: int = 10) -> None:
        self.byte_s = bits / baudrate
        self.spoil: Callable[[int, bytes], bytes] | None = None
        self.echoes: set[int] = set()  # nodes that receive what they send
        self.log: list[tuple[int, bytes]] = []
        self.paths: list[str] = []
        self._masters: list[int] = []
        self._slaves: list[int] = []
        self._queue: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._free_at = 0.0

    def add(self) -> str:
        """A new node: the path of its pty."""
        master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        node = len(self._masters)
        self._masters.append(master)
        self._slaves.append(slave)  # kept open, or the master would see a hang-up between two openings
        self.paths.append(os.ttyname(slave))
        asyncio.get_running_loop().add_reader(master, self._sent, node)
        return self.paths[-1]

    def _sent(self, node: int) -> None:
        with contextlib.suppress(OSError):
            data = os.read(self._masters[node], 4096)
            self.log.append((node, data))
            self._queue.put_nowait((node, data))

    async def _carry(self) -> None:
        while True:
            node, data = await self._queue.get()
            if self.spoil is not None:
                data = self.spoil(node, data)
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + len(data) * self.byte_s
            if self._free_at > now:
                await asyncio.sleep(self._free_at - now)
            self.inject(data, node)

    def inject(self, data: bytes, sender: int = -1) -> None:
        """Bytes that appear on the line at once, as noise does (or the message of `sender`)."""
        for node, master in enumerate(self._masters):
            if node != sender or node in self.echoes:
                with contextlib.suppress(BlockingIOError):
                    os.write(master, data)

    async def __aenter__(self) -> Wire:
        self._task = asyncio.create_task(self._carry())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task
        self._task.cancel()
        for fd in self._masters:
            asyncio.get_running_loop().remove_reader(fd)
        for fd in self._masters + self._slaves:
            os.close(fd)


@contextlib.asynccontextmanager
async def wire(baudrate: int = 115200) -> AsyncIterator[Wire]:
    """A line for the length of a with block."""
    async with Wire(baudrate) as one:
        yield one
