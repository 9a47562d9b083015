"""A console in a heap that others have filled: prints what came, phase by phase, as JSON.

    micropython -X heapsize=... console_full.py ROOT HOW

HOW: "crumbs" leaves no piece of more than a few bytes, "all" none at all, "raw" none either, while programs are read; "stop" as
"all", and an operation is stopped there before the emergency.
"""

import gc
import json
import sys
import time

root, how = sys.argv[1:3]
sys.path[:] = [root, root + "/lib", root + "/host_tests/both", ".frozen"]

from firmware import image as im  # noqa: E402
from host_tests.both import desk as both_desk  # noqa: E402
from host_tests.both.plant import Plant  # noqa: E402


class Port(both_desk.Port):
    """As Desk's, but it allocates nothing."""

    def __init__(self):
        self.typed = b""
        self.at = 0
        self.out = bytearray(20000)
        self.end = 0

    def write(self, data):
        for i in range(len(data)):
            self.out[self.end + i] = data[i]
        self.end += len(data)
        return len(data)

    def take(self):
        text = bytes(self.out[: self.end]).decode()
        self.end = 0
        return text.split("\r\n")[:-1]


def fill():
    """A chain of small objects that takes all there is; crumbs: every second of the last ones is let go again."""
    kept = None
    size = 2000
    while size >= 1:
        try:
            while True:
                kept = [kept, bytearray(size)]
        except MemoryError:
            size //= 2
    if how == "crumbs":
        link = kept
        for _ in range(60):
            if link is None:
                break
            link[1] = None
            link = link[0]
    return kept


def turn():
    loop_time.forget()  # a cycle has come between
    console.turn()


def turns(n):
    for _ in range(n):
        turn()


def wait(ms):
    begun = time.ticks_ms()
    while time.ticks_diff(time.ticks_ms(), begun) < ms:
        turn()


LINE = b"pm.stats()\n"
EMERGENCY = b"pm.emergency_shutdown()\n"
STOP = b" pm.stop()\n"
if how == "raw":
    LINE, EMERGENCY = b"print(pm.stats())\x04", b"x = [\n" + b"1234567890,\n" * 30 + b"pm.emergency_shutdown()\n"
SIMPLE = b"1 + 1\n"

plant = Plant().ready()
desk = both_desk.Desk(plant, Port())
plant.pm.set_constant_power(20)
plant.run(3)
console = desk.console
loop_time = desk.app.metering.loop_time
port = desk.port
story = {}
console.monitor(100)
port.typed = b"\r\x01" + LINE if how == "raw" else LINE
port.at = 0
turns(300)
story["before"] = port.take()
at = [0, 0, 0, 0]
modes = [0, 0]
order = [0]
kept = None  # has its place: none is left for one afterwards
gc.collect()
kept = fill()
turn()
port.typed = LINE
port.at = 0
turns(200)
at[0] = port.end
wait(300)  # the monitor is due three times
at[1] = port.end
modes[0] = plant.pm.mode
if how == "stop":
    port.typed = STOP
    port.at = 0
    turns(50)
    order[0] = plant.pm.image.now[im.ORDER]
    at[1] = port.end
plant.pm.cycle(plant.ms + 50)
port.typed = EMERGENCY
port.at = 0
turn()
while port.at < len(port.typed):  # reading goes on in the next turn where it has taken 5 ms: on a host that is busy
    turn()
modes[1] = plant.pm.mode
turns(200)
at[2] = port.end
while kept is not None:  # link by link: a stale pointer to the first would keep all
    link = kept[0]
    kept[0] = kept[1] = None
    kept = link
gc.collect()
whole = bytes(port.out[: port.end]).decode()
port.end = 0
story["line"] = whole[: at[0]].split("\r\n")[:-1]
story["monitor"] = whole[at[0] : at[1]].split("\r\n")[:-1]
story["emergency"] = whole[at[1] : at[2]].split("\r\n")[:-1]
story["modes"] = modes
story["stopped"] = order[0] == im.ORDER_STOP
story["starved"] = console.counters()["starved"]
wait(1500)
port.typed, port.at = (b"\r\x03\r\x01" + LINE + b"\x02" if how == "raw" else LINE) + SIMPLE, 0
turns(500)
story["after"] = port.take()
print(json.dumps(story))
