"""An asyncio event loop in virtual time: it never waits, and time.ticks_ms() follows it while it runs."""

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine
from typing import Any

_TICKS = (1 << 30) - 1


class _NoWait(selectors.SelectSelector):
    """Nothing is ever ready, and to wait is to let time pass."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("in virtual time nobody would ever wake")
        self.now_s += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """`run_for` lets its tasks live for a while, `skip` lets time pass without them: all that was due comes late."""

    def __init__(self, ticks: int) -> None:
        """ticks: what time.ticks_ms() says at the beginning."""
        self._virtual = _NoWait()
        self._ticks = ticks
        super().__init__(self._virtual)
        self._died: BaseException | None = None
        self.set_task_factory(self._make)

    def time(self) -> float:
        """Virtual seconds since it was made."""
        return self._virtual.now_s

    def ticks_ms(self) -> int:
        """As a board's time.ticks_ms()."""
        return (self._ticks + int(self._virtual.now_s * 1000 + 0.5)) & _TICKS

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run it beside the others from the next run_for on."""
        self.create_task(work)

    @staticmethod
    def _make(loop: Any, work: Any, **more: Any) -> Any:
        """As every loop's task; an error that ends one ends the run too."""
        task = asyncio.Task(work, loop=loop, **more)
        task.add_done_callback(loop._look)
        return task

    def _look(self, task: Any) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._died = self._died or task.exception()

    def skip(self, seconds: float) -> None:
        """Time passes and no task runs."""
        self._virtual.now_s += seconds

    def run_for(self, seconds: float) -> None:
        """Let the tasks run for `seconds`.  Raises what one of them died of."""
        clock = time.ticks_ms  # type: ignore[attr-defined]  # the shims'
        self._say(self.ticks_ms)
        try:
            self.run_until_complete(asyncio.sleep(seconds))
        finally:
            self._say(clock)
        if self._died is not None:
            raise self._died

    @staticmethod
    def _say(clock: Callable[[], int]) -> None:
        time.ticks_ms = clock  # type: ignore[attr-defined]

    def end(self) -> None:
        """Cancel the tasks and close."""
        for task in asyncio.all_tasks(self):
            task.cancel()
        self.run_until_complete(asyncio.sleep(0))
        self.close()
