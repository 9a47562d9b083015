"""Keeps the clock right: asks NTP servers, reads and sets the clock chip, and carries the time over a reset."""

import asyncio
import time

from civil import DAY_S, date_of, day_number, weekday
from micropython import const

from firmware.clock import EMS, HELD, KEPT, REFUSED, RTC, SYNCED
from firmware.errors import PowerError

_FIRST_WAIT_S = const(4)  # between the first attempts, doubling
_HELD_WAIT_S = const(64)  # before the second reading that a big step wants
_CHIP_S = const(3600)  # between looks at the clock chip

OPTIONS = (
    ("zone", "str", "UTC0", 1, 64, "IANA name such as Europe/Berlin, or a POSIX TZ string"),
    (
        "ntp",
        "str",
        "0.pool.ntp.org 1.pool.ntp.org 2.pool.ntp.org 3.pool.ntp.org",
        0,
        0,
        "NTP servers, names or addresses separated by spaces; empty for none",
    ),
    ("name_server", "str", "", 0, 0, "IPv4 address of a name server; empty: the one the network names"),
    ("poll_s", "int", 1024, 64, 86400, "s between two rounds of questions to the NTP servers"),
    ("ntp_port", "int", 123, 1, 65535, "UDP port of the NTP servers"),
)


class Timekeeper:
    """`clock`: the Clock to set; `options`: checked against OPTIONS; `chip`: a DS3231 or None; `kept`: a `machine.RTC`
    or None; `name_server`: a function that returns the address of the network's name server, "" while there is none.
    """

    def __init__(self, clock, options: dict, chip=None, kept=None, name_server=None) -> None:
        self._clock = clock
        self._chip = chip
        self._kept = kept
        self._ntp = None
        if options["ntp"]:
            from firmware.ntp_rounds import NtpRounds  # a site without a network does not load it

            self._ntp = NtpRounds(self, clock, options, name_server)
        self.poll_s = options["poll_s"]  # between two rounds; a server that is asked too often makes it longer
        self._chip_s = 0  # elapsed_s of the last write to the clock chip
        self._chip_steps = 0  # clock.steps at that write
        self._counts = {"polls": 0, "answers": 0, "timeouts": 0, "rejected": 0, "contradictions": 0, "held": 0, "chip_errors": 0}
        self._last_error = ""

    def counters(self) -> dict:
        """What happened since boot: polls, answers, timeouts, rejected, contradictions, held, chip_errors, last_error."""
        counts = dict(self._counts)
        counts["last_error"] = self._last_error
        return counts

    def count(self, what: str, error="") -> None:
        """Count one of the counters, and keep the error."""
        self._counts[what] = (self._counts[what] + 1) & 0x3FFFFFFF
        if error:
            self._last_error = str(error)

    async def run(self) -> None:
        """For ever.  Bad answers, silence and a missing network are counted, never raised."""
        clock = self._clock
        clock.tick(time.ticks_ms())  # what is read now is of now, not of the calendar's last look; and so is what is handed on
        self.read_kept()
        self.read_chip()
        wait_s = _FIRST_WAIT_S
        held = False
        since_chip_s = 0
        while True:
            done = await self.ask_servers()
            held = done == HELD and not held  # the second look comes soon, the others when it is their time
            if held:
                pause_s = _HELD_WAIT_S
            elif done > HELD or clock.state == SYNCED or self._ntp is None:
                pause_s = self.poll_s
                wait_s = _FIRST_WAIT_S
            else:
                pause_s = wait_s
                wait_s = min(wait_s * 2, self.poll_s)
            while pause_s > 0:
                clock.tick(time.ticks_ms())
                self.hand_on()
                part_s = min(pause_s, 60)
                await asyncio.sleep_ms(part_s * 1000)
                pause_s -= part_s
                since_chip_s += part_s
            if since_chip_s >= _CHIP_S:
                since_chip_s = 0
                clock.tick(time.ticks_ms())
                self.read_chip()

    async def ask_servers(self) -> int:
        """One round of questions; what the clock made of the best answer (clock.REFUSED without one)."""
        return REFUSED if self._ntp is None else await self._ntp.ask()

    def set(self, source: int, day: int, sec: int, ms: int = 0, error_ms: int = -1, at_ms=None, agreed: int = 1) -> int:
        """Give the clock a time; what it made of it.  One that cannot be is counted and REFUSED."""
        try:
            done = self._clock.set(source, day, sec, ms, error_ms, at_ms, agreed)
        except PowerError as error:
            self.count("rejected", error)
            return REFUSED
        if done == HELD:
            self.count("held")
        return done

    # ---- what survives a reset ------------------------------------------------------------------------

    def read_kept(self) -> None:
        """Sets the clock from the chip's own, where that has run on over a reset."""
        if self._kept is None:
            return
        year, month, mday, _, hour, minute, second, micros = self._kept.datetime()
        if year >= 2026:  # an ESP32 starts in 2000 when power was away
            self.set(KEPT, day_number(year, month, mday), hour * 3600 + minute * 60 + second, micros // 1000 % 1000)

    def read_chip(self) -> None:
        """Sets the clock from the clock chip, if that knows the time."""
        if self._chip is None:
            return
        try:
            found = self._chip.read()
        except OSError as error:
            self.count("chip_errors", "clock chip: %s" % error)
            return
        if found is None:
            self._last_error = "clock chip: has lost the time"
        else:
            self.set(RTC, found[0], found[1], 500)  # somewhere in that second

    def hand_on(self) -> None:
        """Hands good time on to what survives a reset, whoever brought it: NTP, the EMS or a person.

        The chip's own clock gets it every time; the clock chip after a step and once a day, as it keeps time well.
        """
        clock = self._clock
        if not clock.is_set or clock.source < EMS:
            return
        if self._kept is not None:
            year, month, mday = date_of(clock.day)
            today = (weekday(clock.day) + 6) % 7  # machine.RTC counts Monday as 0
            hour, rest = clock.sec // 3600, clock.sec % 3600
            self._kept.datetime((year, month, mday, today, hour, rest // 60, rest % 60, clock.ms * 1000))
        if self._chip is None:
            return
        if clock.steps != self._chip_steps or clock.elapsed_s - self._chip_s >= DAY_S:
            try:
                self._chip.write(clock.day, clock.sec)
                self._chip_s = clock.elapsed_s
                self._chip_steps = clock.steps
            except OSError as error:
                self.count("chip_errors", "clock chip: %s" % error)
