"""The older SunSpec dialect of an inverter: models 101 to 103 or 111 to 113, 120, 121, 123 and 124 (storage).

Model 124 knows no setpoint, only limits in percent of WChaMax, each of which may be negative: a discharge
limit of p and a charge limit of -p leave nothing but p, and the other way round for charging.  That is how
the makers of such inverters mean it, and it is the only way to a given power there.  WChaMax and the scale
factors may change while it runs: they are read just before the percentage is written.
"""

import time

from micropython import const

from firmware import image as im
from firmware.devices import sunspec_tables as t
from firmware.devices.pcs_dialect import OLDER, STATES, Dialect
from firmware.devices.sunspec_chain import NeedsPerson
from firmware.devices.sunspec_numbers import truncate_to_scale
from modbus import ModbusError, ModbusRefused

_FLOATS = const(110)  # models above it
_INTERACTIVE = const(2)  # flows.Grid: of the types below it, ISOLATED and BACKUP, the inverter forms islands
_BOTH = const(3)  # 124 StorCtl_Mod: the charge limit and the discharge limit are in force
_LARGEST = const(32767)
_MOST_W = const(20000000)
_FROM_PV = const(0)  # 124 ChaGriSet
_FROM_GRID = const(1)
_GRID_AGAIN_MS = const(60000)  # it may live in flash: where it does not stay it is written again so much later,
_GRID_MOST_MS = const(43200000)  # and each time after twice as long


class Inverter(Dialect):
    """Models 1xx."""

    def __init__(self, sun, image, options: dict, once) -> None:
        Dialect.__init__(self, sun, image, options, once)
        self._grid_ms = 0  # when ChaGriSet was written
        self._grid_after_ms = 0  # not again for so long; 0: it was not written yet
        self._full_w = 0  # what 100 % was when the setpoint was written
        self._scale = 0  # and the scale factor of the two rates

    async def place(self) -> None:
        """Find the blocks that this device has.  Raises NeedsPerson if it cannot be given a power."""
        sun = self.sun
        for model in OLDER:
            if sun.chain.the(model) is not None:
                self.main = sun.block(t.INVERTER_FLOAT if model > _FLOATS else t.INVERTER, model)
                break
        self._storage = self.before_writing(t.STORAGE)
        self._connect = self.before_writing(t.CONTROLS)
        self._rating = self.before_writing(t.INVERTER_RATING)
        if self.main is None or self._storage is None:
            raise NeedsPerson("no models 701 and 704, nor 103 and 124")
        await self.add_slow(t.INVERTER_RATING, 2000, self._take_capacity)
        await self.add_slow(t.INVERTER_SETTING, 2000, self._take_capacity)
        await self.add_slow(t.STORAGE, 200, self._take_storage)

    # ---- measuring -------------------------------------------------------------------------------------
    def take(self) -> None:
        """The inverter block into the image.  Its DC current has no sign: that of DC power is taken, or without it of AC power."""
        values = self.sun.values
        inp = self.image.inp
        state = values[t.X_STATE]
        inp[im.PCS_STATE] = STATES[state - 1] if 1 <= state <= len(STATES) else im.NO_VALUE
        self.copy((im.PCS_P, im.PCS_Q, im.PCS_I, im.PCS_HZ, im.PCS_ALARM, im.PCS_DC_V, im.PCS_DC_P))
        current = values[im.PCS_DC_I]
        power = values[im.PCS_DC_P] if values[im.PCS_DC_P] != im.NO_VALUE else values[im.PCS_P]
        inp[im.PCS_DC_I] = -current if current > 0 and power < 0 else current
        sees = 1 if values[im.PCS_HZ] > 0 and inp[im.PCS_STATE] != im.PCS_OFF else 0
        # no point of these models says whether there is a grid: a frequency is one's where it cannot be the inverter's own
        may_form = self.image.par[im.PAR_GRID_TYPE] < _INTERACTIVE
        inp[im.PCS_GRID] = im.NO_VALUE if sees and may_form else sees
        self.take_voltage(self.main.model % 10 == 1)
        self.take_heat()
        self.image.heard(im.SEQ_PCS)

    def _take_capacity(self) -> None:
        inp = self.image.inp
        inp[im.PCS_P_DIS] = self.least(im.PCS_P_DIS, t.X_W_RTG, t.X_W_MAX, t.X_DIS_RTG, t.X_STOR_MAX)
        inp[im.PCS_P_CHG] = self.least(im.PCS_P_CHG, t.X_W_RTG, t.X_W_MAX, t.X_CHG_RTG, t.X_STOR_MAX)
        inp[im.PCS_S_MAX] = self.least(im.PCS_S_MAX, t.X_VA_RTG, t.X_VA_MAX)

    def _take_storage(self) -> None:
        """The setpoint it follows, if its two limits leave just one; and what 100 % is now."""
        values = self.sun.values
        rate = values[t.X_STOR_OUT]  # 0.01 %
        setpoint = im.NO_VALUE
        if values[t.X_STOR_MOD] == _BOTH and rate != im.NO_VALUE and values[t.X_STOR_IN] == -rate:
            setpoint = self._percent_of(values[t.X_STOR_MAX], rate)
        self.image.inp[im.PCS_SETPOINT] = setpoint
        self._take_capacity()
        if self.sent is not None and (self._full() != self._full_w or values[t.X_STOR_SF] != self._scale):
            self.outdated = True

    # ---- commanding ------------------------------------------------------------------------------------
    async def write_power(self, refresh: bool) -> None:
        """Both limits in one write; then, the first time and on refresh, that they are in force."""
        self.outdated = False
        await self._read_basis()
        values = self.sun.values
        reverts = values[t.X_STOR_RVRT_S] != im.NO_VALUE and self.options["reversion_s"] > 0
        address = self._storage.address
        first = self.sent is None
        whole = refresh or first
        if first and reverts:
            await self.write_timer(address + t.STOR_RVRT, self.options["reversion_s"])
        if self.watts() < 0 and values[t.X_STOR_GRID] == _FROM_PV:
            await self._allow_grid(address + t.STOR_GRID)
        self._rates()
        if whole or self._written != self.sent:
            await self.write_current(address + t.STOR_OUT, self._rates)
        self.sent = self._written
        if whole:
            await self.keep_up()
            await self.write(address + t.STOR_MOD, _BOTH)
        if whole and not first and reverts:  # the same as before: it keeps no setpoint waiting
            await self.keep_up()
            await self.write_timer(address + t.STOR_RVRT, self.options["reversion_s"])

    async def operate(self, refresh: bool, asleep: bool) -> None:
        """The relay."""
        again = self.tries_again(refresh) or asleep
        if self._connect is not None and (self.run() != self.sent_run or again):
            await self.keep_up()
            await self.read_before(self._connect)
            await self.write_beside("123 Conn", self._connect.address + t.INVERTER_CONN, self._connected)
            self.sent_run = self._run_written

    def _rates(self) -> tuple:
        """OutWRte and InWRte as commanded now."""
        self._written = self.scaled(self.watts())
        return self._written, -self._written

    def _connected(self) -> tuple:
        self._run_written = self.run()
        return (self._run_written,)

    async def _allow_grid(self, address: int) -> None:
        """The storage may be charged from PV only: change that if the site's owner has said so."""
        if not self.options["set_grid_charging"]:
            text = "124 ChaGriSet (register %d) lets PV alone charge the storage: "
            self.once.say((text + "the option set_grid_charging lets this driver change it") % address)
            return
        now = time.ticks_ms()
        since_ms = time.ticks_diff(now, self._grid_ms) if self._grid_after_ms else -1
        if 0 <= since_ms < self._grid_after_ms:
            return
        soon = 0 <= since_ms < 2 * self._grid_after_ms
        try:
            await self.write(address, _FROM_GRID)
            if soon:
                text = "124 ChaGriSet (register %d) does not stay at grid, PV alone charges the storage: written again, but seldom"
                self.once.say(text % address)
        except ModbusRefused as error:
            if error.busy:
                raise
            self.sun.note(error)
            text = "124 ChaGriSet (register %d) cannot be written (%s): PV alone charges the storage"
            self.once.say(text % (address, error))
        self._grid_ms = now
        self._grid_after_ms = min(2 * self._grid_after_ms, _GRID_MOST_MS) if soon else _GRID_AGAIN_MS

    def _full(self) -> int:
        """What 100 % is.  One that gave WChaMax means it still where it does not say it: no other reference stands for that."""
        full = self.sun.values[t.X_STOR_MAX]
        return full if full != im.NO_VALUE or self.given >> t.X_STOR_MAX & 1 else self.sun.values[t.X_W_RTG]

    async def _read_basis(self) -> None:
        """What 100 % is and how percents are written, as it is now.  Raises ModbusError if the device does not say."""
        values = self.sun.values
        await self.read_before(self._storage)
        if values[t.X_STOR_MAX] == im.NO_VALUE and self._rating is not None:
            await self.read_before(self._rating)
        full = self._full()
        if full <= 0:
            where = self._storage.place_of(t.X_STOR_MAX)
            raise ModbusError("%s: neither WChaMax nor 120 WRtg says what 100 %% is: it is not commanded" % where)
        if values[t.X_STOR_SF] == im.NO_VALUE:
            raise ModbusError("%s: has no scale factor, it is not commanded" % self._storage.place_of(t.X_STOR_OUT))
        self._full_w = full
        self._scale = values[t.X_STOR_SF]

    def beating(self, _now: int) -> bool:
        """It has no heartbeat."""
        return False

    def scaled(self, watts: int) -> int:
        """Percent of WChaMax in units of the scale factor, truncated towards zero, and to 100 % and what a register holds."""
        fine = min(abs(watts), self._full_w) * 1000000 // self._full_w  # in steps of 0.0001 %
        size = truncate_to_scale(fine, self._scale + 4, _LARGEST)
        return size if watts >= 0 else -size

    def _percent_of(self, full: int, rate: int) -> int:
        """`rate` (0.01 %) of `full` watts, without leaving 30 bits; there is none of more than inverters are built for."""
        if not 0 <= full <= _MOST_W:
            return im.NO_VALUE
        size = abs(rate)
        watts = full // 10000 * size + full % 10000 * size // 10000
        return watts if rate >= 0 else -watts
