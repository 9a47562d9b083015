"""A CAN bus over TCP: each connection is one node that speaks slcan (LAWICEL ASCII) to "its adapter", us.

What one node sends, every other open node at the same bit rate receives, as on a wire.  python-can joins with
interface "slcan" and channel "socket://127.0.0.1:port"; so does the simulated board.
"""

import asyncio
from typing import cast

OK = b"\r"
ERROR = b"\a"
BITRATES = {
    "0": 10_000, "1": 20_000, "2": 50_000, "3": 100_000, "4": 125_000, "5": 250_000, "6": 500_000, "7": 800_000,
    "8": 1_000_000, "9": 83_300,
}
LINE_MAX = 64  # longest line a node may send; more is noise
BACKLOG_MAX = 65536  # bytes waiting for a slow node before its frames are dropped
_DATA = {"t": 3, "T": 8}  # frame kinds -> hexadecimal digits of the identifier
_REMOTE = {"r": 3, "R": 8}
_ID_MAX = {3: 0x7FF, 8: 0x1FFFFFFF}


class _Node(asyncio.Protocol):
    """One connection: a CAN controller behind a serial adapter."""

    def __init__(self, hub: "CanHub") -> None:
        self.hub = hub
        self.transport: asyncio.Transport | None = None
        self.open = False
        self.listen_only = False
        self.timestamps = False
        self.bitrate: int | None = None  # None: never set, fits every bus
        self.dropped = 0
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.hub.nodes.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self.hub.nodes:
            self.hub.nodes.remove(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        *lines, rest = self._buffer.split(b"\r")
        self._buffer = bytearray(rest[-LINE_MAX:])
        for line in lines:
            # A client that frames its lines with CR LF leaves the LF in front of the next one.
            self.answer(self._command(line.strip(b"\n").decode("ascii", "replace")))

    def answer(self, data: bytes) -> None:
        """Send an adapter's answer (or a frame) to the node."""
        if self.transport is not None:
            self.transport.write(data)

    def deliver(self, line: bytes) -> None:
        """A frame from the bus: to the node, unless it is too slow to take it."""
        if self.transport is None or self.transport.is_closing():
            return
        if self.transport.get_write_buffer_size() > BACKLOG_MAX:
            self.dropped += 1
            self.hub.dropped += 1
        else:
            self.transport.write(line)

    def _command(self, line: str) -> bytes:
        """Carry out one line; returns the adapter's answer."""
        if not line:
            return OK
        kind = line[0]
        if kind in _DATA or kind in _REMOTE:
            return self._frame(kind, line)
        if kind == "S":
            if self.open or line[1:] not in BITRATES:
                return ERROR
            self.bitrate = BITRATES[line[1:]]
            return OK
        if kind in "OL" and len(line) == 1:
            self.open = True
            self.listen_only = kind == "L"
            return OK
        if kind == "C":
            self.open = False
            return OK
        if kind == "Z":
            self.timestamps = line == "Z1"
            return OK
        if kind in "sMmXQW":  # bit timing registers, filters, auto poll: taken, without effect here
            return OK
        return {"V": b"V1013\r", "v": b"v1013\r", "N": b"NSIM1\r", "F": b"F00\r"}.get(kind, ERROR)

    def _frame(self, kind: str, line: str) -> bytes:
        if not self.open or self.listen_only:
            return ERROR
        digits = _DATA.get(kind) or _REMOTE[kind]
        try:
            identifier = int(line[1 : 1 + digits], 16)
            length = int(line[1 + digits])
            payload = line[2 + digits :]
            bytes.fromhex(payload)
        except (ValueError, IndexError):
            self.hub.malformed += 1
            return ERROR
        expected = 2 * length if kind in _DATA else 0
        if length > 8 or identifier > _ID_MAX[digits] or len(payload) != expected:
            self.hub.malformed += 1
            return ERROR
        self.hub.broadcast(self, line.encode() + b"\r")
        return b"z\r" if digits == 3 else b"Z\r"


class CanHub:
    """The bus.  `frames` counts what was sent, `dropped` what a slow node missed, `malformed` refused lines,
    `mismatched` frames that could not be heard because the bit rates differ."""

    def __init__(self) -> None:
        self.nodes: list[_Node] = []
        self.frames = 0
        self.dropped = 0
        self.malformed = 0
        self.mismatched = 0
        self.port = 0
        self._server: asyncio.Server | None = None

    async def start(self, port: int = 0) -> int:
        """Listen on loopback; returns the port (0 asks the system for a free one)."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Node(self), "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self.port

    async def stop(self) -> None:
        """Cut the bus: close the listener and every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for node in list(self.nodes):
            if node.transport is not None:
                node.transport.abort()
        await asyncio.sleep(0)

    def broadcast(self, sender: _Node, line: bytes) -> None:
        """Give a frame to every other open node at the sender's bit rate."""
        self.frames += 1
        for node in self.nodes:
            if node is sender or not node.open:
                continue
            if node.bitrate is not None and sender.bitrate is not None and node.bitrate != sender.bitrate:
                self.mismatched += 1
            else:
                node.deliver(line if not node.timestamps else line[:-1] + b"0000\r")
