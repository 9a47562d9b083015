"""Several batteries and inverters: a bank is what hangs on one DC bus, one battery or several in parallel, and its inverters.

Each bank has an Image of its own, in which it is diagnosed, limited and commanded like a site of one; the site's Image has what
they have together.  Devices in parallel have Images of their own too.  Only a site with several loads this.
"""

from array import array

from micropython import const

from firmware import image as im
from firmware import parameters
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

# how kernel/banks.py joins a slot
_SUM = const(1)
_LARGEST = const(2)
_SMALLEST = const(3)
_ALL_BITS = const(4)
_FIRST = const(5)
_LEAST = const(6)
_STATE = const(7)
_MAGNITUDE = const(8)

_BATTERIES = (  # packs in parallel: the weakest bounds each, and all of them are needed
    (im.BMS_SOC, _SUM), (im.BMS_SOH, _SMALLEST), (im.BMS_V, _FIRST), (im.BMS_I, _SUM), (im.BMS_TEMP, _LARGEST),
    (im.BMS_V_MAX, _LEAST), (im.BMS_V_MIN, _LARGEST), (im.BMS_I_CHG, _LEAST), (im.BMS_I_DIS, _LEAST),
    (im.CELL_V_MAX, _LARGEST), (im.CELL_V_MIN, _SMALLEST), (im.CELL_T_MAX, _LARGEST), (im.CELL_T_MIN, _SMALLEST),
    (im.BMS_STATUS, _FIRST), (im.BMS_REQUESTS, _ALL_BITS), (im.BMS_PROTECT, _ALL_BITS), (im.BMS_ALARM, _ALL_BITS),
    (im.BMS_ODD, _ALL_BITS), (im.AGE + im.SEQ_BMS, _LARGEST), (im.AGE + im.SEQ_BMS_LIMITS, _LARGEST),
    (im.AGE + im.SEQ_BMS_CELLS, _LARGEST), (im.AGE + im.SEQ_BMS_TEMPS, _LARGEST), (im.AGE + im.SEQ_BMS_FLAGS, _LARGEST),
)  # fmt: skip
_INVERTERS = (  # of those that are received
    (im.PCS_STATE, _STATE), (im.PCS_P, _SUM), (im.PCS_Q, _SUM), (im.PCS_V, _FIRST), (im.PCS_I, _SUM), (im.PCS_HZ, _FIRST),
    (im.PCS_DC_V, _FIRST), (im.PCS_DC_I, _SUM), (im.PCS_DC_P, _SUM), (im.PCS_TEMP, _LARGEST), (im.PCS_ALARM, _ALL_BITS),
    (im.PCS_SETPOINT, _SUM), (im.AGE + im.SEQ_PCS, _SMALLEST),
)  # fmt: skip
_SITE_BATTERIES = (  # of the banks whose battery is received
    (im.BMS_SOH, _SMALLEST), (im.BMS_V, _FIRST), (im.BMS_I, _SUM), (im.BMS_TEMP, _LARGEST), (im.BMS_V_MAX, _LEAST),
    (im.BMS_V_MIN, _LARGEST), (im.BMS_I_CHG, _SUM), (im.BMS_I_DIS, _SUM), (im.CELL_V_MAX, _LARGEST),
    (im.CELL_V_MIN, _SMALLEST), (im.CELL_T_MAX, _LARGEST), (im.CELL_T_MIN, _SMALLEST), (im.BMS_REQUESTS, _ALL_BITS),
    (im.BMS_PROTECT, _ALL_BITS), (im.BMS_ALARM, _ALL_BITS), (im.BMS_ODD, _ALL_BITS),
)  # fmt: skip
_SITE_INVERTERS = _INVERTERS[:-1] + ((im.PCS_P_CHG, _SUM), (im.PCS_P_DIS, _SUM))
_ALWAYS = (
    (im.AGE + im.SEQ_BMS, _SMALLEST), (im.AGE + im.SEQ_BMS_LIMITS, _SMALLEST), (im.AGE + im.SEQ_BMS_CELLS, _SMALLEST),
    (im.AGE + im.SEQ_BMS_TEMPS, _SMALLEST), (im.AGE + im.SEQ_BMS_FLAGS, _SMALLEST), (im.AGE + im.SEQ_PCS, _SMALLEST),
)  # fmt: skip
_RUNNING = (  # of the banks that are connected: an operation goes on as long as one of them can
    (im.SOC_LOW, _LARGEST), (im.SOC_HIGH, _SMALLEST), (im.SOC_DRIFT, _MAGNITUDE), (im.SOC_KEEP_MS, _SMALLEST),
    (im.BMS_ENDS_MS, _SMALLEST),
)  # fmt: skip


def _rules(rows) -> array:
    rules = array("i", [0] * im.N_SLOTS)
    for slot, rule in rows:
        rules[slot] = rule
    return rules


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
            self.banks.append(Bank(each, Supervisor(each, config, BankEvents(events, number)), rows))
        image.par[im.PAR_HAS] = has & ~(im.HAS_BMS | im.HAS_PCS)
        image.par[im.PAR_ENERGY] = sum([bank.par[im.PAR_ENERGY] for bank in self.banks])
        self._weights = [max(1, bank.par[im.PAR_ENERGY] // 1000) for bank in self.banks]
        self._batteries = _rules(_BATTERIES)
        self._inverters = _rules(_INVERTERS)
        self._site_batteries = _rules(_SITE_BATTERIES)
        self._site_inverters = _rules(_SITE_INVERTERS)
        self._always = _rules(_ALWAYS)
        self._running = _rules(_RUNNING)
        self._nothing = array("i", [im.NO_VALUE] * im.N_SLOTS)
        self._rows = rows
        self.fault_state = array("i", [0] * len(rows))

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
        hot = cold = im.NO_VALUE
        for each in bank.batteries:
            self._freeze(bank, each, dt)
            banks.join(now, each.now, self._batteries, k)
            each.now[im.ARRIVED] |= each.now[im.FRESH]
            arrived &= each.now[im.ARRIVED]
            celsius = each.now[im.BMS_TEMP]
            if celsius != im.NO_VALUE:
                hot = celsius if hot == im.NO_VALUE or celsius > hot else hot
                cold = celsius if cold == im.NO_VALUE or celsius < cold else cold
            k += 1
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

    def _join_inverters(self, bank: Bank, dt: int) -> None:
        now = bank.now
        stale = bank.par[im.PAR_STALE_PCS]
        joined = 0
        lost = 0
        bit = 1
        discharge = charge = 0
        grid = im.NO_VALUE
        for each in bank.inverters:
            self._freeze(bank, each, dt)
            its = each.now
            its[im.LIMIT_DIS] = its[im.LIMIT_CHG] = 0
            if its[im.AGE + im.SEQ_PCS] <= stale:
                banks.join(now, its, self._inverters, joined)
                joined += 1
                if im.PCS_STANDBY <= its[im.PCS_STATE] <= im.PCS_RUNNING:
                    grid = _grid_of_both(grid, its[im.PCS_GRID])
                    unknown = its[im.PCS_P_DIS] == im.NO_VALUE
                    its[im.LIMIT_DIS] = bank.par[im.PAR_P_DIS] if unknown else max(0, its[im.PCS_P_DIS])
                    unknown = its[im.PCS_P_CHG] == im.NO_VALUE
                    its[im.LIMIT_CHG] = bank.par[im.PAR_P_CHG] if unknown else max(0, its[im.PCS_P_CHG])
            else:
                lost |= bit
            discharge += its[im.LIMIT_DIS]
            charge += its[im.LIMIT_CHG]
            now[im.FRESH] |= its[im.FRESH] & _PCS_GROUP
            bit += bit
        now[im.PCS_GRID] = grid
        now[im.PCS_P_DIS] = discharge
        now[im.PCS_P_CHG] = charge
        now[im.PARTS_LOST] = lost if joined else 0
        if not joined:
            for each in bank.inverters:
                now[im.AGE + im.SEQ_PCS] = min(now[im.AGE + im.SEQ_PCS], each.now[im.AGE + im.SEQ_PCS])

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
            banks.portion(now, each.now, charge)
            each.now[im.CMD_P] = each.now[im.REQUEST_P]

    # ---- the site ---------------------------------------------------------------------------------------

    def gather(self, dt: int) -> None:
        """What the banks have together becomes the site's, beside its own measurements."""
        now = self._image.now
        par = self._image.par
        inputs.freeze(self._image.inp, now, dt)
        now[im.HELD_MS] = dt if dt > par[im.PAR_STALL_MS] else 0
        batteries = inverters = running = every = 0
        soc = weight = 0
        number = 0
        grid = im.NO_VALUE
        for bank in self.banks:
            its = bank.now
            banks.join(now, its, self._always, every)
            every += 1
            now[im.FRESH] |= its[im.FRESH] & (_BMS_GROUPS | _PCS_GROUP)
            if its[im.AGE + im.SEQ_BMS] <= bank.par[im.PAR_STALE_BMS]:
                banks.join(now, its, self._site_batteries, batteries)
                batteries += 1
            if its[im.AGE + im.SEQ_PCS] <= bank.par[im.PAR_STALE_PCS]:  # one that is not seen counts as a part of the load
                banks.join(now, its, self._site_inverters, inverters)
                inverters += 1
                if im.PCS_STANDBY <= its[im.PCS_STATE] <= im.PCS_RUNNING:
                    grid = _grid_of_both(grid, its[im.PCS_GRID])
            if its[im.MODE] in CONNECTED and its[im.SOC] != im.NO_VALUE:
                banks.join(now, its, self._running, running)
                running += 1
            if its[im.SOC] != im.NO_VALUE:
                soc += its[im.SOC] * self._weights[number]
                weight += self._weights[number]
            number += 1
        if not batteries:
            banks.join(now, self._nothing, self._site_batteries, 0)
        if not inverters:
            banks.join(now, self._nothing, self._site_inverters, 0)
        now[im.PCS_GRID] = grid
        now[im.SOC] = now[im.BMS_SOC] = soc // weight if weight else im.NO_VALUE
        if not running:
            now[im.SOC_LOW] = now[im.SOC_HIGH] = now[im.SOC]
            now[im.SOC_DRIFT] = now[im.SOC_KEEP_MS] = now[im.BMS_ENDS_MS] = 0

    def spread(self) -> None:
        """What the site knows, to the banks."""
        for bank in self.banks:
            banks.spread(self._image.now, self._image.par, bank.now, bank.par)

    def diagnose(self) -> int:
        """The site's own faults: meter, inputs, emergency stop; the bits that changed."""
        now = self._image.now
        par = self._image.par
        diagnosis.find_missing(now, par)
        diagnosis.lost_devices(now, par)
        return diagnosis.debounce(now, self._rows, self.fault_state, len(self._rows) // 3)

    def limit(self) -> None:
        """What each bank may give, and all of them together: after each one's rows."""
        now = self._image.now
        number = 0
        for bank in self.banks:
            site_limits.binding(bank.now, bank.par)
            banks.add_limits(now, bank.now, bank.par, number)
            number += 1
        banks.close_limits(now)

    def share(self) -> None:
        """After the site's ramp: its command goes to the banks in proportion to what each may give, and is what they make of it."""
        now = self._image.now
        power = now[im.CMD_P]
        charge = 1 if power < 0 else 0
        now[im.REST_P] = -power if power < 0 else power
        total = 0
        for bank in self.banks:
            total += bank.now[im.LIMIT_DIS + charge]
        now[im.REST_LIMIT] = total
        power = 0
        for bank in self.banks:
            banks.portion(now, bank.now, charge)
            banks.take_portion(bank.now, bank.par)
            invariants.check_command(bank.now, bank.par)
            power += bank.now[im.CMD_P]
        now[im.CMD_P] = power

    def command(self) -> None:
        """At the end of the cycle: to devices in parallel."""
        if not self._image.now[im.CMD_P]:  # the site has found a breach, or rests
            for bank in self.banks:
                if self._image.now[im.BREACH]:
                    bank.now[im.CMD_P] = 0
        for bank in self.banks:
            if bank.parts:
                self._command_devices(bank)


def _grid_of_both(grid: int, its: int) -> int:
    """Whether the grid is there for two inverters that switch; one that does not has its own relay open and sees none."""
    if its == im.NO_VALUE:
        return grid
    return its if grid == im.NO_VALUE else grid & its


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
                return text
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
        """See Supervisor.enter_emergency: of every bank."""
        Supervisor.enter_emergency(self, cause)
        for bank in self._banks:
            if bank.now[im.MODE] != Mode.EMERGENCY:
                bank.states.enter_emergency(cause)

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
        decided = sv.NOTHING
        connected = False
        spent = 0
        for bank in self._banks:
            its = bank.now
            if its[im.ORDER] == im.ORDER_SPENT:
                spent += 1
            else:
                its[im.ORDER] = im.ORDER_START if starts else now[im.ORDER] if now[im.ORDER] != im.ORDER_START else im.ORDER_NONE
            decided |= bank.states.step(dt)
            connected = connected or its[im.MODE] in CONNECTED
        if now[im.MODE] in CONNECTED and not connected:
            self.enter(Mode.STANDBY)
        if spent == len(self._banks) and now[im.ORDER] == im.ORDER_START:
            now[im.ORDER] = im.ORDER_SPENT
            decided |= sv.SPENT
        return decided | Supervisor.step(self, dt)

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
