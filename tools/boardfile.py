"""Board descriptions (boards/*.json): loading, checking, and merging one into a site file for `make deploy`."""

import json
from pathlib import Path
from typing import Any

import jsonschema

from tools.stage import ROOT

BOARDS = ROOT / "boards"

# GPIOs a chip lends to its flash or PSRAM, or does not have; and those that cannot be outputs (Espressif data sheets).
UNUSABLE: dict[str, set[int]] = {
    "esp32": {20, 24, 28, 29, 30, 31, *range(6, 12), *range(40, 49)},
    "esp32s3": {*range(22, 26), *range(26, 33)},
    "esp32c3": {*range(11, 18), *range(22, 49)},
}
INPUT_ONLY: dict[str, set[int]] = {"esp32": set(range(34, 40)), "esp32s3": set(), "esp32c3": set()}
# where a MicroPython image begins in flash (the second-stage bootloader's address)
FLASH_OFFSET = {"esp32": 0x1000, "esp32s3": 0x0, "esp32c3": 0x0}
_INPUTS = ("rx_pin", "miso_pin", "int_pin", "estop_pin", "feedback_pin")


class BoardError(Exception):
    """The board or the site does not fit; one line an error."""


def names() -> list[str]:
    """Every board there is a file for."""
    return sorted(path.stem for path in BOARDS.glob("*.json") if path.name != "schema.json")


def load(name: str) -> dict[str, Any]:
    """A board by name, or by the path of a file.  Raises BoardError with everything that is wrong with it."""
    path = Path(name) if name.endswith(".json") else BOARDS / f"{name}.json"
    try:
        board = json.loads(path.read_text())
    except FileNotFoundError:
        raise BoardError(f"BOARD={name}: no such board (there are {', '.join(names())}, or a path)") from None
    except json.JSONDecodeError as error:
        raise BoardError(f"{path}: is not JSON: {error}") from None
    errors = check(board)
    if errors:
        raise BoardError("\n".join(f"{path.name}: {error}" for error in errors))
    return board


def check(board: dict[str, Any]) -> list[str]:
    """Everything that is wrong with a board: against the schema, then against its chip."""
    schema = json.loads((BOARDS / "schema.json").read_text())
    found = [
        f"{'.'.join(map(str, error.absolute_path)) or 'the board'}: {error.message}"
        for error in jsonschema.Draft202012Validator(schema).iter_errors(board)
    ]
    return found or _check_pins(board)


def pins(board: dict[str, Any]) -> list[tuple[str, int, bool]]:
    """(where it is named, GPIO, is an output) for every pin."""
    found = [(f"levels[{i}]", pin, True) for i, (pin, _) in enumerate(board["levels"])]
    for section in (*((f"buses.{name}", bus) for name, bus in board["buses"].items()), ("io", board["io"])):
        where, values = section
        found += [(f"{where}.{key}", pin, key not in _INPUTS) for key, pin in values.items() if key.endswith("_pin")]
    return found


def _check_pins(board: dict[str, Any]) -> list[str]:
    errors = []
    chip = board["chip"]
    seen: dict[int, str] = {}
    for where, pin, output in pins(board):
        if pin in UNUSABLE[chip]:
            errors.append(f"{where} = {pin}: the {chip} has no such pin, or its memory needs it")
        if output and pin in INPUT_ONLY[chip]:
            errors.append(f"{where} = {pin}: is input only on the {chip}")
        if pin in seen:
            errors.append(f"{where} = {pin}: already used by {seen[pin]}")
        seen[pin] = where
    pull = board["io"].get("estop_pull", "up")
    if board["io"]["estop_pin"] in INPUT_ONLY[chip] and pull != "none":
        errors.append(f"io.estop_pull = {pull}: pin {board['io']['estop_pin']} has no pull resistor in the chip")
    return errors


def site_for(board: dict[str, Any], site: dict[str, Any], ssid: str = "", password: str = "") -> dict[str, Any]:
    """The site file as it goes on that board: its pins, and the Wi-Fi station when one is given.

    Raises BoardError for a bus that the board has not.
    """
    merged = json.loads(json.dumps(site))
    errors = []
    for name, bus in merged.get("buses", {}).items():
        own = board["buses"].get(name)
        if own is None or own["type"] != bus.get("type"):
            there = ", ".join(f"{n} ({b['type']})" for n, b in board["buses"].items())
            errors.append(f"buses.{name} ({bus.get('type')}): {board['name']} has {there}")
        else:
            bus.update(own)
    for device in merged.get("devices", {}).values():
        if device.get("type") == "io_board":
            for key in [key for key in device if key.endswith("_pin")]:
                del device[key]
            device.update(board["io"])
    if errors:
        raise BoardError("\n".join(errors))
    if ssid:
        merged["wifi"] = {**(merged.get("wifi") or {}), "ssid": ssid, "password": password}
    merged["board"] = {"name": board["name"], "chip": board["chip"], "levels": board["levels"]}
    return merged
