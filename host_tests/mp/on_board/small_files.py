"""Small files on LittleFS, written under one mount and read under another: `small_files.py WRITTEN READ` (their readsizes).

LittleFS keeps a file that fits in its cache (four reads), up to an eighth of a block, beside its name.  Ends with one JSON line:
how many files were read, and which could not be or read as something else.
"""

import json
import sys

from flash import BLOCK, Flash
from vfs import VfsLfs2

BLOCKS = 32
FILES = 240


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


flash = Flash(bytearray(b"\xff" * (BLOCK * BLOCKS)))
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
