"""Writes the board's zone table: IANA names and their POSIX TZ strings, from the pinned tz database package.

Usage: python tools/generate/gen_tz.py [--check]

A zone is expressible when, from some instant up to the end of the database's year, one POSIX string gives every
offset that the database knows for it.  Zones that are not (Gaza moves its clocks with Ramadan) are in the table
under `!`, so that the board can say why it refuses them.  The table is read line by line on the board and never held:

    =CET-1CEST,M3.5.0,M10.5.0/3     a POSIX string
    Europe/Berlin                   the zones that have it
"""

from __future__ import annotations

import argparse
import struct
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata, resources
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(_ROOT))

from host_tests import shims  # noqa: E402  (needs the path above)

shims.install()
from posixtz import PosixTZ  # noqa: E402  (the board's own code decides what it can express)

TABLE = _ROOT / "firmware" / "zones.txt"

_UNIX_2000 = 946684800


@dataclass(frozen=True)
class Zone:
    """One zone: its IANA name, its POSIX string, and the UTC instant since when the string is true for it."""

    name: str
    posix: str
    since: datetime


def _current() -> datetime:
    """The end of the year of the database: what it says of later years is not a current rule yet."""
    return datetime(int(metadata.version("tzdata").split(".")[0]), 12, 31)


def _names() -> list[str]:
    text = resources.files("tzdata").joinpath("zones").read_text()
    return sorted(name for name in text.split() if name != "Factory")


def _read_tzif(name: str) -> tuple[list[int], list[int], str]:
    """Transition instants (Unix seconds), the offset that holds from each on (s), and the POSIX string (RFC 9636)."""
    data = resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()
    counts = struct.unpack_from(">6l", data, 20)
    isutcnt, isstdcnt, leapcnt, timecnt, typecnt, charcnt = counts
    at = 44 + timecnt * 5 + typecnt * 6 + charcnt + leapcnt * 8 + isstdcnt + isutcnt
    isutcnt, isstdcnt, leapcnt, timecnt, typecnt, charcnt = struct.unpack_from(">6l", data, at + 20)
    at += 44
    times = list(struct.unpack_from(f">{timecnt}q", data, at))
    kinds = data[at + timecnt * 8 : at + timecnt * 9]
    at += timecnt * 9
    offsets = [struct.unpack_from(">l", data, at + kind * 6)[0] for kind in kinds]
    footer = data[at + typecnt * 6 + charcnt + leapcnt * 12 + isstdcnt + isutcnt :]
    return times, offsets, footer.decode("ascii").strip("\n")


def _string_offset(zone: PosixTZ, unix: int) -> int:
    return zone.offset_at(*divmod(unix - _UNIX_2000, 86400))


def _since(times: list[int], offsets: list[int], posix: str) -> int:
    """The first instant (Unix seconds) from which the string gives every offset of the database."""
    zone = PosixTZ(posix)
    since = times[0] if times else _UNIX_2000
    for i, (start, offset) in enumerate(zip(times, offsets, strict=True)):
        end = times[i + 1] if i + 1 < len(times) else None
        if end is not None and end < 0:
            continue  # before 1970: no board will ask
        if _string_offset(zone, start) != offset:
            since = end if end is not None else start
        elif end is not None and not _constant(zone, start, end):
            since = end
        elif i and _string_offset(zone, start - 1) != offsets[i - 1]:
            since = max(since, start)
    return since


def _constant(zone: PosixTZ, start: int, end: int) -> bool:
    """Whether the string, too, changes nothing between two transitions of the database."""
    change = zone.next_change(*divmod(start - _UNIX_2000, 86400))
    return change is None or change[0] * 86400 + change[1] + _UNIX_2000 >= end


def all_zones() -> list[Zone]:
    """Every zone of the database, expressible or not."""
    zones = []
    for name in _names():
        times, offsets, posix = _read_tzif(name)
        since = datetime.fromtimestamp(_since(times, offsets, posix), UTC).replace(tzinfo=None)
        zones.append(Zone(name, posix, since))
    return zones


def _is_expressible(zone: Zone) -> bool:
    return zone.since <= _current()


def expressible_zones() -> list[Zone]:
    """The zones whose current rules one POSIX string expresses."""
    return [zone for zone in all_zones() if _is_expressible(zone)]


def table_text() -> str:
    """The table as the board reads it."""
    groups: dict[str, list[str]] = {}
    for zone in all_zones():
        groups.setdefault("=" + zone.posix if _is_expressible(zone) else "!", []).append(zone.name)
    lines = [f"# tz database, package tzdata {metadata.version('tzdata')}; made by tools/generate/gen_tz.py"]
    for posix in sorted(groups):
        lines += [posix, *groups[posix]]
    return "\n".join(lines) + "\n"


def write(path: Path) -> None:
    """Writes the table."""
    path.write_text(table_text(), encoding="ascii")


def main() -> int:
    """Command line: write the table, or check that it is up to date."""
    parser = argparse.ArgumentParser(description="IANA zone names to POSIX TZ strings, for the board")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the table is out of date")
    if parser.parse_args().check:
        if TABLE.read_text(encoding="ascii") == table_text():
            return 0
        print(f"{TABLE} is out of date: run python tools/generate/gen_tz.py", file=sys.stderr)
        return 1
    write(TABLE)
    print(f"{TABLE.relative_to(_ROOT)}: {TABLE.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
