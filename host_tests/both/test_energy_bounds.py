"""int32: what cannot be true in a measured power neither wraps nor turns the energy counters back."""

from firmware import image as im
from host_tests.both.plant import Plant

MOST = 0x3FFFFFFF


def energy(plant):
    now = plant.now
    return now[im.E_IN_WH] * 3600000 + now[im.E_IN_REM], now[im.E_OUT_WH] * 3600000 + now[im.E_OUT_REM]


def in_range(plant):
    for slot, value in enumerate(plant.now):
        assert -MOST - 1 <= value <= MOST, "slot %d holds %d" % (slot, value)


def test_int32_a_power_that_cannot_be_counts_at_most_as_the_rating():
    for config, rating in (({}, 100000), ({"max_charge_power": 30, "max_discharge_power": 60}, 60000)):
        for watts in (20000000, -20000000, 1100000, -1100000, MOST, -MOST, 2000000):
            plant = Plant(**config).ready()
            before = energy(plant)
            plant.force[im.PCS_P] = watts
            plant.force[im.PCS_P_CHG] = plant.force[im.PCS_P_DIS] = rating
            for dt in (2000, 1000, 50, 2000, 900):
                last = energy(plant)
                plant.cycle(dt)
                now = energy(plant)
                assert now[0] >= last[0] and now[1] >= last[1], "energy went back"
                in_range(plant)
            taken, given = now[0] - before[0], now[1] - before[1]
            assert (taken if watts > 0 else given) == 0
            assert max(taken, given) <= rating * 5 // 4 * 5950, "%d W ms for %d W" % (max(taken, given), watts)


def test_what_an_island_takes_beyond_the_configured_power_is_counted_up_to_what_the_inverter_can():
    for watts in (100000, -100000, MOST, -MOST):
        plant = Plant(max_charge_power=20, max_discharge_power=20).ready()
        before = energy(plant)
        plant.force[im.PCS_P] = watts  # it can move 120 kW
        plant.cycles(20)
        after = energy(plant)
        assert max(after[0] - before[0], after[1] - before[1]) == 1000 * min(abs(watts), 120000)


def test_int32_the_largest_site_counts_its_full_power():
    plant = Plant(max_charge_power=1000, max_discharge_power=1000, cycle_ms=1000).ready()
    for watts in (1000000, -1000000):
        plant.force[im.PCS_P] = watts
        before = energy(plant)
        for _ in range(10):
            plant.cycle(1500)
        after = energy(plant)
        assert after[0] - before[0] == (15000 * 1000000 if watts < 0 else 0)
        assert after[1] - before[1] == (15000 * 1000000 if watts > 0 else 0)


def test_int32_a_meter_and_a_pv_meter_that_cannot_be_move_nothing_out_of_range():
    for meter in (MOST, -MOST):
        for pcs in (MOST, -MOST):
            plant = Plant().ready()
            plant.force = {im.METER_P: meter, im.PCS_P: pcs, im.PV_P: MOST}
            for _ in range(20):
                plant.cycle()
                in_range(plant)
                assert -100000 <= plant.command() <= 100000


def test_int32_the_counters_go_on_where_a_slot_ends():
    for watts, wh, turns, key in (
        (-100000, im.E_IN_WH, im.E_IN_TURNS, "energy_in_wh"),
        (100000, im.E_OUT_WH, im.E_OUT_TURNS, "energy_out_wh"),
    ):
        plant = Plant(cycle_ms=1000).ready()
        plant.force[im.PCS_P] = watts
        plant.now[wh] = MOST - 1  # after a year at full power
        counted = []
        for _ in range(5):
            plant.cycles(40, 1000)
            counted.append(im.energy_wh(plant.now, turns, wh))
            in_range(plant)
        assert counted == sorted(counted) and counted[-1] - (MOST - 1) in (5555, 5556)
        assert plant.pm.stats()[key] >= MOST
