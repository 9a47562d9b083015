"""The arbiter: whose claim asks for power now, how far its operation is, and when it has ended.

Everything here runs under the manager's lock, in the cycle or for a moment from the API; in the cycle it allocates nothing.
"""

from micropython import const

from firmware import image as im
from firmware import requests as rq
from firmware.charging import DONE_BAND, ChargeParams, Charger
from firmware.discharging import DischargeParams, Discharger
from firmware.event_codes import Event
from firmware.image import parts
from firmware.kernel import requests
from firmware.modes import Mode

_ENDED_MS = const(60000)  # a BMS that gives nothing near the end for so long has ended the operation
_FORCE_CHARGE = const("bms force charge")  # 5 % of the rating, inside every limit
_FORCE_AGAIN = const(500)  # 0.01 %: it ends at the ceiling, whatever the BMS says, and begins so far below it


class Arbiter:
    """Claims, limits with owners, and the operation under way.  Positive power is discharge."""

    def __init__(self, image, capacity_ah: float, events) -> None:
        self._image = image
        self._events = events
        self._batteries = [(bank.now, bank.par) for bank in image.banks]
        self._capacity_ah = capacity_ah
        self.claims = rq.Claims()
        self.curtailments = rq.Curtailments()
        self.restriction = None  # a restriction.Restriction, where an EMS may have one
        self.orders = 0  # how often anybody has started, stopped or paused
        self.charge_params = ChargeParams()
        self.discharge_params = DischargeParams()
        self._charger = Charger(self.charge_params, capacity_ah)
        self._discharger = Discharger()
        self._target = self._target_of(self.charge_params)
        self._active = rq.IDLE  # the source whose operation runs
        self._place = 0  # of the claim by which it asks
        self._begun_s = 0  # uptime at which the manual operation was asked for
        self._timed_by_params = False  # it ends by its parameters' timeout
        self._parted = False  # BMS and counter parted when the operation began
        self._serves_island = False  # the load of an island decides the power
        self._beside = False  # of several banks one is to be charged, and another one need not be
        self._apply_params()
        self.curtail(0)
        image.par[im.OP_SOC_MAX] = im.FREE

    # ---- what the API asks for --------------------------------------------------------------------------

    def _apply_params(self) -> None:
        """Turn the operation parameters into the cycle's integers."""
        par = self._image.par
        charge = self.charge_params
        discharge = self.discharge_params
        for slot, value, scale in (
            (im.OP_P_CHG, charge.charge_power_max, 1000),
            (im.OP_I_CHG, charge.charge_current_max, 10),
            (im.OP_V_MAX, charge.charge_voltage_max, 10),
            (im.OP_P_DIS, discharge.discharge_power_max, 1000),
            (im.OP_I_DIS, discharge.discharge_current_max, 10),
            (im.OP_V_MIN, discharge.min_voltage, 10),
            (im.OP_SOC_MIN, discharge.min_soc, 100),
        ):
            par[slot] = im.FREE if value == 0 else parts(value, scale)

    def _target_of(self, params: ChargeParams) -> int:
        """The SoC to which these parameters charge, in 0.01 %."""
        return self._image.par[im.PAR_SOC_MAX] if params.target_soc == 0 else parts(params.target_soc, 100)

    def charger(self, params: ChargeParams) -> Charger:
        """What will run a charge by these parameters: made outside the lock."""
        return Charger(params, self._capacity_ah)

    def take_charge_params(self, params: ChargeParams, charger: Charger) -> None:
        """From now on, a running charge included."""
        charger.go_on(self._charger)
        self.charge_params = params
        self._charger = charger
        self._target = self._target_of(params)
        self._apply_params()
        self._retime(rq.CHARGE, params.timeout_minutes)

    def take_discharge_params(self, params: DischargeParams) -> None:
        """From now on, a running discharge included."""
        self.discharge_params = params
        self._apply_params()
        self._retime(rq.DISCHARGE, params.timeout_minutes)

    def _retime(self, goal: int, minutes: int) -> None:
        """New parameters' timeout for the manual operation that runs by their timeout, counted from its beginning."""
        table = self.claims.table
        at = rq.MANUAL * rq.PARTS
        if not self._timed_by_params or not table[at] or table[at + rq.GOAL] != goal:
            return
        left_s = minutes * 60 - (self._image.now[im.UPTIME_S] - self._begun_s)
        table[at] = max(1, left_s * 1000) if minutes else rq.FOREVER

    def operate(self, goal: int, watts: int, minutes: int, target: int) -> None:
        """A person's operation takes the place of the one before; minutes 0: the parameters' timeout, or no end."""
        self._timed_by_params = goal != rq.POWER and not minutes
        if self._timed_by_params:
            params = self.charge_params if goal == rq.CHARGE else self.discharge_params
            minutes = params.timeout_minutes  # type: ignore[union-attr]  # fields come from ROWS
        self._begun_s = self._image.now[im.UPTIME_S]
        self._active = rq.IDLE  # begin anew, even if the same source asks again
        self.claims.put(rq.MANUAL, watts, minutes * 60000 or rq.FOREVER, goal, target, "manual")

    def pause(self, ms: int) -> None:
        """A person's 0 W, which nobody below may move."""
        self.orders += 1
        if self._active == rq.MANUAL:
            self._note_end(rq.END_BACK)
        self.claims.put(rq.MANUAL, 0, ms, rq.PAUSE, 0, "pause")

    def end_pause(self) -> None:
        """A person's start() and stop() end a manual pause, and MAINTENANCE."""
        self.orders += 1
        if self.claims.table[rq.MANUAL * rq.PARTS + rq.GOAL] == rq.PAUSE:
            self.claims.drop(rq.MANUAL)

    def go_on(self, goal: int, watts: int, target: int, ms: int) -> None:
        """After a reset: the manual operation or pause of before it; a target behind requests.BY_PARAMS is see going_on."""
        if target > rq.BY_PARAMS:
            self._target = target - rq.BY_PARAMS
            target = rq.BY_PARAMS
        if goal >= 0:
            self._timed_by_params = goal in (rq.CHARGE, rq.DISCHARGE)  # one with an end of its own does not go on
            self._begun_s = self._image.now[im.UPTIME_S]
            self.claims.put(rq.MANUAL, watts, ms, goal, target, "pause" if goal == rq.PAUSE else "manual")

    def going_on(self) -> tuple:
        """The manual claim's ms left, W, goal and target: behind requests.BY_PARAMS that much, and what its parameters say."""
        at = rq.MANUAL * rq.PARTS
        left, watts, goal, target = self.claims.table[at : at + 4]
        if target == rq.BY_PARAMS and self._target != self._image.par[im.PAR_SOC_MAX]:
            target += self._target  # the parameters do not outlive a reset
        return left, watts, goal, target

    def schedule(self, claim: tuple, how: int) -> None:
        """The schedule's claim, Claims.put's arguments from W on; () ends it: how, a requests.END_*."""
        if not claim and self._active == rq.SCHEDULE:
            self.note_end(how)
        self.claims.drop(rq.SCHEDULE)
        if claim:
            self._active = rq.IDLE if self._active == rq.SCHEDULE else self._active  # begin anew
            self.claims.put(rq.SCHEDULE, *claim)

    def take_back(self, source: int, owner=None) -> None:
        """End what a source, or one owner of it, claims, as somebody has asked for: what was running has ended so.

        Of "schedule" what programs claim: an entry ends by its own rules.
        """
        claims = self.claims
        entry = source == self._place == rq.SCHEDULE
        if self._active == source and not entry and owner in (None, claims.owners[self._place]):
            self._note_end(rq.END_BACK)
        if owner is not None:
            claims.drop_owner(source, owner)
        elif source == rq.SCHEDULE:
            claims.drop_programs(source)
        else:
            claims.drop(source)

    # ---- every cycle ------------------------------------------------------------------------------------

    def curtail(self, dt: int) -> None:
        """Let limits and a restriction run out, and take the smallest."""
        if self.restriction is not None:
            self.restriction.step(dt)
        image = self._image
        requests.least(self.curtailments.table, image.now, image.par, rq.OWNERS, dt)

    def claim_for_the_plant(self) -> None:
        """The manager's own claims: serving an island's load, and the charge that a BMS needs for its cells' sake."""
        now = self._image.now
        par = self._image.par
        claims = self.claims
        kind = par[im.PAR_GRID_TYPE]
        islanded = kind == 0 or (kind == 1 and now[im.GRID_OK] == 0)
        serves = islanded and now[im.NET_P] != im.NO_VALUE and now[im.GATE] & (im.GATE_CLOSED | im.GATE_SERVICE) == 0
        if serves:
            claims.put(rq.ISLAND, now[im.NET_P], rq.FOREVER, rq.POWER, 0, "island")
        elif self._serves_island:
            claims.drop(rq.ISLAND)
        self._serves_island = serves
        forced = 0
        beside = False
        for its, own in self._batteries:
            its[im.FORCED_P] = 0 if its is not now and its[im.GATE] & im.GATE_CLOSED else _forced(its, own)
            forced += its[im.FORCED_P]
            if its[im.FORCED_P] == 0 and its[im.GATE] & im.GATE_CLOSED == 0:
                beside = True
        self._beside = beside
        if forced:
            claims.put(rq.PROTECTION, -forced, rq.FOREVER, rq.POWER, 0, _FORCE_CHARGE)
        elif claims.table[rq.PROTECTION * rq.PARTS]:
            claims.drop(rq.PROTECTION)

    def request(self, dt: int, stopping: bool) -> int:
        """Let claims run out and the winner ask: REQUEST_P, REQUEST_BY; returns the direction that the mode is to follow."""
        image = self._image
        now = image.now
        par = image.par
        table = self.claims.table
        answer = requests.age_claims(table, rq.PLACES, dt)
        place = answer & 0xFF
        source = rq.IDLE if place == rq.PLACES else table[place * rq.PARTS + rq.SOURCE]
        if source == rq.PROTECTION and self._beside and now[im.LIMIT_DIS]:
            at = place * rq.PARTS
            table[at] = 0
            below = requests.age_claims(table, rq.PLACES, 0) & 0xFF
            table[at] = rq.FOREVER
            at = below * rq.PARTS
            if below != rq.PLACES and table[at + rq.WATTS] > 0 and table[at + rq.GOAL] != rq.CHARGE:
                place = below  # the others discharge, beside the one that is charged: banks.Several.turn
                source = table[at + rq.SOURCE]
        if now[im.GATE] & im.GATE_SERVICE and source != rq.MAINTENANCE:
            source = rq.IDLE  # in MAINTENANCE nothing moves but by service()
        if stopping:
            source = rq.IDLE  # stop() means it, whoever goes on claiming
        if answer >> 8:
            self._expired(answer >> 8, source)
        now[im.REQUEST_BY] = source
        now[im.CMD_BALANCE] = 0
        self._charger.rest(par)  # what a charge sets ends with it
        if source == rq.IDLE:
            self._active = rq.IDLE
            now[im.REQUEST_P] = 0
            return 0
        self._place = place
        if source != self._active:
            self._active = source
            self._parted = self._parts()
            self._charger.begin()
            self._discharger.begin()
        watts = table[place * rq.PARTS + rq.WATTS]
        direction = watts
        if table[place * rq.PARTS + rq.GOAL] == rq.CHARGE:
            direction = -1
            watts = self._charger.step(now, par, watts, self._goal_soc(place))
        now[im.REQUEST_P] = watts
        return direction

    def _goal_soc(self, place: int) -> int:
        target = self.claims.table[place * rq.PARTS + rq.TARGET]
        return self._target if target == rq.BY_PARAMS else target

    def _expired(self, places: int, winner: int) -> None:
        """Post an event for each claim that has just run out."""
        now = self._image.now
        for place in range(rq.PLACES):
            if places >> place & 1:
                source = self.claims.table[place * rq.PARTS + rq.SOURCE]
                if source == self._active != winner:
                    self.note_end(rq.END_TIME)
                self._events.post(Event.OPERATION_TIMEOUT, source, now[im.UPTIME_S])

    def end(self, direction: int) -> None:
        """After the mode has followed: drop the claim whose operation is done."""
        source = self._active
        if source == rq.IDLE or not direction:
            return
        goal = self.claims.table[self._place * rq.PARTS + rq.GOAL]
        if goal == rq.POWER and source != rq.MANUAL:
            return  # a program's bare setpoint has no end: its owner renews it, or not
        how = self._done(goal, direction)
        if how:
            self.note_end(how)
            self.claims.drop(source)
            event = Event.CHARGE_COMPLETE if direction < 0 else Event.DISCHARGE_COMPLETE
            self._events.post(event, source, self._image.now[im.UPTIME_S])

    def _done(self, goal: int, direction: int) -> int:
        """How the operation has ended, 0: not yet."""
        image = self._image
        now = image.now
        par = image.par
        if now[im.MODE] != (Mode.CHARGE if direction < 0 else Mode.DISCHARGE):
            return 0
        if now[im.BMS_ENDS_MS] >= _ENDED_MS:
            return rq.END_BMS
        if self._parts():
            if now[im.SOC_KEEP_MS] < par[im.PAR_STALE_BMS]:
                return 0  # a SoC that has just jumped there ends nothing: the next reports must agree
            if par[im.PAR_SOC_ACCEPT_MS] and not self._parted and (now[im.SOC_DRIFT] > 0) == (direction > 0):
                return 0  # recalibrated meanwhile: only the counter sees the end, and the BMS will be believed in minutes
        if direction > 0:
            return self._discharger.done(now, par)
        target = self._goal_soc(self._place) if goal == rq.CHARGE else par[im.PAR_SOC_MAX]
        return self._charger.done(now, par, target, self._batteries)

    def _parts(self) -> bool:
        """BMS and counter part by more than the bound."""
        image = self._image
        bound = image.par[im.PAR_SOC_BOUND]
        return not -bound <= image.now[im.SOC_DRIFT] <= bound

    def note_end(self, how: int) -> None:
        """Keep how the operation under way has ended, a requests.END_*.  Nothing runs: nothing ends."""
        now = self._image.now
        if self._active != rq.IDLE and now[im.REQUEST_BY] == self._active:
            now[im.ENDED] = self._active + 16 * how + (256 if now[im.REQUEST_P] < 0 else 0)
            now[im.ENDED_S] = now[im.UPTIME_S]

    def end_all(self, how: int) -> None:
        """Drop every claim but a person's pause: the operation under way has ended so.

        Who stops, a program or an emergency, may be started again by a program, and then what the pause holds off would move.
        """
        self._note_end(how)
        self.let_go()

    def let_go(self) -> None:
        """The same, of what has not ended by that."""
        self.orders += 1
        self.claims.drop_all(_is_paused(self.claims))

    def spend(self) -> None:
        """Restarts are used up: a person's operation has ended so, a pause has not."""
        self._note_end(rq.END_SPENT)
        if not _is_paused(self.claims):
            self.claims.drop(rq.MANUAL)

    def _note_end(self, how: int) -> None:
        """note_end, but of a pause, which goes on."""
        if self._active != rq.MANUAL or not _is_paused(self.claims):
            self.note_end(how)


def _is_paused(claims) -> bool:
    at = rq.MANUAL * rq.PARTS
    return claims.table[at] != 0 and claims.table[at + rq.GOAL] == rq.PAUSE


def _forced(now, par) -> int:
    """W with which a battery is charged because its BMS asks for it; 0: it does not."""
    flags = now[im.BMS_REQUESTS]
    if flags == im.NO_VALUE or not flags & im.BMS_REQ_FORCE_CHARGE or now[im.AGE + im.SEQ_BMS_FLAGS] > par[im.PAR_STALE_BMS]:
        return 0
    if now[im.GATE] & im.GATE_SERVICE:
        return 0  # somebody may have their hands in it
    top = 10000 if flags & im.BMS_REQ_FULL_CHARGE else par[im.PAR_SOC_MAX]
    empty = now[im.BMS_PROTECT] > 0 and now[im.BMS_PROTECT] & im.BMS_PROT_UNDER_V
    top -= DONE_BAND if now[im.FORCED_P] or empty else _FORCE_AGAIN  # where it ends, and where it begins anew
    return par[im.PAR_P_CHG] // 20 if now[im.SOC_HIGH] < top else 0
