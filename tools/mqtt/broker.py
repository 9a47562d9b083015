"""A real mosquitto on a port of this machine: started, killed, and started again with what it had kept."""

import asyncio
import os
import shutil
import socket
from pathlib import Path

CACHED = Path(__file__).resolve().parents[2] / ".cache" / "mosquitto" / "mosquitto"
READY_S = 10.0
USER, PASSWORD = "bess", "a broker's password"


def program() -> str | None:
    """The bundled one, else the system's; None: there is none."""
    return str(CACHED) if CACHED.exists() else shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


class Broker:
    """Keeps sessions and retained messages in `folder` over a kill; `settings`: further lines of its configuration."""

    def __init__(self, folder: Path, port: int, settings: str = "allow_anonymous true") -> None:
        self.port = port
        self.starts = 0
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._config = folder / "mosquitto.conf"
        user = "user root\n" if os.geteuid() == 0 else ""
        kept = f"persistence true\npersistence_location {folder}/\nautosave_interval 1\nautosave_on_changes true\n"
        self._config.write_text(f"{user}{kept}listener {port} 127.0.0.1\n{settings}\n")

    async def start(self) -> None:
        """Start it, and wait until it listens.  RuntimeError where it does not."""
        found = program()
        if found is None:
            raise RuntimeError("mosquitto is not there: run `make setup`")
        log = (self._folder / "mosquitto.log").open("ab")
        self._process = await asyncio.create_subprocess_exec(found, "-c", str(self._config), stdout=log, stderr=log)
        log.close()
        self.starts += 1
        for _ in range(int(READY_S * 50)):
            with socket.socket() as one:
                one.settimeout(0.2)
                if one.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self._process.returncode is not None:
                break
            await asyncio.sleep(0.02)
        raise RuntimeError(f"mosquitto does not listen: {(self._folder / 'mosquitto.log').read_text()[-500:]}")

    async def kill(self, hard: bool = True) -> None:
        """End it, as a crash does; hard False: as a person does."""
        if self._process is not None and self._process.returncode is None:
            if hard:
                self._process.kill()
            else:
                self._process.terminate()
            await self._process.wait()
        self._process = None
