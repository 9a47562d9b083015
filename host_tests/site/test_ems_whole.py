"""An EMS at the whole simulated site: what real clients write moves the battery as their authors expect, and gives it back."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tools.interpreters import Interpreter
from tools.ports import free_port
from tools.sim.board.board import Board
from tools.sim.site import Site

ROOT = Path(__file__).resolve().parents[2]
NEAR_KW = 1.0
TIME_S = 40.0


class Ems:
    """A client of raw frames that finds models as all of them do."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.starts: dict[int, int] = {}

    async def ask(self, pdu: bytes) -> bytes:
        """The answer's PDU."""
        self._writer.write(struct.pack(">HHHB", 1, 0, 1 + len(pdu), 1) + pdu)
        head = await asyncio.wait_for(self._reader.readexactly(7), 20)
        return await self._reader.readexactly(struct.unpack(">HHHB", head)[2] - 1)

    async def read(self, address: int, count: int) -> list[int]:
        """Holding registers."""
        answer = await self.ask(struct.pack(">BHH", 3, address, count))
        assert answer[0] == 3, answer
        return list(struct.unpack(f">{count}H", answer[2:]))

    async def put(self, model: int, offset: int, *words: int) -> int:
        """The exception's code, 0 for none: function 6 for one register, 16 for several."""
        at, values = self.starts[model] + offset, [word & 0xFFFF for word in words]
        if len(values) == 1:
            answer = await self.ask(struct.pack(">BHH", 6, at, values[0]))
        else:
            answer = await self.ask(struct.pack(f">BHHB{len(values)}H", 16, at, len(values), 2 * len(values), *values))
        return answer[1] if answer[0] & 0x80 else 0

    async def find(self) -> None:
        """Where each model begins."""
        at = 40002
        while (head := await self.read(at, 2))[0] != 0xFFFF:
            self.starts[head[0]] = at
            at += 2 + head[1]

    async def get(self, model: int, offset: int) -> int:
        """One register."""
        return (await self.read(self.starts[model] + offset, 1))[0]


Story = Callable[[Site, Board, Ems], Coroutine[Any, Any, None]]


def play(folder: Path, mp: Interpreter, story: Story, **options: Any) -> None:
    """A story at a site whose board has been started and has closed its contactors."""

    async def whole() -> None:
        site, port = Site(1, load_kw=20.0, pv_kw=0.0), free_port()
        site.services = {"ems": {"type": "sunspec_server", "port": port, "host": "127.0.0.1", "commands_per_s": 100, **options}}
        await site.start()
        board = Board(ROOT, state_dir=folder, site=site.board_json(), interpreter=list(mp.command))
        site.wire(board)
        await board.start()
        try:
            await board.send("app.generation")
            await board.wait_line("= '", 20)
            await asyncio.sleep(3)
            await board.send("pm.start()")
            ems = Ems(*await asyncio.open_connection("127.0.0.1", port))
            await ems.find()
            while await ems.get(802, 22) != 3:
                await asyncio.sleep(0.2)
            await story(site, board, ems)
        finally:
            await board.stop()
            await site.stop()

    asyncio.run(asyncio.wait_for(whole(), 240))


async def moves(site: Site, kw: float) -> None:
    """Wait until the simulated inverter moves that; fails with what it does instead."""
    for _ in range(int(TIME_S / 0.1)):
        if abs(site.truth()["pcs_kw"] - kw) < NEAR_KW:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"the inverter moves {site.truth()['pcs_kw']:.1f} kW, not {kw:g}")


def test_evcc_and_victron_move_the_battery_and_give_it_back(mp: Interpreter, tmp_path: Path) -> None:
    async def story(site: Site, board: Board, ems: Ems) -> None:
        await board.send("pm.set_constant_power(10)")  # what the house does by itself
        await moves(site, 10)
        assert await ems.put(124, 5, 2) == await ems.put(124, 12, 0) == 0  # evcc holds
        await moves(site, 0)
        assert await ems.put(124, 15, 0) == await ems.put(124, 17, 1) == await ems.put(124, 12, -3000) == 0  # and charges
        await moves(site, -30)
        assert (await ems.get(124, 11), await ems.get(701, 4)) == (4, 3)
        assert await ems.put(124, 5, 0) == 0  # and gives back
        await moves(site, 10)
        assert await ems.put(704, 14, 1, 400, 0, 1, 0) == 0  # Victron's five registers: at most 4 %
        await moves(site, 4)
        assert await ems.put(704, 14, 0) == 0
        await moves(site, 10)
        assert await ems.put(802, 10, 9000) == 0  # the reserve far above: charge to it
        await moves(site, -100 if (await limit(board, "limit_charge")) > 99 else -await limit(board, "limit_charge"))
        assert await ems.put(802, 10, 2000) == 0
        await moves(site, 10)
        assert site.auditor.worst_violation_w == 0

    play(tmp_path, mp, story)


async def limit(board: Board, key: str) -> float:
    """A figure of pm.stats()."""
    board.lines.clear()
    await board.send(f"pm.stats()['{key}']")
    return float((await board.wait_line("= ", 10))[2:])


def test_a_setpoint_reverts_and_a_silent_ems_is_given_up(mp64: Interpreter, tmp_path: Path) -> None:
    async def story(site: Site, board: Board, ems: Ems) -> None:
        assert await ems.put(704, 31, 0, 4) == 0
        assert await ems.put(704, 22, 1, 1, 0, 15000) == 0
        await moves(site, 15)
        await moves(site, 0)
        assert await ems.get(704, 22) == 0
        assert await ems.put(704, 31, 0, 0) == await ems.put(704, 22, 1, 1, 0, 12000) == 0
        await moves(site, 12)
        await asyncio.sleep(2)
        assert abs(site.truth()["pcs_kw"] - 12) < NEAR_KW
        await moves(site, 0)  # silence_s is 4
        assert await ems.get(704, 22) == 0

    play(tmp_path, mp64, story, silence_s=4)


def test_without_a_permit_to_enter_service_there_is_no_power(mp64: Interpreter, tmp_path: Path) -> None:
    async def story(site: Site, board: Board, ems: Ems) -> None:
        assert await ems.put(704, 22, 1, 1, -1, -20000) == 0
        await moves(site, -20)
        assert await ems.put(703, 2, 0) == 0
        await moves(site, 0)
        assert await ems.put(715, 8, 0) == 1, "operating commands are the service's"
        assert await ems.put(703, 2, 1) == 0
        await moves(site, -20)

    play(tmp_path, mp64, story)
