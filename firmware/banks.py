"""Several batteries and inverters: a bank is what hangs on one DC bus, one battery or several in parallel, and its inverters.

Each bank has an Image of its own, in which it is diagnosed, limited and commanded like a site of one; the site's Image has what
they have together.  Devices in parallel have Images of their own too.  Only a site with several loads this.
"""

from array import array

from micropython import const

from firmware import image as im
from firmware import parameters
from firmware import requests as rq
from firmware import supervisor as sv
from firmware.bank import Bank
from firmware.event_codes import Event
from firmware.faults import debounce_rows
from firmware.kernel import banks, diagnosis, inputs, invariants, site_limits
from firmware.modes import Mode
from firmware.supervisor import CONNECTED, Supervisor

MOST = const(4)  # banks, batteries, inverters
_BMS_GROUPS = const(0x1F)
_PCS_GROUP = const(0x20)
_ODD_HIGH = 1 << im.CELL_V_MAX - im.BMS_SOC  # of BMS_ODD
_ODD_LOW = 1 << im.CELL_V_MIN - im.BMS_SOC
_ODD_CELLS = _ODD_HIGH | _ODD_LOW

# how kernel/banks.py joins a slot
_SUM = const(1)
_LARGEST = const(2)
_SMALLEST = const(3)
_ALL_BITS = const(4)
_FIRST = const(5)
_LEAST = const(6)
_STATE = const(7)
_MAGNITUDE = const(8)

# which parts take part in joining a slot
_ALWAYS = const(1)
_BMS_SEEN = const(2)
_PCS_SEEN = const(4)
_CONNECTED = const(8)
_SWITCHES = const(16)
_EVERY = const(31)

_MOST_W = const(1000000)  # of an inverter: so much kernel/banks.py shares, and what is summed must be what is shared

# how it gives a part its portion
_CHARGE = const(1)
_AT_ONCE = const(2)

_BATTERIES = (  # packs in parallel: the weakest bounds each, and all of them are needed
    im.BMS_SOC, _ALWAYS, _SUM,
    im.BMS_SOH, _ALWAYS, _SMALLEST,
    im.BMS_V, _ALWAYS, _LEAST,  # on one bus, so the same; and one that does not measure it says nothing else either
    im.BMS_I, _ALWAYS, _SUM,
    im.BMS_TEMP, _ALWAYS, _LARGEST,
    im.BMS_V_MAX, _ALWAYS, _LEAST,
    im.BMS_V_MIN, _ALWAYS, _LARGEST,
    im.BMS_I_CHG, _ALWAYS, _LEAST,
    im.BMS_I_DIS, _ALWAYS, _LEAST,
    im.CELL_V_MAX, _ALWAYS, _LARGEST,
    im.CELL_V_MIN, _ALWAYS, _SMALLEST,
    im.CELL_T_MAX, _ALWAYS, _LARGEST,
    im.CELL_T_MIN, _ALWAYS, _SMALLEST,
    im.BMS_STATUS, _ALWAYS, _FIRST,
    im.BMS_REQUESTS, _ALWAYS, _ALL_BITS,
    im.BMS_PROTECT, _ALWAYS, _ALL_BITS,
    im.BMS_ALARM, _ALWAYS, _ALL_BITS,
    im.BMS_ODD, _ALWAYS, _ALL_BITS,
    im.AGE + im.SEQ_BMS, _ALWAYS, _LARGEST,
    im.AGE + im.SEQ_BMS_LIMITS, _ALWAYS, _LARGEST,
    im.AGE + im.SEQ_BMS_CELLS, _ALWAYS, _LARGEST,
    im.AGE + im.SEQ_BMS_TEMPS, _ALWAYS, _LARGEST,
    im.AGE + im.SEQ_BMS_FLAGS, _ALWAYS, _LARGEST,
)  # fmt: skip
_INVERTERS = (
    im.PCS_STATE, _PCS_SEEN, _STATE,
    im.PCS_P, _PCS_SEEN, _SUM,
    im.PCS_Q, _PCS_SEEN, _SUM,
    im.PCS_V, _PCS_SEEN, _FIRST,
    im.PCS_I, _PCS_SEEN, _SUM,
    im.PCS_HZ, _PCS_SEEN, _FIRST,
    im.PCS_DC_V, _PCS_SEEN, _FIRST,
    im.PCS_DC_I, _PCS_SEEN, _SUM,
    im.PCS_DC_P, _PCS_SEEN, _SUM,
    im.PCS_TEMP, _PCS_SEEN, _LARGEST,
    im.PCS_ALARM, _PCS_SEEN, _ALL_BITS,
    im.PCS_SETPOINT, _PCS_SEEN, _SUM,
    im.PCS_GRID, _SWITCHES, _SMALLEST,
    im.AGE + im.SEQ_PCS, _ALWAYS, _SMALLEST,
)  # fmt: skip
_SITE = _INVERTERS + (  # of the banks; an operation goes on as long as one that is connected can
    im.PCS_P_CHG, _PCS_SEEN, _SUM,
    im.PCS_P_DIS, _PCS_SEEN, _SUM,
    im.BMS_SOH, _BMS_SEEN, _SMALLEST,
    im.BMS_V, _BMS_SEEN, _FIRST,
    im.BMS_I, _BMS_SEEN, _SUM,
    im.BMS_TEMP, _BMS_SEEN, _LARGEST,
    im.BMS_V_MAX, _BMS_SEEN, _LEAST,
    im.BMS_V_MIN, _BMS_SEEN, _LARGEST,
    im.BMS_I_CHG, _BMS_SEEN, _SUM,
    im.BMS_I_DIS, _BMS_SEEN, _SUM,
    im.CELL_V_MAX, _BMS_SEEN, _LARGEST,
    im.CELL_V_MIN, _BMS_SEEN, _SMALLEST,
    im.CELL_T_MAX, _BMS_SEEN, _LARGEST,
    im.CELL_T_MIN, _BMS_SEEN, _SMALLEST,
    im.BMS_REQUESTS, _BMS_SEEN, _ALL_BITS,
    im.BMS_PROTECT, _BMS_SEEN, _ALL_BITS,
    im.BMS_ALARM, _BMS_SEEN, _ALL_BITS,
    im.BMS_ODD, _BMS_SEEN, _ALL_BITS,
    im.AGE + im.SEQ_BMS, _ALWAYS, _SMALLEST,
    im.AGE + im.SEQ_BMS_LIMITS, _ALWAYS, _SMALLEST,
    im.AGE + im.SEQ_BMS_CELLS, _ALWAYS, _SMALLEST,
    im.AGE + im.SEQ_BMS_TEMPS, _ALWAYS, _SMALLEST,
    im.AGE + im.SEQ_BMS_FLAGS, _ALWAYS, _SMALLEST,
    im.SOC_DRIFT, _CONNECTED, _MAGNITUDE,
    im.SOC_KEEP_MS, _CONNECTED, _SMALLEST,
    im.BMS_ENDS_MS, _CONNECTED, _SMALLEST,
)  # fmt: skip


class BankEvents:
    """A bank's events among the site's: faults with the bank's number, and its modes as BANK_CHANGE."""

    def __init__(self, events, number: int) -> None:
        self._events = events
        self._number = number

    def post(self, event: int, data: int, at_s: int) -> None:
        """As Events.post; what is the site's alone is left to the site."""
        if event == Event.MODE_CHANGE:
            self._events.post(Event.BANK_CHANGE, data + 32 * self._number, at_s)
        elif Event.FAULT_RAISED <= event <= Event.COMMS_RESTORED:
            self._events.post(event, data + 32 * self._number, at_s)
        elif event != Event.EMERGENCY:
            self._events.post(event, data, at_s)


class ParallelSupervisor(Supervisor):
    """The mode machine of a bank whose batteries are in parallel: what flows from one into another is a current too."""

    def __init__(self, image, config, events) -> None:
        super().__init__(image, config, events)
        self._packs = image.batteries

    def current_broken(self) -> bool:
        """See Supervisor.current_broken: of every battery."""
        stale = self._par[im.PAR_STALE_BMS]
        limit = self._par[im.PAR_BREAK_I]
        for each in self._packs:
            amps = each.now[im.BMS_I]
            if each.now[im.AGE + im.SEQ_BMS] <= stale and amps != im.NO_VALUE and not -limit < amps < limit:
                return False
        return Supervisor.current_broken(self)


class Several:
    """What the cycle does for a site of several banks, beside what it does for each."""

    def __init__(self, image, has: int, events) -> None:
        self._image = image
        self.banks = []
        rows = debounce_rows()
        for number, each in enumerate(image.banks):
            config = each.config
            packs = len(each.batteries)
            own = im.HAS_BMS | im.HAS_PCS | each.has
            parameters.apply(config, each.par, own, packs)
            for slot in (im.OP_P_CHG, im.OP_P_DIS, im.EMS_P_CHG, im.EMS_P_DIS):
                each.par[slot] = im.FREE  # the site bounds them for all
            for limits in (im.LIMIT_ROWS_DIS, im.LIMIT_ROWS_CHG):
                for slot in range(limits, limits + im.LIMIT_ROWS_CHG - im.LIMIT_ROWS_DIS):
                    each.now[slot] = im.FREE  # the rows of the site are not looked at here
            states = (Supervisor if packs == 1 else ParallelSupervisor)(each, config, BankEvents(events, number))
            self.banks.append(Bank(each, states, rows))
        self._parts = max([bank.parts for bank in self.banks])
        self._bound_site(image.par, has)
        self._weights = [max(1, bank.par[im.PAR_ENERGY] // 1000) for bank in self.banks]
        self._batteries = array("i", _BATTERIES)
        self._inverters = array("i", _INVERTERS)
        self._site = array("i", _SITE)
        self._nothing = array("i", [im.NO_VALUE] * im.N_SLOTS)
        self._rows = rows
        self.fault_state = array("i", [0] * len(rows))

    def _bound_site(self, par, has: int) -> None:
        """The site's parameters that are what its banks have: no narrower than any of them, who each keep their own."""
        par[im.PAR_HAS] = has & ~(im.HAS_BMS | im.HAS_PCS)
        for slot, of in (
            (im.PAR_ENERGY, sum),
            (im.PAR_SOC_MIN, min),
            (im.PAR_SOC_MAX, max),
            (im.PAR_STALE_BMS, max),
            (im.PAR_STALE_PCS, max),
        ):
            par[slot] = of([bank.par[slot] for bank in self.banks])

    # ---- several devices of one bank --------------------------------------------------------------------

    def join_devices(self, bank: Bank, dt: int) -> None:
        """After the bank's freeze: its batteries in parallel, and its inverters, as one each."""
        if bank.batteries:
            self._join_batteries(bank, dt)
        if bank.inverters:
            self._join_inverters(bank, dt)

    def _freeze(self, bank: Bank, each, dt: int) -> None:
        inputs.freeze(each.inp, each.now, dt)
        each.now[im.HELD_MS] = bank.now[im.HELD_MS]

    def _join_batteries(self, bank: Bank, dt: int) -> None:
        now = bank.now
        packs = len(bank.batteries)
        arrived = _BMS_GROUPS
        k = 0
        odd = 0
        blind = False
        hot = cold = im.NO_VALUE
        for each in bank.batteries:
            its = each.now
            self._freeze(bank, each, dt)
            banks.join(now, its, self._batteries, len(self._batteries) // 3, _ALWAYS, k)
            its[im.ARRIVED] |= its[im.FRESH]
            arrived &= its[im.ARRIVED]
            celsius = its[im.BMS_TEMP]
            if celsius != im.NO_VALUE:
                hot = celsius if hot == im.NO_VALUE or celsius > hot else hot
                cold = celsius if cold == im.NO_VALUE or celsius < cold else cold
            elif its[im.CELL_T_MAX] == im.NO_VALUE:
                blind = True
            odd |= its[im.BMS_ODD] & _ODD_CELLS if its[im.CELL_V_MAX] == im.NO_VALUE or its[im.CELL_V_MIN] == im.NO_VALUE else 0
            k = _ALWAYS
        if arrived:  # a reading of them together is new when each has given one
            now[im.FRESH] |= arrived
            for each in bank.batteries:
                each.now[im.ARRIVED] &= ~arrived
        if now[im.BMS_SOC] != im.NO_VALUE:
            now[im.BMS_SOC] = now[im.BMS_SOC] // packs
        if now[im.BMS_I_CHG] != im.NO_VALUE:
            now[im.BMS_I_CHG] *= packs
        if now[im.BMS_I_DIS] != im.NO_VALUE:
            now[im.BMS_I_DIS] *= packs
        if now[im.CELL_T_MAX] == im.NO_VALUE or hot > now[im.CELL_T_MAX]:
            now[im.CELL_T_MAX] = hot
        if now[im.CELL_T_MIN] == im.NO_VALUE or im.NO_VALUE < cold < now[im.CELL_T_MIN]:
            now[im.CELL_T_MIN] = cold
        if blind:  # nobody knows how warm one of them is
            now[im.BMS_TEMP] = now[im.CELL_T_MAX] = now[im.CELL_T_MIN] = im.NO_VALUE
        if odd & _ODD_HIGH:  # refused in one of them: it may be anything
            now[im.CELL_V_MAX] = im.NO_VALUE
        if odd & _ODD_LOW:
            now[im.CELL_V_MIN] = im.NO_VALUE

    def _join_inverters(self, bank: Bank, dt: int) -> None:
        now = bank.now
        par = bank.par
        joined = 0
        lost = 0
        bit = 1
        discharge = charge = 0
        for each in bank.inverters:
            self._freeze(bank, each, dt)
            its = each.now
            its[im.LIMIT_DIS] = its[im.LIMIT_CHG] = 0
            which = banks.classes(its, par)
            banks.join(now, its, self._inverters, len(self._inverters) // 3, which, joined)
            joined |= which
            if not which & _PCS_SEEN or its[im.PCS_STATE] == im.PCS_FAULT:
                lost |= bit
            elif which & _SWITCHES:
                its[im.LIMIT_DIS] = _able(its[im.PCS_P_DIS], par[im.PAR_P_DIS])
                its[im.LIMIT_CHG] = _able(its[im.PCS_P_CHG], par[im.PAR_P_CHG])
            discharge += its[im.LIMIT_DIS]
            charge += its[im.LIMIT_CHG]
            now[im.FRESH] |= its[im.FRESH] & _PCS_GROUP
            bit += bit
        if not joined & _SWITCHES:
            now[im.PCS_GRID] = im.NO_VALUE
        now[im.PCS_P_DIS] = discharge
        now[im.PCS_P_CHG] = charge
        now[im.PARTS_LOST] = lost if joined & _PCS_SEEN else 0

    def _command_devices(self, bank: Bank) -> None:
        """The bank's command to its inverters, by what each can do, and its outputs to all its devices."""
        now = bank.now
        for each in bank.batteries:
            _copy_outputs(now, each.now)
        if not bank.inverters:
            return
        power = now[im.CMD_P]
        charge = 1 if power < 0 else 0
        now[im.REST_P] = -power if power < 0 else power
        total = 0
        for each in bank.inverters:
            total += each.now[im.LIMIT_DIS + charge]
        now[im.REST_LIMIT] = total
        for each in bank.inverters:
            _copy_outputs(now, each.now)
            banks.portion(now, each.now, bank.par, charge | _AT_ONCE)  # the bank's ramp is theirs
            each.now[im.CMD_P] = each.now[im.REQUEST_P]

    # ---- the site ---------------------------------------------------------------------------------------

    def gather(self, dt: int) -> None:
        """What the banks have together becomes the site's, beside its own measurements."""
        now = self._image.now
        par = self._image.par
        inputs.freeze(self._image.inp, now, dt)
        now[im.HELD_MS] = dt if dt > par[im.PAR_STALL_MS] else 0
        joined = 0
        soc = weight = number = 0
        rules = self._site
        n = len(rules) // 3
        for bank in self.banks:
            its = bank.now
            which = banks.classes(its, bank.par)  # an inverter that is not seen counts as a part of the load
            banks.join(now, its, rules, n, which, joined)
            if which & _CONNECTED:
                banks.ends(now, par, its, bank.par, joined & _CONNECTED)
            joined |= which
            now[im.FRESH] |= its[im.FRESH] & (_BMS_GROUPS | _PCS_GROUP)
            if its[im.SOC] != im.NO_VALUE:
                soc += its[im.SOC] * self._weights[number]
                weight += self._weights[number]
            number += 1
        now[im.SOC] = now[im.BMS_SOC] = soc // weight if weight else im.NO_VALUE
        if joined & _EVERY != _EVERY:
            self._fill(joined)

    def _fill(self, joined: int) -> None:
        """What no bank has is not known, or nothing."""
        now = self._image.now
        missing = ~joined & (_BMS_SEEN | _PCS_SEEN | _SWITCHES)
        banks.join(now, self._nothing, self._site, len(self._site) // 3, missing, 0)
        if not joined & _CONNECTED:
            now[im.SOC_LOW] = now[im.SOC_HIGH] = now[im.SOC]
            now[im.SOC_DRIFT] = now[im.SOC_KEEP_MS] = now[im.BMS_ENDS_MS] = 0

    def spread(self) -> None:
        """What the site knows, to the banks."""
        now = self._image.now
        par = self._image.par
        for bank in self.banks:
            banks.spread(now, par, bank.now, bank.par)

    def diagnose(self) -> int:
        """The site's own faults: meter, inputs, emergency stop; the bits that changed."""
        now = self._image.now
        par = self._image.par
        diagnosis.find_missing(now, par)
        now[im.MISSING] &= im.MISS_IO  # what a bank misses makes its own limits 0
        diagnosis.lost_devices(now, par)
        return diagnosis.debounce(now, self._rows, self.fault_state, len(self._rows) // 3)

    def limit(self) -> None:
        """What each bank may give, and all of them together: after each one's rows."""
        now = self._image.now
        number = 0
        for bank in self.banks:
            its = bank.now
            par = bank.par
            site_limits.binding(its, par)
            banks.add_limits(now, its, par, number)
            number += 1
        banks.close_limits(now)

    def share(self) -> None:
        """After the site's ramp: its command goes to the banks in proportion to what each may give, and is what they make of it."""
        now = self._image.now
        power = now[im.CMD_P]
        how = _CHARGE if power < 0 else 0
        size = -power if power < 0 else power
        if now[im.REQUEST_BY] == rq.ISLAND and not now[im.GRID_OK]:
            how |= _AT_ONCE  # an island's load is there already
        total = 0
        for bank in self.banks:
            total += bank.now[im.LIMIT_DIS + (how & _CHARGE)]
        now[im.REST_P] = size
        now[im.REST_LIMIT] = total
        for bank in self.banks:
            bank.rises = banks.portion(now, bank.now, bank.par, how)
        if now[im.REST_P]:
            self.share_rest(size, total, how)
        power = 0
        for bank in self.banks:
            its = bank.now
            par = bank.par
            banks.take_portion(its, par)
            invariants.check_command(its, par)
            power += its[im.CMD_P]
        now[im.CMD_P] = power
        if power > 0 and now[im.SOC_LOW] <= self._image.par[im.PAR_SOC_MIN]:
            self._count_who_gives()

    def _count_who_gives(self) -> None:
        """A bank that has connected in this cycle, or serves in maintenance, was not one of those with something to give."""
        for bank in self.banks:
            if bank.now[im.CMD_P] > 0:
                banks.ends(self._image.now, self._image.par, bank.now, bank.par, 1)

    def share_rest(self, size: int, total: int, how: int) -> None:
        """Banks on their way up take what their ramp lets them: the others have the rest until they are there.

        Else the power of all would fall to what the one gives that has just come back.
        """
        now = self._image.now
        for _ in self.banks:  # each time at least one more is found that cannot rise as far as it should
            now[im.REST_P] = size
            now[im.REST_LIMIT] = total
            for bank in self.banks:
                if bank.rises:
                    power = bank.now[im.REQUEST_P]
                    now[im.REST_P] -= -power if power < 0 else power
                    now[im.REST_LIMIT] -= bank.now[im.LIMIT_DIS + (how & _CHARGE)]
            more = 0
            for bank in self.banks:
                if not bank.rises:
                    bank.rises = banks.portion(now, bank.now, bank.par, how)
                    more |= bank.rises
            if not more:
                return

    def command(self, breach: int) -> None:
        """At the end of the cycle: to devices in parallel; 0 W where the sum breaks a rule."""
        if breach:
            for bank in self.banks:
                bank.now[im.CMD_P] = 0
        if self._parts:
            for bank in self.banks:
                if bank.parts:
                    self._command_devices(bank)


def _able(says: int, bank: int) -> int:
    """What an inverter can: what it says, or where it says nothing all that its bank may."""
    if says == im.NO_VALUE:
        return bank
    return max(0, min(says, _MOST_W))


def _copy_outputs(now, its) -> None:
    its[im.CMD_RUN] = now[im.CMD_RUN]
    its[im.CMD_CONTACTOR] = now[im.CMD_CONTACTOR]
    its[im.CMD_BALANCE] = now[im.CMD_BALANCE]
    its[im.FAULTS] = now[im.FAULTS]
    its[im.MODE] = now[im.MODE]
    its[im.GRID_OK] = now[im.GRID_OK]


class SiteSupervisor(Supervisor):
    """The mode machine of a site of several banks: each bank has its own, for its faults, restarts and contactors.

    The site is connected while one bank is; a bank that trips leaves the others to go on, and comes back by its own rule.
    (super() would allocate in the cycle.)
    """

    def __init__(self, image, config, events, several: Several) -> None:
        self._banks = several.banks
        super().__init__(image, config, events)

    def want_running(self) -> None:
        """See Supervisor.want_running."""
        super().want_running()
        for bank in self._banks:
            bank.states.want_running()

    def want_standby(self, order: int = im.ORDER_STOP) -> None:
        """See Supervisor.want_standby; a bank follows when the site's power is down."""
        super().want_standby(order)
        for bank in self._banks:
            bank.now[im.ORDER] = order

    def enter_maintenance(self) -> None:
        """See Supervisor.enter_maintenance."""
        super().enter_maintenance()
        for bank in self._banks:
            bank.states.enter_maintenance()

    def service(self, contactor: bool, pcs: bool, ms: int) -> None:
        """See Supervisor.service: all banks."""
        super().service(contactor, pcs, ms)
        for bank in self._banks:
            bank.states.service(contactor, pcs, ms)

    def moving(self) -> str:
        """See Supervisor.moving: the first bank that does."""
        for bank in self._banks:
            text = bank.states.moving()
            if text:
                return "bank %s: %s" % (bank.image.name, text)
        return ""

    def tripping(self) -> int:
        """See Supervisor.tripping: of the site and every bank."""
        found = super().tripping()
        for bank in self._banks:
            found |= bank.states.tripping()
        return found

    def emergency_causes(self) -> int:
        """See Supervisor.emergency_causes: of the site and every bank."""
        found = super().emergency_causes()
        for bank in self._banks:
            found |= bank.states.emergency_causes()
        return found

    def enter(self, mode: int) -> None:
        """See Supervisor.enter; what moves nothing is every bank's, a connected mode each bank's by itself."""
        Supervisor.enter(self, mode)
        if mode not in CONNECTED:
            for bank in self._banks:
                bank.states.enter(mode)

    def bank_changed(self, bank: Bank, changed: int) -> int:
        """Act on a bank's faults: see Supervisor.faults_changed.  Its emergency is the site's."""
        decided = bank.states.faults_changed(changed)
        if decided & sv.EMERGENCY:
            self.enter_emergency(bank.now[im.CAUSE])
        return decided & sv.EMERGENCY

    def enter_emergency(self, cause: int) -> None:
        """See Supervisor.enter_emergency: of every bank; those that have not led to it say that the site's is theirs."""
        for bank in self._banks:
            if bank.now[im.MODE] != Mode.EMERGENCY:
                bank.now[im.CAUSE] = im.CAUSE_OF_SITE
        Supervisor.enter_emergency(self, cause)

    def step(self, dt: int) -> int:
        """See Supervisor.step: the banks first, which start as soon as the site lets them."""
        now = self._now
        starts = (
            now[im.ORDER] == im.ORDER_START
            and now[im.MODE] != Mode.EMERGENCY
            and now[im.MODE] != Mode.MAINTENANCE
            and self.stop_ms < 0
            and not now[im.FAULTS] & self._trip_mask
            and now[im.RESTART_MS] <= 0
        )
        order = im.ORDER_START if starts else now[im.ORDER]
        if order == im.ORDER_START and not starts:
            order = im.ORDER_NONE
        decided = sv.NOTHING
        connected = False
        spent = 0
        for bank in self._banks:
            its = bank.now
            if its[im.ORDER] != im.ORDER_SPENT:
                its[im.ORDER] = order
            decided |= bank.states.step(dt)
            if its[im.ORDER] == im.ORDER_SPENT:
                spent += 1
            elif its[im.MODE] in CONNECTED:
                connected = True
        if now[im.MODE] in CONNECTED and not connected:
            self.enter(Mode.STANDBY)
        if spent == len(self._banks) and now[im.ORDER] == im.ORDER_START:
            now[im.ORDER] = im.ORDER_SPENT
            decided |= sv.SPENT
        decided |= Supervisor.step(self, dt)
        if decided & sv.UNSERVED:
            self._end_service()
        return decided

    def _end_service(self) -> None:
        """A fault that trips, of one bank or of the site, lets go everywhere at once: who asked for it looks at all of them."""
        self.service(False, False, 0)
        for bank in self._banks:
            bank.now[im.GATE] |= im.GATE_CLOSED

    def follow(self, direction: int) -> None:
        """See Supervisor.follow: the site, and then each bank that is connected."""
        Supervisor.follow(self, direction)
        mode = self._now[im.MODE]
        its = 0
        if mode == Mode.CHARGE:
            its = -1
        elif mode == Mode.DISCHARGE:
            its = 1
        for bank in self._banks:
            if bank.now[im.MODE] != mode:
                bank.states.follow(its)

    def _alive(self) -> bool:
        """A bank has started."""
        for bank in self._banks:
            if bank.now[im.MODE] in CONNECTED:
                return True
        return False

    def current_broken(self) -> bool:
        for bank in self._banks:
            if bank.now[im.CMD_CONTACTOR] and not bank.states.current_broken():
                return False
        return True

    def _drive(self, dt: int) -> None:
        """The site's outputs are what any bank has; each bank drives its own."""
        now = self._now
        now[im.CMD_CONTACTOR] = now[im.CMD_RUN] = 0
        for bank in self._banks:
            now[im.CMD_CONTACTOR] |= bank.now[im.CMD_CONTACTOR]
            now[im.CMD_RUN] |= bank.now[im.CMD_RUN]


def divide(image, plan: list) -> None:
    """Make a site's banks: plan, one each: (name, PowerConfig, how many batteries, how many inverters, further image.HAS_* bits).

    image.banks, image.batteries and image.inverters then are the Images that devices bind to, in the plan's order.
    """
    image.divided = True
    image.banks = []
    image.batteries = []
    image.inverters = []
    for name, config, batteries, inverters, has in plan:
        bank = im.Image()
        bank.lock = image.lock
        bank.name = name
        bank.config = config
        bank.has = has
        bank.batteries = [im.Image() for _ in range(batteries)] if batteries > 1 else [bank]
        bank.inverters = [im.Image() for _ in range(inverters)] if inverters > 1 else [bank]
        image.banks.append(bank)
        image.batteries += bank.batteries
        image.inverters += bank.inverters
