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


# ---- maintenance (the case of that name): a trip, the lifetime, the way in, never power without leave to switch --------


def never_power_without_run(plant, cycles):
    for _ in range(cycles):
        plant.cycle()
        assert plant.now[im.CMD_RUN] or plant.command() == 0, "%d W, but it may not switch" % plant.command()


def test_maintenance_every_fault_that_trips_opens_the_contactors_too():
    for change in (
        lambda plant: plant.silent.add(im.SEQ_BMS),
        lambda plant: plant.silent.add(im.SEQ_PCS),
        lambda plant: plant.silent.add(im.SEQ_IO),
        lambda plant: plant.force.__setitem__(im.BMS_PROTECT, im.BMS_PROT_SHORT),
        lambda plant: plant.force.__setitem__(im.PCS_STATE, im.PCS_FAULT),
    ):
        for kw in (0.0, 4.0):
            plant = maintained()
            plant.pm.service(contactor=True, pcs=kw != 0, kw=kw, seconds=60)
            plant.run(2)
            assert plant.now[im.CMD_CONTACTOR] == 1 and plant.command() == kw * 1000
            change(plant)
            never_power_without_run(plant, 140)
            assert plant.now[im.CMD_CONTACTOR] == plant.now[im.CMD_RUN] == 0 and plant.command() == 0
            assert plant.pm.claims() == [] and plant.pm.mode == Mode.MAINTENANCE
            fault = plant.faults()
            assert fault and fault[0] in refusal(PowerError, plant.pm.service, True), "while it stands nothing closes"
            plant.pm.service()  # everything off is always taken
            plant.force.clear()
            plant.silent.clear()
            plant.run(10)
            assert plant.now[im.CMD_CONTACTOR] == 0, "nothing closes again by itself"
            plant.pm.service(contactor=True)
            plant.cycles(2)
            assert plant.now[im.CMD_CONTACTOR] == 1


def test_maintenance_the_lifetime_covers_contactors_and_inverter():
    for given in ((True, False, 0.0), (True, True, 0.0), (True, True, 5.0), (True, True, -5.0), (False, True, 0.0)):
        plant = maintained(ramp_down=0.1)
        plant.pm.service(*given, seconds=1)
        never_power_without_run(plant, 19)
        assert (plant.now[im.CMD_CONTACTOR], plant.now[im.CMD_RUN]) == (given[0], given[1])
        never_power_without_run(plant, 50)
        assert plant.now[im.CMD_CONTACTOR] == plant.now[im.CMD_RUN] == 0 and plant.command() == 0


def test_maintenance_a_renewed_command_goes_on():
    plant = maintained()
    for _ in range(6):
        plant.pm.service(contactor=True, pcs=True, kw=2, seconds=1)
        plant.run(0.9)
        assert plant.now[im.CMD_CONTACTOR] == 1 and plant.now[im.CMD_RUN] == 1
    assert plant.command() == 2000


def test_maintenance_begins_at_0_w_commanded_and_measured():
    for kw in (79.8, -79.8, 1):
        plant = Plant().ready()
        plant.pm.set_constant_power(kw)
        plant.run(8)
        plant.pm.stop_operation()
        plant.cycle()
        before = photo(plant.pm)
        if plant.command():
            said = refusal(PowerError, plant.pm.set_mode, Mode.MAINTENANCE)
            assert "0 W" in said or "IDLE" in said, said
            assert photo(plant.pm) == before
        plant.follows = False  # the command is 0 W, but the inverter goes on
        plant.run(4)
        assert plant.command() == 0 and plant.power != 0
        if plant.pm.mode == Mode.IDLE:
            said = refusal(PowerError, plant.pm.set_mode, Mode.MAINTENANCE)
            assert "0 W" in said and str(plant.power) in said
        plant.follows = True
        plant.run(10)
        plant.pm.set_mode(Mode.MAINTENANCE)
        never_power_without_run(plant, 40)
        assert plant.pm.mode == Mode.MAINTENANCE


def test_maintenance_from_standby_with_a_dead_inverter_or_none_yet():
    plant = Plant()
    plant.silent = {im.SEQ_PCS}
    plant.cycles(5)
    plant.pm.set_mode(Mode.MAINTENANCE)
    assert plant.pm.mode == Mode.MAINTENANCE
    plant = Plant()
    plant.force[im.PCS_P] = 20000  # somebody else drives it
    plant.cycles(5)
    assert "20000 W measured" in refusal(PowerError, plant.pm.set_mode, Mode.MAINTENANCE)


def test_maintenance_taking_the_inverters_leave_takes_its_power_in_the_same_cycle():
    for then in ((True, False), (False, False), (False, True)):
        for kw in (5, -5):
            plant = maintained(ramp_down=0.1)
            plant.pm.service(contactor=True, pcs=True, kw=kw, seconds=60)
            plant.run(2)
            assert plant.command() == kw * 1000
            plant.pm.service(*then)
            never_power_without_run(plant, 60)
        plant.pm.set_mode(Mode.STANDBY)
        never_power_without_run(plant, 20)
