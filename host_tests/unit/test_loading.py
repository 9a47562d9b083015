"""Modules are loaded by name in one file only, and by the forms that it declares."""

import ast
from pathlib import Path

import pytest

from firmware import loading
from tools.build import stage

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "firmware" / "loading.py"
BY_NAME = ("__import__", "importlib")


def uses(source: str) -> list[str]:
    """What a file imports by a string with."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Name):
            names = [node.id]
        elif isinstance(node, ast.Attribute):
            names = [node.attr]
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [getattr(node, "module", None) or "", *[alias.name for alias in node.names]]
        found += [name for name in names if name.split(".")[0] in BY_NAME]
    return found


def test_it_sees_an_import_by_name_however_it_is_written() -> None:
    for source in ("__import__('x')", "import builtins\nbuiltins.__import__('x')", "import importlib", "from importlib import x"):
        assert uses(source), source


def test_nothing_but_the_loader_imports_by_name() -> None:
    files = [file for tree in stage.TREES for file in sorted((ROOT / tree).rglob("*.py"))]
    assert HOME in files and uses(HOME.read_text())
    assert [file.relative_to(ROOT).as_posix() for file in files if file != HOME and uses(file.read_text())] == []


def test_every_form_and_builder_is_there() -> None:
    for _, folder, _ in (loading.DRIVER, loading.SERVICE):
        assert (ROOT / folder).is_dir()
    for name in loading.BUILDERS.split(" "):
        path = Path(*name.split(".")).with_suffix(".py")
        assert (ROOT / path).exists() or (ROOT / "lib" / path).exists(), name


@pytest.mark.parametrize("kind", ["no_such", "io board", None, 7, ["io_board"]])
def test_what_is_no_driver_and_no_service_is_refused_in_words(kind: object) -> None:
    for form in (loading.DRIVER, loading.SERVICE):
        errors: list[str] = []
        assert loading.load(form, "here", kind, errors) is None
        assert len(errors) == 1 and errors[0].startswith("here.type = ") and f"there is no such {form[0]}" in errors[0]
