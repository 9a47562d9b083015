"""One CAN frame, and what it looks like on the wire: bits, stuffing, CRC (ISO 11898-1, classic frames)."""

from __future__ import annotations

from functools import cached_property


class Frame:
    """A data or remote frame.  Equal frames have equal bits."""

    def __init__(self, identifier: int, data: bytes = b"", extended: bool = False, remote: bool = False, dlc: int = -1):
        limit = 0x1FFFFFFF if extended else 0x7FF
        if not 0 <= identifier <= limit:
            raise ValueError(f"identifier {identifier:#x}: allowed 0 to {limit:#x}")
        if len(data) > 8:
            raise ValueError(f"{len(data)} bytes: allowed 0 to 8")
        self.identifier = identifier
        self.data = b"" if remote else bytes(data)
        self.extended = extended
        self.remote = remote
        self.dlc = len(data) if dlc < 0 else dlc

    def __repr__(self) -> str:
        kind = "x" if self.extended else ""
        return f"<{self.identifier:#x}{kind} {'remote' if self.remote else self.data.hex() or '-'}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frame) and self.body == other.body

    def __hash__(self) -> int:
        return hash(tuple(self.body))

    @cached_property
    def arbitration(self) -> list[int]:
        """The bits that decide who may go on: dominant (0) wins."""
        if not self.extended:
            return [*_bits(self.identifier, 11), int(self.remote), 0]
        return [*_bits(self.identifier >> 18, 11), 1, 1, *_bits(self.identifier & 0x3FFFF, 18), int(self.remote)]

    @cached_property
    def body(self) -> list[int]:
        """Start of frame to the end of the CRC, before stuffing."""
        bits = [0, *self.arbitration]
        bits += [0, 0] if self.extended else [0]
        bits += _bits(self.dlc, 4)
        for byte in self.data:
            bits += _bits(byte, 8)
        return bits + _bits(_crc15(bits), 15)

    @cached_property
    def length_bits(self) -> int:
        """Bit times from start of frame to end of frame, stuff bits included; the intermission is not."""
        return len(stuffed(self.body)) + 1 + 2 + 7  # CRC delimiter, acknowledge and its delimiter, end of frame


def _bits(value: int, count: int) -> list[int]:
    return [value >> (count - 1 - i) & 1 for i in range(count)]


def _crc15(bits: list[int]) -> int:
    crc = 0
    for bit in bits:
        crc = crc << 1 ^ (0x4599 if bit ^ crc >> 14 & 1 else 0)
        crc &= 0x7FFF
    return crc


def stuffed(bits: list[int]) -> list[int]:
    """The bits with a complementary one after every five equal ones."""
    out: list[int] = []
    run = 0
    last = -1
    for bit in bits:
        run = run + 1 if bit == last else 1
        out.append(bit)
        last = bit
        if run == 5:
            last = 1 - bit
            out.append(last)
            run = 1
    return out
