"""Puts the firmware on a board that runs MicroPython, with mpremote: `make deploy PORT=... BOARD=... SITE=site.json`.

Copies boot.py, main.py, cross-compiled firmware/ and lib/, and the site file with the board's pins and the Wi-Fi station
(WIFI_SSID, WIFI_PASSWORD).  A site file that the firmware would refuse, or that does not fit the board's heap, is refused
here, before anything is copied.  On an image of our own (--image own) the firmware is inside: only the site file
and data files are copied.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import serial
from serial.tools import list_ports

from tools import check_site
from tools.build import boardfile, fits, frozen, stage

FOLDERS = Path(__file__).parent / "onboard" / "folders.py"
TIDY = FOLDERS.with_name("tidy.py")
MARCH = {"esp32": "xtensawin", "esp32s3": "xtensawin", "esp32c3": "rv32imc"}
LEAVE_S = 35.0  # contactor_wait is at most 30 s


class DeployError(Exception):
    """It did not work; the text says why."""


def mpremote(port: str, resume: bool, *arguments: str, timeout: float = 600) -> str:
    """One mpremote run; its output.  Raises DeployError with what it said."""
    command = [sys.executable, "-m", "mpremote", "connect", port, *(["resume"] if resume else []), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise DeployError(f"mpremote {' '.join(arguments[:2])}: {said[-1] if said else 'failed'}")
    return done.stdout


def leave(port: str, wait_s: float = LEAVE_S) -> None:
    """Asks a firmware that runs to bring its site to 0 W, open the contactors and give way to the ordinary prompt.

    A board that is at its prompt already says that it does not know the word, which is as good.  Raises DeployError where
    nothing like a prompt comes.
    """
    try:
        with serial.serial_for_url(port, 115200, timeout=0.2) as line:
            line.write(b"\r\x02\rleave()\r\n")
            heard, end = b"", time.monotonic() + wait_s
            while time.monotonic() < end and b">>> " not in heard[-200:]:
                heard += line.read(256)
    except (OSError, serial.SerialException) as error:
        there = ", ".join(sorted(found.device for found in list_ports.comports())) or "none"
        raise DeployError(f"PORT={port}: {error}; serial ports here: {there}") from None
    if b">>> " not in heard:
        raise DeployError(f"PORT={port}: no prompt within {wait_s:g} s: is MicroPython on this board? (make flash)")


def prepare(into: Path, site: dict, march: str, folder: Path = Path()) -> list[Path]:
    """Fills a directory with what goes on the board; gives the paths.  folder: where the tables are that the site names."""
    made = stage.stage(stage.ROOT, into, march)
    own = [Path(table) for table in sorted(set(check_site.tables(site).values()))]
    for table in own:
        (into / table).parent.mkdir(parents=True, exist_ok=True)
        (into / table).write_text(check_site.table_for_board(table.as_posix(), folder))
    (into / "site.json").write_text(json.dumps(site, separators=(",", ":")))
    return [*made, *own, Path("site.json")]


def order(files: list[Path]) -> tuple[list[Path], list[Path]]:
    """What is copied before the folders, and what after them.

    main.py comes first: it starts nothing while the stamps of firmware/ and lib/ differ.  So does that of firmware/, which is
    removed before and copied last: a copy that breaks off anywhere leaves a board that says so.
    """
    of_site = [path for path in files if path.parts[0] not in (*stage.TREES, *stage.ENTRY_FILES)]
    last = [Path("boot.py"), *of_site, stage.STAMPED[0].with_suffix(".mpy")]
    return [path for path in [Path("main.py")] if path in files], [path for path in last if path in files]


def copy(port: str, resume: bool, source: Path, files: list[Path]) -> None:
    """Copies everything, removes what an earlier deploy left behind, and compares what the board has with what was sent.

    Raises DeployError with the first file that is not there as it should be.
    """
    print(f"copying {len(files)} files (those already there and equal are skipped)", flush=True)
    folders = sorted({path.parent for path in files if len(path.parts) > 1})
    first, last = order(files)
    # one mpremote run: make the folders, then one copy for each; its recursive copy goes astray on an empty root
    steps = ["exec", f"FOLDERS = {[folder.as_posix() for folder in folders]!r}\n{FOLDERS.read_text()}"]
    for path in first:
        steps += ["+", "cp", str(source / path), f":{path.as_posix()}"]
    for folder in folders:
        inside = [str(source / path) for path in files if path.parent == folder and path not in last]
        steps += ["+", "cp", *inside, f":{folder.as_posix()}/"] if inside else []
    mpremote(port, resume, *steps)
    compare(port, source, [path for path in files if path.parts[0] in stage.TREES and path not in last])
    steps = [word for path in last for word in ("+", "cp", str(source / path), f":{path.as_posix()}")]
    mpremote(port, True, *steps[1:])


def compare(port: str, source: Path, files: list[Path]) -> None:
    """Removes from firmware/ and lib/ what is not among `files`, and compares the contents of those that are.

    Raises DeployError with the first that differs.
    """
    wanted = {path.as_posix() for path in files}
    said = mpremote(port, True, "exec", f"WANTED = {wanted!r}\n{TIDY.read_text()}")
    there = {}
    for line in said.splitlines():
        kind, _, rest = line.strip().partition(" ")
        if kind == "removed":
            print(f"  {line.strip()}")
        elif kind == "file":
            name, _, digest = rest.rpartition(" ")
            there[name] = digest
    for path in files:
        if there.get(path.as_posix()) != hashlib.sha256((source / path).read_bytes()).hexdigest():
            raise DeployError(f"{path} is {'another' if path.as_posix() in there else 'not there'} on the board: deploy again")


def main() -> int:
    """0 when the board has everything and has been restarted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", required=True)
    parser.add_argument("--board", default="generic_esp32", help="a name from boards/, or the path of a board file")
    parser.add_argument("--site", type=Path, default=Path("site.json"))
    parser.add_argument("--ssid", default=os.environ.get("WIFI_SSID", ""))
    parser.add_argument("--password", default=os.environ.get("WIFI_PASSWORD", ""))
    parser.add_argument("--image", choices=fits.IMAGES, default=fits.STOCK, help=fits.IMAGE_HELP)
    parser.add_argument("--march", help="machine code of viper functions (default: the board's chip)")
    parser.add_argument("--resume", action="store_true", help="do not soft-reset the board first")
    parser.add_argument("--no-reset", action="store_true", help="do not restart the board afterwards")
    parser.add_argument("--dry-run", type=Path, metavar="DIR", help="put the files there instead of on a board")
    arguments = parser.parse_args()
    if not arguments.port and not arguments.dry_run:
        print("PORT is missing: make deploy PORT=/dev/ttyUSB0", file=sys.stderr)
        return 2
    try:
        board = boardfile.load(arguments.board)
        site = check_site.for_board(arguments.site, board, arguments.image, arguments.ssid, arguments.password)
        march = arguments.march or MARCH[board["chip"]]
        with tempfile.TemporaryDirectory() as scratch:
            target = arguments.dry_run or Path(scratch)
            files = prepare(target, site, march, arguments.site.parent)
            tables = [path for path in files if path.as_posix() in check_site.tables(site).values()]
            stamp = stage.generation(target, files)
            if arguments.image == fits.OWN:  # it has all modules inside
                files = [*tables, Path("site.json"), *frozen.data_files()]
            if arguments.dry_run:
                print(f"generation {stamp}: {len(files)} files for {board['title']} in {target}")
                return 0
            leave(arguments.port)
            copy(arguments.port, arguments.resume, target, files)
        if not arguments.no_reset:
            mpremote(arguments.port, True, "reset")
    except check_site.Refused as refused:
        print("refused, nothing was copied:\n" + "\n".join(f"  {error}" for error in refused.errors), file=sys.stderr)
        return 1
    except (boardfile.BoardError, stage.CompileError, DeployError, subprocess.TimeoutExpired) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"generation {stamp}: {len(files)} files are on the board ({board['title']})")
    for table in tables:
        print(f"  {table}: a table that the site names")
    print(f"watch it: mpremote connect {arguments.port} resume repl")
    return 0


if __name__ == "__main__":
    sys.exit(main())
