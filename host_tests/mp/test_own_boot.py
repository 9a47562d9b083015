"""The own image: its firmware runs as laid out for freezing; its _boot.py makes no file system over one, and never waits."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tools.build import boardfile, frozen, stage
from tools.interpreters import Interpreter

ASKER = Path(__file__).parent / "on_board" / "boot_flash.py"
MODULES = boardfile.BOARDS / "BESS_ESP32" / "modules"


def boot(mp: Interpreter, state: str) -> dict[str, str]:
    """What a board says that finds its flash in that state; a board that waits for ever runs into the timeout."""
    command = [*mp.command, str(ASKER), str(MODULES), state]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    said: dict[str, str] = {}
    for line in done.stdout.splitlines():
        key, _, rest = line.partition(" ")
        said[key] = said.get(key, "") + rest
    assert said["path"] == "['.frozen', '', '/lib']", "a file on the flash could take a frozen module's place"
    return said


@pytest.mark.parametrize("state", ["erased", "making it was cut"])
def test_a_flash_that_never_held_anything_gets_a_file_system(mp: Interpreter, state: str) -> None:
    said = boot(mp, state)
    assert (said["mounted"], said["files"], said["changed"]) == ("yes", "[]", "yes")
    assert "flash:" not in said


@pytest.mark.parametrize("state", ["in use", "one superblock lost"])
def test_what_can_be_mounted_is_mounted_with_its_files(mp: Interpreter, state: str) -> None:
    said = boot(mp, state)
    assert (said["mounted"], said["files"]) == ("yes", "['site.json']")
    assert "flash:" not in said


@pytest.mark.parametrize("state", ["both superblocks lost", "superblocks erased"])
def test_a_damaged_file_system_is_said_and_left_alone_until_a_person_makes_a_new_one(mp: Interpreter, state: str) -> None:
    said = boot(mp, state)
    assert (said["mounted"], said["changed"]) == ("no", "no")
    assert "the file system is damaged" in said["flash:"] and "flashfs.make(flashbdev.bdev)" in said["flash:"]
    assert said["made"] == "['site.json']"


def test_a_flash_that_cannot_be_written_is_said(mp: Interpreter) -> None:
    said = boot(mp, "cannot be written")
    assert (said["mounted"], said["changed"]) == ("no", "no")
    assert "cannot be read or written" in said["flash:"]


def test_an_image_without_a_partition_for_files_is_said(mp: Interpreter) -> None:
    said = boot(mp, "none")
    assert said["mounted"] == "no"
    assert "no partition" in said["flash:"] and "flashfs.make" not in said["flash:"]


def test_superblocks_with_any_wrong_bytes_neither_hold_boot_up_nor_cost_what_is_stored(mp: Interpreter) -> None:
    said = boot(mp, "in use")
    assert said["tried"] == "100" and "written" not in said
    assert 0 < int(said["unmountable"]) < 100, "the damage is always or never felt: it tests nothing"


def test_the_firmware_runs_as_it_is_laid_out_for_freezing(mp: Interpreter, tmp_path: Path) -> None:
    frozen.build(tmp_path / "sources")
    flash = tmp_path / "flash"
    sizes = frozen.compiled(flash, mp.march, tmp_path / "sources")
    assert set(sizes) == {path for _, path in frozen.modules()}
    for path in frozen.data_files():
        shutil.copyfile(stage.ROOT / path, flash / path)
    # found as frozen modules are: by paths without a folder in front
    command = [*mp.command, str(ASKER.with_name("from_rom.py")), ""]
    done = subprocess.run(command, cwd=flash, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert said["manager"] == "firmware/manager.mpy" and said["client"] == "modbus/client.mpy"
    assert said["zone"] == "PosixTZ" and int(said["crc"]) == 0x4B37
