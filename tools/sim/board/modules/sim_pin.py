"""machine.Pin: in, out, open drain, pull and edge interrupts; levels live in the supervisor.

Interrupts are polled: a handler runs when any pin is read.
"""

import micropython
import simlink
from sim_pace import off, on

_irqs: list = []  # of the pins that have a handler


class Pin:
    """One GPIO.  Input-only pins of the ESP32 (34 to 39) refuse to be outputs."""

    IN = 1
    OUT = 3
    OPEN_DRAIN = 7
    PULL_DOWN = 1
    PULL_UP = 2
    IRQ_RISING = 1
    IRQ_FALLING = 2
    WAKE_LOW = 4
    WAKE_HIGH = 5
    DRIVE_0 = 0
    DRIVE_1 = 1
    DRIVE_2 = 2
    DRIVE_3 = 3

    def __init__(self, id: int, mode: int = -1, pull: int = -1, **options) -> None:
        if isinstance(id, Pin):
            id = id._id
        if not isinstance(id, int) or not 0 <= id < len(simlink.level):
            raise ValueError("invalid pin %r" % (id,))
        self._id = id
        if mode != -1:
            self.init(mode, pull, **options)

    def init(self, mode: int = -1, pull: int = -1, **options) -> None:  # by name: what they are else is no heap on a chip
        """Sets direction, pull and first level."""
        value = options.pop("value", None)
        for name in options:
            if name not in ("drive", "hold"):
                raise TypeError("extra keyword arguments given")
        if mode == -1:
            return
        if mode in (Pin.OUT, Pin.OPEN_DRAIN) and 34 <= self._id <= 39 and simlink.unique_id[0] == 0x24:
            raise ValueError("pin can only be input")
        if value is not None:
            self.value(value)
        simlink.send(0x49 if mode == Pin.IN else 0x4F, self._id)
        if mode == Pin.IN:
            rest = 1 if pull == Pin.PULL_UP else 0 if pull == Pin.PULL_DOWN else 2
            simlink.pull[self._id] = rest
            if simlink.level[self._id] == 2:
                simlink.level[self._id] = rest

    @micropython.native
    def value(self, level=None):
        """Reads the level, or sets it.  Setting allocates nothing."""
        off()
        try:
            pin = self._id
            if level is None:
                simlink.pump()
                for irq in _irqs:
                    irq.look()
                return simlink.level[pin] & 1  # a floating pin reads 0
            high = 1 if level else 0
            simlink.level[pin] = high
            simlink.send(0x48 if high else 0x4C, pin)
        finally:
            on()

    def __call__(self, level=None):
        return self.value(level)

    def on(self) -> None:
        self.value(1)

    def off(self) -> None:
        self.value(0)

    def toggle(self) -> None:
        self.value(0 if simlink.level[self._id] else 1)

    def irq(self, handler=None, trigger: int = 3, wake=None, hard: bool = False):
        """Calls handler(pin) after an edge; see the top of this file for when."""
        import sim_irq

        return sim_irq.of_pin(_irqs, self, self._id, handler, trigger)

    def __repr__(self) -> str:
        return "Pin(%d)" % self._id
