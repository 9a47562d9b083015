"""Requests of the EMS with the heap locked, so that one allocated byte is a MemoryError: run under MicroPython.

    micropython ems_alloc.py ROOT ROUNDS [leak]

Every round the plant runs a cycle, then the whole chain is read in pieces and every kind of write is asked, accepted and refused;
in the second half the inverter is silent.
With "leak" one list is made on purpose, to show that it would be noticed.
"""

import gc
import sys

import micropython

root, rounds, leak = sys.argv[1], int(sys.argv[2]), sys.argv[3:] == ["leak"]
sys.path[:] = [root, root + "/lib", ".frozen"]

from firmware import image as im  # noqa: E402
from host_tests.both.emsrig import BASE, Ems  # noqa: E402


class Access:
    """Everybody may everything; who asks is counted."""

    noted = kept = 0

    def role(self, client):
        return 3

    def take(self, client):
        return 0

    def keep(self, client):
        self.kept += 1

    def here(self, client):
        pass

    def is_beside(self, client):
        return False

    def who(self, client):
        return "somebody"

    def note(self, client, accepted, point, value):
        self.noted += 1


access = Access()
ems = Ems(access=access)
ems.put_long(704, 24, 30000)
ems.put(704, 22, 1)
ems.run(2)


def request(model, offset, *words):
    at = ems.at(model, offset)
    if len(words) == 1:
        return bytes((6, at >> 8, at & 255, words[0] >> 8, words[0] & 255))
    data = b"".join([bytes((word >> 8, word & 255)) for word in words])
    return bytes((16, at >> 8, at & 255, 0, len(words), 2 * len(words))) + data


def reading(at, count):
    return bytes((3, at >> 8, at & 255, 0, count))


ASKED = [reading(BASE + i, min(125, 956 - i)) for i in range(0, 956, 125)]
ASKED += [
    request(704, 14, 1, 2000, 0, 1, 0),
    request(704, 22, 1),
    request(704, 24, 0xFFFF, 0x8AD0),
    request(124, 12, 0xEC78),
    request(715, 5, 0xFFFF, 0xFFFF),
    request(705, 43, 930, 400, 980, 0, 1020, 0, 1070, 0xFE70),
    request(701, 10, 0),
    request(704, 24, 0x8000, 0),
    request(704, 31, 0xFFFF, 0xFFFF),
    reading(39990, 5),
]


def ask_all(reply, serve):
    refused = 0
    for pdu in ASKED:
        serve(1, pdu, 0, len(pdu), reply, 0)
        if reply[0] & 0x80:
            refused += 1
        if leak:
            reply.append(0)
    return refused


serve = ems.server.serve
refused = ask_all(ems.reply, serve)
for i in range(rounds):
    if i == rounds // 2:
        ems.plant.silent = {im.SEQ_PCS}
    ems.run(0.05, polls=False)  # the service's own steps may allocate: it renews a claim and a limit once a second
    gc.collect()
    micropython.heap_lock()
    refused = ask_all(ems.reply, serve)
    micropython.heap_unlock()
print("rounds", rounds, "refused", refused, "noted", access.noted, "error", repr(ems.server.count.last_error))
