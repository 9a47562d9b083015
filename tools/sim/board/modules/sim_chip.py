"""What `machine` has besides its classes: fetched for the moment it is asked for, see machine.py."""

import simlink
from umachine import Signal, idle, mem8, mem16, mem32, time_pulse_us  # noqa: F401  (part of the interface)

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5


def freq(hz: int = 0) -> int:
    """The CPU clock in Hz, or sets it.  Raises ValueError for a clock an ESP32 has not."""
    if hz:
        if hz not in (20000000, 40000000, 80000000, 160000000, 240000000):
            raise ValueError("frequency must be 20MHz, 40MHz, 80Mhz, 160MHz or 240MHz")
        simlink.frequency = hz
    return getattr(simlink, "frequency", 160000000)


def unique_id() -> bytes:
    """The chip's MAC address, 6 bytes."""
    return simlink.unique_id


def _end(kind: int) -> None:
    simlink.send_data(0x52, kind, b"")
    import time

    while True:  # the supervisor pulls the plug; nothing of ours runs any more
        time.sleep(1)


def reset() -> None:
    """Restarts the chip.  Never returns."""
    _end(0)


def soft_reset() -> None:
    """Restarts the interpreter; the watchdog keeps running, RTC memory stays.  Never returns."""
    _end(1)


def deepsleep(ms: int = 0) -> None:
    """Powers down; wakes by restarting at once (the simulated chip does not wait).  Never returns."""
    _end(2)


def bootloader() -> None:
    """An ESP32 has no software entry to its ROM loader."""
    raise NotImplementedError("bootloader")


def disable_irq() -> int:
    """Interrupts here are polled, so there is nothing to mask."""
    return 0


def enable_irq(state: int) -> None:
    """See disable_irq."""
