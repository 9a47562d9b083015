"""Gives every test file in here one more item: the same file under the 32-bit MicroPython on the staged tree, cross-compiled
as it goes on a board: what is tested is what is flashed.  Where there is no 32-bit one, under the 64-bit one, which compiles
the sources.  (That one runs the sources in host_tests/site, whose boards and rigs are of both.)
"""

import atexit
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from host_tests import needs
from tools.build import inline, stage
from tools.interpreters import find32

ROOT = Path(__file__).resolve().parents[2]
RUNNER = Path(__file__).with_name("run_mp.py")
TESTS = "tests"  # in the staged tree's folder
TIMEOUT_S = 120


@cache
def staged() -> Path:
    """The tree as a board has it, for this process, and the tests, which know its numbers as its own files do."""
    folder = Path(tempfile.mkdtemp(prefix="staged-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    stage.stage(ROOT, folder, "x86")
    (folder / TESTS).mkdir()
    for path in RUNNER.parent.glob("*.py"):
        (folder / TESTS / path.name).write_text(inline.inline(path.read_text(), ROOT))
    return folder


class FailedUnderMicroPython(Exception):
    """The file's output, which says what failed."""


class MicroPythonFile(pytest.File):
    """A test file to be run by MicroPython."""

    def collect(self) -> Iterator[pytest.Item]:
        if find32() is None and not needs.required():
            item = MicroPythonRun.from_parent(self, name="mp64")
            item.bits = 64
            item.add_marker("mp64")
            yield item
        item = MicroPythonRun.from_parent(self, name="staged32")
        item.bits, item.staged = 32, True
        item.add_marker("mp32")
        yield item


class MicroPythonRun(pytest.Item):
    """The whole file, on one interpreter."""

    bits: int
    staged = False

    def runtest(self) -> None:
        interpreter = needs.interpreter(self.bits)  # its own heap, 1 MB on 32 bits, is full where a file has many tests
        tree, path = (staged(), staged() / TESTS / self.path.name) if self.staged else (ROOT, self.path)
        command = [*interpreter.command, "-X", "heapsize=2M", str(RUNNER), str(ROOT), str(path), str(tree)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, cwd=ROOT)
        if done.returncode:
            raise FailedUnderMicroPython(f"{interpreter}: exit status {done.returncode}\n{done.stdout}{done.stderr}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:  # type: ignore[override]
        if isinstance(excinfo.value, FailedUnderMicroPython):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"{self.path.name} under MicroPython, {self.bits} bits"


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.File | None:
    """Beside pytest's own collection of the functions (CPython)."""
    if file_path.name.startswith("test_") and file_path.suffix == ".py" and file_path.parent == RUNNER.parent:
        return MicroPythonFile.from_parent(parent, path=file_path)
    return None
