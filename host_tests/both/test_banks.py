"""Several batteries and inverters: shared power, and what one bank's trouble leaves to the others."""

from firmware import image as im
from firmware.charging import ChargeParams
from firmware.errors import PowerError
from firmware.event_codes import Event
from firmware.flows import Grid
from firmware.modes import Mode
from firmware.reasons import event_data, waiting
from firmware.web import live
from host_tests.both.bankplant import BankPlant
from host_tests.both.plant import EFFICIENCY, refusal

TRIP_S = 6
NO_CELLS = {im.CELL_V_MAX: im.NO_VALUE, im.CELL_V_MIN: im.NO_VALUE, im.CELL_T_MAX: im.NO_VALUE, im.CELL_T_MIN: im.NO_VALUE}


def near(value, wanted, percent=1.0):
    return abs(value - wanted) <= abs(wanted) * percent / 100


def test_power_is_shared_in_proportion_to_what_each_may_give():
    for sign in (1, -1):
        plant = BankPlant().ready()
        plant.pm.set_constant_power(150.0 * sign)
        plant.run(12)
        assert sum(plant.commands()) == 150000 * sign and near(plant.commands()[0], 75000 * sign), plant.commands()
        plant.inverters[1].force[im.PCS_P_DIS] = plant.inverters[1].force[im.PCS_P_CHG] = 60000
        plant.run(6)
        assert sum(plant.commands()) == 150000 * sign and near(plant.commands()[1], 56250 * sign), plant.commands()
        plant.inverters[1].force[im.PCS_P_DIS] = plant.inverters[1].force[im.PCS_P_CHG] = 40000
        plant.run(6)
        assert plant.commands() == [100000 * sign, 40000 * sign], plant.commands()
        reason = plant.pm.stats()["reason"]
        assert "bank b: the inverter %s at most 40 kW" % ("gives" if sign > 0 else "takes") in reason, reason
        assert plant.now[im.BREACHES] == 0 and all(bank.now[im.BREACHES] == 0 for bank in plant.image.banks)


def test_a_silent_bms_costs_its_inverter_and_the_other_takes_over_inside_its_own_limits():
    for sign in (1, -1):
        plant = BankPlant().ready()
        plant.pm.set_constant_power(90.0 * sign)
        plant.run(10)
        plant.batteries[0].silent = True
        passed = 0
        while plant.commands()[0]:
            plant.cycle()
            passed += 50
            assert passed < 5000, plant.commands()
        passed = 0
        while plant.commands()[1] != 90000 * sign:
            plant.cycle()
            passed += 50
            assert passed <= 2000 + 500, (plant.commands(), plant.pm.stats()["reason"])
        plant.run(TRIP_S)
        assert plant.commands() == [0, 90000 * sign] and plant.pm.mode == (Mode.DISCHARGE if sign > 0 else Mode.CHARGE)
        assert "bms_lost" in plant.bank(0)["faults"] and plant.bank(0)["mode"] == "STANDBY" and not plant.bank(1)["faults"]
        reason = plant.pm.stats()["reason"]
        assert "bank a" in reason and "battery" in reason, reason
        assert (Event.FAULT_RAISED, 32) in plant.told and "bms_lost" in plant.pm.stats()["faults"]
        plant.batteries[0].silent = False
        plant.run(15)
        assert near(plant.commands()[0], 45000 * sign), "it comes back by itself"
        assert not plant.pm.stats()["faults"]


def test_a_lost_inverter_costs_itself_alone():
    plant = BankPlant().ready()
    plant.pm.set_constant_power(150.0)
    plant.run(10)
    plant.inverters[1].silent = True
    plant.run(3)
    assert plant.commands() == [100000, 0], plant.commands()
    assert plant.bank(1)["faults"] == ["pcs_lost"] and (Event.FAULT_RAISED, 1 + 2 * 32) in plant.told
    plant.inverters[1].silent = False
    plant.run(15)
    assert sum(plant.commands()) == 150000 and near(plant.commands()[1], 75000)


def test_an_event_says_whether_a_fault_is_the_site_s_or_which_bank_s():
    plant = BankPlant(((1, 1),) * 4).ready()
    plant.silent = (im.SEQ_IO,)
    for number, name in ((0, "bms_lost"), (1, "pcs_lost"), (2, "bms_lost"), (3, "pcs_lost")):
        (plant.inverters if name == "pcs_lost" else plant.batteries)[number].silent = True
    plant.run(TRIP_S)
    told = {event: [event_data(event, data) for code, data in plant.told if code == event] for event, _ in plant.told}
    wanted = ["bms_lost of bank 1", "pcs_lost of bank 2", "bms_lost of bank 3", "pcs_lost of bank 4", "io_lost"]
    for event in (Event.FAULT_RAISED, Event.COMMS_LOST):
        assert sorted(told[event]) == sorted(wanted), told
    assert sorted(told[Event.BANK_CHANGE]) == sorted(["bank %d: %s" % (k, to) for k in (1, 2, 3, 4) for to in ("IDLE", "STANDBY")])
    for data in (31, 32 * 5, -2, 32 + 31):
        assert event_data(Event.FAULT_RAISED, data) == data, "no fault of anybody"
    for data in (0, 31, 32 * 5, -1, 32 + 6):
        assert event_data(Event.BANK_CHANGE, data) == data, "no mode of a bank"


def test_an_event_names_a_bank_as_people_do():
    plant = BankPlant().ready()
    plant.batteries[1].silent = True
    plant.run(TRIP_S)
    plant.pm.clock = None
    told = [one["text"] for one in live.last_events(plant.pm, 64)]
    lost = "bms_lost of bank b"
    for text in ("FAULT_RAISED " + lost, "COMMS_LOST " + lost, "BANK_CHANGE bank a: IDLE", "BANK_CHANGE bank b: STANDBY"):
        assert text in told, told
    assert event_data(Event.BANK_CHANGE, 32 * 3, plant.image.banks) == "bank 3: STANDBY", "of one that is no more"
    assert event_data(Event.FAULT_RAISED, 0, plant.image.banks) == "bms_lost", "the site's own"


def test_a_value_that_one_device_does_not_say_costs_its_bank_and_no_other():
    for device, slot in (("inverters", im.PCS_P), ("batteries", im.BMS_I), ("batteries", im.BMS_SOC), ("batteries", im.BMS_V)):
        for sign in (1, -1):
            plant = BankPlant().ready()
            plant.pm.set_constant_power(60.0 * sign)
            plant.run(6)
            one = getattr(plant, device)[1]
            one.force[slot] = im.NO_VALUE
            plant.run(8)
            assert plant.commands() == [60000 * sign, 0], (slot, plant.commands(), plant.pm.stats()["reason"])
            del one.force[slot]
            plant.run(10)
            assert near(plant.commands()[1], 30000 * sign), (slot, plant.commands())


def test_a_full_battery_leaves_the_charge_to_the_other_and_it_ends_when_both_are():
    plant = BankPlant()
    plant.batteries[0].soc, plant.batteries[1].soc = 89.4, 88.0
    plant.ready()
    plant.pm.start_charging()
    plant.run(10)
    assert plant.commands()[0] < 0 and plant.commands()[1] < 0
    plant.batteries[0].soc = 90.5
    plant.run(10)
    assert plant.commands()[0] == 0 and plant.commands()[1] < -40000 and plant.pm.mode == Mode.CHARGE, plant.commands()
    assert Event.CHARGE_COMPLETE not in [event for event, _ in plant.told]
    plant.batteries[1].soc = 90.5
    plant.run(10)
    assert plant.commands() == [0, 0] and Event.CHARGE_COMPLETE in [event for event, _ in plant.told]


def test_what_one_battery_forbids_is_not_forbidden_to_the_other():
    plant = BankPlant().ready()
    plant.pm.set_constant_power(-80.0)
    plant.run(8)
    plant.batteries[0].force[im.BMS_REQUESTS] = im.BMS_REQ_NO_CHARGE
    plant.run(4)
    assert plant.commands() == [0, -80000]
    assert plant.bank(0)["why_charge"] == "bms_forbids"


def test_the_grid_limits_bind_the_sum():
    plant = BankPlant(max_grid_export_power=30.0).ready()
    plant.load = 10000
    plant.pm.set_constant_power(150.0)
    for _ in range(400):
        plant.cycle()
        assert plant.load - sum(plant.commands()) >= -30000
    assert near(sum(plant.commands()), 40000) and plant.pm.stats()["binding"] == "export"
    plant.load = 0
    plant.cycles(2)
    assert sum(plant.commands()) <= 40000 and plant.load - sum(plant.commands()) >= -40001
    plant.run(1)
    assert sum(plant.commands()) <= 30000


def test_an_emergency_of_one_is_everybodys_and_its_cause_is_named():
    plant = BankPlant().ready()
    plant.pm.set_constant_power(60.0)
    plant.run(5)
    plant.batteries[1].force[im.CELL_V_MAX] = 3800
    plant.batteries[1].force[im.BMS_V] = 7400
    plant.run(2)
    assert plant.pm.is_emergency and plant.commands() == [0, 0], plant.pm.stats()["reason"]
    assert all(bank.now[im.MODE] == Mode.EMERGENCY for bank in plant.image.banks)
    assert "cell_over_voltage" in refusal(PowerError, plant.pm.reset_emergency)
    del plant.batteries[1].force[im.CELL_V_MAX]
    del plant.batteries[1].force[im.BMS_V]
    plant.run(TRIP_S)
    plant.pm.reset_emergency()
    plant.pm.start()
    plant.run(2)
    assert plant.pm.mode == Mode.IDLE


def test_the_emergency_stop_and_a_command_stop_all():
    plant = BankPlant().ready()
    plant.pm.set_constant_power(60.0)
    plant.run(5)
    plant.force[im.IO_ESTOP] = 1
    plant.cycle()
    assert plant.commands() == [0, 0] and plant.pm.is_emergency
    plant = BankPlant().ready()
    plant.pm.set_constant_power(-60.0)
    plant.run(5)
    plant.pm.emergency_shutdown()
    plant.cycle()
    assert plant.commands() == [0, 0]


def test_stop_brings_all_down_and_opens_every_contactor():
    plant = BankPlant().ready()
    plant.pm.set_constant_power(60.0)
    plant.run(5)
    plant.pm.stop()
    plant.run(5)
    assert plant.pm.mode == Mode.STANDBY and plant.commands() == [0, 0]
    assert [bank.now[im.CMD_CONTACTOR] for bank in plant.image.banks] == [0, 0] and plant.now[im.CMD_CONTACTOR] == 0


def test_without_any_bank_the_site_stands_by_and_says_why_of_each():
    plant = BankPlant().ready()
    plant.pm.set_constant_power(60.0)
    plant.run(5)
    for battery in plant.batteries:
        battery.silent = True
    plant.run(TRIP_S)
    assert plant.pm.mode == Mode.STANDBY and plant.commands() == [0, 0]
    reason = plant.pm.stats()["reason"]
    assert "bank a" in reason and "bank b" in reason, reason
    for battery in plant.batteries:
        battery.silent = False
    plant.run(20)
    assert sum(plant.commands()) == 60000, plant.pm.stats()["reason"]


def test_charge_to_discharge_passes_through_zero_in_every_bank():
    plant = BankPlant().ready()
    plant.pm.set_constant_power(80.0)
    plant.run(8)
    plant.pm.set_constant_power(-80.0)
    was = plant.commands()
    for _ in range(300):
        plant.cycle()
        now = plant.commands()
        assert all(a * b >= 0 for a, b in zip(was, now)) and now[0] * now[1] >= 0, (was, now)
        was = now
    assert near(was[0], -40000) and near(was[1], -40000)


def test_inverters_in_parallel_share_and_one_that_is_lost_is_told():
    plant = BankPlant(((1, 2),), max_charge_power=100, max_discharge_power=100).ready()
    plant.inverters[0].force[im.PCS_P_DIS] = 60000
    plant.inverters[1].force[im.PCS_P_DIS] = 30000
    plant.pm.set_constant_power(45.0)
    plant.run(6)
    assert sum(plant.commands()) == 45000 and near(plant.commands()[0], 30000), plant.commands()
    plant.inverters[0].silent = True
    plant.run(3)
    assert plant.commands() == [0, 30000], plant.commands()
    assert plant.pm.stats()["faults"] == ["inverter_silent"] and plant.pm.mode == Mode.DISCHARGE
    plant.inverters[0].silent = False
    plant.run(5)
    assert sum(plant.commands()) == 45000 and not plant.pm.stats()["faults"]


def test_an_inverter_that_says_it_can_everything_leaves_the_sum_as_it_is():
    for sign in (1, -1):
        plant = BankPlant(((1, 3),), max_charge_power=100, max_discharge_power=100).ready()
        plant.inverters[0].force[im.PCS_P_DIS] = plant.inverters[0].force[im.PCS_P_CHG] = 2000000
        plant.pm.set_constant_power(80.0 * sign)
        plant.run(6)
        assert sum(plant.commands()) == 80000 * sign and near(plant.commands()[1], plant.commands()[2]), plant.commands()


class Stuck(BankPlant):
    """An inverter that is not heard keeps the last power it was told, or what is in `keeps`."""

    keeps = None

    def _move(self, bank, dt):
        for one in self.inverters:
            if not one.silent and one.image.now[im.CMD_SEQ] != one.seq:
                one.seq = one.image.now[im.CMD_SEQ]
                one.power = one.image.now[im.CMD_P] if one.image.now[im.CMD_RUN] and one.image.now[im.CMD_CONTACTOR] else 0
            elif one.silent and self.keeps is not None:
                one.power = self.keeps
        dc = sum([one.power / EFFICIENCY if one.power > 0 else one.power * EFFICIENCY for one in self.inverters])
        for one in self.batteries:
            one.amps = dc / 643.5
            self._write_battery(one)
        for one in self.inverters:
            if not one.silent:
                self._write_inverter(one)


def test_what_a_silent_inverter_may_still_be_doing_is_not_given_to_the_others():
    for amps, power in ((60, 100.0), (60, -100.0), (120, 100.0), (120, -100.0), (40, 100.0)):
        plant = Stuck(((1, 2),), max_charge_power=100, max_discharge_power=100)
        battery = plant.batteries[0]
        battery.force = {im.BMS_I_CHG: amps * 10, im.BMS_I_DIS: amps * 10}
        plant.ready()
        plant.pm.set_constant_power(power)
        plant.run(12)
        before = plant.commands()
        assert near(abs(battery.amps), amps, 2)
        plant.inverters[0].silent = True
        for _ in range(60 * 20):
            plant.cycle()
            assert abs(battery.amps) <= amps * 1.03, (amps, power, battery.amps, plant.commands())
        assert plant.commands()[0] == 0 and near(plant.commands()[1], before[1], 5), (before, plant.commands())
        assert plant.pm.stats()["faults"] == ["inverter_silent"], plant.pm.stats()["faults"]
        plant.inverters[0].silent = False
        plant.run(12)
        assert near(abs(battery.amps), amps, 2) and near(plant.commands()[0], before[0], 5), plant.commands()


def test_a_silent_inverter_that_the_battery_s_current_shows_to_have_stopped_leaves_the_battery_to_the_others():
    for power in (100.0, -100.0):
        plant = Stuck(((1, 2),), max_charge_power=100, max_discharge_power=100).ready()
        plant.batteries[0].force = {im.BMS_I_CHG: 600, im.BMS_I_DIS: 600}
        plant.pm.set_constant_power(power)
        plant.run(12)
        whole = sum(plant.commands())
        plant.inverters[0].silent = True
        plant.keeps = 0
        plant.run(2)
        assert abs(sum(plant.commands())) < 0.6 * abs(whole), "not known yet"
        plant.run(20)
        assert plant.commands()[0] == 0 and near(plant.commands()[1], whole, 3), (whole, plant.commands())
        assert near(abs(plant.batteries[0].amps), 60, 3) and plant.pm.mode != Mode.STANDBY


def test_devices_in_parallel_know_of_the_type_of_grid_connection_as_one_alone_does():
    """Their drivers go by it: what a frequency says of the grid."""
    plant = BankPlant(((2, 2), (1, 1)), grid_connection="BACKUP").ready()
    images = plant.image.inverters + plant.image.batteries
    assert [each.par[im.PAR_GRID_TYPE] for each in images] == [Grid.BACKUP] * 6
    plant.pm.set_grid_connection(Grid.EXPORT)
    plant.cycles(1)
    assert [each.par[im.PAR_GRID_TYPE] for each in images] == [Grid.EXPORT] * 6


def test_batteries_in_parallel_are_bounded_by_the_weakest_and_all_are_needed():
    plant = BankPlant(((2, 1),), max_charge_power=100, max_discharge_power=100).ready()
    plant.batteries[0].force[im.BMS_I_DIS] = 200  # 20 A each, so 40 A together: some 24.5 kW
    plant.pm.set_constant_power(100.0)
    plant.run(8)
    assert near(plant.commands()[0], 40 * 643.5 * 0.95, 2), plant.commands()
    plant.batteries[1].silent = True
    plant.run(TRIP_S)
    assert plant.commands() == [0] and plant.pm.mode == Mode.STANDBY
    assert "bms_lost" in plant.pm.stats()["faults"]


def test_batteries_in_parallel_that_allow_1000_a_together_are_bounded_by_them():
    low = {"module_count": 1, "cells_per_module": 16, "module_energy": 16, "system_voltage_nominal": 51.2}
    low.update({"internal_resistance": 0.01, "max_charge_power": 100, "max_discharge_power": 100})
    for amps in (249, 250, 300):
        for sign in (1, -1):
            plant = BankPlant(((4, 2),), (low,), **low)
            for battery in plant.batteries:
                battery.force = {im.BMS_V: 515, im.BMS_V_MAX: 568, im.BMS_V_MIN: 448, im.BMS_I: 0}
                battery.force.update({im.BMS_I_CHG: amps * 10, im.BMS_I_DIS: amps * 10, im.CELL_V_MAX: 3220, im.CELL_V_MIN: 3210})
            for inverter in plant.inverters:
                inverter.force = {im.PCS_DC_V: 515, im.PCS_DC_I: im.NO_VALUE}
            plant.ready()
            plant.pm.set_constant_power(100.0 * sign)
            plant.run(8)
            most = 4 * amps * 51.5
            dc = sum(plant.commands()) / 0.95 if sign > 0 else -sum(plant.commands()) * 0.95
            assert 0.8 * most < dc <= most, (amps, plant.commands(), plant.pm.stats()["reason"])


def packs(without=(), number=2):
    """Batteries in parallel, of which some never send their cells' groups; each one's `mute`: groups that it does not send."""
    plant = BankPlant(((number, 1),), max_charge_power=100, max_discharge_power=100)
    for battery in plant.batteries:
        mute(battery, ())
    for each in without:
        plant.batteries[each].force.update(NO_CELLS)
        mute(plant.batteries[each], (im.SEQ_BMS_CELLS, im.SEQ_BMS_TEMPS))
    return plant


def mute(battery, groups):
    heard = type(battery.image).heard
    image = battery.image

    def instead(seq):
        if seq not in groups:
            heard(image, seq)

    image.heard = instead


def test_one_reading_beyond_a_trip_latches_whatever_the_others_in_parallel_send():
    cases = (
        ((0, 1), 0, {im.BMS_TEMP: 900}, "over_temperature"),
        ((0, 1), 1, {im.BMS_TEMP: 900}, "over_temperature"),
        ((1,), 0, {im.CELL_T_MAX: 750}, "over_temperature"),
        ((1,), 1, {im.BMS_TEMP: 750}, "over_temperature"),
        ((1,), 0, {im.CELL_V_MAX: 3800}, "cell_over_voltage"),
        ((0,), 1, {im.CELL_V_MAX: 3800}, "cell_over_voltage"),
        ((1,), 0, {im.CELL_V_MIN: 1900}, "cell_under_voltage"),
        ((), 0, {im.CELL_V_MAX: 3800}, "cell_over_voltage"),
    )
    for without, number, force, fault in cases:
        for power in (30.0, -30.0):
            plant = packs(without).ready()
            plant.pm.set_constant_power(power)
            plant.run(4)
            assert plant.commands() == [int(power * 1000)], plant.pm.stats()["reason"]
            plant.batteries[number].force.update(force)
            plant.run(3)
            assert plant.pm.mode == Mode.EMERGENCY and fault in plant.pm.stats()["faults"], (without, number, force)
            assert plant.commands() == [0]
            plant.run(8)
            assert plant.now[im.CMD_CONTACTOR] == 0


def test_a_pack_beyond_a_trip_latches_though_another_s_reading_is_refused_or_it_is_silent():
    for number, other in ((0, 1), (1, 0)):
        for refused, force, fault in (
            ({im.CELL_V_MAX: im.NO_VALUE, im.BMS_ODD: 1 << im.CELL_V_MAX - im.BMS_SOC}, {im.CELL_V_MAX: 3800}, "cell_over_voltage"),
            ({im.BMS_TEMP: im.NO_VALUE, im.CELL_T_MAX: im.NO_VALUE}, {im.CELL_T_MAX: 750}, "over_temperature"),
            (None, {im.CELL_T_MAX: 750}, "over_temperature"),
        ):
            plant = packs().ready()
            plant.pm.set_constant_power(-30.0)
            plant.run(4)
            if refused is None:
                plant.batteries[other].silent = True
            else:
                plant.batteries[other].force.update(refused)
            plant.batteries[number].force.update(force)
            plant.run(3)
            seen = plant.pm.stats()["faults"]
            assert plant.pm.mode == Mode.EMERGENCY and fault in seen, (number, force, seen)


def test_of_packs_in_parallel_too_one_reading_alone_latches_nothing_and_is_told():
    plant = packs((1,)).ready()
    plant.pm.set_constant_power(30.0)
    plant.run(4)
    for slot, value in ((im.CELL_V_MAX, 3800), (im.CELL_T_MAX, 900)):
        plant.batteries[0].force[slot] = value
        plant.cycle()
        del plant.batteries[0].force[slot]
        plant.run(1)
        assert plant.pm.mode != Mode.EMERGENCY and "bms_value" in plant.pm.stats()["faults"], plant.pm.stats()["faults"]
        detail = [each["detail"] for each in plant.pm.faults() if each["name"] == "bms_value"]
        assert "was not believed" in detail[0], detail
        plant.run(10)


def test_what_a_pack_in_parallel_once_sent_must_go_on_coming_whatever_the_others_never_send():
    for group, never in ((im.SEQ_BMS_CELLS, ()), (im.SEQ_BMS_TEMPS, ()), (im.SEQ_BMS_FLAGS, ())) + tuple(
        (group, silent)
        for group in (im.SEQ_BMS_CELLS, im.SEQ_BMS_TEMPS, im.SEQ_BMS_FLAGS)
        for silent in ((0,), (2,), (0, 2))
    ):
        plant = packs(number=3)
        for each in never:
            mute(plant.batteries[each], (group,))
        plant.ready()
        plant.pm.set_constant_power(-30.0)
        plant.run(6)
        assert plant.commands() == [-30000], (group, never, plant.pm.stats()["reason"])
        mute(plant.batteries[1], (group,))
        plant.run(4)
        assert plant.commands() == [0] and plant.pm.stats()["missing"], (group, never)
        plant.run(TRIP_S)
        assert "bms_lost" in plant.pm.stats()["faults"], (group, never, plant.pm.stats()["faults"])
        mute(plant.batteries[1], ())
        plant.run(15)
        assert plant.commands() == [-30000], (group, never, plant.pm.stats()["reason"])


def test_up_to_four_of_each():
    plant = BankPlant(((1, 1),) * 4, max_charge_power=400, max_discharge_power=400, max_grid_export_power=400).ready()
    plant.pm.set_constant_power(300.0)
    plant.run(20)
    assert sum(plant.commands()) == 300000 and all(near(watts, 75000) for watts in plant.commands())
    stats = plant.pm.stats()
    assert len(stats["banks"]) == len(stats["batteries"]) == len(stats["inverters"]) == 4
    assert stats["command"] == 300 and near(stats["power"], 300)


def test_an_island_is_served_by_all():
    plant = BankPlant(grid_connection=1)
    plant.grid = False
    plant.load = 70000
    plant.cycles(2)
    plant.pm.start()
    plant.run(4)
    assert sum(plant.commands()) == 70000 and plant.pm.stats()["requested_by"] == "island", plant.pm.stats()["reason"]


def test_every_bank_serves_an_island_in_the_cycle_that_sees_the_grid_go():
    for watts in (-40.0, 0.0):
        plant = BankPlant(grid_connection=1, ramp_up=1).ready()
        plant.load = 70000
        if watts:
            plant.pm.set_constant_power(watts)
            plant.run(50)
            assert sum(plant.commands()) == watts * 1000
        plant.grid = False
        plant.cycles(4)
        assert sum(plant.commands()) == 70000, (plant.commands(), plant.pm.stats()["reason"])
        assert not any(bank.now[im.BREACHES] for bank in plant.image.banks)


def test_restarts_of_one_bank_are_its_own():
    plant = BankPlant(restart_limit=1, restart_delay=0).ready()
    plant.pm.set_constant_power(60.0)
    plant.run(5)
    for _ in range(2):
        plant.batteries[0].silent = True
        plant.run(TRIP_S)
        plant.batteries[0].silent = False
        plant.run(TRIP_S)
    assert plant.commands() == [0, 60000] and plant.bank(0)["mode"] == "STANDBY"
    assert "restarts are used up" in plant.bank(0)["reason"], plant.bank(0)["reason"]
    plant.pm.start()
    plant.run(TRIP_S)
    assert near(plant.commands()[0], 30000)


def test_maintenance_moves_its_small_power_through_all():
    plant = BankPlant().ready()
    plant.pm.set_mode(Mode.MAINTENANCE)
    plant.run(1)
    assert plant.commands() == [0, 0]
    plant.pm.service(contactor=True, pcs=True, kw=4.0, seconds=5)
    plant.run(3)
    assert sum(plant.commands()) == 4000, plant.commands()
    plant.run(4)
    assert plant.commands() == [0, 0]


def test_a_bank_that_comes_back_costs_nothing_while_it_rises():
    for sign in (1, -1):
        plant = BankPlant(((1, 1),) * 3, ramp_up=5).ready()
        plant.pm.set_constant_power(90.0 * sign)
        plant.run(25)
        plant.inverters[2].silent = True
        plant.run(15)
        assert sum(plant.commands()) == 90000 * sign and near(plant.commands()[0], 45000 * sign) and plant.commands()[2] == 0
        plant.inverters[2].silent = False
        was = 0
        for _ in range(300):
            plant.cycle()
            now = plant.commands()
            assert sum(now) == 90000 * sign and near(now[0], now[1]), now
            assert 0 <= now[2] * sign - was <= 251, (was, now)
            was = now[2] * sign
        assert near(was, 30000)


def test_a_bank_rises_by_the_ramp_where_a_grid_carries_the_load_of_an_isolated_site():
    plant = BankPlant(grid_connection=0)
    plant.load = 60000
    plant.pm.start()
    plant.run(6)
    assert sum(plant.commands()) == 60000 and plant.pm.stats()["requested_by"] == "island", plant.pm.stats()["reason"]
    plant.inverters[0].force[im.PCS_P_DIS] = 10000
    was = plant.commands()
    for _ in range(100):
        plant.cycle()
        now = plant.commands()
        assert now[1] - was[1] <= 1001, (was, now)
        was = now
    assert sum(plant.commands()) == 60000 and near(plant.commands()[0], 5454.5), plant.commands()


def test_each_bank_has_its_own_floor_and_the_operation_ends_at_the_last_one():
    plant = BankPlant(powers=({}, {"min_soc": 5}))
    plant.batteries[0].soc, plant.batteries[1].soc = 30.0, 15.0
    plant.ready()
    plant.pm.start_discharging(60.0)
    plant.run(6)
    assert sum(plant.commands()) == 60000 and plant.commands()[1] > 20000, plant.commands()
    plant.batteries[0].soc = 19.0
    plant.run(6)
    assert plant.commands() == [0, 60000] and plant.pm.mode == Mode.DISCHARGE, plant.pm.stats()["reason"]
    assert not plant.pm.stats()["faults"] or "breach" not in plant.pm.stats()["faults"]
    plant.batteries[1].soc = 4.0
    plant.run(6)
    assert plant.commands() == [0, 0] and Event.DISCHARGE_COMPLETE in [event for event, _ in plant.told]
    assert plant.now[im.BREACHES] == 0


def test_each_bank_has_its_own_ceiling_and_the_charge_ends_at_the_last_one():
    for target, ends in ((0.0, 90.5), (80.0, 80.5)):
        plant = BankPlant(powers=({"max_soc": 70}, {}))
        plant.batteries[0].soc, plant.batteries[1].soc = 60.0, 75.0
        plant.ready()
        plant.pm.start_charging(target)
        plant.run(8)
        assert plant.commands()[0] < -40000 and plant.commands()[1] < -40000, plant.commands()
        plant.batteries[1].soc = ends
        plant.run(8)
        assert plant.commands()[0] < -40000 and plant.commands()[1] == 0, plant.commands()
        assert Event.CHARGE_COMPLETE not in [event for event, _ in plant.told]
        plant.batteries[0].soc = 70.5
        plant.run(8)
        assert plant.commands() == [0, 0] and Event.CHARGE_COMPLETE in [event for event, _ in plant.told]


def test_a_bms_that_asks_for_its_full_charge_is_waited_for_and_the_others_stay_at_their_ceiling():
    plant = BankPlant()
    plant.batteries[0].soc, plant.batteries[1].soc = 90.5, 95.0
    plant.batteries[1].force[im.BMS_REQUESTS] = im.BMS_REQ_FULL_CHARGE
    plant.ready()
    plant.pm.start_charging()
    plant.run(8)
    assert plant.commands()[0] == 0 and plant.commands()[1] < 0, plant.commands()
    plant.batteries[1].soc = 100.0
    plant.run(8)
    assert plant.commands() == [0, 0] and Event.CHARGE_COMPLETE in [event for event, _ in plant.told]


def test_a_bank_that_connects_while_the_others_are_empty_gives_at_once_and_breaks_no_rule():
    plant = BankPlant(ramp_up=1000)
    plant.batteries[0].soc, plant.batteries[1].soc = 12.0, 22.0
    plant.batteries[1].silent = True
    plant.inverters[1].force[im.PCS_STATE] = im.PCS_RUNNING  # it does not stop when it is told to
    plant.cycles(2)
    plant.pm.start()
    plant.run(TRIP_S)
    plant.pm.claim("remote", 30.0, 600, "test")
    plant.run(1)
    assert plant.commands() == [0, 0] and plant.pm.mode == Mode.DISCHARGE
    plant.batteries[1].silent = False
    for _ in range(200):
        plant.cycle()
        assert plant.now[im.BREACHES] == 0, plant.now[im.BREACH]
    assert plant.commands() == [0, 30000], plant.pm.stats()["reason"]


def test_maintenance_takes_from_the_bank_that_has_something_though_they_have_little_together():
    plant = BankPlant()
    plant.batteries[0].soc, plant.batteries[1].soc = 10.0, 24.0
    plant.ready()
    plant.pm.set_mode(Mode.MAINTENANCE)
    plant.pm.service(contactor=True, pcs=True, kw=4.0, seconds=5)
    plant.run(3)
    assert plant.commands() == [0, 4000] and plant.now[im.BREACHES] == 0, plant.commands()


# ---- what one bank or inverter says is not everybody's --------------------------------------------------------------


def test_an_inverter_whose_own_breaker_is_open_takes_no_grid_from_the_others():
    for shape in (((1, 1), (1, 1)), ((1, 2),)):
        plant = BankPlant(shape, grid_connection=Grid.INTERACTIVE).ready()
        plant.run(2)
        plant.inverters[0].force[im.PCS_GRID] = 0
        plant.run(2)
        assert plant.pm.stats()["grid_connected"] is True and plant.told.count((Event.GRID_DISCONNECTED, 0)) == 0
        plant.pm.set_constant_power(60)
        plant.run(10)
        assert sum(plant.commands()) == 60000, plant.pm.stats()["reason"]
        plant.inverters[-1].force[im.PCS_GRID] = 0
        plant.run(1)
        assert plant.pm.stats()["grid_connected"] is False, "but where none sees it, it is gone"


def test_a_charge_of_banks_of_different_voltage_ends_when_each_has_its_own():
    low = {"module_count": 8}
    plant = BankPlant(powers=({}, low), grid_connection=Grid.INTERACTIVE)
    small = plant.batteries[1]
    small.force.update({im.BMS_V: 3960, im.BMS_V_MAX: 4320, im.BMS_V_MIN: 3200})
    plant.batteries[0].force[im.BMS_V_MAX] = 7020
    plant.inverters[1].force[im.PCS_DC_V] = 3960
    plant.inverters[1].force[im.PCS_DC_I] = im.NO_VALUE
    plant.inverters[0].force[im.PCS_DC_I] = im.NO_VALUE
    plant.ready()
    plant.pm.set_charge_params(ChargeParams(tail_current=200.0))
    plant.pm.start_charging()
    plant.run(20)
    assert plant.pm.mode == Mode.CHARGE and not [1 for event, _ in plant.told if event == Event.CHARGE_COMPLETE], plant.pm.stats()
    plant.batteries[0].force[im.BMS_V] = 7010
    plant.run(20)
    assert plant.pm.mode == Mode.CHARGE, "the other one is not there yet"
    small.force[im.BMS_V] = 4315
    plant.run(20)
    assert "the tail current is reached" in plant.pm.stats()["last_end"], plant.pm.stats()


def test_an_operation_ends_where_one_battery_has_ended_it_and_the_other_is_at_its_target():
    for sign, socs, slot, said in (
        (-1, (93.0, 94.9), im.BMS_I_CHG, Event.CHARGE_COMPLETE),
        (1, (8.0, 5.1), im.BMS_I_DIS, Event.DISCHARGE_COMPLETE),
    ):
        plant = BankPlant(min_soc=5, max_soc=100)
        for one, soc in zip(plant.batteries, socs):
            one.soc = soc
        plant.ready()
        if sign < 0:
            plant.pm.start_charging(95.0)
        else:
            plant.pm.start_discharging()
        plant.batteries[0].force[slot] = 0
        plant.run(40)
        plant.batteries[1].soc = 95.6 if sign < 0 else 4.4
        plant.run(15)
        assert said not in [event for event, _ in plant.told], "a BMS that gives nothing has a minute"
        plant.run(10)
        assert said in [event for event, _ in plant.told] and plant.pm.mode == Mode.IDLE, plant.pm.stats()["reason"]


def test_one_battery_that_has_ended_leaves_the_operation_to_the_other():
    plant = BankPlant(min_soc=5, max_soc=100)
    plant.batteries[0].soc, plant.batteries[1].soc = 93.0, 60.0
    plant.ready()
    plant.pm.start_charging(95.0)
    plant.batteries[0].force[im.BMS_I_CHG] = 0
    plant.run(90)
    assert plant.pm.mode == Mode.CHARGE and plant.commands()[1] < -50000, plant.pm.stats()["reason"]
    plant.batteries[0].force.clear()
    plant.run(5)
    assert plant.commands()[0] < -20000, "and it takes part again when it may"


def test_a_charge_ends_where_one_bank_is_at_its_ceiling_and_the_other_holds_its_voltage():
    plant = BankPlant()
    plant.batteries[0].soc = 90.6
    for number in (0, 1):
        plant.inverters[number].force[im.PCS_DC_I] = im.NO_VALUE
    plant.batteries[1].force[im.BMS_V_MAX] = 7020
    plant.ready()
    plant.pm.set_charge_params(ChargeParams(tail_current=200.0))
    plant.pm.start_charging()
    plant.run(20)
    assert plant.pm.mode == Mode.CHARGE, plant.pm.stats()["reason"]
    plant.batteries[1].force[im.BMS_V] = 7010
    plant.run(10)
    assert "the tail current is reached" in plant.pm.stats()["last_end"], plant.pm.stats()["reason"]


# ---- a forced charge is of the battery that asks for it -----------------------------------------------------------------


def asking(soc=15.0, other=50.0, **config):
    """Two banks, of which the first wants to be charged."""
    plant = BankPlant(**config)
    plant.batteries[0].soc, plant.batteries[1].soc = soc, other
    plant.ready()
    plant.batteries[0].force = {im.BMS_REQUESTS: im.BMS_REQ_FORCE_CHARGE}
    return plant


def test_a_forced_charge_is_of_the_bank_that_asks_for_it_alone():
    for ask in (lambda pm: None, lambda pm: pm.stop_operation(), lambda pm: pm.set_constant_power(0)):
        plant = asking()
        ask(plant.pm)
        plant.run(5)
        assert plant.commands() == [-5000, 0], plant.pm.stats()["reason"]
    plant.batteries[1].force = {im.BMS_REQUESTS: im.BMS_REQ_FORCE_CHARGE}
    plant.run(5)
    assert sum(plant.commands()) == -10000 and near(plant.commands()[0], -5000, 0.1)
    plant.batteries[0].force = {}
    plant.run(5)
    assert plant.commands() == [0, -5000]


def test_a_forced_charge_leaves_a_discharge_to_the_others():
    for ask in (lambda pm: pm.set_constant_power(40), lambda pm: pm.claim("remote", 40, 600, "ems")):
        plant = asking(50.0)
        plant.run(1)
        assert (ask(plant.pm) or "accepted") == "accepted", "nothing has priority over it"
        plant.run(6)
        assert list(waiting(plant.pm.instant())) == [], "and neither waits"
        assert plant.commands() == [-5000, 45000], (plant.commands(), plant.pm.stats()["reason"])
        assert plant.pm.mode == Mode.DISCHARGE and plant.bank(0)["mode"] == "CHARGE", plant.bank(0)
        plant.run(60)
        assert plant.commands() == [-5000, 45000] and plant.now[im.CMD_P] == 40000
        assert plant.pm.stats()["faults"] == [] and plant.now[im.BREACHES] == 0
        plant.batteries[0].force = {}
        plant.run(10)
        assert sum(plant.commands()) == 40000 and near(plant.commands()[0], 20000, 0.1), plant.pm.stats()["reason"]
        assert [bank.now[im.BREACHES] for bank in plant.image.banks] == [0, 0]
        plant.batteries[0].force = {im.BMS_REQUESTS: im.BMS_REQ_FORCE_CHARGE}
        plant.run(10)
        assert plant.commands() == [-5000, 45000], "it turns amid a discharge"
        assert [bank.now[im.BREACHES] for bank in plant.image.banks] == [0, 0]


def test_a_forced_charge_gives_way_where_who_carries_it_is_lost():
    for lost in ("batteries", "inverters"):
        plant = BankPlant(((1, 1),) * 3, ramp_up=10.0)
        for battery, soc in zip(plant.batteries, (50.0, 50.0, 50.0)):
            battery.soc = soc
        plant.ready()
        plant.inverters[2].force[im.PCS_P_DIS] = 2000  # the third can hardly help
        plant.batteries[0].force = {im.BMS_REQUESTS: im.BMS_REQ_FORCE_CHARGE}
        plant.pm.set_constant_power(1.0)
        plant.run(6)
        assert plant.commands()[0] == -5000 and sum(plant.commands()) == 1000, (plant.commands(), plant.pm.stats()["reason"])
        getattr(plant, lost)[1].silent = True
        for _ in range(200):
            plant.cycle()
            assert sum(plant.commands()) == plant.now[im.CMD_P] >= 0 or plant.pm.mode == Mode.CHARGE, plant.commands()
        assert plant.now[im.BREACHES] == 0 and [bank.now[im.BREACHES] for bank in plant.image.banks] == [0, 0, 0]
        assert -2000 <= plant.commands()[0] < 0, (plant.commands(), plant.pm.stats()["reason"])


def test_a_forced_charge_amid_a_discharge_at_the_limit_and_to_its_end():
    plant = asking(other=20.9, soc_taper=0.5)
    plant.pm.set_constant_power(150)
    plant.run(12)
    assert plant.commands() == [-5000, 100000] and plant.now[im.CMD_P] == 95000, plant.pm.stats()["reason"]
    plant.run(200)
    assert plant.commands() == [-5000, 0] and plant.pm.mode == Mode.CHARGE, plant.pm.stats()["reason"]
    assert plant.told.count((Event.DISCHARGE_COMPLETE, 5)) == 1
    assert [bank.now[im.BREACHES] for bank in plant.image.banks] == [0, 0]


def test_a_forced_charge_where_nothing_may_be_discharged_is_not_held_up_by_what_is_asked():
    plant = asking(grid_connection=Grid.BACKUP)
    plant.pm.set_constant_power(40)
    plant.run(6)
    assert plant.commands() == [-5000, 0], plant.pm.stats()["reason"]
    plant.grid = False  # an island is served by who can
    plant.run(6)
    assert plant.commands() == [0, 20000], plant.pm.stats()["reason"]
    assert [bank.now[im.BREACHES] for bank in plant.image.banks] == [0, 0]
