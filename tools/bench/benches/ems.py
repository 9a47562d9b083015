"""The EMS's face: how many requests a second it answers beside a plain bank of registers, and how fast a setpoint gets through."""

import asyncio
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from host_tests.site.board_process import BOARD_SIDE, ROOT
from tools.bench import load
from tools.bench.benches.modbus import THEIRS
from tools.interpreters import chosen
from tools.ports import free_port
from tools.sim.board import chipboard, profiles
from tools.sim.board.board import Board
from tools.sim.site import Site

_SECONDS = 0.2  # of a slice; the servers take turns, so that what else the machine does meets all of them
_SLICES = 31  # of each server, each compared with those beside it: of the ratios the middle one counts
_IDLE_S = 10.0
_MOST = 125  # registers of a request
_FIRST = 40000
_SET = _FIRST + 618  # 704 WSetEna, WSetMod, WSet
_WRITES = 200  # that count, of ...
_TRIES = 400  # ... so many at most: those in which this machine was late say nothing of the chip
_LATE_S = 0.010
_STEP_W = 500  # what the ramp moves in one cycle and less
_GIVE_UP_S = 2.0
_BOOT_S = 40.0
_SETTLE_S = 5.0
_MODULES = ROOT / "tools" / "sim" / "board" / "modules"


def _start(command: list[str], env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    # pymodbus writes a page to stderr for each connection that ends
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=env, text=True, **pipes)  # type: ignore[call-overload]
    assert process.stdout
    if "ready" not in (line := process.stdout.readline()):
        process.kill()
        raise RuntimeError(f"{command[-2:]} did not start: {line}")
    return process


def _serve(script: str, setup: dict[str, object]) -> subprocess.Popen[str]:
    env = {**os.environ, "MICROPYPATH": f"{BOARD_SIDE}:{_MODULES}:{ROOT}:{ROOT / 'lib'}:.frozen"}
    return _start([*chosen("64").command, "-X", "heapsize=1M", str(BOARD_SIDE / script), json.dumps(setup)], env)


def _ems(port: int) -> subprocess.Popen[str]:
    """The EMS's server with rights by address, and no limit of requests: one client alone asks more often than the largest."""
    allow = {"127.0.0.0/8": "control", "192.168.1.0/24": "read-only"}
    options = {"port": port, "host": "127.0.0.1", "clients": 8, "allow": allow, "requests_per_s": 0}
    return _serve("ems_board.py", {"options": options, "stands": True})


def bench_ems_server() -> Iterator[tuple[str, float, str]]:
    """Reads of 125 registers: the EMS's own (measurement, rights asked), and a plain bank's of ours, pymodbus's and libmodbus's.

    One client in C, for one connection and for eight.  The servers take turns of a fifth of a second, another one beginning
    each time, so that what else the machine does meets all of them alike; each ratio is of two slices beside each
    other, and every figure the median.  What an answer takes of a CPU says the same of a machine that is busy.
    """
    ports = {name: free_port() for name in ("ems", "bank", "pymodbus", "libmodbus")}
    servers = {
        "ems": _ems(ports["ems"]),
        "bank": _serve("modbus_bank.py", {"tcp": ports["bank"], "options": {"max_clients": 8}, "tidy": True}),
        "pymodbus": _start([sys.executable, "-c", THEIRS, str(ports["pymodbus"])]),
        "libmodbus": _start(load.libmodbus(ports["libmodbus"])),
    }
    seen: dict[tuple[str, int], list[load.Answered]] = {}
    cpu_us: dict[tuple[str, int], float] = {}  # an answer
    try:
        for clients in (1, 8):
            before = {name: _cpu_s(server.pid) for name, server in servers.items()}
            for turn in range(_SLICES):
                for name in [*ports][turn % 4 :] + [*ports][: turn % 4]:
                    first = _FIRST + 396 if name == "ems" else 0  # 701
                    seen.setdefault((name, clients), []).append(load.ask(ports[name], first, _MOST, clients, _SECONDS))
            for name, server in servers.items():
                answers = sum(one.per_second for one in seen[name, clients]) * _SECONDS
                cpu_us[name, clients] = 1e6 * (_cpu_s(server.pid) - before[name]) / answers
    finally:
        for server in servers.values():
            server.kill()
            server.wait()
    rate = {key: statistics.median(one.per_second for one in slices) for key, slices in seen.items()}
    p99 = {key: statistics.median(one.p99_us for one in slices) / 1000 for key, slices in seen.items()}
    for clients in (1, 8):
        for name in ports:
            yield f"ems_server_{name}_{clients}", rate[name, clients], "requests/s"
            yield f"ems_server_{name}_{clients}_cpu", cpu_us[name, clients], "us of a CPU for an answer"
        yield f"ems_server_cpu_of_bank_{clients}", cpu_us["ems", clients] / cpu_us["bank", clients], "times bank"
        for name in ("bank", "pymodbus", "libmodbus"):
            yield f"ems_server_of_{name}_{clients}", _ratio(seen, name, clients, "per_second"), f"times {name}"
    for name in ports:
        yield f"ems_server_{name}_8_p99", p99[name, 8], "ms"
    yield "ems_server_p99_of_pymodbus", _ratio(seen, "pymodbus", 8, "p99_us"), "times pymodbus"


def _ratio(seen: dict[tuple[str, int], list[load.Answered]], name: str, clients: int, what: str) -> float:
    """The median of the EMS's figure over another server's, slice by slice."""
    pairs = zip(seen["ems", clients], seen[name, clients], strict=True)
    return statistics.median(getattr(ours, what) / getattr(theirs, what) for ours, theirs in pairs)


def bench_ems_idle() -> Iterator[tuple[str, float, str]]:
    """What the server takes of a CPU while four clients are there and ask nothing; without it the process's rest."""
    port = free_port()
    shares = []
    for given in (port, 0):
        process = _serve("ems_board.py", {"options": {"port": given, "host": "127.0.0.1"}, "stands": True})
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(4 if given else 0)]
        try:
            time.sleep(2)
            before = _cpu_s(process.pid)
            time.sleep(_IDLE_S)
            shares.append(100 * (_cpu_s(process.pid) - before) / _IDLE_S)
        finally:
            for one in clients:
                one.close()
            process.kill()
            process.wait()
    yield "ems_idle", shares[0] - shares[1], "% of a CPU"


def _cpu_s(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bench_ems_setpoint() -> Iterator[tuple[str, float, str]]:
    """From a WSet write on the EMS's socket to that setpoint at the inverter's, in cycles; CHIP=esp32s3: at the chip's speed.

    At the chip's speed a write counts where neither the chip's clock nor the simulated plant was behind this machine's clock.
    """
    took, tried = asyncio.run(_through())
    took.sort()
    cycle = Site(1).cycle_ms / 1000
    yield "ems_setpoint_writes", len(took), f"writes of {tried}: in the others this machine was too busy"
    yield "ems_setpoint_p50", took[len(took) // 2] / cycle, "cycles"
    yield "ems_setpoint_p99", took[len(took) * 99 // 100] / cycle, "cycles"
    yield "ems_setpoint_max", took[-1] / cycle, "cycles"


async def _through() -> tuple[list[float], int]:
    """Seconds of each of many writes, and how many were tried for them."""
    site, port = Site(1), free_port()
    site.services = {"ems": {"type": "sunspec_server", "port": port, "host": "127.0.0.1", "commands_per_s": 100}}
    arrived: asyncio.Queue[float] = asyncio.Queue()
    follow = site.pcs.on_setpoint

    def told(watts: float) -> None:
        if follow is not None:
            follow(watts)
        arrived.put_nowait(watts)

    site.pcs.on_setpoint = told
    profile = profiles.chosen()
    if profile is not None:
        await asyncio.to_thread(chipboard.calibrate, profile)
    await site.start()
    with tempfile.TemporaryDirectory() as scratch:
        board = Board(ROOT, state_dir=Path(scratch), site=site.board_json(), profile=profile)
        site.wire(board)
        await board.start()
        try:
            await board.wait_line("pcs: ", _BOOT_S)
            await asyncio.sleep(_SETTLE_S)
            await board.send("pm.start()")
            await asyncio.sleep(_SETTLE_S)
            return await _write_all(port, arrived, _Lateness(board))
        finally:
            await board.stop()
            await site.stop()


class _Lateness:
    """How far the simulated chip and this process are behind this machine's clock, at most since begin()."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._late_s = 0.0
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            begun = time.monotonic()
            await asyncio.sleep(0.005)
            self._late_s = max(self._late_s, time.monotonic() - begun - 0.005)

    def begin(self) -> None:
        self._late_s = 0.0
        self._begun_s, self._chip_s = time.monotonic(), self._chip()

    def seconds(self) -> float:
        chip_s = time.monotonic() - self._begun_s - (self._chip() - self._chip_s)
        return max(self._late_s, abs(chip_s) if self._chip() else 0.0)

    def _chip(self) -> float:
        seen = self._board.chip_clock()
        return (seen.chip_us + seen.given_up_us) / 1e6 if seen else 0.0  # giving up is a leap of the first: it counts as late

    def end(self) -> None:
        self._watching.cancel()


async def _write_all(port: int, arrived: "asyncio.Queue[float]", lateness: _Lateness) -> tuple[list[float], int]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    took: list[float] = []
    number = 0
    while len(took) < _WRITES and number < _TRIES:
        watts = 10000 if number == 0 else 10000 + _STEP_W * (number % 2)
        while not arrived.empty():
            arrived.get_nowait()
        lateness.begin()
        writer.write(struct.pack(">HHHBBHHBHHi", number, 0, 15, 1, 16, _SET, 4, 8, 1, 1, watts))
        begun = time.monotonic()
        answer = await asyncio.wait_for(reader.read(64), _GIVE_UP_S)
        if answer[7] != 16:
            raise RuntimeError(f"refused: {answer!r}")
        while await asyncio.wait_for(arrived.get(), _GIVE_UP_S) != watts:
            pass
        seconds = time.monotonic() - begun
        if number > 1 and lateness.seconds() < _LATE_S:
            took.append(seconds)
        number += 1
        await asyncio.sleep(0.11 + number % 10 * 0.0051)  # at every phase of the cycle
    writer.close()
    lateness.end()
    if len(took) < _WRITES // 4:
        raise RuntimeError(f"only {len(took)} of {number} writes count: this machine is too busy")
    return took, number
