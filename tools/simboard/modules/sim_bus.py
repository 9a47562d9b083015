"""machine.SPI and machine.I2C without anything connected: every transfer ends in ENODEV.

A test joins a chip emulator by naming a module in SIM_SPI<id> or SIM_I2C<id>: its `attach(bus)` returns an object
with the same methods, which then answers.
"""

import errno
import os


class _Bus:
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


class SPI(_Bus):
    """As machine.SPI."""

    _KIND = "SPI"
    MSB = 0
    LSB = 1
    CONTROLLER = 0

    def read(self, count: int, write: int = 0) -> bytes:
        return self._transfer("read", count, write)

    def readinto(self, buffer, write: int = 0):
        return self._transfer("readinto", buffer, write)

    def write(self, buffer):
        return self._transfer("write", buffer)

    def write_readinto(self, out, into):
        return self._transfer("write_readinto", out, into)


class I2C(_Bus):
    """As machine.I2C; a scan of the empty bus finds nothing."""

    _KIND = "I2C"

    def scan(self) -> list:
        return [] if self._chip is None else self._chip.scan()

    def readfrom(self, address: int, count: int, stop: bool = True) -> bytes:
        return self._transfer("readfrom", address, count, stop)

    def readfrom_into(self, address: int, buffer, stop: bool = True):
        return self._transfer("readfrom_into", address, buffer, stop)

    def writeto(self, address: int, buffer, stop: bool = True) -> int:
        return self._transfer("writeto", address, buffer, stop)

    def readfrom_mem(self, address: int, register: int, count: int, *, addrsize: int = 8) -> bytes:
        return self._transfer("readfrom_mem", address, register, count)

    def readfrom_mem_into(self, address: int, register: int, buffer, *, addrsize: int = 8):
        return self._transfer("readfrom_mem_into", address, register, buffer)

    def writeto_mem(self, address: int, register: int, buffer, *, addrsize: int = 8):
        return self._transfer("writeto_mem", address, register, buffer)


SoftSPI = SPI
SoftI2C = I2C
