"""Whether a site fits a board: its parts' heap from tools/build/sizes.json, added up, against what the board has for it.

How much may live is boardfile.py's to say (its kinds).  On the stock image modules come from files and take heap; in an
image of our own (BESS_ESP32, BESS_ESP32_S3) their code, names and constants are in flash, and only their other objects take heap.
"""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tools.build import boardfile

ROOT = Path(__file__).resolve().parents[2]

KEPT = Path(__file__).with_name("sizes.json")
IMAGES = STOCK, OWN = "stock", "own"
IMAGE_HELP = "the MicroPython that the board has: its stock image (default), or ours (boards/README.md)"
SHIPPED = (  # site of docs/, board, image: those that fit
    ("site.t_can485.json", "lilygo_t_can485", OWN),
    ("site.wifi.json", "generic_esp32", OWN),
    ("site.wifi.json", "lilygo_t_can485", OWN),
    ("site.example.json", "lilygo_t_2can", STOCK),
    ("site.operator.json", "lilygo_t_2can", OWN),
)
# services that others of sizes.json bring: the rest is weighed by itself, or counts as it declares
WEIGHED = ("console", "emergency_memory", "calendar", "records", "ems_clock")
OWN_CALLBACKS = 1024  # bytes of seven registered callbacks: programs come and go, and the site file says nothing of them
OWN_NAMES = 140  # that dotted names, the site file and people bring beside those that our own image has in flash
_FIRST_POOL, _POOL_HEAD, _POOL_ENTRY, _BLOCK = 20, 24, 7, 16  # of MicroPython's pools of names on 32 bits


class TooBig(Exception):
    """The site does not fit the board; the text has the figures and says what would do."""


@cache
def sizes() -> dict[str, Any]:
    """What `make size ARGS=--write` has kept."""
    return json.loads(KEPT.read_text())


def pool_bytes(names: int) -> int:
    """Bytes of the pools that so many names are kept in: each is twice the one before, and in one piece."""
    total, entries = 0, _FIRST_POOL
    while names > 0:
        total += -(-(_POOL_HEAD + _POOL_ENTRY * entries) // _BLOCK) * _BLOCK
        names, entries = names - entries, 2 * entries
    return total


def pool_room(names: int) -> int:
    """How many more names there is room for in the pools that so many take."""
    room = _FIRST_POOL
    entries = 2 * _FIRST_POOL
    while room < names:
        room, entries = room + entries, 2 * entries
    return room - names


def file_bytes(module: dict[str, int]) -> int:
    """Heap of a module that comes from a file, without its share of the pools of names."""
    return module["code_bytes"] + module["name_bytes"] + module["object_bytes"]


def frozen_bytes(module: dict[str, int]) -> int:
    """Heap of a module that is in the image."""
    return module["object_bytes"] - module["constant_bytes"]


def parts_of(site: dict[str, Any], known: dict[str, Any]) -> list[tuple[str, str]]:
    """(what the site file calls it, part in sizes.json) of everything that takes heap.

    Raises KeyError for what was never measured.
    """
    found = [("core", "core")]
    for name, bus in site.get("buses", {}).items():
        found.append((f"buses.{name}", f"bus {bus['type']}"))
        backend = f"backend {bus.get('backend')}"
        if backend in known:
            found.append((f"buses.{name}", backend))
    for name, device in site.get("devices", {}).items():
        tcp = ", TCP" if device.get("host") else ""
        part = f"device {device['type']}{tcp}"
        spoken = f"{part}, {device.get('dialect')}"
        found.append((f"devices.{name}", spoken if spoken in known else part))
        if tcp and device.get("transport", "tcp") != "tcp":
            found.append((f"devices.{name}", f"transport {device['transport']}"))
        table = device.get("table")
        if isinstance(table, str) or (isinstance(table, dict) and table.get("writes")):  # what is in a file cannot be seen here
            found.append((f"devices.{name}", "table that writes"))
    if site.get("wifi"):
        found.append(("wifi", "wifi"))
    clock = site.get("clock")
    kinds = {entry["type"] for entry in services(site).values()}
    if clock is not None or site.get("storage") is not None or kinds & {"calendar", "records"}:
        found += [("clock, storage", "calendar"), ("4 schedules", "schedules")]
        if site.get("wifi") and (clock or {}).get("ntp", "the default servers"):
            found.append(("clock.ntp", "clock.ntp"))
        if (clock or {}).get("ems_port") or "ems_clock" in kinds:
            found.append(("clock.ems_port", "clock.ems_port"))
    found += [(f"services.{name}", part) for name, part in _parts_of_services(site, known).items() if part in known]
    for _, part in found:
        if part not in known:
            raise KeyError(f"{part}: was never weighed; make size ARGS=--write")
    return found


def services(site: dict[str, Any]) -> dict[str, Any]:
    """The services that the site file names, by name."""
    return {name: entry for name, entry in (site.get("services") or {}).items() if isinstance(entry, dict) and "type" in entry}


def _parts_of_services(site: dict[str, Any], known: dict[str, Any]) -> dict[str, str]:
    """The part of sizes.json that each of the site's services is, if it was weighed."""
    found = {name: f"service {entry['type']}" for name, entry in services(site).items() if entry["type"] not in WEIGHED}
    for name, part in found.items():
        if services(site)[name].get("host") and f"{part}, TCP" in known:
            found[name] = f"{part}, TCP"
    return found


def declared_bytes(kind: str, image: str = STOCK) -> int:
    """What a service's file says that it takes: HEAP_BYTES from files, OWN_HEAP_BYTES in an image of our own, if it has one.

    Raises KeyError where it says nothing.
    """
    file = ROOT / "firmware" / "services" / f"{kind}.py"
    text = file.read_text() if file.exists() else ""
    found: dict[str, str] = dict(re.findall(r"^((?:OWN_)?HEAP_BYTES) = (\d+)\b", text, re.M))
    if "HEAP_BYTES" not in found:
        raise KeyError(f"service {kind}: firmware/services/{kind}.py declares no HEAP_BYTES")
    own = found.get("OWN_HEAP_BYTES", found["HEAP_BYTES"])
    return int(found["HEAP_BYTES"] if image == STOCK else own)


@dataclass(frozen=True)
class Weight:
    """A site on a board with an image: what lives there, part by part, and how much of it may."""

    board: str
    image: str
    rows: tuple[tuple[str, str, int], ...]  # name in the site file, part, bytes
    limit: int

    @property
    def total(self) -> int:
        """Bytes that live."""
        return sum(size for _, _, size in self.rows)

    @property
    def fits(self) -> bool:
        """It does."""
        return self.total <= self.limit

    def head(self) -> str:
        """One line: board, image, needed and there."""
        return f"{self.board} ({self.image}): {_kb(self.total)} of {_kb(self.limit)} KB"

    def as_text(self, what: str) -> str:
        """Every part of it."""
        lines = [f"{what} on {self.board} ({self.image}) needs {_kb(self.total)} KB of heap, {_kb(self.limit)} KB may live there:"]
        lines += [f"  {_kb(size):>6} KB  {name:22} {part if part != name else ''}".rstrip() for name, part, size in self.rows]
        return "\n".join(lines)


def _kb(size: int) -> str:
    return f"{size / 1024:.1f}"


def weigh(board: dict[str, Any], site: dict[str, Any], image: str, figures: dict[str, Any]) -> Weight:
    """A site file as it goes on that board.  Raises KeyError for a part without figures."""
    own = image == OWN
    modules, known = figures["modules"], figures["parts"]
    loaded: set[str] = set()
    rows: list[tuple[str, str, int]] = []
    names = 0
    words: set[str] = set()
    for label, part in parts_of(site, known):
        brings = [name for name in known[part]["modules"] if name not in loaded]
        loaded.update(brings)
        if known[part].get("words"):
            words.update(known[part]["words"].split())  # two parts share many
        else:
            names += known[part]["names"] + sum(modules[name]["names"] for name in brings)
        size = sum(frozen_bytes(modules[name]) if own else file_bytes(modules[name]) for name in brings)
        size += known[part]["own_bytes" if own else "object_bytes"]
        if rows and rows[-1][0] == label:  # one thing in the site file, two parts
            rows[-1] = (label, f"{rows[-1][1]}, {part}", rows[-1][2] + size)
        else:
            rows.append((label, part, size))
    for label, part in _parts_of_services(site, known).items():
        if part not in known:
            kind = services(site)[label]["type"]
            rows.append((f"services.{label}", f"{part}, as it declares", declared_bytes(kind, image)))
    if own:
        rows.append(("callbacks", "as programs register them", OWN_CALLBACKS))
    names = OWN_NAMES if own else names + len(words)
    rows.append((f"{names} names", "the pools they are kept in", pool_bytes(names)))
    return Weight(board["name"], board["images"].get(image, image), tuple(rows), limit(board, site, image))


def limit(board: dict[str, Any], site: dict[str, Any], image: str) -> int:
    """Bytes that may live for good on that board, with that site and image."""
    if board["psram_mb"]:
        return boardfile.kind_of(board, site, image).live_bytes
    return (boardfile.WIFI if boardfile.needs_network(site) else boardfile.WIRED).live_bytes


def images(board: dict[str, Any]) -> list[str]:
    """The images there are for a board."""
    return [image for image in IMAGES if image in board["images"]]


def where(site: dict[str, Any], figures: dict[str, Any]) -> list[Weight]:
    """Every board and image that the site fits on."""
    found = []
    for name in boardfile.names():
        board = boardfile.load(name)
        try:
            merged = boardfile.site_for(board, site)
        except boardfile.BoardError:
            continue  # it has not the buses
        found += [weigh(board, merged, image, figures) for image in images(board)]
    return [weight for weight in found if weight.fits]


def require(board: dict[str, Any], site: dict[str, Any], image: str, figures: dict[str, Any] | None = None) -> Weight:
    """The site's weight on that board.  Raises TooBig with the figures where it does not fit, and says where it would."""
    if image not in board["images"]:
        raise TooBig(f"image {image}: {board['name']} has {', '.join(images(board))}")
    figures = figures or sizes()
    weight = weigh(board, site, image, figures)
    if weight.fits:
        return weight
    wants = "" if board["psram_mb"] else ", ".join(boardfile.needs_network(site))
    radio = f"\n  (without PSRAM the radio wants the rest, for {wants})" if wants else ""
    fitting = where(site, figures)
    others = "\n".join(f"  {other.head()}" for other in fitting) or "  no board there is a file for"
    own = board["images"].get(OWN)
    if any((other.board, other.image) == (board["name"], own) for other in fitting):
        others += f"\n({own} is our own image, boards/{own}/README.md: --image own)"
    raise TooBig(f"{weight.as_text('the site')}{radio}\nit would fit:\n{others}")
