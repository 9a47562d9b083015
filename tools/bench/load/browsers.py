"""Browsers, silent connections and many that try, at a board's web server: what they were answered, and how soon.

    python -m tools.bench.load.browsers --port 8080 --seconds 60 --browsers 4 --silent 4 --trying 40
"""

import argparse
import asyncio
import contextlib
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

POLL_S = 5.0  # between two looks of an open page at the whole state
HEADERS = (
    "Host: {host}:{port}\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/142.0 Safari/537.36\r\n"
    "Accept: */*\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: de-DE,de;q=0.9,en;q=0.8\r\nReferer: http://{host}:{port}/\r\n"
)


@dataclass
class Told:
    """What came of it."""

    states: Counter[int] = field(default_factory=Counter)  # events of each browser's stream
    answers: Counter[str] = field(default_factory=Counter)  # by who asked and status
    times_ms: list[float] = field(default_factory=list)  # of /api/state
    longest_pause_s: float = 0.0  # between two events of a stream

    def summary(self) -> dict[str, Any]:
        """As JSON has it."""
        times = sorted(self.times_ms) or [0.0]
        return {
            "streams": dict(self.states), "answers": dict(self.answers), "longest_pause_s": round(self.longest_pause_s, 2),
            "state_ms_p50": round(times[len(times) // 2], 1), "state_ms_max": round(times[-1], 1),
        }  # fmt: skip


class Load:
    """All of them at one server."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.told = Told()
        self.head = HEADERS.format(host=host, port=port)

    async def browser(self, number: int) -> None:
        """An open page: its stream, and now and then the whole state; both are opened again where they end."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._again(self._stream, number))
            group.create_task(self._again(self._poll, number))

    async def _again(self, work: Any, number: int) -> None:
        while True:
            try:
                await work(number)
            except (OSError, asyncio.IncompleteReadError, ValueError) as error:
                self.told.answers[f"{work.__name__} {type(error).__name__}"] += 1
            await asyncio.sleep(1.0)

    async def _ask(self, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, int]:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        writer.write(f"GET {path} HTTP/1.1\r\n{self.head}\r\n".encode())
        status = int((await reader.readline()).split()[1])
        return reader, writer, status

    async def _stream(self, number: int) -> None:
        reader, writer, status = await self._ask("/api/live")
        self.told.answers[f"stream {status}"] += 1
        with contextlib.closing(writer):
            if status != 200:
                return
            last = 0.0
            while line := await reader.readline():
                if line == b"event: state\n":
                    now = time.monotonic()
                    self.told.states[number] += 1
                    self.told.longest_pause_s = max(self.told.longest_pause_s, now - last if last else 0.0)
                    last = now

    async def _poll(self, number: int) -> None:
        await asyncio.sleep(POLL_S * (number % 4) / 4)
        while True:
            begun = time.monotonic()
            reader, writer, status = await self._ask("/api/state")
            with contextlib.closing(writer):
                async with asyncio.timeout(10):
                    body = await (reader.readuntil(b"\r\n0\r\n\r\n") if status == 200 else reader.read(300))
            self.told.answers[f"state {status}"] += 1
            if status == 200 and b'"reason"' in body:
                self.told.times_ms.append((time.monotonic() - begun) * 1000)
            await asyncio.sleep(POLL_S)

    async def silent(self) -> None:
        """A connection that says nothing, made again when it is cut."""
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(self.host, self.port)
                with contextlib.closing(writer):
                    said = await reader.read(100)
                    self.told.answers["silent 503" if b"503" in said else "silent cut"] += 1
            await asyncio.sleep(0.5)

    async def trying(self) -> None:
        """One that wants in and asks, over and over."""
        while True:
            try:
                async with asyncio.timeout(10):
                    _, writer, status = await self._ask("/api/session")
                with contextlib.closing(writer):
                    self.told.answers[f"trying {status}"] += 1
            except (OSError, IndexError, ValueError, TimeoutError) as error:
                self.told.answers[f"trying {type(error).__name__}"] += 1
            await asyncio.sleep(1.0)

    async def run(self, seconds: float, browsers: int, silent: int, trying: int) -> dict[str, Any]:
        """All of them for so long."""
        tasks = [asyncio.create_task(self.browser(i)) for i in range(browsers)]
        tasks += [asyncio.create_task(self.silent()) for _ in range(silent)]
        tasks += [asyncio.create_task(self.trying()) for _ in range(trying)]
        await asyncio.sleep(seconds)
        told = self.told.summary()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=2)
        return told


def main() -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--browsers", type=int, default=4)
    parser.add_argument("--silent", type=int, default=4)
    parser.add_argument("--trying", type=int, default=0)
    args = parser.parse_args()
    print(json.dumps(asyncio.run(Load(args.host, args.port).run(args.seconds, args.browsers, args.silent, args.trying))))


if __name__ == "__main__":
    main()
