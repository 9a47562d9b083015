"""What Home Assistant shows of a site: one device discovery message (2024.12 and newer), made of the table of points, in pieces.

A component that this site has not, or that `access` does not allow, is there with its platform alone: that removes what an earlier
site file had brought.  Every text is ASCII, and the message is the same each time that it is made.
"""

import json

from micropython import const

from firmware import image as im
from firmware.event_codes import Event
from firmware.generation import STAMP

MAKER = const("battery power manager")

# points: begin (every point that people see; copied from points.py by `make slots`)
# key in stats(), number of the group that brings it (-: made by the cycle), its dimension, its unit
_POINTS = const("""
soh 0 ratio %
voltage 0 voltage V
current 0 current A
temperature 0 temperature \\u00b0C
cell_max 2 voltage V
cell_min 2 voltage V
power 5 power kW
dc_bus_voltage 5 voltage V
grid_power 6 power kW
grid_voltage 6 voltage V
grid_current 6 current A
grid_frequency 6 frequency Hz
load_meter_power 9 power kW
pv_power 7 power kW
generator_power 10 power kW
soc - ratio %
load_power - power kW
grid_connected - flag -
mode - words -
flow - words -
faults - words -
request - power kW
requested_by - words -
limit_discharge - power kW
limit_charge - power kW
why_discharge - words -
why_charge - words -
command - power kW
uptime_s - duration s
paths - words -
missing - words -
""")
# points: end

# What is made of several points, and what can be commanded.  Key, for whom (-: every site; a number: who has this group; c: who
# may command), platform, what it is (a row of _KINDS, or words), and what else its JSON has.
_OWN = const(r"""
reason - sensor words
binding - sensor words
controller - sensor words
last_trip - sensor words
available_discharge - sensor stored
available_charge - sensor stored
battery_charged - sensor counted
battery_discharged - sensor counted
grid_import 6 sensor counted
grid_export 6 sensor counted
pv_energy 7 sensor counted
load_energy 6 sensor counted
fault - binary_sensor flag ,"dev_cla":"problem"
emergency_state - binary_sensor flag ,"dev_cla":"safety"
local - binary_sensor flag
setpoint c number kW ,"step":0.1,"mode":"box","cmd_tpl":"{\"do\":\"power\",\"kw\":{{ value }},\"by\":\"ha\"}"
lifetime c number min ,"min":1,"max":1440,"mode":"box","cmd_tpl":"{\"do\":\"lifetime\",\"minutes\":{{ value }},\"by\":\"ha\"}"
setpoint_left_s c sensor s
asked c select - ,"ops":["automatic","hold","charge","discharge"],"cmd_tpl":"{\"do\":\"mode\",\"mode\":\"{{value}}\",\"by\":\"ha\"}"
start c button -
stop c button -
give_back c button -
emergency c button -
""")
_KINDS = const("""
stored "dev_cla":"energy_storage","stat_cla":"measurement","unit_of_meas":"kWh","sug_dsp_prc":1
counted "dev_cla":"energy","stat_cla":"total_increasing","unit_of_meas":"kWh","sug_dsp_prc":2
kW "dev_cla":"power","unit_of_meas":"kW"
min "dev_cla":"duration","unit_of_meas":"min"
s "dev_cla":"duration","unit_of_meas":"s"
""")
_NAMES = const("""
soc State of charge
soh State of health
voltage Battery voltage
current Battery current
temperature Battery temperature
power Battery power
cell_max Highest cell voltage
cell_min Lowest cell voltage
dc_bus_voltage DC bus voltage
pv_power PV power
why_discharge Discharge limited by
why_charge Charge limited by
limit_discharge Discharge limit
limit_charge Charge limit
uptime_s Uptime
pv_energy PV energy
available_discharge Available to discharge
available_charge Available to charge
binding Binding limit
emergency_state Emergency
emergency Emergency shutdown
local Local control
asked Operation
lifetime Setpoint lifetime
setpoint_left_s Setpoint ends in
""")
_WORDS = const(  # a list's too, and no state is longer than 255 characters
    ',"val_tpl":"{%% set v = value_json.%s or \'\' %%}{{ (v if v is string else v | join(\', \'))[:250] or \'none\' }}"'
)
_CLASSES = const(("power", "voltage", "current", "temperature", "frequency", "energy", "duration"))
_DIAGNOSTIC = const(
    "cell_max cell_min dc_bus_voltage uptime_s missing paths soh request requested_by command last_trip local"
)


class Topics:
    """Where the site publishes: below `prefix`; `ident`: the device's, and the beginning of every unique id.

    Topics are made when they are wanted: kept, they would take 400 bytes of heap.
    """

    def __init__(self, prefix: str, discovery: str, ident: str) -> None:
        self.prefix = prefix
        self.ident = ident
        self._discovery = discovery

    def below(self, name: str) -> str:
        """One of state, event, answer, command, status."""
        return self.prefix + "/" + name

    def birth(self) -> str:
        """Where Home Assistant says that it has come up."""
        return self._discovery + "/status"

    def config(self) -> str:
        """Where it is told of this device."""
        return "%s/device/%s/config" % (self._discovery, self.ident)


def pieces(topics: Topics, site: str, par, groups: int, control: bool, banks):
    """The message, as bytes; groups: bits of those that some device of the site fills; banks: the names of several."""
    form = '{"dev":{"ids":["%s"],"name":%s,"mf":"%s","sw":"%s"},"o":{"name":"%s","sw":"%s"},'
    yield (form % (topics.ident, _ascii(site), MAKER, STAMP, MAKER, STAMP)).encode()
    form = '"avty_t":"%s","stat_t":"%s","cmd_t":"%s","qos":1,"cmps":{'
    yield (form % (topics.below("status"), topics.below("state"), topics.below("command"))).encode()
    for row in _lines(_POINTS):
        key, group, dimension, unit = row.split(" ")
        yield _point(topics.ident, key, dimension, unit, _has(groups, group)).encode()
    for row in _lines(_OWN):
        cells = row.split(" ", 4)
        key, needs, platform, kind = cells[:4]
        there = control if needs == "c" else _has(groups, needs)
        rest = cells[4] if len(cells) > 4 else ""
        if key == "setpoint":
            rest += ',"min":%s,"max":%s' % (-par[im.PAR_P_CHG] / 1000, par[im.PAR_P_DIS] / 1000)
        yield _component(topics.ident, key, platform, _body(key, platform, kind) + rest, there).encode()
    for i, bank in enumerate(banks):
        for key, rest in _of_a_bank(i, bank):
            yield _component(topics.ident, "bank%d_%s" % (i, key), "sensor", rest, True).encode()
    types = json.dumps(list(Event.names))
    form = '"event":{"p":"event","uniq_id":"%s_event","name":"Event","stat_t":"%s","evt_typ":%s}}}'
    yield (form % (topics.ident, topics.below("event"), types)).encode()


def _has(groups: int, group: str) -> bool:
    return group == "-" or bool(groups >> int(group) & 1)


def _point(ident: str, key: str, dimension: str, unit: str, there: bool) -> str:
    if dimension in ("flag", "words"):
        return _component(ident, key, "sensor" if dimension == "words" else "binary_sensor", _body(key, "", dimension), there)
    rest = _body(key, "sensor", "") + ',"stat_cla":"measurement"'
    if unit != "-":
        rest += ',"unit_of_meas":"%s"' % unit
    if dimension in _CLASSES or key == "soc":
        rest += ',"dev_cla":"%s"' % ("battery" if key == "soc" else dimension)
    return _component(ident, key, "sensor", rest, there)


def _body(key: str, platform: str, kind: str) -> str:
    """Name, value, category, and what kind of thing it is."""
    text = '"name":"%s"' % _named(key)
    if platform == "button":
        return text + ',"pl_prs":"{\\"do\\":\\"%s\\",\\"by\\":\\"ha\\"}"' % key
    if kind == "flag":
        text += ',"val_tpl":"{{ \'ON\' if value_json.%s else \'OFF\' }}"' % key
    elif kind == "words":
        text += _WORDS % key
    else:
        text += ',"val_tpl":"{{ value_json.%s }}"' % key
    more = _entry(_KINDS, kind)
    if more:
        text += "," + more
    if key in _DIAGNOSTIC.split(" "):
        text += ',"ent_cat":"diagnostic"'
    return text + (',"ent_cat":"config"' if key == "lifetime" else "")


def _of_a_bank(i: int, bank: str):
    """Key and JSON of what is shown of each of several banks."""
    for key, name, rest in (
        ("soc", "state of charge", '"dev_cla":"battery","stat_cla":"measurement","unit_of_meas":"%"'),
        ("power", "power", '"dev_cla":"power","stat_cla":"measurement","unit_of_meas":"kW"'),
        ("mode", "mode", '"ic":"mdi:battery"'),
    ):
        yield key, '"name":%s,%s,"val_tpl":"{{ value_json.banks[%d].%s }}"' % (_ascii("%s %s" % (bank, name)), rest, i, key)


def _component(ident: str, key: str, platform: str, rest: str, there: bool) -> str:
    if not there:
        return '"%s":{"p":"%s"},' % (key, platform)
    return '"%s":{"p":"%s","uniq_id":"%s_%s",%s},' % (key, platform, ident, key, rest)


def _named(key: str) -> str:
    return _entry(_NAMES, key) or key[0].upper() + key[1:].replace("_", " ")


def _entry(table: str, key: str) -> str:
    """What stands behind a key in one of the tables; "" where it has nothing."""
    at = table.find("\n" + key + " ") if key else -1
    return table[at + len(key) + 2 : table.find("\n", at + 1)] if at >= 0 else ""


def _ascii(text: str) -> str:
    """As JSON, whatever characters it has."""
    return "".join([c if " " <= c <= "~" else _escaped(ord(c)) for c in json.dumps(text)])


def _escaped(code: int) -> str:
    if code < 0x10000:
        return "\\u%04x" % code
    return "\\u%04x\\u%04x" % (0xD7C0 + (code >> 10), 0xDC00 + (code & 0x3FF))  # JSON has two halves of it


def _lines(text: str):
    at = 1
    while at < len(text):
        end = text.find("\n", at)
        yield text[at:end]
        at = end + 1
