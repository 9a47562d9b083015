"""The driver and the battery of docs/writing-a-driver.md, as they stand there: in a whole site, and frame by frame."""

import asyncio
import re
import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import canbus
from firmware import image as im
from host_tests.both.fakecan import FakeCAN
from tools import check_site
from tools.interpreters import Interpreter
from tools.sim.board.board import Board
from tools.sim.practice import Practice
from tools.sim.shipped import ShippedSite

ROOT = Path(__file__).resolve().parents[2]
RUNS_WITHIN_S = 30
DRIVER, BATTERY = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "writing-a-driver.md").read_text(), re.S)
SITE = """{"schema": 1, "name": "acme", "buses": {"can0": {"type": "can"}}, "devices": {
    "bms": {"type": "bms_acme", "bus": "can0", "current_max": 400},
    "pcs": {"type": "pcs_sunspec", "host": "10.0.0.2"}}}"""


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The driver of the docs, among the others."""
    import firmware.devices

    (tmp_path / "bms_acme.py").write_text(DRIVER)
    monkeypatch.setattr(firmware.devices, "__path__", [*firmware.devices.__path__, str(tmp_path)])
    from firmware.devices import bms_acme

    yield bms_acme
    sys.modules.pop("firmware.devices.bms_acme", None)
    vars(firmware.devices).pop("bms_acme", None)


def test_the_example_is_about_as_short_as_it_says() -> None:
    assert len([line for line in DRIVER.splitlines() if line.strip()]) < 60


def test_it_is_checked_like_any_other(driver: Any, tmp_path: Path) -> None:
    file = tmp_path / "site.json"
    file.write_text(SITE)
    assert check_site.load(file)[1] == []
    file.write_text(SITE.replace('"current_max": 400', '"current_max": 4000, "bsu": 1'))
    errors = check_site.load(file)[1]
    assert any("devices.bms.current_max = 4000" in error for error in errors)
    assert any("devices.bms.bsu: no such key; did you mean bus?" in error for error in errors)


def test_each_frame_is_understood_and_what_cannot_be_true_is_not(driver: Any) -> None:
    image = im.Image()
    fake = FakeCAN()
    bus = canbus.Bus(fake)
    device = driver.Device("bms", {"bus": "can0", "current_max": 400}, image, {"can0": bus})

    async def listen() -> None:  # to what has been subscribed
        task = asyncio.create_task(bus.run())
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(listen())

    def arrive(can_id: int, data: bytes) -> None:
        fake.arrive(can_id, data, extended=False)
        bus.drain()

    arrive(0x100, struct.pack("<HhBBBB", 6412, 123, 55, 99, 65, 0))
    arrive(0x101, struct.pack("<HHHH", 7000, 5400, 1500, 0))
    inp = image.inp
    assert [inp[slot] for slot in (im.BMS_V, im.BMS_I, im.BMS_SOC, im.BMS_SOH, im.BMS_TEMP)] == [6412, -123, 5500, 9900, 250]
    assert [inp[slot] for slot in (im.BMS_V_MAX, im.BMS_V_MIN, im.BMS_I_CHG, im.BMS_I_DIS)] == [7000, 5400, 1500, 0]
    assert (inp[im.SEQ_BMS], inp[im.SEQ_BMS_LIMITS]) == (1, 1)
    for can_id, data in (
        (0x100, struct.pack("<HhBBBB", 6412, 4001, 55, 99, 65, 0)),
        (0x100, struct.pack("<HhBBBB", 6412, -4001, 55, 99, 65, 0)),
        (0x100, struct.pack("<HhBBBB", 6412, 0, 101, 99, 65, 0)),
        (0x100, b"\0\0\0"),
        (0x101, struct.pack("<HHHH", 7000, 5400, 4001, 0)),
    ):
        arrive(can_id, data)
    arrive(0x102, bytes(8))
    assert (inp[im.SEQ_BMS], inp[im.SEQ_BMS_LIMITS]) == (1, 1)
    assert device.counters() == {"frames": 2, "rejected": 5}


def test_a_whole_site_runs_on_it_with_a_battery_that_python_can_plays(mp: Interpreter, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for part in ("boot.py", "main.py", "lib"):
        (root / part).symlink_to(ROOT / part)
    shutil.copytree(ROOT / "firmware", root / "firmware", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "firmware" / "devices" / "bms_acme.py").write_text(DRIVER)
    (tmp_path / "site.json").write_text(SITE)
    (tmp_path / "battery.py").write_text(BATTERY)
    said: list[str] = []

    async def run() -> None:
        site = ShippedSite(tmp_path / "site.json", own_battery=True)
        desk = Practice(site, Board(root, state_dir=tmp_path / "state", site=None, interpreter=list(mp.command)), said.append)
        battery = None
        try:
            await desk.start()
            where = next(line for line in said if line.startswith("[CAN: slcan at ")).split()[-1].rstrip("]")
            battery = await asyncio.create_subprocess_exec(sys.executable, str(tmp_path / "battery.py"), where)

            async def typed() -> Any:
                yield "pm.start()"
                for _ in range(RUNS_WITHIN_S):  # the battery's Python takes its time to start on a busy machine
                    yield "!wait 1"
                    yield "Mode.name(pm.mode), pm.stats()['soc']"
                    if "'IDLE'" in said[-1]:
                        break
                yield "devices()['bms']['rejected']"

            assert await desk.play(typed()) == 0
        finally:
            if battery is not None:
                battery.kill()
                await battery.wait()
            await desk.stop()

    asyncio.run(run())
    answers = [line for line in said if line.startswith(("= ", "! "))]
    assert answers[0].startswith("= 'accepted") and answers[-2:] == ["= ('IDLE', 55.0)", "= 0"], said
