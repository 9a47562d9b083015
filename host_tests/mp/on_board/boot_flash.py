"""Runs boards/BESS_ESP32's _boot.py on a flash in some state and says what came of it: run by test_own_boot.py.

micropython boot_flash.py MODULES STATE: the folder of _boot.py, and how the flash is found.
"""

import os
import sys

import vfs

BLOCK = 4096
BLOCKS = 16


class Flash:
    """A partition as esp32.Partition gives it, in RAM; `full` fails every write."""

    def __init__(self) -> None:
        self.data = bytearray(b"\xff" * (BLOCK * BLOCKS))
        self.writes = 0
        self.full = False

    def readblocks(self, number, buffer, offset=0):
        at = number * BLOCK + offset
        buffer[:] = self.data[at : at + len(buffer)]

    def writeblocks(self, number, buffer, offset=None):
        if self.full:
            raise OSError(5)
        self.writes += 1
        at = number * BLOCK + (offset or 0)
        self.data[at : at + len(buffer)] = buffer

    def ioctl(self, question, value):
        if question == 4:
            return BLOCKS
        if question == 5:
            return BLOCK
        if question == 6:
            if self.full:
                raise OSError(5)
            self.writes += 1
            self.data[value * BLOCK : (value + 1) * BLOCK] = b"\xff" * BLOCK
        return 0


def with_site() -> Flash:
    """A flash that has been in use."""
    flash = Flash()
    vfs.VfsLfs2.mkfs(flash)
    system = vfs.VfsLfs2(flash)
    with system.open("site.json", "w") as file:
        file.write('{"name": "' + "x" * 600 + '"}')
    return flash


def found(state: str):
    """The flash in that state."""
    if state == "erased":
        return Flash()
    if state == "none":
        return None
    if state == "in use":
        return with_site()
    if state == "one superblock lost":
        flash = with_site()
        flash.data[:BLOCK] = b"\x00" * BLOCK
        return flash
    if state == "both superblocks lost":
        flash = with_site()
        flash.data[: 2 * BLOCK] = b"\x5a" * (2 * BLOCK)
        return flash
    if state == "superblocks erased":
        flash = with_site()
        flash.data[: 2 * BLOCK] = b"\xff" * (2 * BLOCK)
        return flash
    if state == "making it was cut":
        flash = Flash()
        vfs.VfsLfs2.mkfs(flash)
        flash.data[40 : 2 * BLOCK] = b"\xff" * (2 * BLOCK - 40)
        return flash
    if state == "cannot be written":
        flash = Flash()
        flash.full = True
        return flash
    raise ValueError(state)


def scramble(flash: Flash, seed: int) -> None:
    """Some bytes of the superblocks become others, the same for the same seed."""
    number = seed
    for _ in range(1 + seed % 60):
        number = (number * 1103515245 + 12345) & 0x3FFFFFFF
        flash.data[(number >> 8) % (BLOCK if seed % 2 else 2 * BLOCK) % 300 + BLOCK * (number & 1)] = number >> 20 & 0xFF


class Found:
    """Stands for the port's module flashbdev."""


modules, state = sys.argv[1:3]
device = found(state)
before = bytes(device.data) if device else b""
flashbdev = Found()
flashbdev.bdev = device
sys.modules["flashbdev"] = flashbdev
sys.path.insert(0, modules)
with open(modules + "/_boot.py") as file:
    source = file.read()
sys.path[:] = [modules, ".frozen"]  # as if flashfs were frozen
said = {}
exec(source, said)
print("path", sys.path)
sys.path[:] = [modules, ".frozen"]
print("mounted", "no" if said["problem"] else "yes")
if not said["problem"]:
    print("files", os.listdir("/"))
if state == "in use":
    whole = bytes(device.data)
    tried = unmountable = 0
    for seed in range(1, 101):
        vfs.umount("/")
        device.data[:] = whole
        scramble(device, seed)
        worn = bytes(device.data)
        tried += 1
        if sys.modules["flashfs"].mount(device):
            unmountable += 1
            vfs.mount(vfs.VfsPosix(), "/")
        if bytes(device.data) != worn:
            print("written", seed)
            break
    print("tried", tried)
    print("unmountable", unmountable)
elif device:
    print("changed", "yes" if bytes(device.data) != before else "no")
    if said["problem"] and not device.full:
        sys.modules["flashfs"].make(device)
        with open("site.json", "w") as file:
            file.write("{}")
        print("made", os.listdir("/"))
