"""The whole firmware with its CAN bus on an MCP2515: the driver, the emulated chip, the wire, the simulated battery."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import can
import pytest

from tools.interpreters import Interpreter
from tools.sim.board.board import Board
from tools.sim.chips.server import ChipServer
from tools.sim.site import Site

BRIDGE = Path(__file__).resolve().parents[2] / "tools" / "onboard" / "spi_over_tcp.py"


async def _run(root: Path, scratch: Path, interpreter: Interpreter, then: Any = None) -> tuple[dict[str, Any], ChipServer]:
    site = Site(seed=4)
    await site.start()
    bus = can.Bus(interface="slcan", channel=f"socket://127.0.0.1:{site.ports['can']}", bitrate=500_000, timeout=0)
    chip = ChipServer(bus)
    port = await chip.start()
    described = site.site_json()
    described["buses"] = {"can0": {"type": "can", "backend": "mcp2515", "id": 1, "cs_pin": 5}}
    board = Board(
        root,
        state_dir=scratch,
        site=described,
        interpreter=list(interpreter.command),
        env={"SIM_SPI1": "spi_over_tcp", "SIM_CHIP": f"127.0.0.1:{port}"},
    )
    states: list[dict[str, Any]] = []
    board.on_line = lambda line: states.append(json.loads(line)) if '"lim_dis"' in line and line.endswith("}") else None
    site.wire(board)
    board.flash.mkdir(parents=True)
    shutil.copyfile(BRIDGE, board.flash / BRIDGE.name)
    try:
        await board.start()
        await asyncio.sleep(2.5)
        for line in ("monitor(200)", "pm.start()", "pm.set_constant_power(30, 0)"):
            await board.send(line)
            await asyncio.sleep(1.0)
        async with asyncio.timeout(60):
            while not (states and states[-1]["p"] is not None and states[-1]["p"] > 20):
                assert board.running, list(board.lines)[-20:]
                await asyncio.sleep(0.1)
            if then is not None:
                await then(board, chip, states)
        return states[-1], chip
    except TimeoutError as error:
        raise AssertionError(f"no power: {list(board.lines)[-3:]}") from error
    finally:
        await board.stop()
        await chip.stop()
        await site.stop()
        bus.shutdown()


@pytest.mark.serial
def test_the_battery_is_discharged_with_its_bms_behind_an_mcp2515(
    root: Path, tmp_path: Path, mp64: Interpreter
) -> None:
    state, chip = asyncio.run(_run(root, tmp_path, mp64))
    assert state["faults"] == []
    assert 49 <= state["soc"] <= 51
    assert chip.transfers > 500
    assert chip.chip.misuse == []


@pytest.mark.serial
def test_a_chip_that_loses_power_for_a_moment_is_set_up_anew_and_the_power_goes_on(
    root: Path, tmp_path: Path, mp64: Interpreter
) -> None:
    async def brown_out(board: Board, chip: ChipServer, states: list[dict[str, Any]]) -> None:
        for _ in range(2):
            chip.chip.lose_power()
            before = len(states)
            while chip.chip.bitrate != 500_000 or len(states) < before + 15 or states[-1]["p"] < 20:
                await asyncio.sleep(0.1)
        await board.send("scan()")
        while not any("can0: " in line and "resets 2" in line for line in board.lines):
            await asyncio.sleep(0.1)

    state, chip = asyncio.run(_run(root, tmp_path, mp64, brown_out))
    assert state["faults"] == [], "0.1 s of silence are nothing to control"
    assert chip.chip.misuse == []
