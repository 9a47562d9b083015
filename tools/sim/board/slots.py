"""The two slots of an image of our own, and the boot loader that picks one: ESP-IDF's rule with app rollback, in files.

`otadata` has two sectors, each with a sequence number, a state and a check sum (esp_ota_select_entry_t).  The higher number says
which slot starts.  What the running application does with all this is in modules/sim_slots.py.
"""

import hashlib
import struct
import zlib
from pathlib import Path

from tools.build import boardfile, partitions
from tools.sim.board import appimage

NEW, PENDING_VERIFY, VALID, INVALID, ABORTED, UNDEFINED = 0, 1, 2, 3, 4, 0xFFFFFFFF
_SECTOR = 4096
_ENTRY = struct.Struct("<I20sII")
_NONE = 0xFFFFFFFF  # sequence number of an erased sector
_GONE = (INVALID, ABORTED)


class NoApplication(Exception):
    """Neither slot has an application that starts; the text is what the boot loader has against each."""


class Slots:
    """The flash beside the file system, in a folder: otadata.img, ota_0.img, ota_1.img."""

    def __init__(self, folder: Path, chip: str) -> None:
        self._chip = chip
        self._folder = folder
        self._otadata = folder / "otadata.img"
        self._flashed = folder / "flashed"  # which image was written by wire last
        table = partitions.read(boardfile.BOARDS / appimage.NAMES[chip] / "partitions.csv")
        self.size = next(part.size for part in table if part.use == "ota_0")

    def file(self, slot: int) -> Path:
        """What stands in a slot."""
        return self._folder / f"ota_{slot}.img"

    def flash(self, image: bytes) -> None:
        """Writes an application as esptool does with a whole image: into the first slot, otadata erased; not twice the same."""
        if len(image) > self.size:
            raise ValueError(f"an application of {len(image):,} bytes: a slot has {self.size:,}")
        digest = hashlib.sha256(image).hexdigest()
        if self._flashed.exists() and self._flashed.read_text() == digest:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        self._otadata.write_bytes(b"\xff" * 2 * _SECTOR)
        self.file(0).write_bytes(image + b"\xff" * (self.size - len(image)))
        if not self.file(1).exists():
            self.file(1).write_bytes(b"\xff" * self.size)
        self._flashed.write_text(digest)

    def states(self) -> list[tuple[int, int] | None]:
        """(sequence number, state) of each sector of otadata; None for one that is erased or damaged."""
        data = self._otadata.read_bytes()
        found: list[tuple[int, int] | None] = []
        for at in (0, _SECTOR):
            sequence, _, state, check = _ENTRY.unpack_from(data, at)
            good = sequence != _NONE and check == zlib.crc32(struct.pack("<I", sequence), 0xFFFFFFFF)
            found.append((sequence, state) if good else None)
        return found

    def boot(self, cut: bool = False) -> tuple[int, bytes]:
        """What the boot loader does at every reset: the slot that it starts, and its ROMFS image.

        cut: the power goes where it has erased a sector and not written it again (RuntimeError, where it writes one).
        NoApplication where nothing starts.
        """
        for sector, entry in enumerate(self.states()):
            if entry and entry[1] == PENDING_VERIFY:  # started once, and not marked valid
                self._write(sector, entry[0], ABORTED, cut)
        chosen = 0
        usable = [(entry[0], sector, entry[1]) for sector, entry in enumerate(self.states()) if entry and entry[1] not in _GONE]
        if usable:
            sequence, sector, state = max(usable)
            chosen = (sequence - 1) % 2
            if state == NEW:
                self._write(sector, sequence, PENDING_VERIFY, cut)
        wrong = []
        for slot in (chosen, 1 - chosen):
            try:
                return slot, appimage.content_of(self.file(slot).read_bytes(), self._chip)
            except ValueError as error:
                wrong.append(f"ota_{slot}: {error}")
        raise NoApplication("; ".join(wrong))

    def _write(self, sector: int, sequence: int, state: int, cut: bool) -> None:
        entry = _ENTRY.pack(sequence, b"\xff" * 20, state, zlib.crc32(struct.pack("<I", sequence), 0xFFFFFFFF))
        with self._otadata.open("r+b") as file:
            file.seek(sector * _SECTOR)
            file.write(b"\xff" * _SECTOR)
            if cut:
                raise RuntimeError("the power goes while otadata is written")
            file.seek(sector * _SECTOR)
            file.write(entry)
