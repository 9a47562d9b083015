"""The calendar's step in a heap that is full at that moment: the clock's event is posted once, however often it is tried."""

import sys

from rows import each

from firmware import Event
from firmware.clock import CONSOLE
from host_tests.both.plant import Plant
from host_tests.both.virtual import Virtual


class FakeMachine:
    """A chip whose own clock has lost the time."""

    class RTC:
        @staticmethod
        def datetime(_moment=None):
            return (2000, 1, 1, 5, 0, 0, 0, 0)


_real = sys.modules.get("machine")
sys.modules["machine"] = FakeMachine
from firmware.services import calendar  # noqa: E402

if _real is None:
    del sys.modules["machine"]
else:
    sys.modules["machine"] = _real


class Application:
    class site:
        name_server = None


def test_a_clock_whose_event_a_full_heap_refused_is_told_at_the_next_step_and_once():
    options = {}
    for rows in calendar.OPTIONS:
        for row in each(rows):
            options[row[0]] = row[2]
    plant = Plant().ready()
    pm = plant.pm
    real, calendar.time = calendar.time, Virtual()
    try:
        service = calendar.Service("clock", options, pm, Application)
        before = len(plant.events("CLOCK_SET"))
        service.clock.set(CONSOLE, 9830, 1000)
        post = pm.clock_was_set

        def full(_seconds):
            raise MemoryError("memory allocation failed, allocating 32 bytes")

        pm.clock_was_set = full
        try:
            service.step_on()
        except MemoryError:
            pass
        pm.clock_was_set = post
        service.step_on()
        service.step_on()
        assert len(plant.events("CLOCK_SET")) - before == 1
        assert pm.events.counts[Event.CLOCK_SET] == 1
    finally:
        calendar.time = real
