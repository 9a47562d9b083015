"""The process image behaves alike on CPython and on both MicroPythons."""

from firmware import image


def test_nothing_was_heard_at_first():
    fresh = image.Image()
    for slot in range(9):
        assert fresh.now[image.AGE + slot] == image.AGE_NEVER
    assert fresh.inp[image.BMS_V] == image.NO_VALUE


def test_heard_counts_and_wraps_inside_a_small_int():
    fresh = image.Image()
    before = fresh.inp[image.SEQ_BMS]
    fresh.heard(image.SEQ_BMS)
    assert fresh.inp[image.SEQ_BMS] == before + 1
    fresh.inp[image.SEQ_BMS] = 0x3FFFFFFF
    fresh.heard(image.SEQ_BMS)
    assert fresh.inp[image.SEQ_BMS] == 0


def test_slots_take_every_value_the_house_allows():
    fresh = image.Image()
    for value in ((1 << 30) - 1, -((1 << 30) - 1), image.NO_VALUE):
        fresh.inp[image.PCS_P] = value
        assert fresh.inp[image.PCS_P] == value
