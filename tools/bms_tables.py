"""The BMS protocols on CAN that there are: every table file of firmware/devices/, found by its frames, so that nobody lists them.

A maker's file (`bms_*.py` with FRAMES and a Device) is all that a battery needs: driver, DBC, simulated battery and what it
weighs follow from it.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

from host_tests import shims

shims.install()

_DEVICES = Path(__file__).resolve().parents[1] / "firmware" / "devices"
_FRAMES = re.compile(r"^FRAMES = \(", re.M)
_DEVICE = re.compile(r"^class Device\b", re.M)


@cache
def names() -> dict[str, str]:
    """Variant ("hv", "growatt") -> module of firmware.devices that has its frames."""
    stems = sorted(path.stem for path in _DEVICES.glob("*.py") if _FRAMES.search(path.read_text()))
    return {stem.removeprefix("pylontech_").removeprefix("bms_"): stem for stem in stems}


def module(variant: str) -> ModuleType:
    """The table of a variant.  KeyError for one that there is not."""
    return import_module(f"firmware.devices.{names()[variant]}")


@cache
def makers() -> dict[str, ModuleType]:
    """The variants that are a driver of their own; the others belong to bms_pylontech."""
    return {variant: module(variant) for variant, stem in names().items() if _DEVICE.search((_DEVICES / f"{stem}.py").read_text())}
