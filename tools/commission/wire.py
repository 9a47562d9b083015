"""The board's console as a program speaks it: a line, its answer, and the monitor's lines meanwhile.

An answer is `= value` or `! Error: text`; what a line prints comes before it (docs/console.md).  How the bytes get there is the
affair of a Port: serial_port.py, simulated.py.
"""

import ast
import asyncio
import json
import re
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

ANSWER_S = 15.0
BOOT_S = 60.0
_KEPT = 20_000  # samples: half an hour at ten a second
_AHEAD = 4  # lines typed before the first of them is answered: the console keeps eight, a chip's receive buffer 256 bytes
_DRAWN = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # what a terminal is told beside the text
_STARTED = "boot: reset cause"  # what a board says first
_PROMPT = re.compile(r"^(>>> )+")


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


class Refused(RuntimeError):
    """The console has answered with an error; the text is what it says."""


class Locked(Refused):
    """It wants a PIN first: commissioning needs the service role."""


class Silent(RuntimeError):
    """The console has not answered."""


class Port(Protocol):
    """Carries lines both ways; `on_line` hears each that the board prints."""

    on_line: Callable[[str], None]

    async def open(self) -> None:
        """Raises OSError, with the name of the port, where it cannot be had."""

    async def send(self, line: str) -> None:
        """Type a line."""

    async def close(self) -> None:
        """Let go of it."""


class Sample(NamedTuple):
    """A line of the monitor: when it came (s, this computer's), and what it says."""

    at: float
    state: dict[str, Any]


class Console:
    """What is typed and what is answered, one line at a time; `samples`: the monitor's lines, newest last."""

    def __init__(self, port: Port) -> None:
        self.port = port
        self.samples: deque[Sample] = deque(maxlen=_KEPT)
        self.events: deque[tuple[float, str, Any]] = deque(maxlen=2000)  # (when, name, data)
        self.said: deque[tuple[float, str]] = deque(maxlen=2000)  # every other line
        self._answers: asyncio.Queue[str] = asyncio.Queue()
        self._printed: list[str] = []
        self._fresh = asyncio.Event()
        self._monitor_ms = 0
        self._turn = asyncio.Lock()
        self.pin = ""  # of the service role, where the board has one
        self.starts = 0  # of the board, that were seen
        self.aside: Callable[[Sample], None] | None = None  # who takes the monitor's lines, and gives back what becomes of them
        port.on_line = self._line

    async def open(self) -> None:
        """Open the port and wait until the console answers.  Silent with what it says instead, OSError without a port."""
        await self.port.open()
        await self.wait_up(BOOT_S)

    async def wait_up(self, timeout: float) -> None:
        """Until the console answers, as after a reset.  Locked where it wants a PIN, and `pin` is not the one."""
        give_up = time.monotonic() + timeout
        while time.monotonic() < give_up:
            mark = f"here {time.monotonic_ns()}"
            await self.port.send(repr(mark))
            until = time.monotonic() + 1.0
            while (left := until - time.monotonic()) > 0:
                try:
                    answer = await self._next(left)
                except TimeoutError:
                    break
                if answer.startswith("!") and "role" in answer:
                    await self._log_in()
                    break
                if answer == f"= {mark!r}":
                    self._printed.clear()
                    if self._monitor_ms:
                        await self.monitor(self._monitor_ms)
                    return
        last = "\n".join(text for _, text in list(self.said)[-8:]) or "(nothing)"
        raise Silent(f"the board's console has not answered for {timeout:.0f} s; it said last:\n{last}")

    async def _log_in(self) -> None:
        if not self.pin:
            raise Locked("the console wants the service PIN")
        try:
            await self.lines(f"login {self.pin}")
        except Refused as error:
            raise Locked(f"the console does not take the PIN: {error}") from None

    async def close(self) -> None:
        """Let go of the port."""
        await self.port.close()

    # ---- lines and answers -------------------------------------------------------------------------------
    async def lines(self, line: str, timeout: float = ANSWER_S, unless: Callable[[], bool] | None = None) -> tuple[list[str], str]:
        """Type a line: what it printed, and its answer's text behind "= ".  Refused, Silent.

        unless: nothing is typed where that is so once the lines before it have been answered.
        """
        async with self._turn:
            if unless is not None and unless():
                return [], ""
            self._printed.clear()
            while not self._answers.empty():
                self._answers.get_nowait()  # of a line that was given up
            await self.port.send(line)
            try:
                answer = await self._next(timeout)
            except TimeoutError:
                raise Silent(f"no answer to {line!r} for {timeout:.0f} s") from None
            printed = self._printed[:]
        if answer.startswith("!"):
            raise Refused(answer[1:].strip())
        return printed, answer[1:].strip()

    async def ask(self, line: str, timeout: float = ANSWER_S) -> Any:
        """The answer's value; its text where that is no literal."""
        return _value((await self.lines(line, timeout))[1])

    async def _next(self, timeout: float) -> str:
        """The next answer.  (Not by wait_for(): that may swallow a cancellation that comes together with what it waits for.)"""
        async with asyncio.timeout(timeout):
            return await self._answers.get()

    async def ask_all(self, lines: list[str], timeout: float = ANSWER_S) -> list[Any]:
        """The answers of many short lines, an error as a Refused: a few are typed ahead, as the console allows."""
        found: list[Any] = []
        async with self._turn:
            while not self._answers.empty():
                self._answers.get_nowait()
            sent = 0
            while len(found) < len(lines):
                while sent < len(lines) and sent - len(found) < _AHEAD:
                    await self.port.send(lines[sent])
                    sent += 1
                try:
                    answer = await self._next(timeout)
                except TimeoutError:
                    raise Silent(f"no answer to {lines[len(found)]!r} for {timeout:.0f} s") from None
                text = answer[1:].strip()
                found.append(Refused(text) if answer.startswith("!") else _value(text))
            self._printed.clear()
        return found

    # ---- the monitor -------------------------------------------------------------------------------------
    async def monitor(self, ms: int) -> None:
        """Have the state every so many ms; 0: no more."""
        self._monitor_ms = ms
        await self.lines(f"monitor({ms})")

    async def next_sample(self, timeout: float = 5.0) -> Sample:
        """The next line of the monitor.  Silent where none comes."""
        self._fresh.clear()
        try:
            async with asyncio.timeout(timeout):
                await self._fresh.wait()
        except TimeoutError:
            raise Silent(f"the monitor has said nothing for {timeout:.0f} s") from None
        return self.samples[-1]

    def since(self, at: float) -> list[Sample]:
        """The samples that came from then on."""
        return [sample for sample in self.samples if sample.at >= at]

    def take(self, sample: Sample) -> None:
        """The newest there is."""
        self.samples.append(sample)
        self._fresh.set()

    # ---- what comes --------------------------------------------------------------------------------------
    def _line(self, raw: str) -> None:
        line = _PROMPT.sub("", _DRAWN.sub("", raw).rstrip("\r"))
        now = time.monotonic()
        if line.startswith("{"):
            try:
                data = json.loads(line)
            except json.JSONDecodeError:
                data = {}  # one that a reset has cut
            if "event" in data:
                self.events.append((now, str(data["event"]), data.get("data")))
                return
            if "mode" in data and "t" in data:
                (self.aside or self.take)(Sample(now, data))
                return
        if line.startswith(("= ", "! ")) or line == "=":
            self._answers.put_nowait(line)
        elif line.strip():
            self.starts += line.startswith(_STARTED)
            self._printed.append(line)
            self.said.append((now, line))
