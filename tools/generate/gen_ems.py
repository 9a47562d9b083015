"""Makes firmware/ems/tables.py, the chain of SunSpec models that the EMS reads and writes, and docs/ems-registers.md.

Layout, types, scale factors and what may be written come from the model definitions that pysunspec2 carries; what stands in a
point, and what a write of it means, stands in gen_ems_points.py.  Run `python -m tools.generate.gen_ems` after a change;
`--check` (make lint) only says whether the files on disk are current.
"""

from __future__ import annotations

import argparse
import json
import re
import struct
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from tools.build import slots
from tools.generate import gen_ems_points as spec
from tools.generate.gen_sunspec import image_slots

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "firmware" / "ems" / "tables.py"
DOCS = ROOT / "docs" / "ems-registers.md"
BASE = 40000

# SunSpec type: what fill() of lib/modbus/registers.py makes of a number, and the words that say "not implemented"
KINDS = {"int16": 0, "uint16": 1, "enum16": 1, "bitfield16": 1, "count": 1, "sunssf": 0, "int32": 2, "uint32": 3, "bitfield32": 3}
RAW, NEGATED, POSITIVE, OF_PAR, OWN = 4, 16, 32, 64, 128
NOTHING = {
    "int16": [0x8000], "uint16": [0xFFFF], "enum16": [0xFFFF], "bitfield16": [0xFFFF], "count": [0xFFFF], "sunssf": [0x8000],
    "pad": [0x8000], "int32": [0x8000, 0], "uint32": [0xFFFF] * 2, "bitfield32": [0xFFFF] * 2, "acc32": [0, 0], "acc64": [0] * 4,
    "uint64": [0xFFFF] * 4,
}  # fmt: skip
SIGNED = ("int16", "int32")
# decimals of a slot's unit, by its name in points.py
DECIMALS = {"W": 0, "Wh": 0, "var": 0, "VA": 0, "s": 0, "code": 0, "0.1 V": 1, "0.1 A": 1, "0.1 degC": 1, "0.1 %": 1, "0.01 %": 2,
            "mV": 3, "mHz": 3, "bits": 0, "0/1": 0}  # fmt: skip
BLOCK = 128  # registers whose runs begin anew
BETWEEN = 4  # so many registers that need not be kept are, where a row of three bytes more would say which
BY_POWER, BY_ENERGY = 6, 7  # of fill()'s divisors: what the site's size makes of them; the others are 10 ** n


@dataclass
class Place:
    """A point of the chain."""

    model: int
    name: str  # in its model, "Crv.1.Pt.2.V" in a group
    at: int  # offset from the chain's first register
    kind: str
    size: int
    factor: str  # its scale factor: a point's name, a number, or ""
    units: str
    access: str
    label: str
    symbols: dict[int, str]

    @property
    def plain(self) -> str:
        """The name without the numbers of its groups."""
        return re.sub(r"\.\d+", "", self.name)


def layout() -> tuple[list[Place], int]:
    """Every point of the chain in order, and how many registers there are."""
    places: list[Place] = []
    at = 2
    for model in spec.CHAIN:
        text = (files("sunspec2") / "models" / "json" / f"model_{model}.json").read_text(encoding="utf-8")
        at = _group(json.loads(text)["group"], model, "", at, places)
    return places, at + 2


def _group(group: dict[str, Any], model: int, prefix: str, at: int, places: list[Place]) -> int:
    for point in group["points"]:
        symbols = {int(one["value"]): one["name"] for one in point.get("symbols", [])}
        places.append(
            Place(model, prefix + point["name"], at, point["type"], point["size"], str(point.get("sf", "")), point.get("units", ""),
                  point.get("access", "R"), point.get("label", ""), symbols)
        )  # fmt: skip
        at += point["size"]
    for inner in group.get("groups", []):
        repeats = inner.get("count", 1)
        number = repeats if repeats == 1 else spec.COUNTS[(model, inner["name"])]
        for i in range(1, number + 1):
            name = inner["name"] if repeats == 1 else f"{inner['name']}.{i}"
            at = _group(inner, model, f"{prefix}{name}.", at, places)
    return at


def by_plain(table: dict[int, dict[str, Any]], place: Place) -> Any:
    """What a table of gen_ems_points says of a point: by its own name, without its first group's number, without any."""
    own = table.get(place.model, {})
    names = (place.name, re.sub(r"\.\d+", "", place.name, count=1), place.plain)
    return next((own[name] for name in names if name in own), None)


# ---- what stands in the registers when nothing has been measured or written ---------------------------------------------
def initial(places: list[Place], size: int) -> dict[int, list[int]]:
    """The words of each model, by its number (0: the marker, 65535: the end)."""
    words: dict[int, list[int]] = {0: [0x5375, 0x6E53]}
    last = {model: max(p.at + p.size for p in places if p.model == model) for model in spec.CHAIN}
    for place in places:
        found = words.setdefault(place.model, [])
        if place.name == "ID" and not found:
            value: Any = place.model
        elif place.name == "L" and len(found) == 1:
            value = last[place.model] - place.at - 1
        else:
            value = 0 if isinstance(by_plain(spec.DYNAMIC, place), tuple) else by_plain(spec.STATIC, place)
        found += _coded(place, value)
    words[65535] = [0xFFFF, 0]
    assert sum(map(len, words.values())) == size
    return words


def _coded(place: Place, value: Any) -> list[int]:
    if place.kind == "string":
        data = str(value or "").encode().ljust(2 * place.size, b"\0")
        return list(struct.unpack(f">{place.size}H", data))
    if value is None:
        return list(NOTHING[place.kind])
    return [int(value) >> 16 * i & 0xFFFF for i in reversed(range(place.size))]


# ---- what the cycle's numbers become ------------------------------------------------------------------------------------
def factor_of(place: Place) -> int | str:
    """The power of ten of a point's scale factor: a number, "power" or "energy" where the site's size decides."""
    if not place.factor:
        return 0
    if place.factor.lstrip("-").isdigit():
        return int(place.factor)
    value = spec.STATIC[place.model].get(place.factor)
    if value is None:
        raise SystemExit(f"{place.model}.{place.factor}: {place.name} needs it and STATIC of gen_ems_points.py has none")
    if place.factor in spec.POWER_FACTORS.get(place.model, ()):
        return "power"
    return "energy" if place.factor in spec.ENERGY_FACTORS.get(place.model, ()) else int(value)


def source_of(place: Place) -> Any:
    """What a point is made of, as DYNAMIC says it; scale factors that the site's size decides are made too."""
    for name, table in (("POWER_FACTOR", spec.POWER_FACTORS), ("ENERGY_FACTOR", spec.ENERGY_FACTORS)):
        if place.name in table.get(place.model, ()):
            return name
    return by_plain(spec.DYNAMIC, place)


def fills(places: list[Place]) -> bytes:
    """The rows of fill(), five bytes each: register (two), number of the source, kind and flags, divisor."""
    numbers = image_slots()
    units = {point.name: point.unit for point in slots.read().points}
    rows: list[bytes] = []
    for place in places:
        source = source_of(place)
        if source is None:
            continue
        if isinstance(source, tuple):  # three words of a counter of energy
            for i, own in enumerate(source):
                rows.append(_row(place.at + place.size - 1 - i, spec.OWN.index(own), RAW | OWN, 0))
            continue
        flags = 0
        while source[0] in "-+":
            flags |= NEGATED if source[0] == "-" else POSITIVE
            source = source[1:]
        if source in spec.OWN:
            decimals, number, flags = spec.OWN_DECIMALS.get(source, 0), spec.OWN.index(source), flags | OWN
        else:
            decimals, number = DECIMALS[units[source]], numbers[source]
            flags |= OF_PAR if source.startswith("PAR_") else 0
        factor = factor_of(place)
        divisor = {"power": BY_POWER, "energy": BY_ENERGY}[factor] if isinstance(factor, str) else decimals + factor
        if not 0 <= divisor <= BY_ENERGY or (isinstance(factor, str) and decimals):
            raise SystemExit(f"{place.model}.{place.name}: {source} has {decimals} decimals, the scale factor is {factor}")
        rows.append(_row(place.at, number, KINDS.get(place.kind, 3) | flags, divisor))
    return b"".join(sorted(rows))


def told(places: list[Place]) -> int:
    """How many of an image's slots are told, from the first on."""
    rows = fills(places)
    return 1 + max(rows[at + 2] for at in range(0, len(rows), 5) if not rows[at + 3] & (OF_PAR | OWN))


def _row(at: int, number: int, flags: int, divisor: int) -> bytes:
    return bytes((at >> 8, at & 0xFF, number, flags, divisor))


# ---- what may be written ------------------------------------------------------------------------------------------------
def rights_of(place: Place) -> tuple[str, str, int]:
    """Of a point that its model lets be written: range, group of meaning and the role that it takes."""
    found = by_plain(spec.WRITABLE, place)
    if found is None or place.name.startswith(spec.IN_FORCE):
        return "SAME", "STORED", spec.CONTROL
    return found


def writes(places: list[Place]) -> bytes:
    """Rows of six bytes: register (two), how many registers | 64 if signed, range, role, group; fixed neighbours in one row."""
    rows: list[list[int]] = []
    for place in places:
        if place.access != "RW" or (place.model, place.plain) in spec.READ_ONLY:
            continue
        limit, group, role = rights_of(place)
        row = [place.at, place.size, spec.RANGES.index(limit), role, spec.GROUPS.index(group)]
        before = rows[-1] if rows else None
        if limit == "SAME" and before and before[2:] == row[2:] and before[0] + before[1] == place.at and before[1] < 60:
            before[1] += place.size
            continue
        if place.kind in SIGNED and limit != "SAME":
            row[1] |= 64
        rows.append(row)
    return b"".join(bytes((at >> 8, at & 0xFF, *rest)) for at, *rest in rows)


# ---- what is kept ---------------------------------------------------------------------------------------------------------
def kept(places: list[Place]) -> list[tuple[int, int]]:
    """(first register, how many) of all that is written, by the EMS or at boot; with the few that lie between."""
    wanted: set[int] = set()
    for place in places:
        own = f"{place.model}.{place.name}" in spec.NAMED.values() or place.name.endswith(("CrvRslt", "CtlRslt"))
        if own or (place.access == "RW" and (place.model, place.plain) not in spec.READ_ONLY):
            wanted.update(range(place.at, place.at + place.size))
    rows: list[list[int]] = []
    for register in sorted(wanted):
        if rows and register - rows[-1][0] <= rows[-1][1] + BETWEEN and register - rows[-1][0] < 0xFF:
            rows[-1][1] = register - rows[-1][0] + 1
        else:
            rows.append([register, 1])
    return [(first, size) for first, size in rows]


def index_of(rows: list[tuple[int, int]], register: int) -> int:
    """Where a register is kept."""
    index = 0
    for first, size in rows:
        if first <= register < first + size:
            return index + register - first
        index += size
    raise SystemExit(f"register {register} of the chain is not kept")


def runs(words: list[int]) -> bytes:
    """The words as modbus.registers.expand reads them."""
    blocks = [_runs(words[at : at + BLOCK]) for at in range(0, len(words), BLOCK)]
    starts, at = [], 2 * len(blocks)
    for block in blocks:
        starts.append(at)
        at += len(block)
    return _words(starts) + b"".join(blocks)


def _runs(words: list[int]) -> bytes:
    found, at = bytearray(), 0
    while at < len(words):
        alike = next((i for i in range(at, len(words)) if words[i] != words[at]), len(words)) - at
        if alike > 1:
            alike = min(alike, 127)
            found += bytes((128 + alike,)) + _words(words[at : at + 1])
        else:
            stop = next((i for i in range(at + 1, len(words) - 1) if words[i] == words[i + 1]), len(words))
            alike = min(stop - at, 127)
            found += bytes((alike,)) + _words(words[at : at + alike])
        at += alike
    return bytes(found)


# ---- the module ---------------------------------------------------------------------------------------------------------
def in_lines(name: str, data: bytes) -> list[str]:
    """A bytes constant over several lines."""
    text = "".join(f"\\x{byte:02x}" for byte in data)
    return [f"{name} = (", *(f'    b"{text[i : i + 112]}"' for i in range(0, len(text), 112)), ")"]


def _words(values: list[int]) -> bytes:
    return struct.pack(f">{len(values)}H", *values)


def generate() -> str:
    """The text of the module."""
    places, size = layout()
    at = {f"{place.model}.{place.name}": place.at for place in places}
    lines = [
        '"""Where the points of the EMS\'s chain of SunSpec models lie: generated by tools/generate/gen_ems.py, do not edit.',
        "",
        "Registers are counted from the chain's first one; of the points below it is said where in the array they are kept.",
        "Tables as modbus.registers has them: INITIAL is what stands in the chain at first, KEPT what is kept, FILLS what is",
        "measured.  WRITES are rows of six bytes: register (two), how many | 64 if signed, range (R_*), the role that it takes",
        "(1 read, 2 control, 3 service), group of meaning (G_*).",
        '"""',
        "",
        "from micropython import const",
        "",
        f"BASE = const({BASE})",
        f"SIZE = const({size})",
    ]
    lines += ["# the first bank's port of 714, and what follows it; the length of 714 with it"]
    first, end = at["714.Prt.1.PrtTyp"], at["715.ID"]
    lines += [f"PORT = const({first})", f"PORT_END = const({end})", f"PORTS_LENGTH = const({end - at['714.ID'] - 2})"]
    held = kept(places)
    lines += ["# where points are kept"]
    lines += [f"{name} = const({index_of(held, at[point])})" for name, point in spec.NAMED.items()]
    lines += [f"N_KEPT = const({sum(size for _, size in held)})"]
    lines += ["# what the service itself makes: numbers of its own array"]
    lines += [f"O_{name} = const({i})" for i, name in enumerate(spec.OWN)] + [f"N_OWN = const({len(spec.OWN)})"]
    lines += ["# ranges"] + [f"R_{name} = const({i})" for i, name in enumerate(spec.RANGES)]
    lines += ["# groups of meaning"] + [f"G_{name} = const({i})" for i, name in enumerate(spec.GROUPS)] + [""]
    lines += ["# how many of an image's slots are told", f"N_SLOTS = const({told(places)})"]
    lines += in_lines("FILLS", fills(places)) + in_lines("WRITES", writes(places))
    lines += ["# of each row of faults.TABLE: bit of 701 Alrm, bit of 802 Evt1 (31: none)"]
    lines += in_lines("FAULT_BITS", fault_bits())
    lines += ["# of each bit image.BMS_PROT_*: bit of 802 Evt1 as a protection, and as a warning"]
    lines += in_lines("PROTECTION_BITS", bytes(bit for pair in spec.PROTECTION_BITS for bit in pair))
    lines += in_lines("KEPT", b"".join(bytes((first >> 8, first & 0xFF, size)) for first, size in held))
    words = [word for model in initial(places, size).values() for word in model]
    lines += in_lines("INITIAL", runs(words))
    return "\n".join(lines) + "\n"


def fault_bits() -> bytes:
    """Of each fault, the bits that say it in 701 and in 802."""
    source = (ROOT / "firmware" / "faults.py").read_text()
    names = re.findall(r'^    \("(\w+)", \d', source, re.M)
    unknown = set(spec.FAULT_BITS) ^ set(names)
    if unknown:
        raise SystemExit(f"FAULT_BITS of gen_ems_points.py and faults.TABLE differ in {', '.join(sorted(unknown))}")
    return bytes(bit for name in names for bit in spec.FAULT_BITS[name])


# ---- the map for people -------------------------------------------------------------------------------------------------
def document() -> str:
    """The register map."""
    places, _ = layout()
    lines = [spec.HEAD.rstrip(), ""]
    for model in spec.CHAIN:
        own = [place for place in places if place.model == model]
        lines += [f"## Model {model}: {spec.MODELS[model]}", ""]
        lines += ["| register | point | type | unit | rights | what it is |", "| --- | --- | --- | --- | --- | --- |"]
        absent = []
        for place in [place for place in own if place.kind != "pad"]:
            dynamic = source_of(place)
            static = by_plain(spec.STATIC, place)
            writable = place.access == "RW" and rights_of(place)[0] != "SAME" and (place.model, place.plain) not in spec.READ_ONLY
            named = f"{model}.{place.name}" in spec.NAMED.values() or place.name in ("ID", "L")
            if dynamic is None and static is None and not writable and not named:
                absent.append(place.name)
                continue
            lines.append(_line(place, writable))
        if absent:
            lines += ["", f"Not implemented: {', '.join(_folded(absent))}."]
        lines.append("")
    return "\n".join(lines)


def _line(place: Place, writable: bool) -> str:
    rights = "read"
    if writable:
        limit, _, role = rights_of(place)
        rights = f"{spec.ROLE_NAMES[role]}: {spec.RANGE_WORDS[limit]}"
    factor = factor_of(place)
    scale = f" x 10^{place.factor}" if isinstance(factor, str) else f" x 10^{factor}" if factor else ""
    meaning = by_plain(spec.MEANINGS, place) or place.label
    return f"| {BASE + place.at} | {place.name} | {place.kind} | {place.units}{scale} | {rights} | {meaning} |"


def _folded(names: list[str]) -> list[str]:
    """Names of groups' points once, with an n for their numbers."""
    found: list[str] = []
    for name in names:
        plain = re.sub(r"\.\d+", ".n", name)
        if plain not in found:
            found.append(plain)
    return found


def main(argv: list[str] | None = None) -> int:
    """Writes both files, or with --check compares them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare; exit code 1 if one is out of date")
    arguments = parser.parse_args(argv)
    wrong = 0
    for path, text in ((TARGET, generate()), (DOCS, document())):
        if not arguments.check:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            print(f"{path.relative_to(ROOT)} is OUT OF DATE: run python -m tools.generate.gen_ems")
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
