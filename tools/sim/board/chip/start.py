"""How the 32-bit interpreter is started at a chip's speed: a command without a shell, or a file that stands for it."""

import os
import shlex
from functools import cache
from pathlib import Path

from tools import debian_bundle
from tools.debian_bundle import BUNDLES, Bundle
from tools.interpreters import Interpreter
from tools.sim.board.chip import build, collector
from tools.sim.board.chip.build import ChipError
from tools.sim.board.chip.profiles import Profile, profile


def missing() -> str | None:
    """Why there is no chip's clock on this machine, or None where there is one (perhaps still to be compiled)."""
    for name in ("qemu-user", "micropython32"):
        if not (debian_bundle.CACHE / name / name).exists():
            return f"{name} was not fetched: run `make setup`"
    if not build.plugin().exists():
        try:
            build.build()
        except ChipError as error:
            return str(error)
    return None


def command(chip: str | Profile) -> list[str]:
    """The interpreter at that chip's speed; arguments of MicroPython's follow.  One process, its id is the board's.

    Raises ChipError where something is missing, ValueError for a chip that there is not.
    """
    return list(_command(profile(chip) if isinstance(chip, str) else chip))


@cache
def _command(chip: Profile) -> tuple[str, ...]:
    reason = missing()
    if reason is not None:
        raise ChipError(reason)
    interpreter = BUNDLES["micropython32"]
    found = collector.find(_root(interpreter) / interpreter.program)
    plugin = str(build.build()).replace(",", ",,")  # QEMU's way to write a comma inside a value
    options = f"{plugin},mips={chip.mips},gc_percent={chip.gc_percent},{found.options()}"
    return (*_direct(BUNDLES["qemu-user"]), "-plugin", options, *_direct(interpreter))


def interpreter(chip: str | Profile) -> Interpreter:
    """The same as tools.interpreters has them.  Raises ChipError, ValueError."""
    return Interpreter(32, tuple(command(chip)))


def wrapper(chip: str | Profile) -> Path:
    """A file that starts it, for what takes one path (MICROPYTHON=...); it gives way, no shell stays between.

    Raises ChipError, ValueError.
    """
    wanted = profile(chip) if isinstance(chip, str) else chip
    text = f'#!/bin/sh\n# MicroPython at the speed of an {wanted.name}\nexec {shlex.join(command(wanted))} "$@"\n'
    path = build.CACHE / f"micropython-{wanted.name}"
    if not path.exists() or path.read_text() != text:
        new = path.with_suffix(f".{os.getpid()}")
        new.write_text(text)
        new.chmod(0o755)
        new.rename(path)
    return path


def _root(bundle: Bundle) -> Path:
    return debian_bundle.CACHE / bundle.name / "root"


def _direct(bundle: Bundle) -> list[str]:
    """What the bundle's wrapper would exec."""
    root = _root(bundle)
    libraries = ":".join(str(root / name) for name in bundle.libraries)
    return [str(root / bundle.loader), "--library-path", libraries, str(root / bundle.program)]
