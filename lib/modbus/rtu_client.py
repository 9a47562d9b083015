"""Modbus RTU client (master): the one that asks on a serial line, for all devices that share it.

Requests take their turn in the order they came.  A device that does not answer is left in peace for a while
that doubles each time, so it costs the others little.  An answer is looked for anywhere in what was received,
by unit, function, length and CRC: noise before it, or another device's late answer, does not hide it, nor end the wait.

Nothing in an answer says to which request of its unit it belongs.  One that was waited for in vain may still come, for as
long again; its repeat may have it, as both ask the same, but then the repeat's own is owed.  So whatever else that unit is
asked next lets it pass first.  Other units are asked meanwhile.  A repeat that writes something else goes out at once too, but is
not taken for done: that answer may be the earlier one's.

A transceiver may send back what we send though nobody said so.  Such an echo of function 5, 6 or 22 looks exactly like
the device's answer, so before the first of them the line is asked something whose answer differs from the request;
from then on every answer tells again.  On a line that echoes the first copy of a request is never its answer.
"""

import asyncio
import time

from micropython import const

from modbus import ModbusBadFrame, ModbusTimeout, hot
from modbus.client import PDU, UNIT, Client, Slot
from modbus.rtu_frames import SHORTEST, answer_length, expected_length, fits
from modbus.rtu_line import RtuLine
from modbus.silent import Silent

_NAP_MS = const(1)
_RX_SIZE = const(520)  # twice the longest frame: a late answer and the right one
_EAGER_US = const(2000)  # from when an answer is expected: looked for without a sleep
_TURNAROUND_MAX_US = const(100000)
_LATEST_MS = const(30000)  # no answer is awaited for so long: a moment that lies further ahead is days old
_NOISE = const(4)  # bytes of noise in front of an echo
_PROBE_SIZE = const(20)
_ALIKE = const((5, 6, 22))  # functions that are answered with the request itself
_NO_ECHO = const('what is sent does not come back: see to the wiring, or set its option "echo" to false')
_ECHOES = const('the line echoes what is sent: set its option "echo" to true')


class RtuClient(Client):
    """Asks the units on one line.

    uart, baudrate, bits, de, echo: see RtuLine; timeout_ms: from the end of the request to the end of the
    answer's first byte, a half frame gets no more than gap_ms of silence; broadcast_ms: pause after a
    broadcast, in which every unit acts; retries: how often an unanswered or spoilt request is sent again; pause_ms:
    silence before each request, for devices that lose what comes sooner.
    """

    def __init__(
        self,
        uart,
        baudrate: int,
        bits: int = 10,
        de=None,
        echo: bool = False,
        timeout_ms: int = 300,
        gap_ms: int = 25,
        broadcast_ms: int = 100,
        retries: int = 1,
        pause_ms: int = 0,
    ) -> None:
        super().__init__(retries)
        self._pause_us = pause_ms * 1000
        self.baudrate = baudrate
        self.line = RtuLine(uart, baudrate, bits, de, echo)
        self.timeout_ms = timeout_ms
        self._gap_us = max(gap_ms * 1000, 2 * self.line.silence_us)
        self._broadcast_ms = broadcast_ms
        self._rx = bytearray(_RX_SIZE)
        self._have = 0
        self._strange = 0  # bytes that came meanwhile and are no answer
        self._turnaround_us = 0
        self._owed = -1  # the unit of a request that was cancelled half-way: its answer is due until _owed_until; -1: none
        self._owed_until = 0
        self._late = {}  # unit -> [how many answers may come late, until when]
        self.echoes = None  # what is sent comes back though RtuLine drops nothing; None: not known yet
        self._sent = 0  # bytes of the request on the line
        self._echo_due = False  # its echo has not been seen
        self._lacks_echo = False
        self._probe = Slot(_PROBE_SIZE)
        self.silent = Silent()

    async def run(self) -> None:
        """A bus has nothing to do by itself; it is here because buses are started like devices."""
        while True:
            await asyncio.sleep_ms(60000)

    def forget(self, unit: int) -> None:
        """A unit that was only tried is not remembered as silent."""
        self.silent.answered(unit)

    def counters(self) -> dict:
        """Counts since boot."""
        counts = self.count.as_dict()
        counts["overruns"] = self.line.overruns
        counts["note"] = self._note()
        return counts

    # ---- what Client asks of a transport ---------------------------------------------------------------
    async def _exchange(self, slot: Slot, length: int) -> int:
        frame = slot.frame
        unit = frame[UNIT]
        if self.echoes is None and unit and frame[PDU] in _ALIKE:
            await self._learn_echo(frame)
        got = await self._talk(slot, length)
        self._lacks_echo = unit and self.line.lacks_echo()  # a broadcast's is not looked for
        if got == 0 and unit:
            self.count.timeouts += 1
            strange = "; %d bytes that are no answer came" % self._strange if self._strange else ""
            raise ModbusTimeout("unit %d: no answer in %d ms%s%s" % (unit, self.timeout_ms, strange, self._why()))
        return got

    async def _talk(self, slot: Slot, length: int) -> int:
        """Send a request and wait for its answer; the length of its PDU, 0 if there was none."""
        frame = slot.frame
        unit = frame[UNIT]
        await self._clear_line(unit, slot.attempt)
        doubtful = slot.fill(PDU + length) and slot.attempt > 0 and self._owes(unit) and frame[PDU] not in _ALIKE
        crc = hot.crc16(frame, UNIT, PDU + length)
        frame[PDU + length] = crc & 0xFF
        frame[PDU + length + 1] = crc >> 8
        self.count.frames += 1
        self._sent = length + 3
        self._strange = 0
        self._echo_due = True
        begun = time.ticks_ms()
        self._owed_until = time.ticks_add(begun, self.timeout_ms)
        self._owed = unit
        await self._send(frame, length + 3)
        if unit == 0:
            await asyncio.sleep_ms(self._broadcast_ms)
            self._owed = -1
            return 0
        got = 0
        try:
            got = await self._listen(slot, unit, frame[PDU])
        except ModbusBadFrame:
            self._put_off(unit, begun)
            raise
        if got:
            self._put_off(unit, begun)
        else:
            self._expect_late(unit, time.ticks_add(time.ticks_ms(), self.timeout_ms))
        self._owed = -1
        if got and doubtful:
            self.refuse("unit %d: it has answered what was written before, or this: which of both it holds is not known" % unit)
        return got

    # ---- echo ------------------------------------------------------------------------------------------
    async def _learn_echo(self, request) -> None:
        """Find out if the line echoes: ask the unit of a request for the register that it is about."""
        frame = self._probe.frame
        frame[UNIT] = request[UNIT]
        frame[PDU] = 3
        frame[PDU + 1] = request[PDU + 1]
        frame[PDU + 2] = request[PDU + 2]
        frame[PDU + 3] = 0
        frame[PDU + 4] = 1
        if await self._talk(self._probe, 5) == 0 and self.echoes is None:
            self.echoes = False  # not even what was sent came back

    def _cut_echo(self, frame) -> None:
        """Take our own request out of what has come, with the noise in front of it; it may stand there once."""
        if frame[PDU] in _ALIKE and not self.echoes:
            self._echo_due = False  # it is the answer
            return
        size = self._sent
        for at in range(_NOISE):
            left = self._have - at - size
            if left < 0:
                return
            if self._is_request(frame, at, size):
                hot.move(self._rx, at + size, left, self._rx, 0)
                self._have = left
                self._echo_due = False
                if not self.echoes:
                    self.count.last_error = _ECHOES
                self.echoes = True
                return

    def _is_request(self, frame, at: int, size: int) -> bool:
        rx = self._rx
        for i in range(size):
            if rx[at + i] != frame[UNIT + i]:
                return False
        return True

    # ---- sending ---------------------------------------------------------------------------------------
    def _why(self) -> str:
        note = self._note()
        return "; " + note if note else ""

    def _note(self) -> str:
        return _ECHOES if self.echoes else _NO_ECHO if self._lacks_echo else ""

    async def _send(self, frame, length: int) -> None:
        line = self.line
        try:
            line.send(frame, UNIT, length)
            while not line.sent():
                await asyncio.sleep_ms(line.sending_ms())
        finally:
            line.receiving()

    async def _let_pass(self, unit: int, number: int, until: int) -> int:
        """Listen for so many answers of a unit that nobody waits for any more, until then at most; how many came."""
        came = 0
        self._have = 0
        while came < number and 0 < time.ticks_diff(until, time.ticks_ms()) <= _LATEST_MS:
            self._have = self.line.receive(self._rx, self._have)
            if self._have and self.line.silent_us() > self._gap_us:
                self.count.late += 1
                came += self._answers_of(unit)
                self._have = 0
            await asyncio.sleep_ms(_NAP_MS)
        return came

    def _answers_of(self, unit: int) -> int:
        """How many answers of a unit there are in what has come."""
        rx = self._rx
        found = at = 0
        while self._have - at >= SHORTEST:
            length = answer_length(rx, at, self._have) if rx[at] == unit else 0
            if 0 < length <= self._have - at and hot.crc16(rx, at, at + length) == 0:
                found += 1
                at += length
            else:
                at += 1
        return found

    async def _clear_line(self, unit: int, attempt: int) -> None:
        """Let pass what is owed, throw away what came unasked, and wait until nobody is talking."""
        if self._owed >= 0:  # before anybody is asked, as it comes right now
            if not await self._let_pass(self._owed, 1, self._owed_until) and self._owed:
                self._expect_late(self._owed, time.ticks_add(self._owed_until, self.timeout_ms))
            self._owed = -1
        late = self._late.get(unit)
        if late is not None and not attempt:
            await self._let_pass(unit, late[0], late[1])
            self._late.pop(unit)
        deadline = time.ticks_add(time.ticks_ms(), self.timeout_ms + self._pause_us // 1000)
        while time.ticks_diff(time.ticks_ms(), deadline) < 0:
            self._have = self.line.receive(self._rx, 0)
            if self._have:
                self._throw_away()
            left_us = self.line.silence_left_us(self._pause_us)
            if left_us == 0:
                return
            await asyncio.sleep_ms(left_us // 1000)
        self.refuse("the line is never silent")

    def _throw_away(self) -> None:
        """Nobody waits for what has come; a unit that owed it does not owe it any more."""
        self.count.late += 1
        for unit in self._late:
            late = self._late[unit]
            late[0] = max(0, late[0] - self._answers_of(unit))
        self._have = 0

    def _expect_late(self, unit: int, until: int) -> None:
        """One answer of this unit more may come, until then.  What cannot come any more is forgotten."""
        now = time.ticks_ms()
        for one in list(self._late):
            if not 0 < time.ticks_diff(self._late[one][1], now) <= _LATEST_MS:
                self._late.pop(one)
        late = self._late.setdefault(unit, [0, until])
        late[0] += 1
        late[1] = until

    def _owes(self, unit: int) -> bool:
        """An answer of this unit may still come late."""
        late = self._late.get(unit)
        return late is not None and late[0] > 0

    def _put_off(self, unit: int, begun: int) -> None:
        """A unit has answered that owes answers: if this was one of them, the next one takes it as long once more."""
        self._owed = -1
        late = self._late.get(unit)
        if late is not None:
            now = time.ticks_ms()
            late[1] = time.ticks_add(now, self.timeout_ms + time.ticks_diff(now, begun))

    # ---- receiving -------------------------------------------------------------------------------------
    async def _listen(self, slot: Slot, unit: int, function: int) -> int:
        """Wait for the answer; its PDU's length, 0 if there was none.  Raises ModbusBadFrame for rubbish."""
        line = self.line
        begun = time.ticks_ms()
        longest_ms = self.timeout_ms + _RX_SIZE * line.char_us // 1000
        begun_us = time.ticks_us()
        wire_us = line.char_us * expected_length(slot.frame)
        eager = time.ticks_add(begun_us, wire_us + self._turnaround_us + _EAGER_US)
        await asyncio.sleep_ms(_whole_ms(wire_us + self._turnaround_us))
        overslept = True
        while True:
            before = self._have
            self._have = line.receive(self._rx, before)
            if self._have > before:
                if self._echo_due:
                    self._cut_echo(slot.frame)
                got = self._find(slot, unit, function, False)
                if got:
                    self._learn(time.ticks_diff(time.ticks_us(), begun_us) - wire_us, overslept)
                    return got
            elif self._have and line.silent_us() > self._gap_us:
                got = self._give_up(slot, unit, function, False)
                if got:
                    return got
            elif self._have == 0 and time.ticks_diff(time.ticks_ms(), begun) >= self.timeout_ms:
                return 0
            if time.ticks_diff(time.ticks_ms(), begun) >= longest_ms:  # somebody never stops talking
                return self._give_up(slot, unit, function, True)
            overslept = False
            await asyncio.sleep_ms(self._nap(eager))

    def _learn(self, turnaround_us: int, overslept: bool) -> None:
        """How long devices on this line think before they answer: what may be slept before it is worth looking.

        overslept: the answer lay there at the first look, so all that is known is that the sleep was not too short: what was
        measured holds its own sleep, and taking it would let the estimate grow by itself.
        """
        known = self._turnaround_us
        if overslept:
            self._turnaround_us = known - (known + 3 >> 2)
        elif turnaround_us < known:
            self._turnaround_us = max(0, turnaround_us)
        else:
            self._turnaround_us = min(known + (turnaround_us - known >> 3), _TURNAROUND_MAX_US)

    def _nap(self, eager: int) -> int:
        """Milliseconds that may be slept without missing the end of the answer.

        Sleeping is coarse (10 ms on a board), so the time in which the end is due passes in yields to other tasks.
        """
        if self._have >= 3:
            missing = answer_length(self._rx, 0, self._have) - self._have
            if self._echo_due and self.echoes is not False:
                missing = min(missing, self._sent - self._have)  # it may be our own request that comes
            if missing > 0:
                return _whole_ms(missing * self.line.char_us)
        return 0 if time.ticks_diff(eager, time.ticks_us()) > 0 else _NAP_MS

    def _find(self, slot: Slot, unit: int, function: int, final: bool) -> int:
        """Look for the answer in what has come; its PDU's length, which is then in the slot, or 0.

        A possible beginning whose end is not there yet is waited for, unless this is the `final` look.
        """
        rx = self._rx
        have = self._have
        at = 0
        while have - at >= SHORTEST:
            if rx[at] == unit and rx[at + 1] & 0x7F == function:
                length = answer_length(rx, at, have)
                if length > have - at:
                    if not final:
                        return 0
                elif length and hot.crc16(rx, at, at + length) == 0:
                    if not fits(slot.frame, rx, at):
                        at += length
                        continue
                    if self._echo_due and at == 0 and function not in _ALIKE:
                        self.echoes = False
                    slot.intact = False
                    hot.move(rx, at + 1, length - 3, slot.frame, PDU)
                    if at:
                        self.count.rejected += 1
                    if have - at > length:
                        self.count.late += 1
                    return length - 3
            at += 1
        return 0

    def _give_up(self, slot: Slot, unit: int, function: int, at_last: bool) -> int:
        """The line has fallen silent on something that is no answer yet: look once more.  0: it is none, and may still come.

        Raises ModbusBadFrame for what was to be the answer and is spoilt; at_last: for anything.
        """
        got = self._find(slot, unit, function, True)
        if got:
            return got
        at = self._pass_over()
        if at == self._have and not at_last:
            self._have = 0
            return 0
        self.count.crc_errors += 1
        if at_last or self._begins(at, unit, function):
            raise ModbusBadFrame("unit %d: %d bytes that are no answer" % (unit, self._have))
        self._strange += self._have - at
        self._have = 0
        return 0

    def _pass_over(self) -> int:
        """Where the whole frames end with which what has come begins: other units' late answers, or such to another request."""
        rx = self._rx
        at = 0
        while self._have - at >= SHORTEST:
            length = answer_length(rx, at, self._have)
            if length > self._have - at or hot.crc16(rx, at, at + length):
                break
            self.count.late += 1
            at += length
        return at

    def _begins(self, at: int, unit: int, function: int) -> bool:
        """Something in what has come begins like the answer; not on a line that echoes before the echo, which begins so too."""
        rx = self._rx
        for i in range(at, self._have - 1):
            if rx[i] == unit and rx[i + 1] & 0x7F == function:
                return not (self.echoes and self._echo_due)
        return False


def _whole_ms(us: int) -> int:
    """What may be slept of `us` microseconds, as a sleep may last a good millisecond longer than asked."""
    return max(0, us - 1500) // 1000
