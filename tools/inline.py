"""Writes the firmware's numbered constants into the files that use them, before they are cross-compiled.

`const` in MicroPython reaches no further than its own file: from outside, `im.CMD_P` is two dictionary look-ups in the
cycle, and every name costs RAM.  So for .mpy files the build does what the compiler does inside a file: a public
`NAME = const(number)` is replaced by the number wherever another file uses it, and so is a code such as Mode.IDLE.
A module with many such names, as image.py, loses them too; a driver copied to the board as source still finds them,
because image.mpy fetches image_names.mpy the moment somebody asks for a name.  Tables of configuration rows become
files beside the module, read when a configuration is checked.
"""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from functools import cache
from pathlib import Path

from tools.rare import numbers, take_rare
from tools.shorten import shorten
from tools.texts import FILE, HOME, content, take_texts

_CONST = re.compile(r"^([A-Z][A-Z0-9_]*) = const\((-?\d+|-?0x[0-9A-Fa-f]+)\)", re.M)
_TREES = ("firmware", "lib")
_MANY = 8  # from so many constants on, keeping their names apart costs less than keeping them in the module
_ASK = '''

def __getattr__(name):
    return getattr(__import__("{names}", None, None, (name,)), name)
'''


def _module(relative: Path) -> str:
    """What the board imports a file as: firmware/x.py is firmware.x, lib/modbus/__init__.py is modbus."""
    parts = relative.with_suffix("").parts
    return ".".join(part for part in parts if part not in ("lib", "__init__"))


@cache
def _constants(root: Path) -> dict[str, dict[str, int]]:
    """Every module's public numbered constants."""
    found = {}
    for path in sorted(path for tree in _TREES for path in (root / tree).rglob("*.py")):
        numbers = {name: int(value, 0) for name, value in _CONST.findall(path.read_text())}
        if numbers:
            found[_module(path.relative_to(root))] = numbers
    return found


@cache
def _class_codes(root: Path) -> dict[str, dict[str, int]]:
    """The numbers of every class of named codes (flows.Names), by the class's name."""
    found: dict[str, dict[str, int]] = {}
    for path in sorted((root / "firmware").glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and [ast.unparse(base) for base in node.bases] == ["Names"]:
                codes: dict[str, int] = {}
                for item in node.body:
                    if isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name) and not item.targets[0].id[0] == "_":
                        codes[item.targets[0].id] = int(ast.literal_eval(item.value))
                found[node.name] = codes
    return found


def _uses(tree: ast.Module, known: dict[str, dict[str, int]]) -> tuple[dict[str, str], dict[str, int], list[ast.ImportFrom]]:
    """What a file calls the modules (alias: module), which constants it imports by name, and by which statements."""
    modules: dict[str, str] = {}
    names: dict[str, int] = {}
    statements: list[ast.ImportFrom] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules.update({alias.asname or alias.name: alias.name for alias in node.names if alias.name in known})
        elif isinstance(node, ast.ImportFrom):
            numbers = known.get(node.module or "", {})
            wanted = {alias.asname or alias.name: numbers[alias.name] for alias in node.names if alias.name in numbers}
            if wanted:
                names.update(wanted)
                statements.append(node)
            for alias in node.names:
                if f"{node.module}.{alias.name}" in known:
                    modules[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return modules, names, statements


def _literal(number: int) -> str:
    return str(number) if number >= 0 else f"({number})"


def inline(source: str, root: Path) -> str:
    """`source` with other modules' constants as numbers; every line stays where it is."""
    known = _constants(root)
    tree = ast.parse(source)
    modules, names, statements = _uses(tree, known)
    imported = {a.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for a in node.names if not a.asname}
    classes = {name: codes for name, codes in _class_codes(root).items() if name in imported}
    if not modules and not names and not classes:
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
        elif (token.string in modules or token.string in classes) and tokens[i + 1].string == ".":
            numbers = classes.get(token.string) or known[modules[token.string]]
            number = numbers.get(tokens[i + 2].string)
            if number is not None and tokens[i + 2].end[0] == row:
                edits.append((row, column, tokens[i + 2].end[1], _literal(number)))
    for row, start, end, text in reversed(edits):
        line = lines[row - 1]
        lines[row - 1] = line[:start] + text + line[end:]
    return "".join(lines)


def take_names(source: str, relative: Path) -> tuple[str, dict[Path, str]]:
    """`source` with its many constants private, so that the compiler keeps no names, and the file to find them in."""
    constants = _CONST.findall(source)
    if len(constants) < _MANY or relative.stem == "__init__":  # in a package, names are also asked for to find its files
        return source, {}
    numbers = {name for name, _ in constants}
    lines = source.splitlines(keepends=True)
    tokens = [t for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type not in (tokenize.NL, tokenize.COMMENT)]
    for i in reversed(range(len(tokens))):
        if tokens[i].type == tokenize.NAME and tokens[i].string in numbers and (not i or tokens[i - 1].string != "."):
            row, column = tokens[i].start
            lines[row - 1] = lines[row - 1][:column] + "_" + lines[row - 1][column:]
    path = relative.with_name(relative.stem + "_names.py")
    names = "".join(f"{name} = {number}\n" for name, number in constants)
    return "".join(lines) + _ASK.format(names=_module(path)), {path: names}


def _is_table(node: ast.AST) -> bool:
    """An assignment of a table of rows, known by its name: each row a tuple, all of one length."""
    if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Tuple)):
        return False
    name = node.targets[0].id
    rows = node.value.elts
    named = name in ("TABLE", "ROWS", "FIELDS", "OPTIONS") or name.endswith(("_ROWS", "_OPTIONS"))
    return named and bool(rows) and len({len(row.elts) if isinstance(row, ast.Tuple) else 0 for row in rows} - {0}) == 1 and all(
        isinstance(row, ast.Tuple) for row in rows
    )


def _row_tables(tree: ast.Module) -> list[ast.Assign]:
    """The tables of rows (see lib/rows.py) of a file."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.Assign) and _is_table(node)]


@cache
def _row_files(root: Path) -> dict[tuple[str, int], Path]:
    """Where each table goes, by its file and its line: short names, as they stay in the heap."""
    found = []
    for path in sorted(path for tree in _TREES for path in (root / tree).rglob("*.py")):
        relative = path.relative_to(root).as_posix()
        found += [(relative, node.lineno) for node in _row_tables(ast.parse(path.read_text()))]
    return {where: Path("lib", f"{number}.rows") for number, where in enumerate(sorted(found))}


def _row(node: ast.expr, constants: dict[str, int]) -> list[object]:
    """One row as JSON: texts, numbers, sums of numbers and the file's own constants."""
    assert isinstance(node, ast.Tuple)
    row: list[object] = []
    for cell in node.elts:
        try:
            row.append(ast.literal_eval(cell))
        except ValueError:
            names = {"REQUIRED": "REQUIRED", **constants}
            text = ast.unparse(cell).removeprefix("config.")
            try:
                row.append(eval(text, {"__builtins__": {}}, names))
            except (NameError, TypeError):
                raise ValueError(f"line {cell.lineno}: a row holds numbers, texts, constants and REQUIRED, not {text}") from None
    return row


def take_rows(source: str, relative: Path, root: Path) -> tuple[str, dict[Path, str]]:
    """`source` with its tables of rows replaced by the names of files, and those files: on the board they cost no heap."""
    files: dict[Path, str] = {}
    lines = source.splitlines(keepends=True)
    constants = {name: int(value, 0) for name, value in _CONST.findall(source)}
    for node in _row_tables(ast.parse(source)):
        assert isinstance(node.value, ast.Tuple) and isinstance(node.targets[0], ast.Name)
        name = node.targets[0].id
        path = _row_files(root)[relative.as_posix(), node.lineno]
        files[path] = "".join(json.dumps(_row(row, constants)) + "\n" for row in node.value.elts)
        last = node.end_lineno or node.lineno
        lines[node.lineno - 1] = " " * node.col_offset + f'{name} = "{path.as_posix()}"\n'
        lines[node.lineno : last] = ["\n"] * (last - node.lineno)
    return "".join(lines), files


def _loaded(tree: ast.Module) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def drop_imports(text: str, source: str) -> str:
    """`text` without the imports of what `source` used and `text`, its constants inlined and its rare methods gone, does not.

    What `source` itself does not use it imports for others, or for what the import does: that stays.
    """
    tree = ast.parse(text)
    gone = _loaded(ast.parse(source)) - _loaded(tree)
    lines = text.splitlines(keepends=True)
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and any((alias.asname or alias.name) in gone for alias in node.names):
            kept = [ast.unparse(alias) for alias in node.names if (alias.asname or alias.name) not in gone]
            lines[node.lineno - 1 : node.end_lineno] = ["\n"] * ((node.end_lineno or node.lineno) - node.lineno + 1)
            if kept:
                lines[node.lineno - 1] = f"from {'.' * node.level}{node.module or ''} import {', '.join(kept)}\n"
    return "".join(lines)


def for_board(root: Path, relative: Path) -> dict[Path, str]:
    """What one file of the tree becomes on the board, by path: .py sources to cross-compile, and files as they are."""
    source = (root / relative).read_text()
    text, rows = take_rows(inline(source, root), relative, root)
    text, names = take_names(text, relative)
    text, rare = take_rare(text, relative, _module(relative), numbers(root, _TREES).get(relative, -1))
    if relative.stem != "__init__":
        text = drop_imports(text, source)
    if relative != HOME:
        text = take_texts(text, root, _TREES)
    rare = {path: shorten(text, root) for path, text in rare.items()}
    texts = {FILE: content(root, _TREES)} if relative == HOME else {}
    return {relative: shorten(text, root), **rows, **names, **rare, **texts}
