"""The slots of an image of our own as the running application has them: what ESP-IDF's OTA functions do with flash and otadata.

The boot loader's part is the host's (tools/sim/board/slots.py).  Files stand in SIM_NVS; SIM_SLOT says which slot runs.
"""

import binascii
import hashlib
import os
import struct

from micropython import const
from sim_flash import BLOCK, Flash
from sim_pace import off, on, pad_us

_ENTRY = "<I20sII"
_NEW = const(0)
_VALID = const(2)
_ABORTED = const(4)
_INVALID = const(3)
_NONE = const(0xFFFFFFFF)
_HEADER = const(24)
_HASH = const(32)
_HASHED_US = const(200)  # of 4 KB, by the chip's own SHA: an estimate


def flash(label: str) -> Flash:
    """A slot, or otadata, as a block device."""
    return Flash("%s/%s.img" % (os.getenv("SIM_NVS"), label))


def running() -> int:
    """Number of the slot that runs; OSError on a chip without slots."""
    label = os.getenv("SIM_SLOT")
    if not label:
        raise OSError(-0x105, "ESP_ERR_NOT_FOUND")
    return int(label[4:])


def _entries(device) -> list:
    """[sequence number, state] of each sector of otadata; None for one that says nothing."""
    found = []
    data = bytearray(32)
    for sector in (0, 1):
        device.readblocks(sector, data, 0)
        sequence, _, state, check = struct.unpack(_ENTRY, data)
        found.append([sequence, state] if sequence != _NONE and check == _check(sequence) else None)
    return found


def _check(sequence: int) -> int:
    return binascii.crc32(struct.pack("<I", sequence), 0xFFFFFFFF)


def _write(device, sector: int, sequence: int, state: int) -> None:
    device.ioctl(6, sector)
    device.writeblocks(sector, struct.pack(_ENTRY, sequence, b"\xff" * 20, state, _check(sequence)), 0)


def _active(entries: list) -> int:
    """Which sector counts; -1 for none."""
    best = -1
    for sector in (0, 1):
        entry = entries[sector]
        if entry and entry[1] not in (_INVALID, _ABORTED) and (best < 0 or entry[0] > entries[best][0]):
            best = sector
    return best


def set_boot(slot: int) -> None:
    """esp_ota_set_boot_partition: the slot starts next, once.  OSError where what stands there is no whole image."""
    device = flash("ota_%d" % slot)
    if not _is_whole(device):
        raise OSError(-0x1503, "ESP_ERR_OTA_VALIDATE_FAILED")
    data = flash("otadata")
    entries = _entries(data)
    active = _active(entries)
    sequence = slot + 1
    if active >= 0:
        while sequence < entries[active][0]:
            sequence += 2
    _write(data, 0 if active < 0 else 1 - active, sequence, _NEW)


def mark_valid() -> None:
    """esp_ota_mark_app_valid_cancel_rollback: what runs is started from now on."""
    data = flash("otadata")
    entries = _entries(data)
    active = _active(entries)
    if active < 0:
        raise OSError(-1, "ESP_FAIL")
    if entries[active][1] != _VALID:
        _write(data, active, entries[active][0], _VALID)


def _is_whole(device) -> bool:
    """As esp_image_verify: header, segments within the slot, the hash behind them."""
    piece = bytearray(BLOCK)
    limit = device.ioctl(4, 0) * BLOCK
    device.readblocks(0, piece)
    if piece[0] != 0xE9:
        return False
    off()
    try:
        at = _HEADER
        for _ in range(piece[1]):
            word = bytearray(8)
            device.readblocks(at // BLOCK, word, at % BLOCK)
            at += 8 + struct.unpack("<II", word)[1]
            if at > limit - _HASH - 16:
                return False
        end = at + 16 - at % 16
        total = hashlib.sha256()
        for start in range(0, end, BLOCK):
            part = memoryview(piece)[: min(BLOCK, end - start)]
            device.readblocks(start // BLOCK, part)
            total.update(part)
            pad_us(_HASHED_US)
        there = bytearray(_HASH)
        device.readblocks(end // BLOCK, there, end % BLOCK)
        return there == total.digest()
    finally:
        on()
