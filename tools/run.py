"""`make run`: the firmware on a simulated board against the simulated site, with a live view or a JSON verdict."""

import argparse
import asyncio
import contextlib
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.live import Live

from tools.interpreters import chosen
from tools.simboard import chipboard, profiles
from tools.simboard.board import Board
from tools.simboard.chip.build import ChipError
from tools.simboard.profiles import Profile
from tools.simsite import scenario as scenarios
from tools.simsite.scenario import Scenario, ScenarioError
from tools.simsite.session import Session
from tools.simsite.shipped import ShippedSite
from tools.simsite.site import Site
from tools.simsite.view import View

ROOT = Path(__file__).resolve().parents[1]
SCENARIOS = Path(__file__).parent / "scenarios"
FRAME_S = 0.25
SAMPLE_S = 0.5
PROGRESS_S = 5.0
SVG_SIZE = (100, 30)
DEFAULT_KW = 60.0
LOOP_S = 60.0  # length of one round of the default scenario in the live view


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make run ARGS=...", description=__doc__)
    parser.add_argument("--seconds", type=float, help="length of the run (default: the scenario's; live: endless)")
    parser.add_argument("--headless", action="store_true", help="no live view")
    parser.add_argument("--json", action="store_true", help="end with one JSON object on the last line")
    parser.add_argument("--scenario", metavar="FILE", help="a scenario file, or the name of one in tools/scenarios")
    parser.add_argument("--seed", type=int, help="seed of everything random (default: the scenario's)")
    parser.add_argument("--micropython", metavar="WHICH", help="64, 32 or a path (default: $MICROPYTHON, else 64)")
    parser.add_argument("--heap", metavar="SIZE", help="heap, such as 96K (default: $HEAP, else the chip's, else no limit)")
    parser.add_argument("--chip", metavar="NAME", help="esp32 or esp32s3 (default: $CHIP, else a fast board)")
    parser.add_argument(
        "--romfs", nargs="?", const="1", choices=("1", "wired"), help="our own image, as a wired board or not (default: $ROMFS)"
    )
    parser.add_argument("--state", metavar="DIR", help="keep the board's flash here from run to run")
    parser.add_argument("--list", action="store_true", help="list the scenarios that come with the project")
    parser.add_argument("--svg", metavar="FILE", help="write the last picture of the live view")
    return parser


def find_scenario(name: str) -> Path:
    """The scenario file of that path, or of that name among those that come with the project."""
    shipped = SCENARIOS / f"{name}.json"
    return shipped if shipped.exists() and not Path(name).exists() else Path(name)


def profile_of(args: argparse.Namespace) -> Profile | None:
    """The chip to be; None for a fast board."""
    env = {**os.environ, **({"CHIP": args.chip} if args.chip else {}), **({"ROMFS": args.romfs} if args.romfs else {})}
    return profiles.chosen(env, args.heap)


def site_of(profile: Profile | None, script: Scenario) -> Site:
    """The site that ships for the chip; a scenario with a power section of its own, and a fast board, have the default one."""
    if profile is None or "power" in script.site:
        return Site(script.seed, **script.site)
    return ShippedSite(ROOT / profile.site, script.seed, **script.site)


def plan(args: argparse.Namespace, live: bool) -> tuple[Scenario, bool]:
    """The scenario to play, and whether to repeat it until Ctrl-C."""
    if args.scenario:
        chosen_one = scenarios.load(find_scenario(args.scenario))
        if args.seconds:
            chosen_one.seconds = args.seconds
        repeat = False
    else:
        repeat = live and not args.seconds
        profile = profile_of(args)
        limit = json.loads((ROOT / profile.site).read_text())["power"]["max_discharge_power"] if profile else DEFAULT_KW
        chosen_one = scenarios.default(args.seconds or (LOOP_S if live else 30.0), float(min(DEFAULT_KW, limit)))
    if args.seed is not None:
        chosen_one.seed = args.seed
    return chosen_one, repeat


def build(args: argparse.Namespace, script: Scenario, state: Path, repeat: bool) -> Session:
    """Site, board and session for one run."""
    profile = profile_of(args)
    site = site_of(profile, script)
    interpreter = list(chosen(args.micropython).command) if args.micropython else None
    board = Board(ROOT, state_dir=state, site=site.site_json(), interpreter=interpreter, heap=args.heap, profile=profile)
    return Session(site, board, script, repeat)


class Progress:
    """A line now and then for a run without a live view."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.next = 0.0
        self.shown = 0

    def tick(self) -> None:
        """Print new events at once, the state every few seconds."""
        log = list(self.session.log)
        for at, kind, text in log[max(0, len(log) - (self.session.noted - self.shown)) :]:
            print(f"{at:6.1f} s  {kind:8}{text}", file=sys.stderr, flush=True)
        self.shown = self.session.noted
        since = time.monotonic() - self.session.started
        if since >= self.next:
            self.next = since + PROGRESS_S
            truth, state = self.session.site.truth(), self.session.state
            print(
                f"{since:6.1f} s  of {self.session.scenario.seconds:.0f}  {state.get('mode')}  "
                f"{truth['pcs_kw']:+.1f} kW  SoC {truth['soc']:.2f} %  cycle {state.get('cycles')}",
                file=sys.stderr, flush=True,
            )


async def show(view: View, session: Session, console: Console) -> None:
    """Keep the live view up to date until cancelled."""
    with Live(console=console, screen=True, auto_refresh=False, redirect_stderr=False) as live:
        sampled = 0.0
        while True:
            now = time.monotonic()
            if now - sampled >= SAMPLE_S:
                sampled = now
                view.sample()
            live.update(view.frame(console.width, console.height), refresh=True)
            await asyncio.sleep(FRAME_S)


async def sample(view: View) -> None:
    """Feed the chart of a view that is only drawn at the end."""
    while True:
        view.sample()
        await asyncio.sleep(SAMPLE_S)


def write_svg(view: View, file: Path) -> None:
    """The view as a picture."""
    width, height = SVG_SIZE
    console = Console(record=True, width=width, height=height, file=io.StringIO(), force_terminal=True,
                      color_system="truecolor", legacy_windows=False)
    view.terminal = False
    console.print(view.frame(width, height))
    console.save_svg(str(file), title="make run")


def watch(view: View, session: Session, live: bool, svg: bool) -> asyncio.Task[None]:
    """Begin to show the run: the live view, or lines of progress (sampling for a picture at the end)."""
    if live:
        return asyncio.create_task(show(view, session, Console()))
    script = session.scenario
    print(f"playing {script.name!r} for {script.seconds:g} s", file=sys.stderr, flush=True)
    session.on_tick = Progress(session).tick
    return asyncio.create_task(sample(view) if svg else asyncio.sleep(0))


async def run(args: argparse.Namespace, state: Path) -> int:
    """One run; returns the exit code."""
    live = not args.headless and not args.json and sys.stdout.isatty()
    script, repeat = plan(args, live)
    session = build(args, script, state, repeat)
    if session.board.paced and session.board.profile is not None:
        await asyncio.to_thread(chipboard.calibrate, session.board.profile)
    loop = asyncio.get_running_loop()
    interrupted = asyncio.Event()

    def stop() -> None:
        interrupted.set()
        session.end()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    view = View(session, "battery power manager")
    background = watch(view, session, live, bool(args.svg))
    failure = ""
    try:
        await session.play()
    except RuntimeError as error:
        failure = str(error)
    finally:
        background.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await background
        if args.svg:
            write_svg(view, Path(args.svg))
        summary = session.summary()
        await session.close()
    if failure and not interrupted.is_set():
        print(failure, file=sys.stderr)
        return 1
    for problem in session.problems:
        print(f"not sound: {problem}", file=sys.stderr)
    if args.json:
        print(json.dumps(summary))
    elif not live:
        print(f"{summary['cycles']} cycles, SoC {summary['soc_start']:.2f} -> {summary['soc_end']:.2f} %, "
              f"worst limit violation {summary['worst_violation_w']:g} W")
    return 1 if session.problems else 0


def main() -> int:
    """Command line entry; see `--help`."""
    args = arguments().parse_args()
    if args.seconds is not None and not 1 <= args.seconds <= 86400:
        print(f"--seconds {args.seconds:g}: allowed 1 to 86400", file=sys.stderr)
        return 2
    if args.list:
        for file in sorted(SCENARIOS.glob("*.json")):
            script = scenarios.load(file)
            print(f"{file.stem:20} {script.seconds:4.0f} s  {script.name}")
        return 0
    state = Path(args.state) if args.state else Path(tempfile.mkdtemp(prefix="board-"))
    try:
        return asyncio.run(run(args, state))
    except (ScenarioError, FileNotFoundError, ValueError, ChipError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        if not args.state:
            shutil.rmtree(state, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
