"""Fetches a real Home Assistant with a Python of its own into .cache/homeassistant, and talks to it: nothing is installed anywhere.

    python -m tools.mqtt.ha        fetch it (500 MB), and say which it is

The Python is Debian's 3.13 with its libraries (tools/debian_bundle.py), Home Assistant and what its core and its MQTT integration
import come from PyPI at the versions of homeassistant.txt.  Its pages, its cloud and its media are not asked for.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pip

from tools import debian_bundle

HERE = Path(__file__).parent
PINS = HERE / "homeassistant.txt"
HOME = debian_bundle.CACHE / "homeassistant"
SITE = HOME / "site"
STAMP = HOME / "pins"
BUILT = ("fnvhash",)  # comes as source; it is Python alone, so this machine's own makes the wheel
ANSWER_S = 60.0


class NotThere(Exception):
    """It could not be had; the text says why."""


def present() -> bool:
    """It is there, at these versions."""
    return STAMP.exists() and STAMP.read_text() == PINS.read_text() and debian_bundle.present(debian_bundle.BUNDLES["python313"])


def fetch() -> None:
    """Fetch what is missing.  NotThere where it cannot be had."""
    if present():
        return
    try:
        python = debian_bundle.fetch(debian_bundle.BUNDLES["python313"])
    except debian_bundle.BundleError as error:
        raise NotThere(str(error)) from error
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    shutil.copytree(Path(pip.__file__).parent, HOME / "tools" / "pip")  # for the other Python, which has none
    pins = PINS.read_text().split()
    own = [pin for pin in pins if pin.split("==")[0] in BUILT]
    wheels = HOME / "wheels"
    _run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(wheels), *own], {})
    install = [str(python), "-m", "pip", "install", "-q", "--no-deps", "--only-binary=:all:", "--target", str(SITE)]
    _run([*install, "--find-links", str(wheels), "-r", str(PINS)], {"PYTHONPATH": str(HOME / "tools")})
    STAMP.write_text(PINS.read_text())


def _run(command: list[str], env: dict[str, str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **env})
    if done.returncode:
        raise NotThere((done.stderr or done.stdout).strip()[-1000:])


class HomeAssistant:
    """A running one (ha_core.py), connected to a broker of this machine."""

    def __init__(self, broker_port: int, http_port: int) -> None:
        self._ports = (str(broker_port), str(http_port))
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it.  RuntimeError where it does not come up."""
        python = debian_bundle.CACHE / "python313" / "python313"
        self._process = await asyncio.create_subprocess_exec(
            str(python), str(HERE / "ha_core.py"), *self._ports, env={**os.environ, "PYTHONPATH": str(SITE)},
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=(HOME / "log").open("w"), limit=1 << 22,
        )  # fmt: skip
        if await self._line() != "ready":
            raise RuntimeError(f"Home Assistant does not start: {self.log()[-800:]}")

    def log(self) -> str:
        """What it has logged since its start: warnings and errors."""
        return (HOME / "log").read_text()

    async def _line(self) -> Any:
        assert self._process and self._process.stdout
        raw = await asyncio.wait_for(self._process.stdout.readline(), ANSWER_S)
        return json.loads(raw) if raw else None

    async def ask(self, **question: Any) -> Any:
        """The answer to a question of ha_core.py.  RuntimeError for an error there."""
        assert self._process and self._process.stdin
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        answer = await self._line()
        if isinstance(answer, dict) and "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    async def entities(self) -> dict[str, dict[str, Any]]:
        """Every entity of MQTT by its key: what stands behind the device's part of its unique id."""
        found = (await self.ask(do="states"))["entities"]
        return {name.split("_", 2)[2]: entity for name, entity in found.items()}

    async def stop(self) -> None:
        """End it."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


def main() -> int:
    """Command line entry."""
    try:
        fetch()
    except NotThere as error:
        print(error, file=sys.stderr)
        return 1
    print(next(pin for pin in PINS.read_text().split() if pin.startswith("homeassistant==")), "in", HOME)
    return 0


if __name__ == "__main__":
    sys.exit(main())
