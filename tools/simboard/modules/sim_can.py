"""machine.CAN, upstream's interface, on a bus reached by slcan over TCP (SIM_CAN<id>=host:port).

A frame counts as received when the socket is looked at, that is at recv(), state(), get_counters(), send() and in
`poll()`; as on the chip, what does not fit into the 32-frame queue by then is lost and counted.  Receiving allocates
nothing once a list has been used for the first time.
"""

import errno
import os
import time
from array import array

import simlink

_QUEUE = 32  # frames
_RETRY_MS = 500  # a bus that is not there is looked for again after this
_SPEEDS = (10000, 20000, 50000, 100000, 125000, 250000, 500000, 800000, 1000000)  # slcan S0 to S8
_HEX = b"0123456789ABCDEF"


def _nibble(char: int) -> int:
    if 48 <= char <= 57:
        return char - 48
    char |= 32
    if 97 <= char <= 102:
        return char - 87
    return -1


class _Irq:
    def __init__(self, can: "CAN") -> None:
        self._can = can

    def flags(self) -> int:
        return self._can._take_flags()


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
        self._id = id
        self._sock = None
        self._state = CAN.STATE_STOPPED
        self._rx = bytearray(256)
        self._line = bytearray(32)
        self._ids = array("i", [0] * _QUEUE)
        self._flags = bytearray(_QUEUE)
        self._errors = bytearray(_QUEUE)
        self._sizes = bytearray(_QUEUE)
        self._data = bytearray(8 * _QUEUE)
        self._tx = bytearray(32)
        self._tx_view = memoryview(self._tx)
        self._lists = []  # of every list ever filled: itself, and its buffer cut to each length
        self._counters = [0] * 8
        self._handler = None
        self._irq = _Irq(self)
        self._trigger = 0
        self._irq_flags = 0
        if args or kwargs:
            self.init(*args, **kwargs)

    def init(self, bitrate, mode=0, sample_point=75, sjw=1, tseg1=None, tseg2=None, auto_retransmit=True, **pins):
        """Joins the bus.  Raises ValueError for what the controller cannot do."""
        if bitrate not in _SPEEDS:
            raise ValueError("bitrate %r (allowed: %s)" % (bitrate, _SPEEDS))
        if not CAN.MODE_NORMAL <= mode <= CAN.MODE_SILENT_LOOPBACK:
            raise ValueError("mode %r" % (mode,))
        if not 1 <= sjw <= 4 or not 50 <= sample_point <= 90:
            raise ValueError("sample_point %r (50 to 90) or sjw %r (1 to 4)" % (sample_point, sjw))
        self.deinit()
        self._bitrate = bitrate
        self._mode = mode
        self._sjw = sjw
        self._tseg1 = tseg1 or sample_point * 20 // 100 - 1
        self._tseg2 = tseg2 or 19 - self._tseg1
        self._filters = ()  # None: everything; (): nothing, as before the first set_filters()
        self._head = self._count = 0
        self._line_len = 0
        self._tx_index = 0
        self._overrun = False
        for i in range(8):
            self._counters[i] = 0
        self._state = CAN.STATE_ACTIVE
        self._next_try = time.ticks_ms()
        self._connect()

    def deinit(self) -> None:
        """Leaves the bus; what was queued is dropped."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        self._state = CAN.STATE_STOPPED

    def _connect(self) -> None:
        now = time.ticks_ms()
        if self._mode == CAN.MODE_SILENT_LOOPBACK or time.ticks_diff(now, self._next_try) < 0:
            return
        self._next_try = time.ticks_add(now, _RETRY_MS)
        import socket

        sock = socket.socket()
        try:
            sock.connect(simlink.address(self._where))
            door = "L" if self._mode == CAN.MODE_SILENT else "O"
            sock.write("C\rS%d\r%s\r" % (_SPEEDS.index(self._bitrate), door))
        except OSError:  # nobody to acknowledge: error passive, as a node alone on its bus
            sock.close()
            self._counters[0] = 128
            self._set_state()
            return
        sock.setblocking(False)
        self._sock = sock
        if self._state != CAN.STATE_BUS_OFF:
            self._counters[0] = 0
            self._set_state()

    def _lost(self) -> None:
        self._sock.close()
        self._sock = None
        self._counters[0] = 128
        self._set_state()

    def _set_state(self) -> None:
        errors = max(self._counters[0], self._counters[1])
        state = CAN.STATE_ACTIVE
        if self._counters[0] > 255:
            state = CAN.STATE_BUS_OFF
        elif errors > 127:
            state = CAN.STATE_PASSIVE
        elif errors > 95:
            state = CAN.STATE_WARNING
        for worse in range(self._state + 1, state + 1):
            if worse > CAN.STATE_ACTIVE:
                self._counters[worse] += 1  # places 2, 3, 4: warning, passive, bus off
                self._irq_flags |= CAN.IRQ_STATE
        self._state = state

    def set_filters(self, filters) -> None:
        """None: every frame; []: none; else (id, mask, flags) entries, one of which must match."""
        if filters is not None:
            filters = tuple((int(f[0]), int(f[1]), int(f[2])) for f in filters)
            if len(filters) > CAN.FILTERS_MAX:
                raise ValueError("%d filters (allowed: %d)" % (len(filters), CAN.FILTERS_MAX))
        self._filters = filters

    def send(self, id: int, data, flags: int = 0):
        """Queues a frame: its buffer index, or None when there is no room.  OSError when stopped or bus-off."""
        if self._state in (CAN.STATE_STOPPED, CAN.STATE_BUS_OFF):
            raise OSError(errno.ENODEV if self._state == CAN.STATE_STOPPED else errno.EIO)
        if flags & (CAN.FLAG_FD_F | CAN.FLAG_BRS):
            raise ValueError("CAN FD")
        extended = flags & CAN.FLAG_EXT_ID
        if not 0 <= id <= (0x1FFFFFFF if extended else 0x7FF):
            raise ValueError("id %r" % (id,))
        remote = flags & CAN.FLAG_RTR
        size = data if remote else len(data)
        if size > 8:
            raise ValueError("data of %d bytes (allowed: 8)" % size)
        if self._mode in (CAN.MODE_LOOPBACK, CAN.MODE_SILENT_LOOPBACK):
            self._push(id, flags & 3, size, None if remote else data)
        self.poll()
        if self._mode in (CAN.MODE_NORMAL, CAN.MODE_LOOPBACK):
            if self._sock is None:
                return None
            end = self._encode(id, extended, remote, size, data)
            if self._sock.write(self._tx if end == 32 else self._tx_view[:end]) is None:
                return None
        index = self._tx_index
        self._tx_index = (index + 1) % CAN.TX_QUEUE_LEN
        self._irq_flags |= CAN.IRQ_TX | index << CAN.IRQ_TX_IDX_SHIFT
        return index

    def _encode(self, id: int, extended: int, remote: int, size: int, data) -> int:
        tx = self._tx
        digits = 8 if extended else 3
        tx[0] = (82 if remote else 84) if extended else (114 if remote else 116)  # R T r t
        for i in range(digits):
            tx[digits - i] = _HEX[id & 15]
            id >>= 4
        at = digits + 1
        tx[at] = 48 + size
        at += 1
        if not remote:
            for byte in data:
                tx[at] = _HEX[byte >> 4]
                tx[at + 1] = _HEX[byte & 15]
                at += 2
        tx[at] = 13
        return at + 1

    def poll(self) -> None:
        """Takes in what has arrived and runs the irq handler for it."""
        if self._state == CAN.STATE_STOPPED:
            return
        if self._sock is None:
            self._connect()
        while self._sock is not None:
            try:
                got = self._sock.readinto(self._rx)
            except OSError:
                self._lost()
                break
            if got is None:
                break
            if got == 0:
                self._lost()
                break
            self._parse(got)
        if self._handler is not None and self._irq_flags & self._trigger:
            self._handler(self)

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
                self._counters[0] += 8
                self._set_state()
            elif size < 32:
                line[size] = char
                size += 1
        self._line_len = size

    def _frame(self, size: int) -> None:
        line = self._line
        kind = line[0]
        extended = kind in (84, 82)
        remote = kind in (82, 114)
        if not extended and kind not in (116, 114):
            if kind in (122, 90) and self._counters[0]:  # z Z: sent
                self._counters[0] -= 1
                self._set_state()
            return
        digits = 8 if extended else 3
        length = line[digits + 1] - 48 if size > digits + 1 else -1
        if not 0 <= length <= 8 or size < digits + 2 + (0 if remote else 2 * length):
            self._counters[1] += 1
            return
        number = 0
        for i in range(1, digits + 1):
            number = number << 4 | _nibble(line[i])
        flags = (CAN.FLAG_EXT_ID if extended else 0) | (CAN.FLAG_RTR if remote else 0)
        if self._wanted(number, flags):
            at = digits + 2
            if not remote:
                for i in range(length):
                    line[i] = _nibble(line[at + 2 * i]) << 4 | _nibble(line[at + 2 * i + 1])
            self._push(number, flags, length, None if remote else line)

    def _wanted(self, number: int, flags: int) -> bool:
        if self._filters is None:
            return True
        for wanted, mask, kind in self._filters:
            if (number ^ wanted) & mask == 0 and (flags ^ kind) & CAN.FLAG_EXT_ID == 0 and kind & ~flags & 1 == 0:
                return True
        return False

    def _push(self, number: int, flags: int, size: int, data) -> None:
        if self._count >= _QUEUE:
            self._counters[7] += 1
            self._overrun = True
            return
        slot = (self._head + self._count) % _QUEUE
        self._count += 1
        self._ids[slot] = number
        self._flags[slot] = flags
        self._sizes[slot] = size
        self._errors[slot] = CAN.RECV_ERR_FULL if self._count == _QUEUE else 0
        if self._overrun:
            self._errors[slot] |= CAN.RECV_ERR_OVERRUN
            self._overrun = False
        for i in range(size):
            self._data[8 * slot + i] = data[i] if data is not None else 0
        self._irq_flags |= CAN.IRQ_RX

    def recv(self, arg=None):
        """[id, memoryview, flags, errors] of the oldest frame, or None; fills and returns arg when given."""
        self.poll()
        if self._count == 0:
            return None
        given = arg is not None
        if not given:
            arg = [0, memoryview(bytearray(8)), 0, 0]
        views = None
        for known in self._lists:
            if known[0] is arg:
                views = known
        if views is None:
            whole = arg[1]
            views = [arg]
            for size in range(9):
                views.append(whole[:size])
            if given:
                self._lists.append(views)
        slot = self._head
        size = self._sizes[slot]
        view = views[size + 1]
        for i in range(size):
            view[i] = self._data[8 * slot + i]
        arg[0] = self._ids[slot]
        arg[1] = view
        arg[2] = self._flags[slot]
        arg[3] = self._errors[slot]
        self._head = (slot + 1) % _QUEUE
        self._count -= 1
        return arg

    def irq(self, handler=None, trigger: int = 0, hard: bool = False) -> _Irq:
        """Sets handler(can); called from poll(), not at any moment."""
        if handler is not None or trigger:
            self._handler = handler
            self._trigger = trigger
            self._irq_flags = 0
        return self._irq

    def _take_flags(self) -> int:
        flags = self._irq_flags & (self._trigger | 0xFF0004 if self._trigger & CAN.IRQ_TX else self._trigger)
        self._irq_flags = 0
        return flags

    def cancel_send(self, index: int) -> bool:
        """False: frames here leave at once."""
        if not 0 <= index < CAN.TX_QUEUE_LEN:
            raise ValueError("index %r (allowed: 0 to %d)" % (index, CAN.TX_QUEUE_LEN - 1))
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
        timings = [self._bitrate, self._sjw, self._tseg1, self._tseg2, None, None]
        if into is None:
            return timings
        for i in range(6):
            into[i] = timings[i]
        return into

    def restart(self) -> None:
        """Leaves bus-off; error counters start at 0."""
        for i in range(5):
            self._counters[i] = 0
        if self._state != CAN.STATE_STOPPED:
            self._state = CAN.STATE_ACTIVE
            self._next_try = time.ticks_ms()

    def mode(self, mode=None) -> int:
        """The mode before; sets it when one is given."""
        before = self._mode
        if mode is not None:
            self._mode = mode
        return before
