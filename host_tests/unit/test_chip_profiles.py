"""Which chip the simulated board is, what its compiled modules hold, and how its figures are read."""

from pathlib import Path

import pytest

from tools.build import stage
from tools.sim.board import figures, mpyfile, profiles


def test_without_a_chip_the_board_is_a_fast_one() -> None:
    assert profiles.chosen({}) is None
    assert profiles.chosen({"CHIP": "", "ROMFS": "0"}) is None
    assert profiles.chosen({"HEAP": "96K"}) is None


def test_a_chip_its_image_and_another_heap_are_chosen_by_name() -> None:
    wired = profiles.chosen({"CHIP": "esp32"})
    assert wired is not None and (wired.heap, wired.romfs, wired.site) == (160_000, False, "docs/site.t_can485.json")
    image = profiles.chosen({"CHIP": "esp32", "ROMFS": "1"})
    assert image is not None and (image.heap, image.romfs, image.site) == (112_000, True, "docs/site.wifi.json")
    assert image.areas == image.heap, "with Wi-Fi the third area may not be taken"
    on_wire = profiles.chosen({"CHIP": "esp32", "ROMFS": "wired"})
    assert on_wire is not None and (on_wire.heap, on_wire.romfs, on_wire.site) == (160_000, True, "docs/site.t_can485.json")
    reference = profiles.chosen({"CHIP": "esp32s3"})
    assert reference is not None and (reference.heap, reference.areas) == (512 * 1024, 0)
    on_ours = profiles.chosen({"CHIP": "esp32s3", "ROMFS": "1"})
    assert on_ours is not None and (on_ours.heap, on_ours.romfs, on_ours.site) == (512 * 1024, True, "docs/site.operator.json")
    small = profiles.chosen({"CHIP": "esp32s3", "HEAP": "200K"})
    assert small is not None and small.heap == 200 * 1024
    named = profiles.chosen({"CHIP": "esp32", "ROMFS": "1", "HEAP": "200K"}, heap="99000")
    assert named is not None and named.heap == 99_000, "the command line wins"


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"CHIP": "esp8266"}, "CHIP=esp8266.*esp32, esp32s3"),
        ({"ROMFS": "1"}, "ROMFS=1 needs a chip"),
        ({"CHIP": "esp32", "HEAP": "much"}, "heap 'much'"),
    ],
)
def test_what_there_is_not_is_refused_by_name(env: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        profiles.chosen(env)


@pytest.mark.parametrize("romfs", [False, True])
@pytest.mark.parametrize("name", profiles.PROFILES)
def test_the_site_that_ships_for_a_chip_is_there(name: str, romfs: bool, root: Path) -> None:
    assert (root / profiles.named(name, romfs).site).exists()


SOURCE = """
import micropython
ZONES = ("a text that is no name", 1.5, 123456789012, (b"", b"ab", ("inner", None)))
@micropython.native
def quick_native(argument_one):
    def inside(argument_two):
        return argument_two
    return inside
@micropython.viper
def quick_viper(buffer: ptr8) -> int:
    return buffer[0]
class Plain:
    def method_of_plain(self):
        yield ZONES
"""


@pytest.mark.parametrize("march", ["x86", "x64", "xtensawin"])
def test_a_compiled_module_is_taken_apart(tmp_path: Path, march: str) -> None:
    stage.compile_file(SOURCE, "plain.py", march, tmp_path / "all.mpy")
    module = mpyfile.read(tmp_path / "all.mpy")
    assert {"quick_native", "quick_viper", "Plain", "method_of_plain", "ZONES", "inside"} <= module.names
    assert "a text that is no name" not in module.names
    assert "micropython" not in module.names, "one that every MicroPython has"
    without = SOURCE.replace("@micropython.native\n", "").replace("@micropython.viper\n", "").replace(": ptr8", "")
    stage.compile_file(without, "plain.py", march, tmp_path / "none.mpy")
    assert mpyfile.read(tmp_path / "none.mpy").code == 0
    only = SOURCE.replace("@micropython.native\n", "")
    stage.compile_file(only, "plain.py", march, tmp_path / "viper.mpy")
    assert 0 < mpyfile.read(tmp_path / "viper.mpy").code < module.code


def test_every_module_of_the_firmware_can_be_taken_apart(root: Path, tmp_path: Path) -> None:
    made = stage.stage(root, tmp_path, "xtensawin")
    code = {path.as_posix(): mpyfile.read(tmp_path / path).code for path in made if path.suffix == ".mpy"}
    assert sum(size for name, size in code.items() if name.startswith("firmware/kernel/")) > 10_000 > code["firmware/app.mpy"] == 0


def test_what_is_no_compiled_module_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.mpy").write_bytes(b"M\x05\x00\x1f")
    with pytest.raises(ValueError, match=r"x\.mpy: is no compiled module"):
        mpyfile.read(tmp_path / "x.mpy")


def test_the_map_of_the_heap_is_taken_out_of_the_console() -> None:
    printed: dict[str, int] = {}
    said = (
        "mem: total=1, current=2, peak=3",
        '{"t": 1}stack: 100 out of 80000',
        "GC: total: 116000, used: 86000, free: 30000",
        " No. of 1-blocks: 5, 2-blocks: 6, max blk sz: 70, max free sz: 90",
        "qstr pool: n_pool=3, n_qstr=700, n_str_data_bytes=5000, n_total_bytes=12000",
        "= 7",
    )
    assert [figures.take_printed(line, printed) for line in said] == ["", '{"t": 1}', "", "", "", "= 7"]
    figure = figures.named({"live": 86_000}, printed, instruments=5_000, names=20_000)
    assert figure["heap_largest"] == 90 * 16 and figure["names"] == 700
    assert figure["heap_live"] == 86_000 - 5_000 - 20_000


def test_before_the_boot_is_over_nothing_is_operation() -> None:
    counts = [100, 2, 1, 5, 10, 3]
    booting = figures.named({"flash": [*counts, *[0] * 7]}, {})
    assert booting["boot_ms"] is None and booting["boot_flash_ops"] == 103
    assert booting["flash_reads"] == booting["imports"] == booting["flash_erases"] == 0
    later = figures.named({"flash": [160, 7, 2, 25, 12, 4, *counts, 4321]}, {})
    assert (later["boot_ms"], later["boot_flash_ops"]) == (4321, 103)
    assert (later["flash_reads"], later["store_reads"]) == (40, 20)
    assert (later["flash_writes"], later["flash_erases"], later["imports"], later["opens"]) == (5, 1, 2, 1)
