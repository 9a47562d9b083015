"""The firmware laid out for freezing into an image of our own (boards/BESS_ESP32): `make image`.

Frozen, a module's code, names and tables stay in flash, so of what staging does for files only the numbers for constants
remain: tables stay tuples.  What lib/ holds comes to the top, where frozen modules are looked for.  Data files cannot be
frozen; `data_files` names those that must stand in the board's file system, where the modules look beside themselves.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools.build import stage

TARGET = stage.ROOT / "build" / "image" / "frozen"


def modules(root: Path = stage.ROOT) -> Iterator[tuple[Path, Path]]:
    """Every module: where it is in the tree, and by which path it is frozen."""
    for relative in stage.device_files(root):
        if relative.suffix == ".py":
            yield relative, frozen_path(relative)


def frozen_path(relative: Path) -> Path:
    """By which path a file of the tree is frozen: without lib/."""
    return Path(*relative.parts[1:]) if relative.parts[0] == "lib" else relative


def data_files(root: Path = stage.ROOT) -> list[Path]:
    """Files of the tree that are no modules, by the path that frozen modules look for them."""
    return [frozen_path(relative) for relative in stage.device_files(root) if relative.suffix != ".py"]


def build(into: Path = TARGET, root: Path = stage.ROOT) -> list[Path]:
    """Fills a folder (emptied first) with the sources to freeze; gives their paths below it.

    Raises ValueError for two files that would be frozen by one path.
    """
    shutil.rmtree(into, ignore_errors=True)
    made: list[Path] = []
    for relative, target in modules(root):
        if (into / target).exists():
            raise ValueError(f"{relative}: {target} is frozen from another file too")
        (into / target).parent.mkdir(parents=True, exist_ok=True)
        (into / target).write_text(stage.for_image(root, relative))
        made.append(target)
    return made


def compiled(into: Path, march: str = "xtensawin", tree: Path = TARGET) -> dict[Path, int]:
    """Compiles a laid-out tree into a folder, as the image's build will; bytes of every module.

    Raises stage.CompileError for the first that does not compile.
    """
    sizes = {}
    for source in sorted(tree.rglob("*.py")):
        relative = source.relative_to(tree)
        dest = (into / relative).with_suffix(".mpy")
        stage.compile_file(source, relative.as_posix(), march, dest)
        sizes[relative] = dest.stat().st_size
    return sizes


def main() -> int:
    """1 when a file does not compile."""
    build()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            sizes = compiled(Path(scratch))
    except stage.CompileError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{TARGET}: {len(sizes)} modules to freeze, {sum(sizes.values()):,} bytes as .mpy")
    for path in data_files():
        print(f"  {path}: {(stage.ROOT / path).stat().st_size:,} bytes, stays a file on the board")
    print("  boards/BESS_ESP32/README.md says how they become an image")
    return 0


if __name__ == "__main__":
    sys.exit(main())
