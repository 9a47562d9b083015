"""Writes the firmware's numbers and constant tuples into the files that use them, before they are cross-compiled.

`const` in MicroPython reaches no further than its own file: from outside, `im.CMD_P` is two dictionary look-ups in the
cycle, and every name costs RAM.  So for .mpy files the build does what the compiler does inside a file: a public
`NAME = const(number)` is replaced by the number wherever another file uses it, and so is a code such as Mode.IDLE, and a
public `NAME = const((...))` by the tuple: a file of such tables need not be on the board's heap at all.
`const` itself is not called when a compiled module runs, so it is not imported either, and neither is what a file used for
its numbers alone: 8 bytes of every module for each.  Nothing else is touched: every line keeps its number.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import io
import os
import re
import tokenize
from functools import cache
from pathlib import Path

_CONST = re.compile(r"^([A-Z][A-Z0-9_]*) = const\((-?\d+|-?0x[0-9A-Fa-f]+)\)", re.M)
_CONST_TUPLE = re.compile(r"^[A-Z][A-Z0-9_]* = const\(\(", re.M)
_CONST_IMPORT = re.compile(r"^from micropython import const$", re.M)
_TREES = ("firmware", "lib")
_KEPT = Path(__file__).resolve().parents[2] / ".cache" / "inlined"


def _module(relative: Path) -> str:
    """What the board imports a file as: firmware/x.py is firmware.x, lib/modbus/__init__.py is modbus."""
    parts = relative.with_suffix("").parts
    return ".".join(part for part in parts if part not in ("lib", "__init__"))


@cache
def _constants(root: Path) -> dict[str, dict[str, str]]:
    """Every module's public numbered constants and constant tuples, as they are written into another file."""
    found = {}
    for path in sorted(path for tree in _TREES for path in (root / tree).rglob("*.py")):
        text = path.read_text()
        values = {name: _literal(int(value, 0)) for name, value in _CONST.findall(text)}
        if _CONST_TUPLE.search(text):
            values |= _tuples(text)
        if values:
            found[_module(path.relative_to(root))] = values
    return found


def _tuples(text: str) -> dict[str, str]:
    """The public constant tuples of a file, each on one line."""
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and _CONST_TUPLE.match(ast.unparse(node)):
            call = node.value
            if isinstance(call, ast.Call) and isinstance(call.args[0], ast.Tuple):
                found[ast.unparse(node.targets[0])] = repr(ast.literal_eval(call.args[0]))
    return found


@cache
def _class_codes(root: Path) -> dict[str, dict[str, str]]:
    """The numbers of every class of named codes (flows.Names), by the class's name."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted((root / "firmware").glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and [ast.unparse(base) for base in node.bases] == ["Names"]:
                codes: dict[str, str] = {}
                for item in node.body:
                    if isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name) and item.targets[0].id != "names":
                        codes[item.targets[0].id] = _literal(int(ast.literal_eval(item.value)))
                found[node.name] = codes
    return found


_Imports = list[ast.Import | ast.ImportFrom]


def _uses(imports: _Imports, known: dict[str, dict[str, str]]) -> tuple[dict[str, str], dict[str, str]]:
    """What a file calls the modules (alias: module), and which constants it imports by name."""
    modules: dict[str, str] = {}
    names: dict[str, str] = {}
    for node in imports:
        if isinstance(node, ast.Import):
            modules.update({alias.asname or alias.name: alias.name for alias in node.names if alias.name in known})
        else:
            numbers = known.get(node.module or "", {})
            names.update({alias.asname or alias.name: numbers[alias.name] for alias in node.names if alias.name in numbers})
            for alias in node.names:
                if f"{node.module}.{alias.name}" in known:
                    modules[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return modules, names


def _literal(number: int) -> str:
    return str(number) if number >= 0 else f"({number})"


@cache
def _known(root: Path) -> str:
    """Of everything that decides what becomes of a source, beside the source."""
    return f"{_constants(root)}|{_class_codes(root)}|{Path(__file__).read_text()}"


@cache
def inline(source: str, root: Path) -> str:
    """`source` with other modules' constants as numbers, for the cross-compiler; every line stays where it is.

    What was worked out is kept in .cache: it takes 2 s for all files, and a test run stages changed trees from many processes.
    """
    key = hashlib.sha256(f"{_known(root)}|{source}".encode()).hexdigest()
    kept = _KEPT / key[:2] / key[2:]
    with contextlib.suppress(FileNotFoundError):
        return kept.read_text()
    text = _CONST_IMPORT.sub("", _numbers(source, root))
    kept.parent.mkdir(parents=True, exist_ok=True)
    new = kept.with_suffix(f".{os.getpid()}")
    new.write_text(text)
    os.replace(new, kept)
    return text


def _numbers(source: str, root: Path) -> str:
    known = _constants(root)
    imports: _Imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules, names = _uses(imports, known)
    imported = {a.name for node in imports if isinstance(node, ast.ImportFrom) for a in node.names if not a.asname}
    classes = {name: codes for name, codes in _class_codes(root).items() if name in imported}
    if not modules and not names and not classes:
        return source
    lines = source.splitlines(keepends=True)
    skip = {line for node in imports for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    edits: list[tuple[int, int, int, str]] = []  # line, from column, to column, text
    gone: set[str] = set()  # names of which a use has become a number,
    used: set[str] = set()  # and those of which one is left
    tokens = [t for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type not in (tokenize.NL, tokenize.COMMENT)]
    for i, token in enumerate(tokens):
        if token.type != tokenize.NAME or token.start[0] in skip or (i and tokens[i - 1].string == "."):
            continue
        row, column = token.start
        if token.string in names:
            edits.append((row, column, token.end[1], names[token.string]))
            gone.add(token.string)
        elif (token.string in modules or token.string in classes) and tokens[i + 1].string == ".":
            numbers = classes.get(token.string) or known[modules[token.string]]
            literal = numbers.get(tokens[i + 2].string)
            if literal is not None and tokens[i + 2].end[0] == row:
                edits.append((row, column, tokens[i + 2].end[1], literal))
                gone.add(token.string)
            else:
                used.add(token.string)
        else:
            used.add(token.string)
    for row, start, end, text in reversed(edits):
        line = lines[row - 1]
        lines[row - 1] = line[:start] + text + line[end:]
    for node in imports:
        if node.col_offset == 0:
            _drop(node, gone - used, lines)
    return "".join(lines)


def _drop(node: ast.Import | ast.ImportFrom, names: set[str], lines: list[str]) -> None:
    """Takes names out of an import that stands at the top of a file."""
    kept = [alias for alias in node.names if (alias.asname or alias.name) not in names]
    if len(kept) == len(node.names):
        return
    said = ", ".join(f"{alias.name} as {alias.asname}" if alias.asname else alias.name for alias in kept)
    before = f"from {node.module} import " if isinstance(node, ast.ImportFrom) else "import "
    last = node.end_lineno or node.lineno
    lines[node.lineno - 1 : last] = [f"{before}{said}\n" if said else "\n"] + ["\n"] * (last - node.lineno)
