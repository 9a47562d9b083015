"""What must hold after every cycle of a site of several batteries and inverters: of each device, each bank, and all of them.

As invariants.py for one of each: worked out again from what the devices wrote and from the configuration.
"""

from typing import Any

from firmware import image as im
from firmware.faults import TABLE, TRIP
from firmware.limits import NAMES
from firmware.modes import Mode
from firmware.requests import ISLAND, PROTECTION
from tools.sim.virtual.banks import BatteryNode, InverterNode, VirtualBanks
from tools.sim.virtual.site import METER_S
from tools.soak.banks_witness import BanksWitness
from tools.soak.invariants import (
    CURRENT_A,
    CURRENT_SHARE,
    FOLLOW,
    LISTENING_MS,
    POWER_W,
    STARTED_MS,
    STRANDED_MS,
    Broken,
    too_large,
)
from tools.soak.wires import Wires

_DT_MAX_MS = 2000  # the ramp takes no more of a late cycle
_ROWS = len(NAMES)
_BANKS_ROW = NAMES.index("banks")
_PCS_ROW = NAMES.index("pcs")
_BMS_GROUPS = range(im.SEQ_BMS, im.SEQ_BMS_FLAGS + 1)
_CONNECTED = (Mode.IDLE, Mode.CHARGE, Mode.DISCHARGE)
_SETTLED_MS = 20000  # so long after what misled it a bank's current is judged
_CARRIED_W = 2  # one is left over from before, and ramp_up is held in whole W/s
_SHARE = 0.01
_SHARE_W = 8  # whole watts of four banks
_FLOWING_KW = 3.0
_SWITCHING = (im.PCS_STANDBY, im.PCS_RUNNING)


class Part:
    """A bank as it is watched: its devices, and what is counted of it."""

    def __init__(self, image: Any, batteries: list[BatteryNode], inverters: list[InverterNode], physics: Any) -> None:
        self.name = image.name
        self.now = image.now
        self.par = image.par
        self.config = config = image.config
        self.batteries = batteries
        self.inverters = inverters
        self.physics = physics
        self.was_p = 0
        self.was_mode = Mode.STANDBY
        self.honest_ms = 0  # since something has last misled it
        self.healthy_ms = 0  # since it has last been in trouble
        self.idle_ms = 0  # asked for power, and none flows
        self.waiting_ms = 0  # is to run, and stands in STANDBY
        self.trips = 0
        self.allowed: dict[str, list[tuple[float, float]]] = {one.battery.name: [] for one in batteries}
        self.seen: dict[str, object] = {}
        self.ages = {id(one): [im.AGE_NEVER] * 6 for one in (*batteries, *inverters)}
        self.seqs = {id(one): one.image.inp[0:6] for one in (*batteries, *inverters)}
        own = config.cycle_ms  # ages count from the cycle before the one that saw a group
        late = own * 3 // 2 + 100
        self.stale_bms = max(3 * config.bms_period_ms, late) + own
        self.stale_pcs = max(config.pcs_timeout_ms, late) + own
        self.floor = int(config.min_soc * 100 + 0.5)
        self.ceiling = int(config.max_soc * 100 + 0.5)
        self.most = int(config.max_charge_power * 1000 + 0.5), int(config.max_discharge_power * 1000 + 0.5)

    def count_ages(self, dt: int) -> None:
        """How long each group of each device has not come."""
        for one in (*self.batteries, *self.inverters):
            ages, before = self.ages[id(one)], self.seqs[id(one)]
            seqs = one.image.inp[0:6]
            if seqs == before:
                for g in range(6):
                    ages[g] += dt
            else:
                for g in range(6):
                    ages[g] = dt if seqs[g] != before[g] else ages[g] + dt
                self.seqs[id(one)] = seqs

    def pcs_age(self, one: InverterNode) -> int:
        """How long this inverter has not been received, ms."""
        return self.ages[id(one)][im.SEQ_PCS]

    def is_measured(self, one: InverterNode) -> bool:
        """Whether this inverter is received and says its power."""
        return self.pcs_age(one) <= self.stale_pcs and bool(one.image.now[im.PCS_P] != im.NO_VALUE)

    def unheard_w(self) -> int:
        """The most that its silent inverters can do together."""
        nows = [one.image.now for one in self.inverters]
        heard = sum(now[im.FRESH] >> im.SEQ_PCS & 1 and now[im.PCS_P] != im.NO_VALUE for now in nows)
        return max(self.most) * (len(nows) - heard)

    def missing(self) -> str:
        """What its cycle may not do without and has not, in words; "" if nothing."""
        for one in self.batteries:
            ages, now = self.ages[id(one)], one.image.now
            for g in _BMS_GROUPS:
                if ages[g] > self.stale_bms and (ages[g] < im.AGE_NEVER or g <= im.SEQ_BMS_LIMITS):
                    return f"{one.battery.name}'s group {g} has not been received for {ages[g]} ms"
            if not 0 <= now[im.BMS_SOC] <= 10000 or now[im.BMS_I] == im.NO_VALUE:
                return f"{one.battery.name} reports {now[im.BMS_SOC]} and {now[im.BMS_I]} for SoC and current"
        if any(one.image.now[im.BMS_V] <= 0 for one in self.batteries):
            return "a battery reports no voltage"
        if not any(self.is_measured(one) for one in self.inverters):
            return "no inverter is received and says its power"
        return ""


class BanksWatch:
    """Checks one manager and its site.  `before` just ahead of each cycle, `after` just behind it."""

    def __init__(self, manager: Any, site: VirtualBanks, has: int, wires: Wires) -> None:
        self._image = image = manager.image
        self._images = list({id(each): each for each in image.every()}.values())
        self._now = image.now
        self._par = image.par
        self._manager = manager
        self._site = site
        self._has = has
        self._witness = BanksWitness(image, site)
        self._trip_mask = sum(1 << i for i, row in enumerate(TABLE) if row[5] == TRIP)
        self.parts = []
        batteries, inverters = list(site.batteries), list(site.inverters)
        for own, physics in zip(image.banks, site.plant.banks, strict=True):
            packs, each = len(physics.batteries), len(physics.inverters)
            self.parts.append(Part(own, batteries[:packs], inverters[:each], physics))
            del batteries[:packs]
            del inverters[:each]
        self._of = {part.name: part for part in self.parts}
        self.troubled: set[str] = set()  # banks
        self.site_troubled = False
        self.flow_misled = False  # what flows is not what is measured
        self.inverter_lies = False  # of anything, the grid included: there is none where one that runs sees none
        self.accepted = False
        self.wired_honest = True
        self.time_ms = 0
        self.honest_ms = 0  # how long meter and grid have not lied
        self.quiet_ms = 0  # how long load, PV and grid have been steady
        self._flow_honest_ms = 0
        self._grid_honest_ms = 0
        self._healthy_ms = 0  # of the site's own
        self._waiting_ms = 0
        self._over_ms = 0.0
        self._was_p = 0
        self._was_mode = Mode.STANDBY
        self._io_seq = image.inp[im.SEQ_IO]
        self._io_age = im.AGE_NEVER
        self._e = (0, 0, 0.0, 0.0)
        self.counted_wh = 0.0
        self.true_wh = 0.0
        self.shared = 0  # cycles in which the sharing was judged
        self.configure()

    def configure(self) -> None:
        """Take the configuration anew (after the API has changed it)."""
        config = self._manager.config
        self._stale_io = max(500, config.cycle_ms * 3 // 2 + 100) + config.cycle_ms
        self._rise = config.ramp_up
        self._service_w = int(config.service_power * 1000 + 0.5)
        self._export_w = config.max_grid_export_power * 1000
        self._most = int(config.max_charge_power * 1000 + 0.5), int(config.max_discharge_power * 1000 + 0.5)

    def disturbed(self, bank: str) -> None:
        """What has just been done to this bank takes a while to be seen."""
        self._of[bank].honest_ms = self._of[bank].healthy_ms = 0

    def before(self) -> None:
        """What stood when the cycle began: the API may have changed it since the last one."""
        self._was_p = self._now[im.CMD_P]
        self._was_mode = self._now[im.MODE]
        for part in self.parts:
            part.was_p = part.now[im.CMD_P]
            part.was_mode = part.now[im.MODE]

    def after(self, dt: int) -> None:
        """Check the cycle that has just run, `dt` ms after the one before.  Raises Broken."""
        now = self._now
        p = now[im.CMD_P]
        self.time_ms += dt
        self._count(dt)
        self._check_breaches()
        self._check_site(now, p, dt)
        for part in self.parts:
            self._check_bank(part, p, dt)
            self._check_devices(part)
        self._check_modes(now, p)
        if p:
            self._check_flow(now, p)
            self._check_sharing(p, dt)
        self._check_fall(now, p)
        for image in self._images:
            if too_large(image.now):
                slot = next(i for i, value in enumerate(image.now) if not -(1 << 30) <= value < 1 << 30)
                raise Broken(f"slot {slot} of {image.name or 'the site'} holds {image.now[slot]}, beyond 2**30 - 1")
        younger = self._witness.younger_than_true() if self.time_ms else ""
        if younger:
            raise Broken(younger)
        self._check_plant(dt)
        self._check_stranded(now, dt)

    def _count(self, dt: int) -> None:
        self.honest_ms += dt
        self.quiet_ms += dt
        self._flow_honest_ms = 0 if self.flow_misled else self._flow_honest_ms + dt
        self._grid_honest_ms = 0 if self.inverter_lies else self._grid_honest_ms + dt
        self._healthy_ms = 0 if self.site_troubled else self._healthy_ms + min(dt, LISTENING_MS)
        seq = self._image.inp[im.SEQ_IO]
        self._io_age = dt if seq != self._io_seq else self._io_age + dt
        self._io_seq = seq
        for part in self.parts:
            part.count_ages(dt)
            troubled = part.name in self.troubled
            part.honest_ms = 0 if troubled else part.honest_ms + dt
            part.healthy_ms = 0 if troubled else part.healthy_ms + min(dt, LISTENING_MS)

    def _check_breaches(self) -> None:
        for image in (self._image, *self._image.banks):
            if image.now[im.BREACHES]:
                raise Broken(f"breach {image.now[im.BREACH]} of {image.name or 'the site'}: the cycle has caught itself")

    # ---- the commands ---------------------------------------------------------------------------------------
    def _check_site(self, now: Any, p: int, dt: int) -> None:
        self._check_rows(now, "the site")
        gives = [sum(part.now[slot] for part in self.parts) for slot in (im.LIMIT_DIS, im.LIMIT_CHG)]
        if [now[rows + _BANKS_ROW] for rows in (im.LIMIT_ROWS_DIS, im.LIMIT_ROWS_CHG)] != gives:
            raise Broken(f"the banks give {gives} W, the site's row says {now[im.LIMIT_ROWS_DIS + _BANKS_ROW]} W")
        dis, chg = now[im.LIMIT_DIS], now[im.LIMIT_CHG]
        if not dis >= p >= -chg or p > self._most[1] or -p > self._most[0]:
            raise Broken(f"the site's command {p} W is outside its limits -{chg} .. +{dis} W, or what is configured")
        total = sum(part.now[im.CMD_P] for part in self.parts)
        if total != p:
            raise Broken(f"the banks have {[part.now[im.CMD_P] for part in self.parts]} W, the site {p} W")
        was, wants = self._was_p, now[im.REQUEST_P]
        self._check_move("the site", was, p, dt)
        if abs(p) > abs(was) and (abs(p) > abs(wants) or p * wants < 0):
            raise Broken(f"from {was} W to {p} W: more than the request of {wants} W")

    def _check_move(self, who: str, was: int, p: int, dt: int) -> None:
        if p * was < 0:
            raise Broken(f"{who} goes from {was} W to {p} W without a stop at 0")
        now = self._now
        island = not now[im.GRID_OK] and self._manager.config.grid_connection in (0, 1) and now[im.REQUEST_BY] == ISLAND
        rise = abs(p) - abs(was)
        if rise > 0 and not island and rise > self._rise * min(dt, _DT_MAX_MS) + _CARRIED_W:
            raise Broken(f"{who} goes from {was} W to {p} W in {dt} ms: steeper than ramp_up = {self._rise} kW/s")

    @staticmethod
    def _check_rows(now: Any, who: str, unheard: int = 0) -> None:
        """The limit is the least row, less what inverters may be doing that are not heard: up to `unheard` watts, of all rows but
        the inverters' own.
        """
        for limit, why, first in ((im.LIMIT_DIS, im.WHY_DIS, im.LIMIT_ROWS_DIS), (im.LIMIT_CHG, im.WHY_CHG, im.LIMIT_ROWS_CHG)):
            rows = now[first : first + _ROWS]
            least = lowest = min(rows)
            if unheard and now[why] != _PCS_ROW:
                least = min(rows[:_PCS_ROW] + rows[_PCS_ROW + 1 :])
                lowest = max(0, least - unheard)
            if not lowest <= now[limit] <= min(rows) or rows[now[why]] != least or least < 0:
                raise Broken(f"{who}'s limit is {now[limit]} W by row {now[why]}, the rows are {list(rows)}")

    def _check_bank(self, part: Part, site_p: int, dt: int) -> None:
        now = part.now
        p = now[im.CMD_P]
        who = f"bank {part.name}"
        self._check_rows(now, who, part.unheard_w())
        dis, chg = now[im.LIMIT_DIS], now[im.LIMIT_CHG]
        if not dis >= p >= -chg or p > part.most[1] or -p > part.most[0]:
            raise Broken(f"{who} has {p} W, it may -{chg} .. +{dis} W, configured are -{part.most[0]} .. +{part.most[1]} W")
        if p * site_p < 0 and not (p < 0 and self._forced(part)):
            raise Broken(f"{who} has {p} W, the site {site_p} W")
        self._check_move(who, part.was_p, p, dt)
        missing = part.missing()
        if not missing and self._has & im.HAS_IO and self._io_age > self._stale_io:
            missing = f"the board's inputs have not been read for {self._io_age} ms"
        if missing and p:
            raise Broken(f"{who}: {missing}, its command is {p} W")
        if p and now[im.MODE] in (Mode.STANDBY, Mode.EMERGENCY):
            raise Broken(f"{who} has {p} W in {Mode.name(now[im.MODE])}")
        if p and not now[im.CMD_RUN]:
            raise Broken(f"{who} has {p} W and may not switch")
        if now[im.FAULTS] & self._trip_mask and now[im.MODE] in _CONNECTED:
            raise Broken(f"{who}: a fault that trips is active ({now[im.FAULTS]:#x}) in {Mode.name(now[im.MODE])}")
        if p > 0:
            floor = part.floor
            if floor < self._par[im.OP_SOC_MIN] < im.FREE:
                floor = self._par[im.OP_SOC_MIN]
            if now[im.SOC] <= floor:
                raise Broken(f"{who} discharges with {p} W at {now[im.SOC] / 100} %, floor {floor / 100} %")
        elif p < 0:
            full = any(one.image.now[im.BMS_REQUESTS] & im.BMS_REQ_FULL_CHARGE for one in part.batteries)
            if now[im.SOC] >= (10000 if full else part.ceiling):
                raise Broken(f"{who} charges with {p} W at {now[im.SOC] / 100} %, ceiling {part.ceiling / 100} %")

    def _check_devices(self, part: Part) -> None:
        """Its battery's limits, each a share of the current, and what goes to each inverter."""
        p = part.now[im.CMD_P]
        if p:
            for one in part.batteries:
                self._check_battery(part, one, p)
        total = 0
        for inverter in part.inverters:
            its = inverter.image.now
            watts = its[im.CMD_P]
            total += watts
            if its[im.CMD_RUN] != part.now[im.CMD_RUN] or its[im.CMD_CONTACTOR] != part.now[im.CMD_CONTACTOR]:
                raise Broken(f"{part.name}: an inverter's outputs are not its bank's")
            if not watts:
                continue
            if watts * p < 0 or not part.is_measured(inverter) or its[im.PCS_STATE] not in _SWITCHING:
                raise Broken(
                    f"bank {part.name} has {p} W, an inverter {watts} W: not received for {part.pcs_age(inverter)} ms, "
                    f"state {its[im.PCS_STATE]}"
                )
            most = its[im.PCS_P_DIS if watts > 0 else im.PCS_P_CHG]
            if most != im.NO_VALUE and abs(watts) > most:
                raise Broken(f"an inverter of bank {part.name} has {watts} W and says that it can {most} W")
        if total != p:
            raise Broken(f"bank {part.name} has {p} W, its inverters {total} W together")

    @staticmethod
    def _check_battery(part: Part, one: BatteryNode, p: int) -> None:
        its, par = one.image.now, part.par
        flags, protect = max(0, its[im.BMS_REQUESTS]), max(0, its[im.BMS_PROTECT])
        if p > 0:
            forbidden = flags & im.BMS_REQ_NO_DISCHARGE or protect & par[im.PAR_PROT_DIS]
            amps = its[im.BMS_I_DIS]
        else:
            forbidden = flags & im.BMS_REQ_NO_CHARGE or protect & par[im.PAR_PROT_CHG]
            amps = its[im.BMS_I_CHG]
        if forbidden:
            raise Broken(f"bank {part.name} has {p} W, {one.battery.name} forbids it: requests {flags}, protections {protect:#x}")
        volts = max(each.image.now[im.BMS_V] for each in part.batteries)
        efficiency = part.config.inverter_efficiency / 100
        most = amps * len(part.batteries) * volts / 100
        most = most * efficiency if p > 0 else most / efficiency
        if abs(p) > most * 1.001 + 10:
            raise Broken(f"bank {part.name} has {p} W, {one.battery.name} allows {amps / 10} A, so {most:.0f} W of the bank")

    # ---- the site -------------------------------------------------------------------------------------------
    def _check_modes(self, now: Any, p: int) -> None:
        mode, was = now[im.MODE], self._was_mode
        modes = [part.now[im.MODE] for part in self.parts]
        text = f"{Mode.name(mode)}, the banks {[Mode.name(each) for each in modes]}"
        if was == Mode.EMERGENCY and mode != Mode.EMERGENCY:
            raise Broken(f"EMERGENCY was left for {Mode.name(mode)} by the cycle")
        if Mode.EMERGENCY in (mode, *modes):
            if any(each != Mode.EMERGENCY for each in (mode, *modes)):
                raise Broken(f"not everybody is in EMERGENCY: {text}")
            if any(image.now[im.CMD_P] or image.now[im.CMD_RUN] for image in self._images):
                raise Broken("something may move in EMERGENCY")
        if mode == Mode.STANDBY and (p or now[im.CMD_RUN] or any(each in _CONNECTED for each in modes)):
            raise Broken(f"{p} W, inverters {now[im.CMD_RUN]} in {text}")
        if mode in _CONNECTED and not any(each in _CONNECTED for each in modes):
            raise Broken(f"nobody is connected: {text}")
        if (mode == Mode.MAINTENANCE) != (Mode.MAINTENANCE in modes) or (mode == Mode.MAINTENANCE and len(set(modes)) > 1):
            raise Broken(f"not everybody is in MAINTENANCE: {text}")
        if mode == Mode.MAINTENANCE and abs(p) > self._service_w:
            raise Broken(f"{p} W in MAINTENANCE, allowed are {self._service_w}")
        if (was, mode) in ((Mode.CHARGE, Mode.DISCHARGE), (Mode.DISCHARGE, Mode.CHARGE)):
            raise Broken(f"from {Mode.name(was)} to {Mode.name(mode)} in one cycle")
        for watts, each in ((p, mode), *((part.now[im.CMD_P], part.now[im.MODE]) for part in self.parts)):
            if (watts < 0 and each == Mode.DISCHARGE) or (watts > 0 and each == Mode.CHARGE):
                raise Broken(f"{watts} W in {Mode.name(each)}")

    def _check_flow(self, now: Any, p: int) -> None:
        """What the type of grid connection and the grid forbid the sum, by the manager's own measurements."""
        kind, grid, net = self._manager.config.grid_connection, now[im.GRID_OK], now[im.NET_P]
        if p > 0:
            if kind == 1 and grid:
                raise Broken(f"BACKUP discharges with {p} W while the grid is there")
            if not grid and kind in (2, 3) and (net == im.NO_VALUE or p > max(0, net)):
                raise Broken(f"a site that follows the grid has lost it and discharges with {p} W into a load of {net} W")
        elif (kind in (0, 3) or not grid) and (net == im.NO_VALUE or -p > max(0, -net)):
            raise Broken(f"charges with {p} W from a surplus of {net} W only (grid type {kind}, grid {grid})")

    def _check_sharing(self, p: int, dt: int) -> None:
        """Where no bank is on its way up, each has its part of the power as its limit is of all limits."""
        limit = im.LIMIT_DIS if p > 0 else im.LIMIT_CHG
        parts = self.parts
        if p > 0:  # who is charged because he asks for it has no part in it
            parts = [part for part in parts if not self._forced(part) and part.now[im.CMD_P] >= 0]
            p = sum(part.now[im.CMD_P] for part in parts)
        elif self._now[im.REQUEST_BY] == PROTECTION:  # and this is for him alone
            parts = [part for part in parts if self._forced(part)]
            if sum(part.now[im.CMD_P] for part in parts) != p:
                raise Broken(f"a forced charge of {p} W, those that ask for it have {[part.now[im.CMD_P] for part in parts]} W")
        total = sum(part.now[limit] for part in parts)
        # who rises less than this could rise more: the ramp is in whole W/s, and its step in whole W
        least = int(self._rise * 1000) * min(dt, _DT_MAX_MS) // 1000 - 1
        shares = [p * part.now[limit] / total for part in parts]
        for part, share in zip(parts, shares, strict=True):
            watts = abs(part.now[im.CMD_P])
            if watts < abs(share) - 1 and (watts - abs(part.was_p) >= least or part.was_p * p < 0):  # who turns is at 0 for a cycle
                return
        self.shared += 1
        for part, share in zip(parts, shares, strict=True):
            if abs(part.now[im.CMD_P] - share) > _SHARE * abs(p) + _SHARE_W:
                raise Broken(f"bank {part.name} has {part.now[im.CMD_P]} W of {p} W, by its limit it were {share:.0f} W")

    def _forced(self, part: Part) -> bool:
        """Its battery asks to be charged, and no island is served instead."""
        return part.now[im.FORCED_P] > 0 and self._now[im.REQUEST_BY] != ISLAND

    def _check_fall(self, now: Any, p: int) -> None:
        """The power falls because it is to, or because a bank may no longer give what it gave: not because another comes back."""
        was = self._was_p
        charge = was < 0
        limit = im.LIMIT_CHG if charge else im.LIMIT_DIS
        wants = max(0, -now[im.REQUEST_P] if charge else now[im.REQUEST_P])
        for_who_asks = charge and now[im.REQUEST_BY] == PROTECTION
        able = sum(min(abs(part.was_p), part.now[limit]) for part in self.parts if self._forced(part) or not for_who_asks)
        least = min(abs(was), wants, now[limit], able)
        if not charge:
            least -= sum(-part.now[im.CMD_P] for part in self.parts if part.now[im.CMD_P] < 0)
        if abs(p) < least - _SHARE_W:
            raise Broken(f"the site falls from {was} W to {p} W, nothing asks it to give less than {least} W")

    # ---- the plant ------------------------------------------------------------------------------------------
    def _check_plant(self, dt: int) -> None:
        for part in self.parts:
            for one in part.batteries:
                name = one.battery.name
                report = one.report
                if report is not None and report is not part.seen.get(name):
                    part.seen[name] = report
                    part.allowed[name].append((report.charge_limit_a, report.discharge_limit_a))
                    del part.allowed[name][:-4]
            self._check_current(part)
        power = self._site.plant.pcs.power_w
        if min(self.honest_ms, self._flow_honest_ms) > _SETTLED_MS and all(part.honest_ms > _SETTLED_MS for part in self.parts):
            self._check_export(power, dt)
        else:
            self._over_ms = 0.0

    def _check_current(self, part: Part) -> None:
        """What flows, an equal share through each of its batteries, is inside what each of them has allowed."""
        batteries = part.physics.batteries
        trips = sum(one.bms.relay_trips for one in batteries)
        if trips != part.trips:
            part.trips = trips
            if len(batteries) == 1 and min(part.honest_ms, self.honest_ms) > _SETTLED_MS:
                raise Broken(f"the BMS of bank {part.name} had to open its own relay")
        if min(part.honest_ms, self.honest_ms) <= _SETTLED_MS or not all(one.joined for one in batteries):
            return
        amps = part.physics.pack.current_a / len(batteries)
        if -CURRENT_A <= amps <= CURRENT_A:
            return
        for name, limits in part.allowed.items():
            most = max(limit[1 if amps > 0 else 0] for limit in limits)
            if abs(amps) > most * (1 + CURRENT_SHARE) + CURRENT_A:
                raise Broken(f"{amps:.1f} A flow through each battery of bank {part.name}, {name} allowed {most:.1f} A at most")

    def _check_export(self, power: float, dt: int) -> None:
        plant = self._site.plant
        over = 0.0
        if power > 0 and plant.grid_present and self._now[im.GRID_OK] and self._site.meter is not None:
            config = self._manager.config
            kind = config.grid_connection
            most = self._export_w if kind == 3 or (kind == 2 and config.allow_grid_export) else 0.0
            over = min(power, -plant.grid_w) - most
        if over <= POWER_W:
            self._over_ms = 0.0
            return
        self._over_ms += dt
        slowest = max(one.pcs.tau_s for one in plant.inverters)
        if self._over_ms > 2 * dt + FOLLOW * slowest * 1000 + METER_S * 1000 and self.quiet_ms > self._over_ms:
            raise Broken(f"{over:.0f} W more than allowed are exported for {self._over_ms:.0f} ms")

    # ---- nobody is stranded ---------------------------------------------------------------------------------
    def _check_stranded(self, now: Any, dt: int) -> None:
        """A healthy bank that is asked for power moves some, whatever troubles the others; what is to run runs."""
        plant = self._site.plant
        grid = plant.grid_present and 48.0 < plant.grid_hz < 51.5 and 340.0 < plant.grid_v < 460.0
        ms = min(dt, LISTENING_MS)
        if min(self.honest_ms, self.quiet_ms, self._healthy_ms, self._grid_honest_ms) < STRANDED_MS or not grid:
            self._waiting_ms = 0
            for part in self.parts:
                part.idle_ms = part.waiting_ms = 0
            return
        healthy = [part for part in self.parts if part.healthy_ms >= STRANDED_MS and self._is_healthy(part)]
        waits = now[im.MODE] == Mode.STANDBY and now[im.ORDER] == im.ORDER_START and healthy
        self._waiting_ms = self._waiting_ms + ms if waits else 0
        self._judge("the site", self._waiting_ms, STARTED_MS)
        for part in self.parts:
            if part not in healthy:
                part.idle_ms = part.waiting_ms = 0
                continue
            waits = now[im.MODE] in _CONNECTED and part.now[im.MODE] == Mode.STANDBY and part.now[im.ORDER] == im.ORDER_START
            part.waiting_ms = part.waiting_ms + ms if waits else 0
            self._judge(f"bank {part.name}", part.waiting_ms, STARTED_MS)
            idle = not waits and not part.now[im.CMD_P] and self._could_flow(part, now)
            part.idle_ms = part.idle_ms + ms if idle else 0
            self._judge(f"bank {part.name}", part.idle_ms, STRANDED_MS)

    @staticmethod
    def _is_healthy(part: Part) -> bool:
        return all(one.bms.relay_closed for one in part.physics.batteries)

    def _judge(self, who: str, ms: int, most: int) -> None:
        if ms > most:
            s = self._manager.stats()
            raise Broken(f"{who} is stranded for {ms} ms in {s['mode']}, {s['request']} kW asked: {s['reason']}, {s['faults']}")

    def _could_flow(self, part: Part, now: Any) -> bool:
        """By the plant and the configuration, well inside every limit, this bank could serve a part of the request."""
        wants, par, config, plant = now[im.REQUEST_P], self._par, self._manager.config, self._site.plant
        least = _FLOWING_KW * 1000 * len(self.parts)
        if self._now[im.CMD_P] * wants < 0:
            return False  # the other direction is still ramping down
        if abs(wants) < least or config.grid_connection != 2 or self._manager.states.stop_ms >= 0:
            return False
        if now[im.MODE] not in (Mode.CHARGE, Mode.DISCHARGE) or part.now[im.ORDER] == im.ORDER_SPENT:
            return False
        if part.now[im.SOC_LOW] != part.now[im.SOC] or part.now[im.SOC_HIGH] != part.now[im.SOC]:
            return False
        if wants < 0 and now[im.REQUEST_BY] == PROTECTION and not self._forced(part):
            return False  # a forced charge is of those that ask for it: _check_sharing looks at that
        reports = [one.report for one in part.batteries if one.report is not None]
        charge, discharge = part.physics.pcs.limits_w()
        if len(reports) < len(part.batteries) or not all(15.0 < report.temperature_c < 40.0 for report in reports):
            return False
        socs = [one.pack.soc * 10000 for one in part.physics.batteries]
        if wants < 0:
            free = all(par[slot] == im.FREE for slot in (im.OP_P_CHG, im.OP_I_CHG, im.OP_V_MAX, im.EMS_P_CHG))
            inside = max(socs) < min(part.ceiling, par[im.OP_SOC_MAX]) - 500 and all(r.cell_max_mv < 3450 for r in reports)
            permitted = config.allow_grid_charging and part.now[im.HOLD_CHG_MS] == 0
            amps = min(0.0 if r.charge_forbidden else r.charge_limit_a for r in reports)
            return free and inside and permitted and amps > 10.0 and charge > 2 * POWER_W
        free = all(par[slot] == im.FREE for slot in (im.OP_P_DIS, im.OP_I_DIS, im.OP_V_MIN, im.OP_SOC_MIN, im.EMS_P_DIS))
        inside = min(socs) > part.floor + 500 and all(r.cell_min_mv > 3150 for r in reports)
        left = self._export_w + plant.load_w - plant.pv_w
        permitted = config.allow_grid_export and left > least and self._export_w > least and self._flow_honest_ms > STRANDED_MS
        amps = min(0.0 if r.discharge_forbidden else r.discharge_limit_a for r in reports)
        return free and inside and permitted and amps > 10.0 and discharge > 2 * POWER_W

    # ---- energy ---------------------------------------------------------------------------------------------
    def count_energy(self, honest: bool) -> None:
        """Call after each cycle: what the manager and the plant counted since the last call, kept if `honest`."""
        now = self._now
        pcs = self._site.plant.pcs
        e_in = now[im.E_IN_WH] * 3600000 + now[im.E_IN_REM]
        e_out = now[im.E_OUT_WH] * 3600000 + now[im.E_OUT_REM]
        wh_in, wh_out = pcs.wh_in, pcs.wh_out
        was = self._e
        if honest and abs(pcs.power_w) <= self._par[im.PAR_MOST_P]:
            self.counted_wh += (e_in - was[0] + e_out - was[1]) / 3600000
            # as the meter of them all would: one bank that charges beside another's discharge is no energy of the site's
            self.true_wh += abs(wh_in - was[2] - (wh_out - was[3]))
        self._e = (e_in, e_out, wh_in, wh_out)
