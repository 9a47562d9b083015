"""Writes the command of the control cycle into a generic_modbus device, as its table says.  Loaded for tables that write.

Where a table says how much and which way in requests of their own, there is no moment in which the old power goes the
new way, or the new power the old way: at a change of direction power is 0 first, then the direction is written, then
the new power.  A request may have to wait, for its turn, a connection or a device that is busy: what it carries is what is
commanded when it goes out, and as long as the device has not been told the new way that is 0.
"""

import asyncio
import time
from array import array

from micropython import const

from firmware import image as im
from firmware.devices.generic_writes import BEAT, DIRECTION, MAGNITUDE, REACTIVE
from modbus import ModbusError, ModbusRefused

_LOOK_MS = const(10)
_HOLD_MS = const(100)  # after a write that failed
_SILENT_MAX_MS = const(60000)  # of keep_silent()
_HEARTBEAT_MS = const(1000)
_AGAIN_MS = const(60000)  # constants are written again for writes that fail at most so often
_AGAIN_MOST_MS = const(43200000)  # while they go on failing, each time after twice as long, up to half a day
_UNKNOWN = const(2)  # a direction that nobody goes


class Writer:
    """`writes`: the requests of the table; units: ModbusUnit by number; once: who says what a person has to know."""

    def __init__(self, image, options: dict, writes: list, units: dict, swapped: bool, once) -> None:
        self._image = image
        self._writes = writes
        self._units = units
        self._swapped = swapped
        self._once = once
        self._refresh_ms = options["refresh_ms"]
        self._control_timeout_ms = options["control_timeout_ms"]
        self._client = units[-1].client
        self._connection = self._client.connections
        self.command = array("i", [0] * (BEAT + 1))  # what SOURCES say, and the heartbeat
        # power and its direction, or power each way, in requests of their own
        self._in_parts = len([1 for write in writes if write.power or write.turns]) > 1 and any(
            0 < value.source <= DIRECTION for write in writes for value in write.values
        )
        self._direction = _UNKNOWN  # that the device was told
        self._way = _UNKNOWN  # the direction that is written: during a turn the new one, else the same
        self._halts = False  # before a turn: 0 is written for power
        self._write = None  # the request that is going out
        self._seq = -1
        self._seq_ms = self._refreshed = self._beat_ms = self._hold_until = time.ticks_ms()
        self._holds = False  # after a write that failed, until _hold_until
        self._silent = False  # see keep_silent(), until _silent_until: a write that was under way and has failed does not end it
        self._silent_until = self._hold_until
        self._doubts = False  # a write has failed: the device may have begun anew, and have lost its constants
        self._waits = False  # they were written again for that, at _again_ms, and are so next when _again_after_ms are over
        self._waited = False  # that was wanted meanwhile
        self._again_ms = self._seq_ms
        self._again_after_ms = _AGAIN_MS
        self._alive = False
        self._reactive = False  # somebody has asked for reactive power: until then what the device is set to is left alone

    async def run(self) -> None:
        """Write for ever while the control cycle counts; what fails is counted, and then everything is written again."""
        self._forget()
        while True:
            await asyncio.sleep_ms(_LOOK_MS)
            now = time.ticks_ms()
            self._look_alive(now)
            if not self._alive or self._is_holding(now):
                continue
            if self._connection != self._client.connections:
                self._connection = self._client.connections
                self._forget()
                self._forget_constants()
            if self._doubts:
                self._clear_doubts(now)
            refresh = time.ticks_diff(now, self._refreshed) >= self._refresh_ms
            try:
                await self._round(refresh)
                if self._write is not None:
                    self._units[self._write.unit].told(self._image, self._once)
                if refresh:
                    self._refreshed = time.ticks_ms()  # see pcs_sunspec: a round takes a second on a slow line
            except ModbusError as error:
                self._units[self._write.unit].told(self._image, self._once, error)
                self._forget()
                self._doubts = True
                self._refreshed = now  # everything is written again anyway
                self._hold_until = time.ticks_add(time.ticks_ms(), _HOLD_MS)
                self._holds = True

    def _is_holding(self, now: int) -> bool:
        """A write has just failed, or it is to be told nothing.  What is over stays over: days later the moment would look like
        the future."""
        self._holds = self._holds and time.ticks_diff(now, self._hold_until) < 0
        if self._silent:
            self._forget()
            self._silent = time.ticks_diff(now, self._silent_until) < 0
        return self._holds or self._silent

    def keep_silent(self, ms: int) -> None:
        """See generic_modbus; everything but constants is written again afterwards."""
        self._silent_until = time.ticks_add(time.ticks_ms(), min(ms, _SILENT_MAX_MS))
        self._silent = True

    async def _round(self, refresh: bool) -> None:
        """Every row in turn, each with the command of the moment in which it goes out.

        A device that is to stop is told so although it refuses a power.
        """
        try:
            for write in self._writes:
                if not self._in_step():
                    await self._turn()
                    if not self._in_step():  # it has turned again meanwhile
                        return
                if await self._send(write, refresh):
                    await self._keep_up()
        except ModbusRefused as error:
            for write in self._writes:
                if not (self._image.now[im.CMD_RUN] or write.power or write.turns or write is self._write):
                    await self._send(write, refresh)
            raise error

    async def _keep_up(self) -> None:
        """Power that has changed while another request was on its way waits for no more of these, where it was told before."""
        for write in self._writes:
            if (write.power or (write.turns and not self._in_parts)) and write.values[0].sent is not None and self._in_step():
                await self._send(write, False)

    def _in_step(self) -> bool:
        """False if the device has to be turned before it may be told the power."""
        return not self._in_parts or self._wanted() == self._direction

    def _wanted(self) -> int:
        """The direction that is commanded now."""
        power = self._power()
        return (power > 0) - (power < 0)

    def _power(self) -> int:
        """W that are commanded now: 0 while the device may not run."""
        image = self._image.now
        return image[im.CMD_P] if image[im.CMD_RUN] else 0

    def _look_alive(self, now: int) -> None:
        seq = self._image.now[im.CMD_SEQ]
        if seq != self._seq:
            self._alive = self._seq >= 0
            self._seq = seq
            self._seq_ms = now
        elif time.ticks_diff(now, self._seq_ms) > self._control_timeout_ms:
            self._alive = False  # nobody decides: let the device's own watchdog act

    def _forget(self) -> None:
        """What the device was told is written again, but for constants, which may live in flash."""
        self._direction = _UNKNOWN
        self._halts = False
        for write in self._writes:
            for value in write.values:
                if write.refresh or value.source >= 0:
                    value.sent = None

    def _clear_doubts(self, now: int) -> None:
        """Constants once more, but seldom: what fails for ever must not wear out the flash that they live in."""
        if self._waits and 0 <= time.ticks_diff(now, self._again_ms) < self._again_after_ms:
            self._waited = True
            return
        self._again_after_ms = min(2 * self._again_after_ms, _AGAIN_MOST_MS) if self._waited else _AGAIN_MS
        self._again_ms = now
        self._waits = True
        self._waited = False
        self._forget_constants()

    def _forget_constants(self) -> None:
        """It may have begun anew."""
        self._doubts = False
        for write in self._writes:
            for value in write.values:
                if value.source < 0:
                    value.sent = None

    def _take_command(self, now: int) -> None:
        """What is commanded now, in the order of SOURCES; power and its direction as far as they fit what the device was told."""
        image = self._image.now
        command = self.command
        power = self._power()
        way = (power > 0) - (power < 0)
        if self._in_parts:
            if self._halts or way != self._way or self._connection != self._client.connections:
                power = 0  # of one that was connected to anew in this round nobody knows the direction: it may have begun anew
            way = self._way
        self._set_power(power)
        command[DIRECTION] = way
        command[DIRECTION + 1] = image[im.CMD_RUN]
        command[DIRECTION + 2] = image[im.CMD_CONTACTOR]
        command[DIRECTION + 3] = image[im.CMD_BALANCE]
        command[REACTIVE] = image[im.CMD_Q] if image[im.CMD_RUN] else 0
        if command[REACTIVE]:
            self._reactive = True
        if time.ticks_diff(now, self._beat_ms) >= _HEARTBEAT_MS:
            self._beat_ms = now
            command[BEAT] = (command[BEAT] + 1) & 0x7FFF

    def _set_power(self, power: int) -> None:
        command = self.command
        command[0] = power
        command[1] = max(0, -power)
        command[2] = max(0, power)
        command[MAGNITUDE] = abs(power)

    async def _turn(self) -> None:
        """Power to 0, then all that is no power.  A device that takes no power before it is told a mode may refuse the 0
        where nothing is known of it yet."""
        self._way = self._wanted()
        self._halts = True
        for write in self._writes:
            if write.power:
                try:
                    await self._send(write, False)
                except ModbusRefused:
                    if self._direction != _UNKNOWN:
                        raise
        self._halts = False
        self._way = self._wanted()
        self._direction = _UNKNOWN
        for write in self._writes:
            if not write.power:
                await self._send(write, False)
        self._direction = self._way

    async def _send(self, write, refresh: bool) -> bool:
        """Write it if a value has changed, or if it is time to write it again; whether it was."""
        needed = refresh and write.refresh
        self._take_command(time.ticks_ms())
        if write.reactive and not self._reactive:
            return False
        for value in write.values:
            if value.on_wire(self.command) != value.sent:
                needed = True
        if not needed:
            return False
        unit = self._units[write.unit]
        self._write = write
        try:
            await unit.write(write.address, write.words, write.size, write.function, self._fill)
        except ModbusError as error:
            unit.note(error)
            unit.count.last_error = text = "register %d cannot be written: %s" % (write.address, error)
            if not (isinstance(error, ModbusRefused) and not error.busy and write.constant):
                raise
            self._once.say(text)  # the rest is written all the same, and this again when constants are
            self._doubts = True
        for value in write.values:
            value.sent = value.due
        return True

    def _fill(self) -> None:
        """Put in what is commanded now.  Raises ModbusError if nobody decides any more, or it is to be told nothing."""
        now = time.ticks_ms()
        if self._silent:
            raise ModbusError("it is told nothing for now: keep_silent()")
        self._look_alive(now)
        if not self._alive:
            raise ModbusError("the control cycle has not renewed the command for %d ms" % self._control_timeout_ms)
        self._take_command(now)
        write = self._write
        unit = self._units[write.unit]
        at = 0
        for value in write.values:
            value.due = value.on_wire(self.command)
            write.fill(at, value, self._fitting(unit, write.address + at, value), self._swapped)
            at += value.size

    def _fitting(self, unit, address: int, value) -> int:
        """What the register holds of a number: all of it, or as much as goes, which is said."""
        fitting = min(max(value.due, value.low), value.high)
        if fitting != value.due:
            text = "register %d holds %d to %d: %d does not fit, %d is written"
            text %= (address, value.low, value.high, value.due, fitting)
            unit.reject(text)
            self._once.say(text)
        return fitting
