"""Prints what each module costs in heap when imported: run under MicroPython in a staged flash directory.

    micropython heap_of.py ROM_MODULES PLACE module module ...

PLACE is the folder of a staged tree, or the ROMFS image of one (*.img).  The modules come in an order in which everything a
module imports has been imported before it.  Two lines each: `module NAME HEAP PEAK` in bytes (-1 and the error where it
cannot be imported), where PEAK is what the import allocates while nothing is collected; then the interpreter's account of its
names.  What C code and the ROM hold on a board (asyncio, json, machine ...) is loaded first and not counted.
"""

import gc
import sys

import micropython
import vfs

rom, place = sys.argv[1:3]
if place.endswith(".img"):
    with open(place, "rb") as file:
        image = file.read()
    vfs.mount(vfs.VfsRom(image), "/rom")
    place = "/rom"
sys.path[:] = [rom, place, place + "/lib", ".frozen"]

for name in (
    "array", "asyncio", "binascii", "errno", "hashlib", "io", "json", "math", "micropython", "os", "random", "re",
    "select", "socket", "struct", "time", "_thread", "collections", "esp32", "machine", "network",
):  # fmt: skip
    try:
        __import__(name)
    except ImportError:
        pass
import machine  # noqa: E402

for name in ("Pin", "UART", "WDT", "RTC", "SPI", "I2C"):
    getattr(machine, name)


def used() -> int:
    gc.collect()
    gc.collect()
    return gc.mem_alloc()


print("module", "before", 0, 0)
micropython.qstr_info()
before = used()
getattr(machine, "CAN")  # noqa: B009  (made when it is first asked for)
print("module", "machine.CAN", used() - before, 0)  # a stand-in of the simulated chip that not every site has
micropython.qstr_info()
for name in sys.argv[3:]:
    sys.stdout.write("")
    before = used()
    gc.disable()
    try:
        __import__(name)
    except Exception as error:
        print("module", name, -1, type(error).__name__, error)
        continue
    peak = gc.mem_alloc() - before
    gc.enable()
    print("module", name, used() - before, peak)
    micropython.qstr_info()

if "firmware.manager" in sys.modules:
    PowerManager = sys.modules["firmware.manager"].PowerManager
    before = used()
    pm = PowerManager()
    print("module", "PowerManager()", used() - before, 0)
    micropython.qstr_info()
