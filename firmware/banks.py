"""What the cycle does for several banks: what they have together, what each may give, and how a command gets to each device.

A bank is what hangs on one DC bus, one battery or several in parallel, and its inverters.  Each has an Image of its own, in which
it is diagnosed, limited and commanded like a site of one; the site's Image has what they have together.  Devices in parallel have
Images of their own too.  Only a site with several loads this.
"""

from array import array

from micropython import const

from firmware import image as im
from firmware import requests as rq
from firmware.bank_supervisors import BankEvents, ParallelSupervisor
from firmware.cycle import Bank
from firmware.faults import debounce_rows
from firmware.kernel import banks, diagnosis, inputs, invariants, site_limits
from firmware.limits import NAMES
from firmware.modes import Mode
from firmware.supervisor import Supervisor

MOST = const(4)  # banks, batteries, inverters
_MOST_W = const(1000000)  # of a part, as kernel/banks.py shares it
_MOST_DA = const(100000)  # 0.1 A: what a pack allows beyond it is as much, and times 4 stays a small integer
_BMS_GROUPS = const(0x1F)
_STEADY_W = const(500)  # inverters stand still
_CARRIES_DA = const(50)  # 0.1 A of each pack: from there on they are compared
_UNEVEN = const(1100)  # of 1000 in the mean: who carries more than that bounds the others
_UNEVEN_READS = const(3)  # in a row: packs do not report at the same instant
_SHOWN_DA = const(70000)  # 0.1 A: times 1500 V it is a small integer
_PCS_ROW = NAMES.index("pcs")
_FORBIDS = im.LIMIT_ROWS_DIS + NAMES.index("bms_forbids")
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
_OLDEST = const(9)

# which parts take part in joining a slot
_ALWAYS = const(1)
_BMS_SEEN = const(2)
_PCS_SEEN = const(4)
_CONNECTED = const(8)
_SWITCHES = const(16)
_EVERY = const(31)

# how kernel/banks.py gives a part its portion
_CHARGE = const(1)
_AT_ONCE = const(2)
_ALL = const(15)  # parts

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
    im.READS_CELL_HI, _ALWAYS, _LARGEST,
    im.READS_CELL_LO, _ALWAYS, _LARGEST,
    im.READS_TEMP_HI, _ALWAYS, _LARGEST,
    im.AGE + im.SEQ_BMS, _ALWAYS, _LARGEST,
    im.AGE + im.SEQ_BMS_LIMITS, _ALWAYS, _LARGEST,
    im.AGE + im.SEQ_BMS_CELLS, _ALWAYS, _OLDEST,  # not every pack sends these; who once did has to go on
    im.AGE + im.SEQ_BMS_TEMPS, _ALWAYS, _OLDEST,
    im.AGE + im.SEQ_BMS_FLAGS, _ALWAYS, _OLDEST,
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
    im.PCS_GRID, _SWITCHES, _LARGEST,  # one whose own breaker is open takes no grid from the others
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
    im.ODD_P, _SWITCHES, _LARGEST,
    im.SOC_DRIFT, _CONNECTED, _MAGNITUDE,
    im.SOC_KEEP_MS, _CONNECTED, _SMALLEST,
    im.BMS_ENDS_MS, _CONNECTED, _SMALLEST,
)  # fmt: skip


class Parts:
    """Several Images that a kernel walks in one call."""

    def __init__(self, images: list, pars: list) -> None:
        self.images = images
        self.nows = [each.now for each in images]
        self.pars = pars
        self.n = len(images)
        self.which = array("i", [_EVERY] * self.n)  # in which classes of a rule each takes part
        self.last = array("i", [0] * (2 * self.n))  # W that each inverter may have been doing when it was last heard: out, in
        self.unheard = array("i", [0, 0])  # W that those may still be doing that are not heard now: out, in
        self.silent = 0  # which these are, bits
        self.uneven = 0  # readings of all packs in a row in which one carried more than its part
        self.steady_w = self.steady_ms = 0  # where the others' power has stood still, and for how long


class Several:
    """What the cycle does for a site of several banks, beside what it does for each."""

    def __init__(self, image, has: int, events) -> None:
        from firmware import parameters  # here: as in manager.py

        self._inp = image.inp
        self._now = image.now
        self._par = image.par
        self.banks = []
        rows = debounce_rows()
        for number, each in enumerate(image.banks):
            fields = each.config.whole()
            packs = len(each.batteries)
            own = im.HAS_BMS | im.HAS_PCS | each.has
            parameters.apply(fields, each.par, own, packs)
            for slot in (im.OP_P_CHG, im.OP_P_DIS, im.EMS_P_CHG, im.EMS_P_DIS):
                each.par[slot] = im.FREE  # the site bounds them for all
            for limits in (im.LIMIT_ROWS_DIS, im.LIMIT_ROWS_CHG):
                for slot in range(limits, limits + im.LIMIT_ROWS_CHG - im.LIMIT_ROWS_DIS):
                    each.now[slot] = im.FREE  # the rows of the site are not looked at here
            states = (Supervisor if packs == 1 else ParallelSupervisor)(each, fields, BankEvents(events, number + 1))
            bank = Bank(each, states, rows)
            bank.batteries = self._parts_of(each, each.batteries)
            bank.inverters = self._parts_of(each, each.inverters)
            bank.parts = bank.batteries is not None or bank.inverters is not None
            self.banks.append(bank)
        self._parts = any(bank.parts for bank in self.banks)
        self._all = Parts(image.banks, [bank.par for bank in self.banks])
        self._bound_site(image.par, has)
        self._weights = array("i", [max(1, bank.par[im.PAR_ENERGY] // 1000) for bank in self.banks])
        self._batteries = array("i", _BATTERIES)
        self._inverters = array("i", _INVERTERS)
        self._site = array("i", _SITE)
        self._rows = rows
        self.fault_state = array("H", [0] * len(rows))
        self._differ = False  # as Bank.differ

    def _parts_of(self, image, devices: list):
        """A bank's batteries or inverters where they are several; None of one, whose Image is the bank's."""
        return Parts(devices, [image.par] * len(devices)) if len(devices) > 1 else None

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
        if bank.batteries is not None:
            self._join_batteries(bank.now, bank.par, bank.batteries, dt)
        if bank.inverters is not None:
            self._join_inverters(bank.now, bank.par, bank.inverters, dt)

    def _freeze(self, now, parts: Parts, dt: int) -> None:
        for each in parts.images:
            inputs.freeze(each.inp, each.now, dt)
            each.now[im.HELD_MS] = now[im.HELD_MS]

    def _join_batteries(self, now, par, parts: Parts, dt: int) -> None:
        packs = parts.n
        arrived = _BMS_GROUPS
        odd = 0
        blind = False
        hot = cold = im.NO_VALUE
        self._freeze(now, parts, dt)
        self._confirm_trips(now, par, parts)
        banks.join(now, parts.nows, parts.which, packs, self._batteries, len(self._batteries))
        for its in parts.nows:
            its[im.ARRIVED] |= its[im.FRESH]
            arrived &= its[im.ARRIVED]
            celsius = its[im.BMS_TEMP]
            if celsius != im.NO_VALUE:
                hot = celsius if hot == im.NO_VALUE or celsius > hot else hot
                cold = celsius if cold == im.NO_VALUE or celsius < cold else cold
            elif its[im.CELL_T_MAX] == im.NO_VALUE:
                blind = True
            odd |= its[im.BMS_ODD] & _ODD_CELLS if its[im.CELL_V_MAX] == im.NO_VALUE or its[im.CELL_V_MIN] == im.NO_VALUE else 0
        if arrived:  # a reading of them together is new when each has given one
            now[im.FRESH] |= arrived
            for its in parts.nows:
                its[im.ARRIVED] &= ~arrived
        if now[im.BMS_SOC] != im.NO_VALUE:
            now[im.BMS_SOC] = now[im.BMS_SOC] // packs
        if now[im.BMS_I_CHG] != im.NO_VALUE:
            now[im.BMS_I_CHG] = max(0, min(now[im.BMS_I_CHG], _MOST_DA)) * packs
        if now[im.BMS_I_DIS] != im.NO_VALUE:
            now[im.BMS_I_DIS] = max(0, min(now[im.BMS_I_DIS], _MOST_DA)) * packs
        self._bound_the_uneven(now, parts, arrived)
        if now[im.CELL_T_MAX] == im.NO_VALUE or hot > now[im.CELL_T_MAX]:
            now[im.CELL_T_MAX] = hot
        if now[im.CELL_T_MIN] == im.NO_VALUE or im.NO_VALUE < cold < now[im.CELL_T_MIN]:
            now[im.CELL_T_MIN] = cold
        if blind:  # nobody knows how warm one of them is
            now[im.BMS_TEMP] = now[im.CELL_T_MAX] = now[im.CELL_T_MIN] = im.NO_VALUE
        if odd & _ODD_HIGH and now[im.READS_CELL_HI] < 2:  # refused in one of them: it may be anything; beyond a trip it is known
            now[im.CELL_V_MAX] = im.NO_VALUE
        if odd & _ODD_LOW and now[im.READS_CELL_LO] < 2:
            now[im.CELL_V_MIN] = im.NO_VALUE

    def _bound_the_uneven(self, now, parts: Parts, arrived: int) -> None:
        """A pack that carries more than its part may carry no more than it allows: all together are bound by that."""
        total = now[im.BMS_I]
        slot = im.BMS_I_CHG if total < 0 else im.BMS_I_DIS
        if abs(total) < _CARRIES_DA * parts.n or total == im.NO_VALUE:
            parts.uneven = 0
            return
        bound = now[slot]
        for its in parts.nows:
            share = its[im.BMS_I] * 1000 // total
            if share * parts.n > _UNEVEN and its[slot] != im.NO_VALUE:
                bound = min(bound, max(0, min(its[slot], _MOST_DA)) * 1000 // share)
        if arrived >> im.SEQ_BMS & 1:
            parts.uneven = parts.uneven + 1 if bound < now[slot] else 0
        if parts.uneven >= _UNEVEN_READS:
            now[slot] = bound

    def settle_packs(self, bank: Bank) -> None:
        """After the bank's settle_soc: the weakest pack is what discharges, the fullest what charges."""
        now = bank.now
        if now[im.BMS_SOC] == im.NO_VALUE:
            return
        least = most = now[im.BMS_SOC]
        for its in bank.batteries.nows:
            least = min(least, its[im.BMS_SOC])
            most = max(most, its[im.BMS_SOC])
        now[im.SOC_LOW] = max(0, now[im.SOC_LOW] - now[im.BMS_SOC] + least)
        now[im.SOC_HIGH] = min(10000, now[im.SOC_HIGH] - now[im.BMS_SOC] + most)

    def watch_packs(self, bank: Bank) -> None:
        """After the bank's detect_frozen: a pack that repeats itself hides behind the sum, which moves.

        One that carries nothing may be switched off.
        """
        now = bank.now
        parts = bank.batteries
        for its in parts.nows:
            its[im.PCS_P] = now[im.PCS_P] if now[im.PCS_P] == im.NO_VALUE else now[im.PCS_P] // parts.n
            its[im.AGE + im.SEQ_PCS] = now[im.AGE + im.SEQ_PCS]
            diagnosis.detect_frozen(its, bank.par)
            if abs(its[im.BMS_I]) >= _CARRIES_DA:
                now[im.STILL_BMS_MS] = max(now[im.STILL_BMS_MS], its[im.STILL_BMS_MS])

    def _confirm_trips(self, now, par, parts: Parts) -> None:
        """Each pack's readings beyond a trip by its own reports: what another sends or does not send confirms nothing of them."""
        for its in parts.nows:
            inputs.confirm_trips(its, par)
            if its[im.DOUBTS] != its[im.DOUBTS_SEEN]:
                its[im.DOUBTS_SEEN] = its[im.DOUBTS]
                now[im.DOUBT_SLOT] = its[im.DOUBT_SLOT]
                now[im.DOUBT_VALUE] = its[im.DOUBT_VALUE]
                now[im.DOUBTS] = (now[im.DOUBTS] + 1) & im.RANGE

    def _join_inverters(self, now, par, parts: Parts, dt: int) -> None:
        lost = 0
        bit = 1
        discharge = charge = 0
        self._freeze(now, parts, dt)
        joined = banks.classes(now, parts.nows, parts.pars, parts.which, parts.n)
        banks.join(now, parts.nows, parts.which, parts.n, self._inverters, len(self._inverters))
        number = 0
        for its in parts.nows:
            its[im.LIMIT_DIS] = its[im.LIMIT_CHG] = 0
            which = parts.which[number]
            number += 1
            if not which & _PCS_SEEN or its[im.PCS_STATE] == im.PCS_FAULT:
                lost |= bit
            elif which & _SWITCHES:
                its[im.LIMIT_DIS] = _rating(its[im.PCS_P_DIS], par[im.PAR_P_DIS])
                its[im.LIMIT_CHG] = _rating(its[im.PCS_P_CHG], par[im.PAR_P_CHG])
            discharge += its[im.LIMIT_DIS]
            charge += its[im.LIMIT_CHG]
            bit += bit
        now[im.PCS_P_DIS] = discharge
        now[im.PCS_P_CHG] = charge
        now[im.PARTS_LOST] = lost if joined & _PCS_SEEN else 0
        self._reserve(now, par, parts, dt)

    def _reserve(self, now, par, parts: Parts, dt: int) -> None:
        """What silent inverters may still be doing: the most they were told or did, unless the battery's current shows less."""
        last = parts.last
        silent = out = into = number = 0
        for its in parts.nows:
            told = its[im.CMD_P]
            fresh = its[im.FRESH] >> im.SEQ_PCS & 1 and its[im.PCS_P] != im.NO_VALUE
            last[2 * number] = max(0, told, its[im.PCS_P] if fresh else last[2 * number])
            last[2 * number + 1] = max(0, -told, -its[im.PCS_P] if fresh else last[2 * number + 1])
            if not parts.which[number] & _PCS_SEEN:
                silent |= 1 << number
                out += last[2 * number]
                into += last[2 * number + 1]
            number += 1
        unheard = parts.unheard
        if silent & ~parts.silent:  # one more: nothing is known of it yet
            unheard[0] = out
            unheard[1] = into
            parts.steady_ms = 0
        parts.silent = silent
        heard = now[im.PCS_P]
        if not silent or heard == im.NO_VALUE or abs(heard - parts.steady_w) > max(_STEADY_W, abs(heard) // 50):
            parts.steady_w = max(heard, -im.RANGE // 2)  # so that what is between stays a small integer
            parts.steady_ms = 0
        elif parts.steady_ms <= par[im.PAR_STALE_BMS]:  # until then a battery may report what was before
            parts.steady_ms += dt
        elif now[im.FRESH] >> im.SEQ_BMS & 1 and now[im.BMS_I] != im.NO_VALUE and now[im.BMS_V] > 0:
            shown = _ac_power(now[im.BMS_I], now[im.BMS_V], par[im.PAR_EFF]) - heard
            unheard[0] = max(0, shown)
            unheard[1] = max(0, -shown)
        unheard[0] = min(unheard[0], out)
        unheard[1] = min(unheard[1], into)
        if unheard[0] or unheard[1]:
            now[im.PCS_DC_I] = im.NO_VALUE  # of those that are heard it is not what the battery has

    def _command_devices(self, bank: Bank) -> None:
        """The bank's command to its inverters, by what each can do, and its outputs to all its devices."""
        now = bank.now
        if bank.batteries is not None:
            _copy_outputs(now, bank.batteries.nows)
        parts = bank.inverters
        if parts is None:
            return
        _copy_outputs(now, parts.nows)
        how = (_CHARGE if now[im.CMD_P] < 0 else 0) | _AT_ONCE  # the bank's ramp is theirs
        banks.portions(now, parts.nows, parts.pars, parts.n, how, _ALL)
        for its in parts.nows:
            its[im.CMD_P] = its[im.REQUEST_P]

    # ---- the site ---------------------------------------------------------------------------------------

    def gather(self, dt: int) -> None:
        """What the banks have together becomes the site's, beside its own measurements."""
        now = self._now
        par = self._par
        its = self._all
        which = its.which
        inputs.freeze(self._inp, now, dt)
        now[im.HELD_MS] = dt if dt > par[im.PAR_STALL_MS] else 0
        joined = banks.classes(now, its.nows, its.pars, which, its.n)  # an inverter that is not seen counts as a part of the load
        banks.join(now, its.nows, which, its.n, self._site, len(self._site))
        banks.state_of_charge(now, par, its.nows, its.pars, which, self._weights, its.n)
        if not joined & _CONNECTED:
            now[im.SOC_DRIFT] = now[im.SOC_KEEP_MS] = now[im.BMS_ENDS_MS] = 0

    def spread(self) -> None:
        """What the site knows, to the banks."""
        its = self._all
        banks.spread(self._now, self._par, its.nows, its.pars, its.n)

    def diagnose(self) -> int:
        """The site's own faults: meter, inputs, emergency stop; the bits that changed."""
        now = self._now
        par = self._par
        diagnosis.find_missing(now, par)
        now[im.MISSING] &= im.MISS_IO  # what a bank misses makes its own limits 0
        diagnosis.lost_devices(now, par)
        differ = now[im.CONDITIONS] != now[im.FAULTS]
        if not differ and not self._differ:
            return 0
        self._differ = differ
        return diagnosis.debounce(now, self._rows, self.fault_state, len(self._rows) // 3)

    def limit(self) -> None:
        """What each bank may give, and all of them together: after each one's rows."""
        for bank in self.banks:
            if bank.now[im.FORCED_P] and self._now[im.REQUEST_BY] != rq.ISLAND:
                bank.now[_FORBIDS] = 0  # it is to be charged
            if bank.inverters is not None and bank.inverters.silent:
                _bind_the_heard(bank.now, bank.par, bank.inverters.unheard)
            else:
                site_limits.binding(bank.now, bank.par)
        its = self._all
        banks.add_limits(self._now, its.nows, its.pars, its.n)

    def share(self) -> None:
        """After the site's ramp: its command goes to the banks in proportion to what each may give, and is what they make of it."""
        now = self._now
        its = self._all
        how = _CHARGE if now[im.CMD_P] < 0 else 0
        if now[im.REQUEST_BY] == rq.ISLAND and not now[im.GRID_OK]:
            how |= _AT_ONCE  # an island's load is there already
        turned = self.turn(how)
        rising = banks.portions(now, its.nows, its.pars, its.n, how, _ALL & ~turned)
        if rising and now[im.REST_P]:
            self.share_rest(how, rising | turned)
        if turned and not how & _CHARGE:
            self._hold_back(now[im.REST_P] - now[im.CMD_P])
        banks.take_portions(now, its.nows, its.pars, its.n)
        broken = 0
        for bank in self.banks:
            broken |= invariants.check_command(bank.now, bank.par)
        if broken:
            now[im.CMD_P] = 0
            for bank in self.banks:
                now[im.CMD_P] += bank.now[im.CMD_P]
        if now[im.SOC_LOW] <= self._par[im.PAR_SOC_MIN] and now[im.CMD_P] > 0:
            self._count_who_gives()

    def turn(self, how: int) -> int:
        """A forced charge is of the bank whose BMS asks for it: the others have no part in it, and discharge beside it.

        Gives those that have their portion by that, bits.
        """
        now = self._now
        by = now[im.REQUEST_BY]
        turned = 0
        bit = 1
        for its in self._all.nows:
            forced = its[im.FORCED_P] if by != rq.ISLAND else 0
            if how & _CHARGE:
                if by == rq.PROTECTION and not forced:
                    turned |= bit
                    its[im.REQUEST_P] = 0
            elif forced or its[im.CMD_P] < 0:
                turned |= bit
                watts = 0
                if forced and now[im.CMD_P] > 0 and its[im.MODE] == Mode.CHARGE:
                    rise = self._par[im.PAR_RAMP_UP] // 10 * its[im.DT] // 100
                    watts = min(forced, its[im.LIMIT_CHG], now[im.LIMIT_DIS], rise - min(0, its[im.CMD_P]))
                its[im.REQUEST_P] = -watts
                its[im.REQUEST_BY] = rq.PROTECTION
            bit += bit
        return turned

    def _hold_back(self, watts: int) -> None:
        """What the others do not carry of forced charges while the site discharges, so much, waits for them: together no charge."""
        for its in self._all.nows:
            if watts > 0 > its[im.REQUEST_P]:
                less = min(watts, -its[im.REQUEST_P])
                its[im.REQUEST_P] += less
                watts -= less

    def _count_who_gives(self) -> None:
        """A bank that has connected in this cycle, or serves in maintenance, was not one of those with something to give."""
        its = self._all
        number = 0
        for now in its.nows:
            if now[im.CMD_P] > 0:
                its.which[number] |= _CONNECTED
            number += 1
        banks.state_of_charge(self._now, self._par, its.nows, its.pars, its.which, self._weights, its.n)

    def share_rest(self, how: int, rising: int) -> None:
        """Banks on their way up (bits) take what their ramp lets them: the others have the rest until they are there.

        Else the power of all would fall to what the one gives that has just come back.
        """
        its = self._all
        for _ in self.banks:  # each time at least one more is found that cannot rise as far as it should
            more = banks.portions(self._now, its.nows, its.pars, its.n, how, _ALL & ~rising)
            if not more:
                return
            rising |= more

    def command(self, breach: int) -> None:
        """At the end of the cycle: to devices in parallel; 0 W where the sum breaks a rule."""
        if breach:
            for bank in self.banks:
                bank.now[im.CMD_P] = 0
        if self._parts:
            for bank in self.banks:
                if bank.parts:
                    self._command_devices(bank)


def _rating(watts: int, configured: int) -> int:
    """What an inverter may give of its bank's power; one that does not say what it can, as much as its bank is to."""
    return configured if watts == im.NO_VALUE else max(0, min(watts, _MOST_W))


def _ac_power(amps: int, volts: int, efficiency: int) -> int:
    """A battery's current (0.1 A) as its inverters' AC power, to 100 W; all on the way stays a small integer."""
    hundreds = max(-_SHOWN_DA, min(amps, _SHOWN_DA)) * volts // 10000
    return hundreds * efficiency // 10 if amps > 0 else hundreds * 1000 // efficiency * 100


def _bind_the_heard(now, par, unheard) -> None:
    """The limits of a bank of which an inverter is silent: all but the inverters' own rating is for what it may be doing too."""
    for k in (0, 1):
        row = (im.LIMIT_ROWS_CHG if k else im.LIMIT_ROWS_DIS) + _PCS_ROW
        now[row] = min(now[row], im.RANGE - unheard[k]) + unheard[k]
    site_limits.binding(now, par)
    for k in (0, 1):
        row = (im.LIMIT_ROWS_CHG if k else im.LIMIT_ROWS_DIS) + _PCS_ROW
        now[row] -= unheard[k]
        now[im.LIMIT_DIS + k] = max(0, now[im.LIMIT_DIS + k] - unheard[k])


def _copy_outputs(now, devices: list) -> None:
    for its in devices:
        its[im.CMD_RUN] = now[im.CMD_RUN]
        its[im.CMD_CONTACTOR] = now[im.CMD_CONTACTOR]
        its[im.ORDER] = now[im.ORDER]
        its[im.CMD_BALANCE] = now[im.CMD_BALANCE]
        its[im.FAULTS] = now[im.FAULTS]
        its[im.MODE] = now[im.MODE]
        its[im.GRID_OK] = now[im.GRID_OK]


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
        bank.places = {}  # type: ignore[attr-defined]  # of a site that is one bank the Site has them
        bank.batteries = [im.Image() for _ in range(batteries)] if batteries > 1 else [bank]
        bank.inverters = [im.Image() for _ in range(inverters)] if inverters > 1 else [bank]
        for each in bank.batteries + bank.inverters:
            each.par = bank.par  # a driver goes by what its bank goes by
        image.banks.append(bank)
        image.batteries += bank.batteries
        image.inverters += bank.inverters
