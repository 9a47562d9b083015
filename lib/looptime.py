"""Who holds an asyncio loop: the longest single step of every task, kept without allocating; and who gives way to whom.

asyncio is cooperative: between two awaits a task has the processor for itself.  `LoopTime.watched` wraps a task's
coroutine so that each of its steps is timed; whoever must not be held up asks `longest` what took so long.

What must not be held up goes first: asyncio serves its tasks in the order in which they came due, so that after anything long
all of them would come before it.  A watched task's step is put off, once for each beat, while `goes_first()` says that one
is due.  So nothing lies between a beat and its step but the one step that is under way.  And long work of several
tasks does not meet between two beats: who has some takes the turn first, `take_turn`.

Not safe from another thread than the loop's.
"""

import asyncio
import time
from array import array

from micropython import const

_BEHIND_MS = const(2)  # what is due comes before whoever was put off for it
_LOOK_MS = const(10)  # between two looks for the turn
_LOOKS = const(30)  # and no more than so many: what goes first may have ended


_watching = None  # the LoopTime that a task started by another one is watched by


def start(name: str, coroutine) -> None:
    """Make a coroutine a task of its own, watched as the one that starts it is, where there is space for another name."""
    if _watching is not None and (name in _watching.names or len(_watching.names) < len(_watching.worst_us)):
        coroutine = _watching.watched(name, coroutine, _watching.running)
    asyncio.get_event_loop().create_task(coroutine)


class Part:
    """Something that a box does for ever beside its run(): a task of its own, kept alive as the box is."""

    def __init__(self, run) -> None:
        """run: function that makes the coroutine."""
        self.run = run


class LoopTime:
    """Times the steps of up to `most` tasks, in microseconds."""

    def __init__(self, most: int = 24) -> None:
        self.names: list = []
        self.worst_us = array("i", [0] * most)  # of each task, since it was first watched
        self.root = array("b", [-1] * most)  # of each task: which one it goes back to; itself if the application started it
        self.running = -1  # whose step it is, or was last
        self.weigher = None  # while the heap runs short: has weigh(number, coroutine, value), see firmware/heapwatch.py
        self.since_us = 0  # the longest step since `forget`
        self.since_by = -1  # whose it was; -1: nobody's
        self.goes_first = None  # function: the number of the beat that is due, and goes before every watched task; 0: none is
        self._turn_taken = False

    def watch_all(self) -> None:
        """From now on `start` starts tasks that are watched here."""
        global _watching
        _watching = self

    def watched(self, name: str, coroutine, parent: int = -1):
        """What to hand to create_task instead of `coroutine`, which task `parent` starts (-1: none).

        ValueError when there are too many names.
        """
        if name not in self.names:
            if len(self.names) >= len(self.worst_us):
                raise ValueError("%d tasks are watched already: allowed are %d" % (len(self.names), len(self.worst_us)))
            self.names.append(name)
            number = len(self.names) - 1
            self.root[number] = number if parent < 0 else self.root[parent]
        return _Watched(self, self.names.index(name), coroutine)

    def took(self, number: int, us: int) -> None:
        """One step of task `number` took so long.  Allocates nothing."""
        if us > self.worst_us[number]:
            self.worst_us[number] = us
        if us > self.since_us:
            self.since_us = us
            self.since_by = number

    def longest(self) -> str:
        """The task with the longest step since `forget`; "" when none has run."""
        return self.names[self.since_by] if self.since_by >= 0 else ""

    def forget(self) -> None:
        """What goes first has had its step: begin anew to look for the longest one, and the turn is free."""
        self.since_us = 0
        self.since_by = -1
        self._turn_taken = False

    def take_turn(self) -> bool:
        """Whether long work may be done now: once until `forget`."""
        if self._turn_taken:
            return False
        self._turn_taken = True
        return True

    async def turn(self) -> None:
        """Wait for the turn, and take it."""
        for _ in range(_LOOKS):
            if self.take_turn():
                return
            await asyncio.sleep(_LOOK_MS / 1000)

    def clear(self) -> None:
        """Forget the worst steps too: what boot and discovery took says nothing of operation."""
        for i in range(len(self.worst_us)):
            self.worst_us[i] = 0

    def report(self) -> dict:
        """{task: longest step since it was first watched or `clear`, ms}."""
        return {name: self.worst_us[i] / 1000 for i, name in enumerate(self.names)}


class _Watched:
    """A coroutine as asyncio's loop uses it, with a stop-watch around each step."""

    def __init__(self, loop_time: LoopTime, number: int, coroutine) -> None:
        self._loop_time = loop_time
        self._number = number
        self._coroutine = coroutine
        self._put_off_for = 0  # the beat that it gave way to last

    def send(self, value):
        """One step; see the coroutine's own send.  Put off, or interrupted before its step, it comes back by itself."""
        begun = -1  # of its step; -1: it has not, -2: the weigher looks at that
        try:
            goes_first = self._loop_time.goes_first
            if goes_first is not None:
                beat = goes_first()
                if beat and beat != self._put_off_for:
                    self._put_off_for = beat
                    return next(asyncio.sleep_ms(_BEHIND_MS))  # queues this task anew
            self._loop_time.running = self._number
            weigher = self._loop_time.weigher
            if weigher is not None and weigher.wants(self._number):
                begun = -2
                return weigher.weigh(self._number, self._coroutine, value)
            begun = time.ticks_us()
            return self._coroutine.send(value)
        except KeyboardInterrupt:
            if begun == -1:  # asyncio has taken it out of its queue already
                asyncio.get_event_loop().create_task(self)  # type: ignore[arg-type]  # as it was handed over the first time
            raise
        finally:
            if begun >= 0:
                self._loop_time.took(self._number, time.ticks_diff(time.ticks_us(), begun))

    def throw(self, *error):
        """One step that begins with an error; see the coroutine's own throw."""
        begun = time.ticks_us()
        try:
            return self._coroutine.throw(*error)
        finally:
            self._loop_time.took(self._number, time.ticks_diff(time.ticks_us(), begun))

    def close(self) -> None:
        """End it."""
        self._coroutine.close()

    def __await__(self):
        return self._coroutine.__await__()  # CPython's asyncio takes for a coroutine what has all four
