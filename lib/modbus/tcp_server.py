"""Modbus/TCP server: several clients at once, with a cap, idle time-outs and no allocation per request.

One task looks after all connections.  Straight after serving it looks again at once (for a millisecond), then
every millisecond while someone is talking, and every ten when nobody is: waiting in asyncio's poll set instead
would cost about 290 bytes for every request.
"""

import asyncio
import select
import socket
import time

from micropython import const

from modbus import hot
from modbus.server import Server

_FRAME = const(264)
_HEADER = const(7)
_LONGEST = const(254)  # largest length field: unit + the longest PDU
_EAGER_MS = const(1)  # after a request: the next one is often on its way
_SWEEP_MS = const(200)  # between two looks for idle connections
_TALKING_MS = const(1000)
_WRITES = (5, 6, 15, 16, 22, 23)  # functions
_MAKES_ROOM_MS = const(2000)  # a connection that has asked nothing for so long may have died
_MOST_MS = const(0x3FFFFFFF)
_NAP_MS = const(1)
_IDLE_NAP_MS = const(10)


class _Client:
    """One connection and its frame buffer; `left` bytes of an answer from `sent` on wait for room to be sent."""

    def __init__(self) -> None:
        self.sock = None
        self.rx = bytearray(_FRAME)
        self.have = 0
        self.heard_ms = 0
        self.tx = None
        self.left = 0


class TcpServer(Server):
    """Serves `models` (see modbus.server) on `port`.

    host: address to listen on; max_clients: connections at a time: for one more, the one that has asked nothing for
    longest (2 s at least) makes room, but never the one that wrote last; if there is none such, the new one is closed at
    once; idle_ms: a connection that asks nothing for so long is closed (0: never).  `await run()` serves until `stop()`;
    `port` is the one really listened on.  OSError from run() means that the port cannot be had.
    """

    def __init__(
        self,
        models,
        port: int = 502,
        host: str = "0.0.0.0",
        max_clients: int = 4,
        idle_ms: int = 60000,
        identity=None,
    ) -> None:
        super().__init__(models, identity)
        self.host = host
        self.port = port
        self._idle_ms = idle_ms
        self._clients = [_Client() for _ in range(max_clients)]
        self._reply = bytearray(_FRAME)
        self._chunk = bytearray(_FRAME)
        self._listener = None
        self._poller = None
        self._writer = None  # the client that wrote last: it is in control

    async def run(self) -> None:
        """Serve until stop() is called."""
        self.open()
        try:
            active = time.ticks_ms()
            while self._listener is not None:
                now = time.ticks_ms()
                if self.look(now):
                    active = now
                quiet = time.ticks_diff(now, active)
                if quiet > _TALKING_MS:
                    active = time.ticks_add(now, -_TALKING_MS - 1)  # so that it cannot wrap
                    await asyncio.sleep_ms(_IDLE_NAP_MS)
                else:
                    await asyncio.sleep_ms(0 if quiet <= _EAGER_MS else _NAP_MS)
        finally:
            self.stop()

    def open(self) -> None:
        """Begin to listen.  Raises OSError if the port cannot be had."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(socket.getaddrinfo(self.host, self.port, 0, socket.SOCK_STREAM)[0][-1])
        listener.listen(len(self._clients))
        listener.setblocking(False)
        self._poller = select.poll()
        self._poller.register(listener, select.POLLIN)
        self._listener = listener
        self._swept_ms = time.ticks_ms()

    def stop(self) -> None:
        """Close every connection and stop listening."""
        for client in self._clients:
            if client.sock is not None:
                self._close(client)
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def look(self, now: int) -> bool:
        """Take what has come on any connection and answer it; True if there was anything."""
        found = False
        for entry in self._poller.ipoll(0):
            found = True
            if entry[0] is self._listener:
                self._accept(now)
                continue
            for client in self._clients:
                if client.sock is entry[0]:
                    self._serve_client(client, now)
                    break
        if self._idle_ms and time.ticks_diff(now, self._swept_ms) > _SWEEP_MS:
            self._swept_ms = now
            for client in self._clients:
                if client.sock is not None and time.ticks_diff(now, client.heard_ms) > self._idle_ms:
                    self.count.idle_closed += 1
                    self._close(client)
        return found

    def _accept(self, now: int) -> None:
        try:
            sock = self._listener.accept()[0]
        except OSError as error:  # it has already gone again
            self.count.last_error = str(error)
            return
        self._make_room(now)
        for client in self._clients:
            if client.sock is None:
                sock.setblocking(False)
                client.sock = sock
                client.have = 0
                client.left = 0
                client.heard_ms = now
                self._poller.register(sock, select.POLLIN)
                self.count.connections += 1
                self.count.clients += 1
                return
        self.count.turned_away += 1
        sock.close()

    def _make_room(self, now: int) -> None:
        """If every place is taken, close the connection that has been idle for longest; its peer may have died."""
        idlest = None
        longest = _MAKES_ROOM_MS
        for client in self._clients:
            if client.sock is None:
                return
            idle = time.ticks_diff(now, client.heard_ms)
            if idle < 0:  # for more than 6 days
                idle = _MOST_MS
            if idle >= longest and client is not self._writer:
                longest = idle
                idlest = client
        if idlest is not None:
            self.count.idle_closed += 1
            self._close(idlest)

    def _close(self, client: _Client) -> None:
        self._poller.unregister(client.sock)
        client.sock.close()
        client.sock = None
        if client is self._writer:
            self._writer = None
        self.count.clients -= 1

    def _serve_client(self, client: _Client, now: int) -> None:
        try:
            if client.left and not self._flush(client, now):
                return
            if self._receive(client):
                self._answer_all(client, now)
            else:
                self._close(client)
        except OSError as error:  # reset by the peer
            self.count.last_error = str(error)
            self._close(client)

    def _receive(self, client: _Client) -> bool:
        """Append what has come to client.rx; False if the peer has closed."""
        have = client.have
        if have == 0:
            got = client.sock.readinto(client.rx)
        elif have < _FRAME:
            got = client.sock.readinto(self._chunk, _FRAME - have)
            if got:
                hot.move(self._chunk, 0, got, client.rx, have)
        else:
            return True
        if got is None:
            return True
        client.have = have + got
        return got > 0

    def _answer_all(self, client: _Client, now: int) -> None:
        """Answer every complete request in client.rx, for as long as the answers can be sent."""
        rx = client.rx
        at = 0
        have = client.have
        while have - at > _HEADER and client.left == 0:
            length = rx[at + 4] << 8 | rx[at + 5]
            if rx[at + 2] or rx[at + 3] or not 2 <= length <= _LONGEST:
                self.count.rejected += 1  # the stream is out of step for good
                self._close(client)
                return
            if have - at < 6 + length:
                break
            self._answer(client, at, length)
            at += 6 + length
        if at:
            client.heard_ms = now  # a whole request, not a byte now and then, keeps a connection open
            hot.move(rx, at, have - at, rx, 0)
            client.have = have - at

    def _answer(self, client: _Client, at: int, length: int) -> None:
        reply = self._reply
        rx = client.rx
        if rx[at + _HEADER] in _WRITES:
            self._writer = client
        size = 1 + self.serve(rx[at + 6], rx, at + _HEADER, length - 1, reply, _HEADER)
        reply[0] = rx[at]
        reply[1] = rx[at + 1]
        reply[4] = 0
        reply[5] = size
        reply[6] = rx[at + 6]
        sent = client.sock.write(reply, size + 6)
        if sent != size + 6:
            self._keep(client, sent or 0, size + 6)

    def _keep(self, client: _Client, sent: int, size: int) -> None:
        """The peer does not read: keep the rest of the answer, and serve this connection no further until it does."""
        if client.tx is None:
            client.tx = bytearray(_FRAME)
        client.left = size - sent
        hot.move(self._reply, sent, client.left, client.tx, 0)
        self._poller.modify(client.sock, select.POLLOUT)

    def _flush(self, client: _Client, now: int) -> bool:
        """Send the rest of an answer; True when nothing is left."""
        sent = client.sock.write(client.tx, client.left) or 0
        client.left -= sent
        if client.left:
            hot.move(client.tx, sent, client.left, client.tx, 0)
            return False
        self._poller.modify(client.sock, select.POLLIN)
        self._answer_all(client, now)
        return False
