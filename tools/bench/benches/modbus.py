"""How fast Modbus is: our TCP server against pymodbus's, our RTU client against the wire, and the CRC."""

import asyncio
import json
import os
import select
import socket
import statistics
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator

from host_tests.site.board_process import BOARD_SIDE, ROOT, board_process
from tools.interpreters import Interpreter, chosen
from tools.ports import free_port

_SECONDS = 1.0
_ROUNDS = 3
_LINE_ROUNDS = 15  # of which the middle one counts: the machine does other things too
_REGISTERS = 50
_REQUEST = bytes.fromhex("000100000006010300000032")  # 50 holding registers from 0
_BAUDRATE = 115200
_TURNAROUND_S = 0.002

THEIRS = """
import asyncio, sys
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
async def main():
    registers = SimData(0, values=list(range(2000)), datatype=DataType.REGISTERS)
    server = ModbusTcpServer(SimDevice(1, [registers]), address=("127.0.0.1", int(sys.argv[1])))
    await server.serve_forever(background=True)
    print("ready", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def _ask(port: int, seconds: float) -> float:
    """Requests a second over one connection, each asked when the last was answered."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        size = 9 + 2 * _REGISTERS
        number, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < seconds:
            for _ in range(50):
                sock.sendall(_REQUEST)
                answer = sock.recv(512)
                if len(answer) != size or answer[7] != 3:
                    raise RuntimeError(f"not the answer: {answer!r}")
            number += 50
        return number / (time.perf_counter() - begun)


def _start(command: list[str], env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    if "ready" not in process.stdout.readline():
        process.kill()
        raise RuntimeError(f"{command[0]} did not start")
    return process


def _ours(interpreter: Interpreter, port: int) -> subprocess.Popen[str]:
    script = str(BOARD_SIDE / "modbus_bank.py")
    env = {**os.environ, "MICROPYPATH": f"{ROOT}:{ROOT / 'lib'}:.frozen"}
    return _start([*interpreter.command, "-X", "heapsize=512K", script, json.dumps({"tcp": port})], env)


def bench_modbus_tcp_server() -> Iterator[tuple[str, float, str]]:
    """Requests a second of our server under MicroPython and of pymodbus's under CPython, in turns."""
    our_port, their_port = free_port(), free_port()
    servers = [_ours(chosen("64"), our_port), _start([sys.executable, "-c", THEIRS, str(their_port)])]
    try:
        ours, theirs = [], []
        for _ in range(_ROUNDS):
            ours.append(_ask(our_port, _SECONDS))
            theirs.append(_ask(their_port, _SECONDS))
    finally:
        for server in servers:
            server.kill()
            server.wait()
    yield "modbus_tcp_server", statistics.median(ours), "requests/s"
    yield "modbus_tcp_server_pymodbus", statistics.median(theirs), "requests/s"
    yield "modbus_tcp_server_ratio", statistics.median(ours) / statistics.median(theirs), "times pymodbus"


class _Slave(threading.Thread):
    """A serial device on a pty that takes exactly the time the bytes and the turnaround would."""

    def __init__(self, registers: int) -> None:
        super().__init__(daemon=True)
        self.master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        body = bytes([1, 3, 2 * registers]) + bytes(range(2 * registers))
        self._answer = body + _crc(body)
        self.took: list[float] = []  # seconds from the request to the last byte of each answer
        self._end = False

    def run(self) -> None:
        while not self._end:
            if not select.select([self.master], [], [], 0.2)[0]:
                continue
            begun = time.perf_counter()
            if len(os.read(self.master, 300)) != 8:
                continue
            at = begun + 8 * 10 / _BAUDRATE + _TURNAROUND_S
            for i in range(0, len(self._answer), 4):
                piece = self._answer[i : i + 4]
                at += len(piece) * 10 / _BAUDRATE
                while (left := at - time.perf_counter()) > 0:
                    if left > 0.0015:
                        time.sleep(left - 0.001)
                os.write(self.master, piece)
            self.took.append(time.perf_counter() - begun)

    def stop(self) -> None:
        """End the thread and close the pty."""
        self._end = True
        self.join()
        os.close(self.master)
        os.close(self._slave)


def _crc(data: bytes) -> bytes:
    from pymodbus.framer.rtu import FramerRTU

    return FramerRTU.compute_CRC(data).to_bytes(2, "big")


async def _round_trips(slave: _Slave, registers: int, times: int) -> list[tuple[float, float]]:
    """Median round trip of our client and median time its device really took, in seconds, for each round."""
    setup = {"uart": 1, "baudrate": _BAUDRATE, "options": {"retries": 0, "gap_ms": 500, "timeout_ms": 2000}}
    rounds = []
    async with board_process(chosen("64"), "modbus_asker.py", setup, {"SIM_UART1": slave.path}) as board:
        message = {"repeat": times, "pause_ms": 5, "request": ["read_registers", 1, 0, registers, 3]}
        await board.ask({**message, "repeat": 10})
        for _ in range(_LINE_ROUNDS):
            slave.took.clear()
            answer = await board.ask(message)
            if answer["good"] != times:
                raise RuntimeError(f"only {answer['good']} of {times} requests were answered")
            rounds.append((answer["us"] / 1e6, statistics.median(slave.took)))
    return rounds


def bench_modbus_rtu_round_trip() -> Iterator[tuple[str, float, str]]:
    """Median round trip of our RTU client at 115200 baud, and how much longer that is than it must be."""
    for registers in (2, 10, 60):
        slave = _Slave(registers)
        slave.start()
        try:
            rounds = asyncio.run(_round_trips(slave, registers, 21))
        finally:
            slave.stop()
        yield f"modbus_rtu_round_trip_{registers}", 1000 * statistics.median(took for took, _ in rounds), "ms"
        longer = statistics.median(took / device for took, device in rounds)
        yield f"modbus_rtu_overhead_{registers}", 100 * (longer - 1), "% over wire and turnaround"
