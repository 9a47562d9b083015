"""The grid operator's relays on a running site: by the board's pins and by an I/O module of another make on Modbus."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from host_tests.site.test_calendar_site import Rig
from tools.sim.board.board import Board
from tools.sim.site import Site

ROOT = Path(__file__).resolve().parents[2]
RELAY_PIN = 32
LIMITS = "[(one['discharge_kw'], one['charge_kw']) for one in pm.curtailments()]"


class Module:
    """An I/O module with discrete inputs from address 16 on, served by pymodbus; `silent`: it answers nothing."""

    def __init__(self) -> None:
        self.bits = [0] * 8
        self.silent = False
        self.port = 0
        self._server: ModbusTcpServer | None = None

    async def _access(
        self, function: int, start: int, address: int, count: int, registers: list[int], values: list[int] | list[bool] | None
    ) -> ExcCodes | None:
        if self.silent:
            await asyncio.sleep(30)
        if function != 2:
            return ExcCodes.ILLEGAL_FUNCTION
        registers[0] = sum(bit << i for i, bit in enumerate(self.bits))
        return None

    async def start(self) -> None:
        unused = [SimData(0, values=[0] * 8, datatype=DataType.REGISTERS)]
        bits = [SimData(16, values=[False] * 16, datatype=DataType.BITS)]
        coils = [SimData(0, values=[False] * 8, datatype=DataType.BITS)]
        device = SimDevice(7, (coils, bits, unused, unused), action=self._access)
        self._server = ModbusTcpServer(device, address=("127.0.0.1", 0))
        await self._server.serve_forever(background=True)
        self.port = cast(asyncio.Server, self._server.transport).sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.shutdown()
            self._server = None


@contextlib.asynccontextmanager
async def module() -> AsyncIterator[Module]:
    one = Module()
    await one.start()
    try:
        yield one
    finally:
        await one.stop()


async def play(tmp_path: Path, relays: dict[str, Any], story: Callable[[Rig], Awaitable[None]]) -> None:
    """A site with these relays charges with 30 kW while the story happens."""
    site = Site(seed=1)
    await site.start()
    content = site.site_json()
    content["services"] = {"operator": {"type": "relays", **relays}}
    board = Board(ROOT, state_dir=tmp_path, site=content)
    site.wire(board)
    board.set_pin(RELAY_PIN, 1)
    await board.start()
    rig = Rig(site, board)
    try:
        await rig.up()
        await rig.ask("pm.start()")
        await rig.until("Mode.name(pm.mode)", lambda mode: mode == "IDLE")
        await rig.ask("pm.set_constant_power(-30)")
        await rig.until("pm.stats()['power']", lambda kw: kw is not None and kw < -29)
        await story(rig)
    finally:
        await board.stop()
        await site.stop()


def test_a_contact_on_a_pin_bounds_what_is_taken_from_the_grid(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        rig.board.set_pin(RELAY_PIN, 0)
        await rig.until("pm.stats()['power']", lambda kw: kw is not None and -4.3 < kw < -3.9)
        assert "operator" in await rig.ask("pm.stats()['reason']")
        rig.board.set_pin(RELAY_PIN, None)  # its wire breaks: the pull opens the contact
        await rig.until("pm.stats()['power']", lambda kw: kw is not None and kw < -29)

    asyncio.run(play(tmp_path, {"inputs": {"14a": {"input_pin": RELAY_PIN, "import_kw": 4.2}}}, story))


def test_an_io_module_s_inputs_bound_it_and_a_module_that_is_silent_counts_as_active(tmp_path: Path) -> None:
    async def run() -> None:
        async with module() as io:

            async def story(rig: Rig) -> None:
                assert await rig.ask(LIMITS) == [(1000.0, 1000.0)]
                io.bits[1] = 1
                await rig.until("pm.stats()['power']", lambda kw: kw is not None and -10.3 < kw < -9.5)
                io.bits[1] = 0
                await rig.until(LIMITS, lambda found: found == [(1000.0, 1000.0)])
                io.silent = True
                await rig.until("pm.stats()['power']", lambda kw: kw is not None and -4.3 < kw < -3.9, 20)
                io.silent = False
                await rig.until("pm.stats()['power']", lambda kw: kw is not None and kw < -29, 30)

            inputs = {"14a": {"bit": 16, "import_kw": 4.2}, "step": {"bit": 17, "import_kw": 10}}
            connection = {"host": "127.0.0.1", "port": io.port, "unit": 7, "lost_ms": 1500}
            await play(tmp_path, {"inputs": inputs, **connection}, story)

    asyncio.run(run())


def test_the_module_is_one_that_other_clients_read_the_same_way() -> None:
    async def run() -> None:
        async with module() as io:
            io.bits[:3] = [1, 0, 1]
            client = AsyncModbusTcpClient("127.0.0.1", port=io.port)
            assert await client.connect()
            assert (await client.read_discrete_inputs(16, count=3, device_id=7)).bits[:3] == [True, False, True]
            client.close()

    asyncio.run(run())
