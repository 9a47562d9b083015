"""A NOR flash in RAM for VfsLfs2: counts erases, and loses power at a chosen operation, torn or before it begins.

As on the chip: an erase makes a block 0xFF, programming only clears bits, and what was under way when power went is
half done.
"""

BLOCK = 4096
_ONES = b"\xff" * BLOCK


_NO_POWER = -5  # EIO as a block device returns it; raising could not be done in the collector's finalisers


class Flash:
    """`image`: the cells, a bytearray that outlives the instance; `cut_at`: the operation power goes at (-1: never)."""

    def __init__(self, image, cut_at=-1, torn=0, erases=None):
        self.image = image
        self.operations = 0  # programs and erases since power came
        self.erases = erases  # erases per block, a list, or None
        self._cut_at = cut_at
        self._torn = torn  # 0: power goes before the operation; else a seed for how far it got
        self._dead = False

    def readblocks(self, block, buf, offset=0):
        if self._dead:
            return _NO_POWER
        at = block * BLOCK + offset
        buf[:] = memoryview(self.image)[at : at + len(buf)]
        return 0

    def writeblocks(self, block, buf, offset=0):
        if self._dead:
            return _NO_POWER
        part = self._power(len(buf))
        at = block * BLOCK + offset
        if self.image[at : at + part] == _ONES[:part]:
            self.image[at : at + part] = buf[:part]
        else:
            for i in range(part):
                self.image[at + i] &= buf[i]
        if self._dead:
            if part and part < len(buf):
                self.image[at + part] &= buf[part] | 0x5A  # the byte being programmed: some of its bits
            return _NO_POWER
        return 0

    def ioctl(self, request, block):
        if request == 4:
            return len(self.image) // BLOCK
        if request == 5:
            return BLOCK
        if request == 6:
            if self._dead:
                return _NO_POWER
            part = self._power(BLOCK)
            at = block * BLOCK
            self.image[at : at + part] = _ONES[:part]
            if self._dead:
                for i in range(part, min(part + 64, BLOCK)):
                    self.image[at + i] |= i * self._torn & 0xFF  # cells on their way to 1
                return _NO_POWER
            if self.erases is not None:
                self.erases[block] += 1
            return 0
        return 0

    @property
    def is_dead(self):
        """Power is gone."""
        return self._dead

    def _power(self, size):
        """How much of an operation of this size is done; power may go in it."""
        self.operations += 1
        if self.operations - 1 != self._cut_at:
            return size
        self._dead = True
        return self._torn * 2654435761 % (size + 1) if self._torn else 0
