"""zoneinfo zones to compare with: of the pinned tz database, and of nothing but a POSIX string."""

from __future__ import annotations

import io
import struct
from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo


def bytes_of(name: str) -> bytes:
    """The zone's file in the pinned package."""
    return resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()


@cache
def iana(name: str) -> ZoneInfo:
    """The zone of the pinned package; ZoneInfo(name) would take the system's, which may be older."""
    return ZoneInfo.from_file(io.BytesIO(bytes_of(name)), key=name)


@cache
def posix(text: str) -> ZoneInfo:
    """A zone that has nothing but this POSIX string: a TZif file whose data ends before it begins (RFC 9636)."""
    header = b"TZif2" + bytes(15) + struct.pack(">6l", 0, 0, 0, 0, 1, 4)
    block = struct.pack(">lBB", 0, 0, 0) + b"UTC\0"
    return ZoneInfo.from_file(io.BytesIO((header + block) * 2 + b"\n" + text.encode() + b"\n"), key=text)
