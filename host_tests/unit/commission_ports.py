"""What stands in for a board and a person where commissioning's own judgement is tried."""

import asyncio
from collections.abc import Callable
from typing import Any

from tools.commission.wire import Sample

SUBJECT = {"chip": "a1", "firmware": "f" * 64, "firmware_stamp": "sources", "site": "home", "site_sha256": "5" * 64, "files": {},
           "simulated": False}  # fmt: skip
SITE: dict[str, Any] = {"schema": 1, "name": "home", "wifi": {"ssid": "plant", "password": "a secret"}, "devices": {}}


class Replies:
    """A port on which a board answers each line with these."""

    def __init__(self, *answers: tuple[str, ...]) -> None:
        self.answers = list(answers)
        self.on_line: Callable[[str], None] = lambda line: None

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def send(self, line: str) -> None:
        for answer in self.answers.pop(0) if self.answers else ():
            self.on_line(answer)


class NoHand:
    """Nobody is there."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def do(self, text: str, acts: tuple[tuple[str, ...], ...]) -> bool:
        return False

    def absent(self) -> str:
        return ""

    def say(self, text: str) -> None:
        self.told.append(text)

    def held_up(self) -> str:
        return ""


class Accepts(Replies):
    """A board that takes everything; `deaf`: one that has no power."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []
        self.deaf = False
        self.mode = "STANDBY"
        self.value_of: dict[str, str] = {}  # the answer to a line that has this in it

    async def send(self, line: str) -> None:
        self.sent.append(line)
        if not self.deaf:
            self.on_line(f'{{"t": 1.0, "mode": "{self.mode}", "cmd": 0}}')
            self.on_line("= " + next((value for part, value in self.value_of.items() if part in line), "'accepted'"))


async def sample(port: Accepts) -> Sample:
    """What its monitor says next."""
    await asyncio.sleep(0)
    return Sample(0.0, {"mode": port.mode, "cmd": 0})
