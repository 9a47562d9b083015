"""MAINTENANCE: entered from STANDBY or IDLE, moves only by low-level commands with a cap and a lifetime, leaves to STANDBY."""

from firmware import image as im
from firmware.errors import PowerError
from firmware.modes import Mode
from host_tests.both.plant import Plant, photo, refusal


def maintained(**config):
    plant = Plant(**config).ready()
    plant.pm.set_mode(Mode.MAINTENANCE)
    plant.run(1)
    assert plant.pm.mode == Mode.MAINTENANCE
    return plant


def test_on_entering_everything_is_off():
    plant = maintained()
    assert plant.command() == 0 and plant.now[im.CMD_CONTACTOR] == 0 and plant.now[im.CMD_RUN] == 0


def test_contactor_and_inverter_are_commanded_one_by_one():
    plant = maintained()
    plant.pm.service(contactor=True)
    plant.cycles(2)
    assert plant.now[im.CMD_CONTACTOR] == 1 and plant.now[im.CMD_RUN] == 0
    plant.pm.service(contactor=True, pcs=True)
    plant.cycles(2)
    assert plant.now[im.CMD_CONTACTOR] == 1 and plant.now[im.CMD_RUN] == 1 and plant.command() == 0
    plant.pm.service()
    plant.run(1)
    assert plant.now[im.CMD_CONTACTOR] == 0 and plant.now[im.CMD_RUN] == 0


def test_a_setpoint_moves_and_ends_by_itself():
    for kw in (3.0, -3.0):
        plant = maintained()
        plant.pm.service(contactor=True, pcs=True, kw=kw, seconds=5)
        plant.run(4)
        assert plant.command() == kw * 1000 and plant.by() == "maintenance" and plant.pm.mode == Mode.MAINTENANCE
        plant.run(2)
        assert plant.command() == 0 and plant.pm.claims() == []
        assert plant.now[im.CMD_CONTACTOR] == plant.now[im.CMD_RUN] == 0, "all of it has the lifetime"


def test_no_setpoint_beyond_the_small_cap():
    plant = maintained(service_power=2)
    before = photo(plant.pm)
    for kw in (2.1, -2.1, 50):
        said = refusal(PowerError, plant.pm.service, True, True, kw)
        assert "2" in said and "service_power" in said and str(kw) in said
    for seconds in (0, 61, -1):
        assert "60" in refusal(PowerError, plant.pm.service, True, True, 1, seconds)
    assert "contactor" in refusal(PowerError, plant.pm.service, False, True, 1)
    assert "contactor" in refusal(PowerError, plant.pm.service, True, False, 1)
    for wrong in ("1", None, float("nan")):
        assert "kw" in refusal(ValueError, plant.pm.service, True, True, wrong)
        assert "seconds" in refusal(ValueError, plant.pm.service, True, True, 1, wrong)
        assert "contactor" in refusal(ValueError, plant.pm.service, wrong)
    assert photo(plant.pm) == before


def test_other_sources_cannot_pass_the_cap_nor_move_at_all():
    plant = maintained(service_power=5)
    plant.pm.service(contactor=True, pcs=True)
    plant.pm.claim("remote", 80, 600, "ems")
    plant.force[im.BMS_REQUESTS] = im.BMS_REQ_FORCE_CHARGE
    plant.run(15)
    assert plant.command() == 0, "only explicit low-level commands: %d W by %s" % (plant.command(), plant.by())


def test_the_cap_is_a_limit_of_its_own():
    for service_kw in (5, 2.5):
        plant = maintained(service_power=service_kw)
        plant.pm.service(contactor=True, pcs=True, kw=service_kw, seconds=30)
        plant.run(2)
        stats = plant.pm.stats()
        assert (stats["limit_discharge"], stats["why_discharge"]) == (service_kw, "mode")
        assert plant.command() == service_kw * 1000


def test_limits_hold_in_maintenance_too():
    plant = maintained()
    plant.force[im.BMS_I_DIS] = 0
    plant.pm.service(contactor=True, pcs=True, kw=4, seconds=10)
    plant.run(2)
    assert plant.command() == 0 and plant.why() == "bms_current"


def test_operations_are_refused_with_the_way_out():
    plant = maintained()
    before = photo(plant.pm)
    for call, given in (
        (plant.pm.start, ()),
        (plant.pm.start_charging, (80,)),
        (plant.pm.start_discharging, (10,)),
        (plant.pm.set_constant_power, (10,)),
        (plant.pm.set_mode, (Mode.IDLE,)),
    ):
        assert "STANDBY" in refusal(PowerError, call, *given)
    assert photo(plant.pm) == before


def test_it_leaves_to_standby_with_everything_off():
    for leave in (lambda pm: pm.stop(), lambda pm: pm.set_mode(Mode.STANDBY)):
        plant = maintained()
        plant.pm.service(contactor=True, pcs=True, kw=3, seconds=30)
        plant.run(2)
        leave(plant.pm)
        plant.run(3)
        assert plant.pm.mode == Mode.STANDBY and plant.command() == 0
        assert plant.now[im.CMD_CONTACTOR] == 0 and plant.pm.claims() == []
        plant.pm.start()
        plant.until_mode(Mode.IDLE, 5)


def test_service_commands_need_maintenance():
    for mode in (Mode.STANDBY, Mode.IDLE, Mode.DISCHARGE, Mode.EMERGENCY):
        plant = Plant()
        plant.cycles(2)
        if mode != Mode.STANDBY:
            plant.ready()
        if mode == Mode.DISCHARGE:
            plant.pm.set_constant_power(10)
            plant.run(1)
        if mode == Mode.EMERGENCY:
            plant.pm.emergency_shutdown()
        assert plant.pm.mode == mode
        before = photo(plant.pm)
        said = refusal(PowerError, plant.pm.service, True, True, 1)
        assert "MAINTENANCE" in said and Mode.name(mode) in said
        assert photo(plant.pm) == before


def test_a_fault_stops_service_power_too():
    plant = maintained()
    plant.pm.service(contactor=True, pcs=True, kw=4, seconds=30)
    plant.run(2)
    assert plant.command() == 4000
    plant.silent.add(im.SEQ_BMS)
    plant.run(4)
    assert plant.command() == 0
    plant.force[im.IO_ESTOP] = 1
    plant.cycle()
    assert plant.pm.is_emergency and plant.now[im.CMD_RUN] == 0


def test_entered_while_a_stop_is_under_way_it_stays():
    plant = Plant().ready()
    plant.pm.stop()
    plant.pm.set_mode(Mode.MAINTENANCE)
    plant.run(5)
    assert plant.pm.mode == Mode.MAINTENANCE
    plant.pm.service(contactor=True, pcs=True, kw=3, seconds=30)
    plant.run(2)
    assert plant.command() == 3000
