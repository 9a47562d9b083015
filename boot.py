"""Power-on only: outputs safe, watchdog armed, reset cause noted.  Everything else is main.py's."""

import json

import machine
import watchdog

WATCHDOG_MS = 8000  # longer than loading the firmware takes, shorter than a person's patience

watchdog.arm(WATCHDOG_MS)
try:
    with open("site.json") as file:
        _devices = json.load(file).get("devices", {})
    for _device in _devices.values():
        if _device.get("contactor_pin", -1) >= 0:  # open, before anything else can want it closed
            machine.Pin(_device["contactor_pin"], machine.Pin.OUT, value=1 - _device.get("contactor_level", 1))
except (OSError, ValueError, AttributeError) as error:
    print("boot: site.json is not readable (%s); outputs stay as the chip leaves them: inputs" % error)
print("boot: reset cause %d" % machine.reset_cause())
