"""What the board measures and counts, as Prometheus' text format 0.0.4: made line by line, for whoever serves it.

Names, units and help of measured values are made of points.py by `make slots`; what is counted beside the points stands here.
A value that is not measured, or is older than control believes it, has no sample.  Energies are joules, as Prometheus has it.
Only a site whose metrics are on loads this (docs/metrics.md).
"""

from micropython import const

from firmware import believed, faults, generation
from firmware import image as im
from firmware import requests as rq
from firmware.event_codes import Event
from firmware.limits import NAMES, published
from firmware.modes import Mode

# points: begin (names, units and help; copied from points.py by `make slots`)
# slot, block, parts of the unit, type, name, help
_POINTS = const("""
12 battery 10000 gauge battery_soh_ratio State of health
13 battery 10 gauge battery_voltage_volts Battery terminal voltage
14 battery 10 gauge battery_current_amperes Battery current, + discharge
15 battery 10 gauge battery_temperature_celsius Battery temperature
20 battery 1000 gauge battery_cell_max_volts Highest cell voltage
21 battery 1000 gauge battery_cell_min_volts Lowest cell voltage
31 pcs 1 gauge inverter_power_watts AC power, + discharge
36 pcs 10 gauge inverter_dc_bus_voltage_volts DC bus voltage
47 meter 1 gauge grid_power_watts Power at the point of connection, + import
48 meter 10 gauge grid_voltage_volts Grid voltage, line to line
49 meter 10 gauge grid_current_amperes Grid current
50 meter 1000 gauge grid_frequency_hertz Grid frequency
52 load 1 gauge load_meter_power_watts What the loads take, by their own meter
53 pv 1 gauge pv_power_watts PV power, + generation
54 generator 1 gauge generator_power_watts A generator's power, + generation
69 battery 10000 gauge battery_soc_ratio State of charge, refined between the BMS's steps
74 site 1 gauge load_power_watts What the loads take: by their own meter, else NET_P + PV_P + GEN_P
75 site 1 gauge grid_connected The grid is there (measured); not known in BACKUP where nobody says it
81 site 1 gauge request_watts What the winning claim asks for
84 site 1 gauge limit_discharge_watts The live discharge limit, >= 0
85 site 1 gauge limit_charge_watts The live charge limit, >= 0
88 site 1 gauge command_watts THE command: AC power for the PCS, + discharge
95 site 1 gauge uptime_seconds Seconds since boot
102 site 1 counter commands_total Commands that differed from the one before
""")
# number of the group, in words
_GROUPS = const("""
0 battery
1 battery limits
2 cell voltages
3 cell temperatures
4 battery flags
5 inverter
6 meter
7 PV
8 board inputs
9 load meter
10 generator
""")
# points: end

_LABELS = {"battery": "battery", "pcs": "inverter"}  # of what there may be several of
_GAUGES = const("tec rec state quality pending")  # of the counters of devices and buses: what does not only grow
_ENERGIES = const("""charged AC energy into the battery
discharged AC energy out of the battery
imported Energy from the grid
exported Energy to the grid
pv Energy of the PV
load Energy that the loads took""")
_TIMES = const("""gap_ms_max cycle_gap_max_seconds 1000 Longest time between two control cycles without a store to flash
gap_ms_flash cycle_gap_flash_seconds 1000 Longest time between two control cycles with a store to flash between
period_p50 cycle_period_p50_seconds 1000 Time from cycle to cycle, median
period_p99 cycle_period_p99_seconds 1000 Time from cycle to cycle, 99th percentile
compute_p99 cycle_compute_p99_seconds 1000000 Time spent in the cycle, 99th percentile
compute_max cycle_compute_max_seconds 1000000 Time spent in the cycle, longest
collection_ms_max heap_collection_max_seconds 1000 Longest collection of garbage""")


def pieces(app):
    """The whole text, a few lines at a time; whoever sends it awaits between them."""
    label = _label("generation", generation.STAMP, "site", app.site.name)
    yield _family("build_info", "gauge", "Which firmware runs on which site", [(label, 1)])
    yield from _points(app.pm.image)
    yield from _site(app.pm)
    yield from _faults(app.pm)
    yield from _energy(app)
    yield from _control(app)
    yield from _flash(app)
    yield from _lines(app)


def _family(name: str, kind: str, text: str, samples) -> str:
    """HELP, TYPE and samples of one metric, each (labels, value, its parts of one: 1, 10 ...); "" without any."""
    name = "bess_" + name
    lines = ["%s%s %s\n" % (name, sample[0], _number(*sample[1:])) for sample in samples]
    if not lines:
        return ""
    return "# HELP %s %s\n# TYPE %s %s\n%s" % (name, text.replace("\\", "\\\\"), name, kind, "".join(lines))


def _number(value, parts: int = 1) -> str:
    """A whole number of so many parts of one, 10, 100 ...: exactly, whatever floats a board has."""
    if parts == 1:
        return "%d" % value
    whole, rest = abs(value) // parts, abs(value) % parts
    return "%s%d.%s" % ("-" if value < 0 else "", whole, ("%d" % (parts + rest))[1:])


def _label(*pairs) -> str:
    """{name="value", ...} of names and values in turn."""
    found = []
    for i in range(0, len(pairs), 2):
        text = pairs[i + 1].replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        found.append('%s="%s"' % (pairs[i], text))
    return "{" + ",".join(found) + "}"


# ---- the points -----------------------------------------------------------------------------------------


def _points(image):
    """Every point with a number that people see; of batteries and inverters one for each, numbered from 1."""
    places = {"battery": image.batteries, "pcs": image.inverters}
    for line in _POINTS.strip().split("\n"):
        slot, block, parts, kind, name, text = line.split(" ", 5)
        samples = []
        for number, each in enumerate(places.get(block, [image])):
            value = believed.value(each.now, image.par, int(slot))
            if value != im.NO_VALUE:
                label = _label(_LABELS[block], "%d" % (number + 1)) if block in places else ""
                samples.append((label, value, int(parts)))
        yield _family(name, kind, text, samples)
    samples = []
    for line in _GROUPS.strip().split("\n"):
        group, words = line.split(" ", 1)
        age = image.now[im.AGE + int(group)]
        if age < im.AGE_MAX:
            samples.append((_label("group", words), age, 1000))
    yield _family("data_age_seconds", "gauge", "Time since the values of a group arrived; none for what never did", samples)


# ---- what the cycle decides -----------------------------------------------------------------------------


def _site(pm):
    now = pm.image.now
    if now[im.SOC] != im.NO_VALUE:
        yield _family("soc_ratio", "gauge", "State of charge of the site", [("", now[im.SOC], 10000)])
    power = believed.value(now, pm.image.par, im.PCS_P)
    if power != im.NO_VALUE:
        yield _family("power_watts", "gauge", "AC power of the site's batteries, + discharge", [("", power)])
    yield _family("mode", "gauge", "1: the mode it is in", _one_of("mode", Mode.names, now[im.MODE]))
    sources = _one_of("source", rq.SOURCES, now[im.REQUEST_BY])
    yield _family("requested_by", "gauge", "1: the source whose request is followed", sources)
    for charge, way in enumerate(("discharge", "charge")):
        bounds = _one_of("limit", NAMES, now[im.WHY_DIS + charge])
        yield _family("%s_bound_by" % way, "gauge", "1: the limit that bounds the power to " + way, bounds)
        rows = [(_label("limit", row[0]), row[1 + charge]) for row in published(pm.image) if row[1 + charge] != im.FREE]
        yield _family("%s_limit_watts" % way, "gauge", "Every limit of the power to %s that there is" % way, rows)
    breaches = [("", now[im.BREACHES])]
    yield _family("invariant_breaches_total", "counter", "Cycles that broke a rule of their own: 0, or a bug", breaches)
    clock = pm.clock
    if clock is not None:
        yield _family("clock_set", "gauge", "1: the clock was set since boot", [("", int(clock.is_set))])
        if clock.is_set:
            yield _family("clock_error_seconds", "gauge", "How wrong the clock may be", [("", clock.error_ms, 1000)])
        yield _family("clock_steps_total", "counter", "How often the clock was put on or back", [("", clock.steps)])


def _one_of(label: str, names, which: int) -> list:
    """A sample for each of the names, 1 for the one that it is."""
    return [(_label(label, name), int(which == i)) for i, name in enumerate(names)]


def _faults(pm):
    bits = 0
    for each in pm.image.every():
        bits |= each.now[im.FAULTS]
    names = [row[0] for row in faults.rows()]
    active = [(_label("fault", name), bits >> i & 1) for i, name in enumerate(names)]
    yield _family("fault_active", "gauge", "1: the fault is active", active)
    counts = pm.fault_counts()
    raised = [(_label("fault", name), counts.get(name, 0)) for name in names]
    yield _family("fault_raised_total", "counter", "How often a fault was raised", raised)
    posted = [(_label("event", name), pm.events.counts[i]) for i, name in enumerate(Event.names)]
    yield _family("events_total", "counter", "Events posted", posted)


def _energy(app):
    """The longest memory of it that the site has: its history's, its records', or since boot."""
    totals: dict = {}
    for service in app.services.values():
        if hasattr(service, "totals"):
            totals = service.totals()
    now = app.pm.image.now
    if not totals and "records" in app.services:
        energy = app.services["records"].records.energy()
        totals = {"charged": energy["in_wh"], "discharged": energy["out_wh"]}
    elif not totals:
        totals = {"charged": im.energy_wh(now, im.E_IN_TURNS, im.E_IN_WH)}
        totals["discharged"] = im.energy_wh(now, im.E_OUT_TURNS, im.E_OUT_WH)
    for line in _ENERGIES.split("\n"):
        name, text = line.split(" ", 1)
        if totals.get(name) is not None:
            yield _family("energy_%s_joules_total" % name, "counter", text, [("", totals[name] * 3600)])


# ---- the board ------------------------------------------------------------------------------------------


def _control(app):
    metering = app.metering
    report = metering.report()
    yield _family("cycles_total", "counter", "Control cycles", [("", report["cycles"])])
    for line in _TIMES.split("\n"):
        key, name, parts, text = line.split(" ", 3)
        if key in report:
            yield _family(name, "gauge", text, [("", int(report[key] * 1000 + 0.5), int(parts) * 1000)])
    held = [(_label("by", name), count) for name, (count, _) in metering.causes().items()]
    yield _family("cycle_held_up_total", "counter", "Control cycles that came late, by what held the processor", held)
    yield _family("heap_collections_total", "counter", "Collections of garbage", [("", metering.collections)])
    if metering.free_bytes >= 0:
        yield _family("heap_free_bytes", "gauge", "Free bytes of the heap after the last collection", [("", metering.free_bytes)])
    restarts = [(_label("task", name), count) for name, count in app.restarts.items()]
    yield _family("task_restarts_total", "counter", "Devices and services started again after an error", restarts)
    stopped = [(_label("service", name), 1) for name in app.stopped]
    yield _family("service_stopped", "gauge", "1: the service was stopped for good", stopped)


def _flash(app):
    if "records" not in app.services:
        return
    records = app.services["records"].records
    wear = records.wear
    yield _family("flash_writes_total", "counter", "Files written to flash", [("", wear.writes)])
    yield _family("flash_written_bytes_total", "counter", "Bytes written to flash", [("", wear.bytes)])
    yield _family("flash_erases_total", "counter", "Erases of flash blocks, reckoned", [("", wear.tenths, 10)])


def _lines(app):
    """The counters of devices and buses, by the name that the site gives each."""
    counters, gauges = [], []
    for group in (app.site.buses, app.site.devices):
        for name in group:
            for key, value in group[name].counters().items():
                if isinstance(value, int) and not isinstance(value, bool):
                    (gauges if key in _GAUGES.split() else counters).append((_label("name", name, "counter", key), value))
            yield ""  # it may take a while
    yield _family("device_events_total", "counter", "What devices and buses count: frames, timeouts, errors ...", counters)
    yield _family("device_state", "gauge", "What devices and buses are at", gauges)
