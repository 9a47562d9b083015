"""The clock over Modbus TCP: an EMS reads the site's time and sets it.

Holding registers, unit 1:
  0, 1  UTC as seconds since 2000-01-01 00:00:00, uint32, high word first; writing both (function 16) sets the clock
  2     state: 0 unset, 1 holdover, 2 synced (read only)
  3     estimated error in ms, at most 65535 (read only)
A time that cannot be (before 2026 or after 2099) is refused with exception 3 and changes nothing.
"""

import time

from civil import DAY_S
from micropython import const

from firmware.clock import EMS
from firmware.errors import PowerError
from modbus.server import HOLDING_REGISTERS
from modbus.tcp_server import TcpServer

OPTIONS = (("port", "int", 502, 1, 65535, "TCP port"),)
HEAP_BYTES = 14000
NEEDS = ("calendar",)
_ILLEGAL_ADDRESS = const(2)
_ILLEGAL_VALUE = const(3)
_REGISTERS = const(4)
_FIRST_DAY = const(9497)  # 2026-01-01, as clock.Clock accepts
_LAST_DAY = const(36524)  # 2099-12-31


class ClockRegisters:
    """The register model, see modbus.server."""

    def __init__(self, clock) -> None:
        self._clock = clock

    def read(self, table: int, address: int, count: int, words) -> int:
        """The time, state and error as they are now."""
        if table != HOLDING_REGISTERS or address + count > _REGISTERS:
            return _ILLEGAL_ADDRESS
        clock = self._clock
        clock.tick(time.ticks_ms())  # not as of the calendar's last look, a second ago
        seconds = clock.day * DAY_S + clock.sec if clock.is_set else 0
        values = (seconds >> 16, seconds & 0xFFFF, clock.state, min(clock.error_ms, 65535) if clock.is_set else 65535)
        for i in range(count):
            words[i] = values[address + i]
        return 0

    def check(self, table: int, address: int, count: int, words) -> int:
        """Only both halves of the time, and only a time that can be."""
        if table != HOLDING_REGISTERS or address != 0 or count != 2:
            return _ILLEGAL_ADDRESS
        day = ((words[0] << 16) | words[1]) // DAY_S
        return 0 if _FIRST_DAY <= day <= _LAST_DAY else _ILLEGAL_VALUE

    def write(self, table: int, address: int, count: int, words) -> int:
        """Give the clock the EMS's time; what the clock makes of it is the clock's affair (docs/time-and-storage.md)."""
        seconds = (words[0] << 16) | words[1]
        try:
            self._clock.tick(time.ticks_ms())
            self._clock.set(EMS, seconds // DAY_S, seconds % DAY_S, 500)  # somewhere in that second
        except PowerError:
            return _ILLEGAL_VALUE
        return 0


class Service(TcpServer):
    """The server; two clients at a time."""

    def __init__(self, name: str, options: dict, pm, app) -> None:
        super().__init__({1: ClockRegisters(pm.clock)}, options["port"], max_clients=2)

    def counters(self) -> dict:
        """Frames, refusals, connections."""
        return self.count.as_dict()
