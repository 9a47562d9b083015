"""Updates onto a LittleFS that cannot hold them, while the site runs: what is said, and what is left of the flash afterwards.

micropython incoming_full.py ROOT: prints one JSON object last.
"""

import asyncio
import json
import os
import sys

import vfs

root = sys.argv[1]
vfs.mount(vfs.VfsPosix(root), "/host")
sys.path[:] = ["/host/host_tests/mp/on_board", ".frozen"]

from flash import Flash  # noqa: E402

BLOCK = 4096
BLOCKS = 128


class Machine:
    WDT_RESET = 3
    reset = None

    class WDT:
        def __init__(self, id=0, timeout=0):
            pass


sys.modules["machine"] = Machine
sys.path.append("/host/lib")
sys.path.append("/host")
vfs.VfsLfs2.mkfs(flash := Flash(bytearray(b"\xff" * (BLOCK * BLOCKS))))
vfs.mount(vfs.VfsLfs2(flash, readsize=512, lookahead=BLOCKS // 8), "/flash")
os.chdir("/flash")
import hashlib  # noqa: E402
from binascii import hexlify  # noqa: E402

import generations  # noqa: E402
import incoming  # noqa: E402
import keyedhash  # noqa: E402
import startup  # noqa: E402
from safestore import Store  # noqa: E402

from firmware.services import update  # noqa: E402

KEY = bytes(range(32))
startup.folder = "a/"


def content(number, i, blocks=3):
    return (b"%d %d " % (number, i)) * (BLOCK * blocks // (len("%d %d " % (number, i))) - 8)


def manifest(number, files, blocks=3, same=()):
    """Of that many files; those of `same` are as generation 1 has them."""
    lines = [json.dumps({"number": number, "stamp": "v%d" % number, "code": True}).encode() + b"\n"]
    found = {}
    for i in range(files):
        data = content(1, i) if i in same else content(number, i, blocks)
        found["firmware/m%d.mpy" % i] = b"M\x06\x00" + data
        lines.append(b"%s %d %s\n" % (hexlify(hashlib.sha256(b"M\x06\x00" + data).digest()), len(data) + 3, b"firmware/m%d.mpy" % i))
    return b"".join(lines), found


def write(taking, path, data):
    taking.write(path, b"")
    for at in range(0, len(data), 512):
        taking.write(path, data[at : at + 512])
    taking.end()


def deploy(number, files):
    """As over USB, with nothing running."""
    taking = incoming.Incoming()
    head, found = manifest(number, files)
    write(taking, incoming.MANIFEST, head)
    for _ in taking.work():
        pass
    for path, _, _ in taking.lacking():
        write(taking, path, found[path])
    for _ in taking.finish():
        pass
    generations.load()
    for _ in generations.saving(generations.passed([])):
        pass


class Link:
    """The client's end as well: it sends what is asked for."""

    def __init__(self, number, files, blocks=3, same=(), on_want=None):
        self.manifest, self.files = manifest(number, files, blocks, same)
        text = "UPDATE %d %d %s 0" % (number, len(self.manifest), hexlify(hashlib.sha256(self.manifest).digest()).decode())
        self.first = text + " " + keyedhash.digest(KEY, text.encode())
        self.said = []
        self.sent = self.wanted = 0
        self.on_want = on_want

    async def line(self):
        return self.first

    async def tell(self, text):
        self.said.append(text)
        word, _, rest = text.partition(" ")
        if word == "GO":
            self.going = self.manifest
        elif word == "WANT":
            self.wanted += 1
            self.going = self.files[rest.partition(" ")[2]]
            if self.on_want:
                self.on_want(self.wanted)

    async def piece(self, most):
        piece, self.going = self.going[:most], self.going[most:]
        self.sent += len(piece)
        return piece

    def close(self):
        pass


class Gone(Link):
    """A client that hangs up before it is told anything."""

    async def tell(self, text):
        raise OSError(104)


class App:
    """As much as the service looks at."""

    def __init__(self):
        self.metering = self.loop_time = self
        self.services = {}
        self.pm = None

    async def turn(self):
        pass


def service():
    options = {row[0]: row[2] for row in update.OPTIONS}
    options["allow"] = {"10.0.0.1": "service"}
    one = update.Service("update", options, None, App())
    one._generations, one._incoming = generations, incoming
    one._writes = incoming
    return one


def fill(blocks):
    """Takes all of the flash but so many blocks, as records do."""
    at = 0
    while os.statvfs("/flash")[3] > blocks and os.statvfs("/flash")[3] < BLOCKS:
        with open("data/fill%d" % at, "wb") as file:
            file.write(bytes(BLOCK))
        at += 1


def unfill():
    for entry in os.listdir("data"):
        if entry.startswith("fill"):
            os.remove("data/" + entry)


def free():
    found = os.statvfs("/flash")[3]
    return found if found <= BLOCKS else found - (1 << 32)


def take(link):
    before = free()
    one = service()
    try:
        asyncio.run(one._serve(link, "10.0.0.1"))
    except OSError as error:
        return {"restarted": error.errno}
    try:
        Store("data/schedules.json").save({"entries": ["y" * 40] * (60 + len(link.said))})
        saved = True
    except OSError:
        saved = False
    generations.load()
    return {
        "said": link.said[-1] if link.said else "", "sent": link.sent - len(link.manifest), "before": before, "after": free(),
        "saved": saved, "state": one.state, "number": generations.record["now"]["number"],
    }


os.mkdir("keys")
with open("keys/update.key", "wb") as file:
    file.write(KEY)
deploy(1, 6)
os.mkdir("data")
Store("data/schedules.json").save({"entries": ["x" * 40] * 60})
report = {}
report["hung up"] = take(Gone(1, 6))
report["too large"] = take(Link(2, 40))
report["meanwhile"] = take(Link(3, 12, on_want=lambda n: n == 4 and fill(5)))
unfill()
report["fits"] = take(Link(4, 12))
for _ in generations.saving(generations.passed([])):
    pass
startup.folder = generations.record["now"]["folder"] + "/"
report["over the one before"] = take(Link(5, 12))
for _ in generations.saving(generations.passed([])):
    pass
startup.folder = generations.record["now"]["folder"] + "/"
fill(11)
report["what it replaces counts"] = take(Link(6, 12))
print(json.dumps(report))
