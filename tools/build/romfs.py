"""The firmware as a ROMFS image, whose modules run where they stand in flash: `make image`.

The image holds firmware/, lib/ and www/ of a staged tree.  MicroPython mounts it at /rom and looks for modules in /rom and
/rom/lib.  boot.py and main.py stay out: the chip starts them by name from its file system, where site.json is too.
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mpremote.romfs import VfsRomWriter

from tools.build import stage

MOUNT = "/rom"  # where MicroPython mounts the first image
SYS_PATH = (MOUNT, MOUNT + "/lib")  # what it adds to sys.path then
TARGET = stage.ROOT / "build" / "image" / "romfs.img"


class ImageError(Exception):
    """There is no image to be made of it; the text says why."""


@dataclass(frozen=True)
class Image:
    """What was built: where it is, its bytes, and the bytes of every file in it by its path below /rom."""

    path: Path
    size: int
    files: dict[str, int]


def build(tree: Path, into: Path, entries: str = "") -> Image:
    """Writes the image of a staged tree (stage.stage's dest) to the file `into`.

    entries: boot.py and main.py are in it too, compiled for that machine: BESS_ESP32 has them frozen.  Raises ImageError
    where the tree has no firmware or a name that ROMFS cannot hold, stage.CompileError.
    """
    writer = VfsRomWriter()
    files: dict[str, int] = {}
    for name in stage.TREES:
        if not (tree / name).is_dir():
            raise ImageError(f"{tree}: has no {name}/, so it is no staged tree")
        _add_folder(writer, tree, Path(name), files)
    if (tree / stage.PAGE).is_dir():
        _add_folder(writer, tree, Path(stage.PAGE), files)
    for name in stage.ENTRY_FILES if entries else ():
        compiled = into.with_name(name).with_suffix(".mpy")
        stage.compile_file(stage.for_image(tree, Path(name)), name, entries, compiled)
        writer.mkfile(compiled.name, compiled.read_bytes())
        files[compiled.name] = compiled.stat().st_size
    data = bytes(writer.finalise())
    into.parent.mkdir(parents=True, exist_ok=True)
    into.write_bytes(data)
    return Image(into, len(data), files)


def _add_folder(writer: VfsRomWriter, tree: Path, folder: Path, files: dict[str, int]) -> None:
    writer.opendir(folder.name)
    for path in sorted((tree / folder).iterdir()):
        relative = folder / path.name
        if not path.name.isascii():
            raise ImageError(f"{relative}: ROMFS holds ASCII names only")
        if path.is_dir():
            _add_folder(writer, tree, relative, files)
        else:
            content = path.read_bytes()
            writer.mkfile(path.name, content)
            files[relative.as_posix()] = len(content)
    writer.closedir()


def report(image: Image) -> str:
    """What `make image` says: the image and its parts."""
    lines = [f"{image.path}: {image.size:,} bytes, {len(image.files)} files"]
    for tree in (*stage.TREES, stage.PAGE):
        sizes = [size for path, size in image.files.items() if path.startswith(tree + "/")]
        lines.append(f"  {tree:9} {sum(sizes):8,} bytes in {len(sizes)} files")
    modules = [size for path, size in image.files.items() if path.endswith(".mpy")]
    lines.append(f"  {'modules':9} {sum(modules):8,} bytes in {len(modules)} files, the rest are data")
    return "\n".join(lines)


def main() -> int:
    """1 when a file does not compile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--march", default="xtensawin", help="machine code for viper functions (default: xtensawin)")
    parser.add_argument("--into", type=Path, default=TARGET, help="the image file (default: build/image/romfs.img)")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            stage.stage(stage.ROOT, Path(scratch), arguments.march)
            image = build(Path(scratch), arguments.into)
    except (stage.CompileError, ImageError) as error:
        print(error, file=sys.stderr)
        return 1
    print(report(image))
    return 0


if __name__ == "__main__":
    sys.exit(main())
