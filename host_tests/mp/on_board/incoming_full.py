"""Updates onto a LittleFS that cannot hold them, while the site runs: what is said, and what is left of the flash afterwards.

micropython incoming_full.py ROOT: prints one JSON object last.
"""

import asyncio
import json
import os
import sys
import time

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


def manifest(number, files, blocks=3):
    """Of that many files."""
    lines = [json.dumps({"number": number, "stamp": "v%d" % number, "code": True}).encode() + b"\n"]
    found = {}
    for i in range(files):
        path = "firmware/m%d.mpy" % i
        data = found[path] = b"M\x06\x00" + content(number, i, blocks)
        lines.append(b"%s %d %s\n" % (hexlify(hashlib.sha256(data).digest()), len(data), path.encode()))
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


class Client:
    """Its end of a connection and the board's socket in one: it sends what is asked for, and closes when it is told the end."""

    def __init__(self, number, files, blocks=3, on_want=None):
        self.manifest, self.files = manifest(number, files, blocks)
        text = "UPDATE %d %d %s 0" % (number, len(self.manifest), hexlify(hashlib.sha256(self.manifest).digest()).decode())
        self.going = (text + " " + keyedhash.digest(KEY, text.encode()) + "\n").encode()
        self.said = []
        self.sent = self.wanted = 0
        self.on_want = on_want
        self.is_closed = False

    def setblocking(self, on):
        pass

    def readinto(self, buffer):
        if not self.going:
            raise OSError(11)
        n = min(len(buffer), len(self.going))
        buffer[:n] = self.going[:n]
        self.going = self.going[n:]
        return n

    def write(self, data):
        text = data.decode().strip()
        self.said.append(text)
        word, _, rest = text.partition(" ")
        if word == "GO":
            self.going = self.manifest
        elif word == "WANT":
            self.wanted += 1
            self.going = self.files[rest.partition(" ")[2]]
            self.sent += len(self.going)
            if self.on_want:
                self.on_want(self.wanted)
        return len(data)

    def close(self):
        self.is_closed = True


class Gone(Client):
    """One that hangs up before it is told anything."""

    def write(self, data):
        raise OSError(104)


class Network:
    """The module socket, as far as the service uses it, and its listener: `client` comes once."""

    SOL_SOCKET = SO_REUSEADDR = SOCK_STREAM = 1

    def __init__(self, client):
        self.client = client

    def socket(self):
        return self

    def getaddrinfo(self, *_):
        return ((b"",),)

    def setsockopt(self, *_):
        pass

    bind = listen = setblocking = setsockopt

    def accept(self):
        client, self.client = self.client, None
        if client is None:
            raise OSError(11)
        return client, bytes((2, 0, 0, 80, 10, 0, 0, 1))

    def close(self):
        pass


class Later:
    """The clock, half a minute on, or more days than ticks tell apart."""

    ahead_ms = 30000

    @staticmethod
    def ticks_ms():
        half = Later.ahead_ms // 2  # more at once than ticks tell apart cannot be added
        return time.ticks_add(time.ticks_add(time.ticks_ms(), half), half)

    ticks_diff = staticmethod(time.ticks_diff)


class App:
    """As much as the service looks at."""

    def __init__(self):
        self.metering = self.loop_time = self
        self.services = {}
        self.pm = None

    async def turn(self):
        pass


generations.__file__ = "generations.mpy"  # as on a board that has its firmware in files


async def play(client):
    """What became of the service, which goes on, and its state."""
    options = {row[0]: row[2] for row in update.OPTIONS}
    options["allow"] = {"10.0.0.1": "service"}
    update.socket = Network(client)
    one = update.Service("update", options, None, App())
    one.begin()
    task = asyncio.create_task(one.run())
    while not client.is_closed:
        await asyncio.sleep_ms(1)
    await asyncio.sleep_ms(1)
    ended = task.done()
    task.cancel()
    return ended, one.counters()["state"]


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


def take(client):
    before = free()
    ended, state = asyncio.run(play(client))
    try:
        Store("data/schedules.json").save({"entries": ["y" * 40] * (60 + len(client.said))})
        saved = True
    except OSError:
        saved = False
    generations.load()
    return {
        "said": client.said[-1] if client.said else "", "sent": client.sent, "before": before, "after": free(),
        "saved": saved, "state": state, "ended": ended, "number": generations.record["now"]["number"],
    }


os.mkdir("keys")
with open("keys/update.key", "wb") as file:
    file.write(KEY)
deploy(1, 6)
os.mkdir("data")
Store("data/schedules.json").save({"entries": ["x" * 40] * 60})
report = {}
report["hung up"] = take(Gone(1, 6))
report["too large"] = take(Client(2, 40))
report["meanwhile"] = take(Client(3, 12, on_want=lambda n: n == 4 and fill(5)))
unfill()
report["fits"] = take(Client(4, 12))
for _ in generations.saving(generations.passed([])):
    pass
startup.folder = generations.record["now"]["folder"] + "/"
report["over the one before"] = take(Client(5, 12))
for _ in generations.saving(generations.passed([])):
    pass
startup.folder = generations.record["now"]["folder"] + "/"
fill(11)
report["what it replaces counts"] = take(Client(6, 12))
for _ in generations.saving(generations.passed([])):
    pass
startup.folder = generations.record["now"]["folder"] + "/"
unfill()
wire = incoming.Incoming()  # a deploy that has begun
head, _ = manifest(7, 2)
wire.write(incoming.MANIFEST, head[:64])
report["two at once"] = take(Client(7, 2))
incoming.time = Later()  # its computer is gone
report["behind one that is gone"] = take(Client(7, 2))
try:
    wire.write(incoming.MANIFEST, head[64:])
    report["it comes back"] = "goes on"
except incoming.Refused as error:
    report["it comes back"] = str(error)
Later.ahead_ms = 0
incoming.Incoming().write(incoming.MANIFEST, head[:64])  # another one, whose computer is gone for days
Later.ahead_ms = 7 * 86400000
report["days later"] = take(Client(8, 2))
print(json.dumps(report))
