"""`machine` for the simulated board: what an ESP32 offers, with the wires leading to the host.

Each class lives in a file of its own and is loaded when first asked for, as memory on a board is scarce.
"""

import simlink
from umachine import Signal, idle, mem8, mem16, mem32, time_pulse_us  # noqa: F401  (part of the interface)

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5

_LAZY = {
    "Pin": "sim_pin",
    "UART": "sim_uart",
    "CAN": "sim_can",
    "WDT": "sim_wdt",
    "RTC": "sim_rtc",
    "SPI": "sim_bus",
    "SoftSPI": "sim_bus",
    "I2C": "sim_bus",
    "SoftI2C": "sim_bus",
}
_frequency = 160000000


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(name)
    found = getattr(__import__(_LAZY[name]), name)
    globals()[name] = found
    return found


def freq(hz: int = 0) -> int:
    """The CPU clock in Hz, or sets it.  Raises ValueError for a clock an ESP32 has not."""
    global _frequency
    if hz:
        if hz not in (20000000, 40000000, 80000000, 160000000, 240000000):
            raise ValueError("frequency must be 20MHz, 40MHz, 80Mhz, 160MHz or 240MHz")
        _frequency = hz
    return _frequency


def unique_id() -> bytes:
    """The chip's MAC address, 6 bytes."""
    return simlink.unique_id


def reset_cause() -> int:
    """Why the chip started: one of the *_RESET constants (machine.reset() counts as HARD_RESET on an ESP32)."""
    return simlink.cause


def _end(kind: int) -> None:
    if not simlink.connected:
        raise OSError("no supervisor: SIM_BOARD is not set")
    simlink.send(0x52, kind)
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

