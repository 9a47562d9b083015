"""Scenarios: what happens to the site and what is typed at the board's console, second by second."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from host_tests import shims
from tools.build.slots import read
from tools.sim import layout
from tools.sim.faults import FAULTS
from tools.sim.physics.plant import PROFILED

# quantity of the plant: lowest and highest value that a scenario may give it
RANGES = {
    "load_kw": (0, 10_000),
    "pv_kw": (0, 10_000),
    "grid_hz": (0, 100),
    "grid_v": (0, 2000),
    "grid": (0, 1),
    "soc": (0, 100),
    "temperature": (-40, 120),
    "ambient": (-40, 80),
    "pcs_derate": (0, 1),
}
SETTABLE = tuple(RANGES)
# option of the site (site.Site): its range, the values there are, or "flag"; "power" is PowerConfig's to check
OPTIONS: dict[str, tuple[float, float] | list[Any] | str] = {
    "soc": RANGES["soc"],
    "energy_kwh": (1, 10_000),
    "modules": (1, 24),
    "current_max_a": (1, 3000),
    "temperature_c": (-40, 80),
    "cell_spread_pct": (0, 20),
    "coulombic": (0.5, 1),
    "soc_rounding": ["nearest", "down"],
    "pcs_kw": (1, 1000),
    "pcs_efficiency": (0.5, 1),
    "pcs_tau_s": (0.001, 60),
    "pcs_watchdog_s": (0, 3600),
    "pcs_start_s": (0, 600),
    "pcs_island": ["off", "form", "follow"],
    "pcs_autostart": "flag",
    "grid_hz": RANGES["grid_hz"],
    "grid_v": RANGES["grid_v"],
    "load_kw": RANGES["load_kw"],
    "pv_kw": RANGES["pv_kw"],
    "measurement_noise": (0, 100),
    "load_noise_kw": (0, 1000),
    "meter_model": [203, 213],
    "bms_address": list(range(16)),
    "discharge_limit_negative": "flag",
    "cycle_ms": list(range(20, 1001, 10)),
    "noise_share": (0, 1),
    "slow_s": (0, 60),
}
_WHOLE = ("modules",)
# what an expectation can be about: the board's monitor line (docs/console.md), and the truth of the site (Site.truth)
EXPECTED = (
    *sorted(point.short for point in read().points if point.short and point.unit != "bits"),
    "e_in", "e_out", "violation_w", "cycles", "waiting",
    "stored_kwh", "capacity_kwh", "voltage", "current", "temperature", "pcs_kw", "setpoint_kw", "pcs_state", "pcs_watchdog",
    "pcs_watchdog_trips", "contactor", "grid", "grid_kw", "grid_hz", "grid_v", "load_kw", "served_kw", "unserved_wh", "pv_kw",
    "energy_in_wh", "energy_out_wh", "allowed_charge_kw", "allowed_discharge_kw", "worst_violation_w", "bms_relay_trips",
)  # fmt: skip
BOARD_ACTIONS = ("kill", "restart")
_TOP = {
    "name": "what it shows",
    "seconds": "length of the run",
    "seed": "seed of everything random",
    "site_file": "the site file it is for, from the project's root: a site with several banks",
    "site": "options of the site",
    "profiles": "load_kw, pv_kw, grid_hz, grid_v as [[second, value], ...]",
    "steps": "what happens when",
}
_ACTIONS = ("do", "set", "follow", "inject", "clear", "board", "expect")
_STEP_KEYS = {"at", "for", "of", "refused", *_ACTIONS}
_OF = ("set", "inject", "clear", "expect")  # what may be said of one bank, battery or inverter alone
ROOT = Path(__file__).resolve().parents[2]


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
    of: str = ""  # the bank or device that it is about; "": the site

    def __str__(self) -> str:
        text = self.value if isinstance(self.value, str) else json.dumps(self.value)
        text += f" of {self.of}" if self.of else ""
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
    site_file: Path | None = None  # None: whichever site it is played on


def default(seconds: float = 30.0, discharge_kw: float = 60.0, charge_kw: float = 40.0) -> Scenario:
    """Start, charge at 40 kW, discharge at 60 kW or what a smaller site may, stop: spread over `seconds`."""
    at = [round(2.0 + share * (seconds - 2.0), 2) for share in (0.0, 0.1, 0.35, 0.85, 0.93)]
    lines = (
        "pm.start()",
        f"pm.set_constant_power({0 - charge_kw}, 0)",
        f"pm.set_constant_power({discharge_kw}, 0)",
        "pm.stop_operation()",
        "pm.stop()",
    )
    return Scenario(
        f"charge {charge_kw:g} kW, discharge {discharge_kw:g} kW",
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
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except RecursionError as error:
        raise ScenarioError(f"{path}: is nested too deeply") from error
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
    if not _is_whole(seed):
        errors.append(f"seed: {seed!r} is not a whole number")
    if not isinstance(data.get("name", ""), str):
        errors.append(f"name: {data['name']!r} is not a text")
    site = _site(data.get("site", {}), errors)
    file, names = _site_file(data.get("site_file"), errors)
    profiles = _profiles(data.get("profiles", {}), "profiles", errors)
    steps = data.get("steps", [])
    if not isinstance(steps, list):
        errors.append("steps: is not a list")
        steps = []
    checked = [_step(step, f"steps[{n}]", names, errors) for n, step in enumerate(steps)]
    if errors:
        raise ScenarioError("\n  ".join(["cannot be played:", *errors]))
    plan = sorted((s for s in checked if s is not None), key=lambda s: s.at)
    return Scenario(str(data.get("name", "unnamed")), seconds, seed, site, profiles, plan, file)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _site(site: Any, errors: list[str]) -> dict[str, Any]:
    """The options of the site, each against its row of OPTIONS."""
    if not isinstance(site, dict):
        errors.append(f"site: {site!r} is not an object of options")
        return {}
    for name, value in site.items():
        allowed = OPTIONS.get(name)
        if name == "power":
            _power(value, errors)
        elif allowed is None:
            errors.append(f"site.{name}: is unknown; known: {', '.join((*OPTIONS, 'power'))}")
        elif isinstance(allowed, tuple):
            _number(value, f"site.{name}", *allowed, errors)
            if name in _WHOLE and isinstance(value, float):
                errors.append(f"site.{name}: {value!r} is not a whole number")
        elif allowed == "flag":
            if not isinstance(value, bool):
                errors.append(f"site.{name}: {value!r} is not true or false")
        elif isinstance(value, bool) or value not in allowed:
            errors.append(f"site.{name}: {value!r} is not one of {_listed(allowed)}")
    return site


def _site_file(given: Any, errors: list[str]) -> tuple[Path | None, list[str]]:
    """The site file, and the banks and devices that are in it."""
    if given is None:
        return None, []
    try:
        content = json.loads((ROOT / given).read_text())
        layouts = layout.banks(content)
    except (OSError, TypeError, ValueError, KeyError, AttributeError) as error:
        errors.append(f"site_file: {given!r}: {error}")
        return None, []
    return ROOT / given, [*(bank.name for bank in layouts), *content["devices"]]


def _listed(values: Any) -> str:
    words = [str(value) for value in values]
    return ", ".join(words) if len(words) <= 4 else f"{words[0]}, {words[1]} ... {words[-1]}"


def _power(power: Any, errors: list[str]) -> None:
    """The site's PowerConfig, by the firmware's own check."""
    shims.install()
    from firmware.config import PowerConfig
    from firmware.errors import ConfigError

    if not isinstance(power, dict):
        errors.append(f"site.power: {power!r} is not an object")
        return
    try:
        PowerConfig(**power)
    except ConfigError as error:
        errors += [f"site.{text}" for text in error.errors]
    except (TypeError, ValueError) as error:
        errors.append(f"site.power: {error}")


def _step(step: Any, where: str, names: list[str], errors: list[str]) -> Step | None:
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
    if not isinstance(step.get("refused", False), bool) or ("refused" in step and action != "do"):
        errors.append(f"{where}.refused: {step['refused']!r}: true or false, and only with 'do'")
    of = step.get("of", "")
    if "of" in step and (action not in _OF or of not in names):
        errors.append(f"{where}.of: {of!r}: goes with {', '.join(_OF)}, and is one of {', '.join(names) or 'a site_file'}")
    _check_value(action, value, f"{where}.{action}", errors)
    return Step(at, action, value, seconds, step.get("refused") is True, of)


def _check_value(action: str, value: Any, where: str, errors: list[str]) -> None:
    if action == "do":
        if not isinstance(value, str) or "\n" in value or not value.strip():
            errors.append(f"{where}: {value!r} is not one line of text")
    elif action in ("inject", "clear"):
        if not isinstance(value, str) or value not in FAULTS:
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
                continue
            if name == "grid" and isinstance(number, bool):
                continue
            _number(number, f"{where}.{name}", *RANGES[name], errors)
    elif action == "follow":
        _profiles(value, where, errors)
    else:
        _check_expectation(value, where, errors)


def _check_expectation(value: dict[str, Any], where: str, errors: list[str]) -> None:
    """{"mode": "IDLE"}, {"pcs_kw": [low, high]}: a text, a truth value, or a range of numbers."""
    for name, wanted in value.items():
        if name not in EXPECTED:
            errors.append(f"{where}: {name!r} is unknown; known: {', '.join(EXPECTED)}")
        if isinstance(wanted, list):
            if len(wanted) != 2 or not all(_is_finite(x) for x in wanted) or wanted[0] > wanted[1]:
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
        low, high = RANGES[name]
        pairs = [
            (_number(t, f"{where}.{name}", 0, 86400, errors), _number(v, f"{where}.{name}", low, high, errors))
            for t, v in points
        ]
        if any(b[0] <= a[0] for a, b in zip(pairs, pairs[1:], strict=False)):
            errors.append(f"{where}.{name}: seconds must rise from point to point")
        result[name] = pairs
    return result


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _number(value: Any, where: str, low: float, high: float, errors: list[str]) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        errors.append(f"{where}: {value!r} is not a number from {low:g} to {high:g}")
        return 0.0
    return float(value)
