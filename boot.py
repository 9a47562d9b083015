"""Power-on only: outputs safe, watchdog armed, reset cause noted.  Everything else is main.py's."""

import gc

gc.threshold(8192)  # before anything is loaded: what boot strews over the heap stays in crumbs between what lives

import machine
import watchdog

WATCHDOG_MS = 8000  # longer than loading the firmware takes, shorter than a person's patience

watchdog.arm(WATCHDOG_MS)

import pinowners


def _safe_outputs() -> None:
    """Contactors open, before anything else can want them closed; supplies and enables of the board's own parts."""
    outputs, doubtful, problems = pinowners.look(pinowners.load("site.json"))
    for problem in problems:
        print("boot: %s; its pin stays an input" % problem)
    for pin in doubtful:
        _set(pin, machine.Pin.IN)
    for pin, level in outputs:
        _set(pin, machine.Pin.OUT, level)


def _set(pin: int, mode: int, level: int = 0) -> None:
    try:
        if mode == machine.Pin.IN:
            machine.Pin(pin, mode)  # also where it was an output before a soft reset
        else:
            machine.Pin(pin, mode, value=level)
    except ValueError as error:
        print("boot: pin %d: %s; it stays an input" % (pin, error))


try:
    _safe_outputs()
except Exception as error:  # a file may hold anything, and be too long for the heap
    print("boot: site.json is not readable (%s: %s); outputs stay as the chip leaves them: inputs" % (type(error).__name__, error))
del _safe_outputs, _set  # what is named here stays in the heap for ever
print("boot: reset cause %d" % machine.reset_cause())
