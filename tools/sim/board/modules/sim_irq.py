"""What Pin.irq and CAN.irq give: loaded with the first interrupt that somebody wants."""

import sim_pace
import simlink


class PinIrq:
    """The edges of one pin, and who wants to know of them."""

    def __init__(self, pin, number: int) -> None:
        self.pin = pin
        self.number = number
        self.handler = None
        self._trigger = 3
        self._flags = 0

    def flags(self) -> int:
        """The edges that the handler runs for."""
        return self._flags

    def trigger(self, trigger: int = 0) -> int:
        """The edges asked for; sets them when some are given."""
        before = self._trigger
        if trigger:
            self._trigger = trigger
        return before

    def look(self) -> None:
        """Runs the handler if there was an edge that it wants."""
        edges = simlink.changed[self.number]
        if edges:
            simlink.changed[self.number] = 0
            if edges & self._trigger and self.handler is not None:
                self._flags = edges & self._trigger
                sim_pace.on()  # the handler is the firmware's
                try:
                    self.handler(self.pin)
                finally:
                    sim_pace.off()


def of_pin(known: list, pin, number: int, handler, trigger: int) -> PinIrq:
    """The interrupt of a pin: the one among `known`, or a new one; handler None silences it."""
    for irq in known:
        if irq.number == number:
            break
    else:
        irq = PinIrq(pin, number)
        known.append(irq)
    if irq.handler is None:
        simlink.changed[number] = 0
    irq.pin = pin
    irq.handler = handler
    irq.trigger(trigger)
    return irq


class CanIrq:
    """The flags of one CAN controller."""

    def __init__(self, take) -> None:
        self._take = take

    def flags(self) -> int:
        """What has happened since it was last asked."""
        return self._take()
