"""What the EMS's writable points mean: one claim, one limit, and what connects and starts; with the timers that end them.

A write marks the group of points that it belongs to; `step` takes what is marked together when the writes pause, so that of an
enable and its value, sent one after the other, neither acts alone; a setpoint that is written whole waits for nothing.  What
acts follows from the registers and nothing else, and is renewed while it stands: when this service dies, so do its claim and
limit.

A command with a reversion time ends when that has run out, and one without when the client that gave it has asked for nothing
for `silence`: each group of points has its own client and its own silence, as several may command one after the other.  What is
then in force, 704's own reversion values or nothing, stands until the next command, and says so in the name of its owner.
All of it is over when a person has the control, or another interface, but a disconnection, which ends by its own time or by who
connects; and no timer undoes what anybody has ordered since it was started.  Orders read what is in force, whoever gave it.
"""

from array import array

from micropython import const
from notice import say

from firmware import image as im
from firmware import requests as rq
from firmware.ems import curves
from firmware.ems import tables as t
from firmware.errors import PowerError
from firmware.modes import Mode
from firmware.remote import HELD_ALL, HELD_AWAY, HELD_BITS, HELD_OUT, HELD_STANDBY
from firmware.restriction import Restriction

_LIFE_MS = const(3000)  # of claim, limit and restriction
_RENEW_MS = const(1000)  # between two renewals
_LOOK_MS = const(200)  # between two looks at what changes by itself: state of charge, timers' registers
_FULL = const(10000)  # 100 %
_BELOW = const(100)  # 0.01 % below the reserve from where on it is charged
_HOLD = const(20)  # so far above it nothing is discharged any more ...
_AGAIN = const(50)  # ... until it is so far above
_CHARGES = const(1)  # bits of StorCtl_Mod: the rate of this direction is in force
_DISCHARGES = const(2)
_STANDS = const(10)  # looks until two rates that exclude each other are no longer the one of two writes
# groups that end when their timer has run out, or their client is silent: groups below this number have a timer
_TIMED = t.G_CONN + 1
_HELD = (t.G_WSET, t.G_WLIMIT, t.G_OLD_LIMIT, t.G_STORAGE, t.G_RESERVE)  # and are kept alive by what their client asks
_COMMANDED = t.G_RAMP + 1  # groups below this number have a client that commanded them
_LIMITS = ((t.G_WLIMIT, t.LIM_ENA), (t.G_OLD_LIMIT, t.OLD_ENA), (t.G_STORAGE, t.STOR_MOD))  # and what puts them in force
_RESETS = ((t.G_RESET, t.ALARM_RESET), (t.G_RESET_BATTERY, t.ALM_RST))  # what is done and over,
_SHOWN_MS = const(1000)  # and read for so long
_NOBODY = const("ems")
_LONGEST = const(64)  # characters of an owner


class Control:
    """The meaning of one chain.  access: who the clients are, see firmware.ems.access; None: all are "ems"."""

    def __init__(self, chain, pm, cycle_ms: int, silence_s: int, access=None) -> None:
        self._chain = chain
        self._pm = pm
        self._guard = access
        self._pause_ms = cycle_ms * 2 // 5  # writes that follow each other faster are one command
        self._patience_ms = cycle_ms * 4 // 5
        self._silence_ms = silence_s * 1000
        self._remote = pm.remote
        self._turn = pm.remote.turn
        self.problem = ""  # the last command that could not be carried out
        self.commander = -1  # the client that commanded last
        # of each group the client that commanded it last, by its number ...
        self._by = array("i", [-1] * _COMMANDED)
        self._names = [""] * _COMMANDED  # ... and by its name: a number is somebody else's when its connection has ended
        self._silences_ms = array("i", [0] * _COMMANDED)
        self._touched = 0  # groups that were written and not looked at yet
        self._written = False  # since the step before
        self._resets = False  # an alarm reset is among it, also one that was taken back since
        self._paused_ms = 0  # the last write
        self._waits_ms = 0  # the first of them
        self._left_ms = array("i", [0] * _TIMED)  # of each group; 0: no timer runs
        self._reverted = 0  # groups in which the reversion value is in force
        self._place = pm.remote.places
        pm.remote.places += HELD_BITS
        self._held = pm.held >> self._place & HELD_ALL  # as it was told; a reset changes nothing of it
        self._standby = self._held & HELD_STANDBY != 0  # ENTER_STANDBY
        if self._held & HELD_OUT:
            chain.registers[t.ES] = 0
        self._orders = pm.arbiter.orders  # as far as they are known here
        self._away = -1  # the same when 123 Conn disconnected; -1: it has not
        if self._held & HELD_AWAY and chain.image.now[im.ORDER] != im.ORDER_START:
            self._away = self._orders
            chain.registers[t.CONN] = 0
        self._written_at = 0  # orders when what waits to be looked at was written
        self._fills = False  # the battery is being charged to the reserve
        self._floor = self._ceiling = False  # the reserves bind
        self._over = False  # EMERGENCY stands, or a person has the control
        # the owners of the claim and the limit that stand, and of what they were made
        self._owners = [_NOBODY, _NOBODY]
        self._told_names = ["", ""]
        self._told_last = bytearray(2)
        self._claim_w = self._dis_w = self._chg_w = im.FREE  # as they stand; FREE: there is none
        self._rates_w = array("i", [im.FREE] * 3)  # of 124: what it asks for, its limits of discharge and charge
        self._crossed = 0  # looks at rates of 124 that exclude each other, up to one more than are needed to say so
        self._asks = t.G_WSET  # the group whose claim it is,
        self._binds = t.G_WLIMIT  # and that whose limit binds the most
        self._look_ms = 0
        self._renew_ms = 0
        self._ramp = chain.registers[t.RAMP]  # and ChaGriSet, as they are configured
        self._from_grid = chain.registers[t.FROM_GRID]
        self._restriction = Restriction(pm)
        self._narrows = 0  # what of the configuration is narrower: twice the ramp, + 1 without the grid; 0: nothing
        self._narrow_ms = 0

    def mode(self) -> int:
        """What the system is doing."""
        return self._chain.image.now[im.MODE]

    # ---- what a request does ----------------------------------------------------------------------------------

    def heard(self, client: int, writes: bool = False) -> None:
        """This client has asked for something: it keeps alive by it what it has commanded, also after connecting anew.

        Who was there beside it is another program, which reads and knows nothing of the command: it takes it over by writing.
        """
        guard = self._guard
        commands = False
        for group in _HELD:
            if self._by[group] >= 0 and self._is_its(group, client, writes):
                self._by[group] = client
                self._silences_ms[group] = 0
                commands = True
        if commands and guard is not None:
            guard.here(client)

    def _is_its(self, group: int, client: int, writes: bool) -> bool:
        """What was commanded of this group is this client's."""
        guard = self._guard
        before = self._by[group]
        if guard is None:
            return client == before
        name = self._names[group]
        if guard.who(client) != name:
            return False
        if client == before:
            return True
        if guard.who(before) == name and guard.role(before):
            return False  # two programs at one address, and the one that commanded is still there
        return writes or not guard.is_beside(client)

    def touch(self, groups: int, client: int, start: int = 0, count: int = 0) -> None:
        """Points of these groups (bits) have been written by this client: so many registers, kept from `start` on."""
        if groups & ~((1 << t.G_STORED) | (1 << t.G_BEAT)):
            first = not self._touched
            if first:
                self._written_at = self._pm.arbiter.orders
            self._touched |= groups
            self._written = True
            if groups >> t.G_VOLT_VAR:
                curves.adopt(self._chain.registers, groups)  # at once: who asks for the result must not read an older one
            if self._touched == 1 << t.G_WSET and (self._has_setpoint(start, start + count) or (first and start > t.SET_PCT)):
                self._waits_ms = self._patience_ms  # there is nothing to wait for
            for group, place in _RESETS:
                if groups >> group & 1 and self._chain.registers[place]:
                    self._resets = True
            self.commander = client
            guard = self._guard
            for group in range(_COMMANDED):
                if groups >> group & 1:
                    self._by[group] = client
                    self._silences_ms[group] = 0
                    if guard is not None:
                        self._names[group] = guard.who(client)
            if guard is not None:
                guard.here(client)

    def _has_setpoint(self, start: int, end: int) -> bool:
        """A write of 704 has the whole of the value that its setpoint is."""
        if self._chain.registers[t.SET_MOD]:
            return start <= t.SET_W and end >= t.SET_W + 2
        return start <= t.SET_PCT < end

    # ---- in step with the cycle ---------------------------------------------------------------------------------

    def step(self, dt: int) -> None:
        """So many ms later: take what has been written, let timers run out, renew what stands."""
        self._look_at_others()
        over = self.mode() == Mode.EMERGENCY or self.is_local() == 1
        if over:
            self._refuse()
            if not self._over:
                self._end_disconnection()
                self._give_up_all()
            if self.is_local():
                self._give_up_settings()
        elif self._touched:
            self._paused_ms = 0 if self._written else self._paused_ms + dt
            self._waits_ms += dt
            self._written = False
            if self._paused_ms >= self._pause_ms or self._waits_ms >= self._patience_ms:
                groups = self._touched
                try:
                    self._take()
                except MemoryError:
                    self._touched |= groups  # was accepted: the next step takes it
                    raise
        self._over = over
        self._run_down(dt)
        self._hold()
        self._look_ms -= dt
        self._renew_ms = max(0, self._renew_ms - dt)
        self._narrow_ms = max(0, self._narrow_ms - dt)
        if self._look_ms <= 0 and not self._touched:  # what waits for more does not act yet
            self._look_ms = _LOOK_MS
            self._chain.own[t.O_LOCAL] = self.is_local()
            self._show_times()
            self._show_orders()
            self._act()

    def is_local(self) -> int:
        """1 while a person has the control: said so, or by MAINTENANCE."""
        return 1 if self._pm.is_local or self.mode() == Mode.MAINTENANCE else 0

    def _look_at_others(self) -> None:
        """What a person, or another interface, has done since the last look."""
        if self.has_lost():
            self.lose()
        self._turn = self._remote.turn
        if self._orders == self._pm.arbiter.orders:
            return
        self._orders = self._pm.arbiter.orders
        self._end_disconnection()
        registers = self._chain.registers
        if self._reverted >> t.G_WSET & 1 and registers[t.SET_ENA]:
            registers[t.SET_ENA] = 0  # the setpoint of who is silent does not outlive a stop
        if self._chain.image.now[im.ORDER] == im.ORDER_RESET:
            self._give_up_all()  # of an emergency that came and went between two looks

    def has_lost(self) -> bool:
        """The control was taken from us since the last look: to be asked before it is taken again."""
        return self._turn != self._remote.turn and self._remote.holder is not self._guard

    def lose(self) -> None:
        """All is over that was commanded before."""
        self._give_up_all()
        self._give_up_settings()

    def pending(self) -> bool:
        """Something has been written that waits to be looked at."""
        return self._touched != 0

    def _take(self) -> None:
        """What has been written since the last look."""
        groups = self._touched
        registers = self._chain.registers
        self._touched = 0
        self._waits_ms = 0
        if self._written_at != self._pm.arbiter.orders:
            groups &= ~self._starts()  # somebody has ordered something else since it was written
        if groups:
            self._end_last_words(groups)
        for group in _HELD:
            if groups >> group & 1:
                self._left_ms[group] = self._seconds(group) * 1000
                self._reverted &= ~(1 << group)
        if groups >> t.G_CONN & 1:
            self._connect(registers[t.CONN])
        if groups >> t.G_SET_OP & 1:
            self._switch(registers[t.SET_OP] == 1)
        if groups >> t.G_OP_CTL & 1:
            self._operate(registers[t.OP_CTL])
        if self._resets and groups & ((1 << t.G_RESET) | (1 << t.G_RESET_BATTERY)):
            self._reset()
        self._resets = False
        self._look_ms = 0

    def _starts(self) -> int:
        """Groups whose orders, as they are written, let more go on; what stops counts whoever has ordered something since."""
        registers = self._chain.registers
        found = (1 << t.G_RESET) | (1 << t.G_RESET_BATTERY)
        if registers[t.CONN]:
            found |= 1 << t.G_CONN
        if registers[t.SET_OP] == 1:
            found |= 1 << t.G_SET_OP
        if registers[t.OP_CTL] & 1:
            found |= 1 << t.G_OP_CTL
        return found

    def _end_last_words(self, groups: int) -> None:
        """Reversion values are for as long as nobody commands: any command, whoever gives it, ends those that it does not write."""
        registers = self._chain.registers
        if not groups >> t.G_WSET & 1 and self._is_last_word(t.G_WSET):
            registers[t.SET_ENA] = 0
        if not groups >> t.G_WLIMIT & 1 and self._is_last_word(t.G_WLIMIT):
            registers[t.LIM_ENA] = 0

    def _seconds(self, group: int) -> int:
        """The reversion time of a group; 0: none."""
        registers = self._chain.registers
        if group == t.G_WSET:
            return self._chain.long(t.SET_TMS) if registers[t.SET_ENA] else 0
        if group == t.G_WLIMIT:
            return self._chain.long(t.LIM_TMS) if registers[t.LIM_ENA] else 0
        if group == t.G_OLD_LIMIT:
            return registers[t.OLD_TMS] if registers[t.OLD_ENA] else 0
        if group == t.G_STORAGE:
            return registers[t.RATE_TMS] if registers[t.STOR_MOD] else 0
        return 0

    def _connect(self, wanted: int) -> None:
        """123 Conn: disconnecting stops, and only who was disconnected by it is started by it."""
        if not wanted:
            self._left_ms[t.G_CONN] = self._chain.registers[t.CONN_TMS] * 1000
            if self._away < 0 and self._chain.image.now[im.ORDER] == im.ORDER_START:
                after = self._pm.arbiter.orders + 1
                if self._try(self._remote.stop):
                    self._away = after
        else:
            after = self._away
            self._end_disconnection()
            if after >= 0:
                self._try(self._remote.start, after)

    def _end_disconnection(self) -> None:
        self._left_ms[t.G_CONN] = 0
        self._away = -1
        if not self._touched >> t.G_CONN & 1:
            self._chain.registers[t.CONN] = 1

    def _switch(self, on: bool) -> None:
        """Start or stop, and what 123 had disconnected stays so or is started by this."""
        self._end_disconnection()
        self._try(self._remote.start if on else self._remote.stop)

    def _operate(self, wanted: int) -> None:
        """715 OpCtl: 0 STOP, 1 START, 2 ENTER_STANDBY, 3 EXIT_STANDBY."""
        self._standby = wanted == 2
        if wanted < 2:
            self._switch(wanted == 1)

    def _reset(self) -> None:
        """Let go of what is latched: an emergency whose cause is gone, but a person's own, and restarts that are used up."""
        if self.mode() == Mode.EMERGENCY and self._pm.emergency_cause < 0:
            self.problem = "the emergency was commanded: reset_emergency() is a person's"
            say("ems: " + self.problem)
        elif self.mode() == Mode.EMERGENCY:
            self._try(self._pm.reset_emergency)
        elif self._chain.image.now[im.ORDER] == im.ORDER_SPENT:
            self._try(self._remote.start)

    def _try(self, what, *given) -> bool:
        before = self._pm.arbiter.orders
        try:
            what(*given)
        except PowerError as error:
            self.problem = str(error)
            say("ems: " + self.problem)
            return False
        self._orders += min(1, self._pm.arbiter.orders - before)  # ours; what another thread has ordered meanwhile is seen
        return True

    # ---- lifetimes --------------------------------------------------------------------------------------------------

    def _run_down(self, dt: int) -> None:
        """Timers, and the silence of the client that commanded it, which ends what has no timer."""
        left = self._left_ms
        silences = self._silences_ms
        registers = self._chain.registers
        for group in _HELD:
            silences[group] = min(silences[group] + dt, self._silence_ms + 1)
        for group in _HELD:
            if self._touched >> group & 1:
                continue  # it has just been written anew
            if left[group]:
                left[group] = max(0, left[group] - dt)
                if not left[group]:
                    self._revert(group)
            elif silences[group] > self._silence_ms and not self._reverted >> group & 1:
                self._revert(group)
        for group, place in _RESETS:
            silences[group] = min(silences[group] + dt, _SHOWN_MS)
            if silences[group] == _SHOWN_MS:
                registers[place] = 0
        if left[t.G_CONN] and not self._touched >> t.G_CONN & 1:
            left[t.G_CONN] = max(0, left[t.G_CONN] - dt)
            if not left[t.G_CONN]:
                if self._away >= 0:
                    self._note(t.G_CONN, "123 Conn reversion", 1)
                self._connect(1)

    def _revert(self, group: int) -> None:
        """The command of a group has ended: its reversion value is in force, or nothing."""
        registers = self._chain.registers
        self._reverted |= 1 << group
        self._look_ms = 0
        if group == t.G_WSET:
            if registers[t.SET_ENA] and registers[t.SET_ENA_RVRT]:
                registers[t.SET_W] = registers[t.SET_RVRT]
                registers[t.SET_W + 1] = registers[t.SET_RVRT + 1]
                registers[t.SET_PCT] = registers[t.SET_PCT_RVRT]
                if registers[t.SET_MOD]:
                    self._note(group, "704 WSet reversion", self._chain.long(t.SET_W))
                else:
                    self._note(group, "704 WSetPct reversion", self._chain.signed(t.SET_PCT))
            else:
                registers[t.SET_ENA] = 0
        elif group == t.G_WLIMIT:
            if registers[t.LIM_ENA] and registers[t.LIM_ENA_RVRT]:
                registers[t.LIM_PCT] = registers[t.LIM_RVRT]
                self._note(group, "704 WMaxLimPct reversion", registers[t.LIM_PCT])
            else:
                registers[t.LIM_ENA] = 0
        elif group == t.G_OLD_LIMIT:
            registers[t.OLD_ENA] = 0
        elif group == t.G_STORAGE:
            registers[t.STOR_MOD] = 0
            registers[t.FROM_GRID] = self._from_grid
        else:
            registers[t.RSV_MIN] = self._chain.image.par[im.PAR_SOC_MIN]
            registers[t.RSV_MAX] = self._chain.image.par[im.PAR_SOC_MAX]

    def _note(self, group: int, point: str, value: int) -> None:
        """For the journal: what stands from now on without anybody's asking."""
        self._remote.commands.note(self._names[group] or _NOBODY, True, point, value)

    def _refuse(self) -> None:
        """In EMERGENCY nothing but a reset acts, and when a person has the control nothing."""
        self._touched &= 0 if self.is_local() else (1 << t.G_RESET) | (1 << t.G_RESET_BATTERY)
        if self._touched:
            self._take()
        self._written = self._resets = False
        self._waits_ms = 0

    def _give_up_all(self) -> None:
        """What was commanded is over, and does not come back when the emergency or the person's control ends."""
        self._standby = False
        registers = self._chain.registers
        registers[t.SET_ENA_RVRT] = registers[t.LIM_ENA_RVRT] = 0
        for group in _HELD:
            self._left_ms[group] = 0
            self._revert(group)

    def _give_up_settings(self) -> None:
        """What has no end of its own: the permit of 703, which an emergency leaves as it is, and the ramp."""
        self._chain.registers[t.ES] = 1
        self._chain.registers[t.RAMP] = self._ramp

    def _show_times(self) -> None:
        """The remaining seconds that the EMS reads."""
        own = self._chain.own
        own[t.O_SET_REM] = (self._left_ms[t.G_WSET] + 999) // 1000
        own[t.O_LIM_REM] = (self._left_ms[t.G_WLIMIT] + 999) // 1000

    def _show_orders(self) -> None:
        """802 SetOp and 715 OpCtl as they stand, whoever has started or stopped."""
        registers = self._chain.registers
        on = self._chain.image.now[im.ORDER] == im.ORDER_START and self.mode() != Mode.EMERGENCY
        registers[t.SET_OP] = 1 if on else 2
        if self._standby:
            registers[t.OP_CTL] = 2
        elif not on or registers[t.OP_CTL] != 3:
            registers[t.OP_CTL] = 1 if on else 0

    def _hold(self) -> None:
        """What outlives a reset is told when it changes."""
        held = (0 if self._chain.registers[t.ES] else HELD_OUT) | (HELD_STANDBY if self._standby else 0)
        if self._away >= 0:
            held |= HELD_AWAY
        if held != self._held and not self._touched:
            self._held = held
            self._remote.hold(held, self._place)

    def end(self) -> None:
        """The service ends: the site is as it is configured, and what was commanded is over, until the next start."""
        self._end_disconnection()
        self._give_up_all()
        self._give_up_settings()
        self._act()

    # ---- what stands --------------------------------------------------------------------------------------------------

    def _act(self) -> None:
        """One claim and one limit of what the registers say; told to the manager when they change, and to renew them."""
        rates = self._rates_w
        self._rate()
        wanted, discharge, charge = rates[0], rates[1], rates[2]
        fills = self._reserves()
        registers = self._chain.registers
        par = self._chain.image.par
        self._binds = t.G_STORAGE
        if self._floor or self._ceiling:
            self._binds = t.G_RESERVE
            discharge = 0 if self._floor else discharge
            charge = 0 if self._ceiling else charge
        discharge = self._least(t.G_WLIMIT, discharge, self._most(t.LIM_ENA, t.LIM_PCT))
        discharge = self._least(t.G_OLD_LIMIT, discharge, self._most(t.OLD_ENA, t.OLD_PCT))
        if self._standby or not registers[t.ES]:
            self._binds = t.G_OP_CTL if self._standby else t.G_ENTER
            discharge = charge = 0
        self._asks = t.G_RESERVE if wanted == im.FREE else t.G_STORAGE
        if registers[t.SET_ENA]:
            self._asks = t.G_WSET
            percent = self._chain.signed(t.SET_PCT) * par[im.PAR_P_DIS] // _FULL
            wanted = self._chain.long(t.SET_W) if registers[t.SET_MOD] else percent
        elif wanted == im.FREE and fills:
            wanted = -par[im.PAR_P_CHG]
        if wanted != im.FREE:
            wanted = max(-par[im.PAR_P_CHG], min(par[im.PAR_P_DIS], wanted))
        self._narrow()
        self._chain.own[t.O_CONTROLS] = 0 if wanted == im.FREE else 1
        self._tell(wanted, discharge, charge)

    def _rate(self) -> None:
        """124, into _rates_w; a rate below 0 asks for the other direction."""
        registers = self._chain.registers
        par = self._chain.image.par
        wanted = discharge = charge = im.FREE
        mode = registers[t.STOR_MOD]
        if mode & _DISCHARGES:
            rate = self._chain.signed(t.OUT_RATE)
            discharge = max(0, rate * par[im.PAR_P_DIS] // _FULL)
            if rate < 0:
                wanted = rate * par[im.PAR_P_CHG] // _FULL
        if mode & _CHARGES:
            rate = self._chain.signed(t.IN_RATE)
            charge = max(0, rate * par[im.PAR_P_CHG] // _FULL)
            if rate < 0 and wanted == im.FREE:
                wanted = -rate * par[im.PAR_P_DIS] // _FULL
        self._crossed = min(self._crossed + 1, _STANDS + 1) if wanted != im.FREE and discharge == charge == 0 else 0
        if self._crossed == _STANDS:
            self.problem = "124: what one of OutWRte and InWRte asks for the other bounds to 0 W"
            say("ems: " + self.problem)
        rates = self._rates_w
        rates[0] = wanted
        rates[1] = discharge
        rates[2] = charge

    def _reserves(self) -> bool:
        """802: whether a reserve above the state of charge is to be charged; sets whether a reserve binds."""
        registers = self._chain.registers
        par = self._chain.image.par
        soc = self._chain.image.now[im.SOC]
        low = registers[t.RSV_MIN]
        high = registers[t.RSV_MAX]
        if soc == im.NO_VALUE:
            self._fills = False
            return False
        self._floor = low > par[im.PAR_SOC_MIN] and soc <= low + (_AGAIN if self._floor else _HOLD)
        self._ceiling = high < par[im.PAR_SOC_MAX] and soc > high - (_AGAIN if self._ceiling else 0)
        target = min(low, par[im.PAR_SOC_MAX])
        self._fills = low > par[im.PAR_SOC_MIN] and soc < target - (0 if self._fills else _BELOW)
        return self._fills

    def _most(self, enable: int, percent: int) -> int:
        """A limit of the discharge in percent of the configured power, in W."""
        registers = self._chain.registers
        return registers[percent] * self._chain.image.par[im.PAR_P_DIS] // _FULL if registers[enable] == 1 else im.FREE

    def _least(self, group: int, discharge: int, most: int) -> int:
        """What is left of the discharge by this group's limit."""
        if most >= discharge:
            return discharge
        self._binds = group
        return most

    def _narrow(self) -> None:
        """704 WRmp and 124 ChaGriSet: told to the manager when they change, and to renew them."""
        registers = self._chain.registers
        ramp = registers[t.RAMP]
        grid = registers[t.FROM_GRID]
        narrows = 0 if ramp == self._ramp and grid == self._from_grid else 2 * ramp + grid
        if narrows != self._narrows or (narrows and self._narrow_ms <= 0):
            self._narrows = narrows
            self._narrow_ms = _RENEW_MS
            if narrows:
                rate = im.FREE if ramp == self._ramp else max(1, ramp * self._chain.image.par[im.PAR_P_DIS] // 100)
                self._restriction.put(self._named(t.G_STORAGE if rate == im.FREE else t.G_RAMP), rate, grid, _LIFE_MS)
            else:
                self._restriction.end()

    def _named(self, group: int) -> str:
        who = self._names[group]
        return (_NOBODY + " " + who)[:_LONGEST] if who else _NOBODY

    def _is_last_word(self, group: int) -> bool:
        """What is in force of this group is its reversion value."""
        enable = t.SET_ENA if group == t.G_WSET else t.LIM_ENA
        return group <= t.G_WLIMIT and self._reverted >> group & 1 == 1 and self._chain.registers[enable] == 1

    def _is_renamed(self, at: int, group: int) -> bool:
        """The claim (0) or the limit (1) is another client's than the manager was told, or is its last word now."""
        return self._told_names[at] != self._names[group] or self._told_last[at] != self._is_last_word(group)

    def _rename(self, at: int, group: int) -> None:
        last = self._is_last_word(group)
        self._told_names[at] = self._names[group]
        self._told_last[at] = last
        named = self._named(group)
        self._owners[at] = named[: _LONGEST - len(rq.LAST_WORD)] + rq.LAST_WORD if last else named

    def _tell(self, wanted: int, discharge: int, charge: int) -> None:
        due = self._renew_ms <= 0
        if due:
            self._renew_ms = _RENEW_MS
        try:
            self._tell_limit(discharge, charge, due)
            self._tell_claim(wanted, due)
        except PowerError as error:  # all places are taken
            self.problem = str(error)

    def _tell_claim(self, watts: int, due: bool) -> None:
        if watts == im.FREE:
            self._release()
            return
        if self._is_renamed(0, self._asks):
            self._release()
            self._rename(0, self._asks)
        if due or watts != self._claim_w:
            owner = self._owners[0]
            self._remote.claim(watts, _LIFE_MS, owner)
            self._claim_w = watts
            self._pm.arbiter.claims.lasts(rq.REMOTE, owner, self._left_ms[self._asks] or rq.FOREVER)

    def _tell_limit(self, discharge: int, charge: int, due: bool) -> None:
        if discharge == charge == im.FREE:
            self._unbind()
            return
        if self._is_renamed(1, self._binds):
            self._unbind()
            self._rename(1, self._binds)
        if due or discharge != self._dis_w or charge != self._chg_w:
            owner = self._owners[1]
            self._remote.limit(owner, discharge, charge, _LIFE_MS)
            self._dis_w = discharge
            self._chg_w = charge
            self._pm.arbiter.curtailments.lasts(owner, self._limit_left())

    def _limit_left(self) -> int:
        """ms for which the limit lasts; FOREVER: nobody knows, or of several that are one limit each ends at its own time."""
        registers = self._chain.registers
        if self._floor or self._ceiling or self._standby or not registers[t.ES]:
            return rq.FOREVER
        left = 0
        for group, enable in _LIMITS:
            if registers[enable]:
                if left:
                    return rq.FOREVER
                left = self._left_ms[group] or rq.FOREVER
        return left or rq.FOREVER

    def _release(self) -> None:
        if self._claim_w != im.FREE:
            self._pm.release("remote", self._owners[0])
            self._claim_w = im.FREE  # once it is: what a full heap has kept from it is done at the next look

    def _unbind(self) -> None:
        if self._dis_w != im.FREE or self._chg_w != im.FREE:
            self._remote.limit(self._owners[1], im.FREE, im.FREE)
            self._dis_w = self._chg_w = im.FREE
