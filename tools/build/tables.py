"""Tables that boards keep in flash instead of RAM: declared here, by name; and the names of numbers, which boards need not.

When a module is staged for a board that has it from files, each of its tables named below becomes a file
`lib/tables/<module>.<name>`, one row a line as JSON, and the module's variable holds that path; lib/rows.py goes through
either.  Only tables that nobody reads in operation: they are read when a site is checked, at boot or on a person's command.
"""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from pathlib import Path

DECLARED = {  # file of the tree: the tables in it
    "firmware/config.py": ("FIELDS",),
    "firmware/parameters.py": ("PLACE_ROWS",),
    "firmware/points.py": ("UNITS", "GROUPS", "MEASURED", "MADE", "PARAMETERS"),
    "firmware/protections.py": ("TABLE",),
    "firmware/sitefile.py": ("_TOP_ROWS", "_WIFI_ROWS"),
    "firmware/buses.py": ("CAN_OPTIONS", "MODBUS_OPTIONS"),
    "firmware/timekeeper.py": ("OPTIONS",),
    "firmware/ems/allowing.py": ("OPTIONS", "TLS_OPTIONS"),
    "firmware/services/calendar.py": ("_OWN_OPTIONS",),
    "firmware/services/ems_can.py": ("OPTIONS",),
    "firmware/services/ems_clock.py": ("OPTIONS",),
    "firmware/services/history.py": ("OPTIONS",),
    "firmware/services/mqtt.py": ("OPTIONS",),
    "firmware/services/records.py": ("OPTIONS",),
    "firmware/services/relays.py": ("_OWN_OPTIONS", "INPUT_OPTIONS"),
    "firmware/services/sunspec_server.py": ("_OWN_OPTIONS",),
    "firmware/services/update.py": ("OPTIONS",),
    "firmware/services/web.py": ("OPTIONS",),
    "firmware/devices/connection.py": ("CONNECTION_OPTIONS",),
    "firmware/devices/io_board.py": ("OPTIONS",),
    "firmware/devices/bms_byd.py": ("OPTIONS",),
    "firmware/devices/bms_growatt.py": ("OPTIONS",),
    "firmware/devices/bms_pylontech.py": ("OPTIONS",),
    "firmware/devices/generic_modbus.py": ("_OWN_OPTIONS",),
    "firmware/devices/meter_sunspec.py": ("_OWN_OPTIONS",),
    "firmware/devices/pcs_sunspec.py": ("_OWN_OPTIONS",),
}
HOME = Path("lib", "tables")
# As every use of a module's public number is that number (tools/build/inline.py), a board needs no names for them, 8 bytes each.
# Of those that somebody looks up by name they become a file; the module's own __getattr__ and number_of find them there.
NAMED_NUMBERS = ("firmware/image.py",)
_NAMES = "NAMES = ()"  # the line of such a module that becomes the name of the file
_CONST = re.compile(r"^([A-Z][A-Z0-9_]*) = const\((-?\d+|-?0x[0-9A-Fa-f]+)\)", re.M)


def _row(node: ast.expr, constants: dict[str, int]) -> list[object]:
    """One row as JSON: texts, numbers, sums of numbers, the file's own constants."""
    if not isinstance(node, ast.Tuple):
        raise ValueError(f"line {node.lineno}: a row is a tuple")
    row: list[object] = []
    for cell in node.elts:
        try:
            row.append(ast.literal_eval(cell))
        except ValueError:
            text = ast.unparse(cell)
            try:
                row.append(eval(text, {"__builtins__": {}}, constants))
            except (NameError, TypeError):
                raise ValueError(f"line {cell.lineno}: a row holds numbers, texts and constants, not {text}") from None
    return row


def take_tables(source: str, relative: Path) -> tuple[str, dict[Path, str]]:
    """`source` with its declared tables replaced by the names of files, and those files by path; lines keep their numbers.

    Raises ValueError for a table that is declared and not there, or that holds what a row cannot.
    """
    wanted = DECLARED.get(relative.as_posix(), ())
    if not wanted:
        return source, {}
    lines = source.splitlines(keepends=True)
    constants = {name: int(value, 0) for name, value in _CONST.findall(source)}
    files: dict[Path, str] = {}
    for node in ast.parse(source).body:
        if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in wanted):
            continue
        if not isinstance(node.value, ast.Tuple):
            raise ValueError(f"{relative}: {node.targets[0].id} is declared as a table of rows and is none")
        name = node.targets[0].id
        path = HOME / f"{relative.stem}.{name}"
        files[path] = "".join(json.dumps(_row(row, constants)) + "\n" for row in node.value.elts)
        last = node.end_lineno or node.lineno
        lines[node.lineno - 1] = f'{name} = "{path.name}"\n'
        lines[node.lineno : last] = ["\n"] * (last - node.lineno)
    if len(files) != len(wanted):
        raise ValueError(f"{relative}: of the declared tables {', '.join(wanted)} only {len(files)} are there")
    return "".join(lines), files


def take_numbers(source: str, relative: Path, frozen: bool = False) -> tuple[str, dict[Path, str]]:
    """`source` without its public constants' names, and the file of those that are looked up.

    frozen: for an image that has constants in flash: they are looked up in a tuple, and there is no file.

    Raises ValueError where they are to be looked up and there are none, or no place for the file's name.
    """
    named = relative.as_posix() in NAMED_NUMBERS
    numbers = {name: int(value, 0) for name, value in _CONST.findall(source)}
    if named and (not numbers or _NAMES not in source):
        raise ValueError(f"{relative}: is declared as a table of numbers and has no constants, or no line {_NAMES!r}")
    if not numbers:
        return source, {}
    lines = source.splitlines(keepends=True)
    tokens = [t for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type not in (tokenize.NL, tokenize.COMMENT)]
    for i in reversed(range(len(tokens))):
        if tokens[i].type == tokenize.NAME and tokens[i].string in numbers and (not i or tokens[i - 1].string != "."):
            (row, start), (_, end) = tokens[i].start, tokens[i].end
            text = lines[row - 1]
            defined = start == 0 and _CONST.match(text)
            number = numbers[tokens[i].string]
            lines[row - 1] = "\n" if defined else f"{text[:start]}{number if number >= 0 else f'({number})'}{text[end:]}"
    if not named:
        return "".join(lines), {}
    if frozen:
        return "".join(lines).replace(_NAMES, f"NAMES = {tuple(numbers.items())!r}", 1), {}
    path = HOME / f"{relative.stem}.NAMES"
    rows = "".join(json.dumps([name, number]) + "\n" for name, number in numbers.items())
    return "".join(lines).replace(_NAMES, f'NAMES = "{path.name}"', 1), {path: rows}
