"""What the page shows of one instant: key by key, powers in W as the cycle has them.  docs/web.md has the keys."""

import gc

from civil import DAY_S, UNIX_DAY
from micropython import const

from firmware import faults, flows, reasons, reports
from firmware import image as im
from firmware import limits as limit_list
from firmware import requests as rq
from firmware.clock import SOURCE_NAMES, STATE_NAMES
from firmware.generation import STAMP
from firmware.modes import Mode

_WHAT = const(("battery", "inverter", "meter", "PV meter", "I/O board"))  # bit 1 << i of image.HAS_*


def brief(app):
    """Key and value of what changes every second, flat; a step where something takes long."""
    pm = app.pm
    view = pm.instant()
    now = view.now
    yield "t", now[im.UPTIME_S] + now[im.UPTIME_MS] / 1000
    yield "local", clock_text(pm.clock)
    yield "mode", Mode.name(now[im.MODE])
    yield "flow", flows.Flow.name(now[im.FLOW])
    yield from _powers(view)
    yield "soc", _scaled(now[im.SOC], 100)
    for charge, way in enumerate(("discharge", "charge")):
        yield "limit_%s_w" % way, watts(now[im.LIMIT_DIS + charge])
        yield "why_%s" % way, limit_list.NAMES[now[im.WHY_DIS + charge]]
    yield "binding", _binding(now)
    yield "reason", reasons.why(view)
    yield "emergency", reasons.emergency(view) if now[im.MODE] == Mode.EMERGENCY else ""
    yield "faults", faults.names(_bits(view))
    yield "banks", [[watts(bank.told[im.PCS_P]), _scaled(bank.now[im.SOC], 100)] for bank in view.banks]
    yield "clock", "none" if pm.clock is None else STATE_NAMES[pm.clock.state]


def whole(app, energy, seat):
    """Key and value of everything; energy: the records' energy() or None; seat: what is said of who controls."""
    pm = app.pm
    view = pm.instant()
    now = view.now
    told = view.told
    par = view.par
    yield "site", app.site.name
    yield "firmware", STAMP
    yield "t", now[im.UPTIME_S] + now[im.UPTIME_MS] / 1000
    yield "clock", clock(pm.clock)
    yield "mode", Mode.name(now[im.MODE])
    yield "flow", flows.Flow.name(now[im.FLOW])
    yield "paths", [name for bit, name in flows.PATHS if now[im.FLOW_PATHS] & bit]
    yield "reason", reasons.why(view)
    yield "waiting", reasons.waiting(view)
    yield "last_trip", reasons.last_trip(view)
    yield "last_end", reasons.last_end(view)
    yield "emergency", reasons.emergency(view) if now[im.MODE] == Mode.EMERGENCY else ""
    yield from _powers(view)
    yield "grid", now[im.GRID_OK] == 1 if now[im.GRID_OK] != im.NO_VALUE else None
    yield "soc", _scaled(now[im.SOC], 100)
    yield from _battery(told)
    yield "hz", _either(told[im.METER_HZ], told[im.PCS_HZ], 1000)
    yield "grid_v", _either(told[im.METER_V], told[im.PCS_V], 10)
    yield "dc_bus_v", _scaled(told[im.PCS_DC_V], 10)
    figures: dict = {}
    reports.add_energy(figures, now, par)
    yield "balancing", figures["balancing"]
    yield "available_wh", {way: _wh(figures["available_" + way]) for way in ("discharge", "charge")}
    yield "limits", _limits(pm, view)
    yield "binding", _binding(now)
    most = {"discharge_w": par[im.PAR_P_DIS], "charge_w": par[im.PAR_P_CHG]}
    most["min_soc"], most["max_soc"] = par[im.PAR_SOC_MIN] / 100, par[im.PAR_SOC_MAX] / 100
    yield "max", most
    yield "claims", _claims(pm)
    yield "curtailments", _curtailments(pm)
    yield "seat", seat
    yield "faults", (fault for fault in pm.faults())
    yield "overrides", overrides(pm, view)
    yield "banks", (_bank(bank) for bank in view.banks)
    yield "batteries", (_of_one(each, _battery) for each in view.batteries)
    yield "inverters", (_of_one(each, _inverter) for each in view.inverters)
    yield "devices", _devices(app, view)
    yield "buses", _buses(app)
    yield "services", _services(app)
    yield "energy", _energy(figures, energy)
    timing = app.metering.report()
    yield "board", {"heap_free": gc.mem_free(), "gap_ms_max": timing.get("gap_ms_max")}


# ---- numbers --------------------------------------------------------------------------------------------


def watts(value: int):
    """W as they are; None where there is nothing."""
    return None if value in (im.NO_VALUE, im.FREE) else value


def _scaled(value: int, parts: int):
    return None if value == im.NO_VALUE else value / parts


def _either(first: int, second: int, parts: int):
    return _scaled(second if first == im.NO_VALUE else first, parts)


def _wh(kwh):
    return None if kwh is None else int(kwh * 1000)


def _powers(view):
    now = view.now
    told = view.told
    yield "battery_w", watts(told[im.PCS_P])
    yield "command_w", now[im.CMD_P]
    yield "request_w", now[im.REQUEST_P]
    yield "by", rq.SOURCES[now[im.REQUEST_BY]]
    yield "grid_w", watts(told[im.METER_P])
    yield "load_w", watts(told[im.LOAD_P])
    yield "pv_w", watts(told[im.PV_P])
    yield "generator_w", watts(told[im.GEN_P])


def _battery(now):
    yield "soh", _scaled(now[im.BMS_SOH], 100)
    yield "voltage_v", _scaled(now[im.BMS_V], 10)
    yield "current_a", _scaled(now[im.BMS_I], 10)
    yield "temperature_c", _scaled(now[im.BMS_TEMP], 10)
    cells = {"max_mv": watts(now[im.CELL_V_MAX]), "min_mv": watts(now[im.CELL_V_MIN])}
    cells["max_c"], cells["min_c"] = _scaled(now[im.CELL_T_MAX], 10), _scaled(now[im.CELL_T_MIN], 10)
    yield "cells", cells


def _inverter(now):
    yield "battery_w", watts(now[im.PCS_P])
    yield "dc_bus_v", _scaled(now[im.PCS_DC_V], 10)


def _of_one(now, kind) -> dict:
    found = dict(kind(now))
    if kind is _battery:
        found["soc"] = _scaled(now[im.BMS_SOC], 100)
    return found


def _binding(now):
    """The direction whose limit bounds the request."""
    charge = 1 if now[im.REQUEST_P] < 0 else 0
    limit = now[im.LIMIT_DIS + charge]
    return ("discharge", "charge")[charge] if limit < abs(now[im.REQUEST_P]) or limit == 0 else None


def _bits(view) -> int:
    bits = view.now[im.FAULTS]
    for bank in view.banks:
        bits |= bank.now[im.FAULTS]
    return bits


# ---- the clock ------------------------------------------------------------------------------------------


def clock_text(clock, ago_s: int = 0):
    """HH:MM:SS local, so many seconds ago; None without a clock."""
    if clock is None or not clock.is_set:
        return None
    _, sec = clock.tz.local(clock.day + (clock.sec - ago_s) // DAY_S, (clock.sec - ago_s) % DAY_S)
    return "%02d:%02d:%02d" % (sec // 3600, sec // 60 % 60, sec % 60)


def unix(day: int, sec: int) -> int:
    """Seconds since 1970 of a day number and second."""
    return (day + UNIX_DAY) * DAY_S + sec


def clock(clock) -> dict:
    """The clock as the page shows it."""
    if clock is None:
        return {"state": "none", "zone": "", "local": None, "unix": None, "source": ""}
    report = clock.report()
    found = {"state": report["state"], "zone": report["zone"], "local": report.get("local"), "unix": None, "source": ""}
    if clock.is_set:
        found["unix"] = unix(clock.day, clock.sec)
        found["source"] = SOURCE_NAMES[clock.source] if clock.source >= 0 else ""
    if "held" in report:
        found["held"] = report["held"]
    return found


# ---- who asks, who bounds -------------------------------------------------------------------------------


def _limits(pm, view) -> dict:
    found: dict = {}
    now = view.now
    for charge, way in enumerate(("discharge", "charge")):
        row = now[im.WHY_DIS + charge]
        words = reasons.limited(view, row, charge)
        found[way] = {"w": now[im.LIMIT_DIS + charge], "row": limit_list.NAMES[row], "words": words}
    found["rows"] = [[name, watts(discharge), watts(charge)] for name, discharge, charge in limit_list.published(pm.image)]
    return found


def _claims(pm):
    for claim in pm.claims():
        claim["w"] = im.parts(claim.pop("kw"), 1000)
        claim["left_s"] = claim.pop("seconds_left")
        yield claim


def _curtailments(pm):
    for limit in pm.curtailments():
        for way in ("discharge", "charge"):
            kw = limit.pop(way + "_kw")
            limit[way + "_w"] = None if kw is None else im.parts(kw, 1000)
        limit["left_s"] = limit.pop("seconds_left")
        yield limit


def overrides(pm, view):
    """What a person has put out of its ordinary way, a sentence each."""
    if view.now[im.MODE] == Mode.MAINTENANCE:
        yield "MAINTENANCE: " + reasons.why(view)
    if pm.is_local:
        yield "local control: no EMS has it"
    if not pm.scheduling_enabled:
        yield "scheduling is switched off"
    for limit in pm.curtailments():
        if limit["owner"] in ("console", "web"):
            bounds = ["%s %s kW" % (way, limit[way + "_kw"]) for way in ("discharge", "charge") if limit[way + "_kw"] is not None]
            left = "" if limit["seconds_left"] is None else ", %d s left" % limit["seconds_left"]
            yield "limited from the %s: %s%s" % (limit["owner"], ", ".join(bounds), left)


# ---- what there is --------------------------------------------------------------------------------------


def _bank(view) -> dict:
    now = view.now
    return {
        "name": view.name, "mode": Mode.name(now[im.MODE]), "soc": _scaled(now[im.SOC], 100),
        "battery_w": watts(view.told[im.PCS_P]), "command_w": now[im.CMD_P],
        "limit_discharge_w": now[im.LIMIT_DIS], "limit_charge_w": now[im.LIMIT_CHG],
        "why_discharge": limit_list.NAMES[now[im.WHY_DIS]], "why_charge": limit_list.NAMES[now[im.WHY_CHG]],
        "faults": faults.names(now[im.FAULTS]), "reason": reasons.of_bank(view),
    }  # fmt: skip


def _devices(app, view):
    silent = reasons.silent(view)
    for name, device in app.site.devices.items():
        counts = device.counters()
        words = counts.get("note") or ""
        health = "ok"
        if name in silent:
            health = "silent"
            words = counts.get("last_error") or words
        elif name in app.restarts:
            health = "trouble"
            words = "started again %d times" % app.restarts[name]
        what = where = ""
        for i, its in enumerate(_WHAT):
            if app.site.places.get(1 << i, ("", ""))[0] == name:
                what, where = its, app.site.places[1 << i][1]
        yield {"name": name, "what": what, "where": where, "health": health, "words": words}


def _buses(app):
    for name, bus in app.site.buses.items():
        counts = bus.counters() if hasattr(bus, "counters") else {}
        again = app.restarts.get(name)
        words = "started again %d times" % again if again else ""
        if counts.get("bus_off"):
            words = "bus-off %d times" % counts["bus_off"]
        if counts.get("resets"):
            words = "its controller had to be set up anew %d times" % counts["resets"]
        yield {"name": name, "health": "trouble" if words else "ok", "words": words}


def _services(app):
    for name in app.services:
        again = app.restarts.get(name)
        words = "started again %d times" % again if again else ""
        yield {"name": name, "health": "trouble" if words else "ok", "words": words}
    for name, why in app.stopped.items():
        yield {"name": name, "health": "stopped", "words": why}


def _energy(figures: dict, energy) -> dict:
    found = {"boot_in_wh": int(figures["energy_in_wh"]), "boot_out_wh": int(figures["energy_out_wh"])}
    found["in_wh"] = None if energy is None else energy["in_wh"]
    found["out_wh"] = None if energy is None else energy["out_wh"]
    found["cycles"] = None if energy is None else energy["cycles"]
    return found
