"""Every way in which the system broke when it was attacked has a test that names it, in its name or before a colon in its text."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]

# what broke under attack; batteries and Modbus devices name their cases in test_bms_cases and test_modbus_cases
ATTACKS = (
    "boot-level", "full-site-heap", "boot-loop", "tiny-is-not-none", "latch", "end-of-program", "resume", "charge-ends", "floor",
    "age", "one-group-two-writers", "island", "maintenance", "int32", "restarts", "limit-order", "locks", "half-deploy", "ntp",
    "storage-place", "table-two-rows", "wlan-untouched", "console-flood",
)  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_has_a_test_that_names_it(attack: str) -> None:
    in_text = rf"""(?:"{{3}}|# ){attack}:"""
    in_name = f"def test_{attack.replace('-', '_')}_"
    named = re.compile(f"{in_text}|{in_name}")
    assert any(named.search(path.read_text()) for path in TESTS.rglob("test_*.py")), f"no test is named after {attack}"
