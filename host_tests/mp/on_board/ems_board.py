"""A plant in real time with the EMS's face, run under MicroPython as the peer of other people's clients.

argv: JSON {"options": of the service, "stands": the plant does not move, "power": PowerConfig's}.  On stdin: "stats", what
pm.stats() says; "command", W; "counters"; "starve": the heap has nothing for the next three things that the EMS's commands
make; "stop".
"""

import gc

low = bytearray(gc.mem_free() // 8)  # as boot.py: what is free is to lie below what lives

import asyncio
import json
import select
import sys
import time

from looptime import LoopTime
from rows import each

from firmware import image as im
from firmware.metering import Metering
from firmware.services import sunspec_server as service
from host_tests.both.plant import Plant

setup = json.loads(sys.argv[1])
CYCLE_MS = 50


class Site:
    """As much of a site as the service looks at."""

    def __init__(self, config):
        self.name = "site"
        self.config = config


class App:
    """As much of the application."""

    def __init__(self, pm):
        self.pm = pm
        self.site = Site(pm.config)
        self.cycle_ms = pm.config.cycle_ms
        self.services = {}
        self.names = {}
        self.metering = Metering(50, LoopTime())
        self.heap_watch = None


plant = Plant(**setup.get("power", {}))
plant.pv = setup.get("pv", 4000)
plant.ready()
if setup.get("kw"):
    plant.pm.set_constant_power(setup["kw"])
    plant.run(10)
options = {row[0]: row[2] for row in each(service.OPTIONS)}
options.update(setup["options"])
ems = service.Service("ems", options, plant.pm, App(plant.pm))
ems.begin()


del low
gc.collect()


def starve():
    """As a heap that is full for a moment."""
    remote = plant.pm.remote
    claim = remote.claim
    left = [3]

    def starved(*given):
        if left[0]:
            left[0] -= 1
            raise MemoryError
        remote.claim = claim
        claim(*given)

    remote.claim = starved
    return 1


def answer(question):
    if question == "starve":
        return starve()
    if question == "stats":
        return {key: value for key, value in plant.pm.stats().items() if isinstance(value, (int, float))}
    if question == "counters":
        return ems.counters()
    return plant.command()


async def world():
    while True:
        if not setup.get("stands"):
            before = time.ticks_ms()
            plant.cycle(CYCLE_MS)
            await asyncio.sleep_ms(max(0, CYCLE_MS - time.ticks_diff(time.ticks_ms(), before)))
        else:
            plant.now[im.CMD_SEQ] += 1  # as if a cycle had been: whoever reads next gets everything made anew
            await asyncio.sleep_ms(CYCLE_MS)


async def tidy():
    """At chosen moments, as on a board: what nobody collects, every call with many locals looks for its frame behind."""
    while True:
        gc.collect()
        await asyncio.sleep_ms(500)


async def main():
    asyncio.create_task(tidy())
    for box in [ems] + list(ems.parts.values()):
        asyncio.create_task(box.run())
    asyncio.create_task(world())
    await asyncio.sleep_ms(20)
    print(json.dumps({"ready": 1}))
    poller = select.poll()
    poller.register(sys.stdin, select.POLLIN)
    while True:
        for _ in poller.ipoll(0):
            question = sys.stdin.readline().strip()
            if question == "stop":
                return
            print(json.dumps(answer(question)))
        await asyncio.sleep_ms(5)


asyncio.run(main())
