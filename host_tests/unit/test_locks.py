"""Nothing is imported and no file is opened while the manager's lock is held: the cycle waits behind that lock."""

import builtins
import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from firmware import (
    ChargeParams,
    DischargeParams,
    Event,
    Grid,
    Mode,
    PowerConfig,
    PowerError,
    PowerManager,
)
from firmware import image as im
from firmware.schedule_entry import ScheduleEntry


class WatchedLock:
    """The lock, with the knowledge whether it is held."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self.held = 0
        self.taken = 0

    def __enter__(self) -> bool:
        self._lock.acquire()
        self.held += 1
        self.taken += 1
        return True

    def __exit__(self, *_error: object) -> None:
        self.held -= 1
        self._lock.release()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[PowerManager, WatchedLock]]:
    image = im.Image()
    lock = WatchedLock(image.lock)
    image.lock = lock
    pm = PowerManager(PowerConfig(), image)

    def guarded(real: Callable[..., Any], what: str) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            assert not lock.held, f"{what} {given[0]!r} while the manager's lock is held"
            return real(*given, **named)

        return call

    monkeypatch.setattr(builtins, "__import__", guarded(builtins.__import__, "import of"))
    monkeypatch.setattr(builtins, "open", guarded(builtins.open, "open of"))
    yield pm, lock


CALLS: dict[str, Callable[[PowerManager], object]] = {
    "start": lambda pm: pm.start(),
    "stop": lambda pm: pm.stop(),
    "set_mode": lambda pm: [pm.set_mode(mode) for mode in (Mode.IDLE, Mode.STANDBY, Mode.MAINTENANCE)],
    "service": lambda pm: (pm.set_mode(Mode.MAINTENANCE), pm.service(contactor=True)),
    "params": lambda pm: (pm.set_charge_params(ChargeParams(target_soc=80)), pm.set_discharge_params(DischargeParams(min_soc=30))),
    "start_charging": lambda pm: pm.start_charging(80),
    "start_discharging": lambda pm: pm.start_discharging(5, 1),
    "set_constant_power": lambda pm: pm.set_constant_power(5),
    "stop_operation": lambda pm: (pm.stop_operation(), pm.resume()),
    "claim": lambda pm: (pm.claim("remote", 5, 10, "ems"), pm.claims(), pm.release("remote")),
    "curtail": lambda pm: pm.curtail(5, 5, 1),
    "limit": lambda pm: pm.limit("tariff", 5, 5, 1),
    "curtailments": lambda pm: pm.curtailments(),
    "emergency": lambda pm: (pm.emergency_shutdown(), pm.reset_emergency()),
    "grid": lambda pm: pm.set_grid_connection(Grid.EXPORT),
    "limits": lambda pm: pm.update_power_limits(50, 100, 100),
    "read": lambda pm: (pm.stats(), pm.faults(), pm.fault_counts(), pm.events.history()),
    "callbacks": lambda pm: (pm.register_callback(Event.ALL, print), pm.unregister_callback(Event.ALL, print)),
    "schedule": lambda pm: (pm.add_schedule(ScheduleEntry()), pm.schedules(), pm.enable_scheduling(False), pm.delete_schedule(0)),
    "cycle": lambda pm: [pm.cycle(at_ms) for at_ms in range(0, 500, 50)],
}


@pytest.mark.parametrize("name", CALLS)
def test_nothing_is_loaded_under_the_managers_lock(watched: tuple[PowerManager, WatchedLock], name: str) -> None:
    """locks: no import and no open() while the cycle may have to wait."""
    pm, lock = watched
    for module in ("firmware.scheduler", "firmware.scheduling"):
        sys.modules.pop(module, None)  # as a board that has not needed them yet
    importlib.invalidate_caches()
    before = lock.taken
    try:
        CALLS[name](pm)
    except PowerError:
        pass  # refused in this mode: the lock was taken all the same
    assert lock.taken > before or name == "schedule"
