"""What the two SunSpec dialects of an inverter share: blocks that are read now and then, register writes."""

import time
from array import array

from micropython import const

from firmware import image as im
from firmware.devices import sunspec_tables as t
from firmware.devices.sunspec import questions_the_map
from firmware.devices.sunspec_chain import NeedsPerson
from modbus import ModbusError, ModbusRefused, ModbusTimeout

_TIMER = const("the reversion timer")
_SELDOM = const(5)  # times a slow block that does not come is asked for after twice as long
OLDER = const((103, 102, 101, 113, 112, 111))  # models that measure an inverter of the older dialect
# 701 InvSt, and 103 St from 1: off, sleeping, starting, running (tracking), throttled, shutting down, fault, standby
STATES = (
    im.PCS_OFF, im.PCS_OFF, im.PCS_STARTING, im.PCS_RUNNING, im.PCS_RUNNING, im.PCS_OFF, im.PCS_FAULT, im.PCS_STANDBY,
)  # fmt: skip
LONGEST_WRITE_BLOCK = const(58)  # registers of the longest block that is read before a write: 704


class Dialect:
    """One family of SunSpec models.  A subclass adds `place`, `take`, `write_power`, `scaled`, `operate` and `beating`.

    `await place()` finds the family's blocks; `take()` puts the main block's values into the image;
    `await command(refresh, asleep)` writes what has changed, or everything on `refresh`, first what `write_power(refresh)` does,
    then `operate(refresh, asleep)`: start or stop; `beating(now)`: a heartbeat is due.  What is written is what is commanded at
    that moment, not when the reading before it began.  A model is read just before it is written, with what the setpoint is
    scaled by: a register is never written where another model has come to lie, nor from a scale factor or reference of before.
    """

    def __init__(self, sun, image, options: dict, once) -> None:
        self.sun = sun
        self.once = once
        self.image = image
        self.options = options
        self.main = None  # the block read every period
        self.slow = []  # [block, period in ms, when due, what to do with it, it has been read, tries in vain since, see add_slow]
        self.outdated = False  # what the setpoint was scaled by has changed since it was written
        self._before = array("H", bytes(2 * LONGEST_WRITE_BLOCK))  # what is read before a write
        self.given = 0  # ratings that have come since it was discovered, a bit for each slot
        self._refusals = []  # what was said of what it refuses beside the power
        self.refused = False  # something of that, to be tried again at the next refresh
        self._words = array("H", bytes(12))  # to be written
        self._current = None  # what brings them up to date, if anything
        self.note = ""  # what a person has to know of this device as it was discovered
        self.reactive = None  # pcs_reactive, where the site gives reactive power
        self.told_w = self.told_run = -1  # the command when it was asked for last
        self.check_control = None  # raises ModbusError if nobody decides any more
        self.forget()

    def forget(self) -> None:
        """Nothing is known of what the PCS was told: everything is written again."""
        self.sent = None  # setpoint as it was written
        self.sent_run = -1
        self._is_untimed = False  # it refuses the reversion timer
        self._written = 0  # what goes out now
        if self.reactive is not None:
            self.reactive.forget()
        self._run_written = -1

    async def add_slow(self, table: tuple, period_ms: int, take) -> None:
        """Read a block now and every period_ms, if the device has it; if not, what it gave before has no value any more.

        One that gave no answer in two discoveries, of a device that answers elsewhere, is done without, until the next but one.
        """
        block = self.sun.block(table)
        if block is None:
            take()
            return
        unread = self.sun.unread
        if unread.count(block.address) > 1:
            self.note = "model %d (register %d) does not answer, it is done without" % (block.model, block.address)
            unread.remove(block.address)
            take()
            return
        entry = [block, period_ms, time.ticks_ms(), take, False, 0]
        self.slow.append(entry)
        try:
            await self._read_slow(entry)
        except ModbusTimeout:
            unread.append(block.address)
            raise
        while block.address in unread:
            unread.remove(block.address)

    async def read_one_slow(self, now: int) -> None:
        """Read the slow block that has been due for longest, if any."""
        due = None
        longest = -1
        for entry in self.slow:
            waited = time.ticks_diff(now, entry[2])
            if waited > longest:
                longest = waited
                due = entry
        if due is not None:
            await self._read_slow(due)

    async def _read_slow(self, entry: list) -> None:
        """One that the device lists but never gave is done without; one that it refuses now may have moved.  What does not come
        any more is asked for ever more seldom."""
        block, period_ms, _, take, given, failures = entry
        entry[2] = time.ticks_add(time.ticks_ms(), period_ms << failures)
        entry[5] = min(failures + 1, _SELDOM)
        text = ""
        if failures + 1 >= _SELDOM and given:  # a rating stays as it was: people have to know
            text = "model %d (register %d) does not come any more" % (block.model, block.address)
        try:
            if await self.sun.read(block):
                take()
            entry[4] = True
            entry[5] = 0
            if text and self.once.text == text:
                self.once.text = ""
            text = ""
        except ModbusRefused as error:
            if given and questions_the_map(error):
                self.sun.lose(block, str(error))
            self.sun.note(error)
            if not given:
                take()
        except ModbusTimeout as error:
            if not given:
                raise
            self.sun.note(error)
        if text:
            self.once.say(text)

    def before_writing(self, table: tuple):
        """The block of `table` as it is read just before a write to its model; None if the device has none."""
        return self.sun.block(table, 0, self._before)

    async def read_before(self, block) -> None:
        """Make sure that the model is where it was, and have its values.  Raises ModbusError if it may not be written to."""
        try:
            if not await self.sun.read(block, True):
                raise ModbusError(self.sun.unit.count.last_error)
        except ModbusRefused as error:
            if questions_the_map(error):
                self.sun.lose(block, str(error))
            raise

    async def command(self, refresh: bool, asleep: bool) -> None:
        """The power, then start or stop: one that takes no setpoint before it runs is started at 0 W, and one that takes none any
        more is stopped."""
        refused = None
        try:
            await self.write_power(refresh)  # type: ignore[attr-defined]  # a subclass's
        except ModbusRefused as error:
            if self.run() and (self.watts() or not self._rests()):
                raise
            refused = error
            self.sent = None
        await self.operate(refresh, asleep)  # type: ignore[attr-defined]  # the same
        if refused is not None:
            raise refused

    def _rests(self) -> bool:
        """The setpoint that it has, as it was read just now, moves nothing."""
        return False

    async def keep_up(self) -> None:
        """A setpoint that has changed meanwhile waits neither for the rest of a refresh nor for what is written besides."""
        if self.sent is not None and self.scaled(self.watts()) != self.sent:
            await self.write_power(False)  # type: ignore[attr-defined]  # a subclass's

    def scaled(self, watts: int) -> int:
        """The number that stands for so many W, as the setpoint was scaled last."""
        raise NotImplementedError

    def run(self) -> int:
        """1: it may switch, as commanded now; `told_run` has what was asked for last."""
        self.told_run = self.image.now[im.CMD_RUN]
        return self.told_run

    def watts(self) -> int:
        """W as commanded now, 0 while it may not switch; `told_w` has what was asked for last, which is what goes out."""
        self.told_w = self.image.now[im.CMD_P] if self.image.now[im.CMD_RUN] else 0
        return self.told_w

    def copy(self, slots: tuple) -> None:
        """Values into the image, slot by slot."""
        for slot in slots:
            self.image.inp[slot] = self.sun.values[slot]

    def take_voltage(self, single_phase: bool = False) -> None:
        """Line to line; from the phase voltage of a symmetrical three-phase system where only that is measured."""
        values = self.sun.values
        voltage = values[im.PCS_V]
        if voltage <= 0 < values[t.X_PHASE_V]:  # not implemented, for which some say 0
            voltage = values[t.X_PHASE_V] if single_phase else values[t.X_PHASE_V] * 1732 // 1000
        self.image.inp[im.PCS_V] = voltage

    def take_heat(self) -> None:
        """The hotter of cabinet and heat sink (NO_VALUE is below every temperature)."""
        values = self.sun.values
        self.image.inp[im.PCS_TEMP] = max(values[t.X_TMP_CAB], values[t.X_TMP_SNK])

    def least(self, rating: int, *slots) -> int:
        """The smallest of the values that there are, NO_VALUE if there is none: for the slot of that rating in the image.

        One that came and does not come any more leaves what that was before, until it comes again.
        """
        least = im.NO_VALUE
        for slot in slots:
            value = self.sun.values[slot]
            if value != im.NO_VALUE:
                self.given |= 1 << slot
            elif self.given >> slot & 1:
                value = self.image.inp[rating]
                self.sun.unit.reject("a rating is not given any more: it stays as it was")
            if value != im.NO_VALUE and (least == im.NO_VALUE or value < least):
                least = value
        return least

    async def write(self, address: int, *values) -> None:
        """Write numbers, two's complement, one to a register, which may arrive one by one."""
        self._put(values)
        await self.sun.write(address, self._words, len(values), True, self._fresh)

    async def write_current(self, address: int, current, divisible: bool = True) -> None:
        """The same for numbers that depend on the command: current() gives them for the moment in which they go out.

        Not divisible: in one request, as a part alone (of a longer number: value >> 16, value) would mean something else.
        """
        self._current = current
        try:
            values = current()
            self._put(values)
            await self.sun.write(address, self._words, len(values), divisible, self._fresh)
        except ModbusRefused as error:
            if divisible or error.code != 1:
                raise
            text = "registers %d to %d have to be written together, and the device does not know function 16: not commanded"
            raise NeedsPerson(text % (address, address + len(values) - 1))
        finally:
            self._current = None

    async def write_beside(self, what: str, address: int, current) -> None:
        """The same for what power does not need.  A device that refuses it is commanded all the same; that is said once, and
        tried again with the next refresh."""
        try:
            await self.write_current(address, current)
        except ModbusRefused as error:
            self._leave(what, address, error)
            self.refused = True

    def tries_again(self, refresh: bool) -> bool:
        """What was refused beside the power is tried again, with a refresh."""
        again = refresh and self.refused
        if again:
            self.refused = False
        return again

    async def write_timer(self, address: int, *values) -> None:
        """The reversion timer.  A device that refuses it is commanded all the same, and that is said once; it is tried again with
        the next first setpoint, as some take nothing before they are started."""
        if self._is_untimed:
            return
        try:
            await self.write(address, *values)
            if _TIMER in self._refusals:
                self._refusals.remove(_TIMER)
                if self.once.text.startswith(_TIMER):
                    self.once.text = ""
        except ModbusRefused as error:
            self._leave(_TIMER, address, error)
            self._is_untimed = True

    def _leave(self, what: str, address: int, error: ModbusRefused) -> None:
        """What power does not need was refused: said once.  Raises the error again where it says nothing against it."""
        if error.busy:
            raise error
        self.sun.note(error)
        if what not in self._refusals:
            self._refusals.append(what)
            self.once.say("%s (register %d) cannot be written (%s): it is left as it is" % (what, address, error))

    def _fresh(self) -> None:
        """Called just before a request goes out, which may have waited for its turn, a connection or a busy device."""
        if self.check_control is not None:
            self.check_control()
        if self._current is not None:
            self._put(self._current())

    def _put(self, values: tuple) -> None:
        words = self._words
        for i in range(len(values)):
            words[i] = values[i] & 0xFFFF
