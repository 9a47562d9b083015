"""The boot loader of the simulated chip: ESP-IDF's rule for two slots with app rollback, and power that goes meanwhile."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest

from tools.sim.board import appimage
from tools.sim.board.slots import ABORTED, INVALID, NEW, PENDING_VERIFY, UNDEFINED, VALID, NoApplication, Slots

OLD, YOUNG = b"the old one", b"the new one"


def entry(sequence: int, state: int) -> bytes:
    """esp_ota_select_entry_t, as ESP-IDF writes it."""
    check = zlib.crc32(struct.pack("<I", sequence), 0xFFFFFFFF)
    return struct.pack("<I20sII", sequence, b"\xff" * 20, state, check).ljust(4096, b"\xff")


def chip(folder: Path, *entries: tuple[int, int] | None) -> Slots:
    """An ESP32 with an application in each slot, and that in otadata."""
    slots = Slots(folder, "esp32")
    slots.flash(appimage.make(OLD, "esp32"))
    slots.file(1).write_bytes(appimage.make(YOUNG, "esp32").ljust(slots.size, b"\xff"))
    data = b"".join(entry(*one) if one else b"\xff" * 4096 for one in entries)
    (folder / "otadata.img").write_bytes(data.ljust(8192, b"\xff"))
    return slots


def starts(slots: Slots) -> int:
    slot, content = slots.boot()
    assert content.startswith(OLD if slot == 0 else YOUNG)
    return slot


def test_without_otadata_the_first_slot_starts(tmp_path: Path) -> None:
    slots = chip(tmp_path)
    assert [starts(slots), starts(slots)] == [0, 0] and slots.states() == [None, None]


@pytest.mark.parametrize("before", [None, (1, VALID), (1, UNDEFINED)])
def test_a_new_one_starts_once_and_one_that_is_not_marked_valid_goes(tmp_path: Path, before: tuple[int, int] | None) -> None:
    slots = chip(tmp_path, (2, NEW), before)
    assert starts(slots) == 1 and slots.states()[0] == (2, PENDING_VERIFY)
    assert starts(slots) == 0 and slots.states()[0] == (2, ABORTED)
    assert starts(slots) == 0


def test_one_that_is_valid_stays_and_the_highest_number_counts(tmp_path: Path) -> None:
    assert starts(chip(tmp_path, (2, VALID), (3, VALID))) == 0
    slots = chip(tmp_path, (4, VALID), (3, VALID))
    assert [starts(slots), starts(slots)] == [1, 1]
    assert starts(chip(tmp_path, (4, INVALID), (3, VALID))) == 0


def test_an_entry_with_a_wrong_check_sum_counts_for_nothing(tmp_path: Path) -> None:
    slots = chip(tmp_path, (1, VALID), (2, VALID))
    data = bytearray((tmp_path / "otadata.img").read_bytes())
    data[4096 + 28] ^= 1
    (tmp_path / "otadata.img").write_bytes(data)
    assert starts(slots) == 0


def test_power_that_goes_while_otadata_is_written_leaves_the_old_one(tmp_path: Path) -> None:
    for state in (NEW, PENDING_VERIFY):
        slots = chip(tmp_path, (2, state), (1, VALID))
        with pytest.raises(RuntimeError):
            slots.boot(cut=True)
        assert [starts(slots), starts(slots)] == [0, 0]


def test_a_damaged_application_is_passed_over_and_two_start_nothing(tmp_path: Path) -> None:
    slots = chip(tmp_path, (2, VALID))
    content = bytearray(slots.file(1).read_bytes())
    content[100] ^= 1
    slots.file(1).write_bytes(content)
    assert starts(slots) == 0
    slots.file(0).write_bytes(b"\xff" * slots.size)
    with pytest.raises(NoApplication, match="ota_1: image hash failed; ota_0: image at 0x0 has invalid magic byte 0xff"):
        slots.boot()


def test_an_application_for_another_chip_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="image is for chip 9, this is 0"):
        appimage.content_of(appimage.make(OLD, "esp32s3"), "esp32")


def test_what_is_flashed_by_wire_starts_and_the_same_is_not_flashed_twice(tmp_path: Path) -> None:
    slots = chip(tmp_path, (2, VALID))
    slots.flash(appimage.make(OLD, "esp32"))
    assert starts(slots) == 1
    slots.flash(appimage.make(OLD + b" mended", "esp32"))
    assert slots.boot()[0] == 0 and slots.boot()[1].startswith(OLD + b" mended")
