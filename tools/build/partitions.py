"""Partition tables of an ESP32 (boards/*/partitions.csv): reading one, and all that a boot loader would stumble over."""

from dataclasses import dataclass
from pathlib import Path

TABLE_END = 0x9000  # boot loader and table are below
APP_ALIGN = 0x10000  # what the chip's memory map can show as code
DATA_ALIGN = 0x1000  # one erase
OTADATA_BYTES = 0x2000  # two sectors, written in turn
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
