"""Tasks in a time of their own, which passes only while all of them sleep: for a driver's own run(), on every interpreter.

    with Virtual(pcs_sunspec, sunspec) as life:  # the `time` of these modules is life's now, and so is asyncio.sleep_ms
        life.live(device)
        life.run(3000)
"""

import asyncio

_PERIOD = 1 << 30  # ticks wrap here
_HALF = _PERIOD // 2
_LOOP_US = 100  # a sleep of 0 ms lasts as long as once round the loop


class Nap:
    """What asyncio.sleep_ms gives meanwhile: awaited, it hands its milliseconds to whoever runs the task."""

    def __init__(self, ms):
        self._ms = ms

    def __iter__(self):
        return self

    __await__ = __iter__

    def __next__(self):
        ms = self._ms
        if ms is None:
            raise StopIteration
        self._ms = None
        return ms


class Virtual:
    """In the place of `time` in the modules given, of their `start` (see looptime), and of asyncio.sleep_ms; `us`: now, unwrapped.

    look_us: what it takes to look at the clock, for code that waits for it without sleeping.
    """

    def __init__(self, *modules, ms=1000, look_us=0):
        self.us = ms * 1000
        self._look_us = look_us
        self._modules = modules
        self._usual = []  # (module, name, what it was)
        self._tasks = []  # [due in us, coroutine], those due together in the order in which they were queued

    def __enter__(self):
        for module in self._modules:
            for name, value in (("time", self), ("start", self.start)):
                if hasattr(module, name):
                    self._replace(module, name, value)
        self._replace(asyncio, "sleep_ms", Nap)
        return self

    def __exit__(self, *_error):
        for module, name, usual in self._usual:
            setattr(module, name, usual)
        for _, coroutine in self._tasks:
            coroutine.close()

    def _replace(self, module, name, value):
        self._usual.append((module, name, getattr(module, name)))
        setattr(module, name, value)

    # ---- time ------------------------------------------------------------------------------------------
    def ticks_ms(self):
        self.us += self._look_us
        return self.us // 1000 % _PERIOD

    def ticks_us(self):
        self.us += self._look_us
        return self.us % _PERIOD

    def ticks_add(self, ticks, delta):
        return (ticks + delta) % _PERIOD

    def ticks_diff(self, later, earlier):
        return (later - earlier + _HALF) % _PERIOD - _HALF

    def sleep_ms(self, ms):
        self.us += ms * 1000

    skip = sleep_ms  # time passes and no task runs: all that was due comes late

    # ---- tasks -----------------------------------------------------------------------------------------
    def start(self, _name, coroutine):
        """Run it beside the others; what `stop` takes."""
        task = [self.us, coroutine]
        self._tasks.append(task)
        return task

    def live(self, device):
        """Start all that the application starts of a device."""
        self.start("device", device.run())
        for name, part in getattr(device, "parts", {}).items():
            self.start(name, part.run())

    def stop(self, task):
        """End it where it stands."""
        self._tasks.remove(task)
        task[1].close()

    def run(self, ms):
        """Let the tasks live for so long.  Raises what one of them dies of."""
        end = self.us + ms * 1000
        while self._step(end):
            pass
        self.us = max(self.us, end)

    def until(self, done, most_ms):
        """Let the tasks live until done(); AssertionError if it is not so within most_ms."""
        end = self.us + most_ms * 1000
        while not done():
            assert self._step(end), "not so after %d ms" % most_ms

    def go(self, coroutine):
        """Run this one to its end beside the others; its value, or what it raises."""
        came = []

        async def work():
            try:
                came.append((await coroutine, None))
            except Exception as error:
                came.append((None, error))

        self.start("", work())
        while not came:
            self._step(self.us + _HALF)
        value, error = came[0]
        if error is not None:
            raise error
        return value

    def _step(self, end):
        """One step of the task that is due first; False if none is by `end`."""
        first = None
        for task in self._tasks:
            if first is None or task[0] < first[0]:
                first = task
        if first is None or first[0] > end:
            return False
        self._tasks.remove(first)
        self.us = max(self.us, first[0])
        try:
            ms = first[1].send(None)
        except StopIteration:
            return True
        first[0] = self.us + max((ms or 0) * 1000, _LOOP_US)
        self._tasks.append(first)
        return True
