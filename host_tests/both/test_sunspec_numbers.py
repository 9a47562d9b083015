"""SunSpec's numbers and chains on three interpreters: scale factors, floats, truncation, which model is meant."""

from array import array

from firmware.devices import sunspec_tables as t
from firmware.devices.sunspec import Block
from firmware.devices.sunspec_chain import Chain, NeedsPerson, NotSunSpec
from firmware.devices.sunspec_numbers import from_float, point, scale_factor, scaled, truncate_to_scale
from firmware.image import NO_VALUE

FLOAT32 = getattr(t, "T_FLOAT32", 7)  # a staged tree has the number only


def test_value_is_scaled_by_the_factor_it_came_with():
    registers = array("H", bytes(2 * 44))
    block = Block(t.METER_INT, (203, 40070, 105), registers, 125, 125)
    row = next(at for at in range(0, len(block.rows), 5) if block.rows[at] == 18)
    for raw, factor, watts in ((500, 1, 5000), (53191, 0, -12345), (500, 0xFFFF, 50), (3, 4, 30000), (0x8000, 1, NO_VALUE)):
        registers[18] = raw
        registers[22] = factor
        assert block.value(row) == watts
    registers[18] = 500
    registers[22] = 0x8000
    assert block.value(row) == NO_VALUE
    for none in (11, 0xFFF5, 0x7FFF):
        registers[22] = none
        assert block.value(row) is None
    registers[22] = 10
    assert block.value(row) is None, "500 at a factor of 10 is no watts"


def test_scale_factors():
    assert [scale_factor(raw) for raw in (0, 10, 0xFFF6, 0x8000, 11, 0xFFF5)] == [0, 10, -10, NO_VALUE, None, None]


def test_block_in_pieces_reads_its_factors_first_and_once_more_and_wants_them_the_same():
    registers = array("H", bytes(2 * 44))
    block = Block(t.METER_INT, (203, 40070, 105), registers, 5, 5)
    assert len(block.pieces) > 1 and block.pieces[: len(block.again)] == block.again
    assert any(address <= 40070 + 22 < address + count for address, count, _ in block.again), "W_SF"
    registers[22] = 1
    assert not block.is_steady()
    assert block.is_steady()
    registers[22] = 0
    assert not block.is_steady()
    assert block.is_steady()
    assert Block(t.METER_INT, (203, 40070, 105), registers, 125, 125).again == (), "one request is one instant"


def test_floats_of_a_megawatt_are_exact():
    assert from_float(0x4974, 0x2400, 1, 1) == 1000000
    assert from_float(0xC99E, 0xB100, 1, 1) == -1300000
    assert from_float(0x4974, 0x2400, 1000, 1) == 1000000000
    assert from_float(0x4974, 0x2400, -1, 1) == -1000000
    assert from_float(0x3D96, 0x52BD, 1000000, 1) == 73400
    assert from_float(0x7FC0, 0, 1, 1) == NO_VALUE
    assert from_float(0x7F80, 0, 1, 1) is None
    assert from_float(0x7F7F, 0xFFFF, 1, 1000000) is None
    assert from_float(0, 1, 1000000, 1) == 0
    assert point(array("H", (0x4974, 0x2408)), 0, FLOAT32, 1) == 10000005


def test_scaling_rounds_and_refuses():
    assert scaled(15, -1) == 2 and scaled(-15, -1) == -2 and scaled(14, -1) == 1
    assert scaled(2, 9) is None and scaled(1, 9) == 1000000000


def test_setpoints_are_truncated_towards_zero_and_to_what_is_held():
    assert truncate_to_scale(40009, 1, 32767) == 4000 and truncate_to_scale(-40009, 1, 32767) == -4000
    assert truncate_to_scale(40000, 0, 32767) == 32767 and truncate_to_scale(-40000, 0, 32767) == -32767
    assert truncate_to_scale(100000, -10, 2147483647) == 2147483647


def chain(*models):
    one = Chain()
    address = 40002
    for model in models:
        one.add(model, address, 10)
        address += 12
    return one


def test_a_model_that_comes_twice_has_to_be_named():
    one = chain(1, 103, 124, 124)
    one.narrow(one.of_kind((103,)), 0, -1)
    assert one.the(103) == (103, 40014, 10) and one.the(704) is None
    try:
        one.the(124)
        raise AssertionError("not refused")
    except NeedsPerson as error:
        assert "40026" in str(error) and "40038" in str(error) and "which" in str(error)
    one.narrow(one.of_kind((103,)), 0, 1)
    assert one.the(124) == (124, 40038, 10)


def test_what_stands_behind_a_common_model_belongs_together():
    one = chain(1, 103, 124, 1, 103, 124, 1, 203)
    one.narrow(one.of_kind((103,)), 1, -1)
    assert one.the(124) == (124, 40062, 10) and one.the(203) is None
    assert one.common_before(one.the(124)) == (1, 40038, 10)


def test_rubbish_is_no_chain():
    one = chain(1)
    for model, address, length in ((0, 40014, 5), (5, 65000, 600)):
        try:
            one.add(model, address, length)
            raise AssertionError("not refused")
        except NotSunSpec:
            pass
