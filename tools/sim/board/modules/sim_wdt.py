"""machine.WDT: the timer is in the supervisor, which kills the interpreter that does not feed it."""

import micropython
import simlink
from sim_pace import off, on


class WDT:
    """As on an ESP32: id 0, timeout 1 ms or more; once started it cannot be stopped, only fed."""

    def __init__(self, id: int = 0, timeout: int = 5000) -> None:
        if id != 0:
            raise ValueError("WDT(%d) doesn't exist" % id)
        if timeout <= 0:
            raise ValueError("WDT timeout too short")
        simlink.send_data(0x57, 0, timeout.to_bytes(4, "little"))
        simlink.armed = True

    @micropython.native
    def feed(self) -> None:
        """Starts the time-out again.  Allocates nothing."""
        off()
        simlink.send(0x46, 0)
        simlink.pump()
        on()
