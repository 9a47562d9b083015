"""The way onto a board: mpremote against a MicroPython prompt, then it boots."""

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tools import board_site, check_site
from tools.build import frozen, generation, stage, web
from tools.deploy import Parcel, prepare, runs_already
from tools.interpreters import Interpreter
from tools.serial_line import LineError, RawPrompt, leave
from tools.sim.board.board import Board
from tools.sim.board.prompt import prompt as at_prompt
from tools.sim.board.ptyport import PtyPort
from tools.sim.generations import switch

ROOT = Path(__file__).resolve().parents[2]
IO = {"type": "io_board", "estop_pin": 34}
SITE = {"schema": 1, "name": "deployed", "power": {"max_charge_power": 42}, "devices": {"io": IO}}


def run(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, **more)


def prompt(interpreter: Interpreter, flash: Path) -> contextlib.AbstractContextManager[str]:
    """The ordinary prompt in an (empty) flash directory."""
    return at_prompt(list(interpreter.command), flash)


def deploy(port: str, site: Path, march: str, *more: str, board: str = "lilygo_t_2can") -> subprocess.CompletedProcess[str]:
    # the Unix port has no soft reset and no machine.reset()
    here = ("--port", port, "--board", board, "--site", str(site), "--march", march)
    return run("tools.deploy", *here, "--resume", "--no-reset", *more)


def manifest_of(flash: Path, place: str) -> dict[str, str]:
    """{path: SHA-256} of a generation on the board."""
    lines = (flash / place / "manifest").read_text().splitlines()[1:]
    return {path: sha for sha, _, path in (line.split(" ", 2) for line in lines)}


async def until(state: Path, mp: Interpreter, *words: str, ask: str = "", answer: str = "") -> list[str]:
    """Boots what is in a state folder until these words have been said, and gives all lines."""
    board = Board(ROOT, state_dir=state, site=None, interpreter=list(mp.command), staged=True)
    await board.start()
    try:
        for word in words:
            await board.wait_line(word, 30)
        if ask:
            await board.send(ask)
            await board.wait_line(answer, 20)
        return list(board.lines)
    finally:
        await board.stop()


def stamp_of(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split("generation ")[1].split(":")[0]


def test_a_deployed_board_boots_into_the_firmware_and_the_next_deploy_sends_what_changed(
    mp64: Interpreter, tmp_path: Path
) -> None:
    site, state = tmp_path / "site.json", tmp_path / "state"
    flash = state / "flash"
    site.write_text(json.dumps(SITE))
    with prompt(mp64, flash) as port:
        (flash / "firmware").mkdir()
        (flash / "firmware" / "manager.py").write_text("raise RuntimeError('left over from an older deploy')\n")
        stamp = stamp_of(deploy(port, site, "x64", "--ssid", "plant", "--password", "a $ecret"))
        assert {path.name for path in flash.iterdir()} == {
            "a", "boot.py", "firmware", "generations.mpy", "incoming.mpy", "main.py", "switch",
        }  # fmt: skip
        first = manifest_of(flash, "a")
        for path, sha in first.items():
            assert hashlib.sha256((flash / "a" / path).read_bytes()).hexdigest() == sha
        asyncio.run(until(state, mp64, f"generation: {stamp} in a", ask="pm.config.max_charge_power", answer="= 42.0"))
        site.write_text(json.dumps({**SITE, "name": "another"}))
        record = generation.unsealed((flash / "switch").read_bytes())
        assert record["trial"] and record["starts"] == 1 and record["before"]["folder"] == ""
        (flash / "switch").write_bytes(generation.sealed(generation.record(record["now"], trial=False)))  # as if it had passed
        refused = deploy(port, site, "x64")
        assert refused.returncode == 1 and not (flash / "b").exists()
        assert f'the board at {port} is that of the site "deployed", {site} is "another"' in refused.stderr
        again = deploy(port, site, "x64", "--replace-site")
        assert f"folder b: 0 files are there, {len(first) - 1} taken over, 1 (" in again.stdout
        assert not (flash / "firmware").exists(), "what was there before generations were goes when nothing needs it"
        assert stamp_of(again) == stamp
    second = manifest_of(flash, "b")
    assert {path for path in second if second[path] != first[path]} == {"site.json"}
    for path, sha in second.items():
        assert hashlib.sha256((flash / "b" / path).read_bytes()).hexdigest() == sha
    on_board = json.loads((flash / "b" / "site.json").read_text())
    assert on_board["board"]["name"] == "lilygo_t_2can" and "wifi" not in on_board  # the second deploy named none
    asyncio.run(until(state, mp64, f"generation: {stamp} in b", ask="app.site.name", answer="= 'another'"))


@contextlib.asynccontextmanager
async def running_board(mp: Interpreter, tmp_path: Path) -> AsyncIterator[tuple[Board, Path, Parcel]]:
    """A board that runs what a deploy of SITE brings, with a port at tmp_path / "port"; its flash, and that parcel."""
    flash = tmp_path / "state" / "flash"
    parcel = prepare(tmp_path / "parcel", SITE, mp.march)
    for path in parcel.files:
        (flash / "a" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(parcel.source / path, flash / "a" / path)
    for name, path in parcel.top.items():
        shutil.copyfile(parcel.source / path, flash / name)
    (flash / "a" / "manifest").write_bytes(parcel.manifest)
    switch(flash, generation.record(generation.described("a", parcel.manifest), trial=False))
    board = Board(ROOT, state_dir=tmp_path / "state", site=None, interpreter=list(mp.command), staged=True)
    link = PtyPort(board, tmp_path / "port")
    link.open()
    await board.start()
    try:
        await board.wait_line("control begins", 30)
        yield board, flash, parcel
    finally:
        await link.close()
        await board.stop()


def test_a_deploy_of_what_the_board_has_and_runs_sends_nothing_and_restarts_nothing(mp64: Interpreter, tmp_path: Path) -> None:
    async def play() -> None:
        site = tmp_path / "site.json"
        site.write_text(json.dumps(SITE))
        async with running_board(mp64, tmp_path) as (board, flash, _):
            before = (flash / "switch").read_bytes()
            done = await asyncio.to_thread(run, "tools.deploy", "--port", str(tmp_path / "port"), "--site", str(site))
            assert done.returncode == 0, done.stdout + done.stderr
            assert "the board has all of it, and runs it" in done.stdout and " in a, number " in done.stdout
            await board.send("pm.mode")
            await board.wait_line("= ", 20)
            assert not (flash / "b").exists() and (flash / "switch").read_bytes() == before

    asyncio.run(play())


def test_what_was_changed_or_damaged_or_is_on_trial_or_stands_still_is_not_what_runs(mp64: Interpreter, tmp_path: Path) -> None:
    def there(parcel: Parcel) -> str:
        with RawPrompt(str(tmp_path / "port"), soft_reset=False) as at_board:
            return runs_already(at_board, parcel)

    async def play() -> None:
        async with running_board(mp64, tmp_path) as (board, flash, parcel):
            assert (await asyncio.to_thread(there, parcel)).startswith(f"{parcel.stamp} in a, number ")
            for name in ("a/site.json", "a/firmware/manager.mpy", "boot.py", "a/manifest"):
                good = (flash / name).read_bytes()
                (flash / name).write_bytes(good + b"\n")
                assert await asyncio.to_thread(there, parcel) == "", name
                (flash / name).unlink()
                assert await asyncio.to_thread(there, parcel) == "", name
                (flash / name).write_bytes(good)
            one = generation.described("a", parcel.manifest)
            switch(flash, generation.record(one, trial=True))
            assert await asyncio.to_thread(there, parcel) == ""
            switch(flash, generation.record(one, trial=False))
            assert await asyncio.to_thread(there, parcel) != ""
            await asyncio.to_thread(leave, str(tmp_path / "port"))
            assert await asyncio.to_thread(there, parcel) == "", "at the prompt nothing controls: a deploy starts it"

    asyncio.run(play())


def test_what_was_saved_on_the_board_is_undone_by_no_deploy_that_does_not_say_so(mp64: Interpreter, tmp_path: Path) -> None:
    """A limit that was narrowed on the page was gone with the next deploy of the file on the laptop, and nothing said so."""
    wifi = {"ssid": "plant", "password": "a $ecret"}

    def against(site: dict[str, Any]) -> list[str]:
        with RawPrompt(str(tmp_path / "port"), soft_reset=False) as at_board:
            return board_site.against(at_board, site, Path("site.json"), "/dev/ttyX")

    async def play() -> None:
        file = tmp_path / "site.json"
        file.write_text(json.dumps(SITE))
        async with running_board(mp64, tmp_path) as (board, flash, _):
            assert await asyncio.to_thread(against, {**SITE, "power": {"max_charge_power": 50}}) == [], "changed here, not there"
            await board.wait_line("control goes on while you type", 20)  # mpremote has left
            narrowed = {**SITE, "power": {"max_charge_power": 30}, "wifi": wifi}
            await board.send(f"save_site({narrowed!r})")
            await board.send("7 * 191")
            await board.wait_line("= 1337", 20)
            assert json.loads((flash / "a" / "site.json").read_text())["power"] == narrowed["power"]
            done = await asyncio.to_thread(run, "tools.deploy", "--port", str(tmp_path / "port"), "--site", str(file))
            assert done.returncode == 1 and not (flash / "b").exists(), done.stdout + done.stderr
            for line in (
                f"the board's site was changed on the board since it was deployed, and {file} would undo that:",
                "  power.max_charge_power = 30 on the board, 42 here",
                '  wifi = {"ssid": "plant", "password": "****"} on the board, nothing here',
                f"`mpremote connect {tmp_path / 'port'} resume cp :a/site.json FILE` brings the board's file here",
                "nothing was sent, control goes on; ARGS=--replace-site: the file here takes the place of the board's",
            ):
                assert line in done.stderr.splitlines(), done.stderr
            assert not board.is_off and not any(line.startswith("end: ") for line in board.lines), "control went on"
            brought = tmp_path / "brought.json"
            shutil.copyfile(flash / "a" / "site.json", brought)
            content, errors = check_site.load(brought)
            assert errors == [], "what a board has saved is a site file here"
            assert await asyncio.to_thread(against, content) == []
            other = await asyncio.to_thread(against, {**content, "name": "depot 8"})
            assert other[0] == 'the board at /dev/ttyX is that of the site "deployed", site.json is "depot 8"'

    asyncio.run(play())


def test_a_bad_site_file_is_refused_and_nothing_is_copied(mp64: Interpreter, tmp_path: Path) -> None:
    site = tmp_path / "site.json"
    site.write_text(json.dumps({**SITE, "power": {"max_charge_power": 4200}}))
    with prompt(mp64, tmp_path / "flash") as port:
        done = deploy(port, site, "x64")
    assert done.returncode == 1
    assert "max_charge_power" in done.stderr and "nothing was copied" in done.stderr
    assert list((tmp_path / "flash").iterdir()) == []


def test_a_site_too_big_for_the_board_is_refused_with_figures_and_nothing_is_copied(mp64: Interpreter, tmp_path: Path) -> None:
    with prompt(mp64, tmp_path / "flash") as port:
        done = deploy(port, ROOT / "docs" / "site.example.json", "x64", board="lilygo_t_can485")
    assert done.returncode == 1
    assert "nothing was copied" in done.stderr and "KB may live there" in done.stderr
    assert "lilygo_t_2can (ESP32_GENERIC_S3-SPIRAM_OCT)" in done.stderr, "where it would fit"
    assert list((tmp_path / "flash").iterdir()) == []


def test_an_image_of_our_own_gets_site_page_and_data_files_and_no_module(mp64: Interpreter, tmp_path: Path) -> None:
    site, flash = tmp_path / "site.json", tmp_path / "flash"
    site.write_text(json.dumps({**SITE, "services": {"page": {"type": "web"}}}))
    with prompt(mp64, flash) as port:
        (flash / "data").mkdir()
        stage.stage(ROOT, tmp_path / "image", "x64")
        for name in ("generations.mpy", "incoming.mpy"):  # on a board they are inside
            shutil.copyfile(tmp_path / "image" / "lib" / name, flash / name)
        stamp_of(deploy(port, site, "x64", "--image", "own", board="lilygo_t_2can"))
    there = {path.relative_to(flash).as_posix() for path in flash.rglob("*") if path.is_file()}
    inside = {path.as_posix() for path in frozen.data_files()}
    page = {f"a/{web.FOLDER}/{name}.gz" for name in web.assets()}
    assert there == {"generations.mpy", "incoming.mpy", "switch", "a/manifest", "a/site.json", *page, *inside}
    assert (flash / "data").is_dir() and {f"a/{name}" for name in manifest_of(flash, "a")} == {"a/site.json", *page}


def test_a_port_that_is_not_there_or_has_nobody_behind_it_is_one_line(tmp_path: Path) -> None:
    site = tmp_path / "site.json"
    site.write_text(json.dumps(SITE))
    done = deploy("/dev/no-such-port", site, "x64")
    assert done.returncode == 1
    assert done.stderr.startswith("PORT=/dev/no-such-port: ") and "serial ports here:" in done.stderr
    assert done.stderr.count("\n") == 1
    outside, port = os.openpty()
    try:
        with pytest.raises(LineError, match="no prompt within 1 s"):
            leave(os.ttyname(port), 1)
    finally:
        os.close(outside)
        os.close(port)


def test_a_table_that_the_site_names_is_deployed_and_listed(mp64: Interpreter, tmp_path: Path) -> None:
    site, flash_dir = tmp_path / "site.json", tmp_path / "state" / "flash"
    table = {"reads": [{"slot": "PV_P", "address": 3}]}
    acme = {"type": "generic_modbus", "host": "127.0.0.1", "table": "makers/acme.json"}
    site.write_text(json.dumps({**SITE, "devices": {"io": IO, "pv": acme}}))
    with prompt(mp64, flash_dir) as port:
        missing = deploy(port, site, "x64")
        assert missing.returncode == 1 and "devices.pv.table = 'makers/acme.json'" in missing.stderr
        assert list(flash_dir.iterdir()) == []
        (tmp_path / "makers").mkdir()
        (tmp_path / "makers" / "acme.json").write_text(json.dumps(table))
        done = deploy(port, site, "x64")
        assert done.returncode == 0, done.stdout + done.stderr
    assert "  makers/acme.json: a table that the site names" in done.stdout.splitlines()
    assert json.loads((flash_dir / "a" / "makers" / "acme.json").read_text()) == table
    answer = "= (['io', 'pv'], [])"
    asyncio.run(until(tmp_path / "state", mp64, "control begins", ask="sorted(app.site.devices), app.site.errors", answer=answer))
