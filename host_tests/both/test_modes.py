"""Modes: one test for each cell of the transition table, and how a transition runs."""

from firmware import image as im
from firmware.errors import PowerError
from firmware.modes import Mode
from host_tests.both.plant import Plant, photo, refusal

NAMES = ("STANDBY", "IDLE", "CHARGE", "DISCHARGE", "EMERGENCY", "MAINTENANCE")
# What the product says, not what modes.py says.  A word is a piece of the reason for refusing.
EXPECTED = {
    "STANDBY": ("ok", "ok", "start", "start", "ok", "ok"),
    "IDLE": ("ok", "ok", "ok", "ok", "ok", "ok"),
    "CHARGE": ("ok", "ok", "ok", "ok", "ok", "stop"),
    "DISCHARGE": ("ok", "ok", "ok", "ok", "ok", "stop"),
    "EMERGENCY": ("reset_emergency", "reset_emergency", "reset_emergency", "reset_emergency", "ok", "reset_emergency"),
    "MAINTENANCE": ("ok", "STANDBY", "STANDBY", "STANDBY", "ok", "ok"),
}


def plant_in(mode):
    """A plant that has come to `mode` by the usual road."""
    plant = Plant()
    if mode == Mode.STANDBY:
        plant.cycles(3)
    else:
        plant.ready()
    if mode in (Mode.CHARGE, Mode.DISCHARGE):
        plant.pm.set_constant_power(-20 if mode == Mode.CHARGE else 20)
        plant.run(2)
    elif mode == Mode.EMERGENCY:
        plant.pm.emergency_shutdown()
        plant.cycles(2)
    elif mode == Mode.MAINTENANCE:
        plant.pm.set_mode(Mode.MAINTENANCE)
        plant.cycles(2)
    assert plant.pm.mode == mode
    return plant


def cell(start, wanted):
    """The test of one cell."""
    expected = EXPECTED[NAMES[start]][wanted]

    def test():
        plant = plant_in(start)
        if expected == "ok":
            plant.pm.set_mode(wanted)
            plant.until_mode(wanted, 20)
            plant.run(1)
            assert plant.pm.mode == wanted
        else:
            said = refusal(PowerError, plant.pm.set_mode, wanted)
            assert expected in said and NAMES[start] in said and NAMES[wanted] in said, said
            before = plant.command()
            plant.cycles(10)
            assert plant.pm.mode == start and plant.command() == before

    return test


for _start in range(6):
    for _wanted in range(6):
        globals()["test_from_%s_to_%s" % (NAMES[_start].lower(), NAMES[_wanted].lower())] = cell(_start, _wanted)


def test_charge_and_discharge_pass_through_zero():
    for first, second in ((-30, 30), (30, -30)):
        plant = Plant().ready()
        plant.pm.set_constant_power(first)
        plant.run(4)
        assert plant.command() == first * 1000
        plant.pm.set_constant_power(second)
        seen = []
        for _ in range(200):
            plant.cycle()
            seen.append((plant.command(), plant.pm.mode))
        signs = [(p > 0) - (p < 0) for p, _ in seen]
        start, end = (first > 0) - (first < 0), (second > 0) - (second < 0)
        assert signs == sorted(signs, key=lambda s: s * end) and 0 in signs, "it jumped over zero"
        for power, mode in seen:  # the power never has the sign that the mode denies
            assert power == 0 or mode == (Mode.DISCHARGE if power > 0 else Mode.CHARGE)
        assert (0, Mode.IDLE) in seen, "it rests in IDLE on the way"
        assert seen[-1][0] == second * 1000
        assert start == -end


def test_start_waits_for_bms_and_pcs():
    for group in (im.SEQ_BMS, im.SEQ_BMS_LIMITS, im.SEQ_PCS):
        plant = Plant()
        plant.silent.add(group)
        plant.cycles(2)
        plant.pm.start()
        plant.run(3)
        assert plant.pm.mode == Mode.STANDBY and plant.now[im.CMD_CONTACTOR] == 0, "started without group %d" % group
        assert plant.pm.stats()["limit_discharge"] == 0
        plant.silent.clear()
        plant.until_mode(Mode.IDLE, 3)
        assert plant.now[im.CMD_CONTACTOR] == 1 and plant.now[im.CMD_RUN] == 1


def test_nothing_starts_by_itself():
    plant = Plant()
    plant.run(5)
    assert plant.pm.mode == Mode.STANDBY and plant.command() == 0 and plant.now[im.CMD_CONTACTOR] == 0


def test_stop_ramps_down_then_opens_the_contactors():
    plant = Plant().ready()
    plant.pm.set_constant_power(50)
    plant.run(4)
    plant.pm.stop()
    plant.cycle()
    assert 0 < plant.command() < 50000 and plant.now[im.CMD_CONTACTOR] == 1, "stop() is no emergency: it ramps"
    closed_under_load = []
    for _ in range(80):
        if plant.power and plant.now[im.CMD_CONTACTOR] == 0:
            closed_under_load.append(plant.power)
        plant.cycle()
    assert plant.pm.mode == Mode.STANDBY and plant.now[im.CMD_CONTACTOR] == 0 and not closed_under_load
    assert plant.pm.claims() == []


def test_every_change_of_mode_is_an_event_in_order():
    plant = Plant().ready()
    plant.pm.set_constant_power(-10)
    plant.run(2)
    plant.pm.set_constant_power(10)
    plant.run(3)
    plant.pm.stop()
    plant.run(3)
    assert plant.events("MODE_CHANGE") == [Mode.IDLE, Mode.CHARGE, Mode.IDLE, Mode.DISCHARGE, Mode.IDLE, Mode.STANDBY]


def test_a_mode_that_does_not_exist_is_refused_by_name_and_range():
    plant = Plant().ready()
    for wrong in (6, -1, 99, 2.5, "CHARGE", None, True):
        said = refusal(ValueError, plant.pm.set_mode, wrong)
        assert "EMERGENCY" in said and "Mode" in said, said
    assert plant.pm.mode == Mode.IDLE


def test_standby_commands_nothing_whatever_is_asked():
    plant = Plant()
    plant.cycles(3)
    for ask, kw in ((plant.pm.set_constant_power, 30), (plant.pm.start_charging, 80), (plant.pm.start_discharging, 30)):
        assert "start" in refusal(PowerError, ask, kw)
    plant.pm.claim("remote", 30, 60, "ems")
    plant.run(2)
    assert plant.command() == 0 and plant.why() == "mode" and plant.why(True) == "mode"


def test_stop_stops_whoever_goes_on_claiming():
    plant = Plant().ready()
    plant.pm.set_constant_power(60)
    plant.run(4)
    plant.pm.stop()
    for _ in range(10):
        plant.pm.claim("remote", 60, 10, "an EMS that renews its claim")
        plant.run(0.5)
    assert plant.pm.mode == Mode.STANDBY and plant.command() == 0
    plant = Plant(grid_connection=1)
    plant.ready()
    plant.grid = False
    plant.run(1)
    assert plant.command() == 20000, "it serves an island"
    plant.pm.stop()
    plant.run(4)
    assert plant.pm.mode == Mode.STANDBY and plant.command() == 0
    plant = Plant().ready()
    plant.force[im.BMS_REQUESTS] = im.BMS_REQ_FORCE_CHARGE
    plant.run(1)
    plant.pm.stop()
    plant.run(4)
    assert plant.pm.mode == Mode.STANDBY


def test_while_stopping_an_operation_is_refused_and_start_takes_the_stop_back():
    plant = Plant().ready()
    plant.pm.set_constant_power(60)
    plant.run(4)
    plant.pm.stop()
    plant.run(0.3)
    assert 0 < plant.command() < 60000
    for call, kw in ((plant.pm.set_constant_power, 30), (plant.pm.start_charging, 80), (plant.pm.start_discharging, 30)):
        assert "start()" in refusal(PowerError, call, kw)
    plant.pm.start()
    plant.pm.set_constant_power(30)
    plant.run(4)
    assert plant.pm.mode == Mode.DISCHARGE and plant.command() == 30000
    plant.pm.stop_operation()
    plant.run(4)
    assert plant.pm.mode == Mode.IDLE


def test_nobody_starts_a_site_whose_program_ends():
    for start in (lambda pm: pm.start(), lambda pm: pm.remote.start(), lambda pm: pm.set_mode(Mode.IDLE)):
        plant = Plant().ready()
        plant.pm.set_constant_power(20)
        plant.run(2)
        assert plant.command() == 20000
        plant.pm.halt()  # as every 50 ms until the contactors are open, and once more before the chip is reset
        plant.until(lambda plant=plant: plant.now[im.CMD_CONTACTOR] == 0)
        plant.pm.stop()  # somebody else's
        before = photo(plant.pm)
        assert "the program ends" in refusal(PowerError, start, plant.pm)
        assert photo(plant.pm) == before
        plant.cycles(3)
        assert plant.pm.mode == Mode.STANDBY
        assert plant.now[im.CMD_CONTACTOR] == 0 and plant.now[im.CMD_RUN] == 0 and plant.command() == 0
