"""Pylontech-style battery management system on CAN: polls it, checks what it says, fills BMS_* and CELL_* slots.

`variant` "hv" is the 29-bit high-voltage protocol (pylontech_hv.py).  0 is data here: a limit of 0 A means stop.
A frame that is short, or holds a value that cannot be true, is refused as a whole and counted, and its group is
not heard, so its age grows.  The protocol has no command for balancing: CMD_BALANCE is left to the BMS, whose
own balancing shows in BMS_REQUESTS.
"""

import asyncio
from array import array

from micropython import const

from firmware import config
from firmware import image as im

OPTIONS = (
    ("bus", "str", config.REQUIRED, 0, 0, "name of the CAN bus"),
    ("variant", ("hv",), "hv", 0, 0, "hv: 29-bit ids, high voltage"),
    ("address", "int", 0, 0, 15, "the battery's address, x in 0x421x"),
    ("period_ms", "int", 1000, 100, 10000, "ms between polls"),
    ("byte_order", ("little", "big"), "little", 0, 0, "of 16-bit values; some makers swap them"),
    ("current_offset", "int", 30000, 0, 65535, "0.1 A, the raw value that means 0 A"),
    ("current_positive", ("charge", "discharge"), "charge", 0, 0, "which way a positive current flows on this bus"),
    ("discharge_limit_sign", ("either", "positive", "negative"), "either", 0, 0, "sign of the discharge current limit"),
    ("current_max", "int", 1000, 1, 3000, "A; a current or limit beyond it cannot be true"),
    ("voltage_max", "int", 1500, 10, 1500, "V; a battery voltage beyond it cannot be true"),
    ("wake", "bool", True, 0, 0, "wake a sleeping pack when the contactors are wanted closed"),
)

_U8 = const(0)
_U16 = const(1)
_S16 = const(2)
_CURRENT = const(3)
_CHARGE_LIMIT = const(4)
_DISCHARGE_LIMIT = const(5)
_SLOTS = const(32)  # BMS and cell slots are 10 to 26
_BAD_LENGTH = const(-1)
_BAD_PAIR = const(-2)


class Device:
    """One battery on one bus."""

    def __init__(self, name, options, image, buses):
        if options["bus"] not in buses:
            raise ValueError("devices.%s.bus: no bus named %r" % (name, options["bus"]))
        from firmware.devices import pylontech_hv as protocol

        self._protocol = protocol
        self._image = image
        self._bus = buses[options["bus"]]
        self._address = options["address"]
        self._period_ms = options["period_ms"]
        self._big = options["byte_order"] == "big"
        self._offset = options["current_offset"]
        self._charge_sign = -1 if options["current_positive"] == "charge" else 1
        self._limit_sign = {"either": 0, "positive": 1, "negative": -1}[options["discharge_limit_sign"]]
        self._current_max = options["current_max"] * 10
        self._voltage_max = options["voltage_max"] * 10
        self._wake = options["wake"]
        self._poller = protocol.Poller()
        self._scratch = array("i", [0] * _SLOTS)
        self._parts = array("b", [0] * 9)  # which frames of each group have arrived since it was last heard
        self._equipment = [None] * len(protocol.EQUIPMENT)
        self.frames = 0
        self.rejected = 0
        self.timeouts = 0
        self.send_errors = 0
        self._heard_at_poll = 0
        self._error_id = 0  # of the last refused frame, with the slot (or _BAD_*) and the value that was refused
        self._error_slot = 0
        self._error_value = 0
        for can_id, mask in protocol.SUBSCRIBE:
            self._bus.subscribe(can_id | self._address, mask | 0xF, protocol.EXTENDED, self._on_frame)

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
        base, length, group, part, parts, fields = frame
        if len(data) != length:
            self._refuse(base, _BAD_LENGTH, len(data))
            return
        scratch = self._scratch
        for i in range(len(fields)):
            field = fields[i]
            value = self._value(field, data)
            if not self._plausible(field, value):
                self._refuse(base, field[0], value)
                return
            scratch[field[0]] = value
        if not fields:
            self._protocol.flags(base, data, self._big, scratch)
        elif not self._pairs_hold(base, fields):
            return
        self.frames += 1
        self._parts[group] |= part
        if self._parts[group] == parts:
            self._parts[group] = 0
            self._publish(group)

    def _value(self, field, data):
        """The field's value in the unit of its slot."""
        at = field[1]
        kind = field[2]
        if kind == _U8:
            raw = data[at]
        elif self._big:
            raw = data[at] << 8 | data[at + 1]
        else:
            raw = data[at + 1] << 8 | data[at]
        if kind == _S16 and raw & 0x8000:
            raw -= 65536
        if kind == _CURRENT:
            return (raw - self._offset) * self._charge_sign
        if kind == _CHARGE_LIMIT:
            return raw - self._offset
        if kind == _DISCHARGE_LIMIT:
            raw -= self._offset
            return abs(raw) if self._limit_sign == 0 else raw * self._limit_sign
        return (raw + field[3]) * field[4] // field[5]

    def _plausible(self, field, value):
        kind = field[2]
        if kind >= _CURRENT and not 0 - self._current_max <= value <= self._current_max:
            return False
        if value > self._voltage_max and (field[0] == im.BMS_V or field[0] == im.BMS_V_MAX):
            return False
        return field[6] <= value <= field[7]

    def _pairs_hold(self, base, fields):
        """A maximum is never below its minimum (a charge voltage of 0 is a stop, not a maximum)."""
        scratch = self._scratch
        pairs = self._protocol.PAIRS
        for i in range(len(pairs)):
            high, low = pairs[i]
            if fields[0][0] == high and scratch[high] < scratch[low]:
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
            if frames[i][2] == group:
                fields = frames[i][5]
                for j in range(len(fields)):
                    inp[fields[j][0]] = scratch[fields[j][0]]
        if group == im.SEQ_BMS_FLAGS:
            for slot in range(im.BMS_STATUS, im.BMS_ALARM + 1):
                inp[slot] = scratch[slot]
        self._image.heard(group)

    async def run(self):
        """Poll for ever.  A poll that brought no operating data counts as a timeout."""
        now = self._image.now
        inp = self._image.inp
        while True:
            asleep = self._wake and inp[im.BMS_STATUS] == 0 and now[im.CMD_CONTACTOR] == 1
            self._heard_at_poll = inp[im.SEQ_BMS]
            if not self._poller.send(self._bus, asleep, self._equipment[1] is not None):
                self.send_errors += 1
            await asyncio.sleep_ms(self._period_ms)
            if inp[im.SEQ_BMS] == self._heard_at_poll:
                self.timeouts += 1

    def equipment(self):
        """What the battery says of itself (a dict, empty before it answered): cells, modules, voltage, Ah, maker."""
        known = self._equipment
        answer = {}
        if known[1] is not None and len(known[1]) == 8:
            sizes = known[1]
            order = "big" if self._big else "little"
            answer["cells"] = int.from_bytes(sizes[0:2], order)
            answer["modules_in_series"] = sizes[2]
            answer["cells_per_module"] = sizes[3]
            answer["nominal_v"] = int.from_bytes(sizes[4:6], order)
            answer["nominal_ah"] = int.from_bytes(sizes[6:8], order)
        if known[2] is not None and known[3] is not None:
            letters = [chr(b) for b in known[2] + known[3] if 32 <= b < 127]
            answer["maker"] = "".join(letters).strip()
        return answer

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
