"""What must outlive a reset: an emergency (latch.py), and what ran before it (resume.py)."""

from firmware.latch import Latch
from firmware.resume import Resume

OPTIONS = ()
HEAP_BYTES = 7500


class Service:
    """Both memories, in step with the manager; critical: the house calls `step`, and the watchdog waits for the house."""

    def __init__(self, name: str, options: dict, pm, app) -> None:
        self.latch = Latch(pm)
        self.resume = Resume(pm)
        self._loop_time = app.metering.loop_time

    @property
    def stores(self) -> int:
        """How often the flash was written since boot."""
        return self.latch.stores + self.resume.stores

    def step(self) -> None:
        """Store what a reset must find, an emergency first: at once, without a turn, and alone in its step."""
        stored = self.stores
        self.latch.step()
        if self.stores == stored:
            try:
                self.resume.step()
            except MemoryError:
                pass  # it looks again: no reason to end the program
        if self.stores != stored:
            self._loop_time.take_turn()  # an erase may have been in it: nothing else long until the next cycle

    def last_steps(self):
        """What went on when the program ended, however new it is; and an emergency that arose on its last way."""
        self.latch.settle()
        self.resume.settle()
        yield

    def counters(self) -> dict:
        """Writes of the flash, those that failed, and what became of what ran before the reset."""
        return {"stores": self.stores, "failures": self.latch.failures, "resume": self.resume.text}
