"""The house's own lint rules, that no general tool knows: private names, long functions, import circles, imports by string,
who writes the image.

A rule reads the trees of files and gives findings; `make lint` shows them.  What a rule finds today and nobody has mended yet
stands in house_debts.py: the list may only shrink, and a line of it that is not needed any more is a finding too.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tools.house_debts import PRESENT

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 80  # lines of a function: it fits on a screen
LOADER = "firmware/loading.py"  # the one module that may import by a name in a string
# breaks the firmware from inside, on purpose, to see that the soak finds it
BREAKERS = ("host_tests/unit/soak_mutations.py",)
SERVICES = ("firmware/services/", "firmware/ems/")
IMAGE = {"inp", "now", "par"}  # arrays of an Image
CLOCKS = {"monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time", "ticks_ms", "ticks_us"}

Trees = dict[str, ast.Module]  # by path from the root, with slashes


class Finding(NamedTuple):
    """One place that breaks a rule; `what` stays the same when lines move."""

    rule: str
    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what} [{self.rule}]"


def trees(*folders: str) -> Trees:
    """Every Python file under these folders of the tree."""
    found = (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")) if "__pycache__" not in path.parts)
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(), str(path)) for path in found}


# ---- private names ------------------------------------------------------------------------------------------

# of MicroPython's own: asyncio gives no other name to what a stream of one's own waits in, as its event.py and stream.py do
MICROPYTHONS = ("_io_queue",)


def _private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def _defined(tree: ast.Module) -> set[str]:
    """The private names that a file makes: functions, variables, and attributes of its own objects."""
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                names.add(name)
            case ast.Assign(targets=[ast.Name(id="__slots__")], value=ast.Tuple(elts=elements)):
                names |= {str(element.value) for element in elements if isinstance(element, ast.Constant)}
    return {name for name in names if _private(name)}


def _reached(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, name) of every private name that is not taken from self or cls."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                continue
            case ast.Attribute(attr=name) if _private(name):
                yield node.lineno, name
            case ast.ImportFrom(names=names):
                yield from ((node.lineno, alias.name) for alias in names if _private(alias.name))


def private_names(board: Trees) -> list[Finding]:
    """Board code takes a private name only from a file of its own."""
    found = []
    for path, tree in board.items():
        own = _defined(tree) | set(MICROPYTHONS)
        found += [Finding("private", path, line, name) for line, name in _reached(tree) if name not in own]
    return found


def private_in_tests(tests: Trees, board: Trees) -> list[Finding]:
    """A test takes no private name of the firmware: it reads as behaviour, and holds when the inside changes."""
    theirs = {name for tree in board.values() for name in _defined(tree)}
    found = []
    for path, tree in tests.items():
        if path in BREAKERS:
            continue
        own = _defined(tree)
        reached = ((line, name) for line, name in _reached(tree) if name in theirs and name not in own)
        found += [Finding("private in a test", path, line, name) for line, name in reached]
    return found


# ---- times in tests -----------------------------------------------------------------------------------------


def _is_read(node: ast.AST, read: set[str]) -> bool:
    """Whether an expression is or holds a reading of a clock, or a name that holds one."""
    for part in ast.walk(node):
        match part:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="time"), attr=name)) if name in CLOCKS:
                return True
            case ast.Name(id=name) if name in read:
                return True
    return False


def _is_spent(node: ast.AST, read: set[str], spent: set[str]) -> bool:
    """Whether an expression holds how long something took: a difference with a reading in it, or a name of one."""
    for part in ast.walk(node):
        match part:
            case ast.BinOp(op=ast.Sub()) if _is_read(part, read):
                return True
            case ast.Call(func=ast.Attribute(attr="ticks_diff")) if _is_read(part, read):
                return True
            case ast.Name(id=name) if name in spent:
                return True
    return False


def _bounded_above(test: ast.expr, read: set[str], spent: set[str]) -> bool:
    """Whether a condition says that something took less than so long."""
    for part in ast.walk(test):
        if not isinstance(part, ast.Compare):
            continue
        values = [part.left, *part.comparators]
        for low, operator, high in zip(values, part.ops, values[1:], strict=False):
            smaller = low if isinstance(operator, ast.Lt | ast.LtE) else high if isinstance(operator, ast.Gt | ast.GtE) else None
            if smaller is not None and _is_spent(smaller, read, spent):
                return True
    return False


def _asserts_of_times(function: ast.AST) -> Iterator[int]:
    read: set[str] = set()
    spent: set[str] = set()
    waits = {id(part) for loop in ast.walk(function) if isinstance(loop, ast.While) for part in ast.walk(loop)}
    found = (node for node in ast.walk(function) if isinstance(node, ast.Assign | ast.Assert))
    for node in sorted(found, key=lambda node: node.lineno):
        if isinstance(node, ast.Assert):
            if id(node) not in waits and _bounded_above(node.test, read, spent):  # one that ends a wait is a limit, no judgement
                yield node.lineno
            continue
        names = {target.id for target in node.targets if isinstance(target, ast.Name)}
        if _is_spent(node.value, read, spent):
            spent |= names
        elif _is_read(node.value, read):
            read |= names


def times_in_tests(tests: Trees) -> list[Finding]:
    """No test fails because something took longer than so long on this machine: machines are slow and busy."""
    found = []
    for path, tree in tests.items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                found += [Finding("time asserted", path, line, node.name) for line in _asserts_of_times(node)]
    return found


# ---- the image ----------------------------------------------------------------------------------------------


def _image_arrays(tree: ast.AST) -> set[str]:
    """The names that stand for an array of an Image: those by which it goes everywhere, and what is assigned from one."""
    names = set(IMAGE)
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Attribute(attr=attr)) if attr in IMAGE:
                names.add(name)
            case ast.Assign(targets=[ast.Attribute(attr=name)], value=ast.Attribute(attr=attr)) if attr in IMAGE:
                names.add(name)
    return names


def _stored(node: ast.AST) -> Iterator[ast.Subscript]:
    """What of an array a statement writes."""
    match node:
        case ast.Assign(targets=targets):
            parts = [part for target in targets for part in (target.elts if isinstance(target, ast.Tuple) else [target])]
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
            parts = [target]
        case _:
            parts = []
    yield from (part for part in parts if isinstance(part, ast.Subscript))


def image_written(board: Trees) -> list[Finding]:
    """A service writes nothing into the image: it asks the manager, whose lock and bounds hold for everybody."""
    found = []
    for path, tree in board.items():
        if not path.startswith(SERVICES):
            continue
        names = _image_arrays(tree)
        for part in (part for node in ast.walk(tree) for part in _stored(node)):
            match part.value:
                case ast.Name(id=name) | ast.Attribute(attr=name) if name in names:
                    found.append(Finding("image written", path, part.lineno, ast.unparse(part)))
    return found


# ---- sizes and imports --------------------------------------------------------------------------------------


def long_functions(code: Trees) -> list[Finding]:
    """A function is at most LONGEST lines."""
    found = []
    for path, tree in code.items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > LONGEST:
                    found.append(Finding("long", path, node.lineno, f"{node.name} has more than {LONGEST} lines"))
    return found


def imports_by_string(board: Trees) -> list[Finding]:
    """Only LOADER imports a module by a name that is worked out: whoever searches for a module's users finds them."""
    found = []
    for path, tree in board.items():
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Name(id="__import__" | "import_module" as name)) if path != LOADER:
                    found.append(Finding("import by string", path, node.lineno, name))
                case ast.Call(func=ast.Attribute(attr="import_module" as name)) if path != LOADER:
                    found.append(Finding("import by string", path, node.lineno, name))
    return found


def _module(path: str) -> str:
    name = path.removeprefix("lib/").removesuffix(".py").replace("/", ".")
    return name.removesuffix(".__init__")


def _at_import(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a file that run when it is imported: all but the insides of functions."""
    for part in ast.iter_child_nodes(node):
        if not isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            yield part
            yield from _at_import(part)


def _imports(tree: ast.Module, module: str, package: bool, known: set[str]) -> set[str]:
    """The modules that a file imports when it is imported itself."""
    found: set[str] = set()
    for node in _at_import(tree):
        match node:
            case ast.Import(names=names):
                found |= {alias.name for alias in names}
            case ast.ImportFrom(module=name, names=names, level=level):
                parents = module.split(".")
                above = parents[: len(parents) - level + package] if level else []
                base = ".".join([*above, *([name] if name else [])])
                submodules = {f"{base}.{alias.name}" for alias in names} & known
                found |= submodules
                if len(submodules) < len(names):
                    found.add(base)
    return (found & known) - {module}


def import_circles(board: Trees) -> list[Finding]:
    """No module imports, by whatever way, one that imports it."""
    known = {_module(path) for path in board}
    paths = {_module(path): path for path in board}
    graph = {_module(path): _imports(tree, _module(path), path.endswith("__init__.py"), known) for path, tree in board.items()}
    found: list[Finding] = []
    done: set[str] = set()

    def visit(module: str, way: list[str]) -> None:
        if module in way:
            circle = way[way.index(module) :]
            first = min(circle)
            turned = circle[circle.index(first) :] + circle[: circle.index(first)]
            found.append(Finding("import circle", paths[first], 1, " > ".join([*turned, first])))
            return
        if module in done:
            return
        for other in sorted(graph[module]):
            visit(other, [*way, module])
        done.add(module)

    for module in sorted(graph):
        visit(module, [])
    return sorted(set(found))


def everything() -> list[Finding]:
    """All findings in the tree."""
    board, tools, tests = trees("firmware", "lib"), trees("tools"), trees("host_tests")
    return [
        *private_names(board),
        *private_in_tests(tests, board),
        *times_in_tests(tests),
        *long_functions({**board, **tools}),
        *imports_by_string(board),
        *import_circles(board),
        *image_written(board),
    ]


def beyond(found: list[Finding], present: dict[str, dict[str, tuple[str, ...]]] = PRESENT) -> list[str]:
    """What is found and not owned up to, and what is owned up to and not found any more, a line each."""
    owned = {(rule, path, what) for rule, paths in present.items() for path, names in paths.items() for what in names}
    new = [str(finding) for finding in found if (finding.rule, finding.path, finding.what) not in owned]
    left = owned - {(finding.rule, finding.path, finding.what) for finding in found}
    return new + [f"{path}: {what} [{rule}] is mended: strike it out in tools/house_debts.py" for rule, path, what in sorted(left)]
