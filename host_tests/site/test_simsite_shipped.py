"""The site files that ship, with the simulator at their other ends; the RS485 line that some of their devices are on."""

from __future__ import annotations

import asyncio
import json
import os
import struct
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tools import check_site
from tools.interpreters import Interpreter
from tools.mqtt import broker as brokers
from tools.run import site_of
from tools.sim import scenario
from tools.sim.board.board import Board
from tools.sim.board.profiles import PROFILES, named
from tools.sim.devices.rtu_line import RtuLine, crc
from tools.sim.shipped import ShippedSite
from tools.sim.site import ESTOP_PIN, FEEDBACK_PIN

FILES = sorted({"docs/site.operator.json", *(profile.site for profile in PROFILES.values())})


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story())


async def broker_answers(port: int) -> None:
    """A broker takes a CONNECT of MQTT 3.1.1 there."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x05\x00\x01x")
    assert await asyncio.wait_for(reader.readexactly(4), 5) == b"\x20\x02\x00\x00"
    writer.close()


@pytest.mark.parametrize("file", FILES)
def test_a_shipped_site_stays_what_it_is_with_the_simulators_addresses(root: Path, file: str) -> None:
    async def story() -> None:
        site = ShippedSite(root / file)
        await site.start()
        try:
            content, before = site.site_json(), check_site.load(root / file)[0]
            assert check_site.errors_in(content) == []
            assert content["power"] == before["power"] and list(content["devices"]) == list(before["devices"])
            assert content["buses"]["can0"]["backend"] == "machine"
            assert ("wifi" in content) is any("host" in device for device in content["devices"].values())
            assert {device.get("host", "127.0.0.1") for device in content["devices"].values()} == {"127.0.0.1"}
            services = content.get("services", {})
            assert list(services) == list(before.get("services", {}))
            ports = [service["port"] for service in services.values() if "port" in service]
            assert len(set(ports)) == len(ports) and all(port > 1023 for port in ports), "ports that anybody may have"
            if "mqtt" in services and brokers.program() is not None:
                await broker_answers(services["mqtt"]["port"])
            assert os.path.exists(site.env()["SIM_UART1"])
        finally:
            await site.stop()

    run(story)


def test_pins_of_the_file_lead_to_the_site(root: Path) -> None:
    site = ShippedSite(root / "docs/site.t_can485.json")
    io = site.content["devices"]["io"]
    assert site.inputs() == {io["estop_pin"]: 0, io["feedback_pin"]: 0}
    told: list[tuple[int, int]] = []
    site.on_output = lambda pin, level: told.append((pin, level))
    site.inject("estop")
    assert told == [(io["estop_pin"], 1)] and io["estop_pin"] != ESTOP_PIN and io["feedback_pin"] != FEEDBACK_PIN
    site.board_pin(io["contactor_pin"], 1)
    assert site.plant.contactor_wanted
    site.board_pin(25, 0)
    assert site.plant.contactor_wanted, "no pin of this board's"


def test_a_pin_that_is_not_wired_leads_nowhere(root: Path, tmp_path: Path) -> None:
    """A site without an emergency stop could be neither run nor commissioned here: "pin -1 (allowed: 0 to 48)"."""
    site = json.loads((root / "docs" / "site.t_can485.json").read_text())
    site["devices"]["io"].update(estop_pin=-1, feedback_pin=-1)
    (tmp_path / "site.json").write_text(json.dumps(site))
    assert ShippedSite(tmp_path / "site.json").inputs() == {}


def test_a_scenario_with_its_own_powers_and_a_fast_board_have_the_default_site() -> None:
    own = scenario.Scenario("x", 10, site={"power": {"max_soc": 80.0}}, steps=[])
    assert not isinstance(site_of(named("esp32"), own), ShippedSite)
    assert not isinstance(site_of(None, scenario.default()), ShippedSite)
    assert isinstance(site_of(named("esp32"), scenario.default()), ShippedSite)


async def ask(line: RtuLine, request: bytes, seconds: float = 1.0, noise: bytes = b"") -> bytes:
    """What comes back for a request (its check sum is added) behind some noise."""
    wire = os.open(line.path, os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(wire, noise + request + crc(request))
        answer, end = b"", asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.02)
            try:
                answer += os.read(wire, 300)
            except BlockingIOError:
                if answer:
                    break
        return answer
    finally:
        os.close(wire)


def test_a_line_serves_sunspec_devices_and_plain_registers(root: Path) -> None:
    async def story() -> None:
        site = ShippedSite(root / "docs/site.example.json", pv_kw=8)
        assert site.line is not None
        site.line.add_server(1, site.pcs_server)
        await site.start()
        try:
            line = site.line
            base = site.pcs_server.chain.base
            answer = await ask(line, b"\x01\x03" + base.to_bytes(2, "big") + b"\x00\x02")
            assert answer == b"\x01\x03\x04SunS" + crc(b"\x01\x03\x04SunS")
            answer = await ask(line, b"\x04\x04\x00\x34\x00\x02")
            assert struct.unpack(">f", answer[3:7])[0] == pytest.approx(site.plant.pv_w) and answer[7:] == crc(answer[:7])
            assert (await ask(line, b"\x04\x04\x00\x35\x00\x02"))[:3] == b"\x04\x84\x02"
            assert (await ask(line, b"\x01\x03\x00\x00\x00\x02"))[:3] == b"\x01\x83\x02"
            assert await ask(line, b"\x09\x03\x00\x00\x00\x02", 0.2) == b"", "nobody has that unit"
            writable = sorted(site.pcs_server.chain.writable)[0]
            refused = await ask(line, b"\x01\x06" + base.to_bytes(2, "big") + b"\x00\x07")
            assert refused[:2] == b"\x01\x86", "SunS is not for writing"
            assert writable > base
            assert line.requests == 6
        finally:
            await site.stop()

    run(story)


@pytest.mark.parametrize("fault", ["silent", "bad_header", "bad_length"])
def test_the_faults_of_a_wire_are_on_the_line_too(root: Path, fault: str) -> None:
    async def story() -> None:
        site = ShippedSite(root / "docs/site.t_can485.json", noise_share=1.0)
        await site.start()
        try:
            assert site.line is not None
            base = site.pcs_server.chain.base
            request = b"\x01\x03" + base.to_bytes(2, "big") + b"\x00\x02"
            good = await ask(site.line, request)
            setattr(site.pcs_wire, fault, True)
            bad = await ask(site.line, request, 0.3)
            assert bad != good
            assert len(bad) == {"silent": 0, "bad_header": len(good), "bad_length": len(good) - 3}[fault]
            other = b"\x02" + request[1:]
            assert (await ask(site.line, other))[:3] == b"\x02\x03\x04", "the meter's wire is another"
            noise = await ask(site.line, other, noise=b"\xff\x00\x55")
            assert noise[:3] == b"\x02\x03\x04", "a request is found behind noise"
        finally:
            await site.stop()

    run(story)


def test_the_wired_site_runs_on_the_line(root: Path, mp64: Interpreter, tmp_path: Path) -> None:
    async def story() -> None:
        site = ShippedSite(root / "docs/site.t_can485.json")
        await site.start()
        board = Board(root, state_dir=tmp_path, site=site.site_json(), interpreter=list(mp64.command))
        site.wire(board)
        await board.start()
        try:
            await board.wait_line("GRID_CONNECTED", 20)
            await asyncio.sleep(2)  # until BMS, inverter and meter have reported
            for line in ("pm.start()", "pm.set_constant_power(30, 0)"):
                board.lines.clear()
                await board.send(line)
                await board.wait_line("= 'accepted", 5)
                await board.wait_line("MODE_CHANGE", 5)
            for _ in range(200):
                await asyncio.sleep(0.1)
                if site.plant.pcs.power_w > 25_000:
                    break
            assert site.plant.pcs.power_w > 25_000
        finally:
            await board.stop()
            await site.stop()

    run(story)
