"""The inverter (PCS) behind SunSpec models 701, 702, 704, 714 and 715: measures it, commands it, keeps it alive.

Two tasks share the connection.  One measures: the AC block every period, and after it at most one of the
slower blocks that is due.  The other looks at the command every 10 ms and writes a changed setpoint at once,
beside a measurement that may be under way; it repeats everything each refresh_ms and beats the heart of model
715 each second.  When the control cycle stops counting (CMD_SEQ) it falls silent, and the PCS's own watchdog and
reversion timer take the power to 0.  Signs are SunSpec's own: 701 W and 704 WSet are positive for discharge.
"""

import asyncio
import time
from array import array

from micropython import const

from firmware import image as im
from firmware.devices import sunspec_tables as t
from firmware.devices.sunspec import CONNECTION_OPTIONS, NotSunSpec, SunSpec, open_client
from modbus import ModbusError, ModbusRefused

_OWN_OPTIONS = (
    ("period_ms", "int", 100, 20, 5000, "ms between measurements"),
    ("refresh_ms", "int", 1000, 100, 30000, "ms after which an unchanged setpoint is written again"),
    ("reversion_s", "int", 5, 0, 3600, "s of silence after which the PCS goes to 0 W by itself; 0: leave it alone"),
    ("control_timeout_ms", "int", 1500, 200, 10000, "ms without a control cycle, then nothing is written any more"),
)
OPTIONS = (CONNECTION_OPTIONS, _OWN_OPTIONS)

_LOOK_MS = const(10)
_HEARTBEAT_MS = const(1000)
_HOLD_MS = const(100)  # after a write that failed
_RETRY_MS = const(200)  # after a discovery that failed
_LOST_MS = const(10000)  # without a measurement, after which the device is discovered anew: it may be another one
_STOP = const(0)  # 715 OpCtl
_START = const(1)

# 701 InvSt: off, sleeping, starting, running, throttled, shutting down, fault, standby
_STATES = (
    im.PCS_OFF,
    im.PCS_OFF,
    im.PCS_STARTING,
    im.PCS_RUNNING,
    im.PCS_RUNNING,
    im.PCS_OFF,
    im.PCS_FAULT,
    im.PCS_STANDBY,
)

# What cannot be true: slot, lowest, highest
_BOUNDS = (
    (im.PCS_P, -20000000, 20000000),
    (im.PCS_V, 0, 20000),
    (im.PCS_HZ, 0, 100000),
    (im.PCS_DC_V, 0, 20000),
    (im.PCS_DC_I, -100000, 100000),
    (t.X_TMP_CAB, -1000, 2500),
    (t.X_TMP_SNK, -1000, 2500),
)


class Device:
    """One PCS.  `ready`: discovered and talking; `sun`: the SunSpec side of it; `found`: what discovery said."""

    def __init__(self, name: str, options: dict, image, buses: dict) -> None:
        self.name = name
        self.ready = False
        self.found = ""
        self.sun = SunSpec(open_client(name, options, buses), options["unit"])
        self._options = options
        self._image = image
        self._words = array("H", bytes(12))
        self._ac = None
        self._slow = []  # [block, period in ms, when due, what to do with it]
        self._reversion = False  # the PCS has a reversion timer
        self._set = self._control = -1  # addresses of models 704 and 715; -1: absent
        self._set_scale = 0
        self._seq = -1
        self._seq_ms = 0
        self._alive = False
        self._forget_commands()

    async def run(self) -> None:
        """Work for ever; whatever happens on the wire is counted, and tried again."""
        asyncio.create_task(self._command_for_ever())
        while True:
            try:
                await self._discover()
                await self._measure()
            except ModbusError as error:
                self.sun.note(error)
            self.ready = False
            await asyncio.sleep_ms(_RETRY_MS)

    def counters(self) -> dict:
        """Counts of this device since boot."""
        return self.sun.count.as_dict()

    # ---- measuring -------------------------------------------------------------------------------------
    async def _discover(self) -> None:
        sun = self.sun
        await sun.discover()
        if sun.found() != self.found:
            self.found = sun.found()
            print("%s: %s" % (self.name, self.found))
        self._ac = await sun.block(t.PCS_AC)
        if self._ac is None:
            raise ModbusError("%s has no model 701" % self.name)
        now = time.ticks_ms()
        self._slow = []
        for table, period_ms, then in (
            (t.PCS_CAPACITY, 2000, self._take_capacity),
            (t.PCS_DC, 200, self._take_dc),
            (t.PCS_SET, 500, self._take_setpoint),
            (t.PCS_HEAT, 2000, self._take_heat),
        ):
            try:
                block = await sun.block(table)
                if block is not None and await sun.read(block):
                    then()
                    self._slow.append([block, period_ms, time.ticks_add(now, period_ms), then])
            except ModbusRefused as error:
                sun.note(error)  # listed in the chain, but not readable: do without
        self._set = -1
        if 704 in sun.models:
            self._set_scale = await sun.scale(704, t.WSET_SF)
            self._set = sun.models[704][0]
            self._reversion = sun.values[t.X_RVRT_S] != im.NO_VALUE and self._options["reversion_s"] > 0
        self._control = sun.models[715][0] if 715 in sun.models else -1
        self._forget_commands()
        self.ready = True

    async def _measure(self) -> None:
        """Read until the map is no longer where it was, or the device has been away for long."""
        heard = time.ticks_ms()
        while True:
            begun = time.ticks_ms()
            try:
                await self._measure_once(begun)
                heard = begun
            except (NotSunSpec, ModbusRefused):
                raise  # the map has moved: it is another device, or another firmware in it
            except ModbusError as error:
                self.sun.note(error)
                if time.ticks_diff(begun, heard) > _LOST_MS:
                    return
            spent = time.ticks_diff(time.ticks_ms(), begun)
            await asyncio.sleep_ms(max(1, self._options["period_ms"] - spent))

    async def _measure_once(self, now: int) -> None:
        if await self.sun.read(self._ac) and self._plausible():
            self._take_ac()
        else:
            self._reject()
        for entry in self._slow:
            if time.ticks_diff(now, entry[2]) >= 0:
                entry[2] = time.ticks_add(now, entry[1])
                try:
                    good = await self.sun.read(entry[0]) and self._plausible()
                except ModbusRefused as error:
                    self.sun.note(error)
                    return
                if good:
                    entry[3]()
                else:
                    self._reject()
                return

    def _plausible(self) -> bool:
        values = self.sun.values
        for slot, low, high in _BOUNDS:
            if values[slot] != im.NO_VALUE and not low <= values[slot] <= high:
                self.sun.count.last_error = "slot %d is %d, allowed %d to %d" % (slot, values[slot], low, high)
                return False
        return True

    def _reject(self) -> None:
        self.sun.count.rejected += 1

    def _take_ac(self) -> None:
        values = self.sun.values
        inp = self._image.inp
        state = values[t.X_STATE]
        if 0 <= state < len(_STATES):
            inp[im.PCS_STATE] = _STATES[state]
        elif values[t.X_ON] == im.NO_VALUE:
            inp[im.PCS_STATE] = im.NO_VALUE
        else:
            inp[im.PCS_STATE] = im.PCS_RUNNING if values[t.X_ON] else im.PCS_OFF
        for slot in (im.PCS_P, im.PCS_Q, im.PCS_I, im.PCS_HZ, im.PCS_ALARM, im.PCS_GRID):
            inp[slot] = values[slot]
        voltage = values[im.PCS_V]
        if voltage == im.NO_VALUE and values[t.X_PHASE_V] != im.NO_VALUE:
            voltage = values[t.X_PHASE_V] * 1732 // 1000  # line to line, of a symmetrical three-phase system
        inp[im.PCS_V] = voltage
        self._image.heard(im.SEQ_PCS)

    def _take_capacity(self) -> None:
        """What it can do now: its rating, or the setting that derates it; charging falls back on the same."""
        inp = self._image.inp
        discharge = self._least(t.X_W_RTG, t.X_W_MAX, t.X_DIS_RTG, t.X_DIS_MAX)
        charge = self._least(t.X_CHG_RTG, t.X_CHG_MAX)
        inp[im.PCS_P_DIS] = discharge
        inp[im.PCS_P_CHG] = charge if charge != im.NO_VALUE else self._least(t.X_W_RTG, t.X_W_MAX)

    def _least(self, *slots) -> int:
        least = im.NO_VALUE
        for slot in slots:
            value = self.sun.values[slot]
            if value != im.NO_VALUE and (least == im.NO_VALUE or value < least):
                least = value
        return least

    def _take_dc(self) -> None:
        for slot in (im.PCS_DC_V, im.PCS_DC_I, im.PCS_DC_P):
            self._image.inp[slot] = self.sun.values[slot]

    def _take_setpoint(self) -> None:
        values = self.sun.values
        enabled = values[t.X_SET_ENA] == 1 and values[t.X_SET_MOD] == 1
        self._image.inp[im.PCS_SETPOINT] = values[im.PCS_SETPOINT] if enabled else im.NO_VALUE

    def _take_heat(self) -> None:
        values = self.sun.values
        hottest = values[t.X_TMP_CAB]
        if values[t.X_TMP_SNK] > hottest:  # NO_VALUE is below every temperature
            hottest = values[t.X_TMP_SNK]
        self._image.inp[im.PCS_TEMP] = hottest

    # ---- commanding ------------------------------------------------------------------------------------
    def _forget_commands(self) -> None:
        """Nothing is known of what the PCS was told: everything is written again."""
        now = time.ticks_ms()
        self._connection = self.sun.client.connections
        self._sent = None  # setpoint in units of the PCS's scale factor
        self._sent_run = -1
        self._refreshed = now
        self._beat_ms = time.ticks_add(now, -_HEARTBEAT_MS)
        self._beat = 0
        self._hold_until = now

    async def _command_for_ever(self) -> None:
        while True:
            await asyncio.sleep_ms(_LOOK_MS)
            now = time.ticks_ms()
            seq = self._image.now[im.CMD_SEQ]
            if seq != self._seq:
                self._alive = self._seq >= 0
                self._seq = seq
                self._seq_ms = now
            elif time.ticks_diff(now, self._seq_ms) > self._options["control_timeout_ms"]:
                self._alive = False
            if not self.ready or not self._alive or time.ticks_diff(now, self._hold_until) < 0:
                continue
            if self._connection != self.sun.client.connections:
                self._forget_commands()
            try:
                await self._command(now)
            except ModbusError as error:
                self.sun.note(error)
                self._sent = None
                self._hold_until = time.ticks_add(time.ticks_ms(), _HOLD_MS)

    async def _command(self, now: int) -> None:
        command = self._image.now
        run = command[im.CMD_RUN]
        setpoint = self._scaled(command[im.CMD_P] if run else 0)
        refresh = time.ticks_diff(now, self._refreshed) >= self._options["refresh_ms"]
        if self._set >= 0:
            if self._sent is None or refresh:
                await self._write_everything(setpoint)
                self._refreshed = now
            elif setpoint != self._sent:
                self._put32(0, setpoint)
                await self._write(self._set + t.WSET, 2)
            self._sent = setpoint
        if self._control >= 0:
            asleep = refresh and run and self._image.inp[im.PCS_STATE] == im.PCS_OFF
            if run != self._sent_run or asleep:
                self._words[0] = _START if run else _STOP
                await self._write(self._control + t.OP_CTL, 1)
                self._sent_run = run
            if time.ticks_diff(now, self._beat_ms) >= _HEARTBEAT_MS:
                self._beat_ms = now
                self._beat = (self._beat + 1) & 0xFFFF
                self._put32(0, self._beat)
                await self._write(self._control + t.CONTROLLER_HB, 2)

    async def _write_everything(self, setpoint: int) -> None:
        """Setpoint, mode and enable in one write, so that no old setpoint acts in between; the timer before it."""
        if self._reversion:
            self._words[0] = 1  # WSetEnaRvrt: stay enabled, at the reversion setpoint
            self._put32(1, self._options["reversion_s"])
            await self._write(self._set + t.WSET_ENA_RVRT, 3)
        self._words[0] = 1  # WSetEna
        self._words[1] = 1  # WSetMod: watts
        self._put32(2, setpoint)
        self._put32(4, 0)  # WSetRvrt
        await self._write(self._set + t.WSET_ENA, 6 if self._reversion else 4)

    def _scaled(self, watts: int) -> int:
        """In units of WSet's scale factor, cut off towards zero: never more than was commanded."""
        size = abs(watts)
        if self._set_scale >= 0:
            size //= 10**self._set_scale
        else:
            size *= 10**-self._set_scale
        return size if watts >= 0 else -size

    def _put32(self, at: int, value: int) -> None:
        self._words[at] = value >> 16 & 0xFFFF
        self._words[at + 1] = value & 0xFFFF

    async def _write(self, address: int, count: int) -> None:
        self.sun.count.frames += 1
        if count == 1:
            await self.sun.client.write_register(self.sun.unit, address, self._words[0])
        else:
            await self.sun.client.write_registers(self.sun.unit, address, self._words, count)
