"""PowerConfig: what is allowed, every error at once by name, value and range, and that each field reaches the cycle."""

from rows import each

from firmware import ChargeParams, DischargeParams, PowerConfig
from firmware import image as im
from firmware.config import FIELDS
from firmware.errors import ConfigError, PowerError
from firmware.flows import Grid
from host_tests.both.plant import Plant, refusal

REFERENCE = (  # the fields of the reference firmware
    "grid_connection",
    "module_count",
    "system_voltage_nominal",
    "max_charge_power",
    "max_discharge_power",
    "max_grid_export_power",
    "min_soc",
    "max_soc",
    "allow_grid_charging",
    "allow_grid_export",
    "inverter_efficiency",
    "auto_restart",
)


def test_the_default_is_the_default_site():
    config = PowerConfig()
    assert (config.module_count, config.system_voltage_nominal, config.grid_connection) == (13, 624.0, Grid.INTERACTIVE)
    assert (config.max_charge_power, config.max_discharge_power, config.max_grid_export_power) == (100.0, 100.0, 100.0)
    assert (config.min_soc, config.max_soc, config.inverter_efficiency, config.auto_restart) == (20.0, 90.0, 95.0, True)
    assert (config.cycle_ms, config.cells_per_module, int(config.capacity_ah())) == (50, 15, 333)


def test_the_defaults_of_every_set_fit_together():
    for kind in (PowerConfig, ChargeParams, DischargeParams):
        made = kind()
        kind(**{row[0]: getattr(made, row[0]) for row in each(kind.ROWS)})


def test_every_field_of_the_reference_is_there():
    for name in REFERENCE:
        assert name in [row[0] for row in each(FIELDS)], name
    PowerConfig(**{name: getattr(PowerConfig(), name) for name in REFERENCE})


def test_every_default_lies_inside_its_range_and_both_ends_are_allowed_and_beyond_is_not():
    for name, kind, default, low, high, _ in each(FIELDS):
        if kind in ("bool",) or not isinstance(kind, str):
            continue
        assert low <= default <= high, name
        for wrong in (low - 1, high + 1):
            said = refusal(ConfigError, PowerConfig, **{name: wrong})
            assert "power.%s" % name in said and str(wrong) in said and str(high) in said and str(low) in said, said
        for wrong in ("x", None, float("nan"), [1]):
            if name == "grid_connection" and wrong == "x":
                continue  # its own test
            said = refusal(ConfigError, PowerConfig, **{name: wrong})
            assert name in said and "number" in said, said


def test_a_switch_is_a_switch():
    for name in ("allow_grid_charging", "allow_grid_export", "auto_restart"):
        for wrong in ("yes", None, 2, -1, 0.5):
            assert name in refusal(ConfigError, PowerConfig, **{name: wrong})
        assert getattr(PowerConfig(**{name: False}), name) is False


def test_all_errors_are_told_at_once():
    said = refusal(ConfigError, PowerConfig, max_soc=101, cycle_ms=10, ramp_up=0, module_count=1.5, soc_rounding="up")
    for piece in ("max_soc = 101", "cycle_ms = 10", "ramp_up = 0", "module_count = 1.5", "soc_rounding", "nearest, down"):
        assert piece in said, "%r is not in %s" % (piece, said)
    try:
        PowerConfig(max_soc=101, cycle_ms=10, ramp_up=0)
    except ConfigError as error:
        assert len(error.errors) == 3 and isinstance(error, PowerError)


def test_an_unknown_field_is_refused_with_the_nearest_name():
    said = refusal(ConfigError, PowerConfig, max_charg_power=50)
    assert "max_charg_power" in said and "did you mean max_charge_power" in said


def test_fields_that_contradict_each_other_are_refused():
    for given, piece in (
        ({"min_soc": 60, "max_soc": 50}, "min_soc"),
        ({"min_soc": 50, "max_soc": 50}, "min_soc"),
        ({"min_soc": 50, "max_soc": 53}, "soc_taper"),
        ({"cell_voltage_max": 3.8}, "cell_trip_high"),
        ({"cell_voltage_min": 2.3}, "cell_trip_low"),
        ({"charge_temp_full_low": 50}, "charge_temp_full_low"),
        ({"discharge_temp_zero_high": 40}, "discharge_temp_full_high"),
        ({"cycle_ms": 55}, "cycle_ms"),
    ):
        assert piece in refusal(ConfigError, PowerConfig, **given), given


def test_cycle_is_20_to_1000_ms_in_steps_of_10():
    for ms in (20, 50, 110, 1000):
        assert PowerConfig(cycle_ms=ms).cycle_ms == ms


def test_the_grid_connection_may_be_named():
    assert PowerConfig(grid_connection="backup").grid_connection == Grid.BACKUP
    said = refusal(ValueError, PowerConfig, grid_connection="offgrid")
    assert "offgrid" in said and "ISOLATED" in said


def test_a_broken_configuration_never_reaches_a_manager():
    for wrong in ({"min_soc": -1}, {"max_charge_power": float("inf")}):
        refusal(ConfigError, Plant, **wrong)


def test_every_field_reaches_the_cycle_or_the_manager():
    """Two managers that differ in one field differ in the cycle's integers (or the field is the manager's own)."""
    other = {
        "grid_connection": 1,
        "module_count": 12,
        "system_voltage_nominal": 600.0,
        "soc_rounding": "down",
        "soc_taper": 3.0,
        "min_soc": 22.0,
        "cell_trip_high": 3.7,
        "cell_trip_low": 2.5,
        "cell_voltage_max": 3.5,
        "cell_voltage_min": 2.9,
    }
    own = ("auto_restart", "cycle_ms", "restart_delay", "restart_limit", "resume", "resume_manual")
    plain = list(Plant().image.par)
    for name, kind, default, _low, high, _ in each(FIELDS):
        if name in own:
            continue
        if name in other:
            value = other[name]
        elif kind == "bool":
            value = not default
        else:
            value = default + 1 if default + 1 <= high else default - 1
        assert list(Plant(**{name: value}).image.par) != plain, "%s = %r changes nothing" % (name, value)


def test_names_and_codes_go_both_ways():
    for code, name in enumerate(("ISOLATED", "BACKUP", "INTERACTIVE", "EXPORT")):
        assert Grid.name(code) == name and Grid.parse(name.lower()) == code
    assert im.HAS_BMS == 1
