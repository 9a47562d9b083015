"""The EMS's chain under both MicroPythons, scanned, read and commanded by pysunspec2 over TCP and over a serial line."""

from __future__ import annotations

import asyncio
import contextlib
import time
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from sunspec2.modbus import client, modbus

from host_tests.site.board_process import BoardProcess, board_process
from host_tests.site.serial_wire import wire
from tools import pki
from tools.generate import gen_ems_points as points
from tools.interpreters import Interpreter
from tools.ports import free_port

Story = Callable[[BoardProcess, Any], Coroutine[Any, Any, None]]
KW = 33.456


@contextlib.asynccontextmanager
async def over_tcp(mp: Interpreter, **setup: Any) -> AsyncIterator[tuple[BoardProcess, Any]]:
    port = free_port()
    options = {"port": port, "host": "127.0.0.1", **setup.pop("options", {})}
    async with board_process(mp, "ems_board.py", {"options": options, **setup}, heap="1M") as board:
        device = client.SunSpecModbusClientDeviceTCP(slave_id=setup.get("unit", 1), ipaddr="127.0.0.1", ipport=port, timeout=5)
        try:
            yield board, device
        finally:
            device.disconnect()


@contextlib.asynccontextmanager
async def over_a_line(mp: Interpreter, **setup: Any) -> AsyncIterator[tuple[BoardProcess, Any]]:
    async with wire() as line:
        env, path = {"SIM_UART1": line.add()}, line.add()
        options = {"port": 0, "uart": 1, "baudrate": 115200}
        async with board_process(mp, "ems_board.py", {"options": options, **setup}, env, "1M") as board:
            device = await asyncio.to_thread(
                client.SunSpecModbusClientDeviceRTU, slave_id=1, name=path, baudrate=115200, parity="N", timeout=5
            )
            try:
                yield board, device
            finally:
                device.close()


WAYS = pytest.mark.parametrize("way", [over_tcp, over_a_line])


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """A story in which any warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(asyncio.wait_for(story(), 150))


def value(device: Any, name: str) -> Any:
    """A point by its model, groups and name: "160.module.3.DCW"."""
    model, *path = name.split(".")
    group = device.models[int(model)][0]
    while len(path) > 1:
        inner = group.groups[path.pop(0)]
        group = inner[int(path.pop(0)) - 1] if isinstance(inner, list) else inner
    return group.points[path[0]].cvalue


# point: key of stats(), what of it (1: as it is), least count that its scale factor leaves
SAME = {
    "103.W": ("power", 1000, 10), "103.DCV": ("dc_bus_voltage", 1, 0.1), "103.Hz": ("grid_frequency", 1, 0.01),
    "103.WH": ("energy_out_wh", 1, 2), "122.WAval": ("limit_discharge", 1000, 10), "122.ActWh": ("energy_out_wh", 1, 2),
    "124.ChaState": ("soc", 1, 0.01), "124.InBatV": ("voltage", 1, 0.1), "160.module.4.DCV": ("dc_bus_voltage", 1, 0.1),
    "160.module.1.DCW": ("pv_power", 1000, 10), "701.W": ("power", 1000, 10), "701.Hz": ("grid_frequency", 1, 0.001),
    "701.TotWhInj": ("energy_out_wh", 1, 2), "701.TotWhAbs": ("energy_in_wh", 1, 2), "713.SoC": ("soc", 1, 0.01),
    "713.SoH": ("soh", 1, 0.01), "714.Prt.1.DCV": ("dc_bus_voltage", 1, 0.1), "714.Prt.1.Tmp": ("temperature", 1, 0.1),
    "802.SoC": ("soc", 1, 0.01), "802.V": ("voltage", 1, 0.1), "802.A": ("current", 1, 0.1), "802.CellVMax": ("cell_max", 1, 0.001),
    "802.CellVMin": ("cell_min", 1, 0.001), "715.DERHb": ("uptime_s", 1, 1),
}  # fmt: skip
IS = {
    "1.Mn": "battery power manager", "1.Md": "site", "1.DA": 1, "103.St": 4, "120.WRtg": 100000, "120.WHRtg": 208000,
    "121.WMax": 100000, "124.WChaMax": 100000, "124.ChaSt": 3, "160.N": 4, "701.St": 1, "701.InvSt": 3, "701.ConnSt": 1,
    "701.Alrm": 0, "701.ThrotPct": 0, "702.WMaxRtg": 100000, "702.WChaRteMaxRtg": 100000, "713.WHRtg": 208000, "713.Sta": 0,
    "802.State": 3, "802.ChaSt": 3, "802.WHRtg": 208000, "715.LocRemCtl": 0,
    "704.WSetEna": 0, "703.ESHzHi": 50.1, "160.module.3.DCW": 0,
}  # fmt: skip


@WAYS
def test_pysunspec2_scans_the_chain_and_reads_what_stats_say(mp: Interpreter, way: Any) -> None:
    async def story() -> None:
        async with way(mp, kw=KW, stands=True) as (board, device):
            await asyncio.to_thread(device.scan)
            assert [model for model in device.models if isinstance(model, int)] == list(points.CHAIN)
            stats = await board.ask("stats")
            assert stats["power"] == pytest.approx(KW)
            for name, (key, scale, count) in SAME.items():
                assert value(device, name) == pytest.approx(stats[key] * scale, abs=0.51 * count), name
            for name, wanted in IS.items():
                assert value(device, name) == pytest.approx(wanted) if not isinstance(wanted, str) else wanted, name
            assert not board_errors(await board.ask("counters"))

    run(story)


def board_errors(counters: dict[str, Any]) -> list[str]:
    """What a server has noted as its model's mistakes, and the last command that failed."""
    found = [counters.pop("problem")]
    return [text for text in [*found, *(one["last_error"] for one in counters.values() if isinstance(one, dict))] if text]


def test_every_point_has_a_value_of_its_type_or_is_not_implemented(mp64: Interpreter) -> None:
    """What pysunspec2 makes of the words: enumerations are codes of the model, texts are texts, nothing else is there."""

    def walk(group: Any, path: str) -> list[str]:
        wrong = []
        for name, point in group.points.items():
            symbols = {one["value"] for one in point.pdef.get("symbols", [])}
            if point.value is not None and symbols and point.pdef["type"].startswith("enum") and point.value not in symbols:
                wrong.append(f"{path}.{name} = {point.value}")
            if point.pdef["type"] == "sunssf" and point.value is not None and not -10 <= point.value <= 10:
                wrong.append(f"{path}.{name} = {point.value}")
        for name, inner in group.groups.items():
            for one in inner if isinstance(inner, list) else [inner]:
                wrong += walk(one, f"{path}.{name}")
        return wrong

    async def story() -> None:
        async with over_tcp(mp64, kw=KW, stands=True) as (_, device):
            await asyncio.to_thread(device.scan)
            assert [line for model in points.CHAIN for line in walk(device.models[model][0], str(model))] == []

    run(story)


@WAYS
def test_pysunspec2_commands_a_setpoint_as_its_users_write_it(mp: Interpreter, way: Any) -> None:
    async def story() -> None:
        async with way(mp, power={"ramp_up": 1000.0}) as (board, device):
            await asyncio.to_thread(device.scan)
            control = device.models[704][0]
            control.WSetEna.value, control.WSetMod.value = 1, 1
            control.WSet.cvalue = -25000
            control.WSetRvrtTms.cvalue = 60  # read back over a line on a busy machine, it still runs
            await asyncio.to_thread(control.write)
            await reached(board, -25000)
            await counting_down(control)
            assert control.WSet.cvalue == -25000 and 1 <= control.WSetRvrtRem.cvalue <= 60
            control.WSet.cvalue, control.WSetRvrtTms.cvalue = -20000, 2
            await asyncio.to_thread(control.write)
            await reached(board, 0)
            await asyncio.to_thread(control.read)
            assert control.WSetEna.value == 0

    run(story)


async def counting_down(control: Any) -> None:
    """Reads until the setpoint's timer runs: what is written behind a setpoint is waited for, and read back within a second."""
    give_up = time.monotonic() + 10  # of a machine that has much else to do
    await asyncio.to_thread(control.read)
    while not control.WSetRvrtRem.cvalue and time.monotonic() < give_up:
        await asyncio.sleep(0.05)
        await asyncio.to_thread(control.read)


async def reached(board: BoardProcess, watts: int) -> None:
    """Wait until that is the command; fails with what it is instead."""
    give_up = time.monotonic() + 10
    while (found := await board.ask("command")) != watts:
        assert time.monotonic() < give_up, f"the command is {found} W, not {watts}"
        await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The keys of a site."""
    folder = tmp_path_factory.mktemp("pki") / "site"
    pki.make(folder, ["127.0.0.1"])
    return folder


@contextlib.asynccontextmanager
async def over_tls(mp: Interpreter, keys: Path, role: str, **setup: Any) -> AsyncIterator[tuple[BoardProcess, Any]]:
    port = free_port()
    options = {"port": 0, "host": "127.0.0.1", "tls_port": port, "tls_folder": str(keys / "board")}
    async with board_process(mp, "ems_board.py", {"options": options, **setup}, heap="2M") as board:
        own = {"certfile": str(keys / "clients" / f"{role}.pem"), "keyfile": str(keys / "clients" / f"{role}_key.pem")}
        device = client.SunSpecModbusClientDeviceTCP(
            slave_id=1, ipaddr="127.0.0.1", ipport=port, timeout=10, tls=True, cafile=str(keys / "authority.pem"), **own
        )
        try:
            yield board, device
        finally:
            device.disconnect()


def test_pysunspec2_scans_and_commands_over_tls_as_its_role_may(mp: Interpreter, keys: Path) -> None:
    async def story() -> None:
        async with over_tls(mp, keys, "gridservice", power={"ramp_up": 1000.0}) as (board, device):
            await asyncio.to_thread(device.scan)
            assert [model for model in device.models if isinstance(model, int)] == list(points.CHAIN)
            control = device.models[704][0]
            control.WSetEna.value, control.WSet.cvalue = 1, -25000
            await asyncio.to_thread(control.write)
            await reached(board, -25000)
            device.models[715][0].OpCtl.value = 0
            with pytest.raises(modbus.ModbusClientException, match="exception: 1"):
                await asyncio.to_thread(device.models[715][0].write)
        async with over_tls(mp, keys, "superadministrator") as (board, device):
            await asyncio.to_thread(device.scan)
            device.models[715][0].OpCtl.value = 2
            await asyncio.to_thread(device.models[715][0].write)
            device.models[715][0].read()
            assert device.models[715][0].OpCtl.value == 2

    run(story)


def test_unit_126_answers_too_unless_it_is_not_wanted(mp64: Interpreter) -> None:
    async def story() -> None:
        async with over_tcp(mp64, unit=126) as (_, device):
            await asyncio.to_thread(device.scan)
            assert 802 in device.models
        async with over_tcp(mp64, options={"also_126": False}) as (_, device):
            await asyncio.to_thread(device.connect)
            with pytest.raises(modbus.ModbusClientException):
                await asyncio.to_thread(modbus_read, device, 126)
            assert await asyncio.to_thread(modbus_read, device, 1) == b"SunS"

    run(story)


def modbus_read(device: Any, unit: int) -> bytes:
    """The chain's first two registers, of that unit."""
    device.client.slave_id = unit
    return device.client.read(40000, 2)


def test_a_heap_that_is_full_for_a_moment_cuts_no_client_and_costs_no_command(mp: Interpreter) -> None:
    """What the service could not do it does in the next step; who is there, and who controls, stays."""

    async def asked(stream: tuple[asyncio.StreamReader, asyncio.StreamWriter], pdu: bytes) -> bytes:
        reader, writer = stream
        writer.write(bytes((0, 1, 0, 0, 0, len(pdu) + 1, 1)) + pdu)
        head = await asyncio.wait_for(reader.readexactly(7), 5)
        return await reader.readexactly(head[5] - 1)

    async def story() -> None:
        async with over_tcp(mp) as (board, device):
            await asyncio.to_thread(device.scan)
            at = device.models[704][0].points["WSetEna"].model.model_addr + 22
            both = [await asyncio.open_connection("127.0.0.1", device.ipport) for _ in range(2)]
            await board.ask("starve")
            written = await asked(both[0], bytes((16, at >> 8, at & 255, 0, 4, 8, 0, 1, 0, 1, 255, 255, 0xB1, 0xE0)))
            assert written[0] == 16
            for _ in range(100):
                if await board.ask("command") == -20000:
                    break
                assert (await asked(both[1], b"\x03\x9c\x40\x00\x02"))[2:] == b"SunS"
                await asyncio.sleep(0.05)
            assert await board.ask("command") == -20000
            assert (await asked(both[0], b"\x03\x9c\x40\x00\x02"))[2:] == b"SunS"
            counters = await board.ask("counters")
            assert counters["ems_tcp"]["connections"] == 3 and counters["problem"] == "MemoryError"
            for _, writer in both:
                writer.close()
                await writer.wait_closed()

    run(story)
