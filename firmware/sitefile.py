"""Reads, checks, saves site.json and builds what it describes.  Every error of the whole file is listed at once."""

import gc
import json

import pinowners
import startup
import watchdog
from ipv4 import number
from micropython import const
from safestore import Store, StoreError

from firmware import buses, config, loading
from firmware import image as im
from firmware.devices import connection
from firmware.errors import ConfigError
from firmware.flows import Grid
from firmware.groups import GROUPS
from firmware.site import Site

_TOP_ROWS = (
    ("schema", "int", "REQUIRED", 1, 1, "version of this file's form"),
    ("name", "str", "site", 1, 64, "of the site"),
    ("power", "any", {}, 0, 0, "PowerConfig"),
    ("cycle_ms", "any", None, 0, 0, "ms; the same as power.cycle_ms"),
    ("banks", "any", None, 0, 0, "which batteries and inverters hang on one DC bus, where there are several"),
    ("buses", "any", {}, 0, 0, "bus by name"),
    ("devices", "any", {}, 0, 0, "device by name"),
    ("wifi", "any", None, 0, 0, "ssid and password"),
    ("clock", "any", None, 0, 0, "time zone and sources of the time, for schedules"),
    ("storage", "any", None, 0, 0, "where schedules, energy counters and the event log are kept"),
    ("services", "any", {}, 0, 0, "service by name; false: not this one"),
    ("board", "any", None, 0, 0, "the board's description, kept for people"),
)
_WIFI_ROWS = (
    ("ssid", "str", "REQUIRED", 1, 32, "of the network"),
    ("password", "str", "", 0, 63, "of the network, empty: open"),
    ("country", "str", "XX", 2, 2, "two letters, for the channels"),
)
_REFUSAL = const(120)  # characters of why a site is refused
_LINES = const(20)  # of errors are printed: a person reads no more, and each takes time in boot
_WIDTH = const(300)  # characters of each
_NAME_MOST = const(64)  # characters: an owner of limits has no more
_WPA_LEAST = const(8)  # characters of a password that any access point takes

# By the first word of its type: what a device brings to the site, and what it fills, unless its driver says so itself
# (`brings`, `fills(options)`).  Bit = SEQ slot of a group, which has one owner, and behind them the power command.
_BRINGS: dict = {}
_FILLS: dict = {}
_FILLED = []  # in words
for _seq, _first, _last, _brings, _kind, _words in GROUPS:
    _BRINGS[_kind] = _BRINGS.get(_kind, 0) | _brings
    _FILLS[_kind] = _FILLS.get(_kind, 0) | 1 << _seq
    _FILLED.append(_words)
_FILLS["pcs"] |= 1 << len(_FILLED)
_FILLED.append("the power command")
_WITNESSES = _FILLS["pcs"] | _FILLS["meter"]  # who may see the grid
_IN_BANKS = _FILLS["bms"] | _FILLS["pcs"]  # what each bank has of its own
# services that a site has without naming them, in the order in which they are built: kind, the sections of which one brings it
# ("": every site has it, always), and the one with its options
_IMPLIED = const((
    ("console", "", ""),
    ("emergency_memory", "", ""),
    ("calendar", "clock storage", "clock"),
    ("records", "clock storage", "storage"),
))
_ONCE = const(("history",))  # two would write the same files


def store(path: str):
    """The file as a Store: saved whole or not at all, with a CRC, the version before kept; a person may write it too."""
    return Store(path, 1, by_hand=True, longest=pinowners.SITE_BYTES)


def read(path: str) -> dict:
    """The file's content.  ConfigError that names the file and the fault, and says if the version before is good."""
    try:
        content = store(path).load(fallback=False)
    except StoreError as error:
        raise ConfigError([str(error)])
    if content is None:
        raise ConfigError(["%s: there is no such file" % path])
    return content


def save(path: str, content: dict) -> None:
    """Make a site the one of the next start.  ConfigError lists all that is wrong with it, and nothing was saved."""
    for _ in saving(path, content):
        pass


def saving(path: str, content):
    """save() of a dict or JSON text, checked at once and stored by the generator that it returns, step by step: see Store.steps."""
    if isinstance(content, str):
        from strictjson import wrong  # who pastes no text needs none

        why = wrong(content.encode())
        if why:
            raise ConfigError(["the text is no JSON: " + why])
        content = json.loads(content)
    errors = refused(content)
    if errors:
        raise ConfigError(errors)
    return _stored(path, content)


def _stored(path: str, content: dict):
    _check_next()
    try:
        yield from store(path).steps(content)
    except StoreError as error:
        raise ConfigError([str(error)])


def restoring(path: str):
    """Make the site before the present one that of the next start again, in steps too.  StoreError where there is none."""
    _check_next()
    kept = store(path)
    yield from kept.restore(kept.previous())


def _check_next() -> None:
    """ConfigError where another generation than this starts next, as after an update: it has a site file of its own."""
    try:
        with open("switch") as file:
            folder = json.loads(file.read()[:-9])["now"]["folder"]  # whether its sum is right, lib/generations.py looks at
    except (OSError, ValueError, KeyError):
        return
    if folder + "/" != (startup.folder or "/"):
        raise ConfigError(["%s starts next, with its own site file: restart first, then save" % (folder or "what was before")])


def refused(content: dict) -> list:
    """Why this may not be made a board's site: everything that is wrong with it, and that it has nothing to control."""
    found = check(content)
    if not found.errors and not found.devices:
        found.errors.append("devices: is empty: there is nothing to measure or to control")
    if not found.errors and found.power.grid_connection == Grid.BACKUP and found.fills and not _sees_grid(found):
        text = "power.grid_connection = BACKUP: no device says whether the grid is there, so the load would never be served: "
        found.errors.append(text + "it takes an inverter that reports it (PCS_GRID), or a meter with voltage or frequency")
    return found.errors


def _sees_grid(found) -> bool:
    """Whether some device may say that the grid is there: an inverter or a meter, unless its driver knows that it cannot."""
    for name, _, module, options in found.devices:
        if module.sees_grid(options) if hasattr(module, "sees_grid") else found.fills[name] & _WITNESSES:
            return True
    return False


class Checked:
    """A site file's content with defaults, and everything that is wrong with it."""

    def __init__(self) -> None:
        self.errors: list = []
        self.name = "site"
        self.power = None  # PowerConfig
        self.wifi = None
        self.buses: dict = {}
        self.kinds: list = []  # of the services
        self.services: list = []  # (name, module, options, whether every site has it)
        self.devices: list = []  # (name, kind, module, options)
        self.owners: dict = {}  # number of a bit of _FILLS -> name of the device
        self.banks = None  # bankfile.Plans, where the file has that section
        self.fills: dict = {}  # name of a device -> bits of _FILLS


def check(content: dict) -> Checked:
    """Look at the whole of it, opening nothing."""
    found = Checked()
    errors = found.errors
    top = config.check(_TOP_ROWS, content, "site", errors)
    found.name = top.get("name", "site")
    found.power = _power(top, errors)
    if top.get("wifi"):
        found.wifi = config.check(_WIFI_ROWS, top["wifi"], "wifi", errors)
        if 0 < len(found.wifi.get("password", "")) < _WPA_LEAST:
            errors.append("wifi.password: has %d characters; allowed are 8 to 63, or none: open" % len(found.wifi["password"]))
    _check_names(top, errors)
    _check_services(found, top)
    found.buses = _section(top, "buses", errors)
    divided = top.get("banks") is not None
    buses.check(found.buses, errors)
    devices = _section(top, "devices", errors)
    for name in sorted(devices):
        watchdog.feed()  # each may load its driver
        _check_device(found, name, devices[name])
    if divided:
        from firmware import bankfile  # a site of one bank does not load it

        power = top.get("power")
        found.banks = bankfile.check(top["banks"], _given(top) if isinstance(power, dict) else {}, found.fills, errors)
    _own_groups(found, divided)
    _check_beside(found)
    for problem in pinowners.look(content)[2] if isinstance(content, dict) else ():  # what is none was said
        where = problem[: problem.find(" = ") + 3]
        if not where or not any(error.startswith(where) for error in errors):  # what a row has refused is said
            errors.append(problem)
    return found


def _check_names(top: dict, errors: list) -> None:
    """People read them in lines, and limits are given in them."""
    for section in ("buses", "devices", "services"):
        named = top.get(section)
        for name in sorted(named) if isinstance(named, dict) else ():
            if not 1 <= len(name) <= _NAME_MOST or min(name) < " ":
                form = "%s: the name %s: must have 1 to %d characters, of one line"
                errors.append(form % (section, pinowners.shown(name), _NAME_MOST))


def _power(top: dict, errors: list):
    """The PowerConfig of the file; None, with what is wrong in `errors`, where there is none."""
    power = top.get("power")
    if power is not None and not isinstance(power, dict):
        errors.append("power = %s: must be an object of keys and values" % pinowners.shown(power))
        return None
    try:
        return config.PowerConfig(**_given(top))
    except ConfigError as error:
        errors.extend(error.errors)
    except (TypeError, ValueError) as error:
        errors.append("power: %s" % error)
    return None


def _given(top: dict) -> dict:
    given = dict(top.get("power") or {})
    if top.get("cycle_ms") is not None:
        given["cycle_ms"] = top["cycle_ms"]
    return given


def _section(top: dict, name: str, errors: list) -> dict:
    """A section of named objects, without those entries that are none; {} where it is no section."""
    section = top.get(name, {})
    if not isinstance(section, dict):
        errors.append("%s = %s: must be an object of named objects" % (name, pinowners.shown(section)))
        return {}
    for key in sorted(section):
        if not isinstance(section[key], dict):
            errors.append("%s.%s = %s: must be an object" % (name, key, pinowners.shown(section[key])))
    return {key: section[key] for key in section if isinstance(section[key], dict)}


def _check_services(found: Checked, top: dict) -> None:
    """Those that the site has without naming them, then those of its "services" section."""
    errors = found.errors
    section = top.get("services", {})
    if not isinstance(section, dict):
        errors.append("services = %s: must be an object of named objects" % pinowners.shown(section))
        section = {}
    given = dict(section)
    kinds: dict = {}  # of those that are named: the name
    for name in sorted(given):
        kind = given[name].get("type") if isinstance(given[name], dict) else None
        if isinstance(kind, str):
            kinds.setdefault(kind, name)
    for kind, sections, own in _IMPLIED:
        stays = not sections
        brought = stays or any(top.get(name) is not None for name in sections.split(" "))
        if given.get(kind) is False:
            del given[kind]
            if not stays:
                continue
            errors.append("services.%s = false: every site has it" % kind)
        if kind in kinds:
            name = kinds[kind]
            if own and top.get(own):
                errors.append("services.%s: its options stand in %s already; give one of the two" % (name, own))
            _check_service(found, name, given.pop(name), stays)
        elif stays:
            found.services.append((kind, None, {}, True))  # loaded when the site is built
            found.kinds.append(kind)
        elif brought:
            _check_implied(found, kind, top.get(own) or {}, own)
    _imply_ems_clock(found, given, kinds)
    for name in sorted(given):
        if not isinstance(given[name], dict):
            errors.append("services.%s = %s: must be an object" % (name, pinowners.shown(given[name])))
            continue
        if given[name].get("type") in [row[0] for row in _IMPLIED]:
            errors.append("services.%s: there is one %s already" % (name, given[name]["type"]))
            continue
        _check_service(found, name, given[name])
    _check_together(found, top)


def _imply_ems_clock(found: Checked, given: dict, kinds: dict) -> None:
    """The older way to name it: a port among the clock's options."""
    for name, _, options, _ in found.services:
        port = options.get("ems_port") if name == "calendar" else 0
        if port and given.pop("ems_clock", None) is not False and "ems_clock" not in kinds:
            _check_implied(found, "ems_clock", {"port": port}, "services.ems_clock")
            return
    if given.get("ems_clock") is False:
        del given["ems_clock"]


def _check_implied(found: Checked, kind: str, options, where: str) -> None:
    module = loading.load(loading.SERVICE, "services." + kind, kind, found.errors)
    if module is not None:
        _keep_service(found, kind, kind, module, options, where, False)


def _check_service(found: Checked, name: str, given: dict, stays: bool = False) -> None:
    watchdog.feed()  # each may load its module
    given = dict(given)
    where = "services." + name
    kind = given.pop("type", None)
    module = loading.load(loading.SERVICE, where, kind, found.errors)
    if module is not None:
        _keep_service(found, name, kind, module, given, where, stays)


def _keep_service(found: Checked, name: str, kind: str, module, given, where: str, stays: bool) -> None:
    options = config.check(module.OPTIONS, given, where, found.errors)
    try:
        if hasattr(module, "check_options"):
            module.check_options(where, options, found.errors)
    except (TypeError, ValueError, KeyError, AttributeError) as error:  # a service that meets what it did not expect
        found.errors.append("%s: %s: %s" % (where, type(error).__name__, error))
    _check_host(where, options, found.errors)
    if kind in found.kinds and kind in _ONCE:
        found.errors.append("%s: there is one %s already" % (where, kind))
    found.services.append((name, module, options, stays))
    found.kinds.append(kind)


def _check_together(found: Checked, top: dict) -> None:
    """A service may need others: there is no log without a clock.  Its name is its own: people and the heap's watch go by it."""
    for name, module, _, stays in found.services:
        for section in ("buses", "devices"):
            if not stays and isinstance(top.get(section), dict) and name in top[section]:
                found.errors.append("services.%s: %s.%s has the name already" % (name, section, name))
        for kind in getattr(module, "NEEDS", ()):
            if kind not in found.kinds:
                found.errors.append("services.%s: needs %s, which this site has not" % (name, kind))


def _check_beside(found: Checked) -> None:
    """What a service can be refused for only beside the buses, devices and other services of the site."""
    for name, module, options, _ in found.services:
        if hasattr(module, "check_beside"):
            where = "services." + name
            try:
                module.check_beside(where, options, found)
            except (TypeError, ValueError, KeyError, AttributeError) as error:  # a service that meets what it did not expect
                found.errors.append("%s: %s: %s" % (where, type(error).__name__, error))


def _check_device(found: Checked, name: str, given: dict) -> None:
    given = dict(given)
    where = "devices." + name
    errors = found.errors
    kind = given.pop("type", None)
    module = loading.load(loading.DRIVER, where, kind, errors)
    if module is None:
        return
    before = len(errors)
    options = config.check(module.OPTIONS, given, where, errors)
    _check_connection(found, where, module, options)
    try:
        if hasattr(module, "check_site") and found.power is not None:
            module.check_site(where, options, found.power, errors)
        if len(errors) == before:
            found.fills[name] = module.fills(options) if hasattr(module, "fills") else _FILLS.get(kind.split("_")[0], 0)
    except (TypeError, ValueError, KeyError, AttributeError) as error:  # a driver that meets what it did not expect
        errors.append("%s: %s: %s" % (where, type(error).__name__, error))
    found.devices.append((name, kind, module, options))


def _check_connection(found: Checked, where: str, module, options: dict) -> None:
    """A device hangs on one thing, of the kind that it speaks: what has `host` and `bus` speaks Modbus, else it is CAN."""
    modbus = "host" in options and "bus" in options
    bus = options.get("bus")
    _check_host(where, options, found.errors)
    if modbus and bool(options["host"]) == bool(bus):
        found.errors.append("%s: host = %r, bus = %r: give either host or bus" % (where, options["host"], bus))
    if modbus:
        connection.check(where, options, found.errors)
    if not bus:
        return
    if bus not in found.buses:
        found.errors.append("%s.bus = %r: the buses of this site are %s" % (where, bus, ", ".join(sorted(found.buses))))
        return
    wanted = getattr(module, "BUS", "modbus_rtu" if modbus else "can")
    there = found.buses[bus].get("type")
    if there != wanted:
        found.errors.append("%s.bus = %r: is of the type %s, this device needs %s" % (where, bus, there, wanted))


def _check_host(where: str, options: dict, errors: list) -> None:
    """What is reached by Modbus/TCP; a broker may have a name."""
    host = options.get("host")
    if host and "bus" in options:
        try:
            number(host)
        except ValueError:
            errors.append("%s.host = %r: must be an IPv4 address, as 192.168.1.20" % (where, host))


def _own_groups(found: Checked, divided: bool) -> None:
    """A group of values, and the command, has exactly one owner: two would take turns in it.

    Of several batteries and inverters each has its own (bankfile.check), and so has each bank's I/O board.
    """
    for name in sorted(found.fills):
        fills = found.fills[name]
        if divided:
            fills &= ~_IN_BANKS
            for plan in found.banks or ():
                if plan.io == name:
                    fills = 0
        for bit, what in enumerate(_FILLED):
            if fills >> bit & 1:
                owner = found.owners.setdefault(bit, name)
                if owner != name:
                    text = "devices.%s: %s is what devices.%s has already; one device only" % (name, what, owner)
                    if _IN_BANKS >> bit & 1:
                        text += ', or "banks" that say which batteries and inverters hang on one DC bus'
                    found.errors.append(text)


def load(path: str) -> Site:
    """Read and build a site.  What is wrong with it is printed, and then the site has no devices: safe STANDBY.

    Whatever the file holds: this raises nothing.
    """
    site = Site()
    try:
        build(read(path), site)
    except ConfigError as error:
        site.errors = error.errors
    except Exception as error:  # a file may hold anything, and be too much for the heap
        return standby(path, error)
    if site.errors:
        for line in site.errors[:_LINES]:
            print("site: " + (line if len(line) <= _WIDTH else line[:_WIDTH] + "..."))
        if len(site.errors) > _LINES:
            print("site: and %d more" % (len(site.errors) - _LINES))
        print("site: %s is refused; staying in STANDBY" % path)
        site.devices = {}
        site.has = im.HAS_BMS | im.HAS_PCS
        site.services = _always()
        _refuse(site)
    if site.config is None:
        site.config = config.PowerConfig()
    return site


def standby(path: str, error: Exception) -> Site:
    """The site of a board that could not make one of its file: no devices, defaults, and the reason in words."""
    startup.low = None
    gc.collect()  # what had been made of the file is in nobody's hands any more
    site = Site()
    if isinstance(error, MemoryError):
        site.errors = ["%s is too large for this board's heap (%s)" % (path, error)]
    else:
        site.errors = ["%s cannot be loaded: %s: %s" % (path, type(error).__name__, error)]
    print("site: %s" % site.errors[0])
    print("site: %s is refused; staying in STANDBY" % path)
    site.has = im.HAS_BMS | im.HAS_PCS
    site.config = config.PowerConfig()
    site.services = _always()
    _refuse(site)
    return site


def _refuse(site: Site) -> None:
    """Say why the site is refused: the first of its errors, and how many more there are."""
    errors = site.errors
    more = " (and %d more)" % (len(errors) - 1) if len(errors) > 1 else ""
    site.refused = errors[0][:_REFUSAL] + more


def _always() -> list:
    """The services that every site has: whoever stands by needs them most."""
    found = Checked()
    _check_services(found, {})
    return _loaded(found)


def _loaded(found: Checked) -> list:
    """The services with their modules; those that every site has are loaded only here: who checks a file needs none."""
    services = []
    for name, module, options, stays in found.services:
        if module is None:
            module = loading.load(loading.SERVICE, "services." + name, name, found.errors)
            options = {} if module is None else config.check(module.OPTIONS, {}, "services." + name, found.errors)
        services.append((name, module, options, stays))
    return services


def build(content: dict, site: Site) -> None:
    """Fill a Site from the file's content; what is wrong goes to site.errors, and then no device is built."""
    found = check(content)
    site.errors = found.errors
    site.name = found.name
    site.config = found.power
    if found.wifi:
        from firmware import wifi  # a site without it never touches the radio

        wifi.connect(found.wifi)  # now: it wants the chip's memory in large pieces
        site.name_server = wifi.name_server
        site.secrets = (found.wifi["password"],) if found.wifi["password"] else ()
    if found.errors:
        return
    site.services = _loaded(found)
    site.buses = buses.build(found.buses, site.errors)
    images: dict = {}
    if found.banks is not None:
        from firmware import bankfile  # as in check

        images = bankfile.build(site, found.banks)
    for name, kind, module, options in found.devices:
        watchdog.feed()
        try:
            image = images.get(name, site.image)
            device = site.devices[name] = module.Device(name, options, image, site.buses)
            brings = getattr(device, "brings", 0) or _BRINGS.get(kind.split("_")[0], 0)
            if image is site.image or not brings & im.HAS_IO:
                site.has |= brings
            place = (name, buses.place(options, found.buses))
            for bit in _BRINGS.values():
                if brings & bit:
                    site.places[bit] = place
                    getattr(image, "places", site.places)[bit] = place  # a bank's own
        except (OSError, KeyError, ValueError, ConfigError) as error:
            site.errors.append("devices.%s: %s" % (name, error))
        except MemoryError:
            raise
        except Exception as error:  # a driver that meets what it did not expect
            site.errors.append("devices.%s: %s: %s" % (name, type(error).__name__, error))
