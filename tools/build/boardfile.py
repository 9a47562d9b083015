"""Board descriptions (boards/*.json): loading, checking, and merging one into a site file for `make deploy`."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema

from tools.build.stage import ROOT

BOARDS = ROOT / "boards"

# GPIOs a chip lends to its flash or PSRAM, or does not have; and those that cannot be outputs (Espressif data sheets).
UNUSABLE: dict[str, set[int]] = {
    "esp32": {20, 24, 28, 29, 30, 31, *range(6, 12), *range(40, 49)},
    "esp32s3": {*range(22, 26), *range(26, 33)},
    "esp32c3": {*range(11, 18), *range(22, 49)},
}
# GPIOs that PSRAM takes besides, where the board has some: octal on an S3, quad on the first ESP32
_OCTAL = "ESP32_GENERIC_S3-SPIRAM_OCT"
PSRAM_PINS: dict[str, set[int]] = {_OCTAL: set(range(33, 38)), "ESP32_GENERIC-SPIRAM": {16, 17}}
# our own images (folders here): the chip, and the least flash, that each is for, and whether it wants octal PSRAM
OWN_IMAGES: dict[str, tuple[str, int, bool]] = {"BESS_ESP32": ("esp32", 4, False), "BESS_ESP32_S3": ("esp32s3", 16, True)}
INPUT_ONLY: dict[str, set[int]] = {"esp32": set(range(34, 40)), "esp32s3": set(), "esp32c3": set()}
# where a MicroPython image begins in flash (the second-stage bootloader's address)
FLASH_OFFSET = {"esp32": 0x1000, "esp32s3": 0x0, "esp32c3": 0x0}
_INPUTS = ("rx_pin", "miso_pin", "int_pin", "estop_pin", "feedback_pin")


class BoardError(Exception):
    """The board or the site does not fit; one line an error."""


@dataclass(frozen=True)
class Kind:
    """How a board is used: its image, the bytes of heap a plan may count on, and how much of it may live for good.

    `live_bytes` are what remains when the site is idle and was collected; between the two lies what boot, console and
    drivers need for a moment.  `network`: a radio may run beside it.
    """

    name: str
    image: str  # key of a board file's "images"
    heap_bytes: int
    live_bytes: int
    network: bool


# megabytes are there, but 370 KB take 90 ms to be collected, of the 120 that control may wait, and 400 KB 97
PSRAM = Kind("psram", "stock", 512 * 1024, 400 * 1024, True)
# there all that lives is pointers, so that a KB takes longer: 150 KB some 63 ms, each 10 KB more 2 (docs/simulated-board.md)
PSRAM_OWN = Kind("psram_own", "own", 512 * 1024, 280 * 1024, True)
WIRED = Kind("wired", "own", 160_000, 130 * 1024, False)  # from files the drivers alone are more than that
# beyond two areas the heap takes what Wi-Fi lives on; of the 17 KB left a hundred lines of the console need 12 at most
WIFI = Kind("wifi", "own", 112_000, 92 * 1024, True)
_PLACES = re.compile(r'^ +\("(host|port)", "(?:str|int)", "?([^",]*)"?,', re.M)  # in a service's OPTIONS, with its default
KINDS = {kind.name: kind for kind in (PSRAM, PSRAM_OWN, WIRED, WIFI)}


def names() -> list[str]:
    """Every board there is a file for."""
    return sorted(path.stem for path in BOARDS.glob("*.json") if path.name != "schema.json")


def load(name: str) -> dict[str, Any]:
    """A board by name, or by the path of a file.  Raises BoardError with everything that is wrong with it."""
    if not name:
        raise BoardError(f"BOARD is missing: {', '.join(names())}, or the path of a board file (boards/README.md)")
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
    found += [(f"inputs[{i}]", pin, False) for i, pin in enumerate(board.get("inputs", ()))]
    for section in (*((f"buses.{name}", bus) for name, bus in board["buses"].items()), ("io", board["io"])):
        where, values = section
        found += [(f"{where}.{key}", pin, key not in _INPUTS) for key, pin in values.items() if key.endswith("_pin")]
    return found


def _check_images(board: dict[str, Any]) -> list[str]:
    """An image for another chip, or one that does not see the board's PSRAM (or looks for one that is not there)."""
    errors = []
    stock = board["images"]["stock"]
    chip = {"ESP32_GENERIC": "esp32", "ESP32_GENERIC_S3": "esp32s3", "ESP32_GENERIC_C3": "esp32c3"}[stock.split("-")[0]]
    if chip != board["chip"]:
        errors.append(f"images.stock = {stock}: is for the {chip}, the board has an {board['chip']}")
    elif bool(board["psram_mb"]) != ("SPIRAM" in stock) and not (stock == "ESP32_GENERIC_S3" and board["psram_mb"] == 2):
        errors.append(f"images.stock = {stock}: does not suit {board['psram_mb']} MB of PSRAM")
    own = board["images"].get("own")
    if own is not None:
        for_chip, least_mb, octal = OWN_IMAGES[own]
        if board["chip"] != for_chip or board["flash_mb"] < least_mb or octal != (stock == _OCTAL):
            psram = " and octal PSRAM" if octal else ""
            errors.append(f"images.own = {own}: is for an {for_chip} with {least_mb} MB of flash{psram}")
    return errors


def _check_pins(board: dict[str, Any]) -> list[str]:
    chip = board["chip"]
    errors = _check_images(board)
    seen: dict[int, str] = {}
    for where, pin, output in pins(board):
        if pin in UNUSABLE[chip] or (board["psram_mb"] and pin in PSRAM_PINS.get(board["images"]["stock"], ())):
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


def needs_network(site: dict[str, Any]) -> list[str]:
    """What of a site file wants the Wi-Fi, by name; nothing for a wired site."""
    wants = ["wifi"] if site.get("wifi") else []
    wants += [f"devices.{name}.host" for name, device in site.get("devices", {}).items() if device.get("host")]
    clock = site.get("clock") or {}
    wants += [f"clock.{key}" for key in ("ntp", "ems_port") if clock.get(key)]
    for name, service in (site.get("services") or {}).items():
        wants += [f"services.{name}.host"] if isinstance(service, dict) and _speaks_tcp(service) else []
    return wants


def _speaks_tcp(service: dict[str, Any]) -> bool:
    """It connects to a host, or listens at a port: by its options, else as they are declared."""
    file = ROOT / "firmware" / "services" / f"{service.get('type')}.py"
    declared = dict(_PLACES.findall(file.read_text())) if file.exists() else {}
    port = service.get("port", 1 if service.get("host") else int(declared.get("port", 1)))
    return bool(service.get("host", declared.get("host", "")) and (port or service.get("tls_port")))


def kind_of(board: dict[str, Any], site: dict[str, Any], image: str = PSRAM.image) -> Kind:
    """How a board is used for a site.  Without PSRAM the site decides; with it the image ("stock", "own") that is on the board.

    BoardError for a site with a network where no image leaves the heap for it.
    """
    if board["psram_mb"]:
        return PSRAM_OWN if image == PSRAM_OWN.image else PSRAM
    wants = needs_network(site)
    if not wants:
        return WIRED
    if WIFI.image not in board["images"]:
        raise BoardError(
            f"{', '.join(wants)}: {board['name']} has no PSRAM and no image of ours, so nothing that needs Wi-Fi fits; "
            "use a board with PSRAM, or wire the devices"
        )
    return WIFI


def _give_inputs(board: dict[str, Any], where: str, inputs: Any) -> list[str]:
    """Give those inputs that are pins the board's, in their order; what is no input of a site is left for its check."""
    entries = [one for one in inputs.values() if isinstance(one, dict)] if isinstance(inputs, dict) else []
    wired = [one for one in entries if one.get("bit", -1) == -1]
    pins = board.get("inputs", [])
    if len(wired) > len(pins):
        return [f"{where}: {len(wired)} pins, {board['name']} has {len(pins)} for inputs; an I/O module on Modbus has more"]
    for one, pin in zip(wired, pins, strict=False):
        one["input_pin"] = pin
    return []


def site_for(board: dict[str, Any], site: dict[str, Any], ssid: str = "", password: str = "") -> dict[str, Any]:
    """The site file as it goes on that board: its pins, and the Wi-Fi station when one is given.

    Raises BoardError for a bus that the board has not, for more inputs than it has pins for, and for TLS without PSRAM.
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
    for name, service in (merged.get("services") or {}).items():
        if isinstance(service, dict) and service.get("type") == "relays":
            errors += _give_inputs(board, f"services.{name}.inputs", service.get("inputs"))
        if isinstance(service, dict) and service.get("tls_port") and not board["psram_mb"]:
            errors.append(f"services.{name}.tls_port: TLS needs a board with PSRAM, {board['name']} has none")
        if isinstance(service, dict) and service.get("tls") is True and not board["psram_mb"]:
            errors.append(f"services.{name}.tls: TLS needs a board with PSRAM, {board['name']} has none")
    if errors:
        raise BoardError("\n".join(errors))
    if ssid:
        merged["wifi"] = {**(merged.get("wifi") or {}), "ssid": ssid, "password": password}
    merged["board"] = {"name": board["name"], "chip": board["chip"], "levels": board["levels"]}
    return merged
