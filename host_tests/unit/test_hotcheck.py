"""The int32 checker finds what would differ on a chip, and names the expression."""

from array import array
from pathlib import Path

import pytest

from host_tests.hotcheck import HotError, load

HEAD = "import micropython\n@micropython.viper\ndef f(a: ptr32, n: int) -> int:\n"


def run(tmp_path: Path, body: str, n: int = 0, size: int = 4) -> int:
    file = tmp_path / "viper.py"
    file.write_text(HEAD + "".join(f"    {line}\n" for line in body.split("\n")))
    return int(load(file).f(array("i", [0] * size), n) or 0)


def test_harmless_code_gives_its_result(tmp_path: Path) -> None:
    assert run(tmp_path, "a[1] = n * 3\na[1] += 4\nreturn a[1] // 2", n=6) == 11


@pytest.mark.parametrize(
    ("body", "n", "message"),
    [
        ("return n * 2", 1 << 30, "outside int32"),
        ("x = n\nx += n\nreturn x", 1 << 30, "outside int32"),
        ("return 5 // n", 0, "division by zero"),
        ("return 5 % n", 0, "division by zero"),
        ("return 1 << n", 32, "shift by 32"),
        ("return a[n]", 4, "index 4 of an array of 4"),
        ("return a[n]", -1, "index -1"),
        ("a[0] = n", 1 << 30, "more than a slot holds"),
        ("a[0] = 1\na[0] += n", (1 << 30) - 1, "more than a slot holds"),
    ],
)
def test_what_a_chip_would_do_differently_is_an_error(tmp_path: Path, body: str, n: int, message: str) -> None:
    with pytest.raises(HotError, match=message):
        run(tmp_path, body, n)


@pytest.mark.parametrize(
    ("body", "message"),
    [("return -n", "unary minus"), ("return ~n", "~ was"), ("return n * 0.5", "no floats"), ("return n / 2", "Div")],
)
def test_what_the_subset_forbids_is_refused_when_loading(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(HotError, match=message):
        run(tmp_path, body)


def test_the_message_names_line_and_expression(tmp_path: Path) -> None:
    with pytest.raises(HotError, match=r"viper\.py:4: n \* 1000"):
        run(tmp_path, "return n * 1000", n=1 << 22)
