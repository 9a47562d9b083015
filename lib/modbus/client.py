"""The client's half of the protocol: builds requests, checks answers; transports carry them.

A request and its answer live in a preallocated frame with one layout for every transport: the unit in
byte 6, the PDU from byte 7, so that TCP can put its header in front and RTU can send from byte 6 on.
Registers are handed over in arrays that the caller owns (`array("H")`).
"""

import asyncio
import time

from micropython import const

import modbus
from modbus import hot

_NAP_MS = const(1)
UNIT = const(6)  # index of the unit in a frame
PDU = const(7)  # index of the function code in a frame
_AROUND = const(18)  # bytes of a frame beside its registers, at most (function 23)
_NOBODY = const((10, 11))  # exceptions with which a gateway says that there is no way to a unit, or no answer from it
_MEASURES = const(0)  # ranks of a request; one of a command goes first where the one before it was of a lower rank
_PREPARES = const(1)  # reads what a write needs
_WRITES = const(2)


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

    Requests take their turn in the order they came, but that a command, a write with what is read for it, goes before
    the reads that wait; after each of them one of these has its turn.  `pipeline` requests may be on their way together.
    Rarer ones (bits, mask write, read and write in one, identification) are functions of modbus.rarer.

    Every method raises a ModbusError: ModbusTimeout, ModbusUnreachable, ModbusBadFrame or ModbusRefused;
    ValueError says that the request itself could not be sent (address, count or value out of range).
    """

    connections = 0  # grows by one with every connection made; a serial line has none to make
    # of the class, for a client holds only what is otherwise
    retries = 0  # how often an unanswered request is sent again
    pause_ms = 0  # between an answer and the next request
    cut = False  # the peer has closed the connection on a request, having answered others: it was only asked too late
    silent = None  # modbus.silent.Silent, where several units share the client
    timeout_ms: int  # for each answer; a transport has it
    _exchange: "function"  # async (slot, length): carries the request in slot.frame; the length of the answer's PDU

    def __init__(self, retries: int = 0, pipeline: int = 1, registers: int = 125) -> None:
        """registers: the most that one request moves (16 bits count as one); frames have room for no more."""
        self.count = Counters()
        if retries:
            self.retries = retries
        self.registers = registers
        self._slots = [Slot(_AROUND + 2 * registers) for _ in range(pipeline)]
        self._queue = []  # tickets of those who wait for a slot, in the order of their turns
        self._ticket = 0
        self._pressing = 0  # how many of them belong to commands
        self._had = _MEASURES  # what the last one was that had its turn

    async def read_registers(self, unit: int, address: int, count: int, out, function: int = 3, to_write: bool = False) -> None:
        """Read `count` (1 to 125) registers from `address` into out[0:count]; function 3 holding, 4 input.

        to_write: a command is about to write, and needs them for it.
        """
        check_range("count", count, 1, self.registers)
        rank = _PREPARES if to_write else _MEASURES
        slot = self.free_slot() or await self.acquire(rank)
        self._had = rank
        try:
            frame = slot.frame
            frame[PDU] = function
            put16(frame, PDU + 1, address)
            put16(frame, PDU + 3, count)
            self.take_registers(slot, await self.transact(slot, unit, 5), count, out)
        finally:
            self.release(slot)

    async def write_register(self, unit: int, address: int, value: int, function: int = 6) -> None:
        """Write one holding register (function 6)."""
        slot = self.free_slot() or await self.acquire(_WRITES)
        self._had = _WRITES
        try:
            slot.frame[PDU] = function
            put16(slot.frame, PDU + 1, address)
            put16(slot.frame, PDU + 3, value)
            self.check_echo(slot, await self.transact(slot, unit, 5), unit, function, address, value)
        finally:
            self.release(slot)

    async def write_registers(self, unit: int, address: int, values, count: int, function: int = 16, fresh=None) -> None:
        """Write values[0:count] (1 to 123 registers) from `address` on: function 16, or 6 for one alone.

        fresh: called each time just before the request goes out, however long it has waited for its turn, a connection or
        the line.  It may put other numbers into `values`; what it raises keeps the request back.
        """
        check_range("count", count, 1, min(123, self.registers) if function == 16 else 1)
        slot = self.free_slot() or await self.acquire(_WRITES)
        self._had = _WRITES
        try:
            frame = slot.frame
            frame[PDU] = function
            put16(frame, PDU + 1, address)
            length = 5
            if function == 16:
                put16(frame, PDU + 3, count)
                length = 6 + 2 * count
                frame[PDU + 5] = 2 * count
            slot.values = values
            slot.at = length - 2 * count + PDU
            slot.fresh = fresh
            got = await self.transact(slot, unit, length)
            self.check_echo(slot, got, unit, function, address, count if function == 16 else values[0])
        finally:
            self.release(slot)

    def free_slot(self, ticket: int = 0):
        """A slot to build a request in, if one is free and it is the turn of `ticket` (0: of one who has none); else None."""
        if not self._queue or self._queue[0] == ticket:
            for slot in self._slots:
                if not slot.busy:
                    slot.busy = True
                    slot.intact = True
                    return slot
        return None

    async def acquire(self, rank: int = _MEASURES):
        """A slot, in turn.  A command waits behind no row of measurements, and no row of commands stops these."""
        self._ticket = ticket = self._ticket % 0x3FFFFFFF + 1
        pressing = rank > _MEASURES
        self._queue.insert((self._had >= rank) + self._pressing if pressing else len(self._queue), ticket)
        self._pressing += pressing
        try:
            while True:
                slot = self.free_slot(ticket)
                if slot is not None:
                    return slot
                await asyncio.sleep_ms(_NAP_MS)
        finally:
            self._queue.remove(ticket)
            self._pressing -= pressing

    def release(self, slot) -> None:
        slot.transaction = -1
        slot.values = slot.fresh = None
        slot.busy = False

    async def transact(self, slot, unit: int, length: int) -> int:
        """Send the PDU in slot.frame, and again if nobody answers; the length of the answer's PDU."""
        check_range("unit", unit, 0, 255)
        frame = slot.frame
        function = frame[PDU]
        frame[UNIT] = unit
        self._meet(unit)
        slot.attempt = 0
        again = True
        while True:
            begun = time.ticks_ms()
            try:
                if self.silent is not None and self.silent.is_left(unit, slot.attempt > 0):
                    raise modbus.ModbusUnreachable("unit %d does not answer, asking again soon%s" % (unit, self._why()))
                got = await self._exchange(slot, length)
                break
            except modbus.ModbusError as error:
                if self.cut and again and isinstance(error, modbus.ModbusUnreachable):
                    again = False  # it is no attempt: nobody was there any more to ask
                    continue
                self.count.last_error = str(error)
                if self.silent is not None and isinstance(error, modbus.ModbusTimeout):
                    self.silent.failed(unit, self.timeout_ms, True)
                slot.attempt += 1
                if slot.attempt > self.retries or not slot.intact:
                    raise
        if got == 0:
            return 0  # broadcast: nobody answers
        if self.silent is not None:
            self._judge(slot, unit, got, time.ticks_diff(time.ticks_ms(), begun))
        if frame[PDU] == function | 0x80 and got == 2:
            self.count.exceptions += 1
            refused = modbus.ModbusRefused(function, frame[PDU + 1])
            self.count.last_error = str(refused)
            raise refused
        if frame[PDU] != function:
            self.refuse("function %d answered with %d" % (function, frame[PDU]))
        return got

    def _meet(self, unit: int) -> None:
        """A unit is asked: a transport may note whether others are."""

    def _why(self) -> str:
        """What a transport has to say of a unit that does not answer."""
        return ""

    def _judge(self, slot, unit: int, length: int, spent_ms: int) -> None:
        """Somebody has answered: the unit, or a gateway in its place (exceptions 10 and 11)."""
        frame = slot.frame
        if length == 2 and frame[PDU] & 0x80 and frame[PDU + 1] in _NOBODY:
            self.silent.failed(unit, spent_ms, False)
        else:
            self.silent.answered(unit)

    def take_registers(self, slot, length: int, count: int, out) -> None:
        """Check an answer that carries `count` registers and hand them over."""
        frame = slot.frame
        if length != 2 + 2 * count or frame[PDU + 1] != 2 * count:
            self.refuse("%d registers asked for, %d bytes came" % (count, length - 2))
        hot.unpack(frame, PDU + 2, count, out)

    def check_echo(self, slot, length: int, unit: int, function: int, address: int, value: int) -> None:
        """A write is answered with what was written: anything else is not the answer."""
        frame = slot.frame
        if length == 0:
            return
        if length != 5 or get16(frame, PDU + 1) != address or get16(frame, PDU + 3) != value:
            self.refuse("function %d at %d answered for something else" % (function, address))

    def refuse(self, text: str) -> None:
        self.count.rejected += 1
        self.count.last_error = text
        raise modbus.ModbusBadFrame(text)


class Slot:
    """One request on its way.  `intact`: the frame still holds the request, so it may be sent again."""

    def __init__(self, size: int) -> None:
        self.frame = bytearray(size)
        self.busy = False
        self.intact = True
        self.attempt = 0  # how often it was sent before
        self.transaction = -1  # -1: waits for nothing
        self.length = 0  # of the answer's PDU, 0 until it came
        self.values = None  # what a write takes along, from frame[at] on
        self.at = 0
        self.fresh = None  # see Client.write_registers

    def fill(self, end: int) -> bool:
        """Put in what is written, as it is now; the PDU ends before frame[end].  A transport calls it just before sending.

        True: something else stood there, as an earlier attempt has sent it.
        """
        if self.values is None:
            return False
        if self.fresh is not None:
            self.fresh()
        changed = False
        for i in range((end - self.at) // 2):
            at = self.at + 2 * i
            changed = changed or get16(self.frame, at) != self.values[i]
            put16(self.frame, at, self.values[i])
        return changed


def check_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError("%s is %d, allowed %d to %d" % (name, value, low, high))


def put16(frame, at: int, value: int) -> None:
    if not 0 <= value <= 0xFFFF:
        raise ValueError("register value %d, allowed 0 to 65535" % value)
    frame[at] = value >> 8
    frame[at + 1] = value & 0xFF


def get16(frame, at: int) -> int:
    return frame[at] << 8 | frame[at + 1]
