"""Discharging: constant AC power, its bounds, where it ends and with which event."""

from firmware.discharging import DischargeParams
from firmware.errors import ConfigError, PowerError
from firmware.modes import Mode
from host_tests.both.plant import Plant, photo, refusal


def discharging(kw=0.0, minutes=0, soc=50.0, **params):
    plant = Plant()
    plant.soc = soc
    plant.ready()
    plant.pm.set_discharge_params(DischargeParams(**params))
    plant.pm.start_discharging(kw, minutes)
    return plant


def test_constant_power_at_the_ac_terminals():
    plant = discharging(50)
    plant.run(5)
    assert plant.command() == 50000 and plant.power == 50000 and plant.pm.mode == Mode.DISCHARGE
    plant.volts = 600.0  # whatever the battery's voltage does
    plant.run(2)
    assert plant.command() == 50000


def test_zero_is_the_maximum():
    plant = discharging(0)
    plant.run(7)
    assert plant.command() == 100000


def test_power_and_current_of_the_parameters_bound_it():
    plant = discharging(80, discharge_power_max=90, discharge_current_max=60)
    plant.run(6)
    assert abs(plant.command() - 60 * 643.5 * 0.95) < 900 and plant.why() == "operation"
    plant = discharging(80, discharge_power_max=33)
    plant.run(6)
    assert plant.command() == 33000


def test_it_stops_at_the_floor_with_discharge_complete():
    plant = discharging(100, 0, 21.0)
    plant.until(lambda: plant.pm.mode == Mode.IDLE and plant.events("DISCHARGE_COMPLETE"), 1800, 500)
    assert abs(plant.soc - 20) < 0.3, "stopped at %s %%" % plant.soc
    assert len(plant.events("DISCHARGE_COMPLETE")) == 1 and plant.pm.claims() == []


def test_its_own_floor_counts_if_higher():
    plant = discharging(100, 0, 41.0, min_soc=40)
    plant.until(lambda: plant.events("DISCHARGE_COMPLETE"), 1800, 500)
    assert abs(plant.soc - 40) < 0.3
    plant = discharging(100, 0, 21.0, min_soc=10)
    plant.until(lambda: plant.events("DISCHARGE_COMPLETE"), 1800, 500)
    assert abs(plant.soc - 20) < 0.3, "a lower one does not"


def test_nothing_discharges_below_the_floor():
    plant = Plant()
    plant.soc = 19.0
    plant.ready()
    for ask in (lambda: plant.pm.set_constant_power(50), lambda: plant.pm.claim("remote", 50, 60, "ems")):
        ask()
        plant.run(2)
        assert plant.command() == 0
    assert plant.pm.stats()["why_discharge"] == "soc"


def test_the_minimum_voltage_ends_it():
    plant = discharging(50, 0, 50.0, min_voltage=600)
    plant.run(4)
    assert plant.command() == 50000
    plant.volts = 599.0
    plant.follows = False
    plant.power = 0
    plant.run(4)
    assert plant.command() == 0 and plant.why() == "pack_voltage" and not plant.events("DISCHARGE_COMPLETE")
    plant.run(3)
    assert len(plant.events("DISCHARGE_COMPLETE")) == 1 and plant.pm.mode == Mode.IDLE


def test_a_short_dip_of_the_voltage_does_not_end_it():
    plant = discharging(50, 0, 50.0, min_voltage=600)
    plant.run(4)
    plant.volts = 560.0
    plant.run(3)
    plant.volts = 643.5
    plant.run(8)
    assert plant.command() == 50000 and not plant.events("DISCHARGE_COMPLETE")


def test_the_duration_ends_it():
    plant = discharging(30, 1)
    plant.run(59)
    assert plant.command() == 30000
    plant.run(3)
    assert plant.command() == 0 and plant.pm.mode == Mode.IDLE and len(plant.events("OPERATION_TIMEOUT")) == 1


def test_without_minutes_the_parameters_timeout_counts():
    plant = discharging(5, 0, 80.0, timeout_minutes=3)
    plant.run(178, 500)
    assert plant.command() == 5000
    plant.run(4, 500)
    assert plant.command() == 0


def test_bad_arguments_name_value_and_range_and_change_nothing():
    plant = Plant().ready()
    before = photo(plant.pm)
    for kw in (100.5, -1, 1e9, float("inf")):
        said = refusal(PowerError, plant.pm.start_discharging, kw, 10)
        assert "100" in said and "kW" in said and str(kw) in said
    for minutes in (-1, 10081):
        assert "10080" in refusal(PowerError, plant.pm.start_discharging, 10, minutes)
    for wrong in ("50", None, True, float("nan"), [5]):
        assert "kw" in refusal(ValueError, plant.pm.start_discharging, wrong, 10)
        assert "minutes" in refusal(ValueError, plant.pm.start_discharging, 10, wrong)
    assert "minutes" in refusal(ValueError, plant.pm.start_discharging, 10, 1.5)
    for wrong in (None, {}, "deep", DischargeParams):
        assert "DischargeParams" in refusal(ValueError, plant.pm.set_discharge_params, wrong)
    assert photo(plant.pm) == before
    said = refusal(ConfigError, DischargeParams, min_soc=120, discharge_power_max="much", min_volts=3)
    for piece in ("min_soc", "120", "100", "discharge_power_max", "much", "min_volts", "min_voltage"):
        assert piece in said, "%r is not in %s" % (piece, said)
