"""The simulated chip's flash as a file: laid out as `make deploy` leaves it, and read back after a run.

A MicroPython at full speed does both, so that LittleFS puts its blocks where it puts them on a chip.
"""

import json
import os
import subprocess
import tempfile
from pathlib import Path

from tools.build import web
from tools.build.stage import ENTRY_FILES, PAGE, TREES
from tools.interpreters import find32, find64

COPY = Path(__file__).parent / "modules" / "copy_flash.py"


class FlashError(Exception):
    """The image cannot be written or read; the text is what MicroPython said."""


def deploy(tree: Path, image: Path, size: int, romfs: bool = False) -> None:
    """Puts a staged tree on the flash in deploy's order: folders, their files, what is no more goes, top files last.

    A file that is there and equal is left alone, and so is everything outside firmware/, lib/ and www/.  The image is made,
    `size` bytes, when there is none.  `romfs`: firmware/, lib/, boot.py and main.py stay out, and www/ where the site
    does not serve it.
    """
    files = sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file())
    built = (*TREES, PAGE)
    kept: tuple[str, ...] = built
    if romfs:
        site = tree / "site.json"
        kept = (PAGE,) if site.exists() and web.served_by(json.loads(site.read_text())) else ()
    inside = [path for path in files if path.split("/")[0] in kept]
    tops = [name for name in (*(() if romfs else ENTRY_FILES), "site.json") if name in files]
    others = [path for path in files if path not in (*ENTRY_FILES, "site.json") and path.split("/")[0] not in built]
    if not image.exists():
        image.parent.mkdir(parents=True, exist_ok=True)
        with image.open("wb") as file:
            for _ in range(size // 4096):
                file.write(b"\xff" * 4096)
        _run(image, {"do": "format"})
    folders = sorted({path.rpartition("/")[0] for path in (*inside, *others) if "/" in path})
    plan = {"folders": folders, "files": [*inside, *others], "tops": tops, "trees": list(built)}
    _run(image, {"do": "deploy", "tree": str(tree.resolve()), **plan})


def write(image: Path, name: str, data: bytes) -> None:
    """Puts one file on the flash."""
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / name
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_bytes(data)
        folders = [name.rpartition("/")[0]] if "/" in name else []
        _run(image, {"do": "deploy", "tree": scratch, "folders": folders, "files": [], "tops": [name], "trees": []})


def unpack(image: Path, into: Path) -> None:
    """Copies everything that is on the flash into a folder."""
    into.mkdir(parents=True, exist_ok=True)
    _run(image, {"do": "unpack", "into": str(into.resolve())})


def _run(image: Path, task: dict) -> None:
    interpreter = find64() or find32()
    if interpreter is None:
        raise FlashError("there is no MicroPython: run `make setup`")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"image": str(image.resolve()), **task}, file)
        file.flush()
        command = [*interpreter.command, "-X", "heapsize=8M", str(COPY), file.name]
        env = {"PATH": os.environ.get("PATH", ""), "MICROPYPATH": f"{COPY.parent}:.frozen"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)
    if done.returncode:
        raise FlashError(f"{image}: {task['do']}: {(done.stdout + done.stderr).strip()[-500:]}")
