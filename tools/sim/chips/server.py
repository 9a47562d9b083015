"""An emulated MCP2515 in real time: its SPI pins on a TCP port, its CAN pins on a wire that python-can shares."""

from __future__ import annotations

import asyncio
import contextlib
import time

import can

from tools.sim.chips.mcp2515 import Mcp2515Chip
from tools.sim.chips.station import PythonCan
from tools.sim.chips.wire import Wire

TICK_S = 0.002


class ChipServer:
    """The chip; `bus` is the python-can side.

    gap_us: rest between frames from python-can, since a simulated board polls where a real one has an interrupt.
    """

    def __init__(self, bus: can.BusABC, oscillator_hz: int = 16_000_000, gap_us: float = 12_000) -> None:
        self.wire = Wire()
        self.chip = Mcp2515Chip(oscillator_hz)
        self.chip.spi.byte_us = self.chip.spi.overhead_us = 0.0  # here transfers take real time
        self.bridge = PythonCan(bus, gap_us=gap_us)
        self.wire.join(self.chip)
        self.wire.join(self.bridge)
        self.transfers = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._clock: asyncio.Task[None] | None = None
        self._begun = 0.0

    async def start(self) -> int:
        """Listen on a free loopback port, which is returned, and let the wire's time run."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self._begun = time.monotonic()
        self._clock = asyncio.create_task(self._run())
        return self.port

    async def stop(self) -> None:
        """Stop time and listening."""
        if self._clock is not None:
            self._clock.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._clock
        if self._server is not None:
            self._server.close()

    def _catch_up(self) -> None:
        self.bridge.pump()
        self.wire.run_us(max(0.0, (time.monotonic() - self._begun) * 1e6 - self.wire.now_us))

    async def _run(self) -> None:
        while True:
            self._catch_up()
            await asyncio.sleep(TICK_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                size = (await reader.readexactly(1))[0]
                out = await reader.readexactly(size)
                into = bytearray(size)
                self._catch_up()
                self.chip.cs.value(0)
                self.chip.spi.write_readinto(memoryview(out), memoryview(into))
                self.chip.cs.value(1)
                self.transfers += 1
                writer.write(into)
        writer.close()
