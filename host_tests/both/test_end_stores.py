"""The end of the program saves what waits, when everything is safe: in steps, in bounded time, and whatever fails it ends."""

import sys

from host_tests.both.test_io_board import FakeMachine
from host_tests.both.virtual import Virtual

_real = sys.modules.get("machine")
sys.modules["machine"] = FakeMachine
from firmware import shutdown  # noqa: E402

if _real is None:
    del sys.modules["machine"]
else:
    sys.modules["machine"] = _real
CLOCK = Virtual()


class Watchdog:
    """Counts how often it was fed."""

    def __init__(self):
        self.feeds = 0

    def feed(self):
        self.feeds += 1


class Service:
    """Saves in three steps of 50 ms, or does what a test gives it."""

    def __init__(self, step=None):
        self.saved = 0
        self._step = step

    def last_steps(self):
        for number in range(3):
            yield
            CLOCK.skip(50)
            if self._step is not None:
                self._step(number)
        self.saved += 1


class App:
    def __init__(self, **services):
        self.services = services


def _stored(**services):
    """(what is said, times the watchdog was fed, ms it took)."""
    said = []
    fed = Watchdog()
    real = shutdown.time, shutdown.watchdog
    shutdown.time, shutdown.watchdog = CLOCK, fed
    shutdown.print = said.append
    begun = CLOCK.ticks_ms()
    try:
        shutdown.store(App(**services))
    finally:
        shutdown.time, shutdown.watchdog = real
        del shutdown.print
    return said, fed.feeds, CLOCK.ticks_ms() - begun


def test_the_end_saves_what_services_keep_and_feeds_the_watchdog_with_each_step():
    records, history = Service(), Service()
    said, feeds, _ = _stored(records=records, console=object(), history=history)
    assert said == [] and records.saved == history.saved == 1 and feeds == 6


def test_the_end_says_what_could_not_be_saved_and_goes_on():
    def full(number):
        raise OSError(28)

    def broken(number):
        raise ValueError("x")

    good = Service()
    said, _, _ = _stored(full=Service(full), broken=Service(broken), good=good)
    assert good.saved == 1 and len(said) == 2
    assert any(line.startswith("end: full: NOT everything is stored: OSError") for line in said), said
    assert "end: broken: NOT everything is stored: ValueError: x" in said


def test_the_end_does_not_wait_for_a_save_without_end():
    class Endless:
        def last_steps(self):
            while True:
                CLOCK.skip(80)
                yield

    said, feeds, ms = _stored(endless=Endless())
    assert said == ["end: endless: NOT everything is stored: it takes too long"]
    assert 4900 < ms < 5200 and feeds > 50


def test_the_end_begins_a_save_again_that_a_signal_has_broken_off():
    signals = [0, 1, 2]

    def interrupted(number):
        if signals and number == 1:
            signals.pop()
            raise KeyboardInterrupt

    service = Service(interrupted)
    said, _, _ = _stored(records=service)
    assert service.saved == 1 and signals == [] and said == []


def test_the_end_is_not_kept_up_by_what_goes_on_breaking_it_off():
    def leaving(number):
        raise SystemExit

    said, _, ms = _stored(records=Service(leaving))
    assert said == ["end: records: NOT everything is stored: interrupted"] and ms < 5200
