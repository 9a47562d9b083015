"""What the build does to a source before it is cross-compiled: private names, rare methods, numbered constants."""

import ast
import re
from pathlib import Path

import pytest

from firmware.event_codes import Event
from tools import inline, rare, shorten, stage, texts

ROOT = stage.ROOT
SOURCES = [path for path in stage.device_files() if path.suffix == ".py" and path.name not in stage.ENTRY_FILES]


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_no_two_private_names_of_a_file_become_one(path: Path) -> None:
    names = shorten.short_names(ROOT)
    used = set(re.findall(r"\b_[A-Za-z]\w*", (ROOT / path).read_text()))
    after = [names.get(name, name) for name in used]
    assert len(after) == len(set(after))


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_what_goes_on_the_board_is_python_and_stays_on_its_lines(path: Path) -> None:
    made = inline.for_board(ROOT, path)
    for file, text in made.items():
        if file.suffix == ".py":
            ast.parse(text)
    wanted = {node.name: node.lineno for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, ast.ClassDef)}
    got = {node.name: node.lineno for node in ast.walk(ast.parse(made[path])) if isinstance(node, ast.ClassDef)}
    assert {name: line for name, line in got.items() if name in wanted} == {name: wanted[name] for name in got if name in wanted}


def test_a_traceback_is_told_in_the_names_of_the_source() -> None:
    short = shorten.short_names(ROOT)["_keep"]
    told = shorten.explain(f'  File "firmware/app.py", line 150, in {short}\n')
    assert told == '  File "firmware/app.py", line 150, in _keep\n'


def test_a_traceback_through_compiled_files_and_rare_methods_names_their_sources() -> None:
    names = shorten.short_names(ROOT)
    number = rare.numbers(ROOT, shorten.TREES)[Path("firmware/app.py")]
    told = shorten.explain(f'File "firmware/app.mpy", line 1, in {names["_keep"]}\nFile "/lib/r{number}m.mpy", line 9, in make\n')
    assert told == 'File "firmware/app.py", line 1, in _keep\nFile "firmware/app.py", line 9, in make\n'
    assert shorten.explain('File "firmware/unknown.mpy", line 1, in _a\n') == 'File "firmware/unknown.mpy", line 1, in _a\n'


def test_a_file_without_line_numbers_is_smaller(tmp_path: Path) -> None:
    for lines in (True, False):
        stage.compile_file("def f(a):\n    b = a\n    return b\n", "f.mpy", "x86", tmp_path / f"{lines}.mpy", lines)
    assert (tmp_path / "False.mpy").stat().st_size < (tmp_path / "True.mpy").stat().st_size


def test_a_code_becomes_its_number_and_the_class_that_names_it_is_not_imported() -> None:
    made = inline.for_board(ROOT, Path("firmware/latch.py"))[Path("firmware/latch.py")]
    assert "Event" not in made and "Mode" not in made
    assert f"in ({Event.EMERGENCY}, {Event.MODE_CHANGE})" in made
    assert "from firmware.events import Cursor" in made


SOURCE = '''"""A module."""
_STEP = 3


class Thing:
    def __init__(self, at):  # rare
        self.at = at

    def step(self):
        self.at += _STEP

    def tell(self):  # rare
        return "at %d" % self.at
'''


def test_a_rare_method_leaves_its_class_for_a_file_of_its_own() -> None:
    text, files = rare.take_rare(SOURCE, Path("lib/thing.py"), "thing", 7)
    assert "at %d" not in text and "def step" in text
    assert set(files) == {Path("lib/r7r.py"), Path("lib/r7m.py")}
    line = next(i for i, one in enumerate(SOURCE.splitlines()) if "at %d" in one)
    assert "at %d" in files[Path("lib/r7r.py")].splitlines()[line]


def test_a_group_of_rare_methods_is_a_file_of_its_own_and_the_index_says_where_each_is() -> None:
    source = SOURCE + "\n    def repair(self):  # rare: service\n        self.at = 0\n"
    text, files = rare.take_rare(source, Path("lib/thing.py"), "thing", 7)
    assert set(files) == {Path(f"lib/r7{end}") for end in ("r.py", "m.py", "a.py", "")}
    assert files[Path("lib/r7")].splitlines() == ["make m", "tell r", "repair a"]
    assert "def repair" in files[Path("lib/r7a.py")] and "def repair" not in text
    assert "from rare import grouped as _fetch" in text


def test_a_rare_method_called_like_a_constructor_is_refused() -> None:
    source = "class Thing:\n    def make_it(self):  # rare\n        return 1\n"
    with pytest.raises(ValueError, match="begin with make"):
        rare.take_rare(source, Path("lib/thing.py"), "thing", 7)


def test_what_a_rare_method_uses_of_its_module_is_borrowed_annotated_or_not() -> None:
    source = "known: list = []\nlimit = 3\n\n\nclass Thing:\n    def tell(self):  # rare\n        return known, limit\n"
    _, files = rare.take_rare(source, Path("lib/thing.py"), "thing", 7)
    assert files[Path("lib/r7r.py")].startswith("from thing import known, limit\n")


REASONS = '''"""A module."""


class Thing:
    """Says µ, for bytes and letters to differ."""

    def check(self, at):
        name = "a name that is used"
        if at < 0:
            raise ValueError("at = %d: allowed are 0 and more" % at)
        if at > 9:
            self.last_error = "more than nine µ"
            raise ValueError("short")
        return name
'''


@pytest.fixture
def thing(tmp_path: Path) -> Path:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "thing.py").write_text(REASONS)
    return tmp_path


def test_the_texts_of_errors_are_fetched_from_flash_and_others_stay(thing: Path) -> None:
    made = texts.take_texts(REASONS, thing, ("lib",))
    content = texts.content(thing, ("lib",)).encode()
    asked = {(int(at), int(size)) for at, size in re.findall(r"_txt\((\d+), (\d+)\)", made)}
    assert {content[at : at + size].decode() for at, size in asked} == {"at = %d: allowed are 0 and more", "more than nine µ"}
    assert '"a name that is used"' in made and '"short"' in made
    assert [line for line in made.splitlines() if "def check" in line] == ["    def check(self, at):"]


def test_every_text_that_is_fetched_is_what_stood_in_the_source(tmp_path: Path) -> None:
    stage.stage(ROOT, tmp_path, "x86")
    content = (tmp_path / "lib" / "texts").read_bytes()
    places = texts.places(ROOT, shorten.TREES)
    assert len(places) > 50
    for text, at in places.items():
        assert content[at : at + len(text.encode())].decode() == text


def test_no_name_that_the_build_adds_is_one_of_the_sources() -> None:
    used = {name for path in SOURCES for name in re.findall(r"\b_[a-z]\w*", (ROOT / path).read_text())}
    assert not used & {"_fetch", "_txt"}


def test_a_table_goes_to_flash_with_its_constants_and_sums_as_numbers(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    source = 'FIRST = const(4)\nTABLE = (\n    ("a", FIRST, -1),\n    ("b", 2 + 1, 0.5),\n)\n'
    (tmp_path / "lib" / "thing.py").write_text(source)
    made, files = inline.take_rows(source, Path("lib/thing.py"), tmp_path)
    assert list(files.values()) == ['["a", 4, -1]\n["b", 3, 0.5]\n']
    assert made.splitlines()[1] == f'TABLE = "{next(iter(files)).as_posix()}"'


def test_a_row_of_what_is_not_a_constant_is_refused_by_name_and_line(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    source = 'TABLE = (\n    ("a", elsewhere),\n)\n'
    (tmp_path / "lib" / "thing.py").write_text(source)
    with pytest.raises(ValueError, match=r"line 2: .*not elsewhere"):
        inline.take_rows(source, Path("lib/thing.py"), tmp_path)


def test_no_rare_method_hides_behind_what_its_class_inherits() -> None:
    """A base's method of that name would be found instead of it, and the class's own way to fetch would hide the base's."""
    classes: dict[str, tuple[list[str], set[str], set[str]]] = {}
    for path in SOURCES:
        lines = (ROOT / path).read_text().splitlines(keepends=True)
        for node in ast.walk(ast.parse("".join(lines))):
            if isinstance(node, ast.ClassDef):
                methods = {m.name: m for m in node.body if isinstance(m, rare.Method)}
                heads = {name: "".join(lines[m.lineno - 1 : m.body[0].lineno - 1]) for name, m in methods.items()}
                marked = {name for name, head in heads.items() if "# rare" in head}
                bases = [ast.unparse(base).rpartition(".")[2] for base in node.bases]
                classes[f"{path}:{node.name}"] = (bases, set(methods), marked - {"__init__"})
    assert any(marked for _, _, marked in classes.values())
    for where, (bases, _, marked) in classes.items():
        for base, (_, methods, below) in classes.items():
            if marked and base.rpartition(":")[2] in bases:  # of two classes with one name, either may be meant
                assert not methods & marked and not below and "__getattr__" not in methods, f"{where} inherits from {base}"


def test_a_property_cannot_be_rare() -> None:
    source = "class Thing:\n    @property\n    def at(self):  # rare\n        return 1\n"
    with pytest.raises(ValueError, match="at is a property"):
        rare.take_rare(source, Path("lib/thing.py"), "thing", 7)
