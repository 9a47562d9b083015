"""Builds the simulated chip's ROM: the modules that on a chip are C in flash, so small that the heap stays the firmware's.

They go through the same steps as the firmware (short private names, rare methods in files of their own), and what runs
often is compiled to machine code, which MicroPython keeps outside the heap.
"""

import shutil
from pathlib import Path

from tools import stage
from tools.rare import numbers, take_rare
from tools.shorten import shorten

SOURCES = Path(__file__).parent / "modules"
ENTRY = "rom.py"  # what the interpreter is started with: it stays source


def build(into: Path, march: str, lines: bool) -> None:
    """Fills the folder `into` for that machine, with line numbers or without.  Raises stage.CompileError."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    shutil.copyfile(SOURCES / ENTRY, into / ENTRY)
    for source in sorted(SOURCES.glob("*.py")):
        if source.name == ENTRY:
            continue
        relative = Path(source.name)
        number = numbers(SOURCES.parent, (SOURCES.name,)).get(Path(SOURCES.name) / relative, -1)
        text, rare = take_rare(source.read_text(), relative, source.stem, number, stem="c", helper="simlink")
        for path, part in {relative: text, **rare}.items():
            # called as the board calls it: one name in its heap instead of two
            name = (Path("..", into.name) / path.with_suffix(".mpy")).as_posix()
            short = shorten(part, SOURCES.parent, (SOURCES.name,))
            stage.compile_file(short, name, march, into / path.with_suffix(".mpy"), lines)
