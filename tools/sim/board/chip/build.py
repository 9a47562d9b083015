"""Compiles the clock's plugin into .cache/chip, by the hash of its source: `python3 tools/setup_host.py` does it.

Needs nothing but a C compiler; runs on a bare Python 3.11.
"""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("pace.c")
CACHE = Path(__file__).resolve().parents[4] / ".cache" / "chip"
COMPILE = ("-O2", "-Wall", "-fPIC", "-shared", "-fvisibility=hidden")


class ChipError(Exception):
    """The chip's clock cannot be had, or is not right; the text says why and what to do."""


def plugin() -> Path:
    """Where the compiled plugin is, or will be."""
    digest = hashlib.sha256(SOURCE.read_bytes() + " ".join(COMPILE).encode()).hexdigest()
    return CACHE / f"pace-{digest[:16]}.so"


def build() -> Path:
    """The compiled plugin, compiled now if its source has changed.  Raises ChipError."""
    ready = plugin()
    if ready.exists():
        return ready
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise ChipError("needs a C compiler: on Debian or Ubuntu, sudo apt-get install gcc libc6-dev (or name one in CC)")
    CACHE.mkdir(parents=True, exist_ok=True)
    new = ready.with_suffix(f".{os.getpid()}")
    done = subprocess.run([compiler, *COMPILE, "-o", str(new), str(SOURCE)], capture_output=True, text=True)
    if done.returncode:
        raise ChipError(f"{compiler} could not compile {SOURCE.name}:\n{done.stderr.strip()}")
    new.rename(ready)  # whole or not at all, also when two of us compile
    return ready
