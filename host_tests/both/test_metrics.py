"""The metrics' text: every number exactly and in its base unit, nothing for what is not measured."""

from firmware import image as im
from firmware import metrics
from host_tests.both.metricsrig import App, Memory
from host_tests.both.plant import Plant


def read(app):
    """{name{labels}: value as text}, and the lines."""
    lines = "".join(list(metrics.pieces(app))).split("\n")
    return {line.rsplit(" ", 1)[0]: line.rsplit(" ", 1)[1] for line in lines if line and line[0] != "#"}, lines


def test_numbers_are_exact_and_in_base_units():
    app = App()
    plant = app.plant
    plant.force[im.BMS_TEMP] = -5
    plant.force[im.METER_P] = -123456
    plant.cycle()
    found, lines = read(app)
    assert found['bess_battery_temperature_celsius{battery="1"}'] == "-0.5"
    assert found['bess_battery_soc_ratio{battery="1"}'] == "0.5000"
    assert found['bess_battery_cell_max_volts{battery="1"}'] == "3.300"
    assert found["bess_grid_power_watts"] == "-123456"
    assert found["bess_grid_frequency_hertz"] == "50.000"
    assert found["bess_cycle_gap_max_seconds"] == "0.115000" and found["bess_cycles_total"] == "4"
    assert found["bess_heap_free_bytes"] == "31000"
    assert found['bess_task_restarts_total{task="meter"}'] == "2"
    assert found['bess_mode{mode="IDLE"}'] == "1" and found['bess_mode{mode="STANDBY"}'] == "0"
    assert lines[-1] == "" and all(line for line in lines[:-1])


def test_what_is_not_measured_or_too_old_has_no_sample():
    app = App()
    assert "bess_pv_power_watts" in read(app)[0] and "bess_generator_power_watts" not in read(app)[0]
    app.plant.silent.add(im.SEQ_METER)
    app.plant.run(60)
    found, lines = read(app)
    assert not [name for name in found if name.startswith("bess_grid_power")]
    assert not [line for line in lines if "bess_grid_power_watts" in line], "nor a TYPE without one"
    assert float(found['bess_data_age_seconds{group="meter"}']) > 50
    assert found['bess_fault_active{fault="meter_lost"}'] == "1" and found['bess_fault_raised_total{fault="meter_lost"}'] == "1"


def test_of_an_inverter_that_is_silent_the_site_has_no_power_either():
    app = App()
    assert "bess_power_watts" in read(app)[0] and 'bess_inverter_power_watts{inverter="1"}' in read(app)[0]
    app.plant.silent.add(im.SEQ_PCS)
    app.plant.run(5)
    found, lines = read(app)
    assert not [line for line in lines if "bess_power_watts" in line or "bess_inverter_power_watts" in line]
    assert "bess_soc_ratio" in found and "bess_grid_power_watts" in found


def test_limits_have_their_reason():
    app = App()
    app.pm.limit("grid operator", 20.0, 15.0, 600)
    app.plant.cycles(2)
    found, _ = read(app)
    assert found["bess_limit_discharge_watts"] == "20000"
    assert found['bess_discharge_limit_watts{limit="remote"}'] == "20000"
    assert found['bess_charge_limit_watts{limit="remote"}'] == "15000"
    assert found['bess_discharge_bound_by{limit="remote"}'] == "1" and found['bess_discharge_bound_by{limit="soc"}'] == "0"


def test_energy_is_of_the_longest_memory_that_there_is():
    found, _ = read(App())
    assert found["bess_energy_charged_joules_total"] == "0" and "bess_energy_imported_joules_total" not in found
    found, _ = read(App(history=Memory()))
    assert found["bess_energy_charged_joules_total"] == "3600000"
    assert found["bess_energy_imported_joules_total"] == "7200000000000000", "2 TWh to the joule, on a board too"
    assert found["bess_energy_exported_joules_total"] == "0" and "bess_energy_pv_joules_total" not in found


def test_counters_of_devices_carry_the_name_that_the_site_gives_them():
    found, _ = read(App())
    assert found['bess_device_events_total{name="can0",counter="frames"}'] == "1200"
    assert found['bess_device_events_total{name="bms",counter="timeouts"}'] == "2"
    assert found['bess_device_state{name="can0",counter="tec"}'] == "3"
    assert not [name for name in found if "last_error" in name or "note" in name or "oddities" in name]


def test_no_piece_is_long():
    for piece in metrics.pieces(App(Plant(), history=Memory())):
        assert len(piece) <= 2048, piece[:60]
