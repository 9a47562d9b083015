"""Devices and gateways that close the connection after each answer: served, and not flooded with what they know already."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import pytest

from firmware import image as im
from host_tests.site import test_pcs_sunspec as newer
from host_tests.site.rig import rig
from host_tests.site.test_devices_as_they_are import Gate, run
from host_tests.site.test_meter_sunspec import chain_of
from tools.interpreters import Interpreter
from tools.sim.devices.sunspec_chain import Chain

TABLE = {
    "reads": [{"slot": "METER_P", "address": 40000, "type": "uint16"}],
    "writes": [
        {"value": 77, "address": 40010, "type": "uint16"},
        {"from": "CMD_P", "address": 40011, "type": "int32"},
    ],
}


class Closing(Gate):
    """Closes after each answer, or (`idle_s`) soon after; `writes`: how often each register was written."""

    def __init__(self, chain: Chain, at_once: bool = True) -> None:
        super().__init__(chain)
        self.writes: dict[int, int] = {}
        self.at_once = at_once

    def answer(self, request: bytes) -> bytes:
        if request[7] in (6, 16):
            (address,) = struct.unpack(">H", request[8:10])
            self.writes[address] = self.writes.get(address, 0) + 1
        return super().answer(request)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.at_once:
            return await super().talk(reader, writer)
        self.connections += 1
        try:
            request = await reader.readexactly(6)
            request += await reader.readexactly(request[5])
            self.asked += 1
            writer.write(self.answer(request))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.mark.parametrize("at_once", [True, False])
def test_a_constant_is_not_written_again_because_the_device_closes_its_connections(mp64: Interpreter, at_once: bool) -> None:
    """constants-again-and-again: a mode register lives in flash."""

    async def story() -> None:
        gate = Closing(chain_of(203, W=0), at_once)
        gate.idle_s = 0.1
        options: dict[str, Any] = {"table": TABLE, "period_ms": 50 if at_once else 300, "refresh_ms": 400}
        options["host"] = "127.0.0.1"
        async with gate.served() as port, rig(mp64.command, "generic_modbus", {"port": port, **options}) as one:
            await one.command(-1500)
            await one.until(lambda: gate.connections > 6 and one.seq(im.SEQ_METER) >= 4 and gate.writes.get(40011, 0) >= 3)
            assert gate.writes[40010] == 1, gate.writes
            await one.command(2500)
            first = 40011 - gate.chain.base
            await one.until(lambda: gate.chain.registers[first : first + 2] == [0, 2500])
            assert gate.writes[40010] == 1, gate.writes

    run(story)


def test_an_inverter_that_closes_after_each_answer_is_commanded_as_often_as_another(mp64: Interpreter) -> None:
    async def story() -> None:
        peer = newer.Peer()
        gate = Closing(peer.chain)
        async with gate.served() as port, rig(mp64.command, "pcs_sunspec", {"host": "127.0.0.1", "port": port}) as one:
            await one.command(5000)
            await one.until(lambda: peer.chain.get("704.WSet") == 5000 and one.seq(im.SEQ_PCS) >= 3)
            before, written = one.seq(im.SEQ_PCS), sum(gate.writes.values())
            await one.until(lambda: one.seq(im.SEQ_PCS) >= before + 15)
            assert sum(gate.writes.values()) - written <= 15, "two a second for the heartbeat and the refresh"

    run(story)


def test_a_device_that_was_away_is_told_everything_again(mp64: Interpreter) -> None:
    async def story() -> None:
        gate = Closing(chain_of(203, W=0))
        options: dict[str, Any] = {"table": TABLE, "period_ms": 50, "refresh_ms": 400, "timeout_ms": 100}
        server = await asyncio.start_server(gate.talk, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with rig(mp64.command, "generic_modbus", {"host": "127.0.0.1", "port": port, **options}) as one:
            await one.command(-1500)
            await one.until(lambda: gate.writes.get(40010, 0) == 1 and one.seq(im.SEQ_METER) >= 4)
            server.close()
            await server.wait_closed()
            await asyncio.sleep(0.3)
            async with await asyncio.start_server(gate.talk, "127.0.0.1", port):
                await one.until(lambda: gate.writes[40010] == 2)

    run(story)
