"""The folder of a commissioning: one at a time works in it, and what it has signed there nobody overwrites."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDER = Path("build/commission")
SIMULATED = FOLDER / "simulated"  # a simulated cabinet leaves the reports and the state of real ones alone
REPORTS = "reports"  # in it: every report under a name of its own
LOCK = "in_use"


class InUse(RuntimeError):
    """Another commissioning works in the folder; the text names it."""


@contextlib.contextmanager
def claimed(folder: Path, what: str) -> Iterator[None]:
    """Have the folder alone; what: the cabinet, for whoever comes second.  InUse.

    The system holds the lock, so that of a process that is dead is gone with it, whatever the file says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+") as claim:
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            claim.seek(0)
            by = claim.read().strip() or "it has not said who it is"
            raise InUse(f"another commissioning works in {folder} ({by}): wait for its end, or give this one a place of its own: "
                        f'ARGS="--out FOLDER"') from None  # fmt: skip
        claim.truncate(0)
        claim.write(f"process {os.getpid()}, {what}, since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n")
        claim.flush()
        try:
            yield
        finally:
            claim.truncate(0)


def state_file(folder: Path, subject: dict[str, Any]) -> Path:
    """Where a board's walk is kept: of each board by itself, so that one cabinet does not forget the other."""
    return folder / f"state-{subject['chip']}.json"


def keep(folder: Path, name: str, texts: dict[str, str]) -> list[Path]:
    """Write a report under its own name, {suffix: text}: where.  FileExistsError rather than overwrite another."""
    kept = folder / REPORTS
    kept.mkdir(parents=True, exist_ok=True)
    files = []
    for suffix, text in texts.items():
        file = kept / f"{name}{suffix}"
        with file.open("x") as out:
            out.write(text)
        files.append(file)
    return files


def newest(folder: Path, files: list[Path]) -> tuple[list[Path], list[Path]]:
    """A copy of these as report.* beside the others, and what had to move away for it: the copies, the moved.

    What stands there already is a copy of a kept one, and goes; if it is none (an older version wrote it, or somebody has
    signed it), it is moved to the kept ones.
    """
    copies, moved = [], []
    for file in files:
        copy = folder / f"report{file.suffix}"
        if copy.exists() and (aside := _aside(copy, folder / REPORTS)):
            moved.append(aside)
        beside = copy.with_suffix(f"{file.suffix}.new")
        beside.write_bytes(file.read_bytes())
        beside.replace(copy)
        copies.append(copy)
    return copies, moved


def _aside(copy: Path, kept: Path) -> Path | None:
    """Move it there unless one there is the same; where."""
    content = copy.read_bytes()
    if any(one.read_bytes() == content for one in kept.glob(f"*{copy.suffix}")):
        return None
    stamp = datetime.fromtimestamp(copy.stat().st_mtime, UTC)
    number = 0
    while (aside := kept / f"earlier-{stamp:%Y%m%d-%H%M%S}Z{f'-{number}' if number else ''}{copy.suffix}").exists():
        number += 1
    copy.rename(aside)
    return aside
