"""What people see: the image of one instant as kW, V, A, %, with names."""

from micropython import const

from firmware import believed, faults, flows, reasons
from firmware import image as im
from firmware import requests as rq
from firmware.battery_words import missing
from firmware.limits import NAMES
from firmware.modes import Mode

_NO_CAUSE = const(-2)

# points: begin (what people see; copied from points.py by `make slots`)
# slot, parts of its unit in one of the unit that people read (0: a word stands for it, -1: yes or no), key in stats(),
# key in the monitor's line ("": it has none)
_BATTERY = (
    im.BMS_SOH, 100, "soh", "",
    im.BMS_V, 10, "voltage", "v",
    im.BMS_I, 10, "current", "i",
    im.BMS_TEMP, 10, "temperature", "temp",
    im.CELL_V_MAX, 1000, "cell_max", "",
    im.CELL_V_MIN, 1000, "cell_min", "",
    im.SOC, 100, "soc", "soc",
)  # fmt: skip
_PCS = (
    im.PCS_P, 1000, "power", "p",
    im.PCS_DC_V, 10, "dc_bus_voltage", "",
)  # fmt: skip
_SITE = (
    im.METER_P, 1000, "grid_power", "grid_p",
    im.METER_V, 10, "grid_voltage", "",
    im.METER_I, 10, "grid_current", "",
    im.METER_HZ, 1000, "grid_frequency", "hz",
    im.METER_LOAD_P, 1000, "load_meter_power", "",
    im.PV_P, 1000, "pv_power", "pv_p",
    im.GEN_P, 1000, "generator_power", "",
    im.LOAD_P, 1000, "load_power", "load_p",
    im.GRID_OK, -1, "grid_connected", "",
    im.MODE, 0, "mode", "mode",
    im.FLOW, 0, "flow", "flow",
    im.FAULTS, 0, "faults", "faults",
    im.REQUEST_P, 1000, "request", "req",
    im.REQUEST_BY, 0, "requested_by", "by",
    im.LIMIT_DIS, 1000, "limit_discharge", "lim_dis",
    im.LIMIT_CHG, 1000, "limit_charge", "lim_chg",
    im.WHY_DIS, 0, "why_discharge", "why_dis",
    im.WHY_CHG, 0, "why_charge", "why_chg",
    im.CMD_P, 1000, "command", "cmd",
    im.UPTIME_S, 1, "uptime_s", "",
    im.COMMANDS, 1, "", "commands",
    im.FLOW_PATHS, 0, "paths", "",
    im.MISSING, 0, "missing", "",
)  # fmt: skip
# points: end


class Instant:
    """Copies of one instant, of which figures and words are made: the image, claims, limits and owners, and what the site is.

    Of the image as far as people see it, in front of LIMIT_ROWS_DIS: a heap in small pieces has none for all of it.  `now` is what
    the cycle had, of which reasons are made; `told`, and those of each battery and inverter, have no figure that is too old.
    """

    def __init__(self, pm, now, par, arbiter) -> None:
        self.now = now
        self.par = par
        self.told = believed.told(now, par)
        self.claims = arbiter.claims.told()[: arbiter.claims.used * rq.PARTS]
        self.owners = arbiter.claims.owners[:]
        curtailed = arbiter.curtailments
        limits = curtailed.told()
        image = pm.image  # several batteries or inverters have an Image each; one is the site
        self.batteries = _told(image.batteries, par)
        self.inverters = _told(image.inverters, par)
        self.curtailed = []  # (owner, ms left) of the smallest limit with an owner, for discharge and charge; None: there is none
        for place in (now[im.CURTAILED_BY], now[im.CURTAILED_BY + 1]):
            limited = place < len(curtailed.owners)
            self.curtailed.append(_curtailed(curtailed.owners[place], limits[3 * place]) if limited else None)
        self.forbids_grid = "" if arbiter.restriction is None else arbiter.restriction.forbids_grid()
        self.places = pm.places
        self.refused = pm.refused
        self.clock = pm.clock
        self.stays = "" if pm.run_memory is None else pm.run_memory.stays
        self.name = ""
        self.parallel = []
        self.barred = [each.barred for each in image.inverters]  # what keeps each from being commanded
        self.banks = [pm.bank_view(self, bank) for bank in pm.image.banks] if pm.image.divided else []

    def claim(self, source: int) -> tuple:
        """A source's claim, of its newest owner: ms left (0: none), W, goal, target SoC, owner."""
        place = rq.newest(self.claims, source)
        left, watts, goal, target = self.claims[place * rq.PARTS : place * rq.PARTS + 4]
        return left, watts, goal, target, self.owners[place]


def _told(images, par) -> list:
    return [believed.told(each.now[: im.LIMIT_ROWS_DIS], par) for each in images] if len(images) > 1 else []


def _curtailed(owner: str, left: int) -> tuple:
    """A limit's owner and the ms left; of an EMS's last word, which is renewed for ever, what ends it instead."""
    if owner.endswith(rq.LAST_WORD):
        return owner + " until it commands again, or local(True)", 0
    return owner, left


def stats(view) -> dict:
    """Everything at one instant, an Instant: every point that has a key (docs/points.md), and what is made of several.

    power, request, command, limits in kW (+ discharge); voltage V; current A (+ discharge); soc, soh %; energy kWh AC.
    None is "not measured", or older than control believes it.  `binding` names the limit that bounds the direction of the
    request; `reason` says in words what makes the power what it is, see reasons.why; grid_power is + import.
    available_discharge / _charge are kWh at the AC terminals down to the floor and up to the ceiling, at this state of health.
    `batteries` and `inverters`, where there are several: a dict for each, with its own of these keys; `banks`: the figures of
    each, see bank_reports.py.
    """
    now, par = view.now, view.par
    figures = _add_points({}, view.told)
    if figures["grid_frequency"] is None:
        figures["grid_frequency"] = number(view.told[im.PCS_HZ], 1000)
    if figures["grid_voltage"] is None:
        figures["grid_voltage"] = number(view.told[im.PCS_V], 10)
    add_energy(figures, now, par)
    _add_reason(figures, view)
    if view.banks:
        bits = view.now[im.FAULTS]
        for bank in view.banks:
            bits |= bank.now[im.FAULTS]
        figures["faults"] = faults.names(bits)
        bits = view.now[im.MISSING]
        for bank in view.banks:
            bits |= bank.now[im.MISSING]
        figures["missing"] = missing(bits)
        figures["banks"] = [bank.figures() for bank in view.banks]
    if view.batteries:
        figures["batteries"] = [_add_points({}, each, (_BATTERY,)) for each in view.batteries]
    if view.inverters:
        figures["inverters"] = [_add_points({}, each, (_PCS,)) for each in view.inverters]
    return figures


def fault_list(view, cycle) -> "list[dict]":
    """See PowerManager.faults."""
    found: list = []
    if view.now[im.MODE] == Mode.EMERGENCY and view.now[im.CAUSE] == -1:
        severity = faults.SEVERITIES[faults.EMERGENCY]
        found.append({"name": "commanded", "severity": severity, "active": True, "count": 1, "latched": True})
        found[-1]["detail"] = reasons.emergency(view)
    for its, state in _fault_states(view, cycle):
        _add_faults(found, its, state)
    return found


def fault_counts(view, cycle) -> dict:
    """See PowerManager.fault_counts."""
    counts: dict = {}
    for _, state in _fault_states(view, cycle):
        for i, row in enumerate(faults.rows()):
            if state[3 * i + 2]:
                counts[row[0]] = counts.get(row[0], 0) + state[3 * i + 2]
    return counts


def _fault_states(view, cycle) -> list:
    """The instants that have faults, and their states: of each fault the times it was raised are the third number."""
    states = [bank.fault_state[:] for bank in cycle.banks]
    return list(zip(view.banks, states)) + [(view, cycle.several.fault_state[:])] if view.banks else [(view, states[0])]


def _add_faults(found: list, view, state) -> None:
    now = view.now
    latched = now[im.CAUSE] if now[im.MODE] == Mode.EMERGENCY else _NO_CAUSE
    for i, row in enumerate(faults.rows()):
        if state[3 * i + 2] or (i == latched and not view.name and not any(bank.now[im.CAUSE] == i for bank in view.banks)):
            active = bool(now[im.FAULTS] >> i & 1)
            fault = {"name": row[0], "severity": faults.SEVERITIES[row[4]], "active": active, "count": state[3 * i + 2]}
            more = reasons.emergency(view) if i == latched else reasons.detail(view, row[0]) if active else ""
            if i == latched:
                fault["latched"] = True
            if more:
                fault["detail"] = more
            if view.name:
                fault["bank"] = view.name
            found.append(fault)


def brief(now):
    """Key and value, in the unit that people read, of the points that have a key for the monitor, one by one."""
    for table in (_BATTERY, _PCS, _SITE):
        for i in range(0, len(table), 4):
            if table[i + 3]:
                parts, value = table[i + 1], now[table[i]]
                yield table[i + 3], number(value, parts) if parts else _word(table[i], value)  # type: ignore[arg-type]  # keys last


def _add_points(figures: dict, now, tables: tuple = (_BATTERY, _PCS, _SITE)) -> dict:
    """The same for stats(), at once: where everything is wrong most are not known, and a call for each is what takes the time."""
    for table in tables:
        for i in range(0, len(table), 4):
            key = table[i + 2]
            if key:
                value = now[table[i]]
                parts = table[i + 1]
                figures[key] = _word(table[i], value) if not parts else None if value == im.NO_VALUE else number(value, parts)
    return figures


def number(value: int, parts: int):
    """A slot's value in the unit that people read, of which it has so many parts (-1: it is yes or no); None: not measured."""
    if value == im.NO_VALUE:
        return None
    return value == 1 if parts < 0 else value if parts == 1 else value / parts


def _word(slot: int, value: int):
    """What stands for a code or for bits; the number itself where nothing does."""
    if slot == im.MODE:
        return Mode.name(value)
    if slot == im.FLOW:
        return flows.Flow.name(value)
    if slot == im.FLOW_PATHS:
        return [name for bit, name in flows.PATHS if value & bit]
    if slot == im.FAULTS:
        return faults.names(value)
    if slot == im.MISSING:
        return missing(value)
    if slot == im.REQUEST_BY:
        return rq.SOURCES[value]
    if slot == im.WHY_DIS or slot == im.WHY_CHG:
        return NAMES[value]
    return None if value == im.NO_VALUE else value


def wh(now, turns: int, slot: int, rest: int) -> float:
    """Wh counted since boot, with the part of one; turns, slot and rest: the slots of E_IN_* or E_OUT_*."""
    return im.energy_wh(now, turns, slot) + now[rest] / 3600000


def add_energy(figures: dict, now, par) -> None:
    """What is made of several points: efficiency, energies, what the battery can give and take."""
    power = now[im.PCS_P]
    dc_power = now[im.PCS_DC_P]
    figures["efficiency"] = None
    if im.NO_VALUE not in (power, dc_power) and power and dc_power:
        figures["efficiency"] = (power * 100 / dc_power) if power > 0 else dc_power * 100 / power
    figures["energy_in_wh"] = wh(now, im.E_IN_TURNS, im.E_IN_WH, im.E_IN_REM)
    figures["energy_out_wh"] = wh(now, im.E_OUT_TURNS, im.E_OUT_WH, im.E_OUT_REM)
    figures["energy_in"] = figures["energy_in_wh"] / 1000
    figures["energy_out"] = figures["energy_out_wh"] / 1000
    requests = now[im.BMS_REQUESTS]
    figures["balancing"] = now[im.CMD_BALANCE] == 1 or (requests > 0 and requests & im.BMS_REQ_BALANCE != 0)
    soc = now[im.SOC]
    health = now[im.BMS_SOH] if now[im.BMS_SOH] != im.NO_VALUE else 10000
    step_kwh = par[im.PAR_ENERGY] / 1000 * health / 100000000  # of 0.01 % SoC
    floor = max(par[im.PAR_SOC_MIN], 0 if par[im.OP_SOC_MIN] == im.FREE else par[im.OP_SOC_MIN])
    figures["available_discharge"] = figures["available_charge"] = None
    if soc != im.NO_VALUE:
        figures["available_discharge"] = max(0, soc - floor) * step_kwh * par[im.PAR_EFF] / 1000
        figures["available_charge"] = max(0, par[im.PAR_SOC_MAX] - soc) * step_kwh * 1000 / par[im.PAR_EFF]


def _add_reason(figures: dict, view) -> None:
    charge = figures["request"] < 0
    limit = figures["limit_charge" if charge else "limit_discharge"]
    bound = limit < abs(figures["request"]) or limit == 0
    figures["binding"] = figures["why_charge" if charge else "why_discharge"] if bound else None
    figures["reason"] = reasons.why(view)
    figures["last_trip"] = reasons.last_trip(view)
    figures["last_end"] = reasons.last_end(view)
