"""Reads site.json and builds what it describes: configuration, buses, devices.  Every error is listed at once."""

import json

from firmware import buses as bus_kinds
from firmware import config
from firmware import image as im
from firmware.errors import ConfigError

SCHEMA = 1
_TOP = (
    ("schema", "int", config.REQUIRED, SCHEMA, SCHEMA, "version of this file's form"),
    ("name", "str", "site", 1, 64, "of the site"),
    ("power", "any", {}, 0, 0, "PowerConfig"),
    ("cycle_ms", "any", None, 0, 0, "ms; the same as power.cycle_ms"),
    ("buses", "any", {}, 0, 0, "bus by name"),
    ("devices", "any", {}, 0, 0, "device by name"),
    ("wifi", "any", None, 0, 0, "ssid and password"),
    ("board", "any", None, 0, 0, "the board's description, kept for people"),
)
_WIFI = (
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


class Site:
    """A checked site: config, image, buses and devices by name, `has`, `wifi`, and what is wrong with it (`errors`)."""

    def __init__(self, content: dict) -> None:
        self.errors: list = []
        top = config.check(_TOP, content, "site", self.errors)
        self.name = top.get("name", "site")
        self.image = im.Image()
        self.config = self._power(top)
        self.wifi = config.check(_WIFI, top["wifi"], "wifi", self.errors) if top.get("wifi") else None
        self.buses = {}
        self.devices = {}
        self.has = 0
        if not self.errors:
            self.buses = bus_kinds.build(top["buses"], self.errors)
            for name in sorted(top["devices"]):
                self._device(name, top["devices"][name])

    def _power(self, top: dict):
        given = dict(top.get("power") or {})
        if top.get("cycle_ms") is not None:
            given["cycle_ms"] = top["cycle_ms"]
        try:
            return config.PowerConfig(**given)
        except ConfigError as error:
            self.errors.extend(error.errors)
        except (TypeError, ValueError) as error:
            self.errors.append("power: %s" % error)
        return config.PowerConfig()

    def _device(self, name: str, given: dict) -> None:
        given = dict(given)
        kind = given.pop("type", None)
        try:
            module = __import__("firmware.devices.%s" % kind, None, None, ("Device",))
        except (ImportError, ValueError, TypeError):
            self.errors.append("devices.%s.type = %r: there is no such driver in firmware/devices" % (name, kind))
            return
        before = len(self.errors)
        options = config.check(module.OPTIONS, given, "devices." + name, self.errors)
        if len(self.errors) > before:
            return
        try:
            self.devices[name] = module.Device(name, options, self.image, self.buses)
            self.has |= options["brings"] if "brings" in options else _BRINGS.get(kind.split("_")[0], 0)
        except (OSError, KeyError, ValueError, ConfigError) as error:
            self.errors.append("devices.%s: %s" % (name, error))
