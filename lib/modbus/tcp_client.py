"""Modbus/TCP client: one connection, several requests on it at a time, answers matched by transaction id.

It never blocks: whoever waits for an answer looks at the socket, deals out whatever has come, and lets the
other tasks run; for the first milliseconds without sleeping, as a sleep lasts a 10 ms tick on an ESP32 and most
answers come sooner, then with a sleep between looks.  That allocates nothing, where waiting in asyncio's poll
set costs about 290 bytes a time and a timeout some 500 more.
"""

import asyncio
import select
import socket
import time

from micropython import const

from modbus import ModbusBadFrame, ModbusTimeout, ModbusUnreachable, hot
from modbus.client import FRAME_SIZE, PDU, UNIT, Client, Slot

_NAP_MS = const(1)  # between two looks at the socket
_EAGER_MS = const(2)  # in which the looks follow each other without a sleep
_SPOILT = const(-2)  # transaction of a request whose answer came with a spoilt header
_RECENT = const(256)  # ids this far back may belong to answers that come late
_DEAF = const(3)  # unanswered requests in a row after which the connection is given up
_LONGEST = const(254)  # the largest length field: unit + the longest PDU


class TcpClient(Client):
    """A connection to `host`:`port`, made on first use and made again, with back-off, when it is lost.

    host: IPv4 address; timeout_ms: for each answer, and for connecting; pipeline: requests that may be on
    their way together (1 unless the server is known to cope: some lose all but the last).  A lost connection
    is made again at once, and, while nothing answers, after a back-off that doubles from 100 ms to
    backoff_max_ms.  `connections` grows by one with every connection made.
    """

    def __init__(
        self,
        host: str,
        port: int = 502,
        timeout_ms: int = 1000,
        pipeline: int = 1,
        retries: int = 0,
        backoff_max_ms: int = 2000,
    ) -> None:
        super().__init__(retries, pipeline)
        self.host = host
        self.port = port
        self.timeout_ms = timeout_ms
        self._backoff_max_ms = backoff_max_ms
        self._backoff_ms = 0
        self._not_before = time.ticks_ms()
        self._sock = None
        self._poller = None
        self._connecting = False
        self._next_transaction = 0
        self._silent = 0  # requests in a row without an answer
        self._rx = bytearray(2 * FRAME_SIZE)
        self._rx_view = memoryview(self._rx)
        self._have = 0  # bytes in _rx

    @property
    def connected(self) -> bool:
        """The connection stands."""
        return self._sock is not None and not self._connecting

    def close(self) -> None:
        """Close the connection; the next request opens it again at once."""
        self._drop("closed")
        self._backoff_ms = 0
        self._not_before = time.ticks_ms()

    # ---- what Client asks of a transport ---------------------------------------------------------------
    async def _exchange(self, slot: Slot, length: int) -> int:
        begun = time.ticks_ms()
        deadline = time.ticks_add(begun, self.timeout_ms)
        if not self.connected:
            await self._connect(deadline)
        self._send(slot, length)
        while True:
            self._receive()
            if slot.length:
                return slot.length
            if slot.transaction == _SPOILT:
                self.count.rejected += 1
                raise ModbusBadFrame("answer to a request that was never made")
            if slot.transaction < 0:
                raise ModbusUnreachable("%s:%d: %s" % (self.host, self.port, self.count.last_error))
            now = time.ticks_ms()
            if time.ticks_diff(now, deadline) >= 0:
                break
            await asyncio.sleep_ms(0 if time.ticks_diff(now, begun) < _EAGER_MS else _NAP_MS)
        slot.transaction = -1
        self.count.timeouts += 1
        self._silent += 1
        if self._have:
            self._drop("half a frame came")  # the stream may be out of step
        elif self._silent >= _DEAF:
            self._drop("%d requests in a row unanswered" % self._silent)
        raise ModbusTimeout("%s:%d: no answer in %d ms" % (self.host, self.port, self.timeout_ms))

    # ---- the connection --------------------------------------------------------------------------------
    async def _connect(self, deadline: int) -> None:
        """Make the connection, or wait for the one that another request is making."""
        while self._connecting:
            await asyncio.sleep_ms(_NAP_MS)
        if self._sock is not None:
            return
        if time.ticks_diff(time.ticks_ms(), self._not_before) < 0:
            raise ModbusUnreachable("%s:%d: not connected, trying again soon" % (self.host, self.port))
        self._connecting = True
        self.count.reconnects += 1
        try:
            await self._open(deadline)
        finally:
            self._connecting = False
            if self._poller is None:
                self._drop("cancelled while connecting")

    async def _open(self, deadline: int) -> None:
        try:
            address = socket.getaddrinfo(self.host, self.port, 0, socket.SOCK_STREAM)[0][-1]
            self._sock = sock = socket.socket()
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
                    self._poller = poller
                    self._silent = 0
                    self._have = 0
                    self.connections += 1
                    return
                if time.ticks_diff(time.ticks_ms(), deadline) >= 0:
                    raise OSError("no connection in time")
                await asyncio.sleep_ms(_NAP_MS)
        except OSError as error:
            self._drop(str(error))
            raise ModbusUnreachable("%s:%d: %s" % (self.host, self.port, error))

    def _drop(self, why: str) -> None:
        """Give the connection up: everything on its way is lost, and the next attempt waits its back-off."""
        if self._sock is not None:
            self._sock.close()
        self._sock = None
        self._poller = None
        self._have = 0
        self.count.last_error = why
        for slot in self._slots:
            slot.transaction = -1
        self._not_before = time.ticks_add(time.ticks_ms(), self._backoff_ms)
        self._backoff_ms = min(max(100, 2 * self._backoff_ms), self._backoff_max_ms)

    def _send(self, slot: Slot, length: int) -> None:
        frame = slot.frame
        transaction = self._next_transaction
        self._next_transaction = (transaction + 1) & 0xFFFF
        frame[0] = transaction >> 8
        frame[1] = transaction & 0xFF
        frame[2] = 0
        frame[3] = 0
        frame[4] = 0
        frame[5] = length + 1
        slot.length = 0
        slot.transaction = transaction
        self.count.frames += 1
        try:
            sent = self._sock.write(frame, PDU + length)
        except OSError as error:
            self._drop(str(error))
            raise ModbusUnreachable("%s:%d: %s" % (self.host, self.port, error))
        if sent != PDU + length:
            # The send buffer of the connection cannot take one frame: the peer has stopped reading.
            self._drop("peer does not read")
            raise ModbusUnreachable("%s:%d: peer does not read" % (self.host, self.port))

    def _receive(self) -> None:
        """Take what has come and hand each answer to the request that waits for it."""
        if self._sock is None or self._connecting:
            return
        try:
            room = self._rx_view if self._have == 0 else self._rx_view[self._have :]
            got = self._sock.readinto(room)
        except OSError as error:
            self._drop(str(error))
            return
        if got is None:
            return
        if got == 0:
            self._drop("closed by the peer")
            return
        self._have += got
        self._deal()

    def _deal(self) -> None:
        rx = self._rx
        at = 0
        while self._have - at >= 6:
            length = rx[at + 4] << 8 | rx[at + 5]
            if rx[at + 2] or rx[at + 3] or not 3 <= length <= _LONGEST:
                # The stream is out of step, and nothing in it says where the next frame begins.
                self.count.rejected += 1
                self._drop("bad header")
                return
            if self._have - at < 6 + length:
                break
            self._answer(at, length)
            at += 6 + length
        left = self._have - at
        if at and left:
            hot.move(rx, at, left, rx, 0)
        self._have = left

    def _answer(self, at: int, length: int) -> None:
        rx = self._rx
        transaction = rx[at] << 8 | rx[at + 1]
        for slot in self._slots:
            if slot.transaction == transaction:
                if rx[at + UNIT] != slot.frame[UNIT]:
                    self.count.rejected += 1
                    return
                slot.intact = False
                hot.move(rx, at + PDU, length - 1, slot.frame, PDU)
                slot.length = length - 1
                slot.transaction = -1
                self._silent = 0
                self._backoff_ms = 0
                return
        if (self._next_transaction - transaction) & 0xFFFF <= _RECENT:
            self.count.late += 1
            return
        for slot in self._slots:  # whose answer it was cannot be known: everyone asks again
            if slot.transaction >= 0:
                slot.transaction = _SPOILT
