"""What every CAN controller driven from Python shares: machine.CAN's interface, receive ring, transmit queue, states.

A back end derives from Controller and moves frames between the chip and these two queues in `_service()`, which
an interrupt or a timer may call at any bytecode.  The receive ring has one writer (`_service`) and one reader
(`recv`), each with an index of its own, so neither can spoil the other's.
"""

from array import array

import micropython
from micropython import const

from canbus.filters import fit

_TX_SLOTS = const(8)
_FREE = const(0)
_WAITING = const(1)
_LOADED = const(2)
_ENTRY = const(10)  # a ring entry's bytes: flags, length, data


@micropython.viper
def _copy(to, src, at: int, n: int):
    out = ptr8(to)
    inp = ptr8(src)
    i = 0
    while i < n:
        out[i] = inp[at + i]
        i += 1


class _Irq:
    def __init__(self, controller):
        self._controller = controller

    def flags(self):
        """What happened, one event a call; 0 when there is no more."""
        return self._controller._next_event()


class Controller:
    """The interface of upstream's machine.CAN."""

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
    FLAG_UNORDERED = 16
    RECV_ERR_FULL = 1
    RECV_ERR_OVERRUN = 2
    IRQ_TX = 1
    IRQ_RX = 2
    IRQ_TX_FAILED = 4
    IRQ_STATE = 8
    IRQ_TX_IDX_SHIFT = 16
    IRQ_TX_IDX_MASK = 255
    TX_QUEUE_LEN = _TX_SLOTS
    FILTERS_MAX = 16

    _MODES = (0,)  # the modes this chip has
    _BUFFERS = 1  # its transmit buffers
    _HW_FILTERS = 1  # filters it applies itself; the rest is sorted out in recv()

    # What a chip's driver brings; names without values are nothing on a board.
    _timing: "function"  # (bitrate, sample_point, sjw, tseg1, tseg2): works out the three below and _bitrate
    _bitrate: int
    _sjw: int
    _tseg1: int
    _tseg2: int
    _start: "function"  # (): joins the bus
    _stop: "function"  # (): leaves it
    _recover: "function"  # (): begins to leave bus-off
    _apply_filters: "function"  # (filters): sets those of the chip; gives nothing
    _exchange: "function"  # (): moves frames between chip and queues, and looks at the chip's state
    _load: "function"  # (buffer, slot): a frame into a transmit buffer, and off
    _abort: "function"  # (buffer): what it holds is not sent any more

    def __init__(self, depth=32):
        self._depth = depth  # of the ring; a power of two
        self._ids = array("i", [0] * depth)
        self._info = bytearray(depth * _ENTRY)
        # receive: read index, write index, lost because the ring was full, lost in the chip, loss not yet told
        self._rx = array("i", [0, 0, 0, 0, 0])
        self._buffer = bytearray(8)
        whole = memoryview(self._buffer)
        self._views = [whole[:n] for n in range(9)]
        self._tx_key = array("i", [0] * _TX_SLOTS)
        self._tx_order = array("i", [0] * _TX_SLOTS)
        self._tx_id = array("i", [0] * _TX_SLOTS)
        self._tx_state = bytearray(_TX_SLOTS)
        self._tx_flags = bytearray(_TX_SLOTS)
        self._tx_size = bytearray(_TX_SLOTS)
        self._tx_data = bytearray(8 * _TX_SLOTS)
        self._order = 0
        self._in_buffer = array("b", [-1] * self._BUFFERS)  # which slot each transmit buffer holds
        self._filters = ()  # nothing is received before set_filters
        self._running = False
        self._busy = False
        self._again = False
        self._state = self.STATE_STOPPED
        self._entered = array("i", [0] * 5)  # times each state was entered from a better one
        self._tec = 0
        self._rec = 0
        self._irq = _Irq(self)
        self._handler = None
        self._trigger = 0
        self._events = 0
        self._done = bytearray(_TX_SLOTS)  # transmit slots to report: 1 sent, 2 failed

    # ---- setting up --------------------------------------------------------------------------------------

    def init(self, bitrate, mode=0, sample_point=75, sjw=1, tseg1=None, tseg2=None):
        """Join the bus.  Raises ValueError naming the argument this controller cannot do."""
        if mode not in self._MODES:
            raise ValueError("mode %r: allowed %r" % (mode, self._MODES))
        if not 1 <= sjw <= 4:
            raise ValueError("sjw %r: allowed 1 to 4" % sjw)
        self._timing(bitrate, sample_point, sjw, tseg1, tseg2)
        if self._running:
            self.deinit()
        self._mode = mode
        self._empty()
        self._filters = ()
        for i in range(5):
            self._entered[i] = 0
        self._tec = self._rec = 0
        self._state = self.STATE_ACTIVE
        self._start()
        self._running = True

    def deinit(self):
        """Leave the bus; what was queued is dropped."""
        if self._running:
            self._running = False
            self._stop()
        self._state = self.STATE_STOPPED
        self._empty()

    def _empty(self):
        for i in range(5):
            self._rx[i] = 0
        self._drop_sends()
        self._events = 0

    def _drop_sends(self):
        for slot in range(_TX_SLOTS):
            self._tx_state[slot] = _FREE
            self._done[slot] = 0
        for buffer in range(self._BUFFERS):
            self._in_buffer[buffer] = -1

    def _check(self):
        if not self._running:
            raise OSError(22)  # EINVAL, as upstream: not initialised

    def set_filters(self, filters):
        """None: every frame; []: none; else up to FILTERS_MAX (id, mask, flags), one of which must match."""
        self._check()
        if filters is not None:
            wanted = []
            for can_id, mask, flags in filters:
                top = 0x1FFFFFFF if flags & self.FLAG_EXT_ID else 0x7FF
                if not 0 <= can_id <= top or not 0 <= mask <= top:
                    raise ValueError("invalid id: filter 0x%x mask 0x%x" % (can_id, mask))
                if flags & (self.FLAG_EXT_ID ^ 0xFF):
                    raise ValueError("filter flags 0x%x: only FLAG_EXT_ID" % flags)
                wanted.append((can_id & mask, mask, flags))
            if len(wanted) > self.FILTERS_MAX:
                raise ValueError("%d filters: allowed %d" % (len(wanted), self.FILTERS_MAX))
            filters = tuple(wanted)
        self._filters = filters
        self._apply_filters(self._fitted())

    def _fitted(self):
        """The filters as the chip gets them."""
        return None if self._filters is None else fit(self._filters, self._HW_FILTERS)

    # ---- receiving ---------------------------------------------------------------------------------------

    def recv(self, arg=None):
        """[id, data, flags, errors] of the oldest frame that passes the filters, or None.

        With a list of four as `arg`, that list is filled and returned and nothing is allocated; `data` is then
        a view of this controller's own buffer, valid until the next recv().
        """
        self._check()
        self._service()
        rx = self._rx
        while rx[0] != rx[1]:
            at = rx[0]
            can_id = self._ids[at]
            base = at * _ENTRY
            flags = self._info[base]
            size = self._info[base + 1]
            wanted = self._wanted(can_id, flags)
            if wanted:
                _copy(self._buffer, self._info, base + 2, 8)
            full = (rx[1] + 1 - at) % self._depth == 0
            rx[0] = (at + 1) % self._depth
            if wanted:
                if arg is None:
                    arg = [0, None, 0, 0]
                    data = memoryview(bytearray(self._buffer))[:size]
                else:
                    data = self._views[size]
                errors = self.RECV_ERR_FULL if full else 0
                if rx[4]:
                    rx[4] = 0
                    errors |= self.RECV_ERR_OVERRUN
                arg[0] = can_id
                arg[1] = data
                arg[2] = flags
                arg[3] = errors
                return arg
        return None

    def _wanted(self, can_id, flags):
        filters = self._filters
        if filters is None:
            return True
        extended = flags & self.FLAG_EXT_ID
        for i in range(len(filters)):
            row = filters[i]
            if can_id & row[1] == row[0] and row[2] == extended:
                return True
        return False

    def _room(self):
        """Whether the ring takes another frame; if not, one is counted as lost."""
        rx = self._rx
        if (rx[1] + 1) % self._depth == rx[0]:
            rx[2] += 1
            rx[4] = 1
            return False
        return True

    # ---- sending -----------------------------------------------------------------------------------------

    def send(self, id, data, flags=0):
        """Queue a frame: its index, or None when the queue is full.

        The lowest id leaves first; frames of one id leave in the order they came.  Raises ValueError for an id
        out of range, OverflowError for more than 8 bytes, OSError when stopped, reset, bus-off or listening only.
        """
        self._check()
        extended = flags & self.FLAG_EXT_ID
        if not 0 <= id <= (0x1FFFFFFF if extended else 0x7FF):
            raise ValueError("invalid id: 0x%x" % id)
        size = len(data)
        if size > 8:
            raise OverflowError("data too long: %d bytes, allowed 8" % size)
        if not self.STATE_STOPPED < self.state() < self.STATE_BUS_OFF:
            raise OSError(100)  # ENETDOWN
        if self._mode == self.MODE_SILENT:
            raise OSError(1)  # EPERM
        for slot in range(_TX_SLOTS):
            if self._tx_state[slot] == _FREE and not self._done[slot]:
                break
        else:
            return None
        self._tx_id[slot] = id
        base = id >> 18 if extended else id
        # What arbitration compares: 11 bits, the format, 18 more bits.
        self._tx_key[slot] = base << 19 | (1 << 18 if extended else 0) | (id & 0x3FFFF if extended else 0)
        self._tx_flags[slot] = flags & (self.FLAG_EXT_ID | self.FLAG_RTR)
        self._tx_size[slot] = size
        if not flags & self.FLAG_RTR:
            for i in range(size):
                self._tx_data[8 * slot + i] = data[i]
        self._order = (self._order + 1) & 0x3FFFFFFF
        self._tx_order[slot] = self._order
        self._tx_state[slot] = _WAITING
        self._service()
        return slot

    def cancel_send(self, index):
        """True if frame `index` was still waiting and now will not be sent."""
        self._check()
        if not 0 <= index < _TX_SLOTS:
            raise IndexError("index %r: allowed 0 to %d" % (index, _TX_SLOTS - 1))
        if self._tx_state[index] == _WAITING:
            self._tx_state[index] = _FREE
            self._report(index, False)
            return True
        for buffer in range(self._BUFFERS):
            if self._in_buffer[buffer] == index and self._abort(buffer):
                self._in_buffer[buffer] = -1
                self._tx_state[index] = _FREE
                self._report(index, False)
                return True
        return False

    def _next_slot(self):
        """The waiting frame that arbitration and order put first, or -1."""
        best = -1
        for slot in range(_TX_SLOTS):
            if self._tx_state[slot] != _WAITING:
                continue
            if best < 0 or self._tx_key[slot] < self._tx_key[best]:
                best = slot
            elif self._tx_key[slot] == self._tx_key[best]:
                if (self._tx_order[slot] - self._tx_order[best]) & 0x20000000:  # older, across the wrap
                    best = slot
        return best

    def _feed(self):
        """Load waiting frames into the buffers below every busy one: the chip sends its highest buffer first."""
        for buffer in range(self._BUFFERS):
            if self._in_buffer[buffer] >= 0:
                break
        else:
            buffer = self._BUFFERS
        while buffer > 0:
            buffer -= 1
            slot = self._next_slot()
            if slot < 0:
                return
            self._tx_state[slot] = _LOADED
            self._in_buffer[buffer] = slot
            self._load(buffer, slot)

    def _left(self, buffer, sent):
        """The chip is done with `buffer`, its frame sent or given up."""
        slot = self._in_buffer[buffer]
        if slot >= 0:
            self._in_buffer[buffer] = -1
            self._tx_state[slot] = _FREE
            self._report(slot, sent)

    def _wait_again(self, buffer):
        """The chip gave `buffer` back unsent: its frame waits in the queue as before."""
        self._tx_state[self._in_buffer[buffer]] = _WAITING
        self._in_buffer[buffer] = -1

    def _report(self, slot, sent):
        if self._trigger & self.IRQ_TX:
            self._done[slot] = 1 if sent else 2
            self._events |= self.IRQ_TX

    # ---- states, counters, events ------------------------------------------------------------------------

    def _judge(self, tec, rec, off):
        """Note the chip's error counters, and the states entered since the last time."""
        self._tec = tec
        self._rec = rec
        worst = max(tec, rec)
        if off:
            state = self.STATE_BUS_OFF
        elif worst >= 128:
            state = self.STATE_PASSIVE
        elif worst >= 96:
            state = self.STATE_WARNING
        else:
            state = self.STATE_ACTIVE
        if state > self._state:
            for entered in range(self._state + 1, state + 1):
                self._entered[entered] += 1
            self._events |= self.IRQ_STATE
        self._state = state

    def _count_errors(self):
        """Read TEC and REC, where _exchange does not do it every time."""

    def state(self):
        """One of the STATE_* values; STATE_STOPPED too where the chip has reset by itself, or is gone: until restart()."""
        if self._running:
            self._service()
        return self._state

    def get_counters(self, list=None):
        """[TEC, REC, entries into warning, passive, bus-off, frames to send, frames received, frames lost]."""
        self._check()
        self._service()
        if list is None:
            list = [0] * 8
        waiting = 0
        for slot in range(_TX_SLOTS):
            if self._tx_state[slot] != _FREE:
                waiting += 1
        if self._state != self.STATE_STOPPED:
            self._count_errors()
        rx = self._rx
        list[0] = self._tec
        list[1] = self._rec
        for i in range(3):
            list[2 + i] = self._entered[2 + i]
        list[5] = waiting
        list[6] = (rx[1] - rx[0]) % self._depth
        list[7] = rx[2] + rx[3]
        return list

    def get_timings(self, list=None):
        """[bit rate, sjw, tseg1, tseg2, None, None] as the chip really runs."""
        if list is None:
            list = [None] * 6
        list[0] = self._bitrate
        list[1] = self._sjw
        list[2] = self._tseg1
        list[3] = self._tseg2
        list[4] = None
        list[5] = None
        return list

    def restart(self):
        """Begin to leave bus-off (it takes 128 times 11 recessive bits), or set up anew a chip that has reset by itself.

        Waiting frames are dropped.  OSError where the chip does not answer.
        """
        self._check()
        self._drop_sends()
        for i in range(5):
            self._entered[i] = 0
        if self._state != self.STATE_STOPPED:
            self._recover()
            return
        self._busy = True
        try:
            self._start()
            self._state = self.STATE_ACTIVE
        finally:
            self._busy = False

    def irq(self, handler=None, trigger=0, hard=False):
        """Call handler(controller) on the events of `trigger` (IRQ_RX, IRQ_TX, IRQ_STATE); return the irq object.

        Handlers run as scheduled callbacks, never in a hard interrupt.
        """
        self._check()
        if handler is not None or trigger:
            if trigger & (0xFFFF ^ (self.IRQ_RX | self.IRQ_TX | self.IRQ_STATE)):
                raise ValueError("trigger 0x%x unsupported" % trigger)
            self._handler = handler
            self._trigger = trigger
            self._events = 0
        return self._irq

    def _next_event(self):
        if self._events & self.IRQ_TX:
            for slot in range(_TX_SLOTS):
                done = self._done[slot]
                if done:
                    self._done[slot] = 0
                    failed = self.IRQ_TX_FAILED if done == 2 else 0
                    return self.IRQ_TX | failed | slot << self.IRQ_TX_IDX_SHIFT
        events = self._events & self._trigger & (self.IRQ_RX | self.IRQ_STATE)
        self._events = 0
        return events

    def _service(self, _source=None):
        """Move frames between chip and queues and look at its state; safe to call from a scheduled callback."""
        if not self._running:
            return
        self._again = True
        if self._busy:  # interrupted itself: the one below goes round once more
            return
        self._busy = True
        try:
            while self._again:
                self._again = False
                self._exchange()
        finally:
            self._busy = False
        if self._handler is not None and self._events & self._trigger:
            self._handler(self)
