"""Counts the flash's erases in every step of every kind of save, on LittleFS2 in a simulated 2 MB flash.

    micropython storage_steps.py ROOT SAVES READSIZE

Prints one JSON object: for each kind of save its steps, the steps with an erase, and the most erases in one step.
"""

import json
import os
import random
import sys

root = sys.argv[1]
sys.path[:] = [root, root + "/lib", root + "/host_tests/mp/on_board", ".frozen"]

from flash import BLOCK, Flash  # noqa: E402  (needs the path above)
from journal import Journal  # noqa: E402
from rowlog import RowLog  # noqa: E402
from safestore import Store  # noqa: E402
from vfs import VfsLfs2, mount  # noqa: E402

_BLOCKS = 512
_SIZES = {"energy": (40, 90), "faults": (20, 600), "schedules": (200, 9000)}


def _step(flash, steps, seen):
    """One step of a save, counted; False when there is none any more."""
    before = sum(flash.erases)
    more = next(steps, True)  # a step stops with None
    erases = sum(flash.erases) - before
    seen[0] += 1
    seen[1] += erases > 0
    seen[2] = max(seen[2], erases)
    return more is None


def main(saves, readsize):
    random.seed(7)
    flash = Flash(bytearray(b"\xff" * (_BLOCKS * BLOCK)), erases=[0] * _BLOCKS)
    VfsLfs2.mkfs(flash)
    mount(VfsLfs2(flash, readsize=readsize), "/flash")
    os.mkdir("/flash/lib")
    os.mkdir("/flash/data")
    for n in range(40):
        with open("/flash/lib/module%d.mpy" % n, "wb") as file:
            file.write(bytes(10000))
    stores = {name: Store("/flash/data/%s.json" % name) for name in _SIZES}
    stores["site"] = Store("/flash/site.json", by_hand=True)
    stores["books"] = Store("/flash/data/history/books.json")
    sizes = dict(_SIZES, site=(2000, 6000), books=(400, 800))
    log = Journal("/flash/data/events", limit=16384, files=2)
    os.mkdir("/flash/data/history")
    rows = RowLog("/flash/data/history", "five", 78, 48, 3, 12)
    rows.begin()
    seen = {name: [0, 0, 0] for name in list(stores) + ["log", "rows"]}
    rotations = 0
    for _ in range(saves):
        for name in sorted(stores):
            doc = {"text": "x" * random.randrange(*sizes[name])}
            steps = stores[name].steps(doc)
            while _step(flash, steps, seen[name]):
                pass
            assert stores[name].load()["text"] == doc["text"]
        waiting = ["[9822,35777,%d,%d]" % (n, random.randrange(1 << 30)) for n in range(random.randrange(1, 64))]
        for line in waiting:
            log.append(line)
        size = os.stat("/flash/data/events")[6] if log.path[12:] in os.listdir("/flash/data") else 0
        steps = log.steps()
        while _step(flash, steps, seen["log"]):
            kept = list(log.lines())
            assert kept[-len(waiting) :] == waiting, "whatever is done so far, each line is there once"
        rotations += os.stat("/flash/data/events")[6] < size
        for n in range(random.randrange(1, 9)):
            assert rows.append(bytes([n]) * 78)
        steps = rows.steps()
        while _step(flash, steps, seen["rows"]):
            pass
    assert rows.first > 0 and rows.next - rows.first > 96 and not rows.lost
    print(json.dumps({"seen": seen, "rotations": rotations, "erases": sum(flash.erases)}))


main(int(sys.argv[2]), int(sys.argv[3]))
