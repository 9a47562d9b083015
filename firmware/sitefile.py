"""Reads site.json and builds what it describes: configuration, buses, devices.  Every error is listed at once."""

import json

from firmware import buses as bus_kinds
from firmware import config
from firmware import image as im
from firmware.errors import ConfigError

_TOP_ROWS = (
    ("schema", "int", config.REQUIRED, 1, 1, "version of this file's form"),
    ("name", "str", "site", 1, 64, "of the site"),
    ("power", "any", {}, 0, 0, "PowerConfig"),
    ("cycle_ms", "any", None, 0, 0, "ms; the same as power.cycle_ms"),
    ("buses", "any", {}, 0, 0, "bus by name"),
    ("devices", "any", {}, 0, 0, "device by name"),
    ("wifi", "any", None, 0, 0, "ssid and password"),
    ("clock", "any", None, 0, 0, "time zone and sources of the time, for schedules"),
    ("storage", "any", None, 0, 0, "where schedules, energy counters and the event log are kept"),
    ("board", "any", None, 0, 0, "the board's description, kept for people"),
)
_WIFI_ROWS = (
    ("ssid", "str", config.REQUIRED, 1, 32, "of the network"),
    ("password", "str", "", 0, 63, "of the network, empty: open"),
    ("country", "str", "XX", 2, 2, "two letters, for the channels"),
)
# what a device of a kind brings to the site, by the first word of its type
_BRINGS = {"bms": im.HAS_BMS, "pcs": im.HAS_PCS, "meter": im.HAS_METER, "pv": im.HAS_PV, "io": im.HAS_IO}


def read(path: str) -> dict:
    """The file's content; ConfigError that names the file if it cannot be read or is no JSON object."""
    try:
        with open(path) as file:
            site = json.load(file)
    except OSError as error:
        raise ConfigError(["%s: cannot be read (%s)" % (path, error)])
    except ValueError as error:
        raise ConfigError(["%s: is not JSON (%s)" % (path, error)])
    if not isinstance(site, dict):
        raise ConfigError(["%s: must be a JSON object" % path])
    return site


def build(content: dict, site) -> None:
    """Fill an app.Site from the file's content; what is wrong goes to site.errors, and then no device is built."""
    errors = site.errors
    top = config.check(_TOP_ROWS, content, "site", errors)
    site.name = top.get("name", "site")
    given = dict(top.get("power") or {})
    if top.get("cycle_ms") is not None:
        given["cycle_ms"] = top["cycle_ms"]
    try:
        site.config = config.PowerConfig(**given)
    except ConfigError as error:
        errors.extend(error.errors)
    except (TypeError, ValueError) as error:
        errors.append("power: %s" % error)
    if top.get("wifi"):
        site.wifi = config.check(_WIFI_ROWS, top["wifi"], "wifi", errors)
    if top.get("clock") is not None or top.get("storage") is not None:
        from firmware import timeline

        site.clock = config.check(timeline.CLOCK_OPTIONS, top.get("clock") or {}, "clock", errors)
        site.storage = config.check(timeline.STORAGE_OPTIONS, top.get("storage") or {}, "storage", errors)
    if not errors:
        site.buses = bus_kinds.build(top["buses"], errors)
        for name in sorted(top["devices"]):
            _device(site, name, top["devices"][name])


def _device(site, name: str, given: dict) -> None:
    given = dict(given)
    kind = given.pop("type", None)
    try:
        module = __import__("firmware.devices.%s" % kind, None, None, ("Device",))
    except (ImportError, ValueError, TypeError):
        site.errors.append("devices.%s.type = %r: there is no such driver in firmware/devices" % (name, kind))
        return
    before = len(site.errors)
    options = config.check(module.OPTIONS, given, "devices." + name, site.errors)
    if len(site.errors) > before:
        return
    try:
        site.devices[name] = module.Device(name, options, site.image, site.buses)
        site.has |= getattr(site.devices[name], "brings", 0) or _BRINGS.get(kind.split("_")[0], 0)
    except (OSError, KeyError, ValueError, ConfigError) as error:
        site.errors.append("devices.%s: %s" % (name, error))
