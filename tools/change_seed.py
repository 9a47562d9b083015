"""The seed of a change: what tests choose by chance is another for every change of the board's sources, the same in each run of it.

A fresh seed in every run would find a little more, and would stop a change that has nothing to do with what it found, on another
machine than that on which it was tried.  `make soak`, and pytest by hand, begin with a fresh one.
"""

import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def change_seed(root: Path = ROOT) -> int:
    """1 to 2**31 - 2, by what is in firmware/ and lib/."""
    sources = sorted(path for room in ("firmware", "lib") for path in (root / room).rglob("*.py"))
    return zlib.crc32(b"".join(path.read_bytes() for path in sources)) % (2**31 - 2) + 1
