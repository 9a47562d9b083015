"""Scenarios: what happens to the site and what is typed at the board's console, second by second."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.simsite.faults import FAULTS
from tools.simsite.physics.plant import PROFILED

SETTABLE = ("load_kw", "pv_kw", "grid_hz", "grid_v", "grid", "soc", "temperature", "ambient", "pcs_derate")
BOARD_ACTIONS = ("kill", "restart")
_TOP = {
    "name": "what it shows",
    "seconds": "length of the run",
    "seed": "seed of everything random",
    "site": "options of the site",
    "profiles": "load_kw, pv_kw, grid_hz, grid_v as [[second, value], ...]",
    "steps": "what happens when",
}
_ACTIONS = ("do", "set", "follow", "inject", "clear", "board", "expect")
_STEP_KEYS = {"at", "for", "refused", *_ACTIONS}


class ScenarioError(ValueError):
    """A scenario file that cannot be played; the text lists everything that is wrong with it."""


@dataclass
class Step:
    """One thing that happens `at` seconds: exactly one of the actions."""

    at: float
    action: str
    value: Any
    seconds: float = 0.0  # of an injected fault; 0: until cleared
    refused: bool = False  # a "do" that the firmware must refuse

    def __str__(self) -> str:
        text = self.value if isinstance(self.value, str) else json.dumps(self.value)
        return text if self.action == "do" else f"{self.action} {text}"


@dataclass
class Scenario:
    """A checked scenario; steps are in the order of their times."""

    name: str
    seconds: float
    seed: int = 1
    site: dict[str, Any] = field(default_factory=dict)
    profiles: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)


def default(seconds: float = 30.0, discharge_kw: float = 60.0) -> Scenario:
    """Start, charge at 40 kW, discharge at 60 kW or what a smaller site may, stop: spread over `seconds`."""
    at = [round(2.0 + share * (seconds - 2.0), 2) for share in (0.0, 0.1, 0.35, 0.85, 0.93)]
    lines = (
        "pm.start()",
        "pm.set_constant_power(-40.0, 0)",
        f"pm.set_constant_power({discharge_kw}, 0)",
        "pm.stop_operation()",
        "pm.stop()",
    )
    return Scenario(
        f"charge 40 kW, discharge {discharge_kw:g} kW",
        seconds,
        site={"load_kw": 20.0, "pv_kw": 8.0, "load_noise_kw": 0.5},
        steps=[Step(t, "do", line) for t, line in zip(at, lines, strict=True)],
    )


def load(path: Path) -> Scenario:
    """Read and check a scenario file.  Raises ScenarioError naming every fault with its place and what is allowed."""
    try:
        data = json.loads(path.read_text())
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror or error}") from error
    except json.JSONDecodeError as error:
        raise ScenarioError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from error
    try:
        return parse(data)
    except ScenarioError as error:
        raise ScenarioError(f"{path}: {error}") from error


def parse(data: Any) -> Scenario:
    """Check a scenario.  Raises ScenarioError with one line for every fault found."""
    if not isinstance(data, dict):
        raise ScenarioError("a scenario is a JSON object")
    errors: list[str] = [f"{key!r} is unknown; known: {', '.join(_TOP)}" for key in data if key not in _TOP]
    seconds = _number(data.get("seconds", 30), "seconds", 1, 86400, errors)
    seed = data.get("seed", 1)
    if not isinstance(seed, int):
        errors.append(f"seed: {seed!r} is not a whole number")
    site = data.get("site", {})
    if not isinstance(site, dict):
        errors.append(f"site: {site!r} is not an object of options")
        site = {}
    profiles = _profiles(data.get("profiles", {}), "profiles", errors)
    steps = data.get("steps", [])
    if not isinstance(steps, list):
        errors.append("steps: is not a list")
        steps = []
    checked = [_step(step, f"steps[{n}]", errors) for n, step in enumerate(steps)]
    if errors:
        raise ScenarioError("\n  ".join(["cannot be played:", *errors]))
    plan = sorted((s for s in checked if s is not None), key=lambda s: s.at)
    return Scenario(str(data.get("name", "unnamed")), seconds, seed, site, profiles, plan)


def _step(step: Any, where: str, errors: list[str]) -> Step | None:
    if not isinstance(step, dict):
        errors.append(f"{where}: is not an object")
        return None
    known = ", ".join(sorted(_STEP_KEYS))
    errors += [f"{where}: {key!r} is unknown; known: {known}" for key in step if key not in _STEP_KEYS]
    actions = [a for a in _ACTIONS if a in step]
    at = _number(step.get("at"), f"{where}.at", 0, 86400, errors)
    if len(actions) != 1:
        errors.append(f"{where}: has {len(actions)} actions, exactly one of {', '.join(_ACTIONS)} is allowed")
        return None
    action, value = actions[0], step[actions[0]]
    seconds = _number(step["for"], f"{where}.for", 0, 86400, errors) if "for" in step else 0.0
    if "for" in step and action != "inject":
        errors.append(f"{where}.for: only goes with 'inject'")
    _check_value(action, value, f"{where}.{action}", errors)
    return Step(at, action, value, seconds, step.get("refused") is True)


def _check_value(action: str, value: Any, where: str, errors: list[str]) -> None:
    if action == "do":
        if not isinstance(value, str) or "\n" in value or not value.strip():
            errors.append(f"{where}: {value!r} is not one line of text")
    elif action in ("inject", "clear"):
        if value not in FAULTS:
            errors.append(f"{where}: {value!r} is unknown; known: {', '.join(FAULTS)}")
    elif action == "board":
        if value not in BOARD_ACTIONS:
            errors.append(f"{where}: {value!r} is not one of {', '.join(BOARD_ACTIONS)}")
    elif not isinstance(value, dict):
        errors.append(f"{where}: {value!r} is not an object")
    elif action == "set":
        for name, number in value.items():
            if name not in SETTABLE:
                errors.append(f"{where}: {name!r} is unknown; known: {', '.join(SETTABLE)}")
            _number(number, f"{where}.{name}", -1e6, 1e6, errors)
    elif action == "follow":
        _profiles(value, where, errors)
    else:
        _check_expectation(value, where, errors)


def _check_expectation(value: dict[str, Any], where: str, errors: list[str]) -> None:
    """{"mode": "IDLE"}, {"pcs_kw": [low, high]}: a text, a truth value, or a range of numbers."""
    for name, wanted in value.items():
        if isinstance(wanted, list):
            if len(wanted) != 2 or not all(isinstance(x, int | float) for x in wanted):
                errors.append(f"{where}.{name}: {wanted!r} is not a [low, high] range")
        elif not isinstance(wanted, str | bool):
            errors.append(f"{where}.{name}: {wanted!r} is not a text, true, false or a [low, high] range")


def _profiles(data: Any, where: str, errors: list[str]) -> dict[str, list[tuple[float, float]]]:
    if not isinstance(data, dict):
        errors.append(f"{where}: is not an object")
        return {}
    result = {}
    for name, points in data.items():
        if name not in PROFILED:
            errors.append(f"{where}: {name!r} is unknown; known: {', '.join(PROFILED)}")
            continue
        if not isinstance(points, list) or not points:
            errors.append(f"{where}.{name}: is not a list of [second, value]")
            continue
        if any(not isinstance(p, list) or len(p) != 2 for p in points):
            errors.append(f"{where}.{name}: every point is [second, value]")
            continue
        pairs = [
            (_number(t, f"{where}.{name}", 0, 86400, errors), _number(v, f"{where}.{name}", -1e6, 1e6, errors))
            for t, v in points
        ]
        if any(b[0] <= a[0] for a, b in zip(pairs, pairs[1:], strict=False)):
            errors.append(f"{where}.{name}: seconds must rise from point to point")
        result[name] = pairs
    return result


def _number(value: Any, where: str, low: float, high: float, errors: list[str]) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        errors.append(f"{where}: {value!r} is not a number from {low:g} to {high:g}")
        return 0.0
    return float(value)
