"""The DC ports of 714 where there are several banks: one port each, and so much longer is the chain."""

from array import array

from firmware import believed
from firmware.ems import tables as t

_PORT = t.PORT_END - t.PORT  # registers of one


class Ports:
    """Of a chain.Chain and the Images of its banks."""

    def __init__(self, chain, banks: list) -> None:
        self._chain = chain
        self._banks = banks
        self._told = array("i", [0] * t.N_SLOTS)  # of one bank at a time
        self._own = [array("i", (0, number + 1)) for number in range(len(banks))]  # O_DC_STATE and O_PORT of each
        self._more = _PORT * (len(banks) - 1)
        chain.size += self._more
        chain.own[t.O_PORTS] = len(banks)
        chain.own[t.O_PORTS_LENGTH] += self._more

    def read(self, start: int, count: int, words) -> None:
        """As Chain.read."""
        chain = self._chain
        ports = t.PORT_END + self._more
        at = 0
        while at < count:
            now = chain.figures.now
            own = chain.own
            shift = 0
            end = t.PORT
            if start >= ports:
                shift = self._more
                end = chain.size
            elif start >= t.PORT:
                bank = (start - t.PORT) // _PORT
                image = self._banks[bank]
                own = self._own[bank]
                own[t.O_DC_STATE] = chain.figures.dc_state(image.now)
                now = believed.told(image.now, image.par, self._told)
                shift = bank * _PORT
                end = t.PORT_END + shift
            size = min(count - at, end - start)
            chain.make(start - shift, size, words, at, now, own)
            start += size
            at += size

    def inside(self, start: int) -> int:
        """As Chain.inside; ports are not written."""
        return start if start < t.PORT else max(t.PORT, start - self._more)
