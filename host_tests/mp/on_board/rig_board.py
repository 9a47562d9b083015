"""Runs one device driver under MicroPython: RIG_SETUP is a JSON object {module, options, also}; talks JSON lines.

In: {"slot number": value, ...} is put into image.now; {"counters": 1} asks for the counters; {"cycle": 0 or 1}
stops or starts the control cycle; {"grid": code} makes it a site of that flows.Grid, else INTERACTIVE.  Out: {"inp": [...]}
every 50 ms, {"counters": {...}}, and what drivers print.
"""

import asyncio
import json
import os
import select
import sys

import firmware.buses
import firmware.image as im
from firmware import config
from firmware.flows import Grid

setup = json.loads(os.getenv("RIG_SETUP"))
module = __import__("firmware.devices." + setup["module"], None, None, ("Device",))
errors = []
options = config.check(module.OPTIONS, setup["options"], setup["module"], errors)
buses = firmware.buses.build(setup.get("buses", {}), errors)
if errors:
    print("refused: " + "; ".join(errors))
    sys.exit(1)
image = im.Image()
image.par[im.PAR_GRID_TYPE] = Grid.INTERACTIVE
device = module.Device(setup["module"], options, image, buses)
devices = [device]
if "also" in setup:  # another device of the same site
    more = setup["also"]
    other = __import__("firmware.devices." + more["module"], None, None, ("Device",))
    given = config.check(other.OPTIONS, more["options"], more["module"], errors)
    devices.append(other.Device(more["module"], given, image, buses))
cycling = True


def obey(line):
    global cycling
    for key, value in json.loads(line).items():
        if key == "counters":
            print(json.dumps({"counters": device.counters()}))
        elif key == "cycle":
            cycling = bool(value)
        elif key == "grid":
            image.par[im.PAR_GRID_TYPE] = value
        else:
            image.now[int(key)] = value


async def main():
    for each in devices:
        for box in [each] + list(getattr(each, "parts", {}).values()):
            asyncio.create_task(box.run())
    poller = select.poll()
    poller.register(sys.stdin, select.POLLIN)
    while True:
        for _ in poller.ipoll(0):
            line = sys.stdin.readline()
            if not line:
                return
            obey(line)
        if cycling:
            image.now[im.CMD_SEQ] = (image.now[im.CMD_SEQ] + 1) & 0x3FFFFFFF
        print(json.dumps({"inp": list(image.inp)}))
        await asyncio.sleep_ms(50)


asyncio.run(main())
