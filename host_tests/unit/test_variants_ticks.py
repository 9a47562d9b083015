"""What has lasted more than 6.2 days, when a moment of back then looks like the future: ticks wrap at 2**30 ms."""

from array import array
from typing import Any

import pytest

from firmware import collecting
from firmware import image as im
from firmware.charging import ChargeParams
from firmware.modes import Mode
from host_tests.both.fakenet import Net
from host_tests.both.plant import Plant
from host_tests.both.test_collecting import Bus, Heap, Metering
from host_tests.both.test_modbus_line import Uart
from host_tests.both.virtual import Virtual
from modbus import ModbusTimeout, ModbusUnreachable, client, hot, rtu_client, rtu_line, silent, tcp_server

DAY = 86400000
DAYS = pytest.mark.parametrize("days", [1, 6, 7, 9, 12])


@DAYS
def test_a_bus_that_is_silent_for_days_is_quiet(monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    """Garbage is collected as often as without a bus."""

    def collections(*buses: Any) -> int:
        with Virtual(collecting) as life:
            for bus in buses:
                bus.last_ms = life.ticks_ms()
            life.skip(days * DAY)
            heap = Heap(100000, 0)
            monkeypatch.setattr(collecting, "gc", heap)
            collector = collecting.Collector(Metering(), list(buses))
            for _ in range(400):
                life.skip(50)
                heap.used += 500
                collector.step(life.ticks_ms())
        return heap.collections

    assert collections(Bus()) == collections() >= 4


class Slave(Uart):
    """A unit on a line, while it is there: its register 0 is 7."""

    there = False

    def write(self, buffer: Any, start: int, size: int) -> int:
        if self.there:
            answer = bytes((buffer[start], 3, 2, 0, 7))
            self.incoming += answer + hot.crc16(answer, 0, 5).to_bytes(2, "little")
        return super().write(buffer, start, size)


@DAYS
def test_a_unit_that_was_left_in_peace_days_ago_is_asked_again(days: int) -> None:
    uart = Slave()
    out = array("H", (0,))
    with Virtual(client, silent, rtu_client, rtu_line) as life:
        asker = rtu_client.RtuClient(uart, 115200, retries=0)
        asked = 0
        while asked < 8:  # until it is left in peace for as long as ever
            with pytest.raises((ModbusTimeout, ModbusUnreachable)):
                life.go(asker.read_registers(3, 0, 1, out))
            asked = asker.count.timeouts
            life.run(500)
        with pytest.raises(ModbusUnreachable, match="asking again soon"):
            life.go(asker.read_registers(3, 0, 1, out))
        uart.there = True
        life.skip(days * DAY)
        life.go(asker.read_registers(3, 0, 1, out))
    assert out[0] == 7


@DAYS
def test_a_connection_that_is_dead_for_days_makes_room(monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    net = Net()
    monkeypatch.setattr(tcp_server, "socket", net)
    monkeypatch.setattr(tcp_server, "select", net)
    with Virtual(tcp_server) as life:
        server = tcp_server.TcpServer({}, max_clients=2, idle_ms=0)
        life.start("server", server.run())
        dead = net.call()
        life.run(100)
        life.skip(days * DAY)
        alive = net.call()
        life.run(100)
        assert server.count.clients == 2
        new = net.call()
        life.run(100)
        assert (dead.closed, alive.closed, new.closed) == (True, False, False)


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
    plant.silent.update(range(im.SEQ_BMS, im.SEQ_PCS))
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
