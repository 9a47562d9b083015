"""What each device is: maker, model and serial number as it says them itself, and what the technician has read off its plate."""

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Any

from tools.commission.bench import Bench
from tools.commission.wire import Refused, Silent

NOT_GIVEN = "not given"
BOARD = "io_board"  # the controller's own pins: no device beside it
Devices = Sequence[dict[str, str]]
_PLATE = re.compile(r"([^=]+)=(.+)")

ANSWER_S = 4.0
_COMMON = ("maker", "model", "version", "serial number")
# what the board does for it: registers of the common model from the chain's mark on, and how many
_READS = """async def _plate(n,s):
 p=_plates;a=array.array('H',bytes(32));t=[]
 try:
  for o,c in ((4,16),(20,16),(44,8),(52,16)):
   await s.unit.read(s.base+o,c,a)
   t.append(bytes([x for r in a[:c] for x in (r>>8,r&255) if 31<x<127]).decode().strip())
 except Exception:
  t=[]
 p[n]=t
"""
_EQUIPMENT = (
    ("maker", "{}"), ("version", "version {}"), ("modules_in_series", "{} modules in series"), ("cells", "{} cells"),
    ("cells_per_module", "{} cells a module"), ("nominal_v", "{} V"), ("nominal_ah", "{} Ah"), ("nominal_kwh", "{} kWh"),
)  # fmt: skip


def given(texts: list[str]) -> dict[str, str]:
    """`NAME=TEXT` each: what stands on the plate of a device of site.json.  ValueError for what is none."""
    found = {}
    for text in texts:
        match = _PLATE.fullmatch(text)
        if match is None:
            raise ValueError(f"--plate {text}: allowed is NAME=TEXT, as --plate 'bms=Maker Model, serial 4711'")
        found[match[1].strip()] = match[2].strip()
    return found


async def read(bench: Bench, plates: dict[str, str], before: Devices = ()) -> list[dict[str, str]]:
    """Of each device: name, type, where, what it says, what was given, in the site file's order.

    before: what was read earlier; only who has said nothing then is asked, and nobody once the board is silent.
    """
    known = {device["name"]: device["says"] for device in before}
    found = []
    silent = False
    for name, options in bench.site.get("devices", {}).items():
        if options.get("type") == BOARD:
            continue
        says = known.get(name, "")
        if not says and not silent:
            try:
                says = await _says(bench, name, options)
            except Silent:
                silent = True
        found.append({
            "name": name, "type": str(options.get("type")), "where": bench.where(options),
            "says": says, "given": plates.get(name, ""),
        })  # fmt: skip
    return found


def unknown(devices: Devices, plates: dict[str, str]) -> list[str]:
    """Names that were given, and that no device has."""
    return sorted(set(plates) - {device["name"] for device in devices})


async def _says(bench: Bench, name: str, options: dict[str, Any]) -> str:
    """In words, and "" where it cannot be asked or has not answered.  Silent."""
    kind = str(options.get("type", ""))
    try:
        if kind.endswith("_sunspec"):
            return common(await _common_model(bench, name))
        if kind.startswith("bms_"):
            return equipment(await bench.console.ask(f"app.site.devices[{name!r}].equipment()"))
    except Refused:
        return ""
    table = bench.tables.get(name, options.get("table"))
    named = table.get("name") if isinstance(table, dict) else None
    return f"read by the table of: {named}" if named else ""


async def _common_model(bench: Bench, name: str) -> Any:
    """The texts of a device's common model, read once more beside what its driver reads: the driver has let go of them."""
    ask = bench.console.ask
    for line in ("import array", "from looptime import start as _start", "_plates={}", f"exec({_READS!r})"):
        await ask(line)
    try:
        await ask(f"_start('plate',_plate({name!r},app.site.devices[{name!r}].sun))")
        give_up = time.monotonic() + ANSWER_S
        while (found := await ask(f"_plates.get({name!r})")) is None and time.monotonic() < give_up:
            await asyncio.sleep(0.1)
        return found
    finally:
        await ask("_plate=_plates=None")


def common(texts: Any) -> str:
    """What a SunSpec device's common model says, in words."""
    if not isinstance(texts, list):
        return ""
    return ", ".join(f"{label} {text}" for label, text in zip(_COMMON, texts, strict=False) if text)


def equipment(answer: Any) -> str:
    """What a BMS has answered about itself, in words."""
    if not isinstance(answer, dict):
        return ""
    told = [words.format(answer[key]) for key, words in _EQUIPMENT if answer.get(key) not in ("", None)]
    return ", ".join(told)
