"""The simulated chip's poll waits for ticks of 10 ms; a timer wakes it.  Played with a clock that the test moves."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

MODULES = Path(__file__).resolve().parents[2] / "tools" / "sim" / "board" / "modules"
TICK_US = 9_999
WRAP = 1 << 30


class Clock:
    """time of MicroPython, which passes only in sleep_us()."""

    def __init__(self, now_us: int) -> None:
        self.now_us = now_us

    def ticks_us(self) -> int:
        return self.now_us % WRAP

    def ticks_ms(self) -> int:
        return self.now_us // 1000 % WRAP

    def ticks_add(self, ticks: int, delta: int) -> int:
        return (ticks + delta) % WRAP

    def ticks_diff(self, one: int, other: int) -> int:
        return (one - other + WRAP // 2) % WRAP - WRAP // 2

    def sleep_us(self, us: int) -> None:
        self.now_us += us


class Files:
    """select.poll of the interpreter, for what has a file number."""

    ready: list[tuple[Any, int]] = []

    def register(self, obj: object, events: int = 5) -> None: ...

    unregister = modify = register

    def ipoll(self, timeout: int, flags: int) -> list[tuple[Any, int]]:
        assert timeout == 0, "it may not wait there: nothing would wake it"
        return self.ready


class Flag:
    """An asyncio.ThreadSafeFlag."""

    state = 0

    def ioctl(self, request: int, events: int) -> int:
        return self.state * events


@pytest.fixture(params=[12_345, WRAP - 30_000], ids=["ticks", "ticks_wrap"])
def chip(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`chip.select` and `chip.timer`, loaded with a clock of their own."""
    clock = Clock(request.param)
    scheduled = lambda call, argument: call(argument)  # noqa: E731
    pace = types.SimpleNamespace(on=lambda: None, off=lambda: None, pad_us=lambda us: None)
    monkeypatch.setitem(sys.modules, "time", clock)
    monkeypatch.setitem(sys.modules, "sim_pace", pace)
    numbers = types.SimpleNamespace(const=lambda value: value, schedule=scheduled)
    monkeypatch.setitem(sys.modules, "micropython", numbers)
    poll = types.SimpleNamespace(poll=Files, POLLERR=8, POLLHUP=16, POLLIN=1, POLLOUT=4)
    monkeypatch.setitem(sys.modules, "uselect", poll)
    monkeypatch.setenv("SIM_FLASH", "flash.img")
    loaded = {}
    for name in ("sim_select", "sim_timer"):
        spec = importlib.util.spec_from_file_location(name, MODULES / f"{name}.py")
        assert spec and spec.loader
        loaded[name] = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, loaded[name])
        spec.loader.exec_module(loaded[name])
    core = types.SimpleNamespace(_io_queue=types.SimpleNamespace(poller=loaded["sim_select"].poll(), map={}))
    monkeypatch.setitem(sys.modules, "asyncio.core", core)
    monkeypatch.setattr(Files, "ready", [])
    yield types.SimpleNamespace(select=loaded["sim_select"], timer=loaded["sim_timer"], clock=clock)


def on_tick(chip: Any, first_us: int) -> bool:
    return (chip.clock.now_us - first_us) % TICK_US == 0


def test_a_wait_ends_at_the_first_tick_after_it(chip: Any) -> None:
    poll = chip.select.poll()
    first = chip.clock.now_us
    for wanted_ms in (1, 9, 10, 11, 50, 95):
        chip.clock.now_us += 1234  # the loop's own work
        begun_ms = chip.clock.ticks_ms()
        assert poll.ipoll(wanted_ms) == []
        waited = chip.clock.ticks_diff(chip.clock.ticks_ms(), begun_ms)
        assert wanted_ms <= waited <= wanted_ms + 10
        assert on_tick(chip, first)


def test_without_a_wait_no_time_passes(chip: Any) -> None:
    begun = chip.clock.now_us
    assert chip.select.poll().poll(0) == []
    assert chip.clock.now_us == begun


def test_the_beat_of_an_absolute_50_ms_loop_is_whole_ticks_and_slides(chip: Any) -> None:
    poll = chip.select.poll()
    beat_us, before, periods = chip.clock.now_us, None, []
    for _ in range(4000):
        beat_us += 50_000
        chip.clock.now_us += 700
        left = (beat_us - chip.clock.now_us) // 1000
        if left > 0:
            poll.ipoll(left)
        if before is not None:
            periods.append(round((chip.clock.now_us - before) / 1000))
        before = chip.clock.now_us
    assert {40, 50, 60} >= set(periods) >= {50, 60}
    assert sum(periods) == pytest.approx(50 * len(periods), abs=20)


def test_what_has_a_file_number_is_seen_at_a_tick(chip: Any) -> None:
    poll = chip.select.poll()
    wire = object()
    poll.register(wire, chip.select.POLLIN)
    first = chip.clock.now_us
    chip.clock.now_us += 100
    sleep = chip.clock.sleep_us

    def comes_meanwhile(us: int) -> None:
        sleep(us)
        Files.ready = [(wire, chip.select.POLLIN)]

    chip.clock.sleep_us = comes_meanwhile
    assert poll.poll(1000) == [(wire, chip.select.POLLIN)]
    assert on_tick(chip, first) and chip.clock.now_us - first <= 2 * TICK_US


@pytest.mark.parametrize("period_ms", [3, 20, 50])
def test_a_timer_wakes_the_loop_before_its_tick_ends(chip: Any, period_ms: int) -> None:
    poll, flag = chip.select.poll(), Flag()
    poll.register(flag, chip.select.POLLIN)
    begun = chip.clock.now_us
    timer = chip.timer.Timer(0, period=period_ms, callback=lambda _: setattr(flag, "state", 1))
    for turn in range(1, 6):
        assert [tuple(pair) for pair in poll.ipoll(10_000)] == [(flag, chip.select.POLLIN)]
        flag.state = 0
        assert chip.clock.now_us - begun == turn * period_ms * 1000
    timer.deinit()
    assert poll.ipoll(100) == []


def test_a_loop_that_was_held_up_sees_the_missed_interrupts_at_once(chip: Any) -> None:
    fired: list[int] = []
    poll = chip.select.poll()
    chip.timer.Timer(1, period=10, callback=lambda _: fired.append(chip.clock.now_us))
    chip.clock.now_us += 35_000
    poll.ipoll(0)
    assert len(fired) == 3
    chip.clock.now_us += 500_000
    poll.ipoll(0)
    assert len(fired) == 3 + 8, "the scheduler keeps eight, the rest is lost"


def test_a_one_shot_fires_once_and_a_frequency_is_a_period(chip: Any) -> None:
    fired: list[str] = []
    poll = chip.select.poll()
    once = chip.timer.Timer(-1)
    once.init(mode=once.ONE_SHOT, period=5, callback=lambda _: fired.append("once"))
    often = chip.timer.Timer(2, freq=100, callback=lambda _: fired.append("often"))
    poll.ipoll(35)
    often.deinit()
    assert fired.count("once") == 1 and fired.count("often") == 3


@pytest.mark.parametrize("options", [{"period": 0}, {"period": -1}, {"freq": 2_000_000}, {"period": 5, "hard": True}])
def test_what_no_timer_can_do_is_refused(chip: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        chip.timer.Timer(0, **options)
    with pytest.raises(ValueError):
        chip.timer.Timer(4)


def test_only_what_is_registered_is_looked_at(chip: Any) -> None:
    poll, one, other = chip.select.poll(), Flag(), Flag()
    poll.register(one, chip.select.POLLIN)
    poll.register(other, chip.select.POLLIN)
    one.state = other.state = 1
    assert [pair[0] for pair in poll.poll(0)] == [one, other]
    poll.unregister(one)
    poll.modify(other, chip.select.POLLIN | chip.select.POLLOUT)
    assert poll.poll(0) == [(other, 5)]
    assert [tuple(pair) for pair in poll.ipoll(0, 1)] == [(other, 5)]
    assert poll.poll(0) == [], "one shot: not again before it is asked for again"
