"""What the build does to a source before it is compiled: numbers and tuples for constants, declared tables, and nothing else."""

import ast
import io
import json
import re
import tokenize
from functools import cache
from pathlib import Path

import pytest

from tools.build import inline, stage, tables

ROOT = stage.ROOT
SOURCES = [path for path in stage.device_files() if path.suffix == ".py" and path.name not in stage.ENTRY_FILES]


@cache
def built(path: Path) -> tuple[str, dict[Path, str]]:
    """What the build makes of a file."""
    return stage.for_board(ROOT, path)


@cache
def tokens(text: str) -> list[tokenize.TokenInfo]:
    skip = (tokenize.NL, tokenize.COMMENT, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    return [token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type not in skip]


def free_lines(path: Path, text: str) -> set[int]:
    """The lines of a file where the build may change more: its imports, its declared tables, its public numbers."""
    wanted = (*tables.DECLARED.get(path.as_posix(), ()), "NAMES", *constants())
    found: set[int] = set()
    for node in ast.parse(text).body:
        named = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in wanted
        if named or isinstance(node, ast.Import | ast.ImportFrom):
            found |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return found


@cache
def constants() -> dict[str, set[int | tuple]]:
    """What a name of the tree is defined as: `NAME = const(5)`, `NAME = const((1, b"x"))`, and `NAME = 5` in a class."""
    found: dict[str, set[int | tuple]] = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                value = node.value
                is_const = isinstance(value, ast.Call) and ast.unparse(value.func) == "const"
                if isinstance(value, ast.Call) and is_const:
                    value = value.args[0]
                try:
                    number = ast.literal_eval(value)
                except ValueError:
                    continue
                public = is_const and not node.targets[0].id.startswith("_")
                if type(number) is int or (type(number) is tuple and public):
                    found.setdefault(node.targets[0].id, set()).add(number)
    return found


def value_at(got: list[str], at: int) -> tuple[int | tuple, int]:
    """The number or the tuple written there, and how many tokens it takes."""
    if got[at] != "(":
        return int(got[at], 0), 1
    end = at
    while got[at : end + 1].count("(") > got[at : end + 1].count(")"):
        end += 1
    return ast.literal_eval(" ".join(got[at : end + 1])), end + 1 - at


def read(path: Path) -> str:
    """A source without the import of `const`, which no module needs any more once its constants are numbers."""
    return re.sub(r"^from micropython import const$", "", (ROOT / path).read_text(), flags=re.M)


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_every_token_is_as_written_but_constants_imports_and_declared_tables(path: Path) -> None:
    text = read(path)
    made, _ = built(path)
    kept = free_lines(path, text)
    before = [token.string for token in tokens(text) if token.start[0] not in kept]
    after = [token.string for token in tokens(made) if token.start[0] not in kept]
    i = j = 0
    while i < len(before):
        if j < len(after) and before[i] == after[j]:
            i, j = i + 1, j + 1
            continue
        value, taken = value_at(after, j)  # fails for anything but a number or a tuple of literals
        if i + 2 < len(before) and before[i + 1] == "." and value in constants().get(before[i + 2], ()):
            i += 3
        else:
            assert value in constants().get(before[i], ()), f"{before[i - 3 : i + 4]} became {after[j - 3 : j + 4]}"
            i += 1
        j += taken
    assert j == len(after)


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_every_line_keeps_its_number(path: Path) -> None:
    text = read(path)
    made, _ = built(path)
    assert len(made.splitlines()) == len(text.splitlines())
    kept = free_lines(path, text)

    def statements(source: str) -> list[tuple[int, str]]:
        nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt) and node.lineno not in kept]
        return sorted((node.lineno, type(node).__name__) for node in nodes)

    assert statements(made) == statements(text)


def imported(source: str) -> dict[str, str]:
    """What the imports at the top of a file call things, and what these are."""
    found: dict[str, str] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom):
            found.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
        elif isinstance(node, ast.Import):
            found.update({alias.asname or alias.name: alias.name for alias in node.names})
    return found


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_only_what_was_there_for_its_numbers_is_not_imported(path: Path) -> None:
    text = read(path)
    made, _ = built(path)
    before, after = imported(text), imported(made)
    assert {name: before[name] for name in after} == after
    was_used, used = ({token.string for token in tokens(source)} for source in (text, made))
    used, was_used = ({token.string for token in tokens(source)} for source in (made, text))
    for name in before.keys() - after.keys():
        assert name in was_used and name not in used, f"{name} is imported for more than its numbers"


def test_what_a_compiled_file_imports_from_another_is_there() -> None:
    trees = {path: ast.parse(built(path)[0]) for path in SOURCES}
    defined: dict[str, set[str]] = {}
    for path, tree in trees.items():
        parts = path.with_suffix("").parts
        module = ".".join(part for part in parts if part not in ("lib", "__init__"))
        names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
        names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        defined[module] = names | set(imported(ast.unparse(tree)))
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module in defined:
                for alias in node.names:
                    there = alias.name in defined[node.module] or f"{node.module}.{alias.name}" in defined
                    assert there, f"{path}: imports {alias.name} from {node.module}, where a board has none"


def test_a_constant_of_another_module_becomes_its_number(tmp_path: Path) -> None:
    firmware = tmp_path / "firmware"
    firmware.mkdir()
    (tmp_path / "lib").mkdir()
    (firmware / "image.py").write_text("from micropython import const\nA = const(7)\nB = const(-3)\nfree = 9\n")
    source = "from firmware import image as im\nfrom firmware.image import A, free\n"
    source += "x = im.A + A - im.B\ny = im.free, free, 'im.A'\n"
    made = inline.inline(source, tmp_path)
    assert made.splitlines() == [
        "from firmware import image as im", "from firmware.image import free", "x = 7 + 7 - (-3)", "y = im.free, free, 'im.A'",
    ]  # fmt: skip


def test_what_is_imported_for_its_numbers_is_not_imported_on_a_board(tmp_path: Path) -> None:
    firmware = tmp_path / "firmware"
    firmware.mkdir()
    (tmp_path / "lib").mkdir()
    (firmware / "image.py").write_text("from micropython import const\nA = const(7)\nB = const(-3)\n")
    source = "from firmware import image as im\nfrom firmware.image import (\n    A,\n    B,\n)\nx = im.A + A\n"
    assert inline.inline(source, tmp_path).splitlines() == ["", "from firmware.image import B", "", "", "", "x = 7 + 7"]
    public = "from firmware.image import A\n"  # nobody uses it here: for those who import this file
    assert inline.inline(public, tmp_path) == public


def test_a_declared_table_becomes_a_file_of_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tables.DECLARED, "firmware/x.py", ("ROWS",))
    source = "A = const(4)\nROWS = (\n    (1, 'a', 'REQUIRED'),\n    (A, 1 + 2, None),\n)\nOTHER = ((1, 2),)\n"
    text, files = tables.take_tables(source, Path("firmware/x.py"))
    assert text.splitlines() == ["A = const(4)", 'ROWS = "x.ROWS"', "", "", "", "OTHER = ((1, 2),)"]
    assert [json.loads(line) for line in files[Path("lib/tables/x.ROWS")].splitlines()] == [[1, "a", "REQUIRED"], [4, 3, None]]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("OTHER = ((1, 2),)\n", "ROWS only 0 are there"),
        ("ROWS = [(1, 2)]\n", "ROWS is declared as a table of rows and is none"),
        ("ROWS = ((1, print),)\n", "line 1: a row holds numbers"),
        ("ROWS = (1, 2)\n", "line 1: a row is a tuple"),
    ],
)
def test_a_declared_table_that_is_missing_or_none_is_an_error(source: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tables.DECLARED, "firmware/x.py", ("ROWS",))
    with pytest.raises(ValueError, match=said):
        tables.take_tables(source, Path("firmware/x.py"))


def test_every_declared_table_is_there_and_no_two_share_a_file() -> None:
    declared = {*tables.DECLARED, *tables.NAMED_NUMBERS}
    files = [file for path in declared for file in built(Path(path))[1]]
    assert len(files) == len(set(files)) == sum(len(names) for names in tables.DECLARED.values()) + len(tables.NAMED_NUMBERS)


def test_the_names_of_a_table_of_numbers_are_in_its_file_and_its_own_uses_are_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "NAMED_NUMBERS", ("firmware/x.py",))
    source = "NAMES = ()\nA = const(4)\nB = const(-1)  # one\n\n\ndef f(x):\n    return x.A + A * B\n"
    text, files = tables.take_numbers(source, Path("firmware/x.py"))
    assert text.splitlines() == ['NAMES = "x.NAMES"', "", "", "", "", "def f(x):", "    return x.A + 4 * (-1)"]
    assert [json.loads(line) for line in files[Path("lib/tables/x.NAMES")].splitlines()] == [["A", 4], ["B", -1]]
    with pytest.raises(ValueError, match="has no constants"):
        tables.take_numbers("print(1)\n", Path("firmware/x.py"))
    monkeypatch.setattr(tables, "NAMED_NUMBERS", ())
    assert tables.take_numbers("print(1)\nA = const(4)\n", Path("firmware/x.py")) == ("print(1)\n\n", {})
    assert tables.take_numbers("print(1)\n", Path("firmware/x.py")) == ("print(1)\n", {})


def test_a_declared_table_that_is_missing_fails_the_build_by_name(tmp_path: Path) -> None:
    (tmp_path / "root" / "firmware").mkdir(parents=True)
    (tmp_path / "root" / "firmware" / "config.py").write_text("ROWS = ()\n")
    with pytest.raises(stage.CompileError, match=r"firmware/config\.py: .*FIELDS"):
        stage.stage(tmp_path / "root", tmp_path / "flash", "x64")


# ---- the stamp ---------------------------------------------------------------------------------------------------------


def small_tree(root: Path, body: str) -> Path:
    for tree in stage.TREES:
        (root / tree).mkdir(parents=True)
        (root / tree / "generation.py").write_text((ROOT / tree / "generation.py").read_text())
    (root / "main.py").write_text("print(1)\n")
    (root / "firmware" / "a.py").write_text(body)
    (root / "lib" / "zones.txt").write_text("UTC0\n")
    return root


def staged(root: Path, dest: Path, march: str = "x64") -> str:
    stamp = stage.generation(dest, stage.stage(root, dest, march))
    for tree in stage.TREES:
        assert stamp.encode() in (dest / tree / "generation.mpy").read_bytes()
    return stamp


def test_both_folders_carry_the_stamp_and_the_same_tree_has_the_same(tmp_path: Path) -> None:
    root = small_tree(tmp_path / "root", "x = 1\n")
    first = staged(root, tmp_path / "one")
    assert staged(root, tmp_path / "two") == first
    assert len(first) == stage.STAMP_DIGITS


@pytest.mark.parametrize("changed", ["firmware/a.py", "lib/zones.txt", "main.py", "lib/b.py", "firmware/generation.py"])
def test_any_change_to_what_is_shipped_is_another_generation(changed: str, tmp_path: Path) -> None:
    root = small_tree(tmp_path / "root", "x = 1\n")
    before = staged(root, tmp_path / "one")
    path = root / changed
    path.write_text((path.read_text() if path.exists() else "") + "y = 2\n")
    other = staged(root, tmp_path / "two")
    assert (other != before) == (changed != "firmware/generation.py")  # the stamp's own file cannot be part of it


def test_another_machine_is_another_generation(tmp_path: Path) -> None:
    root = small_tree(tmp_path / "root", "import micropython\n@micropython.viper\ndef f(a: int) -> int:\n    return a + 1\n")
    assert staged(root, tmp_path / "one", "x64") != staged(root, tmp_path / "two", "xtensawin")


def test_a_tree_of_sources_has_no_stamp(tmp_path: Path) -> None:
    root = small_tree(tmp_path / "root", "x = 1\n")
    stage.stage(root, tmp_path / "one", None)
    for tree in stage.TREES:
        assert (tmp_path / "one" / tree / "generation.py").read_text() == (root / tree / "generation.py").read_text()


def test_a_stamped_file_without_its_line_fails_the_build(tmp_path: Path) -> None:
    root = small_tree(tmp_path / "root", "x = 1\n")
    (root / "lib" / "generation.py").write_text("STAMP = ''\n")
    with pytest.raises(stage.CompileError, match=r"lib/generation\.py"):
        stage.stage(root, tmp_path / "one", "x64")


def test_a_public_constant_tuple_is_written_where_it_is_used() -> None:
    """So no board loads the tables of SunSpec: those of a dialect that a device does not speak take nothing of its heap."""
    made, _ = built(Path("firmware/devices/pcs_der.py"))
    assert "sun.block((701, 120, b'" in made
    loaded = {path for path in SOURCES if "sunspec_tables" in " ".join(imported(built(path)[0]).values())}
    assert loaded == set()
