"""Runs under the simulated board's MicroPython: one CAN bus, the BMS driver, and the image on stdout.

Started by test_bms_on_can.py with the driver's options as JSON, "maker": whose it is, "contactor": what is commanded;
prints {"inp": [...], "bus": {...}, "bms": {...}} every 50 ms.
"""

import asyncio
import json
import sys

from firmware import buses, config, image
from firmware.devices import bms_byd, bms_growatt, bms_pylontech

DRIVERS = {"pylontech": bms_pylontech, "growatt": bms_growatt, "byd": bms_byd}


async def main(given: dict) -> None:
    wanted = given.pop("contactor", 0)  # what the control cycle would command
    driver = DRIVERS[given.pop("maker", "pylontech")]
    errors = []
    lines = buses.build({"can0": {"type": "can", "backend": "machine", "id": 0}}, errors)
    options = config.check(driver.OPTIONS, given, "devices.bms", errors)
    if errors:
        print("\n".join(errors))
        return
    state = image.Image()
    state.now[image.CMD_CONTACTOR] = wanted
    device = driver.Device("bms", options, state, lines)
    tasks = [asyncio.create_task(lines["can0"].run()), asyncio.create_task(device.run())]
    while tasks:
        await asyncio.sleep_ms(50)
        report = {"inp": list(state.inp), "bus": lines["can0"].counters(), "bms": device.counters()}
        report["equipment"] = device.equipment()
        print(json.dumps(report))


asyncio.run(main(json.loads(sys.argv[1])))
