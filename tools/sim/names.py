"""The names behind the numbers in the board's events, read from the firmware's own tables (without running them)."""

import ast
from collections.abc import Callable
from functools import cache
from pathlib import Path

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
_CHARGE_LIMIT = 32  # added to a limit's number when it binds charging


@cache
def _table(module: str, variable: str) -> tuple[str, ...]:
    """The texts of a tuple or list ("TABLE", or "Class.tuple"): its items, or the first member of each item."""
    tree: ast.AST = ast.parse((FIRMWARE / f"{module}.py").read_text())
    owner, _, variable = variable.rpartition(".")
    if owner:
        tree = next(n for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name == owner)
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == variable for t in node.targets):
            assert isinstance(node.value, ast.Tuple | ast.List)
            first = [item.elts[0] if isinstance(item, ast.Tuple) else item for item in node.value.elts]
            return tuple(str(item.value) for item in first if isinstance(item, ast.Constant))
    raise LookupError(f"firmware/{module}.py has no {variable}")


def _from(module: str, variable: str) -> Callable[[int], str]:
    def name(number: int) -> str:
        names = _table(module, variable)
        return names[number] if 0 <= number < len(names) else str(number)

    return name


def _limit(number: int) -> str:
    way = "charge" if number >= _CHARGE_LIMIT else "discharge"
    return f"{way} by {_from('limits', 'NAMES')(number % _CHARGE_LIMIT)}"


_MODE = _from("modes", "Mode.names")
_FLOW = _from("flows", "Flow.names")
_FAULT = _from("faults", "TABLE")
_SOURCE = _from("requests", "SOURCES")
_MEANINGS: dict[str, Callable[[int], str]] = {
    "MODE_CHANGE": _MODE,
    "FLOW_CHANGE": _FLOW,
    "LIMIT_CHANGE": _limit,
    "CHARGE_COMPLETE": _SOURCE,
    "DISCHARGE_COMPLETE": _SOURCE,
    "OPERATION_TIMEOUT": _SOURCE,
    "FAULT_RAISED": _FAULT,
    "FAULT_CLEARED": _FAULT,
    "COMMS_LOST": _FAULT,
    "COMMS_RESTORED": _FAULT,
    "EMERGENCY": lambda number: "commanded" if number < 0 else _FAULT(number),
    "OVERPOWER": lambda watts: f"{watts} W",
    "CLOCK_SET": lambda seconds: f"{seconds} s",
}


def event_text(name: str, data: int | str | None) -> str:
    """An event in words, such as "MODE_CHANGE IDLE"; a name as the board's console prints it is one already."""
    if data is None:
        return name
    if isinstance(data, str):
        return f"{name} {data}"
    meaning = _MEANINGS.get(name)
    return f"{name} {meaning(data)}" if meaning else name if data == 0 else f"{name} {data}"
