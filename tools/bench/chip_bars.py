"""`make chip`: the bars of a board at the chip's speed, profile by profile; a table for people, JSON for others.

60 s slices at the chip's speed for the times: power flows while a hundred lines are typed; then six faults at once, a dead
inverter and meter, an e-stop; and, without PSRAM, an EMS's setpoints, with quick devices and with slow ones.  Ten minutes of
one profile for the counts, which are the same at full speed, or an hour in a time that passes faster.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tools.bench.bars import hands, judge, profiles
from tools.bench.bars.follow import follow, slow
from tools.bench.bars.judge import Verdict
from tools.bench.bars.prepared import prepare
from tools.bench.bars.profiles import Judged
from tools.bench.bars.story import LINES, SITE, JudgedSession, Story, full, load, trouble
from tools.interpreters import chosen
from tools.run import ROOT, Progress
from tools.sim.board import chipboard, faster
from tools.sim.board.board import Board
from tools.sim.board.chip.build import ChipError
from tools.sim.shipped import ShippedSite

STORIES: dict[str, Story] = {"load": load, "trouble": trouble}  # in slices at the chip's speed
FOLLOWING: dict[str, Story] = {"follow": follow, "slow": slow}  # the same, on the boards without PSRAM
ALL_STORIES = STORIES | FOLLOWING
HANDS: dict[str, Story] = {"hands": hands.hands}  # only when it is asked for: some minutes, and it reads and writes files
COUNTS: dict[str, Story] = {"counts": full}
HOUR_S = 3600.0
HOUR_FASTER = 8
_INFO = ("gap_ms_p999", "gap_ms_flash", "collections", "collection_ms_max", "names", "names_own", "heap_largest", "heap_spare",
         "flash_writes", "flash_erases", "pool_free", "clock_late_ms_max", "clock_given_up_ms")  # fmt: skip
_TOLD = (
    "gap_chip_ms", "gap_chip_by", "gap_causes", "step_ms_max", "answer_ms", "zero_ms", "followed", "hands", "flash_read_by",
    "problems",
)  # fmt: skip


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make chip ARGS=...", description=__doc__)
    parser.add_argument("--profile", metavar="NAME", help=f"only this one of {', '.join(profiles.ALL)}")
    parser.add_argument("--story", choices=[*ALL_STORIES, *COUNTS, *HANDS], help="only this part")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of a slice at the chip's speed (default 60)")
    parser.add_argument("--counts", type=float, default=600.0, help="seconds of the run for the counts (default 600)")
    parser.add_argument("--hour", action="store_true", help=f"an hour for the counts, {HOUR_FASTER} times as fast")
    parser.add_argument("--faster", type=int, default=1, help="the run for the counts so many times as fast as time passes")
    parser.add_argument("--fast", action="store_true", help="the slices at full speed: counts only")
    parser.add_argument("--calls", type=int, default=hands.CALLS, help=f"of mpremote in the story hands (default {hands.CALLS})")
    parser.add_argument("--heap", metavar="SIZE", help="another heap than the profile's, such as 200K")
    parser.add_argument("--json", metavar="FILE", help="write the figures of every run here")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    return parser


class Slice:
    """One run of one profile, and what was seen."""

    def __init__(self, judged: Judged, story: str, seconds: float, paced: bool, times: int = 1) -> None:
        self.judged = judged
        self.story = story
        self.seconds = seconds
        self.paced = paced
        self.times = times  # as fast as time passes
        self.figures: dict[str, Any] = {}
        self.failure = ""

    @property
    def title(self) -> str:
        """What it is, for people."""
        speed = "the chip's speed" if self.paced else "full speed" if self.times == 1 else f"{self.times} times the time"
        return f"{self.judged.title}: {self.story}, {self.seconds:g} s at {speed}"

    async def play(self, state: Path, quiet: bool) -> None:
        """Run it; afterwards there are figures, or a failure."""
        profile = self.judged.board
        site = ShippedSite(ROOT / profile.site, **SITE)
        command = None if self.paced else list(chosen("32").command)
        await site.start()  # its ports, for the site file that the flash is prepared with
        try:
            await prepare(ROOT, state, profile, site, self.judged.schedules)
        except RuntimeError as error:
            self.failure = str(error)
            return
        finally:
            await site.stop()
        site = ShippedSite(ROOT / profile.site, **SITE)
        board = Board(ROOT, state_dir=state, site=None, interpreter=command, profile=profile)
        if self.times > 1:
            board.env.update(faster.environment(self.times, state))
        session = JudgedSession(site, board, self.judged, (ALL_STORIES | COUNTS | HANDS)[self.story], self.seconds)
        session.answer_s *= self.times
        if not quiet:
            session.on_tick = Progress(session).tick
        try:
            await session.play()
        except RuntimeError as error:
            self.failure = str(error)
        finally:
            self.figures = session.summary()
            await session.close()

    def verdicts(self) -> list[Verdict]:
        """Every bar of this run."""
        if self.failure:
            return [Verdict("comes up", self.failure.splitlines()[-1], "yes", False)]
        if self.story in HANDS:
            return judge.hands(self.figures, hands.CALLS) + (judge.times(self.figures) if self.paced else [])
        found = judge.counts(self.figures) + judge.heap(self.figures, self.judged)
        if self.paced:
            found += judge.times(self.figures)
        if self.story in FOLLOWING:
            found += judge.followed(self.figures)
        elif self.story != "trouble":
            found += judge.load(self.figures, LINES)
        return found


def wanted(args: argparse.Namespace) -> list[Slice]:
    """The runs that the command line asks for.  ValueError where that is none: a story that the profile does not play."""
    names = [args.profile] if args.profile else list(profiles.ALL)
    chosen_ones = [profiles.named(name, args.heap) for name in names]
    runs = [
        Slice(one, story, args.seconds, not args.fast)
        for one in chosen_ones
        for story in ((ALL_STORIES if one.follows else STORIES) | (HANDS if args.story in HANDS else {}))
        if args.story in (None, story)
    ]
    if args.story in (None, "counts"):
        seconds = HOUR_S if args.hour else args.counts
        runs.append(Slice(chosen_ones[0], "counts", seconds, False, HOUR_FASTER if args.hour else args.faster))
    if not runs:
        follow_it = ", ".join(one.name for one in profiles.ALL.values() if one.follows)
        raise ValueError(f"--story {args.story}: not played on {args.profile}: allowed are {follow_it}")
    return runs


def show(console: Console, run: Slice) -> None:
    """The table of one run."""
    table = Table(title=run.title, title_justify="left")
    for column in ("bar", "seen", "must", ""):
        table.add_column(column, overflow="fold")
    for one in run.verdicts():
        mark = {True: "[green]pass", False: "[red]FAIL", None: "[yellow]not judged"}[one.passed]
        table.add_row(one.bar, str(one.seen), one.must, mark)
    console.print(table)
    figures = run.figures
    if run.failure:
        console.print(run.failure, markup=False)
        return
    console.print("  ".join(f"{name} {figures.get(name)}" for name in _INFO if figures.get(name) is not None), markup=False)
    for name in _TOLD:
        if figures.get(name):
            console.print(f"{name}: {figures[name]}", markup=False)


def main(argv: list[str] | None = None) -> int:
    """Command line entry; see `--help`."""
    args = arguments().parse_args(argv)
    hands.CALLS = args.calls
    console = Console(width=None if sys.stdout.isatty() else 150)
    try:
        runs = wanted(args)
        paced = {run.judged.board.name: run.judged.board for run in runs if run.paced}
        for profile in paced.values():
            chipboard.calibrate(profile)
        for number, run in enumerate(runs, 1):
            print(f"[{number}/{len(runs)}] {time.strftime('%H:%M:%S')} {run.title}", file=sys.stderr, flush=True)
            state = Path(tempfile.mkdtemp(prefix="bars-"))
            try:
                faster.run(run.play(state, args.quiet), run.times)
            finally:
                shutil.rmtree(state, ignore_errors=True)
            show(console, run)
    except (ValueError, OSError, ChipError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    results = [
        {"profile": run.judged.name, "story": run.story, "seconds": run.seconds, "paced": run.paced, "failure": run.failure,
         "bars": [vars(one) for one in run.verdicts()], "figures": run.figures}
        for run in runs
    ]  # fmt: skip
    if args.json:
        Path(args.json).write_text(json.dumps(results, indent=1))
    failed = [(run.judged.name, run.story, one.bar) for run in runs for one in run.verdicts() if one.passed is not True]
    for name, story, bar in failed:
        print(f"not met: {name}, {story}: {bar}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
