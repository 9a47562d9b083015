"""Every device file compiles for the chip, what it weighs is measured and kept, and benches print what they promise."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools.build import boardfile, fits, live_heap, size, stage
from tools.interpreters import Interpreter
from tools.sim.board import chiprom

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_every_device_file_compiles_for_the_esp32(tmp_path: Path) -> None:
    done = run("tools.build.mpy", "--into", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    compiled = {path.relative_to(tmp_path / "out").with_suffix(".py") for path in (tmp_path / "out").rglob("*.mpy")}
    wanted = {path for path in stage.device_files() if path.suffix == ".py" and len(path.parts) > 1}
    assert wanted <= compiled
    magic = (tmp_path / "out" / "firmware" / "kernel" / "ramp.mpy").read_bytes()[:3]
    assert magic[:2] == b"M\x06" and magic[2] >> 2 == 10, "ramp.mpy is not native code for xtensawin"


def test_one_file_that_does_not_compile_fails_the_build_by_name(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "firmware").mkdir(parents=True)
    (root / "firmware" / "good.py").write_text("x = 1\n")
    (root / "firmware" / "hot.py").write_text(
        "import micropython\n@micropython.viper\ndef f(a: ptr32) -> int:\n    return a + 'x'\n"
    )
    done = run("tools.build.mpy", "--root", str(root), "--into", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "firmware/hot.py" in done.stderr


@pytest.fixture(scope="module")
def report(mp32: Interpreter) -> dict:
    """What make size measures now."""
    assert mp32
    return size.weigh()


def test_every_module_is_weighed_and_the_profiles_add_up(report: dict) -> None:
    everything = {size.module_name(p) for p in stage.device_files() if p.suffix == ".py" and len(p.parts) > 1}
    assert set(report["modules"]) == everything
    for key in size.KEYS:
        assert sum(row[key] for row in report["modules"].values()) == report["totals"]["all"][key]
    core = report["totals"]["core"]
    assert core["code_bytes"] > 5000 and core["object_bytes"] > 5000 and core["names"] > 200
    chunk = 256  # of names' text: what still fits into the last one takes no new heap; the table of modules grows in one's turn
    assert all(row["peak_bytes"] + chunk >= fits.file_bytes(row) for row in report["modules"].values())


def test_the_figures_of_a_module_are_those_of_its_content(mp32: Interpreter, tmp_path: Path) -> None:
    """One has much code, one many names, one a large object: each shows where it should, and nowhere else."""
    flash, rom = tmp_path / "flash", tmp_path / "rom"
    for folder in (flash / "firmware", flash / "lib" / "canbus"):
        folder.mkdir(parents=True)
        stage.compile_file("", "x", mp32.march, folder / "__init__.mpy")
    sources = {
        "code": "def f(a):\n" + "    a = a * a + a\n" * 400,
        "names": "def f(a):\n" + "".join(f"    a.quite_a_long_name_{i}\n" for i in range(50)),
        "objects": "x = bytearray(5000)\n",
    }
    for name, text in sources.items():
        stage.compile_file(text, f"{name}.py", mp32.march, flash / "lib" / f"{name}.mpy")
    chiprom.build(rom, mp32.march)
    figures = size.measure(list(sources), flash, rom)
    assert figures["code"]["code_bytes"] > 2000 > 500 > max(figures["names"]["code_bytes"], figures["objects"]["code_bytes"])
    assert figures["names"]["names"] >= 50 > 5 > figures["objects"]["names"]
    assert figures["names"]["name_bytes"] >= 50 * len("quite_a_long_name_00")
    assert figures["objects"]["object_bytes"] >= 5000 > 500 > figures["code"]["object_bytes"]


def test_what_is_kept_is_true(report: dict) -> None:
    lines = size.stale(report, json.loads(fits.KEPT.read_text()))
    assert lines == [], "make size ARGS=--write"


def test_stale_figures_are_named_module_by_module(report: dict) -> None:
    kept = json.loads(json.dumps(report))
    assert size.stale(report, kept) == []
    kept["modules"]["firmware.manager"]["code_bytes"] += 30000
    kept["modules"]["firmware.gone"] = kept["modules"].pop("firmware.clock")
    lines = size.stale(report, kept)
    assert [line.split(":")[0] for line in lines] == ["firmware.clock", "firmware.gone", "firmware.manager", "all"]
    kept = json.loads(json.dumps(report))
    for row in kept["modules"].values():  # each a little, all together too much
        row["object_bytes"] += 100
    assert [line.split(":")[0] for line in size.stale(report, kept)] == ["all"]


@pytest.mark.slow
@pytest.mark.serial
@pytest.mark.parametrize(("file", "board", "image"), [row for row in fits.SHIPPED if row[2] == fits.STOCK])
def test_what_a_site_is_said_to_need_is_what_lives_when_it_runs(mp32: Interpreter, file: str, board: str, image: str) -> None:
    content = json.loads((ROOT / "docs" / file).read_text())
    for bus in content["buses"].values():
        bus.pop("backend", None)  # the simulated board has the port's own class
    said = fits.weigh(boardfile.load(board), content, image, fits.sizes()).total
    lives = live_heap.live(content, size.SCHEDULES if "clock" in content else ()).heap_bytes
    assert abs(said - lives) < 0.05 * lives, (said, lives)


@pytest.mark.serial
def test_the_cycle_takes_little_more_than_its_kernels(mp32: Interpreter) -> None:
    done = run("tools.bench", "cycle")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(set(line) == {"metric", "value", "unit"} for line in lines)
    measured = {line["metric"]: line["value"] for line in lines}
    for bits in ("mp64", "mp32"):
        kernels_ns = sum(ns for name, ns in measured.items() if name.startswith("kernel_") and name.endswith(bits))
        assert 0 < 1000 * measured[f"cycle_compute_p50_{bits}"] < 4 * kernels_ns


def test_an_unknown_bench_is_refused_with_the_known_names() -> None:
    done = run("tools.bench", "nonsense")
    assert done.returncode == 2 and "cycle" in done.stderr
