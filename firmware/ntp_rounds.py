"""Rounds of questions to NTP servers: each server once, the best answer to the clock.  Loaded where a site has servers."""

import asyncio

import dns
import ntp
from micropython import const
from notice import say

from firmware.clock import NTP, REFUSED

_PAUSE_MS = const(20)
_LONGEST_S = const(86400)
_DENIED_S = const(86400)  # a server that refuses is left alone for so long: a pool's name is another host by then
_FEW = const(8)  # rounds (nine minutes of a clock that is not set) after which the others are taken to be gone
_SAME = const(())


class NtpRounds:
    """`keeper`: the Timekeeper, which counts; `options`: its own; `name_server`: see there."""

    def __init__(self, keeper, clock, options: dict, name_server=None) -> None:
        self._keeper = keeper
        self._clock = clock
        self._options = options
        self._servers = options["ntp"].split()
        self._name_server = name_server
        self._denied_s = {}  # until when, by server
        self._few = 0  # rounds one after the other in which too few answered to be a majority
        self._left_alone = False  # in this round one asked to be asked less

    async def ask(self) -> int:
        """One round; what the clock made of the best answer (clock.REFUSED without one)."""
        keeper = self._keeper
        keeper.count("polls")
        samples = []
        asked = []  # addresses: two names of one server are one source
        self._left_alone = False
        of = 0
        for server in self._servers:
            found = None
            if self._clock.elapsed_s >= self._denied_s.get(server, 0):
                found = await self._ask(server, asked)
            of += found is not _SAME
            if found:
                samples.append(found)
            await asyncio.sleep_ms(_PAUSE_MS)  # without a network each fails at once: control comes between two of them
        group = ntp.agreeing(samples)
        if not group:
            if samples:
                keeper.count("contradictions", "NTP servers contradict each other")
            return REFUSED
        if not self._left_alone:
            keeper.poll_s = max(keeper.poll_s // 2, self._options["poll_s"])
        # A majority of the servers, not of the answers: what is alone after a power cut may be the one that is wrong.
        self._few = 0 if len(group) * 2 > of else min(self._few + 1, _FEW)
        if 0 < self._few < _FEW:
            keeper.count("held", "%d of %d NTP servers is no majority: believed after %d rounds" % (len(group), of, _FEW))
            return REFUSED
        day, sec, ms, at_ms, error_ms = ntp.best(group)
        return keeper.set(NTP, day, sec, ms, error_ms, at_ms, len(group))

    async def _ask(self, server: str, asked: list):
        """A sample from one server; None, or _SAME for one that has been asked in this round by another name."""
        keeper = self._keeper
        try:
            address = server
            if not dns.is_address(server):
                name_server = self._options["name_server"] or (self._name_server() if self._name_server else "")
                if not name_server:
                    keeper.count("rejected", "no name server to ask for " + server)
                    return None
                address = await dns.resolve(server, name_server)
            if address in asked:
                return _SAME
            asked.append(address)
            found = await ntp.sample(address, 1000, self._options["ntp_port"])
            keeper.count("timeouts" if found is None else "answers", "%s: no answer" % server if found is None else "")
            return found
        except ntp.KissOfDeath as error:
            text = "%s: %s" % (server, error)
            if error.code == "RATE":
                self._left_alone = True
                keeper.poll_s = min(keeper.poll_s * 2, _LONGEST_S)
            else:
                self._denied_s[server] = self._clock.elapsed_s + _DENIED_S
                text += "; it is asked again in a day"
                say("time: " + text)
            keeper.count("rejected", text)
        except ValueError as error:
            keeper.count("rejected", "%s: %s" % (server, error))
        except OSError as error:
            keeper.count("timeouts", "%s: %s" % (server, error))
        return None
