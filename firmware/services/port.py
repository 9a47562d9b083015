"""The serial port of the console as the interpreter gives it: one byte in, some bytes out, and neither waits.

A read of more than one byte waits on a chip until all have come.  A write waits while a USB host takes nothing; what the
port says about being writable is asked first (a UART always says yes: its pace is terminal.PIECE).
"""

import select
import sys


class Port:
    """stdin and stdout; no method allocates once all have been called."""

    def __init__(self) -> None:
        self._byte = bytearray(1)
        self._held = -1  # what ended the letters, for read()
        self._readable = select.poll()
        self._readable.register(sys.stdin, select.POLLIN)
        self._ipoll = self._readable.ipoll
        self._readinto = sys.stdin.buffer.readinto
        self._writable = select.poll()
        self._writable.register(sys.stdout, select.POLLOUT)

    def letters(self, line, at: int, end: int) -> int:
        """Put letters that were typed into a line, from `at` on and not beyond `end`; where they end.

        A third of what read() takes for each: most bytes are letters, and a file that is copied has many.
        """
        code = self._held
        if code >= 0:
            return at
        ipoll = self._ipoll
        readinto = self._readinto
        byte = self._byte
        try:
            while at < end:
                code = -1
                for _ in ipoll(0):
                    if readinto(byte):
                        code = byte[0]
                if code < 32 or code >= 127:
                    break
                line[at] = code
                at += 1
                code = -1
        except OSError:
            code = -1  # read() will meet it too
        self._held = code
        return at

    def read(self) -> int:
        """The next byte that was typed; -1 when there is none."""
        code = self._held
        if code >= 0:
            self._held = -1
            return code
        for _ in self._ipoll(0):
            try:
                if self._readinto(self._byte):
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
