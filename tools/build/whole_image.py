"""What `make flash` and `make image` write in one go: MicroPython, and a file system with a generation and its site."""

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tools import deploy
from tools.build import boardfile, generation, partitions
from tools.build.partitions import Partition
from tools.sim.board import flash_image

_BLOCK = 4096
_ERASED = b"\xff"
_GAP = 16  # erased blocks in a row that are not written: everything is erased before


class ImageError(Exception):
    """It cannot be made; the text says why."""


@dataclass
class Part:
    """Bytes for a place in flash."""

    offset: int
    content: bytes
    what: str

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + len(self.content)

    def said(self) -> str:
        """A line for people."""
        return f"  0x{self.offset:07x} to 0x{self.end:07x}  {len(self.content):10,} bytes  {self.what}"


@dataclass
class Whole:
    """All of it, and what people must know of it."""

    parts: list[Part]
    table: list[Partition]
    notes: list[str]

    def described(self) -> list[str]:
        """Lines for people: what is written where, and what moves."""
        return [*(part.said() for part in self.parts), *self.notes]


def plain(path: Path, board: dict) -> Whole:
    """MicroPython's image as it is."""
    return Whole([Part(boardfile.FLASH_OFFSET[board["chip"]], path.read_bytes(), f"MicroPython: {path.name}")], [], [])


def micropython(path: Path, board: dict, ota: bool) -> Whole:
    """MicroPython's image for that board, with a table of two slots where asked.  ImageError where it is none."""
    first = boardfile.FLASH_OFFSET[board["chip"]]
    content = path.read_bytes()
    at = partitions.TABLE_OFFSET - first
    flash_bytes = board["flash_mb"] << 20
    try:
        table = partitions.unpacked(content[at : at + partitions.TABLE_BYTES])
        notes: list[str] = []
        if ota:
            new = _with_slots(table, content, first, flash_bytes)
            content = content[:at] + partitions.packed(new) + content[at + partitions.TABLE_BYTES :]
            notes, table = _moves(table, new, flash_bytes), new
    except ValueError as error:
        raise ImageError(f"{path}: {error}") from None
    errors = partitions.errors(table, flash_bytes)
    if errors:
        raise ImageError("\n".join(f"{path}: {error}" for error in errors))
    return Whole([Part(first, content, f"MicroPython: {path.name}")], table, notes)


def _with_slots(table: list[Partition], content: bytes, first: int, flash_bytes: int) -> list[Partition]:
    apps = [part for part in table if part.kind == "app"]
    if len(apps) > 1:
        raise ValueError("has two slots already: --ota-table is for images with one")
    if apps[0].offset != partitions.APP_ALIGN:
        raise ValueError(f"its application is at 0x{apps[0].offset:x}: only one at 0x{partitions.APP_ALIGN:x} can become a slot")
    return partitions.with_slots(first + len(content) - apps[0].offset, flash_bytes)


def _moves(old: list[Partition], new: list[Partition], flash_bytes: int) -> list[str]:
    """What another table moves, for people."""
    before, after = partitions.files_of(old, flash_bytes), partitions.files_of(new, flash_bytes)
    slots = [part for part in new if part.kind == "app"]
    lines = [
        f"the table gets two slots of {slots[0].size:,} bytes for MicroPython (0x{slots[0].offset:x}, 0x{slots[1].offset:x})",
        f"the file system moves from 0x{before.offset:x} ({before.size:,} bytes) to 0x{after.offset:x} ({after.size:,} bytes):"
        " all that is in it is lost (site file, records, keys)",
    ]
    stays = {part.name: part for part in old}
    for part in new:
        was = stays.get(part.name)
        if part.name == "nvs" and was and (was.offset, was.size) != (part.offset, part.size):
            lines.append(f"nvs goes from {was.size:,} to {part.size:,} bytes: it begins empty (a latched emergency is forgotten)")
    return lines


def files(parcel: deploy.Parcel, place: Partition) -> list[Part]:
    """A file system for that partition, with the generation on trial.  ImageError where it does not fit.

    LittleFS begins to fill a flash anywhere: what it has left erased in front of that is none of the parts.
    """
    with tempfile.TemporaryDirectory() as scratch:
        tree, image = Path(scratch) / "tree", Path(scratch) / "files.img"
        for path in parcel.files:
            _copy(parcel.source / path, tree / "a" / path)
        for name, path in parcel.top.items():
            _copy(parcel.source / path, tree / name)
        manifest = parcel.manifest
        (tree / "a" / generation.MANIFEST).write_bytes(manifest)
        (tree / "switch").write_bytes(generation.sealed(generation.record(generation.described("a", manifest))))
        if not parcel.code:  # an image of our own
            (tree / "image").write_bytes(generation.sealed(generation.images(parcel.number)))
        try:
            flash_image.deploy(tree, image, place.size // _BLOCK * _BLOCK)
        except flash_image.FlashError as error:
            raise ImageError(f"a file system of {place.size:,} bytes: {error}") from None
        content = image.read_bytes()
    what = f"file system with generation {parcel.stamp}, {len(parcel.files)} files"
    return [Part(place.offset + at, content[at:end], what) for at, end in written(content)]


def written(content: bytes) -> list[tuple[int, int]]:
    """Where there is something in a flash's content: (first byte, first byte behind it), in whole blocks."""
    found: list[tuple[int, int]] = []
    for at in range(0, len(content), _BLOCK):
        if content[at : at + _BLOCK].strip(_ERASED):
            near = bool(found) and at - found[-1][1] < _GAP * _BLOCK
            found.append((found.pop()[0] if near else at, at + _BLOCK))
    return found


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def write(whole: Whole, into: Path) -> list[tuple[int, Path]]:
    """Every part as a file in a folder, for esptool: (offset, file)."""
    into.mkdir(parents=True, exist_ok=True)
    found = []
    for part in whole.parts:
        file = into / f"0x{part.offset:x}_{hashlib.sha256(part.content).hexdigest()[:8]}.bin"
        file.write_bytes(part.content)
        found.append((part.offset, file))
    return found
