"""An update over the network while control runs: signed, never older, goes on where it was cut off, site and tables kept."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import socket
import struct
import time
from pathlib import Path

import pytest

from tools import update
from tools.build import generation, stage
from tools.deploy import Parcel
from tools.interpreters import Interpreter
from tools.ports import free_port
from tools.sim.board.board import Board
from tools.sim.board.ptyport import PtyPort
from tools.sim.generations import ROOT, SITE, lay, switch, switched

LEFT = 6  # files that the board has not, of those in the update; some are those of the generation that runs
CHANGED = ("udp", "watchdog", "writeback")
TABLE = {"reads": [{"slot": "PV_P", "address": 3}]}


class Plant:
    """A board whose generation a has passed, and whose folder b holds most of the next one; and that next one."""

    def __init__(self, mp: Interpreter, tmp_path: Path) -> None:
        self.key = secrets.token_bytes(update.KEY_BYTES)
        self.port, self.shut = free_port(), free_port()
        state = tmp_path / "state"
        flash = state / "flash"
        (flash / "keys").mkdir(parents=True)
        (flash / "keys" / "update.key").write_bytes(self.key)
        services = {
            "update": {"type": "update", "port": self.port, "allow": {"127.0.0.1": "service"}},
            "shut": {"type": "update", "port": self.shut, "allow": {"127.0.0.1": "control"}},
        }
        site = {**SITE, "cycle_ms": 20, "services": services}
        one = lay(flash, "a", ROOT, mp.march, 100, site)
        switch(flash, generation.record(one, trial=False))
        source = tmp_path / "source"
        made = stage.stage(self._changed(tmp_path / "tree"), source, mp.march)
        files = generation.files_of(made)
        for path in files[:-LEFT]:
            (flash / "b" / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / path, flash / "b" / path)
        self.parcel = Parcel(source, files, {}, 200, stage.generation(source, made), True)
        self.board = Board(ROOT, state_dir=state, site=None, interpreter=list(mp.command), staged=True)

    def _changed(self, root: Path) -> Path:
        for path in stage.device_files():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, root / path)
        for name in CHANGED:
            with (root / "lib" / f"{name}.py").open("a") as file:
                file.write("_of_the_new_one = 1\n")
        return root

    async def send(self, *, key: bytes | None = None, number: int = 200, restart: bool = False) -> None:
        self.parcel.number = number
        await asyncio.to_thread(update.send, "127.0.0.1", self.port, key or self.key, self.parcel, restart)

    async def refused(self, words: str, **more: object) -> None:
        with pytest.raises(update.UpdateError, match=words):
            await self.send(**more)  # type: ignore[arg-type]


async def broken_off(plant: Plant, after: int) -> int:
    """An update whose connection is cut after so many files; how many were wanted."""

    def play() -> int:
        with update.Line("127.0.0.1", plant.port) as line:
            line.send(update.first_line(plant.key, plant.parcel.manifest, plant.parcel.number, False))
            wanted = 0
            while True:
                word, _, rest = line.line().partition(" ")
                if word == "GO":
                    line.send(plant.parcel.manifest)
                elif word == "WANT":
                    wanted += 1
                    content = (plant.parcel.source / rest.partition(" ")[2]).read_bytes()
                    if wanted > after:
                        line.send(content[:5])
                        return wanted
                    line.send(content)

    return await asyncio.to_thread(play)


async def spoilt(plant: Plant) -> str:
    """What is said to a file that is another than the signed one."""

    def play() -> str:
        with update.Line("127.0.0.1", plant.port) as line:
            line.send(update.first_line(plant.key, plant.parcel.manifest, plant.parcel.number, False))
            while True:
                word, _, rest = line.line().partition(" ")
                if word == "GO":
                    line.send(plant.parcel.manifest)
                elif word == "WANT":
                    line.send(bytes(int(rest.partition(" ")[0])))
                elif word == "NO":
                    return rest

    return await asyncio.to_thread(play)


def test_an_update_is_signed_newer_resumed_and_brings_the_board_to_the_new_generation(
    mp64: Interpreter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant = Plant(mp64, tmp_path)
    board = plant.board

    async def run() -> None:
        await board.start()
        try:
            await board.wait_line("control begins", 30)
            running = await asyncio.to_thread(ask, plant)  # from now on it listens
            assert running is not None and running[1:] == (100, False, "")
            await plant.refused("not signed with this site's key", key=secrets.token_bytes(32))
            for number in (100, 1):
                newer = "number 100 was here; only newer ones are taken: is this computer's clock right"
                await plant.refused(f"number {number}: {newer}", number=number)
            with pytest.raises(update.UpdateError):
                await asyncio.to_thread(update.send, "127.0.0.1", plant.shut, plant.key, plant.parcel, False)
            plant.parcel.number = 200
            assert switched(board.flash)["now"]["number"] == 100 and not (board.flash / "b" / "manifest.new").exists()
            assert await broken_off(plant, 2) == 3
            assert "did not arrive as it was sent" in await spoilt(plant)
            assert switched(board.flash)["now"]["number"] == 100
            capsys.readouterr()
            await plant.send()
            assert f"{len(CHANGED) - 2} of {len(plant.parcel.files)} files were sent" in capsys.readouterr().out
            await plant.refused("number 200: number 200 was here", number=200)
            await board.restart("HARD_RESET")
            await board.wait_line(f"generation: {plant.parcel.stamp} in b, number 200, on trial", 20)
            found = await asyncio.to_thread(ask, plant)
            assert found == (plant.parcel.stamp, 200, True, "")
        finally:
            await board.stop()

    asyncio.run(run())
    record = switched(board.flash)
    assert (record["now"]["folder"], record["before"]["folder"], record["highest"]) == ("b", "a", 200)
    assert json.loads((board.flash / "b" / "site.json").read_text()) == json.loads((board.flash / "a" / "site.json").read_text())


def test_a_board_whose_firmware_stands_at_the_top_says_so_and_takes_nothing(mp64: Interpreter, tmp_path: Path) -> None:
    plant = Plant(mp64, tmp_path)
    flash = plant.board.flash
    shutil.copytree(flash / "a", flash, dirs_exist_ok=True)
    shutil.rmtree(flash / "a")
    shutil.rmtree(flash / "b")
    (flash / "manifest").unlink()
    before = {"folder": "", "number": 0, "stamp": "as it was", "manifest": "", "code": True, "seen": []}
    switch(flash, {**generation.record(before, trial=False), "news": "generation 1234 was given up: it had no site"})

    async def run() -> None:
        await plant.board.start()
        try:
            await plant.board.wait_line("control begins", 30)
            assert await asyncio.to_thread(ask, plant) == ("as it was", 0, False, "generation 1234 was given up: it had no site")
            await plant.refused("no generations of firmware in files: make deploy, over USB")
        finally:
            await plant.board.stop()

    asyncio.run(run())
    assert not (flash / "a" / "manifest.new").exists() and (flash / "site.json").exists()


def saved_meanwhile(plant: Plant, at_want: int) -> str:
    """What an update ends with beside which the site file is saved anew, while so many files have been wanted."""
    with update.Line("127.0.0.1", plant.port) as line:
        line.send(update.first_line(plant.key, plant.parcel.manifest, plant.parcel.number, False))
        wanted = 0
        while True:
            word, _, rest = line.line().partition(" ")
            if word == "GO":
                line.send(plant.parcel.manifest)
            elif word == "WANT":
                wanted += 1
                if wanted == at_want:
                    site = json.loads((plant.board.flash / "a" / "site.json").read_text())
                    (plant.board.flash / "a" / "site.json").write_text(json.dumps({**site, "power": {"max_discharge_power": 7}}))
                line.send((plant.parcel.source / rest.partition(" ")[2]).read_bytes())
            elif word in ("NO", "DONE"):
                return f"{word} {rest}"


def test_a_site_that_is_saved_while_an_update_arrives_or_waits_is_not_lost_unsaid(mp64: Interpreter, tmp_path: Path) -> None:
    """The page said that it is stored for the next start; and that came with the site of before, and its limits."""
    plant = Plant(mp64, tmp_path)
    flash = plant.board.flash

    async def said(line: str, words: str) -> str:
        plant.board.lines.clear()
        await plant.board.send(line)
        return await plant.board.wait_line(lambda text: words in text, 20)

    async def run() -> None:
        await plant.board.start()
        try:
            await plant.board.wait_line("control begins", 30)
            await asyncio.to_thread(ask, plant)
            end = await asyncio.to_thread(saved_meanwhile, plant, 1)
            assert end == "NO a/site.json was changed meanwhile: send it again"
            assert switched(flash)["now"]["number"] == 100
            (flash / "a" / "site.json").rename(flash / "away.json")
            await plant.refused("a/site.json cannot be read, and belongs to what runs: deploy by wire")
            (flash / "away.json").rename(flash / "a" / "site.json")
            await plant.send()  # at once: it takes what stands there now
            assert json.loads((flash / "b" / "site.json").read_text())["power"] == {"max_discharge_power": 7}
            waits = "b starts next, with its own site file: restart first, then save"
            site = json.loads((flash / "b" / "site.json").read_text())
            for line in (f"save_site({site!r})", "restore_site()"):
                await said(line, waits)
            before = (flash / "a" / "site.json").read_bytes()
            await said("1 + 1", "= 2")
            assert (flash / "a" / "site.json").read_bytes() == before
        finally:
            await plant.board.stop()

    asyncio.run(run())


def test_a_firmware_for_another_machine_is_refused_before_the_board_restarts(mp64: Interpreter, tmp_path: Path) -> None:
    plant = Plant(mp64, tmp_path)
    text = "import micropython\n@micropython.viper\ndef f() -> int:\n    return 1\n"
    stage.compile_file(text, "udp.py", "xtensawin", plant.parcel.source / "lib" / "udp.mpy")

    async def run() -> None:
        await plant.board.start()
        try:
            await plant.board.wait_line("control begins", 30)
            await asyncio.to_thread(ask, plant)
            await plant.refused("lib/udp.mpy has another machine's code than this board: tools.update --board NAME or --march")
        finally:
            await plant.board.stop()

    asyncio.run(run())
    assert switched(plant.board.flash)["now"]["number"] == 100


def test_a_board_without_a_key_says_so_and_takes_the_one_that_is_put_on_it(mp64: Interpreter, tmp_path: Path) -> None:
    plant = Plant(mp64, tmp_path)
    (plant.board.flash / "keys" / "update.key").unlink()
    port = PtyPort(plant.board, tmp_path / "port")

    async def services() -> str:
        plant.board.lines.clear()
        await plant.board.send("services")
        return await plant.board.wait_line(lambda line: line.startswith("update: ") and "refused" in line, 10)

    async def run() -> None:
        port.open()
        await plant.board.start()
        try:
            await plant.board.wait_line("update: keys/update.key: is not there, or has not 32 bytes, so nobody can update", 30)
            await plant.board.wait_line("control begins", 30)
            await asyncio.to_thread(ask, plant)  # from now on it listens
            await plant.refused("keys/update.key: is not there")
            assert "keys/update.key: is not there" in await services()
            await asyncio.to_thread(update.put_key, str(port.path), plant.key)
            await plant.board.wait_line("control goes on while you type", 10)  # the programs are over
            assert "is not there" not in await services(), "it counts at once, and that is said at once"
            await plant.refused("number 100 was here; only newer ones are taken", number=100)
            await plant.refused("not signed with this site's key", key=secrets.token_bytes(32))
            leaked, plant.key = plant.key, secrets.token_bytes(32)
            await asyncio.to_thread(update.put_key, str(port.path), plant.key)
            await plant.refused("not signed with this site's key", key=leaked)
            await plant.refused("number 100 was here; only newer ones are taken", number=100)
            await asyncio.to_thread(hang_up, plant)
            await plant.refused("number 100 was here; only newer ones are taken", number=100)
            assert not any("restarted after" in line for line in plant.board.lines), "who hangs up closes no port"
            assert not any(line.startswith("end: ") for line in plant.board.lines), "control went on"
        finally:
            await plant.board.stop()
            await port.close()

    asyncio.run(run())


def test_a_name_that_nobody_knows_is_said_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(update.socket, "create_connection", nobody)
    with pytest.raises(update.UpdateError, match=r"^board\.local: no address is known for that name; give the address itself$"):
        update.Line("board.local", 8266)


def hang_up(plant: Plant) -> None:
    """Clients that do not wait for their NO: they reset the connection."""
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", plant.port)) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.sendall(b"HELLO\n")


def ask(plant: Plant) -> tuple[str, int, bool, str] | None:
    for _ in range(50):
        found = update.state("127.0.0.1", plant.port)
        if found:
            return found
        time.sleep(0.2)
    return None


def test_a_key_is_made_once_for_its_owner_and_never_in_the_repository(tmp_path: Path) -> None:
    file = tmp_path / "site.key"
    update.make_key(file)
    assert len(update.read_key(file)) == update.KEY_BYTES and file.stat().st_mode & 0o077 == 0
    with pytest.raises(update.UpdateError, match="exists"):
        update.make_key(file)
    with pytest.raises(update.UpdateError, match="is in the repository"):
        update.make_key(ROOT / "site.key")
    assert not (ROOT / "site.key").exists()
    file.write_bytes(b"short")
    with pytest.raises(update.UpdateError, match="has 5 bytes, a key has 32"):
        update.read_key(file)


def test_the_board_s_hmac_is_everybody_s() -> None:
    import hashlib
    import hmac

    import keyedhash

    for size in (0, 1, 32, 63, 64, 65, 200):
        key, message = secrets.token_bytes(size), secrets.token_bytes(size * 3)
        assert keyedhash.digest(key, message) == hmac.new(key, message, hashlib.sha256).hexdigest()
    assert keyedhash.equal("ab", "ab") and not keyedhash.equal("ab", "aa") and not keyedhash.equal("ab", "abc")
