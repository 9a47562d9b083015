"""Imports a viper file under CPython with every operation checked against what viper can do on a 32-bit chip.

`load(path)` rewrites the file's syntax tree: results outside int32, division by zero, shifts of 32 or more and array
indices out of bounds raise `HotError` naming line and expression; a unary minus on a variable, `~`, floats and true
division are refused when loading.  Plain imports of the same file stay fast.
"""

import ast
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

_INT32_MIN = -(1 << 31)
_INT32_MAX = (1 << 31) - 1
_SLOT_MIN = -(1 << 30)  # image.NO_VALUE; what an int32 array may hold without ever allocating on a board
_SLOT_MAX = (1 << 30) - 1


class HotError(Exception):
    """An operation whose result differs between viper on a chip and Python; the text says where and why."""


_OPERATORS: dict[type[ast.operator], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", lambda a, b: a + b),
    ast.Sub: ("-", lambda a, b: a - b),
    ast.Mult: ("*", lambda a, b: a * b),
    ast.FloorDiv: ("//", lambda a, b: a // b),
    ast.Mod: ("%", lambda a, b: a % b),
    ast.LShift: ("<<", lambda a, b: a << b),
    ast.RShift: (">>", lambda a, b: a >> b),
    ast.BitAnd: ("&", lambda a, b: a & b),
    ast.BitOr: ("|", lambda a, b: a | b),
    ast.BitXor: ("^", lambda a, b: a ^ b),
}
_BY_SIGN = dict(_OPERATORS.values())


def _binary(sign: str, left: Any, right: Any, where: str) -> int:
    if isinstance(left, float) or isinstance(right, float):
        raise HotError(f"{where}: a float ({left!r} {sign} {right!r})")
    if sign in ("//", "%") and right == 0:
        raise HotError(f"{where}: division by zero ({left} {sign} 0) would end the process")
    if sign in ("<<", ">>") and not 0 <= right < 32:
        raise HotError(f"{where}: a shift by {right}")
    result = _BY_SIGN[sign](left, right)
    if not _INT32_MIN <= result <= _INT32_MAX:
        raise HotError(f"{where}: {left} {sign} {right} = {result} is outside int32")
    return int(result)


def _index(array: Any, index: int, where: str) -> int:
    if not 0 <= index < len(array):
        raise HotError(f"{where}: index {index} of an array of {len(array)}; viper would touch foreign memory")
    return index


def _store(value: int, where: str) -> int:
    if not _SLOT_MIN <= value <= _SLOT_MAX:
        raise HotError(f"{where}: stores {value}, more than a slot holds without allocating")
    return int(value)


class _Checker(ast.NodeTransformer):
    def __init__(self, file: str) -> None:
        self.file = file
        self.inside = False

    def where(self, node: ast.AST) -> ast.Constant:
        text = f"{self.file}:{getattr(node, 'lineno', 0)}: {ast.unparse(node)}"
        return ast.Constant(text)

    def refuse(self, node: ast.AST, why: str) -> None:
        raise HotError(f"{self.where(node).value!s}: {why}")

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.inside = True
        node.body = [self.visit(statement) for statement in node.body]
        self.inside = False
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if self.inside and isinstance(node.value, float | complex):
            self.refuse(node, "viper has no floats")
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        if self.inside and isinstance(node.op, ast.Invert):
            self.refuse(node, "~ was miscompiled by older compilers")
        if self.inside and isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
            self.refuse(node, "unary minus was miscompiled by older compilers: write 0 - x")
        return self.generic_visit(node)

    def binary(self, operator: ast.operator, left: ast.expr, right: ast.expr, where: ast.Constant) -> ast.Call:
        if type(operator) not in _OPERATORS:
            raise HotError(f"{where.value!s}: {type(operator).__name__} is not in the subset")
        sign = ast.Constant(_OPERATORS[type(operator)][0])
        return ast.Call(ast.Name("_hot_binary", ast.Load()), [sign, left, right, where], [])

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        if not self.inside:
            return node
        where = self.where(node)
        return self.binary(node.op, self.visit(node.left), self.visit(node.right), where)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if not self.inside:
            return node
        where = self.where(node)
        array, index = self.visit(node.value), self.visit(node.slice)
        checked = ast.Call(ast.Name("_hot_index", ast.Load()), [array, index, where], [])
        return ast.Subscript(array, checked, node.ctx)

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        if not self.inside:
            return node
        where = self.where(node)
        value = self.visit(node.value)
        if isinstance(node.targets[0], ast.Subscript):
            value = ast.Call(ast.Name("_hot_store", ast.Load()), [value, where], [])
        return ast.Assign([self.visit(target) for target in node.targets], value)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        if not self.inside:
            return node
        read = ast.parse(ast.unparse(node.target), mode="eval").body
        ast.copy_location(read, node)
        for child in ast.walk(read):
            ast.copy_location(child, node)
        whole = ast.Assign([node.target], ast.BinOp(read, node.op, node.value))
        ast.copy_location(whole, node)
        ast.copy_location(whole.value, node)
        return self.visit_Assign(whole)


def load(path: Path, name: str = "hot_checked") -> ModuleType:
    """The file as a module whose functions check themselves.  Raises HotError for what the subset forbids."""
    tree = _Checker(path.name).visit(ast.parse(path.read_text(), str(path)))
    ast.fix_missing_locations(tree)
    module = ModuleType(name)
    module.__file__ = str(path)
    module.__dict__.update(_hot_binary=_binary, _hot_index=_index, _hot_store=_store)
    exec(compile(tree, str(path), "exec"), module.__dict__)
    return module
