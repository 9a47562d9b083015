"""The soak finds nothing, can find something, and repeats what it finds; its quick firmware is the plain one."""

import copy
import os
import random
import re
import subprocess
import sys
from array import array
from pathlib import Path
from types import ModuleType

import pytest

from host_tests import kernels
from host_tests.mp import hot_inputs
from host_tests.unit.soak_mutations import MUTATIONS
from tools.change_seed import change_seed
from tools.soak import quick
from tools.soak.invariants import too_large

ROOT = Path(__file__).resolve().parents[2]


def soak(*arguments: str, code: str = "") -> tuple[int, str]:
    """Runs the tool in a process of its own (it loads firmware its own way); its status and all it said."""
    start = ["-c", code + "; from tools.soak.soak import main; sys.exit(main(sys.argv[1:]))"] if code else ["-m", "tools.soak"]
    done = subprocess.run([sys.executable, *start, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "seed, more", [("1", ()), ("2", ()), ("3", ("--cycle-ms", "1000")), ("1", ("--banks",)), ("2", ("--banks",))]
)
def test_no_invariant_breaks_under_the_fixed_seeds(seed: str, more: tuple[str, ...]) -> None:
    status, said = soak("--seed", seed, "--cycles", "10000", *more)  # a million are make soak's
    assert status == 0, said
    assert re.search(r"10,000 cycles in .* cycles/s, .* times real time", said)


@pytest.mark.parametrize("more", [(), ("--banks",)], ids=["one", "several"])
def test_no_invariant_breaks_under_the_change_s_seed(more: tuple[str, ...]) -> None:
    check = os.environ.get("TEST_PROFILE") == "check"  # a taste
    status, said = soak("--seed", str(change_seed()), "--cycles", "5000" if check else "10000", *more)
    assert status == 0, said


@pytest.mark.slow
def test_kernels_stay_inside_int32_under_chaos() -> None:
    for more in ((), ("--banks",)):
        status, said = soak("--seed", "4", "--cycles", "1500", "--hot", "checked", *more)
        assert status == 0, said


@pytest.mark.slow
def test_a_broken_rule_of_several_banks_repeats_from_what_is_printed() -> None:
    code = "from host_tests.unit import soak_mutations; soak_mutations.apply('an_emergency_stays_in_its_bank'); import sys"
    status, said = soak("--banks", "--seed", "5", "--cycles", "100000", code=code)
    found = re.search(r"BROKEN: seed 5, era (\d+), (cycle \d+: .*)", said)
    assert status == 1 and found, said
    again = re.search(r"repeat with: python -m tools.soak (.*)", said)
    assert again, said
    status, said = soak(*again[1].split(), code=code)
    assert status == 1 and found[2] in said


_FLOOR_FORGOTTEN = """
import sys
from tools.soak import quick
quick.install()
from firmware import image as im
from firmware.kernel import battery_limits
honest = battery_limits.soc_row
def forgets_the_floor(img, par):
    floor, par[im.PAR_SOC_MIN] = par[im.PAR_SOC_MIN], 0
    honest(img, par)
    par[im.PAR_SOC_MIN] = floor
battery_limits.soc_row = forgets_the_floor
"""

_STRANDS = """
import sys
from tools.soak import quick
quick.install()
from firmware import image as im
from firmware.limits import NAMES
from firmware.kernel import battery_limits
honest, row, seen = battery_limits.current_rows, im.LIMIT_ROWS_DIS + NAMES.index("bms_current"), [0]
def never_forgets_a_protection(img, par):
    honest(img, par)
    if img[im.BMS_PROTECT] > 0:
        seen[0] = 1
    if seen[0]:
        img[row] = img[row + im.LIMIT_ROWS_CHG - im.LIMIT_ROWS_DIS] = 0
battery_limits.current_rows = never_forgets_a_protection
"""


@pytest.mark.slow
def test_a_stranded_battery_is_found() -> None:
    status, said = soak("--seed", "9", "--cycles", "400000", code=f"exec({_STRANDS!r})")
    assert status == 1 and re.search(r"BROKEN: seed 9, era \d+, cycle \d+: stranded for \d+ ms in \w+", said), said


@pytest.mark.slow
def test_a_broken_limit_is_found_and_its_era_repeats_it() -> None:
    code = f"exec({_FLOOR_FORGOTTEN!r})"
    status, said = soak("--seed", "5", "--cycles", "200000", code=code)
    assert status == 1
    found = re.search(r"BROKEN: seed 5, era (\d+), (cycle \d+: breach 4: .*)", said)
    assert found, said
    assert f"repeat with: python -m tools.soak --seed 5 --era {found[1]}" in said
    status, again = soak("--seed", "5", "--era", found[1], code=code)
    assert status == 1 and found[2] in again


# A seed from which each is found within some thousand cycles, and the era that is played first where those before it took most of
# the time; the others from _SEED within a hundred thousand, but for those that take up to a third of a million: they are left to
# a run by hand.
_SEED = 5
_SEEDS = {
    "a_bank_in_trouble_strands_the_others": 3,
    "a_bank_that_comes_back_costs_the_power_of_all": 4,
    "a_lost_battery_is_not_missed": 2,
    "a_scale_factor_is_read_once": 7,
    "late_data_are_young": 68,
    "one_reading_latches": 23,
    "packs_in_parallel_forget_a_protection": 21,
    "what_ran_does_not_start_again": 10,
}
_ERAS = {
    "a_bank_that_comes_back_costs_the_power_of_all": 2,
    "a_reset_forgets_the_emergency": 1,
    "a_scale_factor_is_read_once": 4,
    "a_setpoint_keeps_the_scale_of_before": 9,
    "an_emergency_stays_in_its_bank": 1,
    "packs_in_parallel_forget_a_protection": 11,
    "two_readings_do_not_latch": 2,
}
_RARE = (
    "a_broken_sensor_costs_more_than_itself",
    "a_manual_operation_goes_on_after_a_reset",
    "a_recalibration_is_never_accepted",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MUTATIONS if name not in _RARE])
def test_a_broken_rule_is_found(name: str) -> None:
    code = f"from host_tests.unit import soak_mutations; soak_mutations.apply({name!r}); import sys"
    _, pattern, arguments = MUTATIONS[name]
    seed = ("--seed", str(_SEEDS.get(name, _SEED)), *arguments)
    if name in _ERAS:
        status, said = soak(*seed, "--era", str(_ERAS[name]), code=code)
        if status == 1 and re.search(rf"^cycle \d+: .*({pattern})", said, re.M):
            return  # else what the firmware does is no longer what it was in this era
    status, said = soak(*seed, "--cycles", "100000", code=code)
    assert status == 1 and re.search(rf"BROKEN: .*({pattern})", said), said


@pytest.mark.parametrize("value", [2**30, -(2**30) - 1, 2**31 - 1, -(2**31)])
def test_a_slot_that_would_allocate_is_seen(value: int) -> None:
    assert too_large(array("i", [0, value, 0]))
    assert not too_large(array("i", [0, -1, 2**30 - 1, -(2**30)]))


def _quick(path: Path) -> ModuleType:
    module = ModuleType(f"quick_{path.stem}")
    name = f"firmware.kernel.{path.stem}"
    exec(compile(quick.quickened(path.read_text(), name), str(path), "exec"), module.__dict__)
    return module


@pytest.mark.parametrize("function", hot_inputs.TABLE, ids=lambda h: h.name)
def test_a_quick_kernel_is_the_plain_one(function: hot_inputs.Hot) -> None:
    quick_ones, plain_ones = kernels.gathered(_quick), kernels.plain()
    rng = random.Random(function.name)
    for _ in range(300):
        mine = hot_inputs.arguments(function, rng)
        theirs = copy.deepcopy(mine)
        assert getattr(quick_ones, function.name)(*mine) == getattr(plain_ones, function.name)(*theirs)
        assert mine == theirs
