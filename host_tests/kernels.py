"""The kernels of firmware/kernel/ for tests: each function by its name, whichever file it is in."""

import re
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from host_tests import hotcheck
from tools.build import slots

_DEFINED = re.compile(r"^@micropython\.viper\ndef (\w+)", re.M)


def where() -> dict[str, str]:
    """Name of every kernel: its module."""
    found: dict[str, str] = {}
    for path in slots.kernels():
        for name in _DEFINED.findall(path.read_text()):
            assert name not in found, f"two kernels are called {name}"
            found[name] = f"firmware.kernel.{path.stem}"
    return found


def gathered(load: Callable[[Path], ModuleType]) -> Any:
    """All of them in one name space, from files that `load` has made modules of."""
    files = {path.stem: load(path) for path in slots.kernels()}
    return SimpleNamespace(**{name: getattr(files[module.rpartition(".")[2]], name) for name, module in where().items()})


def _as_written(path: Path) -> ModuleType:
    module = ModuleType(f"plain_{path.stem}")
    exec(compile(path.read_text(), str(path), "exec"), module.__dict__)
    return module


def imported() -> Any:
    """As this process imports them: quick in tests and in the soak."""
    return gathered(lambda path: import_module(f"firmware.kernel.{path.stem}"))


@cache
def plain() -> Any:
    """As they are written."""
    return gathered(_as_written)


def checked() -> Any:
    """With every operation checked against what viper can do on a chip."""
    return gathered(hotcheck.load)


def put(name: str, kernel: Callable[..., Any]) -> None:
    """Put another function in a kernel's place."""
    setattr(import_module(where()[name]), name, kernel)
