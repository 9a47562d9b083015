"""An EMS on CAN against the whole firmware on the simulated board: the script of docs/can.md, beside the BMS on one bus."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import can
import cantools
import pytest
from cantools.database.can import Database
from crccheck.crc import Crc8Base

from tools.interpreters import Interpreter
from tools.ports import free_port
from tools.sim.board.board import Board
from tools.sim.site import Site

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.serial
BASE = 0x600


class E2E(Crc8Base):
    """AUTOSAR E2E profile 1, by another hand than ours."""

    _poly, _initvalue, _xor_output = 0x1D, 0, 0


class Ems:
    """An EMS of python-can and cantools on the site's CAN bus."""

    def __init__(self, port: int) -> None:
        database = cantools.database.load_file(ROOT / "docs" / "dbc" / "ems.dbc")
        assert isinstance(database, Database)
        self.database = database
        self.bus = can.Bus(interface="slcan", channel=f"socket://127.0.0.1:{port}", bitrate=500000, sleep_after_open=0)
        self.counters = {"SETPOINT": 0, "BOUNDS": 0}
        self.received: dict[str, dict[str, Any]] = {}
        self.polls: list[float] = []  # when the board asked the BMS

    def read(self) -> None:
        """What comes in a fiftieth of a second."""
        end = time.monotonic() + 0.02
        while (left := end - time.monotonic()) > 0:
            message = self.bus.recv(left)
            if message is None:
                continue
            if message.is_extended_id:
                if message.arbitration_id == 0x4200:
                    self.polls.append(message.timestamp)
            elif message.arbitration_id >= BASE:
                row = self.database.get_message_by_frame_id(message.arbitration_id)
                self.received[row.name] = row.decode(bytes(message.data))  # type: ignore[assignment]  # no container messages here

    def send(self, name: str, **values: float) -> None:
        """The next frame of that name."""
        row = self.database.get_message_by_name(name)
        self.counters[name] = (self.counters[name] + 1) % 15
        data = bytearray(row.encode({"CRC": 0, "COUNTER": self.counters[name], "ENABLE": 1, **values}))
        data[0] = E2E.calc(row.frame_id.to_bytes(2, "little") + data[1:])
        self.bus.send(can.Message(arbitration_id=row.frame_id, data=data, is_extended_id=False))

    async def until(self, true: Callable[[], bool], repeat: Callable[[], None] | None = None, seconds: float = 40) -> None:
        """Read until it is true; `repeat` is called five times a second."""
        for turn in range(round(seconds / 0.02)):
            if repeat is not None and turn % 10 == 0:
                await asyncio.to_thread(repeat)
            await asyncio.to_thread(self.read)
            with contextlib.suppress(KeyError):  # of a frame that has not come yet
                if true():
                    return
        raise AssertionError(f"not within {seconds} s: {self.received}")


Story = Callable[[Board, Site, Ems], Coroutine[Any, Any, None]]


def play(interpreter: Interpreter, tmp_path: Path, story: Story, sections: dict[str, Any] | None = None, **options: Any) -> None:
    """The simulated site with the service beside the BMS; started, and at rest."""

    async def run() -> None:
        site = Site()
        await site.start()
        content = {**site.site_json(), **(sections or {})}
        content["services"] = {"ems": {"type": "ems_can", "bus": "can0", "control": True, **options}}
        board = Board(ROOT, state_dir=tmp_path, site=content, interpreter=list(interpreter.command))
        site.wire(board)
        await board.start()
        ems = None
        try:
            await board.wait_line("control begins", 30)
            await board.send("pm.start()")
            ems = await asyncio.to_thread(Ems, site.ports["can"])
            await ems.until(lambda: str(ems.received["STATE"]["MODE"]) == "IDLE", seconds=30)
            await story(board, site, ems)
        finally:
            if ems is not None:
                ems.bus.shutdown()
            board.kill()
            await board.stop()
            await site.stop()

    asyncio.run(run())


async def ask(board: Board, line: str) -> str:
    board.lines.clear()
    await board.send(line)
    return (await board.wait_line(lambda text: text.startswith(("= ", "! ")), 10))[2:]


def test_setpoint_and_limits_move_the_battery_and_silence_gives_it_back(mp: Interpreter, tmp_path: Path) -> None:
    async def story(board: Board, site: Site, ems: Ems) -> None:
        await ems.until(lambda: abs(ems.received["POWER"]["PCS_P"] + 30) < 1, lambda: ems.send("SETPOINT", SETPOINT_P=-30.0))
        assert str(ems.received["STATE"]["REQUEST_BY"]) == "remote" and str(ems.received["STATE"]["MODE"]) == "CHARGE"
        assert site.truth()["pcs_kw"] == pytest.approx(-30, abs=1)
        assert str(ems.received["ANSWER"]["SETPOINT_RESULT"]) == "ACCEPTED"

        def both() -> None:
            ems.send("SETPOINT", SETPOINT_P=-30.0)
            ems.send("BOUNDS", BOUND_DIS=100.0, BOUND_CHG=12.5)

        await ems.until(lambda: ems.received["POWER"]["PCS_P"] == pytest.approx(-12.5, abs=0.5), both)
        assert str(ems.received["STATE"]["WHY_CHG"]) == "remote"
        assert "ems can" in await ask(board, "pm.stats()['reason']")
        await ems.until(lambda: str(ems.received["STATE"]["REQUEST_BY"]) == "idle", seconds=10)
        await ems.until(lambda: abs(ems.received["POWER"]["PCS_P"]) < 0.5, seconds=10)
        assert await ask(board, "pm.claims(), pm.curtailments()") == "([], [])"

    play(mp, tmp_path, story, lifetime_ms=3000)


def test_the_script_of_the_document_commands_the_battery(mp64: Interpreter, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "can.md").read_text(), re.S)
    script = next(block for block in blocks if "E2E" in block)

    async def story(board: Board, site: Site, ems: Ems) -> None:
        channel = f"socket://127.0.0.1:{site.ports['can']}"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, channel, "-20", cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        try:
            await ems.until(lambda: ems.received["POWER"]["PCS_P"] == pytest.approx(-20, abs=0.5), seconds=20)
        finally:
            process.kill()
            printed, _ = await process.communicate()
        assert b"'SETPOINT_RESULT': 'ACCEPTED'" in printed and b"'PCS_P': -" in printed

    play(mp64, tmp_path, story)


def test_the_bms_is_asked_as_regularly_as_without_an_ems(mp64: Interpreter, tmp_path: Path) -> None:
    async def story(board: Board, site: Site, ems: Ems) -> None:
        ems.polls.clear()

        def flood() -> None:
            for _ in range(10):
                ems.send("SETPOINT", SETPOINT_P=5.0)

        await ems.until(lambda: len(ems.polls) >= 6, flood, seconds=20)
        counted = await ask(board, "app.site.devices['bms'].counters()['timeouts'], app.site.buses['can0'].counters()['send_full']")
        assert counted == "(0, 0)"
        assert await ask(board, "pm.stats()['faults']") == "[]"

    play(mp64, tmp_path, story, period_ms=200)


def test_garbage_on_the_wire_moves_nothing(mp64: Interpreter, tmp_path: Path) -> None:
    async def story(board: Board, site: Site, ems: Ems) -> None:
        turn = 0

        def garbage() -> None:
            nonlocal turn
            for _ in range(20):
                turn += 1
                data = bytes((turn * 37 + at * 101 + turn * at) & 255 for at in range(turn % 9))
                good = len(data) == 8 and data[0] == E2E.calc((BASE + turn % 2).to_bytes(2, "little") + data[1:])
                if not good:
                    ems.bus.send(can.Message(arbitration_id=BASE + turn % 2, data=data, is_extended_id=False))

        await ems.until(lambda: ems.received["ANSWER"]["REFUSED"] > 400, garbage, seconds=20)
        assert ems.received["ANSWER"]["ACCEPTED"] == 0
        assert await ask(board, "pm.claims(), pm.curtailments()") == "([], [])"
        assert ems.received["POWER"]["CMD_P"] == 0
        lines = [line for line in board.lines if "refused: has a wrong" in line]
        assert len(lines) <= 3

    play(mp64, tmp_path, story)


def test_an_emergency_is_not_the_ems_s_to_leave(mp64: Interpreter, tmp_path: Path) -> None:
    async def story(board: Board, site: Site, ems: Ems) -> None:
        def charge() -> None:
            ems.send("SETPOINT", SETPOINT_P=-10.0)

        await ems.until(lambda: ems.received["POWER"]["CMD_P"] == -10, charge)
        await board.send("pm.emergency_shutdown()")
        await ems.until(lambda: str(ems.received["ANSWER"]["SETPOINT_RESULT"]) == "EMERGENCY", charge)
        await ems.until(lambda: ems.received["POWER"]["CMD_P"] == 0 and str(ems.received["STATE"]["MODE"]) == "EMERGENCY", charge)
        assert ems.received["ANSWER"]["SETPOINT_COUNTER"] < 15
        await ems.until(lambda: ems.received["ANSWER"]["REFUSED"] > 8, charge)  # a line a second is written
        logged = await ask(board, "[[row[2].split(' x')[0], row[3]] for row in timeline.records.logged() if row[2][:3] == 'EMS']")
        assert logged == "[['EMS can0 SETPOINT', -10000], ['EMS REFUSED can0 SETPOINT', 12]]"

    play(mp64, tmp_path, story, {"clock": {}, "storage": {}})


@pytest.mark.mp64
def test_make_run_opens_the_simulated_site_to_an_ems() -> None:
    port = free_port()

    async def run() -> None:
        command = (sys.executable, "-m", "tools.run", "--headless", "--seconds", "60", "--ems-can", str(port))
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stderr=asyncio.subprocess.PIPE)
        try:
            assert process.stderr is not None
            said = await process.stderr.readline()
            assert f"socket://127.0.0.1:{port}".encode() in said
            async with asyncio.timeout(20):
                while b"pm.start()" not in await process.stderr.readline():
                    pass
            ems = await asyncio.to_thread(Ems, port)
            await ems.until(lambda: ems.received["POWER"]["CMD_P"] == -3, lambda: ems.send("SETPOINT", SETPOINT_P=-3.0))
            ems.bus.shutdown()
        finally:
            process.terminate()
            await process.communicate()

    asyncio.run(run())
