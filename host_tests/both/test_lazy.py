"""What a site does not need is not loaded; what a person asks for loads it once, and asking what there is loads nothing."""

import sys

import startup

from host_tests.both.fakenvs import FakeNVS, loaded
from host_tests.both.plant import Plant


def test_a_manager_without_an_entry_does_not_load_the_scheduler_and_asking_does_not_either():
    for name in ("firmware.scheduler", "firmware.scheduling"):
        sys.modules.pop(name, None)
    plant = Plant().ready()
    pm = plant.pm
    assert pm.schedules() == [] and pm.upcoming() == [] and pm.scheduling_enabled and pm.planned is None
    pm.run_schedule()
    assert "firmware.scheduler" not in sys.modules


def test_the_first_entry_loads_it_and_it_stays():
    from firmware import Mode, ScheduleEntry

    plant = Plant().ready()
    entry = plant.pm.add_schedule(ScheduleEntry(hour=3, mode=Mode.CHARGE, power_setpoint=-5))
    assert plant.pm.planned is not None and [number for number, _ in plant.pm.schedules()] == [entry]


def test_of_the_two_dialects_of_an_inverter_only_the_one_that_the_site_names_is_loaded():
    from firmware import devices
    from firmware.checks import check
    from firmware.devices import pcs_der, pcs_inverter, pcs_sunspec

    modules = {"newer": "firmware.devices.pcs_der", "older": "firmware.devices.pcs_inverter"}
    for spoken in ("newer", "older", "any"):
        startup.let_go(" ".join(modules.values()))
        options = check(pcs_sunspec.OPTIONS, {"host": "192.168.1.20", "dialect": spoken}, "pcs", [])
        pcs_sunspec.Device("pcs", options, None, {})
        there = [word for word in modules if modules[word] in sys.modules]
        assert there == [word for word in modules if spoken in (word, "any")], spoken
    sys.modules[modules["newer"]] = devices.pcs_der = pcs_der  # for the tests after this one
    sys.modules[modules["older"]] = devices.pcs_inverter = pcs_inverter


def test_who_keeps_what_went_on_over_a_reset_does_not_load_what_only_programs_outside_use():
    before = sys.modules.pop("firmware.remote", None)
    FakeNVS.stored = {}
    plant = Plant().ready()
    memory = loaded("firmware.resume").Resume(plant.pm)
    memory.step()
    memory.settle()
    assert "firmware.remote" not in sys.modules
    if before is not None:
        sys.modules["firmware.remote"] = before  # for the tests after this one


def test_no_clock_source_of_the_network_is_loaded_without_servers():
    from firmware.timekeeper import Timekeeper

    for name in ("firmware.ntp_rounds", "ntp", "dns"):
        sys.modules.pop(name, None)
    Timekeeper(None, {"ntp": "", "poll_s": 64})
    assert "firmware.ntp_rounds" not in sys.modules and "ntp" not in sys.modules


def test_what_only_builds_a_site_leaves_the_heap_and_comes_again_when_it_is_asked_for():
    import firmware
    from firmware import sitefile

    wrong = sitefile.check({"schema": 2}).errors
    startup.let_go("firmware.sitefile firmware.never_was never_was")
    assert "firmware.sitefile" not in sys.modules and not hasattr(firmware, "sitefile")
    from firmware import sitefile as again

    assert again is not sitefile and wrong and again.check({"schema": 2}).errors == wrong
    sys.modules["firmware.sitefile"] = firmware.sitefile = sitefile  # for the tests after this one


class Heap:
    """Stands for the gc module: what each look finds free, in turn."""

    def __init__(self, *free):
        self.free = list(free)
        self.collections = 0

    def mem_free(self):
        return self.free.pop(0)

    def collect(self):
        self.collections += 1


def test_what_is_kept_low_in_the_heap_goes_where_building_needs_it_and_not_before():
    real = startup.gc
    try:
        for free, stays, collections in (((5000,), True, 0), ((900, 1500), True, 1), ((900, 900), False, 2)):
            startup.gc = heap = Heap(*free)
            startup.low = bytearray(1000)
            startup.make_room()
            assert (startup.low is not None, heap.collections) == (stays, collections), free
        startup.gc = None  # is not even asked
        startup.make_room()
    finally:
        startup.gc = real
        startup.low = None
