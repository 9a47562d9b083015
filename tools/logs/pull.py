"""Reads a board's logs over its console, while control runs: `pull(ask)` gives every line whose checksum is right.

The board's `timeline.logs()` lists the files of the event log, `timeline.log(path, at)` gives one in pieces
(firmware/services/records.py); `history.log(kind, at)` gives rows of its memory (firmware/history/reading.py).  What the console
writes between is passed over: echo, prompt, events, monitor lines.
"""

import contextlib
import re
import time
from binascii import crc32
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import serial

from tools import serial_line

ANSWER_S = 15.0  # a piece is sent in half a second
_TRIES = 3  # of a piece: a line of somebody else's may tear one of its lines
_FILE = re.compile(r"^(\d+) ([\w./-]+)$")
_SEALED = re.compile(r"^([0-9a-f]{8}) (\[.*\])$")
_CAME_TO = re.compile(r"^(next|end) (\d+)$")
_CAME_TO_ROW = re.compile(r"^(next|end) (\d+) (\d+)$")
_END = "end"
KINDS = {"power": "five", "days": "day", "months": "month", "years": "year"}  # what is pulled of a memory, under which name
_SEAL_LENGTH = 10  # checksum, space and line break

Ask = Callable[[str], Iterator[str]]  # types a line and gives what comes back, line by line, for as long as somebody looks


class PullError(Exception):
    """The logs cannot be had; the text says why."""


@dataclass
class Pulled:
    """The lines of every log by its name ("events", and those of KINDS), oldest first; and how many were damaged."""

    lines: dict[str, list[str]] = field(default_factory=dict)
    damaged: int = 0


def unsealed(line: str) -> str | None:
    """A line without its checksum; None where that is wrong."""
    found = _SEALED.match(line)
    return found[2] if found and int(found[1], 16) == crc32(found[2].encode()) else None


def _answer(ask: Ask, typed: str, wanted: Callable[[str], bool]) -> list[str]:
    """The lines of an answer, its last one included, which `wanted` knows."""
    lines: list[str] = []
    for line in ask(typed):
        lines.append(line)
        if line.startswith("! "):
            raise PullError(f"{typed}: {line[2:]}")
        if wanted(line):
            return lines
    raise PullError(f"{typed}: no answer")


def _piece(ask: Ask, path: str, at: int) -> tuple[list[str], int, int, bool]:
    """Of a file from `at` on: the good lines, how many are damaged at least, how far it came, and whether that is the end."""
    lines = _answer(ask, f"timeline.log({path!r}, {at})", lambda line: bool(_CAME_TO.match(line)))
    came_to = _CAME_TO.match(lines[-1])
    assert came_to
    good = [text for text in map(unsealed, lines[:-1]) if text is not None]
    missing = int(came_to[2]) - at - sum(_SEAL_LENGTH + len(text.encode()) for text in good)
    wrong = sum(1 for line in lines[:-1] if _SEALED.match(line)) - len(good)
    return good, max(wrong, 1 if missing else 0), int(came_to[2]), came_to[1] == _END


def _file(ask: Ask, path: str) -> tuple[list[str], int]:
    """The good lines of a file, and how many are damaged."""
    good: list[str] = []
    damaged, at, done = 0, 0, False
    while not done:
        for _ in range(_TRIES):
            lines, wrong, came_to, done = _piece(ask, path, at)
            if not wrong:
                break
        good += lines
        damaged += wrong
        at = came_to
    return good, damaged


def _rows(ask: Ask, kind: str) -> list[str]:
    """The rows of one kind that the board remembers, each as JSON."""
    rows: list[str] = []
    at, done = 0, False
    while not done:
        typed = f"history.log({kind!r}, {at})"
        for left in reversed(range(_TRIES)):
            lines = _answer(ask, typed, lambda line: bool(_CAME_TO_ROW.match(line)))
            word, come_to, count = lines[-1].split(" ")
            good = [text for text in map(unsealed, lines[:-1]) if text is not None]
            if len(good) == int(count):
                break
            if not left:
                raise PullError(f"{typed}: {int(count) - len(good)} of {count} rows do not come through")
        rows += good
        at, done = int(come_to), word == _END
    return rows


def _has_memory(ask: Ask) -> bool:
    try:
        _answer(ask, "history.log('year', 0)", lambda line: bool(_CAME_TO_ROW.match(line)))
    except PullError as error:
        if "NameError" in str(error):
            return False
        raise
    return True


def pull(ask: Ask, say: Callable[[str], None] = lambda text: None) -> Pulled:
    """Everything.  PullError where the board keeps no logs, or does not answer."""
    try:
        listed = [_FILE.match(line) for line in _answer(ask, "timeline.logs()", lambda line: line == _END)]
    except PullError as error:
        if "NameError" not in str(error):
            raise
        raise PullError("this board keeps no logs: its site.json has no section clock or storage (docs/logs.md)") from None
    pulled = Pulled()
    for found in listed:
        if not found:
            continue
        size, path = int(found[1]), found[2]
        name = path.rsplit("/", 1)[-1].split(".")[0]
        lines, damaged = _file(ask, path)
        pulled.lines.setdefault(name, []).extend(lines)
        pulled.damaged += damaged
        say(f"{path}: {size} bytes, {len(lines)} lines" + (f", {damaged} damaged" if damaged else ""))
    if _has_memory(ask):
        for name, kind in KINDS.items():
            pulled.lines[name] = _rows(ask, kind)
            say(f"history, {kind}: {len(pulled.lines[name])} rows")
    return pulled


@contextlib.contextmanager
def console(port: str, baud: int = 115200) -> Iterator[Ask]:
    """The console behind a serial port (or pyserial's socket://host:port).  PullError where there is none."""
    try:
        line = serial.serial_for_url(port, baud, timeout=0.1)
    except (OSError, serial.SerialException) as error:
        raise PullError(str(serial_line.no_port(port, error))) from None

    def ask(typed: str) -> Iterator[str]:
        line.write(typed.encode() + b"\r\n")
        partial = b""
        end = time.monotonic() + ANSWER_S
        while time.monotonic() < end:
            partial += line.read(4096)
            *whole, partial = partial.split(b"\n")
            for raw in whole:
                yield raw.decode("utf-8", "replace").strip("\r")

    with line:
        line.write(b"\r\n")
        yield ask
