"""A person at the cabinet, asked on this terminal."""

import asyncio
import contextlib
import sys
import threading

from tools.commission.bench import Agreed

ABSENT = "the standard input is no terminal, or was closed"


class Terminal:
    """Asks, and waits for Enter.  Read in a thread that nobody waits for: Ctrl-C must not have to wait for a line."""

    def __init__(self) -> None:
        self._lines: asyncio.Queue[str] | None = None
        self._ended = False  # there are no lines any more
        self.unanswered: list[str] = []  # what was asked when nobody was there any more

    async def line(self) -> str:
        """The next line that is typed; "" at the end of the input."""
        if self._lines is None:
            self._lines = asyncio.Queue()
            loop, lines = asyncio.get_running_loop(), self._lines

            def read() -> None:
                with contextlib.suppress(RuntimeError):  # the loop is closed: the session is over
                    while True:
                        line = sys.stdin.readline()
                        loop.call_soon_threadsafe(lines.put_nowait, line)
                        if not line:
                            return

            threading.Thread(target=read, daemon=True).start()
        line = await self._lines.get()
        if not line:
            self._ended = True
            self._lines.put_nowait("")  # it stays so
        return line

    async def do(self, text: str, acts: tuple[tuple[str, ...], ...]) -> bool:
        """False where the person says no, or nobody is there (`absent` says so then)."""
        done = await self.confirmed(f"   >>> {text}\n       Enter when it is done, n if it cannot be done: ")
        if not done and self._ended:
            print(flush=True)
            self.say(f"   NOBODY ANSWERS: {ABSENT}")
            self.unanswered.append(text)
        return done

    def absent(self) -> str:
        """Why nobody has answered; "" where somebody has."""
        return f"nobody answered ({ABSENT})" if self._ended else ""

    @staticmethod
    def is_there() -> bool:
        """Whether a person can type here; without one there may be lines on a pipe."""
        return sys.stdin.isatty()

    async def confirmed(self, question: str) -> bool:
        """Ask; Enter is yes."""
        print(question, end="", flush=True)
        line = await self.line()
        return line != "" and not line.strip().lower().startswith("n")

    def say(self, text: str) -> None:
        """Print a line; to a terminal that is gone, nothing: the site is to be stopped all the same."""
        with contextlib.suppress(OSError):
            print(text, flush=True)

    def held_up(self) -> str:
        """Nothing of a real site depends on this computer."""
        return ""

    async def agreed(self, agreed: Agreed) -> None:
        """What is not known yet: Enter leaves it so."""
        if agreed.get("export_kw") is not None or not sys.stdin.isatty():
            return
        while True:
            print(f"{Agreed.KEYS['export_kw']} (Enter: not known): ", end="", flush=True)
            text = (await self.line()).strip().replace(",", ".")
            if not text:
                return
            try:
                agreed.values["export_kw"] = float(text)
                return
            except ValueError:
                print(f"{text!r} is no number of kW")
