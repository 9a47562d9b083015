"""What a silent device said last is told nobody as what is now, whoever asks."""

from firmware import believed, reasons
from firmware import image as im
from firmware.services import monitor
from firmware.web import state
from host_tests.both.metricsrig import App

# SEQ of a device that falls silent, what of it stats(), the monitor's line and the page had told, and what they go on telling
SILENT = (
    (im.SEQ_PCS, "power dc_bus_voltage load_power", "p load_p", "battery_w load_w", "soc voltage grid_power grid_frequency"),
    (im.SEQ_METER, "grid_power grid_current load_power", "grid_p load_p", "grid_w load_w", "power soc voltage grid_frequency"),
    (im.SEQ_PV, "pv_power", "pv_p", "pv_w", "power grid_power load_power"),  # it sleeps at night: 0 in the load
    (im.SEQ_BMS, "voltage current temperature soh", "v i temp", "", "power soc grid_power"),
    (im.SEQ_BMS_CELLS, "cell_max cell_min", "", "", "voltage power"),
)


def line(app) -> dict:
    """The monitor's, as far as what is measured goes."""
    said = {}
    for key, value in monitor.state(app):
        if key == "reason":
            break
        said[key] = value
    return said


def faced(app) -> tuple:
    return app.pm.stats(), line(app), dict(state.brief(app))


def silenced(seq: int) -> tuple:
    """What the three say before and after one falls silent for a minute and a half."""
    app = App()
    before = faced(app)
    app.plant.silent.add(seq)
    app.plant.run(90)
    return app, before, faced(app)


def test_who_falls_silent_has_no_power_nor_voltage_any_more():
    for seq, *gone, stays in SILENT:
        _, before, after = silenced(seq)
        for had, has, keys in zip(before, after, gone):
            for key in keys.split():
                assert had[key] is not None and has[key] is None, "%s of group %d: %r" % (key, seq, has[key])
        for key in stays.split():
            assert after[0][key] is not None, "%s, without group %d" % (key, seq)


def test_the_reason_still_knows_what_it_was():
    app, _, after = silenced(im.SEQ_PCS)
    assert "inverter" in after[0]["reason"] and after[0]["reason"] == reasons.why(app.pm.instant())


def test_who_speaks_again_is_told_again():
    app, _, after = silenced(im.SEQ_METER)
    assert after[0]["grid_power"] is None
    app.plant.silent.clear()
    app.plant.run(3)
    assert app.pm.stats()["grid_power"] is not None and dict(state.brief(app))["grid_w"] is not None


def test_of_several_of_which_one_never_spoke_what_the_others_say_is_not_the_site_s():
    image = App().pm.image
    image.now[im.AGE + im.SEQ_BMS] = im.AGE_NEVER  # the oldest of several batteries'
    told = believed.told(image.now, image.par)
    for slot in (im.BMS_V, im.BMS_I):
        assert image.now[slot] != im.NO_VALUE and told[slot] == im.NO_VALUE
        assert believed.value(image.now, image.par, slot) == im.NO_VALUE
    assert told[im.METER_P] == image.now[im.METER_P] and told is not image.now
