"""A task that power depends on is there again, whatever has ended it; and what is no reason to end the program ends none."""

import asyncio
from pathlib import Path

import pytest

from host_tests.site.test_end_of_program import CRASH, Run, under_load
from tools.interpreters import Interpreter

# at `go` once in the task that tells the inverter
AT_GO = (
    "import asyncio, notice\npcs = app.site.devices['pcs']\nreal = pcs._watch_control\n{before}"
    "def watch(now):\n if 'go' in app.names and app.names.pop('go'):\n  {what}\n real(now)\npcs._watch_control = watch"
)
ODD = "class Odd(Exception):\n def __str__(self): raise ValueError('it has no words')\n"
GONE = (
    "def gone(text):\n notice.sink = sink\n raise OSError(5)\n"
    "def go():\n global sink\n sink, notice.sink = notice.sink, gone\n raise ValueError('x')\n"
)
RETURNS = (
    "from looptime import Part\npart = app.site.devices['pcs'].parts['pcs commands']\nreal = part.run\nended = []\n"
    "async def once():\n"
    " if ended: return await real()\n"
    " task = __import__('asyncio').create_task(real())\n"
    " while 'go' not in app.names: await __import__('asyncio').sleep_ms(20)\n"
    " task.cancel()\n ended.append(1)\n"
    "part.run = once"
)
ENDS = {
    "it is cancelled": AT_GO.format(before="", what="raise asyncio.CancelledError"),
    "an error without words": AT_GO.format(before=ODD, what="raise Odd('x')"),
    "a console that is gone": AT_GO.format(before=GONE, what="go()"),
    "it returns": RETURNS,
}


@pytest.mark.parametrize("how", ENDS)
def test_who_tells_the_inverter_is_started_again_whatever_has_ended_it(mp32: Interpreter, tmp_path: Path, how: str) -> None:
    async def story(run: Run) -> None:
        await run.board.send("go = 1")
        await asyncio.sleep(1.5)  # it is back a second later
        await run.ask("pm.set_constant_power(30)")
        await run.until(lambda: 29000 < run.site.plant.pcs.power_w < 31000, 4)
        assert await run.ask("app.restarts, Mode.name(pm.mode)") == "= ({'pcs commands': 1}, 'DISCHARGE')"
        assert run.openings == []

    under_load(mp32, tmp_path, story, CRASH.format(how=ENDS[how]))


NO_THREAD = (
    "import _thread\nfrom firmware import callbacks\nclass Chip:\n stack_size = _thread.stack_size\n"
    " def start_new_thread(*given): raise OSError('no memory for another thread')\ncallbacks._thread = Chip"
)
FULL = (
    "real = app.pm.going_on\ndef going_on():\n"
    " if 'go' in app.names: raise MemoryError('memory allocation failed, allocating 48 bytes')\n return real()\n"
    "app.pm.going_on = going_on"
)


@pytest.mark.parametrize(("why", "line"), [(NO_THREAD, "pm.register_callback(Event.ALL, lambda *all: None)"), (FULL, "go = 1")])
def test_what_the_house_cannot_have_ends_no_program_under_load(mp64: Interpreter, tmp_path: Path, why: str, line: str) -> None:
    async def story(run: Run) -> None:
        await run.board.send(line)
        await asyncio.sleep(2)
        assert run.site.plant.pcs.power_w > 59000 and run.openings == [] and run.board.resets == []
        assert await run.ask("Mode.name(pm.mode), app.ending.why") == "= ('DISCHARGE', '')"

    under_load(mp64, tmp_path, story, CRASH.format(how=why))


ON_THE_ROAD = (
    "real = app.pm.halt\ndef halt():\n real()\n app.pm.states.enter_emergency(3)\napp.pm.halt = halt"  # as the cycle does
)


def test_an_emergency_that_arises_on_the_road_outlives_the_reset(mp32: Interpreter, tmp_path: Path) -> None:
    async def story(run: Run) -> None:
        await run.ask("__import__('machine').reset()")
        await run.until(lambda: bool(run.board.resets), 8)
        run.opened_in_order()
        await run.board.wait_line("control begins", 15)
        assert await run.ask("pm.is_emergency, pm.emergency_cause") == "= (True, 3)"

    under_load(mp32, tmp_path, story, CRASH.format(how=ON_THE_ROAD))
