"""What happened: a ring filled by the cycle without allocating, read by cursors; and who wants to be called about it.

How callbacks are run is in dispatching.py, which a site without callbacks does not load.
"""

from array import array

from micropython import const

from firmware import dispatching
from firmware.errors import PowerError, in_range
from firmware.event_codes import Event

QUEUE = const(64)  # events kept (a power of two); a reader further behind loses the oldest, counted
MAX_CALLBACKS = const(64)


class Callback:
    """One registration, with how it fares."""

    def __init__(self, event: int, fn, user_data) -> None:
        self.event = event
        self.fn = fn
        self.user_data = user_data
        self.failures = 0  # in a row
        self.begun = 0  # calls of an async one: counted by who calls, in a thread of its own,
        self.ended = 0  # and by the loop
        self.suspended = False


class Cursor:
    """One reader's place in the ring; `next` moves it and leaves the event in event, data and at_s."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.lost = 0  # events overwritten before this reader came to them
        self.event = 0
        self.data = 0
        self.at_s = 0


class Events:
    """A ring of the last events, counts, and registrations.  `post` and `next` allocate nothing."""

    def __init__(self, lock) -> None:
        self._lock = lock
        self._codes = array("b", [0] * QUEUE)
        self._data = array("i", [0] * QUEUE)
        self._at_s = array("i", [0] * QUEUE)
        self.total = 0  # posted since boot, modulo 2**30
        self.counts = array("i", [0] * len(Event.names))
        self.callbacks: list = []
        self.cursor = Cursor(0)
        self.listeners: list = []  # of the event in hand, and how many of them have been served
        self.served = 0
        self.turn = 0  # whose dispatch it is: `abandon` passes it on
        self.running = None  # the callback under way, and since when: a watcher can see one that hangs
        self.running_since = 0
        self.start_task = None  # the application sets it: takes a coroutine and runs it on the loop
        self.report = None  # takes a callback that failed and its error; None prints them

    def post(self, event: int, data: int, at_s: int) -> None:
        """Record an event; the caller holds the lock.  Allocates nothing."""
        self.counts[event] = (self.counts[event] + 1) & 0x3FFFFFFF
        i = self.total & (QUEUE - 1)
        self._codes[i] = event
        self._data[i] = data
        self._at_s[i] = at_s
        self.total = (self.total + 1) & 0x3FFFFFFF

    def next(self, cursor: Cursor) -> bool:
        """Move a reader to the next event; False when it has seen all.  A reader QUEUE behind loses the oldest."""
        with self._lock:
            behind = (self.total - cursor.at) & 0x3FFFFFFF
            if behind == 0:
                return False
            if behind > QUEUE:
                cursor.lost += behind - QUEUE
                cursor.at = (self.total - QUEUE) & 0x3FFFFFFF
            i = cursor.at & (QUEUE - 1)
            cursor.event = self._codes[i]
            cursor.data = self._data[i]
            cursor.at_s = self._at_s[i]
            cursor.at = (cursor.at + 1) & 0x3FFFFFFF
            return True

    def history(self) -> "list[tuple[str, int, int]]":
        """The last events, oldest first: (name, data, seconds since boot)."""
        with self._lock:
            total, codes, data, at_s = self.total, self._codes[:], self._data[:], self._at_s[:]
        kept = min(total, QUEUE)
        names = Event.names
        return [(names[codes[i]], data[i], at_s[i]) for i in [n & (QUEUE - 1) for n in range(total - kept, total)]]

    @property
    def overflows(self) -> int:
        """Events that came too fast for the callbacks and were not handed to them."""
        return self.cursor.lost

    def register(self, event: int, fn, user_data) -> None:
        """See PowerManager.register_callback."""
        in_range("event", event, -1, len(Event.names) - 1, "(Event, -1 for all)", int)
        if not callable(fn):
            raise ValueError("fn = %r: must be callable as fn(event, event_data, user_data)" % (fn,))
        with self._lock:
            if len(self.callbacks) >= MAX_CALLBACKS:
                raise PowerError("%d callbacks are registered: allowed are 0 to %d" % (len(self.callbacks), MAX_CALLBACKS))
            self.callbacks = self.callbacks + [Callback(event, fn, user_data)]

    def unregister(self, event: int, fn) -> None:
        """See PowerManager.unregister_callback."""
        with self._lock:
            kept = [c for c in self.callbacks if not (c.event == event and c.fn == fn)]
            if len(kept) == len(self.callbacks):
                raise PowerError("%r is not registered for event %r" % (fn, event))
            self.callbacks = kept

    def dispatch(self) -> bool:
        """Hand the oldest waiting event to its callbacks, outside the lock; False when none waits.  One thread only."""
        return dispatching.dispatch(self)

    def abandon(self):
        """See dispatching.abandon."""
        return dispatching.abandon(self)
