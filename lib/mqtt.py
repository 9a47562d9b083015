"""An MQTT 3.1.1 client that never blocks: one task connects, looks what has come, and publishes.  It holds a buffer and a queue.

Of QoS 1 goes out what was promised (`promise`): in order, kept until the broker has acknowledged it, and sent again over the next
connection; what finds the queue full is dropped and counted.  Everything else is QoS 0: what is not sent now is old a moment later.
A long message is published in pieces that are made while it is sent, twice: once for their length.  Sessions are clean: a broker
keeps nothing for us that would arrive late.

Whoever uses it makes the socket (non-blocking, with MicroPython's readinto and write, plain or behind TLS), and tries again when
something raises OSError: then the connection is over, whatever the broker had sent.
"""

import asyncio
import time

from micropython import const

_WRITE_MS = const(5000)  # a broker that takes nothing for so long is gone
_ANSWER_MS = const(10000)  # for what it answers: CONNACK, SUBACK, PUBACK, PINGRESP
_NAP_MS = const(10)
_HOLD_MS = const(8)  # of making a long message between two looks of other tasks
_CONNACK = const(2)
_PUBLISH = const(3)
_PUBACK = const(4)
_SUBACK = const(9)
_PINGRESP = const(13)
_REFUSALS = const("""its version
the client id
not available
user or password
not authorised""")


def _text(text) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return bytes((len(data) >> 8, len(data) & 255)) + data


def _head(kind: int, size: int) -> bytes:
    """The first byte, and the remaining length."""
    head = bytearray((kind,))
    while True:
        head.append(size & 127 | (128 if size > 127 else 0))
        size >>= 7
        if not size:
            return bytes(head)


class Client:
    """One connection at a time.

    take(topic, payload, retained): called in `look` with what has come, a text and bytes.  will: (topic, payload), retained, of
    QoS 1.  window: promises kept; largest: bytes of a packet that is taken: a longer one is skipped and counted.
    """

    def __init__(self, client_id: str, take, will: tuple, user="", password="", keepalive_s=60, window=8, largest=512) -> None:
        self.connected = False
        self.waiting: list = []  # promises: [packet id, 0 while not sent, topic, payload]
        self.dropped = 0  # promises that found no place,
        self.repeated = 0  # that were sent again over another connection
        self.too_long = 0  # packets that were skipped
        self.after_step = None  # called after each write that may have been a step of a handshake
        self._given = (client_id, will, user, password)
        self._take = take
        self._keepalive_s = keepalive_s
        self._window = window
        self._sock = None
        self._rx = bytearray(largest)
        self._view = memoryview(self._rx)
        self._have = 0
        self._skip = 0  # bytes of a packet that is too long
        self._acks: list = []
        self._last_id = 0
        self._answer = -1  # of CONNACK or SUBACK
        self._sent_ms = self._ping_ms = self._promised_ms = 0
        self._pinged = False

    # ---- the connection -----------------------------------------------------------------------------------

    async def connect(self, sock) -> None:
        """Begin a session over this socket.  OSError where the broker refuses it or is silent; the socket is then closed."""
        self.close()
        self._sock = sock
        self._have = self._skip = 0
        self._acks.clear()
        self._pinged = False
        for promise in self.waiting:
            if promise[0]:
                promise[0] = 0
                self.repeated += 1
        client_id, will, user, password = self._given
        body = b"\x00\x04MQTT\x04" + bytes((0x2E | bool(user) << 7 | bool(password) << 6,))
        body += bytes((self._keepalive_s >> 8, self._keepalive_s & 255)) + _text(client_id) + _text(will[0]) + _text(will[1])
        if user:
            body += _text(user)
        if password:
            body += _text(password)
        try:
            code = await self._ask(_head(0x10, len(body)) + body)
            if code:
                words = _REFUSALS.split("\n")
                raise OSError("the broker refuses: " + (words[code - 1] if code <= len(words) else "code %d" % code))
        except OSError:
            self.close()
            raise
        self.connected = True

    def close(self) -> None:
        """End the connection; what was promised is kept for the next one."""
        self.connected = False
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    async def leave(self) -> None:
        """Say goodbye, so that the broker does not publish the will."""
        if self.connected:
            await self._write(b"\xe0\x00")
        self.close()

    async def subscribe(self, topic: str) -> None:
        """At QoS 1.  OSError where the broker does not allow it."""
        self._last_id = self._last_id % 65535 + 1
        body = bytes((self._last_id >> 8, self._last_id & 255)) + _text(topic) + b"\x01"
        if await self._ask(_head(0x82, len(body)) + body) > 2:
            raise OSError("the broker does not let us subscribe to " + topic)

    async def _ask(self, packet: bytes) -> int:
        """The code that the broker answers a CONNECT or SUBSCRIBE with."""
        self._answer = -1
        begun = time.ticks_ms()
        await self._write(packet)
        while self._answer < 0:
            if not self.look(time.ticks_ms()):
                await asyncio.sleep_ms(_NAP_MS)
            if not 0 <= time.ticks_diff(time.ticks_ms(), begun) < _ANSWER_MS:
                raise OSError("the broker does not answer")
        return self._answer

    # ---- what comes ---------------------------------------------------------------------------------------

    def look(self, now: int) -> bool:
        """Take what has come, a buffer at most; whether anything had.  OSError when the connection is over."""
        if self._sock is None:
            raise OSError("not connected")
        got = self._sock.readinto(self._view[self._have :] if self._have else self._view)
        if got == 0:
            raise OSError("the broker has closed the connection")
        if got:
            self._have += got
            self._deal()
        if self._pinged and time.ticks_diff(now, self._ping_ms) > _ANSWER_MS:
            raise OSError("the broker is silent")
        if self.waiting and self.waiting[0][0] and time.ticks_diff(now, self._promised_ms) > _ANSWER_MS:
            raise OSError("the broker acknowledges nothing")
        return bool(got)

    def _deal(self) -> None:
        """The packets that are whole."""
        rx = self._rx
        at = 0
        while True:
            if self._skip:
                gone = min(self._skip, self._have - at)
                self._skip -= gone
                at += gone
            body, size = self._length(at)
            if not body:
                break
            if body + size - at > len(rx):
                if at:
                    break  # its beginning goes to the front first
                if self._have < len(rx):
                    return
                self._pass(body, size)
                return
            if body + size > self._have:
                break
            self._packet(rx[at], body, body + size)
            at = body + size
        if at:
            rest = self._have - at
            rx[:rest] = rx[at : self._have]
            self._have = rest

    def _length(self, at: int) -> tuple:
        """Where the body of a packet begins, and its size; (0, 0): that is not there yet."""
        size = shift = 0
        for i in range(at + 1, min(at + 5, self._have)):
            size |= (self._rx[i] & 127) << shift
            if not self._rx[i] & 128:
                return i + 1, size
            shift += 7
        if self._have - at >= 5:
            raise OSError("the broker sends no MQTT")
        return 0, 0

    def _pass(self, body: int, size: int) -> None:
        """A message that is too long: acknowledged, so that it does not come again, and skipped."""
        kind = self._rx[0]
        topic = self._rx[body] << 8 | self._rx[body + 1]
        if kind >> 4 != _PUBLISH or topic + body + 4 > self._have:
            raise OSError("the broker sends a packet of %d bytes" % size)
        if kind & 6:
            at = body + 2 + topic
            self._acks.append(self._rx[at] << 8 | self._rx[at + 1])
        self.too_long += 1
        self._skip = body + size - self._have
        self._have = 0

    def _packet(self, first: int, at: int, end: int) -> None:
        kind = first >> 4
        rx = self._rx
        size = end - at
        if kind == _PUBLISH:
            self._message(first, at, end)
        elif kind == _PUBACK and size == 2:
            self._acknowledged(rx[at] << 8 | rx[at + 1])
        elif kind == _SUBACK and size == 3:
            self._answer = rx[at + 2]
        elif kind == _CONNACK and size == 2 and not self.connected:
            self._answer = rx[at + 1]
        elif kind == _PINGRESP and not size:
            self._pinged = False
        else:
            raise OSError("the broker sends what it may not: packet %d of %d bytes" % (kind, size))

    def _message(self, first: int, at: int, end: int) -> None:
        rx = self._rx
        qos = first >> 1 & 3
        start = at + 2
        payload = start + (rx[at] << 8 | rx[at + 1] if end - at > 1 else end)
        if payload + (2 if qos else 0) > end or qos > 1 or not self.connected:
            raise OSError("the broker sends a message that is none")
        try:
            topic = str(self._view[start:payload], "utf-8")
        except UnicodeError:
            raise OSError("the broker sends a topic that is no text")
        if qos:
            self._acks.append(rx[payload] << 8 | rx[payload + 1])
            payload += 2
        self._take(topic, bytes(self._view[payload:end]), bool(first & 1))

    def _acknowledged(self, packet_id: int) -> None:
        for i, promise in enumerate(self.waiting):
            if promise[0] == packet_id:
                self.waiting.pop(i)
                self._promised_ms = time.ticks_ms()
                return

    # ---- what goes ----------------------------------------------------------------------------------------

    def promise(self, topic: str, payload: bytes) -> bool:
        """Keep a message of QoS 1 until the broker has acknowledged it; False: the queue is full, it is dropped and counted."""
        if len(self.waiting) >= self._window:
            self.dropped += 1
            return False
        self.waiting.append([0, topic, payload])
        return True

    def is_due(self, now: int) -> bool:
        """Something is to be sent by `flush`."""
        if self._acks or (not self._pinged and time.ticks_diff(now, self._sent_ms) >= self._keepalive_s * 500):
            return True
        for promise in self.waiting:
            if not promise[0]:
                return True
        return False

    async def flush(self) -> None:
        """Send acknowledgements, what was promised, and a sign of life where one is due."""
        while self._acks:
            packet_id = self._acks.pop(0)
            await self._write(bytes((0x40, 2, packet_id >> 8, packet_id & 255)))
        for promise in self.waiting[:]:
            if not promise[0]:
                if not self.waiting[0][0]:
                    self._promised_ms = time.ticks_ms()
                self._last_id = self._last_id % 65535 + 1
                promise[0] = self._last_id
                body = _text(promise[1]) + bytes((self._last_id >> 8, self._last_id & 255)) + promise[2]
                await self._write(_head(0x32, len(body)) + body)
        if not self._pinged and time.ticks_diff(time.ticks_ms(), self._sent_ms) >= self._keepalive_s * 500:
            self._pinged = True
            self._ping_ms = time.ticks_ms()
            await self._write(b"\xc0\x00")

    async def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        """Send a message of QoS 0 now."""
        head = _text(topic)
        await self._write(_head(0x31 if retain else 0x30, len(head) + len(payload)) + head + payload)

    async def publish_pieces(self, topic: str, pieces, retain: bool = False) -> int:
        """The same of a long one: pieces() goes through its bytes, the same ones each time.  How many bytes it has."""
        size = 0
        begun = time.ticks_ms()
        for piece in pieces():
            size += len(piece)
            if time.ticks_diff(time.ticks_ms(), begun) >= _HOLD_MS:
                await asyncio.sleep_ms(0)
                begun = time.ticks_ms()
        head = _text(topic)
        await self._write(_head(0x31 if retain else 0x30, len(head) + size) + head)
        left = size
        for piece in pieces():
            left -= len(piece)
            if left < 0:
                break
            await self._write(piece)
            if time.ticks_diff(time.ticks_ms(), begun) >= _HOLD_MS:
                await asyncio.sleep_ms(0)
                begun = time.ticks_ms()
        if left:
            raise OSError("a message for %s was not of one length" % topic)
        return size

    async def _write(self, data: bytes) -> None:
        """All of it.  OSError when the connection is over or takes nothing for too long."""
        at = 0
        begun = time.ticks_ms()
        while True:
            sock = self._sock
            if sock is None:
                raise OSError("not connected")
            done = sock.write(memoryview(data)[at:] if at else data)
            if self.after_step is not None:
                self.after_step()
            if done:
                at += done
                begun = time.ticks_ms()
                if at >= len(data):
                    self._sent_ms = begun
                    return
            elif not 0 <= time.ticks_diff(time.ticks_ms(), begun) < (_WRITE_MS if self.connected else _ANSWER_MS):
                raise OSError("the broker takes nothing")
            await asyncio.sleep_ms(_NAP_MS)
