"""A DS3231 emulated at the I2C interface: BCD registers that count, addresses that wrap at 0x12, the lost-time flag."""


class Chip:
    """The chip on its bus; `present` False takes it off, `run(seconds)` lets time pass in it."""

    def __init__(self, year=2000, month=1, mday=1, hour=0, minute=0, second=0):
        self.present = True
        self.regs = bytearray(0x13)
        self.regs[0x0E] = 0x1C
        self.regs[0x0F] = 0x88  # after first power: the oscillator flag is set
        self.load(year, month, mday, hour, minute, second)

    def load(self, year, month, mday, hour, minute, second):
        for place, value in enumerate((second, minute, hour, 1, mday, month, year % 100)):
            self.regs[place] = value // 10 << 4 | value % 10
        self.regs[5] |= 0x80 if year >= 2100 else 0

    def run(self, seconds):
        """Counts on, within the day (24-hour mode)."""
        total = seconds
        for place, factor in ((0, 1), (1, 60), (2, 3600)):
            total += (self.regs[place] >> 4) * 10 * factor + (self.regs[place] & 15) * factor
        for place, value in ((0, total % 60), (1, total // 60 % 60), (2, total // 3600 % 24)):
            self.regs[place] = value // 10 << 4 | value % 10

    # ---- the bus, as machine.I2C has it
    def _check(self, address):
        if address != 0x68 or not self.present:
            raise OSError(19)

    def readfrom_mem(self, address, register, count):
        self._check(address)
        return bytes([self.regs[(register + i) % 0x13] for i in range(count)])

    def readfrom_mem_into(self, address, register, buf):
        buf[:] = self.readfrom_mem(address, register, len(buf))

    def writeto_mem(self, address, register, data):
        self._check(address)
        for i, byte in enumerate(data):
            place = (register + i) % 0x13
            if place == 0x0F:  # the flag can be cleared, never set, and bit 2 (busy) cannot be written
                byte = (byte & 0x7B) | (self.regs[place] & byte & 0x80) | (self.regs[place] & 4)
            self.regs[place] = byte
