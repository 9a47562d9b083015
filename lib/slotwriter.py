"""Writes an image of our own into the slot that does not run, a block at a time, and reads it back.

No step erases more than one block of flash.  The slot that runs is never touched.
"""

import hashlib
from binascii import hexlify

import esp32
from micropython import const

BLOCK = const(4096)
_ERASE = const(6)  # of ioctl
_MAGIC = const(0xE9)  # first byte of every ESP image
_CHIP = const(12)  # where its header has the chip, 16 bits, low byte first
_DESCRIPTION = const(32)  # where an application has its description, and a boot loader has not
_DESCRIBED = const(b"\x32\x54\xcd\xab")  # what it begins with
HEAD_BYTES = const(36)
_CHIPS = {0: "ESP32", 2: "ESP32-S2", 5: "ESP32-C3", 9: "ESP32-S3", 13: "ESP32-C6"}


class Refused(Exception):
    """It is no image for this board; the text says why."""


class SlotWriter:
    """The slot that does not run."""

    def __init__(self, piece: bytearray) -> None:
        """piece: a buffer, a part of a block that divides it.  Refused on a chip without slots."""
        running = esp32.Partition(esp32.Partition.RUNNING)  # type: ignore[arg-type]  # the stubs want a label
        try:
            self._slot = running.get_next_update()
        except OSError as error:
            raise Refused("this board has no second slot for an image (%s)" % error)
        self.name = self._slot.info()[4]
        self._piece = piece
        self._head = bytearray(HEAD_BYTES)
        running.readblocks(0, self._head, 0)

    def check_size(self, size: int) -> None:
        """Refused for an image that a slot cannot hold."""
        most = self._slot.info()[3]
        if not HEAD_BYTES <= size <= most:
            raise Refused("an image of %d bytes: a slot of this board takes %d to %d" % (size, HEAD_BYTES, most))

    def check_head(self, head) -> None:
        """Refused where an image does not begin as one for this chip does."""
        if head[0] != _MAGIC:
            raise Refused("its first byte is 0x%02x: an image for an ESP32 begins with 0x%02x" % (head[0], _MAGIC))
        chip = head[_CHIP] | head[_CHIP + 1] << 8
        own = self._head[_CHIP] | self._head[_CHIP + 1] << 8
        if chip != own:
            raise Refused("it is for chip %d (%s): this board has %d (%s)" % (chip, _name(chip), own, _name(own)))
        if bytes(head[_DESCRIPTION:HEAD_BYTES]) != _DESCRIBED:
            raise Refused("it is no application: a boot loader, or a whole flash, does not go into a slot")

    def read_head(self) -> bytearray:
        """How what stands in the slot begins."""
        head = bytearray(HEAD_BYTES)
        self._slot.readblocks(0, head, 0)
        return head

    def digest(self, block: int, size: int) -> str:
        """The first 16 digits of the SHA-256 of what stands in a block."""
        total = hashlib.sha256()
        self._add(total, block, size)
        return hexlify(total.digest()).decode()[:16]

    def erase(self, block: int) -> None:
        """One block."""
        self._slot.ioctl(_ERASE, block)

    def write(self, block: int, at: int, data) -> None:
        """A piece of a block that was erased."""
        self._slot.writeblocks(block, data, at)

    def digests(self, size: int, found: list):
        """The SHA-256 of all of it, in hexadecimal, goes to `found`: a generator that stops after each block."""
        total = hashlib.sha256()
        for block in range((size + BLOCK - 1) // BLOCK):
            self._add(total, block, min(BLOCK, size - block * BLOCK))
            yield
        found.append(hexlify(total.digest()).decode())

    def _add(self, total, block: int, size: int) -> None:
        at = 0
        while at < size:
            piece = memoryview(self._piece)[: min(len(self._piece), size - at)]
            self._slot.readblocks(block, piece, at)  # type: ignore[call-overload]  # any buffer
            total.update(piece)
            at += len(piece)


def _name(chip: int) -> str:
    return _CHIPS.get(chip, "unknown")
