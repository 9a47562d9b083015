"""A bank of registers behind firmware.ems.access, run under MicroPython as the peer of other people's clients.

argv: JSON {"tcp": port, "options": of access, "max_clients": n, "idle_ms": ms, "tls": {"port": port, "folder": keys} or
absent}.  Holding registers 0 to 49 are commands of who controls, 50 to 99 want the rights of service.  On stdin: "clients",
"commands", "counters", "clock YEAR" (of the board's own, which this process cannot set; 0: as it goes), "stop".
"""

import asyncio
import json
import select
import sys
import time

from firmware.ems import access, allowing
from firmware.image import Image
from firmware.remote import Remote
from modbus.bank import Bank
from modbus.tcp_server import TcpServer

setup = json.loads(sys.argv[1])
PLACES = setup.get("max_clients", 4)


class Guarded(Bank):
    """Registers that clients may write as their rights are."""

    def __init__(self):
        super().__init__(holding=100)
        for number in range(100):
            self.holding[number] = number
        self.server = None

    def check(self, table, address, count, words):
        """As the EMS's server asks."""
        code = gate.take(self.server.client)
        if not code and address >= 50 and gate.role(self.server.client) < access.SERVICE:
            code = access.ILLEGAL_FUNCTION
        gate.note(self.server.client, not code, "register %d" % address, words[0])
        return code or super().check(table, address, count, words)


class App:
    """As much of the application as access looks at."""

    def __init__(self):
        self.pm = self
        self.image = Image()
        self.clock = None
        self.services = {}
        self.remote = Remote(self)


class Clock:
    """The clock of a board that shows another year than this machine's."""

    ticks_diff = time.ticks_diff

    def __init__(self, year):
        self.ticks_diff = time.ticks_diff
        self._now = time.time() + (year - time.gmtime()[0]) * 365 * 86400

    def time(self):
        return self._now


def set_clock(year):
    """The project's own look goes by it; what the TLS library says of certificates stays this machine's."""
    from modbus import tls_server

    tls_server.time = Clock(year) if year else time
    return year


options = {row[0]: row[2] for row in allowing.OPTIONS}
options.update(setup.get("options", {}))
gate = access.Access(options, 2 * PLACES, App())


def make():
    given = {"max_clients": PLACES, "idle_ms": setup.get("idle_ms", 60000), "gate": gate}
    plain = Guarded()
    plain.server = TcpServer(plain, setup["tcp"], "127.0.0.1", **given)
    servers = [plain.server]
    if "tls" in setup:
        from firmware.ems import secure

        behind = Guarded()
        tls_options = {row[0]: row[2] for row in secure.OPTIONS}
        tls_options.update({"tls_port": setup["tls"]["port"], "tls_folder": setup["tls"]["folder"]})
        behind.server = secure.server(behind, tls_options, gate, first=PLACES, host="127.0.0.1")
        servers.append(behind.server)
    return servers


async def main():
    servers = make()
    tasks = [asyncio.create_task(server.run()) for server in servers]
    await asyncio.sleep_ms(20)
    print(json.dumps({"ready": 1}))
    poller = select.poll()
    poller.register(sys.stdin, select.POLLIN)
    while not tasks[0].done():
        gate.tell()  # as the service does once a second
        for _ in poller.ipoll(0):
            line = sys.stdin.readline().strip()
            if line == "stop":
                return
            if line.startswith("clock "):
                print(json.dumps(set_clock(int(line.split()[1]))))
            elif line == "counters":
                print(json.dumps([server.count.as_dict() for server in servers]))
            else:
                print(json.dumps(getattr(gate, line)()))
        await asyncio.sleep_ms(5)
    await tasks[0]


asyncio.run(main())
