"""The judge of `make chip`: what passes, what does not, what cannot be told; and that what is typed is what it says."""

from typing import Any

import pytest

from tools.bench import chip_bars
from tools.bench.bars import judge, profiles, typed
from tools.bench.bars.follow import Followed, Step, ramp_s

GOOD: dict[str, Any] = {
    "worst_violation_w": 0.0, "problems": [], "flash_reads": 0, "imports": 0, "opens": 0, "boot_flash_ops": 11000,
    "erases_between_cycles": 1, "collections_in_cycle": 0, "collections_unasked": 0, "heap_live": 79 * 1024,
    "heap_spare": 13 * 1024, "heap_largest": 5000,
    "heap_third_area": False, "clock_given_up_ms": 0.0, "gap_chip_ms": [119.0, 300.0],
    "boot_ms": 7900, "watchdog_unfed_ms_max": 1600,
    "answered": 110, "mean_kw": 20.0, "emergency_cycles": 1,
}  # fmt: skip


def verdicts(**changed: Any) -> dict[str, bool | None]:
    figures = {**GOOD, **changed}
    judged = profiles.named("own-image")
    found = judge.counts(figures) + judge.heap(figures, judged) + judge.times(figures) + judge.load(figures, 100)
    return {one.bar: one.passed for one in found}


def test_a_board_that_holds_every_bar_passes_them_all() -> None:
    assert set(verdicts().values()) == {True}


@pytest.mark.parametrize(
    ("changed", "bar"),
    [
        ({"worst_violation_w": 1.0}, "worst violation"),
        ({"problems": ["the board restarted: WDT_RESET"]}, "resets"),
        ({"problems": ["'x' was refused: MemoryError: ..."]}, "MemoryErrors"),
        ({"problems": ["no answer to 'x'"]}, "other problems"),
        ({"flash_reads": 1}, "flash_reads in operation"),
        ({"boot_flash_ops": 15001}, "boot_flash_ops"),
        ({"erases_between_cycles": 2}, "erases between two cycles"),
        ({"collections_in_cycle": 1}, "collections in a cycle"),
        ({"heap_live": 80 * 1024 + 200}, "heap_live"),
        ({"heap_spare": 12 * 1024 - 200}, "free after the lines"),
        ({"heap_largest": 4000}, "largest free piece"),
        ({"heap_third_area": True}, "third area taken"),
        ({"gap_chip_ms": [120.1, 300.0]}, "gap_ms_max without an erase"),
        ({"boot_ms": 8001}, "boot_ms"),
        ({"watchdog_unfed_ms_max": 4001}, "watchdog unfed"),
        ({"answered": 99}, "lines answered"),
        ({"mean_kw": 0.1}, "mean power"),
        ({"emergency_cycles": 3}, "emergency: cycles to 0 W"),
        ({"emergency_cycles": -1}, "emergency: cycles to 0 W"),
    ],
)
def test_one_bar_that_is_not_held_is_the_one_that_fails(changed: dict[str, Any], bar: str) -> None:
    assert [name for name, passed in verdicts(**changed).items() if passed is not True] == [bar]
    assert verdicts(**changed)[bar] is False


def test_where_a_collection_takes_long_none_may_come_by_itself() -> None:
    for unasked, passed in ((0, True), (1, False)):
        found = judge.heap({**GOOD, "collections_unasked": unasked}, profiles.named("esp32s3"))
        assert {one.bar: one.passed for one in found}["collections nobody asked for"] is passed


def test_what_was_not_measured_is_not_passed() -> None:
    assert verdicts(flash_reads=None)["flash_reads in operation"] is None
    late = verdicts(clock_given_up_ms=3.0)
    assert {name for name, passed in late.items() if passed is None} == {"gap_ms_max without an erase", "boot_ms", "watchdog unfed"}


def test_lines_are_mixed_and_as_many_as_asked_for() -> None:
    lines = list(typed.mixed(100, calendar=True))
    assert len(lines) == 100 and set(lines) == {*typed.ASKED, *typed.ASKED_OF_A_CALENDAR}
    assert 20 < sum(line.wrong for line in lines) < 50
    assert not any("clock" in line.text for line in typed.mixed(100, calendar=False))
    assert len(typed.schedules(16)) == 16 and "hour=9, minute=57" in typed.schedules(4)[0]


def test_runs_follow_from_the_command_line() -> None:
    def titles(*words: str) -> list[tuple[str, str, float, bool]]:
        runs = chip_bars.wanted(chip_bars.arguments().parse_args(words))
        return [(run.judged.name, run.story, run.seconds, run.paced) for run in runs]

    assert len(titles()) == 13
    assert [story for name, story, _, _ in titles() if name == "esp32s3-own"] == ["load", "trouble"]
    assert [story for name, story, _, _ in titles() if name == "wired"] == ["load", "trouble", "follow", "slow"]
    assert titles()[-1] == ("esp32s3", "counts", 600.0, False)
    assert titles("--story", "counts", "--hour", "--profile", "wired") == [("wired", "counts", 3600.0, False)]
    assert titles("--profile", "wired", "--story", "load", "--seconds", "20") == [("wired", "load", 20.0, True)]
    with pytest.raises(ValueError, match="allowed are esp32s3, esp32s3-own, own-image, wired"):
        titles("--profile", "esp8266")


# ---- an EMS's setpoints ------------------------------------------------------------------------------------------------


def test_a_story_that_a_profile_does_not_play_is_refused_with_those_that_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert chip_bars.main(["--profile", "esp32s3", "--story", "slow"]) == 2
    assert "--story slow: not played on esp32s3: allowed are own-image, wired" in capsys.readouterr().err


def test_a_ramp_falls_faster_than_it_rises_and_a_change_of_direction_does_both() -> None:
    assert ramp_s(0, 40, 20, 50) == ramp_s(0, -40, 20, 50) == 2
    assert ramp_s(40, 0, 20, 50) == ramp_s(-40, 0, 20, 50) == 0.8
    assert ramp_s(-25, -5, 20, 50) == 0.4 and ramp_s(-5, -25, 20, 50) == 1
    assert ramp_s(40, -40, 20, 50) == ramp_s(-40, 40, 20, 50) == pytest.approx(2.8)


def followed(**changed: Any) -> dict[str, bool | None]:
    steps = [Step(0, 10, 0.2, 0.9, 1.5)] * 4 + [Step(10, -10, 0.3, 1.9, 2.0)]
    seen = Followed(steps=steps).summary()
    return {one.bar: one.passed for one in judge.followed({"followed": {**seen, **changed}})}


def test_an_inverter_that_follows_passes_every_bar() -> None:
    assert set(followed().values()) == {True} and len(followed()) == 6


@pytest.mark.parametrize(
    ("last", "bar"),
    [
        (Step(10, -10, None, None, 2.0), "setpoints that were not written"),
        (Step(10, -10, 0.3, None, 2.0), "setpoints that were not reached"),
        (Step(10, -10, 1.1, 1.9, 2.0), "first write of a setpoint"),
        (Step(10, -10, 0.3, 2.1, 2.0), "reached, beyond ramp, response and 10 cycles"),
    ],
)
def test_one_setpoint_that_is_not_followed_fails_its_bar(last: Step, bar: str) -> None:
    seen = Followed(steps=[Step(0, 10, 0.2, 0.9, 1.5)] * 5 + [last]).summary()
    assert followed(**seen)[bar] is False
    assert list(followed(**seen).values()).count(False) == (2 if last.first_write_s is None else 1)


def test_a_lost_inverter_fails_and_no_run_at_all_is_not_judged() -> None:
    assert followed(faults={"pcs_lost": 1})["pcs_lost, pcs_not_following"] is False
    assert {one.passed for one in judge.followed({"followed": {}})} == {None, False}
