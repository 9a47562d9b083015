"""A technician with mpremote while power flows: calls, copies to and fro, folders, with `resume` and without.

Every answer is compared; the real mpremote talks to the board's serial port through a pseudo-terminal.
"""

import asyncio
import random
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tools.bench.bars.story import JudgedSession, begin
from tools.sim.board.ptyport import PtyPort

CALLS = 500
A_RUN = 25  # calls of one mpremote
FILE_BYTES = 3000
TIMEOUT_S = 300.0


@dataclass
class Hands:
    """What was done, and what went wrong."""

    calls: int = 0
    copies: int = 0
    wrong: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, object]:
        """For the figures of the run."""
        return {"calls": self.calls, "copies": self.copies, "wrong": self.wrong}


async def mpremote(port: Path, *words: str, timeout: float = TIMEOUT_S) -> str:
    """What one mpremote prints, errors too; the exit code behind where it is not 0."""
    command = [sys.executable, "-m", "mpremote", "connect", str(port), *words]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    try:
        out, _ = await asyncio.wait_for(process.communicate(), timeout)
    except TimeoutError:
        process.kill()
        out, _ = await process.communicate()
        return out.decode(errors="replace") + f"<not done within {timeout:g} s>"
    return out.decode(errors="replace") + (f"<exit code {process.returncode}>" if process.returncode else "")


async def hands(run: JudgedSession) -> None:
    """CALLS calls with copies between them; leaves what was seen in run.hands."""
    await begin(run)
    seen = Hands()
    with tempfile.TemporaryDirectory() as scratch:
        port = PtyPort(run.board, Path(scratch) / "port")
        port.open()
        try:
            chance = random.Random(run.scenario.seed)
            while seen.calls < CALLS and not run.ended:
                await calls(port.path, seen, chance)
                await copies(port.path, Path(scratch), seen, chance)
                run.power_kw.append(abs(run.site.plant.pcs.power_w) / 1000)
        finally:
            await port.close()
    run.hands = seen.summary()
    await run.flowing()


async def calls(port: Path, seen: Hands, chance: random.Random) -> None:
    """One mpremote with many calls, half of the time with resume."""
    words = ["resume"] if chance.random() < 0.5 else []
    wanted = []
    for _ in range(A_RUN):
        a, b = chance.randrange(1 << 20), chance.randrange(1000)
        if chance.random() < 0.3:
            words += ["eval", f"[{a} * {b}, 'x' * {b % 90}]"]
            wanted.append(str([a * b, "x" * (b % 90)]))
        else:
            words += ["exec", f"def f(n):\n  return n * {b}\nprint(f({a}), pm.is_emergency)"]
            wanted.append(f"{a * b} False")
    said = (await mpremote(port, *words)).split("\r\n")
    seen.calls += A_RUN
    seen.wrong += [f"{one!r} is not {other!r}" for one, other in zip(said, [*wanted, ""], strict=False) if one != other]
    if len(said) != A_RUN + 1:
        seen.wrong.append(f"{len(said) - 1} answers instead of {A_RUN}: {said[-1]!r}")


async def copies(port: Path, scratch: Path, seen: Hands, chance: random.Random) -> None:
    """A file to the board and back, listed, shown and removed."""
    sent, got = scratch / "sent.txt", scratch / "got.txt"
    data = chance.randbytes(FILE_BYTES) if seen.copies % 2 else b"".join(b"line %d\n" % i for i in range(FILE_BYTES // 9))
    sent.write_bytes(data)
    said = await mpremote(port, "resume", "cp", str(sent), ":hands.txt", "+", "cp", ":hands.txt", str(got), "+", "ls", ":")
    seen.copies += 2
    if not got.exists() or got.read_bytes() != data:
        seen.wrong.append(f"a copy is not what was copied: {said!r}")
    if f"{len(data)} hands.txt" not in said:
        seen.wrong.append(f"ls: {said!r}")
    if not seen.copies % 4 == 0:
        said = await mpremote(port, "cat", ":hands.txt")
        if said.replace("\r\n", "\n").encode() != data:
            seen.wrong.append(f"cat: {said[:80]!r}")
    said = await mpremote(port, "rm", ":hands.txt", "+", "exec", "import os; print('hands.txt' in os.listdir())")
    if "False" not in said:
        seen.wrong.append(f"rm: {said!r}")
    got.unlink(missing_ok=True)
