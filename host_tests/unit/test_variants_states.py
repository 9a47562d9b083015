"""Islands, maintenance, emergencies, schedules and resets that meet each other, in virtual time."""

import pytest

from firmware import image as im
from firmware.flows import Grid
from host_tests.both.plant import Plant
from host_tests.both.test_resume import Board
from host_tests.both.test_schedules import Site, night_charge

# ---- islands --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Grid.ISOLATED, Grid.BACKUP])
@pytest.mark.parametrize("load, pv", [(20000, 0), (5000, 30000)])
def test_an_island_does_not_go_dark_because_its_meter_is_lost(kind: int, load: int, pv: int) -> None:
    """The inverter that forms it measures its load too."""
    plant = Plant(grid_connection=kind, allow_grid_charging=False)
    plant.load, plant.pv = load, pv
    plant.ready().run(3)
    plant.grid = False
    plant.run(3)
    assert plant.command() == load - pv
    plant.silent.add(im.SEQ_METER)
    plant.run(5)
    assert plant.command() == load - pv and plant.by() == "island", plant.pm.stats()["reason"]
    assert plant.faults() == ["meter_lost"]
    plant.follows = False
    plant.power = plant.command() + 3000  # the load has changed, and the inverter has followed it
    plant.run(1)
    assert plant.command() == load - pv + 3000
    plant.pm.set_constant_power(50)
    plant.run(1)
    assert plant.command() == load - pv + 3000, "it decides"
    plant.follows = True
    plant.grid = True  # seen by the inverter alone
    plant.cycles(2)
    assert plant.command() <= 0, "no meter, no export"
    plant.silent.clear()
    plant.run(3)
    assert plant.faults() == []


@pytest.mark.parametrize("kind", [Grid.ISOLATED, Grid.BACKUP])
def test_a_lost_meter_is_an_island_where_the_inverter_says_nothing_and_carries_what_nobody_told_it_to(kind: int) -> None:
    for watts in (20000, 0):
        plant = Plant(grid_connection=kind).ready()
        plant.force[im.PCS_GRID] = im.NO_VALUE
        plant.follows = False
        plant.power = watts
        plant.silent.add(im.SEQ_METER)
        plant.run(3)
        serves = watts or kind == Grid.ISOLATED
        assert plant.now[im.NET_P] == (watts if serves else im.NO_VALUE) and plant.by() == ("island" if serves else "idle")
        assert plant.command() == watts


# ---- after a reset --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed, told",
    [
        ({"max_soc": 80.0}, "the manual operation before the reset does not fit this site: start() is a person's"),
        ({"resume_manual": False}, "a manual operation ran before the reset"),
        ({}, ""),
        ({"max_charge_power": 50.0}, ""),
    ],
)
def test_why_nothing_started_again_after_a_reset_is_told_until_start(changed: dict, told: str) -> None:
    board = Board(fresh=True, resume_manual=True)
    assert "start() was not called since boot" in board.pm.stats()["reason"]
    board.pm.start()
    board.run(2)
    board.pm.start_charging(85)
    board.run(15)
    after = board.reset(**changed)
    after.run(5)
    reason = after.pm.stats()["reason"]
    if told:
        assert told in reason and after.plant.command() == 0, reason
        after.pm.start()
        after.run(2)
        assert told not in after.pm.stats()["reason"]
    else:
        assert after.plant.command() == -after.pm.config.max_charge_power * 1000, reason


# ---- schedules ------------------------------------------------------------------------------------------------------


def test_how_a_scheduled_run_ended_is_told_too() -> None:
    site = Site(0, 59)
    site.pm.add_schedule(night_charge(duration_minutes=2))
    site.minutes(2)
    assert site.plant.by() == "schedule"
    site.seconds(70)
    assert site.named("SCHEDULE_ENDED") == [("SCHEDULE_ENDED", 0)]
    assert "the charge by schedule ended 01:02, its time was over" in site.pm.stats()["reason"], site.pm.stats()["reason"]


def test_a_schedule_that_ends_under_something_else_is_no_end_of_that() -> None:
    site = Site(0, 59)
    site.pm.add_schedule(night_charge(duration_minutes=2))
    site.minutes(2)
    site.pm.claim("remote", 5, 600, "ems")
    site.seconds(70)
    assert site.plant.by() == "remote" and "ended" not in site.pm.stats()["reason"]
