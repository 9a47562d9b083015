"""What the EMS reads: measurement at scale factors that hold it, states, alarms, what throttles; and no register wraps."""

from emsrig import Ems

from firmware import image as im
from firmware.modes import Mode
from host_tests.both.bankplant import BankPlant
from host_tests.both.plant import Plant


def _factor(ems, model, offset):
    value = ems.get(model, offset)
    return value - 0x10000 if value & 0x8000 else value


def _shown(ems, model, offset, factor):
    return ems.get_signed(model, offset) * 10 ** _factor(ems, model, factor)


# ---- scale factors ---------------------------------------------------------------------------------------------


def _rating_holds(kw, modules, factor):
    ems = Ems(Plant(max_charge_power=kw, max_discharge_power=kw, module_count=modules).ready())
    assert _factor(ems, 701, 116) == factor
    assert abs(_shown(ems, 702, 2, 45) - kw * 1000) <= kw  # 0.1 %
    assert abs(_shown(ems, 120, 3, 4) - kw * 1000) <= kw and abs(_shown(ems, 802, 4, 54) - kw * 1000) <= kw
    energy = ems.get(713, 2) * 10 ** _factor(ems, 713, 7)
    assert abs(energy - modules * 16000) <= modules * 16


def test_scale_factors_hold_small_and_large_sites():
    _rating_holds(5.0, 1, 0)
    _rating_holds(30.0, 4, 0)
    _rating_holds(100.0, 13, 1)
    _rating_holds(1000.0, 24, 2)


def test_powers_of_both_signs_are_within_the_scale_factor_s_count():
    ems = Ems(Plant(ramp_up=1000.0).ready())
    for watts in (-99990, -30006, -4, 0, 5, 33456, 100000):
        ems.plant.follows = False
        ems.plant.power = watts
        ems.plant.cycle()
        for model, offset, factor in ((701, 10, 116), (103, 14, 15)):
            assert abs(_shown(ems, model, offset, factor) - watts) <= 5, (model, watts)


def test_no_register_wraps():
    ems = Ems()
    ems.plant.follows = False
    for watts in (500000, -500000):
        ems.plant.force = {im.PCS_P: watts, im.BMS_V: 15000 * 10, im.BMS_I: 99999 if watts > 0 else -99999, im.PCS_DC_P: watts}
        ems.plant.cycle()
        assert ems.get_signed(701, 10) == (32767 if watts > 0 else -32767)
        assert ems.get_signed(802, 44) == (32767 if watts > 0 else -32767)
        assert ems.get(802, 34) == 65534
        rest = (ems.get(160, 10 + 2 * 20 + 11), ems.get(160, 10 + 3 * 20 + 11))  # DCW of charging and discharging
        assert rest == ((0, 50000) if watts > 0 else (50000, 0))


def test_what_is_not_measured_says_so():
    plant = Plant()
    ems = Ems(plant)  # not a cycle yet
    assert ems.get(701, 10) == 0x8000 and ems.get(713, 4) == 0xFFFF and ems.read(ems.at(701, 17), 2) == [0xFFFF, 0xFFFF]
    assert ems.get(701, 4) == 0xFFFF, "nothing is known of the inverter's state"
    plant.ready()
    assert ems.get(701, 10) == 0 and ems.get(713, 4) == 5000
    plant.force = {im.BMS_SOH: im.NO_VALUE, im.PCS_HZ: im.NO_VALUE}
    plant.cycles(2)
    assert ems.get(713, 5) == 0xFFFF
    assert 49900 <= ems.get_long(701, 17) <= 50100, "the meter sees the same grid"


NONE, NONE_SIGNED = 0xFFFF, 0x8000  # "not implemented"


def _moving(watts=30000):
    """The EMS has commanded so much, and the inverter does it."""
    ems = Ems(Plant(ramp_up=1000.0).ready())
    ems.plant.force = {im.PCS_S_MAX: 120000}
    ems.put_long(704, 24, watts)
    ems.put(704, 22, 1)
    ems.run(2)
    assert ems.get_signed(701, 10) == watts // 10 and ems.get(701, 3) == 1 and ems.get(701, 5) == 1
    return ems


def test_of_an_inverter_that_is_silent_nothing_is_told_that_it_said_before():
    for watts in (30000, -30000):
        ems = _moving(watts)
        counted = ems.read(ems.at(701, 19), 8)
        ems.plant.silent = {im.SEQ_PCS}
        ems.run(5)
        assert ems.get(701, 10) == NONE_SIGNED and ems.get(103, 14) == NONE_SIGNED
        assert ems.get(701, 3) == ems.get(701, 4) == ems.get(103, 38) == NONE, "neither on nor off: nobody knows"
        assert ems.get(701, 5) == NONE, "nor whether it is connected"
        assert ems.get(714, 6) == ems.get(714, 20 + 12) == NONE_SIGNED and ems.get(802, 47) == NONE_SIGNED
        assert ems.get(160, 10 + 2 * 20 + 11) == ems.get(160, 10 + 3 * 20 + 11) == NONE
        assert ems.get(122, 3) & 4 == 0, "nothing is known to move"
        assert ems.get(802, 16) not in (3, 4)
        assert ems.get(701, 15) == 4000 and 49900 <= ems.get_long(701, 17) <= 50100, "the meter sees the same grid"
        since = ems.read(ems.at(701, 19), 8)
        ems.run(20)
        assert ems.read(ems.at(701, 19), 8) == since and since[3] - counted[3] < 30, "energies stand still"
        assert ems.get(702, 7) == ems.get(120, 5) == 12000, "what it is rated for stays"
        assert ems.get(713, 4) != NONE and ems.get(802, 34) != NONE, "the battery is there"
        ems.plant.silent = set()
        ems.run(0.2)
        assert ems.get(701, 10) != NONE_SIGNED and ems.get(701, 4) != NONE


def test_of_a_battery_that_is_silent_nothing_is_told_that_it_said_before():
    ems = _moving(-10000)
    ems.plant.force[im.BMS_SOH] = 5000
    ems.run(1)
    left = ems.get(713, 3)
    assert ems.get_signed(802, 44) < -100
    ems.plant.silent = {im.SEQ_BMS, im.SEQ_BMS_LIMITS, im.SEQ_BMS_CELLS, im.SEQ_BMS_TEMPS, im.SEQ_BMS_FLAGS}
    ems.run(10)
    assert ems.get(802, 44) == NONE_SIGNED and ems.get(802, 34) == ems.get(124, 10) == NONE
    for offset in (35, 36, 37, 40, 45, 46):  # VMax, VMin, CellVMax, CellVMin, AChaMax, ADisChaMax
        assert ems.get(802, offset) == NONE, offset
    assert ems.get(714, 20 + 21) == NONE_SIGNED, "the port's temperature"
    assert ems.get(701, 10) != NONE_SIGNED, "the inverter is there"
    assert ems.get(713, 5) == NONE and ems.get(713, 3) == left, "what is left is reckoned with the health that it had"


def test_without_a_meter_and_an_inverter_nothing_is_told_of_the_grid():
    ems = _moving()
    ems.plant.silent = {im.SEQ_PCS, im.SEQ_METER}
    ems.run(20)
    assert ems.get(701, 15) == ems.get(701, 16) == NONE and ems.read(ems.at(701, 17), 2) == [NONE, NONE]


def test_of_several_banks_the_port_of_the_silent_one_tells_nothing():
    plant = BankPlant()
    ems = Ems(plant.ready())
    ems.put_long(704, 24, 20000)
    ems.put(704, 22, 1)
    ems.run(3)
    powers = [ems.starts[714] + 20 + 25 * bank + 12 for bank in range(2)]
    before = [ems.read(power, 1)[0] for power in powers]
    assert NONE_SIGNED not in before and 0 not in before
    plant.inverters[1].silent = True
    ems.run(5)
    whole = ems.read(powers[0], powers[1] - powers[0] + 1)
    assert whole[0] not in (NONE_SIGNED, 0) and whole[-1] == NONE_SIGNED
    assert ems.get(701, 10) not in (NONE_SIGNED, 0), "what the other one does is known"


# ---- pieces --------------------------------------------------------------------------------------------------------


def test_any_piece_is_what_the_whole_is():
    ems = Ems(Plant().ready())
    ems.plant.power = 12340
    ems.plant.follows = False
    ems.plant.cycle()
    whole = []
    for at in range(0, 956, 119):
        whole += ems.read(40000 + at, min(119, 956 - at))
    assert len(whole) == 956
    for at in range(956):
        assert ems.read(40000 + at, 1)[0] == whole[at]


def test_what_is_read_between_two_cycles_is_of_one_instant():
    ems = Ems(Plant().ready())
    before = ems.get(701, 10)
    ems.plant.image.inp[im.PCS_P] = 77000  # a device's value reaches readers with the cycle that froze it
    assert ems.get(701, 10) == before
    ems.plant.follows = False
    ems.plant.power = 55000
    ems.plant.cycle()
    assert ems.get(701, 10) == 5500


# ---- states --------------------------------------------------------------------------------------------------------


def test_states_follow_the_system():
    plant = Plant(ramp_up=1000.0)
    ems = Ems(plant)
    plant.cycles(2)
    assert ems.get(802, 22) == 1 and ems.get(802, 16) == 1 and ems.get(701, 3) == 0
    plant.ready()
    assert (ems.get(802, 22), ems.get(802, 16), ems.get(701, 4), ems.get(103, 38)) == (3, 6, 7, 8)
    plant.pm.set_constant_power(30.0)
    plant.run(1)
    assert (ems.get(802, 16), ems.get(701, 3), ems.get(701, 4), ems.get(103, 38)) == (3, 1, 3, 4)
    plant.pm.set_constant_power(-30.0)
    plant.run(1)
    assert ems.get(802, 16) == 4 and ems.get(124, 11) == 4
    plant.pm.emergency_shutdown()
    plant.cycles(3)
    assert ems.get(802, 22) == 99 and ems.get(713, 6) == 2 and plant.pm.mode == Mode.EMERGENCY


def test_the_row_that_binds_is_told_and_by_how_much():
    ems = Ems(Plant(ramp_up=1000.0).ready())
    ems.pm.set_constant_power(80.0)
    ems.run(1)
    assert ems.get(701, 110) == 0 and ems.get_long(701, 111) == 0 and ems.get(701, 4) == 3
    ems.pm.limit("grid operator", 60.0)
    ems.run(1)
    assert ems.get(701, 110) == 20 and ems.get_long(701, 111) == 1, "MAX_W"
    assert ems.get(701, 4) == 4 and ems.get(103, 38) == 5
    ems.pm.limit("grid operator")
    ems.plant.force = {im.BMS_I_DIS: 500}  # 50 A
    ems.run(1)
    assert 48 <= ems.get(701, 110) <= 51 and ems.get_long(701, 111) == 1 << 14, "DERATED"
    assert ems.pm.stats()["why_discharge"] == "bms_current"


def test_throttling_is_told_in_whole_percents_and_no_more_than_it_is():
    for config, request, limit, percent in (
        ({}, 80.0, 60.0, 20), ({}, 60.0, 0.0, 60), ({}, 80.0, 59.5, 21), ({}, 80.0, 79.999, 1),
        ({"max_discharge_power": 33.3, "max_charge_power": 33.3}, 33.3, 0.0, 100),
    ):  # fmt: skip
        ems = Ems(Plant(ramp_up=1000.0, ramp_down=1000.0, **config).ready())
        ems.pm.limit("who", limit)
        ems.pm.set_constant_power(request)
        ems.run(2)
        assert ems.get(701, 110) == percent, (request, limit)


def test_throttling_of_a_charge_is_told_too():
    ems = Ems(Plant(ramp_up=1000.0).ready())
    ems.pm.set_constant_power(-50.0)
    ems.pm.limit("somebody", None, 10.0)
    ems.run(1)
    assert ems.get(701, 110) == 40 and ems.get_long(701, 111) == 1


def test_alarms_are_told_where_their_models_have_them():
    ems = Ems()
    ems.run(0.2)
    assert ems.get_long(701, 6) == 0 and ems.get_long(802, 26) == 0
    ems.plant.force = {im.BMS_PROTECT: im.BMS_PROT_OVER_T, im.BMS_ALARM: im.BMS_PROT_UNDER_V}
    ems.run(0.2)
    assert ems.get_long(802, 26) & (1 << 1 | 1 << 12) == 1 << 1 | 1 << 12
    ems.plant.force = {im.IO_ESTOP: 1}
    ems.run(0.5)
    assert ems.get_long(701, 6) & 1 << 6 and ems.get_long(103, 40) & 1 << 6, "MANUAL_SHUTDOWN"
    assert ems.get_long(103, 44) == ems.plant.now[im.FAULTS]


def test_a_lost_battery_and_a_lost_grid_are_alarms():
    ems = Ems()
    ems.plant.silent = {im.SEQ_BMS, im.SEQ_BMS_LIMITS}
    ems.run(10)
    assert ems.get_long(802, 26) & 1 and ems.get(802, 22) == 99
    other = Ems()
    other.plant.grid = False
    other.run(2)
    assert other.get_long(701, 6) & 1 << 4 and other.get(701, 5) == 0


def test_energies_count_in_all_their_words():
    ems = Ems()
    now = ems.plant.now
    now[im.E_OUT_TURNS] = 5  # of 2**30 Wh
    now[im.E_OUT_WH] = 0x2AAAAAAA
    ems.plant.cycle()
    wanted = (5 << 30) + 0x2AAAAAAA
    for model, offset in ((701, 19), (122, 5)):
        words = ems.read(ems.at(model, offset), 4)
        assert words[0] << 48 | words[1] << 32 | words[2] << 16 | words[3] == wanted
    words = ems.read(ems.at(103, 24), 2)
    assert words[0] << 16 | words[1] == wanted & 0xFFFFFFFF


def test_energies_go_on_from_those_before_the_boot():
    ems = Ems()
    for before, since in ((1000, 234), ((3 << 30) + 0x3FFFFF00, 0x200), ((1 << 30) - 1, 1), (0, 0x3FFFFFFF)):
        ems.chain.count_from(before, 7)
        ems.plant.now[im.E_OUT_WH] = since
        ems.plant.cycle()
        words = ems.read(ems.at(701, 19), 8)
        assert words[0] << 48 | words[1] << 32 | words[2] << 16 | words[3] == before + since
        assert words[7] == 7 + ems.plant.now[im.E_IN_WH]


def test_dc_energies_are_by_the_efficiency():
    ems = Ems()
    ems.plant.now[im.E_OUT_WH] = 9500
    ems.plant.now[im.E_IN_WH] = 10000
    ems.plant.cycle()
    charging, discharging = ems.at(160, 10 + 2 * 20 + 12), ems.at(160, 10 + 3 * 20 + 12)
    assert ems.read(charging, 2) == [0, 9500] and ems.read(discharging, 2) == [0, 10000]


def test_several_banks_are_one_der_to_the_ems():
    plant = BankPlant()
    ems = Ems(plant.ready())
    plant.cycles(3)
    assert ems.get(713, 2) * 10 ** _factor(ems, 713, 7) > 300000
    assert abs(_shown(ems, 702, 2, 45) - plant.pm.image.par[im.PAR_P_DIS]) <= 100
    ems.put_long(704, 24, 20000)
    ems.put(704, 22, 1)
    ems.run(3)
    assert ems.plant.now[im.CMD_P] == 20000
