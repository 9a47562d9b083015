"""Events: who hears what, and callbacks that are slow, raise, call back, come in numbers or come late hurt nobody."""

import _thread
import sys
import time

from firmware import callbacks, dispatching
from firmware import image as im
from firmware.callbacks import STUCK_MS, Worker
from firmware.dispatching import MAX_FAILURES, UNDER_WAY
from firmware.errors import PowerError
from firmware.event_codes import Event
from firmware.events import MAX_CALLBACKS, QUEUE, Cursor
from firmware.modes import Mode
from host_tests.both.plant import Plant, photo, refusal


class Ear:
    """A callback that writes down what it hears."""

    def __init__(self):
        self.heard = []

    def __call__(self, event, data, user_data):
        self.heard.append((event, data, user_data))


class never:
    """What is awaited never comes."""

    def __await__(self):
        while True:
            yield

    __iter__ = __await__


def drain(plant):
    while plant.pm.events.dispatch():
        pass


def quiet(plant):
    """Nobody has heard of anything yet, reports are kept instead of printed; returns the list of reports."""
    drain(plant)
    reports = []
    plant.pm.events.report = lambda callback, error: reports.append((callback, str(error)))
    return reports


def ready():
    plant = Plant().ready()
    plant.run(2)
    return plant


def post(plant, event, data):
    with plant.image.lock:
        plant.pm.events.post(event, data, plant.now[im.UPTIME_S])


def test_all_events_of_the_product_exist():
    wanted = "MODE_CHANGE FLOW_CHANGE CHARGE_COMPLETE DISCHARGE_COMPLETE GRID_CONNECTED GRID_DISCONNECTED SCHEDULE_STARTED "
    wanted += "SCHEDULE_ENDED OVERPOWER EMERGENCY LIMIT_CHANGE FAULT_RAISED FAULT_CLEARED COMMS_LOST COMMS_RESTORED "
    wanted += "OPERATION_TIMEOUT CONFIG_CHANGED CLOCK_SET"
    for name in wanted.split():
        assert Event.name(getattr(Event, name)) == name
    assert Event.ALL == -1


def test_a_specific_registration_hears_its_event_only_and_all_hears_all():
    plant = ready()
    quiet(plant)
    one, every = Ear(), Ear()
    plant.pm.register_callback(Event.EMERGENCY, one, "mine")
    plant.pm.register_callback(Event.ALL, every)
    plant.pm.emergency_shutdown()
    drain(plant)
    assert one.heard == [(Event.EMERGENCY, -1, "mine")]
    assert every.heard == [(Event.MODE_CHANGE, Mode.EMERGENCY, None), (Event.EMERGENCY, -1, None)]


def test_each_registration_keeps_its_own_user_data():
    plant = ready()
    quiet(plant)
    ear = Ear()
    for data in ("a", 2, None, [3]):
        plant.pm.register_callback(Event.CONFIG_CHANGED, ear, data)
    plant.pm.set_grid_connection(1)
    drain(plant)
    assert [said[2] for said in ear.heard] == ["a", 2, None, [3]]


def test_an_unregistered_callback_hears_nothing_more():
    plant = ready()
    quiet(plant)
    ear = Ear()
    plant.pm.register_callback(Event.CONFIG_CHANGED, ear)
    plant.pm.register_callback(Event.ALL, ear)
    plant.pm.unregister_callback(Event.CONFIG_CHANGED, ear)
    plant.pm.set_grid_connection(1)
    drain(plant)
    assert len(ear.heard) == 1
    plant.pm.unregister_callback(Event.ALL, ear)
    plant.pm.set_grid_connection(2)
    drain(plant)
    assert len(ear.heard) == 1
    assert "not registered" in refusal(PowerError, plant.pm.unregister_callback, Event.ALL, ear)


def test_nothing_is_lost_or_doubled_between_cycles():
    plant = ready()
    quiet(plant)
    ear = Ear()
    plant.pm.register_callback(Event.ALL, ear)
    before = list(plant.pm.events.counts)
    for kw in (20, -20, 10, -5):
        plant.pm.set_constant_power(kw)
        for _ in range(60):
            plant.cycle()
            plant.pm.events.dispatch()
    drain(plant)
    heard = [0] * len(before)
    for event, _, _ in ear.heard:
        heard[event] += 1
    assert heard == [now - then for now, then in zip(plant.pm.events.counts, before)]
    assert sum(heard) > 10


def test_one_that_raises_hurts_nobody_and_is_suspended_in_the_end():
    plant = ready()
    reports = quiet(plant)
    good = Ear()

    def bad(event, data, user_data):
        raise ValueError("no")

    plant.pm.register_callback(Event.CONFIG_CHANGED, bad)
    plant.pm.register_callback(Event.CONFIG_CHANGED, good)
    for i in range(MAX_FAILURES + 3):
        plant.pm.set_grid_connection(i % 2)
        drain(plant)
        plant.cycle()
    assert len(good.heard) == MAX_FAILURES + 3
    assert len(reports) == MAX_FAILURES and reports[-1][1] == "no" and reports[-1][0].suspended
    plant.pm.unregister_callback(Event.CONFIG_CHANGED, bad)
    plant.pm.register_callback(Event.CONFIG_CHANGED, bad)
    plant.pm.set_grid_connection(2)
    drain(plant)
    assert len(reports) == MAX_FAILURES + 1, "registered anew, it gets a new chance"


def test_failures_must_be_in_a_row_to_suspend():
    plant = ready()
    reports = quiet(plant)
    calls = []

    def moody(event, data, user_data):
        calls.append(1)
        if len(calls) % MAX_FAILURES:
            raise ValueError("today not")

    plant.pm.register_callback(Event.CONFIG_CHANGED, moody)
    for i in range(5 * MAX_FAILURES):
        plant.pm.set_grid_connection(i % 2)
        drain(plant)
    assert len(calls) == 5 * MAX_FAILURES and not any(report[0].suspended for report in reports)


def test_a_callback_may_call_the_api_back():
    plant = ready()
    reports = quiet(plant)
    seen = []

    def nosy(event, data, pm):
        seen.append((pm.mode, pm.stats()["mode"], len(pm.claims())))
        pm.claim("optimiser", 1, 60, "callback")
        if event == Event.CONFIG_CHANGED:
            pm.set_constant_power(20)
            pm.register_callback(Event.MODE_CHANGE, Ear())
            pm.unregister_callback(Event.ALL, nosy)

    plant.pm.register_callback(Event.ALL, nosy, plant.pm)
    plant.pm.set_grid_connection(2)
    drain(plant)
    plant.run(2)
    assert reports == [] and seen == [(Mode.IDLE, "IDLE", 0)]
    assert plant.pm.mode == Mode.DISCHARGE and plant.command() == 20000


def test_an_async_callback_runs_on_the_loop_it_is_given():
    plant = ready()
    reports = quiet(plant)
    seen, tasks = [], []

    async def slow(event, data, user_data):
        seen.append(("begun", event))
        seen.append(("done", user_data))

    async def broken(event, data, user_data):
        raise ValueError("async no")

    plant.pm.events.start_task = tasks.append
    plant.pm.register_callback(Event.CONFIG_CHANGED, slow, 7)
    plant.pm.register_callback(Event.CONFIG_CHANGED, broken)
    plant.pm.set_grid_connection(1)
    drain(plant)
    assert seen == [] and len(tasks) == 2, "the dispatcher does not wait for it"
    for task in tasks:
        try:
            while True:
                task.send(None)
        except StopIteration:
            pass
    assert seen == [("begun", Event.CONFIG_CHANGED), ("done", 7)]
    assert len(reports) == 1 and reports[0][1] == "async no"


def test_without_callbacks_running_the_cycle_goes_on_and_the_overflow_is_counted():
    plant = ready()
    quiet(plant)
    ear = Ear()
    plant.pm.register_callback(Event.ALL, ear)
    for i in range(QUEUE + 10):
        post(plant, Event.CLOCK_SET, i)
    drain(plant)
    assert plant.pm.events.overflows == 10
    assert [said[1] for said in ear.heard] == list(range(10, QUEUE + 10)), "the newest are kept, in order"


def test_readers_are_independent_of_each_other():
    plant = ready()
    quiet(plant)
    slow = Cursor(plant.pm.events.total)
    for i in range(QUEUE + 5):
        post(plant, Event.CLOCK_SET, i)
        drain(plant)
    assert plant.pm.events.overflows == 0, "the callbacks kept up"
    count = 0
    while plant.pm.events.next(slow):
        count += 1
    assert (count, slow.lost) == (QUEUE, 5)


def test_history_has_names_data_and_time_and_counts_go_on():
    plant = ready()
    at = plant.now[im.UPTIME_S]
    plant.run(30)
    plant.pm.set_grid_connection(1)
    name, data, at_s = plant.pm.events.history()[-1]
    assert (name, data) == ("CONFIG_CHANGED", 0) and 30 <= at_s - at <= 31
    for i in range(3 * QUEUE):
        post(plant, Event.CLOCK_SET, i)
    assert len(plant.pm.events.history()) == QUEUE
    assert plant.pm.events.counts[Event.CLOCK_SET] == 3 * QUEUE


def test_many_callbacks_up_to_a_stated_bound():
    plant = ready()
    quiet(plant)
    ears = [Ear() for _ in range(MAX_CALLBACKS)]
    for ear in ears:
        plant.pm.register_callback(Event.CONFIG_CHANGED, ear)
    said = refusal(PowerError, plant.pm.register_callback, Event.ALL, Ear())
    assert str(MAX_CALLBACKS) in said
    plant.pm.set_grid_connection(1)
    drain(plant)
    assert MAX_CALLBACKS > 10 and all(len(ear.heard) == 1 for ear in ears)
    plant.pm.unregister_callback(Event.CONFIG_CHANGED, ears[0])
    plant.pm.register_callback(Event.ALL, Ear())


def test_bad_registrations_are_refused_and_change_nothing():
    plant = ready()
    before = photo(plant.pm)
    for event in (-2, 20, 1000):
        said = refusal(PowerError, plant.pm.register_callback, event, Ear())
        assert "-1" in said and "19" in said and str(event) in said
    for event in ("MODE_CHANGE", None, 1.5, True):
        refusal(ValueError, plant.pm.register_callback, event, Ear())
    for fn in (None, "fn", 3):
        assert "callable" in refusal(ValueError, plant.pm.register_callback, Event.ALL, fn)
    assert photo(plant.pm) == before


class Hang:
    """A callback that does not come back until it is let go."""

    def __init__(self):
        self.calls = 0
        self.gate = _thread.allocate_lock()
        self.gate.acquire()

    def __call__(self, event, data, user_data):
        self.calls += 1
        with self.gate:
            pass


def wait_for(condition, plant, worker):
    """Let the worker's thread work, with the cycle going on; fails after 4 s."""
    for _ in range(800):
        worker.step()
        plant.cycle()
        if condition():
            return
        time.sleep_ms(5)
    raise AssertionError("it did not happen")


def test_async_callbacks_that_do_not_end_are_not_begun_without_end():
    """Each that waits for what never comes is a task of the loop for good, and there are events for as long as the site runs."""
    plant = Plant()
    reports = quiet(plant)
    tasks = []

    async def waits(event, data, user_data):
        await never()

    plant.pm.events.start_task = tasks.append
    plant.pm.register_callback(Event.ALL, waits)
    for i in range(8 * UNDER_WAY):
        plant.pm.events.post(Event.MODE_CHANGE, i, 0)
        drain(plant)
    assert len(tasks) == UNDER_WAY
    assert plant.pm.events.callbacks[0].suspended and "have not ended" in reports[-1][1]
    for task in tasks:
        task.send(None)
        task.close()


def test_async_callbacks_that_end_are_begun_for_ever():
    plant = Plant()
    reports = quiet(plant)
    tasks = []
    heard = []

    async def ends(event, data, user_data):
        heard.append(data)

    plant.pm.events.start_task = tasks.append
    plant.pm.register_callback(Event.ALL, ends)
    for i in range(8 * UNDER_WAY):
        plant.pm.events.post(Event.MODE_CHANGE, i, 0)
        drain(plant)
        if len(tasks) == UNDER_WAY // 2:
            while tasks:
                try:
                    tasks.pop(0).send(None)
                except StopIteration:
                    pass
    assert heard == list(range(8 * UNDER_WAY)) and reports == []


def test_async_callbacks_need_no_thread_and_a_plain_one_brings_it():
    if sys.implementation.name != "micropython":
        return  # CPython's async functions have the type of plain ones: they are served by the thread, as everywhere
    plant = ready()
    quiet(plant)
    events = plant.pm.events
    started = []
    events.start_task = started.append
    by_thread = []

    async def heard(event, data, user_data):
        pass

    plant.pm.register_callback(Event.CLOCK_SET, heard)
    worker = Worker(events)
    here = _thread.get_ident()
    for number in range(3):
        post(plant, Event.CLOCK_SET, number)
    worker.step()
    assert len(started) == 3, "handed to the loop at once"
    plant.pm.register_callback(Event.CLOCK_SET, lambda event, data, user: by_thread.append(_thread.get_ident()))
    post(plant, Event.CLOCK_SET, 9)
    wait_for(lambda: len(by_thread) == 1, plant, worker)
    worker.stop()
    assert by_thread[0] != here
    time.sleep_ms(100)


def test_one_that_blocks_is_suspended_and_the_others_lose_and_double_nothing():
    plant = ready()
    reports = quiet(plant)
    events = plant.pm.events
    hang, good = Hang(), Ear()
    plant.pm.register_callback(Event.CLOCK_SET, hang)
    plant.pm.register_callback(Event.CLOCK_SET, good)
    worker = Worker(events)
    post(plant, Event.CLOCK_SET, 1)
    wait_for(lambda: hang.calls == 1, plant, worker)
    post(plant, Event.CLOCK_SET, 2)
    events.running_since = time.ticks_add(time.ticks_ms(), -STUCK_MS - 1000)  # as if it had hung for that long
    wait_for(lambda: len(good.heard) == 2, plant, worker)
    assert worker.abandoned == 1 and reports[0][0].suspended and "not returned" in reports[0][1]
    hang.gate.release()  # it comes back after all, and finds that it has been given up
    post(plant, Event.CLOCK_SET, 3)
    wait_for(lambda: len(good.heard) == 3, plant, worker)
    time.sleep_ms(100)
    worker.stop()
    assert [data for _, data, _ in good.heard] == [1, 2, 3] and hang.calls == 1 and len(reports) == 1
    assert plant.pm.mode == Mode.IDLE, "control never waited"


def test_the_report_of_a_callback_that_raises_names_the_error_and_says_its_text():
    plant = ready()
    drain(plant)
    lines = []

    def fails(event, data, user_data):
        raise KeyError("of the cupboard")

    plant.pm.register_callback(Event.CLOCK_SET, fails)
    dispatching.print = lambda *words: lines.append(" ".join([str(word) for word in words]))
    try:
        for _ in range(MAX_FAILURES):
            plant.pm.clock_was_set(5)
            drain(plant)
    finally:
        del dispatching.print
    assert len(lines) == MAX_FAILURES
    for line in lines:
        assert "fails" in line and "KeyError" in line and "of the cupboard" in line, line
    assert "suspended" in lines[-1] and "suspended" not in lines[0]


class NoThreads:
    """_thread of a chip without memory for another stack, as often as it is said."""

    def __init__(self, times, error):
        self.times = times
        self.error = error

    def stack_size(self, _bytes):
        return 0

    def start_new_thread(self, run, given):
        if self.times:
            self.times -= 1
            raise self.error
        return _thread.start_new_thread(run, given)


def test_a_thread_that_cannot_be_had_is_told_once_and_asked_for_again():
    for error in (OSError("can't create thread"), MemoryError()):
        plant = ready()
        quiet(plant)
        good = Ear()
        plant.pm.register_callback(Event.CLOCK_SET, good)
        real, callbacks._thread = callbacks._thread, NoThreads(3, error)
        worker = Worker(plant.pm.events)
        told = 0
        try:
            for _ in range(2):
                try:
                    worker.step()
                except (OSError, MemoryError):
                    told += 1
            post(plant, Event.CLOCK_SET, 1)
            wait_for(lambda good=good: len(good.heard) == 1, plant, worker)
        finally:
            callbacks._thread = real
            worker.stop()
        assert told == 1
        time.sleep_ms(100)
