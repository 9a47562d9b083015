"""The recorded days as files: `python -m host_tests.replay.golden [DAY ...]` plays them and writes what is new."""

import subprocess
import sys
from pathlib import Path

from tools.interpreters import Interpreter, find64

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).parent / "golden"
_RUNNER = Path(__file__).parent / "run_mp.py"


def play(interpreter: Interpreter, root: Path, tree: Path, *given: str) -> list[str]:
    """The lines of a day, by name, from firmware/ and lib/ of `tree`; given: then field=value of the configuration."""
    command = [*interpreter.command, str(_RUNNER), str(root), str(tree), *given]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout.splitlines()


def differs(interpreter: Interpreter, root: Path, name: str, *given: str) -> bool:
    """Whether a day, played as `play` does, parts from what was recorded; it is played until then.

    CalledProcessError where it cannot be played.
    """
    command = [*interpreter.command, str(_RUNNER), str(root), str(root), name, *given]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as player:
        assert player.stdout is not None
        for wanted in recorded(name):
            line = player.stdout.readline()
            if not line and player.wait():
                raise subprocess.CalledProcessError(player.returncode, command)
            if line.rstrip("\n") != wanted:
                player.kill()
                return True
        return player.stdout.readline() != ""


def names(interpreter: Interpreter) -> list[str]:
    """Every day there is."""
    return play(interpreter, ROOT, ROOT)


def recorded(name: str) -> list[str]:
    """The lines as they were recorded."""
    return (FOLDER / f"{name}.txt").read_text().splitlines()


def main(wanted: list[str]) -> int:
    """Record; 2 where there is no interpreter."""
    interpreter = find64()
    if interpreter is None:
        print("there is no MicroPython: run `make setup`", file=sys.stderr)
        return 2
    FOLDER.mkdir(exist_ok=True)
    for name in wanted or names(interpreter):
        text = "\n".join(play(interpreter, ROOT, ROOT, name)) + "\n"
        path = FOLDER / f"{name}.txt"
        new = not path.exists() or path.read_text() != text
        path.write_text(text)
        print(f"{name}: {text.count(chr(10))} lines, {'written' if new else 'as before'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
