"""Who asks for power: priorities, lifetimes, the manual pause, and what claims() shows."""

from firmware import image as im
from firmware.errors import PowerError
from firmware.modes import Mode
from firmware.requests import REMOTE
from host_tests.both.plant import Plant, photo, refusal

PROGRAMS = ("remote", "grid_service", "schedule", "optimiser")  # highest first; manual comes after remote
PRIORITY = ("remote", "manual", "grid_service", "schedule", "optimiser")


def running():
    return Plant().ready()


def ask(plant, source, kw, seconds=600.0):
    if source == "manual":
        plant.pm.set_constant_power(kw)
    else:
        plant.pm.claim(source, kw, seconds, "test of " + source)


def test_the_highest_source_wins_whatever_the_order_of_asking():
    for order in (PRIORITY, tuple(reversed(PRIORITY))):
        plant = running()
        for source in order:
            ask(plant, source, 10 + PRIORITY.index(source))
        for rank, source in enumerate(PRIORITY):
            plant.run(1.5)
            assert plant.by() == source and plant.command() == (10 + rank) * 1000
            plant.pm.release(source)
        plant.run(1.5)
        assert plant.by() == "idle" and plant.command() == 0 and plant.pm.mode == Mode.IDLE


def test_a_person_s_pause_is_not_a_program_s_to_release():
    plant = running()
    plant.pm.stop_operation()
    plant.pm.claim("optimiser", 50, 600, "tariff")
    for owner in ((), ("pause",)):
        before = photo(plant.pm)
        text = refusal(PowerError, plant.pm.release, "manual", *owner)
        assert "'manual'" in text and "resume()" in text
        assert photo(plant.pm) == before
        plant.run(5)
        assert plant.by() == "manual" and plant.command() == 0
    plant.pm.release("manual", "somebody else")
    plant.run(1)
    assert plant.by() == "manual"
    plant.pm.resume()
    plant.run(5)
    assert plant.by() == "optimiser" and plant.command() == 50000


def test_emergency_beats_everything_and_ends_every_claim():
    plant = running()
    for source in PRIORITY:
        ask(plant, source, 20)
    plant.run(2)
    plant.pm.emergency_shutdown()
    plant.cycle()
    assert plant.command() == 0 and plant.pm.claims() == []


def test_what_the_battery_needs_beats_the_ems():
    plant = running()
    ask(plant, "remote", 30)
    plant.run(2)
    plant.force[im.BMS_REQUESTS] = im.BMS_REQ_FORCE_CHARGE
    plant.run(3)
    assert plant.by() == "protection" and plant.command() == -5000, "5 % of the rating"
    del plant.force[im.BMS_REQUESTS]
    plant.run(3)
    assert plant.by() == "remote" and plant.command() == 30000


def test_of_two_owners_of_one_source_the_newest_wins_and_the_older_takes_over_when_it_ends():
    for source in ("remote", "grid_service", "optimiser"):
        plant = running()
        plant.pm.claim(source, 20, 600, "scada")
        plant.run(2)
        plant.pm.claim(source, -10, 5, "gateway")
        plant.run(2)
        assert plant.command() == -10000 and "gateway" in plant.pm.stats()["reason"]
        plant.pm.claim(source, 30, 600, "scada")  # who renews his does not become the newest
        plant.run(1)
        assert plant.command() == -10000
        assert [(claim["owner"], claim["kw"]) for claim in plant.pm.claims()] == [("gateway", -10), ("scada", 30)]
        plant.run(5)
        assert plant.command() == 30000 and "scada" in plant.pm.stats()["reason"]
        plant.pm.claim(source, 5, 600, "gateway")
        plant.pm.release(source, "scada")
        plant.run(2)
        assert plant.command() == 5000
        plant.pm.release(source, "nobody")
        plant.pm.release(source)
        plant.run(1)
        assert plant.pm.claims() == [] and plant.command() == 0


def test_more_owners_than_there_are_places_are_refused_by_name_and_nothing_changes():
    plant = running()
    for i in range(8):
        plant.pm.claim("remote", i, 600, "owner %d" % i)
    before = plant.pm.claims()
    said = refusal(PowerError, plant.pm.claim, "remote", 9, 600, "one more")
    assert "one more" in said and "owner 0" in said and "owner 7" in said
    assert plant.pm.claims() == before
    plant.pm.claim("remote", 33, 600, "owner 3")
    assert [claim["owner"] for claim in plant.pm.claims()] == [claim["owner"] for claim in before], "renewed where it was"


def test_the_claim_of_an_owner_ends_at_its_own_time_with_an_event_of_its_source():
    plant = running()
    plant.pm.claim("remote", 10, 2, "short")
    plant.pm.claim("remote", 20, 4, "longer")
    plant.run(3)
    assert plant.events("OPERATION_TIMEOUT") == [REMOTE] and [claim["owner"] for claim in plant.pm.claims()] == ["longer"]
    plant.run(2)
    assert plant.events("OPERATION_TIMEOUT") == [REMOTE, REMOTE] and plant.pm.claims() == []


def test_a_claim_that_is_not_renewed_ends_and_the_next_takes_over():
    plant = running()
    ask(plant, "schedule", -15)
    ask(plant, "remote", 25, 3)
    plant.run(2)
    assert plant.command() == 25000
    ask(plant, "remote", 25, 3)  # renewed
    plant.run(2.5)
    assert plant.command() == 25000
    plant.run(3)
    assert plant.by() == "schedule" and plant.command() == -15000
    assert len(plant.events("OPERATION_TIMEOUT")) == 1, plant.events()


def test_a_timed_constant_power_ends_with_an_event():
    plant = running()
    plant.pm.set_constant_power(10, 1)
    plant.run(59)
    assert plant.command() == 10000
    plant.run(2)
    assert plant.command() == 0 and plant.pm.mode == Mode.IDLE and plant.pm.claims() == []
    assert len(plant.events("OPERATION_TIMEOUT")) == 1


def test_without_minutes_it_goes_on():
    plant = Plant(cycle_ms=1000).ready()
    plant.pm.set_constant_power(5, 0)
    plant.run(600, 1000)
    assert plant.command() == 5000 and plant.pm.claims()[0]["seconds_left"] is None


def test_a_manual_pause_survives_automatic_sources():
    plant = running()
    for source in ("grid_service", "schedule", "optimiser"):
        ask(plant, source, 20)
    plant.run(2)
    plant.pm.stop_operation()
    plant.run(2)
    assert plant.command() == 0 and plant.pm.mode == Mode.IDLE and plant.by() == "manual"
    for source in ("grid_service", "schedule", "optimiser"):
        ask(plant, source, 30)  # new ones, too
        plant.pm.release(source)
        ask(plant, source, 30)
        plant.run(1)
        assert plant.command() == 0
    plant.pm.resume()
    plant.run(2)
    assert plant.by() == "grid_service" and plant.command() == 30000


def test_start_ends_a_pause_and_nothing_else():
    plant = running()
    ask(plant, "schedule", 20)
    plant.pm.stop_operation()
    plant.run(2)
    plant.pm.start()
    plant.run(2)
    assert plant.command() == 20000
    plant.pm.set_constant_power(7)
    plant.run(2)
    plant.pm.start()
    plant.run(2)
    assert plant.command() == 7000


def test_a_pause_with_minutes_ends_by_itself():
    plant = running()
    ask(plant, "schedule", 20)
    plant.pm.stop_operation(1)
    plant.run(59)
    assert plant.command() == 0
    plant.run(4)
    assert plant.command() == 20000


def test_the_ems_is_above_a_manual_pause():
    plant = running()
    plant.pm.stop_operation()
    ask(plant, "remote", 20)
    plant.run(2)
    assert plant.command() == 20000


def test_every_claim_is_visible_with_owner_watts_and_time_left():
    plant = running()
    plant.pm.claim("remote", -12.5, 30, "ems 7")
    plant.pm.claim("schedule", 8, 100, "entry 3")
    plant.pm.set_constant_power(4, 2)
    plant.run(10)
    seen = plant.pm.claims()
    assert [c["source"] for c in seen] == ["remote", "manual", "schedule"]
    assert [c["owner"] for c in seen] == ["ems 7", "manual", "entry 3"]
    assert [c["kw"] for c in seen] == [-12.5, 4, 8]
    assert [c["seconds_left"] for c in seen] == [20, 110, 90]
    assert [c["goal"] for c in seen] == ["power", "power", "power"]
    plant.pm.stop_operation()
    assert plant.pm.claims()[1]["goal"] == "pause"
    plant.pm.start_charging(80)
    assert plant.pm.claims()[1]["goal"] == "charge"
    plant.pm.start_discharging(10, 5)
    assert plant.pm.claims()[1]["goal"] == "discharge"


def test_claims_of_nobody_and_of_the_managers_own_sources_are_refused():
    plant = running()
    plant.cycle()
    before = photo(plant.pm)
    for source in ("emergency", "protection", "maintenance", "manual", "idle", "boss", "", None, 3):
        said = refusal(PowerError, plant.pm.claim, source, 1, 1, "x")
        assert "remote" in said and "optimiser" in said and repr(source) in said
    for kw in (100.1, -100.1):
        assert "-100" in refusal(PowerError, plant.pm.claim, "remote", kw, 1, "x")
    for seconds in (0, -1, 86401):
        assert "86400" in refusal(PowerError, plant.pm.claim, "remote", 1, seconds, "x")
    for wrong in ("5", None, True, float("nan")):
        assert "kw" in refusal(ValueError, plant.pm.claim, "remote", wrong, 1, "x")
        assert "seconds" in refusal(ValueError, plant.pm.claim, "remote", 1, wrong, "x")
    assert "boss" in refusal(PowerError, plant.pm.release, "boss")
    assert photo(plant.pm) == before


def test_a_lifetime_ends_on_time_across_the_wrap_of_the_clock():
    plant = Plant()
    plant.ms = (1 << 30) - 5000
    plant.ready()
    ask(plant, "remote", 10, 20)
    plant.run(19)
    assert plant.ms < 1 << 20 and plant.command() == 10000, "the clock has wrapped meanwhile"
    plant.run(1.5)
    assert plant.by() == "idle"
