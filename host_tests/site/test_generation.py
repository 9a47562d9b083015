"""half-deploy: firmware/ and lib/ of one build, or control does not run: it says so, stays reachable, and does not loop."""

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.build import stage
from tools.interpreters import Interpreter
from tools.sim.board.board import Board

ROOT = Path(__file__).resolve().parents[2]
CONTACTOR = 25
SITE = {"schema": 1, "devices": {"io": {"type": "io_board", "contactor_pin": CONTACTOR, "estop_pin": 34}}}
BOOT_WATCHDOG_S = 8


def other_build(flash: Path, march: str, tree: str) -> None:
    """`tree` as another build left it: the same code, another stamp."""
    text = (ROOT / tree / "generation.py").read_text().replace("sources", "0ld0ld00")
    stage.compile_file(text, f"{tree}/generation.py", march, flash / tree / "generation.mpy")


def without_stamp(flash: Path, *trees: str) -> None:
    for tree in trees:
        (flash / tree / "generation.mpy").unlink()


MIXTURES: dict[str, Callable[[Path, str], object]] = {
    "new firmware over old lib": lambda flash, march: other_build(flash, march, "lib"),
    "old firmware over new lib": lambda flash, march: other_build(flash, march, "firmware"),
    "broke off": lambda flash, march: without_stamp(flash, "firmware"),
    "lib without a stamp": lambda flash, march: without_stamp(flash, "lib"),
    "neither has one": lambda flash, march: without_stamp(flash, *stage.TREES),
    "torn file": lambda flash, march: (flash / "lib" / "generation.mpy").write_bytes(b"M\x06"),
    "both torn": lambda flash, march: [(flash / tree / "generation.mpy").write_bytes(b"M\x05") for tree in stage.TREES],
}


def board_of(tmp_path: Path, mp: Interpreter) -> Board:
    flash = tmp_path / "state" / "flash"
    stage.stage(ROOT, flash, mp.march)
    (flash / "site.json").write_text(json.dumps(SITE))
    return Board(ROOT, state_dir=tmp_path / "state", site=None, interpreter=list(mp.command), staged=True)


@pytest.mark.parametrize("mixture", MIXTURES)
def test_a_mixture_is_said_and_nothing_is_started(mp64: Interpreter, tmp_path: Path, mixture: str) -> None:
    board = board_of(tmp_path, mp64)
    MIXTURES[mixture](board.flash, mp64.march)
    moved: list[tuple[int, int]] = []
    board.on_pin = lambda pin, level: moved.append((pin, level))

    async def run() -> None:
        await board.start()
        try:
            said = await board.wait_line("firmware/ is ", 10)
            assert "lib/ is " in said
            await board.wait_line("control does not run, contactors stay open", 5)
            await asyncio.sleep(0.5)
            assert board.running and board.pin(CONTACTOR) == 0
        finally:
            await board.stop()

    asyncio.run(run())
    assert not any("site:" in line or "event" in line or "app" in line for line in board.lines), "the firmware was started"
    assert all(level == 0 for pin, level in moved if pin == CONTACTOR)


def test_the_words_name_both_builds(mp64: Interpreter, tmp_path: Path) -> None:
    board = board_of(tmp_path, mp64)
    stamp = stage.generation(board.flash, [path.relative_to(board.flash) for path in board.flash.rglob("*") if path.is_file()])
    other_build(board.flash, mp64.march, "lib")

    async def run() -> None:
        await board.start()
        try:
            await board.wait_line(f"firmware/ is {stamp}, lib/ is 0ld0ld00", 10)
        finally:
            await board.stop()

    asyncio.run(run())


@pytest.mark.slow
def test_the_watchdog_of_boot_does_not_make_a_loop_of_it_and_ctrl_c_gives_the_prompt(mp64: Interpreter, tmp_path: Path) -> None:
    board = board_of(tmp_path, mp64)
    other_build(board.flash, mp64.march, "lib")

    async def run() -> None:
        await board.start()
        try:
            await board.wait_line("firmware/ is ", 10)
            await asyncio.sleep(BOOT_WATCHDOG_S + 3)
            assert board.watchdog_armed and board.resets == []
            assert len([line for line in board.lines if "firmware/ is " in line]) == 2, "who comes later sees it too"
            assert board._process is not None
            board._process.send_signal(signal.SIGINT)  # what Ctrl-C on the chip's console is
            await board.wait_line("stopped by Ctrl-C", 5)
            await asyncio.sleep(BOOT_WATCHDOG_S + 1)
            assert board.resets == [], "no time to mend it"
        finally:
            await board.stop()

    asyncio.run(run())


@pytest.mark.parametrize("mpy", [True, False], ids=["staged", "from sources"])
def test_a_whole_board_says_its_generation_at_boot_and_at_the_console(mp: Interpreter, tmp_path: Path, mpy: bool) -> None:
    board = Board(ROOT, state_dir=tmp_path, site=SITE, interpreter=list(mp.command), mpy=mpy)

    async def run() -> None:
        await board.start()
        try:
            files = [path.relative_to(board.flash) for path in board.flash.rglob("*") if path.is_file()]
            wanted = stage.generation(board.flash, files) if mpy else "from sources"
            await board.wait_line(f"generation: {wanted}", 20)
            await board.send("app.generation")
            await board.wait_line(f"= '{wanted}'", 20)
            await board.send("sorted(name for name in __import__('sys').modules if 'generation' in name)")
            await board.wait_line("= []", 10)
        finally:
            await board.stop()

    asyncio.run(run())


def test_a_traceback_from_a_staged_board_names_file_and_line_as_written(mp64: Interpreter, tmp_path: Path) -> None:
    board = Board(ROOT, state_dir=tmp_path, site=SITE, interpreter=list(mp64.command), mpy=True, heap="1M")
    source = (ROOT / "firmware" / "manager.py").read_text().splitlines()

    async def run() -> None:
        await board.start()
        try:
            await board.wait_line("generation: ", 20)
            await board.send("exec(\"import sys\\ntry:\\n pm.add_schedule(5)\\nexcept Exception as e:\\n sys.print_exception(e)\")")
            line = await board.wait_line(lambda text: 'File "firmware/manager.mpy", line ' in text and "add_schedule" in text, 10)
            number = int(line.split(" line ")[1].split(",")[0])
            start = next(i for i, text in enumerate(source, 1) if "def add_schedule" in text)
            assert start < number < start + 8, line
        finally:
            await board.stop()

    asyncio.run(run())
