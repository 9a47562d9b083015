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
from host_tests.mp.hot_inputs import Hot

ROOT = Path(__file__).resolve().parents[2]
CALLS = Path(__file__).parent / "on_board" / "hot_calls.py"
CASES = int(os.environ.get("PARITY_CASES", "2000"))
SEED = int(os.environ.get("PARITY_SEED", "20261122"))


checked = cache(kernels.checked)


def test_the_table_names_every_kernel() -> None:
    assert set(kernels.where()) == {hot.name for hot in hot_inputs.TABLE}


@pytest.mark.parametrize("hot", hot_inputs.TABLE, ids=lambda hot: hot.name)
def test_three_interpreters_agree(hot: Hot, tmp_path: Path) -> None:
    rng = random.Random(f"{SEED} {hot.name}")
    given, expected = tmp_path / "in", bytearray()
    spec: list[int] = []
    with given.open("wb") as file:
        for case in range(CASES):
            arguments = hot_inputs.arguments(hot, rng)
            spec = [len(argument) if isinstance(argument, array) else 0 for argument in arguments]
            for argument in arguments:
                file.write(argument if isinstance(argument, array) else array("i", [argument]))
            try:
                result = getattr(checked(), hot.name)(*arguments)
            except hotcheck.HotError as error:
                pytest.fail(f"seed {SEED}, case {case}: {error}")
            for argument in arguments:
                if isinstance(argument, array):
                    expected += argument.tobytes()
            expected += array("i", [result or 0]).tobytes()
    for bits in (64, 32):
        interpreter = needs.interpreter(bits)
        found = tmp_path / f"out{bits}"
        command = [str(CALLS), str(ROOT), kernels.where()[hot.name], hot.name, str(given), str(found), *map(str, spec)]
        done = subprocess.run([*interpreter.command, *command], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 and done.stdout.strip() == str(CASES), done.stdout + done.stderr
        difference = first_difference(bytes(expected), found.read_bytes(), spec)
        assert difference is None, f"{interpreter}, seed {SEED}: {hot.name} differs from CPython: {difference}"


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
