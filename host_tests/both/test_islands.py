"""Islands whose inverter carries what the load takes, whatever it is told: with an empty or a full battery, seen by nobody."""

from firmware import image as im
from firmware.charging import ChargeParams
from firmware.discharging import DischargeParams
from firmware.event_codes import Event
from firmware.flows import Grid
from firmware.modes import Mode
from host_tests.both.bankplant import BankPlant
from host_tests.both.plant import ALL, Plant

SLOW = 150  # ms of a cycle, where hours pass
NO_METER = ALL & ~im.HAS_METER & ~im.HAS_PV


class Island(Plant):
    """A plant whose inverter forms an island as soon as there is no grid; its PV gives nothing where nobody forms one."""

    sun = 0
    through = 0  # W

    def _move(self, dt):
        runs = self.now[im.CMD_RUN] and self.now[im.CMD_CONTACTOR]
        self.pv = self.sun if runs or self.grid else 0
        Plant._move(self, dt)
        if not self.grid:
            taken = self.load - self.pv if runs else 0
            self.soc -= (taken - self.power) * dt / (208000 * 36000)
            self.power = taken

    def _write(self):
        Plant._write(self)
        if not self.grid and im.SEQ_METER not in self.silent:
            self.image.inp[im.METER_P] = self.through  # no grid, nothing through its meter


def island(kind, soc=50.0, load=20000, sun=0, has=ALL, **config):
    """One that is served."""
    plant = Island(has, grid_connection=kind, **config)
    plant.load, plant.sun, plant.soc = load, sun, soc
    plant.grid = kind == Grid.BACKUP
    plant.ready()
    plant.grid = False
    plant.run(1)
    return plant


def emptied(kind, **config):
    """One whose battery has reached its floor, and that has gone dark by it."""
    plant = island(kind, soc=20.6, **config)
    plant.until(lambda: plant.pm.mode == Mode.STANDBY, 1800, SLOW)
    return plant


# ---- an empty battery -----------------------------------------------------------------------------------------------


def test_an_island_at_the_floor_goes_dark_and_says_that_the_battery_is_empty():
    for kind in (Grid.ISOLATED, Grid.BACKUP):
        plant = emptied(kind)
        assert 19.9 <= plant.soc <= 20.6, plant.soc
        plant.run(30)
        reason = plant.pm.stats()["reason"]
        assert plant.pm.mode == Mode.STANDBY and plant.power == 0
        assert "the battery is empty" in reason and "the floor is 20.0 %" in reason, reason
        assert "used up" not in reason


def test_an_island_at_the_floor_uses_up_no_restart_and_waits():
    plant = emptied(Grid.ISOLATED)
    floor = plant.soc
    plant.run(1800, SLOW)
    assert plant.pm.mode == Mode.STANDBY and plant.now[im.TRIPS] == 0
    assert len(plant.events("OVERPOWER")) == 1, "it was not tried over and over"
    assert plant.soc == floor
    assert plant.pm.stats()["last_trip"].startswith("overpower")


def test_a_backup_at_the_floor_comes_back_with_the_grid():
    plant = emptied(Grid.BACKUP)
    plant.run(600, SLOW)
    plant.grid = True
    plant.run(3)
    assert plant.pm.mode == Mode.IDLE, plant.pm.stats()["reason"]
    plant.pm.set_constant_power(-30)
    plant.run(4)
    assert plant.command() == -30000, "and is charged"
    plant.run(600, SLOW)
    plant.grid = False
    plant.run(2)
    assert plant.command() == 20000 and plant.by() == "island", "the next outage is served"


def test_an_island_at_the_floor_comes_back_when_its_battery_may_give_again():
    plant = emptied(Grid.ISOLATED)
    plant.run(100, SLOW)
    plant.soc = 23.0  # charged from its DC bus
    plant.run(5)
    assert plant.pm.mode == Mode.DISCHARGE and plant.power == 20000, plant.pm.stats()["reason"]


def test_an_island_waits_until_its_battery_may_give_what_was_taken():
    plant = island(Grid.ISOLATED)
    plant.force[im.BMS_I_DIS] = 150  # 9 kW
    plant.until_mode(Mode.STANDBY, 5)
    plant.force[im.BMS_I_DIS] = 300
    plant.run(300, SLOW)
    assert plant.pm.mode == Mode.STANDBY, "18 kW are not 20: it would go on and off"
    assert "limited by bms_current (the battery allows 30.0 A)" in plant.pm.stats()["reason"], plant.pm.stats()["reason"]
    plant.force[im.BMS_I_DIS] = 400
    plant.run(5)
    assert plant.pm.mode == Mode.DISCHARGE and plant.power == 20000, plant.pm.stats()["reason"]


def test_an_island_at_the_floor_comes_back_when_a_surplus_is_measured():
    plant = emptied(Grid.ISOLATED)
    plant.run(100, SLOW)
    plant.sun = 35000
    plant.through = -15000  # by an inverter that needs no island
    plant.run(2)
    plant.through = 0
    plant.run(60)
    assert plant.pm.mode == Mode.CHARGE and plant.power == -15000, plant.pm.stats()["reason"]


def test_an_island_at_the_floor_tries_once_an_hour_whether_the_sun_has_come():
    plant = emptied(Grid.ISOLATED)
    plant.run(3000, SLOW)
    plant.sun = 60000
    plant.run(500, SLOW)
    assert plant.pm.mode == Mode.STANDBY, "it cannot see a sun whose inverter needs the island"
    plant.run(300, SLOW)
    assert plant.pm.mode == Mode.CHARGE and plant.power == -40000, plant.pm.stats()["reason"]


def test_a_person_starts_an_island_at_the_floor_at_once():
    plant = emptied(Grid.ISOLATED)
    plant.run(100)
    plant.load, plant.sun = 0, 20000
    plant.pm.start()
    plant.run(3)
    assert plant.pm.mode == Mode.CHARGE and plant.power == -20000


def test_an_island_whose_load_is_small_stops_at_the_floor_too():
    plant = island(Grid.ISOLATED, soc=20.1, load=3000)
    plant.until(lambda: plant.pm.mode == Mode.STANDBY, 3600, SLOW)
    assert plant.soc > 19.4, plant.soc


def test_an_island_that_the_bms_lets_give_nothing_waits_for_the_bms():
    plant = island(Grid.BACKUP)
    plant.force[im.BMS_I_DIS] = 0
    plant.until_mode(Mode.STANDBY, 5)
    plant.run(300)
    assert plant.pm.mode == Mode.STANDBY and plant.now[im.TRIPS] == 0
    assert "bms_current" in plant.pm.stats()["reason"] or "the battery allows 0.0 A" in plant.pm.stats()["reason"]
    plant.force.clear()
    plant.run(3)
    assert plant.pm.mode == Mode.DISCHARGE and plant.power == 20000


def test_an_overloaded_island_is_a_fault_that_uses_up_restarts():
    plant = island(Grid.ISOLATED, load=120000, max_discharge_power=100)
    plant.run(300)
    reason = plant.pm.stats()["reason"]
    assert plant.pm.mode == Mode.STANDBY and "restarts are used up" in reason, reason


def test_power_that_no_island_explains_uses_up_restarts_at_the_floor_too():
    plant = Plant(grid_connection=Grid.INTERACTIVE)
    plant.soc = 19.0
    plant.ready()
    plant.follows = False
    for _ in range(3000):
        plant.power = 20000 if plant.now[im.CMD_RUN] else 0
        plant.cycle()
    assert "restarts are used up" in plant.pm.stats()["reason"], plant.pm.stats()["reason"]


# ---- a full battery -------------------------------------------------------------------------------------------------


def test_an_island_with_a_full_battery_and_too_much_sun_comes_back_again_and_again():
    for kind in (Grid.ISOLATED, Grid.BACKUP):
        plant = island(kind, soc=89.9, load=10000, sun=60000)
        plant.until(lambda plant=plant: plant.pm.mode == Mode.STANDBY, 1800, SLOW)
        for _ in range(12):
            plant.run(70, SLOW)
            assert plant.now[im.ORDER] == im.ORDER_START, plant.pm.stats()["reason"]
        assert plant.now[im.TRIPS] == 0 and len(plant.events("OVERPOWER")) > 4
        plant.sun = 0
        plant.run(70)
        assert plant.pm.mode == Mode.DISCHARGE and plant.power == 10000, "evening: nobody had to come"


# ---- an island that nobody sees -------------------------------------------------------------------------------------


class Unseen(Island):
    """Of a grid its inverter says nothing, as those of the older SunSpec; its meter is supplied by the grid and goes with it."""

    def _pcs(self, inp, volts, amps):
        Plant._pcs(self, inp, volts, amps)
        inp[im.PCS_GRID] = im.NO_VALUE

    def _write(self):
        self.silent.discard(im.SEQ_METER)
        if not self.grid:
            self.silent.add(im.SEQ_METER)
        Island._write(self)


def unseen(load=20000, **config):
    plant = Unseen(grid_connection=Grid.BACKUP, **config)
    plant.load = load
    plant.ready()
    plant.run(2)
    return plant


def test_a_backup_whose_meter_goes_with_the_grid_serves_the_island():
    for kw in (0, -30):
        plant = unseen()
        if kw:
            plant.pm.set_constant_power(kw)
            plant.run(5)
        plant.grid = False
        plant.run(10)
        assert plant.power == 20000 and plant.by() == "island" and plant.command() == 20000, plant.pm.stats()["reason"]
        assert plant.faults() == ["meter_lost"] and plant.now[im.TRIPS] == 0
        assert plant.pm.stats()["grid_connected"] is False and plant.events("GRID_DISCONNECTED") == [0]
        plant.load, plant.sun = 45000, 60000
        plant.run(2)
        assert plant.command() == -15000, "its surplus"
        plant.load, plant.sun = 2000, 0
        plant.run(60)
        assert plant.command() == 2000 and plant.by() == "island", "it goes on, however small the load"
        plant.grid = True
        plant.run(5)
        assert plant.pm.stats()["grid_connected"] is True and plant.command() == kw * 1000, plant.pm.stats()["reason"]


def test_a_backup_that_starts_in_an_outage_serves_the_island():
    plant = unseen()
    plant.pm.stop()
    plant.run(3)
    plant.grid = False
    plant.run(30)
    assert plant.pm.mode == Mode.STANDBY and plant.pm.stats()["grid_connected"] is None, "off, it sees nothing"
    plant.pm.start()
    plant.run(10)
    assert plant.power == 20000 and plant.by() == "island", plant.pm.stats()["reason"]
    plant.pm.stop()
    plant.run(10)
    assert plant.pm.mode == Mode.STANDBY and plant.power == 0 and plant.pm.stats()["grid_connected"] is None


def test_an_inverter_that_does_what_it_is_told_forms_no_island_behind_a_silent_meter():
    plant = unseen()
    plant.silent.add(im.SEQ_METER)
    plant.pm.set_constant_power(60)
    for _ in range(400):
        Plant._move(plant, 50)
        plant.silent.add(im.SEQ_METER)
        plant.ms += 50
        Plant._write(plant)
        plant.pm.cycle(plant.ms)
        assert plant.command() == 0
    assert plant.why() == "missing_data" and plant.pm.stats()["grid_connected"] is None


def test_one_that_comes_down_slowly_or_stands_still_is_no_island_behind_a_silent_meter():
    for rate in (167, 40, 0):  # W/s; the grid is there all the time
        plant = Plant(grid_connection=Grid.BACKUP)
        plant.force[im.PCS_GRID] = im.NO_VALUE
        plant.ready()
        plant.pm.set_constant_power(-60)
        plant.run(10)
        assert plant.power == -60000
        plant.silent.add(im.SEQ_METER)
        plant.run(3)
        plant.follows = False
        plant.pm.stop_operation()
        for _ in range(600):
            plant.cycle()
            plant.power = min(0, plant.power + rate // 20) if plant.now[im.CMD_RUN] else 0
            assert plant.pm.stats()["grid_connected"] is None and plant.by() != "island", plant.pm.stats()["reason"]


def test_one_that_does_not_is_a_fault_where_the_meter_sees_the_grid_or_could_never_see_it():
    for has in (ALL, NO_METER):
        plant = Plant(has, grid_connection=Grid.BACKUP)
        if has != ALL:
            plant.silent.add(im.SEQ_METER)
        plant.force[im.PCS_GRID] = im.NO_VALUE
        plant.ready()
        plant.follows = False
        plant.power = 20000
        plant.run(3)
        assert plant.pm.mode == Mode.STANDBY and plant.now[im.TRIPS] == 1, plant.pm.stats()["reason"]


def test_an_isolated_site_whose_inverter_sees_a_grid_is_slewed_as_on_one():
    plant = Plant(grid_connection=Grid.ISOLATED).ready()
    plant.run(3)
    assert plant.pm.stats()["grid_connected"] is True and plant.command() == 20000
    plant.load = 60000
    plant.cycle()
    assert plant.command() <= 22000


def test_an_isolated_site_is_an_island_though_its_meter_measures_a_voltage():
    plant = Island(grid_connection=Grid.ISOLATED)
    plant.grid = False
    plant.force[im.PCS_GRID] = im.NO_VALUE
    for slot, value in ((im.METER_V, 4000), (im.METER_HZ, 50000)):
        plant.force[slot] = value  # the island's own
    plant.ready()
    plant.run(2)
    for load in (20000, 70000, 5000, 95000):
        plant.load = load
        plant.run(4)
        assert plant.power == load and plant.command() == load and plant.by() == "island", plant.pm.stats()["reason"]
    assert plant.faults() == [] and plant.events("GRID_CONNECTED") == [] and plant.now[im.TRIPS] == 0


# ---- several banks --------------------------------------------------------------------------------------------------


class BankIsland(BankPlant):
    """Two banks whose inverters form an island together: they carry its load in equal parts."""

    sun = 0

    def _write_inverter(self, one):
        if not self.grid:
            running = [each for each in self.inverters if each.image.now[im.CMD_RUN] and each.image.now[im.CMD_CONTACTOR]]
            one.power = (self.load - self.sun) // len(running) if one in running else 0
        BankPlant._write_inverter(self, one)

    def _write_site(self):
        self.force[im.METER_P] = 0
        if self.grid:
            del self.force[im.METER_P]
        BankPlant._write_site(self)


def test_of_several_banks_the_empty_one_goes_and_comes_back_with_the_sun():
    plant = BankIsland(grid_connection=Grid.ISOLATED)
    plant.grid = False
    plant.batteries[0].soc = 15.0
    plant.cycles(2)
    plant.pm.start()
    plant.run(120)
    assert plant.inverters[0].power == 0 and plant.inverters[1].power == 20000, plant.pm.stats()["reason"]
    assert "the battery is empty" in plant.pm.stats()["reason"], plant.pm.stats()["reason"]
    assert [data for event, data in plant.told if event == Event.OVERPOWER]
    plant.sun = 60000
    plant.run(120)
    assert plant.inverters[0].power == -20000 and plant.inverters[1].power == -20000, plant.pm.stats()["reason"]


def test_several_banks_serve_an_island_that_nobody_sees():
    plant = BankIsland(grid_connection=Grid.BACKUP)
    for one in plant.inverters:
        one.force[im.PCS_GRID] = im.NO_VALUE
    plant.ready()
    plant.run(2)
    plant.grid = False
    plant.silent = (im.SEQ_METER,)
    plant.run(10)
    assert [one.power for one in plant.inverters] == [10000, 10000] and sum(plant.commands()) == 20000, plant.pm.stats()["reason"]
    assert plant.pm.stats()["requested_by"] == "island"


def test_what_parameters_say_of_operations_does_not_make_an_island_dark():
    for kind in (Grid.ISOLATED, Grid.BACKUP):
        plant = island(kind)
        plant.pm.set_discharge_params(DischargeParams(discharge_power_max=5.0, discharge_current_max=10.0))
        plant.pm.set_charge_params(ChargeParams(charge_power_max=5.0, charge_current_max=10.0))
        plant.run(5)
        assert plant.power == 20000 and plant.command() == 20000, plant.pm.stats()["reason"]
        plant.sun = 50000
        plant.run(5)
        assert plant.power == -30000 and plant.command() == -30000, plant.pm.stats()["reason"]
        plant.sun = 0
        plant.run(2)
        if kind == Grid.BACKUP:
            plant.grid = True
            plant.pm.set_constant_power(-30)
            plant.run(4)
            assert plant.command() == -5000, "with the grid there it holds"
