"""A factory reset on LittleFS2 in a simulated flash: what is left of files and of their bytes.

    micropython wipe.py ROOT READSIZE WORD

WORD: "ERASE" or "ERASE ALL".  Prints one JSON object: the files that are left, secrets whose bytes still are in the flash, how many
steps there were and how many blocks the one that erased most has erased; before, removed: the secrets before it, and when all
files were gone and nothing was overwritten yet.
"""

import json
import os
import sys

root, readsize, word = sys.argv[1], int(sys.argv[2]), sys.argv[3]
sys.path[:] = [root, root + "/lib", root + "/host_tests/mp/on_board", ".frozen"]

from flash import BLOCK, Flash  # noqa: E402  (needs the path above)
from vfs import VfsLfs2, mount, umount  # noqa: E402

from firmware import factory  # noqa: E402

_BLOCKS = 128
SECRETS = ("correct horse battery", "hash-of-a-PIN", "a-private-key", "PASSWORD-OF-BEFORE")
FILES = {
    "boot.py": "boots", "main.py": "runs", "switch": "{}", "generations.mpy": "g", "lib/x.mpy": "x" * 9000,
    "firmware/y.mpy": "y" * 9000,
    "a/firmware/y.mpy": "y" * 5000, "a/lib/x.mpy": "x", "a/site.json": '{"wifi": "PASSWORD-OF-BEFORE"}',
    "a/manifest": '{"number": 7}\n00 3 firmware/y.mpy\n00 1 lib/x.mpy\n00 9 site.json\n00 2 tables/meter.json\n',
    "a/tables/meter.json": "{}", "a/notes.txt": "a-private-key",
    "b/firmware/y.mpy": "z", "b/pins.json": '{"service": "hash-of-a-PIN"}',
    "site.json": '{"wifi": {"password": "correct horse battery"}, "fill": "%s"}' % ("." * 3000),
    "pins.json": "hash-of-a-PIN",
    "keys/server_key.der": "a-private-key", "tables/meter.json": "{}", "notes.txt": "mine",
    "data/events": "e" * 5000, "data/events.1": "e", "data/energy.json": "{}", "data/energy.json.old": "{}",
    "data/faults.json": "{}", "www/index.html.gz": "page",
    "data/history/five.3": "p", "data/history/days": "p", "data/schedules.json": "{}", "data/schedules.json.old": "{}",
}  # fmt: skip


def write(path, text):
    place = ""
    for part in path.split("/")[:-1]:
        place += part
        try:
            os.mkdir(place)
        except OSError:
            pass
        place += "/"
    with open(path, "w") as file:
        file.write(text)


def left(place=""):
    names = []
    for name in sorted(os.listdir(place or ".")):
        path = place + name
        if os.stat(path)[0] & 0x4000:
            names += left(path + "/")
        else:
            names.append(path)
    return names


def found(image):
    blocks = [image[at : at + BLOCK] for at in range(0, len(image), BLOCK)]
    return [secret for secret in SECRETS if any(secret.encode() in block for block in blocks)]


image = bytearray(b"\xff" * (_BLOCKS * BLOCK))
erases = [0] * _BLOCKS
flash = Flash(image, erases=erases)
VfsLfs2.mkfs(flash)
vfs = VfsLfs2(flash, readsize=readsize)
mount(vfs, "/flash")
os.chdir("/flash")
for _ in range(3):  # saved again and again, as in life
    for path in FILES:
        write(path, FILES[path])
before = found(image)
removed = []
steps = most = 0
percents = []
then = sum(erases)
for percent in factory.erasing("data" if word == factory.SETTINGS else ""):
    steps += 1
    most = max(most, sum(erases) - then)
    then = sum(erases)
    if percent >= 0:
        removed = removed or found(image)
        percents.append(percent)
os.chdir("/")
umount("/flash")
vfs = VfsLfs2(Flash(image), readsize=readsize)
mount(vfs, "/flash")
os.chdir("/flash")
with open("firmware/y.mpy") as file:
    whole = file.read() == FILES["firmware/y.mpy"]
result = {
    "left": left(), "secrets": found(image), "before": before, "removed": removed, "steps": steps, "most": most,
    "percents": percents, "whole": whole, "free": os.statvfs("/flash")[3],
}  # fmt: skip
print(json.dumps(result))
