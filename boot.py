"""Power-on only: outputs safe, watchdog armed, reset cause noted.  Everything else is main.py's."""

import json

import machine
import watchdog

WATCHDOG_MS = 8000  # longer than loading the firmware takes, shorter than a person's patience

watchdog.arm(WATCHDOG_MS)


def _safe_outputs() -> None:
    """Contactors open, before anything else can want them closed; supplies and enables of the board's own parts."""
    with open("site.json") as file:
        site = json.load(file)
    for device in site.get("devices", {}).values():
        if device.get("contactor_pin", -1) >= 0:
            machine.Pin(device["contactor_pin"], machine.Pin.OUT, value=1 - device.get("contactor_level", 1))
    for pin, level in (site.get("board") or {}).get("levels", ()):
        machine.Pin(pin, machine.Pin.OUT, value=level)


try:
    _safe_outputs()
except (OSError, ValueError, AttributeError, TypeError) as error:
    print("boot: site.json is not readable (%s); outputs stay as the chip leaves them: inputs" % error)
del _safe_outputs  # what is named here stays in the heap for ever
print("boot: reset cause %d" % machine.reset_cause())
