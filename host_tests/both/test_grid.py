"""Grid connection types as limits, grid loss and return, and the classification of the power flow."""

from firmware import image as im
from firmware.errors import PowerError
from firmware.flows import Flow, Grid
from host_tests.both.plant import ALL, Plant, refusal

NO_METER = ALL & ~im.HAS_METER & ~im.HAS_PV


def limits(plant):
    """(discharge kW, charge kW) once they have risen to where they go."""
    plant.run(3)
    stats = plant.pm.stats()
    return stats["limit_discharge"], stats["limit_charge"]


def site(kind, has=ALL, grid=True, load=20000, pv=0, **config):
    """A running plant with a type of grid connection."""
    plant = Plant(has, grid_connection=kind, **config)
    plant.grid, plant.load, plant.pv = grid, load, pv
    return plant.ready()


# ---- the four rows ----------------------------------------------------------------------------------------


def test_isolated_never_imports_and_charges_from_surplus_only():
    plant = site(Grid.ISOLATED, grid=False)
    assert limits(plant) == (100, 0), "no surplus: nothing to charge from; grid-forming: it may serve"
    assert plant.why(True) == "grid_connection"
    plant.pv = 35000  # 15 kW more than the load
    assert limits(plant) == (100, 15)


def test_isolated_serves_the_load_by_itself():
    plant = site(Grid.ISOLATED, grid=False, load=42000)
    assert plant.command() == 42000 and plant.by() == "island"
    plant.load = 60000
    plant.cycle()
    assert plant.command() == 60000, "a load switched on is there at once"
    plant.pv = 68000
    plant.cycles(3)
    assert plant.command() == -8000, "surplus PV charges"


def test_backup_charges_from_the_grid_only_if_allowed():
    assert limits(site(Grid.BACKUP))[1] == 100
    plant = site(Grid.BACKUP, allow_grid_charging=False)
    assert limits(plant)[1] == 0 and plant.why(True) == "grid_connection"
    plant.pv = 26000
    assert limits(plant)[1] == 6, "surplus PV is not the grid"


def test_backup_serves_load_only_while_the_grid_is_lost():
    plant = site(Grid.BACKUP, load=30000)
    plant.pm.set_constant_power(30)
    plant.run(2)
    assert plant.command() == 0 and plant.why() == "grid_connection"
    plant.pm.resume()
    plant.grid = False
    plant.cycle()
    assert plant.command() == 30000, "served in the cycle that measures the loss"
    plant.grid = True
    plant.cycle()
    assert plant.command() == 0, "the grid is back: it serves the load, and export is forbidden"


def unknown(has=ALL, slots=(im.PCS_GRID,), **config):
    """BACKUP whose load is 20 kW and whom 60 kW are asked of, where those slots say nothing of the grid."""
    plant = Plant(has, grid_connection=Grid.BACKUP, **config)
    for slot in slots:
        plant.force[slot] = im.NO_VALUE
    if not has & im.HAS_METER:
        plant.silent.add(im.SEQ_METER)
    plant.ready()
    plant.pm.set_constant_power(60)
    plant.run(10)
    return plant


def test_backup_gives_nothing_where_nobody_says_whether_the_grid_is_there():
    plant = unknown()
    assert plant.command() == 0 and plant.why() == "grid_connection", "its meter sees the grid"
    plant.silent.add(im.SEQ_METER)
    worst = 0
    for _ in range(200):
        plant.cycle()
        worst = max(worst, plant.command())
    assert worst == 0, "a meter that falls silent has not taken the grid away: %d W" % worst
    assert plant.why() == "missing_data" and plant.by() == "manual", plant.pm.stats()["reason"]
    reason = plant.pm.stats()["reason"]
    assert "neither inverter nor meter says whether there is a grid" in reason and "meter (nothing received for" in reason, reason
    assert plant.events("GRID_DISCONNECTED") == [] and plant.pm.stats()["grid_connected"] is None
    plant.silent.clear()
    plant.run(1)
    assert plant.command() == 0 and plant.why() == "grid_connection" and plant.pm.stats()["grid_connected"] is True
    assert plant.events("GRID_CONNECTED") == [0], "it had not gone"


def test_backup_gives_nothing_where_nobody_could_ever_say_whether_the_grid_is_there():
    said = "neither inverter nor meter says whether there is a grid"
    watts_only = (im.PCS_GRID, im.METER_V, im.METER_HZ)
    for plant in (unknown(NO_METER), unknown(slots=watts_only)):
        assert plant.command() == 0 and plant.power == 0 and plant.why() == "missing_data", plant.pm.stats()["reason"]
        assert plant.pm.stats()["missing"][-1] == said and said in plant.pm.stats()["reason"]
        assert plant.events("GRID_DISCONNECTED") + plant.events("GRID_CONNECTED") == []


def test_backup_is_kept_charged_where_the_grid_is_not_known():
    for has in (ALL, NO_METER):
        plant = unknown(has, slots=(im.PCS_GRID, im.METER_V, im.METER_HZ))
        plant.pm.set_constant_power(-40)
        plant.run(5)
        assert plant.command() == -40000, "what is charged comes from a grid or does not flow"
        plant = unknown(has, slots=(im.PCS_GRID, im.METER_V, im.METER_HZ), allow_grid_charging=False)
        plant.pm.set_constant_power(-40)
        plant.pv = 35000
        plant.run(5)
        assert plant.command() == (-15000 if has == ALL else 0), "not allowed: its surplus, where it is measured"


def test_backup_serves_while_it_is_said_that_the_grid_is_lost_and_no_longer():
    plant = unknown()
    plant.grid = False
    plant.cycles(2)
    assert plant.command() == 20000 and plant.by() == "island", "its meter alone says so"
    plant.run(2)
    assert plant.events("GRID_DISCONNECTED") == [0]
    plant.silent.add(im.SEQ_METER)
    plant.run(1.1)
    assert plant.command() == 0 and plant.why() == "missing_data", "and says it no more: it may be back"
    plant.silent.clear()
    plant.run(2)
    assert plant.command() == 20000 and plant.by() == "island", plant.pm.stats()["reason"]
    plant.force[im.PCS_GRID] = 0
    plant.silent.add(im.SEQ_METER)
    plant.run(3)
    assert plant.command() == 20000 and plant.by() == "island", "the inverter that forms the island says it, and measures its load"


def test_interactive_imports_if_allowed():
    assert limits(site(Grid.INTERACTIVE)) == (100, 100)
    plant = site(Grid.INTERACTIVE, allow_grid_charging=False)
    assert limits(plant)[1] == 0
    plant.pv = 50000
    assert limits(plant)[1] == 30


def test_interactive_exports_up_to_the_limit_beyond_the_load():
    plant = site(Grid.INTERACTIVE, max_grid_export_power=10)
    assert limits(plant)[0] == 30 and plant.why() == "export"
    plant = site(Grid.INTERACTIVE, allow_grid_export=False)
    assert limits(plant)[0] == 20, "it may serve the load"
    plant.load = 0
    assert limits(plant)[0] == 0 and plant.why() == "export"


def test_export_type_never_imports_and_exports_up_to_the_limit():
    plant = site(Grid.EXPORT, max_grid_export_power=40, allow_grid_export=False)
    assert limits(plant) == (60, 0), "40 kW export and 20 kW load; allow_grid_export is of INTERACTIVE"
    plant.pv = 45000
    assert limits(plant) == (15, 25), "PV takes the export's room, and its surplus may charge"


# ---- meters, loss, return ---------------------------------------------------------------------------------


def test_without_a_meter_the_export_limit_bounds_the_inverter_itself():
    plant = site(Grid.INTERACTIVE, NO_METER, max_grid_export_power=25)
    assert limits(plant) == (25, 100)
    plant = site(Grid.INTERACTIVE, NO_METER, allow_grid_export=False)
    assert limits(plant)[0] == 0
    plant = site(Grid.EXPORT, NO_METER)
    assert limits(plant)[1] == 0 and plant.why(True) == "missing_data", "surplus cannot be seen"


def test_a_lost_meter_is_missing_data_where_it_is_needed():
    plant = site(Grid.INTERACTIVE, max_grid_export_power=10)
    plant.pm.set_constant_power(25)
    plant.run(2)
    plant.silent.add(im.SEQ_METER)
    plant.run(1.1)
    assert plant.command() == 0 and plant.why() == "missing_data"
    assert plant.pm.stats()["limit_charge"] == 100, "charging from the grid needs no meter"
    assert plant.faults() == ["meter_lost"]
    plant.silent.clear()
    plant.run(3)
    assert plant.command() == 25000 and plant.faults() == []


def test_the_grid_going_and_coming_is_an_event_each():
    plant = site(Grid.INTERACTIVE)
    assert plant.events("GRID_CONNECTED") == [0]
    plant.grid = False
    plant.run(1)
    assert plant.events("GRID_DISCONNECTED") == [0] and plant.pm.stats()["grid_connected"] is False
    plant.grid = True
    plant.run(1)
    assert plant.events("GRID_CONNECTED") == [0, 0]


def test_voltage_and_frequency_out_of_range_count_as_grid_lost():
    for slot, bad, good in (
        (im.METER_V, 3100, 3300),
        (im.METER_V, 4900, 4700),
        (im.METER_HZ, 46900, 47100),
        (im.METER_HZ, 52100, 51900),
    ):
        plant = site(Grid.INTERACTIVE)
        plant.force[slot] = good
        plant.cycles(2)
        assert plant.pm.stats()["grid_connected"], "%d in slot %d" % (good, slot)
        plant.force[slot] = bad
        plant.cycles(2)
        assert not plant.pm.stats()["grid_connected"], "%d in slot %d" % (bad, slot)


def test_an_island_of_an_interactive_site_exports_nothing():
    plant = site(Grid.INTERACTIVE)
    plant.pm.set_constant_power(60)
    plant.run(4)
    plant.grid = False
    plant.cycle()
    assert plant.command() <= 20000, "at most what the load takes"
    plant.load = 0
    plant.cycle()
    assert plant.command() == 0 and plant.pm.stats()["limit_charge"] == 0


def test_an_export_over_the_limit_is_corrected_within_two_cycles():
    plant = site(Grid.INTERACTIVE, load=60000, max_grid_export_power=5)
    plant.pm.set_constant_power(65)
    plant.run(5)
    assert plant.command() == 65000
    plant.load = 10000  # a big load trips
    plant.cycles(2)
    assert plant.load - plant.now[im.CMD_P] >= -5000, "export %d W" % (plant.now[im.CMD_P] - plant.load)


def test_the_type_can_be_changed_while_running_and_only_to_a_type():
    plant = site(Grid.INTERACTIVE)
    plant.pm.set_constant_power(50)
    plant.run(4)
    plant.pm.set_grid_connection(Grid.BACKUP)
    assert plant.pm.grid_connection == Grid.BACKUP
    plant.cycle()
    assert plant.command() == 0 and plant.pm.mode != 0, "a limit, not a mode check"
    assert plant.events("CONFIG_CHANGED") == [0]
    for wrong in (4, -1, "BACKUP", None, 1.5):
        said = refusal(ValueError, plant.pm.set_grid_connection, wrong)
        assert "ISOLATED" in said and "EXPORT" in said
    assert plant.pm.grid_connection == Grid.BACKUP
    assert PowerError is not ValueError


# ---- island (the case of that name): the load decides, whoever asks for something else --------------------


def islands(load=20000, pv=0, **config):
    """An island of each kind that is served: without a grid ever, and after its loss."""
    yield site(Grid.ISOLATED, grid=False, load=load, pv=pv, **config)
    plant = site(Grid.BACKUP, load=load, pv=pv, **config)
    plant.grid = False
    plant.cycles(2)
    yield plant


def test_island_no_setpoint_is_the_loads():
    for ask in (
        lambda pm: pm.set_constant_power(80),
        lambda pm: pm.set_constant_power(5),
        lambda pm: pm.set_constant_power(-30),
        lambda pm: pm.set_constant_power(0),
        lambda pm: pm.start_discharging(),
        lambda pm: pm.start_charging(80),
        lambda pm: pm.claim("remote", 60, 600, "ems"),
        lambda pm: pm.claim("remote", -60, 600, "ems"),
        lambda pm: pm.claim("grid_service", 60, 600, "droop"),
        lambda pm: pm.claim("schedule", 60, 600, "plan"),
    ):
        for plant in islands():
            ask(plant.pm)
            plant.run(5)
            assert plant.command() == 20000 and plant.by() == "island", plant.pm.stats()["reason"]
            plant.load = 55000
            plant.cycle()
            assert plant.command() == 55000, "at once"
            plant.pv = 63000
            plant.cycles(3)
            assert plant.command() == -8000, "and its surplus"


def test_island_a_bms_that_wants_charge_does_not_make_it_dark():
    for plant in islands():
        plant.force[im.BMS_REQUESTS] = im.BMS_REQ_FORCE_CHARGE
        plant.run(5)
        assert plant.command() == 20000


def test_island_what_was_asked_for_waits_and_says_so_and_goes_on_when_the_grid_is_back():
    plant = site(Grid.BACKUP, load=20000)
    plant.pm.set_constant_power(-30)
    plant.run(4)
    assert plant.command() == -30000
    plant.grid = False
    plant.cycles(3)
    assert plant.command() == 20000
    assert "island" in plant.pm.set_constant_power(-40)
    plant.grid = True
    plant.run(6)
    assert plant.command() == -40000


def test_island_curtailed_export_is_not_a_curtailed_island():
    for discharge_kw, charge_kw in ((5, 5), (0, 0), (5, None), (None, 0)):
        for plant in islands():
            plant.pm.curtail(discharge_kw, charge_kw)
            plant.run(1)
            assert plant.command() == 20000, "%r" % plant.pm.stats()["reason"]
            plant.pv = 35000
            plant.run(1)
            assert plant.command() == -15000
    plant = site(Grid.BACKUP)
    plant.pm.curtail(5, 5)
    plant.pm.set_constant_power(-20)
    plant.run(2)
    assert plant.command() == -5000, "with the grid there it holds"


def test_island_a_pause_waits_but_stop_and_the_batterys_limits_hold():
    for plant in islands():
        assert "island" in plant.pm.stop_operation()
        plant.run(2)
        assert plant.command() == 20000
        plant.force[im.BMS_I_DIS] = 0
        plant.cycles(2)
        assert plant.command() == 0 and plant.why() == "bms_current"
        plant.force.clear()
        plant.run(1)
        plant.pm.stop()
        plant.run(3)
        assert plant.pm.mode == 0 and plant.command() == 0


def test_island_isolated_without_a_meter_exports_nothing_where_the_inverter_sees_a_grid():
    plant = site(Grid.ISOLATED, NO_METER)
    plant.pm.set_constant_power(80)
    plant.run(5)
    assert plant.command() == 0 and plant.why() == "export"
    plant.grid = False  # now it is an island, whose inverter serves what nobody measures
    plant.run(6)
    assert plant.command() == 80000
    plant.grid = True
    plant.cycle()
    assert plant.command() == 0, "in the cycle that sees it"
    plant = site(Grid.ISOLATED)  # with a meter it serves what is measured
    plant.pm.set_constant_power(80)
    plant.run(6)
    assert plant.command() == 20000


# ---- flows ------------------------------------------------------------------------------------------------


def flow_of(load=0, pv=0, kw=0.0):
    plant = site(Grid.INTERACTIVE, load=load, pv=pv)
    if kw:
        plant.pm.set_constant_power(kw)
    plant.run(8)
    assert plant.command() == kw * 1000, plant.pm.stats()
    return plant.pm.stats()["flow"], plant.pm.stats()["paths"]


def test_each_single_path_has_its_name():
    assert flow_of() == ("NONE", [])
    assert flow_of(kw=-20) == ("GRID_TO_BATTERY", ["GRID_TO_BATTERY"])
    assert flow_of(kw=20) == ("BATTERY_TO_GRID", ["BATTERY_TO_GRID"])
    assert flow_of(load=20000) == ("GRID_TO_LOAD", ["GRID_TO_LOAD"])
    assert flow_of(load=20000, kw=20) == ("BATTERY_TO_LOAD", ["BATTERY_TO_LOAD"])
    assert flow_of(load=20000, pv=20000) == ("PV_TO_LOAD", ["PV_TO_LOAD"])
    assert flow_of(pv=20000, kw=-20) == ("PV_TO_BATTERY", ["PV_TO_BATTERY"])
    assert flow_of(pv=20000) == ("PV_TO_GRID", ["PV_TO_GRID"])


def test_several_paths_at_once_are_mixed_and_told_apart():
    flow, paths = flow_of(load=10000, pv=25000, kw=-5)
    assert flow == "MIXED" and sorted(paths) == ["PV_TO_BATTERY", "PV_TO_GRID", "PV_TO_LOAD"]
    flow, paths = flow_of(load=10000, kw=-5)
    assert flow == "MIXED" and sorted(paths) == ["GRID_TO_BATTERY", "GRID_TO_LOAD"]
    flow, paths = flow_of(load=10000, kw=30)
    assert flow == "MIXED" and sorted(paths) == ["BATTERY_TO_GRID", "BATTERY_TO_LOAD"]


def test_a_silent_inverter_carries_no_power_on_any_path():
    plant = site(Grid.INTERACTIVE, load=20000)
    plant.pm.set_constant_power(10)
    plant.run(2)
    assert "BATTERY_TO_LOAD" in plant.pm.stats()["paths"]
    plant.silent.add(im.SEQ_PCS)
    plant.run(1.5)
    assert "BATTERY_TO_LOAD" not in plant.pm.stats()["paths"]


def test_flow_has_hysteresis_and_every_change_is_an_event():
    plant = site(Grid.INTERACTIVE, load=0)
    seen = []
    for load in (400, 600, 400, 300, 240, 400, 600):  # seen over 0.5 % of rating, lost below half of it
        plant.load = load
        plant.run(0.5)
        seen.append(plant.now[im.FLOW])
    to_load = Flow.GRID_TO_LOAD
    assert seen == [0, to_load, to_load, to_load, 0, 0, to_load]
    assert plant.events("FLOW_CHANGE")[-3:] == [to_load, 0, to_load]


def test_a_flow_of_a_moment_is_no_event():
    plant = site(Grid.INTERACTIVE, load=0)
    plant.run(1)
    before = plant.events("FLOW_CHANGE")
    for _ in range(10):
        plant.load = 5000
        plant.cycles(2)
        plant.load = 0
        plant.cycles(2)
    assert plant.events("FLOW_CHANGE") == before


# ---- stability: meter and inverter are never read at the same instant --------------------------------------


class LateMeter:
    """A site whose inverter answers with a time constant and whose readings come late and in rhythms of their own."""

    def __init__(self, plant, meter_late, pcs_late, pcs_tau_s, pcs_every, meter_every):
        self.plant = plant
        self.late = (pcs_late, meter_late)
        self.every = (pcs_every, meter_every)
        self.tau_s = pcs_tau_s
        self.true = []  # W of the inverter, cycle by cycle
        plant.follows = False

    def cycles(self, count):
        """Run; the commands and the true exports of those cycles."""
        plant = self.plant
        commands, exports = [], []
        for _ in range(count):
            last = self.true[-1] if self.true else 0
            wanted = plant.command()
            self.true.append(last + int((wanted - last) * min(1, 0.05 / self.tau_s)) if self.tau_s else wanted)
            k = len(self.true) - 1
            for i, group in enumerate((im.SEQ_PCS, im.SEQ_METER)):
                seen = self.true[max(0, k - self.late[i])]
                plant.silent.add(group)
                if k % self.every[i] == i % self.every[i]:
                    plant.silent.remove(group)
                    slot = im.METER_P if i else im.PCS_P
                    plant.force[slot] = plant.load - plant.pv - seen if i else seen
            plant.cycle()
            commands.append(plant.command())
            exports.append(self.true[-1] - plant.load + plant.pv)
        return commands, exports


RHYTHMS = (  # cycles the meter is late, the inverter is late, inverter's time constant s, cycles between readings of each
    (1, 0, 0, 1, 1),
    (2, 0, 0, 1, 1),
    (0, 2, 0, 1, 1),
    (2, 2, 0.1, 2, 2),
    (0, 0, 0, 2, 10),
    (2, 0, 0.1, 2, 10),
    (1, 1, 0.3, 10, 2),
)


def test_the_export_limit_does_not_swing_however_late_the_meter_is():
    for rhythm in RHYTHMS:
        plant = site(Grid.INTERACTIVE, load=10000, allow_grid_export=False)
        late = LateMeter(plant, *rhythm)
        plant.pm.set_constant_power(50)
        commands, exports = late.cycles(400)
        swing = max(commands[250:]) - min(commands[250:])
        assert swing < 100 and abs(commands[-1] - 10000) < 100, "%r: swings by %d W at %d W" % (rhythm, swing, commands[-1])
        over = len([watts for watts in exports if watts > 500])
        assert over <= 12, "%r: exported for %d cycles, up to %d W" % (rhythm, over, max(exports))
        assert plant.faults() == []


def test_a_surplus_is_charged_without_swinging_and_never_with_the_grids_power():
    for rhythm in RHYTHMS:
        plant = site(Grid.INTERACTIVE, load=0, pv=30000, allow_grid_charging=False)
        late = LateMeter(plant, *rhythm)
        plant.pm.set_constant_power(-50)
        commands, exports = late.cycles(400)
        swing = max(commands[250:]) - min(commands[250:])
        assert swing < 100 and abs(commands[-1] + 30000) < 100, "%r: swings by %d W at %d W" % (rhythm, swing, commands[-1])
        over = len([watts for watts in exports if watts < -500])
        assert over <= 12, "%r: imported for %d cycles, up to %d W" % (rhythm, over, -min(exports))


def test_a_load_that_goes_takes_the_power_along_whatever_the_rhythm():
    for rhythm in RHYTHMS[:4]:
        plant = site(Grid.INTERACTIVE, load=60000, allow_grid_export=False)
        late = LateMeter(plant, *rhythm)
        plant.pm.set_constant_power(50)
        late.cycles(200)
        assert plant.command() == 50000
        plant.load = 10000
        commands, _ = late.cycles(6)  # two cycles from the reading on, which is up to four late
        assert min(commands) <= 10000 and commands[-1] <= 12000, "%r: %r" % (rhythm, commands)


def test_an_inverter_that_is_off_or_silent_is_no_loss_of_the_grid():
    plant = Plant(NO_METER).ready()
    plant.run(1)
    plant.pm.stop()
    plant.run(3)
    assert plant.events("GRID_CONNECTED") == [0] and not plant.events("GRID_DISCONNECTED")
    plant.pm.start()
    plant.run(2)
    plant.silent.add(im.SEQ_PCS)
    plant.run(5)
    assert plant.faults() == ["pcs_lost"] and not plant.events("GRID_DISCONNECTED")
    plant.silent.clear()
    plant.run(8)
    plant.grid = False
    plant.run(1)
    assert plant.events("GRID_DISCONNECTED") == [0], "but a grid seen to be gone is"
