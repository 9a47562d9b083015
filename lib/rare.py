"""Methods that are called so rarely that they stay in flash: fetched when called, and let go soon after.

In the sources they are ordinary methods, marked `# rare` behind their `def`; tools/rare.py moves them into a file
beside the module when it is cross-compiled, and gives their class a `__getattr__` that asks here.
"""

import _thread
import gc
import sys

from unload import unload

_lock = _thread.allocate_lock()
_held: list = []  # the modules that were loaded for the methods which are in the heap


def borrow(module: str):
    """A module that is needed for a moment only: fetched if it is not in the heap, let go by the next `release`.

    Where there is no room for it, what was fetched before is let go first.
    """
    with _lock:  # another thread must not see it half fetched
        try:
            return _import(module)
        except MemoryError:
            _let_go()
            gc.collect()
            return _import(module)


def _import(module: str):
    found = sys.modules.get(module)
    if found is None:
        before = set(sys.modules)
        try:
            found = __import__(module, None, None, (module,))
        finally:  # with what only it imports; of one that failed, half is there
            for loaded in sys.modules:
                if loaded not in before:
                    _held.append(loaded)
    return found


def _let_go() -> None:
    while _held:
        unload(_held.pop())


def method(number: int, this, name: str):
    """The method `name` of `this` out of its module's file of rare ones; AttributeError if it is not there either.

    `number` is the module's; constructors are called make, and have a file of their own.
    """
    return _of("r%d%s" % (number, "m" if name.startswith("make") else "r"), this, name)


def grouped(number: int, this, name: str):
    """The same for a module with several files of rare methods; a text beside them says which is where."""
    with open("lib/r%d" % number) as index:
        for line in index:
            known, _, group = line.rstrip().partition(" ")
            if known == name:
                return _of("r%d%s" % (number, group), this, name)
    raise AttributeError(name)


def _of(file: str, this, name: str):
    function = getattr(borrow(file), name)
    return lambda *arguments, **named: function(this, *arguments, **named)


def text(at: int, length: int) -> str:
    """A text that the build has moved to flash (tools/texts.py); its place if there is no room or no file for it.

    It never raises: it is asked for while something else is going wrong.
    """
    try:
        with open("lib/texts", "rb") as file:
            file.seek(at)
            return file.read(length).decode()
    except (OSError, ValueError, MemoryError):
        return "text %d" % at


def release() -> None:
    """Let go of all that was fetched; the application calls it now and then.  What is running goes on."""
    if _held and _lock.acquire(False):  # a thread that fetches just now takes its time: next time, then
        _let_go()
        _lock.release()
