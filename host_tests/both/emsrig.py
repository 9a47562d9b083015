"""An EMS at a plant in virtual time: asks the server's own code with frames, finds models as clients do, and counts in them.

Points are (model, offset from its ID register), as the standard's tables have them.
"""

from firmware.ems.chain import Chain
from firmware.ems.control import Control
from firmware.ems.unit import Unit
from host_tests.both.plant import Plant
from modbus.server import Server

BASE = 40000


class Refused(Exception):
    """The answer was an exception; `code` is its number."""

    def __init__(self, code):
        super().__init__("exception %d" % code)
        self.code = code


class Ems:
    """The plant with its chain; `client` is who asks, `access` who may what."""

    def __init__(self, plant=None, silence_s=60, access=None):
        self.plant = plant or Plant().ready()
        self.pm = self.plant.pm
        self.chain = Chain(self.pm.image, ("maker", "site", "1.0", "77"), 1)
        self.control = Control(self.chain, self.pm, 50, silence_s, access)
        self.unit = Unit(self.chain, self.control, access)
        self.server = Server({1: self.unit, 126: self.unit})
        self.server.client = 0
        self.unit.server = self.server
        self.reply = bytearray(264)
        self.starts = self._find()

    # ---- the protocol ---------------------------------------------------------------------------------------

    def ask(self, pdu, unit=1):
        """The answer's PDU; Refused for an exception."""
        size = self.server.serve(unit, pdu, 0, len(pdu), self.reply, 0)
        if self.reply[0] & 0x80:
            raise Refused(self.reply[1])
        return bytes(self.reply[:size])

    def read(self, address, count, unit=1):
        answer = self.ask(bytes((3, address >> 8, address & 255, count >> 8, count & 255)), unit)
        return [answer[2 + 2 * i] << 8 | answer[3 + 2 * i] for i in range(count)]

    def write(self, address, *words):
        """Function 6 for one word, 16 for several."""
        if len(words) == 1:
            self.ask(bytes((6, address >> 8, address & 255, words[0] >> 8 & 255, words[0] & 255)))
            return
        head = (16, address >> 8, address & 255, 0, len(words), 2 * len(words))
        data = bytes(head) + b"".join([bytes((word >> 8 & 255, word & 255)) for word in words])
        self.ask(data)

    def _find(self):
        starts = {}
        assert self.read(BASE, 2) == [0x5375, 0x6E53]
        at = BASE + 2
        while True:
            model, length = self.read(at, 2)
            if model == 0xFFFF:
                return starts
            starts[model] = at
            at += 2 + length

    # ---- points ----------------------------------------------------------------------------------------------

    def at(self, model, offset):
        return self.starts[model] + offset

    def get(self, model, offset):
        return self.read(self.at(model, offset), 1)[0]

    def get_signed(self, model, offset):
        value = self.get(model, offset)
        return value - 0x10000 if value & 0x8000 else value

    def get_long(self, model, offset):
        high, low = self.read(self.at(model, offset), 2)
        return (high - 0x10000 if high & 0x8000 else high) << 16 | low

    def put(self, model, offset, *words):
        self.write(self.at(model, offset), *words)

    def put_long(self, model, offset, value):
        self.put(model, offset, value >> 16 & 0xFFFF, value & 0xFFFF)

    def refusal(self, model, offset, *words):
        """The exception code of a write; 0: it was accepted."""
        try:
            self.put(model, offset, *words)
        except Refused as refused:
            return refused.code
        return 0

    # ---- time ------------------------------------------------------------------------------------------------

    def run(self, seconds, polls=True):
        """The plant and the service move on; polls: the EMS reads something every second, as all of them do."""
        for i in range(int(seconds * 20 + 0.5)):
            self.plant.cycle()
            for _ in range(2):
                self.control.step(25)
            if polls and i % 20 == 19:
                self.get(701, 3)

    def settle(self):
        """Two cycles: what was written has arrived at the inverter's command unless a ramp holds it."""
        self.run(0.1)

    def owner(self):
        """Whose claim wins now."""
        claims = self.pm.claims()
        return claims[0]["owner"] if claims else ""

    def limits(self):
        """(discharge kW, charge kW) that the EMS bounds; None: free."""
        found = self.pm.curtailments()
        return (found[0]["discharge_kw"], found[0]["charge_kw"]) if found else (None, None)
