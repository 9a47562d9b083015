"""Several batteries and inverters: what one bank's odd trouble may not do to the others, and what people read of it."""

from firmware import image as im
from firmware.errors import PowerError
from firmware.kernel import banks, ramp
from firmware.modes import Mode
from host_tests.both.bankplant import BankPlant
from host_tests.both.plant import Plant, refusal

NONE = im.NO_VALUE
TRIP_S = 6


def near(value, wanted, percent=1.0):
    return abs(value - wanted) <= abs(wanted) * percent / 100


def test_power_does_not_dip_while_a_bank_comes_back():
    for sign in (1, -1):
        plant = BankPlant().ready()
        plant.pm.set_constant_power(90.0 * sign)
        plant.inverters[0].force[im.PCS_P_DIS] = plant.inverters[0].force[im.PCS_P_CHG] = 0
        plant.run(10)
        assert plant.commands() == [0, 90000 * sign]
        plant.inverters[0].force.clear()
        for _ in range(120):
            before = plant.commands()
            plant.cycle()
            assert sum(plant.commands()) == 90000 * sign, plant.commands()
            assert (plant.commands()[0] - before[0]) * sign <= 1000 + 1, "it rises by its ramp"
        assert near(plant.commands()[0], 45000 * sign) and plant.now[im.BREACHES] == 0
        plant.inverters[1].force[im.PCS_P_DIS] = plant.inverters[1].force[im.PCS_P_CHG] = 10000
        plant.cycle()
        assert abs(plant.commands()[1]) <= 10000, "a limit that falls binds at once"


def test_what_one_battery_or_inverter_does_not_measure_costs_its_own_bank_alone():
    cases = (
        ("batteries", {im.BMS_V: 0, im.BMS_SOC: 0, im.BMS_I: 0}),
        ("batteries", {im.BMS_I: NONE}),
        ("batteries", {im.BMS_V: NONE}),
        ("batteries", {im.BMS_SOC: NONE}),
        ("batteries", {im.BMS_TEMP: NONE, im.CELL_T_MAX: NONE, im.CELL_T_MIN: NONE}),
        ("inverters", {im.PCS_P: NONE}),
        ("inverters", {im.PCS_STATE: NONE}),
    )
    for kind, force in cases:
        for number in (0, 1):
            plant = BankPlant().ready()
            plant.pm.set_constant_power(60.0)
            plant.run(8)
            getattr(plant, kind)[number].force.update(force)
            plant.run(4)
            wanted = [60000, 60000]
            wanted[number] = 0
            assert plant.commands() == wanted, (kind, force, number, plant.pm.stats()["reason"])


def test_a_battery_that_boots_with_zeros_does_not_keep_the_other_from_starting():
    plant = BankPlant()
    plant.batteries[0].force.update({im.BMS_V: 0, im.BMS_SOC: 0, im.BMS_I_CHG: 0, im.BMS_I_DIS: 0})
    plant.cycles(2)
    plant.pm.start()
    plant.cycles(4)
    plant.pm.set_constant_power(30.0)
    plant.run(5)
    assert plant.commands() == [0, 30000], plant.pm.stats()["reason"]


def test_a_power_that_is_not_measured_does_not_spoil_what_the_site_exports():
    plant = BankPlant(max_grid_export_power=30.0).ready()
    plant.load = 10000
    plant.pm.set_constant_power(150.0)
    plant.run(10)
    plant.inverters[0].force[im.PCS_P] = NONE
    for _ in range(200):
        plant.cycle()
        assert plant.load - sum(plant.commands()) >= -30000, plant.commands()


def test_batteries_that_report_slowly_by_their_own_bank_s_period():
    own = {"bms_period_ms": 5000}
    plant = BankPlant(powers=(own, own)).ready()
    plant.pm.set_constant_power(60.0)
    plant.run(8)
    for cycle in range(400):
        for battery in plant.batteries:
            battery.silent = cycle % 100 != 0
        plant.cycle()
        assert sum(plant.commands()) == 60000, plant.pm.stats()["reason"]


def test_the_floor_of_a_bank_is_its_own_and_no_breach():
    plant = BankPlant(powers=({"min_soc": 5}, {"min_soc": 10}), min_soc=20)
    for battery in plant.batteries:
        battery.soc = 16
    plant.ready()
    plant.pm.set_constant_power(30.0)
    plant.run(5)
    assert sum(plant.commands()) == 30000 and plant.now[im.BREACHES] == 0, plant.pm.stats()["reason"]
    plant.batteries[1].soc = 9
    plant.run(5)
    assert plant.commands() == [30000, 0], plant.pm.stats()["reason"]
    plant.batteries[0].soc = 4.4
    plant.run(5)
    assert plant.commands() == [0, 0] and "floor" in plant.pm.stats()["last_end"], plant.pm.stats()["reason"]


def test_the_ceiling_of_a_bank_is_its_own_and_a_charge_ends_when_each_is_at_its():
    plant = BankPlant(powers=({"max_soc": 60}, {"max_soc": 95}), max_soc=80)
    plant.batteries[0].soc, plant.batteries[1].soc = 50, 85
    plant.ready()
    plant.pm.start_charging()
    plant.run(5)
    assert all(watts < 0 for watts in plant.commands())
    plant.batteries[0].soc = 60.6
    plant.run(5)
    assert plant.commands()[0] == 0 and plant.commands()[1] < 0, plant.pm.stats()["reason"]
    plant.batteries[1].soc = 95.6
    plant.run(5)
    assert plant.commands() == [0, 0] and "target" in plant.pm.stats()["last_end"], plant.pm.stats()["reason"]


def test_service_near_the_floor_is_no_breach():
    plant = BankPlant(min_soc=10)
    plant.batteries[0].soc, plant.batteries[1].soc = 5, 12
    plant.ready()
    plant.pm.set_mode(Mode.MAINTENANCE)
    plant.run(1)
    plant.pm.service(contactor=True, pcs=True, kw=3.0, seconds=5)
    plant.run(3)
    assert plant.commands() == [0, 3000] and not plant.pm.stats()["faults"], plant.pm.stats()["reason"]


def test_a_fault_in_one_bank_ends_service_in_all_at_once():
    plant = BankPlant().ready()
    plant.pm.set_mode(Mode.MAINTENANCE)
    plant.run(1)
    plant.pm.service(contactor=True, pcs=True, kw=3.0, seconds=60)
    plant.run(3)
    assert sum(plant.commands()) == 3000
    plant.inverters[0].force[im.PCS_STATE] = im.PCS_FAULT
    while not plant.image.banks[0].now[im.FAULTS]:
        plant.cycle()
    assert plant.commands() == [0, 0]
    plant.run(1)
    for bank in plant.image.banks:
        assert bank.now[im.CMD_CONTACTOR] == 0 and bank.now[im.CMD_RUN] == 0 and bank.now[im.MODE] == Mode.MAINTENANCE


def served():
    """In maintenance, bank b's BMS is dead."""
    plant = BankPlant().ready()
    plant.batteries[1].silent = True
    plant.run(TRIP_S)
    plant.pm.set_mode(Mode.MAINTENANCE)
    plant.run(1)
    return plant


def contactors(plant):
    return [bank.now[im.CMD_CONTACTOR] for bank in plant.image.banks]


def test_one_bank_is_served_while_another_has_a_dead_bms():
    for kw in (3.0, -3.0):
        plant = served()
        assert "bms_lost of bank b" in refusal(PowerError, plant.pm.service, True)
        assert "bms_lost of bank b" in refusal(PowerError, plant.pm.service, True, bank="b")
        plant.pm.service(contactor=True, pcs=True, kw=kw, seconds=5, bank="a")
        plant.run(3)
        assert plant.commands() == [int(kw * 1000), 0] and contactors(plant) == [1, 0], plant.commands()
        plant.run(4)
        assert plant.commands() == [0, 0] and contactors(plant) == [0, 0], "its time is over"
        assert plant.now[im.BREACHES] == 0


def test_a_fault_of_the_bank_that_is_served_ends_it_and_one_of_another_does_not():
    for number, ends in ((0, True), (1, False)):
        plant = BankPlant().ready()
        plant.pm.set_mode(Mode.MAINTENANCE)
        plant.run(1)
        plant.pm.service(contactor=True, pcs=True, kw=3.0, seconds=60, bank="a")
        plant.run(3)
        assert plant.commands() == [3000, 0]
        plant.inverters[number].force[im.PCS_STATE] = im.PCS_FAULT
        plant.run(3)
        assert plant.commands() == ([0, 0] if ends else [3000, 0]), plant.commands()
        assert bool([claim for claim in plant.pm.claims() if claim["source"] == "maintenance"]) != ends
        plant.silent = (im.SEQ_IO,)  # the site's own
        plant.run(3)
        assert plant.commands() == [0, 0] and not plant.pm.claims()


def test_service_passes_from_one_bank_to_another_and_to_all():
    plant = BankPlant().ready()
    plant.pm.set_mode(Mode.MAINTENANCE)
    plant.run(1)
    for bank, commands in (("a", [3000, 0]), ("b", [0, 3000]), (None, [1499, 1501]), ("a", [3000, 0])):
        plant.pm.service(contactor=True, pcs=True, kw=3.0, seconds=60, bank=bank)
        plant.run(4)
        assert plant.commands() == commands, (bank, plant.commands())
    plant.inverters[0].force[im.PCS_STATE] = im.PCS_FAULT
    plant.run(2)
    assert plant.commands() == [0, 0]
    plant.pm.service(contactor=True, pcs=True, kw=3.0, seconds=60, bank="b")
    plant.run(4)
    assert plant.commands() == [0, 3000] and plant.now[im.BREACHES] == 0


def test_service_names_the_banks_there_are():
    plant = BankPlant().ready()
    plant.pm.set_mode(Mode.MAINTENANCE)
    for bank in ("c", "", 1):
        text = refusal(PowerError, plant.pm.service, True, bank=bank)
        assert "bank = %r" % (bank,) in text and "a, b" in text, text
    plant.run(1)
    assert contactors(plant) == [0, 0] and not plant.pm.claims()
    one = Plant()
    one.pm.set_mode(Mode.MAINTENANCE)
    assert "bank = 'a'" in refusal(PowerError, one.pm.service, True, bank="a")


def test_the_site_s_own_fault_ends_service_in_all_banks():
    plant = BankPlant().ready()
    plant.pm.set_mode(Mode.MAINTENANCE)
    plant.run(1)
    plant.pm.service(contactor=True, pcs=True, kw=3.0, seconds=60)
    plant.run(3)
    plant.silent = (im.SEQ_IO,)
    plant.run(3)
    assert "io_lost" in plant.pm.stats()["faults"]
    for bank in plant.image.banks:
        assert bank.now[im.CMD_CONTACTOR] == 0 and bank.now[im.CMD_RUN] == 0 and bank.now[im.CMD_P] == 0


def test_an_emergency_names_its_bank_and_whether_its_cause_stands():
    plant = BankPlant().ready()
    plant.pm.set_constant_power(60.0)
    plant.run(5)
    plant.batteries[1].force[im.CELL_V_MAX] = 3800
    plant.batteries[1].force[im.BMS_V] = 7400
    plant.run(2)
    reason = plant.pm.stats()["reason"]
    assert "bank b: fault cell_over_voltage: 3800 mV" in reason and "once that is gone" in reason, reason
    assert "bank b" in plant.pm.emergency_reason and "gone" not in plant.pm.emergency_reason
    assert "bank b" in plant.pm.stats()["last_trip"]
    assert "emergency of the site" in plant.bank(0)["reason"], plant.bank(0)["reason"]
    latched = [fault for fault in plant.pm.faults() if fault.get("latched")]
    assert [(fault["name"], fault["bank"], fault["active"]) for fault in latched] == [("cell_over_voltage", "b", True)]
    plant.batteries[1].force.clear()
    plant.run(TRIP_S)
    reason = plant.pm.stats()["reason"]
    assert "bank b: fault cell_over_voltage, which is gone" in reason and "reset_emergency() ends it" in reason, reason
    plant.pm.reset_emergency()
    plant.run(1)
    plant.pm.emergency_shutdown()
    plant.run(1)
    for number in (0, 1):
        assert "cell_over_voltage" not in plant.bank(number)["reason"], "that was another emergency"
    latched = [fault["name"] for fault in plant.pm.faults() if fault.get("latched")]
    assert latched == ["commanded"], latched


def test_a_second_cause_in_the_other_bank_is_told_too():
    plant = BankPlant().ready()
    plant.pm.emergency_shutdown()
    plant.batteries[0].force[im.CELL_V_MAX] = 3800
    plant.batteries[0].force[im.BMS_V] = 7400
    plant.run(2)
    reason = plant.pm.stats()["reason"]
    assert "commanded" in reason and "bank a: fault cell_over_voltage" in reason and "once that is gone" in reason, reason
    assert "cell_over_voltage" in refusal(PowerError, plant.pm.reset_emergency)


def test_an_emergency_of_before_a_reset_is_told_without_a_bank_that_has_it():
    plant = BankPlant()
    plant.pm.restore_emergency(8)
    plant.run(1)
    reason = plant.pm.stats()["reason"]
    assert "fault cell_over_voltage, which is gone, before the last reset" in reason, reason
    assert plant.commands() == [0, 0] and all(bank.now[im.MODE] == Mode.EMERGENCY for bank in plant.image.banks)


def test_a_trip_of_one_bank_is_the_site_s_last_trip_by_its_name():
    plant = BankPlant().ready()
    plant.pm.set_constant_power(60.0)
    plant.run(5)
    plant.batteries[0].silent = True
    plant.run(TRIP_S)
    assert "bank a: bms_lost" in plant.pm.stats()["last_trip"], plant.pm.stats()["last_trip"]


def test_a_bank_of_a_site_that_stands_by_says_so():
    plant = BankPlant().ready()
    plant.silent = (im.SEQ_IO,)
    plant.run(3)
    assert "the site" in plant.bank(0)["reason"] and "start()" not in plant.bank(0)["reason"], plant.bank(0)["reason"]


def test_maintenance_says_which_bank_it_waits_for():
    plant = BankPlant().ready()
    plant.inverters[1].force[im.PCS_P] = 5000
    plant.run(1)
    assert "bank b" in refusal(PowerError, plant.pm.set_mode, Mode.MAINTENANCE)


def parallel(shape):
    plant = BankPlant((shape,), max_charge_power=100, max_discharge_power=100).ready()
    plant.pm.set_constant_power(60.0)
    plant.run(8)
    assert sum(plant.commands()) == 60000
    return plant


def test_what_one_of_several_packs_does_not_measure_is_not_known_of_them():
    odd = 1 << im.CELL_V_MIN - im.BMS_SOC
    cases = (
        {im.BMS_V: NONE},
        {im.BMS_V: 0, im.BMS_SOC: 0},
        {im.BMS_SOC: NONE},
        {im.BMS_I: NONE},
        {im.BMS_I_DIS: NONE},
        {im.BMS_TEMP: NONE, im.CELL_T_MAX: NONE, im.CELL_T_MIN: NONE},
        {im.CELL_V_MIN: NONE, im.BMS_ODD: odd},
    )
    for force in cases:
        for number in (0, 1):
            plant = parallel((2, 1))
            plant.batteries[number].force.update(force)
            plant.run(3)
            assert plant.commands() == [0], (force, number, plant.pm.stats()["reason"])
            plant.batteries[number].force.clear()
            plant.run(20)
            assert plant.commands() == [60000], (force, number, plant.pm.stats()["reason"])


def test_packs_that_never_send_cells_or_their_temperatures_run_without():
    plant = BankPlant(((2, 1),), max_charge_power=100, max_discharge_power=100)
    none = {im.CELL_V_MIN: NONE, im.CELL_V_MAX: NONE, im.CELL_T_MAX: NONE, im.CELL_T_MIN: NONE}
    plant.batteries[1].force.update(none)
    plant.ready()
    plant.pm.set_constant_power(60.0)
    plant.run(8)
    assert plant.commands() == [60000], plant.pm.stats()["reason"]


def test_current_that_circulates_between_packs_is_a_current_that_contactors_would_break():
    plant = parallel((2, 1))
    plant.batteries[0].force[im.BMS_I] = 300
    plant.batteries[1].force[im.BMS_I] = -300
    plant.pm.stop()
    plant.run(2)
    while sum(plant.commands()):
        plant.cycle()
    plant.run(0.5)
    assert plant.image.banks[0].now[im.CMD_CONTACTOR] == 1, "30 A flow from one into the other"
    plant.batteries[0].force[im.BMS_I] = plant.batteries[1].force[im.BMS_I] = 0
    plant.run(0.5)
    assert plant.image.banks[0].now[im.CMD_CONTACTOR] == 0


def test_an_inverter_in_parallel_that_stops_itself_is_told_by_its_name():
    plant = parallel((1, 2))
    plant.image.inverters[0].name = "pcs_left"
    plant.inverters[0].force[im.PCS_STATE] = im.PCS_FAULT
    plant.run(4)
    assert plant.commands() == [0, 60000]
    assert plant.pm.stats()["faults"] == ["inverter_silent"]
    detail = plant.pm.faults()[0]["detail"]
    assert "pcs_left" in detail and "stopped by a fault" in detail, detail
    plant.inverters[0].force.clear()
    plant.inverters[1].silent = True
    plant.run(8)
    assert plant.commands() == [60000, 0]
    detail = plant.pm.faults()[0]["detail"]
    assert "inverter 2 of 2" in detail and "nothing received" in detail, detail


def test_an_inverter_in_parallel_of_unknown_power_is_as_one_that_is_lost():
    plant = parallel((1, 2))
    plant.inverters[1].force[im.PCS_P] = NONE
    plant.run(4)
    assert plant.commands() == [60000, 0] and plant.pm.stats()["faults"] == ["inverter_silent"]


def broken(plant, module, name, spoil):
    """Runs a cycle with a kernel that spoils what it has made, and a second after it with the right one."""
    right = getattr(module, name)

    def wrong(*given):
        right(*given)
        for now in given[1] if isinstance(given[1], list) else given[:1]:  # of all banks in one call, or of the site
            spoil(now)

    setattr(module, name, wrong)
    try:
        plant.cycle()
    finally:
        setattr(module, name, right)
    return plant.commands()


def bound_too_high(now):
    now[im.LIMIT_DIS] = 200000
    now[im.REQUEST_P] = 200000


def too_fast(now):
    now[im.CMD_P] += 5000


def other_sign(now):
    now[im.CMD_P] = -now[im.CMD_P]


def test_a_kernel_that_breaks_a_rule_is_0_w_a_fault_of_its_own_and_told_as_the_firmware_s():
    cases = (
        (ramp, "ramp", too_fast, "faster than its ramp"),
        (banks, "take_portions", too_fast, "faster than its ramp"),
        (banks, "take_portions", other_sign, "against its mode"),
    )
    for module, name, spoil, words in cases:
        plant = BankPlant().ready()
        plant.pm.set_constant_power(60.0)
        plant.run(10)
        site = module is ramp
        commands = broken(plant, module, name, spoil)
        if spoil is other_sign:
            assert commands == [0, 0], (name, commands)
        plant.cycles(2)
        assert "breach" in plant.pm.stats()["faults"], (name, words)
        details = [fault["detail"] for fault in plant.pm.faults() if fault["name"] == "breach"]
        assert details and all(words in text and "fault of this firmware" in text for text in details), details
        assert words in plant.pm.stats()["reason"], plant.pm.stats()["reason"]
        plant.run(1)
        assert plant.commands() == [0, 0]
        assert site or all(bank["mode"] == "STANDBY" for bank in plant.pm.banks())


def test_a_command_while_nothing_may_move_or_beyond_a_limit_is_none():
    plant = BankPlant().ready()
    plant.run(1)
    plant.pm.stop()
    plant.run(2)

    def moves(now):
        now[im.CMD_P] = 700

    assert broken(plant, ramp, "ramp", moves) == [0, 0]
    plant.cycle()
    assert all(bank.now[im.CMD_P] == 0 for bank in plant.image.banks) and plant.now[im.CMD_P] == 0


def test_what_each_bank_gives_is_told_with_its_reason():
    plant = BankPlant().ready()
    plant.pm.set_constant_power(190.0)
    plant.run(12)
    plant.inverters[0].force[im.PCS_P] = NONE
    plant.run(3)
    reason = plant.pm.stats()["reason"]
    assert "bank a gives 0.0 kW by missing_data: the inverter reports no power" in reason, reason
    plant.inverters[0].force.clear()
    plant.batteries[0].silent = True
    plant.run(TRIP_S)
    reason = plant.pm.stats()["reason"]
    assert "by mode" not in reason and "bank a gives nothing in STANDBY" in reason and "bms_lost" in reason, reason


def test_a_refusal_names_the_bank_whose_fault_refuses():
    plant = BankPlant().ready()
    plant.pm.stop()
    plant.run(3)
    plant.batteries[1].silent = True
    plant.run(TRIP_S)
    plant.pm.set_mode(Mode.MAINTENANCE)
    assert "bms_lost of bank b" in refusal(PowerError, plant.pm.service, True, True)
    plant.batteries[1].silent = False
    plant.batteries[1].force.update({im.CELL_V_MAX: 3800, im.BMS_V: 7400})
    plant.run(3)
    assert "cell_over_voltage of bank b" in refusal(PowerError, plant.pm.reset_emergency)
