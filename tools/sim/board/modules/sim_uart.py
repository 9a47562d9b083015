"""machine.UART over a pty or a TCP connection (SIM_UART<id>=/dev/pts/N or host:port).

Bytes leave at once, but txdone() answers as if they took their time on the wire; received bytes wait in `rxbuf`, and
what does not fit is lost, as on the chip.  Usable with select.poll and asyncio streams.
"""

import errno
import io
import os
import time

import micropython
import simlink
from sim_pace import off, on

_POLL = 3  # MP_STREAM_POLL
_FILENO = 10  # MP_STREAM_GET_FILENO
_POLLIN = 1
_POLLOUT = 4


def _buffer(size: int) -> bytearray:
    """A driver's own buffer: on a chip from ESP-IDF's memory, so on a board with a chip's heap it is outside that too."""
    if not os.getenv("SIM_FLASH"):
        return bytearray(size)
    import ffi
    import uctypes

    return uctypes.bytearray_at(ffi.open("libc.so.6").func("p", "malloc", "I")(size), size)


class UART(io.IOBase):
    """As machine.UART: baudrate, bits, parity, stop, timeout (ms), timeout_char, rxbuf, txbuf; pins are accepted."""

    INV_TX = 32
    INV_RX = 4
    IRQ_RX = 1
    IRQ_RXIDLE = 0x1000
    IRQ_BREAK = 2

    def __init__(self, id: int, baudrate: int = 115200, *args, **kwargs) -> None:
        self._where = os.getenv("SIM_UART%d" % id)
        if not self._where:
            raise ValueError("UART(%d) doesn't exist: SIM_UART%d is not set" % (id, id))
        self._id = id
        self._io = None
        self._is_tty = self._where.startswith("/")
        self._chunk = _buffer(64)
        self._one = bytearray(1)
        self._open()
        self._rx = _buffer(256)
        self.init(baudrate, *args, **kwargs)

    def init(self, baudrate: int = 115200, bits: int = 8, parity=None, stop: int = 1, **more) -> None:
        """Sets speed and format.  Raises ValueError for what the UART cannot do."""
        if not 50 <= baudrate <= 5000000:
            raise ValueError("baudrate %r (allowed: 50 to 5000000)" % (baudrate,))
        if bits not in (5, 6, 7, 8) or parity not in (None, 0, 1) or stop not in (1, 2):
            raise ValueError("bits %r, parity %r, stop %r" % (bits, parity, stop))
        self._char_us = (1 + bits + (parity is not None) + stop) * 1000000 // baudrate
        self._timeout_ms = more.get("timeout", 0)
        size = more.get("rxbuf", 256)
        if size != len(self._rx):
            self._rx = _buffer(size)
        self._head = self._count = 0
        self._lost = 0
        self._done_us = time.ticks_us()

    def _open(self) -> None:
        if self._is_tty:
            # min 0 time 0: a read of an idle line returns at once; the file itself has no non-blocking mode here
            if os.system("stty -F %s raw -echo min 0 time 0" % self._where):
                raise OSError(errno.ENODEV)
            self._io = open(self._where, "r+b")
        else:
            sock = simlink.wire(self._where)
            sock.setblocking(False)
            self._io = sock

    def _pump(self) -> None:
        while True:
            try:
                got = self._io.readinto(self._chunk)
            except OSError:
                return  # the far end has been unplugged
            if not got:
                return
            rx = self._rx
            size = len(rx)
            for i in range(got):
                if self._count == size:
                    self._lost += got - i
                    break
                rx[(self._head + self._count) % size] = self._chunk[i]
                self._count += 1
            if got < len(self._chunk):
                return

    @micropython.native
    def any(self) -> int:
        """Bytes that wait."""
        off()
        try:
            self._pump()
            return self._count
        finally:
            on()

    @micropython.native
    def readinto(self, buffer, nbytes: int = -1):
        """Fills buffer with what is there (waiting up to `timeout` ms); the count, or None for nothing."""
        off()
        try:
            return self._readinto(buffer, nbytes)
        finally:
            on()

    def _readinto(self, buffer, nbytes: int):
        wanted = len(buffer) if nbytes < 0 else min(nbytes, len(buffer))
        start = time.ticks_ms()
        self._pump()
        while self._count < wanted and time.ticks_diff(time.ticks_ms(), start) < self._timeout_ms:
            time.sleep_ms(1)
            self._pump()
        count = min(wanted, self._count)
        if count == 0:
            return None
        size = len(self._rx)
        for i in range(count):
            buffer[i] = self._rx[self._head]
            self._head = (self._head + 1) % size
        self._count -= count
        return count

    def read(self, nbytes: int = -1):
        """Up to nbytes bytes, all there are without it; None for nothing."""
        off()
        try:
            self._pump()
            buffer = bytearray(self._count if nbytes < 0 else nbytes)
            got = self.readinto(buffer) if buffer else None
            return None if got is None else bytes(buffer[:got])
        finally:
            on()

    def readline(self):
        """The bytes up to and with a newline, or all there are; None for nothing."""
        off()
        try:
            self._pump()
            size = len(self._rx)
            for i in range(self._count):
                if self._rx[(self._head + i) % size] == 10:
                    return self.read(i + 1)
            return self.read()
        finally:
            on()

    def write(self, buffer, *span) -> int:
        """Sends buffer, its first n bytes (write(buffer, n)) or a part of it (write(buffer, start, n)); never blocks."""
        off()
        try:
            return self._write(buffer, span)
        finally:
            on()

    def _write(self, buffer, span: tuple) -> int:
        if span:
            start = span[0] if len(span) == 2 else 0
            buffer = memoryview(buffer)[start : start + span[-1]]
        try:
            sent = self._io.write(buffer)
        except OSError:
            sent = len(buffer)  # a UART does not notice that nobody listens
        now = time.ticks_us()
        if time.ticks_diff(self._done_us, now) < 0:
            self._done_us = now
        self._done_us = time.ticks_add(self._done_us, len(buffer) * self._char_us)
        return len(buffer) if sent is None else sent

    def txdone(self) -> bool:
        """True once the last bit would have left the wire."""
        return time.ticks_diff(self._done_us, time.ticks_us()) <= 0

    def flush(self) -> None:
        """Waits until txdone()."""
        while not self.txdone():
            time.sleep_ms(1)

    def sendbreak(self) -> None:
        """Accepted; a pty carries no break."""

    def irq(self, handler=None, trigger: int = 0, hard: bool = False):
        """Not there: poll, or use asyncio streams."""
        raise NotImplementedError("UART.irq")

    def ioctl(self, request: int, argument: int) -> int:
        """What select.poll asks of a stream."""
        if request == _POLL:
            ready = argument & _POLLOUT
            if argument & _POLLIN and self.any():
                ready |= _POLLIN
            return ready
        return -1  # EPERM: not supported; above all there is no file number to poll

    def deinit(self) -> None:
        """Closes the line."""
        if self._io is not None:
            if self._is_tty:
                self._io.close()
            else:
                simlink.cut(self._io)
            self._io = None
