"""The server's half of the protocol: takes a request's PDU, lets a register model act, makes the answer's PDU.

What is served is an object with three methods, all called with `table` (COILS, DISCRETE_INPUTS, INPUT_REGISTERS
or HOLDING_REGISTERS), the first `address`, how many, and a preallocated array("H") of words:

    read(table, address, count, words) -> 0 or an exception code; fills words
    check(table, address, count, words) -> 0 or an exception code; says whether the whole write is acceptable
    write(table, address, count, words) -> 0 or an exception code; acts

`check` sees a write before any of it acts, so nothing is ever half written.  Bits come packed, sixteen to a
word, the first one lowest.  Serving a request allocates nothing.

Who asks is `Server.client`, a number that the transport sets before each request.
"""

from array import array

from micropython import const

from modbus import hot

COILS = const(0)
DISCRETE_INPUTS = const(1)
INPUT_REGISTERS = const(2)
HOLDING_REGISTERS = const(3)

_ILLEGAL_FUNCTION = const(1)
_ILLEGAL_ADDRESS = const(2)
_ILLEGAL_VALUE = const(3)
_DEVICE_FAILURE = const(4)
_BUSY = const(6)
_NO_TARGET = const(11)  # "gateway target device failed to respond"
_SILENCE = const(-1)

_MOST_REGISTERS_READ = const(125)
_MOST_REGISTERS_WRITTEN = const(123)
_MOST_REGISTERS_EXCHANGED = const(121)  # written by function 23
_MOST_BITS_READ = const(2000)
_MOST_BITS_WRITTEN = const(1968)
_PDU_MAX = const(253)
_DEVICE_IDENTIFICATION = const(14)  # function 43's sub-function

# Table that a function works on: 1 coils, 2 discrete inputs, 3 holding, 4 input
_TABLES = bytes((0, 0, 1, 3, 2))


class ServerCounters:
    """What a server has seen since it was made."""

    def __init__(self) -> None:
        self.frames = 0  # requests for us
        self.exceptions = 0  # of them refused
        self.crc_errors = 0
        self.rejected = 0  # frames that were none
        self.overruns = 0  # bytes lost because nobody took them in time
        self.clients = 0  # connections now
        self.connections = 0  # connections ever
        self.turned_away = 0  # connections over the cap
        self.idle_closed = 0
        self.no_memory = 0  # times there was no memory for a request or a connection
        self.last_error = ""

    def failed(self, error) -> None:
        """What has ended a connection, or kept one from coming about."""
        if isinstance(error, MemoryError):
            self.no_memory += 1  # first: its text may find none either
        self.last_error = str(error)

    def as_dict(self) -> dict:
        """The counters by name, for people."""
        return self.__dict__.copy()


class Server:
    """Answers requests out of register models.

    models: one object, serving every unit, or a dict of them by unit.  identity: texts of the device
    identification (function 43/14) by object id: 0 vendor, 1 product code, 2 revision (these three are
    mandatory), 3 URL, 4 product, 5 model, 6 application.
    """

    def __init__(self, models, identity=None) -> None:
        self.count = ServerCounters()
        self.client = 0  # who asks: the transport sets it before each request; on a serial line whatever its owner puts here
        self._units = models if isinstance(models, dict) else None
        self._model = None if self._units is not None else models
        self.identity = identity or {0: "unknown", 1: "unknown", 2: "0"}
        self._words = array("H", bytes(250))

    def knows(self, unit: int) -> bool:
        """There is a model for this unit."""
        return self._units is None or unit in self._units

    def serve(self, unit: int, frame, at: int, length: int, reply, to: int) -> int:
        """Answer the PDU frame[at:at + length] into reply[to:]; the length of the answer (never 0)."""
        count = self.count
        count.frames = (count.frames + 1) & 0x3FFFFFFF
        model = self._model
        if model is None:
            model = self._units.get(unit)
        function = frame[at]
        if model is None:
            code = _NO_TARGET
        else:
            try:
                code = self._act(model, frame, at, length, reply, to)
            except MemoryError:  # whoever asks again finds it as it was, or done
                count.no_memory += 1
                code = -_BUSY
            except Exception as error:  # a model's mistake must not end the server
                count.last_error = "function %d: %r" % (function, error)
                code = -_DEVICE_FAILURE
        if code > 0 and model is not None:
            return code
        return self.refuse(function, reply, to, code if code > 0 else -code)

    def refuse(self, function: int, reply, to: int, code: int = _ILLEGAL_FUNCTION) -> int:
        """An exception as the answer to a function, into reply[to:]; its length."""
        self.count.exceptions = (self.count.exceptions + 1) & 0x3FFFFFFF
        reply[to] = function | 0x80
        reply[to + 1] = code
        return 2

    def broadcast(self, frame, at: int, length: int, scratch, to: int) -> None:
        """Let every unit act on a write; the answers go nowhere."""
        if frame[at] not in (5, 6, 15, 16, 22):
            return
        if self._units is None:
            self.serve(1, frame, at, length, scratch, to)
        else:
            for unit in self._units:
                if self._is_first(unit):
                    self.serve(unit, frame, at, length, scratch, to)

    def _is_first(self, unit: int) -> bool:
        """Of the units that are one model, so that this acts once."""
        for other in self._units:
            if self._units[other] is self._units[unit]:
                return other == unit
        return False

    # ---- one request: the answer's length, or minus an exception code ----------------------------------
    def _act(self, model, frame, at: int, length: int, reply, to: int) -> int:
        function = frame[at]
        if function == 3 or function == 4:
            return self._read_registers(model, frame, at, length, reply, to)
        if function == 16:
            return self._write_registers(model, frame, at, length, reply, to)
        if function == 6:
            return self._write_register(model, frame, at, length, reply, to)
        if function == 1 or function == 2:
            return self._read_bits(model, frame, at, length, reply, to)
        if function == 5:
            return self._write_coil(model, frame, at, length, reply, to)
        if function == 15:
            return self._write_coils(model, frame, at, length, reply, to)
        if function == 22:
            return self._mask_write(model, frame, at, length, reply, to)
        if function == 23:
            return self._read_write(model, frame, at, length, reply, to)
        if function == 43:
            return self._identify(frame, at, length, reply, to)
        return -_ILLEGAL_FUNCTION

    def _read_registers(self, model, frame, at: int, length: int, reply, to: int) -> int:
        if length != 5:
            return -_ILLEGAL_VALUE
        address = frame[at + 1] << 8 | frame[at + 2]
        count = frame[at + 3] << 8 | frame[at + 4]
        if not 1 <= count <= _MOST_REGISTERS_READ:
            return -_ILLEGAL_VALUE
        if address + count > 0x10000:
            return -_ILLEGAL_ADDRESS
        words = self._words
        code = model.read(_TABLES[frame[at]], address, count, words)
        if code:
            return -code
        reply[to] = frame[at]
        reply[to + 1] = 2 * count
        hot.pack(words, count, reply, to + 2)
        return 2 + 2 * count

    def _read_bits(self, model, frame, at: int, length: int, reply, to: int) -> int:
        if length != 5:
            return -_ILLEGAL_VALUE
        address = frame[at + 1] << 8 | frame[at + 2]
        count = frame[at + 3] << 8 | frame[at + 4]
        if not 1 <= count <= _MOST_BITS_READ:
            return -_ILLEGAL_VALUE
        if address + count > 0x10000:
            return -_ILLEGAL_ADDRESS
        words = self._words
        code = model.read(_TABLES[frame[at]], address, count, words)
        if code:
            return -code
        size = (count + 7) >> 3
        reply[to] = frame[at]
        reply[to + 1] = size
        for i in range(size):
            reply[to + 2 + i] = words[i >> 1] >> (i & 1) * 8 & 0xFF
        if count & 7:
            reply[to + 1 + size] &= (1 << (count & 7)) - 1
        return 2 + size

    def _write_register(self, model, frame, at: int, length: int, reply, to: int) -> int:
        if length != 5:
            return -_ILLEGAL_VALUE
        address = frame[at + 1] << 8 | frame[at + 2]
        self._words[0] = frame[at + 3] << 8 | frame[at + 4]
        return self._put(model, HOLDING_REGISTERS, address, 1) or self._echo(frame, at, 5, reply, to)

    def _write_coil(self, model, frame, at: int, length: int, reply, to: int) -> int:
        value = frame[at + 3] << 8 | frame[at + 4] if length == 5 else 1
        if value != 0 and value != 0xFF00:
            return -_ILLEGAL_VALUE
        address = frame[at + 1] << 8 | frame[at + 2]
        self._words[0] = 1 if value else 0
        return self._put(model, COILS, address, 1) or self._echo(frame, at, 5, reply, to)

    def _write_registers(self, model, frame, at: int, length: int, reply, to: int) -> int:
        if length < 8:
            return -_ILLEGAL_VALUE
        count = frame[at + 3] << 8 | frame[at + 4]
        if not 1 <= count <= _MOST_REGISTERS_WRITTEN or frame[at + 5] != 2 * count or length != 6 + 2 * count:
            return -_ILLEGAL_VALUE
        address = frame[at + 1] << 8 | frame[at + 2]
        if address + count > 0x10000:
            return -_ILLEGAL_ADDRESS
        hot.unpack(frame, at + 6, count, self._words)
        return self._put(model, HOLDING_REGISTERS, address, count) or self._echo(frame, at, 5, reply, to)

    def _write_coils(self, model, frame, at: int, length: int, reply, to: int) -> int:
        if length < 7:
            return -_ILLEGAL_VALUE
        count = frame[at + 3] << 8 | frame[at + 4]
        size = (count + 7) >> 3
        if not 1 <= count <= _MOST_BITS_WRITTEN or frame[at + 5] != size or length != 6 + size:
            return -_ILLEGAL_VALUE
        address = frame[at + 1] << 8 | frame[at + 2]
        if address + count > 0x10000:
            return -_ILLEGAL_ADDRESS
        words = self._words
        for i in range(size):
            byte = frame[at + 6 + i]
            if i & 1:
                words[i >> 1] |= byte << 8
            else:
                words[i >> 1] = byte
        return self._put(model, COILS, address, count) or self._echo(frame, at, 5, reply, to)

    def _mask_write(self, model, frame, at: int, length: int, reply, to: int) -> int:
        if length != 7:
            return -_ILLEGAL_VALUE
        address = frame[at + 1] << 8 | frame[at + 2]
        words = self._words
        code = model.read(HOLDING_REGISTERS, address, 1, words)
        if code:
            return -code
        keep = frame[at + 3] << 8 | frame[at + 4]
        flip = frame[at + 5] << 8 | frame[at + 6]
        words[0] = words[0] & keep | flip & (keep ^ 0xFFFF)
        return self._put(model, HOLDING_REGISTERS, address, 1) or self._echo(frame, at, 7, reply, to)

    def _read_write(self, model, frame, at: int, length: int, reply, to: int) -> int:
        """Function 23: the write acts before the read, but only if the read will be possible too."""
        if length < 12:
            return -_ILLEGAL_VALUE
        read_at = frame[at + 1] << 8 | frame[at + 2]
        reads = frame[at + 3] << 8 | frame[at + 4]
        write_at = frame[at + 5] << 8 | frame[at + 6]
        writes = frame[at + 7] << 8 | frame[at + 8]
        if not 1 <= reads <= _MOST_REGISTERS_READ or not 1 <= writes <= _MOST_REGISTERS_EXCHANGED:
            return -_ILLEGAL_VALUE
        if frame[at + 9] != 2 * writes or length != 10 + 2 * writes:
            return -_ILLEGAL_VALUE
        if read_at + reads > 0x10000 or write_at + writes > 0x10000:
            return -_ILLEGAL_ADDRESS
        words = self._words
        code = model.read(HOLDING_REGISTERS, read_at, reads, words)
        if code:
            return -code
        hot.unpack(frame, at + 10, writes, words)
        code = self._put(model, HOLDING_REGISTERS, write_at, writes)
        if code:
            return code
        code = model.read(HOLDING_REGISTERS, read_at, reads, words)
        if code:
            return -code
        reply[to] = 23
        reply[to + 1] = 2 * reads
        hot.pack(words, reads, reply, to + 2)
        return 2 + 2 * reads

    def _put(self, model, table: int, address: int, count: int) -> int:
        """Check and write self._words; 0 or minus an exception code."""
        code = model.check(table, address, count, self._words) or model.write(table, address, count, self._words)
        return -code

    def _echo(self, frame, at: int, length: int, reply, to: int) -> int:
        hot.move(frame, at, length, reply, to)
        return length

    def _identify(self, frame, at: int, length: int, reply, to: int) -> int:
        """Function 43/14.  Code 1 basic, 2 regular, 3 extended objects as a stream, 4 one object."""
        if length != 4 or frame[at + 1] != _DEVICE_IDENTIFICATION:
            return -_ILLEGAL_FUNCTION
        code = frame[at + 2]
        wanted = frame[at + 3]
        if not 1 <= code <= 4:
            return -_ILLEGAL_VALUE
        last = 2 if code == 1 else 6
        if code == 4:
            if wanted not in self.identity:
                return -_ILLEGAL_ADDRESS
            last = wanted
        elif wanted not in self.identity or wanted > last:
            wanted = 0  # the specification: an unknown start means from the beginning
        hot.move(frame, at, 3, reply, to)
        reply[to + 3] = 0x82  # regular identification, as a stream and one by one
        reply[to + 4] = 0
        reply[to + 5] = 0
        return self._identity_objects(wanted, last, reply, to)

    def _identity_objects(self, wanted: int, last: int, reply, to: int) -> int:
        used = 7
        number = 0
        for key in range(wanted, last + 1):
            if key not in self.identity:
                continue
            text = self.identity[key].encode()[:200]
            if used + 2 + len(text) > _PDU_MAX:
                reply[to + 4] = 0xFF  # more follows, from this object on
                reply[to + 5] = key
                break
            reply[to + used] = key
            reply[to + used + 1] = len(text)
            reply[to + used + 2 : to + used + 2 + len(text)] = text
            used += 2 + len(text)
            number += 1
        reply[to + 6] = number
        return used
