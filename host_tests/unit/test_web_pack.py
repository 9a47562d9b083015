"""The operator's page as it is packed for a board: small, the same each time, whole, with nothing from elsewhere."""

import gzip
import re
import shutil
from pathlib import Path

import pytest

from tools.build import web


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the page's sources, to be changed."""
    shutil.copytree(web.ROOT / web.SOURCES, tmp_path / web.SOURCES)
    return tmp_path


def test_it_is_below_its_bar_and_the_same_each_time(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    made = web.pack(web.ROOT, first)
    assert made == web.pack(web.ROOT, second)
    assert sum((first / path).stat().st_size for path in made) <= web.MOST_BYTES
    for path in made:
        assert (first / path).read_bytes() == (second / path).read_bytes()
        assert re.fullmatch(r"www/[a-z0-9._-]+\.gz", path.as_posix())


def test_what_is_packed_is_what_is_served(tmp_path: Path) -> None:
    for path in web.pack(web.ROOT, tmp_path):
        assert gzip.decompress((tmp_path / path).read_bytes()) == web.assets()[path.stem]


def test_every_file_that_the_page_names_is_packed() -> None:
    assets = web.assets()
    text = assets["index.html"].decode()
    named = set(re.findall(r'(?:src|href)="([^"#]+)"', text)) | set(re.findall(r'src: "([^"]+)"', assets["app.js"].decode()))
    assert named == set(assets) - {"index.html"}


def test_nothing_is_written_that_the_boards_policy_forbids() -> None:
    text = web.assets()["index.html"].decode()
    assert " style=" not in text and "<style" not in text and not re.search(r"\son\w+=", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)
    script = web.assets()["app.js"].decode()
    assert not re.search(r"\beval\(|new Function|innerHTML|outerHTML|insertAdjacentHTML|document\.write", script)
    addresses = {found for content in web.assets().values() for found in re.findall(r"https?://[\w./-]+", content.decode())}
    assert all(address.startswith(("http://www.w3.org/", "https://github.com/leeoniya/uPlot")) for address in addresses), addresses


def test_the_charts_licence_goes_along_and_its_files_are_those_that_are_pinned(tree: Path) -> None:
    assert b"Permission is hereby granted" in web.assets()["uplot.js"] and b"Leon Sorokin" in web.assets()["uplot.js"]
    assert [package["name"] for package in web.vendored(tree)] == ["uplot"]
    with (tree / web.SOURCES / "vendor" / "uPlot.iife.min.js").open("a") as file:
        file.write("//")
    with pytest.raises(web.PageError, match=r"uPlot\.iife\.min\.js: is not the file of uplot"):
        web.vendored(tree)


def test_a_tree_without_a_page_has_none(tmp_path: Path) -> None:
    assert web.pack(tmp_path, tmp_path / "to") == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('import * as all from "./words.js";', "not in a form"),
        ("export default 7;", "not in a form"),
        ('import { x } from "./gone.js";', "needs gone.js, which is not there"),
        ('import { nowView } from "./views/now.js";', "need each other in a ring"),
        ("const text = `over\nlines`;", "a template goes over several lines"),
    ],
)
def test_what_the_packing_cannot_follow_is_refused_with_its_place(tree: Path, line: str, words: str) -> None:
    file = tree / web.SOURCES / "js" / "words.js"
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(web.PageError, match=words):
        web.pack(tree, tree / "to")


def test_a_page_that_has_grown_too_large_is_refused(tree: Path) -> None:
    import random

    noise = random.Random(1).randbytes(8000).hex()
    with (tree / web.SOURCES / "app.css").open("a") as file:
        file.write(f"/* x */ .noise::after {{ content: '{noise}'; }}\n")
    with pytest.raises(web.PageError, match="allowed are 60,000"):
        web.pack(tree, tree / "to")


def test_modules_become_one_in_the_order_of_their_needs(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text('// about\nimport { b, C } from "./b.js";\n\nconsole.log(b(), new C().d); // kept\n')
    needed = "export function b() {\n  return 1;\n}\nexport class C {}\nfunction hidden() {}\n/* d\nmore */\nexport const e = 2;\n"
    (tmp_path / "b.js").write_text(needed)
    text = web.bundle(tmp_path / "a.js")
    assert text.index("const m0_b =") < text.index("const m1_a =")
    assert "return { b, C, e };" in text and "const { b, C } = m0_b;" in text
    assert "about" not in text and "more" not in text and "// kept" in text and "export" not in text and "hidden" in text
