"""Modbus for long and under fire: 70,000 requests on one connection, mutated frames, and the heap stays as it is.

FUZZ_FRAMES and FUZZ_SEED (environment) make the fuzz longer or another one; a failure prints the seed.  Of itself the
second seed comes from the board's sources: a change meets numbers of its own, and every run of it the same ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from host_tests.site import test_pcs_inverter as older_inverter
from host_tests.site.board_process import BOARD_SIDE, ROOT, board_process
from host_tests.site.test_modbus_generic import TABLE
from tools.change_seed import change_seed
from tools.interpreters import Interpreter
from tools.ports import free_port
from tools.sim.devices.meter_device import MeterDevice
from tools.sim.devices.pcs_device import PcsDevice
from tools.sim.physics.plant import Plant

REQUESTS = 70_000  # more than there are transaction ids


def seeds() -> dict[str, int]:
    """A seed that stays, and one that every change of the board's sources replaces."""
    return {"fixed seed": 20261122, "the change's seed": int(os.environ.get("FUZZ_SEED", change_seed()))}


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 120))


def ask_many(port: int, first: int, number: int) -> None:
    """One request after the other on one connection; the transaction id wraps."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for n in range(first, first + number):
            transaction, address = n & 0xFFFF, n % 1900
            sock.sendall(struct.pack(">HHHBBHH", transaction, 0, 6, 1, 3, address, 10))
            answer = sock.recv(64)
            assert answer == struct.pack(">HHHBBB10H", transaction, 0, 23, 1, 3, 20, *range(address, address + 10)), n


def test_70000_requests_on_one_connection_leave_the_server_s_heap_as_it_was(mp32: Interpreter) -> None:
    async def story() -> None:
        port = free_port()
        async with board_process(mp32, "modbus_bank.py", {"tcp": port, "gc": 0}, heap="4M") as board:
            await asyncio.to_thread(ask_many, port, 0, 500)
            before = await board.ask("heap")
            await asyncio.to_thread(ask_many, port, 500, REQUESTS)
            after = await board.ask("heap")
            assert after["frames"] - before["frames"] == REQUESTS
            allocated = (after["raw"] - before["kept"]) / REQUESTS
            assert allocated <= 64, "bytes allocated per served request, with the garbage collector switched off"
            assert after["kept"] - before["kept"] <= 512, "what is left after a collection"

    run(story)


def answer_all(listener: socket.socket) -> None:
    """A device with one register, 7, for one client after the other until the listener is closed."""
    with contextlib.suppress(OSError):
        while True:
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with sock:
                while len(request := sock.recv(12, socket.MSG_WAITALL)) == 12:
                    sock.sendall(request[:4] + struct.pack(">HBBBH", 5, request[6], 3, 2, 7))


def test_70000_requests_on_one_connection_by_our_client(mp32: Interpreter) -> None:
    async def story(port: int) -> None:
        async with board_process(mp32, "modbus_asker.py", {"tcp": port}, heap="256K") as client:
            message = {"repeat": 5000, "request": ["read_registers", 1, 0, 1, 3]}
            await client.ask(message)
            before = await client.ask({"heap": 1})
            for _ in range(REQUESTS // 5000):
                assert (await client.ask(message))["good"] == 5000
            after = await client.ask({"heap": 1})
            counters = await client.ask({"count": 1})
            assert counters["frames"] == REQUESTS + 5000
            assert (counters["timeouts"], counters["late"], counters["reconnects"]) == (0, 0, 1)
            assert after - before <= 512

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer_all, args=(listener,), daemon=True).start()
        run(lambda: story(listener.getsockname()[1]))


@pytest.mark.parametrize("seed", seeds().values(), ids=seeds())
def test_mutated_frames_crash_nothing_and_leave_the_heap_as_it_was(mp: Interpreter, seed: int) -> None:
    frames = int(os.environ.get("FUZZ_FRAMES", "4000"))
    command = [*mp.command, str(BOARD_SIDE / "modbus_fuzz.py"), str(seed), str(frames)]
    env = {**os.environ, "MICROPYPATH": f"{ROOT}:{ROOT / 'lib'}:.frozen"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60 + frames / 200)
    assert done.returncode == 0, f"seed {seed}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    report = json.loads(done.stdout)
    assert report["frames"] >= frames
    assert report["grown"] <= 2048, f"seed {seed}: the heap has grown by {report['grown']} bytes"
    assert report["tcp"]["rejected"] and report["rtu"]["crc_errors"], "the frames were bad enough to be refused"


def chains() -> list[tuple[int, list[int]]]:
    """A newer PCS, an older one, two meters: the register maps that the nonsense starts from."""
    chosen = [PcsDevice(Plant()).chain, older_inverter.Peer().chain]
    chosen += [MeterDevice(Plant(), model).chain for model in (203, 213)]
    return [(chain.base, list(chain.registers)) for chain in chosen]


@pytest.mark.parametrize("seed", seeds().values(), ids=seeds())
def test_devices_that_answer_nonsense_confuse_no_driver(mp: Interpreter, seed: int) -> None:
    answers = int(os.environ.get("FUZZ_FRAMES", "4000"))
    command = [*mp.command, str(BOARD_SIDE / "driver_fuzz.py"), str(seed), str(answers)]
    env = {**os.environ, "MICROPYPATH": f"{ROOT}:{ROOT / 'lib'}:{ROOT / 'tools' / 'sim' / 'board' / 'modules'}:.frozen"}
    told = json.dumps({"chains": chains(), "table": TABLE}) + "\n"
    limit_s = 60 + answers / 200
    done = subprocess.run(command, env=env, input=told, capture_output=True, text=True, timeout=limit_s)
    assert done.returncode == 0, f"seed {seed}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["answers"] >= answers
    assert report["heard"] > answers / 200, "some of it did make sense"
    # both times it stands at the same sane device; of 200 seeds one kept 1,472 bytes (old words on the stack), most 224
    assert report["grown"] <= 4096, f"seed {seed}: the heap has grown by {report['grown']} bytes"
