"""Puts the firmware on a board that runs MicroPython, with mpremote: `make deploy PORT=... BOARD=... SITE=site.json`.

Copies boot.py, main.py, cross-compiled firmware/ and lib/, and the site file with the board's pins and the Wi-Fi station
(WIFI_SSID, WIFI_PASSWORD).  A site file that the firmware would refuse is refused here, before anything is copied.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tools import boardfile, check_site, stage

FOLDERS = Path(__file__).parent / "onboard" / "folders.py"
TIDY = FOLDERS.with_name("tidy.py")
MARCH = {"esp32": "xtensawin", "esp32s3": "xtensawin", "esp32c3": "rv32imc"}


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


def prepare(into: Path, board: dict, site: dict, march: str, line_numbers: bool = False) -> list[Path]:
    """Fills a directory with what goes on the board; gives the paths."""
    made = stage.stage(stage.ROOT, into, march, line_numbers)
    (into / "site.json").write_text(json.dumps(site, separators=(",", ":")))
    return [*made, Path("site.json")]


def copy(port: str, resume: bool, source: Path, files: list[Path]) -> None:
    """Copies everything, removes what an earlier deploy left behind, and compares sizes."""
    print(f"copying {len(files)} files (those already there and equal are skipped)", flush=True)
    folders = sorted({path.parent for path in files if len(path.parts) > 1})
    # one mpremote run: make the folders, then one copy for each; its recursive copy goes astray on an empty root
    steps = ["exec", f"FOLDERS = {[folder.as_posix() for folder in folders]!r}\n{FOLDERS.read_text()}"]
    for folder in folders:
        inside = [str(source / path) for path in files if path.parent == folder]
        steps += ["+", "cp", *inside, f":{folder.as_posix()}/"]
    mpremote(port, resume, *steps)
    wanted = {path.as_posix() for path in files}
    said = mpremote(port, True, "exec", f"WANTED = {wanted!r}\n{TIDY.read_text()}")
    sizes = {}
    for line in said.splitlines():
        kind, _, rest = line.strip().partition(" ")
        if kind == "removed":
            print(f"  {line.strip()}")
        elif kind == "size":
            name, _, size = rest.rpartition(" ")
            sizes[name] = int(size)
    for path in files:
        expected = (source / path).stat().st_size
        if len(path.parts) > 1 and sizes.get(path.as_posix()) != expected:
            raise DeployError(f"{path} has {sizes.get(path.as_posix())} bytes on the board instead of {expected}")
    # last, so that a deploy that broke off does not start half of a new firmware
    tops = [path for path in files if len(path.parts) == 1]
    steps = [word for path in tops for word in ("+", "cp", str(source / path), f":{path}")]
    mpremote(port, True, *steps[1:])


def main() -> int:
    """0 when the board has everything and has been restarted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", required=True)
    parser.add_argument("--board", default="generic_esp32", help="a name from boards/, or the path of a board file")
    parser.add_argument("--site", type=Path, default=Path("site.json"))
    parser.add_argument("--ssid", default=os.environ.get("WIFI_SSID", ""))
    parser.add_argument("--password", default=os.environ.get("WIFI_PASSWORD", ""))
    parser.add_argument("--march", help="machine code of viper functions (default: the board's chip)")
    parser.add_argument("--line-numbers", action="store_true", help="tracebacks with line numbers, for 3 KB of heap")
    parser.add_argument("--resume", action="store_true", help="do not soft-reset the board first")
    parser.add_argument("--no-reset", action="store_true", help="do not restart the board afterwards")
    parser.add_argument("--dry-run", type=Path, metavar="DIR", help="put the files there instead of on a board")
    arguments = parser.parse_args()
    if not arguments.port and not arguments.dry_run:
        print("PORT is missing: make deploy PORT=/dev/ttyUSB0", file=sys.stderr)
        return 2
    try:
        board = boardfile.load(arguments.board)
        site, errors = check_site.load(arguments.site)
        if not errors:
            site = boardfile.site_for(board, site, arguments.ssid, arguments.password)
            errors = check_site.errors_in(site)
        if errors:
            raise DeployError("refused, nothing was copied:\n" + "\n".join(f"  {error}" for error in errors))
        march = arguments.march or MARCH[board["chip"]]
        with tempfile.TemporaryDirectory() as scratch:
            target = arguments.dry_run or Path(scratch)
            files = prepare(target, board, site, march, arguments.line_numbers)
            if arguments.dry_run:
                print(f"{len(files)} files for {board['title']} in {target}")
                return 0
            copy(arguments.port, arguments.resume, target, files)
        if not arguments.no_reset:
            mpremote(arguments.port, True, "reset")
    except (boardfile.BoardError, stage.CompileError, DeployError, subprocess.TimeoutExpired) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(files)} files are on the board ({board['title']}). Watch it: mpremote connect {arguments.port} resume repl")
    return 0


if __name__ == "__main__":
    sys.exit(main())
