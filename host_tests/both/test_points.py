"""Points: what the table says of a value holds wherever it is measured, and meters other than the grid's are seen."""

from array import array

from rows import each

from firmware import image as im
from firmware import points, sitefile
from firmware.devices.generic_table import Conditions, Table
from firmware.errors import ConfigError
from host_tests.both.plant import Plant

LOAD = {"slot": "METER_LOAD_P", "address": 1, "type": "int32"}
GENERATOR = {"slot": "GEN_P", "address": 3, "type": "int32"}


def site(plant, *slots):
    """A moving site whose further meters report, each with its own group."""
    for slot, group, watts in slots:
        plant.image.inp[slot] = watts
        plant.image.heard(group)
    plant.cycle()
    return plant.pm.stats()


def test_every_point_that_people_see_is_in_stats():
    stats = Plant().ready().pm.stats()
    keys = [row[3] for row in each((points.MEASURED, points.MADE)) if row[3]]
    assert len(keys) > 30 and len(keys) == len(set(keys))
    for key in keys:
        assert key in stats, key


def test_what_a_healthy_site_reports_can_be_true():
    seen = 0
    for row in each(points.MEASURED):
        low, high, healthy = row[6], row[7], row[8]
        if low is not None and healthy is not None:
            seen += 1
            assert low <= healthy <= high, row
    assert seen > 20


def test_a_load_meter_measures_the_load_while_it_reports():
    plant = Plant().ready()
    plant.pm.set_constant_power(10)
    plant.run(3)
    assert plant.pm.stats()["load_power"] == 20.0 and plant.pm.stats()["load_meter_power"] is None
    stats = site(plant, (im.METER_LOAD_P, im.SEQ_LOAD, 21500))
    assert stats["load_meter_power"] == 21.5 and stats["load_power"] == 21.5
    plant.run(5)
    assert plant.pm.stats()["load_power"] == 20.0, "silent: as the meter at the grid and the inverter have it"
    stats = site(plant, (im.METER_LOAD_P, im.SEQ_LOAD, im.NO_VALUE))
    assert stats["load_power"] == 20.0 and stats["load_meter_power"] is None


def test_a_load_meter_changes_no_limit():
    plant, other = Plant().ready(), Plant().ready()
    for one in (plant, other):
        one.pm.set_constant_power(10)
        one.run(3)
    site(plant, (im.METER_LOAD_P, im.SEQ_LOAD, 90000))
    other.cycle()
    for slot in (im.NET_P, im.NET_LOW, im.NET_HIGH, im.LIMIT_DIS, im.LIMIT_CHG, im.CMD_P):
        assert plant.now[slot] == other.now[slot], slot


def test_a_generator_feeds_the_load_beside_the_pv():
    plant = Plant()
    plant.pv = 5000
    plant.ready()
    assert plant.pm.stats()["load_power"] == 20.0
    stats = site(plant, (im.GEN_P, im.SEQ_GEN, 3000))  # the meter at the grid shows it already
    assert stats["generator_power"] == 3.0 and stats["load_power"] == 23.0
    plant.run(5)
    assert plant.pm.stats()["load_power"] == 20.0, "a generator that is silent is 0 W"


def test_a_table_fills_load_and_generator_and_each_has_one_owner():
    table = Table({"reads": [LOAD, GENERATOR]}, 100, Conditions())
    assert [group[2] for group in table.groups] == [im.SEQ_LOAD, im.SEQ_GEN] and table.brings == 0
    options = {"type": "generic_modbus", "host": "10.0.0.1", "table": {"reads": [LOAD]}}
    content = {"schema": 1, "devices": {"a": options, "b": dict(options)}}
    found = sitefile.check(content).errors
    assert "devices.b: load meter is what devices.a has already; one device only" in found, found
    content["devices"]["b"] = {"type": "generic_modbus", "host": "10.0.0.1", "table": {"reads": [GENERATOR]}}
    assert not [error for error in sitefile.check(content).errors if "already" in error]


def test_every_group_has_one_owner():
    for slot, words in (
        ("METER_P", "meter"), ("PV_P", "PV"), ("BMS_SOC", "battery"), ("BMS_V_MAX", "battery limits"), ("PCS_P", "inverter"),
        ("GEN_P", "generator"),
    ):  # fmt: skip
        options = {"type": "generic_modbus", "host": "10.0.0.1", "table": {"reads": [{"slot": slot, "address": 1}]}}
        found = sitefile.check({"schema": 1, "devices": {"a": options, "b": dict(options)}}).errors
        said = "devices.b: %s is what devices.a has already; one device only" % words
        assert [error for error in found if error[: len(said)] == said], found


def test_a_table_can_only_narrow_what_can_be_true():
    for given, low, high in (
        ({}, -20000000, 20000000), ({"low": -5000, "high": 5000}, -5000, 5000), ({"high": 30000000}, -20000000, 20000000),
    ):  # fmt: skip
        row = {"slot": "PCS_P", "address": 1, "type": "int32"}
        row.update(given)
        point = Table({"reads": [row]}, 100, Conditions()).blocks[0].points[0]
        assert (point.low, point.high) == (low, high), given
    point = Table({"reads": [{"slot": "PCS_ALARM", "address": 1}]}, 100, Conditions()).blocks[0].points[0]
    assert (point.low, point.high) == (-im.RANGE, im.RANGE), "bits may be any"


def test_bounds_outside_of_what_can_be_true_are_refused():
    try:
        Table({"reads": [{"slot": "BMS_SOC", "address": 1, "low": 10001, "high": 20000}]}, 100, Conditions())
        raise AssertionError("accepted")
    except ConfigError as error:
        assert list(error.errors) == ["table.reads[0]: what BMS_SOC can be is 0 to 10000, nothing within low and high"]


def test_inputs_of_the_board_and_the_drivers_own_are_no_slots_of_a_table():
    for slot in ("IO_ESTOP", "BMS_ODD", "SOC", "SEQ_LOAD"):
        try:
            Table({"reads": [{"slot": slot, "address": 1}]}, 100, Conditions())
            raise AssertionError(slot)
        except ConfigError as error:
            assert "no such input of the process image" in str(error), slot


def test_several_batteries_and_inverters_are_told_each():
    plant = Plant().ready()
    stats = plant.pm.stats()
    assert "batteries" not in stats and "inverters" not in stats, "one of each is the site"
    other = im.Image()
    other.now[im.AGE + im.SEQ_BMS] = other.now[im.AGE + im.SEQ_PCS] = 0  # both have just spoken
    other.now[im.SOC] = 7300
    other.now[im.BMS_V] = 6400
    other.now[im.PCS_P] = -12000
    image = plant.image
    image.banks = image.batteries = image.inverters = [image, other]
    stats = plant.pm.stats()
    assert stats["batteries"][0]["voltage"] == stats["voltage"] and stats["batteries"][0]["soc"] == stats["soc"]
    assert stats["batteries"][1]["soc"] == 73.0 and stats["batteries"][1]["voltage"] == 640.0
    assert stats["batteries"][1]["temperature"] is None, "not measured"
    assert "power" not in stats["batteries"][1] and "grid_power" not in stats["inverters"][1]
    assert [one["power"] for one in stats["inverters"]] == [stats["power"], -12.0]
    other.now[im.PCS_P] = 5000
    assert stats["inverters"][1]["power"] == -12.0, "a copy"


def test_an_image_is_its_own_bank():
    image = im.Image()
    assert image.banks == [image] and image.batteries == [image] and image.inverters == [image]
    assert type(image.now) is array
