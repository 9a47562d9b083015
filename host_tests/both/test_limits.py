"""Limits: each row by itself in each direction, their intersection, missing data, events, and how the command follows."""

from firmware import image as im
from firmware.charging import ChargeParams
from firmware.discharging import DischargeParams
from firmware.errors import PowerError
from firmware.limits import NAMES, published
from firmware.modes import Mode
from host_tests.both.plant import Plant, photo, refusal

WANTED = (
    "configuration, grid_connection, export, bms_current, soc, cell_voltage, pack_voltage, temperature, pcs, operation, "
    "missing_data, fault, mode, bms_forbids, remote, banks"
)


def running(**config):
    return Plant(**config).ready()


def look(plant):
    """(discharge kW, its reason, charge kW, its reason) now."""
    plant.cycles(2)
    stats = plant.pm.stats()
    return stats["limit_discharge"], stats["why_discharge"], stats["limit_charge"], stats["why_charge"]


def test_every_limit_of_the_product_has_a_row():
    assert sorted(NAMES) == sorted(WANTED.split(", "))


def test_configuration():
    assert look(running(max_discharge_power=70, max_charge_power=60)) == (70, "configuration", 60, "configuration")


def test_bms_current_times_voltage_at_the_ac_terminals():
    plant = running()
    plant.force = {im.BMS_I_DIS: 500, im.BMS_I_CHG: 300}
    dis, why_dis, chg, why_chg = look(plant)
    assert why_dis == why_chg == "bms_current"
    assert abs(dis - 50 * 643.5 * 0.95 / 1000) < 0.8, "discharge %s kW" % dis  # the voltage will sag a little
    assert abs(chg - 30 * 643.5 / 0.95 / 1000) < 0.1, "charge %s kW" % chg


def of_big_currents(amps, **config):
    """200 V of cells that allow so many amperes, with an inverter and a site that could take more than they are."""
    given = {"module_count": 4, "cells_per_module": 16, "module_energy": 100, "system_voltage_nominal": 200}
    given.update({"internal_resistance": 0.01, "max_charge_power": 900, "max_discharge_power": 900, "max_grid_export_power": 900})
    given.update(config)
    plant = Plant(**given)
    plant.load = 0
    plant.force = {im.BMS_V: 2000, im.BMS_I: 0, im.BMS_V_MAX: 2300, im.BMS_V_MIN: 1700}
    plant.force.update({im.BMS_I_CHG: amps * 10, im.BMS_I_DIS: amps * 10, im.CELL_V_MAX: 3130, im.CELL_V_MIN: 3120})
    plant.force.update({im.PCS_P_CHG: 900000, im.PCS_P_DIS: 900000, im.PCS_DC_V: 2000, im.PCS_DC_I: 0})
    return plant.ready()


def test_a_current_limit_of_1000_a_and_more_is_one():
    for amps in (999, 1000, 1001, 1500, 1700):
        dis, why_dis, chg, why_chg = look(of_big_currents(amps))
        assert why_dis == why_chg == "bms_current", (amps, why_dis, why_chg)
        assert abs(chg - amps * 0.2 / 0.95) < 0.1, "%d A, charge %s kW" % (amps, chg)
        assert 0.9 * amps * 0.2 * 0.95 < dis < amps * 0.2 * 0.95, "%d A, discharge %s kW: the voltage sags" % (amps, dis)


def test_an_operation_s_1000_a_and_what_the_voltage_leaves_beyond_them_are_limits_too():
    plant = of_big_currents(3000)
    dis, why_dis, chg, why_chg = look(plant)
    assert why_dis == why_chg == "cell_voltage", (why_dis, why_chg)
    assert abs(dis - 0.95 * 2200 * 0.2) < 80 and abs(chg - 3330 * 0.2 / 0.95) < 80, (dis, chg)
    plant.pm.set_discharge_params(DischargeParams(discharge_current_max=1000))
    plant.pm.set_charge_params(ChargeParams(charge_current_max=1000))
    dis, why_dis, chg, why_chg = look(plant)
    assert why_dis == why_chg == "operation" and dis < 190 and abs(chg - 200 / 0.95) < 0.1, (dis, chg)


def test_more_than_any_site_moves_bounds_no_site():
    for efficiency in (50, 100):
        for resistance in (0.01, 10):
            plant = of_big_currents(3000, inverter_efficiency=efficiency, internal_resistance=resistance)
            plant.force[im.BMS_V] = 15000  # 4.5 MW
            for current in (-30000, 0, 30000):
                plant.force[im.BMS_I] = current
                look(plant)
                row = next(row for row in published(plant.image) if row[0] == "bms_current")
                assert row[1] >= 1000000 and row[2] >= 1000000, row


def test_zero_is_data_not_absence():
    plant = running()
    for slot, row, direction in (
        (im.BMS_I_DIS, "bms_current", 0),
        (im.BMS_I_CHG, "bms_current", 2),
        (im.PCS_P_DIS, "pcs", 0),
        (im.PCS_P_CHG, "pcs", 2),
    ):
        plant.force = {slot: 0}
        seen = look(plant)
        assert seen[direction] == 0 and seen[direction + 1] == row, "slot %d: %r" % (slot, seen)
        assert seen[2 - direction] == 100, "the other direction is free"


def test_the_inverters_rating_and_readiness():
    plant = running()
    plant.force = {im.PCS_P_DIS: 45000, im.PCS_P_CHG: 35000}
    assert look(plant) == (45, "pcs", 35, "pcs")
    for state in (im.PCS_OFF, im.PCS_STARTING):
        plant.force = {im.PCS_STATE: state}
        assert look(plant) == (0, "pcs", 0, "pcs")


def test_soc_tapers_to_the_floor_and_to_the_ceiling():
    for soc, dis, chg in (
        (50, 100, 100),
        (22, 100, 100),
        (21, 50, 100),
        (20, 0, 100),
        (15, 0, 100),
        (88, 100, 100),
        (89, 100, 50),
        (90, 100, 0),
        (95, 100, 0),
    ):
        plant = Plant()
        plant.soc = float(soc)
        plant.ready()
        seen = look(plant)
        assert (seen[0], seen[2]) == (dis, chg), "SoC %d: %r" % (soc, seen)
        if dis < 100:
            assert seen[1] == "soc"
        if chg < 100:
            assert seen[3] == "soc"


def test_temperature_derates_at_both_ends():
    # charging: 0 at 0 degC, full 10..45, 0 at 52; discharging: 0 at -20, full -5..48, 0 at 58
    for temp, dis, chg in (
        (25, 100, 100),
        (5, 100, 50),
        (0, 100, 0),
        (-12.5, 50, 0),
        (-20, 0, 0),
        (48.5, 95, 50),
        (53, 50, 0),
        (58, 0, 0),
    ):
        plant = running()
        plant.force = {im.CELL_T_MAX: int(temp * 10), im.CELL_T_MIN: int(temp * 10)}
        seen = look(plant)
        assert (seen[0], seen[2]) == (dis, chg), "%s degC: %r" % (temp, seen)
        assert (seen[1] == "temperature") == (dis < 100) and (seen[3] == "temperature") == (chg < 100)


def test_the_worst_cell_temperature_counts_on_either_side():
    plant = running()
    plant.force = {im.CELL_T_MAX: 500, im.CELL_T_MIN: 50}
    dis, _, chg, _ = look(plant)
    assert dis == 80 and round(chg) == 29, "hot end 2/7, cold end a half: the lower counts"


def test_a_cell_near_its_voltage_limit_takes_the_power():
    plant = running()
    plant.force = {im.CELL_V_MAX: 3600}
    dis, _, chg, why = look(plant)
    assert chg == 0 and why == "cell_voltage" and dis == 100
    plant.force = {im.CELL_V_MIN: 2800}
    dis, why, chg, _ = look(plant)
    assert dis == 0 and why == "cell_voltage" and chg == 100
    plant.force = {im.CELL_V_MAX: 3580}  # 20 mV x 195 cells over 0.25 ohm
    assert abs(look(plant)[2] - 15.6 * 643.5 / 0.95 / 1000) < 0.5


def test_the_pack_near_its_cut_off_takes_the_power():
    plant = running()
    plant.force = {im.BMS_V_MAX: 6435}
    _, _, chg, why = look(plant)
    assert chg < 1 and why == "pack_voltage"
    plant.force = {im.BMS_V_MIN: 6440}
    dis, why, _, _ = look(plant)
    assert dis == 0 and why == "pack_voltage"


def test_the_bms_forbids_a_direction():
    plant = running()
    plant.force = {im.BMS_REQUESTS: im.BMS_REQ_NO_CHARGE}
    assert look(plant) == (100, "configuration", 0, "bms_forbids")
    plant.force = {im.BMS_REQUESTS: im.BMS_REQ_NO_DISCHARGE}
    assert look(plant) == (0, "bms_forbids", 100, "configuration")


def test_operation_parameters_bound_power_and_current():
    plant = running()
    plant.pm.set_discharge_params(DischargeParams(discharge_power_max=30))
    plant.pm.set_charge_params(ChargeParams(charge_power_max=40))
    assert look(plant) == (30, "operation", 40, "operation")
    plant.pm.set_discharge_params(DischargeParams(discharge_current_max=40))
    dis, why, _, _ = look(plant)
    assert why == "operation" and abs(dis - 40 * 643.5 * 0.95 / 1000) < 0.6


def test_an_ems_curtails_and_frees_each_direction():
    plant = running()
    plant.pm.curtail(12, 34)
    assert look(plant) == (12, "remote", 34, "remote")
    plant.pm.curtail(0, None)
    assert look(plant) == (0, "remote", 100, "configuration")
    plant.pm.curtail()
    assert look(plant) == (100, "configuration", 100, "configuration")


def test_curtailment_with_a_lifetime_ends_by_itself_unless_renewed():
    plant = running()
    plant.pm.curtail(34, 12, seconds=5)
    plant.run(4)
    assert look(plant) == (34, "remote", 12, "remote")
    plant.pm.curtail(34, 12, seconds=5)
    plant.run(4)
    assert look(plant)[0] == 34, "renewed in time"
    plant.run(2)
    assert look(plant)[1] != "remote" and look(plant)[3] != "remote", "an EMS that has died leaves no limits behind"


def test_of_several_owners_limits_the_smallest_binds_in_each_direction_and_its_owner_is_the_reason():
    plant = running()
    plant.pm.limit("tariff", discharge_kw=30, charge_kw=10)
    plant.pm.limit("grid operator", 20, None, seconds=60)
    assert look(plant) == (20, "remote", 10, "remote")
    plant.pm.set_constant_power(50)
    plant.run(3)
    said = plant.pm.stats()["reason"]
    assert "grid operator, 57 s left" in said, said
    assert "by remote: tariff" in plant.pm.set_constant_power(-50)
    found = {one["owner"]: (one["discharge_kw"], one["charge_kw"]) for one in plant.pm.curtailments()}
    assert found == {"tariff": (30, 10), "grid operator": (20, None)}
    plant.run(58)
    assert look(plant) == (30, "remote", 10, "remote"), "the one with a lifetime has ended, the other stays"
    plant.pm.limit("tariff")
    assert look(plant) == (100, "configuration", 100, "configuration") and plant.pm.curtailments() == []


def test_an_owner_that_ends_its_limits_leaves_the_others_alone():
    plant = running()
    for owner, watts in (("a", 1), ("b", 2), ("c", 3)):
        plant.pm.limit(owner, watts, watts)
    plant.pm.limit("a")
    assert look(plant) == (2, "remote", 2, "remote")
    plant.pm.limit("b", None, 7)
    assert look(plant) == (3, "remote", 3, "remote")
    plant.pm.limit("nobody")
    assert len(plant.pm.curtailments()) == 2


def test_there_is_room_for_eight_owners_and_the_ninth_is_told_who_they_are():
    plant = running()
    for n in range(8):
        plant.pm.limit("owner %d" % n, 50 + n)
    said = refusal(PowerError, plant.pm.limit, "one more", 5)
    assert "one more" in said and "owner 0, owner 1" in said and "8" in said
    assert look(plant)[0] == 50, "changes nothing"
    plant.pm.limit("owner 0", 40)
    assert look(plant)[0] == 40, "those there are may renew"
    plant.pm.limit("owner 3")
    plant.pm.limit("one more", 5)
    assert look(plant)[0] == 5


def test_a_wrong_limit_is_refused_and_changes_nothing():
    plant = running()
    plant.pm.limit("tariff", 30, 30, 100)
    before = photo(plant.pm)
    for given in ((5, 1), ("", 1), ("x" * 65, 1)):
        assert "owner" in refusal(ValueError, plant.pm.limit, *given)
    assert "1000" in refusal(PowerError, plant.pm.limit, "tariff", -1)
    assert "1000" in refusal(PowerError, plant.pm.limit, "tariff", 5, 1001)
    assert "86400" in refusal(PowerError, plant.pm.limit, "tariff", 5, 5, 86401)
    assert photo(plant.pm) == before and plant.pm.curtailments()[0]["discharge_kw"] == 30


def test_limits_intersect_and_the_smallest_is_named():
    plant = running(max_discharge_power=80)
    plant.force = {im.PCS_P_DIS: 60000, im.CELL_T_MAX: 530, im.CELL_T_MIN: 530}
    plant.pm.curtail(50, None)
    assert look(plant)[:2] == (40, "temperature")  # 80 halved
    rows = {name: dis for name, dis, _ in published(plant.image)}
    assert rows["configuration"] == 80000 and rows["pcs"] == 60000 and rows["remote"] == 50000 and rows["temperature"] == 40000
    assert rows["soc"] == im.FREE


# ---- missing data -----------------------------------------------------------------------------------------


def test_a_value_never_measured_is_missing_data():
    for slot in (im.BMS_SOC, im.BMS_V, im.BMS_I):
        plant = Plant()
        plant.force = {slot: im.NO_VALUE}
        plant.cycles(2)
        plant.pm.start()
        plant.cycles(5)
        rows = {name: (dis, chg) for name, dis, chg in published(plant.image)}
        assert rows["missing_data"] == (0, 0), "slot %d" % slot
        assert plant.command() == 0


def test_a_missing_current_limit_is_no_permission():
    for slot, direction in ((im.BMS_I_DIS, 0), (im.BMS_I_CHG, 2)):
        plant = running()
        plant.force = {slot: im.NO_VALUE}
        assert look(plant)[direction] == 0, "slot %d" % slot


def test_every_stale_group_stops_what_depends_on_it():
    for group, timeout_s in (
        (im.SEQ_BMS, 3),
        (im.SEQ_BMS_LIMITS, 3),
        (im.SEQ_BMS_CELLS, 3),
        (im.SEQ_BMS_TEMPS, 3),
        (im.SEQ_BMS_FLAGS, 3),
        (im.SEQ_PCS, 1),
        (im.SEQ_IO, 0.5),
    ):
        plant = running()
        plant.pm.set_constant_power(20)
        plant.run(2)
        plant.silent.add(group)
        plant.run(timeout_s - 0.1)
        assert plant.command() == 20000, "group %d was given up too early" % group
        plant.run(0.2)
        assert plant.command() == 0, "group %d is stale and 20 kW go on" % group
        rows = {name: (dis, chg) for name, dis, chg in published(plant.image)}
        assert rows["missing_data"] == (0, 0)


def test_nothing_heard_at_all_is_zero_not_unlimited():
    plant = Plant()
    plant.silent = set(range(9))
    plant.run(2)
    stats = plant.pm.stats()
    assert stats["limit_discharge"] == stats["limit_charge"] == 0 and plant.command() == 0
    rows = {name: (dis, chg) for name, dis, chg in published(plant.image)}
    assert rows["missing_data"] == (0, 0)


# ---- how the command follows ------------------------------------------------------------------------------


def test_a_falling_limit_acts_at_once_and_a_rising_one_is_slewed():
    plant = running()
    plant.pm.set_constant_power(80)
    plant.run(5)
    assert plant.command() == 80000
    plant.pm.curtail(10, None)
    plant.cycle()
    assert plant.command() == 10000, "in the same cycle"
    plant.pm.curtail()
    plant.cycle()
    assert plant.command() == 11000, "20 kW/s for 50 ms"
    plant.run(1)
    assert plant.command() == 31000


def test_the_ramp_is_exact_over_time_and_never_overshoots():
    for rate, dt in ((0.1, 50), (0.33, 50), (7.77, 30), (20, 50), (3.001, 1000)):
        plant = Plant(ramp_up=rate, ramp_down=rate, cycle_ms=dt).ready()
        plant.pm.set_constant_power(100)
        cycles = 10000 // dt
        plant.cycles(cycles, dt)
        expected = min(100000, rate * dt * cycles)
        assert abs(plant.command() - expected) <= 1, "%s kW/s: %d W after %d ms" % (rate, plant.command(), dt * cycles)
    plant = running()
    plant.pm.set_constant_power(33.3)
    most = 0
    for _ in range(60):
        plant.cycle()
        most = max(most, plant.command())
    assert most == plant.command() == 33300


def test_up_and_down_have_rates_of_their_own():
    plant = Plant(ramp_up=10, ramp_down=40).ready()
    plant.pm.set_constant_power(-20)
    plant.run(1)
    assert plant.command() == -10000
    plant.run(2)
    plant.pm.stop_operation()
    plant.run(0.25)
    assert plant.command() == -10000


def test_a_taper_does_not_chatter():
    plant = Plant()
    plant.soc = 21.4
    plant.ready()
    plant.pm.set_constant_power(100)
    plant.run(6)
    signs, before, last = 0, plant.command(), 0
    for _ in range(600):
        plant.cycle(200)
        step = plant.command() - before
        if step * last < 0:
            signs += 1
        last = step or last
        before = plant.command()
    assert signs <= 2 and 0 <= plant.command() < 60000, "%d changes of direction" % signs
    assert plant.soc > 19.7


# ---- events and naming ------------------------------------------------------------------------------------


def test_a_new_binding_limit_is_an_event_once_it_has_lasted():
    plant = running()
    plant.run(3)
    before = len(plant.events("LIMIT_CHANGE"))
    plant.force = {im.PCS_P_DIS: 10000}
    plant.run(0.5)
    plant.force = {}
    plant.run(3)
    assert len(plant.events("LIMIT_CHANGE")) == before, "half a second is no change"
    plant.force = {im.PCS_P_DIS: 10000}
    plant.run(1.5)
    assert plant.events("LIMIT_CHANGE")[before:] == [NAMES.index("pcs")]
    plant.force = {im.PCS_P_CHG: 10000}
    plant.pm.set_constant_power(-50)
    plant.run(2)
    assert plant.events("LIMIT_CHANGE")[before + 1 :] == [NAMES.index("pcs") + 32], "+ 32 for charge"


def test_stats_name_what_binds_and_say_it_in_words():
    plant = running()
    plant.pm.set_constant_power(50)
    plant.run(3)
    assert plant.pm.stats()["binding"] is None and plant.pm.stats()["reason"] == "not limited: 50 kW asked by manual"
    plant.pm.curtail(20, None)
    plant.cycles(2)
    stats = plant.pm.stats()
    assert stats["binding"] == "remote" and "20.0 kW" in stats["reason"] and "remote" in stats["reason"]
    assert plant.pm.mode == Mode.DISCHARGE


def test_no_command_ever_passed_a_live_limit():
    plant = running()
    for kw, force in (
        (100, {im.BMS_I_DIS: 300}),
        (-100, {im.CELL_V_MAX: 3590}),
        (70, {im.CELL_T_MAX: 540}),
        (-70, {im.PCS_P_CHG: 9000}),
    ):
        plant.pm.set_constant_power(kw)
        plant.run(3)
        plant.force = force
        plant.run(3)
        assert plant.now[im.WORST_P] == 0
        assert -plant.now[im.LIMIT_CHG] <= plant.command() <= plant.now[im.LIMIT_DIS]


def test_an_ems_limits_end_unless_it_renews_them():
    plant = running()
    plant.pm.set_constant_power(50)
    plant.pm.curtail(10, 20, 5)
    for _ in range(3):
        plant.run(4)
        assert plant.command() == 10000
        plant.pm.curtail(10, 20, 5)  # alive
    plant.run(4.9)
    assert plant.command() == 10000 and plant.pm.stats()["limit_charge"] == 20
    plant.run(0.3)
    assert plant.why() == "configuration" and plant.pm.stats()["limit_charge"] == 100, "the EMS has died"
    plant.pm.curtail(10)
    plant.run(120, 500)
    assert plant.command() == 10000, "without seconds: until the next call"
    plant.pm.curtail(10, None, 1)
    plant.pm.curtail(15)
    plant.run(5)
    assert plant.command() == 15000, "the call before is forgotten whole"
