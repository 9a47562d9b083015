"""Builds the simulated chip's ROM: the modules that on a chip are C in flash, compiled for the interpreter.

On a board with a chip's profile they are an image, mapped outside the heap, and run where they stand, as C runs from flash.
"""

import shutil
import tempfile
from pathlib import Path

from mpremote.romfs import VfsRomWriter

from tools.build import stage
from tools.sim.board import mpyfile

SOURCES = Path(__file__).parent / "modules"
ENTRY = "rom.py"  # what the interpreter is started with: it stays source
INSTRUMENTS = (
    "sim_end", "sim_flash", "sim_frozen", "sim_import", "sim_interrupt", "sim_pace", "sim_pool", "sim_select", "sim_socket",
    "sim_start", "sim_stats", "sim_watch", "sim_wlan", "simlink",
)  # fmt: skip
FIRST = ("sim_start",)  # stays a file: it mounts the others
CODE = "code"  # the image's folder of machine code sizes
CONSTANTS = "constants"  # and that of what a frozen module has in flash
NAMES = "frozen_names"  # its module of the names that a frozen image has there: its source is empty


def build(into: Path, march: str, lines: bool = True) -> None:
    """Fills the folder `into` for that machine, with line numbers or without.  Raises stage.CompileError."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    shutil.copyfile(SOURCES / ENTRY, into / ENTRY)
    for source in sorted(SOURCES.glob("*.py")):
        if source.name != ENTRY:
            stage.compile_file(source, source.name, march, into / source.with_suffix(".mpy").name, lines)


def read(rom: Path) -> dict[str, bytes]:
    """Takes what build() has put into a folder out of it, by file name, but for what starts before there is an image."""
    found = {}
    for file in sorted(rom.glob("*.mpy")):
        if file.stem not in FIRST:
            found[file.name] = file.read_bytes()
            file.unlink()
    return found


def build_image(
    parts: dict[str, bytes], image: Path, march: str, code: dict[str, int], constants: dict[str, int], names: set[str]
) -> None:
    """Makes a ROMFS image of the chip's modules.

    With a file of that many bytes for every module in `code` and in `constants`.
    """
    writer = VfsRomWriter()
    for name, content in parts.items():
        writer.mkfile(name, content)
    for folder, sizes in ((CODE, code), (CONSTANTS, constants)):
        writer.opendir(folder)
        for name, size in sorted(sizes.items()):
            writer.mkfile(name, bytes(size))
        writer.closedir()
    with tempfile.TemporaryDirectory() as scratch:
        empty = Path(scratch) / "empty.mpy"
        stage.compile_file("", f"{NAMES}.py", march, empty)
        writer.mkfile(f"{NAMES}.mpy", mpyfile.with_names(empty.read_bytes(), sorted(names)))
    image.write_bytes(bytes(writer.finalise()))


def code_sizes(tree: Path) -> dict[str, int]:
    """Bytes of machine code of every module of the source tree that has some, as the ESP32 has it."""
    sizes: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for relative in stage.stage(tree, Path(scratch), "xtensawin"):
            if relative.suffix == ".mpy":
                sizes[module_name(relative)] = mpyfile.read(Path(scratch) / relative).code
    return {name: size for name, size in sizes.items() if size}


def module_name(path: Path) -> str:
    """firmware/devices/x.mpy -> firmware.devices.x; lib/modbus/__init__.mpy -> modbus."""
    parts = list(path.with_suffix("").parts)
    if parts[0] == "lib":
        parts = parts[1:]
    if parts[-1] == "__init__":
        parts = parts[:-1]
    return ".".join(parts)
