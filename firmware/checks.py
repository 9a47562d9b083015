"""Checks values against tables of rows (config.py), all at once.  Not needed once the site runs: app.py unloads it."""

from rows import each

from firmware import config
from firmware.charge_methods import ChargeMethod
from firmware.errors import ConfigError, PowerError, in_range


def _distance(a: str, b: str) -> int:
    """How many letters to change, add or drop to make b of a (Levenshtein)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a):
        left = row[0]
        row[0] = i + 1
        for j, y in enumerate(b):
            new = min(row[j] + 1, row[j + 1] + 1, left + (x != y))
            left = row[j + 1]
            row[j + 1] = new
    return row[-1]


def _nearest(key: str, known: list) -> str:
    best = min(known, key=lambda name: _distance(key, name))
    return "; did you mean %s?" % best if _distance(key, best) <= max(2, len(key) // 3) else ""


def _value(row, value):
    """One value against its row; raises PowerError or ValueError."""
    key, kind, _, low, high, unit = row
    if not isinstance(kind, str):
        if value not in kind:
            raise ValueError("%s = %r: allowed are %s" % (key, value, ", ".join(kind)))
        return value
    if kind == "any":
        return value  # checked by the class itself
    if kind == "str":
        if not isinstance(value, str) or (high and not low <= len(value) <= high):
            raise ValueError("%s = %r: must be a text of %d to %d characters" % (key, value, low, high))
        return value
    return in_range(key, value, low, high, unit, {"float": float, "int": int, "bool": bool}[kind])


def check(rows, given: dict, where: str, errors: list, unusual: bool = False) -> dict:
    """See config.check; `unusual`: the result holds only what is given and differs from its default."""
    if not isinstance(given, dict):
        errors.append("%s = %r: must be an object of keys and values" % (where, given))
        return {}
    result = {}
    unknown = set(given)
    first = len(errors)
    for row in each(rows):  # one after the other: there is no room for all of a long table at once
        key = row[0]
        if key in given:
            unknown.discard(key)
            try:
                value = _value(row, given[key])
                if not unusual or value != _usual(row):
                    result[key] = value
            except (PowerError, ValueError) as error:
                errors.append("%s.%s" % (where, error))
        elif row[2] == config.REQUIRED:
            errors.append("%s.%s: is missing (%s)" % (where, key, row[5]))
        elif not unusual:
            result[key] = _usual(row)
    for key in given:
        if key in unknown:
            errors.insert(first, "%s.%s: no such key%s" % (where, key, _nearest(key, [row[0] for row in each(rows)])))
            first += 1
    return result


def _usual(row):
    """A row's default."""
    return float(row[2]) if row[1] == "float" else row[2]


def fill(checked, given: dict) -> None:
    """What a config.Checked does when it is made: check the whole, keep what is not as usual."""
    errors: list = []
    found = check(checked.ROWS, given, checked.WHERE, errors, True)
    for key in found:
        setattr(checked, key, found[key])
    if not errors:
        checked._check_together(errors)
    if errors:
        raise ConfigError(errors)


def default(rows, name: str):
    """The default of a field; AttributeError if there is none of that name."""
    for row in each(rows):
        if row[0] == name:
            return _usual(row)
    raise AttributeError(name)


def values(checked):
    """See config.Checked.each."""
    kept = checked.__dict__
    for row in each(checked.ROWS):
        yield row[0], kept.get(row[0], _usual(row))


_ASCENDING = (  # fields of PowerConfig, each pair the lower one first
    ("min_soc", "max_soc"),
    ("cell_voltage_min", "cell_voltage_max"),
    ("cell_voltage_max", "cell_trip_high"),
    ("cell_trip_low", "cell_voltage_min"),
    ("charge_temp_zero_low", "charge_temp_full_low"),
    ("charge_temp_full_low", "charge_temp_full_high"),
    ("charge_temp_full_high", "charge_temp_zero_high"),
    ("discharge_temp_zero_low", "discharge_temp_full_low"),
    ("discharge_temp_full_low", "discharge_temp_full_high"),
    ("discharge_temp_full_high", "discharge_temp_zero_high"),
)


def together(config, errors: list) -> None:
    """PowerConfig's rules that need two fields."""
    wanted = {name for pair in _ASCENDING for name in pair}
    power = {name: value for name, value in values(config) if name in wanted}
    for low, high in _ASCENDING:
        if power[low] >= power[high]:
            errors.append("power.%s = %s: must be below %s = %s" % (low, power[low], high, power[high]))
    if config.cycle_ms % 10:
        errors.append("power.cycle_ms = %d: allowed are 20 to 1000 ms in steps of 10" % config.cycle_ms)
    if power["max_soc"] - power["min_soc"] < 2 * config.soc_taper:
        errors.append("power.soc_taper = %s: must fit twice between min_soc and max_soc" % config.soc_taper)


def stages(params, errors: list) -> None:
    """ChargeParams' rules for its stages."""
    before = 0.0
    given = params.stages
    if len(given) > 8:
        errors.append("charge.stages: %d stages: allowed are 0 to 8" % len(given))
    for stage in given:
        if len(stage) != 2 or not before < stage[0] <= 100 or not 0 < stage[1] <= 1000:
            errors.append("charge.stages: %r: must be (SoC above %s, at most 100 %%; 0 to 1000 A)" % (stage, before))
            return
        before = stage[0]
    if params.method == ChargeMethod.MULTI_STAGE and not given:
        errors.append("charge.stages: is empty: MULTI_STAGE needs 1 to 8 pairs (SoC %, A)")
