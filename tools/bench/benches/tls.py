"""Modbus/TCP Security at the chip's speed: for how long a handshake keeps control from its beat, and what a request costs."""

import socket
import ssl
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tools import pki
from tools.build import stage
from tools.ports import free_port
from tools.sim.board.chip.start import command

SCRIPT = Path(__file__).parents[2] / "onboard" / "tls_steps.py"
MODULES = stage.ROOT / "tools" / "sim" / "board" / "modules"
CHIP = "esp32s3"  # TLS is for boards with PSRAM
REQUESTS = 9
REQUEST = struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, 0, 50)


def _ask(sock: socket.socket) -> None:
    for _ in range(REQUESTS):
        sock.sendall(REQUEST)
        if len(sock.recv(300)) != 109:
            raise RuntimeError("not the answer")
        time.sleep(0.05)


def _looks(keys: Path, version: ssl.TLSVersion) -> tuple[int, list[tuple[str, str, int]]]:
    """Bytes of heap of the server, and each look that found something: server, what it was, us of the chip."""
    secure, plain = (str(free_port()), str(free_port()))
    whole = [*command(CHIP), "-X", "heapsize=1M", str(SCRIPT), str(stage.ROOT), str(MODULES), str(keys / pki.BOARD), secure, plain]
    process = subprocess.Popen(whole, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    try:
        heap = int(process.stdout.readline().split()[1])
        context = ssl.create_default_context(cafile=str(keys / "authority.pem"))
        context.load_cert_chain(str(keys / "clients" / "gridservice.pem"), str(keys / "clients" / "gridservice_key.pem"))
        context.maximum_version = version
        with socket.create_connection(("127.0.0.1", int(secure))) as below:
            with context.wrap_socket(below, server_hostname="127.0.0.1") as wrapped:
                _ask(wrapped)
        with socket.create_connection(("127.0.0.1", int(plain))) as sock:
            _ask(sock)
        said, _ = process.communicate("end\n", timeout=60)
    finally:
        process.kill()
        process.wait()
    return heap, [(name, what, int(us)) for name, what, us in (line.split() for line in said.splitlines())]


def bench_tls() -> Iterator[tuple[str, float, str]]:
    """Each step of a handshake, all of them, a request over TLS and over plain TCP; the server's heap."""
    with tempfile.TemporaryDirectory() as scratch:
        keys = Path(scratch) / "keys"
        pki.make(keys, ["127.0.0.1"])
        for name, version in (("1_2", ssl.TLSVersion.TLSv1_2), ("1_3", ssl.TLSVersion.TLSv1_3)):
            heap, looks = _looks(keys, version)
            steps = [us for server, what, us in looks if (server, what) == ("tls", "handshake")]
            yield f"tls_{name}_handshake_longest_step", max(steps) / 1000, "ms"
            yield f"tls_{name}_handshake", sum(steps) / 1000, "ms"
            for server in ("tls", "plain"):
                times = sorted(us for its, what, us in looks if (its, what) == (server, "request"))
                label = f"tls_{name}" if server == "tls" else f"plain_beside_tls_{name}"
                yield f"{label}_request_p50", times[len(times) // 2], "us"
        yield "tls_server_heap_from_files", heap, "bytes"
