"""Prints what each module costs in heap when imported: run under MicroPython in a staged flash directory.

    micropython heap_of.py ROM_MODULES module module ...

The modules come in an order in which everything a module imports has been imported before it.  One line each:
name, bytes.  What C code and the ROM hold on a board (asyncio, json, machine ...) is loaded first and not counted.
"""

import gc
import sys

sys.path[:] = [sys.argv[1], "", "lib", ".frozen"]

for name in (
    "array", "asyncio", "binascii", "errno", "hashlib", "io", "json", "math", "micropython", "os", "random", "re",
    "select", "socket", "struct", "time", "_thread", "collections", "esp32", "machine", "network",
):  # fmt: skip
    try:
        __import__(name)
    except ImportError:
        pass
import machine  # noqa: E402

for name in ("Pin", "UART", "WDT", "RTC", "SPI", "I2C", "CAN"):
    getattr(machine, name)


def used() -> int:
    gc.collect()
    gc.collect()
    return gc.mem_alloc()


for name in sys.argv[2:]:
    sys.stdout.write("")
    before = used()
    try:
        __import__(name)
    except Exception as error:
        print(name, -1, type(error).__name__, error)
        continue
    print(name, used() - before)

if "firmware.manager" in sys.modules:
    PowerManager = sys.modules["firmware.manager"].PowerManager
    before = used()
    pm = PowerManager()
    print("PowerManager()", used() - before)
