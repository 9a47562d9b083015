"""Imports board code under CPython the way a board's build compiles it, so that millions of cycles take minutes.

`install()` puts a finder before all others.  Modules of `firmware` then get other modules' constants as numbers
(tools/build/inline.py, the same step that .mpy files go through), and their own private constants too, as MicroPython's
compiler does.  In the kernels two things that only viper needs fall away: the signed load `((x + b) & m) - b`, which is x
for every value a slot may hold, and the element-wise copy loop, which becomes a slice.  host_tests/unit/test_soak.py
holds the quick functions against the plain ones.
"""

import ast
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, ModuleType

from host_tests import shims
from tools.build import inline

ROOT = Path(__file__).resolve().parents[2]
_ALL = "firmware."
KERNELS = "firmware.kernel."


class _Fold(ast.NodeTransformer):
    """Private `_NAME = const(number)` of one file as numbers wherever the file uses them, and sums of numbers as one."""

    def __init__(self, tree: ast.Module) -> None:
        self.numbers: dict[str, int] = {}
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Call):
                call = node.value
                if isinstance(call.func, ast.Name) and call.func.id == "const" and node.targets[0].id.startswith("_"):
                    self.numbers[node.targets[0].id] = ast.literal_eval(call.args[0])

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if isinstance(node.ctx, ast.Load) and node.id in self.numbers:
            return ast.copy_location(ast.Constant(self.numbers[node.id]), node)
        return node


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


class _Signed(ast.NodeTransformer):
    """`((x + b) & m) - b` is x."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        masked = node.left
        if isinstance(node.op, ast.Sub) and _is_name(node.right, "b") and isinstance(masked, ast.BinOp):
            added = masked.left
            if isinstance(masked.op, ast.BitAnd) and _is_name(masked.right, "m") and isinstance(added, ast.BinOp):
                if isinstance(added.op, ast.Add) and _is_name(added.right, "b"):
                    return added.left
        return node

    def visit_While(self, node: ast.While) -> ast.AST | list[ast.stmt]:
        """`while i < n: a[i] = b[i]; i += 1` is a slice."""
        self.generic_visit(node)
        test, body = node.test, node.body
        if not (isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and len(body) == 2):
            return node
        i, end = test.left.id, ast.unparse(test.comparators[0])
        copy, step = body
        if isinstance(copy, ast.Assign) and ast.unparse(step) == f"{i} += 1" and ast.unparse(test) == f"{i} < {end}":
            target, value = copy.targets[0], copy.value
            if isinstance(target, ast.Subscript) and isinstance(value, ast.Subscript):
                to, source = ast.unparse(target.value), ast.unparse(value.value)
                if ast.unparse(copy) == f"{to}[{i}] = {source}[{i}]":
                    made = ast.parse(f"{to}[{i}:{end}] = {source}[{i}:{end}]\n{i} = {end}").body
                    return [ast.copy_location(statement, node) for statement in made]
        return node


def quickened(source: str, name: str) -> ast.Module:
    """The syntax tree of one firmware file, made quick; `name` is the module's."""
    tree = ast.parse(inline.inline(source, ROOT))
    tree.body[1:1] = ast.parse("from micropython import const").body  # behind the docstring: the cross-compiler needs none
    tree = _Fold(tree).visit(tree)
    if name.startswith(KERNELS):
        tree = _Signed().visit(tree)
    ast.fix_missing_locations(tree)
    return tree


class _Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return compile(quickened(Path(path).read_text(), fullname), path, "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not fullname.startswith(self._package):
            return None
        file = ROOT.joinpath(*fullname.split(".")).with_suffix(".py")
        if not file.exists():
            return None  # a package
        return importlib.machinery.ModuleSpec(fullname, _Loader(fullname, str(file)), origin=str(file))


def install(package: str = _ALL) -> None:
    """Shims, and quick firmware for this process, or what begins so of it.  RuntimeError when plain firmware is already loaded."""
    shims.install()
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    loaded = [name for name in sys.modules if name.startswith("firmware")]
    if loaded:
        raise RuntimeError(f"quick.install() must come before the first import of firmware; loaded: {', '.join(loaded)}")
    sys.meta_path.insert(0, _Finder(package))
