"""What must hold after every cycle, whatever happens outside: read from the image, the configuration and the plant.

Independent of the manager's own bookkeeping where it can be: ages, floor, ramp and target are worked out here again.
A few array reads a cycle, since this runs a million times.
"""

import sys
from typing import Any

from firmware import image as im
from firmware.faults import TABLE, TRIP
from firmware.limits import NAMES
from firmware.modes import Mode
from firmware.requests import ISLAND
from tools.sim.virtual.site import METER_S, VirtualSite
from tools.sim.virtual.wired import WiredSite
from tools.soak.readings import Readings
from tools.soak.tiny import looser_than_params
from tools.soak.true_values import TrueValues
from tools.soak.wire import Wire
from tools.soak.witness import Witness

_LARGEST = (1 << 30) - 1
_SMALLEST = -(1 << 30)  # NO_VALUE
# what the top byte of a slot inside them can be: much faster than min() and max()
_INSIDE = bytes((*range(0x40), *range(0xC0, 0x100)))
_TOP_BYTE = 3 if sys.byteorder == "little" else 0
_DT_MAX_MS = 2000  # the ramp and the energy counters take no more of a late cycle
_ROWS = len(NAMES)
_MISSING_DIS = im.LIMIT_ROWS_DIS + NAMES.index("missing_data")
_MISSING_CHG = im.LIMIT_ROWS_CHG + NAMES.index("missing_data")
_BMS_GROUPS = (im.SEQ_BMS, im.SEQ_BMS_LIMITS, im.SEQ_BMS_CELLS, im.SEQ_BMS_TEMPS, im.SEQ_BMS_FLAGS)
_IO_STALE_MS = 500
# what the plant may show beyond what the manager aims at: sensors, the inverter's efficiency, the sag between reports
CURRENT_SHARE = 0.03
CURRENT_A = 4.0
POWER_W = 1500.0
STRANDED_MS = 30000  # a healthy battery that is asked for power gives or takes some within this ...
RECALIBRATED_MS = 660000  # ... or this, while the manager and the BMS part over the SoC
LISTENING_MS = 2000  # of one cycle: what a manager that is held up does not do it cannot be blamed for
STARTED_MS = 120000  # a system that is to run runs again after this: the longest back-off and what clears a fault
FOLLOW = 10  # the inverter's own response, in its time constants


def too_large(slots: Any) -> bool:
    """Whether an int32 array holds a value beyond +-2**30, which would allocate on a board."""
    return bool(slots.tobytes()[_TOP_BYTE::4].translate(None, _INSIDE))


class Broken(Exception):
    """An invariant does not hold; the text says which and with what figures."""


class Watch:
    """Checks one manager and its site.  `before` just ahead of each cycle, `after` just behind it."""

    def __init__(self, manager: Any, site: VirtualSite, has: int, wire: Wire) -> None:
        self._now = manager.image.now
        self._par = manager.image.par
        self._inp = manager.image.inp
        self._manager = manager
        self._site = site
        self._has = has
        self._wire = wire
        self._witness = Witness(manager.image, site)
        self._readings = Readings(manager)
        self._true_values = TrueValues(manager.image, site) if isinstance(site, WiredSite) else None
        self._trip_mask = sum(1 << i for i, row in enumerate(TABLE) if row[5] == TRIP)
        self._seqs = self._inp[0:9]
        self._ages = [im.AGE_NEVER] * 9
        self._was_p = 0
        self._was_mode = Mode.STANDBY
        self._was_contactor = 0
        self._last_mode = Mode.STANDBY  # at the end of the cycle before
        self.accepted = False  # accept_soc() has been called since
        self.wired_honest = True  # inverter and meter answer with what they measure
        self.time_ms = 0  # since it began
        self.honest_ms = 0  # how long nothing has lied about the battery or the grid
        self.quiet_ms = 0  # how long load, PV and grid have been steady
        self._trips = 0
        self._limits_a: list[tuple[float, float]] = []  # (charge, discharge) that the BMS allowed at its last reports
        self._said: object = None
        self._over_ms = 0.0
        self._stranded_ms = 0  # asked for power, and none flows
        self._parted = False  # manager and BMS, over the SoC
        self._waiting_ms = 0  # is to run, and stands in STANDBY
        self._restarts_used = 0
        self._tripped_s: list[int] = []  # uptime at each trip
        self._e_in = 0
        self._e_out = 0
        self._wh_in = 0.0
        self._wh_out = 0.0
        self.counted_wh = 0.0  # by the manager, in and out, while its inverter was heard
        self.true_wh = 0.0  # by the plant, in the same cycles
        self.configure()

    def configure(self) -> None:
        """Take the configuration anew (after the API has changed it)."""
        config = self._manager.config
        own = config.cycle_ms  # ages count from the cycle before the one that saw a group
        late = own * 3 // 2 + 100
        self._stale = [max(3 * config.bms_period_ms, late) + own] * 5 + [max(config.pcs_timeout_ms, late) + own]
        self._stale_io = max(_IO_STALE_MS, late) + own
        self._floor = int(config.min_soc * 100 + 0.5)
        self._ceiling = int(config.max_soc * 100 + 0.5)
        self._rise = config.ramp_up  # kW/s = W/ms
        self._service_w = int(config.service_power * 1000 + 0.5)
        self._export_w = config.max_grid_export_power * 1000
        self._break_a = config.contactor_break_current

    def before(self) -> None:
        """What stood when the cycle began: the API may have changed it since the last one."""
        now = self._now
        self._was_p = now[im.CMD_P]
        self._was_mode = now[im.MODE]
        self._was_contactor = now[im.CMD_CONTACTOR]

    def after(self, dt: int) -> None:
        """Check the cycle that has just run, `dt` ms after the one before.  Raises Broken."""
        now = self._now
        p = now[im.CMD_P]
        self.time_ms += dt
        if now[im.BREACHES]:
            raise Broken(f"breach {now[im.BREACH]}: the cycle has caught itself")
        self._check_limits(now, p, dt)
        if p:
            self._check_flow(now, p)
        missing = self._missing(dt)
        if missing and (p or now[_MISSING_DIS] or now[_MISSING_CHG]):
            raise Broken(f"{missing}, the command is {p} W, limits by missing_data -{now[_MISSING_CHG]} .. +{now[_MISSING_DIS]} W")
        self._check_mode(now, p)
        self._check_restarts(now)
        self._check_asked(now)
        self._check_inputs(dt)
        if too_large(now):
            slot = next(i for i, value in enumerate(now) if not _SMALLEST <= value <= _LARGEST)
            raise Broken(f"slot {slot} of the image holds {now[slot]}, beyond 2**30 - 1")
        self._check_plant(now, dt)
        self._check_stranded(now, p, dt)
        self._last_mode = now[im.MODE]

    # ---- the manager by itself ----------------------------------------------------------------------------
    def _check_limits(self, now: Any, p: int, dt: int) -> None:
        dis, chg = now[im.LIMIT_DIS], now[im.LIMIT_CHG]
        if not (dis >= p >= -chg and dis >= 0 and chg >= 0):
            raise Broken(f"the command {p} W is outside its limits -{chg} .. +{dis} W")
        rows = now[im.LIMIT_ROWS_DIS : im.LIMIT_ROWS_DIS + _ROWS]
        if min(rows) != dis or rows[now[im.WHY_DIS]] != dis:
            raise Broken(f"LIMIT_DIS is {dis} W by row {now[im.WHY_DIS]}, the rows are {list(rows)}")
        rows = now[im.LIMIT_ROWS_CHG : im.LIMIT_ROWS_CHG + _ROWS]
        if min(rows) != chg or rows[now[im.WHY_CHG]] != chg:
            raise Broken(f"LIMIT_CHG is {chg} W by row {now[im.WHY_CHG]}, the rows are {list(rows)}")
        was = self._was_p
        target = now[im.REQUEST_P]
        if target > dis:
            target = dis
        elif target < -chg:
            target = -chg
        if p != was:
            if (p < was and p < target) or (p > was and p > target):
                raise Broken(f"from {was} W to {p} W: beyond the target of {target} W (request {now[im.REQUEST_P]} W)")
            if p * was < 0:
                raise Broken(f"from {was} W to {p} W without a stop at 0")
            rise = abs(p) - abs(was)
            island = not now[im.GRID_OK] and self._manager.config.grid_connection in (0, 1) and now[im.REQUEST_BY] == ISLAND
            if rise > 0 and not island and rise > self._rise * (dt if dt < _DT_MAX_MS else _DT_MAX_MS) + 1:
                raise Broken(f"from {was} W to {p} W in {dt} ms: steeper than ramp_up = {self._rise} kW/s")

    def _check_flow(self, now: Any, p: int) -> None:
        """What the state of charge, the type of grid connection and the grid forbid, by the manager's own measurements."""
        par = self._par
        soc = now[im.SOC]
        if soc == im.NO_VALUE:
            raise Broken(f"no state of charge was ever heard, and the command is {p} W")
        kind = self._manager.config.grid_connection
        grid = now[im.GRID_OK]
        net = now[im.NET_P]
        if p > 0:
            floor = self._floor
            if floor < par[im.OP_SOC_MIN] < im.FREE:
                floor = par[im.OP_SOC_MIN]
            if soc <= floor:
                raise Broken(f"discharges with {p} W at {soc / 100} %, floor {floor / 100} %")
            if kind == 1 and grid:
                raise Broken(f"BACKUP discharges with {p} W while the grid is there")
            if not grid and kind in (2, 3) and (net == im.NO_VALUE or p > max(0, net)):
                raise Broken(f"a site that follows the grid has lost it and discharges with {p} W into a load of {net} W")
        else:
            flags = now[im.BMS_REQUESTS]
            full = flags > 0 and flags & im.BMS_REQ_FULL_CHARGE
            if soc >= (10000 if full else self._ceiling):
                raise Broken(f"charges with {p} W at {soc / 100} %, ceiling {self._ceiling / 100} %")
            if (kind in (0, 3) or not grid) and (net == im.NO_VALUE or -p > max(0, -net)):
                raise Broken(f"charges with {p} W from a surplus of {-net} W only (grid type {kind}, grid {grid})")

    def _missing(self, dt: int) -> str:
        """What the cycle may not do without and has not heard in time, by ages counted here; "" if nothing."""
        seqs = self._inp[0:9]
        ages = self._ages
        if seqs == self._seqs:
            for g in range(9):
                ages[g] += dt
        else:
            before = self._seqs
            for g in range(9):
                ages[g] = dt if seqs[g] != before[g] else ages[g] + dt
            self._seqs = seqs
        stale = self._stale
        for g in _BMS_GROUPS:
            if ages[g] > stale[g] and (ages[g] < im.AGE_NEVER or g <= im.SEQ_BMS_LIMITS):
                return f"BMS group {g} has not been heard for {ages[g]} ms"
        if ages[im.SEQ_PCS] > stale[im.SEQ_PCS]:
            return f"the PCS has not been heard for {ages[im.SEQ_PCS]} ms"
        if self._has & im.HAS_IO and ages[im.SEQ_IO] > self._stale_io:
            return f"the board's inputs have not been read for {ages[im.SEQ_IO]} ms"
        now = self._now
        if not 0 <= now[im.BMS_SOC] <= 10000 or now[im.BMS_V] <= 0 or now[im.BMS_I] == im.NO_VALUE:
            return f"BMS SoC, voltage, current are {now[im.BMS_SOC]}, {now[im.BMS_V]}, {now[im.BMS_I]}"
        if now[im.PCS_P] == im.NO_VALUE:
            return "the PCS does not say its power"
        return ""

    def _check_mode(self, now: Any, p: int) -> None:
        mode, was = now[im.MODE], self._was_mode
        if was == Mode.EMERGENCY and mode != Mode.EMERGENCY:
            raise Broken(f"EMERGENCY was left for {Mode.name(mode)} by the cycle")
        if mode in (Mode.STANDBY, Mode.EMERGENCY) and (p or now[im.LIMIT_ROWS_DIS] or now[im.LIMIT_ROWS_CHG]):
            raise Broken(f"{p} W in {Mode.name(mode)}, limits by mode -{now[im.LIMIT_ROWS_CHG]} .. +{now[im.LIMIT_ROWS_DIS]} W")
        if p and not now[im.CMD_RUN]:
            raise Broken(f"{p} W for an inverter that may not switch, in {Mode.name(mode)}")
        if mode in (Mode.STANDBY, Mode.EMERGENCY) and now[im.CMD_RUN]:
            raise Broken(f"the inverter may switch in {Mode.name(mode)}")
        if mode == Mode.MAINTENANCE and abs(p) > self._service_w:
            raise Broken(f"{p} W in MAINTENANCE, allowed are {self._service_w}")
        if (was, mode) in ((Mode.CHARGE, Mode.DISCHARGE), (Mode.DISCHARGE, Mode.CHARGE)):
            raise Broken(f"from {Mode.name(was)} to {Mode.name(mode)} in one cycle")
        if (p < 0 and mode == Mode.DISCHARGE) or (p > 0 and mode == Mode.CHARGE):
            raise Broken(f"{p} W in {Mode.name(mode)}")
        if now[im.FAULTS] & self._trip_mask and mode in (Mode.IDLE, Mode.CHARGE, Mode.DISCHARGE):
            raise Broken(f"a fault that trips is active ({now[im.FAULTS]:#x}) in {Mode.name(mode)}")

    def _check_restarts(self, now: Any) -> None:
        """So many restarts in an hour, no fewer."""
        used = now[im.TRIPS]
        if used > self._restarts_used:
            self._tripped_s.append(now[im.UPTIME_S])
            config = self._manager.config
            limit = config.restart_limit if config.auto_restart else 0
            hour = [at_s for at_s in self._tripped_s if now[im.UPTIME_S] - at_s <= 3600]
            if now[im.ORDER] == im.ORDER_SPENT and len(hour) <= limit:
                raise Broken(f"the restarts are used up by trip {len(hour)} in an hour, {limit} are allowed")
        self._restarts_used = used

    def _check_asked(self, now: Any) -> None:
        """Who decides: an island's load, nobody from before maintenance; parameters as given; an accepted SoC believed."""
        manager = self._manager
        kind = manager.config.grid_connection
        islanded = kind == 0 or (kind == 1 and not now[im.GRID_OK])
        running = now[im.MODE] in (Mode.IDLE, Mode.CHARGE, Mode.DISCHARGE) and self._last_mode == now[im.MODE]
        if islanded and running and manager.states.stop_ms < 0 and now[im.NET_P] != im.NO_VALUE:
            if now[im.REQUEST_BY] != ISLAND or now[im.REQUEST_P] not in (now[im.NET_P], 0):
                raise Broken(f"an island of {now[im.NET_P]} W is asked for {now[im.REQUEST_P]} W by source {now[im.REQUEST_BY]}")
        if now[im.MODE] == Mode.MAINTENANCE and self._last_mode != Mode.MAINTENANCE:
            watts = self._site.plant.pcs.power_w
            if now[im.CMD_P] or now[im.CMD_RUN] or (self.honest_ms > 10000 and abs(watts) > POWER_W):
                raise Broken(f"MAINTENANCE began at {watts:.0f} W, {now[im.CMD_P]} W commanded")
        looser = looser_than_params(manager)
        if looser:
            raise Broken(looser)
        if self.accepted:
            self.accepted = False
            parted = now[im.SOC_LOW] != now[im.SOC] or now[im.SOC_HIGH] != now[im.SOC]
            if parted and not now[im.SOC_JUMP] and now[im.BMS_SOC] != im.NO_VALUE:
                raise Broken(f"the SoC was accepted, and counts as {now[im.SOC_LOW]} to {now[im.SOC_HIGH]}")

    def _check_inputs(self, dt: int) -> None:
        """Ages are true, one reading latches nothing, and what came over Modbus was measured."""
        wrong = self._readings.check(dt)
        if not wrong and self.time_ms:  # a manager's first cycle does not know what came before it
            wrong = self._witness.younger_than_true()
        if not wrong and self._true_values is not None:
            wrong = self._true_values.check(dt, self.wired_honest, self.quiet_ms)
        if wrong:
            raise Broken(wrong)

    # ---- the plant ------------------------------------------------------------------------------------------
    def _check_plant(self, now: Any, dt: int) -> None:
        site = self._site
        plant = site.plant
        self.honest_ms += dt
        self.quiet_ms += dt
        pack = plant.pack
        if self._was_contactor and not now[im.CMD_CONTACTOR] and self.honest_ms > 10000 and plant.contactor_closed:
            if abs(pack.current_a) > self._break_a + 1.0 and now[im.OPEN_MS] <= self._par[im.PAR_BREAK_MS]:
                raise Broken(f"contactors opened under {pack.current_a:.1f} A after {now[im.OPEN_MS]} ms")
        if plant.bms.relay_trips != self._trips:
            self._trips = plant.bms.relay_trips
            if self.honest_ms > 20000:
                raise Broken("the BMS had to open its own relay: current flowed in a direction it had forbidden")
        report = site._report
        if report is not self._said and report is not None:
            self._said = report
            self._limits_a.append((report.charge_limit_a, report.discharge_limit_a))
            del self._limits_a[:-4]
        if self.honest_ms > 20000:
            self._check_current(pack.current_a)
            if pcs_p := plant.pcs.power_w:
                self._check_export(pcs_p, dt)

    def _check_current(self, amps: float) -> None:
        if amps > CURRENT_A:
            most = max(limit[1] for limit in self._limits_a)
        elif amps < -CURRENT_A:
            most = max(limit[0] for limit in self._limits_a)
        else:
            return
        if abs(amps) > most * (1 + CURRENT_SHARE) + CURRENT_A:
            raise Broken(f"{amps:.1f} A flow, the BMS allowed {most:.1f} A at most in its last reports")

    def _check_stranded(self, now: Any, p: int, dt: int) -> None:
        """A healthy battery is not stranded: when nothing forbids it and something asks, power flows without a person."""
        site = self._site
        quiet = min(self.honest_ms, self.quiet_ms)
        plant = site.plant
        grid = plant.grid_present and 48.0 < plant.grid_hz < 51.5 and 340.0 < plant.grid_v < 460.0
        healthy = plant.bms.relay_closed  # to close one that the BMS has opened is a person's
        if site.active or quiet < STRANDED_MS or not grid or not healthy:
            self._stranded_ms = self._waiting_ms = 0
            return
        waiting = now[im.MODE] == Mode.STANDBY and now[im.ORDER] == im.ORDER_START and self._wire.costs != 3
        if waiting:
            self._waiting_ms += min(dt, LISTENING_MS)
            self._judge_stranded(self._waiting_ms, STARTED_MS)
            return
        self._waiting_ms = 0
        if p or not self._could_flow(now):
            self._stranded_ms = 0
            return
        self._stranded_ms += min(dt, LISTENING_MS)
        parted = now[im.SOC_LOW] != now[im.SOC] or now[im.SOC_HIGH] != now[im.SOC]
        if self._parted and not parted:
            self._stranded_ms = 0  # accepted just now: from here on nothing is in the way
        self._parted = parted
        self._judge_stranded(self._stranded_ms, RECALIBRATED_MS if parted else STRANDED_MS)

    def _judge_stranded(self, ms: int, most: int) -> None:
        if ms > most:
            s = self._manager.stats()
            raise Broken(f"stranded for {ms} ms in {s['mode']}, {s['request']} kW asked: {s['reason']}, {s['faults']}")

    def _could_flow(self, now: Any) -> bool:
        """By the plant and the configuration, well inside every limit, the request could be served."""
        wants, par, config, plant = now[im.REQUEST_P], self._par, self._manager.config, self._site.plant
        report = self._site._report
        if abs(wants) < 2 * POWER_W or config.grid_connection != 2 or report is None or self._manager.states.stop_ms >= 0:
            return False
        if now[im.MODE] not in (Mode.CHARGE, Mode.DISCHARGE) or not 15.0 < report.temperature_c < 40.0:
            return False
        if self._wire.costs & (2 if wants < 0 else 1):
            return False
        soc = plant.pack.soc * 10000
        power = plant.pcs.limits_w()[0 if wants < 0 else 1]
        if wants < 0:
            free = all(par[slot] == im.FREE for slot in (im.OP_P_CHG, im.OP_I_CHG, im.OP_V_MAX, im.EMS_P_CHG))
            inside = soc < min(self._ceiling, par[im.OP_SOC_MAX]) - 500 and report.cell_max_mv < 3450
            permitted = config.allow_grid_charging and now[im.HOLD_CHG_MS] == 0
            amps = 0.0 if report.charge_forbidden else report.charge_limit_a
        else:
            free = all(par[slot] == im.FREE for slot in (im.OP_P_DIS, im.OP_I_DIS, im.OP_V_MIN, im.OP_SOC_MIN, im.EMS_P_DIS))
            inside = soc > self._floor + 500 and report.cell_min_mv > 3150
            left = self._export_w + plant.load_w - plant.pv_w  # the sun's surplus is exported first
            permitted = config.allow_grid_export and left > 2 * POWER_W and self._export_w > 2 * POWER_W
            amps = 0.0 if report.discharge_forbidden else report.discharge_limit_a
        return free and inside and permitted and amps > 10.0 and power > 2 * POWER_W

    def _check_export(self, power: float, dt: int) -> None:
        """Power from the battery that goes to the grid stays inside what is allowed, but for the inverter's response."""
        plant = self._site.plant
        over = 0.0
        if power > 0 and plant.grid_present and self._now[im.GRID_OK] and self._site.has_meter:
            config = self._manager.config
            kind = config.grid_connection
            most = self._export_w if kind == 3 or (kind == 2 and config.allow_grid_export) else 0.0
            over = min(power, -plant.grid_w) - most
        if over <= POWER_W:
            self._over_ms = 0.0
        else:
            self._over_ms += dt
            if self._over_ms > 2 * dt + FOLLOW * plant.pcs.tau_s * 1000 + METER_S * 1000 and self.quiet_ms > self._over_ms:
                raise Broken(f"{over:.0f} W more than allowed are exported for {self._over_ms:.0f} ms")

    # ---- energy ---------------------------------------------------------------------------------------------
    def count_energy(self, honest: bool) -> None:
        """Call after each cycle: what the manager and the plant counted since the last call, kept if `honest`.

        Raises Broken if the manager counts by an inverter that it does not hear.
        """
        now = self._now
        e_in = now[im.E_IN_WH] * 3600000 + now[im.E_IN_REM]
        e_out = now[im.E_OUT_WH] * 3600000 + now[im.E_OUT_REM]
        pcs = self._site.plant.pcs
        if self._ages[im.SEQ_PCS] > self._stale[im.SEQ_PCS] and (e_in != self._e_in or e_out != self._e_out):
            raise Broken("energy is counted while the PCS is not heard")
        if honest and abs(pcs.power_w) <= self._par[im.PAR_MOST_P]:  # more than the site can move counts as that much
            self.counted_wh += (e_in - self._e_in + e_out - self._e_out) / 3600000
            self.true_wh += pcs.wh_in - self._wh_in + pcs.wh_out - self._wh_out
        self._e_in, self._e_out, self._wh_in, self._wh_out = e_in, e_out, pcs.wh_in, pcs.wh_out
