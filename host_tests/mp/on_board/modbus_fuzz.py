"""Mutated and random frames into Modbus servers and clients, under MicroPython: `modbus_fuzz.py SEED FRAMES`.

After every burst of bad frames a good one must work.  Ends with one JSON line: frames tried, and by how much the
heap has grown since the first tenth of them; an exception that escapes ends it with a traceback.
"""

import asyncio
import gc
import json
import sys
import time
from array import array

from modbus import ModbusError, hot, rarer
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


class FakeSocket:
    """What a socket is to TcpServer and TcpClient: bytes put in by the test, bytes taken out."""

    def __init__(self):
        self.incoming = b""
        self.outgoing = b""
        self.closed = False

    def readinto(self, buffer, size=-1):
        size = len(buffer) if size < 0 else size
        if not self.incoming:
            return None
        got = min(size, len(self.incoming), 1 + rand(300))
        buffer[:got] = self.incoming[:got]
        self.incoming = self.incoming[got:]
        return got

    def write(self, buffer, size=-1):
        size = len(buffer) if size < 0 else size
        self.outgoing = bytes(buffer[:size])
        return size

    def close(self):
        self.closed = True


class FakePoller:
    def __init__(self):
        self.ready = ()

    def ipoll(self, timeout):
        return self.ready

    def register(self, sock, events):
        pass

    modify = register

    def unregister(self, sock):
        self.ready = ()


class FakeUart:
    """A UART whose other end the test holds."""

    def __init__(self):
        self.incoming = b""
        self.outgoing = b""
        self.answer = None

    def any(self):
        return len(self.incoming)

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
server = TcpServer(bank, 0)
server._poller = FakePoller()
server._swept_ms = time.ticks_ms()


def fuzz_tcp_server(times):
    """Bad frames on a connection; whatever becomes of it, a new one is served."""
    client = server._clients[0]
    sock = None
    for _ in range(times):
        if client.sock is None:
            sock = client.sock = FakeSocket()
            client.have = client.left = 0
            server.count.clients += 1
        good = REQUESTS[rand(len(REQUESTS))]
        sock.incoming = mutated(mbap(good)) if rand(2) else mbap(mutated(good)[:253])
        while client.sock is not None and sock.incoming:
            server._poller.ready = ((sock, 1),)
            server.look(time.ticks_ms())
    if client.sock is not None:
        server._close(client)
    sock = client.sock = FakeSocket()
    client.have = client.left = 0
    server.count.clients += 1
    sock.incoming = mbap(b"\x04\x00\x05\x00\x01", 9)
    while sock.incoming:
        server._poller.ready = ((sock, 1),)
        server.look(time.ticks_ms())
    assert sock.outgoing == mbap(b"\x04\x02\x00\x00", 9), sock.outgoing
    server._close(client)


uart = FakeUart()
slave = RtuServer({1: bank, 2: bank}, uart, 115200)


def feed(data):
    """Bytes to the RTU server in pieces, then silence; its answer's size."""
    size = 0
    while data:
        piece = 1 + rand(len(data))
        uart.incoming = data[:piece]
        data = data[piece:]
        while uart.incoming:
            slave._have = slave.line.receive(slave._rx, slave._have)
        size = slave._take(False) or size
    return slave._take(True) or size


def fuzz_rtu_server(times):
    for _ in range(times):
        good = bytes((rand(3),)) + REQUESTS[rand(len(REQUESTS))]
        feed(mutated(with_crc(good)) if rand(2) else with_crc(mutated(good)))
    size = feed(with_crc(b"\x01\x04\x00\x05\x00\x01"))
    assert bytes(slave._reply[:size]) == with_crc(b"\x01\x04\x02\x00\x00"), size


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


master_uart = FakeUart()
master = RtuClient(master_uart, 5000000, timeout_ms=1, gap_ms=0, retries=0)
master.line.silence_us = master._gap_us = 0  # nobody else is on this line: no time need pass


async def fuzz_rtu_client(times, out):
    def bad(request):
        answer = bytearray([rand(256) for _ in range(rand(250))])
        slave._have = 0
        size = feed(request)
        return mutated(bytes(slave._reply[:size])) if rand(3) else with_crc(bytes(request[:2]) + bytes(answer))

    def good(request):
        slave._have = 0
        return bytes(slave._reply[: feed(request)])

    master_uart.answer = bad
    for _ in range(times):
        master._quiet.clear()
        await ask(master, out)
    master_uart.answer = good
    master_uart.incoming = b""
    master._quiet.clear()
    master.timeout_ms = 1000
    await master.read_registers(1, 7, 1, out, 4)
    master.timeout_ms = 1
    assert out[0] == 0


tcp = TcpClient("", 0, timeout_ms=0)
gateway = RtuOverTcpClient("", 0, timeout_ms=0)


async def fuzz_gateway(times, out):
    class Peer(FakeSocket):
        def write(self, buffer, start, size):
            slave._have = 0
            request = bytes(buffer[start : start + size])
            answer = bytes(slave._reply[: feed(request)])
            if self.bad:
                answer = mutated(answer) if rand(3) else with_crc(request[:2] + bytes([rand(256) for _ in range(rand(250))]))
            self.incoming = self.incoming + answer
            return size

    for turn in range(times + 1):
        if gateway._sock is None or turn == times:
            gateway._have = 0
            gateway._sock = Peer()
        gateway._sock.bad = turn < times
        gateway._silent = 0
        if turn < times:
            await ask(gateway, out)
    gateway.timeout_ms = 1000
    await gateway.read_registers(1, 7, 1, out, 4)
    gateway.timeout_ms = 0
    assert out[0] == 0


async def fuzz_tcp_client(times, out):
    class Peer(FakeSocket):
        def write(self, buffer, start, size):
            request = bytes(buffer[start : start + size])
            pdu = bytearray(260)
            length = server.serve(1, request, 7, len(request) - 7, pdu, 0)
            answer = mbap(bytes(pdu[:length]), request[0] << 8 | request[1])
            if self.bad:
                answer = mutated(answer) if rand(2) else answer[:7] + mutated(answer[7:])
            self.incoming = self.incoming + answer
            return size

    for turn in range(times + 1):
        if tcp._sock is None or turn == times:
            tcp._have = 0
            tcp._sock = Peer()
        tcp._sock.bad = turn < times
        tcp._silent = 0
        if turn < times:
            await ask(tcp, out)
    tcp.timeout_ms = 1000
    await tcp.read_registers(1, 7, 1, out, 4)
    tcp.timeout_ms = 0
    assert out[0] == 0


async def round_of_100(out):
    fuzz_tcp_server(30)
    fuzz_rtu_server(40)
    await fuzz_rtu_client(10, out)
    await fuzz_tcp_client(10, out)
    await fuzz_gateway(10, out)


async def least_heap(out):
    """What the heap holds; the least of five looks, as an old pointer on the stack may keep some rubbish for a while."""
    least = None
    for _ in range(5):
        await round_of_100(out)
        gc.collect()
        now = gc.mem_alloc()
        least = now if least is None or now < least else least
    return least


async def main():
    out = array("H", bytes(250))
    done = 0
    start = None
    while done < frames:
        await round_of_100(out)
        done += 100
        if start is None and done >= frames // 10:
            start = await least_heap(out)
            done += 500
    grown = await least_heap(out) - start
    report = {"frames": done, "grown": grown, "tcp": server.count.as_dict(), "rtu": slave.count.as_dict()}
    print(json.dumps(report))


asyncio.run(main())
