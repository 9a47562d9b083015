"""Check the slot table of firmware/image.py and copy the constants that the kernels use into them (firmware/kernel/).

viper can only inline constants of its own file, and every rule has one home; so the table stays in image.py
(rows of the limit list in limits.py, of the fault table in faults.py) and this tool copies.

    python -m tools.build.slots            write the kernels
    python -m tools.build.slots --check    fail if one is not current
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IMAGE = ROOT / "firmware" / "image.py"
KERNELS = ROOT / "firmware" / "kernel"
LIMIT_ROWS = 16  # slots from LIMIT_ROWS_DIS to LIMIT_ROWS_CHG
BEGIN = "# slots: begin"
END = "# slots: end"
SLOT = re.compile(r"^([A-Z][A-Z0-9_]*) = const\((-?\d+|0x[0-9A-Fa-f]+)\)", re.M)


def constants() -> dict[str, int]:
    """Every constant of image.py, ROW_<NAME> of the limit list and how many rows it has, C_<NAME> (a bit) of the fault
    table, BY_<NAME> of the sources.
    """
    found = {name: int(value, 0) for name, value in SLOT.findall(IMAGE.read_text())}
    for table, prefix, value in (("limits.py", "ROW_", lambda i: i), ("faults.py", "C_", lambda i: 1 << i)):
        text = (ROOT / "firmware" / table).read_text()
        body = text[text.index("NAMES = (" if prefix == "ROW_" else "TABLE = (") :]
        body = body[: body.index("\n)")]
        for i, name in enumerate(re.findall(r"^    \(?\"(\w+)\"", body, re.M)):
            found[prefix + name.upper()] = value(i)
            if prefix == "ROW_":
                found["N_LIMIT_ROWS"] = i + 1
    text = (ROOT / "firmware" / "requests.py").read_text()
    for name, value in SLOT.findall(text[text.index("SOURCES = ") : text.index("# goals")]):
        found["BY_" + name] = int(value)
    return found


def overlaps() -> list[str]:
    """Slots of one array that share a number: an error in the table."""
    errors: list[str] = []
    text = IMAGE.read_text()
    arrays = (text[text.index("SEQ_BMS =") : text.index("N_SLOTS =")], text[text.index("PAR_P_CHG =") : text.index("N_PAR =")])
    for part in arrays:
        seen: dict[int, str] = {}
        for name, value in SLOT.findall(part):
            slot = int(value, 0)
            if name == "N_INPUTS":
                continue
            if slot in seen:
                errors.append(f"{name} and {seen[slot]} share slot {slot}")
            seen[slot] = name
    rows = constants()["N_LIMIT_ROWS"]
    if rows > LIMIT_ROWS:
        errors.append(f"the limit list has {rows} rows, image.py has space for {LIMIT_ROWS}")
    return errors


def kernels() -> list[Path]:
    """Every file of kernels."""
    return [path for path in sorted(KERNELS.glob("*.py")) if path.stem != "__init__"]


def generated(path: Path) -> str:
    """A kernel file's text with its constant block made anew."""
    text = path.read_text()
    head, rest = text.split(BEGIN, 1)
    first_line, rest = rest.split("\n", 1)
    _, body = rest.split(END, 1)
    known = constants()
    own = set(re.findall(r"^_([A-Z][A-Z0-9_]*) = const", body, re.M))  # what it names for itself
    used = sorted({name for name in re.findall(r"\b_([A-Z][A-Z0-9_]*)\b", body) if name not in own})
    unknown = [name for name in used if name not in known]
    if unknown:
        names = ", ".join("_" + name for name in unknown)
        raise SystemExit(f"firmware/kernel/{path.name} uses {names}: not in image.py, limits.py or faults.py")
    order = list(known)
    used.sort(key=order.index)
    block = "".join(f"_{name} = const({known[name]})\n" for name in used)
    return f"{head}{BEGIN}{first_line}\n{block}{END}{body}"


def main(argv: list[str]) -> int:
    errors = overlaps()
    if errors:
        print("\n".join(errors))
        return 1
    stale = [path for path in kernels() if generated(path) != path.read_text()]
    if "--check" in argv:
        for path in stale:
            print(f"firmware/kernel/{path.name}: its slot constants are not those of image.py; run `make slots`")
        return int(bool(stale))
    for path in stale:
        path.write_text(generated(path))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
