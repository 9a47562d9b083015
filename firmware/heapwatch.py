"""Stops the service that eats the heap, control first.

While after a collection less than the reserve is free, or a task has lately asked for more than there was, steps of the
services that may be stopped are weighed, one service after the other and a few steps a second: a collection before a step and
one after it show what the step has allocated and keeps, whatever else goes on.  Who has kept the most is stopped once that is
_MUCH, or _SOME when half of the reserve is gone too; a MemoryError counts as _SOME kept.  With enough heap nothing of this
costs anything: the house looks at two numbers.
"""

import gc
import time
from array import array

from micropython import const

_LEAST = const(12288)  # bytes: the reserve; of a large heap a 32nd
_MUCH = const(1024)
_SOME = const(256)
_APART_MS = const(200)  # between two weighed steps: each costs two collections
_IDLE_MS = const(2000)  # who makes no step for so long: the next one's turn
_LOOKS = const(10)  # weighed steps of each service, then a pause: in a heap that is small for good they would take the loop's time
_PAUSE_MS = const(30000)
_ALARM_MS = const(60000)  # so long after a MemoryError the heap counts as short


class HeapWatch:
    """`app`: whose services they are.  `weigher` of the application's looptime.LoopTime while the heap runs short."""

    def __init__(self, app) -> None:
        self._app = app
        self._loop_time = app.metering.loop_time
        self._services: list = []  # their names
        self._tasks: list = []  # of each all its tasks
        self._of = array("b", [-1] * len(self._loop_time.worst_us))  # by number of a task: of which service it is
        self.kept = array("i")  # bytes, by service, since the heap runs short
        self.reserve = max(_LEAST, (gc.mem_free() + gc.mem_alloc()) >> 5)
        self._turn = 0  # whose steps are weighed
        self._looked_ms = self._turned_ms = time.ticks_ms()
        self._looks = 0
        self._alarm = False
        self._alarm_ms = 0

    def add(self, service: str, part: str, task) -> None:
        """A task of a service; those of services that stay are not looked at."""
        for name, _, _, stays in self._app.site.services:
            if name == service and stays:
                return
        if service not in self._services:
            self._services.append(service)
            self._tasks.append([])
            self.kept.append(0)
        self._tasks[self._services.index(service)].append(task)
        self._of[self._loop_time.names.index(part)] = self._services.index(service)

    def wanted(self, part: str) -> None:
        """A task ended, or got over it, because the heap had not what it asked for."""
        self._alarm = True
        self._alarm_ms = time.ticks_ms()
        number = self._of[self._loop_time.names.index(part)]
        if number >= 0:
            self.kept[number] += _SOME

    def step(self) -> None:
        """Call a few times a second: looks whether the heap runs short, whose turn it is, and who is to be stopped."""
        free = self._app.metering.free_bytes
        if free < 0:
            return
        now_ms = time.ticks_ms()
        if self._alarm and not 0 <= time.ticks_diff(now_ms, self._alarm_ms) < _ALARM_MS:
            self._alarm = False
        if (free >= self.reserve and not self._alarm) or not self._services:
            if self._loop_time.weigher is not None:
                self._loop_time.weigher = None
                self._forget()
            return
        if self._loop_time.weigher is None:
            self._loop_time.weigher = self
            self._looks = 0
            self._looked_ms = self._turned_ms = now_ms  # days ago they would look like the future
        if self._looks >= _LOOKS * len(self._services):
            if 0 <= time.ticks_diff(now_ms, self._looked_ms) < _PAUSE_MS:
                return
            self._looks = 0
        if time.ticks_diff(now_ms, self._turned_ms) > _IDLE_MS:
            self._next(now_ms)
        self._judge(free)

    def _forget(self) -> None:
        for i in range(len(self.kept)):
            self.kept[i] = 0

    def _next(self, now_ms) -> None:
        self._turn = (self._turn + 1) % len(self._services)
        self._turned_ms = now_ms

    def wants(self, task: int) -> bool:
        """Whether this step of a task is to be weighed: it may take two collections longer."""
        root = self._loop_time.root[task]
        if root < 0 or self._of[root] != self._turn or self._looks >= _LOOKS * len(self._services):
            return False
        return time.ticks_diff(time.ticks_ms(), self._looked_ms) >= _APART_MS and self._loop_time.take_turn()

    def weigh(self, task: int, coroutine, value):
        """One step of a task, as its coroutine's send, between two collections."""
        service = self._turn
        collector = self._app.collector
        collector.collect(time.ticks_ms())
        free = gc.mem_free()
        begun = time.ticks_us()
        try:
            return coroutine.send(value)
        finally:
            self._loop_time.took(task, time.ticks_diff(time.ticks_us(), begun))
            collector.collect(time.ticks_ms())
            self.kept[service] += free - gc.mem_free()
            self._looks += 1
            self._looked_ms = time.ticks_ms()
            self._next(self._looked_ms)

    def _judge(self, free: int) -> None:
        most = 0
        for i in range(len(self.kept)):
            if self.kept[i] > self.kept[most]:
                most = i
        if self.kept[most] >= (_SOME if 2 * free < self.reserve else _MUCH):
            self._stop(most, free)

    def _stop(self, number: int, free: int) -> None:
        text = "it kept %d bytes of heap in the steps that were weighed, when %d were free of a reserve of %d"
        # first what needs heap, of which there is little: where it fails nothing has changed, and the next step tries again
        kept = array("i", [0] * (len(self._services) - 1))
        self._app.stop_service(self._services[number], text % (self.kept[number], free, self.reserve))
        self._services.pop(number)
        tasks = self._tasks.pop(number)
        for i in range(len(self._of)):
            if self._of[i] == number:
                self._of[i] = -1
            elif self._of[i] > number:
                self._of[i] -= 1
        self.kept = kept
        self._turn = self._looks = 0
        self._alarm = False
        for task in tasks:
            task.cancel()
