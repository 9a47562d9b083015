"""A year of default operation on LittleFS2 in a simulated 2 MB flash: counts erases and compares the wear estimate.

    micropython storage_wear.py ROOT DAYS [history]

history: with the rows of five minutes and the books besides, as services/history keeps them for a month.
Prints one JSON object: what was counted, and what flashwear reckoned.
"""

import json
import os
import random
import sys

root, days = sys.argv[1], int(sys.argv[2])
with_history = sys.argv[3:] == ["history"]
sys.path[:] = [root, root + "/lib", root + "/host_tests/mp/on_board", ".frozen"]

from flash import BLOCK, Flash  # noqa: E402  (needs the path above)
from flashwear import ENDURANCE, Wear  # noqa: E402
from journal import Journal  # noqa: E402
from rowlog import RowLog  # noqa: E402
from safestore import Store  # noqa: E402
from vfs import VfsLfs2, mount  # noqa: E402
from writeback import WriteBack  # noqa: E402

_BLOCKS = 512  # the file system of a 4 MB board
_FIRMWARE = 400000  # bytes of modules that lie there and take no part in the wear


def _fill():
    """The firmware's own files."""
    os.mkdir("/flash/lib")
    for n in range(40):
        with open("/flash/lib/module%d.mpy" % n, "wb") as file:
            file.write(bytes(_FIRMWARE // 40))


def _board(wear):
    """What is saved, and the batch that saves it: (batch, documents, log)."""
    stores = {name: Store("/flash/%s.json" % name, wear=wear) for name in ("energy", "schedules", "faults")}
    log = Journal("/flash/log", limit=16384, files=2, wear=wear)
    docs = {
        "energy": {"in_wh": 0, "out_wh": 0, "throughput_wh": 0, "cycles_milli": 0},
        "schedules": {"enabled": True, "entries": [{"id": n, "text": "x" * 150} for n in range(4)]},
        "faults": {"latched": []},
    }
    batch = WriteBack()
    for name in stores:
        batch.add(name, lambda name=name: stores[name].save(docs[name]), 900 if name == "energy" else 30, 60)
    batch.add("log", log.flush, 600, 600)
    power = None
    if with_history:
        power = RowLog("/flash/history", "five", 78, 288, 31, 12, wear)
        os.mkdir("/flash/history")
        power.begin()
        books = Store("/flash/history/books.json", wear=wear)
        batch.add("power", lambda: _history(power, books), 0, 0)
    return batch, docs, log, power


def _history(power, books):
    """What services/history saves: a row, and with every hour of them the books."""
    is_due = power.is_full
    yield from power.steps()
    if is_due:
        yield from books.steps({"rows": power.next, "books": [[123456789] * 11 for _ in range(6)]})


def _minute(minute, batch, docs, log, power):
    """One minute of operation: energy always, two schedule entries and 40 events a day, a fault a week."""
    docs["energy"]["in_wh"] += 700
    batch.mark("energy")
    if minute % 360 == 0:
        batch.mark("schedules")
    if random.random() < 40 / 1440:
        log.append("[9822,%d,%d,%d]" % (minute % 1440 * 60, random.randrange(30), random.randrange(9)))
        batch.mark("log")
    if power and minute % 5 == 0:
        power.append(bytes([minute & 0xFF]) * 78)
        batch.mark("power")
    if minute % 10080 == 5000:
        batch.mark("faults")
    while batch.tick(minute * 60):
        pass


def main():
    random.seed(4)
    erases = [0] * _BLOCKS
    flash = Flash(bytearray(b"\xff" * (_BLOCKS * BLOCK)), erases=erases)
    VfsLfs2.mkfs(flash)
    mount(VfsLfs2(flash), "/flash")
    _fill()
    free = os.statvfs("/flash")[3]
    for n in range(_BLOCKS):
        erases[n] = 0
    wear = Wear()
    batch, docs, log, power = _board(wear)
    reckoned = {}
    for minute in range(days * 1440):
        wear.tick(minute * 60)
        _minute(minute, batch, docs, log, power)
        if minute and minute % 1440 == 0:
            reckoned = wear.report(free)
    result = {
        "saves": wear.writes,
        "errors": batch.errors,
        "erases": sum(erases),
        "reckoned_erases": wear.tenths // 10,
        "worst_block": max(erases),
        "years": ENDURANCE * days / (max(erases) * 365.25),
        "reckoned": reckoned,
        "free_blocks": free,
    }
    print(json.dumps(result))


main()
