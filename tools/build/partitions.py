"""Partition tables of an ESP32, as text (boards/*/partitions.csv) and in flash, and all that a boot loader would stumble over."""

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path

TABLE_END = 0x9000  # boot loader and table are below
APP_ALIGN = 0x10000  # what the chip's memory map can show as code
DATA_ALIGN = 0x1000  # one erase
OTADATA_BYTES = 0x2000  # two sectors, written in turn
_LEAST_FILES = 0x60000  # a site of its own, and what it records
_KINDS = {
    "app": {"factory", *(f"ota_{number}" for number in range(16))},
    "data": {"nvs", "ota", "phy", "fat", "littlefs", "spiffs", "coredump"},
}


@dataclass(frozen=True)
class Partition:
    """One row: where it is, and what for."""

    name: str
    kind: str
    use: str
    offset: int
    size: int

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + self.size


def read(path: Path) -> list[Partition]:
    """The rows of a table, in its order.  ValueError names the line that is none."""
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        cells = [cell.strip() for cell in text.split(",")]
        try:
            name, kind, use, offset, size = cells[:5]
            found.append(Partition(name, kind, use, int(offset, 0), int(size, 0)))
        except ValueError:
            raise ValueError(f"{path.name}, line {number}: name, type, subtype, offset and size are needed: {line}") from None
    return found


def errors(table: list[Partition], flash_bytes: int) -> list[str]:
    """Everything that is wrong with a table for a flash of that size."""
    found = []
    for part in table:
        where = f"{part.name} at 0x{part.offset:x}"
        align = APP_ALIGN if part.kind == "app" else DATA_ALIGN
        if part.use not in _KINDS.get(part.kind, ()):
            found.append(f"{where}: there is no {part.kind} {part.use}")
        if part.offset % align or part.size % DATA_ALIGN or part.size <= 0:
            found.append(f"{where}: starts at a multiple of 0x{align:x} and takes whole sectors of 0x{DATA_ALIGN:x}")
        if part.use == "ota" and part.size != OTADATA_BYTES:
            found.append(f"{where}: otadata takes 0x{OTADATA_BYTES:x}, not 0x{part.size:x}")
        if len(part.name) > 15:
            found.append(f"{where}: a name has 15 characters at most")
        if part.end > flash_bytes:
            found.append(f"{where}: ends at 0x{part.end:x}, the flash at 0x{flash_bytes:x}")
    end = TABLE_END
    for part in sorted(table, key=lambda part: part.offset):
        if part.offset < end:
            found.append(f"{part.name} at 0x{part.offset:x}: what is before it ends at 0x{end:x}")
        end = max(end, part.end)
    for names, what in ((tuple(part.name for part in table), "name"), (tuple(part.use for part in table), "subtype")):
        found += [f"{name}: two partitions have this {what}" for name in sorted(set(names)) if names.count(name) > 1]
    slots = [part.size for part in table if part.use.startswith("ota_")]
    if slots and (len(slots) < 2 or len(set(slots)) > 1 or "ota" not in [part.use for part in table]):
        found.append("slots for updates: two of one size are needed, and a data ota partition that says which is started")
    return found


# ---- as it stands in flash -----------------------------------------------------------------------------------

TABLE_OFFSET = 0x8000
TABLE_BYTES = 0xC00  # the most that a boot loader reads
_ENTRY = struct.Struct("<2sBBII16sI")
_MAGIC = b"\xaa\x50"
_MD5 = b"\xeb\xeb" + b"\xff" * 14
_TYPES = {"app": 0, "data": 1}
_USES = {
    "app": {"factory": 0x00, **{f"ota_{number}": 0x10 + number for number in range(16)}},
    "data": {"ota": 0x00, "phy": 0x01, "nvs": 0x02, "coredump": 0x03, "fat": 0x81, "spiffs": 0x82, "littlefs": 0x83},
}


def unpacked(data: bytes) -> list[Partition]:
    """The table in these bytes of flash.  ValueError where there is none."""
    found: list[Partition] = []
    for at in range(0, min(len(data), TABLE_BYTES), _ENTRY.size):
        entry = data[at : at + _ENTRY.size]
        if entry[:2] != _MAGIC:
            break
        _, kind, use, offset, size, name, _ = _ENTRY.unpack(entry)
        kinds = {number: text for text, number in _TYPES.items()}
        text = kinds.get(kind, str(kind))
        uses = {number: text for text, number in _USES.get(text, {}).items()}
        found.append(Partition(name.rstrip(b"\0").decode(errors="replace"), text, uses.get(use, str(use)), offset, size))
    if not found:
        raise ValueError(f"there is no partition table at 0x{TABLE_OFFSET:x}")
    return found


def packed(table: list[Partition]) -> bytes:
    """A table as it stands in flash, with its check sum, as long as a boot loader reads."""
    data = b"".join(
        _ENTRY.pack(_MAGIC, _TYPES[part.kind], _USES[part.kind][part.use], part.offset, part.size, part.name.encode(), 0)
        for part in table
    )
    data += _MD5 + hashlib.md5(data, usedforsecurity=False).digest()
    return data + b"\xff" * (TABLE_BYTES - len(data))


def files_of(table: list[Partition], flash_bytes: int) -> Partition:
    """Where the file system is: the partition vfs, else what is behind all others, as MicroPython takes it."""
    for part in table:
        if part.name == "vfs":
            return part
    end = max(part.end for part in table)
    return Partition("vfs", "data", "fat", end, flash_bytes - end)


def with_slots(app_bytes: int, flash_bytes: int) -> list[Partition]:
    """A table with two slots for the application, of its size and half a MB to grow, and the rest for files.

    ValueError where the flash is too small for two.
    """
    slot = -(-(app_bytes + (512 << 10)) // APP_ALIGN) * APP_ALIGN
    slot = min(slot, (flash_bytes - APP_ALIGN - _LEAST_FILES) // 2 // APP_ALIGN * APP_ALIGN)
    if slot < app_bytes:
        needed = 2 * app_bytes + _LEAST_FILES + APP_ALIGN
        raise ValueError(f"two slots of {app_bytes:,} bytes and files take {needed:,} bytes, the flash has {flash_bytes:,}")
    first = APP_ALIGN
    table = [
        Partition("nvs", "data", "nvs", TABLE_END, 0x4000),
        Partition("otadata", "data", "ota", 0xD000, OTADATA_BYTES),
        Partition("phy_init", "data", "phy", 0xF000, 0x1000),
        Partition("ota_0", "app", "ota_0", first, slot),
        Partition("ota_1", "app", "ota_1", first + slot, slot),
    ]
    return [*table, Partition("vfs", "data", "fat", first + 2 * slot, flash_bytes - first - 2 * slot)]
