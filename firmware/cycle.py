"""The cycle: from frozen inputs to the command slot, the kernels in their order.  It allocates nothing and always finishes."""

from array import array

from micropython import const

from firmware import image as im
from firmware import requests as rq
from firmware import supervisor as sv
from firmware.event_codes import Event
from firmware.faults import debounce_rows
from firmware.kernel import battery_limits, diagnosis, flow, inputs, invariants, ramp, site_limits, site_power, soc
from firmware.limits import NAMES

_BANKS = NAMES.index("banks")
_LIMIT_DEBOUNCE_MS = const(1000)
_FLOW_DEBOUNCE_MS = const(200)  # two readings of the meters


class Bank:
    """A bank as the cycle sees it: what hangs on one DC bus.  A site with one battery and one inverter is one bank.

    Its arrays, its mode machine, the state of its faults; batteries, inverters: banks.Parts where they are several.
    """

    def __init__(self, image, states, rows) -> None:
        self.image = image
        self.inp = image.inp
        self.now = image.now
        self.par = image.par
        self.states = states
        self.fault_state = array("H", [0] * len(rows))  # three numbers for each, the third the times it was raised
        self.differ = False  # conditions and faults did in the cycle before
        self.batteries = None
        self.inverters = None
        self.parts = False  # it has devices in parallel


class Cycle:
    """Decides once every cycle how many watts flow; under the manager's lock."""

    def __init__(self, image, arbiter, states, events, several) -> None:
        self._image = image
        self._arbiter = arbiter
        self._states = states
        self._events = events
        self.several = several  # banks.Several; None of a site that is one bank
        self._fault_rows = debounce_rows()
        self.banks = [Bank(image, states, self._fault_rows)] if several is None else several.banks
        for rows in (im.LIMIT_ROWS_DIS, im.LIMIT_ROWS_CHG):
            image.now[rows + _BANKS] = im.FREE  # whose banks are several says what they give, see banks.py
        self._was_limit = -1
        self._limit_ms = 0
        self._was_flow = 0
        self._flow_ms = 0
        self._was_grid = -1

    def run(self, dt: int) -> None:
        """One cycle, dt ms after the one before.  A site that is one bank has its image in common with it."""
        now = self._image.now
        par = self._image.par
        arbiter = self._arbiter
        several = self.several
        banks = self.banks
        for bank in banks:
            self._measure(bank, dt)
        if several is not None:
            several.gather(dt)
        site_power.grid_there(now, par)
        site_power.watch_meter(now, par)
        site_power.net_power(now, par)
        site_power.load_power(now, par)
        if several is not None:
            several.spread()
        for bank in banks:
            self._diagnose(bank)
        if several is not None:
            changed = several.diagnose()
            if changed:
                self._act(self._states.faults_changed(changed))
        decided = self._states.step(dt)
        if decided:
            self._act(decided)
        arbiter.curtail(dt)
        arbiter.claim_for_the_plant()
        direction = arbiter.request(dt, self._states.stop_ms >= 0)
        self._states.follow(direction)
        arbiter.end(direction)
        for bank in banks:
            self._bound(bank)
        if several is not None:
            several.limit()
            site_limits.gate_rows(now, par)
        site_limits.grid_rows(now, par)
        site_limits.binding(now, par)
        for bank in banks:
            battery_limits.bms_ends(bank.now, bank.par)
        ramp.ramp(now, par)
        if several is not None:
            several.share()
        breach = invariants.check_command(now, par)
        if several is not None:
            several.command(breach)
        flow.account(now, par)
        flow.share_paths(now, par)
        flow.name_flow(now, par)
        self._announce()

    def _measure(self, bank, dt: int) -> None:
        """What the devices have written, and what of it counts."""
        now = bank.now
        par = bank.par
        inputs.freeze(bank.inp, now, dt)
        now[im.HELD_MS] = dt if dt > par[im.PAR_STALL_MS] else 0
        if bank.parts:
            self.several.join_devices(bank, dt)
        inputs.doubt_zero_soc(now, par)
        if bank.batteries is None:  # of several in parallel each for itself, before they are joined
            inputs.confirm_trips(now, par)
        soc.count_soc(now, par)
        soc.settle_soc(now, par)
        if bank.batteries is not None:
            self.several.settle_packs(bank)

    def _diagnose(self, bank) -> None:
        """What is missing, what is wrong, and what the supervisor makes of it."""
        now = bank.now
        par = bank.par
        diagnosis.find_missing(now, par)
        diagnosis.battery_conditions(now, par)
        diagnosis.detect_frozen(now, par)
        if bank.batteries is not None:
            self.several.watch_packs(bank)
        diagnosis.lost_devices(now, par)
        diagnosis.judge_power(now, par)
        diagnosis.plant_conditions(now, par)
        differ = now[im.CONDITIONS] != now[im.FAULTS]
        if differ or bank.differ:  # else no condition is held or gone for a time that is counted
            bank.differ = differ
            rows = self._fault_rows
            changed = diagnosis.debounce(now, rows, bank.fault_state, len(rows) // 3)
            if changed:
                self._act(self._states.bank_changed(bank, changed))

    def _bound(self, bank) -> None:
        """The rows of the limit list that are about battery and inverter."""
        now = bank.now
        par = bank.par
        battery_limits.soc_row(now, par)
        battery_limits.temperature_row(now, par)
        battery_limits.headroom(now, par)
        battery_limits.current_rows(now, par)
        site_limits.gate_rows(now, par)
        site_limits.device_rows(now, par)

    def _act(self, decided: int) -> None:
        """What the supervisor has decided ends claims."""
        if decided & sv.EMERGENCY:
            self._arbiter.end_all(rq.END_EMERGENCY)
        if decided & sv.SPENT:
            self._arbiter.spend()
        if decided & sv.UNSERVED:
            self._arbiter.claims.drop(rq.MAINTENANCE)

    def _sees_grid(self) -> bool:
        """Meter or inverter looks at the grid now; an inverter that is off has its relay open and sees nothing."""
        now = self._image.now
        par = self._image.par
        if par[im.PAR_HAS] & im.HAS_METER and now[im.AGE + im.SEQ_METER] <= par[im.PAR_STALE_METER]:
            return True
        return now[im.AGE + im.SEQ_PCS] <= par[im.PAR_STALE_PCS] and im.PCS_STANDBY <= now[im.PCS_STATE] <= im.PCS_RUNNING

    def _announce(self) -> None:
        """Post what has changed since the last cycle: flow, grid, and (debounced) the binding limit."""
        now = self._image.now
        at_s = now[im.UPTIME_S]
        if now[im.FLOW] == self._was_flow:
            self._flow_ms = 0
        else:
            self._flow_ms += now[im.DT]
            if self._flow_ms >= _FLOW_DEBOUNCE_MS:
                self._flow_ms = 0
                self._was_flow = now[im.FLOW]
                self._events.post(Event.FLOW_CHANGE, self._was_flow, at_s)
        grid = now[im.GRID_OK]
        if grid != self._was_grid and grid != im.NO_VALUE and (grid or (self._was_grid >= 0 and self._sees_grid())):
            self._was_grid = grid
            self._events.post(Event.GRID_CONNECTED if self._was_grid else Event.GRID_DISCONNECTED, 0, at_s)
        why = now[im.WHY_DIS]
        if now[im.REQUEST_P] < 0:
            why = now[im.WHY_CHG] + 32
        if why == self._was_limit:
            self._limit_ms = 0
        else:
            self._limit_ms += now[im.DT]
            if self._limit_ms >= _LIMIT_DEBOUNCE_MS:
                self._limit_ms = 0
                self._was_limit = why
                self._events.post(Event.LIMIT_CHANGE, why, at_s)
