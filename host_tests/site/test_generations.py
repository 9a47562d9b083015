"""A deploy that cannot break: whatever a new generation does, the board starts it or the one before, and says which."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools.build import generation
from tools.interpreters import Interpreter
from tools.sim.board.board import Board
from tools.sim.generations import PASS, ROOT, SITE, lay, switch, switched, tiny

TRIAL = "RuntimeError: not today"
RAISES = "raise RuntimeError('not today')"
RESETS = "import machine; machine.reset()"


def board_of(mp: Interpreter, tmp_path: Path, new: dict[str, str], *, trial: bool = True, before: bool = True) -> Board:
    """Generation a, which has passed, in a folder beside b, which is what `new` says and is the next start."""
    state = tmp_path / "state"
    flash = state / "flash"
    flash.mkdir(parents=True)
    old = lay(flash, "a", tiny(tmp_path / "old", "old"), mp.march, 1)
    young = lay(flash, "b", tiny(tmp_path / "new", "new", **new), mp.march, 2)
    switch(flash, generation.record(young, old if before else None, trial=trial))
    return Board(ROOT, state_dir=state, site=None, interpreter=list(mp.command), staged=True)


def said(board: Board, *words: str | Callable[[str], bool], resets: int | None = None) -> list[str]:
    """Boots until each of these was said; gives everything that was."""

    async def run() -> None:
        await board.start()
        try:
            for word in words:
                await board.wait_line(word, 20)
            await asyncio.sleep(0.1)
        finally:
            await board.stop()

    asyncio.run(run())
    if resets is not None:
        assert len(board.resets) == resets
    return list(board.lines)


def test_a_new_generation_starts_and_one_that_has_passed_stays(mp: Interpreter, tmp_path: Path) -> None:
    board = board_of(mp, tmp_path, {"run": PASS})
    lines = said(board, "runs new with site of b", resets=0)
    assert any("in b, number 2, on trial, start 1 of 3" in line for line in lines)
    record = switched(board.flash)
    assert (record["now"]["folder"], record["trial"], record["starts"], record["before"]["folder"]) == ("b", False, 0, "a")


BROKEN: dict[str, tuple[dict[str, str], str]] = {
    "cannot be imported": ({"extra": RAISES}, TRIAL),
    "does not compile to this machine": ({"extra": "import nothing_of_that_name\n"}, "ImportError: no module named"),
    "resets before it has passed": ({"run": RESETS}, "it was started 3 times and never passed its self-test"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_one_that_does_not_come_to_its_self_test_goes_and_its_site_with_it(mp64: Interpreter, tmp_path: Path, kind: str) -> None:
    new, why = BROKEN[kind]
    board = board_of(mp64, tmp_path, new)
    lines = said(board, "runs old with site of a")
    stamp = switched(board.flash)["now"]["stamp"]
    told = [line for line in lines if "was given up" in line]
    assert told and why in told[0] and f"{stamp} (a) runs again" in told[0]
    record = switched(board.flash)
    assert (record["now"]["folder"], record["trial"], record["before"], record["highest"]) == ("a", False, None, 2)
    again = said(Board(ROOT, state_dir=board.state_dir, site=None, interpreter=list(mp64.command), staged=True), "runs old")
    assert any("was given up" in line and why in line for line in again), "who comes later reads it too"


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a bit": (lambda flash: damage(flash / "b" / "firmware" / "app.mpy"), "b/firmware/app.mpy is damaged"),
    "a file": (lambda flash: (flash / "b" / "lib" / "pinowners.mpy").unlink(), "b/lib/pinowners.mpy is not there"),
    "its site": (lambda flash: (flash / "b" / "site.json").write_text("{}"), "b/site.json is damaged"),
    "its manifest": (lambda flash: damage(flash / "b" / "manifest"), "b/manifest is damaged"),
    "all of it": (lambda flash: (flash / "b" / "manifest").unlink(), "b/manifest is damaged"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_found_before_the_first_start(mp64: Interpreter, tmp_path: Path, kind: str) -> None:
    board = board_of(mp64, tmp_path, {"run": PASS})
    DAMAGE[kind][0](board.flash)
    lines = said(board, "runs old with site of a", resets=0)
    assert any("was given up: " + DAMAGE[kind][1] in line for line in lines)
    assert not any("runs new" in line for line in lines)


def test_what_is_damaged_later_is_found_when_it_cannot_be_loaded(mp64: Interpreter, tmp_path: Path) -> None:
    board = board_of(mp64, tmp_path, {}, trial=False)
    said(board, "runs new")
    (board.flash / "b" / "firmware" / "app.mpy").write_bytes(b"M\x06")
    board = Board(ROOT, state_dir=board.state_dir, site=None, interpreter=list(mp64.command), staged=True)
    lines = said(board, "runs old with site of a", resets=1)
    assert any("was given up: b/firmware/app.mpy is damaged" in line for line in lines)


def test_an_error_of_a_whole_generation_that_has_passed_is_no_reason_to_give_it_up(mp64: Interpreter, tmp_path: Path) -> None:
    board = board_of(mp64, tmp_path, {"extra": RAISES}, trial=False)
    said(board, "RuntimeError: not today", resets=0)
    assert switched(board.flash)["now"]["folder"] == "b"


def test_a_site_that_people_have_changed_is_no_damage(mp64: Interpreter, tmp_path: Path) -> None:
    board = board_of(mp64, tmp_path, {"extra": RAISES}, trial=True)
    (board.flash / "a" / "site.json").write_text(json.dumps({**SITE, "name": "changed since"}))
    said(board, "runs old with changed since")


LOST: dict[str, Callable[[Path], object]] = {
    "damaged": lambda flash: damage(flash / "switch"),
    "empty": lambda flash: (flash / "switch").write_bytes(b""),
    "not there": lambda flash: (flash / "switch").unlink(),
}


@pytest.mark.parametrize("kind", LOST)
def test_without_the_record_the_newest_whole_generation_starts_on_trial(mp64: Interpreter, tmp_path: Path, kind: str) -> None:
    board = board_of(mp64, tmp_path, {"run": PASS}, trial=False)
    LOST[kind](board.flash)
    lines = said(board, "runs new with site of b", resets=0)
    assert any("generation: switch: is damaged" in line or "record of which generation" in line for line in lines)
    assert switched(board.flash)["before"]["folder"] == "a"


def test_without_the_record_one_that_is_not_whole_does_not_start(mp64: Interpreter, tmp_path: Path) -> None:
    board = board_of(mp64, tmp_path, {"run": PASS}, trial=False)
    (board.flash / "switch").unlink()
    damage(board.flash / "b" / "firmware" / "app.mpy")
    said(board, "runs old with site of a", resets=0)


def test_where_nothing_is_whole_control_does_not_run_and_the_prompt_comes(mp64: Interpreter, tmp_path: Path) -> None:
    board = board_of(mp64, tmp_path, {})
    for place in ("a", "b"):
        damage(board.flash / place / "firmware" / "app.mpy")
    lines = said(board, "b/firmware/app.mpy is damaged", "control does not run, contactors stay open", resets=0)
    assert not any("runs " in line.partition("generation")[0] for line in lines)


def test_the_first_one_that_does_not_pass_stays_as_there_is_no_other(mp64: Interpreter, tmp_path: Path) -> None:
    board = board_of(mp64, tmp_path, {"run": RESETS}, before=False)
    lines = said(board, lambda line: "stays: it was started 3 times" in line and "there is none to go back to" in line)
    assert sum("runs new" in line for line in lines) >= 3


# ---- the firmware itself -------------------------------------------------------------------------------------


def firmware_board(mp: Interpreter, tmp_path: Path, sites: dict[str, Any], seen: tuple[str, ...]) -> Board:
    """The firmware in both folders, with a site each; b is on trial."""
    flash = tmp_path / "state" / "flash"
    flash.mkdir(parents=True)
    old = lay(flash, "a", ROOT, mp.march, 1, sites["a"])
    switch(flash, generation.record(lay(flash, "b", ROOT, mp.march, 2, sites["b"]), {**old, "seen": list(seen)}))
    return Board(ROOT, state_dir=tmp_path / "state", site=None, interpreter=list(mp.command), staged=True)


def test_the_firmware_passes_and_is_seen_to(mp64: Interpreter, tmp_path: Path) -> None:
    board = firmware_board(mp64, tmp_path, {"a": SITE, "b": SITE}, ("io",))

    async def run() -> None:
        await board.start()
        try:
            line = await board.wait_line("selftest: ", 125)
            assert "has passed its self-test; seen: io" in line
        finally:
            await board.stop()

    asyncio.run(run())
    record = switched(board.flash)
    assert (record["now"]["folder"], record["now"]["seen"], record["trial"]) == ("b", ["io"], False)


def test_a_site_that_is_refused_brings_the_one_before_back_in_order(mp64: Interpreter, tmp_path: Path) -> None:
    records = {"clock": {"zone": "UTC"}, "storage": {}}
    board = firmware_board(mp64, tmp_path, {"a": {**SITE, **records}, "b": {**SITE, "power": {"max_charge_power": -1}}}, ())

    async def run() -> None:
        await board.start()
        try:
            await board.wait_line("has not passed its self-test: its site file is refused", 30)
            await board.wait_line("0 W, then the contactors", 10)
            await board.wait_line("(a) runs again", 10)
            await board.wait_line(" in a, number 1", 20)
            await board.wait_line(lambda line: "control begins" in line and len(board.resets) == 1, 20)
        finally:
            await board.stop()

    asyncio.run(run())
    assert switched(board.flash)["news"].count("max_charge_power") == 1
