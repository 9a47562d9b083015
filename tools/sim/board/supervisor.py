"""The hardware around the interpreter: watchdog timer, pin levels, reset cause, RTC clock and memory.

The board's `simlink` connects to it over a local TCP socket; that file lists the messages.
"""

import asyncio
import contextlib
import json
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Any

CAUSES = {"PWRON_RESET": 1, "HARD_RESET": 2, "WDT_RESET": 3, "DEEPSLEEP_RESET": 4, "SOFT_RESET": 5}
_RESET_KINDS = ("HARD_RESET", "SOFT_RESET", "DEEPSLEEP_RESET")
_PINS = 49
_UNDRIVEN = 2
_EPOCH_2000_S = 946684800  # an ESP32's clock starts here at power-on
_UNIQUE_ID = bytes.fromhex("240ac4000001")
_TICK_S = 0.02
_ACCESSES_KEPT = 4000


class Supervisor:
    """Owns the hardware of one board.  `on_pin(pin, level)` and `cut(cause)` are called from the event loop."""

    def __init__(self, on_pin: Callable[[int, int], None], cut: Callable[[str], None]) -> None:
        self.inputs: dict[int, int | None] = {}  # what the outside drives; None or absent: nobody
        self.outputs: dict[int, int] = {}
        self.rtc_memory = b""
        self.rtc_offset_s = 0
        self.feeds = 0  # watchdog feeds since power-on
        self.interrupt = b"\x03"  # the character on the wire that interrupts the program; b"": none
        self.longest_unfed_s = 0.0  # the longest time between two feeds since it was armed
        self.into_raw = False  # a soft reset comes that is to end at the raw prompt
        self.accesses: deque[tuple[str, str, int]] = deque(maxlen=_ACCESSES_KEPT)  # (import, open or store; name; reads)
        self.address = ""
        self._on_pin = on_pin
        self._cut = cut
        self.on_interrupt: Callable[[], object] | None = None  # the chip interrupts its program
        self._cause = "PWRON_RESET"
        self._timeout_s = 0.0  # 0: the watchdog was never started
        self._deadline = 0.0
        self._figures: asyncio.Future[dict[str, Any]] | None = None
        self._server: asyncio.Server | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._ticker: asyncio.Task[None] | None = None

    @property
    def armed(self) -> bool:
        """The watchdog runs."""
        return self._timeout_s > 0

    async def open(self) -> None:
        """Listens on a port of its own and starts the watchdog's clock."""
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            host, port = self._server.sockets[0].getsockname()
            self.address = f"{host}:{port}"
            self._ticker = asyncio.create_task(self._tick())

    async def close(self) -> None:
        """Stops listening."""
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
            self._ticker = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    def power_on(self, cause: str) -> None:
        """The chip starts now, with that cause; a soft reset leaves the watchdog running."""
        self._cause = cause
        self.into_raw = False
        self.interrupt = b"\x03"
        self.accesses.clear()
        if cause != "SOFT_RESET":
            self._timeout_s = 0.0
            self.longest_unfed_s = 0.0
        if cause == "PWRON_RESET":
            self.rtc_memory = b""
            self.rtc_offset_s = _EPOCH_2000_S - int(time.time())
            self.feeds = 0

    async def figures(self, heap: bool, timeout: float) -> dict[str, Any]:
        """What the chip counts (sim_stats.py), asked for at its next look at the wire.  TimeoutError when it says nothing."""
        if self._writer is None:
            raise TimeoutError("the board does not run")
        self._figures = asyncio.get_running_loop().create_future()
        self._writer.write(bytes((0x51, int(heap), 0, 0)))
        return await asyncio.wait_for(self._figures, timeout)

    def announce_end(self) -> None:
        """Tells the chip that it is being switched off, so that a program that ends now is not held for the watchdog."""
        if self._writer is not None:
            self._writer.write(b"X\0\0\0")

    def power_off(self) -> None:
        """The interpreter has ended: its outputs drive nothing any more."""
        self._writer = None
        for pin, level in list(self.outputs.items()):
            if level:
                self._on_pin(pin, 0)
        self.outputs.clear()

    def drive(self, pin: int, level: int | None) -> None:
        """Sets what the outside does to a pin."""
        if not 0 <= pin < _PINS:
            raise ValueError(f"pin {pin} (allowed: 0 to {_PINS - 1})")
        self.inputs[pin] = None if level is None else int(bool(level))
        if self._writer is not None:
            op = b"Z" if level is None else b"H" if level else b"L"
            self._writer.write(op + bytes((pin, 0, 0)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        levels = bytearray(_UNDRIVEN for _ in range(_PINS))
        for pin, level in self.inputs.items():
            levels[pin] = _UNDRIVEN if level is None else level
        facts = struct.pack("<q", self.rtc_offset_s) + _UNIQUE_ID + bytes(levels) + self.rtc_memory
        writer.write(struct.pack("<cBH", b"B", CAUSES[self._cause], len(facts)) + facts)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                op, arg, size = struct.unpack("<cBH", await reader.readexactly(4))
                self._message(op, arg, await reader.readexactly(size) if size else b"")
        writer.close()

    def _message(self, op: bytes, arg: int, payload: bytes) -> None:
        if op == b"F":
            self.feeds += 1
            self._put_off()
        elif op in (b"H", b"L"):
            self._output(arg, 1 if op == b"H" else 0)
        elif op == b"O":
            self.outputs.setdefault(arg, 0)
        elif op == b"I":
            if self.outputs.pop(arg, 0):
                self._on_pin(arg, 0)
        elif op == b"W":
            if self.armed:
                self._put_off()
            self._timeout_s = int.from_bytes(payload, "little") / 1000
            self._deadline = time.monotonic() + self._timeout_s
        elif op == b"K":
            self.interrupt = b"" if arg == 255 else bytes((arg,))
        elif op == b"P":
            self.into_raw = arg == 1
        elif op == b"S":
            if self._figures is not None and not self._figures.done():
                self._figures.set_result(json.loads(payload))
        elif op == b"T":
            kind = {0x49: "import", 0x4F: "open", 0x53: "store"}[arg]
            self.accesses.append((kind, payload[4:].decode(), int.from_bytes(payload[:4], "little")))
        elif op == b"M":
            self.rtc_memory = payload
        elif op == b"D":
            self.rtc_offset_s = int(payload)
        elif op == b"C":
            if self.on_interrupt is not None:
                self.on_interrupt()
        elif op == b"R":
            self._cut(_RESET_KINDS[arg])

    def _put_off(self) -> None:
        now = time.monotonic()
        if self.armed:
            self.longest_unfed_s = max(self.longest_unfed_s, now - (self._deadline - self._timeout_s))
        self._deadline = now + self._timeout_s

    def _output(self, pin: int, level: int) -> None:
        before = self.outputs.get(pin)
        self.outputs[pin] = level
        if level != (before or 0) or before is None:
            self._on_pin(pin, level)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            if self._timeout_s and time.monotonic() > self._deadline:
                # feeds may wait unread behind a busy host: give the reader one turn before judging
                await asyncio.sleep(_TICK_S)
                if self._timeout_s and time.monotonic() > self._deadline:
                    self._timeout_s = 0.0
                    self._cut("WDT_RESET")
