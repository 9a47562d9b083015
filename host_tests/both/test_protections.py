"""The one table of protections: every bit of the image has its row, and what a row forbids is what the cycle forbids."""

from rows import each

from firmware import battery_words, protections
from firmware import image as im
from firmware.config import PowerConfig
from firmware.parameters import apply

BITS = (
    im.BMS_PROT_OVER_V,
    im.BMS_PROT_UNDER_V,
    im.BMS_PROT_OVER_T,
    im.BMS_PROT_UNDER_T,
    im.BMS_PROT_OVER_I_DIS,
    im.BMS_PROT_OVER_I_CHG,
    im.BMS_PROT_SYSTEM,
    im.BMS_PROT_OVER_T_CHG,
    im.BMS_PROT_OVER_T_DIS,
    im.BMS_PROT_UNDER_T_CHG,
    im.BMS_PROT_UNDER_T_DIS,
    im.BMS_PROT_SHORT,
    im.BMS_PROT_CONTACTOR,
    im.BMS_PROT_INSULATION,
    im.BMS_PROT_IMBALANCE,
    im.BMS_PROT_GENERAL,
    im.BMS_PROT_MODULE_CHG,
    im.BMS_PROT_MODULE_DIS,
    im.BMS_PROT_MODULE_OFF,
    im.BMS_PROT_OTHER,
)


def test_every_bit_has_its_row_and_its_words():
    rows = list(each(protections.TABLE))
    assert [row[1] for row in rows] == list(BITS) == [1 << i for i in range(len(rows))]
    assert len({row[0] for row in rows}) == len(rows)
    assert battery_words.conditions(im.BMS_PROT_UNDER_V | im.BMS_PROT_SHORT) == ["under-voltage", "short circuit"]
    assert battery_words.conditions(im.NO_VALUE) == [] == battery_words.conditions(0)


def test_what_separates_forbids_both_and_what_only_warns_forbids_nothing():
    image = im.Image()
    apply(PowerConfig().whole(), image.par, 0)
    charge, discharge, separate = (image.par[slot] for slot in (im.PAR_PROT_CHG, im.PAR_PROT_DIS, im.PAR_PROT_SEP))
    assert separate == im.BMS_PROT_SYSTEM | im.BMS_PROT_SHORT | im.BMS_PROT_CONTACTOR | im.BMS_PROT_INSULATION
    assert separate & charge == separate == separate & discharge
    assert charge & discharge == separate | im.BMS_PROT_OVER_T
    assert (charge | discharge) & (im.BMS_PROT_IMBALANCE | im.BMS_PROT_GENERAL | im.BMS_PROT_OTHER) == 0
    assert charge & im.BMS_PROT_UNDER_V == 0 and discharge & im.BMS_PROT_OVER_V == 0


def test_readings_are_told_with_their_unit():
    assert battery_words.reading(im.BMS_TEMP, -1500) == "temperature -150.0 degC"
    assert battery_words.reading(im.CELL_V_MAX, 4095) == "highest cell voltage 4095 mV"
    assert battery_words.reading(im.BMS_SOC, 10500) == "state of charge 105.0 %"
    assert battery_words.odd(1 << im.CELL_T_MIN - im.BMS_SOC) == ["lowest cell temperature"]
