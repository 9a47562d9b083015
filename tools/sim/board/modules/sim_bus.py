"""What machine.SPI and machine.I2C have in common: without anything connected every transfer ends in ENODEV.

A test joins a chip emulator by naming a module in SIM_SPI<id> or SIM_I2C<id>: its `attach(bus)` returns an object
with the same methods, which then answers.
"""

import errno
import os


class Bus:
    """One bus; with a chip on it if one was named."""

    def __init__(self, id: int = 0, *args, **kwargs) -> None:
        self._id = id
        name = os.getenv("SIM_%s%d" % (self._KIND, id))
        self._chip = __import__(name).attach(self) if name else None

    def _transfer(self, name: str, *args):
        if self._chip is None:
            raise OSError(errno.ENODEV)
        return getattr(self._chip, name)(*args)

    def init(self, *args, **kwargs) -> None:
        """Accepted; there is no timing to set."""

    def deinit(self) -> None:
        """Nothing to release."""
