"""A battery management system on CAN, decoded as a maker's table says: fills BMS_* and CELL_* slots, and says what was odd.

A maker's file (bms_*.py, or a variant of it) is its table: FRAMES and what else `Battery` names, in the words of
can_fields.py; it makes a `Device` of `Battery`, with OPTIONS and `poll`.  0 is data here: a limit of 0 A means stop, and a
limit rises, a stop is lifted by two reports that agree.  A value that cannot be true costs itself and is named
(`oddities`); a frame that is short, or holds no value that can be true, is refused, so the age of its group grows.
"""

import asyncio
import time
from array import array

from micropython import const

from firmware import image as im
from firmware.devices import can_fields as f
from firmware.devices import can_words

# What a field counts (bits 2 to 4, and 11), three numbers each: added to the raw value, multiplied, divided
QUANTITIES = (
    0, 1, 1,  # 0.1 V
    5, 1, 10,  # 0.01 V, rounded to 0.1 V
    0, 1, 1,  # 0.1 A
    -1000, 1, 1,  # 0.1 degC above -100 degC
    0, 1, 1,  # 0.1 degC
    0, 100, 1,  # %
    0, 1, 1,  # mV
    -273, 10, 1,  # K
    0, 1, 1,  # 0.01 %
)  # fmt: skip
# points: begin (what can be true of each, copied from points.py by `make slots`)
# im.BMS_SOC to im.BMS_STATUS
_RANGES = (
    0, 10000,  # BMS_SOC
    0, 10000,  # BMS_SOH
    0, 15000,  # BMS_V
    -30000, 30000,  # BMS_I
    -500, 1500,  # BMS_TEMP
    0, 15000,  # BMS_V_MAX
    0, 15000,  # BMS_V_MIN
    0, 30000,  # BMS_I_CHG
    0, 30000,  # BMS_I_DIS
    500, 5000,  # CELL_V_MAX
    500, 5000,  # CELL_V_MIN
    -500, 1500,  # CELL_T_MAX
    -500, 1500,  # CELL_T_MIN
    0, 7,  # BMS_STATUS
)  # fmt: skip
# points: end
_PERCENT_MOST = const(12500)  # 0.01 %: up to here a percentage beyond 100 is taken as 100

_FLAG_SLOTS = const(3)  # a flag belongs to 0 BMS_REQUESTS, 1 BMS_PROTECT, 2 BMS_ALARM
_FORBIDS = const(3)  # im.BMS_REQ_NO_CHARGE | im.BMS_REQ_NO_DISCHARGE

_ODD_KINDS = const(("cannot be true", "is taken as 100 %", "is below its minimum", "was never measured"))
_NEVER = const(3)
_N_READINGS = const(13)  # im.BMS_SOC to im.CELL_T_MIN
# two batteries on one bus: their states of charge are this far apart, and alternate so often within so many reports
_APART = const(300)
_TURNS = const(4)
_TURN_REPORTS = const(10)


class Battery:
    """One battery on one bus, as `protocol` (a maker's module) says:

    FRAMES (can_fields.py); PAIRS: (maximum, minimum) slots; EQUIPMENT: ids whose first frame is kept in `answers`, for
    `equipment(known, order)`; SUBSCRIBE: (id, mask); EXTENDED: 29-bit ids; ADDRESSED: the last digit of an id is the
    battery's own; FLAG_WORDS: bytes 4 to 7 of flags are 16-bit words; BEAT_MS: the longest between two calls of `poll`;
    SILENT_REPORTS: reports missing that are a timeout; BYTE_ORDER, where no option says it.
    """

    def __init__(self, name, options, image, buses, protocol):
        if options["bus"] not in buses:
            raise ValueError("devices.%s.bus: no bus named %r" % (name, options["bus"]))
        self.protocol = protocol
        self.image = image
        self.bus = buses[options["bus"]]
        self._address = options["address"] if protocol.ADDRESSED else 0
        self._offset = options["current_offset"] if protocol.ADDRESSED else 0
        self._period_ms = options["period_ms"]
        self._swap = 1 if (options.get("byte_order") or protocol.BYTE_ORDER) == "big" else 0
        self.current_sign = -1 if options["current_positive"] == "charge" else 1  # of this bus, against ours
        self._limit_sign = {"either": 0, "positive": 1, "negative": -1}[options.get("discharge_limit_sign", "either")]
        self._current_max = options["current_max"] * 10
        self._voltage_max = options["voltage_max"] * 10
        self._warnings_first = options.get("warnings_first", False)
        self._scratch = array("i", [im.NO_VALUE] * (im.BMS_STATUS + 1))  # a group as it comes in, frame by frame
        self._limits = array("i", [-1, -1])  # charge and discharge limit as last reported
        self._parts = bytearray(9)  # which frames of each group have come since it was last complete
        self._known = bytearray(9)  # which ever came
        self._parts_ms = array("i", [0] * 9)  # when the first of them came
        frames = protocol.FRAMES
        self._frame_ms = array("i", [0] * len(frames))  # when each came last with something that can be true,
        self._came_ms = array("i", [0] * len(frames))  # and at all
        self._blank = False  # what is read now is left 0
        self._regular = 0  # bit: group that not every pack sends, and this one does
        self._measured = 0  # bit: BMS_SOC + number of a reading that could be true since boot
        self._flags = array("i", [0] * (_FLAG_SLOTS * len(frames)))  # what each says now ...
        self._flags_before = array("i", [0] * (_FLAG_SLOTS * len(frames)))  # ... and said in its report before
        self._raw = [bytearray(8) if frame[3] else None for frame in frames]
        self.answers = [None] * len(protocol.EQUIPMENT)
        self._odd = array("i", [0] * (4 * _N_READINGS))  # times, kind, value, id of each reading that was odd
        self._odd_now = 0  # BMS_ODD
        self._turns = array("i", [im.NO_VALUE, 0, 0])  # SoC, reports since it jumped, jumps in a row
        self.frames = 0
        self.rejected = 0
        self.timeouts = 0
        self.send_errors = 0
        self._error_id = 0  # of the last frame with something refused: the frame's length, or a reading
        self._error_length = -1
        self._error_slot = 0
        own = 0xF if protocol.ADDRESSED else 0
        for can_id, mask in protocol.SUBSCRIBE:
            self.bus.subscribe(can_id | self._address, mask | own, protocol.EXTENDED, self._on_frame)

    # ---- a frame arrives: inside the bus's drain, so nothing here allocates -----------------------------

    def _on_frame(self, can_id, data, _flags):
        """One frame of this battery; one that fills two groups has two rows in the table."""
        base = can_id - self._address
        frames = self.protocol.FRAMES
        taken = refused = 0
        for i in range(len(frames)):
            if frames[i][0] == base:
                if self._take(i, frames[i], data):
                    taken = 1
                else:
                    refused = 1
        self.frames = (self.frames + taken) & 0x3FFFFFFF
        self.rejected = (self.rejected + (refused & ~taken)) & 0x3FFFFFFF
        equipment = self.protocol.EQUIPMENT
        for i in range(len(equipment)):
            if equipment[i] == base and self.answers[i] is None:
                self.answers[i] = bytes(data)

    def _take(self, row, frame, data):
        """One row's values, flags and group; False if the frame is refused as a whole."""
        base, about, fields, flags = frame
        if len(data) < about & 15:
            self._error_id = base + self._address
            self._error_length = len(data)
            return False
        now = time.ticks_ms()
        self._came_ms[row] = now
        self._blank = self._is_blank(fields, data)
        good = 0
        for i in range(len(fields)):
            good += self._read(base, fields[i], data)
        if fields and good:
            good -= self._part_pairs(base, fields)
        if fields and good <= 0:
            return False
        before_ms = self._frame_ms[row]
        self._frame_ms[row] = now
        if flags:
            self._read_flags(row, flags, data, about & f.WARNINGS and self._warnings_first)
        group = about >> 4 & 15
        part = about >> 8 & 255
        if about & f.AT_TIMES and not self._regular >> group & 1:
            if not 0 <= time.ticks_diff(now, before_ms) <= 3 * self._report_ms():
                return True
            self._regular |= 1 << group
        if about & f.MAY_REST:
            self._publish(group, now)
            return True
        window_ms = self._report_ms() * 3 // 4
        if self._parts[group] and not 0 <= time.ticks_diff(now, self._parts_ms[group]) <= window_ms:
            self._parts[group] = 0  # a frame of this set or of the one before was lost: old ones must not look fresh
        if self._parts[group] == 0:
            self._parts_ms[group] = now
        self._parts[group] |= part
        self._known[group] |= part
        needed = about >> 16 & 255
        known = self._known[group]
        expected = needed | known & about >> 26
        if self._parts[group] & expected == expected:
            self._parts[group] = 0
            self._publish(group, now)
            self.image.heard(group)
        elif group == im.SEQ_BMS_FLAGS and known & needed == needed:
            self._publish(group, now)  # what it forbids counts at once
        return True

    def _report_ms(self):
        """How often the battery reports: as this device's option says, or the site's bms_period_ms if that is longer."""
        return max(self._period_ms, self.image.par[im.PAR_STALE_BMS] // 3)

    def _read(self, base, field, data):
        """One value into the scratch array, in its slot's unit; 1 if it can be true, else NO_VALUE and 0."""
        slot = field >> 12
        at = field >> 8 & 7
        kind = field & 3
        role = field & 0xE0
        if role >= f.OPTIONAL and (at + 2 > len(data) or (role == f.OPTIONAL and data[at] & data[at + 1] == 0xFF)):
            if role == f.OPTIONAL:
                self._scratch[slot] = im.NO_VALUE
                self._odd_now &= 0x3FFFFFFF ^ (1 << slot - im.BMS_SOC)
            return 0
        if kind == f.U8:
            raw = data[at]
        elif kind == f.LOW_BITS:
            raw = data[at] & (7 if slot == im.BMS_STATUS else 0x7F)
        else:
            raw = data[at + (1 ^ self._swap)] << 8 | data[at + self._swap]
            if raw & 0x8000 and (kind == f.S16 or (f.CURRENT <= role <= f.DISCHARGE_LIMIT and self._offset == 0)):
                raw -= 65536
        quantity = 3 * (field >> 2 & 7 | field >> 8 & 8)
        value = (raw + QUANTITIES[quantity]) * QUANTITIES[quantity + 1] // QUANTITIES[quantity + 2]
        if role == f.FINE_SOC:
            whole = self._scratch[slot]
            if whole != im.NO_VALUE and -100 <= value - whole <= 100 and 0 < value <= 10000:
                self._scratch[slot] = value
            return 0
        low = _RANGES[2 * (slot - im.BMS_SOC)]
        high = _RANGES[2 * (slot - im.BMS_SOC) + 1]
        if f.CURRENT <= role <= f.DISCHARGE_LIMIT:
            value -= self._offset
            if role == f.CURRENT:
                value *= self.current_sign
                low = 0 - self._current_max
            else:
                low = 0
                if role == f.DISCHARGE_LIMIT:
                    value = abs(value) if self._limit_sign == 0 else value * self._limit_sign
            high = self._current_max
        elif slot == im.BMS_V or slot == im.BMS_V_MAX:
            high = min(high, self._voltage_max)
        elif (slot == im.BMS_SOC or slot == im.BMS_SOH) and high < value <= _PERCENT_MOST:
            self._note(base, slot, value, 1)
            value = high
        if not low <= value <= high:
            self._scratch[slot] = im.NO_VALUE
            if slot < im.BMS_STATUS:
                self._note(base, slot, value, _NEVER if self._blank else 0)
            return 0
        if role == f.CHARGE_LIMIT or role == f.DISCHARGE_LIMIT:
            value = self._confirmed(role - f.CHARGE_LIMIT >> 5, value)
        elif slot == im.BMS_SOC:
            self._count_turns(value)
        self._scratch[slot] = value
        if slot < im.BMS_STATUS:
            self._odd_now &= 0x3FFFFFFF ^ (1 << slot - im.BMS_SOC)
            self._measured |= 1 << slot - im.BMS_SOC
        return 1

    def _is_blank(self, fields, data):
        """Cells' readings that a maker leaves 0, all of them and ever: as if they were not sent."""
        for i in range(len(fields)):
            slot = fields[i] >> 12
            at = fields[i] >> 8 & 7
            if not im.CELL_V_MAX <= slot <= im.CELL_T_MIN or self._measured >> slot - im.BMS_SOC & 1 or data[at] or data[at + 1]:
                return False
        return True

    def _confirmed(self, which, value):
        """A limit rises only as far as two reports in a row give: of two batteries in turn the smaller one's counts."""
        was = self._limits[which]
        self._limits[which] = value
        return was if 0 <= was < value else value

    def _count_turns(self, soc):
        """Two batteries that answer on one bus show in a SoC that jumps at every report or two."""
        turns = self._turns
        if turns[0] != im.NO_VALUE and not -_APART < soc - turns[0] < _APART:
            turns[2] = turns[2] + 1 if turns[1] < _TURN_REPORTS else 1
            turns[1] = 0
            if turns[2] >= _TURNS:
                self._odd_now |= im.BMS_ODD_TWO
        else:
            turns[1] += 1
            if turns[1] >= 2 * _TURN_REPORTS:
                turns[2] = 0
                self._odd_now &= im.BMS_ODD_TWO - 1
        turns[0] = soc

    def _note(self, base, slot, value, kind):
        """Remember an odd reading; what `kind` says about it is in _ODD_KINDS."""
        odd = self._odd
        at = 4 * (slot - im.BMS_SOC)
        odd[at] = (odd[at] + 1) & 0x3FFFFFFF
        odd[at + 1] = kind
        odd[at + 2] = value
        odd[at + 3] = base + self._address
        if kind != 1:
            self._odd_now |= 1 << slot - im.BMS_SOC
            if kind == _NEVER:
                self._odd_now ^= 1 << slot - im.BMS_SOC
            self._error_id = base + self._address
            self._error_length = -1
            self._error_slot = slot

    def _part_pairs(self, base, fields):
        """A maximum below its minimum costs both (a charge voltage of 0 is a stop, not a maximum); how many that were."""
        scratch = self._scratch
        pairs = self.protocol.PAIRS
        for i in range(len(pairs)):
            high, low = pairs[i]
            if fields[0] >> 12 == high and im.NO_VALUE != scratch[high] < scratch[low]:
                if high != im.BMS_V_MAX or scratch[high] != 0:
                    self._note(base, low, scratch[low], 0)
                    self._note(base, high, scratch[high], 2)
                    scratch[high] = scratch[low] = im.NO_VALUE
                    return 2
        return 0

    def _read_flags(self, row, flags, data, swapped):
        """The bits of this frame, beside what it said in its report before."""
        now = self._flags
        at = _FLAG_SLOTS * row
        for k in range(_FLAG_SLOTS):
            self._flags_before[at + k] = now[at + k]
            now[at + k] = 0
        raw = self._raw[row]
        for k in range(min(8, len(data))):
            raw[k] = data[k]
        swap = self._swap if self.protocol.FLAG_WORDS else 0
        for i in range(0, len(flags), 2):
            place = flags[i]
            byte = place >> 12 & 7
            if byte >= len(data):
                continue
            mask = place >> 4 & 255
            bits = data[byte ^ (swap if byte >= 4 else 0)]
            if place & f.CLEAR:
                found = bits & mask == 0
            elif place & f.EQUALS:
                found = bits == mask
            else:
                found = bits & mask != 0
            if found:
                k = place & 3
                if swapped and k:
                    k = 3 - k
                now[at + k] |= flags[i + 1]

    # ---- to the image -----------------------------------------------------------------------------------

    def _publish(self, group, now_ms):
        """Copy a complete group to the image; no await in between, so the cycle sees all of it or none."""
        inp = self.image.inp
        scratch = self._scratch
        frames = self.protocol.FRAMES
        for i in range(len(frames)):
            if frames[i][1] >> 4 & 15 == group:
                fields = frames[i][2]
                for j in range(len(fields)):
                    inp[fields[j] >> 12] = scratch[fields[j] >> 12]
        if self._odd_now & im.BMS_ODD_TWO - 1:
            self._forget_odd(now_ms)
        inp[im.BMS_ODD] = self._odd_now
        if group == im.SEQ_BMS_FLAGS:
            self._publish_flags(inp, now_ms)

    def _forget_odd(self, now_ms):
        """A reading whose frame is not sent any more is not odd either."""
        frames = self.protocol.FRAMES
        rest_ms = 3 * self._report_ms()
        for i in range(len(frames)):
            if not 0 <= time.ticks_diff(now_ms, self._came_ms[i]) <= rest_ms:
                fields = frames[i][2]
                for j in range(len(fields)):
                    slot = fields[j] >> 12
                    if slot < im.BMS_STATUS:
                        self._odd_now &= 0x3FFFFFFF ^ (1 << slot - im.BMS_SOC)

    def _publish_flags(self, inp, now_ms):
        """All frames' flags together; what forbids, protects or warns is lifted by two reports in a row that say so."""
        frames = self.protocol.FRAMES
        now = self._flags
        before = self._flags_before
        requests = protect = alarm = 0
        rest_ms = 3 * self._report_ms()
        for i in range(len(frames)):
            at = _FLAG_SLOTS * i
            if frames[i][3] and not 0 <= time.ticks_diff(now_ms, self._frame_ms[i]) <= rest_ms:
                for k in range(_FLAG_SLOTS):  # what is not sent any more says nothing: another frame keeps the group alive
                    now[at + k] = before[at + k] = 0
            requests |= now[at] | before[at] & _FORBIDS
            protect |= now[at + 1] | before[at + 1]
            alarm |= now[at + 2] | before[at + 2]
        inp[im.BMS_REQUESTS] = requests
        inp[im.BMS_PROTECT] = protect
        inp[im.BMS_ALARM] = alarm

    # ---- polling ----------------------------------------------------------------------------------------

    def poll(self, _turn):
        """Send one period's frames (turn: counts the periods); False if they did not go out.  This one wants none."""
        return True

    async def run(self):
        """Poll for ever.  Polls (lv: times of three reports) that brought no operating data count as timeouts."""
        inp = self.image.inp
        protocol = self.protocol
        beat_ms = min(self._period_ms, protocol.BEAT_MS)
        silent_ms = turn = 0
        while True:
            before = inp[im.SEQ_BMS]
            if not self.poll(turn):
                self.send_errors += 1
            turn = (turn + 1) % 1000
            await asyncio.sleep_ms(beat_ms)
            silent_ms = silent_ms + beat_ms if inp[im.SEQ_BMS] == before else 0
            if silent_ms >= protocol.SILENT_REPORTS * (self._report_ms() if protocol.SILENT_REPORTS > 1 else beat_ms):
                self.timeouts += 1

    # ---- what people see --------------------------------------------------------------------------------

    def equipment(self):
        """What the battery says of itself (a dict, empty before it answered): maker, cells, voltage, Ah."""
        return self.protocol.equipment(self.answers, "big" if self._swap else "little")

    def last_error(self):
        """The last frame that was refused, or held a value that was, in words, or an empty text."""
        if not self._error_id:
            return ""
        if self._error_length >= 0:
            return "0x%x: length %d" % (self._error_id, self._error_length)
        return can_words.oddity(self._odd, self._error_slot, _ODD_KINDS)

    def oddities(self):
        """Every reading that was ever odd since boot, in words with its value, once each; and two batteries on one bus."""
        return can_words.oddities(self._odd, _ODD_KINDS, self._odd_now & im.BMS_ODD_TWO)

    def alarms(self):
        """The protections and warnings that the battery reports now, in words."""
        return can_words.alarms(self.image.inp, self.protocol.FRAMES, self._raw, "big" if self._swap else "little")

    def counters(self):
        """A new dict: frames, timeouts, rejected, send_errors, last_error, oddities, alarms."""
        return {
            "frames": self.frames,
            "timeouts": self.timeouts,
            "rejected": self.rejected,
            "send_errors": self.send_errors,
            "last_error": self.last_error(),
            "oddities": self.oddities(),
            "alarms": self.alarms(),
        }
