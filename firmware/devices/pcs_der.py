"""The newer SunSpec dialect of an inverter: DER models 701, 702, 704, 714 and 715.

Signs are SunSpec's own: 701 W and 704 WSet are positive for discharge.
"""

import time

from micropython import const

from firmware import image as im
from firmware.devices import sunspec_tables as t
from firmware.devices.pcs_dialect import STATES, Dialect
from firmware.devices.sunspec_chain import NeedsPerson
from firmware.devices.sunspec_numbers import truncate_to_scale
from firmware.modes import Mode

_HEARTBEAT_MS = const(1000)  # 715: "incremented every second by the controller"
_DC_MS = const(4000)  # and some turns: what the DC side said so long ago stands beside nothing that is so now
_STOP = const(0)  # 715 OpCtl
_START = const(1)
_LARGEST = const(2147483647)  # of 704 WSet
_RESET_MS = const(5000)  # an alarm stands so long before it is reset, and so long after that once more, each time twice as long,
_RESET_MOST_MS = const(600000)  # up to this


def _reset() -> tuple:
    return (1,)


class Der(Dialect):
    """Models 7xx."""

    _beat = 0  # counted on whatever is forgotten

    async def place(self) -> None:
        """Find the blocks that this device has.  Raises ModbusError if it lacks the measurement."""
        sun = self.sun
        self.main = sun.block(t.PCS_AC)
        if self.main is None:
            raise NeedsPerson("model 701 is too short")
        self._dc_ms = time.ticks_ms()  # when 714 came last
        self._scale = im.NO_VALUE  # of the setpoint as it was written
        self._fault_ms = self._reset_ms = self._dc_ms  # when it stood in no fault last, and its alarms were reset last
        self._reset_after_ms = 0  # not again for so long
        self._set = self.before_writing(t.PCS_SET)
        self._control = self.before_writing(t.CONTROLLER)
        await self.add_slow(t.PCS_CAPACITY, 2000, self._take_capacity)
        await self.add_slow(t.PCS_DC, 200, self._take_dc)
        await self.add_slow(t.PCS_SET, 500, self._take_setpoint)
        await self.add_slow(t.PCS_HEAT, 2000, self.take_heat)

    def forget(self) -> None:
        """Nothing is known of what the PCS was told: everything is written again."""
        Dialect.forget(self)
        self._beat_ms = time.ticks_add(time.ticks_ms(), -_HEARTBEAT_MS)

    # ---- measuring -------------------------------------------------------------------------------------
    def take(self) -> None:
        """The AC block into the image."""
        values = self.sun.values
        inp = self.image.inp
        state = values[t.X_STATE]
        if 0 <= state < len(STATES):
            inp[im.PCS_STATE] = STATES[state]
        elif values[t.X_ON] == im.NO_VALUE:
            inp[im.PCS_STATE] = im.NO_VALUE
        else:
            inp[im.PCS_STATE] = im.PCS_RUNNING if values[t.X_ON] else im.PCS_OFF
        self.copy((im.PCS_P, im.PCS_Q, im.PCS_I, im.PCS_HZ, im.PCS_ALARM, im.PCS_GRID))
        self.take_voltage()
        if time.ticks_diff(time.ticks_ms(), self._dc_ms) > _DC_MS + 8 * self.options["period_ms"]:
            inp[im.PCS_DC_V] = inp[im.PCS_DC_I] = inp[im.PCS_DC_P] = im.NO_VALUE
        self.image.heard(im.SEQ_PCS)

    def _take_capacity(self) -> None:
        """What it can do now: its rating, or the setting that derates it; charging falls back on the same."""
        inp = self.image.inp
        inp[im.PCS_P_DIS] = self.least(im.PCS_P_DIS, t.X_W_RTG, t.X_W_MAX, t.X_DIS_RTG, t.X_DIS_MAX)
        inp[im.PCS_S_MAX] = self.least(im.PCS_S_MAX, t.X_VA_RTG, t.X_VA_MAX)
        charge = self.least(im.PCS_P_CHG, t.X_CHG_RTG, t.X_CHG_MAX)
        inp[im.PCS_P_CHG] = charge if charge != im.NO_VALUE else self.least(im.PCS_P_CHG, t.X_W_RTG, t.X_W_MAX)

    def _take_dc(self) -> None:
        self._dc_ms = time.ticks_ms()
        self.copy((im.PCS_DC_V, im.PCS_DC_I, im.PCS_DC_P))

    def _take_setpoint(self) -> None:
        values = self.sun.values
        enabled = values[t.X_SET_ENA] == 1 and values[t.X_SET_MOD] == 1
        self.image.inp[im.PCS_SETPOINT] = values[im.PCS_SETPOINT] if enabled else im.NO_VALUE
        if self.sent is not None and values[t.X_SET_SF] != self._scale:
            self.outdated = True

    # ---- commanding ------------------------------------------------------------------------------------
    def _rests(self) -> bool:
        values = self.sun.values
        return self._set is not None and (values[t.X_SET_ENA] == 0 or values[im.PCS_SETPOINT] == 0)

    async def operate(self, refresh: bool, asleep: bool) -> None:
        """Start or stop, and the heartbeat."""
        if self._control is None:
            return
        now = time.ticks_ms()
        again = self.tries_again(refresh) or asleep
        resets = self._is_reset_due(now)
        if self.run() != self.sent_run or again or resets or self.beating(now):
            await self.keep_up()
            await self.read_before(self._control)
        if resets:
            await self.write_beside("715 AlarmReset", self._control.address + t.ALARM_RESET, _reset)
        run = self.run()
        if run != self.sent_run or again:
            await self.write_beside("715 OpCtl", self._control.address + t.OP_CTL, self._op_ctl)
            self.sent_run = self._run_written
        if self.beating(now):
            self._beat_ms = now
            self._beat = (self._beat + 1) & 0xFFFF
            await self.write_beside("715 ControllerHb", self._control.address + t.CONTROLLER_HB, self._heartbeat)

    def _is_reset_due(self, now: int) -> bool:
        """It is to run and stands in fault: an alarm that it keeps until it is reset would keep the site from ever starting it.

        Often enough for the restarts that the site has, seldom enough for what fails again and again.
        """
        command = self.image.now
        if self.image.inp[im.PCS_STATE] != im.PCS_FAULT:
            self._fault_ms = now
        elif command[im.ORDER] == im.ORDER_START and command[im.MODE] < Mode.EMERGENCY:
            since_ms = time.ticks_diff(now, self._reset_ms)
            after_ms = self._reset_after_ms
            stands = not 0 <= time.ticks_diff(now, self._fault_ms) < _RESET_MS
            if stands and not 0 <= since_ms < after_ms:
                self._reset_after_ms = min(2 * after_ms, _RESET_MOST_MS) if 0 <= since_ms < 2 * after_ms else _RESET_MS
                self._reset_ms = now
                return True
        return False

    def _op_ctl(self) -> tuple:
        self._run_written = self.run()
        return (_START if self._run_written else _STOP,)

    def _heartbeat(self) -> tuple:
        return 0, self._beat

    def _setpoint(self) -> tuple:
        """WSet as commanded now."""
        self._written = self.scaled(self.watts())
        return self._written >> 16, self._written

    def _whole_setpoint(self) -> tuple:
        """WSetEna; WSetMod: watts; WSet."""
        return (1, 1) + self._setpoint()

    def beating(self, now: int) -> bool:
        """The heartbeat of model 715 is due."""
        return self._control is not None and time.ticks_diff(now, self._beat_ms) >= _HEARTBEAT_MS

    async def write_power(self, refresh: bool) -> None:
        """The setpoint, at the scale factor that is in force now."""
        if self._set is None:
            return
        self.outdated = False
        await self.read_before(self._set)
        values = self.sun.values
        scale = values[t.X_SET_SF]
        if scale == im.NO_VALUE or values[im.PCS_SETPOINT] == im.NO_VALUE:
            where = self._set.place_of(im.PCS_SETPOINT)
            raise NeedsPerson("%s: WSet is not implemented, it can be measured, not commanded" % where)
        address = self._set.address
        first = self.sent is None or scale != self._scale
        whole = refresh or first
        if first and values[t.X_RVRT_S] != im.NO_VALUE:
            await self._write_timer(address)
        self._scale = scale
        self._setpoint()
        if whole:  # setpoint, mode and enable in one write, so that no old setpoint acts in between
            await self.write_current(address + t.WSET_ENA, self._whole_setpoint, False)
        elif self._written != self.sent:
            await self.write_current(address + t.WSET, self._setpoint, False)
        self.sent = self._written
        if whole and not first and values[t.X_RVRT_S] != im.NO_VALUE:  # the same as before: it keeps no setpoint waiting
            await self._write_timer(address, True)

    def scaled(self, watts: int) -> int:
        """WSet, as a whole number."""
        return truncate_to_scale(watts, self._scale, _LARGEST)

    async def _write_timer(self, address: int, again: bool = False) -> None:
        timer_s = self.options["reversion_s"]
        if timer_s:
            await self.write_timer(address + t.WSET_RVRT, 0, 0)
            if again:
                await self.keep_up()
            await self.write_timer(address + t.WSET_ENA_RVRT, 1, timer_s >> 16, timer_s)  # 1: stay enabled, at WSetRvrt
