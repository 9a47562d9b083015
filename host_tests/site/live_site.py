"""A simulated site in a thread of its own, so that tests can use blocking clients against it."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Generic, TypeVar

from tools.sim import live as sim
from tools.sim.site import Site

T = TypeVar("T")
S = TypeVar("S", bound=sim.LiveSite)


class Running(Generic[S]):
    """A running site; `call` runs something in the site's own loop, where the site may be touched."""

    def __init__(self, site: S, loop: asyncio.AbstractEventLoop) -> None:
        self.site = site
        self.loop = loop
        self.ports = site.ports

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """function(*args) inside the site's event loop."""

        async def inside() -> T:
            return function(*args)

        return asyncio.run_coroutine_threadsafe(inside(), self.loop).result(5)

    def truth(self) -> dict[str, Any]:
        """What is really so."""
        return self.call(self.site.truth)

    def until(self, condition: Callable[[dict[str, Any]], bool], timeout_s: float = 20.0) -> dict[str, Any]:
        """Wait until the truth satisfies `condition`; fails with the truth that does not."""
        end = time.monotonic() + timeout_s
        while True:
            truth = self.truth()
            if condition(truth):
                return truth
            assert time.monotonic() < end, f"still not so after {timeout_s} s: {truth}"
            time.sleep(0.02)


LiveSite = Running[Site]


def live_site(seed: int = 1, **options: Any) -> AbstractContextManager[LiveSite]:
    """A Site with these options, answering on loopback until the block ends."""
    return running(Site(seed, **options))


@contextmanager
def running(site: S) -> Iterator[Running[S]]:
    """That site, answering on loopback until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(site.start(), loop).result(5)
        yield Running(site, loop)
        asyncio.run_coroutine_threadsafe(site.stop(), loop).result(5)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()
