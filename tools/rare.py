"""Moves the methods marked `# rare` into a file of their own before cross-compiling, so that they cost no heap.

What runs at boot, at a reconnection or when a person asks for it is as much code as the cycle itself, and bytecode
loaded from a board's file system lives in RAM.  A method whose `def` line ends in `# rare` is taken out of its class
and into a file of its own, and the class fetches it from there for the call (lib/rare.py).  Every line keeps its number.
Not for what the cycle calls: fetching takes milliseconds.  In a class with many of them the mark names a group,
`# rare: service`: each group has a file of its own, as all of a file is in the heap while one of its methods runs.

The files are called by a number, lib/r7m.py for the constructors and lib/r7r.py for the rest, as what is imported leaves
its name and its path in the heap for ever; `python -m tools.shorten` tells them apart.
"""

from __future__ import annotations

import ast
import re
import string
from functools import cache
from pathlib import Path

_MARK = re.compile(r":\s+# rare\b(?:: (\w+))?")
_ASK = ["    def __getattr__(self, name):\n", '        return _fetch({number}, self, name)\n']  # in the first one's place
_FILE_END = "\n\nfrom {helper} import {fetch} as _fetch\n"
_MAKE = [
    "    def __init__(self, *given, **named):\n",
    '        _fetch({number}, self, "{maker}")(*given, **named)\n',
]  # in the place of a constructor
Method = ast.FunctionDef | ast.AsyncFunctionDef


def _mark(node: ast.AST, lines: list[str]) -> str:
    """The group that the line on which a method's signature ends puts it in; "" without a mark."""
    if isinstance(node, Method):
        for line in lines[node.lineno - 1 : node.body[0].lineno]:
            found = _MARK.search(line)
            if found:
                return "make" if node.name == "__init__" else found[1] or "rare"
    return ""


def _used(nodes: list[ast.stmt]) -> set[str]:
    return {name.id for node in nodes for name in ast.walk(node) if isinstance(name, ast.Name)}


def _check(node: ast.ClassDef, methods: list[ast.stmt]) -> None:
    own = {item.name for item in node.body if isinstance(item, Method)}
    if "__getattr__" in own:
        raise ValueError(f"line {node.lineno}: {node.name} has a __getattr__ of its own, its methods cannot be rare")
    for method in methods:
        assert isinstance(method, Method)
        special = method.name.startswith("__") and method.name != "__init__"
        if method.decorator_list or special or "super" in _used([method]):
            raise ValueError(f"line {method.lineno}: {method.name} is a property, a special method or uses super(): not rare")


def _bound(node: ast.stmt) -> list[str]:
    """The names that a statement at the top of a module makes."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        return [node.target.id] if isinstance(node.target, ast.Name) else []
    return [node.name] if isinstance(node, ast.ClassDef | Method) else []


def _constant(node: ast.stmt) -> bool:
    value = node.value if isinstance(node, ast.Assign) else None
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "const"


def _companion(tree: ast.Module, lines: list[str], methods: list[ast.stmt], module: str) -> str:
    """The file of the rare methods: what they need of the module's head, and themselves, on their own lines."""
    own = {method.name for method in methods if isinstance(method, Method)}
    used = _used(methods + [node for node in tree.body if _constant(node)])
    text = ["\n"] * len(lines)
    borrowed: list[str] = []
    for node in tree.body:
        names = [name for name in _bound(node) if name in used or name == "const"]
        if not names:
            if _constant(node):  # others are made of it
                names = _bound(node)
            else:
                continue
        if own & set(names):
            raise ValueError(f"{module}: a rare method has the name of what others like it use: {', '.join(own & set(names))}")
        if isinstance(node, ast.Import | ast.ImportFrom) or _constant(node):
            text[node.lineno - 1 : node.end_lineno] = lines[node.lineno - 1 : node.end_lineno]
        else:
            borrowed += names
    for method in methods:
        text[method.lineno - 1 : method.end_lineno] = [
            line.removeprefix("    ") for line in lines[method.lineno - 1 : method.end_lineno]
        ]
    first = f"from {module} import {', '.join(borrowed)}\n" if borrowed else "\n"
    return first + "".join(text[1:])


def _makes_rarely(node: ast.ClassDef, lines: list[str]) -> bool:
    return any(isinstance(item, Method) and item.name == "__init__" and _mark(item, lines) != "" for item in node.body)


def _makers(classes: list[ast.ClassDef]) -> dict[str, str]:
    """What the rare constructors of a module's classes are called in their file: a name costs RAM, so mostly the same."""
    return {node.name: "make" if node is classes[0] else f"make_{node.name}" for node in classes}


def _letters(groups: list[str]) -> dict[str, str]:
    """The letter that each group's file ends in: m the constructors, r what names no group, a, b, c ... the rest."""
    others = iter(letter for letter in string.ascii_lowercase if letter not in "mr")
    return {group: {"make": "m", "rare": "r"}.get(group) or next(others) for group in groups}


def _index(groups: dict[str, list[ast.stmt]], makers: list[str], letters: dict[str, str]) -> str:
    """A line for every rare method: its name and its group's letter."""
    where = dict.fromkeys(makers, "m")
    for group, methods in groups.items():
        where.update({m.name: letters[group] for m in methods if isinstance(m, Method) and m.name != "__init__"})
    return "".join(f"{name} {letter}\n" for name, letter in where.items())


@cache
def numbers(root: Path, trees: tuple[str, ...]) -> dict[Path, int]:
    """The number of every file with rare methods below those folders of root."""
    paths = sorted(path for tree in trees for path in (root / tree).rglob("*.py"))
    rare = [path.relative_to(root) for path in paths if _MARK.search(path.read_text())]
    return {path: number for number, path in enumerate(rare)}


def take_rare(
    source: str, relative: Path, module: str, number: int, stem: str = "lib/r", helper: str = "rare"
) -> tuple[str, dict[Path, str]]:
    """`source` without its rare methods, and the files that hold them, called `stem`, `number` and a letter.

    The module `helper` is the one that fetches from those.

    Raises ValueError for one that cannot be rare: a property, a special method, one that uses super().
    """
    tree = ast.parse(source)
    whole = source.splitlines(keepends=True)
    lines = list(whole)  # with the constructors called as their files call them
    kept = list(lines)
    taken: list[ast.stmt] = []
    makers = _makers([node for node in tree.body if isinstance(node, ast.ClassDef) and _makes_rarely(node, lines)])
    for node in tree.body:
        methods = [item for item in node.body if _mark(item, lines)] if isinstance(node, ast.ClassDef) else []
        if not methods or not isinstance(node, ast.ClassDef):
            continue
        _check(node, methods)
        taken += methods
        for method in methods:
            assert method.end_lineno is not None
            kept[method.lineno - 1 : method.end_lineno] = ["\n"] * (method.end_lineno - method.lineno + 1)
        asking = [method for method in methods if isinstance(method, Method) and method.name != "__init__"]
        for method, stub in [(m, _MAKE) for m in methods if m not in asking] + [(m, _ASK) for m in asking[:1]]:
            at = method.lineno - 1
            kept[at : at + 2] = [line.format(number=number, maker=makers.get(node.name)) for line in stub]
            if stub is _MAKE:
                lines[at] = lines[at].replace("__init__", makers[node.name])
    if not taken:
        return source, {}
    groups: dict[str, list[ast.stmt]] = {}
    names = []
    for method in taken:
        assert isinstance(method, Method)
        groups.setdefault(_mark(method, whole), []).append(method)
        names += [method.name] if method.name != "__init__" else []
    if len(names) > len(set(names)):
        raise ValueError(f"{relative}: two rare methods have one name: {', '.join(sorted(names))}")
    if any(name.startswith("make") for name in names):
        raise ValueError(f"{relative}: the names of constructors begin with make, those of rare methods do not")
    letters = _letters(list(groups))
    files = {
        Path(f"{stem}{number}{letters[group]}.py"): _companion(tree, lines, methods, module) for group, methods in groups.items()
    }
    fetch = "method"
    if groups.keys() - {"make", "rare"}:
        fetch = "grouped"
        files[Path(f"{stem}{number}")] = _index(groups, list(makers.values()), letters)
    return "".join(kept) + _FILE_END.format(helper=helper, fetch=fetch), files
