"""Making a TCP connection without blocking."""

import asyncio
import select
import socket
import time

from micropython import const

_NAP_MS = const(1)  # between two looks at the socket


async def connect(host: str, port: int, deadline: int):
    """A connected, non-blocking socket to `host`:`port`.

    Raises OSError when it is refused, or not made before `deadline` (of time.ticks_ms()).
    """
    address = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)[0][-1]
    sock = socket.socket()
    made = False
    try:
        sock.setblocking(False)
        poller = select.poll()
        poller.register(sock, select.POLLOUT)
        try:
            sock.connect(address)
        except OSError as error:
            if error.errno not in (115, 119, 11):  # EINPROGRESS here and on lwIP, EAGAIN
                raise
        while True:
            for _, event in poller.ipoll(0):
                if event & (select.POLLHUP | select.POLLERR):
                    raise OSError("refused")
                made = True
                return sock
            if time.ticks_diff(time.ticks_ms(), deadline) >= 0:
                raise OSError("no connection in time")
            await asyncio.sleep_ms(_NAP_MS)
    finally:
        if not made:
            sock.close()
