"""MicroPython's `micropython` module for CPython: decorators and const() that change nothing.

`schedule` runs its function at once; the heap functions accept and ignore, since CPython's heap cannot be locked
(allocation tests run on MicroPython).
"""

from collections.abc import Callable
from typing import Any


def const(value: Any) -> Any:
    """The value itself."""
    return value


def viper(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function itself; the int32 checks of the parity tests are added by tools of their own."""
    return function


def native(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function itself."""
    return function


bytecode = native


def schedule(function: Callable[[Any], Any], argument: Any) -> None:
    """Calls function(argument) now."""
    function(argument)


def heap_lock() -> int:
    """Does nothing: 0 nested locks."""
    return 0


def heap_unlock() -> int:
    """Does nothing: 0 nested locks."""
    return 0


def kbd_intr(character: int) -> None:
    """Does nothing: Ctrl-C stays CPython's."""


def alloc_emergency_exception_buf(size: int) -> None:
    """Does nothing: CPython has no such buffer."""


def opt_level(level: int = 0) -> int:
    """Optimisation level 0."""
    return 0


def mem_info(verbose: bool = False) -> None:
    """Prints nothing."""
