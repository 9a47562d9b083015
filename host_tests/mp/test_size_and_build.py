"""Every device file compiles for the chip, the core fits its heap budget, and benches print what they promise."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools import size, stage
from tools.interpreters import Interpreter

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_every_device_file_compiles_for_the_esp32(tmp_path: Path) -> None:
    done = run("tools.mpy", "--into", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    compiled = {path.relative_to(tmp_path / "out").with_suffix(".py") for path in (tmp_path / "out").rglob("*.mpy")}
    wanted = {path for path in stage.device_files() if path.suffix == ".py" and len(path.parts) > 1}
    assert wanted <= compiled
    magic = (tmp_path / "out" / "firmware" / "hot.mpy").read_bytes()[:3]
    assert magic[:2] == b"M\x06" and magic[2] >> 2 == 10, "hot.mpy is not native code for xtensawin"


def test_one_file_that_does_not_compile_fails_the_build_by_name(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "firmware").mkdir(parents=True)
    (root / "firmware" / "good.py").write_text("x = 1\n")
    (root / "firmware" / "hot.py").write_text(
        "import micropython\n@micropython.viper\ndef f(a: ptr32) -> int:\n    return a + 'x'\n"
    )
    done = run("tools.mpy", "--root", str(root), "--into", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "firmware/hot.py" in done.stderr


def test_the_core_fits_its_heap_budget_on_a_32_bit_interpreter(mp32: Interpreter) -> None:
    done = run("tools.size", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    total = report["totals"]["core"]
    assert 10_000 < total["heap_bytes"] <= total["heap_budget"] == 56 * 1024
    weighed = {row["module"] for row in report["modules"]}
    everything = {size.module_name(p) for p in stage.device_files() if p.suffix == ".py" and len(p.parts) > 1}
    assert weighed == everything
    assert sum(row["heap_bytes"] for row in report["modules"]) == report["totals"]["all"]["heap_bytes"]


def test_a_profile_over_its_budget_is_named() -> None:
    core = {"heap_bytes": 60000, "heap_budget": 57344}
    app = {"heap_bytes": 99999, "heap_budget": None}
    assert size.over_budget({"totals": {"core": core, "app": app}}) == ["core: 60000 bytes of heap, budget 57344"]


@pytest.mark.serial
def test_the_cycle_stays_under_a_millisecond(mp32: Interpreter) -> None:
    done = run("tools.bench", "cycle")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(set(line) == {"metric", "value", "unit"} for line in lines)
    measured = {line["metric"]: line["value"] for line in lines}
    assert measured["cycle_compute_p99_mp64"] < 1000  # us


def test_an_unknown_bench_is_refused_with_the_known_names() -> None:
    done = run("tools.bench", "nonsense")
    assert done.returncode == 2 and "cycle" in done.stderr
