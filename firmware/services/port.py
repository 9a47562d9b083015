"""The serial port of the console as the interpreter gives it: one byte in, some bytes out, and neither waits.

A read of more than one byte waits on a chip until all have come.  A write waits while a USB host takes nothing; what the
port says about being writable is asked first (a UART always says yes: its pace is terminal.PIECE).
"""

import select
import sys


class Port:
    """stdin and stdout; neither method allocates once both have been called."""

    def __init__(self) -> None:
        self._byte = bytearray(1)
        self._readable = select.poll()
        self._readable.register(sys.stdin, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(sys.stdout, select.POLLOUT)

    def read(self) -> int:
        """The next byte that was typed; -1 when there is none."""
        for _ in self._readable.ipoll(0):
            try:
                if sys.stdin.buffer.readinto(self._byte):
                    return self._byte[0]
            except OSError:
                pass
            self._readable.unregister(sys.stdin)  # nobody is there any more
        return -1

    def write(self, data) -> int:
        """Hand over bytes, if the port takes any now; how many it took."""
        for _ in self._writable.ipoll(0):
            return sys.stdout.buffer.write(data) or 0
        return 0
