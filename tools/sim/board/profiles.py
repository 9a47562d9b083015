"""The chips that the simulated board can be: CHIP=esp32 or esp32s3, ROMFS=1 for our own image (ROMFS=wired without a
radio), HEAP=... for another heap.

Without CHIP the board is a fast PC with a free file system.  How fast a chip is, chip/profiles.py says; docs/simulated-board.md
says where each figure is from.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

KB = 1024
WIRED = "wired"  # of ROMFS


@dataclass(frozen=True)
class Profile:
    """One chip with one image, and what it has."""

    name: str
    heap: int  # bytes of garbage-collected heap
    areas: int  # bytes of the heap's first two areas: more that lives there takes all of the pool; 0 with PSRAM
    pool: int  # bytes that ESP-IDF has left for Wi-Fi, sockets and machine code once the heap has its areas
    wifi: int  # bytes of the pool that Wi-Fi with DHCP takes
    site: str  # the site file that ships for it
    romfs: bool = False  # our own image: firmware/ and lib/ run in place
    flash: int = 2 << 20  # bytes of the file system's partition, as MicroPython's tables for 4 MB have it


PROFILES = {
    "esp32": Profile(
        "esp32", heap=160_000, areas=112_000, pool=96_000, wifi=60 * KB,
        site="docs/site.t_can485.json",
    ),
    "esp32s3": Profile(
        "esp32s3", heap=512 * KB, areas=0, pool=200_000, wifi=60 * KB,
        site="docs/site.example.json", flash=4 << 20,
    ),
}  # fmt: skip


def named(chip: str, romfs: bool = False, heap: int | None = None, wired: bool = False) -> Profile:
    """The profile of a chip, with our own image and another heap where asked.  ValueError for an unknown chip.

    wired: with our own image, but no radio, so that the heap may have its third area and the wired site runs.
    """
    if chip not in PROFILES:
        raise ValueError(f"CHIP={chip}: no such chip (allowed: {', '.join(PROFILES)}; none for a fast board)")
    profile = PROFILES[chip]
    if romfs:
        profile = replace(profile, romfs=True)
        if not profile.areas:
            profile = replace(profile, site="docs/site.operator.json")
        elif not wired:  # for the boards with Wi-Fi, which may not take the heap's third area
            profile = replace(profile, heap=profile.areas, site="docs/site.wifi.json")
    return replace(profile, heap=heap) if heap else profile


def chosen(env: Mapping[str, str] = os.environ, heap: str | None = None) -> Profile | None:
    """What CHIP, ROMFS and HEAP (or `heap`) ask for; None without CHIP.  ValueError for what there is not."""
    romfs = env.get("ROMFS", "") not in ("", "0")
    wired = env.get("ROMFS") == WIRED
    chip = env.get("CHIP", "")
    if not chip:
        if romfs:
            raise ValueError("ROMFS=1 needs a chip: CHIP=esp32 or CHIP=esp32s3")
        return None
    text = heap or env.get("HEAP")
    return named(chip, romfs, heap_bytes(text) if text else None, wired)


def heap_bytes(heap: str) -> int:
    """ "96K" in bytes.  ValueError for anything but digits with an optional K or M."""
    match = re.fullmatch(r"(\d+)([KkMm]?)", heap)
    if not match:
        raise ValueError(f"heap {heap!r}: must be a number of bytes, K or M, such as 96K")
    return int(match[1]) * {"": 1, "k": 1024, "m": 1 << 20}[match[2].lower()]
