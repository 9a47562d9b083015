"""`make commission`: walks the checklist on the live system through its console, and writes a report that can be checked.

`PORT=/dev/ttyUSB0`, or `SIM=1` for a simulated cabinet (`--plant NAME` gives it a mistake).  It goes on where it stopped.
"""

import argparse
import asyncio
import contextlib
import getpass
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tools import check_site
from tools.commission import bar, mend, place, plates, report, simulated, still
from tools.commission.bench import Agreed, Bench, Hand
from tools.commission.outcome import FAIL
from tools.commission.people import ABSENT, Terminal
from tools.commission.serial_port import SerialPort
from tools.commission.steps import BY_ID, STEPS
from tools.commission.walk import State, Walk, subject
from tools.commission.wire import BOOT_S, Console, Locked, Port, Refused, Silent
from tools.sim.mistakes import MISTAKES

NO_SPACE = "OSError: 28"  # as MicroPython says it
NO_HAND = "the standard input is no terminal: nobody can be asked here"


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make commission", description=__doc__)
    parser.add_argument("--port", default="", help="serial port of the board's console")
    parser.add_argument("--sim", action="store_true", help="a simulated cabinet instead")
    parser.add_argument("--plant", metavar="NAME", action="append", default=[], help="a mistake in the simulated cabinet (--list)")
    parser.add_argument("--site", type=Path, metavar="FILE", help="the site file of the simulated cabinet (default: its own)")
    parser.add_argument(
        "--all-mistakes", action="store_true", help="every mistake in a simulated cabinet of its own, and none in one of each kind"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the simulated cabinet")
    parser.add_argument("--export-kw", type=float, help=Agreed.KEYS["export_kw"])
    parser.add_argument("--ems", metavar="HOST", help=Agreed.KEYS["ems"] + ", for the step remote")
    parser.add_argument("--ems-can", metavar="ADAPTER", help=Agreed.KEYS["ems_can"] + ", for the step ems_can")
    parser.add_argument("--by", metavar="NAME", help="who commissions, for the report")
    parser.add_argument("--company", metavar="NAME", help="and of which company")
    plate = "maker, model and serial number of a device"
    parser.add_argument("--plate", metavar="DEVICE=TEXT", action="append", default=[], help=plate)
    where = f"for reports and state (default: {place.FOLDER}, of a simulated cabinet {place.SIMULATED})"
    parser.add_argument("--out", type=Path, metavar="FOLDER", help=where)
    parser.add_argument("--only", metavar="STEP", action="append", default=[], help="this step alone, whatever it needs first")
    parser.add_argument("--apply", action="store_true", help="save what a failed step proposes for site.json on the board")
    parser.add_argument("--go-on", action="store_true", help="behind a failure with what does not need it")
    parser.add_argument("--anew", action="store_true", help="forget what has been measured so far")
    parser.add_argument("--list", action="store_true", help="list the steps, and the mistakes that can be planted")
    verify = "whether a report (JSON or HTML) is as it was written, by its hash"
    parser.add_argument("--verify", metavar="REPORT", type=Path, help=verify)
    return parser


def refused(args: argparse.Namespace) -> list[str]:
    """What is wrong with the command line."""
    errors = []
    if bool(args.port) == args.sim:
        errors.append("give PORT=/dev/ttyUSB0 (the serial port of the board), or SIM=1: make commission SIM=1")
    try:
        plates.given(args.plate)
    except ValueError as error:
        errors.append(str(error))
    errors += [f"--only {name}: there are {', '.join(BY_ID)}" for name in args.only if name not in BY_ID]
    errors += [f"--plant {name}: there are {', '.join(MISTAKES)}" for name in args.plant if name not in MISTAKES]
    for name in ("plant", "site", "all_mistakes"):
        if getattr(args, name) and not args.sim:
            errors.append(f"--{name.replace('_', '-')} goes with a simulated cabinet alone: make commission SIM=1 ARGS=...")
    if args.site:
        errors += check_site.load(args.site)[1]
    if args.ems_can is not None and not all(args.ems_can.partition(":")):
        errors.append(f"--ems-can {args.ems_can}: INTERFACE:CHANNEL, as socketcan:can0 or slcan:/dev/ttyACM1")
    if args.export_kw is not None and not 0 <= args.export_kw <= 1000:
        errors.append(f"--export-kw {args.export_kw:g}: allowed are 0 to 1000 kW")
    return errors


def typed_again(args: argparse.Namespace, *more: str) -> str:
    """What one types to have it again, in the same folder, with more arguments."""
    words = [*(("--out", str(args.out)) if args.out else ()), *more]
    given = f' ARGS="{" ".join(words)}"' if words else ""
    return "make commission " + ("SIM=1" if args.sim else f"PORT={args.port}") + given


def folder(args: argparse.Namespace) -> Path:
    """For reports and state."""
    return args.out or (place.SIMULATED if args.sim else place.FOLDER)


def listed() -> str:
    """Steps and mistakes, a line each."""
    lines = [f"{step.id:12} {step.title}{' (a hand is needed)' if step.hands else ''}" for step in STEPS]
    lines += ["", *(f"{name:22} {mistake.meaning}" for name, mistake in MISTAKES.items())]
    return "\n".join(lines)


async def prepare(console: Console) -> tuple[dict[str, Any], bytes]:
    """Helpers at the console, and the board's site file."""
    await still.helpers(console)
    content = await still.site_file(console)
    return still.parsed(content), content


async def commission(args: argparse.Namespace) -> int:
    """One session; the exit code: 0 all passed, 1 not all, 2 could not begin."""
    hand: Hand
    port: Port
    typed: list[str] = []
    if args.sim:
        plant = simulated.site(args.seed, simulated.file_for(args.plant, args.site))
        cabinet = simulated.Cabinet(plant, args.plant, lambda line: print(line, flush=True))
        port = hand = cabinet
        typed = cabinet.typed
    else:
        port, hand = SerialPort(args.port), Terminal()
    console = Console(port)
    try:
        await opened_by_pin(console, hand)
        site, content = await prepare(console)
        bench = Bench(console, site, Agreed({}), hand)
        if bench.banks:
            told = "; ".join(bank.told for bank in bench.banks)
            hand.say(f"a site of several banks, each of which is tried by itself while the others stand at 0 W: {told}")
        bench.tables = await still.tables(console, site)
        state = opened(args, await subject(bench, content), hand)
        devices = await introduced(args, bench, state)
        for line in typed:
            await console.ask(line)
        sound = True
        try:
            sound = await Walk(bench, state, args.go_on).run(args.only or None)
        finally:
            devices = await plates.read(bench, state.told["plates"], devices)
            facts = report.Facts(bench.agreed.values, state.told["by"], state.told["company"], devices)
            found = report.content_of(state, site, facts)
            written = await asyncio.to_thread(report.write, folder(args), found)
            for line in ending(args, state, hand, written, sound, devices):
                hand.say(line)
        await propose(args, bench, state)
        return 0 if report.verdict(state) == report.PASSED else 1
    finally:
        await console.close()


async def introduced(args: argparse.Namespace, bench: Bench, state: State) -> list[dict[str, str]]:
    """Say what cabinet it is and who can be asked, and take what people have told, now or before: the devices.  ValueError."""
    hand = bench.hand
    if state.subject["simulated"]:
        hand.say(f"!!! {report.SIMULATED}")
    if isinstance(hand, Terminal) and not hand.is_there():
        for line in lonely(args):
            hand.say(line)
    told = state.told
    told["plates"] = {**told.get("plates", {}), **plates.given(args.plate)}
    for key in ("by", "company"):
        told[key] = given if (given := getattr(args, key)) is not None else told.get(key, "")
    values = {key: value for key in Agreed.KEYS if (value := getattr(args, key)) is not None}
    known = hand.agreed() if isinstance(hand, simulated.Cabinet) else {}
    bench.agreed = Agreed({**known, **told.get("agreed", {}), **values})
    if isinstance(hand, Terminal):
        await hand.agreed(bench.agreed)
    told["agreed"] = bench.agreed.values
    devices = await plates.read(bench, told["plates"])
    if unknown := plates.unknown(devices, told["plates"]):
        raise ValueError(f"--plate {', '.join(unknown)}: the site's devices are {', '.join(one['name'] for one in devices)}")
    return devices


def lonely(args: argparse.Namespace) -> list[str]:
    """That nobody can be asked, what that leaves out, and what to do."""
    asked = ", ".join(step.id for step in STEPS if step.hands)
    return [
        f"!!! {NO_HAND.upper()}.",
        f"!!! What needs a hand will be NOT TESTED, unless its answers come on a pipe: {asked}.",
        "!!! Without the emergency stop nothing that moves power is tried either, and the site cannot pass.",
        f"!!! What to do: type it in a terminal at the cabinet: {typed_again(args)}",
    ]


def ending(
    args: argparse.Namespace, state: State, hand: Hand, written: report.Written, sound: bool, devices: plates.Devices = ()
) -> list[str]:
    """What is said last."""
    lines = []
    if isinstance(hand, Terminal) and hand.unanswered:
        lines += [
            f"!!! NOBODY ANSWERED {len(hand.unanswered)} times ({ABSENT}): what was asked is NOT TESTED, nor what needs it.",
            f"!!! What to do: type it in a terminal at the cabinet, it goes on with what is missing: {typed_again(args)}",
        ]
    elif not sound and not args.go_on:
        more = "a simulated cabinet begins anew" if args.sim else "it goes on with the step that failed"
        lines.append(f"mend it, then {typed_again(args)}: {more}")
    lines += [f"moved, as it is no copy of a kept report: {file}" for file in written.moved]
    lines += [report.summary(state), *(f"!!! {report.SIMULATED}" for _ in range(bool(state.subject["simulated"])))]
    lines += unsaid(state, devices)
    lines.append("report, which no later commissioning overwrites: " + ", ".join(str(path) for path in written.kept))
    lines.append("the same, as the newest: " + ", ".join(str(path) for path in written.copies))
    if folder(args).resolve().is_relative_to(Path("build").resolve()):
        lines.append("keep it elsewhere: make clean empties build")
    lines.append(f"whether it was changed since: make commission VERIFY={written.kept[0]}")
    return lines


def unsaid(state: State, devices: plates.Devices) -> list[str]:
    """What people have not told, and whoever signs is to fill in: a line, or none."""
    missing = [] if state.told.get("by") else ["who commissioned (--by NAME)"]
    if bare := [one["name"] for one in devices if not one["given"]]:
        missing.append(f"what the plates say of {', '.join(bare)} (--plate DEVICE=TEXT)")
    return [f"not given, and blank on the page: {'; '.join(missing)}"] if missing else []


async def opened_by_pin(console: Console, hand: Hand) -> None:
    """Open the console; with the service PIN where it wants one: $CONSOLE_PIN, or asked for without showing it."""
    console.pin = os.environ.get("CONSOLE_PIN", "")
    try:
        await console.open()
    except Locked:
        if console.pin or not isinstance(hand, Terminal):
            raise
        try:
            console.pin = await asyncio.to_thread(getpass.getpass, "service PIN of the console: ")
        except EOFError:
            raise Locked("the console wants the service PIN: a terminal is asked for it, elsewhere CONSOLE_PIN says it") from None
        await console.wait_up(BOOT_S)


def opened(args: argparse.Namespace, about: dict[str, Any], hand: Hand) -> State:
    """What has been measured so far, if it was this board with this firmware and this site file."""
    file = place.state_file(folder(args), about)
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
    file = mend.write(folder(args), bench.site, patch)
    bench.hand.say(f"proposed: {file}")
    if not args.sim:  # a simulated cabinet is another one each time
        bench.hand.say(f"   {typed_again(args, '--apply')} saves it on the board")
        bench.hand.say(f"   or: make deploy PORT={args.port} BOARD=... SITE={file}")
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
            more = "a simulated cabinet begins anew the next time" if args.sim else "the next time it goes on from here"
            print(f"interrupted; {more}: {typed_again(args)}", flush=True)
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
        with place.claimed(folder(args), "SIM=1" if args.sim else f"PORT={args.port}"):
            if args.all_mistakes:
                return asyncio.run(bar.run(folder(args)))
            return asyncio.run(interruptible(args))
    except (OSError, Silent, Refused, ValueError, place.InUse) as error:
        print(f"commissioning cannot begin: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
