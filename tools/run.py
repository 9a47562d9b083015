"""`make run`: the firmware on a simulated board against the simulated site, with a live view or a JSON verdict."""

import _signal  # the part of signal that is in the interpreter: nothing is loaded for it

if __name__ == "__main__":
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # Ctrl-C while the modules below are loaded ends without a trace of them

import argparse
import asyncio
import contextlib
import io
import json
import os
import re
import secrets
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from tools import check_site, claims, ports
from tools.interpreters import chosen
from tools.sim import layout, pins, practice
from tools.sim import scenario as scenarios
from tools.sim.banks_site import BanksSite
from tools.sim.board import chipboard, profiles, ptyport
from tools.sim.board.board import Board
from tools.sim.board.chip.build import ChipError
from tools.sim.board.profiles import Profile
from tools.sim.board.ptyport import PtyPort
from tools.sim.healthy import POWER
from tools.sim.live import LiveSite
from tools.sim.scenario import Scenario, ScenarioError
from tools.sim.session import Session
from tools.sim.shipped import ShippedSite
from tools.sim.site import Site
from tools.sim.view import View

ROOT = Path(__file__).resolve().parents[1]
SCENARIOS = Path(__file__).parent / "sim" / "scenarios"
FRAME_S = 0.25
SAMPLE_S = 0.5
PROGRESS_S = 5.0
SVG_SIZE = (100, 30)
DEFAULT_KW = 60.0
CHARGE_KW = 40.0
INTERRUPTED = 130  # what a shell calls a program that Ctrl-C has ended
LOOP_S = 60.0  # length of one round of the default scenario in the live view


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make run ARGS=...", description=__doc__)
    parser.add_argument("--seconds", type=float, help="length of the run (default: the scenario's; live: endless)")
    parser.add_argument("--headless", action="store_true", help="no live view")
    parser.add_argument("--json", action="store_true", help="end with one JSON object on the last line")
    parser.add_argument("--console", action="store_true", help="the board's own console here (a pipe too); !help: the site's")
    parser.add_argument("--pty", metavar="PATH", type=Path, help="the board's serial port as a file, for mpremote")
    parser.add_argument("--site", metavar="FILE", type=Path, help="a site file to run (default: the simulated site's own)")
    parser.add_argument("--ems", metavar="PORT", type=int, help="serve the EMS's registers on that port of 127.0.0.1")
    parser.add_argument("--web", metavar="PORT", type=int, help="serve the operator's page on that port of 127.0.0.1")
    parser.add_argument(
        "--web-pins", metavar=("OPERATE", "SERVICE"), nargs=2, help="PINs to log in with there (default: new ones, which are said)"
    )
    parser.add_argument("--scenario", metavar="FILE", help="a scenario file, or the name of one in tools/sim/scenarios")
    parser.add_argument("--seed", type=int, help="seed of everything random (default: the scenario's)")
    parser.add_argument("--micropython", metavar="WHICH", help="64, 32 or a path (default: $MICROPYTHON, else 64)")
    parser.add_argument("--heap", metavar="SIZE", help="heap, such as 96K (default: $HEAP, else the chip's, else no limit)")
    parser.add_argument("--chip", metavar="NAME", help="esp32 or esp32s3 (default: $CHIP, else a fast board)")
    parser.add_argument(
        "--romfs", nargs="?", const="1", choices=("1", "wired"), help="our own image, as a wired board or not (default: $ROMFS)"
    )
    parser.add_argument("--ems-can", metavar="PORT", type=int, help="an EMS may command on the CAN bus, by slcan at 127.0.0.1:PORT")
    parser.add_argument("--mqtt", metavar="HOST:PORT", help="speak to that MQTT broker, where everybody may command")
    parser.add_argument("--state", metavar="DIR", help="keep the board's flash here from run to run")
    parser.add_argument("--list", action="store_true", help="list the scenarios that come with the project")
    parser.add_argument("--svg", metavar="FILE", help="write the last picture of the live view")
    return parser


def find_scenario(name: str) -> Path:
    """The scenario file of that path, or of that name among those that come with the project; ScenarioError for none."""
    shipped = SCENARIOS / f"{name}.json"
    if not shipped.exists() and not Path(name).exists():
        there = ", ".join(sorted(path.stem for path in SCENARIOS.glob("*.json")))
        raise ScenarioError(f"--scenario {name}: no such file, and none of the project's own: {there}")
    return shipped if shipped.exists() and not Path(name).exists() else Path(name)


def profile_of(args: argparse.Namespace) -> Profile | None:
    """The chip to be; None for a fast board."""
    env = {**os.environ, **({"CHIP": args.chip} if args.chip else {}), **({"ROMFS": args.romfs} if args.romfs else {})}
    return profiles.chosen(env, args.heap)


def site_of(profile: Profile | None, script: Scenario, file: Path | None = None, own_battery: bool = False) -> LiveSite:
    """The site of that file; else the one that ships for the chip, or the simulated site's own for a fast board and a
    scenario with a power section."""
    file = file or script.site_file
    if file is None and profile is not None and "power" not in script.site:
        file = ROOT / profile.site
    if file is None:
        return Site(script.seed, **script.site)
    if layout.several(json.loads(file.read_text())):
        return BanksSite(file, script.seed, **script.site)
    return ShippedSite(file, script.seed, own_battery, **script.site)


def open_to_ems(args: argparse.Namespace, site: LiveSite) -> LiveSite:
    """The site, open to an EMS that may command where the command line wants one: over Modbus TCP, on its CAN bus, over MQTT."""
    if args.ems:
        allow = {"127.0.0.0/8": "service"}
        site.services = {**site.services, "ems": {"type": "sunspec_server", "port": args.ems, "host": "127.0.0.1", "allow": allow}}
        where = f"127.0.0.1:{args.ems}, unit 1, from 40000"
        text = f"the EMS's registers: Modbus TCP, {where}; control is allowed, service too (docs/ems.md)"
        print(text, file=sys.stderr, flush=True)
    if args.mqtt:
        host, _, port = args.mqtt.rpartition(":")
        own = {"type": "mqtt", "host": host, "port": int(port), "access": "control", "interval_s": 1}
        site.services = {**site.services, "mqtt": own}
        print(f"MQTT to {args.mqtt}: topics below bess/, commands on bess/.../command (docs/mqtt.md)", file=sys.stderr, flush=True)
    if args.ems_can:
        if not isinstance(site, Site):
            raise ValueError(f"--ems-can {args.ems_can}: goes with a site of one battery and one inverter")
        site.ems_port = args.ems_can
        where = f"interface slcan, channel socket://127.0.0.1:{args.ems_can}"
        print(f"an EMS may command on CAN, for python-can: {where} (docs/can.md)", file=sys.stderr, flush=True)
    return site


def open_to_browsers(args: argparse.Namespace, site: LiveSite, state: Path) -> list[str]:
    """The site with the operator's page where the command line wants one; what is typed first for it, as a technician does.

    A board that has its PINs from an earlier run keeps them, but for those that the command line gives.
    """
    opening = pins.opening(state, args.web_pins)
    if not args.web:
        return [f"login {opening}"] if opening and not by_hand(args) else []
    site.services["web"] = {"type": "web", "port": args.web, "host": "127.0.0.1", "public": "view", "metrics": True}
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    if type(site) is Site:  # a site file has its own
        site.services["calendar"] = {"type": "calendar", "zone": "Europe/Berlin"}
        site.services |= {"records": {"type": "records"}, "history": {"type": "history"}}
    kept = not args.web_pins and bool(opening)
    new = (f"{secrets.randbelow(10000):04}", f"{secrets.randbelow(1000000):06}")
    operate, service = args.web_pins or (pins.noted(state) if kept else None) or new
    pins.note(state, operate, service)
    text = f"the operator's page: http://127.0.0.1:{args.web}  PINs: operate {operate}, service {service} (docs/web.md)"
    print(text + ", as before" * kept, file=sys.stderr, flush=True)
    return [f"login {opening or service}", f"pin service {service}", f"pin operate {operate}", f"clock {now}"]


def by_hand(args: argparse.Namespace) -> bool:
    """Whether a person types at the console: nobody else has to log in there."""
    return bool(args.console or args.pty)


def limits_of(args: argparse.Namespace) -> tuple[float, float]:
    """kW that the default scenario charges and discharges with: less where the site may less."""
    profile = profile_of(args)
    file = args.site or (ROOT / profile.site if profile else None)
    power = json.loads(file.read_text()).get("power", {}) if file else {}
    most = {**POWER, **power}
    return min(CHARGE_KW, most["max_charge_power"]), min(DEFAULT_KW, most["max_discharge_power"])


def plan(args: argparse.Namespace, live: bool) -> tuple[Scenario, bool]:
    """The scenario to play, and whether to repeat it until Ctrl-C."""
    if args.scenario:
        chosen_one = scenarios.load(find_scenario(args.scenario))
        if args.seconds:
            chosen_one.seconds = args.seconds
        repeat = False
    else:
        repeat = live and not args.seconds
        charge_kw, discharge_kw = limits_of(args)
        chosen_one = scenarios.default(args.seconds or (LOOP_S if live else 30.0), float(discharge_kw), float(charge_kw))
    if args.seed is not None:
        chosen_one.seed = args.seed
    return chosen_one, repeat


def build(args: argparse.Namespace, script: Scenario, state: Path, repeat: bool) -> Session:
    """Site, board and session for one run."""
    site = open_to_ems(args, site_of(profile_of(args), script, args.site))
    typed = open_to_browsers(args, site, state)
    return Session(site, board_of(args, site, state), script, repeat, typed)


def board_of(args: argparse.Namespace, site: LiveSite, state: Path) -> Board:
    """The board of one run."""
    interpreter = list(chosen(args.micropython).command) if args.micropython else None
    profile = profile_of(args)
    return Board(ROOT, state_dir=state, site=site.board_json(), interpreter=interpreter, heap=args.heap, profile=profile)


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


def unreached(session: Session) -> list[str]:
    """The expectations that the run did not come to, in words."""
    script, ended = session.scenario, session.elapsed() if session.started else 0.0
    end = min(ended, script.seconds)
    late = [step for step in script.steps if step.action == "expect" and step.at >= end]
    return [f"never looked at: {step} at {step.at:g} s, the run ended at {end:.1f} s" for step in late]


async def run_console(args: argparse.Namespace, state: Path) -> int:
    """The board's console on this terminal, or at a file, until its input ends, or the seconds are over; the exit code."""
    script = Scenario("console", 0.0, args.seed or 1, site={"load_kw": 20.0, "pv_kw": 8.0, "load_noise_kw": 0.5})
    site = open_to_ems(args, site_of(profile_of(args), script, args.site, own_battery=True))
    typed = open_to_browsers(args, site, state)
    board = board_of(args, site, state)
    desk = practice.Practice(site, board, lambda line: print(line, flush=True), at_port=args.pty is not None)
    port = PtyPort(board, args.pty) if args.pty else None
    if port is not None:
        port.open()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)

    async def play() -> int:
        await desk.start()
        for line in typed:
            await board.send(line)
        if port is not None:
            print(practice.AT_PORT.format(path=args.pty), flush=True)
        elif sys.stdin.isatty():
            print(practice.WELCOME, flush=True)
        code = await desk.play(practice.typed())
        if port is not None and not sys.stdin.isatty():
            await asyncio.Event().wait()  # the port stays there without anybody to type here
        return code

    playing, waiting = asyncio.create_task(play()), asyncio.create_task(ended.wait())
    try:
        await asyncio.wait([playing, waiting], timeout=args.seconds, return_when=asyncio.FIRST_COMPLETED)
        return playing.result() if playing.done() else 0
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        for task in (playing, waiting):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, RuntimeError):
                await task
        await desk.stop()
        if port is not None:
            await port.close()


async def run(args: argparse.Namespace, state: Path) -> int:
    """One run; returns the exit code."""
    if args.console or args.pty:
        return await run_console(args, state)
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
        session.problems += unreached(session)
        summary = session.summary()
        await session.close()
    if failure and not interrupted.is_set():
        print(failure, file=sys.stderr)
        return 1
    for problem in session.problems:
        print(f"not sound: {problem}", file=sys.stderr)
    if args.json:
        print(json.dumps(summary))
    else:
        print(in_words(summary))
    return 1 if session.problems else 0


def in_words(summary: dict[str, Any]) -> str:
    """The verdict of a run for people, two lines."""
    sound = f"{len(summary['problems'])} problems" if summary["problems"] else "sound"
    return (
        f"{summary['scenario']}: {summary['seconds']:g} s, {sound}; ended in {summary['mode'] or 'no mode: it had just begun'}"
        f"{', faults ' + ', '.join(summary['faults']) if summary['faults'] else ''}\n"
        f"{summary['cycles']} cycles, SoC {summary['soc_start']:.2f} -> {summary['soc_end']:.2f} %, "
        f"worst limit violation {summary['worst_violation_w']:g} W"
    )


def _writable(file: Path) -> bool:
    """Whether a file can be written there, without trying it."""
    return not file.is_dir() and os.access(file if file.exists() else file.parent, os.W_OK)


def no_folder(state: Path) -> str:
    """Why the board's flash cannot be kept there, "" where it can: the folder is there then."""
    try:
        state.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        return f"--state {state}: is no folder: the board's flash is kept in one"
    except OSError as error:
        return f"--state {state}: cannot be written ({error.strerror})"
    return "" if os.access(state, os.W_OK) else f"--state {state}: cannot be written"


def ports_refused(args: argparse.Namespace) -> list[str]:
    """What is wrong with the ports that servers are to listen on."""
    given = {name: getattr(args, name.replace("-", "_")) for name in ("ems", "ems-can", "web")}
    errors, first = [], dict[int, str]()
    for name, port in given.items():
        if port is None:
            continue
        if port in first:
            errors.append(f"--{name} {port}: --{first[port]} has that port: give another one")
        elif why := ports.refused(port):
            errors.append(f"--{name} {port}: {why}")
        first.setdefault(port, name)
    return errors


def refused(args: argparse.Namespace) -> list[str]:
    """What is wrong with the command line, or with the site file that it names: everything, before anything runs."""
    errors = []
    if args.seconds is not None and not 1 <= args.seconds <= 86400:
        errors.append(f"--seconds {args.seconds:g}: allowed are 1 to 86400")
    errors += ports_refused(args)
    if args.mqtt is not None and not re.fullmatch(r"[^:]+:\d{1,5}", args.mqtt):
        errors.append(f"--mqtt {args.mqtt}: must be HOST:PORT, such as 127.0.0.1:1883")
    if args.web_pins and any(not 4 <= len(pin) <= 32 or " " in pin for pin in args.web_pins):
        errors.append(f"--web-pins {' '.join(args.web_pins)}: a PIN has 4 to 32 characters without spaces")
    if args.console or args.pty:
        others = [f"--{name}" for name in ("headless", "json", "svg", "scenario") if getattr(args, name)]
        errors += [f"--{'pty' if args.pty else 'console'} goes without {', '.join(others)}"] if others else []
    if args.state and (why := no_folder(Path(args.state))):
        errors.append(why)
    elif args.state and (args.web or not by_hand(args)) and (why := pins.refused(Path(args.state), args.web_pins)):
        errors.append(why)
    if args.pty and (why := ptyport.refused(args.pty)):
        errors.append(f"--pty {why}")
    if args.svg and not _writable(Path(args.svg)):
        errors.append(f"--svg {args.svg}: cannot be written")
    if args.site:
        errors += [f"--site {text}" if text.startswith(str(args.site)) else text for text in check_site.load(args.site)[1]]
    return errors


def main() -> int:
    """Command line entry; see `--help`."""
    args = arguments().parse_args()
    errors = refused(args)
    if errors:
        print("\n".join(errors), file=sys.stderr)
        return 2
    if args.list:
        for file in sorted(SCENARIOS.glob("*.json")):
            script = scenarios.load(file)
            print(f"{file.stem:20} {script.seconds:4.0f} s  {script.name}")
        return 0
    signal.signal(signal.SIGINT, signal.default_int_handler)  # from here on there is something to tidy up
    state = Path(args.state) if args.state else Path(tempfile.mkdtemp(prefix="board-"))
    try:
        return asyncio.run(run(args, state))
    except KeyboardInterrupt:  # before the run had its own way to end
        return INTERRUPTED
    except claims.Taken:  # two began at once
        print(f"--pty {ptyport.refused(args.pty) or f'{args.pty}: another run has just taken it'}", file=sys.stderr)
        return 2
    except (ScenarioError, FileNotFoundError, ValueError, ChipError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        if not args.state:
            shutil.rmtree(state, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
