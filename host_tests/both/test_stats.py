"""stats(): every figure of the product in its unit, None for what is not measured, one instant, energies and efficiency."""

from firmware import image as im
from firmware.requests import SOURCES
from host_tests.both.plant import ALL, Plant

KEYS = (  # of the reference's get_stats, and what the product adds
    "power voltage current grid_frequency grid_voltage grid_current load_power energy_in energy_out efficiency flow mode "
    "dc_bus_voltage uptime_s binding reason limit_discharge limit_charge why_discharge why_charge soc soh temperature "
    "pv_power grid_power faults request requested_by command available_discharge available_charge"
)


def test_every_figure_of_the_product_is_there():
    stats = Plant().pm.stats()
    for key in KEYS.split():
        assert key in stats, key


def test_figures_are_in_kw_volt_ampere_and_percent():
    plant = Plant()
    plant.pv = 5000
    plant.ready()
    plant.pm.set_constant_power(40)
    plant.run(4)
    stats = plant.pm.stats()
    expected = {
        "mode": "DISCHARGE",
        "power": 40.0,
        "command": 40.0,
        "request": 40.0,
        "requested_by": "manual",
        "load_power": 20.0,
        "pv_power": 5.0,
        "grid_power": -25.0,
        "grid_frequency": 50.0,
        "grid_voltage": 400.0,
        "grid_current": 30.0,
        "soh": 100.0,
        "temperature": 25.0,
        "cell_max": 3.3,
        "cell_min": 3.29,
        "binding": None,
        "faults": [],
        "grid_connected": True,
    }
    for key, value in expected.items():
        assert stats[key] == value, "%s is %r" % (key, stats[key])
    assert abs(stats["voltage"] - 643.5) < 0.2 and abs(stats["dc_bus_voltage"] - 643.5) < 0.2
    assert abs(stats["current"] - 40000 / 0.95 / 643.5) < 0.2 and abs(stats["efficiency"] - 95) < 0.1
    assert abs(stats["soc"] - plant.soc) < 0.1


def test_what_is_not_measured_is_none_not_zero():
    plant = Plant(im.HAS_BMS | im.HAS_PCS)
    plant.silent = set(range(9))
    plant.image.inp[im.PCS_P] = im.NO_VALUE
    plant.pm.cycle(1000)
    stats = plant.pm.stats()
    for key in ("power", "voltage", "current", "soc", "soh", "temperature", "load_power", "pv_power", "grid_power", "efficiency"):
        assert stats[key] is None, key
    assert stats["limit_discharge"] == 0 and stats["limit_charge"] == 0, "but a limit is never unknown"
    assert stats["available_discharge"] is None


def test_energy_is_counted_both_ways_and_exactly():
    plant = Plant().ready()
    plant.pm.set_constant_power(36)
    plant.run(10)
    before = plant.pm.stats()["energy_out_wh"]
    plant.run(100)
    assert abs(plant.pm.stats()["energy_out_wh"] - before - 1000) < 0.6, "36 kW for 100 s are 1000 Wh"
    assert plant.pm.stats()["energy_in_wh"] == 0
    plant.pm.set_constant_power(-36)
    plant.run(20)
    before = plant.pm.stats()["energy_in"]
    plant.run(100)
    assert abs(plant.pm.stats()["energy_in"] - before - 1) < 0.001, "in kWh"


def test_small_powers_are_not_lost():
    plant = Plant()
    plant.ready()
    plant.force[im.PCS_P] = 7  # W, which is 0.0002 Wh a cycle
    plant.run(720, 100)
    assert abs(plant.pm.stats()["energy_out_wh"] - 1.4) < 0.01


def test_uptime_counts_seconds_over_the_wrap_of_the_clock():
    plant = Plant()
    plant.ms = (1 << 30) - 10000
    plant.run(60)
    assert plant.pm.stats()["uptime_s"] in (59, 60)
    plant.run(3600, 1000)
    assert abs(plant.pm.stats()["uptime_s"] - 3600 - 60) <= 1


def test_a_late_cycle_keeps_the_time():
    plant = Plant().ready()
    before = plant.pm.stats()["uptime_s"]
    for _ in range(10):
        plant.cycle(30000)
    assert abs(plant.pm.stats()["uptime_s"] - before - 300) <= 1


def test_efficiency_is_of_ac_and_dc_in_the_direction_of_the_flow():
    for kw in (30, -30):
        plant = Plant().ready()
        plant.pm.set_constant_power(kw)
        plant.run(4)
        assert abs(plant.pm.stats()["efficiency"] - 95) < 0.1, kw


def test_available_energy_is_at_the_ac_terminals_down_to_the_floor_and_up_to_the_ceiling():
    plant = Plant().ready()
    stats = plant.pm.stats()
    assert abs(stats["available_discharge"] - 208 * 0.3 * 0.95) < 0.2
    assert abs(stats["available_charge"] - 208 * 0.4 / 0.95) < 0.2
    plant.force[im.BMS_SOH] = 8000
    plant.cycle()
    assert abs(plant.pm.stats()["available_discharge"] - 208 * 0.8 * 0.3 * 0.95) < 0.2


def test_the_reason_says_which_way_and_how_much():
    plant = Plant().ready()
    plant.force[im.BMS_REQUESTS] = im.BMS_REQ_NO_CHARGE
    plant.pm.set_constant_power(-30)
    plant.run(1)
    stats = plant.pm.stats()
    assert stats["binding"] == "bms_forbids" and "charging" in stats["reason"] and "0.0 kW" in stats["reason"]
    assert "discharging" not in stats["reason"]


def test_stats_are_a_copy_that_later_cycles_leave_alone():
    plant = Plant().ready()
    plant.pm.set_constant_power(10)
    plant.run(2)
    kept = plant.pm.stats()
    copy = dict(kept)
    plant.pm.set_constant_power(-50)
    plant.run(5)
    assert kept == copy and plant.pm.stats() != copy


def test_requested_by_is_a_source():
    plant = Plant(ALL).ready()
    assert plant.pm.stats()["requested_by"] == "idle"
    plant.pm.claim("remote", 5, 10, "ems")
    plant.run(1)
    assert plant.pm.stats()["requested_by"] == "remote" and "remote" in SOURCES


def test_balancing_is_seen_whether_asked_for_or_going_on_by_itself():
    plant = Plant().ready()
    assert plant.pm.stats()["balancing"] is False
    plant.force[im.BMS_REQUESTS] = im.BMS_REQ_BALANCE
    plant.cycle()
    assert plant.pm.stats()["balancing"] is True, "the BMS says that it balances"
    plant.force[im.BMS_REQUESTS] = im.NO_VALUE
    plant.cycle()
    assert plant.pm.stats()["balancing"] is False
    plant.pm.start_charging(80)
    plant.cycles(2)
    assert plant.pm.stats()["balancing"] is True, "a charge asks for it"
