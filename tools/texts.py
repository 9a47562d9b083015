"""Moves the texts of errors to flash before cross-compiling: nobody needs them until something goes wrong.

MicroPython keeps a text of more than ten characters as an object of its own, 16 bytes and the letters rounded up.  So in a
`raise`, in what is assigned to `last_error` and in what is handed to the functions below, it becomes `_txt(place, length)`:
the board reads it out of one file for the moment it is needed (lib/rare.py).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

FILE = Path("lib", "texts")
HOME = Path("lib", "rare.py")  # the source with which the file comes
_TAKERS = ("_drop", "refuse", "_unreachable")  # functions that want the reason for what they do
_SHORT = 10  # characters that are kept as a name, whatever is done with them


def _reasons(tree: ast.AST) -> Iterator[ast.AST]:
    """The parts of a file in which every text is the reason for something."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise):
            yield node
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "attr", "") == "last_error":
            yield node.value
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in _TAKERS:
            yield from node.args


def _texts(source: str) -> dict[tuple[int, int, int], str]:
    """The texts that can go, by line, column and the column they end at; one that spans lines stays."""
    found = {}
    for reason in _reasons(ast.parse(source)):
        for node in ast.walk(reason):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value.encode()) > _SHORT:
                if node.lineno == node.end_lineno and node.end_col_offset is not None:
                    found[node.lineno, node.col_offset, node.end_col_offset] = node.value
    return found


@cache
def places(root: Path, trees: tuple[str, ...]) -> dict[str, int]:
    """Where each text begins in the file, in bytes."""
    paths = sorted(path for tree in trees for path in (root / tree).rglob("*.py"))
    at = 0
    found: dict[str, int] = {}
    for path in paths:
        for text in _texts(path.read_text()).values():
            if text not in found:
                found[text] = at
                at += len(text.encode())
    return found


def content(root: Path, trees: tuple[str, ...]) -> str:
    """The file."""
    return "".join(places(root, trees))


def take_texts(source: str, root: Path, trees: tuple[str, ...]) -> str:
    """`source` with its reasons fetched from flash; every line stays where it is."""
    known = places(root, trees)
    lines = source.splitlines(keepends=True)
    taken = False
    for (row, start, end), text in sorted(_texts(source).items(), reverse=True):
        if text in known:
            line = lines[row - 1].encode()  # the parser counts columns in bytes
            call = f"_txt({known[text]}, {len(text.encode())})"
            lines[row - 1] = (line[:start] + call.encode() + line[end:]).decode()
            taken = True
    return "".join(lines) + ("\n\nfrom rare import text as _txt\n" if taken else "")
