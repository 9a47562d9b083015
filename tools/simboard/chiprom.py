"""Builds the simulated chip's ROM: the modules that on a chip are C in flash, compiled for the interpreter.

On a board with a chip's profile those that only measure are an image of their own, mapped outside the heap.
"""

import shutil
import tempfile
from pathlib import Path

from mpremote.romfs import VfsRomWriter

from tools import stage
from tools.simboard import mpyfile

SOURCES = Path(__file__).parent / "modules"
ENTRY = "rom.py"  # what the interpreter is started with: it stays source
INSTRUMENTS = ("sim_end", "sim_flash", "sim_import", "sim_pool", "sim_select", "sim_socket", "sim_stats", "sim_watch", "sim_wlan")
CODE = "code"  # the folder of machine code sizes


def build(into: Path, march: str, lines: bool = True) -> None:
    """Fills the folder `into` for that machine, with line numbers or without.  Raises stage.CompileError."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    shutil.copyfile(SOURCES / ENTRY, into / ENTRY)
    for source in sorted(SOURCES.glob("*.py")):
        if source.name != ENTRY:
            stage.compile_file(source, source.name, march, into / source.with_suffix(".mpy").name, lines)


def build_instruments(rom: Path, image: Path) -> None:
    """Moves the instruments out of a folder that build() has filled, into a ROMFS image."""
    writer = VfsRomWriter()
    for name in INSTRUMENTS:
        file = rom / f"{name}.mpy"
        writer.mkfile(file.name, file.read_bytes())
        file.unlink()
    image.write_bytes(bytes(writer.finalise()))


def tell_code_sizes(tree: Path, rom: Path) -> None:
    """For every module of the source tree with machine code: an empty file of that many bytes, as the ESP32 has it."""
    folder = rom / CODE
    folder.mkdir()
    with tempfile.TemporaryDirectory() as scratch:
        for relative in stage.stage(tree, Path(scratch), "xtensawin"):
            if relative.suffix != ".mpy":
                continue
            size = mpyfile.read(Path(scratch) / relative).code
            if size:
                with (folder / module_name(relative)).open("wb") as file:
                    file.truncate(size)


def module_name(path: Path) -> str:
    """firmware/devices/x.mpy -> firmware.devices.x; lib/modbus/__init__.mpy -> modbus."""
    parts = list(path.with_suffix("").parts)
    if parts[0] == "lib":
        parts = parts[1:]
    if parts[-1] == "__init__":
        parts = parts[:-1]
    return ".".join(parts)
