"""SunSpec over Modbus: finds a device's model chain, reads blocks of points, scales them to integers.

A device maps its models from register 40000, 0 or 50000 on: the marker "SunS", then (id, length, points)
one after the other up to id 0xFFFF.  Scale factors, references and lengths are data: every block is read with
its scale factors and with its model's id and length, and a value is scaled by the factor it came with.
Numbers: SunSpec Device Information Model Specification V1.1, and the model definitions from which
tools/generate/gen_sunspec.py makes sunspec_tables.py.
"""

import asyncio
import time
from array import array

from micropython import const
from notice import Once, readable, say

from firmware import image as im
from firmware.devices import sunspec_tables as tables
from firmware.devices.modbus_unit import ModbusUnit
from firmware.devices.sunspec_chain import END, MOST_MODELS, Chain, NeedsPerson, NotSunSpec
from firmware.devices.sunspec_numbers import point, scale_factor, size_of
from modbus import ModbusError, ModbusRefused

_BASES = const((40000, 0, 50000))
_MARK_HIGH = const(0x5375)  # "Su"
_MARK_LOW = const(0x6E53)  # "nS"
_TRIES = const(4)  # of each request of the discovery
_TRY_AGAIN_MS = const(50)
_STEADY_TRIES = const(3)  # of a block whose scale factors changed between its requests
_MOMENT_MS = const(1000)  # a block that took longer to read is not one moment's
_ROW = const(5)  # bytes of a row of a block table
_NO_SCALE = const(255)
LONGEST_METER = const(44)  # registers that a meter's blocks and the discovery need at most
LONGEST_PCS = const(123)  # and an inverter's
_RETRY_MS = const(200)  # after a discovery that failed
_LISTED = const(8)  # of several of one kind; a gateway's meters, with what each says of itself, would fill kilobytes in one piece
_DECIDE_MS = const(5000)  # and after one that needs a person
_UNKNOWN = Chain()  # of a device that was not discovered, or whose blocks are placed
_LOST_MS = const(10000)  # without a measurement, after which the device is discovered anew: it may be another one


class Block:
    """A table of sunspec_tables.py placed at its address in one device.

    count: registers of the one request that it takes; 0 where the device or its line bears only short ones.  Then there are
    `pieces`, (address, how many, where to): those with scale factors come first, and once more behind the others (`again`).
    registers: what was read last, counted from the model's id; blocks that one task reads one after the other share them.
    """

    # of the class, for hardly a device has any
    pieces: tuple = ()
    again: tuple = ()
    _factors = None  # scale factors, raw, as they came last; what is read in one request has those that belong to it

    def __init__(self, table: tuple, entry: tuple, registers: array, longest: int, gap: int) -> None:
        self.model, self.address, self.length = entry
        self.rows = table[2]
        self.registers = registers
        cuts = _pieces(self.rows, longest, gap)
        self.count = cuts[0][1] if len(cuts) == 1 else 0
        if self.count:
            return
        pieces = []
        again = []
        for first, end in cuts:
            piece = (self.address + first, end - first, memoryview(registers)[first:end] if first else registers)
            holds_factor = False
            for at in range(2, len(self.rows), _ROW):
                if self.rows[at] != _NO_SCALE and first <= self.rows[at] < end:
                    holds_factor = True
            (again if holds_factor else pieces).append(piece)
        self.pieces = tuple(again + pieces)
        if again:
            self.again = tuple(again)
            self._factors = array("H", bytes(2 * (len(self.rows) // _ROW)))

    def is_steady(self) -> bool:
        """The scale factors are those that were read before: only what lies between two equal readings belongs to them."""
        steady = True
        rows = self.rows
        factors = self._factors
        if factors is None:
            return True
        for row in range(len(factors)):
            where = rows[row * _ROW + 2]
            if where != _NO_SCALE and factors[row] != self.registers[where]:
                factors[row] = self.registers[where]
                steady = False
        return steady

    def value(self, at: int):
        """The point of the row at rows[at], in its slot's unit; im.NO_VALUE: not implemented; None: cannot be true."""
        rows = self.rows
        power = rows[at + 4]
        where = rows[at + 2]
        if where != _NO_SCALE:
            factor = scale_factor(self.registers[where])
            if factor is None or factor == im.NO_VALUE:
                return factor
            power += factor
        return point(self.registers, rows[at], rows[at + 1], power)

    def place_of(self, slot: int) -> str:
        """Where the point of a slot lies, for people."""
        for at in range(0, len(self.rows), _ROW):
            if self.rows[at + 3] == slot:
                return "model %d, register %d" % (self.model, self.address + self.rows[at])
        return "model %d" % self.model


class SunSpec:
    """The models of one device behind a Modbus client.

    After `discover`: `base`, `chain` (id, address, length of each model, and who the device is).  Every method that talks raises
    ModbusError.

    bounds: what can be true of this device: slot, lowest, highest, and so on; essential: slots without which the rest of
    their block is not taken either; span: registers of the longest block; longest: registers in one request; gap:
    registers between two points that are read along to save a request; values: how many its blocks fill, the last slot's
    number and one.
    """

    def __init__(
        self, client, unit: int, bounds: tuple, essential: tuple, span: int, longest: int, gap: int, values: int = tables.N_VALUES
    ) -> None:
        self.unit = ModbusUnit(client, unit)
        self._bounds = bounds
        self._essential = essential
        self._longest = longest
        self._gap = gap
        self.registers = array("H", bytes(2 * span))  # of the task that measures
        self.values = array("i", [im.NO_VALUE] * values)
        self.base = -1
        self.chain: Chain = _UNKNOWN
        self._lacks = 0  # a function (6 or 16) that this device does not know
        self.moved = False  # the map is not the one that was discovered
        self.unread: list = []  # addresses of models that gave no answer when they were read for the first time

    # ---- discovery -------------------------------------------------------------------------------------
    async def discover(self) -> None:
        """Walk the chain and read who the device is.  Raises NotSunSpec if there is none."""
        base = await self._find_base()
        chain = self.chain = Chain()
        self.base = base
        address = base + 2
        for _ in range(MOST_MODELS):
            try:
                await self._read_surely(address, 2)
            except ModbusRefused as error:
                if error.busy or not chain.entries:
                    raise  # busy says nothing about what is there
                break  # nothing behind the last model, not even the end marker
            model, length = self.registers[0], self.registers[1]
            if model == END or (model == 0 and chain.entries):
                break
            chain.add(model, address, length)
            address += 2 + length
        self._lacks = 0
        for slot in range(len(self.values)):
            self.values[slot] = im.NO_VALUE  # what an earlier device said
        chain.identity = await self._identify(chain.first(1))
        self.moved = False

    async def choose(self, kind: tuple, which: str) -> int:
        """Decide which model of `kind` this device is measured by, and which others belong to it; its id, 0 if there is none.

        which: its number among those of its kind, or part of the name that stands in the common model before it.
        Raises NeedsPerson that lists them where there are several and `which` does not name one of them.
        """
        chain = self.chain
        entries = chain.of_kind(kind)
        if not entries:
            return 0
        if len(entries) == 1 and not which:
            return chain.narrow(entries, 0, -1)
        if which and all("0" <= c <= "9" for c in which):
            number = int(which) - 1
            if 0 <= number < len(entries):
                return chain.narrow(entries, number, number)
            if len(entries) == 1 and 0 <= number < chain.most_alike():
                return chain.narrow(entries, 0, number)
        names = []
        for entry in entries:
            names.append(await self._identify(chain.common_before(entry), True))
        fitting = [i for i in range(len(entries)) if which and which.lower() in names[i].lower()]
        if len(fitting) == 1:
            return chain.narrow(entries, fitting[0], -1)
        shown = min(len(entries), _LISTED)
        listed = ["%d: model %d at %d (%s)" % (i + 1, entries[i][0], entries[i][1], names[i]) for i in range(shown)]
        if len(entries) > shown:
            listed.append("and %d more" % (len(entries) - shown))
        given = 'option "which" is %r' % which if which else 'say which with the option "which"'
        text = "%d of one kind in this chain, %s (its number, or part of its name): %s"
        raise NeedsPerson(text % (len(entries), given, "; ".join(listed)))

    def forget(self) -> None:
        """Let go of the map of models and of the name, which nobody needs once the blocks are placed."""
        self.chain = _UNKNOWN

    def found(self) -> str:
        """One line that says what was discovered."""
        ids = " ".join([str(entry[0]) for entry in self.chain.entries])
        return "%s, SunSpec at %d, models %s" % (self.chain.identity, self.base, ids)

    def block(self, table: tuple, model: int = 0, registers=None):
        """The block of `table` in this device, or None if the device lacks the model (or that part of it).

        registers: where it is read to; those of the measuring task unless given.
        """
        entry = self.chain.the(model or table[0])
        if entry is None or table[1] > entry[2] + 2:
            return None
        return Block(table, entry, self.registers if registers is None else registers, self._longest, self._gap)

    async def _find_base(self) -> int:
        silent = None
        for base in _BASES:
            try:
                await self._read_surely(base, 2)
            except ModbusError as error:  # some devices do not answer at all where they have no registers
                if not isinstance(error, ModbusRefused) or error.busy:
                    silent = error
                continue
            if self.registers[0] == _MARK_HIGH and self.registers[1] == _MARK_LOW:
                return base
        if silent is not None:
            raise silent
        raise NotSunSpec("no SunSpec marker at 40000, 0 or 50000")

    async def _identify(self, entry, whole: bool = False) -> str:
        """What a common model says: maker, model, version and serial number; whole: its options too."""
        if entry is None:
            return "unnamed"
        words = []
        for offset, count in _NAMES[: None if whole else -1]:
            await self._read_surely(entry[1] + offset, count)
            said = bytearray()
            for register in self.registers[0:count]:
                said += bytes((register >> 8, register & 0xFF))
            words.append(readable(said))
        return " ".join([w for w in words if w]) or "unnamed"

    async def _read_surely(self, address: int, count: int) -> None:
        """Read, and on a bad line read again: discovery is some twenty requests, one lost answer must not end it."""
        for attempt in range(_TRIES):
            try:
                return await self.unit.read(address, count, self.registers)
            except ModbusError as error:
                if attempt == _TRIES - 1 or questions_the_map(error):
                    raise
                self.note(error)
                await asyncio.sleep_ms(_TRY_AGAIN_MS)

    # ---- operation -------------------------------------------------------------------------------------
    async def read(self, block: Block, to_write: bool = False) -> bool:
        """Read a block and decode it into `values`; False, and counted, if an essential value cannot be true.

        to_write: a command needs it, and waits behind no row of measurements.  Raises NotSunSpec if the model is not where it was.
        """
        for tries in range(_STEADY_TRIES, 0, -1):
            begun = time.ticks_ms()
            if block.count:
                await self.unit.read(block.address, block.count, block.registers, 3, to_write)
            for i in range(len(block.pieces)):
                address, count, view = block.pieces[i]
                await self.unit.read(address, count, view, 3, to_write)
                if i + 1 == len(block.again):
                    block.is_steady()  # noted
            for address, count, view in block.again:
                await self.unit.read(address, count, view, 3, to_write)
            registers = block.registers
            if registers[0] != block.model or registers[1] != block.length:
                self.lose(block, "%d, %d stand there" % (registers[0], registers[1]))
            if tries > 1 and time.ticks_diff(time.ticks_ms(), begun) > _MOMENT_MS:
                continue  # whoever was held up meanwhile holds what was so before; a slow device has its last try
            if not block.again or block.is_steady():
                return self._decode(block)
        self.unit.reject("model %d: its scale factors change between two requests" % block.model)
        return False

    async def write(self, address: int, words: array, count: int, divisible: bool, fresh=None) -> None:
        """words[0:count] into the registers from `address` on; whoever writes has just read the model's place.

        fresh: called just before a request goes out, see Client.write_registers; numbers that go one by one are of one moment.
        divisible: they may arrive one by one.  A device that lacks function 6 is written to with 16, and the other way round.
        """
        single = count == 1 or (divisible and self._lacks == 16)
        if single and self._lacks != 6:
            try:
                if count == 1:
                    return await self.unit.write(address, words, 1, 6, fresh)
                if fresh is not None:
                    fresh()
                word = array("H", (0,))
                for i in range(count):
                    word[0] = words[i]
                    await self.unit.write(address + i, word, 1, 6)
                return
            except ModbusRefused as error:
                if error.code != 1 or self._lacks:
                    raise
                self.note(error)
                self._lacks = 6
        try:
            await self.unit.write(address, words, count, 16, fresh)
        except ModbusRefused as error:
            if error.code != 1 or self._lacks or not divisible:
                raise
            self._lacks = 16
            await self.write(address, words, count, True, fresh)

    def lose(self, block: Block, why: str) -> None:
        """The map is not what it was: raises NotSunSpec, and whoever measures discovers the device anew."""
        self.moved = True
        place = (block.model, block.length, block.address, why)
        raise NotSunSpec("model %d of length %d is not at register %d any more: %s" % place)

    def note(self, error: ModbusError) -> None:
        """Count what went wrong with a request to this device."""
        self.unit.note(error)

    def _decode(self, block: Block) -> bool:
        """Every point of the block into `values`.  One that cannot be true is named, and costs itself alone if it may."""
        values = self.values
        rows = block.rows
        good = True
        for at in range(0, len(rows), _ROW):
            value = block.value(at)
            if value is None:
                value = im.NO_VALUE
                good = self._untrue(block, rows[at + 3], "does not fit, or its scale factor is beyond -10 to 10") and good
            values[rows[at + 3]] = value
        bounds = self._bounds
        for i in range(0, len(bounds), 3):
            value = values[bounds[i]]
            if value != im.NO_VALUE and not bounds[i + 1] <= value <= bounds[i + 2]:
                values[bounds[i]] = im.NO_VALUE
                what = "gives %d, allowed %d to %d" % (value, bounds[i + 1], bounds[i + 2])
                good = self._untrue(block, bounds[i], what) and good
        return good

    def _untrue(self, block: Block, slot: int, what: str) -> bool:
        """Count and name a value that cannot be true; False if the block cannot do without it."""
        self.unit.reject("%s: %s" % (block.place_of(slot), what))
        return slot not in self._essential


# of the common model, and how long: maker, model, version, serial number; options last, which only a whole name has
_NAMES = (
    (tables.COMMON_MN, 16), (tables.COMMON_MD, 16), (tables.COMMON_VR, 8), (tables.COMMON_SN, 16), (tables.COMMON_OPT, 8),
)  # fmt: skip


class Box:
    """What every device that speaks SunSpec does for ever.  `sun`: the SunSpec side of it; `ready`: discovered and talking.

    A subclass adds `await place()`, which finds its blocks in what was discovered, and `await read(now)`, a measurement.
    """

    def __init__(self, name: str, sun: SunSpec, period_ms: int) -> None:
        self.name = name
        self.sun = sun
        self.ready = False
        self.once = Once(name)
        self._period_ms = period_ms
        self._found = 0  # hash of what discovery has said: the text is 100 bytes

    async def run(self) -> None:
        """Measure every period; whatever happens on the wire is counted, and tried again.

        Where the map is no longer where it was, or the device has been away for long, it is discovered anew.
        """
        sun = self.sun
        while True:
            try:
                await sun.discover()
                found = sun.found()
                if hash(found) != self._found:
                    self._found = hash(found)
                    say("%s: %s" % (self.name, found))
                await self.place()  # type: ignore[attr-defined]  # the subclass's
                measured = begun = time.ticks_ms()
                while not sun.moved and time.ticks_diff(begun, measured) <= _LOST_MS:  # whoever writes has found out the one
                    begun = time.ticks_ms()
                    try:
                        await self.read(begun)  # type: ignore[attr-defined]  # likewise
                        measured = begun
                    except ModbusError as error:
                        if questions_the_map(error):
                            raise  # it is another device, or another firmware in it
                        sun.note(error)
                    await asyncio.sleep_ms(max(1, self._period_ms - time.ticks_diff(time.ticks_ms(), begun)))
            except ModbusError as error:
                self.ready = False
                sun.note(error)
                if isinstance(error, (NeedsPerson, NotSunSpec)):
                    self.once.say(str(error))
                if isinstance(error, NeedsPerson):
                    await asyncio.sleep_ms(_DECIDE_MS)
            self.ready = False
            await asyncio.sleep_ms(_RETRY_MS)

    def counters(self) -> dict:
        """Counts of this device since boot; `note`: what a person has to know or do."""
        counts = self.sun.unit.count.as_dict()
        counts["note"] = self.once.text
        return counts


def questions_the_map(error: ModbusError) -> bool:
    """The answer says that the registers are not what they were: refused as such (1, 2, 3), or another model there."""
    if isinstance(error, ModbusRefused):
        return error.code <= 3
    return isinstance(error, NotSunSpec)


def _pieces(rows: bytes, longest: int, gap: int) -> list:
    """[first, end] of each run of registers that holds what `rows` need and the header, cut between points only."""
    needed = [(0, 2)]
    for at in range(0, len(rows), _ROW):
        needed.append((rows[at], rows[at] + size_of(rows[at + 1])))
        if rows[at + 2] != _NO_SCALE:
            needed.append((rows[at + 2], rows[at + 2] + 1))
    pieces = []
    for first, end in sorted(needed):
        if pieces and first <= pieces[-1][1] + gap and max(end, pieces[-1][1]) - pieces[-1][0] <= longest:
            pieces[-1][1] = max(end, pieces[-1][1])
        else:
            pieces.append([first, end])
    return pieces
