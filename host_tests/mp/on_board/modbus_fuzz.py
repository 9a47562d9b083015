"""Mutated and random frames into Modbus servers and clients, under MicroPython: `modbus_fuzz.py SEED FRAMES`.

After every burst of bad frames a good one must work.  Ends with one JSON line: frames tried, and by how much the
heap has grown since the first tenth of them; an exception that escapes ends it with a traceback.
"""

import gc
import json
import sys
from array import array

from host_tests.both.fakenet import Net, Socket
from host_tests.both.virtual import Virtual
from modbus import ModbusError, hot, rarer, rtu_client, rtu_line, rtu_over_tcp, silent, tcp_client, tcp_server
from modbus import client as client_module
from modbus.bank import Bank
from modbus.rtu_client import RtuClient
from modbus.rtu_over_tcp import RtuOverTcpClient
from modbus.rtu_server import RtuServer
from modbus.tcp_client import TcpClient
from modbus.tcp_server import TcpServer

seed = int(sys.argv[1])
frames = int(sys.argv[2])


def rand(n):
    """The next of a fixed sequence of numbers, below n (a 31-bit multiplicative generator in halves)."""
    global seed
    low = 16807 * (seed & 0xFFFF)
    high = 16807 * (seed >> 16) + (low >> 16)
    seed = (((high & 0x7FFF) << 16) | (low & 0xFFFF)) + (high >> 15)
    if seed > 0x7FFFFFFF:
        seed -= 0x7FFFFFFF
    return (seed >> 4) % n


class Pieces(Socket):
    """What is sent over it comes in pieces."""

    def piece(self, most):
        return min(most, 1 + rand(300))


class FakeUart:
    """A UART whose other end the test holds, which `answer`s at once, in pieces of any size."""

    def __init__(self):
        self.incoming = b""
        self.outgoing = b""
        self.answer = None

    def any(self):
        return 1 + rand(len(self.incoming)) if self.incoming else 0

    def readinto(self, buffer, size=-1):
        got = min(len(buffer) if size < 0 else size, len(self.incoming))
        buffer[:got] = self.incoming[:got]
        self.incoming = self.incoming[got:]
        return got

    def write(self, buffer, start, size):
        self.outgoing = bytes(buffer[start : start + size])
        if self.answer is not None:
            self.incoming = self.answer(self.outgoing)
        return len(buffer)

    def txdone(self):
        return True


REQUESTS = (
    b"\x03\x00\x01\x00\x05",
    b"\x04\x00\x01\x00\x05",
    b"\x01\x00\x01\x00\x25",
    b"\x02\x00\x01\x00\x05",
    b"\x05\x00\x01\xff\x00",
    b"\x06\x00\x01\x12\x34",
    b"\x0f\x00\x01\x00\x0a\x02\xcd\x01",
    b"\x10\x00\x01\x00\x02\x04\x00\x0a\x01\x02",
    b"\x16\x00\x04\x00\xf2\x00\x25",
    b"\x17\x00\x03\x00\x06\x00\x0e\x00\x03\x06\x00\xff\x00\xff\x00\xff",
    b"\x2b\x0e\x01\x00",
)


def mutated(data):
    """`data` with bytes changed, cut off, put in, doubled; or nothing but noise."""
    data = bytearray(data)
    for _ in range(1 + rand(3)):
        kind = rand(7)
        at = rand(len(data)) if data else 0
        if kind <= 2 and data:
            data[at] = rand(256)
        elif kind == 3:
            data = data[:at]
        elif kind == 4:
            data = data[:at] + bytes([rand(256) for _ in range(rand(9))]) + data[at:]
        elif kind == 5:
            data = (data + data)[: 20 + rand(300)]
        elif kind == 6:
            data = bytearray([rand(256) for _ in range(rand(300))])
    return bytes(data)


def with_crc(data):
    crc = hot.crc16(data, 0, len(data))
    return data + bytes((crc & 0xFF, crc >> 8))


def mbap(pdu, transaction=7):
    size = len(pdu) + 1
    return bytes((transaction >> 8, transaction & 0xFF, 0, 0, size >> 8, size & 0xFF, 1)) + pdu


bank = Bank(holding=100, inputs=100, coils=200, discretes=200)
net = tcp_server.socket = tcp_server.select = Net()
life = Virtual(tcp_server, client_module, silent, tcp_client, rtu_client, rtu_line, rtu_over_tcp)
life.__enter__()  # to the program's end
server = TcpServer(bank, 0, max_clients=1, idle_ms=0)
life.start("TCP server", server.run())


def fuzz_tcp_server(times):
    """Bad frames on a connection; whatever becomes of it, a new one is served."""
    sock = None
    for _ in range(times):
        if sock is None or sock.closed:
            sock = net.call(Pieces())
            life.run(10)
        good = REQUESTS[rand(len(REQUESTS))]
        sock.incoming = mutated(mbap(good)) if rand(2) else mbap(mutated(good)[:253])
        while sock.incoming and not sock.closed:
            life.run(1)
    sock.hang_up()
    life.run(20)
    sock = net.call(Pieces())
    life.run(10)
    sock.incoming = mbap(b"\x04\x00\x05\x00\x01", 9)
    life.run(400)
    assert sock.outgoing == mbap(b"\x04\x02\x00\x00", 9), sock.outgoing
    sock.hang_up()
    life.run(20)
    assert server.count.clients == 0


uart = FakeUart()
slave = RtuServer({1: bank, 2: bank}, uart, 115200)
life.start("RTU server", slave.run())


def feed(data):
    """Bytes to the RTU server in pieces, then silence; its answer."""
    uart.outgoing = b""
    uart.incoming = data
    while uart.incoming:
        life.run(1)
    life.run(10)
    return uart.outgoing


def fuzz_rtu_server(times):
    for _ in range(times):
        good = bytes((rand(3),)) + REQUESTS[rand(len(REQUESTS))]
        feed(mutated(with_crc(good)) if rand(2) else with_crc(mutated(good)))
    answer = feed(with_crc(b"\x01\x04\x00\x05\x00\x01"))
    assert answer == with_crc(b"\x01\x04\x02\x00\x00"), answer


async def ask(client, out):
    kind = rand(6)
    try:
        if kind == 0:
            await client.read_registers(1, 1, 3, out)
        elif kind == 1:
            await rarer.read_bits(client, 1, 1, 13, out)
        elif kind == 2:
            await client.write_registers(1, 1, out, 3)
        elif kind == 3:
            await rarer.identify(client, 1)
        elif kind == 4:
            await rarer.read_write(client, 1, 1, 2, out, 5, out, 2)
        else:
            await rarer.mask_write(client, 1, 1, 2, 3)
    except ModbusError:
        pass


def fuzz_client(client, times, out):
    """Answers that are bad for some time; whatever becomes of it, a good one is taken."""
    peer.bad = True
    for _ in range(times):
        life.skip(10000)  # a device is left in peace for so long at most
        life.go(ask(client, out))
    peer.bad = False
    life.skip(10000)
    if client is not CLIENTS[0]:
        client.close()  # half a frame may have come
    life.go(client.read_registers(1, 7, 1, out, 4))
    assert out[0] == 0


class Peer:
    """What the clients ask, by RTU and by TCP: it answers what our servers do, or, while it is `bad`, something like it."""

    bad = False

    def rtu(self, request):
        pdu = bytearray(260)
        answer = with_crc(request[:1] + bytes(pdu[: slave.serve(1, request, 1, len(request) - 3, pdu, 0)]))
        if not self.bad:
            return answer
        return mutated(answer) if rand(3) else with_crc(request[:2] + bytes([rand(256) for _ in range(rand(250))]))

    def tcp(self, request):
        pdu = bytearray(260)
        length = server.serve(1, request, 7, len(request) - 7, pdu, 0)
        answer = mbap(bytes(pdu[:length]), request[0] << 8 | request[1])
        if not self.bad:
            return answer
        return mutated(answer) if rand(2) else answer[:7] + mutated(answer[7:])


class Connection(Pieces):
    """One to the peer."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def write(self, buffer, *place):
        size = super().write(buffer, *place)
        self.incoming = self.incoming + self.answer(self.outgoing)
        return size


peer = Peer()


async def connect(host, _port, _deadline):
    """In place of tcp_connect's: the host's name says how the peer speaks."""
    return Connection(getattr(peer, host))


tcp_client.connect = connect
master_uart = FakeUart()
master_uart.answer = peer.rtu
CLIENTS = (
    RtuClient(master_uart, 115200, timeout_ms=50, retries=0),
    TcpClient("tcp", 0, timeout_ms=50),
    RtuOverTcpClient("rtu", 0, timeout_ms=50),
)


def round_of_100(out):
    fuzz_tcp_server(30)
    fuzz_rtu_server(40)
    for client in CLIENTS:
        fuzz_client(client, 10, out)


def least_heap(out):
    """What the heap holds; the least of five looks, as an old pointer on the stack may keep some rubbish for a while."""
    least = None
    for _ in range(5):
        round_of_100(out)
        gc.collect()
        now = gc.mem_alloc()
        least = now if least is None or now < least else least
    return least


def main():
    out = array("H", bytes(250))
    done = 0
    start = None
    while done < frames:
        round_of_100(out)
        done += 100
        if start is None and done >= frames // 10:
            start = least_heap(out)
            done += 500
    grown = least_heap(out) - start
    report = {"frames": done, "grown": grown, "tcp": server.count.as_dict(), "rtu": slave.count.as_dict()}
    print(json.dumps(report))


main()
