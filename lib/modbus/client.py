"""The client's half of the protocol: builds requests, checks answers; transports carry them.

A request and its answer live in a preallocated frame with one layout for every transport: the unit in
byte 6, the PDU from byte 7, so that TCP can put its header in front and RTU can send from byte 6 on.
Registers are handed over in arrays that the caller owns (`array("H")`).
"""

import asyncio

from micropython import const

from modbus import (
    ModbusBadFrame,
    ModbusError,
    ModbusRefused,
)

_NAP_MS = const(1)
UNIT = const(6)  # index of the unit in a frame
PDU = const(7)  # index of the function code in a frame
_MOST_PARTS = const(16)  # of a device identification
FRAME_SIZE = const(264)  # 7 + the longest PDU (253) + CRC, rounded up to whole words


class Counters:
    """What happened on a connection, counted since it was made."""

    def __init__(self) -> None:
        self.frames = 0  # requests sent
        self.timeouts = 0
        self.crc_errors = 0
        self.exceptions = 0  # the server said no
        self.rejected = 0  # answers that could not be true
        self.late = 0  # answers nobody waited for any more, or twice
        self.reconnects = 0
        self.last_error = ""

    def as_dict(self) -> dict:
        """The counters by name, for people."""
        return self.__dict__.copy()


class Client:
    """The requests a program can make.  A transport adds `_exchange`, which carries one.

    Requests take their turn in the order they came; `pipeline` of them may be on their way together.

    Every method raises a ModbusError: ModbusTimeout, ModbusUnreachable, ModbusBadFrame or ModbusRefused;
    ValueError says that the request itself could not be sent (address, count or value out of range).
    """

    connections = 0  # grows by one with every connection made; a serial line has none to make

    def __init__(self, retries: int = 0, pipeline: int = 1) -> None:
        self.count = Counters()
        self.retries = retries  # how often an unanswered request is sent again
        self._slots = [Slot() for _ in range(pipeline)]
        self._queue = []  # tickets of those who wait for a slot, in the order they came
        self._ticket = 0

    async def read_registers(self, unit: int, address: int, count: int, out, function: int = 3) -> None:
        """Read `count` (1 to 125) registers from `address` into out[0:count]; function 3 holding, 4 input."""
        _check("count", count, 1, 125)
        slot = await self._acquire()
        try:
            frame = slot.frame
            frame[PDU] = function
            _put16(frame, PDU + 1, address)
            _put16(frame, PDU + 3, count)
            self._registers(slot, await self._transact(slot, unit, 5), count, out)
        finally:
            self._release(slot)

    async def read_bits(self, unit: int, address: int, count: int, out, function: int = 1) -> None:
        """Read `count` (1 to 2000) bits into out[0:count] as 0 or 1; function 1 coils, 2 discrete inputs."""
        _check("count", count, 1, 2000)
        slot = await self._acquire()
        try:
            frame = slot.frame
            frame[PDU] = function
            _put16(frame, PDU + 1, address)
            _put16(frame, PDU + 3, count)
            length = await self._transact(slot, unit, 5)
            if length != 2 + (count + 7) // 8 or frame[PDU + 1] != length - 2:
                self._bad("%d bits asked for, %d bytes came" % (count, length - 2))
            for i in range(count):
                out[i] = frame[PDU + 2 + (i >> 3)] >> (i & 7) & 1
        finally:
            self._release(slot)

    async def write_register(self, unit: int, address: int, value: int) -> None:
        """Write one holding register (function 6)."""
        await self._write_one(unit, 6, address, value)

    async def write_coil(self, unit: int, address: int, on: bool) -> None:
        """Switch one coil (function 5)."""
        await self._write_one(unit, 5, address, 0xFF00 if on else 0)

    async def write_registers(self, unit: int, address: int, values, count: int) -> None:
        """Write values[0:count] (1 to 123 registers) from `address` on (function 16)."""
        _check("count", count, 1, 123)
        slot = await self._acquire()
        try:
            frame = slot.frame
            frame[PDU] = 16
            _put16(frame, PDU + 1, address)
            _put16(frame, PDU + 3, count)
            frame[PDU + 5] = 2 * count
            for i in range(count):
                _put16(frame, PDU + 6 + 2 * i, values[i])
            self._echoed(slot, await self._transact(slot, unit, 6 + 2 * count), unit, 16, address, count)
        finally:
            self._release(slot)

    async def write_coils(self, unit: int, address: int, values, count: int) -> None:
        """Switch `count` (1 to 1968) coils from `address` on to the truth of values[0:count] (function 15)."""
        _check("count", count, 1, 1968)
        slot = await self._acquire()
        try:
            frame = slot.frame
            size = (count + 7) // 8
            frame[PDU] = 15
            _put16(frame, PDU + 1, address)
            _put16(frame, PDU + 3, count)
            frame[PDU + 5] = size
            for i in range(size):
                frame[PDU + 6 + i] = 0
            for i in range(count):
                if values[i]:
                    frame[PDU + 6 + (i >> 3)] |= 1 << (i & 7)
            self._echoed(slot, await self._transact(slot, unit, 6 + size), unit, 15, address, count)
        finally:
            self._release(slot)

    async def mask_write(self, unit: int, address: int, keep: int, flip: int) -> None:
        """Change bits of one holding register: (old & keep) | (flip & ~keep) (function 22)."""
        slot = await self._acquire()
        try:
            frame = slot.frame
            frame[PDU] = 22
            _put16(frame, PDU + 1, address)
            _put16(frame, PDU + 3, keep)
            _put16(frame, PDU + 5, flip)
            length = await self._transact(slot, unit, 7)
            if length and (length != 7 or _get16(frame, PDU + 3) != keep or _get16(frame, PDU + 5) != flip):
                self._bad("function 22 at %d answered for something else" % address)
        finally:
            self._release(slot)

    async def read_write(self, unit: int, address: int, count: int, out, write_at: int, values, writes: int) -> None:
        """Write values[0:writes] (1 to 121) at `write_at`, then read `count` registers into out (function 23)."""
        _check("count", count, 1, 125)
        _check("writes", writes, 1, 121)
        slot = await self._acquire()
        try:
            frame = slot.frame
            frame[PDU] = 23
            _put16(frame, PDU + 1, address)
            _put16(frame, PDU + 3, count)
            _put16(frame, PDU + 5, write_at)
            _put16(frame, PDU + 7, writes)
            frame[PDU + 9] = 2 * writes
            for i in range(writes):
                _put16(frame, PDU + 10 + 2 * i, values[i])
            self._registers(slot, await self._transact(slot, unit, 10 + 2 * writes), count, out)
        finally:
            self._release(slot)

    async def identify(self, unit: int, category: int = 1) -> dict:
        """The device's identification: texts by object id (function 43/14); category 1 basic, 2 regular, 3 extended."""
        _check("category", category, 1, 3)
        texts = {}
        wanted = 0
        slot = await self._acquire()
        try:
            for _ in range(_MOST_PARTS):
                frame = slot.frame
                slot.intact = True
                frame[PDU] = 43
                frame[PDU + 1] = 14
                frame[PDU + 2] = category
                frame[PDU + 3] = wanted
                length = await self._transact(slot, unit, 4)
                if length < 7 or not self._texts(frame, PDU + length, texts):
                    self._bad("function 43 answered with objects that overrun the frame")
                if frame[PDU + 4] != 0xFF or frame[PDU + 5] <= wanted:
                    break
                wanted = frame[PDU + 5]
        finally:
            self._release(slot)
        return texts

    def _texts(self, frame, end: int, texts: dict) -> bool:
        at = PDU + 7
        for _ in range(frame[PDU + 6]):
            if at + 2 > end or at + 2 + frame[at + 1] > end:
                return False
            texts[frame[at]] = "".join([chr(c) for c in frame[at + 2 : at + 2 + frame[at + 1]]])
            at += 2 + frame[at + 1]
        return True

    async def _write_one(self, unit: int, function: int, address: int, value: int) -> None:
        slot = await self._acquire()
        try:
            slot.frame[PDU] = function
            _put16(slot.frame, PDU + 1, address)
            _put16(slot.frame, PDU + 3, value)
            self._echoed(slot, await self._transact(slot, unit, 5), unit, function, address, value)
        finally:
            self._release(slot)

    async def _acquire(self):
        """A slot to build a request in, in turn."""
        self._ticket = ticket = (self._ticket + 1) & 0x3FFFFFFF
        self._queue.append(ticket)
        try:
            while True:
                if self._queue[0] == ticket:
                    for slot in self._slots:
                        if not slot.busy:
                            slot.busy = True
                            slot.intact = True
                            return slot
                await asyncio.sleep_ms(_NAP_MS)
        finally:
            self._queue.remove(ticket)

    def _release(self, slot) -> None:
        slot.transaction = -1
        slot.busy = False

    async def _transact(self, slot, unit: int, length: int) -> int:
        """Send the PDU in slot.frame, and again if nobody answers; the length of the answer's PDU."""
        _check("unit", unit, 0, 255)
        frame = slot.frame
        function = frame[PDU]
        frame[UNIT] = unit
        attempt = 0
        while True:
            try:
                got = await self._exchange(slot, length)
                break
            except ModbusError as error:
                self.count.last_error = str(error)
                attempt += 1
                if attempt > self.retries or not slot.intact:
                    raise
        if got == 0:
            return 0  # broadcast: nobody answers
        if frame[PDU] == function | 0x80 and got == 2:
            self.count.exceptions += 1
            refused = ModbusRefused(function, frame[PDU + 1])
            self.count.last_error = str(refused)
            raise refused
        if frame[PDU] != function:
            self._bad("function %d answered with %d" % (function, frame[PDU]))
        return got

    def _registers(self, slot, length: int, count: int, out) -> None:
        """Check an answer that carries `count` registers and hand them over."""
        frame = slot.frame
        if length != 2 + 2 * count or frame[PDU + 1] != 2 * count:
            self._bad("%d registers asked for, %d bytes came" % (count, length - 2))
        at = PDU + 2
        for i in range(count):
            out[i] = frame[at] << 8 | frame[at + 1]
            at += 2

    def _echoed(self, slot, length: int, unit: int, function: int, address: int, value: int) -> None:
        """A write is answered with what was written: anything else is not the answer."""
        frame = slot.frame
        if length == 0:
            return
        if length != 5 or _get16(frame, PDU + 1) != address or _get16(frame, PDU + 3) != value:
            self._bad("function %d at %d answered for something else" % (function, address))

    def _bad(self, text: str) -> None:
        self.count.rejected += 1
        self.count.last_error = text
        raise ModbusBadFrame(text)


class Slot:
    """One request on its way.  `intact`: the frame still holds the request, so it may be sent again."""

    def __init__(self) -> None:
        self.frame = bytearray(FRAME_SIZE)
        self.view = memoryview(self.frame)
        self.busy = False
        self.intact = True
        self.transaction = -1  # -1: waits for nothing
        self.length = 0  # of the answer's PDU, 0 until it came


def _check(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError("%s is %d, allowed %d to %d" % (name, value, low, high))


def _put16(frame, at: int, value: int) -> None:
    if not 0 <= value <= 0xFFFF:
        raise ValueError("register value %d, allowed 0 to 65535" % value)
    frame[at] = value >> 8
    frame[at + 1] = value & 0xFF


def _get16(frame, at: int) -> int:
    return frame[at] << 8 | frame[at + 1]
