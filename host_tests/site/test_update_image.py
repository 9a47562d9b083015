"""An image of our own over the network: into the slot that does not run, tried once, the one before where it does not pass."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import re
import secrets
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tools import update
from tools.build import boardfile, generation, partitions
from tools.interpreters import Interpreter
from tools.ports import free_port
from tools.sim import images
from tools.sim.board import appimage
from tools.sim.board.board import Board
from tools.sim.board.profiles import named
from tools.sim.board.slots import ABORTED, VALID, Slots
from tools.sim.generations import PASS_IMAGE, SITE, tiny
from tools.sim.images import added, image, replaced

CHIP = "esp32"
BLOCK = 4096
SHORT = replaced("firmware/selftest.py", "_LEAST_S = const(20)", "_LEAST_S = const(1)")
NEW = added("lib/watchdog.py", "_of_the_new_one = 1\n")
SPOILT = 6  # blocks of the slot that are not yet as the new image has them
FAILS = (
    replaced("firmware/selftest.py", "_HEAP_BYTES = const(8192)", "_HEAP_BYTES = const(8192000)"),
    replaced("firmware/selftest.py", "_MOST_S = const(120)", "_MOST_S = const(1)"),
)
KINDS: dict[str, tuple[list[images.Change], str]] = {
    "it cannot be built": ([added("firmware/app.py", "raise RuntimeError('not today')\n")], "RuntimeError: not today"),
    "it resets": (
        [added("firmware/app.py", "__import__('machine').reset()\n")],
        "it was reset before it had passed its self-test",
    ),
    "it resets at once": ([replaced("boot.py", "import esp32\n", "machine.reset()\n")], "it was reset before its first line"),
    "it hangs": (
        [replaced("boot.py", "WATCHDOG_MS = 8000", "WATCHDOG_MS = 1000"), added("firmware/app.py", "while True:\n    pass\n")],
        "the watchdog ended it before it had passed its self-test",
    ),
}


def short_name(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]


class Plant:
    """A board with an image of our own; most of the next one stands in its second slot already."""

    def __init__(self, mp: Interpreter, tmp_path: Path, new: bytes) -> None:
        self.new = new
        self.key = secrets.token_bytes(update.KEY_BYTES)
        self.port, self.shut = free_port(), free_port()
        flash = tmp_path / "state" / "flash"
        (flash / "keys").mkdir(parents=True)
        (flash / "keys" / "update.key").write_bytes(self.key)
        services = {
            "update": {"type": "update", "port": self.port, "allow": {"127.0.0.1": "service"}},
            "shut": {"type": "update", "port": self.shut, "allow": {"127.0.0.1": "control"}},
        }
        site = {**SITE, "cycle_ms": 20, "services": services}
        root = images.tree(tmp_path / "old", SHORT)
        command = list(mp.command)
        self.board = Board(root, state_dir=tmp_path / "state", site=site, interpreter=command, profile=named(CHIP, romfs=True))
        self.file = tmp_path / "new.bin"
        self.file.write_bytes(new)
        self.key_file = tmp_path / "site.key"
        self.key_file.write_bytes(self.key)

    @property
    def slots(self) -> Slots:
        assert self.board.chip is not None and self.board.chip.slots is not None
        return self.board.chip.slots

    @asynccontextmanager
    async def on(self) -> AsyncIterator[Board]:
        await self.board.start()
        self.lay(self.new)
        try:
            await self.board.wait_line("control begins", 30)
            yield self.board
        finally:
            await self.board.stop()

    def lay(self, content: bytes) -> None:
        """Most of an image into the second slot, as a transfer that was cut off leaves it."""
        data = bytearray(content.ljust(self.slots.size, b"\xff"))
        for block in range(SPOILT):
            data[block * BLOCK : block * BLOCK + 16] = bytes(16)
        self.slots.file(1).write_bytes(data)

    async def send(self, content: bytes | None = None, *, key: bytes | None = None, number: int = 200, port: int = 0) -> int:
        give = self.new if content is None else content
        return await asyncio.to_thread(
            update.send_image, "127.0.0.1", port or self.port, key or self.key, give, number, False
        )

    async def refused(self, words: str, content: bytes | None = None, **more: object) -> None:
        with pytest.raises(update.UpdateError, match=words):
            await self.send(content, **more)  # type: ignore[arg-type]

    async def state(self) -> tuple[str, int, bool, str]:
        for _ in range(100):
            found = await asyncio.to_thread(update.state, "127.0.0.1", self.port)
            if found:
                return found
            await asyncio.sleep(0.1)
        raise AssertionError("nothing answers")

    async def tool(self, monkeypatch: pytest.MonkeyPatch, number: int) -> int:
        """What a person types; its status."""
        words = f"update 127.0.0.1 --port {self.port} --key {self.key_file} --image {self.file} --number {number}"
        monkeypatch.setattr(sys, "argv", words.split())
        monkeypatch.setattr(update, "ASK_S", 0.3)
        return await asyncio.to_thread(update.main)


def test_an_update_runs_in_the_second_slot_and_is_started_from_then_on(
    mp32: Interpreter, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    new = image(images.tree(tmp_path / "tree", SHORT, NEW), CHIP)
    plant = Plant(mp32, tmp_path, new)

    async def run() -> None:
        async with plant.on() as board:
            assert await plant.state() == ("flashed", 0, False, "")
            running = plant.slots.file(0).read_bytes()
            await plant.refused("not signed with this site's key", key=secrets.token_bytes(32))
            await plant.refused("an image of 1703937 bytes: a slot of this board takes 36 to 1703936", bytes(plant.slots.size + 1))
            with pytest.raises(update.UpdateError):
                await plant.send(port=plant.shut)
            spoilt = plant.slots.file(1).read_bytes()
            await plant.refused("its first byte is 0x00: an image for an ESP32 begins with 0xe9", bytes(5000))
            wrong = appimage.make(b"x" * 5000, "esp32s3")
            await plant.refused(r"it is for chip 9 \(ESP32-S3\): this board has 0 \(ESP32\)", wrong)
            loader = new[:32] + bytes(4) + new[36:]
            await plant.refused("it is no application: a boot loader, or a whole flash", loader)
            assert plant.slots.file(1).read_bytes() == spoilt, "something was written"
            assert await asyncio.to_thread(damaged, plant) == "the image did not arrive as it was sent"
            assert plant.slots.file(0).read_bytes() == running and plant.slots.states() == [None, None]
            assert await plant.state() == ("flashed", 0, False, "")
            plant.lay(new)
            capsys.readouterr()
            assert await plant.tool(monkeypatch, 200) == 0
            said = capsys.readouterr().out
            assert f"image {short_name(new)}, number 200: {len(new):,} bytes" in said and "100 %" in said
            assert f"{SPOILT} of them sent" in said, "what stood there was sent again"
            assert said.endswith(f"image {short_name(new)} runs, and has passed its self-test\n")
            assert any(f"image: image {short_name(new)} (ota_1), number 200, on trial" in line for line in board.lines)
            assert plant.slots.states() == [(2, VALID), None]
            assert await plant.state() == (short_name(new), 200, False, "")
            for number in (200, 1):
                await plant.refused(f"number {number}: number 200 was here; only newer ones are taken", number=number)
            board.lines.clear()
            await board.restart()
            await board.wait_line(f"image {short_name(new)} (ota_1), number 200", 20)

    asyncio.run(run())


def damaged(plant: Plant) -> str:
    """What is said to blocks of which one is another than the signed one."""
    with update.Line("127.0.0.1", plant.port) as line:
        line.send(update.first_line(plant.key, plant.new, 200, False, "IMAGE"))
        while True:
            word, _, rest = line.line().partition(" ")
            if word == "HAS":
                block = int(rest.split()[0])
                part = plant.new[block * BLOCK : (block + 1) * BLOCK]
                line.send(b"BLOCK\n" + (bytes(BLOCK) if block == 3 else part) if block < SPOILT else b"SAME\n")
            elif word in ("NO", ""):
                return rest


def test_one_that_does_not_pass_its_self_test_goes_and_the_one_before_says_why(
    mp32: Interpreter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    new = image(images.tree(tmp_path / "tree", SHORT, NEW, *FAILS), CHIP)
    plant = Plant(mp32, tmp_path, new)

    async def run() -> None:
        async with plant.on() as board:
            said = await asyncio.to_thread(talk, plant.port, "UPDATE 1 2 3 4 5")
            assert said == "NO this board has its firmware in its image: tools.update --image FILE"
            assert (await asyncio.to_thread(talk, plant.port, "hello")).startswith("NO IMAGE number bytes SHA-256 restart HMAC")
            running = plant.slots.file(0).read_bytes()
            assert await plant.tool(monkeypatch, 7) == 1
            why = r"its self-test: \d+ bytes of heap are free: 8192000 are needed"
            text = rf"image {short_name(new)} \(ota_1\) was given up: {why}; as it was flashed \(ota_0\) runs again"
            said = capsys.readouterr().err
            assert re.fullmatch(text + "\n", said), said
            assert plant.slots.states() == [(2, ABORTED), None] and plant.slots.file(0).read_bytes() == running
            assert (await plant.state())[:3] == ("flashed", 0, False)
            await plant.refused("number 7: number 7 was here", number=7)
            board.lines.clear()
            await board.restart()
            await board.wait_line("was given up", 20)  # who comes later reads it too

    asyncio.run(run())


def test_power_that_goes_while_an_image_arrives_leaves_the_old_one_and_it_goes_on(mp32: Interpreter, tmp_path: Path) -> None:
    new = image(images.tree(tmp_path / "tree", SHORT, NEW), CHIP)
    plant = Plant(mp32, tmp_path, new)
    cuts = random.Random(13).sample(range(3, 2 * SPOILT), 6)

    async def run() -> None:
        async with plant.on() as board:
            running = plant.slots.file(0).read_bytes()
            for cut in cuts:
                plant.lay(new)
                board.env["SIM_CUT"] = str(cut)
                await board.restart()
                await plant.state()
                with contextlib.suppress(update.UpdateError):
                    await plant.send()
                del board.env["SIM_CUT"]
                await board.restart()
                found = await plant.state()
                assert plant.slots.file(0).read_bytes() == running, "the slot that runs was written"
                assert found == ("flashed", 0, False, "") and plant.slots.states() == [None, None]
            assert 0 < await plant.send() < SPOILT, "it did not go on where it was"
            await board.restart()
            await board.wait_line("selftest: image " + short_name(new), 20)

    asyncio.run(run())


def talk(port: int, text: str) -> str:
    """What is answered to a line."""
    for _ in range(100):
        try:
            with update.Line("127.0.0.1", port) as wire:
                wire.send(text.encode() + b"\n")
                return wire.line()
        except update.UpdateError:
            time.sleep(0.1)
    raise AssertionError("nothing answers")


# ---- a tiny firmware, which only says who it is -----------------------------------------------------------------


class Tiny:
    """A board with a tiny firmware of our own, `old`, and `new` in its second slot, which waits for the next start."""

    def __init__(self, mp: Interpreter, tmp_path: Path, *changes: images.Change) -> None:
        root = tiny(tmp_path / "old", "old")
        young = tiny(tmp_path / "new", "new", PASS_IMAGE)
        for change in changes:
            change(young)
        self.new = image(young, CHIP)
        one = {"number": 9, "slot": "ota_1", "sha": short_name(self.new), "seen": [], "tried": False, "starts": 0, "why": ""}
        record = {"now": {"number": 0, "slot": "ota_0", "sha": ""}, "next": one, "highest": 9, "news": ""}
        self.state = tmp_path / "state"
        (self.state / "flash").mkdir(parents=True)
        (self.state / "flash" / "image").write_bytes(generation.sealed(record))
        command = list(mp.command)
        self.board = Board(root, state_dir=self.state, site=SITE, interpreter=command, profile=named(CHIP, romfs=True))

    @property
    def slots(self) -> Slots:
        assert self.board.chip is not None and self.board.chip.slots is not None
        return self.board.chip.slots

    async def start(self) -> None:
        """Power comes; the new image is in its slot."""
        slot = self.state / "nvs" / "ota_1.img"
        slot.parent.mkdir(parents=True, exist_ok=True)
        slot.write_bytes(self.new.ljust(self.slots.size, b"\xff"))
        await self.board.start()


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_does_not_come_to_its_self_test_goes(mp32: Interpreter, tmp_path: Path, kind: str) -> None:
    changes, why = KINDS[kind]
    plant = Tiny(mp32, tmp_path, *changes)

    async def run() -> None:
        await plant.start()
        try:
            text = f"image: image {short_name(plant.new)} (ota_1) was given up: {why}; as it was flashed (ota_0) runs again"
            assert (await plant.board.wait_line("was given up", 20)) == text
            await plant.board.wait_line("runs old with", 20)
            assert plant.slots.states() == [(2, ABORTED), None]
        finally:
            await plant.board.stop()

    asyncio.run(run())


def test_one_that_is_damaged_after_it_has_passed_gives_way_to_the_other_and_that_is_said(mp32: Interpreter, tmp_path: Path) -> None:
    plant = Tiny(mp32, tmp_path)

    async def run() -> None:
        await plant.start()
        try:
            await plant.board.wait_line("image has passed", 20)
            plant.board.kill()
            content = bytearray(plant.slots.file(1).read_bytes())
            content[1000] ^= 1
            plant.slots.file(1).write_bytes(content)
            plant.board.lines.clear()
            await plant.board.restart()
            await plant.board.wait_line("runs old with tiny", 20)
            what = f"not {short_name(plant.new)} (ota_1) runs, but what is in ota_0: flashed over USB, or the other one is damaged"
            assert f"image: {what}" in plant.board.lines
        finally:
            await plant.board.stop()

    asyncio.run(run())


def test_one_that_the_chip_does_not_take_is_given_up(mp32: Interpreter, tmp_path: Path) -> None:
    plant = Tiny(mp32, tmp_path)
    plant.new = plant.new[:1000] + b"!" + plant.new[1001:]

    async def run() -> None:
        await plant.start()
        try:
            line = await plant.board.wait_line("was given up: the chip does not take it", 20)
            assert "ESP_ERR_OTA_VALIDATE_FAILED" in line and line.endswith("as it was flashed (ota_0) runs again")
            assert plant.slots.states() == [None, None] and not plant.board.resets
        finally:
            await plant.board.stop()

    asyncio.run(run())


def test_the_tool_takes_the_application_out_of_a_file_for_all_of_the_flash(tmp_path: Path) -> None:
    application = appimage.make(b"x" * 5000, CHIP)
    table = partitions.packed(partitions.read(boardfile.BOARDS / "BESS_ESP32" / "partitions.csv"))
    whole = (b"\xe9" + bytes(0x6FFF) + table).ljust(0xF000, b"\xff") + application  # without the first 0x1000 bytes
    file = tmp_path / "x.bin"
    for content in (whole, application):
        file.write_bytes(content)
        assert update.image(file) == application
    file.write_bytes(application.replace(b"Battery power manager", b"Generic ESP32 module "))
    with pytest.raises(update.UpdateError, match="those that test themselves are BESS_ESP32, BESS_ESP32_S3"):
        update.image(file)
    with pytest.raises(update.UpdateError, match="No such file"):
        update.image(tmp_path / "none.bin")


async def settled(board: Board) -> str:
    """Starts until it is clear what runs; that."""
    board.lines.clear()
    await board.restart()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        lines = list(board.lines)
        known = any("number 9" in line and "on trial" not in line for line in lines)
        if "image has passed" in lines or (known and "runs new with tiny" in lines):
            return "new"
        if any("was given up" in line for line in lines) and "runs old with tiny" in lines:
            return "old"
        await asyncio.sleep(0.01)
    raise AssertionError("\n".join(board.lines))


def test_power_that_goes_anywhere_in_a_trial_leaves_a_board_that_starts_and_says_what(mp32: Interpreter, tmp_path: Path) -> None:
    """At every program and erase: of the old image that has the new one take its turn, and of the new one until it has passed."""
    plant = Tiny(mp32, tmp_path)
    board = plant.board
    became: dict[tuple[str, str], int] = {}

    async def cut(start: str, operation: int) -> bool:
        """Power goes there; False where it is over before."""
        board.env.pop("SIM_CUT", None)
        board.on_reset = None
        if start == "old":
            board.env["SIM_CUT"] = str(operation)
        else:
            board.on_reset = lambda _: board.env.update(SIM_CUT=str(operation))
        board.lines.clear()
        await board.restart()
        while board.returncode != 0:  # of power that went; a reset kills
            if "image has passed" in board.lines or (start == "old" and board.resets[-1:] == ["HARD_RESET"]):
                return False
            await asyncio.sleep(0.01)
        return True

    async def run() -> None:
        board.env["SIM_CUT"] = "1"
        await plant.start()
        while board.running:
            await asyncio.sleep(0.01)
        kept = {path: path.read_bytes() for path in (plant.state / "flash.img", *sorted((plant.state / "nvs").iterdir()))}
        try:
            for start in ("old", "new"):
                operation = 0
                while True:
                    operation += 1
                    board.kill()
                    for path, content in kept.items():
                        path.write_bytes(content)
                    if not await cut(start, operation):
                        break
                    board.env.pop("SIM_CUT", None)
                    board.on_reset = None
                    found = await settled(board)
                    assert await settled(board) == found, "it did not stay"
                    became[start, found] = became.get((start, found), 0) + 1
        finally:
            await board.stop()

    asyncio.run(run())
    assert sum(became.values()) > 12 and len(became) == 4, became
