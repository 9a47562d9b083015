"""Who holds an asyncio loop: the longest single step of every task, kept without allocating.

asyncio is cooperative: between two awaits a task has the processor for itself.  `LoopTime.watched` wraps a task's
coroutine so that each of its steps is timed; whoever must not be held up asks `longest` what took so long.

Not safe from another thread than the loop's.
"""

import time
from array import array


class LoopTime:
    """Times the steps of up to `most` tasks, in microseconds."""

    def __init__(self, most: int = 24) -> None:
        self.names: list = []
        self.worst_us = array("i", [0] * most)  # of each task, since it was first watched
        self.since_us = 0  # the longest step since `forget`
        self.since_by = -1  # whose it was; -1: nobody's

    def watched(self, name: str, coroutine):
        """What to hand to create_task instead of `coroutine`.  ValueError when there are too many names."""
        if name not in self.names:
            if len(self.names) >= len(self.worst_us):
                raise ValueError("%d tasks are watched already: allowed are %d" % (len(self.names), len(self.worst_us)))
            self.names.append(name)
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
        """Begin anew to look for the longest step."""
        self.since_us = 0
        self.since_by = -1

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

    def send(self, value):
        """One step; see the coroutine's own send."""
        begun = time.ticks_us()
        try:
            return self._coroutine.send(value)
        finally:
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
