"""What people see: the image of one instant as kW, V, A, %, with names."""

from firmware import faults, reasons
from firmware import image as im
from firmware import requests as rq
from firmware.battery_words import missing
from firmware.flows import PATHS, Flow
from firmware.limits import NAMES
from firmware.modes import Mode


def _scaled(value: int, divisor: int):
    return None if value == im.NO_VALUE else value / divisor


class Instant:
    """Copies of one instant, of which figures and words are made: the image, claims, limits and owners, and what the site is."""

    def __init__(self, pm, now, par, arbiter) -> None:
        self.now = now
        self.par = par
        self.claims = arbiter.claims.table[:]
        self.owners = arbiter.claims.owners[:]
        curtailed = arbiter.curtailments
        self.curtailed = []  # (owner, ms left) of the smallest limit with an owner, for discharge and charge; None: there is none
        for place in (now[im.CURTAILED_BY], now[im.CURTAILED_BY + 1]):
            limited = place < len(curtailed.owners)
            self.curtailed.append((curtailed.owners[place], curtailed.table[3 * place]) if limited else None)
        self.places = pm.places
        self.refused = pm.refused
        self.clock = pm.clock
        self.stays = "" if pm.run_memory is None else pm.run_memory.stays

    def claim(self, source: int) -> tuple:
        """A source's claim, of its newest owner: ms left (0: none), W, goal, target SoC, owner."""
        place = rq.newest(self.claims, source)
        left, watts, goal, target = self.claims[place * rq.PARTS : place * rq.PARTS + 4]
        return left, watts, goal, target, self.owners[place]


def stats(view) -> dict:
    """Everything at one instant, an Instant.

    power, request, command, limits in kW (+ discharge); voltage V; current A (+ discharge); soc, soh %; energy kWh AC.
    None is "not measured".  `binding` names the limit that bounds the direction of the request; `reason` says in words what
    makes the power what it is, see reasons.why; grid_power is + import.  available_discharge / _charge are kWh at the AC
    terminals down to the floor and up to the ceiling, at this state of health.
    """
    now, par = view.now, view.par
    told: dict = {}
    _tell_power(told, now)
    _tell_battery(told, now, par)
    _tell_site(told, now)
    _tell_reason(told, view)
    return told


def _tell_power(told: dict, now) -> None:
    told["mode"] = Mode.name(now[im.MODE])
    told["power"] = _scaled(now[im.PCS_P], 1000)
    told["request"] = now[im.REQUEST_P] / 1000
    told["requested_by"] = rq.SOURCES[now[im.REQUEST_BY]]
    told["command"] = now[im.CMD_P] / 1000
    told["limit_discharge"] = now[im.LIMIT_DIS] / 1000
    told["limit_charge"] = now[im.LIMIT_CHG] / 1000
    told["why_discharge"] = NAMES[now[im.WHY_DIS]]
    told["why_charge"] = NAMES[now[im.WHY_CHG]]
    told["missing"] = missing(now[im.MISSING])


def _tell_battery(told: dict, now, par) -> None:
    soc = now[im.SOC]
    health = now[im.BMS_SOH] if now[im.BMS_SOH] != im.NO_VALUE else 10000
    step_kwh = par[im.PAR_ENERGY] / 1000 * health / 100000000  # of 0.01 % SoC
    floor = max(par[im.PAR_SOC_MIN], 0 if par[im.OP_SOC_MIN] == im.FREE else par[im.OP_SOC_MIN])
    told["voltage"] = _scaled(now[im.BMS_V], 10)
    told["current"] = _scaled(now[im.BMS_I], 10)
    told["soc"] = _scaled(soc, 100)
    told["soh"] = _scaled(now[im.BMS_SOH], 100)
    told["temperature"] = _scaled(now[im.BMS_TEMP], 10)
    told["balancing"] = now[im.CMD_BALANCE] == 1 or (now[im.BMS_REQUESTS] > 0 and now[im.BMS_REQUESTS] & im.BMS_REQ_BALANCE != 0)
    told["cell_max"] = _scaled(now[im.CELL_V_MAX], 1000)
    told["cell_min"] = _scaled(now[im.CELL_V_MIN], 1000)
    told["available_discharge"] = told["available_charge"] = None
    if soc != im.NO_VALUE:
        told["available_discharge"] = max(0, soc - floor) * step_kwh * par[im.PAR_EFF] / 1000
        told["available_charge"] = max(0, par[im.PAR_SOC_MAX] - soc) * step_kwh * 1000 / par[im.PAR_EFF]


def _tell_site(told: dict, now) -> None:
    power = now[im.PCS_P]
    dc_power = now[im.PCS_DC_P]
    told["efficiency"] = None
    if im.NO_VALUE not in (power, dc_power) and power and dc_power:
        told["efficiency"] = (power * 100 / dc_power) if power > 0 else dc_power * 100 / power
    told["energy_in_wh"] = im.energy_wh(now, im.E_IN_TURNS, im.E_IN_WH) + now[im.E_IN_REM] / 3600000
    told["energy_out_wh"] = im.energy_wh(now, im.E_OUT_TURNS, im.E_OUT_WH) + now[im.E_OUT_REM] / 3600000
    told["energy_in"] = told["energy_in_wh"] / 1000
    told["energy_out"] = told["energy_out_wh"] / 1000
    told["dc_bus_voltage"] = _scaled(now[im.PCS_DC_V], 10)
    told["grid_frequency"] = _scaled(now[im.METER_HZ] if now[im.METER_HZ] != im.NO_VALUE else now[im.PCS_HZ], 1000)
    told["grid_voltage"] = _scaled(now[im.METER_V] if now[im.METER_V] != im.NO_VALUE else now[im.PCS_V], 10)
    told["grid_current"] = _scaled(now[im.METER_I], 10)
    told["grid_power"] = _scaled(now[im.METER_P], 1000)
    told["grid_connected"] = now[im.GRID_OK] == 1
    told["load_power"] = _scaled(now[im.LOAD_P], 1000)
    told["pv_power"] = _scaled(now[im.PV_P], 1000)
    told["flow"] = Flow.name(now[im.FLOW])
    told["paths"] = [name for bit, name in PATHS if now[im.FLOW_PATHS] & bit]
    told["faults"] = faults.names(now[im.FAULTS])
    told["uptime_s"] = now[im.UPTIME_S]


def _tell_reason(told: dict, view) -> None:
    charge = told["request"] < 0
    limit = told["limit_charge" if charge else "limit_discharge"]
    bound = limit < abs(told["request"]) or limit == 0
    told["binding"] = told["why_charge" if charge else "why_discharge"] if bound else None
    told["reason"] = reasons.why(view)
    told["last_trip"] = reasons.last_trip(view)
    told["last_end"] = reasons.last_end(view)
