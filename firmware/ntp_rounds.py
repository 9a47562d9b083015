"""Rounds of questions to NTP servers: each server once, the best answer to the clock.  Loaded where a site has servers."""

import asyncio

import dns
import ntp
from micropython import const

from firmware.clock import NTP, REFUSED

_PAUSE_MS = const(20)
_LONGEST_S = const(86400)


class NtpRounds:
    """`keeper`: the Timekeeper, which counts; `options`: its own; `name_server`: see there."""

    def __init__(self, keeper, clock, options: dict, name_server=None) -> None:
        self._keeper = keeper
        self._clock = clock
        self._options = options
        self._servers = options["ntp"].split()
        self._name_server = name_server

    async def ask(self) -> int:
        """One round; what the clock made of the best answer (clock.REFUSED without one)."""
        keeper = self._keeper
        keeper.count("polls")
        samples = []
        asked = []  # addresses: two names of one server are one source
        for server in list(self._servers):
            found = await self._ask(server, asked)
            if found is not None:
                samples.append(found)
            await asyncio.sleep_ms(_PAUSE_MS)  # without a network each fails at once: control comes between two of them
        group = ntp.agreeing(samples)
        if not group:
            if samples:
                keeper.count("contradictions", "NTP servers contradict each other")
            return REFUSED
        day, sec, ms, at_ms, error_ms = ntp.best(group)
        return keeper.set(NTP, day, sec, ms, error_ms, at_ms, len(group))

    async def _ask(self, server: str, asked: list):
        """A sample from one server, or None."""
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
                return None
            asked.append(address)
            found = await ntp.sample(address, 1000, self._options["ntp_port"])
            keeper.count("timeouts" if found is None else "answers", "%s: no answer" % server if found is None else "")
            return found
        except ntp.KissOfDeath as error:
            keeper.count("rejected", "%s: %s" % (server, error))
            if error.code == "RATE":
                keeper.poll_s = min(keeper.poll_s * 2, _LONGEST_S)
            else:
                self._servers.remove(server)
        except ValueError as error:
            keeper.count("rejected", "%s: %s" % (server, error))
        except OSError as error:
            keeper.count("timeouts", "%s: %s" % (server, error))
        return None
