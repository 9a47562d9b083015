"""Where the MicroPython interpreters are: the 64-bit one from the environment, the 32-bit one from the project's cache.

`command(bits)` gives a command list; `find32()` is None where the 32-bit interpreter was never fetched
(`make setup` fetches it; environment variable MICROPYTHON32 names another one).
"""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_CACHED_32 = ROOT / ".cache" / "micropython32" / "micropython32"


@dataclass(frozen=True)
class Interpreter:
    """One MicroPython: how to start it and how to compile native code for it."""

    bits: int
    command: tuple[str, ...]

    @property
    def march(self) -> str:
        """What mpy-cross calls the machine this interpreter runs native code of."""
        return "x86" if self.bits == 32 else "x64"

    def __str__(self) -> str:
        return f"micropython{self.bits}"


def find64() -> Interpreter | None:
    """The Unix port beside the running Python, or on PATH; None where there is neither."""
    named = os.environ.get("MICROPYTHON64")
    beside = Path(sys.executable).with_name("micropython")
    found = named or (str(beside) if beside.exists() else shutil.which("micropython"))
    return Interpreter(64, (found,)) if found else None


def find32() -> Interpreter | None:
    """The 32-bit Unix port from the project's cache (or MICROPYTHON32); None where there is none."""
    named = os.environ.get("MICROPYTHON32")
    if named:
        return Interpreter(32, (named,))
    return Interpreter(32, (str(_CACHED_32),)) if _CACHED_32.exists() else None


def chosen(name: str | None = None) -> Interpreter:
    """The interpreter that `name` (default: environment variable MICROPYTHON, else the 64-bit one) stands for.

    `name` is "64", "32" or the path of an interpreter.  Raises FileNotFoundError saying what to do.
    """
    name = name or os.environ.get("MICROPYTHON") or "64"
    if name not in ("32", "64"):
        if not shutil.which(name):
            raise FileNotFoundError(f"MICROPYTHON={name}: no such program (allowed: 32, 64 or a path)")
        return Interpreter(_word_bits(name), (name,))
    found = find32() if name == "32" else find64()
    if found is None:
        raise FileNotFoundError(f"the {name}-bit MicroPython is not there: run `make setup`")
    return found


def _word_bits(path: str) -> int:
    import subprocess

    probe = "import sys; print(64 if sys.maxsize > 2**32 else 32)"
    out = subprocess.run([path, "-c", probe], capture_output=True, text=True, timeout=20, check=True)
    return int(out.stdout)
