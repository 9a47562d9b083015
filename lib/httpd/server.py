"""HTTP/1.1 server: connections with a cap, limits of time for everything that a peer does, answers in pieces.

One task looks after all connections, a piece of work for one of them at a time, and lets others have the loop behind each.
What is asked a handler answers, an object with

    longest(request) -> int: bytes that its body may have
    answer(request) -> Answer, or a generator that gives None while it works, and returns one; raises Refused, for instance
    refusal(Refused) -> Answer: a refusal in the handler's own words
"""

import asyncio
import select
import socket
import time

from ipv4 import dotted
from micropython import const

from httpd.connection import DRAINS, Connection

_BUSY = const(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
_READ = const(512)  # bytes at a time
_SWEEP_MS = const(200)
_NAP_MS = const(20)  # between two looks when there is nothing to do
_SOON_MS = const(4)  # while somebody is being served
_ACTIVE_MS = const(300)
_ROOM_MS = const(1000)  # a connection whose peer has had us wait for so long makes room
_KNOWN_ROOM_MS = const(5000)  # of somebody who has shown who he is
_ADDRESSES = const(16)  # whose requests are counted
_SPARE = const(2)  # places that are to be free: with fewer of them nobody keeps a connection
_LONG_ONES = const(2)  # connections that may say more than most at a time: all of them had half of a small board's heap
_HANDSHAKE_MS = const(1000)  # between two of TLS: control lies between


class Server:
    """Serves on `port`; what came of it is in the counters.

    places: connections at a time.  For one more, the one whose peer has had us wait for longest makes room, a second at
    least, else one of an address that has more than half of them; there is none such: it is told 503 and closed.  headers:
    lines that go with every answer.  requests: that one address may make at once, and a third of that in each second; all
    addresses together twice as many; what is more waits.  tls: an SSLContext, or None.  after_step: called after what may have
    been a step of a handshake.  failed(error): told what a handler has raised that it should not.  space(server): whether more
    may be made, with `made` as it is; else requests wait.
    """

    def __init__(
        self, handler, port: int = 80, host: str = "0.0.0.0", places: int = 10, headers: str = "", requests: int = 20, tls=None,
        after_step=None, failed=None, space=None,
    ) -> None:  # fmt: skip
        self.handler = handler
        self.host = host
        self.port = port
        self.headers = headers
        self.failed = failed or _ignore
        self.made = 0  # bytes of garbage, in round figures; whoever collects sets it back
        self._space = space
        self.chunk = bytearray(_READ)
        self.requests = 0
        self.connections = 0  # in all
        self.turned_away = 0
        self.cut = 0  # that took too long
        self._places = places
        self._each_s = requests
        self._tls = tls
        self._after_step = after_step
        self._listener = None
        self._poller = None
        self._open: list = []
        self._asked: dict = {}  # address -> [requests, when they were counted last]; "": of all
        self._paused = False
        self._accepted_ms = 0

    # ---- for its connections and its handler --------------------------------------------------------------------

    def streams(self) -> int:
        """Connections that get a stream."""
        return len([one for one in self._open if one.stream])

    def is_crowded(self) -> bool:
        """Hardly a place is left: nobody keeps one."""
        return len(self._open) > self._places - _SPARE

    def has_space(self) -> bool:
        """Whether there is heap for more before the next collection."""
        return self._space is None or self._space(self)

    def has_place_for_long(self) -> bool:
        """Whether one more connection may have a long head."""
        return len([one for one in self._open if one.is_long()]) < _LONG_ONES

    def count_request(self, garbage: int) -> None:
        """One more, and the bytes that it leaves to the next collection."""
        self.made += garbage
        self.requests = (self.requests + 1) & 0x3FFFFFFF

    def rest_ms(self, one: Connection, now: int) -> int:
        """For how long the request of a connection waits; who has shown who he is waits for no strangers."""
        if len(self._asked) > _ADDRESSES:
            self._asked = {"": self._asked[""]} if "" in self._asked else {}
        own_ms = self._count(one.address, self._each_s, now)
        return own_ms if one.known else max(own_ms, self._count("", 2 * self._each_s, now))

    def forget_request(self, one: Connection) -> None:
        """It has gone before its turn came: nobody waits for it."""
        for whose in (one.address,) if one.known else (one.address, ""):
            counted = self._asked.get(whose)
            if counted is not None and counted[0] > 0:
                counted[0] -= 1

    def _count(self, whose: str, most: int, now: int) -> int:
        """One more of these; the ms that it waits.  A third of what may be asked at once is forgotten each second."""
        counted = self._asked.get(whose)
        if counted is None:
            counted = self._asked[whose] = [0, now]
        each_ms = 3000 // most + 1
        passed = time.ticks_diff(now, counted[1]) // each_ms
        if passed < 0 or passed >= counted[0]:  # so long ago that it looks like the future
            counted[0] = 0
            counted[1] = now
        elif passed > 0:
            counted[0] -= passed
            counted[1] = time.ticks_add(counted[1], passed * each_ms)
        counted[0] += 1
        return max(0, counted[0] - most) * each_ms

    def look_for(self, one: Connection, writable: bool) -> None:
        """Whether a connection waits for its peer to take something, or to say something."""
        self._poller.modify(one.sock, select.POLLOUT if writable else select.POLLIN)

    # ---- the loop -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until stop().  OSError where the port cannot be had."""
        self.open()
        try:
            swept = active = time.ticks_ms()
            while self._listener is not None:
                now = time.ticks_ms()
                found = self._poll(now)
                worked = False
                i = 0
                while i < len(self._open):
                    one = self._open[i]
                    if self._step(one, now):
                        found = worked = True
                        await asyncio.sleep_ms(0)
                        now = time.ticks_ms()
                    if one.sock is not None:
                        i += 1
                if found:
                    active = now
                if time.ticks_diff(now, swept) > _SWEEP_MS:
                    swept = now
                    self._sweep(now)
                if worked:
                    continue  # everybody else has had a turn
                if time.ticks_diff(now, active) > _ACTIVE_MS:
                    active = time.ticks_add(now, -_ACTIVE_MS - 1)  # so that it cannot wrap
                    await asyncio.sleep_ms(_NAP_MS)
                else:
                    await asyncio.sleep_ms(_SOON_MS)
        finally:
            self.stop()

    def open(self) -> None:
        """Begin to listen.  OSError where the port cannot be had."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(socket.getaddrinfo(self.host, self.port, 0, socket.SOCK_STREAM)[0][-1])
        listener.listen(4)
        listener.setblocking(False)
        self._poller = select.poll()
        self._poller.register(listener, select.POLLIN)
        self._listener = listener

    def stop(self) -> None:
        """Close everything."""
        while self._open:
            self._close(self._open[0])
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _poll(self, now: int) -> bool:
        """Who has something to say; a newcomer gets a place."""
        newcomer = False
        for entry in self._poller.ipoll(0):
            if entry[0] is self._listener:
                newcomer = True
                continue
            for one in self._open:
                if one.sock is entry[0]:
                    one.ready = True
                    break
        if newcomer:
            self._accept(now)
        return newcomer

    def _step(self, one: Connection, now: int) -> bool:
        try:
            worked = one.step(now)
        except EOFError:
            self._close(one)
            return True
        except (OSError, MemoryError):  # reset by the peer; no memory for it
            self._close(one)
            return True
        except Exception as error:
            self.failed(error)
            self._close(one)
            return True
        if worked and self._after_step is not None:
            self._after_step()
        return worked

    def _sweep(self, now: int) -> None:
        for one in self._open[:]:
            if one.is_over(now):
                self.cut += one.state != DRAINS
                self._close(one)
        if self._paused and not 0 <= time.ticks_diff(now, self._accepted_ms) < _HANDSHAKE_MS:
            self._paused = False
            self._poller.modify(self._listener, select.POLLIN)

    def _accept(self, now: int) -> None:
        try:
            sock, peer = self._listener.accept()
        except OSError:
            return  # it has already gone again
        if len(self._open) >= self._places and not self._make_room(now, dotted(peer)):
            self._turn_away(sock)
            return
        below = sock
        sock.setblocking(False)
        try:
            if self._tls is not None:
                self._accepted_ms = now
                self._paused = True
                self._poller.modify(self._listener, 0)
                sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            one = Connection(self, sock, dotted(peer), now)
            one.below = below
            self._poller.register(sock, select.POLLIN)
        except (OSError, ValueError, MemoryError):
            self._turn_away(sock)
            return
        self._open.append(one)
        self.connections = (self.connections + 1) & 0x3FFFFFFF

    def _turn_away(self, sock) -> None:
        self.turned_away += 1
        try:
            sock.setblocking(False)
            if self._tls is None:
                sock.write(_BUSY)
        except OSError:
            pass
        sock.close()

    def _make_room(self, now: int, address: str) -> bool:
        """Who has had us wait for longest goes; where nobody has for long, one of another address that has most of the places."""
        best = None
        longest = -1
        for one in self._open:
            waits = one.waits_ms(now)
            if waits > longest and waits >= (_KNOWN_ROOM_MS if one.known else _ROOM_MS):
                longest = waits
                best = one
        if best is None:
            strangers = [one for one in self._open if not one.known and one.address != address]
            for one in strangers:
                if 2 * len([each for each in strangers if each.address == one.address]) > self._places:
                    best = one  # the oldest of them
                    break
        if best is not None:
            self._close(best)
        return best is not None

    def _close(self, one: Connection) -> None:
        sock = one.sock
        one.sock = None
        self._open.remove(one)
        self._poller.unregister(sock)
        try:
            one.end()
            sock.close()
        except OSError:
            pass
        try:
            one.below.close()  # whatever that has come to; closed twice is closed
        except OSError:
            pass

    def counters(self) -> dict:
        """Connections now and in all, requests, refused connections, those that took too long."""
        return {
            "clients": len(self._open), "streams": self.streams(), "connections": self.connections, "requests": self.requests,
            "turned_away": self.turned_away, "cut": self.cut,
        }  # fmt: skip


def _ignore(_error) -> None:
    pass

