"""The bar of commissioning: every mistake is found and named, and a cabinet without one passes.  Each in a process of its own."""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from tools.commission.simulated import TWO_BANKS
from tools.sim.mistakes import MISTAKES

AT_A_TIME = 4  # a walk mostly waits
_CLEAN = "no mistake"
_CLEAN_TWO = "no mistake, two banks"


async def _walk(name: str, out: Path, turn: asyncio.Semaphore) -> tuple[str, float, dict[str, Any]]:
    """One walk: its name, how long it took, its report."""
    async with turn:
        folder = out / name.replace(" ", "_")
        began = time.monotonic()
        clean = {_CLEAN: [], _CLEAN_TWO: ["--site", str(TWO_BANKS)]}
        plant = clean.get(name, ["--plant", name])
        command = [sys.executable, "-m", "tools.commission", "--sim", "--out", str(folder), *plant]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        output, _ = await process.communicate()
        file = folder / "report.json"
        fresh = process.returncode in (0, 1)  # else it has not begun, and a report there is an older one
        content = json.loads(file.read_text()) if fresh else {"verdict": output.decode()[-300:], "steps": []}
        print(judged(name, time.monotonic() - began, content)[0], flush=True)
        return name, time.monotonic() - began, content


def judged(name: str, seconds: float, content: dict[str, Any]) -> tuple[str, bool]:
    """A line for people, and whether it is what it should be."""
    failed = [step for step in content["steps"] if step["verdict"] == "fail"]
    if name in (_CLEAN, _CLEAN_TWO):
        sound = content["verdict"] == "passed"
        return f"{'ok ' if sound else 'BAD'} {name:20} {seconds:4.0f} s  {content['verdict']}", sound
    mistake = MISTAKES[name]
    text = "; ".join(step["text"] for step in failed)
    unnamed = [word for word in mistake.named if word.lower() not in text.lower()]
    sound = [step["id"] for step in failed] == [mistake.step] and not unnamed
    where = ", ".join(step["id"] for step in failed) or content["verdict"]
    return f"{'ok ' if sound else 'BAD'} {name:20} {seconds:4.0f} s  {where}: {text[:160]}", sound


async def run(out: Path) -> int:
    """All of them; the exit code."""
    turn = asyncio.Semaphore(AT_A_TIME)
    found = await asyncio.gather(*(_walk(name, out, turn) for name in (_CLEAN, _CLEAN_TWO, *MISTAKES)))
    wrong = [name for name, seconds, content in found if not judged(name, seconds, content)[1]]
    print(f"{len(found) - len(wrong)} of {len(found)} as they should be" + (f"; not: {', '.join(wrong)}" if wrong else ""))
    return 1 if wrong else 0
