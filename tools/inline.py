"""Writes the firmware's numbered constants into the files that use them, before they are cross-compiled.

`const` in MicroPython reaches no further than its own file: from outside, `im.CMD_P` is two dictionary look-ups in the
cycle, and every name costs RAM.  So for .mpy files the build does what the compiler does inside a file: a public
`NAME = const(number)` of a firmware module is replaced by the number wherever another firmware file uses it.  image.py,
whose names are many, loses them too; a driver copied to the board as source still finds them, because image.mpy
fetches image_names.mpy the moment somebody asks for a name.  Tables of configuration rows become files beside the
module, read when a configuration is checked.
"""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from functools import cache
from pathlib import Path

from tools.shorten import shorten

_CONST = re.compile(r"^([A-Z][A-Z0-9_]*) = const\((-?\d+|-?0x[0-9A-Fa-f]+)\)", re.M)
IMAGE = Path("firmware/image.py")
IMAGE_NAMES = Path("firmware/image_names.py")
_ASK = '''

def __getattr__(name):
    from firmware import image_names

    return getattr(image_names, name)
'''


@cache
def _constants(root: Path) -> dict[str, dict[str, int]]:
    """Every firmware module's public numbered constants."""
    found = {}
    for path in sorted((root / "firmware").glob("*.py")):
        numbers = {name: int(value, 0) for name, value in _CONST.findall(path.read_text())}
        if numbers:
            found[f"firmware.{path.stem}"] = numbers
    return found


def _uses(tree: ast.Module, known: dict[str, dict[str, int]]) -> tuple[dict[str, str], dict[str, int], list[ast.ImportFrom]]:
    """What a file calls the modules (alias: module), which constants it imports by name, and by which statements."""
    modules: dict[str, str] = {}
    names: dict[str, int] = {}
    statements: list[ast.ImportFrom] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "firmware":
            for alias in node.names:
                if f"firmware.{alias.name}" in known:
                    modules[alias.asname or alias.name] = f"firmware.{alias.name}"
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            numbers = known[node.module]
            wanted = {alias.asname or alias.name: numbers[alias.name] for alias in node.names if alias.name in numbers}
            if wanted:
                names.update(wanted)
                statements.append(node)
    return modules, names, statements


def _literal(number: int) -> str:
    return str(number) if number >= 0 else f"({number})"


def inline(source: str, root: Path) -> str:
    """`source` with other modules' constants as numbers; every line stays where it is."""
    known = _constants(root)
    modules, names, statements = _uses(ast.parse(source), known)
    if not modules and not names:
        return source
    lines = source.splitlines(keepends=True)
    skip: set[int] = set()
    edits: list[tuple[int, int, int, str]] = []  # line, from column, to column, text
    for node in statements:
        last = node.end_lineno or node.lineno
        kept = [a.name + (f" as {a.asname}" if a.asname else "") for a in node.names if (a.asname or a.name) not in names]
        text = f"from {node.module} import {', '.join(kept)}" if kept else "pass"
        skip.update(range(node.lineno, last + 1))
        lines[node.lineno - 1] = " " * node.col_offset + text + "\n"
        lines[node.lineno : last] = ["\n"] * (last - node.lineno)
    tokens = [t for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type not in (tokenize.NL, tokenize.COMMENT)]
    for i, token in enumerate(tokens):
        if token.type != tokenize.NAME or token.start[0] in skip or (i and tokens[i - 1].string == "."):
            continue
        row, column = token.start
        if token.string in names:
            edits.append((row, column, token.end[1], _literal(names[token.string])))
        elif token.string in modules and tokens[i + 1].string == ".":
            number = known[modules[token.string]].get(tokens[i + 2].string)
            if number is not None and tokens[i + 2].end[0] == row:
                edits.append((row, column, tokens[i + 2].end[1], _literal(number)))
    for row, start, end, text in reversed(edits):
        line = lines[row - 1]
        lines[row - 1] = line[:start] + text + line[end:]
    return "".join(lines)


def _without_names(source: str) -> str:
    """image.py with its constants private, so that the compiler keeps no names, and the way back to them."""
    numbers = [name for name, _ in _CONST.findall(source)]
    private = re.sub(r"(?<![\w.])(" + "|".join(numbers) + r")\b", r"_\1", source)
    return private + _ASK


def _row_tables(tree: ast.Module) -> list[ast.Assign]:
    """The tables of configuration rows (see firmware/config.py), known by their names."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Tuple):
            name = node.targets[0].id
            whole = all(isinstance(row, ast.Tuple) and len(row.elts) == 6 for row in node.value.elts)
            if (name in ("ROWS", "FIELDS", "OPTIONS") or name.endswith(("_ROWS", "_OPTIONS"))) and node.value.elts and whole:
                found.append(node)
    return found


def _row(node: ast.expr) -> list[object]:
    """One row as JSON; REQUIRED by its name."""
    assert isinstance(node, ast.Tuple)
    row: list[object] = []
    for cell in node.elts:
        if isinstance(cell, ast.Name | ast.Attribute):
            name = cell.id if isinstance(cell, ast.Name) else cell.attr
            if name != "REQUIRED":
                raise ValueError(f"line {cell.lineno}: a configuration row holds numbers, texts and REQUIRED, not {name}")
            row.append(name)
        else:
            row.append(ast.literal_eval(cell))
    return row


def take_rows(source: str, relative: Path) -> tuple[str, dict[Path, str]]:
    """`source` with its tables of rows replaced by the names of files, and those files: on the board they cost no heap."""
    files: dict[Path, str] = {}
    lines = source.splitlines(keepends=True)
    for node in _row_tables(ast.parse(source)):
        assert isinstance(node.value, ast.Tuple) and isinstance(node.targets[0], ast.Name)
        name = node.targets[0].id
        path = relative.with_name(f"{relative.stem}.{name.lower()}.rows")
        files[path] = "".join(json.dumps(_row(row)) + "\n" for row in node.value.elts)
        last = node.end_lineno or node.lineno
        lines[node.lineno - 1] = " " * node.col_offset + f'{name} = "{path.as_posix()}"\n'
        lines[node.lineno : last] = ["\n"] * (last - node.lineno)
    return "".join(lines), files


def for_board(root: Path, relative: Path) -> dict[Path, str]:
    """What one file of the tree becomes on the board, by path: .py sources to cross-compile, and files as they are."""
    source = (root / relative).read_text()
    if relative == IMAGE:
        return {IMAGE: shorten(_without_names(source), root), IMAGE_NAMES: source}
    if relative.parts[0] == "firmware":
        text, files = take_rows(inline(source, root), relative)
        return {relative: shorten(text, root), **files}
    return {relative: shorten(source, root)}
