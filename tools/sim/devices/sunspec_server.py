"""A SunSpec device on Modbus TCP: pymodbus serves a Chain of models, with the faults of its wire."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice

from tools.sim.devices.sunspec_chain import Chain
from tools.sim.faults import WireFaults

# What happens on a wire that is being disturbed on purpose is no news for the terminal.
logging.getLogger("pymodbus").addHandler(logging.NullHandler())
logging.getLogger("pymodbus").propagate = False

_SPARE = 400  # registers for a chain that grows while it is served


def _frames(data: bytes) -> list[bytes]:
    """What one receive has brought, a Modbus/TCP frame each; the last may be none, or a part of one."""
    found, rest = [], data
    while len(rest) > 6 and (end := 6 + int.from_bytes(rest[4:6], "big")) < len(rest):
        found.append(rest[:end])
        rest = rest[end:]
    return [*found, rest]


class _Handler(ServerRequestHandler):
    """One connection; every answer passes through the faults of the wire.

    pymodbus answers the first request of what one receive brings and forgets the others.  Several come at once when this
    computer was held up for longer than the board waits; as any device would, this one answers each.
    """

    def __init__(self, *given: Any) -> None:
        self._behind: list[bytes] = []  # requests that came together with one that is being answered
        self._taken = False  # the request that was handed on last is being answered
        super().__init__(*given)

    def data_received(self, data: bytes) -> None:
        """Hand on the first request, and keep those behind it."""
        is_held = bool(self._behind)
        self._behind += _frames(data)
        if not is_held:
            self._next()

    def _next(self) -> None:
        while self._behind:
            self._taken = False
            self.last_pdu = None  # so that what is no request is known by it
            super().data_received(self._behind.pop(0))
            if self._taken:
                return

    def callback_data(self, data: bytes, addr: tuple[Any, ...] | None = None) -> int:
        """What has come: how much of it was used."""
        used: int = super().callback_data(data, addr)
        self._taken = bool(self.last_pdu)
        return used

    async def handle_request(self) -> None:
        """Answer one request, then the next that is there already."""
        try:
            await super().handle_request()
        finally:
            self._next()

    def send(self, data: bytes, addr: tuple[Any, ...] | None = None) -> None:
        """Send one answer: now, late, spoilt or not at all."""
        faults: WireFaults = self.server.faults
        if faults.silent:
            return
        data = faults.spoil(data)
        if faults.slow:
            self.loop.call_later(faults.delay_s, self._send_late, data, addr)
        else:
            super().send(data, addr)

    def _send_late(self, data: bytes, addr: tuple[Any, ...] | None) -> None:
        if self.transport is not None and not self.server.faults.silent:
            super().send(data, addr)


class _Server(ModbusTcpServer):
    def __init__(self, device: SimDevice, faults: WireFaults, port: int) -> None:
        self.faults = faults
        super().__init__(device, address=("127.0.0.1", port))

    def callback_new_connection(self) -> _Handler:
        return _Handler(self, self.trace_packet, self.trace_pdu, self.trace_connect)


class SunSpecServer:
    """Serves `chain`.  `refresh()` is called before a read, `written(address, count)` after a write that was taken."""

    def __init__(
        self,
        chain: Chain,
        faults: WireFaults,
        refresh: Callable[[], None],
        written: Callable[[int, int], ExcCodes | None] | None = None,
        unit: int = 1,
    ) -> None:
        """`written` may return an exception code: then the write is undone and refused."""
        self.chain = chain
        self.faults = faults
        self.unit = unit
        self.port = 0
        self.reads = 0
        self.writes = 0
        self.refused = 0
        self.intercept: Callable[[int, bool], Awaitable[ExcCodes | None]] | None = None  # (address, is a write): before any access
        self._refresh = refresh
        self.written = written
        self._server: _Server | None = None

    async def start(self, port: int = 0) -> int:
        """Listen on loopback; returns the port (0 asks the system for a free one)."""
        values = [*self.chain.registers, *[0] * _SPARE]
        data = SimData(self.chain.base, values=values, datatype=DataType.REGISTERS)
        device = SimDevice(self.unit, [data], action=self._access)
        self._server = _Server(device, self.faults, port)
        await self._server.serve_forever(background=True)
        # pymodbus keeps the asyncio server it listens with as its transport.
        self.port = cast(asyncio.Server, self._server.transport).sockets[0].getsockname()[1]
        return self.port

    async def stop(self) -> None:
        """Close the listener and every connection."""
        if self._server is not None:
            await self._server.shutdown()
            self._server = None
            await asyncio.sleep(0)

    async def _access(
        self,
        function: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """pymodbus asks before every access; `registers` is its own copy, brought up to date here."""
        if self.intercept is not None:
            refusal = await self.intercept(address, values is not None)
            if refusal is not None:
                return refusal
        chain = self.chain
        if function not in (3, 6, 16):
            return ExcCodes.ILLEGAL_FUNCTION
        if chain.cuts_a_point(address, count):
            return ExcCodes.ILLEGAL_ADDRESS
        if values is not None:
            refusal = self._write(address, [int(v) for v in values])
            if refusal is not None:
                self.refused += 1
                return refusal
            self.writes += 1
        else:
            self.reads += 1
            if not self.faults.frozen:
                self._refresh()
        registers[: len(chain.registers)] = chain.registers
        return None

    def _write(self, address: int, values: list[int]) -> ExcCodes | None:
        chain = self.chain
        if self.faults.silent:
            return ExcCodes.DEVICE_BUSY  # the answer is swallowed too: nothing happened
        if any(a not in chain.writable for a in range(address, address + len(values))):
            return ExcCodes.ILLEGAL_ADDRESS
        if self.faults.refuses:
            return ExcCodes.DEVICE_FAILURE
        first = address - chain.base
        before = chain.registers[first : first + len(values)]
        chain.registers[first : first + len(values)] = values
        refusal = self.written(address, len(values)) if self.written else None
        if refusal is not None:
            chain.registers[first : first + len(values)] = before
        return refusal
