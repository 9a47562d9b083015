"""Who eats the heap is stopped after days of quiet too, and in a heap that is full at the moment of it."""

from looptime import LoopTime

from firmware import heapwatch
from host_tests.both.virtual import Virtual


class Heap:
    """Stands for the gc module, which CPython's has not."""

    @staticmethod
    def mem_free():
        return 50000

    mem_alloc = mem_free


CLOCK = Virtual()
heapwatch.gc = Heap
heapwatch.time = CLOCK


class Metering:
    def __init__(self):
        self.loop_time = LoopTime()
        self.free_bytes = 100000


class Task:
    def __init__(self):
        self.cancelled = 0

    def cancel(self):
        self.cancelled += 1


class Site:
    services = [("web", None, None, False), ("mqtt", None, None, False), ("console", None, None, True)]


class App:
    """What the watch uses of the application; full: how many calls of stop_service end in a full heap."""

    site = Site

    def __init__(self):
        self.metering = Metering()
        self.collector = None
        self.full = 0
        self.stopped = []

    def stop_service(self, name, why):
        if self.full:
            self.full -= 1
            raise MemoryError("memory allocation failed, allocating 90 bytes")
        self.stopped.append((name, why))


def watching():
    """(the watch of two services that may be stopped, their tasks, the application)."""
    app = App()
    watch = heapwatch.HeapWatch(app)
    tasks = {}
    for name in ("web", "mqtt", "console"):
        app.metering.loop_time.watched(name, None)
        tasks[name] = Task()
        watch.add(name, name, tasks[name])
    return watch, tasks, app


def test_a_heap_with_nothing_left_is_short_and_one_that_nobody_has_looked_at_is_not():
    for free, judged in ((0, True), (-1, False)):
        watch, tasks, app = watching()
        app.metering.free_bytes = free
        watch.step()
        watch.kept[0] = 5000
        watch.step()
        assert [name for name, _ in app.stopped] == (["web"] if judged else []), free
        assert tasks["web"].cancelled == judged


def test_after_days_of_quiet_the_steps_of_each_service_are_weighed_all_the_same():
    for days in (1, 7, 10, 13):
        watch, _, app = watching()
        CLOCK.us += days * 86400 * 1000000
        app.metering.free_bytes = 3000
        weighed = set()
        for _ in range(60):
            watch.step()
            for task in (0, 1):
                app.metering.loop_time.forget()
                if watch.wants(task):
                    weighed.add(task)
            CLOCK.us += 100000
        assert weighed == {0, 1}, (days, weighed)


def test_a_heap_too_full_to_stop_who_eats_it_is_tried_again_and_nothing_is_mixed_up():
    watch, tasks, app = watching()
    app.metering.free_bytes = 3000
    watch.step()
    watch.kept[0] = 5000
    watch.kept[1] = 100
    app.full = 3
    short = 0
    for _ in range(6):
        try:
            watch.step()
        except MemoryError:
            short += 1
    assert short == 3 and [name for name, _ in app.stopped] == ["web"] and "5000 bytes" in app.stopped[0][1]
    assert tasks["web"].cancelled == 1 and tasks["mqtt"].cancelled == 0
    watch.kept[0] = 4000
    watch.step()
    assert [name for name, _ in app.stopped] == ["web", "mqtt"] and tasks["mqtt"].cancelled == 1
    watch.step()  # nobody is left, and nothing is looked for
