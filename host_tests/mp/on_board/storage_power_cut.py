"""Cuts the power at every flash operation of every kind of save, on LittleFS2, and looks at what is left.

One kind is two saves and the log at once, step by step in turn, as on a board.

    micropython storage_power_cut.py ROOT CUTS SEED

Runs until at least CUTS cuts were made; prints one JSON object.
"""

import json
import random
import sys

root = sys.argv[1]
sys.path[:] = [root, root + "/lib", root + "/host_tests/mp/on_board", ".frozen"]

from flash import BLOCK, Flash  # noqa: E402  (needs the path above)
from journal import Journal  # noqa: E402
from safestore import Store  # noqa: E402
from vfs import VfsLfs2, mount, umount  # noqa: E402

_BLOCKS = 48
_STORES = ("site", "schedules", "faults", "energy")
_TOGETHER = ("site", "energy", "log")
_SIZES = {"site": 2500, "schedules": 5000, "faults": 20, "energy": 90}


class Board:
    """A file system on a flash image, from power on to power off."""

    def __init__(self, image, cut_at=-1, torn=0):
        self.flash = Flash(image, cut_at, torn)
        mount(VfsLfs2(self.flash), "/flash")
        self.stores = {name: Store("/flash/%s.json" % name, 1, by_hand=name == "site") for name in _STORES}
        self.log = Journal("/flash/log", limit=600, files=3)

    def off(self):
        umount("/flash")

    def state(self):
        """Everything the board would find after power on."""
        found = {name: store.load() for name, store in self.stores.items()}
        found["log"] = list(self.log.lines())
        return found


def _document(name, serial):
    return {"serial": serial, "text": "".join([chr(97 + random.randrange(26)) for _ in range(_SIZES[name])])}


def _in_turn(generators):
    """A step of each, over and over, until all have ended."""
    while generators:
        for each in list(generators):
            if next(each, True) is not None:  # a step stops with None
                generators.remove(each)


def _save(board, kind, value):
    """One save; stores are loaded first, as firmware does."""
    if kind == "together":
        for line in value["log"]:
            board.log.append(line)
        for name in ("site", "energy"):
            board.stores[name].load()
        _in_turn([board.stores[name].steps(value[name]) for name in ("site", "energy")] + [board.log.steps()])
    elif kind == "log":
        for line in value:
            board.log.append(line)
        board.log.flush()
    else:
        board.stores[kind].load()
        board.stores[kind].save(value)


def _same_log(found, before, after):
    """The log as it was, as it is meant to be, or (between rotation and append) as it was without the oldest file."""
    if found in (before, after):
        return True
    kept = found and before[-len(found) :] == found
    return kept and after[: len(found)] == found


def _check(image, before, after, kind, counts):
    """Powers on after a cut and compares; then saves again, which must work."""
    board = Board(image)
    found = board.state()
    for name in found:
        if name == "log":
            good = _same_log(found["log"], before["log"], after["log"])
        else:
            saved = name == kind or (kind == "together" and name in _TOGETHER)
            good = found[name] in ((before[name], after[name]) if saved else (before[name],))
        if not good:
            counts["lost"] += 1
            print("LOST", kind, name, repr(found[name])[:80])
    if counts["cuts"] % 7 == 0:
        _save(board, "energy", {"serial": -1})
        board.off()
        board = Board(image)
        if board.stores["energy"].load()["serial"] != -1:
            counts["lost"] += 1
            print("LOST after a second save", kind)
    board.off()


def _cut_every_operation(image, kind, value, before, after, operations, counts):
    for cut_at in range(operations):
        for torn in (0, random.randrange(1, 1000), random.randrange(1, 1000)):
            copy = bytearray(image)
            board = Board(copy, cut_at, torn)
            try:
                _save(board, kind, value)
            except OSError:
                counts["cuts"] += 1
                counts[kind] = counts.get(kind, 0) + 1
            else:
                raise SystemExit("no cut at operation %d of %d" % (cut_at, operations))
            board.off()
            _check(copy, before, after, kind, counts)


def main(wanted, seed):
    random.seed(seed)
    image = bytearray(b"\xff" * (_BLOCKS * BLOCK))
    VfsLfs2.mkfs(Flash(image))
    counts = {"cuts": 0, "lost": 0, "saves": 0, "rotations": 0}
    serial = 0
    while counts["cuts"] < wanted:
        kind = random.choice(_STORES + ("log", "log", "together"))
        serial += 1
        lines = ["[%d,%d] something happened here" % (serial, n) for n in range(random.randrange(1, 9))]
        if kind == "log":
            value = lines
        elif kind == "together":
            value = {"log": lines, "site": _document("site", serial), "energy": _document("energy", serial)}
        else:
            value = _document(kind, serial)
        next_image = bytearray(image)
        board = Board(next_image)
        before = board.state()
        started = board.flash.operations
        _save(board, kind, value)
        operations = board.flash.operations - started
        after = board.state()
        board.off()
        if kind == "log" and after["log"] != before["log"] + value:
            counts["rotations"] += 1
        if serial > 6:  # a few saves first, so that there is something to lose
            counts["saves"] += 1
            _cut_every_operation(image, kind, value, before, after, operations, counts)
        image = next_image
    counts["operations"] = counts["cuts"] // 3
    print(json.dumps(counts))


main(int(sys.argv[2]), int(sys.argv[3]))
