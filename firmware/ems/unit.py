"""The register model of the EMS's chain: what a request may read and write, judged whole before any of it acts.

Reading, checking and writing allocate nothing.
"""

from micropython import const

from firmware.ems import tables as t
from firmware.modes import Mode
from modbus import hot
from modbus import registers as rows
from modbus.server import HOLDING_REGISTERS

_NOT_ALLOWED = const(1)
_NO_REGISTER = const(2)
_NO_VALUE = const(3)
_BUSY = const(6)
_CONTROL = const(2)  # the role that a write takes at least
_SERVICE = const(3)
_ROW = const(6)
_QUIET = (1 << t.G_BEAT) | (1 << t.G_RESET) | (1 << t.G_RESET_BATTERY)  # what is accepted in EMERGENCY
_MOST = const(0x3FFFFFFF)
_POINTS = (  # of each group of meaning, for the journal
    "stored point", "704 WSet", "704 WMaxLimPct", "123 WMaxLimPct", "124 StorCtl_Mod", "802 SoCRsv", "123 Conn", "802 SetOp",
    "703 ES", "715 OpCtl", "715 AlarmReset", "802 AlmRst", "704 WRmp", "heartbeat", "705 AdptCrvReq", "706 AdptCrvReq",
    "711 AdptCtlReq", "712 AdptCrvReq",
)  # fmt: skip
_REFUSED = "read-only register"


class Unit:
    """What a server of the chain serves; one for each server, `server` being its own."""

    def __init__(self, chain, control, access=None) -> None:
        """access: who may do what, see firmware.ems.access; None: everybody may everything."""
        self.server = None
        self._chain = chain
        self._control = control
        self._rights = access
        from firmware.ems import filling  # it leaves with those that build a site

        self._limits = filling.limits(chain)
        self._groups = 0  # of the write that was checked last
        self._first = 0  # its first group

    def read(self, table: int, address: int, count: int, words) -> int:
        """As modbus.server asks for it; a part of a point may be read as well."""
        start = address - t.BASE
        if table != HOLDING_REGISTERS:
            return _NOT_ALLOWED
        if start < 0 or start + count > self._chain.size:
            return _NO_REGISTER
        client = self.server.client
        if self._rights is not None and self._rights.role(client) < 1:
            return _NOT_ALLOWED
        if self._control.commander >= 0:
            self._control.heard(client)
        self._chain.read(start, count, words)
        return 0

    def check(self, table: int, address: int, count: int, words) -> int:
        """Whether the whole of a write is acceptable: by this client, for every point that it touches, and now."""
        start = address - t.BASE
        if table != HOLDING_REGISTERS:
            return _NOT_ALLOWED
        if start < 0 or start + count > self._chain.size:
            return _NO_REGISTER
        client = self.server.client
        self._control.heard(client)
        code = self._judge(client, self._chain.inside(start), count, words)
        if code:
            self._note(client, False, words)
        return code

    def _judge(self, client: int, start: int, count: int, words) -> int:
        self._groups = 0
        self._first = -1
        access = self._rights
        role = _SERVICE if access is None else access.role(client)
        if role < _CONTROL:
            return _NOT_ALLOWED
        code = 0
        at = start
        while at < start + count:
            row = rows.row_of(t.WRITES, len(t.WRITES) // _ROW, at)
            if row < 0:
                return _NOT_ALLOWED
            row *= _ROW
            if t.WRITES[row + 4] > role:
                return _NOT_ALLOWED
            group = t.WRITES[row + 5]
            self._groups |= 1 << group
            if self._first < 1:
                self._first = group
            at = (t.WRITES[row] << 8 | t.WRITES[row + 1]) + (t.WRITES[row + 2] & 63)
            if not self._fits(row, start, count, words):
                code = _NO_VALUE
        if self._control.is_local():
            return _NOT_ALLOWED
        if code:
            return code
        if self._control.mode() == Mode.EMERGENCY and self._groups & ~_QUIET:
            return _BUSY
        if access is None:
            return 0
        if not self._groups & ~(1 << t.G_BEAT):
            access.keep(client)
            return 0
        return access.take(client)

    def _fits(self, row: int, start: int, count: int, words) -> bool:
        """The point of a row, with what the write makes of it, is inside its range; what it was already it may stay."""
        table = t.WRITES
        registers = self._chain.registers
        limit = table[row + 3]
        if limit == t.R_ANY:
            return True
        first = table[row] << 8 | table[row + 1]
        end = first + (table[row + 2] & 63)
        kept = self._chain.kept(first) - first
        value = 0
        changed = False
        for at in range(first, end):
            word = registers[kept + at]
            if start <= at < start + count and words[at - start] != word:
                word = words[at - start]
                changed = True
            if at == first:
                if table[row + 2] & 64 and word & 0x8000:
                    word -= 0x10000
                value = word
            elif -0x4000 <= value < 0x4000:
                value = value << 16 | word
            else:
                value = _MOST if value > 0 else -_MOST  # in an int32 beyond 30 bits: beyond every range
        if limit == t.R_SAME or not changed:
            return not changed
        if limit == t.R_WATTS and (start > first or start + count < end):
            return False  # half of a power is another power
        return self._limits[2 * limit] <= value <= self._limits[2 * limit + 1]

    def write(self, table: int, address: int, count: int, words) -> int:
        """Takes what `check` has accepted; what it means is looked at by the service, see control.py."""
        chain = self._chain
        kept = chain.kept(chain.inside(address - t.BASE))
        hot.copy_words(words, 0, count, chain.registers, kept)
        client = self.server.client
        self._control.touch(self._groups, client, kept, count)
        self._note(client, True, words)
        return 0

    def _note(self, client: int, accepted: bool, words) -> None:
        if self._rights is not None and self._first != t.G_BEAT:
            self._rights.note(client, accepted, _REFUSED if self._first < 0 else _POINTS[self._first], words[0])
