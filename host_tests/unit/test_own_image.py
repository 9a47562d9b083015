"""Our own images, as far as they can be checked without ESP-IDF: what is frozen, the partition table, the configuration."""

import ast
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tools import flash
from tools.build import boardfile, frozen, partitions, stage

BOARD = boardfile.BOARDS / "BESS_ESP32"  # where what all of them share is
TABLE = BOARD / "partitions.csv"
FLASH_BYTES = 4 * 1024 * 1024
IMAGES = sorted(boardfile.OWN_IMAGES)
OF_EVERY_IMAGE = pytest.mark.parametrize("image", IMAGES)
# modules that MicroPython's ESP32 port has in C
BUILT_IN = set(
    "_thread array binascii builtins cmath collections deflate errno esp esp32 gc hashlib io json machine math micropython network "
    "os platform random re select socket ssl struct sys time tls uctypes vfs".split()
)
FROZEN_BY_OTHERS = {"asyncio", "flashbdev"}  # named in the manifest, from MicroPython's own tree


class Manifest:
    """What a manifest asks for, by MicroPython's rules for freeze() and include(): (file, frozen path), and what is not ours."""

    def __init__(self, path: Path, variables: dict[str, Path]) -> None:
        self.files: list[tuple[Path, str]] = []
        self.outside: list[str] = []
        self._variables = variables
        exec(path.read_text(), {"freeze": self.freeze, "include": self.include})

    def _resolve(self, text: str) -> Path | None:
        name, _, rest = text.removeprefix("$(").partition(")")
        return (self._variables[name] / rest.lstrip("/")).resolve() if name in self._variables else None

    def include(self, path: str) -> None:
        assert self._resolve(path) is None, "a manifest of ours is included: teach this class to read it"
        self.outside.append(path)

    def freeze(self, path: str, script: Any = None, opt: int | None = None) -> None:
        base = self._resolve(path)
        if base is None:
            assert isinstance(script, str), f"everything in {path} would be frozen: its _boot.py too"
            self.outside.append(f"{path}/{script}")
            return
        assert script is None and base.is_dir(), base
        files = sorted(file for file in base.rglob("*") if file.suffix in (".py", ".mpy"))
        self.files += [(file, file.relative_to(base).as_posix()) for file in files]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The boards, and the firmware laid out as `make image` does it."""
    place = tmp_path_factory.mktemp("tree")
    for name in IMAGES:
        shutil.copytree(boardfile.BOARDS / name, place / "boards" / name)
    frozen.build(place / frozen.TARGET.relative_to(stage.ROOT))
    return place


@pytest.fixture(scope="module")
def manifest(tree: Path) -> Manifest:
    """The manifest read as the image's build reads it."""
    return Manifest(tree / "boards" / BOARD.name / "manifest.py", {"BOARD_DIR": tree / "boards" / BOARD.name})


def cmake_files(image: str) -> dict[str, Path]:
    """By the names that a board's mpconfigboard.cmake, and what it includes of ours, has for them: files of ours."""
    found: dict[str, Path] = {}
    texts = [(boardfile.BOARDS / image / "mpconfigboard.cmake")]
    for path in texts:
        variables = {"MICROPY_BOARD_DIR": boardfile.BOARDS / image, "CMAKE_CURRENT_LIST_DIR": path.parent}
        for name, rest in re.findall(r"\$\{(MICROPY_BOARD_DIR|CMAKE_CURRENT_LIST_DIR)\}/([\w./]+)", path.read_text()):
            file = (variables[name] / rest).resolve()
            found[rest.rpartition("/")[2]] = file
            if file.suffix == ".cmake" and file not in texts:
                texts.append(file)
    return found


def settings(image: str) -> list[str]:
    """Every line of the sdkconfig files that are ours, in the order in which the build reads them."""
    files = cmake_files(image)
    return [line for name in ("sdkconfig.own", "sdkconfig.board") for line in files[name].read_text().splitlines()]


def test_every_module_is_frozen_once_and_the_entry_files_with_them(manifest: Manifest) -> None:
    paths = [path for _, path in manifest.files]
    assert len(set(paths)) == len(paths)
    assert {"_boot.py", "flashfs.py", "boot.py", "main.py"} <= set(paths)
    wanted = {frozen.frozen_path(path).as_posix() for path in stage.device_files() if path.suffix == ".py"}
    assert set(paths) == wanted | {path.name for path in (BOARD / "modules").glob("*.py")}


def test_every_frozen_module_compiles_for_the_chip(manifest: Manifest, tmp_path: Path) -> None:
    for file, path in manifest.files:
        stage.compile_file(file, path, "xtensawin", (tmp_path / path).with_suffix(".mpy"))


def test_everything_that_frozen_modules_import_is_there(manifest: Manifest) -> None:
    here = {path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for _, path in manifest.files}
    missing = []
    for file, path in manifest.files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: a relative import"
                names = [node.module or ""]
            for name in names:
                if name not in here and name.removeprefix("u") not in BUILT_IN and name.split(".")[0] not in FROZEN_BY_OTHERS:
                    missing.append(f"{path}: {name}")
    assert not missing


def test_of_micropythons_own_only_what_is_used_is_frozen(manifest: Manifest) -> None:
    assert manifest.outside == ["$(PORT_DIR)/modules/flashbdev.py", "$(MPY_DIR)/extmod/asyncio"]


def test_a_frozen_tree_holds_numbers_for_constants_and_its_tables(tmp_path: Path) -> None:
    frozen.build(tmp_path / "tree")
    supervisor = (tmp_path / "tree" / "firmware" / "supervisor.py").read_text()
    original = (stage.ROOT / "firmware" / "supervisor.py").read_text()
    assert re.search(r"\bim\.[A-Z]", original) and not re.search(r"\bim\.[A-Z]", supervisor)
    assert len(supervisor.splitlines()) == len(original.splitlines())  # tracebacks name the line of the source
    assert "OPTIONS = (" in (tmp_path / "tree" / "firmware" / "devices" / "io_board.py").read_text()


def test_data_files_are_where_frozen_modules_look(tmp_path: Path) -> None:
    """A frozen module's __file__ has no folder in front: its neighbour is looked for from the file system's root."""
    assert Path("firmware", "zones.txt") in frozen.data_files()
    assert all((stage.ROOT / path).exists() or (stage.ROOT / "lib" / path).exists() for path in frozen.data_files())


@OF_EVERY_IMAGE
def test_another_image_freezes_what_the_first_does(image: str, tree: Path, manifest: Manifest) -> None:
    path = cmake_files(image)["manifest.py"]
    read = Manifest(tree / path.relative_to(boardfile.BOARDS.parent), {"BOARD_DIR": tree / "boards" / image})
    assert (read.files, read.outside) == (manifest.files, manifest.outside)


@OF_EVERY_IMAGE
def test_the_partition_table_is_sound_and_has_two_slots_and_a_file_system(image: str) -> None:
    table = partitions.read(boardfile.BOARDS / image / "partitions.csv")
    flash_bytes = boardfile.OWN_IMAGES[image][1] << 20
    assert partitions.errors(table, flash_bytes) == []
    by_name = {part.name: part for part in table}
    assert [part.use for part in table if part.kind == "app"] == ["ota_0", "ota_1"]
    assert by_name["vfs"].end == flash_bytes and by_name["vfs"].size >= flash_bytes // 8
    assert by_name["nvs"].size >= 3 * 4096  # the least that NVS works with


GOOD = TABLE.read_text()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0x10000,  0x1A0000", "0x18000,  0x1A0000", "ota_0 at 0x18000: starts at a multiple of 0x10000"),
        ("0x1B0000, 0x1A0000", "0x1A0000, 0x1A0000", "ota_1 at 0x1a0000: what is before it ends at 0x1b0000"),
        ("0x350000, 0xB0000", "0x350000, 0xC0000", "vfs at 0x350000: ends at 0x410000, the flash at 0x400000"),
        ("0x1B0000, 0x1A0000", "0x1B0000, 0x190000", "two of one size"),
        ("otadata,  data, ota,     0xd000,   0x2000", "", "a data ota partition"),
        ("0xd000,   0x2000", "0xd000,   0x1000", "otadata takes 0x2000"),
        ("0x9000,   0x4000", "0x8000,   0x4000", "nvs at 0x8000: what is before it ends at 0x9000"),
        ("vfs,      data, fat", "nvs,      data, fat", "nvs: two partitions have this name"),
        ("vfs,      data, fat", "vfs,      data, nfs", "there is no data nfs"),
        ("0x350000, 0xB0000", "0x350000, 0xB0800", "whole sectors of 0x1000"),
    ],
)
def test_a_table_that_would_not_boot_is_told(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert GOOD.count(old) == 1
    (tmp_path / "table.csv").write_text(GOOD.replace(old, new))
    found = partitions.errors(partitions.read(tmp_path / "table.csv"), FLASH_BYTES)
    assert any(message in error for error in found), found


def test_a_line_that_is_no_partition_is_named(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("# a table\nnvs, data, nvs, here, 0x4000\n")
    with pytest.raises(ValueError, match=r"table\.csv, line 2"):
        partitions.read(tmp_path / "table.csv")


@OF_EVERY_IMAGE
def test_the_configuration_is_keys_with_values_each_once(image: str) -> None:
    keys = []
    for line in settings(image):
        if line and not line.startswith("#"):
            found = re.fullmatch(r'(CONFIG_[A-Z0-9_]+)=(y|n|\d+|0x[0-9a-f]+|"[^"]*")', line)
            assert found, line
            keys.append(found[1])
    assert len(set(keys)) == len(keys)
    assert {"CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE", "CONFIG_PARTITION_TABLE_CUSTOM"} <= set(keys)
    assert f"CONFIG_ESPTOOLPY_FLASHSIZE_{boardfile.OWN_IMAGES[image][1]}MB" in keys


@OF_EVERY_IMAGE
def test_the_build_finds_every_file_of_the_board(image: str) -> None:
    """What mpconfigboard.cmake and its neighbour's own.cmake name below their folders is there, and so is what headers include."""
    files = cmake_files(image)
    assert set(files) == {"own.cmake", "sdkconfig.own", "sdkconfig.board", "partitions.csv", "manifest.py"}
    assert all(file.is_file() for file in files.values())
    board = boardfile.BOARDS / image
    included = re.findall(r'^#include "(.+)"', (board / "mpconfigboard.h").read_text(), re.M)
    assert included and all((board / name).is_file() for name in included)


@OF_EVERY_IMAGE
def test_an_image_is_for_the_chip_and_memory_of_its_boards(image: str) -> None:
    chip, _, octal = boardfile.OWN_IMAGES[image]
    text = (boardfile.BOARDS / image / "mpconfigboard.cmake").read_text()
    assert f"include(boards/mpconfigboard_{chip}_common.cmake)" in text
    assert ("boards/sdkconfig.spiram_oct" in text) is octal
    about = json.loads((boardfile.BOARDS / image / "board.json").read_text())
    assert (about["mcu"], int(about["deploy_options"]["flash_offset"], 0)) == (chip, boardfile.FLASH_OFFSET[chip])


@pytest.mark.parametrize(
    ("image", "boards"),
    [
        ("BESS_ESP32", {"lilygo_t_can485", "generic_esp32"}),
        ("BESS_ESP32_S3", {"lilygo_t_2can", "waveshare_esp32_s3_rs485_can"}),
    ],
)
def test_an_image_is_known_by_its_name_where_boards_are_flashed(image: str, boards: set[str]) -> None:
    header = (boardfile.BOARDS / image / "mpconfigboard.h").read_text()
    name = re.search(r'#define MICROPY_HW_BOARD_NAME +"(.+)"', header)
    assert name and flash.IMAGES[name[1]] == image
    assert {board for board in boardfile.names() if boardfile.load(board)["images"].get("own") == image} == boards
