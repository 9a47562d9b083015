"""An older Python gets one clear line, whichever program of the host side is started with it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("run", "check_site", "deploy", "flash", "soak", "bench", "size", "run_tests", "slots")
AS_OLDER = """
import runpy, sys
class Version(tuple):
    major, minor = 3, 8
sys.version_info = Version((3, 8, 20, "final", 0))
sys.version = "3.8.20 (default)"
sys.argv = ["x", "--help"]
runpy.run_module("tools.%s", run_name="__main__")
"""


def test_the_package_is_read_by_an_older_python_and_looks_at_its_version_first() -> None:
    tree = ast.parse((ROOT / "tools" / "__init__.py").read_text(), feature_version=(3, 6))
    looks = next(node.lineno for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "version_info")
    imported = [(alias.name, node.lineno) for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert [name for name, line in imported if line <= looks] == ["sys"], "what comes later may need a newer Python"
    assert {name for name, _ in imported} <= {"sys", "os", "atexit"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom | ast.JoinedStr)]


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_program_refuses_an_older_python_in_one_line(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", AS_OLDER % program], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert done.stderr.startswith("needs Python 3.11 or newer, this is 3.8.20") and done.stderr.count("\n") == 1, done.stderr
    assert done.stdout == ""


def test_a_python_without_the_tools_is_told_where_they_are() -> None:
    done = subprocess.run([sys.executable, "-S", "-m", "tools.run", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert ".venv/bin/python -m tools.run" in done.stderr and "make setup" in done.stderr
