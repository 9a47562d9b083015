"""Imports the firmware from a ROMFS image and says where from, at what cost in heap: run by test_romfs.py.

micropython from_rom.py IMAGE|FOLDER: an image is mounted where a chip mounts it, a folder is put on sys.path.
"""

import gc
import sys

import vfs

place = sys.argv[1]
if place.endswith(".img"):
    with open(place, "rb") as file:
        image = file.read()
    vfs.mount(vfs.VfsRom(image), "/rom")
    sys.path[:] = ["", ".frozen", "/rom", "/rom/lib"]
else:
    sys.path[:] = [place, place + "/lib", ".frozen"]

gc.collect()
before = gc.mem_alloc()
import firmware.image  # noqa: E402
import firmware.kernel.ramp  # noqa: E402
import firmware.manager  # noqa: E402
import modbus.client  # noqa: E402
import modbus.hot  # noqa: E402

gc.collect()
print("heap", gc.mem_alloc() - before)
print("manager", firmware.manager.__file__)
print("client", modbus.client.__file__)

from firmware.zones import zone  # noqa: E402

print("zone", type(zone("Europe/Berlin")).__name__)
print("crc", modbus.hot.crc16(b"123456789", 0, 9))
