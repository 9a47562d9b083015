"""A board's flash as months of operation leave it: schedules entered, the log of events at its limit.

A board at full speed writes it, with the firmware's own means.
"""

import asyncio
from dataclasses import replace
from pathlib import Path

from tools.bench.bars import typed
from tools.interpreters import chosen
from tools.sim.board.board import Board
from tools.sim.board.profiles import KB, Profile
from tools.sim.site import Site

_HEAP = 1024 * KB
_READY_S = 30.0
_ANSWER_S = 30.0
_LEFT = 150  # bytes to the log's limit: the next flush of a few events makes it rotate
FILL = (
    "log = timeline.records",
    "import os",
    "exec('def fill(limit):\\n'"
    "' while os.stat(log.events.path)[6] < limit:\\n'"
    "'  for n in range(2):\\n'"
    "'   log.log(clock, \"LIMIT_CHANGE\", n)\\n'"
    "'  log.events.flush()\\n')",
    "log.log(clock, 'LIMIT_CHANGE', 1)",
    "log.events.flush()",
    "fill(16000)",
    "for _ in log.events._rotation(): pass",
    "log.log(clock, 'LIMIT_CHANGE', 1)",
    "log.events.flush()",
    f"fill({16384 - _LEFT})",
    "log.flush()",
)


async def prepare(root: Path, state: Path, profile: Profile, site: Site, schedules: int) -> None:
    """Leaves the flash in `state`; `site` runs.  RuntimeError when the board refuses something of it."""
    if not schedules:
        return  # a site without a calendar keeps neither
    roomy = replace(profile, heap=_HEAP, areas=0)  # what is to be judged is not this run
    board = Board(root, state_dir=state, site=site.site_json(), interpreter=list(chosen("32").command), profile=roomy)
    site.wire(board)
    await board.start()
    try:
        await board.wait_line("control begins", _READY_S)
        for line in (*typed.schedules(schedules), *FILL):
            board.lines.clear()
            await board.send(line)
            answer = await board.wait_line(lambda text: text[:2] in ("= ", "! "), _ANSWER_S)
            if answer.startswith("!"):
                raise RuntimeError(f"{line}: {answer}")
    except TimeoutError as error:
        raise RuntimeError(f"the board could not be prepared: {error}") from error
    finally:
        await board.stop()
    await asyncio.sleep(0)
