"""Power-on only: outputs safe, watchdog armed, reset cause noted.  Everything else is main.py's."""

import json

import machine
import watchdog

WATCHDOG_MS = 8000  # longer than loading the firmware takes, shorter than a person's patience

watchdog.arm(WATCHDOG_MS)
try:
    with open("site.json") as file:
        _site = json.load(file)
    for _device in _site.get("devices", {}).values():
        if _device.get("contactor_pin", -1) >= 0:  # open, before anything else can want it closed
            machine.Pin(_device["contactor_pin"], machine.Pin.OUT, value=1 - _device.get("contactor_level", 1))
    for _pin, _level in (_site.get("board") or {}).get("levels", ()):  # supplies and enables of the board's own parts
        machine.Pin(_pin, machine.Pin.OUT, value=_level)
except (OSError, ValueError, AttributeError, TypeError) as error:
    print("boot: site.json is not readable (%s); outputs stay as the chip leaves them: inputs" % error)
print("boot: reset cause %d" % machine.reset_cause())
