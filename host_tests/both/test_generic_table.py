"""What a generic_modbus table is refused for, with its words, wherever it is looked at: the same code on laptop and board.

table-two-rows of safety.md, and what else can be seen when a table is loaded.
"""

import os

from firmware import sitefile
from firmware.devices.generic_table import Conditions, Table, problems
from firmware.errors import ConfigError
from host_tests.both import scratch

READS = [{"slot": "METER_P", "address": 1}]
DIRECTION = {"from": "CMD_DIRECTION", "address": 5, "type": "uint16", "map": {"-1": 2, "0": 0, "1": 3}}
CHARGE = {"from": "CMD_CHARGE", "address": 6, "type": "uint16"}
DISCHARGE = {"from": "CMD_DISCHARGE", "address": 7, "type": "uint16"}


def changed(row, **changes):
    made = dict(row)
    made.update(changes)
    return made


def said(table, **conditions):
    """What is wrong with a table; both ways of looking at it agree."""
    site = Conditions(**conditions)
    errors = []
    problems("x", table, site, errors)
    errors = [error[2:] for error in errors]
    try:
        Table(table, 100, site)
        assert errors == []
    except ConfigError as error:
        assert list(error.errors) == errors
    return "\n".join(errors)


def said_of_reads(*rows, **conditions):
    return said({"reads": list(rows)}, **conditions)


def said_of_site(options, power=None):
    """What is wrong with a site of one device, as said before it is saved: nothing is built, nothing opened."""
    content = {"schema": 1, "buses": {"rs485": {"type": "modbus_rtu"}}, "devices": {"x": options}}
    if power:
        content["power"] = power
    return "\n".join([str(error) for error in sitefile.check(content).errors])


def said_of_writes(*rows, **conditions):
    return said({"reads": READS, "writes": list(rows)}, **conditions)


# ---- two rows for one point ----------------------------------------------------------------------------------------
def test_two_rows_for_one_slot_are_refused():
    first = {"slot": "METER_P", "address": 1}
    for second in ({"slot": "METER_P", "address": 9}, first, changed(first, unit=7), changed(first, function=4, period_ms=5000)):
        text = said_of_reads({"slot": "PCS_P", "address": 1}, first, second)
        assert text == "table.reads[2].slot = METER_P: reads[1] fills it already, one row a slot", text
    assert said_of_reads(first, {"slot": "PCS_P", "address": 1}) == "", "one register may fill two slots"


def test_two_rows_for_one_register_are_refused():
    wide = {"from": "CMD_P", "address": 5, "type": "int32"}
    for rows, register, other in (
        ([wide, {"value": 1, "address": 6}], 6, "table.writes[0]"),
        ([{"value": 1, "address": 6}, wide], 6, "table.writes[0]"),
        ([wide, changed(wide, address=4)], 5, "table.writes[0]"),
        ([wide, changed(wide, unit=1)], 5, "table.writes[0]"),
        ([wide, {"together": [{"value": 1, "address": 4}, {"value": 1, "address": 5}]}], 5, "table.writes[0]"),
    ):
        text = said_of_writes(*rows)
        assert text == "table.writes[1]: writes register %d, as %s does" % (register, other), text
    assert said_of_writes(wide, changed(wide, address=7), changed(wide, address=3)) == ""
    assert said_of_writes(wide, changed(wide, unit=2)) == "", "another unit's register is another"


def test_a_number_twice_in_a_map_is_refused():
    assert "each once" in said_of_reads(changed(READS[0], map={"1": 2, "01": 3}))


def test_a_table_may_say_what_it_is_about():
    assert said({"about": ["words", "for people"], "reads": READS}) == ""


def test_the_power_command_has_one_owner_however_it_is_given():
    magnitude = {"from": "CMD_MAGNITUDE", "address": 6, "type": "uint16"}
    ways = (
        [{"from": "CMD_P", "address": 9, "type": "int32"}],
        [{"together": [{"from": "CMD_P", "address": 9, "type": "int32"}]}],
        [CHARGE, DISCHARGE],
        [DIRECTION, magnitude],
        [{"together": [DIRECTION, magnitude]}],
    )
    for mine in ways:
        for yours in ways:
            devices = {}
            for name, slot, writes in (("a", "METER_P", mine), ("b", "PV_P", yours)):
                table = {"reads": [{"slot": slot, "address": 1}], "writes": writes}
                devices[name] = {"type": "generic_modbus", "host": "192.168.1.2", "table": table}
            power = {"max_charge_power": 5, "max_discharge_power": 5}
            found = sitefile.check({"schema": 1, "devices": devices, "power": power}).errors
            said_once = "devices.b: the power command is what devices.a has already; one device only"
            assert len(found) == 1 and str(found[0]).startswith(said_once), found


# ---- halves and directions -----------------------------------------------------------------------------------------
def test_halves_must_hold_the_powers_of_the_site():
    assert said_of_writes(DIRECTION, CHARGE, DISCHARGE, powers=(-65535, 65535)) == ""
    text = said_of_writes(CHARGE, DISCHARGE, powers=(-65536, 1))
    assert text == "table.writes[0]: the site commands 0 to 65536 W, at this scale 65536, uint16 holds 0 to 65535", text
    text = said_of_writes(CHARGE, DISCHARGE, powers=(-1, 70000))
    assert text == "table.writes[1]: the site commands 0 to 70000 W, at this scale 70000, uint16 holds 0 to 65535", text
    assert "-1, uint16 holds" in said_of_writes(changed(CHARGE, scale=-1), powers=(-1, 0))
    assert said_of_writes(changed(CHARGE, scale=-1), powers=(0, 99999999)) == "", "it never charges"
    assert "holds" in said_of_writes(changed(CHARGE, scale=-1)), "nobody knows the site"
    assert said_of_writes(changed(CHARGE, type="int16", scale=-1), powers=(-32768, 5)) == ""
    assert "32768" in said_of_writes(changed(CHARGE, type="int16"), powers=(-32768, 5))


def test_direction_must_have_its_codes():
    assert "map: says nothing of -1" in said_of_writes(changed(DIRECTION, map={"0": 0, "1": 1}))
    assert "map: says nothing of 0" in said_of_writes(changed(DIRECTION, map={"-1": 0, "1": 1}))
    assert said_of_writes(changed(DIRECTION, map={"0": 0, "1": 1}), powers=(0, 5000)) == "", "it never charges"
    assert "it may be -1, uint16 holds" in said_of_writes({"from": "CMD_DIRECTION", "address": 5, "type": "uint16"})
    assert said_of_writes({"from": "CMD_DIRECTION", "address": 5}) == ""
    assert "70000" in said_of_writes(changed(DIRECTION, map={"-1": 70000, "0": 0, "1": 3}))
    assert "map: says nothing of 1" in said_of_writes({"from": "CMD_RUN", "address": 5, "map": {"0": 6}})


def test_power_without_its_sign_is_refused():
    power = {"from": "CMD_MAGNITUDE", "address": 6, "type": "uint16"}
    assert (
        said_of_writes(power, powers=(-5, 5))
        == "table.writes: CMD_MAGNITUDE has no sign, a row from CMD_DIRECTION must say which way"
    )
    assert "CMD_DIRECTION must say" in said_of_writes({"together": [power]})
    assert said_of_writes(power, DIRECTION) == ""
    assert said_of_writes({"together": [changed(power, address=4), DIRECTION]}) == ""
    assert said_of_writes(power, powers=(-5, 0)) == said_of_writes(power, powers=(0, 5)) == ""
    assert "70000" in said_of_writes(power, DIRECTION, powers=(-70000, 5))


def test_sources_that_are_none_are_named():
    for wrong in ("PCS_P", "CMD_SEQ", "", 5, None, []):
        assert "allowed are CMD_P, CMD_CHARGE, CMD_DISCHARGE, CMD_MAGNITUDE, CMD_DIRECTION, CMD_RUN" in said_of_writes(
            {"from": wrong, "address": 1}
        ), wrong


# ---- floats --------------------------------------------------------------------------------------------------------
def test_floats_hold_every_power_and_only_numbers():
    for source in ("CMD_P", "CMD_CHARGE", "CMD_RUN"):
        for scale in (0.000001, -1, 1000000):
            row = {"from": source, "address": 5, "type": "float32", "scale": scale}
            assert said_of_writes(row, powers=(-1000000000, 1000000000)) == ""
    for value in (0.5, -3.4e38, 7, 0):
        assert said_of_writes({"value": value, "address": 5, "type": "float32"}) == ""
    for value in (float("inf"), -float("inf"), float("nan"), "1", None, True, []):
        assert "value = " in said_of_writes({"value": value, "address": 5, "type": "float32"}), value
    assert "whole number" in said_of_writes({"value": 0.5, "address": 5, "type": "uint32"})
    assert "float32 has two" in said_of_writes({"value": 1, "address": 5, "type": "float32", "function": 6})


# ---- several rows in one request -----------------------------------------------------------------------------------
def test_rows_together_must_follow_each_other():
    rows = [DIRECTION, changed(CHARGE, type="uint32"), {"value": 1, "address": 8}]
    assert said_of_writes({"together": rows}) == ""
    text = said_of_writes({"together": rows[:2] + [{"value": 1, "address": 9}]})
    assert text == "table.writes[0].together[2]: must follow the row before at address 8, in the same unit", text
    assert "together[1]: must follow" in said_of_writes({"together": rows[:1] + [changed(CHARGE, address=5)]})
    assert "together[1]: must follow" in said_of_writes({"together": rows[:1] + [changed(CHARGE, unit=9)]})
    assert said_of_writes({"together": [DIRECTION, changed(CHARGE, unit=1)]}, unit=1) == ""
    assert "together[0].function = 6: must be 16" in said_of_writes({"together": [changed(DIRECTION, function=6)]})
    assert "together[1]: the site commands" in said_of_writes({"together": [DIRECTION, CHARGE]}, powers=(-99999, 0))
    assert "table.writes[0].refresh: no such key" in said_of_writes({"together": rows, "refresh": True})
    for wrong in ([], {}, 5, None, "x"):
        assert "must be a list of rows" in said_of_writes({"together": wrong}), wrong
    for wrong in ([5], [[]], [{}], [{"together": rows}]):
        assert "table.writes[0].together[0]" in said_of_writes({"together": wrong}), wrong
    many = [{"value": 1, "address": at, "type": "int32"} for at in range(0, 124, 2)]
    assert "takes 124 registers, one request holds 123" in said_of_writes({"together": many})
    assert said_of_writes({"together": many[:61]}) == ""


# ---- differences ---------------------------------------------------------------------------------------------------
def test_differences_must_come_in_one_answer():
    row = {"slot": "METER_P", "address": 100, "type": "uint32"}
    assert said_of_reads(changed(row, minus=102)) == said_of_reads(changed(row, minus=42)) == ""
    text = said_of_reads(changed(row, minus=159))
    assert text == "table.reads[0].minus = 159: takes 61 registers in one request with address 100, allowed are 60", text
    assert "allowed are 11" in said_of_reads(changed(row, minus=110), longest=11)
    assert said_of_reads(changed(row, minus=109), longest=11) == ""
    for minus in (99, 100, 101):
        assert "is the number at address 100 itself" in said_of_reads(changed(row, minus=minus))
    assert said_of_reads(changed(row, type="int16", minus=101)) == ""
    for key, value in (("offset", 5), ("mask", 1), ("map", {"1": 1})):
        changes = {key: value, "minus": 102}
        assert "table.reads[0].%s: a difference (minus) has none" % key in said_of_reads(changed(row, **changes))
    for wrong in (-1, 65535, "x", None, [], True):
        assert "minus = " in said_of_reads(changed(row, minus=wrong)), wrong
    assert "no such key" in said_of_writes(changed(CHARGE, minus=9))


# ---- units, addresses, bounds --------------------------------------------------------------------------------------
def test_units_are_those_that_the_connection_reaches():
    for rows in ((changed(READS[0], unit=0), CHARGE), (changed(READS[0], unit=255), changed(CHARGE, unit=0))):
        table = {"reads": [rows[0]], "writes": [rows[1]]}
        assert said(table) == ""
        assert "must be a whole number from 1 to 247" in said(table, units=(1, 247))
    for wrong in (-1, 256, 1.5, True, "1", None):
        assert "reads[0].unit = " in said_of_reads(changed(READS[0], unit=wrong)), wrong
        assert "writes[0].unit = " in said_of_writes(changed(CHARGE, unit=wrong)), wrong


def test_serial_lines_have_units_1_to_247():
    """Also those behind a gateway, and those of a table's rows; over TCP there are 0 and 255."""
    serial = ({"bus": "rs485"}, {"host": "10.0.0.2", "transport": "rtu_over_tcp"})
    for kind in ("generic_modbus", "pcs_sunspec", "meter_sunspec"):
        own = {"type": kind, "table": {"reads": READS}} if kind == "generic_modbus" else {"type": kind}
        for unit in (0, 248, 255):
            for way in serial:
                text = said_of_site(changed(changed(own, unit=unit), **way))
                assert text == "devices.x.unit = %d: on a serial line 1 to 247 are allowed" % unit, text
            assert said_of_site(changed(own, unit=unit, host="10.0.0.2")) == ""
        for unit in (1, 247):
            for way in serial:
                assert said_of_site(changed(changed(own, unit=unit), **way)) == ""
    for way in serial:
        table = {"reads": [changed(READS[0], unit=0)], "writes": [changed(CHARGE, unit=255)]}
        text = said_of_site(changed({"type": "generic_modbus", "table": table}, **way))
        for place in ("reads[0].unit = 0", "writes[0].unit = 255"):
            assert "devices.x.table.%s: must be a whole number from 1 to 247" % place in text, text


def test_transport_is_a_host_s():
    device = {"type": "meter_sunspec", "bus": "rs485", "transport": "rtu_over_tcp"}
    assert said_of_site(device) == "devices.x.transport = 'rtu_over_tcp': is for host, a bus has its own"
    assert "allowed are tcp, rtu_over_tcp" in said_of_site({"type": "meter_sunspec", "host": "10.0.0.2", "transport": "udp"})


def test_site_s_own_powers_must_fit_a_table():
    options = {"type": "generic_modbus", "host": "10.0.0.2", "table": {"reads": READS, "writes": [CHARGE, DISCHARGE]}}
    text = said_of_site(options, {"max_charge_power": 65.536, "max_discharge_power": 65})
    assert text.startswith("devices.x.table.writes[0]: the site commands 0 to 65536 W") and "\n" not in text, text
    assert said_of_site(options, {"max_charge_power": 65.5, "max_discharge_power": 65}) == ""


def test_last_register_is_65535():
    for kind, last in (("int16", 65535), ("uint32", 65534), ("float32", 65534)):
        assert said_of_reads(changed(READS[0], address=last, type=kind)) == ""
        assert "address = %d" % (last + 1) in said_of_reads(changed(READS[0], address=last + 1, type=kind))
        assert "from 0 to %d" % last in said_of_writes({"value": 1, "address": last + 1, "type": kind})


def test_bounds_that_nothing_meets_are_refused():
    assert "low = 5: is above high = 4, nothing could be true" in said_of_reads(changed(READS[0], low=5, high=4))
    assert said_of_reads(changed(READS[0], low=4, high=4)) == ""


def test_a_file_that_json_would_pass_over_is_refused_as_a_site_file_is():
    path = scratch.place("table")
    for text, why in (
        ('{"reads": [{"slot": "PV_P", "address": 1}]}', ""),
        ('{"reads": [{"slot": "PV_P", "address": 1\n "scale": 1}]}', 'line 2: a comma is missing in front of "scale"'),
        ('{"reads": [{"slot": "PV_P", "address": 1,\n "address": 7}]}', 'line 2: "address" stands twice'),
    ):
        with open(path, "w") as file:
            file.write(text)
        try:
            Table(path, 100, Conditions())
            told = ""
        except ConfigError as error:
            told = str(error)
        assert (why in told) if why else not told, told
    os.remove(path)
