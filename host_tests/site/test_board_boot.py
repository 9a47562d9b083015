"""Before the firmware has even been loaded, boot.py has put the outputs where they are safe and armed the watchdog."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tools.check_site import errors_in
from tools.interpreters import Interpreter
from tools.sim.board.board import Board

ROOT = Path(__file__).resolve().parents[2]


def board_of(mp: Interpreter, tmp_path: Path) -> Board:
    """A board with the real boot.py and a main.py that does nothing; its site.json is the test's."""
    root = tmp_path / "root"
    (root / "lib").mkdir(parents=True)
    (root / "firmware").mkdir()
    (root / "boot.py").write_text((ROOT / "boot.py").read_text())
    for name in ("generations.py", "startup.py", "watchdog.py", "pinowners.py"):
        (root / "lib" / name).write_text((ROOT / "lib" / name).read_text())
    (root / "main.py").write_text("import gc, time\nprint('main', gc.threshold())\ntime.sleep(60)\n")
    return Board(root, state_dir=tmp_path / "state", site=None, interpreter=list(mp.command))


def boot(mp: Interpreter, tmp_path: Path, site: dict[str, Any] | None, until: str) -> tuple[Board, list[tuple[int, int]]]:
    """Boots the real boot.py with a main.py that does nothing; gives the board and every pin that moved."""
    board = board_of(mp, tmp_path)
    board.site = site
    moved: list[tuple[int, int]] = []
    board.on_pin = lambda pin, level: moved.append((pin, level))

    async def run() -> None:
        await board.start()
        try:
            await board.wait_line(until)
            await asyncio.sleep(0.1)
            assert board.watchdog_armed
        finally:
            moved_now = list(moved)
            await board.stop()
            moved[:] = moved_now

    asyncio.run(run())
    return board, moved


def test_the_contactor_is_open_and_supplies_are_on_before_main(mp: Interpreter, tmp_path: Path) -> None:
    site = {
        "schema": 1,
        "devices": {"io": {"type": "io_board", "contactor_pin": 25, "contactor_level": 0}},
        "board": {"name": "x", "levels": [[16, 1], [17, 0]]},
    }
    _, moved = boot(mp, tmp_path, site, "main")
    assert moved == [(25, 1), (16, 1), (17, 0)]  # this contactor closes on 0


@pytest.mark.parametrize(("heap", "collects_every"), [("112000", 8192), ("160000", 8192), ("512K", 81920), ("4M", 81920)])
def test_boot_collects_often_where_the_heap_is_small(mp: Interpreter, tmp_path: Path, heap: str, collects_every: int) -> None:
    board = board_of(mp, tmp_path)
    board.heap = heap

    async def run() -> None:
        await board.start()
        try:
            assert await board.wait_line("main ") == f"main {collects_every}"
        finally:
            await board.stop()

    asyncio.run(run())


def test_a_site_file_that_cannot_be_read_stops_nothing(mp64: Interpreter, tmp_path: Path) -> None:
    board, moved = boot(mp64, tmp_path, None, "main")
    assert any("site.json is not readable" in line for line in board.lines)
    assert moved == []


CONTACTOR = 25
IO = {"type": "io_board", "estop_pin": 34, "estop_pull": "none", "contactor_pin": CONTACTOR}


def site_with(io: dict[str, Any], levels: Any = (), **more: Any) -> dict[str, Any]:
    """A site with an I/O board, a CAN bus and levels of the board."""
    return {
        "schema": 1,
        "buses": {"can0": {"type": "can", "backend": "twai", "tx_pin": 27, "rx_pin": 26, "standby_pin": 23}},
        "devices": {"io": {**IO, **io}},
        "board": {"name": "x", "levels": [[16, 1], *levels]},
        **more,
    }


# boot-level: what is doubtful, and the words that say so, at power-on and in the check of the file
DOUBTFUL = {
    "level 7": (site_with({"contactor_level": 7}), "contactor_level = 7"),
    "level -1": (site_with({"contactor_level": -1}), "contactor_level = -1"),
    "level 1.5": (site_with({"contactor_level": 1.5}), "contactor_level = 1.5"),
    "level 1.0": (site_with({"contactor_level": 1.0}), "contactor_level = 1.0"),
    "level true": (site_with({"contactor_level": True}), "contactor_level = True"),
    "level text": (site_with({"contactor_level": "1"}), "contactor_level = '1'"),
    "level null": (site_with({"contactor_level": None}), "contactor_level = None"),
    "level list": (site_with({"contactor_level": [0]}), "contactor_level = [0]"),
    "in levels": (site_with({}, [[CONTACTOR, 1]]), "pin 25 has two owners: board.levels[1], devices.io.contactor_pin"),
    "in levels, open": (site_with({}, [[CONTACTOR, 0]]), "pin 25 has two owners: board.levels[1], devices.io.contactor_pin"),
    "led": (site_with({"led_pin": CONTACTOR}), "pin 25 has two owners: devices.io.contactor_pin, devices.io.led_pin"),
    "estop": (site_with({"estop_pin": CONTACTOR}), "pin 25 has two owners: devices.io.contactor_pin, devices.io.estop_pin"),
    "feedback": (site_with({"feedback_pin": CONTACTOR}), "pin 25 has two owners"),
    "standby": (site_with({"contactor_pin": 23}), "pin 23 has two owners: buses.can0.standby_pin, devices.io.contactor_pin"),
    "bus": (site_with({"contactor_pin": 27}), "pin 27 has two owners: buses.can0.tx_pin, devices.io.contactor_pin"),
    "clock": (site_with({}, clock={"rtc_scl_pin": 25, "rtc_sda_pin": 33}), "pin 25 has two owners: clock.rtc_scl_pin"),
    "pin 25.5": (site_with({"contactor_pin": 25.5}), "contactor_pin = 25.5"),
    "pin text": (site_with({"contactor_pin": "25"}), "contactor_pin = '25'"),
    "pin true": (site_with({"contactor_pin": True}), "contactor_pin = True"),
    "pin 99": (site_with({"contactor_pin": 99}), "contactor_pin = 99"),
    "pin -2": (site_with({"contactor_pin": -2}), "contactor_pin = -2"),
    "pin null": (site_with({"contactor_pin": None}), "contactor_pin = None"),
    "levels 7": (site_with({"contactor_pin": -1}, [[CONTACTOR, 7]]), "board.levels[1] = 7"),
    "levels true": (site_with({"contactor_pin": -1}, [[CONTACTOR, True]]), "board.levels[1] = True"),
    "levels 0.5": (site_with({"contactor_pin": -1}, [[CONTACTOR, 0.5]]), "board.levels[1] = 0.5"),
    "levels twice": (site_with({"contactor_pin": -1}, [[CONTACTOR, 1], [CONTACTOR, 1]]), "two owners: board.levels[1]"),
    "levels short": (site_with({"contactor_pin": -1}, [[CONTACTOR]]), "board.levels[1] = [25]"),
    "levels no pair": (site_with({"contactor_pin": -1}, [CONTACTOR]), "board.levels[1] = 25"),
    "levels long": (site_with({"contactor_pin": -1}, [[CONTACTOR, 1, 1]]), "board.levels[1] = [25, 1, 1]"),
}  # fmt: skip
TWO_DEVICES = site_with({})
TWO_DEVICES["devices"]["spare"] = {"type": "io_board", "estop_pin": -1, "contactor_pin": CONTACTOR, "contactor_level": 0}
DOUBTFUL["two devices"] = (TWO_DEVICES, "pin 25 has two owners: devices.io.contactor_pin, devices.spare.contactor_pin")


def test_boot_level_what_is_doubtful_stays_an_input_and_is_said(mp: Interpreter, tmp_path: Path) -> None:
    board = board_of(mp, tmp_path)
    moved: list[tuple[int, int]] = []
    board.on_pin = lambda pin, level: moved.append((pin, level))

    async def run() -> None:
        try:
            for name, (site, words) in DOUBTFUL.items():
                (board.flash / "site.json").write_text(json.dumps(site))
                board.lines.clear()
                moved.clear()
                await board.restart()
                await board.wait_line("main ")
                for _ in range(100):  # pins come by another way than lines
                    if moved and moved[-1] == (16, 1):
                        break
                    await asyncio.sleep(0.02)
                driven = {pin for pin, _ in moved}
                assert CONTACTOR not in driven and driven <= {16}, (name, moved)
                assert any(line.startswith("boot: ") and words in line for line in board.lines), (name, list(board.lines))
                assert moved[-1] == (16, 1), (name, "what is beyond doubt is driven")
        finally:
            board.kill()
            await board.stop()

    async def whole() -> None:
        await board.start()
        await board.wait_line("main ")
        await run()

    asyncio.run(whole())


@pytest.mark.parametrize("name", DOUBTFUL)
def test_boot_level_the_check_of_the_file_refuses_the_same_in_the_same_words(name: str) -> None:
    site, words = DOUBTFUL[name]
    told = errors_in(site)
    assert any(words in line for line in told), told
    where = words.split(" = ")[0]
    assert sum(where in line for line in told) == 1, f"said once: {told}"


def test_boot_level_a_wiring_that_is_sound_is_driven_and_accepted() -> None:
    site = site_with({"led_pin": 2, "feedback_pin": 35, "feedback_pull": "none", "contactor_level": 0}, [[17, 0]])
    chips = {"type": "can", "backend": "mcp2515", "id": 1, "sck_pin": 18, "mosi_pin": 19, "miso_pin": 21}
    site["buses"]["can1"] = {**chips, "cs_pin": 5}
    site["buses"]["can2"] = {**chips, "cs_pin": 4}  # two controllers share the lines of one SPI bus
    assert errors_in(site) == []
    site["buses"]["can2"]["cs_pin"] = 5
    assert any("pin 5 has two owners: buses.can1.cs_pin, buses.can2.cs_pin" in line for line in errors_in(site))


def test_boot_level_boards_of_any_shape_are_told_and_drive_nothing(mp64: Interpreter, tmp_path: Path) -> None:
    board = board_of(mp64, tmp_path)
    moved: list[tuple[int, int]] = []
    board.on_pin = lambda pin, level: moved.append((pin, level))

    async def run() -> None:
        await board.start()
        try:
            await board.wait_line("main ")
            boards: list[Any] = [5, [], "x", {"levels": 5}, {"levels": {"16": 1}}]
            for content in (*({"schema": 1, "board": wrong} for wrong in boards), [[]], 5):
                (board.flash / "site.json").write_text(json.dumps(content))
                board.lines.clear()
                await board.restart()
                await board.wait_line("main ")
                assert any(line.startswith("boot: ") and "must be" in line for line in board.lines), (content, list(board.lines))
                assert board.watchdog_armed and moved == []
        finally:
            board.kill()
            await board.stop()

    asyncio.run(run())
