"""`machine` for the simulated board: what an ESP32 offers, with the wires leading to the host.

Each class lives in a file of its own and stays from its first use on; all else but the reset cause is in sim_chip.py and is
fetched for the moment it is asked for.  A chip has all this in flash, so it must cost the firmware's heap next to nothing.
"""

import simlink

_CLASSES = " Pin UART CAN WDT RTC SPI I2C SoftSPI SoftI2C Timer "  # one text: a dict would cost more


def reset_cause() -> int:
    """Why the chip started: one of the *_RESET constants (machine.reset() counts as HARD_RESET on an ESP32)."""
    return simlink.cause


def __getattr__(name: str) -> object:
    if _CLASSES.find(" %s " % name) < 0:
        return simlink.fetch("sim_chip", name)
    found = getattr(__import__("sim_" + name.lower().replace("soft", "")), name)
    globals()[name] = found
    return found
