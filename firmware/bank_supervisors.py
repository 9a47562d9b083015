"""The mode machines of a site of several banks: each bank's own, and the site's over them.

A bank trips, restarts and opens its contactors by itself and leaves the others to go on; an emergency is everybody's.
"""

from firmware import image as im
from firmware import requests as rq
from firmware import supervisor as sv
from firmware.cycle import Bank
from firmware.errors import PowerError
from firmware.event_codes import Event
from firmware.kernel import banks
from firmware.modes import Mode
from firmware.supervisor import CONNECTED, Supervisor


class BankEvents:
    """A bank's events among the site's: faults with 32 x the bank's number, which begins at 1, and its modes as BANK_CHANGE."""

    def __init__(self, events, number: int) -> None:
        self._events = events
        self._its = 32 * number

    def post(self, event: int, data: int, at_s: int) -> None:
        """As Events.post; what is the site's alone is left to the site."""
        if event == Event.MODE_CHANGE:
            self._events.post(Event.BANK_CHANGE, data + self._its, at_s)
        elif Event.FAULT_RAISED <= event <= Event.COMMS_RESTORED:
            self._events.post(event, data + self._its, at_s)
        elif event != Event.EMERGENCY:
            self._events.post(event, data, at_s)


class ParallelSupervisor(Supervisor):
    """The mode machine of a bank whose batteries are in parallel: what flows from one into another is a current too."""

    def __init__(self, image, fields: dict, events) -> None:
        super().__init__(image, fields, events)
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


class SiteSupervisor(Supervisor):
    """The mode machine of a site of several banks: each bank has its own, for its faults, restarts and contactors.

    The site is connected while one bank is; a bank that trips leaves the others to go on, and comes back by its own rule.
    (super() would allocate in the cycle.)
    """

    def __init__(self, image, fields: dict, events, banks: list) -> None:
        self._banks = banks
        self._nows = [bank.now for bank in banks]
        self._served = None  # the name of the only bank that service() is about
        super().__init__(image, fields, events)

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

    def service(self, contactor: bool, pcs: bool, ms: int, bank=None) -> None:
        """See Supervisor.service: all banks, or the one of that name, and the others are off."""
        Supervisor.service(self, contactor, pcs, ms)
        self._served = bank
        for each in self._banks:
            if self._serves(each):
                each.states.service(contactor, pcs, ms)
            else:
                each.states.service(False, False, 0)

    def _serves(self, bank: Bank) -> bool:
        return self._served is None or self._served == bank.image.name

    def moving(self) -> str:
        """See Supervisor.moving: the first bank that does."""
        for bank in self._banks:
            text = bank.states.moving()
            if text:
                return "bank %s: %s" % (bank.image.name, text)
        return ""

    def tripping(self, bank=None) -> int:
        """See Supervisor.tripping: of the site and every bank."""
        names = [each.image.name for each in self._banks]
        if bank is not None and bank not in names:
            raise PowerError("bank = %r: the banks are %s" % (bank, ", ".join(names)))
        found = super().tripping()
        for each in self._banks:
            if bank is None or bank == each.image.name:
                found |= each.states.tripping()
        return found

    def emergency_causes(self) -> int:
        """See Supervisor.emergency_causes: of the site and every bank."""
        found = super().emergency_causes()
        for bank in self._banks:
            found |= bank.states.emergency_causes()
        return found

    def named(self, bits: int) -> str:
        """See Supervisor.named: a bank's with its name."""
        told = [super().named(bits)]
        for bank in self._banks:
            text = bank.states.named(bits)
            told.append("%s of bank %s" % (text, bank.image.name) if text else "")
        return ", ".join([text for text in told if text])

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
        order = now[im.ORDER]
        if order == im.ORDER_START and (
            self.stop_ms >= 0 or now[im.MODE] >= Mode.EMERGENCY or now[im.RESTART_MS] > 0 or now[im.FAULTS] & self._trip_mask
        ):
            order = im.ORDER_NONE
        decided = sv.NOTHING
        if banks.rest(self._nows, len(self._nows), order, dt):
            decided = self._step_banks(dt)
        decided |= Supervisor.step(self, dt)
        if decided & sv.UNSERVED:
            self._end_service()
        return decided

    def _step_banks(self, dt: int) -> int:
        """Each bank's own step; without a connected one the site stands by, and once all are spent it is spent too."""
        now = self._now
        decided = sv.NOTHING
        connected = False
        spent = 0
        for bank in self._banks:
            its = bank.states.step(dt)
            if its & sv.UNSERVED and self._serves(bank):
                decided |= sv.UNSERVED
            if bank.now[im.ORDER] == im.ORDER_SPENT:
                spent += 1
            elif bank.now[im.MODE] in CONNECTED:
                connected = True
        if now[im.MODE] in CONNECTED and not connected:
            self.enter(Mode.STANDBY)
        if spent == len(self._banks) and now[im.ORDER] == im.ORDER_START:
            now[im.ORDER] = im.ORDER_SPENT
            decided |= sv.SPENT
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
        for its in self._nows:
            if its[im.MODE] != mode or its[im.FORCED_P]:
                self._let_follow(mode)
                return

    def _let_follow(self, mode: int) -> None:
        direction = 0
        if mode == Mode.CHARGE:
            direction = -1
        elif mode == Mode.DISCHARGE:
            direction = 1
        for bank in self._banks:
            if direction > 0 and bank.now[im.FORCED_P] and self._now[im.REQUEST_BY] != rq.ISLAND:
                bank.states.follow(-1)  # it is charged beside those that discharge
            elif bank.now[im.MODE] != mode:
                bank.states.follow(direction)

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
