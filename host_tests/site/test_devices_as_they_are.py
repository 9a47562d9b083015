"""Connections and functions as real devices have them: one connection, deaf at first, slow, closing, odd frames.

The cases by their ids: one-connection, deaf-after-connect, pause-between-requests, idle-close-between-slow-polls,
wrong-ids, dead-clients-hold-slots, timer-not-writable, charge-from-grid-setting.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.constants import ExcCodes

from firmware import image as im
from host_tests.site import test_pcs_inverter as older
from host_tests.site import test_pcs_sunspec as newer
from host_tests.site.rig import rig
from host_tests.site.serial_wire import wire
from host_tests.site.test_chains_as_they_are import Chains, common
from host_tests.site.test_meter_sunspec import SCALES, chain_of
from host_tests.site.test_modbus_client import rtu_client, serial_servers
from host_tests.site.test_modbus_server import tcp_bank
from tools.interpreters import Interpreter
from tools.sim.devices.sunspec_chain import Chain


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 150))


class Gate:
    """A Modbus/TCP device of one chain behind a socket of our own, so that its manners can be chosen."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.connections = 0
        self.open = 0
        self.most = 1000  # connections at a time
        self.deaf_s = 0.0  # after each connection
        self.hangs_up_within_s = 0.0  # asked so soon, it closes the connection
        self.pause_s = 0.0  # a request that comes sooner after the last answer is ignored
        self.idle_s = 0.0  # closes after so long
        self.greeting = b""
        self.spoil: Callable[[bytes], bytes] = lambda data: data
        self.asked = 0
        self.ignored = 0

    def answer(self, request: bytes) -> bytes:
        """The answer to one request frame; writes are taken wherever they go."""
        unit, function, address, count = struct.unpack(">BBHH", request[6:12])
        first = address - self.chain.base
        there = 0 <= first < len(self.chain.registers)
        if function == 3 and there and first + count <= len(self.chain.registers):
            data = struct.pack(f">{count}H", *self.chain.registers[first : first + count])
            pdu = bytes((unit, 3, 2 * count)) + data
        elif function in (6, 16) and there:
            values = struct.unpack(">H", request[10:12]) if function == 6 else struct.unpack(f">{count}H", request[13:])
            self.chain.registers[first : first + len(values)] = values
            pdu = request[6:12]
        else:
            pdu = bytes((unit, function | 0x80, 2))
        return request[:4] + struct.pack(">H", len(pdu)) + pdu

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.open >= self.most:
            writer.close()
            return
        self.connections += 1
        self.open += 1
        begun = time.monotonic()
        answered = begun - 1
        writer.write(self.greeting)
        try:
            while True:
                request = await asyncio.wait_for(reader.readexactly(6), self.idle_s or None)
                request += await reader.readexactly(request[5])
                self.asked += 1
                now = time.monotonic()
                if now - begun < self.hangs_up_within_s:
                    return
                if now - begun < self.deaf_s:
                    continue
                if now - answered < self.pause_s:
                    self.ignored += 1
                    continue
                writer.write(self.spoil(self.answer(request)))
                answered = time.monotonic()
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            pass
        finally:
            self.open -= 1
            writer.close()

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self.talk, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]


def test_one_connection(mp: Interpreter) -> None:
    """one-connection: 103, 124 and 203 behind one host:port that admits one; pcs and meter configured on it."""

    async def story() -> None:
        chains = Chains([older.COMMON, (103, older.INVERTER), (124, older.STORAGE)], [common("METER", "2"), (203, SCALES)])
        chains.parts[0].put("103.W", 4000)
        chains.parts[1].put("203.W", -1500)
        chains.whole.refresh()
        gate = Gate(chains.whole)
        gate.most = 1
        async with gate.served() as port:
            also = {"module": "meter_sunspec", "options": {"host": "127.0.0.1", "port": port}}
            async with rig(mp.command, "pcs_sunspec", {"host": "127.0.0.1", "port": port}, also=also) as one:
                await one.until(lambda: one.seq(im.SEQ_PCS) >= 5 and one.seq(im.SEQ_METER) >= 5)
                assert one.has(PCS_P=4000, METER_P=-1500)
                assert gate.connections == 1

    run(story)


@pytest.mark.parametrize("deaf_s", [1, 2, 5])
def test_deaf_after_connect(mp64: Interpreter, deaf_s: float) -> None:
    """deaf-after-connect: no answer in the first 1, 2, 5 s of each connection."""

    async def story() -> None:
        gate = Gate(chain_of(203, W=880))
        gate.deaf_s = deaf_s
        async with gate.served() as port, rig(mp64.command, "meter_sunspec", {"host": "127.0.0.1", "port": port}) as one:
            await one.until(lambda: one.has(METER_P=880), 25)

    run(story)


@pytest.mark.parametrize("settle_ms", [0, 1100])
def test_closed_when_asked_too_soon(mp64: Interpreter, settle_ms: int) -> None:
    """deaf-after-connect: closed when asked within 1 s of connecting; the option is named, and found out."""

    async def story() -> None:
        gate = Gate(chain_of(203, W=880))
        gate.hangs_up_within_s = 1.0
        async with gate.served() as port:
            options = {"host": "127.0.0.1", "port": port, "settle_ms": settle_ms}
            async with rig(mp64.command, "meter_sunspec", options) as one:
                if not settle_ms:
                    for _ in range(100):
                        if "settle_ms" in (await one.counters())["last_error"]:
                            break
                    else:
                        raise AssertionError(await one.counters())
                await one.until(lambda: one.has(METER_P=880), 25)
                assert gate.connections == 1 or not settle_ms

    run(story)


def test_pause_between_requests_over_tcp(mp64: Interpreter) -> None:
    """pause-between-requests: sooner than 20 ms after the last answer it is ignored; with the option there are no time-outs."""

    async def story() -> None:
        gate = Gate(chain_of(203, W=880))
        gate.pause_s = 0.02
        async with gate.served() as port:
            options = {"host": "127.0.0.1", "port": port, "timeout_ms": 100, "period_ms": 20}
            async with rig(mp64.command, "meter_sunspec", options) as one:
                await one.until(lambda: one.has(METER_P=880), 25)
            gate.ignored = 0
            async with rig(mp64.command, "meter_sunspec", {**options, "pause_ms": 25, "timeout_ms": 2000}) as one:
                await one.until(lambda: one.seq(im.SEQ_METER) > 20, 25)
                assert (await one.counters())["timeouts"] == 0
                assert gate.ignored == 0

    run(story)


@pytest.mark.parametrize("pause_ms", [60, 100])
def test_pause_between_requests_on_a_serial_line(mp64: Interpreter, pause_ms: int) -> None:
    """pause-between-requests: RTU, 60 and 100 ms."""

    async def story() -> None:
        async with wire() as line, rtu_client(mp64, line, pause_ms=pause_ms, timeout_ms=300) as client, serial_servers(line, 3):
            answered = 0.0

            def spoil(node: int, data: bytes) -> bytes:
                nonlocal answered
                now = time.monotonic()
                if node == 1:
                    answered = now
                    return data
                return data if now - answered > pause_ms / 1000 - 0.005 else b""

            line.spoil = spoil
            for value in range(6):
                assert await client.ask(["write_register", 3, 5, value]) == "done"
                assert await client.ask(["read_registers", 3, 5, 1, 3]) == [value]
            assert (await client.ask({"count": 1}))["timeouts"] == 0

    run(story)


def test_idle_close_between_slow_polls(mp: Interpreter) -> None:
    """idle-close-between-slow-polls: the server closes after 0.3 s, polled every 0.6 s: every poll is answered."""

    async def story() -> None:
        gate = Gate(chain_of(203, W=880))
        gate.idle_s = 0.3
        async with gate.served() as port:
            options = {"host": "127.0.0.1", "port": port, "period_ms": 600}
            async with rig(mp.command, "meter_sunspec", options) as one:
                await one.until(lambda: one.seq(im.SEQ_METER) >= 1)
                begun, asked = one.seq(im.SEQ_METER), gate.asked
                await one.until(lambda: one.seq(im.SEQ_METER) >= begun + 5, 10)
                assert gate.asked == asked + 5, "none was lost"
                counters = await one.counters()
                assert counters["timeouts"] == 0 and counters["rejected"] == 0

    run(story)


def crc(data: bytes) -> bytes:
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ 0xA001 if value & 1 else value >> 1
    return struct.pack("<H", value)


ODD: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "unit id 0": (b"", lambda data: data[:6] + b"\0" + data[7:]),
    "transaction id": (b"", lambda data: struct.pack(">H", (struct.unpack(">H", data[:2])[0] + 1) & 0xFFFF) + data[2:]),
    "transaction id came, 0": (b"", lambda data: b"\0\0" + data[2:]),
    "RTU over TCP": (b"", lambda data: data[6:] + crc(data[6:])),
    "no Modbus/TCP frame": (b"*REGISTER 4711*", lambda data: data),
}


@pytest.mark.parametrize("kind", list(ODD))
def test_wrong_ids(mp64: Interpreter, kind: str) -> None:
    """wrong-ids: devices() says which of these it is, and goes on saying so, whenever one looks."""

    async def story() -> None:
        gate = Gate(chain_of(203, W=880))
        gate.greeting, gate.spoil = ODD[kind]
        async with gate.served() as port:
            options = {"host": "127.0.0.1", "port": port, "timeout_ms": 100}
            async with rig(mp64.command, "meter_sunspec", options) as one:
                said = ""
                for _ in range(60):
                    said = (await one.counters())["last_error"]
                    if kind in said:
                        break
                    await asyncio.sleep(0.1)
                connections = gate.connections
                for _ in range(50):  # until it connects anew, where it has given the connection up
                    assert kind in said
                    if gate.connections > connections:
                        break
                    await asyncio.sleep(0.02)
                    said = (await one.counters())["last_error"]

    run(story)


def test_dead_clients_hold_slots(mp: Interpreter) -> None:
    """dead-clients-hold-slots: the longest idle one makes room, never the one in control; the new one is served at once."""

    async def story() -> None:
        async with tcp_bank(mp, max_clients=3) as (board, port):
            control = AsyncModbusTcpClient("127.0.0.1", port=port)
            assert await control.connect()
            assert not (await control.write_register(3, 9)).isError()
            dead = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            await asyncio.sleep(2.3)
            for _ in range(2):
                fresh = AsyncModbusTcpClient("127.0.0.1", port=port)
                assert await fresh.connect()
                assert (await fresh.read_holding_registers(3, count=1)).registers == [9]
            assert not (await control.write_register(3, 10)).isError()
            for reader, writer in dead:
                assert await reader.read(1) == b""
                writer.close()
            assert (await board.ask("stop"))["counters"]["turned_away"] == 0

    run(story)


@pytest.mark.parametrize("code", [ExcCodes.ILLEGAL_ADDRESS, ExcCodes.ILLEGAL_VALUE, ExcCodes.DEVICE_FAILURE])
def test_timer_not_writable(mp: Interpreter, code: ExcCodes) -> None:
    """timer-not-writable: 103/124 whose RvrtTms refuses writes, and 704; the setpoint is written, the rest said once."""

    async def story() -> None:
        for module, peer in ((older, older.Peer()), (newer, newer.Peer())):
            name = "124.InOutWRte_RvrtTms" if module is older else "704.WSetRvrtTms"
            written = peer.server.written

            def refuse(address: int, count: int, peer: Any = peer, name: str = name, written: Any = written) -> Any:
                return code if peer.chain.touches(name, address, count) else written(address, count)

            peer.server.written = refuse
            async with module.driver(mp, peer, refresh_ms=200) as one:
                await one.command(5000)
                done = (lambda p=peer: (10.0, -10.0) in p.rates) if module is older else (lambda p=peer: 5000.0 in p.setpoints)
                await one.until(done)
                await asyncio.sleep(0.8)
                assert sum("reversion timer" in line for line in one.printed) == 1
                assert "reversion timer" in (await one.counters())["note"]

    run(story)


@pytest.mark.parametrize("lacks", [6, 16])
def test_device_without_a_function(mp64: Interpreter, lacks: int) -> None:
    """timer-not-writable: a device without function 6, or with only function 6."""

    async def story() -> None:
        peer = older.Peer()
        access = peer.server._access

        async def without(function: int, start: int, address: int, count: int, registers: list[int], values: Any) -> Any:
            if function == lacks:
                return ExcCodes.ILLEGAL_FUNCTION
            return await access(function, start, address, count, registers, values)

        setattr(peer.server, "_access", without)  # noqa: B010  (a method of one object only)
        async with older.driver(mp64, peer) as one:
            for watts, rate in ((5000, 10.0), (-12000, -24.0)):
                await one.command(watts)
                await one.until(lambda rate=rate: peer.rates[-1:] == [(rate, -rate)])  # type: ignore[misc]
            assert peer.chain.raw("124.StorCtl_Mod") == 3 and peer.chain.raw("123.Conn") == 1
            assert peer.chain.raw("124.InOutWRte_RvrtTms") == 5

    run(story)


@pytest.mark.parametrize("allowed", [False, True])
def test_charge_from_grid_setting(mp64: Interpreter, allowed: bool) -> None:
    """charge-from-grid-setting: ChaGriSet = PV only, charging asked: written when allowed, else said once in words."""

    async def story() -> None:
        peer = older.Peer(ChaGriSet=0)
        async with older.driver(mp64, peer, set_grid_charging=allowed, refresh_ms=200) as one:
            await one.command(5000)
            await one.until(lambda: (10.0, -10.0) in peer.rates)
            assert peer.chain.raw("124.ChaGriSet") == 0, "nobody asked for charging"
            await one.command(-5000)
            await one.until(lambda: (-10.0, 10.0) in peer.rates)
            await asyncio.sleep(0.6)
            assert peer.chain.raw("124.ChaGriSet") == (1 if allowed else 0)
            said = sum("ChaGriSet" in line and "set_grid_charging" in line for line in one.printed)
            assert said == (0 if allowed else 1)

    run(story)
