"""Images of our own for the simulated board: the firmware, changed, or a tiny one, as an application for a slot."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from tools.build import romfs, stage
from tools.sim.board import appimage

ROOT = stage.ROOT
MARCH = "x86"
Change = Callable[[Path], None]


def tree(into: Path, *changes: Change) -> Path:
    """The firmware's sources, with changes: functions that are given its root."""
    for path in stage.device_files():
        (into / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, into / path)
    for change in changes:
        change(into)
    return into


def replaced(path: str, old: str, new: str) -> Change:
    """A change: other text in a file.  ValueError where the old one is not there."""

    def change(root: Path) -> None:
        text = (root / path).read_text()
        if old not in text:
            raise ValueError(f"{path}: has no {old!r}")
        (root / path).write_text(text.replace(old, new))

    return change


def added(path: str, text: str) -> Change:
    """A change: lines at the end of a file."""

    def change(root: Path) -> None:
        with (root / path).open("a") as file:
            file.write(text)

    return change


def image(root: Path, chip: str) -> bytes:
    """The application of a tree of sources."""
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "tree"
        stage.stage(root, made, MARCH, frozen=True)
        built = romfs.build(made, Path(scratch) / "romfs.img", MARCH)
        return appimage.make(built.path.read_bytes(), chip)
