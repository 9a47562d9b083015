"""Commissioning a simulated cabinet with mistakes in it: it stops at one, goes on behind it, and proposes what mends it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tools.commission import mend, place, report
from tools.commission.__main__ import prepare
from tools.commission.bench import Agreed, Bench
from tools.commission.outcome import FAIL, PASS
from tools.commission.simulated import TWO_BANKS, Cabinet, site
from tools.commission.steps import BY_ID, Step
from tools.commission.walk import State, Walk, subject
from tools.commission.wire import Console, Refused
from tools.interpreters import Interpreter
from tools.run import ROOT
from tools.sim.mistakes import MISTAKES

pytestmark = [pytest.mark.mp64, pytest.mark.serial, pytest.mark.longest]
FIRST = tuple(BY_ID[name] for name in ("identity", "leftovers", "clock"))


async def begin(console: Console, cabinet: Cabinet, file: Path) -> tuple[Bench, State]:
    """As the program does."""
    content, raw = await prepare(console)
    bench = Bench(console, content, Agreed(cabinet.agreed()), cabinet)
    return bench, State(file, await subject(bench, raw))


def named(mistake: str, text: str) -> bool:
    return all(word.lower() in text.lower() for word in MISTAKES[mistake].named)


def test_it_stops_at_a_mistake_goes_on_behind_it_and_what_it_proposes_mends_it(mp64: Interpreter, tmp_path: Path) -> None:
    told: list[str] = []

    async def session() -> None:
        cabinet = Cabinet(site(1), ["override_left", "meter_turned"], told.append)
        console = Console(cabinet)
        try:
            await console.open()
            for line in cabinet.typed:
                await console.ask(line)
            bench, state = await begin(console, cabinet, tmp_path / "state.json")
            await stops_and_goes_on(bench, state)
            await proposes_what_mends(bench, cabinet, State(tmp_path / "power.json", state.subject))
        finally:
            await console.close()

    async def stops_and_goes_on(bench: Bench, state: State) -> None:
        assert await Walk(bench, state, steps=FIRST).run() is False
        assert [one.verdict for one in state.outcomes.values()] == [PASS, FAIL], told
        assert named("override_left", state.outcomes["leftovers"].text)
        await bench.console.ask(state.outcomes["leftovers"].advice.removeprefix("at the console: "))
        again = State(tmp_path / "state.json", state.subject)
        assert again.resumed and [step.id for step in Walk(bench, again, steps=FIRST).due()] == ["leftovers", "clock"]
        assert await Walk(bench, again, steps=FIRST).run() is True
        assert all(again.passed(step.id) for step in FIRST)

    async def proposes_what_mends(bench: Bench, cabinet: Cabinet, state: State) -> None:
        console = bench.console
        assert await Walk(bench, state).run(["direction"]) is False
        turned = state.outcomes["direction"]
        assert turned.verdict == FAIL and named("meter_turned", turned.text), turned
        for figure in turned.figures:
            assert not figure.bound or figure.unit in figure.bound, figure
        assert turned.patch == {"devices.meter.reversed": True}
        assert await console.ask("pm.mode") == 0 and abs(cabinet.site.plant.pcs.power_w) < 1, "a failure leaves 0 W and STANDBY"
        await mend.save(console, bench.site, turned.patch)
        await cabinet.board.restart("HARD_RESET")
        await console.wait_up(30)
        bench, mended = await begin(console, cabinet, tmp_path / "power.json")
        assert mended.changed and not mended.outcomes, "what was measured with another site file does not count"
        assert await Walk(bench, mended).run(["direction"]) is True, mended.outcomes["direction"].text
        await mend.save(console, bench.site, {"power.max_soc": 89})  # of a file that a board has saved before
        with pytest.raises(Refused, match="its site file was changed since this session began"):
            await mend.save(console, bench.site, {"power.max_soc": 88})

    asyncio.run(session())


def test_ctrl_c_leaves_the_site_at_rest_and_a_report(mp64: Interpreter, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tools.commission", "--sim", "--out", str(tmp_path)]
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env) as process:
        assert process.stdout is not None
        before = []
        for line in process.stdout:
            before.append(line)
            if "Every device answers" in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stdout.read()
        assert process.wait(60) == 130, before + [rest]
    assert "STANDBY" in rest and "begins anew" in rest and "report, which no later" in rest, rest
    assert "DOES NOT ANSWER" not in rest and "Traceback" not in rest, rest
    verdicts = {step["id"]: step["verdict"] for step in json.loads((tmp_path / "report.json").read_text())["steps"]}
    assert "SIMULATED CABINET" in "".join(before), "said before anything else"
    assert report.verify(next((tmp_path / place.REPORTS).glob("*.html")))[1]
    assert verdicts["clock"] == "pass" and verdicts["polls"] == "not tested"


def test_of_two_banks_each_is_tried_while_the_other_stands_still_and_a_mistake_in_the_second_is_named_as_its(
    mp64: Interpreter, tmp_path: Path
) -> None:
    """They were tried as one: of an inverter that went the other way the sum was half, and the meter was to blame."""
    powers: list[list[float]] = []

    async def session() -> None:
        cabinet = Cabinet(site(1, TWO_BANKS), ["b_inverter_turned"], lambda _: None)
        console = Console(cabinet)

        async def work(bench: Bench) -> None:
            await bench.start()
            await bench.hold(bench.pulse_kw, 0.5, parts=False)
            powers.append([round(one.pcs.power_w / 1000) for one in cabinet.site.plant.inverters])

        try:
            await console.open()
            bench, state = await begin(console, cabinet, tmp_path / "state.json")
            flows = Step("flows", "Power flows", work, each="bank")
            assert await Walk(bench, state, steps=(flows,)).run() is True, state.outcomes
            assert powers == [[4, 0], [0, -4]], "one moves, the other does not, and the second goes the other way"
            assert await Walk(bench, state).run(["estop_power"]) is False
            text = state.outcomes["estop_power"].text
            assert "pcs_b of bank b has no part" in text and "its sign is turned?" in text, text  # the other did it all
            assert await Walk(bench, state).run(["direction"]) is False
            found = state.outcomes["direction"]
            assert found.text.startswith("bank b (bms_b, pcs_b): the inverter (pcs_b) goes the wrong way"), found.text
            assert not [figure for figure in found.figures if figure.ok is False and figure.name.startswith("bank a")]
            free = await console.ask("[b.par[s]==im.FREE for b in pm.image.banks for s in (im.EMS_P_CHG,im.EMS_P_DIS)]")
            assert free == [True] * 4, "nobody is held any more"
        finally:
            await console.close()

    asyncio.run(session())


def test_an_ems_on_modbus_and_one_on_can_move_both_of_two_banks(mp64: Interpreter, tmp_path: Path) -> None:
    async def session() -> None:
        cabinet = Cabinet(site(1, TWO_BANKS), [], lambda _: None)
        console = Console(cabinet)
        try:
            await console.open()
            bench, state = await begin(console, cabinet, tmp_path / "state.json")
            for step, name in (("remote", "ems"), ("ems_can", "ems can")):
                assert await Walk(bench, state).run([step]) is True, state.outcomes[step].text
                told = {figure.name: figure.value for figure in state.outcomes[step].figures}
                each = [abs(float(value) + 4) < 1 for figure, value in told.items() if "told -4.0 kW" in figure]
                assert each == [True, True], told
                assert told[f"{name}: who asks for the power"] == "remote"
        finally:
            await console.close()

    asyncio.run(session())
