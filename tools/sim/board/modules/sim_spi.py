"""machine.SPI: see sim_bus.py for what is at its other end."""

from sim_bus import Bus


class SPI(Bus):
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


SoftSPI = SPI
