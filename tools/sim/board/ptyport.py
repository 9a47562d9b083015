"""The simulated board's serial port as a file of this machine: a pseudo-terminal that mpremote or a terminal program opens.

What the board sends while nobody reads is kept as far as the terminal's buffer goes, and dropped beyond, as a USB port does.
"""

import asyncio
import contextlib
import os
import socket
import tty
from pathlib import Path

from tools import claims
from tools.sim.board.board import Board


def refused(path: Path) -> str:
    """Why the port cannot be linked there, "" if it can."""
    holder = claims.holder(claims.of_path(path))
    if holder:
        return f"{path}: {claims.named(holder)} has its board there: end it, or give another path"
    if path.is_symlink() and os.readlink(path).startswith("/dev/pts/"):
        return ""  # one of an earlier run, which has ended
    if path.is_symlink() or path.exists():
        return f"{path}: there is something already, and it is no pseudo-terminal"
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        return f"{path}: cannot be made there"
    return ""


class PtyPort:
    """`path` leads to the board's console between open() and close()."""

    def __init__(self, board: Board, path: Path) -> None:
        self.board = board
        self.path = path
        self.dropped = 0  # bytes of the board that nobody read
        self._master = self._slave = -1
        self._typed: asyncio.Queue[bytes] = asyncio.Queue()
        self._typing: asyncio.Task[None] | None = None
        self._claim: socket.socket | None = None  # of the path, against another run

    def open(self) -> None:
        """Make the pseudo-terminal and the link to it.  OSError where it cannot be made; claims.Taken: another has it."""
        self._claim = claims.claim(claims.of_path(self.path))
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self.path.symlink_to(os.ttyname(self._slave))
        asyncio.get_running_loop().add_reader(self._master, self._readable)
        self._typing = asyncio.create_task(self._type())
        self.board.on_data = self._said
        self.board.prompt = True  # who is at a port finds it there when the program is over

    async def close(self) -> None:
        """Remove both."""
        self.board.on_data = None
        if self._typing is not None:
            self._typing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._typing
        asyncio.get_running_loop().remove_reader(self._master)
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        os.close(self._slave)
        os.close(self._master)
        if self._claim is not None:
            self._claim.close()

    def _readable(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            self._typed.put_nowait(os.read(self._master, 4096))

    async def _type(self) -> None:
        while True:
            await self.board.write(await self._typed.get())

    def _said(self, data: bytes) -> None:
        try:
            sent = os.write(self._master, data)
        except BlockingIOError:
            sent = 0
        self.dropped += len(data) - sent
