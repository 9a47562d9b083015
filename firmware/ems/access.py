"""Who may read and command the battery, who of them controls it, and what they asked for: the gate of the EMS's servers.

Rights are 0 off, 1 read-only, 2 control, 3 service.  Over plain TCP the address has them, over TLS the certificate's role.
One client at a time controls: the first that commands, until its connection ends or it has not commanded for `seat_s`, nor
written its heartbeat; reading keeps no seat.  Seat and journal are the site's (firmware/remote.py, firmware/commands.py), the
same for all interfaces.

As a gate (modbus.tcp_server) and in `take`, `role` and `note` nothing is allocated.
"""

import time
from array import array

from ipv4 import number
from micropython import const

OFF = const(0)
READ = const(1)
CONTROL = const(2)
SERVICE = const(3)
ILLEGAL_FUNCTION = const(1)  # what the role does not allow, as Modbus/TCP Security has it
BUSY = const(6)
SERIAL = "serial"  # as an address
RIGHTS = ("off", "read-only", "control", "service")


class Access:
    """The clients of all servers of one service, by number: 0 to clients - 1.

    options: those of allowing.OPTIONS, checked.  roles: rights by the role of a certificate; without them no certificate
    has any.  As an interface (remote.py) `who` says who a client is.
    """

    def __init__(self, options: dict, clients: int, app) -> None:
        from firmware.ems import allowing  # it leaves with those that build a site

        self.roles: dict = {}
        self.seat = app.pm.remote
        self._rules = allowing.rules(options["allow"])
        self._others = RIGHTS.index(options["others"])
        self._serial = RIGHTS.index(options["serial_rights"])
        self._seat_ms = options["seat_s"] * 1000
        self._requests = options["requests_per_s"]
        self._commands = options["commands_per_s"]
        self._names = [""] * clients
        self._rights = bytearray(clients)
        self._beside = bytearray(clients)  # 1: its address had another connection, that went on asking
        self._here = -1  # who of all that are connected asked so last
        self._second = array("i", [0] * clients)  # when the second began of which these are the requests and commands
        self._asked = array("H", [0] * clients)
        self._commanded = array("H", [0] * clients)
        records = app.services.get("records")
        self._records = None if records is None else records.records

    # ---- the gate, see modbus.tcp_server ---------------------------------------------------------------------

    @property
    def controller(self) -> int:
        """The client that controls, -1: none of this service's."""
        return self.seat.client(self)

    def rank(self, address: str, role: "str | None" = None) -> int:
        """The rights of an address, or over TLS those of the role of its certificate."""
        if role is not None:
            return self.roles.get(role, OFF)
        if address == SERIAL:
            return self._serial
        found = self._rule(address)
        return self._others if found < 0 else found

    def is_shut_out(self, address: str) -> bool:
        """The site says "off" of this very address: whatever its certificate, it is not let in."""
        return self._rule(address) == OFF

    def _rule(self, address: str) -> int:
        try:
            there = number(address)
        except ValueError:
            return OFF  # no address of ours
        for bits, network, rights in self._rules:
            if there >> (32 - bits) == network:
                return rights
        return -1

    def opened(self, client: int, address: str, role: "str | None" = None) -> bool:
        """A client is there; False: it has no rights, and is not let in.  role: of its certificate, None without one."""
        rights = self.rank(address, role)
        if not rights:
            return False
        self._rights[client] = rights
        self._beside[client] = 0
        self._here = -1
        self._names[client] = address if role is None else "%s %s" % (address, role)
        self._asked[client] = self._commanded[client] = 0
        return True

    def closed(self, client: int) -> None:
        """It is gone, and with it its control."""
        self._rights[client] = OFF
        self._here = -1
        self.seat.leave(self, client)

    def asked(self, client: int, now: int) -> int:
        """It has made a request; the ms for which its next one is to wait."""
        if not self._requests:
            return 0
        passed = time.ticks_diff(now, self._second[client])
        if not 0 <= passed < 1000:
            self._begin_second(client, now)
            passed = 0
        asked = self._asked[client] + 1
        self._asked[client] = asked
        return 0 if asked < self._requests else 1000 - passed

    def _begin_second(self, client: int, now: int) -> None:
        """A new one, with everything allowed."""
        self._second[client] = now
        self._asked[client] = self._commanded[client] = 0

    # ---- what a command asks -----------------------------------------------------------------------------------

    def role(self, client: int) -> int:
        """0 off, 1 read-only, 2 control, 3 service."""
        return self._rights[client]

    def take(self, client: int) -> int:
        """Before each command: 0, this client controls from now on; else the exception code of why it may not command."""
        if self._rights[client] < CONTROL:
            return ILLEGAL_FUNCTION
        now = time.ticks_ms()
        if not 0 <= time.ticks_diff(now, self._second[client]) < 1000:
            self._begin_second(client, now)
        if self._commanded[client] >= self._commands:
            return BUSY
        self._commanded[client] += 1
        return 0 if self.seat.take(self, client, now, self._seat_ms) else BUSY

    def here(self, client: int) -> None:
        """This client asks, so the other connections that its address has now are not its own anew: they are other programs'."""
        if client != self._here:
            self._here = client
            for other in range(len(self._rights)):
                if other != client and self._rights[other] and self._names[other] == self._names[client]:
                    self._beside[other] = 1

    def is_beside(self, client: int) -> bool:
        """Another connection of its address has asked while this one was there."""
        return self._beside[client] == 1

    def keep(self, client: int) -> None:
        """A heartbeat of this client: if it controls, it goes on."""
        self.seat.keep(self, client, time.ticks_ms())

    def who(self, client: int) -> str:
        """Who that is: its address, and the role of its certificate where it has one."""
        return self._names[client]

    # ---- what was commanded --------------------------------------------------------------------------------------

    def note(self, client: int, accepted: bool, point: str, value: int) -> None:
        """Keep that this client commanded `value` for a point, and whether it was accepted."""
        self.seat.commands.note(self._names[client], accepted, point, value)

    def tell(self) -> None:
        """A line of the journal, if any is due, and whether who controls still does; once a second."""
        self.seat.look(time.ticks_ms())
        self.seat.commands.tell(self._records)

    # ---- for people -------------------------------------------------------------------------------------------------

    def clients(self) -> "list[dict]":
        """Those who are there: who, rights, controls."""
        controller = self.controller
        return [
            {"who": self._names[i], "rights": RIGHTS[rights], "controls": i == controller}
            for i, rights in enumerate(self._rights)
            if rights
        ]

    def commands(self) -> "list[dict]":
        """What was commanded and refused in the last ten minutes, over every interface of the site: see firmware/commands.py."""
        return self.seat.commands.listed()
