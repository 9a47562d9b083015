"""Share one CAN controller between several readers: subscriptions, one drain task, counters, recovery from bus-off.

The controller is any object with the interface of machine.CAN.  Receiving allocates nothing: one list and one
8-byte buffer are reused for every frame, so a handler must copy what it wants to keep.
"""

import asyncio
import time

from micropython import const

from canbus.filters import fit

_POLL_MS = const(5)  # between drains; the controller's (or back end's) queue holds what arrives meanwhile
_PER_TURN = const(2)  # frames handled before other tasks get a turn: neither a burst nor a babbler may delay control
_LOOK_MS = const(100)  # how often the controller's state is looked at
_RESTART_MS = const(1000)  # from bus-off to the restart, and between two: longer than a short circuit's contact bounce


class Bus:
    """One CAN bus: `subscribe` first, then run `run()` as a task; `send` at any time."""

    def __init__(self, can, name="can"):
        self.can = can
        self.name = name
        self.frames = 0  # received and given to a handler
        self.last_ms = time.ticks_ms()  # when the last frames were received
        self.unclaimed = 0  # received, but nobody subscribed to it
        self.remote = 0  # remote requests, which nobody here answers
        self.sent = 0
        self.send_full = 0  # not sent: the controller's transmit queue was full
        self.send_failed = 0  # not sent: the controller was bus-off or stopped
        self.overruns = 0  # receive overruns (each one or more lost frames)
        self.bus_off = 0  # times the controller went bus-off
        self.resets = 0  # times it was found reset, stopped or gone
        self.handler_errors = 0
        self.last_error = ""
        self._ids = []
        self._masks = []
        self._extended = []
        self._handlers = []
        self._message: list = [0, memoryview(bytearray(8)), 0, 0]
        self._ext_flag = can.FLAG_EXT_ID
        self._overrun_flag = can.RECV_ERR_OVERRUN
        self._off_since = 0
        self._off = -1  # the state in which it is off the bus; -1: it is on it
        self._listening = False

    def subscribe(self, can_id, mask, extended, handler):
        """Call handler(id, data, flags) for each frame whose id equals `can_id` in the bits of `mask`.

        `data` is a memoryview valid only during the call; the handler must not await, block or allocate much.
        Several subscriptions may match one frame: each gets it.  May be called while running.
        """
        top = 0x1FFFFFFF if extended else 0x7FF
        if not 0 <= can_id <= top or not 0 <= mask <= top:
            raise ValueError("id 0x%x mask 0x%x: allowed 0 to 0x%x" % (can_id, mask, top))
        self._ids.append(can_id & mask)
        self._masks.append(mask)
        self._extended.append(bool(extended))
        self._handlers.append(handler)
        if self._listening:
            self._set_filters()

    def _set_filters(self):
        can = self.can
        wanted = []
        for i in range(len(self._ids)):
            wanted.append((self._ids[i], self._masks[i], self._ext_flag if self._extended[i] else 0))
        can.set_filters(fit(wanted, can.FILTERS_MAX))
        self._listening = True

    def send(self, can_id, data, extended=False):
        """Queue one frame; False (counted) when the queue is full or the controller is off the bus."""
        try:
            index = self.can.send(can_id, data, self._ext_flag if extended else 0)
        except OSError as err:
            self.send_failed += 1
            self.last_error = "send: %s" % err
            return False
        if index is None:
            self.send_full = (self.send_full + 1) & 0x3FFFFFFF
            return False
        self.sent = (self.sent + 1) & 0x3FFFFFFF
        return True

    def drain(self, most=64):
        """Hand up to `most` waiting frames to their handlers; return how many.  Allocates nothing itself."""
        can = self.can
        message = self._message
        ids = self._ids
        n = 0
        while n < most and can.recv(message) is not None:
            n += 1
            flags = message[2]
            if message[3] & self._overrun_flag:
                self.overruns = (self.overruns + 1) & 0x3FFFFFFF
            if flags & can.FLAG_RTR:
                self.remote = (self.remote + 1) & 0x3FFFFFFF
                continue
            can_id = message[0]
            extended = flags & self._ext_flag != 0
            claimed = False
            for i in range(len(ids)):
                if can_id & self._masks[i] == ids[i] and self._extended[i] == extended:
                    claimed = True
                    try:
                        self._handlers[i](can_id, message[1], flags)
                    except Exception as err:  # one reader's fault must not cost the others their frames
                        self.handler_errors += 1
                        self.last_error = "handler of 0x%x: %r" % (can_id, err)
            if claimed:
                self.frames = (self.frames + 1) & 0x3FFFFFFF
            else:
                self.unclaimed = (self.unclaimed + 1) & 0x3FFFFFFF
        if n:
            self.last_ms = time.ticks_ms()
        return n

    def look(self, now_ms):
        """Look after the controller: count bus-off and restart it after a second; set it up anew when it has reset by itself.

        Called by run().
        """
        can = self.can
        state = can.state()
        if state != can.STATE_BUS_OFF and state != can.STATE_STOPPED:
            self._off = -1
            return
        if state != self._off:
            self._off = state
            self._off_since = now_ms
            if state == can.STATE_BUS_OFF:
                self.bus_off += 1
                self.last_error = "bus-off"
                return
            self.resets += 1
        elif time.ticks_diff(now_ms, self._off_since) < _RESTART_MS:
            return
        self._off_since = now_ms
        self.last_error = "bus-off" if state == can.STATE_BUS_OFF else "the controller has reset or stopped by itself"
        try:
            can.restart()
        except OSError as err:
            self.last_error += ": %s" % err

    async def run(self):
        """Receive for ever.  Faults of the bus are counted, never raised."""
        self._set_filters()
        looked = time.ticks_ms()
        while True:
            try:
                now = time.ticks_ms()
                if time.ticks_diff(now, looked) >= _LOOK_MS:
                    looked = now
                    self.look(now)  # first: one that is stopped may refuse to receive
                pause = 0 if self.drain(_PER_TURN) >= _PER_TURN else _POLL_MS
            except OSError as err:
                self.last_error = "receive: %s" % err
                pause = _POLL_MS
            await asyncio.sleep_ms(pause)

    def counters(self):
        """A new dict of this bus's counters, with the controller's own: tec, rec, state and pending frames."""
        numbers = self.can.get_counters()
        return {
            "frames": self.frames,
            "unclaimed": self.unclaimed,
            "remote": self.remote,
            "sent": self.sent,
            "send_full": self.send_full,
            "send_failed": self.send_failed,
            "overruns": max(self.overruns, numbers[7] or 0),
            "bus_off": self.bus_off,
            "resets": self.resets,
            "handler_errors": self.handler_errors,
            "tec": numbers[0],
            "rec": numbers[1],
            "state": self.can.state(),
            "last_error": self.last_error,
        }
