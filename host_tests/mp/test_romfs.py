"""The ROMFS image mounts in both interpreters, and the firmware runs from it in place."""

import subprocess
from pathlib import Path

import pytest

from tools.build import romfs, stage
from tools.interpreters import Interpreter

ASKER = Path(__file__).parent / "on_board" / "from_rom.py"


def ask(mp: Interpreter, place: Path) -> dict[str, str]:
    # elsewhere than in the project, whose firmware/ would be found first
    command = [*mp.command, str(ASKER), str(place)]
    done = subprocess.run(command, cwd=place.parent, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def test_the_firmware_runs_from_the_image_in_place(mp: Interpreter, tmp_path: Path) -> None:
    tree = tmp_path / "flash" / "tree"
    stage.stage(stage.ROOT, tree, mp.march)
    image = romfs.build(tree, tmp_path / "romfs.img")
    assert image.size == image.path.stat().st_size > sum(image.files.values())
    said = ask(mp, image.path)
    assert said["manager"] == "/rom/firmware/manager.mpy"
    assert said["client"] == "/rom/lib/modbus/client.mpy"
    assert said["zone"] == "PosixTZ"  # a data file of the image was read
    assert int(said["crc"]) == 0x4B37  # machine code of the image, with the check value that Modbus's CRC is known by
    code = sum(image.files[path] for path in ("firmware/manager.mpy", "firmware/image.mpy"))
    from_files = int(ask(mp, tree)["heap"])
    assert from_files - int(said["heap"]) > code / 2, "the bytecode was copied to the heap"


def test_every_staged_file_is_in_the_image_and_nothing_else(tmp_path: Path) -> None:
    made = stage.stage(stage.ROOT, tmp_path / "tree", "x64")
    image = romfs.build(tmp_path / "tree", tmp_path / "romfs.img")
    inside = {path.as_posix() for path in made if path.as_posix() not in stage.ENTRY_FILES}
    assert set(image.files) == inside


def test_the_same_tree_gives_the_same_image(tmp_path: Path) -> None:
    stage.stage(stage.ROOT, tmp_path / "tree", "x64")
    first = romfs.build(tmp_path / "tree", tmp_path / "a.img").path.read_bytes()
    assert romfs.build(tmp_path / "tree", tmp_path / "b.img").path.read_bytes() == first


def test_what_is_no_staged_tree_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    with pytest.raises(romfs.ImageError, match="has no firmware/"):
        romfs.build(tmp_path, tmp_path / "romfs.img")
    assert not (tmp_path / "romfs.img").exists()


def test_a_name_that_romfs_cannot_hold_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "firmware").mkdir()
    (tmp_path / "lib").mkdir()
    (tmp_path / "firmware" / "zähler.mpy").write_bytes(b"M")
    with pytest.raises(romfs.ImageError, match="zähler"):
        romfs.build(tmp_path, tmp_path / "romfs.img")
