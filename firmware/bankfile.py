"""The section "banks" of a site file: which batteries and inverters hang on one DC bus.  Loaded only where there is one."""

import pinowners
from micropython import const

from firmware import config
from firmware import image as im
from firmware.banks import MOST, divide
from firmware.errors import ConfigError

_BATTERY = const(0x1F)  # bits of sitefile's groups: what a battery fills
_SITE_ONLY = const((  # fields of "power" that are the site's: one grid, one beat, one rule for starting
    "grid_connection", "max_grid_export_power", "allow_grid_charging", "allow_grid_export", "cycle_ms", "grid_frequency",
    "grid_voltage", "meter_timeout_ms", "resume", "resume_manual", "ramp_up", "ramp_down", "service_power",
))  # fmt: skip
_NAME_MAX = const(16)  # it stands in every sentence about its bank
_KEYS = const(("batteries", "inverters", "io", "power"))
_HINT = const('a site with several batteries or inverters says in "banks" which hang on one DC bus: %s')
_EXAMPLE = const('"banks": {"a": {"batteries": ["bms_a"], "inverters": ["pcs_a"]}, ...}')


class Plan:
    """One bank: its name, its PowerConfig, and the names of its devices."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.config = None
        self.batteries: list = []
        self.inverters: list = []
        self.io = ""


def hint() -> str:
    """What two batteries or inverters without the section need."""
    return _HINT % _EXAMPLE


def check(section, power: dict, fills: dict, errors: list) -> list:
    """The Plans of a section; what is wrong goes to `errors`.

    power: the site's section "power" as it was given; fills: for each device the bits of the groups that it fills.
    """
    if not isinstance(section, dict) or not 1 <= len(section) <= MOST:
        errors.append("banks = %s: must be an object of 1 to %d named banks: %s" % (pinowners.shown(section), MOST, _EXAMPLE))
        return []
    plans = [_bank(name, section[name], power, fills, errors) for name in sorted(section)]
    owners: dict = {}
    for plan in plans:
        owner = owners.setdefault(("io", plan.io), plan.name) if plan.io else plan.name
        if owner != plan.name:
            errors.append("banks.%s.io: devices.%s is read for bank %s already" % (plan.name, plan.io, owner))
        for role in ("batteries", "inverters"):
            for device in getattr(plan, role):
                owner = owners.setdefault((role, device), plan.name)
                if owner != plan.name:
                    errors.append("banks.%s.%s: devices.%s hangs on bank %s already" % (plan.name, role, device, owner))
    for role, mask, what in (("batteries", _BATTERY, "battery"), ("inverters", 1 << im.SEQ_PCS, "inverter")):
        found = [name for name in sorted(fills) if fills[name] & mask]
        for name in found:
            if (role, name) not in owners:
                errors.append("banks: no bank has the %s devices.%s; each hangs on one DC bus" % (what, name))
        if len(found) > MOST:
            errors.append("banks: %d %s, at most %d" % (len(found), role, MOST))
    return plans


def _bank(name: str, given, power: dict, fills: dict, errors: list) -> Plan:
    plan = Plan(name)
    where = "banks.%s" % name
    if not _is_name(name):
        errors.append("banks: %r is no name: 1 to %d letters, digits, _ or -" % (name, _NAME_MAX))
    if not isinstance(given, dict):
        errors.append("%s = %s: must be an object" % (where, pinowners.shown(given)))
        return plan
    for key in sorted(given):
        if key not in _KEYS:
            errors.append("%s.%s: unknown; known are %s" % (where, key, ", ".join(_KEYS)))
    plan.batteries = _devices(where + ".batteries", given.get("batteries"), _BATTERY, "battery", fills, errors)
    plan.inverters = _devices(where + ".inverters", given.get("inverters"), 1 << im.SEQ_PCS, "inverter", fills, errors)
    for device in plan.batteries:
        if device in plan.inverters and len(plan.batteries) + len(plan.inverters) > 2:
            errors.append("%s: devices.%s is battery and inverter in one: alone in its bank" % (where, device))
    io = given.get("io")
    if io is None:
        io = ""
    elif not isinstance(io, str) or not fills.get(io, 0) >> im.SEQ_IO & 1:
        errors.append("%s.io = %s: must be the name of a device that reads board inputs" % (where, pinowners.shown(io)))
        io = ""
    plan.io = io
    plan.config = _config(where, given.get("power"), power, errors)
    return plan


def _is_name(name: str) -> bool:
    return (
        isinstance(name, str)
        and 1 <= len(name) <= _NAME_MAX
        and not any(not ("a" <= sign <= "z" or "A" <= sign <= "Z" or "0" <= sign <= "9" or sign in "_-") for sign in name)
    )


def _devices(where: str, names, mask: int, what: str, fills: dict, errors: list) -> list:
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        errors.append("%s = %s: must be a list of names of devices" % (where, pinowners.shown(names)))
        return []
    known = [name for name in sorted(fills) if fills[name] & mask]
    for i, name in enumerate(names):
        if name not in known:
            errors.append("%s: %r is no %s; those are %s" % (where, name, what, ", ".join(known) or "none"))
        elif name in names[:i]:
            errors.append("%s: %r stands there twice" % (where, name))
    return [name for i, name in enumerate(names) if name in known and name not in names[:i]]


def _config(where: str, given, power: dict, errors: list):
    """The bank's PowerConfig: the site's, and what its own section says otherwise."""
    given = {} if given is None else given
    if not isinstance(given, dict):
        errors.append("%s.power = %s: must be an object of keys and values" % (where, pinowners.shown(given)))
        return None
    for key in sorted(given):
        if key in _SITE_ONLY:
            errors.append("%s.power.%s: is the site's; it stands in the site's power section only" % (where, key))
    merged = dict(power)
    merged.update(given)
    try:
        return config.PowerConfig(**merged)
    except ConfigError as error:
        errors.extend(["%s.%s" % (where, text) for text in error.errors])
    except (TypeError, ValueError) as error:
        errors.append("%s.power: %s" % (where, error))
    return None


def build(site, plans: list) -> dict:
    """Divide the site's image; the Image of each device that has one of its own, by name."""
    rows = [(plan.name, plan.config, len(plan.batteries), len(plan.inverters), im.HAS_IO if plan.io else 0) for plan in plans]
    divide(site.image, rows)
    found = {}
    for plan, bank in zip(plans, site.image.banks):
        for names, images in ((plan.inverters, bank.inverters), (plan.batteries, bank.batteries)):
            for name, own in zip(names, images):
                found[name] = own
                if own is not bank:
                    own.name = name
        if plan.io:
            found[plan.io] = bank
    return found
