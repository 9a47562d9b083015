"""Makes what follows from the table of points (firmware/points.py): `make slots`.

Numbers each point, writes them into firmware/image.py, and copies from there what the kernels use (firmware/kernel/), as
viper can only inline constants of its own file (rows of the limit list in limits.py, of the fault table in faults.py);
copies ranges into the drivers that ask for them between markers, what people see into reports.py, names and units of metrics
into metrics.py, and writes docs/points.md.

    python -m tools.build.slots            write them all
    python -m tools.build.slots --check    fail if one is not current
"""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT_ROWS = 24  # slots from LIMIT_ROWS_DIS to LIMIT_ROWS_CHG
BEGIN = "# slots: begin"
END = "# slots: end"
POINTS_BEGIN = "# points: begin"
POINTS_END = "# points: end"
_CELSIUS = r"\\u00b0C"  # as JSON writes it: what a board sends is ASCII
SLOT = re.compile(r"^([A-Z][A-Z0-9_]*) = const\((-?\d+|0x[0-9A-Fa-f]+)\)", re.M)

Cell = int | str | None


class Name(str):
    """A cell of a table that names a constant of image.py."""


class WrongTable(Exception):
    """The table of points cannot be; the text says why, a line for each reason."""


@dataclass(frozen=True)
class Point:
    """A row of MEASURED, MADE or PARAMETERS, and its number."""

    table: str
    block: str
    name: str
    number: int
    unit: str
    key: str
    short: str
    count: int
    group: str
    low: int | None
    high: int | None
    healthy: Cell
    meaning: str


@dataclass(frozen=True)
class Points:
    """The whole table: points in order, groups as (block, name of the SEQ slot, kind, brings, words), units and their
    dimensions, N_* by name."""

    points: list[Point]
    groups: list[tuple[str, str, str, Cell, str]]
    units: dict[str, tuple[int, str]]
    dimensions: dict[str, str]
    sizes: dict[str, int]

    def of(self, table: str) -> list[Point]:
        """The points of one table."""
        return [point for point in self.points if point.table == table]

    def shown_unit(self, point: Point) -> str:
        """The unit that people read; what stands for it where it has none."""
        parts, unit = self.units[point.unit]
        return unit or {0: "words", -1: "true, false"}.get(parts, "")


# ---- the table ------------------------------------------------------------------------------------------------------
def _cell(node: ast.expr) -> Cell:
    if isinstance(node, ast.Attribute):
        return Name(node.attr)
    value: Cell = ast.literal_eval(node)
    return value


def _tables() -> dict[str, list[tuple[Cell, ...]]]:
    found: dict[str, list[tuple[Cell, ...]]] = {}
    for node in ast.parse((ROOT / "firmware" / "points.py").read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Tuple):
            found[node.targets[0].id] = [
                tuple(_cell(cell) for cell in row.elts) for row in node.value.elts if isinstance(row, ast.Tuple)
            ]
    return found


def read() -> Points:
    """The table of points, numbered.  Raises WrongTable."""
    tables = _tables()
    groups = [(str(block), str(seq), str(kind), brings, str(words)) for block, seq, kind, brings, words in tables["GROUPS"]]
    units = {str(unit): (int(parts or 0), str(shown)) for unit, parts, shown, _ in tables["UNITS"]}
    dimensions = {str(unit): str(dimension) for unit, _, _, dimension in tables["UNITS"]}
    first = {str(block): int(slot or 0) for block, slot in tables["BLOCKS"]}
    points: list[Point] = []
    errors: list[str] = []
    free = dict(first)
    for block, name, unit, key, short, group, low, high, healthy, meaning in tables["MEASURED"]:
        block = str(block)
        if block not in first or block == "end":
            errors.append(f"{name}: block {block!r} is none of BLOCKS")
            continue
        points.append(
            Point("MEASURED", block, str(name), free[block], str(unit), str(key), str(short), 1, str(group or ""),
                  low if isinstance(low, int) else None, high if isinstance(high, int) else None, healthy, str(meaning))
        )  # fmt: skip
        free[block] += 1
    places = list(first)
    for block, behind in zip(places, places[1:], strict=False):
        if free[block] > first[behind]:
            errors.append(
                f"block {block} has {free[block] - first[block]} points and space for {first[behind] - first[block]}: "
                "move what stands behind it in BLOCKS, then `python -m tools.generate.gen_sunspec`"
            )
    if len(groups) > first[places[0]]:
        errors.append(f"{len(groups)} groups, and space for {first[places[0]]} SEQ slots before the first of BLOCKS")
    sizes = {"N_GROUPS": len(groups), "N_INPUTS": first["end"]}
    at = first["end"]
    for block, name, unit, key, short, count, meaning in tables["MADE"]:
        points.append(_plain("MADE", block, name, at, unit, key, short, count, meaning))
        at += points[-1].count
    sizes["N_SLOTS"] = at
    at = 0
    for block, name, unit, count, meaning in tables["PARAMETERS"]:
        points.append(_plain("PARAMETERS", block, name, at, unit, "", "", count, meaning))
        at += points[-1].count
    sizes["N_PAR"] = at
    found = Points(points, groups, units, dimensions, sizes)
    errors += _wrong(found)
    if errors:
        raise WrongTable("\n".join(errors))
    return found


def _plain(table: str, block: Cell, name: Cell, at: int, unit: Cell, key: Cell, short: Cell, count: Cell, meaning: Cell) -> Point:
    return Point(
        table, str(block), str(name), at, str(unit), str(key), str(short), int(count or 0), "", None, None, None, str(meaning)
    )


def _wrong(found: Points) -> list[str]:
    errors: list[str] = []
    for what, values in (
        ("slot", [point.name for point in found.points]),
        ("key", [point.key for point in found.points if point.key]),
        ("key of the monitor", [point.short for point in found.points if point.short]),
    ):
        errors += [f"{what} {value} stands in two rows" for value in sorted({v for v in values if values.count(v) > 1})]
    known = {seq: block for block, seq, *_ in found.groups}
    for point in found.points:
        if point.unit not in found.units:
            errors.append(f"{point.name}: unit {point.unit!r} is none of UNITS")
        if point.group and known.get(point.group) != point.block:
            errors.append(f"{point.name}: group {point.group} is none of block {point.block} in GROUPS")
        if point.low is not None and point.high is not None and point.low > point.high:
            errors.append(f"{point.name}: {point.low} is above {point.high}, nothing could be true")
        if point.count < 1:
            errors.append(f"{point.name}: takes {point.count} slots")
        if point.name == "AGE" and point.count != len(found.groups):
            errors.append(f"AGE takes {point.count} slots, there are {len(found.groups)} groups")
    for seq in known:
        numbers = [point.number for point in found.of("MEASURED") if point.group == seq]
        if not numbers or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            errors.append(f"{seq}: its points do not stand together, or there are none")
    return errors


# ---- image.py -------------------------------------------------------------------------------------------------------
def _line(name: str, number: int, unit: str, meaning: str) -> str:
    return f"{f'{name} = const({number})  #':30}{unit:9} {meaning}".rstrip() + "\n"


def image_block(table: Points) -> str:
    """What stands in image.py between the markers."""
    lines = ["# ---- inputs: devices write them into Image.inp; the cycle freezes them into Image.now\n"]
    for number, (_, seq, _kind, _brings, words) in enumerate(table.groups):
        lines.append(_line(seq, number, "count", words + ": how often they have arrived"))
    lines.append(_line("N_GROUPS", table.sizes["N_GROUPS"], "count", "how many groups there are"))
    for point in table.of("MEASURED"):
        lines.append(_line(point.name, point.number, point.unit, point.meaning))
    lines.append(_line("N_INPUTS", table.sizes["N_INPUTS"], "count", "how many slots are frozen each cycle"))
    for title, name, size, what in (
        ("made by the cycle, in Image.now", "MADE", "N_SLOTS", "length of Image.now"),
        ("parameters of the cycle, in Image.par", "PARAMETERS", "N_PAR", "length of Image.par"),
    ):
        lines.append(f"\n# ---- {title}\n")
        for point in table.of(name):
            meaning = point.meaning if point.count == 1 else f"{point.meaning} ({point.count} slots)"
            lines.append(_line(point.name, point.number, point.unit, meaning))
        lines.append(_line(size, table.sizes[size], "count", what))
    return "".join(lines)


def _between(text: str, begin: str, end: str, block: str) -> str:
    head, rest = text.split(begin, 1)
    first_line, rest = rest.split("\n", 1)
    _, body = rest.split(end, 1)
    return f"{head}{begin}{first_line}\n{block}{end}{body}"


# ---- drivers --------------------------------------------------------------------------------------------------------
def ranges_block(path: Path, table: Points) -> str:
    """What a driver has between its markers, of those points that it names itself: `_RANGES` of their lowest and highest values.

    A line `# im.PCS_P` gives a row of slot, lowest, highest; `# t.X_TMP_CAB = im.PCS_TEMP`: a value of the driver's own, of
    which the same can be true; `# t.X_PHASE_V, 0, 12000`: one with a range of its own; `# im.BMS_SOC to im.BMS_STATUS`: lowest
    and highest of each, without their slots.
    """
    text = path.read_text()
    asked = text[text.index(POINTS_BEGIN) : text.index("_RANGES")].splitlines()[1:]
    known = {point.name: point for point in table.of("MEASURED")}
    lines: list[str] = []
    for line in asked:
        wanted = line.removeprefix("# ").strip()
        if re.fullmatch(r"t\.\w+, -?\d+, -?\d+", wanted):
            lines.append(f"    {wanted},\n")
            continue
        names = re.findall(r"\bim\.(\w+)", wanted)
        if not names or any(name not in known or known[name].low is None for name in names):
            raise WrongTable(f"{path.name}: {wanted!r} names no point that has a range")
        if " to " in wanted:
            numbers = range(known[names[0]].number, known[names[1]].number + 1)
            lines += [f"    {p.low}, {p.high},  # {p.name}\n" for p in known.values() if p.number in numbers]
        else:
            slot, point = wanted.split(" = ")[0], known[names[0]]
            lines.append(f"    {slot}, {point.low}, {point.high},\n")
    return "".join(line + "\n" for line in asked) + "_RANGES = (\n" + "".join(lines) + ")  # fmt: skip\n"


# ---- what people see ------------------------------------------------------------------------------------------------
def shown_block(table: Points) -> str:
    """What stands in reports.py between the markers: the points of a battery, of an inverter, and the others."""
    lines = [
        "# slot, parts of its unit in one of the unit that people read (0: a word stands for it, -1: yes or no), key in stats(),\n",
        "# key in the monitor's line (\"\": it has none)\n",
    ]
    seen = [point for point in table.points if point.key or point.short]
    for name, block in (("_BATTERY", "battery"), ("_PCS", "pcs"), ("_SITE", "")):
        own = [p for p in seen if p.block == block or (not block and p.block not in ("battery", "pcs"))]
        lines.append(f"{name} = (\n")
        lines += [f'    im.{p.name}, {table.units[p.unit][0]}, "{p.key}", "{p.short}",\n' for p in own]
        lines.append(")  # fmt: skip\n")
    return "".join(lines)


def told_block(table: Points) -> str:
    """What stands in mqtt/discovery.py between the markers: every point that has a key in stats(), with class and unit."""
    groups = [seq for _, seq, *_ in table.groups]
    lines = ["# key in stats(), number of the group that brings it (-: made by the cycle), its dimension, its unit\n"]
    lines.append('_POINTS = const("""\n')
    for point in table.points:
        if point.key:
            parts = table.units[point.unit][0]
            dimension = {0: "words", -1: "flag"}.get(parts, table.dimensions[point.unit] or "count")
            group = str(groups.index(point.group)) if point.group else "-"
            lines.append(f"{point.key} {group} {dimension} {table.units[point.unit][1].replace('degC', _CELSIUS) or '-'}\n")
    return "".join(lines) + '""")\n'


# ---- what is too old to be told -------------------------------------------------------------------------------------
RATINGS = ("PCS_S_MAX",)  # what a silent device has said of itself, and stays
_STALE = {"battery": "PAR_STALE_BMS", "pcs": "PAR_STALE_PCS", "io": "PAR_STALE_IO"}


def bounds_age(point: Point) -> str:
    """Name of the parameter that says how old a measured point may be, for control to believe it."""
    return _STALE.get(point.block, "PAR_STALE_METER")


def brought_block(table: Points) -> str:
    """What stands in believed.py between the markers: the slots that a device brings, their age, and what bounds it."""
    rows: list[tuple[Point, Point, str]] = []  # first, last, what their age is compared with
    for point in table.of("MEASURED"):
        if not point.group or point.name in RATINGS:
            continue
        age = f"im.AGE + im.{point.group}, im.{bounds_age(point)}"
        if rows and rows[-1][1].number + 1 == point.number and rows[-1][2] == age:
            rows[-1] = (rows[-1][0], point, age)
        else:
            rows.append((point, point, age))
    lines = ["# first slot, the one behind the last, slot of their age, parameter that bounds it\n_BROUGHT = (\n"]
    lines += [f"    im.{first.name}, im.{last.name} + 1, {age},\n" for first, last, age in rows]
    return "".join(lines) + ")  # fmt: skip\n"


# ---- what Prometheus sees --------------------------------------------------------------------------------------------
_BASE = {  # unit of a slot: its name in a metric, parts of it in one of that
    "W": ("watts", 1), "0.1 V": ("volts", 10), "0.1 A": ("amperes", 10), "0.01 %": ("ratio", 10000),
    "0.1 degC": ("celsius", 10), "mV": ("volts", 1000), "mHz": ("hertz", 1000), "s": ("seconds", 1), "0/1": ("", 1),
    "count": ("total", 1), "ms": ("seconds", 1000),
}  # fmt: skip
_OF_BLOCK = {"battery": "battery_", "pcs": "inverter_"}
_NO_METRIC = ("Wh", "code", "bits")  # energies are counted beside the points; words are told as such


def metrics_block(table: Points) -> str:
    """What stands in metrics.py between the markers: every point that people see as a number, and the groups."""
    lines = ["# slot, block, parts of the unit, type, name, help\n"]
    lines.append('_POINTS = const("""\n')
    for point in table.points:
        if not (point.key or point.short) or point.unit in _NO_METRIC:
            continue
        unit, parts = _BASE[point.unit]
        words = _OF_BLOCK.get(point.block, "") + (point.key or point.short).removesuffix("_s")
        name = "_".join(filter(None, (words, unit)))
        kind = "counter" if point.unit == "count" else "gauge"
        block = point.block if point.table == "MEASURED" or point.block in _OF_BLOCK else "site"
        text = point.meaning[0].upper() + point.meaning[1:]
        lines.append(f"{point.number} {block} {parts} {kind} {name} {text}\n")
    lines.append('""")\n# number of the group, in words\n_GROUPS = const("""\n')
    lines += [f"{number} {words}\n" for number, (*_, words) in enumerate(table.groups)]
    return "".join(lines) + '""")\n'


# ---- what makes a site ----------------------------------------------------------------------------------------------
def groups_file(table: Points) -> str:
    """firmware/groups.py, the whole of it."""
    lines = [
        '"""What the making of a site needs of the points, made of points.py by `make slots`: do not edit.\n\n',
        'It leaves with the builders.\n"""\n',
        "\nfrom firmware import image as im\n\n",
        "# SEQ slot, first and last slot, what it brings to the site, first word of the types that fill it, in words\nGROUPS = (\n",
    ]
    for _, seq, kind, brings, words in table.groups:
        own = [p.name for p in table.of("MEASURED") if p.group == seq]
        first, last = own[0], own[-1]
        brought = f"im.{brings}" if isinstance(brings, Name) else brings
        lines.append(f'    (im.{seq}, im.{first}, im.{last}, {brought}, "{kind}", "{words}"),\n')
    lines.append(")\n# of everything measured: slot, lowest and highest that can be true\nPLAUSIBLE = (\n")
    for point in table.of("MEASURED"):
        low = "-im.RANGE" if point.low is None else point.low
        lines.append(f"    im.{point.name}, {low}, {'im.RANGE' if point.high is None else point.high},\n")
    return "".join(lines) + ")  # fmt: skip\n"


# ---- docs -----------------------------------------------------------------------------------------------------------
_TITLES = {
    "battery": "Battery, an instance each", "pcs": "Inverter, an instance each", "meter": "Meter at the point of connection",
    "load": "Load meter", "pv": "PV", "generator": "Generator", "io": "The board's inputs",
}  # fmt: skip


def document(table: Points) -> str:
    """docs/points.md."""
    lines = [
        "# The points",
        "",
        "Every value of the firmware, made of `firmware/points.py` by `make slots`: do not edit.  Slots are `image.<SLOT>` in",
        "code and `slot` in a table of `generic_modbus`; `stats` is the key in `pm.stats()` with its unit, `monitor` that in the",
        "monitor's line.  A range is what can be true: a value beyond it is refused and counted.  Positive is discharge, import",
        "at the point of connection, generation.",
        "",
    ]
    groups = {seq: words for _, seq, _, _, words in table.groups}
    for block, title in _TITLES.items():
        lines += [f"## {title}", "", "| slot | unit | stats | monitor | group | range | meaning |", "| --- " * 7 + "|"]
        for point in table.of("MEASURED"):
            if point.block == block:
                span = "" if point.low is None else f"{point.low} to {point.high}"
                group = groups.get(point.group, "")
                lines.append(_row(point.name, point.unit, _shown(table, point), point.short, group, span, point.meaning))
        lines.append("")
    lines += ["## Made by the cycle", "", "| slot | unit | stats | monitor | slots | meaning |", "| --- " * 6 + "|"]
    for point in table.of("MADE"):
        count = "" if point.count == 1 else str(point.count)
        lines.append(_row(point.name, point.unit, _shown(table, point), point.short, count, point.meaning))
    lines += ["", "## Parameters of the cycle", "", "| slot | unit | slots | meaning |", "| --- " * 4 + "|"]
    for point in table.of("PARAMETERS"):
        lines.append(_row(point.name, point.unit, "" if point.count == 1 else str(point.count), point.meaning))
    return "\n".join(lines) + "\n"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _shown(table: Points, point: Point) -> str:
    unit = table.shown_unit(point)
    return f"{point.key}, {unit}" if point.key and unit else point.key


# ---- the kernels ----------------------------------------------------------------------------------------------------
def constants(image: str = "") -> dict[str, int]:
    """Every constant of image.py (or of its text as it will be), ROW_<NAME> of the limit list and how many rows it has,
    C_<NAME> (a bit) of the fault table, BY_<NAME> of the sources."""
    text = image or (ROOT / "firmware" / "image.py").read_text()
    found = {name: int(value, 0) for name, value in SLOT.findall(text)}
    for table, prefix, value in (("limits.py", "ROW_", lambda i: i), ("faults.py", "C_", lambda i: 1 << i)):
        text = (ROOT / "firmware" / table).read_text()
        body = text[text.index("NAMES = (" if prefix == "ROW_" else "TABLE = (") :]
        body = body[: body.index("\n)")]
        for i, name in enumerate(re.findall(r"^    \(?\"(\w+)\"", body, re.M)):
            found[prefix + name.upper()] = value(i)
            if prefix == "ROW_":
                found["N_LIMIT_ROWS"] = i + 1
    if found["N_LIMIT_ROWS"] > LIMIT_ROWS:
        raise WrongTable(f"the limit list has {found['N_LIMIT_ROWS']} rows, points.py has space for {LIMIT_ROWS}")
    text = (ROOT / "firmware" / "requests.py").read_text()
    for name, value in SLOT.findall(text[text.index("SOURCES = ") : text.index("# goals")]):
        found["BY_" + name] = int(value)
    return found


def kernels() -> list[Path]:
    """Every file of kernels."""
    return [path for path in sorted((ROOT / "firmware" / "kernel").glob("*.py")) if path.stem != "__init__"]


def kernel(path: Path, known: dict[str, int]) -> str:
    """A kernel file's text with its constant block made anew."""
    text = path.read_text()
    body = text.split(END, 1)[1]
    own = set(re.findall(r"^_([A-Z][A-Z0-9_]*) = const", body, re.M))  # what it names for itself
    used = sorted({name for name in re.findall(r"\b_([A-Z][A-Z0-9_]*)\b", body) if name not in own})
    unknown = [name for name in used if name not in known]
    if unknown:
        names = ", ".join("_" + name for name in unknown)
        raise WrongTable(f"firmware/kernel/{path.name} uses {names}: not in image.py, limits.py or faults.py")
    order = list(known)
    used.sort(key=order.index)
    return _between(text, BEGIN, END, "".join(f"_{name} = const({known[name]})\n" for name in used))


def generated() -> dict[Path, str]:
    """Every file that is made of the table, or holds something made of it, as it should be.  Raises WrongTable."""
    table = read()
    image = ROOT / "firmware" / "image.py"
    made = {image: _between(image.read_text(), POINTS_BEGIN, POINTS_END, image_block(table))}
    for path in sorted((ROOT / "firmware" / "devices").glob("*.py")):
        if POINTS_BEGIN in path.read_text():
            made[path] = _between(path.read_text(), POINTS_BEGIN, POINTS_END, ranges_block(path, table))
    reports = ROOT / "firmware" / "reports.py"
    made[reports] = _between(reports.read_text(), POINTS_BEGIN, POINTS_END, shown_block(table))
    told = ROOT / "firmware" / "mqtt" / "discovery.py"
    made[told] = _between(told.read_text(), POINTS_BEGIN, POINTS_END, told_block(table))
    metrics = ROOT / "firmware" / "metrics.py"
    made[metrics] = _between(metrics.read_text(), POINTS_BEGIN, POINTS_END, metrics_block(table))
    believed = ROOT / "firmware" / "believed.py"
    made[believed] = _between(believed.read_text(), POINTS_BEGIN, POINTS_END, brought_block(table))
    known = constants(made[image])
    for path in kernels():
        made[path] = kernel(path, known)
    made[ROOT / "firmware" / "groups.py"] = groups_file(table)
    made[ROOT / "docs" / "points.md"] = document(table)
    return made


def main(argv: list[str]) -> int:
    try:
        made = generated()
    except WrongTable as error:
        print(error)
        return 1
    stale = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if "--check" in argv:
            print(f"{path.relative_to(ROOT)}: is not what firmware/points.py makes of it; run `make slots`")
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(made[path])
    return int(bool(stale)) if "--check" in argv else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
