"""What parts of a site cost a running board in heap: small sites are run on the simulated board, and what lives is counted.

For size.py, which knows what their modules weigh: what is left over of a part are its objects (buffers, tasks, tables read
at boot).  The 32-bit interpreter, from cross-compiled files or in an image of our own, with the console used and the monitor on.
"""

import ast
import asyncio
import contextlib
import json
import re
import struct
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

from host_tests.site.serial_wire import wire
from tools.build import fits
from tools.build.stage import ROOT
from tools.interpreters import find32
from tools.ports import free_port
from tools.sim.board import profiles
from tools.sim.board.board import Board
from tools.sim.devices.sunspec_server import SunSpecServer
from tools.sim.site import Site

BAUDRATE = 115200
HEAP = 2 << 20
SETTLE_S = 4.0  # devices connect, the first values have come
CLIENTS = 4  # of a server among the services, each of which has asked for something
SAMPLES = 4  # the least counts: a stale pointer on the stack keeps things alive now and then
# what people type, so that its names and texts are there
TYPED = ("monitor(1000)", "pm.stats()", "limits()", "devices()", "pm.start()", "pm.set_constant_power(5, 60)", "pm.nothing")
ASKED = (
    "[__import__('gc').collect(), __import__('gc').mem_alloc()][1]", "sorted(__import__('sys').modules)",
    "__import__('micropython').qstr_info(1)",
)  # fmt: skip
_NAME = re.compile(r"Q\((.*)\)$")
_COUNT = re.compile(r"n_qstr=(\d+)")


class NotMeasured(Exception):
    """The board did not run as it should; the text says what it said last."""


@dataclass(frozen=True)
class Live:
    """A running board: bytes that live, names the interpreter keeps (none in our own image), modules that are loaded.

    pool_bytes: of heap_bytes, what the pools of names take.  Near a pool's end the next one, 18 KB, hangs on a single name, and a
    name of odd characters is not among those read from the console: the interpreter's own count says which pools there are.
    """

    heap_bytes: int
    names: frozenset[str]
    modules: frozenset[str]
    pool_bytes: int = 0


@contextlib.asynccontextmanager
async def _peers(site: Site) -> AsyncIterator[str]:
    """The site's inverter (unit 1) and meter (unit 2) also on an RS485 line; gives the board's end of it."""

    def on_the_line(server: SunSpecServer, unit: int) -> SimDevice:
        registers = SimData(server.chain.base, values=list(server.chain.registers), datatype=DataType.REGISTERS)
        return SimDevice(unit, [registers], action=server._access)

    async with wire(BAUDRATE) as line:
        devices = [on_the_line(site.pcs_server, 1), on_the_line(site.meter_server, 2)]
        server = ModbusSerialServer(devices, port=line.add(), baudrate=BAUDRATE)
        serving = asyncio.create_task(server.serve_forever())
        try:
            yield line.add()
        finally:
            await server.shutdown()
            serving.cancel()


def simulated(content: dict[str, Any], site: Site) -> dict[str, Any]:
    """A site file of docs/ as it runs here: the simulation's addresses, its CAN back end, its pins."""
    made = json.loads(json.dumps(content))
    own = site.site_json()
    for bus in made.get("buses", {}).values():
        if bus["type"] == "can":
            bus.update(own["buses"]["can0"])
        else:
            bus.update({"id": 1, "baudrate": BAUDRATE, "parity": "none"})
    for device in made.get("devices", {}).values():
        if device["type"] == "io_board":
            device.update(own["devices"]["io"])
        elif device.get("host"):
            device["host"], device["port"] = "127.0.0.1", site.ports["meter" if device["type"].startswith("meter") else "pcs"]
    for service in made.get("services", {}).values():
        if service["type"] in ("sunspec_server", "web"):
            service.update(port=free_port(), host="127.0.0.1")
    clock = made.get("clock") or {}
    if clock.get("ntp"):
        clock["ntp"] = "127.0.0.1"
    return made


async def _live(content: dict[str, Any], typed: tuple[str, ...], own: bool) -> Live:
    interpreter = find32()
    if interpreter is None:
        raise NotMeasured("the 32-bit MicroPython is not there: run `make setup`")
    site = Site(seed=1)
    await site.start()
    with tempfile.TemporaryDirectory() as scratch:
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(site.stop)
            port = await stack.enter_async_context(_peers(site))
            image: dict[str, Any] = {"heap": str(HEAP), "mpy": True}
            if own:
                image = {"profile": replace(profiles.named("esp32", romfs=True), heap=HEAP, areas=0)}
            made = simulated(content, site)
            board = Board(
                ROOT, state_dir=Path(scratch), site=made, interpreter=list(interpreter.command),
                env={**site.env(), "SIM_UART1": port}, **image,
            )  # fmt: skip
            site.wire(board)
            stack.push_async_callback(board.stop)
            await board.start()
            try:
                await board.send("app.generation")
                await board.wait_line("= '", 20)
                for service in made.get("services", {}).values():
                    if service["type"] == "sunspec_server":
                        stack.callback((await _clients(service["port"])).clear)
                    elif service["type"] == "web":
                        stack.callback((await _browsers(service["port"])).clear)
                return await _asked(board, typed, own)
            except (TimeoutError, ValueError, SyntaxError) as error:
                raise NotMeasured(f"{error}; the console said {list(board.lines)[-8:]}") from None


async def _clients(port: int) -> list[asyncio.StreamWriter]:
    """CLIENTS of a Modbus server, which have read the beginning of its chain."""
    found = []
    for _ in range(CLIENTS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, 40000, 100))
        await asyncio.wait_for(reader.readexactly(209), 5)
        found.append(writer)
    return found


async def _browsers(port: int) -> list[asyncio.StreamWriter]:
    """CLIENTS open pages, which get their stream and have looked at the state, and as many that say nothing."""
    found = []
    for _ in range(CLIENTS):
        for path in (b"/api/state", b"/api/live"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET %s HTTP/1.1\r\nHost: here\r\n\r\n" % path)
            await asyncio.wait_for(reader.readuntil(b"event: state" if path == b"/api/live" else b"\r\n0\r\n\r\n"), 10)
            if path == b"/api/live":
                found.append(writer)
            else:
                writer.close()
    return found + [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(CLIENTS)]


async def _asked(board: Board, typed: tuple[str, ...], own: bool) -> Live:
    await asyncio.sleep(SETTLE_S)
    for line in (*TYPED, *typed):
        await board.send(line)
        await asyncio.sleep(0.5)
    refused = await _answer(board, "app.site.errors")
    if refused != "[]":
        raise NotMeasured(f"the site is refused: {refused}")
    if own:  # what our own image has in flash is taken off there
        modules = ast.literal_eval(await _answer(board, ASKED[1]))
        return Live(min([(await board.figures())["heap_live"] for _ in range(SAMPLES)]), frozenset(), frozenset(modules))
    for line in ASKED:  # once, so that asking brings no names between one answer and the next
        await _answer(board, line)
    heaps = [int(await _answer(board, ASKED[0])) for _ in range(SAMPLES)]
    modules = ast.literal_eval(await _answer(board, ASKED[1]))
    await _answer(board, ASKED[2])
    names = frozenset(match[1] for line in board.lines if (match := _NAME.match(line)))
    counts = [int(match[1]) for line in board.lines if (match := _COUNT.search(line))]
    if board.resets or not names or not counts:
        raise NotMeasured(f"the board was reset: {board.resets}; it said {list(board.lines)[-8:]}")
    return Live(min(heaps), names, frozenset(modules), fits.pool_bytes(counts[-1]))


async def _answer(board: Board, line: str) -> str:
    board.lines.clear()
    await board.send(line)
    return (await board.wait_line(lambda text: text.startswith(("= ", "! ")), 10))[2:]


def live(content: dict[str, Any], typed: tuple[str, ...] = (), own: bool = False) -> Live:
    """Runs a site (a site file's content) and counts.  `typed`: further console lines; own: in our own image.

    Raises NotMeasured.
    """
    return asyncio.run(_live(content, typed, own))
