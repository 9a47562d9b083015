"""`make run ARGS=--console`: the simulated board's own console on this terminal (or a pipe), with the site running around it.

What is typed goes to the board, line by line; a line that begins with ! goes to the site: faults and weather for practice.
A pipe is read as a person types: the next line goes out when the one before has been answered.
"""

import asyncio
import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable

from tools.sim.board.board import Board
from tools.sim.faults import FAULTS
from tools.sim.live import LiveSite
from tools.sim.scenario import RANGES

READY_S = 30.0  # a board that has not begun to control by then has not booted
ANSWER_S = 15.0
WELCOME = "Lines go to the board's console (docs/console.md), those that begin with ! to the site (!help).  Ctrl-D ends."
AT_PORT = """\
The board's console is at {path}: mpremote connect {path} exec "print(pm.mode)", or mpremote connect {path} resume repl.
Lines that begin with ! go to the site (!help).  Ctrl-C ends."""
ELSEWHERE = "the board's console is at its port; here only lines that begin with ! are taken, for the site (!help)"
LEFT = "the program has ended: on a board the ordinary prompt is here now, for mpremote and make deploy; !restart starts it again"
AT_PROMPT = "the program has ended: the port has the ordinary prompt, for mpremote and make deploy; !restart starts it again"
HELP = """\
!inject NAME           a fault begins: {faults}
!clear NAME            it ends
!set NAME VALUE        {names}
                       (with a bank or device behind it, where there are several: !inject bms_silent bms_a)
!truth                 what is really so
!wait SECONDS          nothing is typed for so long
!kill, !restart        the board's power is cut; it starts again"""


class Refused(ValueError):
    """A line to the site that it does not understand; the text says what it takes."""


class Practice:
    """One board and its site with a person at the console."""

    def __init__(self, site: LiveSite, board: Board, say: Callable[[str], None], at_port: bool = False) -> None:
        """say: prints a line for the person; at_port: the console is elsewhere, at a port of its own."""
        self._at_port = at_port
        self.site = site
        self.board = board
        self.say = say
        self._answers = 0
        self._answered = asyncio.Event()
        self._left = False  # leave() has ended the program: nobody answers a line

    async def start(self) -> None:
        """Site and board up, control running.  RuntimeError, with what its console said, where it does not come up."""
        site, board = self.site, self.board
        await site.start()
        board.site = site.board_json()
        board.on_line = self._line
        site.wire(board)
        board.on_reset = lambda cause: self.say(f"[the board starts again: {cause}]")
        await board.start()
        await self._control_begins()
        self.say(f"[CAN: slcan at socket://127.0.0.1:{site.ports['can']}]")

    async def _control_begins(self) -> None:
        try:
            await self.board.wait_line("control begins", READY_S)
        except TimeoutError as error:
            raise RuntimeError(f"the board did not come up: {error}") from None

    async def stop(self) -> None:
        """Both down."""
        self.board.on_line = None
        with contextlib.suppress(Exception):
            await self.board.stop()
        await self.site.stop()

    async def play(self, lines: AsyncIterator[str]) -> int:
        """Hand on every line until they end; 0, or 1 when the board was not running at the end."""
        async for line in lines:
            try:
                await self._hand_on(line.rstrip("\r"))
            except Refused as error:
                self.say(f"[{error}]")
        return 0 if self.board.running else 1

    async def _hand_on(self, line: str) -> None:
        if line.startswith("!"):
            await self.to_site(line[1:].split())
        elif line.strip() and self._at_port:
            raise Refused(ELSEWHERE)
        elif line.strip():
            if self._left:
                raise Refused(LEFT)
            before = self._answers
            await self.board.send(line)
            give_up = time.monotonic() + ANSWER_S
            while self._answers == before and self.board.running and not self._left and time.monotonic() < give_up:
                self._answered.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._answered.wait(), 0.25)

    def _line(self, line: str) -> None:
        if not self._at_port or line.startswith(("boot: ", "end: ")):
            self.say(line)
        if line.startswith("end: the program ends (leave())"):
            self._left = True
            if self._at_port:
                self.say(f"[{AT_PROMPT}]")
        elif line.startswith("boot: "):
            self._left = False  # it has started again, whatever it was that did it
        if line.startswith(("= ", "! ")) or line == "=":
            self._answers += 1
            self._answered.set()

    # ---- the site -------------------------------------------------------------------------------------
    async def to_site(self, words: list[str]) -> None:
        """Do what a line after ! says.  Raises Refused with what it takes."""
        match words:
            case ["inject", name, *of] if name in FAULTS and len(of) < 2:
                self._named(of, lambda who: self.site.inject(name, who))
                self.say(f"[{' of '.join((name, *of))}: {FAULTS[name].meaning}]")
            case ["clear", name, *of] if name in FAULTS and len(of) < 2:
                self._named(of, lambda who: self.site.clear(name, who))
                self.say(f"[{' of '.join((name, *of))} ends]")
            case ["inject" | "clear", *_]:
                raise Refused(f"!{words[0]} takes one of: {', '.join(FAULTS)}")
            case ["set", name, value, *of] if name in RANGES and len(of) < 2:
                self._named(of, lambda who: self.site.set(name, number(name, value), who))
                self.say(f"[{' of '.join((name, *of))} is {value}]")
            case ["set", *_]:
                raise Refused(f"!set takes a value and one of: {', '.join(RANGES)}")
            case ["wait", value]:
                await asyncio.sleep(number("wait", value))
            case ["truth"]:
                self.say(f"[{json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in self.site.truth().items()})}]")
            case ["kill"]:
                self.board.kill()
                self.say("[the board is without power]")
            case ["restart"]:
                self.board.lines.clear()
                await self.board.restart()
                await self._control_begins()
            case _:
                names = ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in RANGES.items())
                for text in HELP.format(faults=", ".join(FAULTS), names=names).splitlines():
                    self.say(text)


    def _named(self, of: list[str], act: Callable[[str], None]) -> None:
        """Do it to the bank or device that was named, or to the site.  Raises Refused where there is no such thing."""
        try:
            act(of[0] if of else "")
        except Refused:
            raise
        except ValueError as error:
            raise Refused(str(error)) from None


def number(name: str, text: str) -> float:
    """A number that was typed, in its range.  Raises Refused."""
    low, high = RANGES.get(name, (0, 3600))
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise Refused(f"{name} = {text}: allowed are {low:g} to {high:g}")
    return value


async def typed() -> AsyncIterator[str]:
    """The lines of standard input as they come, until it ends.  Read in a thread: a terminal must go on blocking for others."""
    queue: asyncio.Queue[str | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> None:
        rest = b""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the run is over
            while data := os.read(sys.stdin.fileno(), 4096):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    loop.call_soon_threadsafe(queue.put_nowait, line.decode(errors="replace"))
            if rest:
                loop.call_soon_threadsafe(queue.put_nowait, rest.decode(errors="replace"))
            loop.call_soon_threadsafe(queue.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    while (line := await queue.get()) is not None:
        yield line
