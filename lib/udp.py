"""One UDP question and its answer, without ever blocking the event loop.

Retransmission, if any, is the caller's.  Works on the ESP32, the Unix port and CPython, whose asyncio modules have
no common way to wait for a datagram, so the socket is polled every few milliseconds.
"""

import asyncio
import errno
import socket
import time

from micropython import const

_POLL_MS = const(5)
_LARGEST = const(512)
_NOT_YET = (errno.EAGAIN, errno.EINPROGRESS, 115, 11)  # names differ from port to port


async def ask(host: str, port: int, question, accept, timeout_ms: int, largest: int = _LARGEST):
    """Sends `question` to a numeric IPv4 address and returns the first answer that `accept(bytes, ticks_ms)` takes.

    `accept` returns None for datagrams to ignore and raises ValueError for an answer that is wrong.  Of a datagram
    `largest` bytes are read.  Returns None when no answer came in time.  Raises OSError where there is no network.
    """
    # Numeric, so this asks no name server (which would block).
    address = socket.getaddrinfo(host, port, 0, socket.SOCK_DGRAM)[0][-1]
    buffer = memoryview(bytearray(largest))  # one for all polls: a recv takes its room anew each time, answer or not
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    read = sock.readinto if hasattr(sock, "readinto") else sock.recv_into  # type: ignore[attr-defined]  # the second is CPython's
    try:
        sock.setblocking(False)
        sock.connect(address)
        sock.send(question)
        start = time.ticks_ms()
        while time.ticks_diff(time.ticks_ms(), start) < timeout_ms:
            try:
                count = read(buffer)
            except OSError as error:
                if error.errno not in _NOT_YET:
                    raise
                count = 0
            if count:
                result = accept(bytes(buffer[:count]), time.ticks_ms())
                if result is not None:
                    return result
            await asyncio.sleep_ms(_POLL_MS)
        return None
    finally:
        sock.close()
