"""Modbus/TCP client: one connection, several requests on it at a time, answers matched by transaction id.

It never blocks: whoever waits for an answer looks at the socket, deals out whatever has come, and lets the
other tasks run; for the first milliseconds without sleeping, as a sleep lasts a 10 ms tick on an ESP32 and most
answers come sooner, then with a sleep between looks.  That allocates nothing, where waiting in asyncio's poll
set costs about 290 bytes a time and a timeout some 500 more.
"""

import asyncio
import time

from micropython import const

from modbus import ModbusBadFrame, ModbusTimeout, ModbusUnreachable, hot
from modbus.client import PDU, UNIT, Client, Slot
from modbus.tcp_connect import connect

_NAP_MS = const(1)  # between two looks at the socket
_EAGER_MS = const(2)  # in which the looks follow each other without a sleep
_SPOILT = const(-2)  # transaction of a request whose answer came with a spoilt header
_RECENT = const(256)  # ids this far back may belong to answers that come late
_LONGEST = const(254)  # the largest length field: unit + the longest PDU
_DEAF = const(3)  # unanswered requests in a row after which a connection that has answered before is given up
_PATIENCE_MS = const(6000)  # and one that never has: some devices answer nothing for seconds after connecting
_SAME_MS = const(5000)  # since its last answer: a peer that has closed a connection then is the one that it was
_CUT_MS = const(1000)  # and one that has cut it off
_SETTLE_FIRST_MS = const(250)
_SETTLE_MAX_MS = const(5000)


class TcpClient(Client):
    """A connection to `host`:`port`, made on first use and made again, with back-off, when it is lost.

    host: IPv4 address; timeout_ms: for each answer, and for connecting; pipeline: requests that may be on
    their way together (1 unless the server is known to cope: some lose all but the last).  A lost connection
    is made again at once, and, while nothing answers, after a back-off that doubles from 100 ms to
    backoff_max_ms.  `connections` grows by one with every connection made, but for those to a peer that only closes them: after
    an answer it was connected to again at once.  A request that such a peer did not take any more is sent again.  registers:
    the most that one request moves (16 bits count as one); a frame has room for no more, and a longer answer is refused.  pause_ms:
    between an answer and the next request, for devices that lose what comes sooner.  settle_ms: between connecting and the
    first request; where a peer closes a connection because it was asked too soon, the next one waits longer by itself.

    As soon as a second unit is asked the peer is a gateway, which may ask one unit at a time.  Then one that does not answer is
    asked less and less often (modbus.silent), and what is asked of another behind a request that was given up has the time
    that the gateway still spends on that one.
    """

    settle_ms = 0  # of the class, as pause_ms is: between connecting and the first request

    def __init__(
        self,
        host: str,
        port: int = 502,
        timeout_ms: int = 1000,
        pipeline: int = 1,
        retries: int = 0,
        backoff_max_ms: int = 2000,
        registers: int = 125,
        pause_ms: int = 0,
        settle_ms: int = 0,
    ) -> None:
        Client.__init__(self, retries, pipeline, registers)
        if pause_ms:
            self.pause_ms = pause_ms
        if settle_ms:
            self.settle_ms = settle_ms
        self.host = host
        self.port = port
        self.timeout_ms = timeout_ms
        self._backoff_max_ms = backoff_max_ms
        self._backoff_ms = 0
        self._not_before = time.ticks_ms()
        self._sock = None  # a connection that stands
        self._connecting = False
        self._next_transaction = 0
        self._silent = 0  # requests in a row without an answer
        self._answered = False  # this connection has brought an answer
        self._connected_ms = 0
        self._free_ms = time.ticks_ms()  # from when on the peer may be asked
        self._answer_ms = self._free_ms  # when it answered last
        self._same_ms = -1  # connected to again so soon after that it is the same one; -1: it may be another one
        self._oddity = ""  # what is odd about what came, for people
        self._unit = -1  # the first unit that was asked
        self._make_room()

    def _make_room(self) -> None:
        # what has come: one frame, and the beginning of the next where several answers may be on their way
        self._rx = bytearray(min(len(self._slots), 2) * len(self._slots[0].frame))
        self._rx_view = memoryview(self._rx)
        self._have = 0  # bytes in _rx

    def widen(self, registers: int) -> None:
        """Have room for requests of so many registers.  Only before the first of them."""
        if registers > self.registers:
            size = len(self._slots[0].frame) + 2 * (registers - self.registers)
            self.registers = registers
            self._slots = [Slot(size) for _ in self._slots]
            self._make_room()

    @property
    def connected(self) -> bool:
        """The connection stands."""
        return self._sock is not None

    def close(self) -> None:
        """Close the connection; the next request opens it again at once."""
        self._drop("closed")
        self._backoff_ms = 0
        self._not_before = time.ticks_ms()

    # ---- what Client asks of a transport ---------------------------------------------------------------
    def _meet(self, unit: int) -> None:
        if self._unit < 0:
            self._unit = unit
        elif unit != self._unit and self.silent is None:
            from modbus.silent import Silent  # one unit behind a connection needs none

            self.silent = Silent()

    async def _exchange(self, slot: Slot, length: int) -> int:
        self.cut = False
        self._receive()  # a peer that has closed the connection meanwhile is connected to again, not written to
        if not self.connected:
            await self._connect(time.ticks_add(time.ticks_ms(), self.timeout_ms))
        left = time.ticks_diff(self._free_ms, time.ticks_ms())
        while left > 0:  # after its last answer, and after connecting, the peer may not be asked at once
            await asyncio.sleep_ms(left)
            left = time.ticks_diff(self._free_ms, time.ticks_ms())
        if left < -_SETTLE_MAX_MS:
            self._free_ms = time.ticks_ms()  # so that it cannot wrap
        if not self.connected:
            raise self._unreachable(self.count.last_error)
        slot.fill(PDU + length)
        begun = time.ticks_ms()
        held_ms = 0 if self.silent is None else self.silent.held_ms(slot.frame[UNIT])
        deadline = time.ticks_add(begun, self.timeout_ms + held_ms)
        self._oddity = ""
        self._send(slot, length)
        await asyncio.sleep_ms(0)  # an answer that is there at once would make one long step of this request and the next
        while True:
            self._receive()
            if slot.length:
                return slot.length
            if slot.transaction == _SPOILT:
                self.count.rejected += 1
                raise ModbusBadFrame("answer to a request that was never made%s" % self._oddity)
            if slot.transaction < 0:
                raise self._unreachable(self.count.last_error)
            now = time.ticks_ms()
            if time.ticks_diff(now, deadline) >= 0:
                break
            await asyncio.sleep_ms(0 if time.ticks_diff(now, begun) < _EAGER_MS else _NAP_MS)
        if self.silent is not None:
            self.silent.hold(slot.frame[UNIT], slot.transaction)
        slot.transaction = -1
        self.count.timeouts += 1
        self._silent += 1
        self._free_ms = time.ticks_add(time.ticks_ms(), self.pause_ms)
        self._give_up_silent()
        raise ModbusTimeout(
            "%s:%d: no answer of unit %d in %d ms%s" % (self.host, self.port, slot.frame[UNIT], self.timeout_ms, self._oddity)
        )

    def _freed(self) -> None:
        """The peer goes on."""
        if self.silent is not None:
            self.silent.freed(self.timeout_ms)

    def _give_up_silent(self) -> None:
        """The peer did not answer: close the connection if no more is to be expected of it."""
        if self._have:
            self._drop("half a frame came")  # the stream may be out of step
        elif self._silent >= _DEAF and (self._answered or time.ticks_diff(time.ticks_ms(), self._connected_ms) > _PATIENCE_MS):
            self._drop("%d requests in a row unanswered" % self._silent)

    # ---- the connection --------------------------------------------------------------------------------
    async def _connect(self, deadline: int) -> None:
        """Make the connection, or wait for the one that another request is making."""
        while self._connecting:
            await asyncio.sleep_ms(_NAP_MS)
        if self._sock is not None:
            return
        if time.ticks_diff(time.ticks_ms(), self._not_before) < 0:
            raise ModbusUnreachable(self.count.last_error)  # why there is no connection: what people see until there is one
        self._connecting = True
        self.count.reconnects += 1
        why = "cancelled while connecting"
        try:
            self._sock = await connect(self.host, self.port, deadline)
            self._silent = 0
            self._freed()
            self._have = 0
            self._answered = False
            self._connected_ms = time.ticks_ms()
            self._free_ms = time.ticks_add(self._connected_ms, self.settle_ms)
            if not 0 <= time.ticks_diff(self._connected_ms, self._answer_ms) <= self._same_ms:
                self.connections += 1
            self._same_ms = -1
        except OSError as error:
            why = str(error)
            raise self._unreachable(why)
        finally:
            self._connecting = False
            if self._sock is None:
                self._drop(why)

    def _unreachable(self, why: str) -> ModbusUnreachable:
        return ModbusUnreachable("%s:%d: %s" % (self.host, self.port, why))

    def _drop(self, why: str) -> None:
        """Give the connection up: everything on its way is lost, and the next attempt waits its back-off."""
        if self._sock is not None:
            self._sock.close()
        self._sock = None
        self._have = 0
        self._same_ms = -1
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
        self._write(slot, transaction, 0, PDU + length)

    def _write(self, slot: Slot, transaction: int, start: int, length: int) -> None:
        """Send slot.frame[start:start + length]; from now on its answer is waited for."""
        slot.length = 0
        slot.transaction = transaction
        self.count.frames += 1
        try:
            # a send buffer that cannot take one frame: the peer has stopped reading
            if self._sock.write(slot.frame, start, length) != length:
                raise OSError("peer does not read")
        except OSError as error:
            self._cut_off(str(error))
            raise self._unreachable(str(error))

    def _receive(self) -> None:
        """Take what has come and hand each answer to the request that waits for it."""
        if self._sock is None:
            return
        try:
            got = self._sock.readinto(self._rx_view[self._have :] if self._have else self._rx_view)
        except OSError as error:
            self._cut_off(str(error))
            return
        if got is None:
            return
        if got == 0:
            self._hung_up()
            return
        self._have += got
        self._take()

    def _take(self) -> None:
        """Hand out the whole frames of what has come."""
        rx = self._rx
        have = self._have
        at = 0
        while have - at >= 6:
            length = rx[at + 4] << 8 | rx[at + 5]
            if rx[at + 2] or rx[at + 3] or not 3 <= length <= min(_LONGEST, len(self._slots[0].frame) - 6):
                # The stream is out of step, and nothing in it says where the next frame begins.
                self.count.rejected += 1
                what = "%d bytes that are no Modbus/TCP frame" % (have - at)
                for slot in self._slots:
                    if slot.transaction >= 0 and rx[at] == slot.frame[UNIT] and rx[at + 1] & 0x7F == slot.frame[PDU]:
                        what = "an RTU frame, the device or gateway speaks RTU over TCP (transport)"
                self._drop("bad header: " + what)
                return
            if have - at < 6 + length:
                break
            self._answer(at, length)
            at += 6 + length
        if at and have > at:
            hot.move(rx, at, have - at, rx, 0)
        self._have = have - at

    def _cut_off(self, why: str) -> None:
        """The connection is gone while something was asked: a peer that closes after each answer was only asked too late."""
        self.cut = self._answered and self._silent == 0
        self._drop(why)
        if self.cut:
            self._same_ms = _CUT_MS

    def _hung_up(self) -> None:
        """The peer has closed the connection; before it ever answered, the next one waits longer for its first request."""
        asked = self._silent
        for slot in self._slots:
            if slot.transaction >= 0:
                asked = True
        if self._answered and asked:
            self._cut_off("closed by the peer")
            return
        if self._answered or not asked:
            self._drop("closed by the peer")
            if self._answered:
                self._same_ms = _SAME_MS
            return
        self.settle_ms = min(max(_SETTLE_FIRST_MS, 2 * self.settle_ms), _SETTLE_MAX_MS)
        self._drop("closed by the peer before it answered: asked %d ms after connecting next time (settle_ms)" % self.settle_ms)

    def _answer(self, at: int, length: int) -> None:
        rx = self._rx
        transaction = rx[at] << 8 | rx[at + 1]
        for slot in self._slots:
            if slot.transaction == transaction:
                if rx[at + UNIT] != slot.frame[UNIT]:
                    self.count.rejected += 1
                    self._oddity = "; the answer carries unit id %d, asked was unit %d" % (rx[at + UNIT], slot.frame[UNIT])
                    return
                self._give(slot, at + PDU, length - 1)
                return
        if (self._next_transaction - transaction) & 0xFFFF <= _RECENT:
            self.count.late += 1
            if self.silent is not None and self.silent.frees(transaction):
                self._freed()
            self._oddity = "; an answer with an earlier transaction id came, %d" % transaction
            return
        self._oddity = "; the answer carries transaction id %d, asked was %d" % (transaction, self._next_transaction - 1 & 0xFFFF)
        for slot in self._slots:  # whose answer it was cannot be known: everyone asks again
            if slot.transaction >= 0:
                slot.transaction = _SPOILT

    def _give(self, slot: Slot, at: int, length: int) -> None:
        """The PDU at _rx[at] answers the request in `slot`."""
        slot.intact = False
        hot.move(self._rx, at, length, slot.frame, PDU)
        slot.length = length
        slot.transaction = -1
        self._silent = 0
        self._freed()
        self._answered = True
        self._answer_ms = time.ticks_ms()
        self._free_ms = time.ticks_add(self._answer_ms, self.pause_ms)
        self._backoff_ms = 0
