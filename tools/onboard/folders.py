# Runs on a board in its raw REPL, after FOLDERS = [...] has been defined: makes those that are not there, and removes the
# stamp of firmware/, which is copied last: until then main.py starts nothing.
# An earlier firmware's boot.py has armed the watchdog, which cannot be stopped; copying takes longer than it waits.
import os

try:
    import machine

    machine.WDT(timeout=600000)
except (AttributeError, ImportError, OSError, ValueError):
    pass  # no watchdog here: a port without one

for folder in FOLDERS:  # noqa: F821
    path = ""
    for part in folder.split("/"):
        path += ("/" if path else "") + part
        try:
            os.mkdir(path)
        except OSError:
            pass

for path in ("firmware/generation.mpy", "firmware/generation.py"):
    try:
        os.remove(path)
    except OSError:
        pass
