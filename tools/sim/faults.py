"""The faults a site can have, a row each: what it means, and which switches of the site it throws."""

import random
from typing import Any, NamedTuple

CELL_OFFSET_V = 0.6
TEMPERATURE_OFFSET_C = 40.0
ALARM_MANUFACTURER = 1 << 16


class Act(NamedTuple):
    """One switch: a field of a part of the site, and what it holds while the fault lasts and after it."""

    part: str  # bms, pcs, meter, pv: as they speak on the wire; cells, inverter, contactors, grid: the physics; board: its pins
    field: str
    on: Any = True
    off: Any = False


class Fault(NamedTuple):
    """A row: what it means, what it throws; of_a_wire: without a wire there is none."""

    meaning: str
    acts: tuple[Act, ...]
    of_a_wire: bool = False


# The one table that scenarios, tests, soaks and the live view use.
FAULTS: dict[str, Fault] = {
    "bms_silent": Fault("the BMS answers nothing on CAN", (Act("bms", "silent"),)),
    "pcs_silent": Fault("the PCS takes no request and gives no answer; its connection stays open", (Act("pcs", "silent"),)),
    "meter_silent": Fault("the meter gives no answer; its connection stays open", (Act("meter", "silent"),)),
    "pv_silent": Fault("the meter of the PV gives no answer", (Act("pv", "silent"),), True),
    "pcs_refuses": Fault(
        "the PCS answers every write with exception 4 (device failure) and keeps its setpoint", (Act("pcs", "refuses"),)
    ),
    "bms_frozen": Fault("the BMS repeats its last values for ever", (Act("bms", "frozen"),)),
    "pcs_frozen": Fault("the PCS answers, but its measurements stand still", (Act("pcs", "frozen"),)),
    "meter_frozen": Fault("the meter answers, but its measurements stand still", (Act("meter", "frozen"),)),
    "bad_crc": Fault(
        "noisy wires: a share of the Modbus answers carries a wrong header, a share of CAN frames is lost",
        (Act("pcs", "bad_header"), Act("meter", "bad_header"), Act("bms", "lossy")), True,
    ),
    "wrong_length": Fault(
        "a share of answers has a wrong length: Modbus length field, CAN data length code",
        (Act("pcs", "bad_length"), Act("meter", "bad_length"), Act("bms", "wrong_length")), True,
    ),
    "cell_over_voltage": Fault(
        "the highest cell reads 0.6 V too high: the BMS protects itself", (Act("cells", "cell_v_offset", CELL_OFFSET_V, 0.0),)
    ),
    "over_temperature": Fault(
        "the hottest cell reads 40 K too hot: the BMS protects itself",
        (Act("cells", "temperature_offset_c", TEMPERATURE_OFFSET_C, 0.0),),
    ),
    "estop": Fault("the emergency stop is pressed", (Act("board", "pressed"),)),
    "contactor_stuck": Fault("the contactors stay as they are whatever is commanded", (Act("contactors", "contactor_stuck"),)),
    "grid_lost": Fault("the grid is gone", (Act("grid", "grid_present", False, True),)),
    "slow_pcs": Fault("every answer of the PCS comes late", (Act("pcs", "slow"),), True),
    "pcs_fault": Fault("the PCS has stopped with an alarm of its own", (Act("inverter", "alarm", ALARM_MANUFACTURER, 0),)),
}


class Switches:
    """The parts of a site, or of one of its devices, and the faults that are thrown in them."""

    def __init__(self, parts: dict[str, object]) -> None:
        """parts: by the names that acts have; what is not there is played in another way, or not at all."""
        self.parts = parts

    def has(self, name: str) -> bool:
        """Whether anything that this fault throws is here."""
        return any(act.part in self.parts for act in FAULTS[name].acts)

    def turn(self, name: str, on: bool) -> None:
        """Start or end a fault in the parts that are here."""
        for act in FAULTS[name].acts:
            part = self.parts.get(act.part)
            if part is not None:
                setattr(part, act.field, act.on if on else act.off)


class Mute:
    """A device that gives no answer while it is `silent`."""

    silent = False


class WireFaults:
    """What happens to the answers of one Modbus device."""

    def __init__(self, rng: random.Random, share: float = 0.25, delay_s: float = 0.4) -> None:
        """`share` of the answers is spoilt by bad_crc and wrong_length; slow answers are `delay_s` late."""
        self.silent = False
        self.frozen = False
        self.refuses = False
        self.bad_header = False
        self.bad_length = False
        self.slow = False
        self.share = share
        self.delay_s = delay_s
        self.spoilt = 0
        self._rng = rng

    def spoil(self, packet: bytes) -> bytes:
        """`packet` (a Modbus TCP frame), now and then with a header no client may accept."""
        if not (self.bad_header or self.bad_length) or self._rng.random() >= self.share or len(packet) < 8:
            return packet
        self.spoilt += 1
        damaged = bytearray(packet)
        if self.bad_length:
            # Half of them announce more than comes, half of them less.
            length = len(packet) - 6
            damaged[4:6] = (length + 4 if self._rng.random() < 0.5 else max(2, length - 3)).to_bytes(2, "big")
        else:
            damaged[0] ^= 0x5A  # transaction id of no request
        return bytes(damaged)
