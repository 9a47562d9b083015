"""Pulls a board's logs and draws them: `make logs PORT=/dev/ttyUSB0`, or SIM=1 for a day of a simulated site.

Into build/logs: events.jsonl and power.jsonl, a line a row as the board keeps them (docs/logs.md), and logs.html, the
newest day; with ARGS="--all" every day.  Control runs on meanwhile.
"""

import argparse
import sys
import tempfile
from datetime import tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tools import serial_line
from tools.build.stage import ROOT
from tools.logs import days, page, pull, simulated


def write(pulled: pull.Pulled, into: Path, name: str, zone: tzinfo | None, every: bool) -> Path:
    """The files; gives the page's path."""
    into.mkdir(parents=True, exist_ok=True)
    for log, lines in pulled.lines.items():
        (into / f"{log}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    power, happened = days.rows(pulled.lines.get("power", [])), days.events(pulled.lines.get("events", []))
    which = days.days(power, happened, zone)
    target = into / "logs.html"
    target.write_text(page.page(name, which if every else which[-1:], power, happened, zone))
    return target


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.logs", description=__doc__)
    parser.add_argument("--port", default="", help="serial port of the board's console")
    parser.add_argument("--sim", action="store_true", help="a simulated board with a day of a simulated site behind it")
    parser.add_argument("--hours", type=float, default=simulated.HOURS, help="of the simulated day")
    parser.add_argument("--login", default="", metavar="LINE", help="a line to type first, where the console wants one")
    parser.add_argument("--zone", default="", help="time zone of the days (default: this computer's)")
    parser.add_argument("--name", default="Battery storage", help="title of the page")
    parser.add_argument("--all", action="store_true", help="every day that is kept, not only the newest")
    parser.add_argument("--into", type=Path, default=ROOT / "build" / "logs")
    return parser.parse_args()


def main() -> int:
    """0 when the page is written."""
    arguments = _arguments()
    if not arguments.port and not arguments.sim:
        print(f"PORT is missing: make logs PORT=/dev/ttyUSB0 (or SIM=1); {serial_line.ports_here()}", file=sys.stderr)
        return 2
    try:
        zone = ZoneInfo(arguments.zone) if arguments.zone else None
    except (ZoneInfoNotFoundError, ValueError):
        print(f"--zone {arguments.zone}: there is no such time zone", file=sys.stderr)
        return 2
    try:
        if arguments.sim:
            with tempfile.TemporaryDirectory() as scratch:
                pulled = simulated.pull(Path(scratch), print, arguments.hours)
        else:
            with pull.console(arguments.port) as ask:
                if arguments.login:
                    next(ask(arguments.login), None)
                pulled = pull.pull(ask, print)
    except pull.PullError as error:
        print(error, file=sys.stderr)
        return 1
    print(write(pulled, arguments.into, arguments.name, zone, arguments.all))
    return 0


if __name__ == "__main__":
    sys.exit(main())
