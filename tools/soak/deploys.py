"""Deploys that are killed at random points, on LittleFS: the board always starts, old or new: `python -m tools.soak.deploys`.

Power goes at a random flash operation of a deploy, half of it done; or the deploy's own process ends between two lines that it
sends; or power goes while a new generation is started, tested and confirmed, or given up.  Then the board starts; what it says
decides.  With --firmware the firmware itself is deployed and started, as an ESP32-S3 on the 32-bit interpreter; else a tiny one
that only says which it is.
"""

import argparse
import asyncio
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tools import deploy
from tools.build import generation, stage
from tools.interpreters import Interpreter, chosen
from tools.serial_line import LineError, RawPrompt, leave
from tools.sim import generations
from tools.sim.board import flash_image
from tools.sim.board.board import Board
from tools.sim.board.profiles import named
from tools.sim.board.prompt import prompt

FLASH_BOARD = deploy.ONBOARD / "flash_board.py"
FLASH_BYTES = 4 << 20
TINY_BYTES = 1 << 20
RESET = 5  # exit code of flash_board.py
RESETS = "import machine; machine.reset()"  # a generation that never comes to its self-test
STARTS = 12  # of one board until it says who runs, at most


@dataclass
class Site:
    """The board before, and what is to be deployed."""

    folder: Path
    interpreter: Interpreter
    image: Path
    parcel: deploy.Parcel
    operations: int  # of flash, in the whole deploy
    firmware: bool


class Cut(Exception):
    """The deploy's own process ends here."""


def make(folder: Path, firmware: bool, run: str = generations.PASS) -> Site:
    """A board with a generation that has passed, and another to deploy."""
    interpreter = chosen("32" if firmware else "64")
    flash = folder / "flash"
    flash.mkdir(parents=True)
    old = stage.ROOT if firmware else generations.tiny(folder / "old", "old")
    one = generations.lay(flash, "a", old, interpreter.march, 1, _site("old"))
    generations.switch(flash, generation.record(one, trial=False))
    image = folder / "before.img"
    flash_image.deploy(flash, image, FLASH_BYTES if firmware else TINY_BYTES)
    new = _changed(folder / "new") if firmware else generations.tiny(folder / "new", "new", run)
    source = folder / "source"
    made = stage.stage(new, source, interpreter.march)
    (source / "site.json").write_text(json.dumps(_site("new")))
    files = generation.files_of([*made, Path("site.json")])
    parcel = deploy.Parcel(source, files, generation.LOADER, 2, stage.generation(source, made), True)
    site = Site(folder, interpreter, image, parcel, 0, firmware)
    board = folder / "whole.img"
    shutil.copyfile(image, board)
    site.operations = deploy_on(site, board, 0)
    return site


def _site(name: str) -> dict:
    return {**generations.SITE, "name": f"the {name} site"}


def _changed(into: Path) -> Path:
    """The firmware with every tenth module changed, in what it does not do."""
    for path in stage.device_files():
        (into / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(stage.ROOT / path, into / path)
    modules = sorted(path for path in into.rglob("*.py") if path.parent.name in ("devices", "services", "kernel"))
    for path in modules[::10]:
        path.write_text(path.read_text() + "\n_of_the_new_one = 1\n")
    return into


def _command(site: Site, mode: str, image: Path, cut: int, torn: int) -> list[str]:
    options = ["-X", "heapsize=4M", *(["-i"] if mode == "prompt" else [])]
    return [*chosen("64").command, *options, str(FLASH_BOARD), mode, str(image), str(cut), str(torn), str(site.folder / "count")]


def deploy_on(site: Site, image: Path, cut: int, torn: int = 0, lines: int = 0) -> int:
    """One deploy with power going at that operation, or after so many lines sent; how many operations it took, 0: it was cut."""
    with prompt(_command(site, "prompt", image, cut, torn), site.folder) as port:
        try:
            leave(port, 10)
            with RawPrompt(port, soft_reset=False) as board:
                if lines:
                    board = _Breaking(board, lines)  # type: ignore[assignment]
                deploy.Copying(board, site.parcel, False, quiet=True).run()
                return int(board.run("print(flash.operations)"))
        except (LineError, Cut):
            return 0


class _Breaking:
    """A prompt that the deploy loses after so many lines."""

    def __init__(self, board: RawPrompt, lines: int) -> None:
        self._board = board
        self._left = lines

    def run(self, lines: str) -> str:
        self._left -= 1
        if self._left < 0:
            raise Cut
        return self._board.run(lines)


def start_tiny(site: Site, image: Path, rng: random.Random | None = None) -> tuple[str, list[str]]:
    """Starts the tiny firmware until it says which it is; with rng power goes at a random operation of each start but the last."""
    said: list[str] = []
    cause = 1
    for number in range(STARTS):
        cut = rng.randint(1, 12) if rng and number < STARTS - 6 and rng.random() < 0.5 else 0
        torn = rng.choice((0, 50, 100)) if rng else 0
        done = subprocess.run(
            [*_command(site, "boot", image, cut, torn), str(cause)], capture_output=True, text=True, timeout=60
        )
        said += done.stdout.splitlines()
        runs = [line for line in done.stdout.splitlines() if line.startswith("runs ")]
        if runs and done.returncode == 0:
            return runs[-1], said
        cause = 2 if done.returncode == RESET else 1
    return "", said


def start_firmware(site: Site, image: Path, state: Path) -> tuple[str, list[str]]:
    """Starts the firmware as a chip until control begins; which site it has."""
    shutil.rmtree(state, ignore_errors=True)
    (state / "flash").mkdir(parents=True)
    shutil.move(image, state / "flash.img")
    interpreter = list(site.interpreter.command)
    board = Board(stage.ROOT, state_dir=state, site=None, interpreter=interpreter, staged=True, profile=named("esp32s3"))

    async def run() -> str:
        await board.start()
        try:
            await board.wait_line("control begins", 60)
            return "runs with" + (await board.wait_line(" built", 5)).partition("site")[2]
        except TimeoutError:
            return ""
        finally:
            await board.stop()

    return asyncio.run(run()), list(board.lines)


def verdict(runs: str, said: list[str], done: bool) -> str:
    """What became of one board: "old", "new", or what is wrong with that."""
    place = [line for line in said if line.startswith("generation: ") and " in " in line]
    if not runs or not place:
        return "does not start"
    new = " in b," in place[-1]
    if ("new" in runs) != new:
        return f"says {place[-1]!r} and {runs}"
    if done and not new and not any("was given up" in line for line in said):
        return "starts the old one after a whole deploy"
    return "new" if new else "old"


def play(site: Site, number: int, rng: random.Random) -> tuple[str, str, list[str]]:
    """One killed deploy: (what was done to it, what became of it, what the board said)."""
    image = site.folder / f"board{number}.img"
    shutil.copyfile(site.image, image)
    kind = rng.random()
    whole = 0
    if kind < 0.15:
        lines = rng.randint(1, 60)
        what = f"the deploy ends before line {lines}"
        whole = deploy_on(site, image, 0, lines=lines)
    elif kind < 0.7 or site.firmware:
        cut, torn = rng.randint(1, site.operations), rng.choice((0, 50, 100))
        what = f"power goes at operation {cut} of {site.operations}, {torn} % of it done"
        whole = deploy_on(site, image, cut, torn)
    else:
        what = "power goes while it is started"
        whole = deploy_on(site, image, 0)
        runs, said = start_tiny(site, image, rng)
        image.unlink()
        return what, verdict(runs, said, False), said
    runs, said = start_firmware(site, image, site.folder / "state") if site.firmware else start_tiny(site, image)
    found = verdict(runs, said, whole > 0)
    if not site.firmware:
        if found in ("old", "new") and rng.random() < 0.3:  # and the next deploy mends it
            if not deploy_on(site, image, 0) or not start_tiny(site, image)[0]:
                found = "the next deploy does not mend it"
        image.unlink()
    return what, found, said


def soak(kills: int, seed: int, firmware: bool, tell: Callable[[str], None] = print) -> dict[str, int]:
    """So many killed deploys; how many boards became what.  Raises AssertionError for the first that is neither old nor new."""
    rng = random.Random(seed)
    became: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        sites = [make(Path(scratch) / "good", firmware)]
        if not firmware:
            sites.append(make(Path(scratch) / "bad", firmware, RESETS))
        tell(f"a deploy takes {sites[0].operations} flash operations")
        for number in range(kills):
            site = sites[number % len(sites)]
            what, found, said = play(site, number, rng)
            became[found] += 1
            tell(f"{number + 1:4}: {what}: {found}")
            assert found in ("old", "new"), "\n".join([f"kill {number + 1} of seed {seed}: {what}: {found}", *said])
    return dict(became)


def main() -> int:
    """0 when every board started."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--firmware", action="store_true", help="the firmware itself, not a tiny one: 4 s a kill")
    arguments = parser.parse_args()
    try:
        became = soak(arguments.kills, arguments.seed, arguments.firmware, lambda text: print(text, flush=True))
    except AssertionError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps({"kills": arguments.kills, "seed": arguments.seed, "firmware": arguments.firmware, "became": became}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
