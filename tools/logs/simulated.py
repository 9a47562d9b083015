"""A board to pull logs from without a board: a day of the simulated site in virtual time, then the simulated board with its flash.

The day is played by the firmware's own manager, records and history, whose files are then where the board keeps them.
What is pulled comes over the simulated board's console.
"""

import asyncio
import queue
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from host_tests import shims
from tools.build.stage import ROOT
from tools.logs import pull as pulling
from tools.sim.board.board import Board
from tools.soak import quick

PLACE = "data"
ZONE = "CET-1CEST,M3.5.0,M10.5.0/3"
SITE = {
    "schema": 1, "name": "a simulated day", "clock": {"zone": ZONE, "ntp": ""}, "storage": {"place": PLACE},
    "services": {"history": {"type": "history"}}, "devices": {"io": {"type": "io_board", "contactor_pin": 25, "estop_pin": 34}},
}  # fmt: skip
FIRST = (9831, 23 * 3600)  # in UTC: 2026-12-02 begins in Berlin
CYCLE_MS = 1000
HOURS = 24
LOAD_KW = ((0, 8), (5.5, 9), (7, 38), (9, 24), (12, 46), (14, 30), (18.5, 72), (22, 15), (24, 8))
PV_KW = ((0, 0), (7.5, 0), (9, 22), (12, 64), (12.5, 30), (13, 58), (15.5, 15), (16.5, 0), (24, 0))
FAULTS = ((10.4, 10.55, "bms_silent"), (16.2, 16.23, "estop"), (20.3, 20.45, "pcs_silent"))
ENTRIES = ((1, 0, "CHARGE", -40.0, 200), (17, 30, "DISCHARGE", 55.0, 180))
CALLS: tuple[tuple[float, str, tuple[Any, ...]], ...] = (  # hour, method of the manager, what it is given
    (0.02, "start", ()),
    (12.0, "claim", ("remote", -60.0, 3600, "ems")),
    (14.0, "limit", ("grid operator", 20.0, 15.0, 5400)),
    (14.1, "set_constant_power", (35.0, 60)),
    (16.4, "reset_emergency", ()),
    (16.5, "start", ()),
)
ANSWER_S = 20.0


def play(flash: Path, hours: float = HOURS) -> None:
    """A day into the folder `flash`, as a board that runs there would have kept it."""
    shims.install()
    quick.install()
    sys.modules.setdefault("machine", ModuleType("machine"))
    from posixtz import PosixTZ

    from firmware import image as im
    from firmware.clock import CONSOLE, Clock
    from firmware.config import PowerConfig
    from firmware.errors import PowerError
    from firmware.manager import PowerManager
    from firmware.modes import Mode
    from firmware.schedule_entry import ScheduleEntry
    from firmware.services import history, records
    from tools.sim.virtual.site import VirtualSite

    power = {"cycle_ms": CYCLE_MS, "max_grid_export_power": 30.0, "restart_delay": 1.0}
    pm = PowerManager(PowerConfig(**power), None, im.HAS_BMS | im.HAS_PCS | im.HAS_METER | im.HAS_PV | im.HAS_IO)
    site = VirtualSite(pm.image, power, 1, pv=True, soc=34.0)
    for name, points in (("load_kw", LOAD_KW), ("pv_kw", PV_KW)):
        site.plant.follow(name, [(hour * 3600, value) for hour, value in points])
    pm.clock = Clock(PosixTZ(ZONE), 0)
    pm.clock.set(CONSOLE, *FIRST)
    loop_time = SimpleNamespace(turn=None)
    metering = SimpleNamespace(loop_time=loop_time)
    app = SimpleNamespace(services={}, heap_watch=None, site=SimpleNamespace(secrets=()), metering=metering)
    keeper = app.services["records"] = records.Service("records", {"place": str(flash / PLACE), "level": "info"}, pm, app)
    memory = history.Service("history", {"days": 7, "minutes": 5}, pm, app)
    keeper.records.log(pm.clock, "BOOT", 1, True)
    for hour, minute, mode, kw, minutes in ENTRIES:
        what = {"mode": Mode.parse(mode), "power_setpoint": kw, "duration_minutes": minutes}
        pm.add_schedule(ScheduleEntry(hour=hour, minute=minute, **what))
    pm.enable_scheduling(True)
    acts: list[tuple[float, Callable[..., Any], tuple[Any, ...]]] = []
    for begin, end, name in FAULTS:
        acts += [(begin, site.inject, (name,)), (end, site.clear, (name,))]
    acts += [(hour, getattr(pm, method), given) for hour, method, given in CALLS]
    acts.sort(key=lambda act: act[0])
    ms = 0
    for second in range(int(hours * 3600)):
        while acts and acts[0][0] * 3600 <= second:
            _, call, given = acts.pop(0)
            try:
                call(*given)
            except PowerError as error:
                keeper.records.log(pm.clock, "SAID", f"{call.__name__}: {error}")
        site.step(1.0)
        ms += CYCLE_MS
        pm.cycle(ms & 0x3FFFFFFF)
        pm.clock.tick(ms & 0x3FFFFFFF)
        pm.run_schedule()
        while keeper.log_one():
            pass
        memory.sample()
        for _ in keeper.records.steps(pm.clock.elapsed_s):
            pass
    keeper.records.flush()
    keeper.stop()


class _Console:
    """The simulated board's console for a caller in another thread."""

    def __init__(self, board: Board, loop: asyncio.AbstractEventLoop) -> None:
        self._board, self._loop = board, loop
        self._lines: queue.Queue[str] = queue.Queue()
        board.on_line = self._lines.put

    def ask(self, typed: str) -> Iterator[str]:
        asyncio.run_coroutine_threadsafe(self._board.send(typed), self._loop).result(ANSWER_S)
        while True:
            try:
                yield self._lines.get(timeout=ANSWER_S)
            except queue.Empty:
                return


async def _pull(state: Path, say: Callable[[str], None]) -> pulling.Pulled:
    board = Board(ROOT, state_dir=state, site=SITE)
    await board.start()
    try:
        try:
            await board.wait_line("control begins", 30)
        except TimeoutError as error:
            raise pulling.PullError(f"the simulated board did not come up: {error}") from None
        console = _Console(board, asyncio.get_running_loop())
        return await asyncio.to_thread(pulling.pull, console.ask, say)
    finally:
        board.on_line = None
        await board.stop()


def pull(state: Path, say: Callable[[str], None], hours: float = HOURS) -> pulling.Pulled:
    """The logs of a simulated board that has had such a day."""
    say(f"{hours:g} hours of a simulated site ...")
    (state / "flash").mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tools.logs.simulated", str(state / "flash"), str(hours)]  # it loads firmware its own way
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise pulling.PullError(f"the day could not be played: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
    return asyncio.run(_pull(state, say))


if __name__ == "__main__":
    play(Path(sys.argv[1]), float(sys.argv[2]))
