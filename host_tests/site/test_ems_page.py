"""What docs/ems.md says, as it stands there: the client against `make run`, and Home Assistant's write."""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are not installed
from pymodbus.client import AsyncModbusTcpClient

from tools import check_site
from tools.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "ems.md").read_text()
SECONDS = 34  # the default scenario charges and discharges meanwhile: the EMS goes before


async def _serving(port: int) -> asyncio.subprocess.Process:
    """`make run` with the registers served, once it says so and the site is at work."""
    command = [sys.executable, "-m", "tools.run", "--headless", "--seconds", str(SECONDS), "--ems", str(port)]
    run = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    assert run.stdout is not None
    said = ""
    while "MODE_CHANGE CHARGE" not in said:
        line = (await asyncio.wait_for(run.stdout.readline(), 30)).decode()
        assert line, said
        said += line
    assert f"127.0.0.1:{port}" in said and "control is allowed" in said
    return run


@pytest.mark.parametrize("page", ["ems.md", "access.md", "relays.md", "can.md"])
def test_the_services_of_the_pages_are_accepted(page: str, tmp_path: Path) -> None:
    blocks = re.findall(r"```json\n(\"services\":.*?)```", (ROOT / "docs" / page).read_text(), re.S)
    assert blocks
    for services in blocks:
        site = {**json.loads((ROOT / "docs" / "site.wifi.json").read_text()), **json.loads("{" + services + "}")}
        site["devices"]["io"]["contactor_pin"] = 25  # the board of docs/relays.md has its inputs on 32 and others
        (tmp_path / "site.json").write_text(json.dumps(site))
        assert check_site.load(tmp_path / "site.json")[1] == []


def test_the_page_s_client_and_home_assistant_move_the_battery(tmp_path: Path) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    assert len(source.splitlines()) <= 25
    (tmp_path / "client.py").write_text(source)
    assistant = next(text for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.S) if text.startswith("modbus:"))
    asked = yaml.safe_load(assistant)
    sensor = asked["modbus"][0]["sensors"][0]
    charge, give_back = (asked["script"][name]["sequence"][0]["data"] for name in ("battery_charge_20_kw", "battery_give_back"))

    async def story() -> None:
        port = free_port()
        run = await _serving(port)
        try:
            command = [sys.executable, str(tmp_path / "client.py"), "127.0.0.1", str(port)]
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            watts = [float(line.split()[0]) for line in done.stdout.splitlines()]
            assert len(watts) == 10 and all(abs(w + 20000) < 500 for w in watts[5:]), done.stdout
            client = AsyncModbusTcpClient("127.0.0.1", port=port)
            await client.connect()

            async def power() -> float:
                answer = await client.read_holding_registers(40380, count=1, device_id=1)  # 701 W, 10 W a count
                return 10 * (answer.registers[0] - (answer.registers[0] >> 15 << 16))

            soc = await client.read_holding_registers(sensor["address"], count=1, device_id=sensor["slave"])
            assert 20 < soc.registers[0] * sensor["scale"] < 90
            await asyncio.sleep(3)
            assert abs(await power() + 20000) > 5000, "the EMS has given it back: the scenario goes on"
            assert not (await client.write_registers(charge["address"], charge["value"], device_id=charge["slave"])).isError()
            for _ in range(40):
                await asyncio.sleep(0.2)
                if abs(await power() + 20000) < 500:
                    break
            assert abs(await power() + 20000) < 500
            assert not (await client.write_registers(give_back["address"], give_back["value"], device_id=1)).isError()
            client.close()
        finally:
            run.terminate()
            await run.wait()

    asyncio.run(asyncio.wait_for(story(), 90))
