"""`make commission`: walks the checklist on the live system through its console, and writes a report that can be checked.

`PORT=/dev/ttyUSB0`, or `SIM=1` for a simulated cabinet (`--plant NAME` gives it a mistake).  It goes on where it stopped.
"""

import argparse
import asyncio
import contextlib
import getpass
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tools import check_site
from tools.commission import bar, mend, report, simulated, still
from tools.commission.bench import Agreed, Bench, Hand
from tools.commission.outcome import FAIL
from tools.commission.people import Terminal
from tools.commission.serial_port import SerialPort
from tools.commission.steps import BY_ID, STEPS
from tools.commission.walk import State, Walk, subject
from tools.commission.wire import BOOT_S, Console, Locked, Port, Refused, Silent
from tools.sim.mistakes import MISTAKES

NO_SPACE = "OSError: 28"  # as MicroPython says it
FOLDER = Path("build/commission")


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make commission", description=__doc__)
    parser.add_argument("--port", default="", help="serial port of the board's console")
    parser.add_argument("--sim", action="store_true", help="a simulated cabinet instead")
    parser.add_argument("--plant", metavar="NAME", action="append", default=[], help="a mistake in the simulated cabinet (--list)")
    parser.add_argument("--site", type=Path, metavar="FILE", help="the site file of the simulated cabinet (default: its own)")
    parser.add_argument(
        "--all-mistakes", action="store_true", help="every mistake in a simulated cabinet of its own, and one without: 8 minutes"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the simulated cabinet")
    parser.add_argument("--export-kw", type=float, help=Agreed.KEYS["export_kw"])
    parser.add_argument("--ems", metavar="HOST", help=Agreed.KEYS["ems"] + ", for the step remote")
    parser.add_argument("--ems-can", metavar="ADAPTER", help=Agreed.KEYS["ems_can"] + ", for the step ems_can")
    parser.add_argument("--by", default="", metavar="NAME", help="who commissions, for the report")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="FOLDER", help=f"for report and state (default: {FOLDER})")
    parser.add_argument("--only", metavar="STEP", action="append", default=[], help="this step alone, whatever it needs first")
    parser.add_argument("--apply", action="store_true", help="save what a failed step proposes for site.json on the board")
    parser.add_argument("--go-on", action="store_true", help="behind a failure with what does not need it")
    parser.add_argument("--anew", action="store_true", help="forget what has been measured so far")
    parser.add_argument("--list", action="store_true", help="list the steps, and the mistakes that can be planted")
    parser.add_argument("--verify", metavar="REPORT", type=Path, help="check the signature of a report (JSON or HTML)")
    return parser


def refused(args: argparse.Namespace) -> list[str]:
    """What is wrong with the command line."""
    errors = []
    if bool(args.port) == args.sim:
        errors.append("give PORT=/dev/tty..., or SIM=1")
    errors += [f"--only {name}: there are {', '.join(BY_ID)}" for name in args.only if name not in BY_ID]
    errors += [f"--plant {name}: there are {', '.join(MISTAKES)}" for name in args.plant if name not in MISTAKES]
    for name in ("plant", "site", "all_mistakes"):
        if getattr(args, name) and not args.sim:
            errors.append(f"--{name.replace('_', '-')} goes with SIM=1")
    if args.site:
        errors += check_site.load(args.site)[1]
    if args.ems_can is not None and not all(args.ems_can.partition(":")):
        errors.append(f"--ems-can {args.ems_can}: INTERFACE:CHANNEL, as socketcan:can0 or slcan:/dev/ttyACM1")
    if args.export_kw is not None and not 0 <= args.export_kw <= 1000:
        errors.append(f"--export-kw {args.export_kw:g}: allowed 0 to 1000")
    return errors


def listed() -> str:
    """Steps and mistakes, a line each."""
    lines = [f"{step.id:12} {step.title}{' (a hand is needed)' if step.hands else ''}" for step in STEPS]
    lines += ["", *(f"{name:22} {mistake.meaning}" for name, mistake in MISTAKES.items())]
    return "\n".join(lines)


async def prepare(console: Console) -> tuple[dict[str, Any], bytes]:
    """Helpers at the console, and the board's site file."""
    await still.helpers(console)
    content = await still.site_file(console)
    return json.loads(content), content


async def commission(args: argparse.Namespace) -> int:
    """One session; the exit code: 0 all passed, 1 not all, 2 could not begin."""
    values = {key: value for key in Agreed.KEYS if (value := getattr(args, key)) is not None}
    hand: Hand
    port: Port
    typed: list[str] = []
    if args.sim:
        cabinet = simulated.Cabinet(simulated.site(args.seed, args.site), args.plant, lambda line: print(line, flush=True))
        port = hand = cabinet
        typed = cabinet.typed
    else:
        port, hand = SerialPort(args.port), Terminal()
    console = Console(port)
    try:
        await opened_by_pin(console, hand)
        site, content = await prepare(console)
        if "banks" in site:
            hand.say("a site of several banks: it is tried as a whole, not bank by bank")
        agreed = Agreed({**hand.agreed(), **values} if isinstance(hand, simulated.Cabinet) else values)
        if isinstance(hand, Terminal):
            await hand.agreed(agreed)
        bench = Bench(console, site, agreed, hand)
        bench.tables = await still.tables(console, site)
        state = opened(args, await subject(bench, content), hand)
        for line in typed:
            await console.ask(line)
        try:
            await Walk(bench, state, args.go_on).run(args.only or None)
        finally:
            paths = await asyncio.to_thread(report.write, args.out, state, site, agreed.values, args.by)
        await propose(args, bench, state)
        hand.say(report.summary(state))
        hand.say("report: " + ", ".join(str(path) for path in paths))
        return 0 if report.verdict(state) == report.PASSED else 1
    finally:
        await console.close()


async def opened_by_pin(console: Console, hand: Hand) -> None:
    """Open the console; with the service PIN where it wants one: $CONSOLE_PIN, or asked for without showing it."""
    console.pin = os.environ.get("CONSOLE_PIN", "")
    try:
        await console.open()
    except Locked:
        if console.pin or not isinstance(hand, Terminal):
            raise
        console.pin = await asyncio.to_thread(getpass.getpass, "service PIN of the console: ")
        await console.wait_up(BOOT_S)


def opened(args: argparse.Namespace, about: dict[str, Any], hand: Hand) -> State:
    """What has been measured so far, if it was this board with this firmware and this site file."""
    file = args.out / "state.json"
    if args.anew or args.sim:  # a simulated cabinet is another one each time
        file.unlink(missing_ok=True)
    state = State(file, about)
    if state.resumed:
        hand.say(f"going on from {state.began}: {sum(state.passed(step.id) for step in STEPS)} of {len(STEPS)} steps have passed")
    elif state.changed:
        hand.say("board, firmware or site file are not those of the last time: everything anew")
    return state


async def propose(args: argparse.Namespace, bench: Bench, state: State) -> None:
    """What the failed steps propose for site.json: into a file, and where it is wanted onto the board."""
    patch: dict[str, Any] = {}
    for result in state.outcomes.values():
        if result.verdict == FAIL:
            patch.update(result.patch)
    if not patch:
        return
    file = mend.write(args.out, bench.site, patch)
    bench.hand.say(f"proposed: {file}; make deploy SITE={file}, or --apply saves it on the board")
    if not args.apply:
        return
    if isinstance(bench.hand, Terminal) and not await bench.hand.confirmed("save it on the board?  Enter: yes, n: no: "):
        return
    try:
        await mend.save(bench.console, bench.site, patch)
    except (Refused, Silent) as error:
        full = ": its flash is full" if str(error) == NO_SPACE else ""
        bench.hand.say(f"NOT saved, the board keeps the file that it has: {error}{full}")
        return
    bench.hand.say("saved: restart the board (its reset button), and begin again: everything is measured with the new file")


async def interruptible(args: argparse.Namespace) -> int:
    """Ctrl-C ends the session as a failure does: 0 W and STANDBY first."""
    task = asyncio.create_task(commission(args))
    loop = asyncio.get_running_loop()
    asked = False

    def stop() -> None:
        nonlocal asked
        with contextlib.suppress(OSError):  # a terminal that is gone
            print("stopping: 0 W, STANDBY ..." if not asked else "it is being stopped", flush=True)
        if not asked:
            task.cancel()
        asked = True

    with contextlib.suppress(NotImplementedError, AttributeError):  # no such thing on Windows: a KeyboardInterrupt there
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the last: its terminal is gone
            loop.add_signal_handler(number, stop)
    try:
        return await task
    except asyncio.CancelledError:
        with contextlib.suppress(OSError):
            print("interrupted; the next time it goes on from here", flush=True)
        return 130


def main() -> int:
    """Command line entry."""
    args = arguments().parse_args()
    if args.list:
        print(listed())
        return 0
    if args.verify:
        text, sound = report.verify(args.verify)
        print(text)
        return 0 if sound else 1
    errors = refused(args)
    if errors:
        print("\n".join(errors), file=sys.stderr)
        return 2
    try:
        if args.all_mistakes:
            return asyncio.run(bar.run(args.out))
        return asyncio.run(interruptible(args))
    except (OSError, Silent, Refused, ValueError) as error:
        print(f"commissioning cannot begin: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
