"""Odd batteries, inverters and meters that nobody has named yet: what each of them costs, and what people are told."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from firmware import image as im
from firmware.config import PowerConfig
from firmware.devices import generic_modbus, generic_writer, meter_sunspec, pcs_der, pcs_dialect, pcs_inverter, pcs_sunspec, sunspec
from firmware.manager import PowerManager
from firmware.modes import Mode
from host_tests.both import bms
from host_tests.both.fakeline import Late
from host_tests.both.pack import Pack
from host_tests.both.plant import Plant
from host_tests.both.registers import Registers
from host_tests.both.test_bms_cases import running
from host_tests.both.virtual import Virtual
from host_tests.site import test_pcs_inverter as older
from host_tests.site import test_pcs_sunspec as newer
from host_tests.site.test_meter_sunspec import COMMON, SCALES
from host_tests.unit.test_variants_modbus import Box, registers_of
from modbus import ModbusRefused, ModbusTimeout, rtu_client, rtu_line, silent
from tools.healthy import healthy
from tools.sim.devices.sunspec_chain import Chain


def reason(plant: Plant) -> str:
    return str(plant.pm.stats()["reason"])


# ---- one value of a battery ---------------------------------------------------------------------------------------


def test_the_coldest_cell_whose_sensor_is_broken_may_be_anything() -> None:
    """Both it and the pack said -100 degC: by the warmest cell alone it was charged with 20 kW."""
    pack = running("hv", -20)
    ordinary = dict(pack.send)
    pack.send[0x4210] = bms.measurements()[:4] + b"\0\0" + bms.measurements()[6:]
    pack.send[0x4240] = bms.temperatures()[:2] + b"\0\0" + bms.temperatures()[4:]
    pack.run(4)
    assert pack.limit() == (0, 0) and pack.command() == 0
    assert "by temperature" in reason(pack) and "no lowest cell temperature that can be true" in reason(pack), reason(pack)
    pack.send = ordinary
    pack.run(10)
    assert pack.command() == -20000


def test_the_pack_s_temperature_stands_for_that_of_a_cell_that_cannot_be_true() -> None:
    pack = running("hv", -20)
    pack.send[0x4240] = bms.temperatures()[:2] + b"\0\0" + bms.temperatures()[4:]
    pack.run(4)
    assert pack.command() == -20000 and pack.details()["bms_value"]


@pytest.mark.parametrize("variant, kw", [("lv", 2), ("hv", 20)])
def test_a_battery_that_reports_0_v_for_a_while_ends_no_operation(variant: str, kw: int) -> None:
    """It was 'ended: the lowest voltage is reached', and beside it: 'the battery reports no voltage'."""
    pack = running(variant, kw)
    ordinary = dict(pack.send)
    pack.follow = False
    pack.send.update({0x356: b"\0\0\0\0\xfa\0"} if variant == "lv" else {0x4210: bms.measurements(volts=0)})
    pack.run(12)
    assert pack.command() == 0 and not pack.events("DISCHARGE_COMPLETE") and "reports no voltage" in reason(pack), reason(pack)
    pack.follow = True
    pack.send = ordinary
    pack.run(20)
    assert pack.by() == "manual" and pack.command() == kw * 1000


@pytest.mark.parametrize(
    "kw, frame",
    [(-2, (0x351, b"\xf4\x01\xe8\x03\xe8\x03\xc0\x01")), (2, (0x351, b"\x30\x02\xe8\x03\xe8\x03\x30\x02"))],
)
def test_a_voltage_bound_far_on_the_wrong_side_of_the_pack_is_a_stop_and_no_end(kw: int, frame: "tuple[int, bytes]") -> None:
    """50 V as the charge voltage of a pack at 53 V and 57 % was 'full: the tail current is reached'."""
    pack = running("lv", kw)
    if kw < 0:
        pack.pm.start_charging(90)
    else:
        pack.pm.start_discharging(kw)
    pack.run(3)
    ordinary = dict(pack.send)
    pack.send[frame[0]] = frame[1]
    pack.run(30)
    assert pack.command() == 0 and "by pack_voltage" in reason(pack)
    assert not pack.events("CHARGE_COMPLETE") and not pack.events("DISCHARGE_COMPLETE")
    pack.send = ordinary
    pack.run(10)
    assert pack.by() == "manual" and pack.command() * kw > 0


def test_a_battery_that_says_0_v_and_no_voltage_to_charge_to_is_not_charged() -> None:
    plant = Plant().ready()
    plant.pm.start_charging(90)
    plant.run(8)
    assert plant.command() < 0
    plant.force.update({im.BMS_V: 0, im.BMS_V_MAX: 0, im.BMS_I: 0})
    plant.run(60)
    assert plant.command() == 0 and plant.by() == "manual", reason(plant)


# ---- the inverter's DC voltage ------------------------------------------------------------------------------------


def at_work(kw: float) -> Plant:
    plant = Plant().ready()
    plant.force[im.PCS_STATE] = im.PCS_RUNNING
    plant.pm.start_discharging(kw)
    plant.run(8)
    assert plant.command() == kw * 1000
    return plant


def test_an_inverter_that_says_0_v_while_it_works_does_not_measure_the_dc_voltage() -> None:
    plant = at_work(30)
    plant.force[im.PCS_DC_V] = 0
    plant.run(20)
    assert plant.command() == 30000


@pytest.mark.parametrize("volts", [10, 500, 5400])
def test_an_inverter_that_measures_another_dc_voltage_than_the_battery_holds_back_and_ends_nothing(volts: int) -> None:
    """It was ended by 'pack_voltage: 643.5 V, the cut-off is 546.0 V', as discharged."""
    plant = at_work(30)
    plant.force[im.PCS_DC_V] = volts
    plant.run(20)
    assert plant.command() == 0 and not plant.events("DISCHARGE_COMPLETE")
    assert f"by pack_voltage for 20 s: the inverter measures {volts / 10:.1f} V, the cut-off is 546.0 V" in reason(plant)
    del plant.force[im.PCS_DC_V]
    plant.run(12)
    assert plant.by() == "manual" and plant.command() == 30000


def test_the_battery_s_own_lowest_voltage_still_ends_a_discharge() -> None:
    plant = at_work(30)
    plant.volts = 545.0
    plant.run(20)
    assert plant.events("DISCHARGE_COMPLETE") and plant.command() == 0


# ---- a part of the battery's frames -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame, what",
    [
        (0x4210, "measurements are"), (0x4220, "limits are"), (0x4230, "cell voltages are"), (0x4240, "cell temperatures are"),
        (0x4250, "status is"),
    ],
)  # fmt: skip
def test_a_battery_that_sends_all_but_one_frame_is_not_said_to_be_silent(frame: int, what: str) -> None:
    """It was told 'nothing received from the battery', and people looked for a broken wire."""
    pack = running("hv", 20)
    kept = pack.send[frame]
    pack.send[frame] = None
    pack.run(6)
    assert pack.pm.mode == Mode.STANDBY and f"the battery's {what} not received" in reason(pack), reason(pack)
    assert "nothing received" not in reason(pack)
    pack.send[frame] = kept
    pack.run(30)
    assert pack.command() == 20000
    pack.send = {}
    pack.run(8)
    assert "nothing received from the battery" in reason(pack)


def test_what_never_came_of_a_battery_that_speaks_is_told_too() -> None:
    pack = Pack("hv")
    pack.send[0x4220] = None
    pack.run(5)
    answer = pack.pm.start()
    pack.run(2)
    assert "the battery's limits are not received" in str(answer) + reason(pack), (answer, reason(pack))


# ---- SunSpec: a model that is listed and does not come ------------------------------------------------------------


@pytest.fixture
def life() -> "Iterator[Virtual]":
    """The time that all drivers live in."""
    inverters = (pcs_sunspec, pcs_dialect, pcs_der, pcs_inverter, sunspec)
    with Virtual(*inverters, generic_modbus, generic_writer, rtu_client, rtu_line, silent) as one:
        yield one


class Mute(Registers):
    """As Registers; a request that `lose` is true of has no answer within its time."""

    lose: Callable[[int, int], bool] = staticmethod(lambda address, count: False)

    async def read_registers(self, unit: int, address: int, count: int, *rest: Any, **more: Any) -> None:
        if self.lose(address, count):
            await asyncio.sleep_ms(self.timeout_ms)  # type: ignore[attr-defined]  # the shims'
            raise ModbusTimeout("no answer")
        await super().read_registers(unit, address, count, *rest, **more)


LISTED = [("newer", 714), ("newer", 702), ("older", 120), ("older", 121)]


def peer(kind: str) -> Chain:
    return (older if kind == "older" else newer).Peer().chain


def said(capsys: pytest.CaptureFixture[str], what: str) -> "list[str]":
    return [line for line in capsys.readouterr().out.splitlines() if what in line]


@pytest.mark.parametrize("kind, model", LISTED)
def test_a_model_that_never_answers_is_done_without(
    life: Virtual, capsys: pytest.CaptureFixture[str], kind: str, model: int
) -> None:
    """As one that is refused: the whole inverter was never reached, and nobody said which model it was."""
    chain = peer(kind)
    client = Mute(registers_of(chain))
    place = chain.starts[model]
    client.lose = lambda address, count: address == place and count > 2
    box = Box(life, pcs_sunspec, client)
    box.now[im.CMD_P] = 7000
    box.commanded(10000, 100, 0)
    assert box.device.ready and client.written
    before = box.inp[im.SEQ_PCS]
    box.commanded(10000, 100, 0)
    assert box.inp[im.SEQ_PCS] - before > 90, "it costs the others nothing"
    assert f"model {model} (register {place}) does not answer" in box.said("note")
    assert len(said(capsys, "does not answer")) == 1


@pytest.mark.parametrize("kind, model", LISTED)
def test_a_model_that_never_answers_is_done_without_on_a_serial_line(life: Virtual, kind: str, model: int) -> None:
    """There a unit that does not answer is left in peace, in the middle of its discovery."""
    chain = peer(kind)
    registers = registers_of(chain)
    place = chain.starts[model]
    uart = Late(life, lambda unit, address, number: 10)
    uart.registers = {(1, address): word for address, word in registers.items()}
    heard = uart.write

    def write(frame: Any, start: int, length: int) -> int:
        address, count = frame[start + 2] << 8 | frame[start + 3], frame[start + 4] << 8 | frame[start + 5]
        lost = frame[start + 1] == 3 and count > 2 and place <= address < place + chain_length(registers, place)
        return length if lost else heard(frame, start, length)

    uart.write = write
    box = Box(life, pcs_sunspec, rtu_client.RtuClient(uart, 115200))
    box.now[im.CMD_P] = 7000
    box.commanded(20000, 100, 0)
    before = box.inp[im.SEQ_PCS]
    box.commanded(10000, 100, 0)
    assert box.device.ready and box.inp[im.SEQ_PCS] - before > 40, box.said("last_error")
    assert f"model {model} " in box.said("note")


def chain_length(registers: "dict[int, int]", place: int) -> int:
    return registers[place + 1] + 2


def test_one_that_was_away_while_it_was_discovered_lacks_nothing_afterwards(life: Virtual) -> None:
    chain = peer("newer")
    chain.put("702.WMax", 40000)
    client = Mute(registers_of(chain))
    place = chain.starts[702]
    gone: list[int] = []

    def lose(address: int, count: int) -> bool:
        if address == place and count > 2 and not gone:
            gone.append(life.us)
        return bool(gone) and life.us < gone[0] + 3000000

    client.lose = lose
    box = Box(life, pcs_sunspec, client)
    box.commanded(20000, 100, 0)
    assert gone and box.inp[im.PCS_P_DIS] == 40000 and box.said("note") == ""


@pytest.mark.parametrize("how", [0, 4, 6, 11])
def test_what_a_slow_model_said_is_none_any_more_when_it_does_not_come(life: Virtual, how: int) -> None:
    """714: its DC current of before stood beside the battery's of now for ever, as current_mismatch, which trips."""
    chain = peer("newer")
    chain.put("714.DCA", 10.0)
    chain.put("714.Prt.0.DCV", 640.0)
    client = Mute(registers_of(chain))
    place = chain.starts[714]
    box = Box(life, pcs_sunspec, client)
    box.commanded(3000, 100, 0)
    assert (box.inp[im.PCS_DC_I], box.inp[im.PCS_DC_V]) == (100, 6400)
    asked: list[int] = []

    def hit(address: int, count: int) -> bool:
        found = address == place and count > 2
        if found:
            asked.append(life.us)
        return found

    if how:
        client.refuse = lambda address, count: how if hit(address, count) else 0
    else:
        client.lose = hit
    box.commanded(8000, 100, 0)
    assert (box.inp[im.PCS_DC_I], box.inp[im.PCS_DC_V], box.inp[im.PCS_DC_P]) == (im.NO_VALUE,) * 3
    assert box.inp[im.PCS_P_DIS] == 100000, "a rating is no measurement"
    del asked[:]
    before = box.inp[im.SEQ_PCS]
    box.commanded(120000, 100, 0)
    assert len(asked) <= 5 * 20 and box.inp[im.SEQ_PCS] - before > 1100, "asked ever more seldom"
    client.refuse = lambda address, count: 0
    client.lose = lambda address, count: False
    box.commanded(61000, 100, 0)
    assert (box.inp[im.PCS_DC_I], box.inp[im.PCS_DC_V]) == (100, 6400)


@pytest.mark.parametrize("how", [0, 4])
def test_a_rating_that_does_not_come_any_more_is_said_and_stays_until_it_comes(
    life: Virtual, capsys: pytest.CaptureFixture[str], how: int
) -> None:
    chain = peer("newer")
    client = Mute(registers_of(chain))
    place = chain.starts[702]
    box = Box(life, pcs_sunspec, client)
    box.commanded(3000, 100, 0)
    if how:
        client.refuse = lambda address, count: how if address == place and count > 2 else 0
    else:
        client.lose = lambda address, count: address == place and count > 2
    box.commanded(300000, 100, 0)
    assert box.inp[im.PCS_P_DIS] == 100000 and box.said("note") == f"model 702 (register {place}) does not come any more"
    assert len(said(capsys, "any more")) == 1
    client.lose, client.refuse = (lambda address, count: False), (lambda address, count: 0)
    chain.put("702.WMax", 40000)
    client.registers.update(registers_of(chain))
    box.commanded(70000, 100, 0)
    assert box.said("note") == "" and box.inp[im.PCS_P_DIS] == 40000


def test_a_704_that_is_too_short_is_said(life: Virtual, capsys: pytest.CaptureFixture[str]) -> None:
    """A draft's: nothing was written, and nobody said why."""
    registers = registers_of(peer("newer"))
    place = peer("newer").starts[704]
    length = registers[place + 1]
    moved = {}
    for address, word in registers.items():
        if place + 2 + 30 <= address < place + 2 + length:
            continue
        moved[address if address < place + 32 else address - length + 30] = word
    moved[place + 1] = 30
    box = Box(life, pcs_sunspec, Registers(moved))
    box.commanded(3000)
    assert box.inp[im.SEQ_PCS] > 5 and "it can be measured, not commanded" in box.said("note")
    assert len(said(capsys, "not commanded")) == 1


def test_what_could_not_be_commanded_for_a_while_is_not_said_for_ever(life: Virtual) -> None:
    chain = peer("newer")
    client = Registers(registers_of(chain))
    box = Box(life, pcs_sunspec, client)
    box.commanded(2000)
    place = chain.places["704.WSet_SF"].address
    client.registers[place] = 0x8000
    box.commanded(2000)
    assert "WSet is not implemented" in box.said("note")
    client.registers[place] = 0
    before = len(client.written)
    box.commanded(2000)
    assert len(client.written) > before and box.said("note") == ""


# ---- a meter ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line, phase, hertz, told",
    [
        (0, 230, 50, (3983, 50000)),
        (400, 230, 0, (4000, im.NO_VALUE)),
        (0, 230, 0, (3983, im.NO_VALUE)),
        (0, 0, 0, (0, 0)),
        (0, 0, 50, (0, 50000)),
        (400, 0, 50, (4000, 50000)),
    ],
)
def test_a_meter_that_says_0_for_what_it_does_not_measure_takes_no_grid_away(
    life: Virtual, line: int, phase: int, hertz: int, told: "tuple[int, int]"
) -> None:
    """0 V line to line beside 230 V of a phase, 0 Hz beside 400 V: a BACKUP site fed its loads from the battery as an island."""
    chain = Chain([COMMON, (203, SCALES)])
    for name, value in (("W", 5000), ("PPV", line), ("PhV", phase), ("Hz", hertz)):
        chain.put("203." + name, value)
    box = Box(life, meter_sunspec, Registers(registers_of(chain)))
    life.run(1000)
    assert box.inp[im.METER_P] == 5000 and (box.inp[im.METER_V], box.inp[im.METER_HZ]) == told


# ---- a battery behind a table -------------------------------------------------------------------------------------

BATTERY_TABLE = {
    "reads": [
        {"slot": "BMS_SOC", "address": 0, "type": "uint16", "scale": 10},
        {"slot": "BMS_SOH", "address": 1, "type": "uint16", "scale": 100},
        {"slot": "BMS_V", "address": 2, "type": "uint16"},
        {"slot": "BMS_I", "address": 3},
        {"slot": "BMS_TEMP", "address": 4},
    ]
}


@pytest.mark.parametrize(
    "address, raw, slot, told, named",
    [
        (0, 1004, im.BMS_SOC, 10000, "register 0 gives more than 100 %, it is taken as 100 %"),
        (0, 1251, im.BMS_SOC, None, "register 0 gives 12510"),
        (1, 105, im.BMS_SOH, 10000, "register 1 gives more than 100 %"),
        (1, 0xFFFF, im.BMS_SOH, im.NO_VALUE, "register 1 gives 6553500"),
        (4, 0x7FFF, im.BMS_TEMP, im.NO_VALUE, "register 4 gives 32767"),
        (2, 0xFFFF, im.BMS_V, None, "register 2 gives 65535"),
    ],
)
def test_one_value_of_a_battery_s_table_costs_itself(
    life: Virtual, address: int, raw: int, slot: int, told: "int | None", named: str
) -> None:
    """soc-105, no-temperature-sensor, of a battery on Modbus: a full one of 100.4 % was lost, and could not be discharged."""
    client = Registers({0: 1000, 1: 99, 2: 6240, 3: 0, 4: 250})
    box = Box(life, generic_modbus, client, table=BATTERY_TABLE)
    life.run(1000)
    before = box.inp[im.SEQ_BMS]
    client.registers[address] = raw
    life.run(1000)
    assert (box.inp[im.SEQ_BMS] > before + 5) == (told is not None)
    assert told is None or box.inp[slot] == told
    assert named in box.said("note") + box.said("last_error")


def test_a_row_s_own_highest_percentage_is_kept(life: Virtual) -> None:
    table = {"reads": [{**row, "high": 9500} if row["slot"] == "BMS_SOC" else row for row in BATTERY_TABLE["reads"]]}
    box = Box(life, generic_modbus, Registers({0: 1000, 1: 99, 2: 6240, 3: 0, 4: 250}), table=table)
    life.run(1000)
    assert box.inp[im.SEQ_BMS] == 0


# ---- an inverter that keeps its fault until it is told otherwise ---------------------------------------------------


class Latching(Registers):
    """A 7xx inverter whose fault stays until AlarmReset is written while its cause is gone; OpCtl starts and stops it."""

    stopped = 7  # standing by

    def __init__(self) -> None:
        self.chain = peer("newer")
        super().__init__(registers_of(self.chain))
        self.cause = False
        self.resets = 0

    def place(self, name: str) -> int:
        return self.chain.places[name].address

    def fault(self) -> None:
        self.cause = True
        self.registers[self.place("701.InvSt")] = 6

    async def write_registers(self, unit: int, address: int, values: Any, count: int, *rest: Any, **more: Any) -> None:
        await super().write_registers(unit, address, values, count, *rest, **more)
        state = self.place("701.InvSt")
        for name, value in zip(range(address, address + count), values, strict=False):
            if name == self.place("715.AlarmReset") and value:
                self.resets += 1
                if not self.cause:
                    self.registers[state] = 7
            if name == self.place("715.OpCtl") and self.registers[state] != 6:
                self.registers[state] = 3 if value else self.stopped


class Cabinet:
    """A whole site of one battery and that inverter: the manager, and the driver on its registers."""

    def __init__(self, life: Virtual, inverter: "Latching | None" = None) -> None:
        self.life = life
        self.inverter = inverter or Latching()
        self.box = Box(life, pcs_sunspec, self.inverter)
        self.pm = PowerManager(PowerConfig(), image=self.box.image, has=im.HAS_BMS | im.HAS_PCS)
        self.flip = 0
        self.run(12)
        self.pm.start()
        self.run(5)
        assert self.pm.mode == Mode.IDLE, self.pm.stats()["reason"]

    def run(self, seconds: float) -> None:
        image = self.box.image
        for _ in range(int(seconds * 10)):
            self.flip ^= 1
            for slot, value, _group in healthy("battery"):
                image.inp[slot] = value
            image.inp[im.BMS_V] = 6435 + self.flip
            for group in range(im.SEQ_PCS):
                image.heard(group)
            self.life.run(100)
            self.pm.cycle(self.life.ticks_ms())


def test_an_inverter_that_keeps_its_fault_is_reset_and_started_again(life: Virtual) -> None:
    """start() waited for the end of pcs_fault, and what would have ended it was written only once it had started."""
    site = Cabinet(life)
    site.inverter.fault()
    site.run(3)
    assert site.pm.mode == Mode.STANDBY and site.pm.stats()["faults"] == ["pcs_fault"] and site.inverter.resets == 0
    site.inverter.cause = False
    site.run(30)
    assert site.pm.mode == Mode.IDLE and site.pm.stats()["faults"] == [] and site.inverter.resets == 1


def test_a_fault_whose_cause_stays_is_reset_ever_more_seldom_and_still_when_the_cause_is_gone(life: Virtual) -> None:
    site = Cabinet(life)
    site.inverter.fault()
    site.run(3600)
    assert site.pm.mode == Mode.STANDBY and 8 <= site.inverter.resets <= 12
    site.inverter.cause = False
    site.run(620)
    assert site.pm.mode == Mode.IDLE


def test_nobody_s_fault_is_reset_that_is_not_to_run(life: Virtual) -> None:
    site = Cabinet(life)
    for stopped in (site.pm.stop, site.pm.emergency_shutdown):
        stopped()
        site.run(5)
        site.inverter.fault()
        site.inverter.cause = False
        site.run(60)
        assert site.inverter.resets == 0 and site.pm.mode in (Mode.STANDBY, Mode.EMERGENCY)
        if site.pm.mode == Mode.STANDBY:
            site.pm.start()
            site.run(15)
            assert site.inverter.resets == 1 and site.pm.mode == Mode.IDLE
            site.inverter.resets = 0


def test_a_fault_that_comes_back_after_each_reset_uses_up_the_restarts(life: Virtual) -> None:
    site = Cabinet(life)
    for _ in range(3600):
        if site.pm.mode == Mode.IDLE:
            site.inverter.fault()
            site.inverter.cause = False
        site.run(1)
    assert site.inverter.resets <= 10 and site.pm.mode == Mode.STANDBY


class Shy(Latching):
    """Takes a setpoint and its timer only while it runs; `deaf`: none at all any more."""

    stopped = 0
    deaf = False

    def __init__(self) -> None:
        super().__init__()
        self.registers[self.place("701.InvSt")] = 0

    async def write_registers(self, unit: int, address: int, values: Any, count: int, *rest: Any, **more: Any) -> None:
        sets = self.chain.starts[704] <= address < self.chain.starts[704] + 60
        if sets and (self.deaf or self.registers[self.place("701.InvSt")] != 3):
            raise ModbusRefused(16, 4)
        await super().write_registers(unit, address, values, count, *rest, **more)
        self.chain.put("701.W", self.setpoint() if self.state() == 3 else 0)
        power = self.place("701.W")
        self.registers[power] = self.chain.registers[power - self.chain.base]

    def setpoint(self) -> int:
        high, low = (self.registers[self.place("704.WSet") + i] for i in (0, 1))
        return (high << 16 | low) - (high >> 15 << 32)

    def state(self) -> int:
        return self.registers[self.place("701.InvSt")]


def test_an_inverter_that_takes_no_setpoint_before_it_runs_is_started(life: Virtual) -> None:
    """The refused setpoint kept START from being written, for ever; and the refused timer was never written again."""
    inverter = Shy()
    site = Cabinet(life, inverter)
    site.pm.set_constant_power(-20)
    site.run(15)
    assert inverter.state() == 3 and inverter.setpoint() == -20000 and site.box.said("note") == ""
    assert inverter.registers[inverter.place("704.WSetRvrtTms") + 1] == 5


def test_one_whose_old_setpoint_would_act_is_not_started(life: Virtual) -> None:
    inverter = Shy()
    inverter.registers[inverter.place("704.WSetEna")] = 1
    inverter.registers[inverter.place("704.WSet") + 1] = 5000
    site = Cabinet(life, inverter)
    site.run(10)
    assert inverter.state() == 0 and "it refuses what is commanded" in site.box.said("note")


def test_one_that_takes_no_setpoint_any_more_is_stopped(life: Virtual) -> None:
    inverter = Shy()
    site = Cabinet(life, inverter)
    site.pm.set_constant_power(-20)
    site.run(4)
    assert inverter.state() == 3 and inverter.setpoint() < 0
    inverter.deaf = True
    site.pm.emergency_shutdown()
    site.run(1)
    assert inverter.state() == 0


def test_the_heartbeat_of_one_that_refuses_goes_on(life: Virtual) -> None:
    inverter = Shy()
    inverter.deaf = True
    Cabinet(life, inverter)
    at = inverter.place("715.ControllerHb")
    beats = [words[1] for address, words in inverter.written if address == at]
    assert len(beats) > 10 and beats == list(range(1, len(beats) + 1))


def test_the_relay_of_one_that_takes_no_limits_any_more_is_opened(life: Virtual) -> None:
    chain = peer("older")
    client = Registers(registers_of(chain))
    box = Box(life, pcs_sunspec, client)
    box.commanded(3000)
    relay = chain.places["123.Conn"].address
    assert client.registers[relay] == 1
    client.refuse = lambda address, count: 4 if address == chain.places["124.OutWRte"].address else 0
    box.now[im.CMD_RUN] = box.now[im.CMD_P] = 0
    for _ in range(5):
        box.now[im.CMD_SEQ] += 1
        life.run(200)
    assert client.registers[relay] == 0


@pytest.mark.parametrize(
    "power",
    [
        ({"from": "CMD_P", "address": 50, "type": "int32"},),
        ({"from": "CMD_MAGNITUDE", "address": 50, "type": "uint32"}, {"from": "CMD_DIRECTION", "address": 52}),
    ],
)
def test_a_table_s_device_that_takes_no_power_any_more_is_stopped(life: Virtual, power: "tuple[dict[str, Any], ...]") -> None:
    """What stops it stood behind the power in the table, and was never written."""
    client = Registers({0: 0})
    writes = [*power, {"from": "CMD_RUN", "address": 60}]
    box = Box(life, generic_modbus, client, table={"reads": [{"slot": "METER_P", "address": 0}], "writes": writes})
    box.commanded(3000)
    assert client.registers[60] == 1
    client.refuse = lambda address, count: 4 if address == 50 else 0
    box.now[im.CMD_RUN] = box.now[im.CMD_P] = 0
    for _ in range(5):
        box.now[im.CMD_SEQ] += 1
        life.run(200)
    assert client.registers[60] == 0 and "register 50 cannot be written" in box.said("last_error")
