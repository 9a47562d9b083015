"""The soak of several banks finds nothing, and finds rules that are broken on purpose."""

import re
import subprocess
import sys

import pytest

from tools.interpreters import ROOT

_ALL_TO_ONE = """
from firmware.kernel import banks
honest = banks.portion
def broken(img, part, par, how):
    rises = honest(img, part, par, how)
    part[im.REQUEST_P] = img[im.REST_P] * (-1 if how & 1 else 1) if part[im.REQUEST_P] else 0
    return rises
banks.portion = broken
"""
_OLD_DATA = """
from firmware import parameters
honest = parameters.apply
def broken(config, par, *more):
    honest(config, par, *more)
    par[im.PAR_STALE_BMS] = 8000
parameters.apply = broken
"""
_NO_RAMP = _OLD_DATA.replace("par[im.PAR_STALE_BMS] = 8000", "par[im.PAR_RAMP_UP] *= 3")
_UNSHARED = """
from firmware.kernel import banks
honest, count = banks.portion, [0]
def broken(img, part, par, how):
    count[0] += 1
    if count[0] % 2:
        img[im.REST_LIMIT] += 20000
    return honest(img, part, par, how)
banks.portion = broken
"""
_MUTATIONS = {
    "all to one": (_ALL_TO_ONE, r"is given -?\d+ W, limits are|command is -?\d+ W, its"),
    "old data": (_OLD_DATA, r"a battery of it is silent for|the auditor finds"),
    "no ramp": (_NO_RAMP, r"the site's command goes from"),
    "unshared": (_UNSHARED, r"does not share|command is -?\d+ W, its"),
}


def soak(*arguments: str, broken: str = "") -> tuple[int, str]:
    head = "import sys\nfrom tools.soak import several\nfrom firmware import image as im\n"
    code = head + broken + "\nsys.exit(several.main(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["1", "7"])
def test_it_finds_nothing(seed: str) -> None:
    status, said = soak("--seed", seed, "--cycles", "16000")
    assert status == 0, said
    assert "4 eras, 16,000 cycles" in said


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(_MUTATIONS))
def test_a_broken_rule_is_found_and_repeats(name: str) -> None:
    broken, words = _MUTATIONS[name]
    status, said = soak("--cycles", "40000", broken=broken)
    assert status == 1 and re.search(words, said), said
    assert "repeat with: python -m tools.soak.several --seed 1 --era" in said
