"""Every rule of the house finds what breaks it, and leaves alone what does not."""

import ast

import pytest

from tools import house_rules as rules


def tree(text: str) -> ast.Module:
    return ast.parse(text)


def found(findings: list[rules.Finding]) -> list[str]:
    return [finding.what for finding in findings]


PRIVATE = [
    ("from firmware.manager import _limits", ["_limits"]),
    ("from firmware import manager\nmanager._limits()", ["_limits"]),
    ("def f(pm):\n    return pm._claims", ["_claims"]),
    ("def f(pm):\n    pm._claims = 3", ["_claims"]),
    ("class A:\n    def f(self):\n        return self._hook()", []),
    ("class A:\n    def __init__(self):\n        self._x = 1\n    def __eq__(self, o):\n        return self._x == o._x", []),
    ("class A:\n    __slots__ = ('_x',)\ndef f(a):\n    return a._x", []),
    ("def f(a):\n    return a.__dict__", []),
]


@pytest.mark.parametrize(("text", "names"), PRIVATE)
def test_a_private_name_is_taken_only_from_its_own_file(text: str, names: list[str]) -> None:
    assert found(rules.private_names({"firmware/a.py": tree(text)})) == names


def test_a_test_takes_no_private_name_of_the_firmware_but_may_have_its_own() -> None:
    board = {"firmware/a.py": tree("class A:\n    def __init__(self):\n        self._x = 1\n    def _go(self):\n        pass")}
    text = "def test(a, b):\n    a._go()\n    assert a._x == 1 and b._somebody_elses"
    assert sorted(found(rules.private_in_tests({"host_tests/t.py": tree(text)}, board))) == ["_go", "_x"]
    own = "class Mine:\n    def _go(self):\n        pass\ndef test(one):\n    one._go()"
    assert rules.private_in_tests({"host_tests/t.py": tree(own)}, board) == []


TIMES = [
    ("begun = time.monotonic()\n    work()\n    assert time.monotonic() - begun < 2", True),
    ("begun = time.ticks_ms()\n    work()\n    assert not x and time.ticks_diff(time.ticks_ms(), begun) <= 400", True),
    ("begun = time.perf_counter()\n    work()\n    took = time.perf_counter() - begun\n    assert 3 > took", True),
    ("begun = time.monotonic()\n    sleep(1)\n    assert time.monotonic() - begun >= 1", False),
    ("end = time.monotonic() + 5\n    while not ready():\n        assert time.monotonic() < end, 'not ready'", False),
    ("assert 0 <= time.ticks_ms() < 1 << 30", False),
    ("assert plant.seconds - plant.begun < 3", False),
]


@pytest.mark.parametrize(("body", "wrong"), TIMES)
def test_a_test_bounds_no_time_of_this_machine_from_above(body: str, wrong: bool) -> None:
    text = f"import time\ndef test():\n    {body}\n"
    assert found(rules.times_in_tests({"host_tests/t.py": tree(text)})) == (["test"] if wrong else [])


WRITES = [
    ("self._image.par[im.PAR_RAMP_UP] = 3", True),
    ("par = self._chain.image.par\npar[im.PAR_GRID_CHG] = 1 if self.x else 0", True),
    ("self._p = pm.image.par\nself._p[3] += 1", True),
    ("a, pm.image.now[im.CMD_P] = 1, 2", True),
    ("pm.image.inp[0] = 1", True),
    ("par = self._image.par\nself.most = par[im.PAR_P_DIS]", False),
    ("own[t.O_LOCAL] = now[im.MODE]", False),
    ("registers[t.RAMP] = par[im.PAR_RAMP_UP]", False),
]


@pytest.mark.parametrize(("text", "wrong"), WRITES)
def test_a_service_writes_nothing_into_the_image(text: str, wrong: bool) -> None:
    for path in ("firmware/services/a.py", "firmware/ems/a.py"):
        assert len(rules.image_written({path: tree(text)})) == wrong
    assert rules.image_written({"firmware/devices/a.py": tree(text)}) == []


def test_a_function_is_at_most_eighty_lines() -> None:
    def lines(count: int) -> rules.Trees:
        return {"tools/a.py": tree("async def f():\n" + "    x = 1\n" * (count - 1))}

    assert rules.long_functions(lines(80)) == []
    assert found(rules.long_functions(lines(81))) == ["f has more than 80 lines"]


@pytest.mark.parametrize("text", ["__import__('x')", "importlib.import_module(n)", "import_module(n)"])
def test_only_the_loader_imports_by_a_string(text: str) -> None:
    assert len(rules.imports_by_string({"lib/a.py": tree(text)})) == 1
    assert rules.imports_by_string({rules.LOADER: tree(text)}) == []
    assert rules.imports_by_string({"lib/a.py": tree("import x")}) == []


def test_a_circle_of_imports_is_found_whole_and_once() -> None:
    board = {
        "firmware/__init__.py": tree("from firmware.a import A"),
        "firmware/a.py": tree("from firmware import b"),
        "firmware/b.py": tree("import c"),
        "lib/c.py": tree("import firmware.a"),
        "lib/d.py": tree("import c"),
    }
    assert found(rules.import_circles(board)) == ["c > firmware.a > firmware.b > c"]
    board["lib/c.py"] = tree("def later():\n    import firmware.a")
    assert rules.import_circles(board) == []


def test_a_circle_between_a_package_and_its_own_module_is_one() -> None:
    board = {"lib/p/__init__.py": tree("from p.one import X\nY = 1"), "lib/p/one.py": tree("from p import Y")}
    assert found(rules.import_circles(board)) == ["p > p.one > p"]


def test_what_is_owned_up_to_is_no_finding_and_what_is_mended_must_be_struck_out() -> None:
    one = rules.Finding("private", "firmware/a.py", 7, "_x")
    assert rules.beyond([one], {"private": {"firmware/a.py": ("_x",)}}) == []
    assert rules.beyond([one], {}) == ["firmware/a.py:7: _x [private]"]
    assert "strike it out" in rules.beyond([], {"private": {"firmware/a.py": ("_x",)}})[0]
