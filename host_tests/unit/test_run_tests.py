"""The three runs that `make test` divides the suite into leave no test out."""

from pathlib import Path

from host_tests import times
from tools.run_tests import PACED, ROOT

MARK = "mark." + "serial"


def test_every_test_that_keeps_a_pace_is_where_the_paced_run_looks() -> None:
    marked = [path.relative_to(ROOT) for path in (ROOT / "host_tests").rglob("test_*.py") if MARK in path.read_text()]
    assert Path("host_tests/site/test_chip_slices.py") in marked
    assert [path for path in marked if not any(path.is_relative_to(folder) for folder in PACED)] == []


def test_what_make_check_leaves_out_is_a_test_that_there_is() -> None:
    for name in times.slow_ones():
        path, _, test = name.partition("::")
        assert (ROOT / path).is_file(), f"{name}: measure anew with `python -m tools.run_tests times`"
        assert test == "staged32" or test in (ROOT / path).read_text(), name
