"""Serves Modbus over TLS and over plain TCP at a chip's speed, and says how long each look took that found something.

    micropython tls_steps.py ROOT MODULES KEYS PORT PLAIN_PORT

KEYS is the board's folder of tools/pki.  Prints "ready", then a line for each: which server (tls, plain), what it was
(handshake: before the first request; request; other), microseconds of the chip.  A line on stdin ends it.
"""

import gc
import select
import sys
import time

root, modules, keys, port, plain_port = sys.argv[1:6]
sys.path[:] = [modules, root, root + "/lib", ".frozen"]

import sim_pace  # noqa: E402

from modbus.bank import Bank  # noqa: E402
from modbus.tcp_server import TcpServer  # noqa: E402
from modbus.tls_server import TlsServer  # noqa: E402


class Gate:
    """Lets everybody in who has a role."""

    controller = -1

    def rank(self, address, role=None):
        """Rights, or none."""
        return 0 if role == "" else 2

    def is_shut_out(self, address):
        """Nobody is."""
        return False

    def opened(self, client, address, role):
        """Whoever it is."""
        return True

    def closed(self, client):
        """Nothing is kept of it."""

    def asked(self, client, now):
        """As often as it likes."""
        return 0


def file(name):
    with open(keys + "/" + name, "rb") as opened:
        return opened.read()


bank = Bank(holding=100)
parts = (file("server.der"), file("server_key.der"), file("authority.der"))
gc.collect()
before = gc.mem_alloc()
secure = TlsServer(bank, parts[0], parts[1], parts[2], Gate(), int(port), host="127.0.0.1", max_clients=2)
secure.open()
gc.collect()
print("ready", gc.mem_alloc() - before)
plain = TcpServer(bank, int(plain_port), "127.0.0.1", 2)
plain.open()
ended = select.poll()
ended.register(sys.stdin, select.POLLIN)
looks = []
gc.disable()
while not any(True for _ in ended.ipoll(0)):
    for name, server in (("tls", secure), ("plain", plain)):
        asked = server.count.frames
        there = server.count.connections
        began = sim_pace.chip_us()
        if server.look(time.ticks_ms()):
            took = time.ticks_diff(sim_pace.chip_us(), began)
            served = server.count.frames > asked
            what = "request" if served and server.count.connections == there else "other" if there else "handshake"
            looks.append((name, what, took))
    time.sleep_ms(1)
for look in looks:
    print(*look)
