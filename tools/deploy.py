"""Puts firmware and site on a board that runs MicroPython, as a new generation: `make deploy PORT=... BOARD=... SITE=site.json`.

Copies, in pieces with their hashes, what the board has not yet: cross-compiled firmware/ and lib/, and the site file with the
board's pins and the Wi-Fi station (WIFI_SSID, WIFI_PASSWORD).  One step then makes it the next start; it tests itself, and the
generation before comes back where it does not pass (docs/deploy.md).  A site file that the firmware would refuse, or that does
not fit the board's heap, is refused here, before anything is copied.  On an image of our own (--image own) the firmware is
inside: the generation is the site with its tables, and the operator's page where the site serves it.
"""

import argparse
import contextlib
import hashlib
import json
import os
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools import board_site, check_site
from tools.build import boardfile, fits, frozen, generation, stage, web
from tools.serial_line import LineError, RawPrompt, leave, machine_code

ONBOARD = Path(__file__).parent / "onboard"
LAPTOP = ("x64", "x86")  # whose machine code runs on a simulated board
MARCH = {"esp32": "xtensawin", "esp32s3": "xtensawin", "esp32c3": "rv32imc"}
PIECE = 1024  # bytes of a file in one line for the board
SLICE_MS = 2000  # that the board works before it answers
LIVE_SLICE_MS = 20
BEAT_S = 1.5  # in which control that runs has had a cycle
STANDS = "control does not run until the board starts: deploy again, or `mpremote connect %s reset`"
MAY_STAND = "control has been asked to end, and may stand still: deploy again, or `mpremote connect %s reset`"
VERDICT_S = 180.0  # a restart, and the self-test's longest time


class DeployError(Exception):
    """It did not work; the text says why."""


@dataclass
class Parcel:
    """What goes on a board: a generation, and files at the top; all paths below `source`."""

    source: Path
    files: list[Path]
    top: dict[str, Path]  # by their names on the board
    number: int
    stamp: str
    code: bool

    @property
    def manifest(self) -> bytes:
        """As lib/generations.py reads it."""
        return generation.manifest(self.source, self.files, self.number, self.stamp, self.code)


def prepare(into: Path, site: dict, march: str, folder: Path = Path(), image: str = fits.STOCK) -> Parcel:
    """Fills a directory with what goes on the board.  folder: where the tables are that the site names."""
    made = stage.stage(stage.ROOT, into, march)
    stamp = stage.generation(into, made)
    own = [Path(table) for table in sorted(set(check_site.tables(site).values()))]
    for table in own:
        (into / table).parent.mkdir(parents=True, exist_ok=True)
        (into / table).write_text(check_site.table_for_board(table.as_posix(), folder))
    (into / "site.json").write_text(json.dumps(site, separators=(",", ":")))
    data = [*own, Path("site.json")]
    inside = image == fits.OWN  # it has all modules
    page = [path for path in made if path.parts[0] == stage.PAGE] if web.served_by(site) else []
    files = generation.files_of([*page, *data] if inside else [*made, *data])
    top = {path.as_posix(): path for path in frozen.data_files()} if inside else generation.LOADER
    return Parcel(into, files, top, generation.number_now(), stamp, not inside)


class Copying:
    """One deploy over a raw REPL."""

    def __init__(self, prompt: RawPrompt, parcel: Parcel, live: bool, quiet: bool = False) -> None:
        self._prompt = prompt
        self._parcel = parcel
        self._live = live
        self._quiet = quiet
        self._sent = self._to_send = 0
        self._shown = -1

    def run(self) -> str:
        """All of it, up to the switch; what was done, for people.  Raises DeployError, LineError."""
        top = self._top()
        self._prompt.run(f"LIVE = {self._live}\n" + (ONBOARD / "receive.py").read_text())
        self._send(self._parcel.manifest, "taking.write(incoming.MANIFEST, %s)", "taking.end()")
        self._steps("taking.work()")
        place, kept, copied = self._prompt.run("print(taking.place, taking.kept, taking.copied)").split()
        missing = [line.split(" ", 1) for line in self._steps("((size, path) for path, size, _ in taking.lacking())")]
        self._sent = 0
        self._to_send = sum(int(size) for size, _ in missing)
        if not self._quiet:
            print(f"folder {place}: {kept} files are there, {copied} taken over, {len(missing)} ({self._to_send:,} bytes) to send")
        for _, path in missing:
            self._send((self._parcel.source / path).read_bytes(), f"taking.write({path!r}, %s)", "taking.end()")
        self._steps("taking.finish()")
        return f"{len(missing)} of {len(self._parcel.files)} files were sent{f', and {top} at the top' if top else ''}"

    def _top(self) -> int:
        """The files at the top that differ; how many."""
        self._prompt.run(f"LIVE = {self._live}\n" + (ONBOARD / "top.py").read_text())
        sent = 0
        for name, path in self._parcel.top.items():
            content = (self._parcel.source / path).read_bytes()
            wanted = hashlib.sha256(content).hexdigest()
            if self._prompt.run(f"print(digest({name!r}))").strip() == wanted:
                continue
            self._prompt.run(f"begin({name!r})")
            self._send(content, "arriving.write(%s)", "")
            if self._prompt.run(f"end({name!r}, {wanted!r})").strip() != "good":
                raise DeployError(f"{name}: did not arrive as it was sent: deploy again")
            sent += 1
        return sent

    def _send(self, content: bytes, write: str, end: str) -> None:
        for at in range(0, max(1, len(content)), PIECE):
            text = b64encode(content[at : at + PIECE]).decode()
            self._prompt.run(write % f"a2b_base64(b'{text}')")
            self._sent += len(content[at : at + PIECE])
            self._progress()
        if end:
            self._prompt.run(end)

    def _progress(self) -> None:
        """At a terminal in one place, else a line now and then."""
        share = min(100 * self._sent // self._to_send, 100) if self._to_send else -1
        if self._quiet or share < 0 or share == self._shown:
            return
        if sys.stdout.isatty():
            print(f"\r  {share} %", end="\n" if share == 100 else "", flush=True)
        elif share // 10 > self._shown // 10:
            print(f"  {share} %", flush=True)
        self._shown = share

    def _steps(self, work: str) -> list[str]:
        """Has the board do it, in slices; what it says of it."""
        said: list[str] = []
        self._prompt.run(f"steps = {work}")
        while True:
            *lines, whether = self._prompt.run(f"go({LIVE_SLICE_MS if self._live else SLICE_MS})").splitlines()
            said += lines
            if whether == "over":
                return said


def runs_already(prompt: RawPrompt, parcel: Parcel) -> str:
    """Which generation of the board has just these files, whole, has passed its self-test and controls; "" for none of that."""
    try:
        prompt.run("LIVE = True\n" + (ONBOARD / "top.py").read_text() + (ONBOARD / "compare.py").read_text())
        folder, _, number = prompt.run("print(place())").strip().partition(" ")
        if not folder:
            return ""
        files = hashlib.sha256(parcel.manifest.split(b"\n", 1)[1]).hexdigest()
        top = {name: hashlib.sha256((parcel.source / path).read_bytes()).hexdigest() for name, path in parcel.top.items()}
        prompt.run(f"looking = differing({folder!r}, {files!r}, {top!r})")
        while (said := prompt.run(f"look({LIVE_SLICE_MS})").strip()) == "more":
            pass
        if said != "same":
            return ""
        before = prompt.run("print(cycles())")
        time.sleep(BEAT_S)
        return f"{parcel.stamp} in {folder}, number {number}" if prompt.run("print(cycles())") != before else ""
    except LineError:
        return ""  # whatever it is: a deploy says it, or mends it


def verdict(prompt: RawPrompt, stamp: str, wait_s: float = VERDICT_S) -> str:
    """Restarts the board and waits for what it says of its generation; "" when that has passed, else why not."""
    prompt.begin("import machine\nmachine.reset()")
    print("the board restarts, and tests itself; Ctrl-C ends the waiting, not the test", flush=True)
    for line in prompt.lines(wait_s):
        if line.startswith(("generation: ", "selftest: ")):
            print(f"  {line}", flush=True)
        if "has passed its self-test" in line and stamp in line:
            return ""
        if " was given up: " in line or " stays: " in line or "control does not run" in line:
            return line.partition(": ")[2]
    return f"nothing was heard of a self-test within {wait_s:g} s"


def arguments_of() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", required=True)
    parser.add_argument("--board", default="", help="a name from boards/, or the path of a board file; a simulated board has none")
    parser.add_argument("--site", type=Path, default=Path("site.json"))
    parser.add_argument("--ssid", default=os.environ.get("WIFI_SSID", ""))
    parser.add_argument("--password", default=os.environ.get("WIFI_PASSWORD", ""))
    parser.add_argument("--image", choices=fits.IMAGES, default=fits.STOCK, help=fits.IMAGE_HELP)
    parser.add_argument("--march", help="machine code of viper functions (default: the board is asked)")
    parser.add_argument("--again", action="store_true", help="also where the board has all of it and runs it")
    parser.add_argument("--replace-site", action="store_true", help="also where the board has another site, or a changed one")
    parser.add_argument("--live", action="store_true", help="control runs until the restart (boards with PSRAM)")
    parser.add_argument("--resume", action="store_true", help="do not soft-reset the board first")
    parser.add_argument("--no-reset", action="store_true", help="do not restart the board afterwards")
    parser.add_argument("--dry-run", type=Path, metavar="DIR", help="put the files there instead of on a board")
    return parser.parse_args()


def target_of(arguments: argparse.Namespace) -> tuple[dict | None, str]:
    """The board and its machine code, for which the one at the port is asked; None for a simulated one.

    Raises DeployError for another chip than the board's, boardfile.BoardError, LineError.
    """
    asked = not (arguments.march or arguments.dry_run)
    found = machine_code(arguments.port) if asked else arguments.march
    if asked and found in LAPTOP:
        return None, found
    board = boardfile.load(arguments.board)
    wanted = MARCH[board["chip"]]
    if asked and found != wanted:
        raise DeployError(f"BOARD={arguments.board}: has an {board['chip']} ({wanted}); the board at {arguments.port} runs {found}")
    return board, found or wanted


def site_of(arguments: argparse.Namespace, board: dict | None) -> dict:
    """The site as it goes there.  Raises check_site.Refused."""
    if board is not None:
        return check_site.for_board(arguments.site, board, arguments.image, arguments.ssid, arguments.password)
    print("a simulated board: pins, buses and heap are not checked, they are as the site file has them")
    site, errors = check_site.load(arguments.site)
    if errors:
        raise check_site.Refused(errors)
    return site


@contextlib.contextmanager
def broken_off(arguments: argparse.Namespace) -> Iterator[None]:
    """Ctrl-C where control has ended for the copying says so, and how to go on; a line that breaks where it may have, too."""
    try:
        yield
    except LineError as error:
        if arguments.live:
            raise
        raise DeployError(f"{error}\n{MAY_STAND % arguments.port}") from None
    except KeyboardInterrupt:
        if arguments.live:
            raise
        raise DeployError(f"\nended by Ctrl-C: {STANDS % arguments.port}") from None


def in_words(error: LineError) -> str:
    """What the board says of an error; a number means nothing to who deploys."""
    said = str(error)
    if said in ("OSError: 28", "OSError: [Errno 28] ENOSPC"):
        said += ": the board's flash is full.  Journal and history take the space: docs/time-and-storage.md says how to have less"
    return said


def _require_same_site(prompt: RawPrompt, site: dict, arguments: argparse.Namespace) -> None:
    """DeployError where the board's site file has something that this deploy would undo."""
    if why := board_site.against(prompt, site, arguments.site, arguments.port):
        why.append("nothing was sent, control goes on; ARGS=--replace-site: the file here takes the place of the board's")
        raise DeployError("\n".join(why))


def deploy(arguments: argparse.Namespace, title: str, site: dict, march: str) -> int:
    """0 when the board has everything and has passed its self-test.  Raises DeployError, LineError, stage.CompileError."""
    with tempfile.TemporaryDirectory() as scratch:
        target = arguments.dry_run or Path(scratch)
        parcel = prepare(target, site, march, arguments.site.parent, arguments.image)
        name = f"generation {parcel.stamp}: {len(parcel.files)} files for {title}, with {arguments.site}"
        if arguments.dry_run:
            print(f"{name} in {target}")
            return 0
        print(name, flush=True)
        if not (arguments.again and arguments.replace_site):
            with RawPrompt(arguments.port, soft_reset=False) as prompt:
                running = "" if arguments.again else runs_already(prompt, parcel)
                if not (running or arguments.replace_site):
                    _require_same_site(prompt, site, arguments)
            if running:
                print(f"the board has all of it, and runs it: {running}")
                print("nothing was sent, nothing restarts (ARGS=--again: all the same)")
                return 0
        with broken_off(arguments):
            if not arguments.live:
                print("control ends: 0 W, contactors open (ARGS=--live: it goes on until the restart)", flush=True)
                leave(arguments.port)
            opened = RawPrompt(arguments.port, soft_reset=not (arguments.resume or arguments.live))
        with opened as prompt:
            with broken_off(arguments):
                try:
                    print(Copying(prompt, parcel, arguments.live).run())
                except LineError as error:
                    again = ".  Deploy again." if arguments.live else f"; {STANDS % arguments.port}"
                    raise DeployError(f"{in_words(error)}\nThe board starts what it had before{again}") from None
            for table in sorted(set(check_site.tables(site).values())):
                print(f"  {table}: a table that the site names")
            if arguments.no_reset:
                print(f"generation {parcel.stamp} is the next start{'' if arguments.live else '; control does not run until then'}")
                return 0
            why = verdict(prompt, parcel.stamp)
    if why:
        print(why, file=sys.stderr)
        return 1
    print(f"generation {parcel.stamp} runs; watch it: mpremote connect {arguments.port} resume repl")
    return 0


def main() -> int:
    """0 when the new generation runs."""
    arguments = arguments_of()
    if not arguments.port and not arguments.dry_run:
        print("PORT is missing: make deploy PORT=/dev/ttyUSB0", file=sys.stderr)
        return 2
    try:
        board, march = target_of(arguments)
        return deploy(arguments, board["title"] if board else "a simulated board", site_of(arguments, board), march)
    except check_site.Refused as refused:
        print("refused, nothing was copied:\n" + "\n".join(f"  {error}" for error in refused.errors), file=sys.stderr)
    except (boardfile.BoardError, stage.CompileError, DeployError, LineError) as error:
        print(error, file=sys.stderr)
    except KeyboardInterrupt:
        print("\nended by Ctrl-C: whatever the board has, it starts a whole generation", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
