"""Spoils what the devices wrote into the process image: groups fall silent or freeze, values vanish or turn absurd.

The plant behind it stays honest.  Call `spoil` after the site has written and before the cycle freezes its inputs.
"""

from array import array

from firmware import image as im
from firmware import points

# SEQ slot: the slots of that group, [first, last), of those that the virtual sites report
GROUPS = {seq: (first, last + 1) for seq, first, last, *_ in points.groups() if seq <= im.SEQ_IO}
# what drivers let through at most, by slot: what is beyond does not reach the image
_PLAUSIBLE: dict[tuple[int, ...], tuple[int, int]] = {
    (im.BMS_SOC, im.BMS_SOH): (0, 10000),
    (im.BMS_V, im.BMS_V_MAX, im.BMS_V_MIN, im.PCS_DC_V): (0, 15000),
    (im.BMS_I, im.PCS_DC_I): (-30000, 35535),
    (im.BMS_I_CHG, im.BMS_I_DIS): (0, 35535),
    (im.BMS_TEMP, im.CELL_T_MAX, im.CELL_T_MIN, im.PCS_TEMP): (-1000, 2000),
    (im.CELL_V_MAX, im.CELL_V_MIN): (0, 6000),
    (im.BMS_STATUS, im.PCS_STATE): (0, 4),
    (im.BMS_REQUESTS,): (0, 31),
    (im.BMS_PROTECT, im.BMS_ALARM): (0, (1 << 20) - 1),
    (im.PCS_P, im.PCS_DC_P, im.PCS_Q, im.PCS_SETPOINT): (-1_500_000, 1_500_000),
    (im.PCS_P_CHG, im.PCS_P_DIS): (0, 2_000_000),
    (im.PV_P,): (0, 2_000_000),
    (im.METER_P,): (-3_000_000, 3_000_000),
    (im.PCS_HZ, im.METER_HZ): (0, 70000),
    (im.PCS_GRID, im.IO_ESTOP, im.IO_CONTACTOR): (0, 1),
}
PLAUSIBLE = {slot: bounds for slots, bounds in _PLAUSIBLE.items() for slot in slots}
# which directions a value may cost while it is absent: 1 discharge, 2 charge; one that is not named here costs none
_COSTS: dict[tuple[int, ...], int] = {
    (im.BMS_SOC, im.BMS_V, im.BMS_I, im.PCS_STATE, im.PCS_P, im.PCS_GRID, im.METER_P): 3,
    (im.BMS_V_MIN, im.BMS_I_DIS, im.CELL_V_MIN): 1,
    (im.BMS_V_MAX, im.BMS_I_CHG, im.CELL_V_MAX): 2,
}  # fmt: skip
COSTS = {slot: directions for slots, directions in _COSTS.items() for slot in slots}
SENSORS = (*range(im.BMS_SOC, im.CELL_T_MIN + 1), *range(im.PCS_STATE, im.PCS_SETPOINT + 1), *range(im.METER_P, im.METER_HZ + 1))
_SEQ_OF = {slot: seq for seq, (first, last) in GROUPS.items() for slot in range(first, last)}


class Wire:
    """The spoilt groups and values of one image."""

    def __init__(self, image) -> None:  # type: ignore[no-untyped-def]
        self._inp = image.inp
        self._held: dict[int, array] = {}  # silent groups: their SEQ and values as they were
        self._frozen: dict[int, array] = {}  # frozen groups: values stand still, the SEQ goes on
        self._forced: dict[int, int] = {}
        self._wild: dict[int, tuple[int, int, bool]] = {}  # slot: its group's SEQ, the value, the reading has come
        self.busy = False  # anything is spoilt
        self.lies = False  # and something that is not absent is not true
        self.costs = 0  # directions that what is absent may cost, 1 discharge, 2 charge

    def silence(self, seq: int) -> None:
        """The group is not heard any more, and its values stay."""
        first, last = GROUPS[seq]
        self._held[seq] = array("i", [self._inp[seq], *self._inp[first:last]])
        self.busy = self.lies = True

    def freeze(self, seq: int) -> None:
        """The group is heard, with the same values for ever."""
        first, last = GROUPS[seq]
        self._frozen[seq] = self._inp[first:last]
        self.busy = self.lies = True

    def force(self, slot: int, value: int) -> None:
        """The slot holds `value` whatever is measured."""
        self._forced[slot] = value
        self.busy = self.lies = True

    def refuse(self, slot: int) -> None:
        """A broken sensor: the driver refuses the value in `slot` as one that cannot be true; of the battery it says so."""
        self._forced[slot] = im.NO_VALUE
        if slot <= im.CELL_T_MIN:
            self._forced[im.BMS_ODD] = self._forced.get(im.BMS_ODD, 0) | 1 << slot - im.BMS_SOC
        self.costs |= COSTS.get(slot, 0)
        self.busy = True

    def wild(self, slot: int, value: int) -> None:
        """One reading of `slot` is `value`: the next one of its group, and none after it."""
        self._wild[slot] = (self._inp[_SEQ_OF[slot]], value, False)
        self.busy = self.lies = True

    def boot(self) -> None:
        """The BMS starts again: zeros, and cells that it has not measured yet."""
        for slot in (im.BMS_SOC, im.BMS_V, im.BMS_I, im.BMS_I_CHG, im.BMS_I_DIS):
            self.force(slot, 0)
        for slot in (im.CELL_V_MAX, im.CELL_V_MIN):
            self.refuse(slot)
        self.lies = True

    def two_batteries(self, turn: int) -> None:
        """Two batteries answer in turn: the driver says so, and the SoC is one's or the other's."""
        self.force(im.BMS_ODD, im.BMS_ODD_TWO)
        self.force(im.BMS_SOC, 8800 if turn else 3000)

    def mend(self) -> None:
        """Everything is as measured again, from the next report on."""
        self._held.clear()
        self._frozen.clear()
        self._forced.clear()
        self._wild.clear()
        self._inp[im.BMS_ODD] = 0  # the plant's own battery never writes it
        self.busy = self.lies = False
        self.costs = 0

    def spoil(self) -> None:
        """Do it; costs nothing worth mentioning when nothing is spoilt (test `busy` first)."""
        inp = self._inp
        for seq, held in self._held.items():
            first, last = GROUPS[seq]
            inp[seq] = held[0]
            inp[first:last] = held[1:]
        for seq, values in self._frozen.items():
            first, last = GROUPS[seq]
            inp[first:last] = values
        for slot, value in self._forced.items():
            inp[slot] = value
        if self._wild:
            self._read_wild()

    def _read_wild(self) -> None:
        inp = self._inp
        for slot, (seq, value, come) in list(self._wild.items()):
            now = inp[_SEQ_OF[slot]]
            if now == seq:
                continue
            if come:
                del self._wild[slot]  # the next reading is here, and true
            else:
                self._wild[slot] = (now, value, True)
                inp[slot] = value
