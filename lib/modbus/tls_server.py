"""Modbus/TCP Security: the TCP server behind TLS, for clients that show a certificate of the site's authority with a role in it.

A handshake goes on step by step in `look`, each step as long as its arithmetic (docs/access.md), so one begins a second at most,
whoever connects how often; the others wait.  A connection has a place among the clients from its first request on.  At most two
handshakes are under way: a third takes the place of one that is stuck.
A client whose certificate has no role, or one that has no rights here, is answered with exception 1.
A connection ends with its certificate, which the handshake alone would not look at again: it lives while the certificate is valid
by the board's clock.
"""

import select
import time

import keyfiles
import tls
from ipv4 import dotted
from micropython import const

from modbus.role import role_in, validity
from modbus.tcp_server import TcpServer

_HANDSHAKES = const(2)
_PAUSE_MS = const(1000)  # between the beginnings of two: control lies between
_STUCK_MS = const(2000)  # a handshake that takes so long makes room
_ENDED = const("the server's certificate is not valid by the board's clock")
_GIVEN_UP_MS = const(10000)  # no request until then
_EPOCH_S = 946684800 if time.gmtime(0)[0] == 1970 else 0  # of this machine's clock, 2000-01-01 UTC


class _Newcomer:
    """A connection without a request yet."""

    def __init__(self, sock, raw, address: str, now: int) -> None:
        self.sock = sock
        self.raw = raw  # the socket below: a handshake that fails leaves it open
        self.address = address
        self.since_ms = now
        self.role = ""
        self.valid = (1, 0)  # seconds since 2000, from and until when its certificate is; never as long as it has shown none


class TlsServer(TcpServer):
    """As TcpServer, which has the other arguments; `gate` is needed, and is asked besides

        is_shut_out(address) -> bool: whoever comes from there is not even listened to

    certificate, key: the server's (ECDSA P-256: RSA takes a chip seconds), and behind it those between it and its authority;
    authority: the certificate, or several, of who signs the clients': as keyfiles.py reads them; after_step: called after each
    step of a handshake, which may have taken a chip half a second.  ValueError for certificates or a key that are none.
    """

    def __init__(
        self, models, certificate: bytes, key: bytes, authority: bytes, gate, port: int = 802, after_step=None, **given
    ) -> None:
        super().__init__(models, port, gate=gate, **given)
        context = tls.SSLContext(tls.PROTOCOL_TLS_SERVER)
        self._own_valid = validity(keyfiles.show(context, certificate, key))
        for one in keyfiles.parts("authority", authority):
            context.load_verify_locations(one)
        context.verify_mode = tls.CERT_REQUIRED  # type: ignore[attr-defined]  # the stubs lack it
        context.verify_callback = self._look_at  # type: ignore[attr-defined]  # the same
        self._context = context
        self._after_step = after_step
        self._begun_ms = 0  # the last handshake
        self._pauses = False  # whoever connects waits
        self._newcomers: list = []
        self._stepped = None  # the newcomer whose handshake goes on
        self._valid = [(1, 0)] * len(self._clients)  # of the certificate of each client that is there

    def stop(self) -> None:
        """Close every connection and stop listening."""
        for one in self._newcomers:
            one.sock.close()
        self._newcomers.clear()
        super().stop()

    def _look_at(self, certificate, depth: int) -> int:
        """The TLS library shows each certificate of the chain that it checks; the client's own is the last."""
        if depth == 0 and self._stepped is not None:
            self._stepped.role = role_in(certificate)
            self._stepped.valid = validity(certificate)
        return 0

    def _accept(self, now: int) -> None:
        try:
            sock, peer = self._listener.accept()
        except OSError as error:
            self.count.last_error = str(error)
            return
        address = dotted(peer)
        if self._gate.is_shut_out(address) or not self._has_room(now):
            self._turn_away(sock)
            return
        sock.setblocking(False)
        try:
            behind = self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        except (OSError, MemoryError) as error:  # no memory for one more
            self.count.failed(error)
            self._turn_away(sock)
            return
        self._newcomers.append(_Newcomer(behind, sock, address, now))
        self._poller.register(behind, select.POLLIN)
        self._begun_ms = now
        self._pauses = True
        self._poller.modify(self._listener, 0)

    def _has_room(self, now: int) -> bool:
        """There may be one handshake more; the one that has taken longest makes room if it is stuck."""
        if len(self._newcomers) < _HANDSHAKES:
            return True
        oldest = self._newcomers[0]
        if 0 <= time.ticks_diff(now, oldest.since_ms) < _STUCK_MS:
            return False
        self._drop(oldest)
        return True

    def _drop(self, one: _Newcomer) -> None:
        """It goes without having been served."""
        self._forget(one)
        self._turn_away(one.sock)
        one.raw.close()

    def _forget(self, one: _Newcomer) -> None:
        self._newcomers.remove(one)
        self._poller.unregister(one.sock)

    def _serve_newcomer(self, sock, now: int) -> None:
        for one in self._newcomers:
            if one.sock is sock:
                self._shake_hands(one, now)
                return

    def _shake_hands(self, one: _Newcomer, now: int) -> None:
        """A step of its handshake; with its first request it becomes a client."""
        self._stepped = one
        try:
            got = one.sock.readinto(self._chunk)
        except (OSError, ValueError) as error:  # a certificate of another authority, of another day, or none
            self.count.last_error = _ENDED if _is_over(self._own_valid) else str(error)
            got = 0
        self._stepped = None
        if self._after_step is not None:
            self._after_step()
        if got is None:
            return
        if not got:
            self._drop(one)
            return
        self._forget(one)
        if hasattr(one.sock, "getpeercert"):
            certificate = one.sock.getpeercert(True) or b""
            one.role = role_in(certificate)
            one.valid = validity(certificate)
        if _is_over(one.valid):  # since the handshake
            self._turn_away(one.sock)
            return
        client = self._begin(one.sock, one.address, self._gate.rank(one.address, one.role), one.role, now)
        if client is not None:
            self._valid[self._clients.index(client)] = one.valid
            self._go_on(client, self._chunk, got, now)

    def _sweep(self, now: int) -> None:
        if self._pauses and not 0 <= time.ticks_diff(now, self._begun_ms) < _PAUSE_MS:
            self._pauses = False
            self._poller.modify(self._listener, select.POLLIN)
        for one in self._newcomers[:]:
            if not 0 <= time.ticks_diff(now, one.since_ms) < _GIVEN_UP_MS:
                self._drop(one)
        for client, valid in zip(self._clients, self._valid):
            if client.sock is not None and _is_over(valid):
                self.count.last_error = "the certificate has ended"
                self._close(client)
        super()._sweep(now)


def _is_over(valid: tuple) -> bool:
    """A certificate of this validity is not valid by the clock as it is now."""
    return not valid[0] <= time.time() - _EPOCH_S <= valid[1]
