"""Services: one is one file, named in site.json; one that raises is started again, one that eats the heap is stopped by name."""

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from host_tests import needs
from tools.build import fits, stage
from tools.sim.board.board import Board
from tools.sim.healthy import POWER

ROOT = Path(__file__).resolve().parents[2]
BEACON = '''"""Counts seconds, for people."""

import asyncio

OPTIONS = (("start", "int", 0, 0, 1000, "where it begins"),)
HEAP_BYTES = 1500


class Service:
    """One number."""

    def __init__(self, name, options, pm, app):
        self.count = options["start"]
        self.names = {"beacon": self}

    async def run(self):
        """For ever."""
        while True:
            self.count += 1
            await asyncio.sleep_ms(100)

    def counters(self):
        """How far it is."""
        return {"count": self.count}
'''
LEAK = '''"""Keeps what it should forget."""

import asyncio

OPTIONS = (("bytes", "int", 300, 1, 100000, "at a time"),)
HEAP_BYTES = 1000


class Service:
    """Grows."""

    def __init__(self, name, options, pm, app):
        self._bytes = options["bytes"]
        self._kept = []

    async def run(self):
        """For ever."""
        while True:
            self._kept.append(bytearray(self._bytes))
            await asyncio.sleep_ms(20)

    def counters(self):
        """Of how many pieces it is."""
        return {"pieces": len(self._kept)}
'''
RAISES = '''"""Raises in its first two runs."""

import asyncio

OPTIONS = ()
HEAP_BYTES = 1000


class Service:
    """Third time lucky."""

    def __init__(self, name, options, pm, app):
        self.runs = 0

    async def run(self):
        """For ever, from the third run on."""
        self.runs += 1
        if self.runs < 3:
            raise OSError("no peer")
        while True:
            await asyncio.sleep(1)

    def counters(self):
        """How often it ran."""
        return {"runs": self.runs}
'''
UNSAID = '''"""Raises for want of heap in its first run, when there is none either to say so."""

import asyncio

import notice

OPTIONS = ()
HEAP_BYTES = 1000


class Service:
    """Second time lucky."""

    def __init__(self, name, options, pm, app):
        self.runs = 0

    async def run(self):
        """For ever, from the second run on."""
        self.runs += 1
        if self.runs == 1:
            self._sink, notice.sink = notice.sink, self._full
            raise MemoryError("as it is asked for more than there is")
        while True:
            await asyncio.sleep(1)

    def _full(self, text):
        notice.sink = self._sink
        raise MemoryError("nor is there any for a line")

    def counters(self):
        """How often it ran."""
        return {"runs": self.runs}
'''
STUBBORN = LEAK + """
    def stop(self):
        \"\"\"Its socket is gone.\"\"\"
        raise OSError(9)
"""
REFUSES = BEACON + """
    def begin(self):
        \"\"\"Its keys are not there.\"\"\"
        raise OSError(2)
"""
FILES = {"beacon": BEACON, "refuses": REFUSES, "leak": LEAK, "stubborn": STUBBORN, "raises": RAISES, "unsaid": UNSAID}


def site(**services: Any) -> dict[str, Any]:
    return {"schema": 1, "power": POWER, "services": services}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the tree with three services more, a file each."""
    copy = tmp_path / "root"
    copy.mkdir()
    for part in ("boot.py", "main.py", "lib"):
        (copy / part).symlink_to(ROOT / part)
    shutil.copytree(ROOT / "firmware", copy / "firmware", ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in FILES.items():
        (copy / "firmware" / "services" / f"{name}.py").write_text(text)
    return copy


def run(tree: Path, content: dict[str, Any], heap: str, story: Callable[[Board], Coroutine[Any, Any, None]]) -> Board:
    """The site on the 32-bit interpreter with a heap of that size."""
    interpreter = needs.interpreter(32)
    board = Board(tree, state_dir=tree.parent / "state", site=content, interpreter=list(interpreter.command), heap=heap)

    async def drive() -> None:
        await board.start()
        try:
            await board.wait_line("control begins", 30)
            await story(board)
        finally:
            board.kill()
            await board.stop()

    asyncio.run(drive())
    return board


async def ask(board: Board, line: str) -> str:
    board.lines.clear()
    await board.send(line)
    return (await board.wait_line(lambda text: text.startswith(("= ", "! ")), 10))[2:]


async def until(board: Board, line: str, holds: Callable[[str], bool], seconds: float = 20) -> None:
    """Ask until it is so: a slow machine takes its time."""
    end = asyncio.get_running_loop().time() + seconds
    while not holds(said := await ask(board, line)):
        assert asyncio.get_running_loop().time() < end, f"{line} is still {said}"
        await asyncio.sleep(0.25)


def test_a_service_is_one_file_that_the_board_builds_and_people_can_ask(tree: Path) -> None:
    async def story(board: Board) -> None:
        await until(board, "beacon.count", lambda said: int(said) > 700)
        await board.send("services()")
        assert "count" in await board.wait_line(lambda text: text.startswith("sign: "), 5)

    run(tree, site(sign={"type": "beacon", "start": 700}), "1M", story)


def test_one_that_cannot_be_built_is_left_out_and_can_be_asked_why_later(tree: Path) -> None:
    async def story(board: Board) -> None:
        await until(board, "app.services['sign'].count", lambda said: int(said) > 3)
        await board.send("services()")
        assert "without it: " in (said := await board.wait_line(lambda text: text.startswith("keyed: "), 5)) and "ENOENT" in said

    run(tree, site(keyed={"type": "refuses"}, sign={"type": "beacon"}), "1M", story)


def test_the_tools_take_it_up_by_themselves(tree: Path) -> None:
    for part in ("tools", "host_tests", "boards", "tables"):
        (tree / part).symlink_to(ROOT / part) if part == "boards" else shutil.copytree(
            ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__")
        )
    devices = {"bms": {"type": "bms_pylontech", "bus": "can0"}, "pcs": {"type": "pcs_sunspec", "host": "10.0.0.2"}}
    content = {**site(sign={"type": "beacon", "start": 7}), "buses": {"can0": {"type": "can"}}, "devices": devices}
    file = tree / "mine.json"

    def check(*more: str) -> subprocess.CompletedProcess[str]:
        file.write_text(json.dumps(content))
        command = [sys.executable, "-m", "tools.check_site", str(file), *more]
        return subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=60)

    done = check("--board", "lilygo_t_2can")
    assert done.returncode == 0 and "1.5 KB  services.sign" in done.stdout, done.stdout + done.stderr
    content["services"]["sign"]["start"] = 1001
    assert "services.sign.start = 1001: allowed are 0 to 1000 where it begins" in check().stderr
    content["services"]["sign"] = {"type": "beakon"}
    assert "services.sign.type = 'beakon': there is no such service in firmware/services" in check().stderr
    content["services"] = {"sign": {"type": "terminal"}}
    assert "firmware/services/terminal.py is no service: it has no OPTIONS" in check().stderr


@pytest.mark.parametrize("size", [300, 3000])
def test_who_eats_the_heap_is_stopped_by_name_and_the_others_go_on(tree: Path, size: int) -> None:
    async def story(board: Board) -> None:
        said = await board.wait_line(lambda text: text.startswith(("thief: stopped", "sign: stopped")), 40)
        assert said.startswith("thief: stopped: it kept ") and "bytes of heap" in said
        # until what it held is collected the heap is full, and a line may be refused for that: control and the others go first
        await until(board, "beacon.count", str.isdigit, 5)
        seen = int(await ask(board, "beacon.count"))
        cycles = int(await ask(board, "app.metering.cycles"))
        await until(board, "beacon.count", lambda said: int(said) > seen)
        await until(board, "app.metering.cycles", lambda said: int(said) > cycles + 20)
        assert await ask(board, "sorted(app.services)") == "['console', 'emergency_memory', 'sign']"
        assert await ask(board, "sorted(app.stopped)") == "['thief']"
        # what it held is free again: known from the next collection on, and the quietest heap is collected every ten seconds
        await until(board, "app.metering.free_bytes", lambda said: int(said) > 20000)
        assert await ask(board, "{k: v for k, v in app.restarts.items() if k != 'thief'}") == "{}"
        await until(board, "app.metering.loop_time.weigher", lambda said: said == "None")  # nothing is weighed any more

    board = run(tree, site(sign={"type": "beacon"}, thief={"type": "leak", "bytes": size}), "230K", story)
    assert board.resets == []


def test_who_eats_the_heap_and_raises_when_it_is_stopped_is_stopped_all_the_same(tree: Path) -> None:
    async def story(board: Board) -> None:
        await board.wait_line("thief: its stop() was ended by OSError: [Errno 9] EBADF", 40)
        await board.wait_line("thief: stopped: it kept ", 5)
        await until(board, "app.metering.free_bytes", lambda said: said.isdigit() and int(said) > 20000)  # its task is gone too
        assert await ask(board, "sorted(app.stopped), app.ending.why") == "(['thief'], '')"
        assert await ask(board, "{k: v for k, v in app.restarts.items() if k != 'thief'}") == "{}"

    board = run(tree, site(thief={"type": "stubborn", "bytes": 1000}), "230K", story)
    assert board.resets == []


def test_who_raises_in_a_heap_too_full_to_say_so_is_started_again_all_the_same(tree: Path) -> None:
    async def story(board: Board) -> None:
        await until(board, "app.services['mute'].runs", lambda said: said == "2", 10)
        assert await ask(board, "app.restarts") == "{'mute': 1}"

    run(tree, site(mute={"type": "unsaid"}), "1M", story)


def test_who_raises_is_started_again_and_counted(tree: Path) -> None:
    async def story(board: Board) -> None:
        await board.wait_line("x: restarted after OSError: no peer", 10)
        for _ in range(20):
            if await ask(board, "app.services['x'].runs") == "3":
                break
            await asyncio.sleep(0.5)
        assert await ask(board, "app.services['x'].runs, app.restarts") == "(3, {'x': 2})"

    run(tree, site(x={"type": "raises"}), "1M", story)


def test_what_a_service_declares_is_what_it_weighs() -> None:
    known, modules = fits.sizes()["parts"], fits.sizes()["modules"]

    def weighs(part: str) -> int:
        return sum(fits.file_bytes(modules[name]) for name in known[part]["modules"]) + int(known[part]["object_bytes"])

    for part, kinds in (("calendar", ("calendar", "records")), ("clock.ems_port", ("ems_clock",))):
        declared = sum(fits.declared_bytes(kind) for kind in kinds)
        assert weighs(part) <= declared <= 1.25 * weighs(part)


def test_whatever_is_a_service_declares_its_heap() -> None:
    found = [file for file in sorted((ROOT / "firmware" / "services").glob("*.py")) if "\nclass Service" in file.read_text()]
    assert len(found) >= len(fits.WEIGHED)
    for file in found:
        assert fits.declared_bytes(file.stem) > 0
    assert Path("firmware/services/records.py") in stage.device_files()
