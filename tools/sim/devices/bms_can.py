"""The BMS on CAN through python-can: Pylontech's protocols (high voltage: 29-bit identifiers, low voltage: 11-bit) and others.

Conventions on this bus: raw current = 30000 + 10 x amperes with charging positive; both current limits are
magnitudes, raw = 30000 + 10 x limit, unless discharge_limit_negative is set (makers differ): then 30000 - 10 x
limit.  It answers only when asked: 0x4200 with byte 0 = 0 (operating data) or 2 (equipment); 0x8210 with 0xAA asks an empty
pack to close its contactors for a charge.  The low-voltage variant sends by itself and wants 0x305.  The batteries of other
makers (MAKERS) are encoded from the driver's own tables; BYD's says nothing before it was asked who it is.  What real packs do
besides is played by `override` (other bytes, or none, for an identifier).
"""

import asyncio
import random
import struct
from collections.abc import Callable
from types import ModuleType

import can

from tools import bms_tables  # first: it adds the path that firmware needs
from tools.sim.physics import bms as physics
from tools.sim.physics.banks import Battery
from tools.sim.physics.bms import BmsReport
from tools.sim.physics.plant import Plant

# isort: split
from firmware import image as im
from firmware.devices import can_fields, can_tables

ASK = 0x4200
CHARGE = 0x8210
ALIVE = 0x305
OPERATING, EQUIPMENT = 0, 2
FORBIDDEN = 0xAA
# Bits of the alarm and protection words of 0x425x that each condition sets (cell voltage low 0, high 1; charge
# temperature low 4, high 5; discharge temperature low 6, high 7).
_WORD = (
    (physics.UNDER_VOLTAGE, 1 << 0),
    (physics.OVER_VOLTAGE, 1 << 1),
    (physics.UNDER_TEMPERATURE, 1 << 4 | 1 << 6),
    (physics.OVER_TEMPERATURE, 1 << 5 | 1 << 7),
)
_STATUS = {physics.SLEEP: 0, physics.CHARGING: 1, physics.DISCHARGING: 2, physics.IDLE: 3}


def _word(conditions: int) -> int:
    return sum(bits for condition, bits in _WORD if conditions & condition)


def _celsius(value: float) -> int:
    return max(0, min(65535, round(value * 10) + 1000))


def _amps(value: float) -> int:
    return max(0, min(65535, 30000 + round(value * 10)))


def operating_frames(r: BmsReport, cycles: int, discharge_limit_negative: bool = False) -> list[tuple[int, bytes]]:
    """The answers to an operating-data question, as (identifier without address, payload)."""
    way = -1 if discharge_limit_negative else 1
    mv, tc = (r.cell_max_mv, r.cell_min_mv), (_celsius(r.cell_max_c), _celsius(r.cell_min_c))
    flags = _STATUS[r.status] | (8 if r.force_charge else 0) | (16 if r.balancing else 0)
    module_mv = (max(0, r.cell_max_mv * 15), max(0, r.cell_min_mv * 15))
    return [
        (0x4210, struct.pack("<HHHBB", round(r.voltage_v * 10), _amps(-r.current_a), _celsius(r.temperature_c),
                             r.soc_pct, r.soh_pct)),
        (0x4220, struct.pack("<HHHH", round(r.charge_cutoff_v * 10), round(r.discharge_cutoff_v * 10),
                             _amps(r.charge_limit_a), _amps(way * r.discharge_limit_a))),
        (0x4230, struct.pack("<HHHH", max(0, mv[0]), max(0, mv[1]), 17, 104)),
        (0x4240, struct.pack("<HHHH", *tc, 44, 181)),
        (0x4250, struct.pack("<BHBHH", flags, cycles, 0, _word(r.alarm), _word(r.protection))),
        (0x4260, struct.pack("<HHHH", *(min(v, 65535) for v in module_mv), 2, 7)),
        (0x4270, struct.pack("<HHHH", *tc, 3, 12)),
        (0x4280, struct.pack("<BB6x", FORBIDDEN * r.charge_forbidden, FORBIDDEN * r.discharge_forbidden)),
        (0x4290, bytes(8)),
    ]


# Bits of byte 0 (protections) and byte 2 (warnings) of 0x359.
_BYTE = (
    (physics.OVER_VOLTAGE, 1 << 1),
    (physics.UNDER_VOLTAGE, 1 << 2),
    (physics.OVER_TEMPERATURE, 1 << 3),
    (physics.UNDER_TEMPERATURE, 1 << 4),
)


def low_voltage_frames(r: BmsReport) -> list[tuple[int, bytes]]:
    """What a low-voltage pack sends by itself (V1.2 with the second edition's cells), as (identifier, payload)."""
    protect, warn = (sum(bits for condition, bits in _BYTE if of & condition) for of in (r.protection, r.alarm))
    permits = 0x80 * (not r.charge_forbidden) | 0x40 * (not r.discharge_forbidden) | 0x20 * r.force_charge
    kelvins = (round(r.cell_min_c) + 273, round(r.cell_max_c) + 273)
    return [
        (0x351, struct.pack("<HhhH", round(r.charge_cutoff_v * 10), round(r.charge_limit_a * 10),
                            round(r.discharge_limit_a * 10), round(r.discharge_cutoff_v * 10))),
        (0x355, struct.pack("<HH", r.soc_pct, r.soh_pct)),
        (0x356, struct.pack("<hhh", round(r.voltage_v * 100), round(-r.current_a * 10), round(r.temperature_c * 10))),
        (0x359, bytes([protect, 0, warn, 0, 1]) + b"PN"),
        (0x35C, bytes([permits, 0])),
        (0x373, struct.pack("<HHHH", max(0, r.cell_min_mv), max(0, r.cell_max_mv), *kelvins)),
        (0x35E, b"PYLON   "),
    ]


MAKERS = bms_tables.makers()
_WHO, _SELF = 0x151, 0x250  # BYD: the inverter asks who it is; the battery says so


def _slots(r: BmsReport) -> dict[int, float]:
    """What the battery measures, by slot of the image and in its unit."""
    return {
        im.BMS_SOC: r.soc_pct * 100, im.BMS_SOH: r.soh_pct * 100, im.BMS_V: r.voltage_v * 10, im.BMS_I: r.current_a * 10,
        im.BMS_TEMP: r.temperature_c * 10, im.BMS_V_MAX: r.charge_cutoff_v * 10, im.BMS_V_MIN: r.discharge_cutoff_v * 10,
        im.BMS_I_CHG: r.charge_limit_a * 10, im.BMS_I_DIS: r.discharge_limit_a * 10, im.CELL_V_MAX: r.cell_max_mv,
        im.CELL_V_MIN: r.cell_min_mv, im.CELL_T_MAX: r.cell_max_c * 10, im.CELL_T_MIN: r.cell_min_c * 10,
    }  # fmt: skip


def _requests(r: BmsReport) -> int:
    return (
        im.BMS_REQ_NO_CHARGE * r.charge_forbidden
        | im.BMS_REQ_NO_DISCHARGE * r.discharge_forbidden
        | im.BMS_REQ_FORCE_CHARGE * r.force_charge
    )


def _put(data: bytearray, field: int, values: dict[int, float], order: str) -> None:
    """One value of a table's row into its frame; a positive current charges."""
    at, kind, quantity = field >> 8 & 7, field & 3, 3 * (field >> 2 & 7 | field >> 8 & 8)
    add, multiply, divide = can_tables.QUANTITIES[quantity : quantity + 3]
    value = values[field >> 12] * (-1 if field & 0xE0 == can_fields.CURRENT else 1)
    raw = round(value * divide / multiply) - (add if divide == 1 else 0)
    if kind in (can_fields.U8, can_fields.LOW_BITS):
        data[at] |= raw & 0xFF
    else:
        data[at : at + 2] = (raw & 0xFFFF).to_bytes(2, "big" if order == "big" else "little")


def table_frames(r: BmsReport, maker: ModuleType) -> list[tuple[int, bytes]]:
    """What a battery of MAKERS sends, as (identifier, payload), from the table that the driver reads it with."""
    frames: dict[int, bytearray] = {}
    values, requests = _slots(r), _requests(r)
    for identifier, _about, fields, flags in maker.FRAMES:
        data = frames.setdefault(identifier, bytearray(8))
        for field in fields:
            _put(data, field, values, maker.BYTE_ORDER)
        for place, flag in zip(flags[0::2], flags[1::2], strict=True):
            mask = place >> 4 & 255
            wanted = bool(requests & flag) if place & 3 == can_fields.REQUESTS else False
            if wanted != bool(place & can_fields.CLEAR):
                data[place >> 12 & 7] |= mask if place & can_fields.EQUALS else mask & -mask
    return [(identifier, bytes(data)) for identifier, data in frames.items()]


def equipment_frames(plant: Plant | Battery) -> list[tuple[int, bytes]]:
    """The answers to an equipment question."""
    modules = plant.options.modules
    cells = plant.pack.cells
    volts = round(cells * 3.2)
    maker = b"SIMULATED LFP   "
    return [
        (0x7310, struct.pack("<BBBBBBBB", 1, 0, 1, 26, 1, 2, 0, 0)),
        (0x7320, struct.pack("<HBBHH", cells, modules, cells // modules, volts, round(plant.pack.capacity_ah))),
        (0x7330, maker[:8]),
        (0x7340, maker[8:]),
    ]


class BmsOnCan:
    """A node on the CAN hub that answers for the battery.  `on_report(report)` hears what really went out."""

    def __init__(
        self,
        plant: Plant | Battery,
        rng: random.Random,
        address: int = 0,
        discharge_limit_negative: bool = False,
        on_report: Callable[[BmsReport], None] | None = None,
        variant: str = "hv",
        period_s: float = 1.0,
    ) -> None:
        """`variant`: "hv" answers polls, "lv" and those of MAKERS send every `period_s` by themselves."""
        self.variant = variant
        self.period_s = period_s
        self.override: dict[int, bytes | None] = {}  # identifier without address: bytes sent instead, None for silence
        self.alive = 0  # keep-alives received; of MAKERS whatever the controller sends
        self.asked = variant != "byd"  # it may speak
        self.heard: dict[int, bytes] = {}  # what the controller sent last, by 11-bit identifier
        self._sender: asyncio.Task[None] | None = None
        self.plant = plant
        self.address = address
        self.discharge_limit_negative = discharge_limit_negative
        self.on_report = on_report
        self.silent = False
        self.frozen = False
        self.lossy = False
        self.wrong_length = False
        self.share = 0.25
        self.polls = 0
        self.spoilt = 0
        self._rng = rng
        self._last: BmsReport | None = None
        self._bus: can.BusABC | None = None

    def start(self, port: int) -> None:
        """Join the bus behind 127.0.0.1:`port`."""
        self._bus = can.Bus(
            interface="slcan", channel=f"socket://127.0.0.1:{port}", bitrate=500_000, sleep_after_open=0, timeout=0
        )
        asyncio.get_running_loop().add_reader(self._bus.fileno(), self._readable)
        if self.variant != "hv":
            self._sender = asyncio.create_task(self._send_by_itself())

    async def _send_by_itself(self) -> None:
        while True:
            if not self.silent and self.asked:
                self._answer_operating()
            await asyncio.sleep(self.period_s)

    def stop(self) -> None:
        """Leave the bus."""
        if self._sender is not None:
            self._sender.cancel()
            self._sender = None
        if self._bus is not None:
            asyncio.get_running_loop().remove_reader(self._bus.fileno())
            self._bus.shutdown()
            self._bus = None

    def _readable(self) -> None:
        """The socket has bytes: python-can makes a message of them when they are one."""
        if self._bus is None:
            return
        try:
            message = self._bus.recv(0)
        except can.CanError:
            # The hub is gone: nothing more will come.
            asyncio.get_running_loop().remove_reader(self._bus.fileno())
            return
        if message is None or message.dlc < 1 or self.silent:
            return
        if not message.is_extended_id:
            self._note(message)
            return
        if message.arbitration_id == CHARGE and message.data[0] == FORBIDDEN:
            self.plant.bms.ask_charge()
        if message.arbitration_id != ASK or self.variant != "hv":
            return
        if message.data[0] == OPERATING:
            self._answer_operating()
        elif message.data[0] == EQUIPMENT:
            self._send(equipment_frames(self.plant))

    def _note(self, message: can.Message) -> None:
        """What a battery that sends by itself is told."""
        self.alive += self.variant in MAKERS or message.arbitration_id == ALIVE
        self.heard[message.arbitration_id] = bytes(message.data)
        if self.variant == "byd" and message.arbitration_id == _WHO and message.data[0] & 1:
            self.asked = True
            kwh = round(self.plant.options.energy_kwh * 10)
            self._send([(_SELF, struct.pack(">4xH2x", kwh))])

    def _answer_operating(self) -> None:
        self.polls += 1
        report = self._last if self.frozen and self._last is not None else self.plant.bms.report()
        self._last = report
        if self.variant == "lv":
            self._send(low_voltage_frames(report))
        elif self.variant in MAKERS:
            self._send(table_frames(report, MAKERS[self.variant]))
        else:
            self._send(operating_frames(report, self.polls & 0xFFFF, self.discharge_limit_negative))
        if self.on_report is not None:
            self.on_report(report)

    def _send(self, frames: list[tuple[int, bytes]]) -> None:
        assert self._bus is not None
        extended = self.variant == "hv"
        known = {identifier for identifier, _ in frames}
        more = [(identifier, data) for identifier, data in self.override.items() if identifier not in known and data is not None]
        for identifier, payload in frames + more:
            other = self.override.get(identifier, payload)
            if other is None:
                continue
            data = other
            if self._rng.random() < self.share and (self.lossy or self.wrong_length):
                self.spoilt += 1
                if self.lossy:
                    continue
                data = data[: self._rng.randrange(8)]
            self._bus.send(can.Message(arbitration_id=identifier | self.address, is_extended_id=extended, data=data))
