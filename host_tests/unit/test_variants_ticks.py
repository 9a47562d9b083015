"""What has lasted more than 6.2 days, when a moment of back then looks like the future: ticks wrap at 2**30 ms."""

from typing import Any

import pytest

from firmware import collecting
from firmware import image as im
from firmware.charging import ChargeParams
from firmware.modes import Mode
from host_tests.both.plant import Plant
from modbus import ModbusUnreachable, rtu_client, tcp_server
from modbus.rtu_client import RtuClient
from modbus.tcp_server import TcpServer

DAY = 86400000


class Ticks:
    """In the place of a module's `time`."""

    ms = 0

    def ticks_ms(self) -> int:
        return self.ms & 0x3FFFFFFF

    def ticks_us(self) -> int:
        return self.ms * 1000 & 0x3FFFFFFF

    def ticks_add(self, a: int, b: int) -> int:
        return (a + b) & 0x3FFFFFFF

    def ticks_diff(self, a: int, b: int) -> int:
        return ((a - b + 0x20000000) & 0x3FFFFFFF) - 0x20000000


def clocked(monkeypatch: pytest.MonkeyPatch, module: Any) -> Ticks:
    clock = Ticks()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.mark.parametrize("days", [1, 6, 7, 9, 12])
def test_a_bus_that_is_silent_for_days_is_quiet(monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    clock = clocked(monkeypatch, collecting)

    class Bus:
        last_ms = 0

    collector = collecting.Collector(None, [Bus()])
    clock.ms = days * DAY
    assert collector._quiet(clock.ticks_ms())


@pytest.mark.parametrize("days", [1, 6, 7, 9, 12])
def test_a_unit_that_was_left_in_peace_days_ago_is_asked_again(monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    clock = clocked(monkeypatch, rtu_client)
    client = RtuClient.__new__(RtuClient)
    client.echoes = None
    client._quiet = {3: [5, 10000, 10000]}
    clock.ms = 5000
    with pytest.raises(ModbusUnreachable, match="asking again soon"):
        client._check_quiet(3)
    clock.ms = days * DAY
    client._check_quiet(3)


@pytest.mark.parametrize("days", [1, 6, 7, 9, 12])
def test_a_connection_that_is_dead_for_days_makes_room(monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    clock = clocked(monkeypatch, tcp_server)
    server = TcpServer([], max_clients=2, idle_ms=0)
    closed: list[Any] = []
    monkeypatch.setattr(server, "_close", closed.append)
    dead, alive = server._clients
    dead.sock = alive.sock = object()
    clock.ms = days * DAY
    dead.heard_ms, alive.heard_ms = 0, clock.ticks_ms()
    server._make_room(clock.ticks_ms())
    assert closed == [dead]


@pytest.mark.parametrize("before_ms", [500, 2000, 59000])
def test_the_managers_own_times_pass_over_the_wrap(before_ms: int) -> None:
    """Claims, parameters' timeouts, lost devices, a stop, service(), a curtailment, and what is told of since when."""
    plant = Plant()
    plant.ms = 0x40000000 - before_ms
    plant.ready()
    plant.pm.set_charge_params(ChargeParams(timeout_minutes=1))
    plant.pm.start_charging(80)
    plant.pm.curtail(5, 5, 30)
    plant.run(29)
    assert plant.command() == -5000 and "since" not in plant.pm.stats()["reason"]
    assert plant.pm.claims()[0]["seconds_left"] == pytest.approx(31, abs=1)
    plant.run(20)
    assert plant.command() < -20000
    plant.silent.add(im.SEQ_BMS)
    plant.run(2.9)
    assert "bms_lost" not in plant.faults()
    plant.run(0.4)
    assert "bms_lost" in plant.faults() and "received from the battery for 3." in plant.pm.stats()["reason"]
    plant.silent.clear()
    plant.until_mode(Mode.CHARGE, 8)
    plant.run(8)
    assert plant.events("OPERATION_TIMEOUT") == [5] and plant.by() == "idle"
    plant.pm.claim("remote", 10, 2, "ems")
    plant.run(1.9)
    assert plant.by() == "remote"
    plant.run(0.2)
    assert plant.by() == "idle"
    plant.pm.stop()
    plant.run(4)
    plant.pm.set_mode(Mode.MAINTENANCE)
    plant.pm.service(contactor=True, seconds=3)
    plant.run(2.9)
    assert plant.now[im.CMD_CONTACTOR] == 1
    plant.run(0.3)
    assert plant.now[im.CMD_CONTACTOR] == 0
