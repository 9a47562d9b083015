"""The whole firmware in the heap of a small chip: it boots, works and answers on the 32-bit interpreter with 96 KB."""

import asyncio
from pathlib import Path

from tools.interpreters import chosen
from tools.simboard.board import Board
from tools.simsite.site import Site

ROOT = Path(__file__).resolve().parents[2]
LINES = (  # what a person types in a visit, and a word of the answer
    ("monitor(500)", "= None"),
    ("pm.start()", "= None"),
    ("pm.set_constant_power(-20)", "= None"),
    ("pm.start_charging(80)", "= None"),
    ("pm.stats()['mode']", "= '"),
    ("pm.stats()", "= {'"),
    ("devices()", "= {'"),
    ("limits()", "= None"),
    ("devices()['bms']['rejected']", "= 0"),
    ("pm.claim('remote', 5, 20, 'x')", "= None"),
    ("pm.claims()[0]['owner']", "= 'x'"),
    ("pm.curtail(50, 50, 10)", "= None"),
    ("pm.set_charge_params(ChargeParams(charge_current_max=80, target_soc=85))", "= None"),
    ("ChargeParams(target_soc=85).target_soc, ChargeParams().pulse_period", "= (85.0, 60.0)"),
    ("ChargeParams(method=2)", "! ConfigError: charge.stages: is empty"),
    ("pm.set_constant_power(999)", "! PowerError: kw = 999: allowed are -100.0 to 100.0 kW"),
    ("pm.stop_operation()", "= None"),
    ("Mode.name(Mode.IDLE)", "= 'IDLE'"),
    ("pm.faults()", "= ["),
    ("pm.emergency_shutdown()", "= None"),
    ("pm.reset_emergency()", "= None"),
    ("pm.events.history()[-1][0]", "= "),
)


async def visit(state: Path) -> list[str]:
    """Every line typed, each after the answer to the one before; what the console said."""
    site = Site(seed=1)
    await site.start()
    interpreter = list(chosen("32").command)
    board = Board(ROOT, state_dir=state, site=site.site_json(), interpreter=interpreter, heap="96K", env=site.env())
    try:
        await board.start()
        await board.wait_line("GRID_CONNECTED", 20)
        await asyncio.sleep(1)
        for line, _ in LINES:
            before = sum(said[:2] in ("= ", "! ") for said in board.lines)
            await board.send(line)
            for _ in range(200):
                if sum(said[:2] in ("= ", "! ") for said in board.lines) > before:
                    break
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.3)
        return list(board.lines)
    finally:
        await board.stop()
        await site.stop()


def test_a_visit_to_a_board_with_96_kb_of_heap(tmp_path: Path) -> None:
    said = asyncio.run(visit(tmp_path))
    answers = [line for line in said if line[:2] in ("= ", "! ")]
    assert not [line for line in said if "MemoryError" in line]
    assert len(answers) == len(LINES), said[-30:]
    for (line, wanted), answer in zip(LINES, answers, strict=True):
        assert answer.startswith(wanted), f"{line}: {answer}"
