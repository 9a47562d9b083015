"""Builds the simulated chip's ROM: the modules that on a chip are C in flash, compiled for the interpreter."""

import shutil
from pathlib import Path

from tools import stage

SOURCES = Path(__file__).parent / "modules"
ENTRY = "rom.py"  # what the interpreter is started with: it stays source


def build(into: Path, march: str) -> None:
    """Fills the folder `into` for that machine.  Raises stage.CompileError."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    shutil.copyfile(SOURCES / ENTRY, into / ENTRY)
    for source in sorted(SOURCES.glob("*.py")):
        if source.name != ENTRY:
            stage.compile_file(source, source.name, march, into / source.with_suffix(".mpy").name)
