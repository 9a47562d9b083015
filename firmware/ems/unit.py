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
_POINTS = const((  # what the journal says of each group of meaning, and what it says instead
    "stored point", "704 WSet", "704 WMaxLimPct", "123 WMaxLimPct", "124 StorCtl_Mod", "802 SoCRsvMin", "123 Conn", "802 SetOp",
    "703 ES", "715 OpCtl", "715 AlarmReset", "802 AlmRst", "704 WRmp", "heartbeat", "705 AdptCrvReq", "706 AdptCrvReq",
    "711 AdptCtlReq", "712 AdptCrvReq",
    "704 WSetEna", "704 WSetPct", "704 WMaxLimPctEna", "123 WMaxLim_Ena", "124 OutWRte", "124 InWRte", "124 ChaGriSet",
    "802 SocRsvMax", "802 SoCRsvMin above SocRsvMax",
))  # fmt: skip
_SET_ENA = const(18)
_SET_PCT = const(19)
_LIM_ENA = const(20)
_OLD_ENA = const(21)
_OUT_RATE = const(22)
_IN_RATE = const(23)
_FROM_GRID = const(24)
_RSV_MAX = const(25)
_CROSSED = const(26)
_PLACES = (  # where each is kept; -1: of these the first word that is written is told
    -1, t.SET_W, t.LIM_PCT, t.OLD_PCT, t.STOR_MOD, t.RSV_MIN, t.CONN, t.SET_OP, t.ES, t.OP_CTL, t.ALARM_RESET, t.ALM_RST, t.RAMP,
    -1, t.VV_REQ, t.VW_REQ, t.DROOP_REQ, t.WV_REQ,
    t.SET_ENA, t.SET_PCT, t.LIM_ENA, t.OLD_ENA, t.OUT_RATE, t.IN_RATE, t.FROM_GRID, t.RSV_MAX, t.RSV_MIN,
)  # fmt: skip
_REFUSED = const("read-only register")


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
        start = self._chain.inside(start)
        code = self._judge(client, start, count, words)
        if code:
            self._note(client, False, self._chain.kept(start), count, words)
        return code

    def _judge(self, client: int, start: int, count: int, words) -> int:
        self._groups = 0
        self._first = -1
        access = self._rights
        role = _SERVICE if access is None else access.role(client)
        code = 0
        at = start
        while at < start + count:
            row = rows.row_of(t.WRITES, len(t.WRITES) // _ROW, at)
            if row < 0:
                return _NOT_ALLOWED
            row *= _ROW
            group = t.WRITES[row + 5]
            self._groups |= 1 << group
            if self._first < 1:
                self._first = group
            if role < max(_CONTROL, t.WRITES[row + 4]):
                return _NOT_ALLOWED
            at = (t.WRITES[row] << 8 | t.WRITES[row + 1]) + (t.WRITES[row + 2] & 63)
            if not self._fits(row, start, count, words):
                code = _NO_VALUE
        if self._groups >> t.G_RESERVE & 1:
            at = self._chain.kept(start)
            if self._word(t.RSV_MIN, at, count, words) > self._word(t.RSV_MAX, at, count, words):
                self._first = _CROSSED  # a floor above its ceiling: nothing could move
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
        lost = self._control.has_lost()
        code = access.take(client)
        if lost and not code:
            self._control.lose()
        return code

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
        self._control.heard(client, True)
        self._control.touch(self._groups, client, kept, count)
        self._note(client, True, kept, count, words)
        return 0

    # ---- what the journal says of a write ------------------------------------------------------------------------

    def _note(self, client: int, accepted: bool, at: int, count: int, words) -> None:
        """at: where its first register is kept."""
        if self._rights is None or self._first == t.G_BEAT:
            return
        if self._first < 0:
            self._rights.note(client, accepted, _REFUSED, words[0])
            return
        point = self._point(at, count, words)
        self._rights.note(client, accepted, _POINTS[point], self._value(point, accepted, at, count, words))

    def _word(self, place: int, at: int, count: int, words) -> int:
        """A register that is kept, with what the write makes of it."""
        return words[place - at] if at <= place < at + count else self._chain.registers[place]

    def _is_off(self, place: int, at: int, count: int, words) -> bool:
        """The write says of an enable that it is off: that is told, and not a value that no longer acts."""
        return at <= place < at + count and not words[place - at]

    def _point(self, at: int, count: int, words) -> int:
        """Which of _POINTS the write is about: the value that the client commands by it, whichever register it has written."""
        group = self._first
        if group == t.G_WSET:
            if self._is_off(t.SET_ENA, at, count, words):
                return _SET_ENA
            return group if self._word(t.SET_MOD, at, count, words) else _SET_PCT
        if group == t.G_WLIMIT:
            return _LIM_ENA if self._is_off(t.LIM_ENA, at, count, words) else group
        if group == t.G_OLD_LIMIT:
            return _OLD_ENA if self._is_off(t.OLD_ENA, at, count, words) else group
        if group == t.G_STORAGE:
            return self._rate(at, count, words)
        return _RSV_MAX if group == t.G_RESERVE and at + count <= t.RSV_MIN else group

    def _rate(self, at: int, count: int, words) -> int:
        """Of 124: the rate that acts, of two the one that asks for power; while none does the one that is written."""
        if self._is_off(t.STOR_MOD, at, count, words):
            return t.G_STORAGE
        if at == t.FROM_GRID:
            return _FROM_GRID
        mode = self._word(t.STOR_MOD, at, count, words)
        if mode == 3:
            asks = not self._word(t.OUT_RATE, at, count, words) & 0x8000 and self._word(t.IN_RATE, at, count, words) & 0x8000
            return _IN_RATE if asks else _OUT_RATE
        return _IN_RATE if mode == 1 or (not mode and at == t.IN_RATE) else _OUT_RATE

    def _value(self, point: int, accepted: bool, at: int, count: int, words) -> int:
        """As it stands after the write; of a refused one as it was asked for, and the first word where it was not."""
        place = _PLACES[point]
        size = 2 if point == t.G_WSET else 1
        if place < 0 or (not accepted and not at <= place <= at + count - size):
            return words[0]
        value = self._word(place, at, count, words)
        if value & 0x8000 and (size == 2 or point == _SET_PCT or point == _OUT_RATE or point == _IN_RATE):
            value -= 0x10000
        if size == 1:
            return value
        if -0x4000 <= value < 0x4000:
            return value << 16 | self._word(place + 1, at, count, words)
        return _MOST if value > 0 else -_MOST
