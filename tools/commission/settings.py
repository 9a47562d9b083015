"""What the site is set to, as its site file has it and where that says nothing by the firmware's own tables, for who signs."""

import importlib
import json
import sys
from collections.abc import Iterable
from typing import Any
from unittest import mock

from tools import check_site

# part: what of the site; name, value; means: unit and meaning by the firmware's row; default: the site file says nothing
Setting = dict[str, Any]
LIMITS = "power"  # the part with what the site may and must not
_SECRET = ("password",)
_FOLDERS = {"devices": "device", "services": "service"}


def of(site: dict[str, Any]) -> list[Setting]:
    """Every setting of a site file, in its order; no password."""
    from firmware.config import FIELDS

    power = site.get("power") or {}
    if site.get("cycle_ms") is not None:
        power = {"cycle_ms": site["cycle_ms"], **power}
    found = _rows(LIMITS, FIELDS, power)
    for name, bank in (site.get("banks") or {}).items():
        found += _rows(f"bank {name}", (), bank if isinstance(bank, dict) else {"is": bank})
    for name, options in (site.get("buses") or {}).items():
        found += _rows(f"bus {name} ({options.get('type')})", _table("buses", str(options.get("type"))), options)
    for section, word in _FOLDERS.items():
        for name, options in (site.get(section) or {}).items():
            if not isinstance(options, dict):
                found += _rows(f"{word} {name}", (), {"in use": bool(options)})
                continue
            kind = str(options.get("type"))
            found += _rows(f"{word} {name} ({kind})", _table(section, kind), options)
    return found


def _table(section: str, kind: str) -> Iterable[Any]:
    """The firmware's rows of a type's options; none of a type that it does not have."""
    before = set(sys.modules)
    try:
        with mock.patch.dict(sys.modules, {name: mock.MagicMock() for name in check_site.CHIP}):  # a driver imports the chip's
            try:
                if section == "buses":
                    return tuple(importlib.import_module("firmware.buses").TYPES[kind][0])
                return _each(importlib.import_module(f"firmware.{section}.{kind}").OPTIONS)
            finally:
                for name in set(sys.modules) - before:  # who has seen the empty machine is not to be found by others
                    package, _, own = name.rpartition(".")
                    if package in sys.modules:
                        vars(sys.modules[package]).pop(own, None)
    except (ImportError, AttributeError, KeyError):
        return ()


def _each(table: Any) -> list[Any]:
    """As rows.each on the board: of a table, or of tables of them."""
    if table and isinstance(table[0], tuple) and table[0] and isinstance(table[0][0], tuple):
        return [row for part in table for row in _each(part)]
    return list(table)


def _rows(part: str, table: Iterable[Any], given: dict[str, Any]) -> list[Setting]:
    """Of one section: by its table, and behind it what that does not know."""
    found = []
    rest = {key: value for key, value in given.items() if key != "type"}
    for key, _, default, _, _, means in table:
        is_given = key in rest
        value = rest.pop(key) if is_given else default
        found.append(_setting(part, key, value, means, not is_given))
    return found + [_setting(part, key, value, "", False) for key, value in rest.items()]


def _setting(part: str, key: str, value: Any, means: str, default: bool) -> Setting:
    shown = "***" if value and any(word in key for word in _SECRET) else _shown(value)
    return {"part": part, "name": key, "value": shown, "means": means, "default": default}


def _shown(value: Any) -> str:
    """As people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value in ("", {}, []):
        return "none"
    if isinstance(value, dict) and "reads" in value:
        return f"a table of its own: {value.get('name', 'without a name')}"
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    return f"{value:g}" if isinstance(value, float) else str(value)
