"""A generation as it goes on a board: its manifest, and the files at the top that choose between generations.

What is on the board, and why, docs/deploy.md says; lib/generations.py reads there what is written here.
"""

import hashlib
import json
import time
import zlib
from pathlib import Path

from tools.build import stage

MANIFEST = "manifest"
LOADER = {
    "generations.mpy": Path("lib/generations.mpy"),
    "incoming.mpy": Path("lib/incoming.mpy"),
    "boot.py": Path("boot.py"),
    "main.py": Path("main.py"),
}
"""Files at the top of the board's file system, in the order in which they are put there: where each is in a staged tree."""
_EPOCH_S = 1704067200  # 2024-01-01: a number has 30 bits on a board, which lasts until 2058


def number_now() -> int:
    """The number of a generation that is made now: later ones have higher numbers, whoever makes them."""
    return int(time.time()) - _EPOCH_S


def files_of(files: list[Path]) -> list[Path]:
    """Of what a staged tree and its site have: what belongs to the generation, in a stable order."""
    return sorted(path for path in files if path.as_posix() not in stage.ENTRY_FILES)


def manifest(source: Path, files: list[Path], number: int, stamp: str, code: bool = True) -> bytes:
    """The manifest of these files below `source`: see lib/generations.py.  code: the firmware is among them."""
    lines = [json.dumps({"number": number, "stamp": stamp, "code": code})]
    for path in files:
        content = (source / path).read_bytes()
        lines.append(f"{hashlib.sha256(content).hexdigest()} {len(content)} {path.as_posix()}")
    return "".join(f"{line}\n" for line in lines).encode()


def record(one: dict, before: dict | None = None, *, trial: bool = True) -> dict:
    """What the file `switch` says: which generation starts, and which one comes back.  See lib/generations.py."""
    return {"now": one, "before": before, "trial": trial, "starts": 0, "highest": one["number"], "news": ""}


def images(number: int) -> dict:
    """What the file `image` says on a board that was flashed with an image of our own: older ones are refused from then on.

    See lib/ownimage.py.
    """
    return {"now": {"number": number, "slot": "ota_0", "sha": ""}, "next": None, "highest": number, "news": ""}


def described(place: str, content: bytes, seen: tuple[str, ...] = ()) -> dict:
    """A generation by its manifest, as a record names it."""
    head = json.loads(content.splitlines()[0])
    return {"folder": place, **head, "manifest": hashlib.sha256(content).hexdigest(), "seen": list(seen)}


def sealed(content: dict) -> bytes:
    """The bytes of the file `switch`."""
    body = json.dumps(content).encode()
    return body + b"%08x\n" % zlib.crc32(body)


def unsealed(data: bytes) -> dict:
    """The record in a file `switch`.  ValueError where its check sum is wrong."""
    if data[-9:] != b"%08x\n" % zlib.crc32(data[:-9]):
        raise ValueError("switch: is damaged")
    return dict(json.loads(data[:-9]))
