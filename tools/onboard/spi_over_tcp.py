"""Runs under MicroPython on the simulated board: SPI transfers go to a chip emulator on the host (SIM_CHIP=host:port).

Copied to the board's flash; named in SIM_SPI<id>, machine.SPI then hands every transfer to `attach(bus)`.  One
transfer is one instruction: chip select is taken to fall before it and rise after it.
"""

import os
import socket


class Chip:
    """The far end of the SPI bus."""

    def __init__(self) -> None:
        host, port = os.getenv("SIM_CHIP").split(":")
        self._socket = socket.socket()
        self._socket.connect(socket.getaddrinfo(host, int(port))[0][-1])

    def write_readinto(self, out, into) -> None:
        """As machine.SPI.write_readinto."""
        self._socket.write(bytes([len(out)]) + bytes(out))
        answer = self._socket.read(len(out))
        for i in range(len(into)):
            into[i] = answer[i]


def attach(_bus) -> Chip:
    """What machine.SPI calls."""
    return Chip()
