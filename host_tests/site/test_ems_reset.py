"""What an EMS has ordered until the opposite is given stands after a power cut, as pysunspec2 writes and reads it."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP

from host_tests.site.test_latch_board import ROOT, answer, next_start
from tools.interpreters import Interpreter
from tools.ports import free_port
from tools.sim.board.board import Board
from tools.sim.healthy import POWER


@contextlib.contextmanager
def client(port: int) -> Iterator[Any]:
    """The models of the chain, scanned."""
    device = SunSpecModbusClientDeviceTCP(slave_id=1, ipaddr="127.0.0.1", ipport=port, timeout=5)
    try:
        device.scan()
        yield device.models
    finally:
        device.disconnect()


def put(port: int, model: int, name: str, value: int) -> None:
    with client(port) as models:
        models[model][0].points[name].value = value
        models[model][0].write()


def orders(port: int) -> tuple:
    """703 ES, 715 OpCtl, 802 SetOp and 123 Conn."""
    with client(port) as models:
        points = ((703, "ES"), (715, "OpCtl"), (802, "SetOp"), (123, "Conn"))
        return tuple(models[model][0].points[name].value for model, name in points)


def test_what_was_ordered_until_the_opposite_is_given_stands_after_a_power_cut(mp: Interpreter, tmp_path: Path) -> None:
    port = free_port()
    ems = {"type": "sunspec_server", "port": port, "host": "127.0.0.1", "allow": {"127.0.0.1": "service"}}
    site = {"schema": 1, "power": POWER, "services": {"ems": ems}}
    board = Board(ROOT, state_dir=tmp_path, site=site, interpreter=list(mp.command), heap="1M")

    async def story() -> None:
        assert (await answer(board, "pm.start()")).startswith("= 'accepted")
        await asyncio.to_thread(put, port, 703, "ES", 0)
        await asyncio.sleep(0.2)
        await next_start(board)
        assert await asyncio.to_thread(orders, port) == (0, 1, 1, 1)
        await asyncio.to_thread(put, port, 703, "ES", 1)
        await asyncio.to_thread(put, port, 802, "SetOp", 1)
        await asyncio.to_thread(put, port, 715, "OpCtl", 2)
        await asyncio.to_thread(put, port, 123, "Conn", 0)
        await asyncio.sleep(1.5)
        assert await asyncio.to_thread(orders, port) == (1, 2, 2, 0)
        await next_start(board)
        assert await asyncio.to_thread(orders, port) in ((1, 2, 2, 0), (0, 2, 2, 0)), "that more may go on is stored later"
        await asyncio.to_thread(put, port, 123, "Conn", 1)
        await asyncio.sleep(0.5)
        assert (await asyncio.to_thread(orders, port))[1:] == (2, 1, 1)

    async def run() -> None:
        await board.start()
        try:
            await board.wait_line("control begins", 20)
            await asyncio.wait_for(story(), 120)
        finally:
            board.kill()
            await board.stop()

    asyncio.run(run())
