"""What boot.py's mount has written, boot.py's mount reads, whichever image the board had before and has now.

LittleFS 2 does not read a file that it keeps beside its name, near the end of a block, through a cache that is smaller than the
file ("corrupt", OSError 84).  Found by deploys killed at random points.
"""

import json
import re
import subprocess
from itertools import product
from pathlib import Path

import pytest

from tools.interpreters import Interpreter

INLINE_BYTES = 4096 // 8  # what LittleFS keeps beside a name, at most
CACHE = 4  # MicroPython's LittleFS has a cache of so many reads


def readsizes(root: Path) -> list[int]:
    """What boot.py mounts with, by what the board is."""
    lines = re.findall(r"readsize = (.*)", (root / "boot.py").read_text())
    return sorted({int(number) for line in lines for number in re.findall(r"\d+", line)})


def unread(mp: Interpreter, root: Path, written: int, read: int) -> list[str]:
    script = root / "host_tests" / "mp" / "on_board" / "small_files.py"
    command = [*mp.command, "-X", "heapsize=4M", str(script), str(written), str(read)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    report = json.loads(done.stdout)
    assert report["files"] > 200
    return report["wrong"]


@pytest.mark.parametrize("way", ["as it was written", "as another image has it"])
def test_every_small_file_is_read(mp32: Interpreter, root: Path, way: str) -> None:
    sizes = readsizes(root)
    assert len(sizes) == 2 and min(sizes) * CACHE >= INLINE_BYTES
    for written, read in product(sizes, sizes):
        if (written == read) == (way == "as it was written"):
            assert unread(mp32, root, written, read) == []


def test_with_a_smaller_cache_some_are_not(mp32: Interpreter, root: Path) -> None:
    assert unread(mp32, root, 512, 32), "then LittleFS has been mended, and boot.py may mount with less"
