"""machine.I2C: see sim_bus.py for what is at its other end."""

from sim_bus import Bus


class I2C(Bus):
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


SoftI2C = I2C
