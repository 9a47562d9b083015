"""machine.CAN, upstream's interface, on a bus reached by slcan over TCP (SIM_CAN<id>=host:port).

A frame counts as received when the socket is looked at, that is at recv(), state(), get_counters(), send() and in
`poll()`; as on the chip, what does not fit into the 32-frame queue by then is lost and counted.  Receiving allocates
nothing once a list has been used for the first time.

What runs with every frame is compiled to machine code, which lies outside the heap as a chip's C code does.
"""

import errno
import os
import time

import micropython
import simlink
from micropython import const
from sim_pace import off, on, pad_us

_QUEUE = const(32)  # frames
_RECORD = const(16)  # bytes of the queue for one frame: id (4), flags, errors, length, data (8)
_RETRY_MS = const(500)  # a bus that is not there is looked for again after this
# What takes the chip how long: until MicroPython has machine.CAN for the ESP32 the firmware drives the TWAI registers
# itself, and an emulated ESP32 took that long for it (docs/simulated-board.md).
_SEND_US = const(850)
_RECEIVE_US = const(400)
_TEC = const(0)  # places in the counters
_REC = const(1)
_OVERRUNS = const(7)


@micropython.native
def _nibble(char: int) -> int:
    if 48 <= char <= 57:
        return char - 48
    char |= 32
    if 97 <= char <= 102:
        return char - 87
    return -1


class CAN:
    """One controller; see upstream's documentation of machine.CAN for every method."""

    MODE_NORMAL = 0
    MODE_SLEEP = 1
    MODE_LOOPBACK = 2
    MODE_SILENT = 3
    MODE_SILENT_LOOPBACK = 4
    STATE_STOPPED = 0
    STATE_ACTIVE = 1
    STATE_WARNING = 2
    STATE_PASSIVE = 3
    STATE_BUS_OFF = 4
    FLAG_RTR = 1
    FLAG_EXT_ID = 2
    FLAG_FD_F = 4
    FLAG_BRS = 8
    FLAG_UNORDERED = 16
    RECV_ERR_FULL = 1
    RECV_ERR_OVERRUN = 2
    RECV_ERR_ESI = 4
    IRQ_TX = 1
    IRQ_RX = 2
    IRQ_TX_FAILED = 4
    IRQ_STATE = 8
    IRQ_TX_IDX_SHIFT = 16
    IRQ_TX_IDX_MASK = 255
    TX_QUEUE_LEN = 3
    FILTERS_MAX = 16

    def __init__(self, id: int, *args, **kwargs) -> None:
        self._where = os.getenv("SIM_CAN%d" % id)
        if not self._where:
            raise ValueError("CAN(%d) doesn't exist: SIM_CAN%d is not set" % (id, id))
        self._sock = None
        self._state = 0
        self._rx = bytearray(64)
        self._line = bytearray(32)
        self._tx = bytearray(32)
        self._queue = bytearray(_QUEUE * _RECORD)
        self._lists = []  # of every list ever filled: itself, and its buffer cut to each length it has had
        self._counters = [0] * 8
        self._handler = None
        self._irq = None
        self._trigger = 0
        self._irq_flags = 0
        if args or kwargs:
            self.init(*args, **kwargs)

    def init(self, bitrate, mode=0, sample_point=75, sjw=1, tseg1=None, tseg2=None, auto_retransmit=True, **pins):
        """Joins the bus.  Raises ValueError for what the controller cannot do."""
        speeds = (10000, 20000, 50000, 100000, 125000, 250000, 500000, 800000, 1000000)  # slcan S0 to S8
        if bitrate not in speeds:
            raise ValueError("bitrate %r (allowed: %s)" % (bitrate, speeds))
        if not 0 <= mode <= 4:
            raise ValueError("mode %r" % (mode,))
        if not 1 <= sjw <= 4 or not 50 <= sample_point <= 90:
            raise ValueError("sample_point %r (50 to 90) or sjw %r (1 to 4)" % (sample_point, sjw))
        self.deinit()
        self._mode = mode
        self._speed = speeds.index(bitrate)
        tseg1 = tseg1 or sample_point * 20 // 100 - 1
        self._timings = (bitrate, sjw, tseg1, tseg2 or 19 - tseg1, None, None)
        self._filters = ()  # None: everything; (): nothing, as before the first set_filters()
        self._head = self._count = 0
        self._line_len = 0
        self._tx_index = 0
        self._overrun = False
        for i in range(8):
            self._counters[i] = 0
        self._state = 1
        self._next_try = time.ticks_ms()
        self._connect()

    def deinit(self) -> None:
        """Leaves the bus; what was queued is dropped."""
        if self._sock is not None:
            simlink.cut(self._sock)
            self._sock = None
        self._state = 0

    def _connect(self) -> None:
        now = time.ticks_ms()
        self._next_try = time.ticks_add(now, _RETRY_MS)
        if self._mode == 4:  # SILENT_LOOPBACK: no wire
            return
        sock = None
        try:
            sock = simlink.wire(self._where)
            sock.write("C\rS%d\r%s\r" % (self._speed, "L" if self._mode == 3 else "O"))  # 3: MODE_SILENT
        except OSError:  # nobody to acknowledge: error passive, as a node alone on its bus
            if sock is not None:
                simlink.cut(sock)
            self._counters[_TEC] = 128
            self._set_state()
            return
        sock.setblocking(False)
        self._sock = sock
        if self._state != 4:
            self._counters[_TEC] = 0
            self._set_state()

    def _lost(self) -> None:
        simlink.cut(self._sock)
        self._sock = None
        self._counters[_TEC] = 128
        self._set_state()

    def _set_state(self) -> None:
        errors = max(self._counters[_TEC], self._counters[_REC])
        state = 1
        if self._counters[_TEC] > 255:
            state = 4
        elif errors > 127:
            state = 3
        elif errors > 95:
            state = 2
        for worse in range(self._state + 1, state + 1):
            if worse > 1:
                self._counters[worse] += 1  # places 2, 3, 4: warning, passive, bus off
                self._irq_flags |= 8  # IRQ_STATE
        self._state = state

    def set_filters(self, filters) -> None:
        """None: every frame; []: none; else (id, mask, flags) entries, one of which must match."""
        if filters is not None:
            filters = tuple((int(f[0]), int(f[1]), int(f[2])) for f in filters)
            if len(filters) > 16:
                raise ValueError("%d filters (allowed: 16)" % len(filters))
        self._filters = filters

    @micropython.native
    def send(self, id: int, data, flags: int = 0):
        """Queues a frame: its buffer index, or None when there is no room.  OSError when stopped or bus-off."""
        off()
        try:
            pad_us(_SEND_US)
            return self._send(id, data, flags)
        finally:
            on()

    @micropython.native
    def _send(self, id: int, data, flags: int):
        if self._state == 0 or self._state == 4:
            raise OSError(errno.EIO if self._state else errno.ENODEV)
        if flags & 12:  # FLAG_FD_F, FLAG_BRS
            raise ValueError("CAN FD")
        extended = flags & 2
        if not 0 <= id <= (0x1FFFFFFF if extended else 0x7FF):
            raise ValueError("id %r" % (id,))
        remote = flags & 1
        size = data if remote else len(data)
        if size > 8:
            raise ValueError("data of %d bytes (allowed: 8)" % size)
        mode = self._mode
        if mode == 2 or mode == 4:  # LOOPBACK, SILENT_LOOPBACK
            self._push(id, flags & 3, size, None if remote else data)
        self.poll()
        if mode == 0 or mode == 2:
            if self._sock is None:
                return None
            tx = self._tx
            digits = 8 if extended else 3
            tx[0] = (82 if remote else 84) if extended else (114 if remote else 116)  # R T r t
            for i in range(digits):
                tx[digits - i] = b"0123456789ABCDEF"[id & 15]
                id >>= 4
            at = digits + 1
            tx[at] = 48 + size
            at += 1
            if not remote:
                for byte in data:
                    tx[at] = b"0123456789ABCDEF"[byte >> 4]
                    tx[at + 1] = b"0123456789ABCDEF"[byte & 15]
                    at += 2
            tx[at] = 13
            if self._sock.write(memoryview(tx)[: at + 1]) is None:
                return None
        index = self._tx_index
        self._tx_index = (index + 1) % 3
        self._irq_flags |= 1 | index << 16  # IRQ_TX
        return index

    @micropython.native
    def poll(self) -> None:
        """Takes in what has arrived and runs the irq handler for it."""
        off()
        try:
            self._poll()
        finally:
            on()

    @micropython.native
    def _poll(self) -> None:
        if self._state == 0:
            return
        if self._sock is None and time.ticks_diff(time.ticks_ms(), self._next_try) >= 0:
            self._connect()
        while self._sock is not None:
            try:
                got = self._sock.readinto(self._rx)
            except OSError:
                got = 0
            if got is None:
                break
            if got == 0:
                self._lost()
                break
            self._parse(got)
        if self._handler is not None and self._irq_flags & self._trigger:
            on()  # the handler is the firmware's
            self._handler(self)
            off()

    @micropython.native
    def _parse(self, got: int) -> None:
        line = self._line
        size = self._line_len
        for i in range(got):
            char = self._rx[i]
            if char == 13:
                if size > 1:
                    self._frame(size)
                size = 0
            elif char == 7:  # the adapter could not send: nobody acknowledged
                size = 0
                self._counters[_TEC] += 8
                self._set_state()
            elif size < 32:
                line[size] = char
                size += 1
        self._line_len = size

    @micropython.native
    def _frame(self, size: int) -> None:
        line = self._line
        kind = line[0]
        extended = kind == 84 or kind == 82
        remote = kind == 82 or kind == 114
        if not extended and kind != 116 and kind != 114:
            if (kind == 122 or kind == 90) and self._counters[_TEC]:  # z Z: sent
                self._counters[_TEC] -= 1
                self._set_state()
            return
        digits = 8 if extended else 3
        length = line[digits + 1] - 48 if size > digits + 1 else -1
        if not 0 <= length <= 8 or size < digits + 2 + (0 if remote else 2 * length):
            self._counters[_REC] += 1
            return
        number = 0
        for i in range(1, digits + 1):
            number = number << 4 | _nibble(line[i])
        flags = (2 if extended else 0) | (1 if remote else 0)
        wanted = self._filters is None
        if not wanted:
            for match, mask, kind in self._filters:
                if (number ^ match) & mask == 0 and (flags ^ kind) & 2 == 0 and kind & ~flags & 1 == 0:
                    wanted = True
        if wanted:
            at = digits + 2
            if not remote:
                for i in range(length):
                    line[i] = _nibble(line[at + 2 * i]) << 4 | _nibble(line[at + 2 * i + 1])
            self._push(number, flags, length, None if remote else line)

    @micropython.native
    def _push(self, number: int, flags: int, size: int, data) -> None:
        if self._count >= _QUEUE:
            self._counters[_OVERRUNS] += 1
            self._overrun = True
            return
        queue = self._queue
        at = (self._head + self._count) % _QUEUE * _RECORD
        self._count += 1
        for i in range(4):
            queue[at + i] = number >> 8 * i & 255
        queue[at + 4] = flags
        queue[at + 5] = (1 if self._count == _QUEUE else 0) | (2 if self._overrun else 0)  # RECV_ERR_FULL, _OVERRUN
        queue[at + 6] = size
        self._overrun = False
        for i in range(size):
            queue[at + 7 + i] = data[i] if data is not None else 0
        self._irq_flags |= 2  # IRQ_RX

    @micropython.native
    def recv(self, arg=None):
        """[id, memoryview, flags, errors] of the oldest frame, or None; fills and returns arg when given."""
        off()
        try:
            got = self._recv(arg)
            if got is not None:
                pad_us(_RECEIVE_US)
            return got
        finally:
            on()

    @micropython.native
    def _recv(self, arg):
        self._poll()
        if self._count == 0:
            return None
        views = None
        for known in self._lists:
            if known[0] is arg:
                views = known
        if views is None:
            views = self._know(arg)
            arg = views[0]
        queue = self._queue
        at = self._head * _RECORD
        size = queue[at + 6]
        view = views[size + 1]
        if view is None:
            view = self._cut(views, size)
        for i in range(size):
            view[i] = queue[at + 7 + i]
        arg[0] = queue[at] | queue[at + 1] << 8 | queue[at + 2] << 16 | queue[at + 3] << 24
        arg[1] = view
        arg[2] = queue[at + 4]
        arg[3] = queue[at + 5]
        self._head = (self._head + 1) % _QUEUE
        self._count -= 1
        return arg

    def _know(self, arg) -> list:
        """The list that recv fills, and room for its buffer cut to each length; a list of the caller's is remembered."""
        views = [arg or [0, memoryview(bytearray(8)), 0, 0]] + [None] * 8
        views.append(views[0][1])
        if arg is not None:
            self._lists.append(views)
        return views

    def _cut(self, views: list, size: int):
        views[size + 1] = views[9][:size]
        return views[size + 1]

    def irq(self, handler=None, trigger: int = 0, hard: bool = False):
        """Sets handler(can); called from poll(), not at any moment."""
        if self._irq is None:
            from sim_irq import CanIrq

            self._irq = CanIrq(self._take_flags)
        if handler is not None or trigger:
            self._handler = handler
            self._trigger = trigger
            self._irq_flags = 0
        return self._irq

    def _take_flags(self) -> int:
        flags = self._irq_flags & (self._trigger | 0xFF0004 if self._trigger & 1 else self._trigger)
        self._irq_flags = 0
        return flags

    def cancel_send(self, index: int) -> bool:
        """False: frames here leave at once."""
        if not 0 <= index < 3:
            raise ValueError("index %r (allowed: 0 to 2)" % index)
        return False

    def state(self) -> int:
        """One of the STATE_* values."""
        self.poll()
        return self._state

    def get_counters(self, into=None) -> list:
        """[TEC, REC, warnings, passives, bus-offs, pending TX, pending RX, overruns]."""
        self.poll()
        self._counters[6] = self._count
        if into is None:
            return list(self._counters)
        for i in range(8):
            into[i] = self._counters[i]
        return into

    def get_timings(self, into=None) -> list:
        """[bitrate, sjw, tseg1, tseg2, None, None]."""
        if into is None:
            return list(self._timings)
        for i in range(6):
            into[i] = self._timings[i]
        return into

    def restart(self) -> None:
        """Leaves bus-off; error counters start at 0."""
        for i in range(5):
            self._counters[i] = 0
        if self._state:
            self._state = 1
            self._next_try = time.ticks_ms()

    def mode(self, mode=None) -> int:
        """The mode before; sets it when one is given."""
        before = self._mode
        if mode is not None:
            self._mode = mode
        return before
