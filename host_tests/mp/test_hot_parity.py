"""Every kernel does the same on CPython with int32 checks, in 64-bit viper and in 32-bit viper."""

import os
import random
import subprocess
from array import array
from functools import cache
from pathlib import Path

import pytest

from host_tests import hotcheck, kernels, needs
from host_tests.mp import hot_inputs
from host_tests.mp.hot_inputs import Argument, Hot

ROOT = Path(__file__).resolve().parents[2]
CALLS = Path(__file__).parent / "on_board" / "hot_calls.py"
CASES = int(os.environ.get("PARITY_CASES", "1000"))
SEED = int(os.environ.get("PARITY_SEED", "20261122"))


checked = cache(kernels.checked)


def test_the_table_names_every_kernel() -> None:
    assert set(kernels.where()) == {hot.name for hot in hot_inputs.TABLE}


@pytest.mark.parametrize("hot", hot_inputs.TABLE, ids=lambda hot: hot.name)
def test_three_interpreters_agree(hot: Hot, tmp_path: Path) -> None:
    rng = random.Random(f"{SEED} {hot.name}")
    given, expected = tmp_path / "in", bytearray()
    arguments: list[Argument] = []
    with given.open("wb") as file:
        for case in range(CASES):
            arguments = hot_inputs.arguments(hot, rng)
            for argument in arguments:
                for each in arrays(argument) or [array("i", [argument])]:
                    file.write(array("i", each))
            try:
                result = getattr(checked(), hot.name)(*arguments)
            except hotcheck.HotError as error:
                pytest.fail(f"seed {SEED}, case {case}: {error}")
            for argument in arguments:
                for each in arrays(argument):
                    expected += array("i", each).tobytes()
            expected += array("i", [result or 0]).tobytes()
    texts = [shape(argument) for argument in arguments]
    spec = [len(each) for argument in arguments for each in arrays(argument)]
    for bits in (64, 32):
        interpreter = needs.interpreter(bits)
        found = tmp_path / f"out{bits}"
        command = [str(CALLS), str(ROOT), kernels.where()[hot.name], hot.name, str(given), str(found), *texts]
        done = subprocess.run([*interpreter.command, *command], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 and done.stdout.strip() == str(CASES), done.stdout + done.stderr
        difference = first_difference(bytes(expected), found.read_bytes(), spec)
        assert difference is None, f"{interpreter}, seed {SEED}: {hot.name} differs from CPython: {difference}"


def arrays(argument: Argument) -> list[array]:
    """The arrays of an argument; none of an int."""
    if isinstance(argument, int):
        return []
    return argument if isinstance(argument, list) else [argument]


def shape(argument: Argument) -> str:
    """An argument as hot_calls.py wants its length."""
    if isinstance(argument, list):
        return f"{len(argument)}x{len(argument[0])}"
    if isinstance(argument, int):
        return "0"
    return f"{len(argument)}{'H' if argument.typecode == 'H' else ''}"


def first_difference(expected: bytes, found: bytes, spec: list[int]) -> str | None:
    """Where two records of calls part: case, argument, index, both values; None when they are alike."""
    if expected == found:
        return None
    wanted, got = array("i", expected), array("i", found)
    size = sum(spec) + 1
    if len(wanted) != len(got):
        return f"{len(got) // size} records instead of {len(wanted) // size}"
    at = next(i for i in range(len(wanted)) if wanted[i] != got[i])
    case, offset = divmod(at, size)
    for number, length in enumerate(spec):
        if offset < length:
            slot = hot_inputs.NAMES.get(offset, "")
            return f"case {case}, argument {number}[{offset}] {slot}: {got[at]} instead of {wanted[at]}"
        offset -= length
    return f"case {case}, result: {got[at]} instead of {wanted[at]}"
