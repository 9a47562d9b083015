"""Load for Modbus servers: a client of many connections and libmodbus as a server, both in C, compiled when they are needed."""

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tools import debian_bundle

HERE = Path(__file__).parent
CACHE = debian_bundle.CACHE / "load"
COMPILE = ("-O2", "-Wall", "-Werror")


class LoadError(Exception):
    """It cannot be had, or a server did not answer; the text says why."""


@dataclass(frozen=True)
class Answered:
    """What a server has done: answers a second, and us from a request to its answer."""

    per_second: float
    p50_us: float
    p99_us: float


def compiled(name: str) -> Path:
    """The program of name.c, compiled now if its source has changed.  Raises LoadError."""
    source = HERE / f"{name}.c"
    ready = CACHE / f"{name}-{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}"
    if ready.exists():
        return ready
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise LoadError("needs a C compiler: on Debian or Ubuntu, sudo apt-get install gcc libc6-dev (or name one in CC)")
    CACHE.mkdir(parents=True, exist_ok=True)
    new = ready.with_suffix(f".{os.getpid()}")
    done = subprocess.run([compiler, *COMPILE, "-o", str(new), str(source), "-ldl"], capture_output=True, text=True)
    if done.returncode:
        raise LoadError(f"{compiler} could not compile {source.name}:\n{done.stderr.strip()}")
    new.rename(ready)
    return ready


def libmodbus(port: int) -> list[str]:
    """The command that serves 2,000 registers on 127.0.0.1:port with Debian's libmodbus.  Raises LoadError."""
    bundle = debian_bundle.BUNDLES["mbpoll"]  # it brings the library, and a libc that fits
    root = debian_bundle.CACHE / bundle.name / "root"
    folders = [root / folder for folder in bundle.libraries]
    library = next((path for folder in folders for path in sorted(folder.glob("libmodbus.so.*"))), None)
    if library is None:
        raise LoadError("libmodbus is not there: run `make setup`")
    loader = [str(root / bundle.loader), "--library-path", ":".join(map(str, folders))]
    return [*loader, str(compiled("libmodbus_server")), str(library), str(port)]


def ask(port: int, first: int, count: int, clients: int, seconds: float) -> Answered:
    """So many clients ask that server for so many registers, each as soon as it is answered.  Raises LoadError."""
    command = [str(compiled("client")), *map(str, (port, first, count, clients, seconds))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 10)
    if done.returncode:
        raise LoadError(f"port {port}: {done.stderr.strip()}")
    return Answered(*map(float, done.stdout.split()))
