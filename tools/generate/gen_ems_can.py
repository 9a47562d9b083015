"""Makes what follows from the frames for an EMS on CAN (firmware/points.py, EMS_*): `python -m tools.generate.gen_ems_can`.

The layout that the firmware packs and reads (firmware/services/ems_frames.py), a DBC (docs/dbc/ems.dbc) and the tables of
docs/can.md.  Bytes and sign of a point follow from its range, factor and unit from the unit that people read.

    python -m tools.generate.gen_ems_can                                  write them all
    python -m tools.generate.gen_ems_can --check                          fail if one is not current
    python -m tools.generate.gen_ems_can --dbc --base 0x680 [--extended]  print the DBC of other ids than the default ones
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from tools import bms_tables as _shims  # noqa: F401  first: it adds the path that firmware needs

# isort: split
from firmware import faults, limits, points
from firmware import image as im
from firmware import requests as rq
from firmware.flows import Flow
from firmware.modes import Mode
from tools.build import slots
from tools.build.slots import read

ROOT = Path(__file__).resolve().parents[2]
BASE = 0x600  # the service's default
BEGIN, END = "<!-- ems frames: begin, made by python -m tools.generate.gen_ems_can -->", "<!-- ems frames: end -->"
EXTENDED = 1 << 31  # in a DBC
PERIOD_MS = 500  # the service's default
DLC = 8

# What a point can be that points.py gives no range, by its unit.
_RANGES = {
    "W": (-im.RANGE, im.RANGE), "0.01 %": (0, 10000), "code": (0, 254), "bits": (0, im.RANGE), "0/1": (0, 1),
    "count": (0, im.RANGE), "s": (0, im.RANGE), "Wh": (0, im.RANGE),
}  # fmt: skip
_ALWAYS = 0  # in place of an age: the value is never too old,
_OWN = 1  # it is the service's own


# What points.py says of these is for who knows the code.
_MEANS = {
    "MODE": "what the system is doing", "FLOW": "where the power goes", "REQUEST_BY": "whose claim wins",
    "PCS_STATE": "what the inverter is doing", "FAULTS": "active faults, a bit each",
    "MISSING": "what the controller may not do without and has not, a bit each",
    "CMD_P": "the command to the inverter, + discharge",
    "WHY_DIS": "what binds discharge", "WHY_CHG": "what binds charge", "NET_P": "what the site takes without the battery",
    "LOAD_P": "what the loads take",
}  # fmt: skip


class WrongTable(Exception):
    """The frames cannot be; the text says why."""


@dataclass(frozen=True)
class Signal:
    """One number of a frame."""

    frame: str
    name: str
    start: int  # bit
    bits: int
    low: int
    high: int
    parts: int  # of its unit in one of the unit that people read
    unit: str
    meaning: str
    slot: str = ""  # "": no point
    kind: str = ""  # unit of the slot
    age: str = ""  # an expression: what the value must not be older than

    @property
    def signed(self) -> bool:
        """It can be below 0."""
        return self.low < 0

    @property
    def nothing(self) -> int:
        """The raw number that means "not available"."""
        return -(1 << self.bits - 1) if self.signed else (1 << self.bits) - 1

    @property
    def marked(self) -> bool:
        """It has a mark for "not available"."""
        return self.bits % 8 == 0 and self.kind != "bits" and self.name != "CRC"

    @property
    def place(self) -> int:
        """As lib/canbus/signals.py has it."""
        if self.start % 8 or self.bits % 8:
            raise WrongTable(f"{self.frame}.{self.name}: is not a whole number of bytes")
        return self.start // 8 | self.bits // 8 << 3 | (64 if self.signed else 0)


def width(low: int, high: int) -> int:
    """Bits of whole bytes that hold the range and a mark for "not available".  Raises WrongTable."""
    for bits in (8, 16, 24, 32):
        if (low < 0 and max(-low, high) < 1 << bits - 1) or (low >= 0 and high < (1 << bits) - 1):
            return bits
    raise WrongTable(f"{low} to {high}: does not fit into 32 bits")


def signals() -> list[Signal]:
    """Every number of every frame, where it stands.  Raises WrongTable."""
    table = read()
    known = {point.number: point for name in ("MEASURED", "MADE") for point in table.of(name)}
    frames = [str(row[1]) for row in points.EMS_FRAMES]
    found: list[Signal] = []
    ends = dict.fromkeys(frames, 0)
    for frame, number in points.EMS_POINTS:
        point = known[number]
        low, high = _RANGES.get(point.unit, (-im.RANGE, im.RANGE))
        low, high = (low if point.low is None else point.low, high if point.high is None else point.high)
        if point.unit == "bits" and point.group:
            raise WrongTable(f"{point.name}: bits that may be missing have no mark for it")
        bits = width(low, high)
        parts, unit = table.units[point.unit]
        age = f"im.AGE + im.{point.group} << 8 | im.{slots.bounds_age(point)}" if point.group else str(_ALWAYS)
        means = _MEANS.get(point.name, point.meaning)
        own = (point.name, point.unit, age)
        found.append(Signal(frame, point.name, ends[frame], bits, low, high, max(1, parts), unit, means, *own))
        ends[frame] += bits
    for frame, name, start, bits, unit, low, high, meaning in points.EMS_SIGNALS:
        parts, shown = table.units[unit]
        found.append(Signal(frame, name, start, bits, low, high, max(1, parts), shown, meaning, kind=unit))
    _check(found, frames)
    return found


def _check(found: list[Signal], frames: list[str]) -> None:
    for frame in frames:
        taken: set[int] = set()
        for signal in (signal for signal in found if signal.frame == frame):
            own = set(range(signal.start, signal.start + signal.bits))
            if own & taken or max(own) >= 8 * DLC:
                raise WrongTable(f"{frame}.{signal.name}: has no place of its own in {DLC} bytes")
            taken |= own
    if unknown := {signal.frame for signal in found} - set(frames):
        raise WrongTable(f"{sorted(unknown)[0]}: is none of EMS_FRAMES")
    enables = {signal.start for signal in found if signal.name == "ENABLE"}
    if len(enables) != 1:
        raise WrongTable("ENABLE: stands in the same place in every frame")


# ---- the firmware ---------------------------------------------------------------------------------------------------
def firmware_file(found: list[Signal]) -> str:
    """firmware/services/ems_frames.py, the whole of it."""
    lines = [
        '"""The frames to and from an EMS on CAN, made of points.py by `python -m tools.generate.gen_ems_can`: do not edit.',
        "",
        'Places of values are those of lib/canbus/signals.py.\n"""',
        "",
        "from micropython import const",
        "",
        "from firmware import image as im",
        "",
        "# the EMS's frames: ids above the base, where their values are, and the bits that are used",
    ]
    inward = [(offset, name) for offset, name, sender, _, _ in points.EMS_FRAMES if sender == "EMS"]
    lines += [f"{name} = const({offset})" for offset, name in inward]
    enable = next(signal.start for signal in found if signal.name == "ENABLE")
    lines += [f"ENABLE_BYTE = const({enable // 8})", f"ENABLE_BIT = const({1 << enable % 8})"]
    for _, name in inward:
        own = [signal for signal in found if signal.frame == name]
        lines += [f"{signal.name} = const({signal.place})" for signal in own if signal.bits > 8]
        used = bytearray(DLC)
        for bit in (bit for signal in own for bit in range(signal.start, signal.start + signal.bits)):
            used[bit // 8] |= 1 << bit % 8
        lines.append(f'{name}_USED = b"{"".join(f"{chr(92)}x{byte:02x}" for byte in used)}"')
    most = max(signal.high for signal in found if signal.name.startswith("BOUND_"))
    lines += [f"BOUND_MOST = const({most})  # W", "", "# what the service itself says, in this order"]
    outward = [(offset, name, every) for offset, name, sender, every, _ in points.EMS_FRAMES if sender != "EMS"]
    own = [signal for signal in found if not signal.slot and signal.frame in [name for _, name, _ in outward]]
    lines += [f"OWN_{signal.name} = const({number})" for number, signal in enumerate(own)]
    lines += [
        f"N_OWN = const({len(own)})", "", f"N_IDS = const({max(row[0] for row in points.EMS_FRAMES) + 1})",
        "# id above the base, each so many periods, and two numbers of each value: place | slot << 7 (of its own: its number),",
        f"# and {_ALWAYS}, {_OWN} (of its own), or what must not be older than what: slot of the age << 8 | of the parameter",
        "FRAMES = (",
    ]  # fmt: skip
    for offset, name, every in outward:
        lines.append(f"    ({offset}, {every}, (  # {name}")
        for signal in (signal for signal in found if signal.frame == name):
            source, age = (f"im.{signal.slot}", signal.age) if signal.slot else (f"OWN_{signal.name}", str(_OWN))
            lines.append(f"        {source} << 7 | {signal.place}, {age},")
        lines.append("    )),")
    lines += [")  # fmt: skip", ""]
    lines += ["# what becomes of the EMS's frames; up to TOO_LATE as lib/canbus/e2e.py has them"]
    lines += [f"{name} = const({number})" for number, name, _ in points.EMS_RESULTS]
    lines += ['RESULTS = """' + "\n".join(words for _, _, words in points.EMS_RESULTS) + '"""  # a line for each']
    return "\n".join(lines) + "\n"


# ---- names of codes and bits ----------------------------------------------------------------------------------------
def _image_names(prefix: str) -> dict[int, str]:
    text = Path(str(im.__file__)).read_text()
    return {int(value): name for name, value in re.findall(rf"^{prefix}_([A-Z0-9_]+) = const\((\d+)\)", text, re.M)}


def choices(signal: Signal) -> dict[int, str]:
    """What the codes of a signal mean."""
    states = text_between("PCS_OFF", "PCS_FAULT")
    tables: dict[str, list[str]] = {
        "MODE": list(Mode.names), "FLOW": list(Flow.names), "REQUEST_BY": list(rq.SOURCES), "WHY_DIS": list(limits.NAMES),
        "WHY_CHG": list(limits.NAMES), "PCS_STATE": states, "GRID_OK": ["no", "yes"],
        "SETPOINT_RESULT": [row[1] for row in points.EMS_RESULTS], "BOUNDS_RESULT": [row[1] for row in points.EMS_RESULTS],
        "CONTROLLER": ["NOBODY", "THIS", "ANOTHER", "A_PERSON"],
    }  # fmt: skip
    return dict(enumerate(tables.get(signal.name, [])))


def text_between(first: str, last: str) -> list[str]:
    """The names of a run of constants of image.py, without what is before their first underscore."""
    names = re.findall(r"^([A-Z][A-Z0-9_]*) = const\(", Path(str(im.__file__)).read_text(), re.M)
    return [name.split("_", 1)[1] for name in names[names.index(first) : names.index(last) + 1]]


def bits_of(signal: Signal) -> dict[int, tuple[str, str]]:
    """Of a signal that is bits: number of the bit, its name and what it means."""
    if signal.name == "FAULTS":
        return {i: (f"FAULT_{row[0].upper()}", row[0]) for i, row in enumerate(faults.rows())}
    if signal.name == "MISSING":
        from firmware.battery_words import MISSING

        named = {value.bit_length() - 1: name for value, name in _image_names("MISS").items()}
        groups = ("BMS_LIMITS", "BMS_CELLS", "BMS_TEMPS", "BMS_FLAGS")  # as image.MISS_BMS says: the next four bits
        first = named_bit(named, "BMS")
        named.update({first + 1 + i: name for i, name in enumerate(groups)})
        return {i: (f"MISS_{named[i]}", words) for i, words in enumerate(MISSING)}
    raise WrongTable(f"{signal.name}: nobody knows what its bits mean")


def named_bit(named: dict[int, str], wanted: str) -> int:
    """The bit of that name."""
    return next(bit for bit, name in named.items() if name == wanted)


# ---- DBC ------------------------------------------------------------------------------------------------------------
def dbc(base: int = BASE, extended: bool = False, period_ms: int = PERIOD_MS) -> str:
    """The DBC text for a base id.  Raises ValueError for one that cannot be."""
    top = 0x1FFFFFFF if extended else 0x7FF
    if base % 16 or not 0 <= base <= top - 15:
        raise ValueError(f"base id {base}: must be a multiple of 16 from 0 to {top - 15}")
    lines = ['VERSION ""', "", "NS_ :", "", "BS_:", "", "BU_: BESS EMS", ""]
    notes: list[str] = []
    codes: list[str] = []
    periods: list[str] = []
    found = signals()
    for offset, name, sender, every, meaning in points.EMS_FRAMES:
        identifier = base + offset | (EXTENDED if extended else 0)
        lines.append(f"BO_ {identifier} {name}: {DLC} {sender}")
        notes.append(f'CM_ BO_ {identifier} "{meaning}";')
        if every:
            periods.append(f'BA_ "GenMsgCycleTime" BO_ {identifier} {period_ms * every};')
        for signal in (signal for signal in found if signal.frame == name):
            receiver = "EMS" if sender == "BESS" else "BESS"
            if signal.kind == "bits":
                for bit, (label, words) in bits_of(signal).items():
                    lines.append(f' SG_ {label} : {signal.start + bit}|1@1+ (1,0) [0|1] "" {receiver}')
                    notes.append(f'CM_ SG_ {identifier} {label} "{words}";')
                continue
            lines.append(_line(signal, receiver))
            notes.append(f'CM_ SG_ {identifier} {signal.name} "{signal.meaning}";')
            named = choices(signal)
            if signal.marked:
                named[signal.nothing] = "not available"
            if named:
                codes.append(f"VAL_ {identifier} {signal.name} " + " ".join(f'{v} "{t}"' for v, t in named.items()) + " ;")
        lines.append("")
    definition = ['BA_DEF_ BO_ "GenMsgCycleTime" INT 0 65535;', 'BA_DEF_DEF_ "GenMsgCycleTime" 0;']
    return "\n".join([*lines, *notes, *definition, *periods, *codes]) + "\n"


def _line(signal: Signal, receiver: str) -> str:
    factor = 1 / signal.parts
    span = f"[{signal.low * factor:.10g}|{signal.high * factor:.10g}]"
    sign = "-" if signal.signed else "+"
    return f' SG_ {signal.name} : {signal.start}|{signal.bits}@1{sign} ({factor:.10g},0) {span} "{signal.unit}" {receiver}'


# ---- docs -----------------------------------------------------------------------------------------------------------
def document(found: list[Signal]) -> str:
    """The tables between the markers of docs/can.md."""
    lines = ["", "| id | frame | from | each | bytes | value | unit, step | not available |", "| --- " * 8 + "|"]
    for offset, name, sender, every, _ in points.EMS_FRAMES:
        each = "" if not every else "period" if every == 1 else f"{every} periods"
        for i, signal in enumerate(sorted((s for s in found if s.frame == name), key=lambda s: s.start)):
            head = (f"base + {offset}", name, sender, each) if not i else ("", "", "", "")
            lines.append("| " + " | ".join((*head, *_cells(signal))) + " |")
    lines += ["", "| result | | what became of the frame |", "| --- " * 3 + "|"]
    lines += [f"| {number} | {name} | {words} |" for number, name, words in points.EMS_RESULTS]
    lines += ["", "| value | its codes, or its bits from the lowest on |", "| --- " * 2 + "|"]
    for signal in found:
        if signal.kind == "bits":
            lines.append(f"| {signal.name} | {', '.join(f'{bit} {words}' for bit, (_, words) in bits_of(signal).items())} |")
        elif named := choices(signal):
            lines += [f"| {signal.name} | {', '.join(f'{code} {name}' for code, name in named.items())} |"]
    return "\n".join([*lines, "", ""])


def _cells(signal: Signal) -> tuple[str, str, str, str]:
    first, last = signal.start // 8, (signal.start + signal.bits - 1) // 8
    where = f"{first}" if first == last else f"{first} to {last}"
    if signal.bits % 8:
        where += f", bit {signal.start % 8}" + ("" if signal.bits == 1 else f" to {signal.start % 8 + signal.bits - 1}")
    step = f"{signal.unit}, {1 / signal.parts:.10g}" if signal.unit else ""
    nothing = f"0x{signal.nothing & (1 << signal.bits) - 1:0{signal.bits // 4}X}" if signal.marked else ""
    return where, f"{signal.name}: {signal.meaning}", step, nothing


# ---- all of it ------------------------------------------------------------------------------------------------------
def generated() -> dict[Path, str]:
    """Every file that is made of the table, or holds something made of it, as it should be.  Raises WrongTable."""
    found = signals()
    page = ROOT / "docs" / "can.md"
    head, rest = page.read_text().split(BEGIN, 1)
    made = {page: head + BEGIN + "\n" + document(found) + END + rest.split(END, 1)[1]}
    made[ROOT / "firmware" / "services" / "ems_frames.py"] = firmware_file(found)
    made[ROOT / "docs" / "dbc" / "ems.dbc"] = dbc()
    return made


def main(argv: list[str]) -> int:
    """Write, check or print; 0 when all is well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if a file is not current")
    parser.add_argument("--dbc", action="store_true", help="print a DBC")
    parser.add_argument("--base", type=lambda text: int(text, 0), default=BASE, help="base id of that DBC")
    parser.add_argument("--extended", action="store_true", help="its ids have 29 bits")
    args = parser.parse_args(argv)
    try:
        if args.dbc:
            print(dbc(args.base, args.extended), end="")
            return 0
        made = generated()
    except (WrongTable, ValueError) as error:
        print(error)
        return 1
    stale = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if args.check:
            print(f"{path.relative_to(ROOT)}: is not what firmware/points.py makes of it: python -m tools.generate.gen_ems_can")
        else:
            path.write_text(made[path])
    return int(bool(stale) and args.check)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
