"""The faults a site can have: their names, what each means, and the switches the endpoints look at."""

import random

from tools.sim.physics.plant import Plant

# name -> meaning; the one list that scenarios, tests and the live view use
FAULTS = {
    "bms_silent": "the BMS answers nothing on CAN",
    "pcs_silent": "the PCS takes no request and gives no answer; its connection stays open",
    "meter_silent": "the meter gives no answer; its connection stays open",
    "pcs_refuses": "the PCS answers every write with exception 4 (device failure) and keeps its setpoint",
    "bms_frozen": "the BMS repeats its last values for ever",
    "pcs_frozen": "the PCS answers, but its measurements stand still",
    "meter_frozen": "the meter answers, but its measurements stand still",
    "bad_crc": "noisy wires: a share of the Modbus answers carries a wrong header, a share of CAN frames is lost",
    "wrong_length": "a share of answers has a wrong length: Modbus length field, CAN data length code",
    "cell_over_voltage": "the highest cell reads 0.6 V too high: the BMS protects itself",
    "over_temperature": "the hottest cell reads 40 K too hot: the BMS protects itself",
    "estop": "the emergency stop is pressed",
    "contactor_stuck": "the contactors stay as they are whatever is commanded",
    "grid_lost": "the grid is gone",
    "slow_pcs": "every answer of the PCS comes late",
    "pcs_fault": "the PCS has stopped with an alarm of its own",
}
CELL_OFFSET_V = 0.6
TEMPERATURE_OFFSET_C = 40.0
ALARM_MANUFACTURER = 1 << 16


def plant_fault(plant: Plant, name: str, on: bool) -> bool:
    """Start or end the faults that are in the plant itself; False if `name` is not one of them."""
    if name == "cell_over_voltage":
        plant.bms.cell_v_offset = CELL_OFFSET_V if on else 0.0
    elif name == "over_temperature":
        plant.bms.temperature_offset_c = TEMPERATURE_OFFSET_C if on else 0.0
    elif name == "contactor_stuck":
        plant.contactor_stuck = on
    elif name == "grid_lost":
        plant.grid_present = not on
    elif name == "pcs_fault":
        plant.pcs.alarm = ALARM_MANUFACTURER if on else 0
    else:
        return False
    return True


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
