"""end-of-program: what is typed ends nothing; what really ends it takes the road: 0 W, then the contactors without load."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tools.interpreters import Interpreter
from tools.sim.board.board import Board
from tools.sim.site import CONTACTOR_PIN, Site

ROOT = Path(__file__).resolve().parents[2]
BREAK_A = 5  # PowerConfig's contactor_break_current


class Run:
    """A board that discharges with 60 kW into a simulated site, and the current at every opening of its contactor."""

    def __init__(self, site: Site, board: Board) -> None:
        self.site = site
        self.board = board
        self.openings: list[tuple[float, float]] = []  # (A through the contactor, kW the inverter is told)

    def on_pin(self, pin: int, level: int) -> None:
        if pin == CONTACTOR_PIN and level == 0 and self.site.plant.contactor_wanted:
            self.openings.append((abs(self.site.plant.pack.current_a), self.site.plant.pcs.setpoint_w / 1000))
        self.site.board_pin(pin, level)

    async def until(self, condition: Callable[[], bool], seconds: float = 40) -> None:
        end = asyncio.get_running_loop().time() + seconds
        while not condition():
            assert asyncio.get_running_loop().time() < end, (list(self.board.lines)[-20:], self.site.truth())
            await asyncio.sleep(0.02)

    async def ask(self, line: str) -> str:
        self.board.lines.clear()
        await self.board.send(line)
        return await self.board.wait_line(lambda text: text[:2] in ("= ", "! "), 10)

    async def under_load(self) -> None:
        await self.board.wait_line("pcs: ", 15)
        await self.ask("pm.start()")
        await self.board.wait_line(lambda line: '"MODE_CHANGE", "data": "IDLE"' in line, 10)
        await self.ask("pm.set_constant_power(60)")
        await self.until(lambda: self.site.plant.pcs.power_w > 59000)
        assert abs(self.site.plant.pack.current_a) > 90

    def opened_in_order(self) -> None:
        """The first opening was under the break current, with 0 W written to the inverter."""
        assert self.openings, "it never opened"
        amps, kw = self.openings[0]
        assert amps < BREAK_A and kw == 0, self.openings


def under_load(mp: Interpreter, tmp_path: Path, story: Callable[[Run], Coroutine[Any, Any, None]], main: str = "") -> Run:
    """Everything up and at 60 kW, then the story; `main` stands in for main.py."""
    root = ROOT
    if main:
        root = tmp_path / "root"
        root.mkdir()
        for part in ("boot.py", "firmware", "lib"):
            (root / part).symlink_to(ROOT / part)
        (root / "main.py").write_text(main)

    async def run() -> Run:
        site = Site(seed=1, soc=60, power={"ramp_up": 200})
        await site.start()
        board = Board(root, state_dir=tmp_path / "state", site=site.site_json(), interpreter=list(mp.command))
        this = Run(site, board)
        site.wire(board)
        board.on_pin = this.on_pin
        await board.start()
        try:
            await this.under_load()
            await story(this)
        finally:
            await board.stop()
            await site.stop()
        return this

    return asyncio.run(run())


def test_end_of_program_what_is_typed_or_comes_on_the_wire_ends_the_line_only(mp: Interpreter, tmp_path: Path) -> None:
    async def story(run: Run) -> None:
        board = run.board
        for line in (
            "raise KeyboardInterrupt",
            "raise SystemExit",
            "__import__('sys').exit()",
            "__import__('sys').exit(3)",
            "exec('raise SystemExit(1)')",
            "raise GeneratorExit",
            "raise BaseException('x')",
            "(lambda: (yield))().throw(SystemExit)",
        ):
            assert (await run.ask(line)).startswith("! "), line
        for wire in (b"\x03", b"\x03\x03\x03", b"pm.stop(\x03", b"\r\x03\r", b"\x04", b"\x03\x04"):
            await board.write(wire)
            await asyncio.sleep(0.15)
        await board.write(b"\x03\n")
        assert await run.ask("Mode.name(pm.mode), app.restarts") == "= ('DISCHARGE', {})"
        assert run.site.plant.pcs.power_w > 59000 and run.openings == []
        assert board.resets == [] and board.running

    under_load(mp, tmp_path, story)


def test_end_of_program_a_signal_takes_the_road(mp: Interpreter, tmp_path: Path) -> None:
    async def story(run: Run) -> None:
        process = run.board._process
        assert process is not None
        os.kill(process.pid, signal.SIGINT)
        await run.until(lambda: bool(run.openings), 6)
        run.opened_in_order()
        await run.board.wait_line("end: the program ends (interrupted)", 1)

    under_load(mp, tmp_path, story)


def test_end_of_program_switching_the_board_off_takes_the_road(mp64: Interpreter, tmp_path: Path) -> None:
    async def story(_: Run) -> None:
        """Board.stop() is what comes next."""

    under_load(mp64, tmp_path, story).opened_in_order()


@pytest.mark.parametrize(
    ("call", "cause"),
    [
        ("__import__('machine').reset()", "HARD_RESET"),
        ("__import__('machine').soft_reset()", "SOFT_RESET"),
        ("__import__('machine').deepsleep(1)", "DEEPSLEEP_RESET"),
    ],
)
def test_end_of_program_a_restart_that_is_asked_for_takes_the_road(
    mp: Interpreter, tmp_path: Path, call: str, cause: str
) -> None:
    async def story(run: Run) -> None:
        assert await run.ask(call) == "= None"
        said = await run.ask("pm.start()")  # before the road is begun, or on it: what is typed keeps nothing closed
        assert said[:11] == "= 'accepted" or "the program ends: nothing is started any more" in said, said
        await run.until(lambda: bool(run.board.resets), 8)
        run.opened_in_order()
        assert run.board.resets == [cause]
        await run.board.wait_line("control begins", 15)

    under_load(mp, tmp_path, story)


def test_end_of_program_leaving_for_the_prompt_takes_the_road_and_the_watchdog_waits_for_who_works_there(
    mp: Interpreter, tmp_path: Path
) -> None:
    async def story(run: Run) -> None:
        assert await run.ask("leave()") == "= None"
        await run.until(lambda: bool(run.openings), 6)
        run.opened_in_order()
        await run.board.wait_line("end: the program ends (leave())", 3)
        await asyncio.sleep(9)  # boot.py's watchdog has 8 s
        assert run.board.resets == [] and run.board.watchdog_armed, "make deploy needs minutes"

    under_load(mp, tmp_path, story)


CRASH = """
from firmware.app import App
app = App("site.json")
{how}
app.run()
"""
CRASHES = {
    "the cycle": (
        "import gc\nreal = app.pm.cycle\ndef cycle(ms):\n if 'go' in app.names: 1 / 0\n real(ms)\napp.pm.cycle = cycle\n"
        "io = app.site.devices['io']\ndef safe(real=io.safe):\n print('collects garbage:', gc.isenabled())\n real()\nio.safe = safe"
    ),
    "the house": (
        "def step():\n if 'go' in app.names: raise MemoryError('full')\n"
        "app.services['emergency_memory'].latch.step = step"
    ),
    "the main task": (
        "import watchdog\nreal = watchdog.feed\ndef feed():\n"
        " if 'go' in app.names and app.names.pop('go'): raise ValueError('x')\n real()\nwatchdog.feed = feed"
    ),
    "a task's exit": (
        "import asyncio\nasync def leave():\n"
        " while 'go' not in app.names: await asyncio.sleep_ms(20)\n raise SystemExit\n"
        "asyncio.get_event_loop().create_task(leave())"
    ),
    "the task that tells the inverter": (
        "pcs = app.site.devices['pcs']\nreal = pcs._watch_control\ndef watch(now):\n"
        " if 'go' in app.names and app.names.pop('go'): raise KeyboardInterrupt\n real(now)\npcs._watch_control = watch"
    ),
    "the task that tells the inverter, forty times": (
        "pcs = app.site.devices['pcs']\nreal = pcs._watch_control\nleft = [40]\ndef watch(now):\n"
        " if 'go' in app.names and left[0]:\n  left[0] -= 1\n  raise KeyboardInterrupt\n real(now)\npcs._watch_control = watch"
    ),
}


@pytest.mark.parametrize("what", CRASHES)
def test_end_of_program_an_error_in_what_may_not_end_takes_the_road(mp32: Interpreter, tmp_path: Path, what: str) -> None:
    async def story(run: Run) -> None:
        await run.board.send("go = 1")
        await run.until(lambda: bool(run.openings), 8)
        if what == "the cycle":  # nobody measures any more: the bounded wait, with 0 W written long before
            amps, kw = run.openings[0]
            assert kw == 0 and amps < BREAK_A
            # the cycle has none collected in its time; devices need heap to tell the inverter
            await run.board.wait_line("collects garbage: True", 5)
        else:
            run.opened_in_order()
        if what == "the house":  # and then nothing feeds the watchdog any more
            await run.until(lambda: run.board.resets == ["WDT_RESET"], 12)
            await run.board.wait_line("control begins", 15)

    under_load(mp32, tmp_path, story, CRASH.format(how=CRASHES[what]))


def slept(process: "asyncio.subprocess.Process") -> int:
    """How often the process has gone to sleep by itself; 0 of one that is gone."""
    with contextlib.suppress(OSError, IndexError):
        status = Path(f"/proc/{process.pid}/status").read_text()
        return int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])
    return 0


async def heard(board: Board) -> None:
    """The board says that it was interrupted, or was too busy with the last time to say so.

    Two at once kill the port, and a host that stands still brings two at once: the interpreter has run since, and slept.
    """
    process = board._process
    assert process is not None
    before = slept(process)
    with contextlib.suppress(TimeoutError):
        await board.wait_line(lambda line: line.startswith("end: ") and "nterrupt" in line, 0.1)
    async with asyncio.timeout(10):
        while 0 < slept(process) < before + 2:
            await asyncio.sleep(0.002)


def test_end_of_program_a_second_signal_does_not_shorten_the_road(mp: Interpreter, tmp_path: Path) -> None:
    async def story(run: Run) -> None:
        process = run.board._process
        assert process is not None
        begun = asyncio.get_running_loop().time()
        for moment in range(24):
            run.board.lines.clear()
            os.kill(process.pid, signal.SIGINT)
            await heard(run.board)
            if run.openings or asyncio.get_running_loop().time() - begun > 1.5:
                break  # half of the bounded wait: the rest is for the road itself, however slow the host
            await asyncio.sleep(moment % 6 / 100)  # in the middle of what that one has begun: telling, feeding, waiting
        await run.until(lambda: bool(run.openings), 6)
        run.opened_in_order()

    under_load(mp, tmp_path, story)


def test_end_of_program_without_a_voice_of_the_current_the_wait_is_bounded(mp64: Interpreter, tmp_path: Path) -> None:
    async def story(run: Run) -> None:
        run.site.inject("bms_silent")
        run.site.inject("pcs_silent")
        fed = run.board._supervisor.feeds
        process = run.board._process
        assert process is not None
        begun = asyncio.get_running_loop().time()
        os.kill(process.pid, signal.SIGINT)
        await run.until(lambda: bool(run.openings), 8)
        assert asyncio.get_running_loop().time() - begun > 1.5, "it waited for a measurement"
        assert run.board._supervisor.feeds > fed + 10 and run.board.resets == [], "the watchdog was fed meanwhile"

    under_load(mp64, tmp_path, story)
