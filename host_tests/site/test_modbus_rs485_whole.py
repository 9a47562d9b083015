"""The whole firmware with inverter and meter on one RS485 line, which they share with a device that is dead."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

from host_tests.site.serial_wire import wire
from tools.interpreters import Interpreter
from tools.sim.board.board import Board
from tools.sim.devices.sunspec_server import SunSpecServer
from tools.sim.site import Site

DEAD = {"type": "generic_modbus", "bus": "rs485", "unit": 9, "table": {"reads": [{"slot": "PV_P", "address": 1}]}}


def on_the_line(server: SunSpecServer, unit: int) -> SimDevice:
    """One of the site's SunSpec servers as a serial device."""
    registers = SimData(server.chain.base, values=list(server.chain.registers), datatype=DataType.REGISTERS)
    return SimDevice(unit, [registers], action=server._access)


def described(site: Site) -> dict[str, Any]:
    """The board's site file with everything but the BMS on the RS485 line."""
    content = site.site_json()
    content["buses"]["rs485"] = {"type": "modbus_rtu", "id": 1, "baudrate": 115200, "de_pin": 4, "timeout_ms": 150}
    content["devices"]["pcs"] = {"type": "pcs_sunspec", "bus": "rs485", "unit": 1}
    content["devices"]["meter"] = {"type": "meter_sunspec", "bus": "rs485", "unit": 2, "period_ms": 200}
    content["devices"]["roof"] = DEAD
    return content


async def run(root: Path, scratch: Path, interpreter: Interpreter) -> tuple[list[dict[str, Any]], dict[str, Any], Any]:
    site = Site(seed=5, load_kw=12)
    await site.start()
    states: list[dict[str, Any]] = []
    async with wire() as line, contextlib.AsyncExitStack() as stack:
        dead = line.add()
        assert dead
        devices = [on_the_line(site.pcs_server, 1), on_the_line(site.meter_server, 2)]
        line.spoil = lambda node, data: b"" if node == 1 and data[0] == 9 else data  # pymodbus answers for anyone
        server = ModbusSerialServer(devices, port=line.add(), baudrate=115200)
        serving = asyncio.create_task(server.serve_forever())
        board = Board(
            root,
            state_dir=scratch,
            site=described(site),
            interpreter=list(interpreter.command),
            env={**site.env(), "SIM_UART1": line.add()},
        )
        board.on_line = lambda text: states.append(json.loads(text)) if '"lim_dis"' in text else None
        site.wire(board)
        stack.push_async_callback(site.stop)
        stack.callback(serving.cancel)
        stack.push_async_callback(server.shutdown)
        stack.push_async_callback(board.stop)
        await board.start()
        await asyncio.sleep(3.0)
        for text in ("monitor(200)", "pm.start()"):
            await board.send(text)
        await asyncio.sleep(1.5)
        await board.send("pm.set_constant_power(-25, 0)")
        try:
            async with asyncio.timeout(60):
                while not (states and states[-1]["p"] is not None and states[-1]["p"] < -20):
                    assert board.running, list(board.lines)[-20:]
                    await asyncio.sleep(0.1)
                await asyncio.sleep(4.0)
                while states[-1]["faults"] == []:  # who was never heard is missed 10 s after the start
                    await asyncio.sleep(0.1)
                await asyncio.sleep(1.0)
                board.on_line = None  # what it reports while it is stopped is another matter
        except TimeoutError as error:
            raise AssertionError(f"no power: {list(board.lines)[-5:]}") from error
        return states, site.truth(), list(line.log)


@pytest.mark.serial
def test_battery_is_charged_over_a_shared_rs485_line(root: Path, tmp_path: Path, mp: Interpreter) -> None:
    states, truth, log = asyncio.run(run(root, tmp_path, mp))
    last = states[-1]
    assert last["faults"] == ["pv_lost"], "the dead device is missed, and nobody else"
    assert abs(last["p"] + 25) < 0.5
    assert abs(last["grid_p"] - (12 + 25)) < 2, "the meter is heard too"
    asked = [data[0] for node, data in log if node == 2]
    assert 2 <= asked.count(9) < 12, "the dead device is asked now and then"
    assert asked.count(1) > 60 and asked.count(2) > 25
