"""What the chip's ROM and MicroPython's C code do at start: set the path, run boot.py, then main.py.

Started in the flash directory as `micropython rom.py`.  Errors are printed as the REPL prints them.  A program that has
ended leaves a board idle at its prompt: a started watchdog still bites; without one the process ends.
"""

import sys

_HERE = sys.path[0]
sys.path[:] = [_HERE, "", "lib", ".frozen"]


def _run(name: str) -> int:
    try:
        execfile(name)  # noqa: F821  (a built-in of the Unix port; compiles from the file, as a board does)
    except SystemExit as end:
        return end.args[0] if end.args and isinstance(end.args[0], int) else 0
    except OSError as error:
        if error.errno != 2 or not _missing(name):
            sys.print_exception(error)
            return 1
    except BaseException as error:
        sys.print_exception(error)
        return 1
    return 0


def _missing(name: str) -> bool:
    import os

    try:
        os.stat(name)
    except OSError:
        return True
    return False


def _idle() -> None:
    import time

    simlink = sys.modules.get("simlink")
    while simlink is not None and simlink.armed and not simlink.leaving:
        time.sleep_ms(50)
        simlink.pump()


_status = _run("boot.py") or _run("main.py")
_idle()
sys.exit(_status)
