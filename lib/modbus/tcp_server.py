"""Modbus/TCP server: several clients at once, with a cap, idle time-outs and no allocation per request.

What comes is answered from one buffer for all; only who sends a request in pieces, or does not take an answer, has one of
its own, from then on until it goes.  One task looks after all connections.  Straight after serving it looks again at once (for
a millisecond), then every millisecond while someone is talking, and every ten when nobody is: waiting in asyncio's poll set
instead would cost about 290 bytes for every request.

Who may connect, and who is in control, a gate can say, an object with

    rank(address, role=None) -> int: of who comes from there, at accept; 0: is not let in.  Who has more takes the place of who
        has less.  role: see opened
    opened(client, address, role) -> bool: this connection now has that number; False: it is closed again.  role: the
        text of its certificate, None without one
    closed(client): the connection with that number is gone
    asked(client, now) -> int: it has just been answered; for so many ms its next request is left waiting (0: none)
    controller: the number of the client that is in control, -1: nobody is

Its methods are called once a connection, but for `asked`, which allocates nothing.
"""

import asyncio
import select
import socket
import time

from ipv4 import dotted
from micropython import const

from modbus import hot
from modbus.server import Server

_FRAME = const(264)
_HEADER = const(7)
_LONGEST = const(254)  # largest length field: unit + the longest PDU
_EAGER_MS = const(1)  # after a request: the next one is often on its way
_SWEEP_MS = const(200)  # between two looks for idle connections
_TALKING_MS = const(1000)
_WRITES = const((5, 6, 15, 16, 22, 23))  # functions
_MAKES_ROOM_MS = const(2000)  # a connection that has asked nothing for so long may have died
_MOST_MS = const(0x3FFFFFFF)
_NAP_MS = const(1)
_IDLE_NAP_MS = const(10)


class _Client:
    """One connection; of a request `have` bytes have come, and `left` bytes of an answer wait until the peer takes them."""

    def __init__(self, number: int) -> None:
        self.number = number  # Server.client while it is served
        self.rank = 1
        self.rests = False  # until rests_until its requests are left waiting
        self.rests_until = 0
        self.sock = None
        self.rx = None  # the buffer of what is in pieces
        self.have = 0
        self.heard_ms = 0
        self.tx = None
        self.left = 0


class TcpServer(Server):
    """Serves `models` (see modbus.server) on `port`.

    host: address to listen on; max_clients: connections at a time: for one more, the one that has asked nothing for
    longest (2 s at least) makes room, but never the one in control, which without a gate is who wrote last; if there is
    none such, the new one is closed at once; idle_ms: a connection that asks nothing for so long is closed (0: never), but
    not that of who is in control by the gate;
    gate: see above; first: the number of the first client, where a gate looks after several servers.  `await run()`
    serves until `stop()`; `port` is the one really listened on.  OSError from run() means that the port cannot be had.
    """

    def __init__(
        self,
        models,
        port: int = 502,
        host: str = "0.0.0.0",
        max_clients: int = 4,
        idle_ms: int = 60000,
        identity=None,
        gate=None,
        first: int = 0,
    ) -> None:
        super().__init__(models, identity)
        self.host = host
        self.port = port
        self._idle_ms = idle_ms
        self._gate = gate
        self._clients = [_Client(first + i) for i in range(max_clients)]
        self._reply = bytearray(_FRAME)
        self._chunk = bytearray(_FRAME)
        self._listener = None
        self._poller = None
        self.nap_ms = 0  # after a look: how soon the next one is due
        self._active_ms = 0  # when anything came last
        self._writer = -1  # the number of the client that wrote last
        self._resting = 0  # clients whose requests are left waiting

    async def run(self) -> None:
        """Serve until stop() is called."""
        self.open()
        try:
            while self._listener is not None:
                self.look(time.ticks_ms())
                await asyncio.sleep_ms(self.nap_ms)
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
        self._swept_ms = self._active_ms = time.ticks_ms()
        self.nap_ms = 0

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
        found = comes = False
        for entry in self._poller.ipoll(0):
            found = True
            if entry[0] is self._listener:
                comes = True
                continue
            for client in self._clients:
                if client.sock is entry[0]:
                    if client.rests:
                        self._close(client)  # nothing was asked for: it is gone
                    else:
                        self._serve_client(client, now)
                    break
            else:
                self._serve_newcomer(entry[0], now)
        if comes:  # last: who has just gone has left its place
            try:
                self._accept(now)
            except (OSError, MemoryError) as error:  # it has already gone again; or nothing to be had for it: the others stay
                self.count.failed(error)
        if self._resting:
            self._wake(now)
        if time.ticks_diff(now, self._swept_ms) > _SWEEP_MS:
            self._swept_ms = now
            self._sweep(now)
        if found:
            self._active_ms = now
            self.nap_ms = 0
        elif self.nap_ms != _IDLE_NAP_MS:  # then it is not looked at any more, so that it cannot wrap
            quiet = time.ticks_diff(now, self._active_ms)
            self.nap_ms = 0 if quiet <= _EAGER_MS else _NAP_MS if quiet <= _TALKING_MS else _IDLE_NAP_MS
        return found

    def _serve_newcomer(self, sock, now: int) -> None:
        """Something has come on a connection that has no place yet: a transport with a handshake has such."""

    def _sweep(self, now: int) -> None:
        """Close those who have asked nothing for too long; who is in control by the gate stays for as long as it is."""
        kept = -1 if self._gate is None else self._gate.controller
        for client in self._clients:
            idle = client.sock is not None and client.number != kept and time.ticks_diff(now, client.heard_ms) > self._idle_ms
            if idle and self._idle_ms:
                self.count.idle_closed += 1
                self._close(client)

    def _accept(self, now: int) -> None:
        sock, peer = self._listener.accept()
        address = "" if self._gate is None else dotted(peer)
        rank = 1 if self._gate is None else self._gate.rank(address)
        if rank:
            self._welcome(sock, address, rank, now)
        else:
            self._turn_away(sock)

    def _welcome(self, sock, address: str, rank: int, now: int) -> None:
        """A connection from where somebody may connect."""
        sock.setblocking(False)
        self._begin(sock, address, rank, None, now)

    def _turn_away(self, sock) -> None:
        self.count.turned_away += 1
        sock.close()

    def _begin(self, sock, address: str, rank: int, role: "str | None", now: int) -> "_Client | None":
        """Give a connection a place, and serve it from now on; None, and it is closed, where there is none for it.

        One of rank 0 is told with every request that it may not.
        """
        client = self._place(rank, now)
        if client is None or (self._gate is not None and not self._gate.opened(client.number, address, role) and rank):
            self._turn_away(sock)
            return None
        self._poller.register(sock, select.POLLIN)  # first: where that fails the place is free
        client.sock = sock
        client.rank = rank
        client.have = 0
        client.left = 0
        client.heard_ms = now
        self.count.connections += 1
        self.count.clients += 1
        return client

    def _place(self, rank: int, now: int) -> "_Client | None":
        """A free place.  If all are taken, that of who has been idle for longest, as its peer may have died, or of who ranks less.

        Nobody takes the place of who is in control, or ranks more.
        """
        kept = self._writer if self._gate is None else self._gate.controller
        idlest = None
        longest = -1
        for client in self._clients:
            if client.sock is None:
                return client
            idle = time.ticks_diff(now, client.heard_ms)
            if idle < 0:  # for more than 6 days
                idle = _MOST_MS
            makes_room = client.rank < rank or (client.rank == rank and idle >= _MAKES_ROOM_MS)
            if makes_room and idle > longest and client.number != kept:
                longest = idle
                idlest = client
        if idlest is not None:
            self.count.idle_closed += 1
            self._close(idlest)
        return idlest

    def _close(self, client: _Client) -> None:
        self._poller.unregister(client.sock)
        client.sock.close()
        client.sock = client.rx = client.tx = None
        self._resting -= client.rests
        client.rests = False
        if client.number == self._writer:
            self._writer = -1
        self.count.clients -= 1
        if self._gate is not None:
            self._gate.closed(client.number)

    def _rest(self, client: _Client, now: int, ms: int) -> None:
        """Leave this client's requests where they are for a while: it asks too often."""
        client.rests = True
        client.rests_until = time.ticks_add(now, ms)
        self._resting += 1
        self._poller.modify(client.sock, 0)

    def _wake(self, now: int) -> None:
        """Serve on those who have rested for long enough, first what they had sent before."""
        for client in self._clients:
            if client.rests and time.ticks_diff(now, client.rests_until) >= 0:
                client.rests = False
                self._resting -= 1
                self._poller.modify(client.sock, select.POLLOUT if client.left else select.POLLIN)
                if not client.left:
                    self._go_on(client, client.rx, client.have, now)

    def _go_on(self, client: _Client, rx, have: int, now: int) -> None:
        try:
            self._answer_all(client, rx, have, now)
        except (OSError, MemoryError) as error:
            self.count.failed(error)
            self._close(client)

    def _serve_client(self, client: _Client, now: int) -> None:
        try:
            if client.left:
                self._flush(client, now)
            else:
                self._receive(client, now)
        except (OSError, MemoryError) as error:  # reset by the peer; or no buffer to be had for it
            self.count.failed(error)
            self._close(client)

    def _receive(self, client: _Client, now: int) -> None:
        """Take what has come, behind what there is of a request, and answer it; the end if the peer has closed."""
        have = client.have
        if have == _FRAME:
            self._answer_all(client, client.rx, have, now)
            return
        chunk = self._chunk
        got = client.sock.readinto(chunk, _FRAME - have)
        if got is None:
            return
        if not got:
            self._close(client)
        elif have:
            hot.move(chunk, 0, got, client.rx, have)
            self._answer_all(client, client.rx, have + got, now)
        else:
            self._answer_all(client, chunk, got, now)

    def _answer_all(self, client: _Client, rx, have: int, now: int) -> None:
        """Answer every complete request of the `have` bytes in rx, for as long as the answers can be sent, and keep the rest."""
        at = 0
        while have - at > _HEADER and client.left == 0 and not client.rests:
            length = rx[at + 4] << 8 | rx[at + 5]
            if rx[at + 2] or rx[at + 3] or not 2 <= length <= _LONGEST:
                self.count.rejected += 1  # the stream is out of step for good
                self._close(client)
                return
            if have - at < 6 + length:
                break
            self._answer(client, rx, at, length, now)
            at += 6 + length
        if at:
            client.heard_ms = now  # a whole request, not a byte now and then, keeps a connection open
        client.have = have - at
        if client.have and (at or rx is not client.rx):
            if client.rx is None:
                client.rx = bytearray(_FRAME)
            hot.move(rx, at, have - at, client.rx, 0)

    def _answer(self, client: _Client, rx, at: int, length: int, now: int) -> None:
        reply = self._reply
        self.client = client.number
        if rx[at + _HEADER] in _WRITES:
            self._writer = client.number
        if client.rank:
            size = 1 + self.serve(rx[at + 6], rx, at + _HEADER, length - 1, reply, _HEADER)
        else:
            size = 1 + self.refuse(rx[at + _HEADER], reply, _HEADER)
        reply[0] = rx[at]
        reply[1] = rx[at + 1]
        reply[4] = 0
        reply[5] = size
        reply[6] = rx[at + 6]
        sent = client.sock.write(reply, size + 6)
        if sent != size + 6:
            self._keep(client, sent or 0, size + 6)
        if self._gate is not None:
            rest_ms = self._gate.asked(client.number, now)
            if rest_ms:
                self._rest(client, now, rest_ms)

    def _keep(self, client: _Client, sent: int, size: int) -> None:
        """The peer does not read: keep the rest of the answer, and serve this connection no further until it does."""
        if client.tx is None:
            client.tx = bytearray(_FRAME)
        client.left = size - sent
        hot.move(self._reply, sent, client.left, client.tx, 0)
        self._poller.modify(client.sock, select.POLLOUT)

    def _flush(self, client: _Client, now: int) -> None:
        """Send the rest of an answer, and go on when nothing is left."""
        sent = client.sock.write(client.tx, client.left) or 0
        client.left -= sent
        if client.left:
            hot.move(client.tx, sent, client.left, client.tx, 0)
            return
        self._poller.modify(client.sock, select.POLLIN)
        self._answer_all(client, client.rx, client.have, now)
