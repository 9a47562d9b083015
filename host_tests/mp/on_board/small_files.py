"""Small files on LittleFS, written under one mount and read under another: `small_files.py WRITTEN READ` (their readsizes).

LittleFS keeps a file that fits in its cache (four reads), up to an eighth of a block, beside its name.  Ends with one JSON line:
how many files were read, and which could not be or read as something else.
"""

import json
import sys

from vfs import VfsLfs2

BLOCK = 4096
BLOCKS = 32
FILES = 240


class Flash:
    """A block device in memory."""

    def __init__(self):
        self._bytes = bytearray(b"\xff" * (BLOCK * BLOCKS))

    def readblocks(self, block, buffer, offset=0):
        start = block * BLOCK + offset
        buffer[:] = self._bytes[start : start + len(buffer)]

    def writeblocks(self, block, buffer, offset=0):
        start = block * BLOCK + offset
        self._bytes[start : start + len(buffer)] = buffer

    def ioctl(self, request, argument):
        if request == 4:
            return BLOCKS
        if request == 5:
            return BLOCK
        if request == 6:
            self._bytes[argument * BLOCK : (argument + 1) * BLOCK] = b"\xff" * BLOCK
        return 0


def text(size):
    return bytes([(size + 7 * i) & 0xFF for i in range(size)])


def wrong(fs, name):
    """What is the matter with this file, "" for nothing."""
    try:
        with fs.open(name, "rb") as file:
            found = b""
            while piece := file.read(64):
                found += piece
    except OSError as error:
        return "%s: %s" % (name, error)
    return "" if found == text(int(name.split("/")[1])) else name + " reads as something else"


flash = Flash()
VfsLfs2.mkfs(flash)
writer = VfsLfs2(flash, readsize=int(sys.argv[1]))
writer.mkdir("a")
found = []
for number in range(FILES):  # one behind the other in the folder's block until that is full: each at another place in it
    size = 130 + number * 83 % 380
    name = "a/%d" % size
    if number % 12 == 0:
        for old in writer.ilistdir("a"):
            writer.remove("a/" + old[0])
    with writer.open(name, "wb") as file:
        file.write(text(size))
    found.append(wrong(VfsLfs2(flash, readsize=int(sys.argv[2])), name))
print(json.dumps({"files": FILES, "wrong": [said for said in found if said]}))
