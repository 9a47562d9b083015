"""A generation taken in over another on LittleFS: what each step costs in flash operations.

micropython incoming_steps.py ROOT: prints one JSON object last.
"""

import gc
import json
import os
import sys

import vfs

root = sys.argv[1]
host = vfs.VfsPosix(root)
vfs.mount(host, "/host")
sys.path[:] = ["/host/host_tests/mp/on_board", ".frozen"]

from flash import Flash  # noqa: E402

BLOCK = 4096
BLOCKS = 256
FILES = 120


class Counting(Flash):
    reads = 0

    def readblocks(self, block, buf, offset=0):
        Counting.reads += 1
        return super().readblocks(block, buf, offset)


class Machine:
    WDT_RESET = 3

    class WDT:
        def __init__(self, id=0, timeout=0):
            pass


sys.modules["machine"] = Machine
sys.path.append("/host/lib")
import generations  # noqa: E402
import incoming  # noqa: E402

erases = [0] * BLOCKS
flash = Counting(bytearray(b"\xff" * (BLOCK * BLOCKS)), erases=erases)
vfs.VfsLfs2.mkfs(flash)
vfs.mount(vfs.VfsLfs2(flash, readsize=512, lookahead=BLOCKS // 8), "/flash")
os.chdir("/flash")


def text(number, version):
    return b"%d %d " % (number, version) * (5 + number)


def manifest(number, version):
    """Of FILES files, of which every ninth differs from version to version."""
    import hashlib
    from binascii import hexlify

    yield json.dumps({"number": number, "stamp": "v%d" % version, "code": True}).encode() + b"\n"
    for i in range(FILES):
        content = text(i, version if i % 9 == 0 else 0)
        sha = hexlify(hashlib.sha256(content).digest()).decode()
        yield b"%s %d %s\n" % (sha.encode(), len(content), name(i).encode())


def name(i):
    return "firmware/%s/module_%d.mpy" % (("devices", "services", "kernel")[i % 3], i) if i % 2 else "lib/module_%d.mpy" % i


def write(path, content):
    with open(path, "wb") as file:
        file.write(content)


def steps(generator, found, heap=None):
    """heap: into it what lives at some of the steps."""
    over = False
    while not over:
        if heap is not None and (len(heap) < 100 or sum(erases) % 16 == 0):
            gc.collect()
            heap.append(gc.mem_alloc())
        before, reads, operations = sum(erases), Counting.reads, flash.operations
        over = next(generator, 1) == 1
        if found is not None:
            found.append((sum(erases) - before, Counting.reads - reads, flash.operations - operations))


def pieces(taking, path, content):
    """As the update service writes."""
    taking.write(path, b"")
    yield
    for at in range(0, len(content), 512):
        taking.write(path, content[at : at + 512])
        yield
    taking.end()
    yield


def arrive(number, version, found, heap=None):
    taking = incoming.Incoming()
    steps(pieces(taking, incoming.MANIFEST, b"".join(manifest(number, version))), found)
    steps(taking.work(), found, heap)
    sent = 0
    for path, _, _ in taking.lacking():
        sent += 1
        i = int(path.split("_")[1].split(".")[0])
        steps(pieces(taking, path, text(i, version if i % 9 == 0 else 0)), found)
    steps(taking.finish(), found)
    generations.load()
    steps(generations.saving(generations.passed([])), None)
    return taking.place, sent, taking.kept, taking.copied


said = [arrive(1, 1, None)]
gc.collect()
before, heap = gc.mem_alloc(), []
said.append(arrive(2, 2, None, heap))
found = []
for turn in range(3, 11):
    said.append(arrive(turn, turn, found))
counts = {
    "steps": len(found),
    "erasing": sum(row[0] > 0 for row in found),
    "twice": sum(row[0] > 1 for row in found),
    "most_erases": max(row[0] for row in found),
    "most_reads": max(row[1] for row in found),
    "said": said,
    "heap_most": max(heap) - before,
}
print(json.dumps(counts))
