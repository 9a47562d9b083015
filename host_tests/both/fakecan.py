"""A CAN controller with the interface of machine.CAN and no wire: tests put frames in and look at what was sent."""


class FakeCAN:
    """Receives what `arrive` queues, if the filters let it pass; keeps what is sent in `sent`."""

    MODE_NORMAL = 0
    MODE_SILENT = 3
    STATE_STOPPED = 0
    STATE_ACTIVE = 1
    STATE_WARNING = 2
    STATE_PASSIVE = 3
    STATE_BUS_OFF = 4
    FLAG_RTR = 1
    FLAG_EXT_ID = 2
    FLAG_UNORDERED = 4
    RECV_ERR_FULL = 1
    RECV_ERR_OVERRUN = 2
    IRQ_RX = 1
    TX_QUEUE_LEN = 3
    FILTERS_MAX = 4

    def __init__(self, depth=32):
        self._depth = depth
        self._queue = []
        self._lost = 0
        self._overruns = 0
        self._filters = []
        self._buffer = bytearray(8)
        whole = memoryview(self._buffer)
        self._views = [whole[:n] for n in range(9)]
        self._state = self.STATE_ACTIVE
        self.sent = []
        self.room = 1000000
        self.restarts = 0
        self.refuses = 0  # so many restarts

    def set_filters(self, filters):
        if filters is not None and len(filters) > self.FILTERS_MAX:
            raise ValueError("filters")
        self._filters = filters

    def arrive(self, can_id, data, extended=True, rtr=False):
        """A frame on the wire; returns whether the filters let it in."""
        if self._filters is not None:
            for want, mask, flags in self._filters:
                if can_id & mask == want & mask and bool(flags & self.FLAG_EXT_ID) == extended:
                    break
            else:
                return False
        if len(self._queue) >= self._depth:
            self._lost += 1
            self._overruns += 1
            return False
        self._queue.append((can_id, bytes(data), (2 if extended else 0) | (1 if rtr else 0)))
        return True

    def recv(self, message=None):
        if self._state == self.STATE_STOPPED:
            raise OSError(22)
        if not self._queue:
            return None
        can_id, data, flags = self._queue.pop(0)
        n = len(data)
        for i in range(n):
            self._buffer[i] = data[i]
        message[0] = can_id
        message[1] = self._views[n]
        message[2] = flags
        message[3] = self.RECV_ERR_OVERRUN if self._lost else 0
        self._lost = 0
        return message

    def send(self, can_id, data, flags=0):
        if self._state == self.STATE_BUS_OFF:
            raise OSError(5)
        if self.room <= 0:
            return None
        self.room -= 1
        self.sent.append((can_id, bytes(data), flags))
        return 0

    def fall_off(self):
        self._state = self.STATE_BUS_OFF

    def halt(self):
        """Stopped by someone else: nothing but restart() is to be had."""
        self._state = self.STATE_STOPPED

    def state(self):
        return self._state

    def restart(self):
        self.restarts += 1
        if self.restarts <= self.refuses:
            raise OSError(19, "nobody answers")
        self._state = self.STATE_ACTIVE

    def get_counters(self, numbers=None):
        numbers = numbers or [0] * 8
        for i in range(8):
            numbers[i] = 0
        numbers[6] = len(self._queue)
        numbers[7] = self._overruns
        return numbers
