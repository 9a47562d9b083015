"""What the Modbus devices of the cases' neighbours do, with the drivers on a client that is a table of registers."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from firmware import config
from firmware import image as im
from firmware.devices import (
    connection,
    generic_modbus,
    generic_writer,
    meter_sunspec,
    pcs_der,
    pcs_dialect,
    pcs_inverter,
    pcs_sunspec,
    sunspec,
)
from host_tests.both.registers import Registers
from host_tests.both.virtual import Virtual
from host_tests.site import test_pcs_inverter as older
from host_tests.site import test_pcs_sunspec as newer
from host_tests.site.test_meter_sunspec import COMMON, SCALES
from modbus import ModbusTimeout
from tools.sim.devices.sunspec_chain import Chain


def chain_registers(*models: int) -> "dict[int, int]":
    chain = Chain([COMMON, *[(model, SCALES) for model in models]])
    return {chain.base + i: word for i, word in enumerate(chain.registers)}


def registers_of(chain: Chain) -> "dict[int, int]":
    return {chain.base + i: word for i, word in enumerate(chain.registers)}


class Box:
    """A driver of `module` on that client, which runs; `image`: its own."""

    def __init__(self, life: Virtual, module: Any, client: Any, **given: Any) -> None:
        options = config.check(module.OPTIONS, {"host": "10.0.0.2", **given}, "box", [])
        self.life = life
        self.client = client
        self.image = im.Image()
        self.inp, self.now = self.image.inp, self.image.now
        usual = connection.open_client
        connection.open_client = lambda *_: client
        try:
            self.device = module.Device("box", options, self.image, {})
        finally:
            connection.open_client = usual
        life.live(self.device)

    def said(self, key: str) -> str:
        """What its counters have under that name."""
        return self.device.counters()[key]

    def commanded(self, ms: int, every_ms: int = 200, more: int = 1) -> None:
        """Control goes on for so long, the power changing all the time by so much."""
        self.now[im.CMD_RUN] = 1
        for _ in range(ms // every_ms):
            self.now[im.CMD_SEQ] += 1
            self.now[im.CMD_P] += more
            self.life.run(every_ms)


@pytest.fixture
def life() -> "Iterator[Virtual]":
    """The time that all drivers live in."""
    with Virtual(pcs_sunspec, pcs_dialect, pcs_der, pcs_inverter, generic_modbus, generic_writer, sunspec) as one:
        yield one


# ---- busy while it is discovered ----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [5, 6, 10, 11])
def test_a_chain_is_not_taken_for_ended_because_the_device_is_busy(life: Virtual, code: int) -> None:
    """The second of two meters would be lost, and the production meter be taken for the grid's."""
    client = Registers(chain_registers(203, 203))
    box = Box(life, meter_sunspec, client)
    second = 40002 + 68 + 107
    assert client.registers[second] == 203
    client.refuse = lambda address, count: code if address == second else 0
    life.run(5000)
    assert box.inp[im.SEQ_METER] == 0 and f"exception {code}" in box.said("last_error")
    client.refuse = lambda address, count: 0
    life.run(5000)
    assert box.inp[im.SEQ_METER] == 0 and "2 of one kind in this chain" in box.said("note")


@pytest.mark.parametrize("code", [5, 6, 10, 11])
def test_a_device_that_is_busy_is_not_said_to_be_none(life: Virtual, code: int) -> None:
    client = Registers(chain_registers(203))
    box = Box(life, meter_sunspec, client)
    client.refuse = lambda address, count: code if address == 40000 else 0
    life.run(5000)
    assert f"exception {code}" in box.said("last_error") and box.said("note") == ""


# ---- blocks of several periods ---------------------------------------------------------------------------------------


class Slow:
    """A meter whose voltage is read every 100 ms and whose power, far away, every `period_ms`."""

    def __init__(self, life: Virtual, period_ms: int, fast_ms: int = 100) -> None:
        self.life = life
        self.lose = 0  # reads of the power that get no answer
        self.code = 11
        self.asked: list[tuple[int, int]] = []  # (ms, address)
        client = Registers({20: 2300, 106: 500})
        client.refuse = self.refuse
        reads = [
            {"slot": "METER_V", "address": 20, "type": "uint16", "period_ms": fast_ms},
            {"slot": "METER_P", "address": 106, "type": "int16", "period_ms": period_ms},
        ]
        self.box = Box(life, generic_modbus, client, table={"reads": reads})
        self.registers = client.registers

    def refuse(self, address: int, count: int) -> int:
        now = self.life.us // 1000
        if not self.asked or self.asked[-1][1] != address or now - self.asked[-1][0] > 90:  # busy is asked in place
            self.asked.append((now, address))
            self.lose -= address == 106
        return self.code if address == 106 and self.lose >= 0 else 0

    def stands_still(self, ms: int) -> int:
        """The longest time for which the meter is not heard, within so long."""
        longest = since = 0
        heard = self.box.inp[im.SEQ_METER]
        for _ in range(ms // 50):
            self.life.run(50)
            since = since + 50 if self.box.inp[im.SEQ_METER] == heard else 0
            heard = self.box.inp[im.SEQ_METER]
            longest = max(longest, since)
        return longest


@pytest.mark.parametrize("code", [4, 5, 6, 10, 11])
@pytest.mark.parametrize("period_ms", [2000, 10000, 60000])
def test_one_answer_of_a_slow_block_that_does_not_come_costs_its_group_nothing(life: Virtual, period_ms: int, code: int) -> None:
    slow = Slow(life, period_ms)
    slow.code = code
    life.run(1000)
    slow.lose = 1
    slow.registers[106] = 700
    assert slow.stands_still(period_ms + 1500) < 400
    assert slow.lose < 0 and slow.box.inp[im.METER_P] == 700, "asked again within two time-outs"


def test_a_slow_block_that_says_no_more_is_believed_for_its_period_and_a_margin_however_long_ago_that_is(life: Virtual) -> None:
    slow = Slow(life, 10000)
    life.run(1000)
    slow.lose = 1 << 20
    assert slow.stands_still(10000) < 400
    life.run(2000)
    assert slow.stands_still(300000) == 300000
    asked = [ms for ms, address in slow.asked if address == 106][-20:]
    assert 3900 < asked[-1] - asked[-2] < 4600, "every eight time-outs, whatever its period"
    for _ in range(30):
        life.skip(12 * 3600 * 1000)  # ticks come round meanwhile
        assert slow.stands_still(5000) == 5000
    slow.lose = 0
    life.run(5000)
    assert slow.stands_still(20000) < 400


def test_blocks_of_one_slow_period_are_read_together_again_after_one_was_lost(life: Virtual) -> None:
    slow = Slow(life, 10000, 10000)
    life.run(1000)
    slow.lose = 1
    life.run(12000)
    assert slow.lose < 0
    heard = slow.box.inp[im.SEQ_METER]
    del slow.asked[:]
    life.run(40000)
    volts, power = [[ms for ms, address in slow.asked if address == which] for which in (20, 106)]
    assert len(volts) == len(power) == 4, (volts, power)
    assert all(abs(a - b) < 100 for a, b in zip(volts, power, strict=True)), (volts, power)
    assert 4 <= slow.box.inp[im.SEQ_METER] - heard <= 8


# ---- values at the edges ------------------------------------------------------------------------------------------


def fits_a_slot(value: int) -> bool:
    return value == im.NO_VALUE or -0x3FFFFFFF <= value <= 0x3FFFFFFF


def test_a_phase_voltage_that_cannot_be_true_is_none_of_the_meter(life: Virtual) -> None:
    chain = Chain([COMMON, (203, {**SCALES, "V_SF": 7})])
    chain.put("203.W", 5000)
    place = chain.places["203.PhV"].address
    registers = registers_of(chain)
    registers[place] = 10
    registers[chain.places["203.PPV"].address] = 0x8000
    box = Box(life, meter_sunspec, Registers(registers))
    life.run(1000)
    assert (box.inp[im.METER_P], box.inp[im.METER_V]) == (5000, im.NO_VALUE)
    assert f"model 203, register {place}: gives 1000000000" in box.said("last_error")


@pytest.mark.parametrize("full, power, rate", [(65535, 4, 32767), (50000, 2, -30000), (65535, 2, 25000), (1, 0, 100)])
def test_a_storage_rate_that_cannot_be_true_is_no_setpoint(life: Virtual, full: int, power: int, rate: int) -> None:
    peer = older.Peer(StorCtl_Mod=3)
    chain = peer.chain
    registers = registers_of(chain)
    given = {"124.WChaMax": full, "124.WChaMax_SF": power, "124.InOutWRte_SF": 2, "124.OutWRte": rate, "124.InWRte": -rate}
    for name, value in given.items():
        registers[chain.places[name].address] = value & 0xFFFF
    box = Box(life, pcs_sunspec, Registers(registers))
    inp = box.inp
    inp[im.PCS_SETPOINT] = 77
    life.run(1000)
    assert inp[im.SEQ_PCS] >= 5
    assert all(fits_a_slot(inp[slot]) for slot in range(im.BMS_SOC, im.N_INPUTS)), list(inp)
    assert inp[im.PCS_SETPOINT] == im.NO_VALUE


# ---- one value of a table -----------------------------------------------------------------------------------------

PCS_TABLE = {
    "reads": [
        {"slot": "PCS_P", "address": 0, "low": -30000, "high": 30000},
        {"slot": "PCS_STATE", "address": 1, "type": "uint16", "map": {"0": 0, "1": 2, "2": 3}},
        {"slot": "PCS_TEMP", "address": 2, "low": -400, "high": 1500},
        {"slot": "PCS_DC_V", "address": 3, "type": "uint16", "low": 0, "high": 15000},
        {"slot": "PCS_HZ", "address": 4, "type": "float32", "scale": 1000, "low": 0, "high": 100000},
        {"slot": "PCS_P_CHG", "address": 6, "type": "uint16", "low": 0, "high": 60000},
    ]
}
NAN, INFINITY = (0x7FC0, 0), (0x7F80, 0)
FIFTY = (0x4248, 0)


def table_registers(
    power: int = 1000, state: int = 2, temp: int = 300, dc: int = 6200, hz: "tuple[int, int]" = FIFTY
) -> "dict[int, int]":
    return dict(enumerate((power, state, temp, dc, *hz, 50000)))


@pytest.mark.parametrize(
    "registers, slot",
    [
        (table_registers(temp=4018), im.PCS_TEMP),
        (table_registers(temp=0x8000), im.PCS_TEMP),
        (table_registers(dc=0xFFFF), im.PCS_DC_V),
        (table_registers(hz=INFINITY), im.PCS_HZ),
        (table_registers(hz=NAN), im.PCS_HZ),
        (table_registers(hz=(0xC248, 0)), im.PCS_HZ),
    ],
)
def test_one_value_of_a_table_that_cannot_be_true_costs_itself(life: Virtual, registers: "dict[int, int]", slot: int) -> None:
    client = Registers(table_registers())
    box = Box(life, generic_modbus, client, table=PCS_TABLE)
    inp = box.inp
    life.run(500)
    before = inp[im.SEQ_PCS]
    assert before >= 4 and inp[slot] != im.NO_VALUE
    client.registers.update(registers)
    life.run(500)
    assert inp[im.SEQ_PCS] >= before + 4 and inp[slot] == im.NO_VALUE and inp[im.PCS_P] == 1000
    named = {im.PCS_TEMP: "register 2 ", im.PCS_DC_V: "register 3 ", im.PCS_HZ: "register 4 "}[slot]
    assert registers[4] == NAN[0] or named in box.said("last_error")
    client.registers.update(table_registers())
    life.run(500)
    assert inp[slot] != im.NO_VALUE


@pytest.mark.parametrize("registers", [table_registers(power=0x8000), table_registers(state=7), {**table_registers(), 6: 65535}])
def test_without_power_state_or_rating_the_measurement_is_none(life: Virtual, registers: "dict[int, int]") -> None:
    client = Registers(registers)
    box = Box(life, generic_modbus, client, table=PCS_TABLE)
    life.run(1000)
    assert client.reads >= 9 and box.inp[im.SEQ_PCS] == 0


# ---- a week without an error --------------------------------------------------------------------------------------


WRITES = [{"from": "CMD_P", "address": 40, "type": "int32"}, {"value": 3, "address": 42}]


def goes_on(box: Box, away: bool = False) -> "list[int]":
    """Control and driver run while a fortnight passes in steps of twelve hours; how much was written around each."""
    counts = []
    box.commanded(3000, 100, 0)
    for step in range(28):
        box.life.skip(12 * 3600000)  # within which all went on as before
        if away:
            box.client.refuse = (lambda address, count: 4) if step < 20 else (lambda address, count: 0)
        before = len(box.client.written)
        box.now[im.CMD_P] += 10
        box.commanded(1500, 100, 0)
        counts.append(len(box.client.written) - before)
    return counts


@pytest.mark.parametrize("peer", [older.Peer, newer.Peer])
def test_an_inverter_is_commanded_however_long_nothing_went_wrong(life: Virtual, peer: Any) -> None:
    """Ticks wrap after 12.4 days, and what lies 6.2 days back looks like the future."""
    counts = goes_on(Box(life, pcs_sunspec, Registers(registers_of(peer().chain))))
    assert min(counts) >= 2, counts


@pytest.mark.parametrize(("peer", "spoken"), [(older.Peer, "older"), (newer.Peer, "newer")])
def test_an_inverter_whose_dialect_the_site_names_is_commanded_and_one_of_the_other_is_not(
    life: Virtual, capsys: pytest.CaptureFixture[str], peer: Any, spoken: str
) -> None:
    client = Registers(registers_of(peer().chain))
    box = Box(life, pcs_sunspec, client, dialect=spoken)
    box.commanded(2000)
    assert client.written and box.device.ready
    wrong = {"older": "newer", "newer": "older"}[spoken]
    client = Registers(registers_of(peer().chain))
    box = Box(life, pcs_sunspec, client, dialect=wrong)
    box.commanded(2000)
    said = [line for line in capsys.readouterr().out.splitlines() if '"dialect"' in line]
    assert not client.written and not box.device.ready and len(said) == 1 and f'"{wrong}"' in said[0], said


@pytest.mark.parametrize("away", [False, True])
def test_a_box_is_commanded_however_long_nothing_went_wrong_or_it_was_away(life: Virtual, away: bool) -> None:
    table = {"reads": [{"slot": "METER_P", "address": 0}], "writes": WRITES}
    counts = goes_on(Box(life, generic_modbus, Registers({0: 0}), table=table), away)
    assert min(counts[21:]) >= 2 and (away or min(counts) >= 2), counts


# ---- constants that live in flash ---------------------------------------------------------------------------------

FLASH: "list[dict[str, Any]]" = [{"value": 3, "address": 42}, {"from": "CMD_P", "address": 40, "type": "int32"}]
PARTS: "list[dict[str, Any]]" = [
    {"value": 3, "address": 42},
    {"from": "CMD_DIRECTION", "address": 44, "type": "uint16", "map": {"-1": 2, "0": 0, "1": 1}},
    {"from": "CMD_MAGNITUDE", "address": 40, "type": "uint32"},
]


class Silent(Registers):
    """As Registers, and does not answer what `lose` is true of."""

    lose: Callable[[int], bool] = staticmethod(lambda address: False)

    async def write_registers(self, unit: int, address: int, *rest: Any, **more: Any) -> None:
        if self.lose(address):
            raise ModbusTimeout("no answer")
        await super().write_registers(unit, address, *rest, **more)


def constants(client: Registers) -> int:
    return len([1 for address, _ in client.written if address == 42])


def table(writes: "list[dict[str, Any]]") -> "dict[str, Any]":
    return {"reads": [{"slot": "METER_P", "address": 0}], "writes": writes}


@pytest.mark.parametrize("writes", [FLASH, PARTS])
@pytest.mark.parametrize("code", [2, 4, 6])
def test_a_register_that_is_refused_does_not_wear_out_another_ones_flash(
    life: Virtual, writes: "list[dict[str, Any]]", code: int
) -> None:
    """constants-again-and-again: 10 times a second it was written, for ever, because something else was refused."""
    client = Registers({0: 0})
    client.refuse = lambda address, count: code if address == 40 else 0
    box = Box(life, generic_modbus, client, table=table(writes))
    box.commanded(300000)
    assert 2 <= constants(client) <= 5
    before = constants(client)
    for _ in range(24):
        life.skip(3600000)
        box.commanded(3000)
    assert constants(client) - before <= 10, "in a day"
    client.refuse = lambda address, count: 0
    box.commanded(5000)
    assert [1 for address, _ in client.written if address == 40]
    before = constants(client)
    box.commanded(100000)
    assert constants(client) == before


def test_one_that_refuses_what_is_commanded_is_named_with_register_and_why_until_it_takes_it(life: Virtual) -> None:
    client = Registers({0: 0})
    box = Box(life, generic_modbus, client, table=table(PARTS))
    box.commanded(5000)
    assert box.device.counters()["note"] == "" and box.image.barred == ""
    client.refuse = lambda address, count: 3 if address == 40 else 0
    box.commanded(10000)
    told = "it refuses what is commanded: register 40 cannot be written: function 16 refused, exception 3: illegal value"
    assert box.device.counters()["note"] == box.image.barred == told
    client.refuse = lambda address, count: 0
    box.commanded(5000)
    assert box.device.counters()["note"] == "" and box.image.barred == ""


def test_after_lost_answers_a_constant_is_written_again_at_most_once_a_minute_and_ever_more_seldom(life: Virtual) -> None:
    client = Silent({0: 0})
    box = Box(life, generic_modbus, client, table=table(FLASH))
    box.commanded(100000)
    assert constants(client) == 1
    client.lose = lambda address: True  # it is away, perhaps it starts anew
    box.commanded(10000)
    client.lose = lambda address: False
    box.commanded(2000)
    assert constants(client) == 2
    client.lose = lambda address: address == 40  # or only one of its registers never answers
    box.commanded(300000)
    assert 3 <= constants(client) <= 6
    client.lose = lambda address: False
    box.commanded(500000)
    before = constants(client)
    box.commanded(300000)
    assert constants(client) == before
    client.connections += 1  # a new connection is a new device
    box.commanded(1000)
    assert constants(client) == before + 1


@pytest.mark.parametrize("code", [1, 2, 3, 4])
def test_a_setting_that_is_refused_keeps_no_setpoint_back(life: Virtual, capsys: pytest.CaptureFixture[str], code: int) -> None:
    chain = older.Peer(ChaGriSet=0).chain
    client = Registers(registers_of(chain))
    place = chain.places["124.ChaGriSet"].address
    client.refuse = lambda address, count: code if address == place else 0
    box = Box(life, pcs_sunspec, client, set_grid_charging=True)
    box.commanded(2000)
    box.now[im.CMD_P] = -9000
    box.commanded(400, more=0)
    assert chain.places["124.OutWRte"].address in [address for address, values in client.written if values[0] & 0x8000]
    said = [line for line in capsys.readouterr().out.splitlines() if "ChaGriSet" in line]
    assert len(said) == 1 and "cannot be written" in said[0], said


class Bouncing(Registers):
    """As Registers, and what is written to `place` is 0 again at once."""

    place = -1

    async def write_registers(self, unit: int, address: int, *rest: Any, **more: Any) -> None:
        await super().write_registers(unit, address, *rest, **more)
        if address == self.place:
            self.registers[address] = 0


@pytest.mark.parametrize("stays", [True, False])
def test_a_setting_that_bounces_back_is_written_seldom_and_said(
    life: Virtual, capsys: pytest.CaptureFixture[str], stays: bool
) -> None:
    """ChaGriSet, which the option lets the driver change: a device may set it to PV again by itself."""
    chain = older.Peer(ChaGriSet=0).chain
    client = Bouncing(registers_of(chain))
    place = chain.places["124.ChaGriSet"].address
    client.place = -1 if stays else place
    box = Box(life, pcs_sunspec, client, set_grid_charging=True, period_ms=1000)

    def times() -> int:
        return len([1 for address, _ in client.written if address == place])

    box.now[im.CMD_P] = -1000
    box.commanded(4000, more=-50)
    assert times() == 1
    box.commanded(596000, more=-50)
    assert times() == 1 if stays else 2 <= times() <= 6, times()
    rates = [values for address, values in client.written if address == chain.places["124.OutWRte"].address]
    assert len(rates) > 500, "it is commanded all the same"
    said = [line for line in capsys.readouterr().out.splitlines() if "ChaGriSet" in line]
    assert len(said) == (0 if stays else 1) and (stays or "does not stay" in said[0]), said


@pytest.mark.parametrize("peer, point", [("older", "123.Conn"), ("newer", "715.OpCtl"), ("newer", "715.ControllerHb")])
@pytest.mark.parametrize("code", [1, 2, 3, 4])
def test_a_refused_part_beside_the_power_is_said_and_keeps_no_setpoint_back(
    life: Virtual, capsys: pytest.CaptureFixture[str], peer: str, point: str, code: int
) -> None:
    """timer-not-writable: the setpoint is written all the same, and the device is not flooded with it."""
    chain = (older if peer == "older" else newer).Peer().chain
    client = Registers(registers_of(chain))
    place = chain.places[point].address
    tried: list[int] = []

    def refuse(address: int, count: int) -> int:
        if address == place and count <= 2:
            tried.append(address)
            return code
        return 0

    box = Box(life, pcs_sunspec, client)
    setpoint = chain.places["124.OutWRte" if peer == "older" else "704.WSet"].address
    life.until(lambda: box.device.ready, 1000)
    client.refuse = refuse
    box.now[im.CMD_P] = 7000
    box.commanded(30000, 100, 0)
    assert [1 for address, values in client.written if address <= setpoint < address + len(values)]
    assert 1 <= len(tried) <= 40, "once a second at most"
    assert len(client.written) < 30 * 8, "in 30 s"
    said = [line for line in capsys.readouterr().out.splitlines() if "cannot be written" in line]
    assert len(said) == 1 and point.split(".")[1] in said[0] and str(place) in said[0], said


@pytest.mark.parametrize("peer, point, off", [("older", "124.OutWRte", 0), ("newer", "704.WSet", 1)])
def test_a_command_that_changes_while_another_goes_out_and_back_again_is_written_at_once(
    life: Virtual, peer: str, point: str, off: int
) -> None:
    chain = (older if peer == "older" else newer).Peer().chain
    client = Registers(registers_of(chain))
    register = chain.places[point].address + off
    box = Box(life, pcs_sunspec, client)
    life.until(lambda: box.device.ready, 1000)
    box.now[im.CMD_P] = 6000
    box.commanded(1500, 50, 0)
    six = client.registers[register]

    def meanwhile(address: int, count: int) -> int:
        if address <= register < address + count:  # what is read before the setpoint goes out
            box.now[im.CMD_P] = 6000
            client.refuse = lambda *_: 0
        return 0

    for phase in range(20):  # of measuring and of repeating what is unchanged
        box.now[im.CMD_P] = 7000
        box.commanded(300 + 7 * phase, 50, 0)
        assert client.registers[register] > six
        box.now[im.CMD_P] = 8000
        client.refuse = meanwhile
        life.until(lambda: client.registers[register] == six, 500)
        box.now[im.CMD_P] = 8000
        box.commanded(200, 50, 0)
        assert client.registers[register] > six, "long before it is repeated"


@pytest.mark.parametrize("writes", [FLASH, PARTS])
@pytest.mark.parametrize("code", [1, 2, 3, 4])
def test_a_constant_that_is_refused_keeps_no_setpoint_back(
    life: Virtual, capsys: pytest.CaptureFixture[str], writes: "list[dict[str, Any]]", code: int
) -> None:
    client = Registers({0: 0})
    tried: list[int] = []

    def refuse(address: int, count: int) -> int:
        tried.extend([address] if address == 42 else [])
        return code if address == 42 else 0

    client.refuse = refuse
    box = Box(life, generic_modbus, client, table=table(writes))
    box.commanded(300000)
    assert len(tried) <= 6 and box.now[im.CMD_P] - (client.registers[40] << 16 | client.registers[41]) <= 2
    client.refuse = lambda address, count: 0
    box.commanded(600000)
    assert client.registers[42] == 3, "it is tried again"
    said = [line for line in capsys.readouterr().out.splitlines() if "register 42 cannot be written" in line]
    assert len(said) == 1, said


# ---- a register that is not there ---------------------------------------------------------------------------------


@pytest.mark.parametrize("missing, heard", [(2, True), (3, True), (4, True), (0, False), (1, False), (6, False)])
@pytest.mark.parametrize("apart", [False, True])
def test_a_register_that_is_not_there_costs_its_value_alone_where_the_others_do_without(
    life: Virtual, capsys: pytest.CaptureFixture[str], missing: int, heard: bool, apart: bool
) -> None:
    registers = table_registers()
    del registers[missing]
    table = {**PCS_TABLE, "gap": 0}
    if apart:  # each row its own request
        table["reads"] = [{**row, "function": 3 + n % 2} for n, row in enumerate(PCS_TABLE["reads"])]
    inp = Box(life, generic_modbus, Registers(registers), table=table).inp
    life.run(1000)
    assert (inp[im.SEQ_PCS] >= 2) == heard
    if heard:
        slot = {2: im.PCS_TEMP, 3: im.PCS_DC_V, 4: im.PCS_HZ}[missing]
        assert inp[slot] == im.NO_VALUE and inp[im.PCS_P] == 1000
        said = [line for line in capsys.readouterr().out.splitlines() if f"register {missing} " in line]
        assert len(said) == 1 and "left out" in said[0], said
