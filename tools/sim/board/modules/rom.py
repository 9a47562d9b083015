"""What the chip's ROM and MicroPython's C code do at start: set the path, run boot.py, then main.py.

Started in the flash directory as `micropython rom.py`, or with SIM_FLASH and its flash in a file.  Both run in this
file's own namespace, as on a board (those of our own image each in one of its own); what comes after them is in sim_end.py,
or with SIM_PROMPT in sim_prompt.py.  SIM_PROMPT=raw: as after a soft reset by a host, without main.py.
"""

import os
import sys

# where this file is comes first, as it was started: the interpreter's own idea of it is longer, and paths stay in the heap
sys.path[:] = [sys.argv[0].rsplit("/", 1)[0], "", "lib", ".frozen"]
if os.getenv("SIM_FLASH"):
    __import__("sim_start").start()
else:
    sys.modules["os"] = sys.modules["uos"] = __import__("sim_os")
    __import__("sim_interrupt").install()
_run = __import__("sim_import").run if os.getenv("SIM_ROMFS") else execfile  # noqa: F821  (a built-in of the Unix port)
_status = 0
_prompt = os.getenv("SIM_PROMPT")
for _name in ("boot.py",) if _prompt == "raw" else ("boot.py", "main.py"):
    if not _status:
        try:
            _run(_name)  # a file is compiled, as a board does
        except BaseException as _error:
            _status = __import__("sim_end").status_of(_name, _error)
if _prompt:
    try:
        __import__("sim_prompt").run(globals(), _prompt == "raw")
    except MemoryError:  # Ctrl-C in the middle of a collection leaves the Unix port's heap locked: the watchdog will bite
        pass
__import__("sim_end").idle()
sys.exit(_status)
