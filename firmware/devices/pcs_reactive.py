"""Hands a reactive setpoint to a SunSpec inverter: 704 VarSet, or 123 in percent.  Loaded where the option `reactive` says so.

CMD_Q is 0 while nobody asks, and then nothing is read or written here: whatever power factor or curve the inverter is set to
is its owner's.  What it was set to is read before the first setpoint, and put back once CMD_Q is 0 again or it may not
switch; where it has a reversion timer it does so by itself when this controller falls silent.  One that refuses is commanded its
power all the same.  Positive injects (SunSpec's own sign).
"""

from micropython import const

from firmware import image as im
from firmware.devices import sunspec_tables as t
from firmware.devices.sunspec_chain import NeedsPerson
from firmware.devices.sunspec_numbers import truncate_to_scale
from modbus import ModbusError, ModbusRefused

_VARS = const(4)  # 704 VarSetMod
_OF_W = const(1)  # 123 VArPct_Mod: percent of WMax
_OF_VAR = const(2)  # percent of VArMax
_LARGEST_32 = const(2147483647)
_LARGEST_16 = const(32767)
_UNKNOWN = const(-1073741824)  # no command


class Reactive:
    """The reactive side of one inverter; a subclass knows its model."""

    def __init__(self, dialect, table: tuple) -> None:
        self.dialect = dialect
        self.block = dialect.before_writing(table)
        self.values = dialect.sun.values
        self.own = None  # enable, mode and setpoint of before, while there is a setpoint of ours
        self._usable = self.block is not None
        self._refused = ""  # what was said
        self._told = 0  # var as commanded when it was asked for last
        self.forget()

    def _is_there(self) -> bool:
        """The model has all that is needed, as it was just read."""
        raise NotImplementedError

    def _mode(self) -> int:
        """What a setpoint of ours is counted in."""
        raise NotImplementedError

    def _setpoint(self) -> tuple:
        """The registers of the setpoint as commanded now."""
        raise NotImplementedError

    def _own_setpoint(self) -> tuple:
        """The same as it was before."""
        raise NotImplementedError

    async def _write_setpoint(self, current) -> None:
        raise NotImplementedError

    async def _write_mode(self, enable: int, mode: int) -> None:
        raise NotImplementedError

    async def _write_timer(self, enable: int, timer_s: int) -> None:
        raise NotImplementedError

    def forget(self) -> None:
        """Nothing is known of what the inverter was told: it is written again, if there is anything to write."""
        self._vars = _UNKNOWN

    def vars(self) -> int:
        """var as commanded now, 0 while it may not switch."""
        now = self.dialect.image.now
        self._told = now[im.CMD_Q] if now[im.CMD_RUN] else 0
        return self._told

    def due(self) -> bool:
        """There is something to write.  Allocates nothing."""
        wanted = self.vars()
        return self._usable and wanted != self._vars and (wanted != 0 or self.own is not None)

    async def command(self, refresh: bool) -> None:
        """Write the setpoint, or put back what was there, where the inverter says something else or it is time to."""
        asked = self.own is not None or self.vars() != 0
        if not (self.due() or (refresh and asked and self._usable)):
            return
        dialect = self.dialect
        wanted = self.vars()
        try:
            if not await dialect.sun.read(self.block, True):
                self._vars = wanted  # counted; again with the next refresh
                return
            if not self._is_there():
                self._give_up("is not implemented")
                return
            if self.own is None:
                self.own = (self.values[t.X_Q_ENA], self.values[t.X_Q_MOD], self.values[t.X_Q_SET])
            wanted = self.vars()
            if wanted:
                await self._set(refresh or self._vars == _UNKNOWN)
                wanted = self._told or wanted  # as it went out; what was there before is not back by a 0
            else:
                await self._restore()
                self.own = None
            self._vars = wanted
        except ModbusRefused as error:
            if error.busy:
                raise
            dialect.sun.note(error)
            self._vars = self._told or wanted  # again with the next refresh, or another setpoint, also one that came meanwhile
            self._say("cannot be set (%s)" % error)
        except NeedsPerson as error:
            self._give_up("cannot be set (%s)" % error)

    async def _set(self, whole: bool) -> None:
        values = self.values
        enable, mode, _ = self.own
        timer_s = self.dialect.options["reversion_s"]
        if whole and timer_s and values[t.X_Q_RVRT_S] != im.NO_VALUE:
            await self._write_timer(enable if enable == 1 else 0, timer_s)
        await self._power_first()
        await self._write_setpoint(self._setpoint)
        if whole or values[t.X_Q_ENA] != 1 or values[t.X_Q_MOD] != self._mode():
            await self._power_first()
            await self._write_mode(1, self._mode())

    async def _restore(self) -> None:
        """What was there before, its setpoint only once it is out of force."""
        enable, mode, _ = self.own
        await self._power_first()
        if enable != 1:
            await self._write_mode(0, mode)
            await self._power_first()
        await self._write_setpoint(self._own_setpoint)
        if enable == 1:
            await self._power_first()
            await self._write_mode(1, mode)

    async def _power_first(self) -> None:
        """Power that has changed meanwhile waits for nothing of this.  What of it is refused is no refusal of this: ModbusError."""
        try:
            await self.dialect.keep_up()
        except (ModbusRefused, NeedsPerson) as error:
            raise ModbusError(str(error))

    def _give_up(self, why: str) -> None:
        self._usable = False
        self.own = None
        self._say(why)

    def _say(self, why: str) -> None:
        if why != self._refused:
            self._refused = why
            place = self.block.place_of(t.X_Q_SET)
            self.dialect.once.say("%s: the reactive setpoint %s: reactive power is left as it is" % (place, why))


class DerReactive(Reactive):
    """Model 704: VarSet in var."""

    def __init__(self, dialect) -> None:
        super().__init__(dialect, t.REACTIVE)

    def _is_there(self) -> bool:
        """The model has all that is needed."""
        values = self.values
        return im.NO_VALUE not in (values[t.X_Q_SET], values[t.X_Q_SF], values[t.X_Q_ENA], values[t.X_Q_MOD])

    def _mode(self) -> int:
        """What the setpoint is counted in."""
        return _VARS

    def _words(self, value: int) -> tuple:
        raw = truncate_to_scale(value, self.values[t.X_Q_SF], _LARGEST_32)
        return raw >> 16, raw

    def _setpoint(self) -> tuple:
        """VarSet as commanded now."""
        return self._words(self.vars())

    def _own_setpoint(self) -> tuple:
        """VarSet as it was."""
        return self._words(self.own[2])

    async def _write_setpoint(self, current) -> None:
        """Both words at once."""
        await self.dialect.write_current(self.block.address + t.VARSET, current, False)

    async def _write_mode(self, enable: int, mode: int) -> None:
        """VarSetEna and VarSetMod."""
        await self.dialect.write(self.block.address + t.VARSET_ENA, enable, mode)

    async def _write_timer(self, enable: int, timer_s: int) -> None:
        """After so long without a word the setpoint of before is in force again, if it was."""
        address = self.block.address
        await self._power_first()
        await self.dialect.write(address + t.VARSET_RVRT, *self._own_setpoint())
        await self._power_first()
        await self.dialect.write(address + t.VARSET_ENA_RVRT, enable, timer_s >> 16, timer_s)


class OlderReactive(Reactive):
    """Model 123: percent of WMax, or of VArMax where that is all it takes."""

    def __init__(self, dialect) -> None:
        super().__init__(dialect, t.REACTIVE_OLDER)

    def _of_watts(self) -> bool:
        return self.values[t.X_Q_SET] != im.NO_VALUE

    def _full(self) -> int:
        """What 100 % is."""
        values = self.values
        if not self._of_watts():
            return values[t.X_VAR_RTG]
        return values[t.X_W_MAX] if values[t.X_W_MAX] != im.NO_VALUE else values[t.X_W_RTG]

    def _is_there(self) -> bool:
        """The model has all that is needed, and 100 % is known."""
        values = self.values
        if not self._of_watts() and values[t.X_Q_VAR_SET] == im.NO_VALUE:
            return False
        return self._full() > 0 and values[t.X_Q_SF] != im.NO_VALUE and values[t.X_Q_ENA] != im.NO_VALUE

    def _mode(self) -> int:
        """What the setpoint is counted in."""
        return _OF_W if self._of_watts() else _OF_VAR

    def _setpoint(self) -> tuple:
        """Percent as commanded now, truncated towards zero, and to 100 %."""
        full = self._full()
        value = self.vars()
        fine = min(abs(value), full) * 1000000 // full  # in steps of 0.0001 %
        size = truncate_to_scale(fine, self.values[t.X_Q_SF] + 4, _LARGEST_16)
        return (size if value >= 0 else -size,)

    def _own_setpoint(self) -> tuple:
        """Percent as it was."""
        percent = self.own[2]
        return (truncate_to_scale(percent if percent != im.NO_VALUE else 0, self.values[t.X_Q_SF] + 2, _LARGEST_16),)

    async def _write_setpoint(self, current) -> None:
        """VArWMaxPct or VArMaxPct."""
        await self.dialect.write_current(self.block.address + (t.VAR_W_PCT if self._of_watts() else t.VAR_MAX_PCT), current)

    async def _write_mode(self, enable: int, mode: int) -> None:
        """VArPct_Mod, which need not be there, and VArPct_Ena."""
        await self.dialect.write(self.block.address + t.VAR_MOD, mode if mode != im.NO_VALUE else 0, enable)

    async def _write_timer(self, _enable: int, timer_s: int) -> None:
        """After so long without a word it is disabled."""
        await self.dialect.write(self.block.address + t.VAR_RVRT, timer_s)


def add(dialect, newer: bool, before) -> None:
    """Give a dialect its reactive side; before: the dialect of the discovery before, or None."""
    dialect.reactive = (DerReactive if newer else OlderReactive)(dialect)
    if before is not None and isinstance(before.reactive, type(dialect.reactive)):
        dialect.reactive.own = before.reactive.own  # what it has now may be ours
