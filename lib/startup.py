"""Boot, told as it goes: every step with the milliseconds since boot.py, and the watchdog fed between them."""

import gc
import sys
import time

import watchdog

# What boot.py takes of the heap before anything else, so that all that lives lies above it; None once control begins.  Each
# call of a function with many locals takes a frame from the heap and gives it back, and MicroPython looks for it from the
# heap's beginning on: past 300 KB that live this is 12,000 instructions a call, and was half of what an ESP32-S3 did.
low = None
folder = ""  # where the site file and what it names stand, with its /: boot.py sets it


def make_room() -> None:
    """Before each step of building the site: what is kept low is kept only where as much again is free."""
    global low
    if low is not None and gc.mem_free() < len(low):
        gc.collect()
        if gc.mem_free() < len(low):
            low = None
            gc.collect()


def let_go(names: str) -> None:
    """Modules that were needed to build, and not to run, leave the heap, unless somebody holds something of one.

    Who needs one again imports it again.
    """
    for name in names.split(" "):
        sys.modules.pop(name, None)
        package, _, last = name.rpartition(".")
        if hasattr(sys.modules.get(package), last):
            delattr(sys.modules[package], last)


_begun_ms = time.ticks_ms()


def step(text: str) -> None:
    """One step is done."""
    watchdog.feed()
    print("boot: %6d ms  %s" % (time.ticks_diff(time.ticks_ms(), _begun_ms), text))
