"""A Modbus line in virtual time: the board's own client on one end, a SunSpec device in the same process on the other.

Requests and answers are the frames that lib/modbus builds and checks; only the wire between is not there.  A device may
be busy (exceptions 5, 6, 10, 11 for a share of the requests), silent, slow, or change its scale factors between two requests.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable

from modbus import ModbusTimeout
from modbus.client import PDU, Client, Slot
from tools.sim.devices.sunspec_server import SunSpecServer

BUSY = (5, 6, 10, 11)
TIMEOUT_S = 0.5
_READ, _WRITE_ONE, _WRITE_MANY = 3, 6, 16


class Line(Client):
    """What a driver takes for its bus.  `answer_s`: how long the device takes; `clock`: the plant's, in s."""

    def __init__(self, server: SunSpecServer, rng: random.Random, answer_s: float, clock: Callable[[], float]) -> None:
        super().__init__()
        self.server = server
        self.answer_s = answer_s
        self.read_s = 0.0  # when the registers of the last read would arrive, with nobody held up
        self.broken: dict[str, int] = {}  # point: what stands in its register whatever is measured
        self._clock = clock
        self.busy_share = 0.0
        self.busy_codes: tuple[int, ...] = BUSY
        self.played: Counter[str] = Counter()  # busy answers, rescalings
        self._rng = rng
        self._rescale: list[tuple[str, int, int]] = []
        self._registers: list[int] = []

    def rescale(self, factor: str, power: int) -> None:
        """Change a scale factor (with the values at it) just before some request that follows.

        A device does not change one between a request that reads it and the write that follows, so a written model's
        factor changes before a read of it.
        """
        self._rescale.append((factor, power, self._rng.randrange(20)))

    async def _exchange(self, slot: Slot, length: int) -> int:
        """Carry one request there and its answer back."""
        self.count.frames += 1
        slot.fill(PDU + length)
        frame, faults, rng = slot.frame, self.server.faults, self._rng
        trip_s = self.answer_s * (0.5 + rng.random()) + (faults.delay_s if faults.slow else 0.0)
        if faults.silent:
            await asyncio.sleep(TIMEOUT_S)
            self.count.timeouts += 1
            raise ModbusTimeout("no answer")
        function, address, count = frame[PDU], frame[PDU + 1] << 8 | frame[PDU + 2], frame[PDU + 3] << 8 | frame[PDU + 4]
        if self._rescale:
            self._rescale_now(function, address, count)
        if self.busy_share and rng.random() < self.busy_share:
            self.played["busy"] += 1
            code = rng.choice(self.busy_codes)
            await asyncio.sleep(trip_s)
            return self._refuse(slot, function, code)
        values: list[int] | None = None
        if function == _WRITE_ONE:
            values, count = [count], 1
        elif function == _WRITE_MANY:
            values = [frame[at] << 8 | frame[at + 1] for at in range(PDU + 6, PDU + 6 + 2 * count, 2)]
        refusal = await self.server._access(function, 0, address, count, self._registers, values)
        answer = self._registers_at(address, count) if values is None and refusal is None else []
        if answer:
            self.read_s = self._clock() + trip_s
        await asyncio.sleep(trip_s)  # a controller that is held up meanwhile finds the answer late
        if refusal is not None:
            return self._refuse(slot, function, int(refusal))
        if values is not None:
            return 5  # the echo is what stands in the frame
        frame[PDU + 1] = 2 * count
        at = PDU + 2
        for word in answer:
            frame[at] = word >> 8
            frame[at + 1] = word & 0xFF
            at += 2
        return 2 + 2 * count

    def _registers_at(self, address: int, count: int) -> list[int]:
        chain = self.server.chain
        for name, raw in self.broken.items():
            place = chain.places[name]
            at = place.address - chain.base
            for word in range(place.length):
                chain.registers[at + word] = raw >> 16 * (place.length - 1 - word) & 0xFFFF
        first = address - chain.base
        return chain.registers[first : first + count]

    def _refuse(self, slot: Slot, function: int, code: int) -> int:
        slot.frame[PDU] = function | 0x80
        slot.frame[PDU + 1] = code
        return 2

    def _rescale_now(self, function: int, address: int, count: int) -> None:
        """Change what is due before this request; a factor of a written model only before a read of that factor."""
        chain = self.server.chain
        factor, power, left = self._rescale[0]
        written = factor.startswith("704.")
        if left > 0 or (written and (function != _READ or not chain.touches(factor, address, count))):
            self._rescale[0] = (factor, power, left - 1)
            return
        del self._rescale[0]
        self.played["rescaled"] += 1
        chain.rescale(factor, power)
