"""Gives the firmware's private names short ones before cross-compiling: on a board every different name costs RAM.

MicroPython keeps each name once, 10 bytes and its letters, in tables that double as they fill; a name with a leading
underscore is nobody else's, so what it is called does not matter.  `_setpoint` becomes `_b` wherever it stands; two
names become the same short one only where they cannot meet: never in one file, nor in files whose classes inherit
from each other.  What is public keeps its name.

`python -m tools.shorten < traceback` says what the short names in a traceback from a board stood for.
"""

from __future__ import annotations

import ast
import io
import itertools
import re
import string
import sys
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tools.rare import numbers

ROOT = Path(__file__).resolve().parents[1]
TREES = ("firmware", "lib")
LOOKERS = ("tools/onboard", "host_tests/mp", "host_tests/site")  # what they ask a board for by name stays as it is
_PRIVATE = re.compile(r"_[A-Za-z][A-Za-z0-9_]*")
_CONST = re.compile(r"^(_[A-Za-z0-9_]+) = const\(", re.M)  # the compiler keeps no name of these, short or long
_LOOK = re.compile(r"(?<!self)\.(_[A-Za-z]\w*)")
_FRAME = re.compile(r'File "(?P<file>[\w/]+)\.m?py", line (?P<line>\d+), in (?P<name>\w+)')


def _short_names() -> Iterator[str]:
    """_a ... _z, _A ... _Z, _aa ...: the underscore stays, the compiler gives it a meaning."""
    letters = string.ascii_letters
    for size in itertools.count(1):
        for some in itertools.product(letters, repeat=size):
            yield "_" + "".join(some)


def _defined(tree: ast.Module) -> set[str]:
    """Names that a file itself makes: assigned, defined, or taken as parameters."""
    made: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            made.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            made.add(node.attr)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            made.add(node.name)
        elif isinstance(node, ast.arg):
            made.add(node.arg)
    return made


def _foreign(tree: ast.Module) -> set[str]:
    """Names that must stay: modules imported, and whatever stands in a text and so may be looked up by name."""
    kept: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            kept.update(part for alias in node.names for part in alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            kept.update((node.module or "").split("."))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            kept.add(node.value)
    return kept


def _names(source: str) -> set[str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.string for token in tokens if token.type == tokenize.NAME}


def _families(trees: dict[Path, ast.Module]) -> dict[Path, Path]:
    """Files whose classes inherit from each other belong together: file -> the family's first file."""
    classes = {node.name: path for path, tree in trees.items() for node in tree.body if isinstance(node, ast.ClassDef)}
    head = {path: path for path in trees}

    def find(path: Path) -> Path:
        while head[path] != path:
            path = head[path]
        return path

    for path, tree in trees.items():
        for node in ast.walk(tree):
            for base in node.bases if isinstance(node, ast.ClassDef) else ():
                name = base.attr if isinstance(base, ast.Attribute) else base.id if isinstance(base, ast.Name) else ""
                if name in classes:
                    head[find(path)] = find(classes[name])
    return {path: find(path) for path in trees}


@cache
def short_names(root: Path, trees: tuple[str, ...] = TREES) -> dict[str, str]:
    """Private name -> short name, for every file below those folders of root."""
    paths = sorted(path for tree in trees for path in (root / tree).rglob("*.py"))
    sources = {path: path.read_text() for path in paths}
    parsed = {path: ast.parse(source) for path, source in sources.items()}
    kept = set().union(*(_foreign(tree) for tree in parsed.values()))
    kept.update(name for source in sources.values() for name in _CONST.findall(source))
    kept.update(name for tree in LOOKERS for path in (root / tree).rglob("*.py") for name in _LOOK.findall(path.read_text()))
    made = set().union(*(_defined(tree) for tree in parsed.values()))
    family_of = _families(parsed)
    users: dict[str, set[Path]] = {}  # name -> the families that use it
    for path, source in sources.items():
        for name in _names(source):
            if _PRIVATE.fullmatch(name):
                users.setdefault(name, set()).add(family_of[path])
    taken: dict[Path, set[str]] = {family: set(users) | kept for family in set(family_of.values())}
    result: dict[str, str] = {}
    # the widely used names first: they have the least choice
    for name in sorted(users, key=lambda name: (-len(users[name]), name)):
        if name in kept or name not in made or len(name) <= 2:
            continue
        short = next(s for s in _short_names() if not any(s in taken[family] for family in users[name]))
        if len(short) < len(name):
            result[name] = short
            for family in users[name]:
                taken[family].add(short)
    return result


def shorten(source: str, root: Path = ROOT, trees: tuple[str, ...] = TREES) -> str:
    """`source` with its private names short, as all of `trees` has them; every line stays where it is."""
    names = short_names(root, trees)
    lines = source.splitlines(keepends=True)
    tokens = [t for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type == tokenize.NAME]
    for token in reversed(tokens):
        if token.string in names:
            row, column = token.start
            line = lines[row - 1]
            lines[row - 1] = line[:column] + names[token.string] + line[token.end[1] :]
    return "".join(lines)


def _source(root: Path, file: str) -> Path | None:
    """The source behind a file on the board; those of rare methods are called by a number and stand in lib/."""
    path = (root / file.lstrip("/")).with_suffix(".py")
    if path.exists():
        return path
    rare = re.fullmatch(r"r(\d+)[a-z]", path.stem)
    found = [source for source, number in numbers(root, TREES).items() if rare and number == int(rare[1])]
    return root / found[0] if found else None


def explain(text: str, root: Path = ROOT) -> str:
    """A board's traceback with the names as they are in the source."""
    names = short_names(root)

    def long(match: re.Match[str]) -> str:
        path = _source(root, match["file"])
        if path is None:
            return match[0]
        own = {names[name]: name for name in _names(path.read_text()) if name in names}
        where = f'File "{path.relative_to(root).as_posix()}", line {match["line"]}'
        return f"{where}, in {own.get(match['name'], match['name'])}"

    return _FRAME.sub(long, text)


if __name__ == "__main__":
    sys.stdout.write(explain(sys.stdin.read()))
