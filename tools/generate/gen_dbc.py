"""Makes a DBC of a BMS protocol from the driver's own tables, for python-can, cantools and bus analysers.

    python -m tools.generate.gen_dbc            # rewrites docs/dbc/*.dbc
    python -m tools.generate.gen_dbc hv         # prints one

Values come out in this project's sign and units (discharge is positive), whatever the sign on the wire.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

from tools import bms_tables  # first: it adds the path that firmware needs

# isort: split
from firmware import image as im
from firmware.devices import can_tables
from tools.build.slots import Point, read

ROOT = Path(__file__).resolve().parents[2]
VARIANTS = tuple(bms_tables.names())
OFFSET = 30000  # of the high-voltage variant's currents, in 0.1 A; the driver's default

_UNITS = {"0.01 %": (0.01, "%"), "0.1 V": (0.1, "V"), "0.1 A": (0.1, "A"), "0.1 degC": (0.1, "degC"), "mV": (1, "mV")}
_BIT = re.compile(r"^BMS_(REQ|PROT)_(\w+) = const\((\d+)\)", re.MULTILINE)


def _slots() -> dict[int, Point]:
    """The battery's points by the number of their slot."""
    return {point.number: point for point in read().of("MEASURED") if point.block == "battery"}


def _flag_names() -> dict[tuple[str, int], str]:
    """("REQ" or "PROT", bit) to its name."""
    return {(kind, int(bit)): name for kind, name, bit in _BIT.findall(Path(str(im.__file__)).read_text())}


def _number(value: float) -> str:
    return f"{value:.10g}"


def _unpack(field: int) -> tuple[int, ...]:
    """(slot, byte, kind, role, add, multiply, divide) of a field of the driver's tables."""
    quantity = 3 * (field >> 2 & 7 | field >> 8 & 8)
    how = can_tables.QUANTITIES[quantity : quantity + 3]
    return (field >> 12, field >> 8 & 7, field & 3, field >> 5 & 7, *how)


def _unpack_flags(flags: tuple[int, ...]) -> list[tuple[int, ...]]:
    """(byte, mask, value that sets it or -1 for any bit, slot, flag bit) of each flag of the driver's tables."""
    rows: list[tuple[int, ...]] = []
    for place, flag in zip(flags[0::2], flags[1::2], strict=True):
        mask = place >> 4 & 255
        wanted = 0 if place & 1 << 16 else mask if place & 1 << 17 else -1
        rows.append((place >> 12 & 7, mask, wanted, im.BMS_REQUESTS + (place & 3), flag))
    return rows


def _field(row: tuple[int, ...], slots: dict[int, Point], protocol: ModuleType, discharge_negative: bool) -> str:
    slot, at, kind, role, add, multiply, divide = row
    addressed = protocol.ADDRESSED
    big = getattr(protocol, "BYTE_ORDER", "little") == "big"  # where an option says it: as is usual
    point = slots[slot]
    low, high = point.low or 0, point.high or 0
    scale, unit_name = _UNITS.get(point.unit, (1.0, ""))
    bits = {0: 8, 1: 16, 2: 16, 3: 3 if slot == im.BMS_STATUS else 7}[kind]
    start = at * 8 + (min(bits, 8) - 1 if big else 0)  # a DBC counts a big-endian signal from its highest bit
    offset = 0 if role not in (1, 2, 3) or not addressed else OFFSET
    sign = -1 if role == 1 or (role == 3 and discharge_negative) else 1
    factor = sign * multiply / divide * scale
    # The driver rounds before it divides; the DBC says the exact value.
    shift = ((add if divide == 1 else 0) - offset) * factor
    suffix = "_FINE" if role == 5 else ""
    form = f"({_number(factor)},{_number(shift)}) [{_number(low * scale)}|{_number(high * scale)}]"
    sign_of = "-" if kind == 2 else "+"
    return f' SG_ {point.name}{suffix} : {start}|{bits}@{0 if big else 1}{sign_of} {form} "{unit_name}" CONTROLLER'


def _flags(rows: list[tuple[int, ...]], slots: dict[int, Point]) -> list[str]:
    names = _flag_names()
    lines = []
    for at, mask, wanted, slot, flag in rows:
        name = names["REQ" if slot == im.BMS_REQUESTS else "PROT", flag]
        group = slots[slot].name.removeprefix("BMS_")
        if wanted > 0 or mask == 0xFF:
            several = sum(row[1] == 0xFF and row[3:] == (slot, flag) for row in rows) > 1
            label = f"{group}_{name}_{at}" if several else f"{group}_{name}"
            lines.append(f' SG_ {label} : {at * 8}|8@1+ (1,0) [0|255] "" CONTROLLER')
        else:
            prefix = "PERMIT" if wanted == 0 else group
            for bit in range(8):
                if mask >> bit & 1:
                    label = f"{prefix}_{name}_{at}_{bit}".replace("PERMIT_NO_", "PERMIT_")
                    lines.append(f' SG_ {label} : {at * 8 + bit}|1@1+ (1,0) [0|1] "" CONTROLLER')
    return lines


def dbc(variant: str, address: int = 0, discharge_negative: bool = False) -> str:
    """The DBC text of `variant` (of VARIANTS) for one battery address.

    Raises ValueError for another variant or an address outside 0 to 15.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant {variant!r}: allowed {', '.join(VARIANTS)}")
    if not 0 <= address <= 15:
        raise ValueError(f"address {address}: allowed 0 to 15")
    protocol = bms_tables.module(variant)
    slots = _slots()
    lines = ['VERSION ""', "", "NS_ :", "", "BS_:", "", "BU_: CONTROLLER BMS", ""]
    frames: dict[int, tuple[int, tuple[int, ...], tuple[int, ...]]] = {}
    for base, about, more_fields, more_flags in protocol.FRAMES:  # a frame that fills two groups has two rows
        length, had_fields, had_flags = frames.get(base, (0, (), ()))
        frames[base] = (max(length, about & 15), had_fields + more_fields, had_flags + more_flags)
    for base, (length, packed_fields, packed_flags) in frames.items():
        fields = [_unpack(field) for field in packed_fields]
        flags = _unpack_flags(packed_flags)
        own = base + (address if protocol.ADDRESSED else 0)
        identifier = own | 0x80000000 if protocol.EXTENDED else own
        last = max([row[0] + 1 for row in flags] + [row[1] + (1 if row[2] in (0, 3) else 2) for row in fields])
        size = 8 if protocol.EXTENDED else max(length, last)  # the high-voltage protocol pads its frames
        lines.append(f"BO_ {identifier} BMS_{own:X}: {size} BMS")
        lines += [_field(row, slots, protocol, discharge_negative) for row in fields]
        lines += [*_flags(flags, slots), ""]
    return "\n".join(lines)


def file_name(variant: str) -> str:
    """What the DBC of a variant is called."""
    return bms_tables.names()[variant].removeprefix("bms_") + ".dbc"


def write_all(folder: Path) -> list[Path]:
    """Write every variant's DBC into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for variant in VARIANTS:
        path = folder / file_name(variant)
        path.write_text(dbc(variant))
        paths.append(path)
    return paths


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(dbc(sys.argv[1]))
    else:
        for written in write_all(ROOT / "docs" / "dbc"):
            print(written.relative_to(ROOT))
