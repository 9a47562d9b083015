"""Pylontech-style battery management system on CAN: polls it, checks what it says, fills BMS_* and CELL_* slots.

`variant` says which frames: "hv" the 29-bit high-voltage protocol (pylontech_hv.py), "lv" the 11-bit one in all its
editions (pylontech_lv.py); only that table is loaded.  0 is data here: a limit of 0 A means stop.  A frame that is
short, or holds a value that cannot be true, is refused as a whole and counted, and its group is not heard, so its
age grows.  Neither protocol has a command for balancing: CMD_BALANCE is left to the BMS, whose own balancing shows
in BMS_REQUESTS.
"""

import asyncio
import time
from array import array

from micropython import const

from firmware import config
from firmware import image as im
from firmware.devices import pylontech_told

OPTIONS = (
    ("bus", "str", config.REQUIRED, 0, 0, "name of the CAN bus"),
    ("variant", ("hv", "lv"), "hv", 0, 0, "hv: 29-bit ids, high voltage; lv: 11-bit ids, below 327 V"),
    ("address", "int", 0, 0, 15, "hv: the battery's address, x in 0x421x"),
    ("period_ms", "int", 1000, 100, 10000, "ms between polls (lv: keep-alives)"),
    ("byte_order", ("little", "big"), "little", 0, 0, "of 16-bit values; some makers swap them"),
    ("current_offset", "int", 30000, 0, 65535, "hv: 0.1 A, the raw value that means 0 A"),
    ("current_positive", ("charge", "discharge"), "charge", 0, 0, "which way a positive current flows on this bus"),
    ("discharge_limit_sign", ("either", "positive", "negative"), "either", 0, 0, "sign of the discharge current limit"),
    ("current_max", "int", 1000, 1, 3000, "A; a current or limit beyond it cannot be true"),
    ("voltage_max", "int", 1500, 10, 1500, "V; a battery voltage beyond it cannot be true"),
    ("wake", "bool", True, 0, 0, "hv: wake a sleeping pack when the contactors are wanted closed"),
)

# how a value lies in the frame (bits 0 and 1 of a field)
_U8 = const(0)
_S16 = const(2)  # 1 is u16
_BITS3 = const(3)
# what the driver does with it (bits 5 to 7)
_CURRENT = const(1)  # less the offset option, turned into + discharge
_CHARGE_LIMIT = const(2)  # less the offset option
_DISCHARGE_LIMIT = const(3)
_OPTIONAL = const(4)  # NO_VALUE where the frame ends before it
_FINE_SOC = const(5)  # 0.01 %, believed where it agrees with the whole percents
# what it counts (bits 2 to 4), five numbers each: added to the raw value, multiplied, divided, and the lowest and
# highest that can be true, in the slot's unit
QUANTITIES = (
    0, 1, 1, 0, 15000,  # 0.1 V
    5, 1, 10, 0, 15000,  # 0.01 V, rounded to 0.1 V
    0, 1, 1, -30000, 30000,  # 0.1 A
    -1000, 1, 1, -500, 1500,  # 0.1 degC above -100 degC
    0, 1, 1, -500, 1500,  # 0.1 degC
    0, 100, 1, 0, 10000,  # %
    0, 1, 1, 0, 5000,  # mV
    0, 1, 1, 0, 65535,  # as it is
)  # fmt: skip

_CLEAR = const(1 << 24)  # of a flag: set by cleared bits
_EQUALS_AA = const(1 << 25)  # of a flag: set by the byte 0xAA
_BAD_LENGTH = const(-1)
_BAD_PAIR = const(-2)


class Device:
    """One battery on one bus."""

    def __init__(self, name, options, image, buses):
        if options["bus"] not in buses:
            raise ValueError("devices.%s.bus: no bus named %r" % (name, options["bus"]))
        protocol = self._protocol = self._load(options["variant"])
        self._image = image
        self._bus = buses[options["bus"]]
        self._address = options["address"] if protocol.ADDRESSED else 0
        self._offset = options["current_offset"] if protocol.ADDRESSED else 0
        self._period_ms = options["period_ms"]
        self._order = options["byte_order"]
        self._swap = 1 if self._order == "big" else 0
        self._current_sign = -1 if options["current_positive"] == "charge" else 1
        self._limit_sign = {"either": 0, "positive": 1, "negative": -1}[options["discharge_limit_sign"]]
        self._current_max = options["current_max"] * 10
        self._voltage_max = options["voltage_max"] * 10
        self._wake = options["wake"]
        self._scratch = array("i", [0] * (im.BMS_ALARM + 1))  # a group as it comes in, frame by frame
        self._scratch[im.BMS_STATUS] = im.NO_VALUE  # lv does not tell it
        self._parts = array("b", [0] * 9)  # which frames of each group have come since it was last complete
        self._parts_ms = array("i", [0] * 9)  # when the first of them came
        self._equipment = [None] * len(protocol.EQUIPMENT)
        self.frames = 0
        self.rejected = 0
        self.timeouts = 0
        self.send_errors = 0
        self._error_id = 0  # of the last refused frame, with the slot (or _BAD_*) and the value that was refused
        self._error_slot = 0
        self._error_value = 0
        own = 0xF if protocol.ADDRESSED else 0
        for can_id, mask in protocol.SUBSCRIBE:
            self._bus.subscribe(can_id | self._address, mask | own, protocol.EXTENDED, self._on_frame)

    def _load(self, variant):
        """The module with the frames of `variant`; only this one is loaded."""
        if variant == "hv":
            from firmware.devices import pylontech_hv

            return pylontech_hv
        from firmware.devices import pylontech_lv

        return pylontech_lv

    def _on_frame(self, can_id, data, _flags):
        """One frame of this battery.  Runs inside the bus's drain: allocates nothing."""
        base = can_id - self._address
        frames = self._protocol.FRAMES
        for i in range(len(frames)):
            if frames[i][0] == base:
                self._take(frames[i], data)
                return
        equipment = self._protocol.EQUIPMENT
        for i in range(len(equipment)):
            if equipment[i] == base and self._equipment[i] is None:
                self._equipment[i] = bytes(data)

    def _take(self, frame, data):
        base, about, fields, flags = frame
        if len(data) < about & 15:
            self._refuse(base, _BAD_LENGTH, len(data))
            return
        for i in range(len(fields)):
            if not self._read(base, fields[i], data):
                return
        if fields and not self._pairs_hold(base, fields):
            return
        if flags:
            self._read_flags(flags, data)
        self.frames += 1
        group = about >> 4 & 15
        parts = about >> 12
        now = time.ticks_ms()
        if self._parts[group] and time.ticks_diff(now, self._parts_ms[group]) > self._period_ms * 3 // 4:
            self._parts[group] = 0  # a frame of this set or of the one before was lost: old ones must not look fresh
        if self._parts[group] == 0:
            self._parts_ms[group] = now
        self._parts[group] |= about >> 8 & 15
        if self._parts[group] & parts == parts:
            self._parts[group] = 0
            self._publish(group)

    def _read(self, base, field, data):
        """One value into the scratch array, in its slot's unit; False if it cannot be true (counted)."""
        slot = field >> 12
        at = field >> 8 & 7
        kind = field & 3
        role = field >> 5 & 7
        if role >= _OPTIONAL and at + 2 > len(data):
            if role == _OPTIONAL:
                self._scratch[slot] = im.NO_VALUE
            return True
        if kind == _U8:
            raw = data[at]
        elif kind == _BITS3:
            raw = data[at] & 7
        else:
            raw = data[at + (1 ^ self._swap)] << 8 | data[at + self._swap]
            if kind == _S16 and raw & 0x8000:
                raw -= 65536
        quantity = 5 * (field >> 2 & 7)
        value = (raw + QUANTITIES[quantity]) * QUANTITIES[quantity + 1] // QUANTITIES[quantity + 2]
        if role == _FINE_SOC:
            if -100 <= value - self._scratch[slot] <= 100 and value <= 10000:
                self._scratch[slot] = value
            return True
        low = QUANTITIES[quantity + 3]
        high = QUANTITIES[quantity + 4]
        if _CURRENT <= role <= _DISCHARGE_LIMIT:
            value -= self._offset
            if role == _CURRENT:
                value *= self._current_sign
                low = 0 - self._current_max
            else:
                low = 0
                if role == _DISCHARGE_LIMIT:
                    value = abs(value) if self._limit_sign == 0 else value * self._limit_sign
            high = self._current_max
        elif slot == im.BMS_V or slot == im.BMS_V_MAX:
            high = min(high, self._voltage_max)
        if not low <= value <= high:
            self._refuse(base, slot, value)
            return False
        self._scratch[slot] = value
        return True

    def _read_flags(self, flags, data):
        """The bits of this frame: first all of them off, then on what any of their rows finds."""
        scratch = self._scratch
        for i in range(len(flags)):
            scratch[flags[i] >> 7 & 31] &= 0xFFFF ^ (flags[i] & 127)
        swap = self._swap
        for i in range(len(flags)):
            flag = flags[i]
            bits = data[(flag >> 20 & 7) ^ (swap & flag >> 23)] & flag >> 12
            if flag & _CLEAR:
                found = bits & 0xFF == 0
            elif flag & _EQUALS_AA:
                found = bits & 0xFF == 0xAA
            else:
                found = bits & 0xFF != 0
            if found:
                scratch[flag >> 7 & 31] |= flag & 127

    def _pairs_hold(self, base, fields):
        """A maximum is never below its minimum (a charge voltage of 0 is a stop, not a maximum)."""
        scratch = self._scratch
        pairs = self._protocol.PAIRS
        for i in range(len(pairs)):
            high, low = pairs[i]
            if fields[0] >> 12 == high and scratch[high] < scratch[low]:
                if high != im.BMS_V_MAX or scratch[high] != 0:
                    self._refuse(base, _BAD_PAIR, scratch[high])
                    return False
        return True

    def _refuse(self, base, slot, value):
        self.rejected += 1
        self._error_id = base + self._address
        self._error_slot = slot
        self._error_value = value

    def _publish(self, group):
        """Copy a complete group to the image; no await in between, so the cycle sees all of it or none."""
        inp = self._image.inp
        scratch = self._scratch
        frames = self._protocol.FRAMES
        for i in range(len(frames)):
            if frames[i][1] >> 4 & 15 == group:
                fields = frames[i][2]
                for j in range(len(fields)):
                    inp[fields[j] >> 12] = scratch[fields[j] >> 12]
        if group == im.SEQ_BMS_FLAGS:
            for slot in range(im.BMS_STATUS, im.BMS_ALARM + 1):
                inp[slot] = scratch[slot]
        self._image.heard(group)

    async def run(self):
        """Poll for ever.  Polls that brought no operating data count as timeouts."""
        now = self._image.now
        inp = self._image.inp
        silent = turn = 0
        while True:
            asleep = self._wake and inp[im.BMS_STATUS] == 0 and now[im.CMD_CONTACTOR] == 1
            before = inp[im.SEQ_BMS]
            if not self._protocol.poll(self._bus, asleep, self._equipment, turn):
                self.send_errors += 1
            turn = (turn + 1) % 1000
            await asyncio.sleep_ms(self._period_ms)
            silent = silent + 1 if inp[im.SEQ_BMS] == before else 0
            if silent >= self._protocol.SILENT_POLLS:
                self.timeouts += 1

    def equipment(self):
        """What the battery says of itself (a dict, empty before it answered): maker, cells, voltage, Ah."""
        tell = pylontech_told.hv if self._protocol.EXTENDED else pylontech_told.lv
        return tell(self._equipment, self._order)

    def last_error(self):
        """The last refused frame in words, or an empty text."""
        if not self._error_id:
            return ""
        if self._error_slot == _BAD_LENGTH:
            return "0x%x: length %d" % (self._error_id, self._error_value)
        if self._error_slot == _BAD_PAIR:
            return "0x%x: maximum %d below its minimum" % (self._error_id, self._error_value)
        return "0x%x: slot %d cannot be %d" % (self._error_id, self._error_slot, self._error_value)

    def counters(self):
        """A new dict: frames, timeouts, rejected, send_errors, last_error."""
        return {
            "frames": self.frames,
            "timeouts": self.timeouts,
            "rejected": self.rejected,
            "send_errors": self.send_errors,
            "last_error": self.last_error(),
        }
