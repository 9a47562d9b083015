"""What the Modbus devices of the cases' neighbours do, with the drivers on a client that is a table of registers."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from rows import each

from firmware import image as im
from firmware.devices import (
    generic_modbus,
    generic_writer,
    meter_sunspec,
    modbus_unit,
    pcs_der,
    pcs_dialect,
    pcs_inverter,
    pcs_sunspec,
    sunspec,
)
from firmware.devices.sunspec_chain import NeedsPerson
from host_tests.site import test_pcs_inverter as older
from host_tests.site import test_pcs_sunspec as newer
from host_tests.site.test_meter_sunspec import COMMON, SCALES
from modbus import ModbusRefused, ModbusTimeout
from modbus.client import Counters
from tools.sim.devices.sunspec_chain import Chain


class Registers:
    """A client whose device is a dict of registers; `refuse` says with which exception a request is answered, 0: none."""

    connections = 0

    def __init__(self, registers: "dict[int, int]") -> None:
        self.count = Counters()
        self.registers = registers
        self.refuse: Callable[[int, int], int] = lambda address, count: 0
        self.reads = 0
        self.written: list[tuple[int, list[int]]] = []

    def widen(self, registers: int) -> None:
        pass

    async def read_registers(self, unit: int, address: int, count: int, out: Any, function: int = 3) -> None:
        self.reads += 1
        code = self.refuse(address, count)
        for i in range(count):
            if address + i not in self.registers:
                code = code or 2
        if code:
            raise ModbusRefused(function, code)
        for i in range(count):
            out[i] = self.registers[address + i]

    async def write_registers(
        self, unit: int, address: int, values: Any, count: int, function: int = 16, fresh: Any = None
    ) -> None:
        if fresh is not None:
            fresh()
        code = self.refuse(address, count)
        if code:
            raise ModbusRefused(function, code)
        self.written.append((address, list(values[:count])))
        for i in range(count):
            self.registers[address + i] = values[i]


def chain_registers(*models: int) -> "dict[int, int]":
    chain = Chain([COMMON, *[(model, SCALES) for model in models]])
    return {chain.base + i: word for i, word in enumerate(chain.registers)}


def built(module: Any, monkeypatch: pytest.MonkeyPatch, client: Registers, **given: Any) -> Any:
    """A driver of `module` on that client; `image`: its own."""
    monkeypatch.setattr(module, "open_client", lambda *_: client)
    options = {row[0]: row[2] for table in module.OPTIONS for row in each(table)}
    options.update(host="10.0.0.2", **given)
    device = module.Device("box", options, im.Image(), {})
    return device


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked again is asked without a wait."""
    monkeypatch.setattr(modbus_unit, "_BUSY_MS", 0)
    monkeypatch.setattr(sunspec, "_TRY_AGAIN_MS", 0)


def run(story: "Coroutine[Any, Any, Any]") -> Any:
    return asyncio.run(asyncio.wait_for(story, 20))


# ---- busy while it is discovered ----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [5, 6, 10, 11])
def test_a_chain_is_not_taken_for_ended_because_the_device_is_busy(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """The second of two meters would be lost, and the production meter be taken for the grid's."""
    client = Registers(chain_registers(203, 203))
    device = built(meter_sunspec, monkeypatch, client)
    second = 40002 + 68 + 107
    assert client.registers[second] == 203
    client.refuse = lambda address, count: code if address == second else 0
    with pytest.raises(ModbusRefused):
        run(device._discover())
    client.refuse = lambda address, count: 0
    with pytest.raises(NeedsPerson, match="2 of one kind in this chain"):
        run(device._discover())


@pytest.mark.parametrize("code", [5, 6, 10, 11])
def test_a_device_that_is_busy_is_not_said_to_be_none(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    client = Registers(chain_registers(203))
    device = built(meter_sunspec, monkeypatch, client)
    client.refuse = lambda address, count: code if address == 40000 else 0
    with pytest.raises(ModbusRefused, match=f"exception {code}"):
        run(device._discover())


# ---- values at the edges ------------------------------------------------------------------------------------------


def fits_a_slot(value: int) -> bool:
    return value == im.NO_VALUE or -0x3FFFFFFF <= value <= 0x3FFFFFFF


def test_a_phase_voltage_that_cannot_be_true_is_none_of_the_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = Chain([COMMON, (203, {**SCALES, "V_SF": 7})])
    chain.put("203.W", 5000)
    place = chain.places["203.PhV"].address
    registers = {chain.base + i: word for i, word in enumerate(chain.registers)}
    registers[place] = 10
    registers[chain.places["203.PPV"].address] = 0x8000
    device = built(meter_sunspec, monkeypatch, Registers(registers))
    run(device._discover())
    run(device._read(0))
    inp = device._image.inp
    assert (inp[im.METER_P], inp[im.METER_V]) == (5000, im.NO_VALUE)
    assert f"model 203, register {place}: gives 1000000000" in device.sun.count.last_error


@pytest.mark.parametrize("full, power, rate", [(65535, 4, 32767), (50000, 2, -30000), (65535, 2, 25000), (1, 0, 100)])
def test_a_storage_rate_that_cannot_be_true_is_no_setpoint(
    monkeypatch: pytest.MonkeyPatch, full: int, power: int, rate: int
) -> None:
    peer = older.Peer(StorCtl_Mod=3)
    chain = peer.chain
    registers = {chain.base + i: word for i, word in enumerate(chain.registers)}
    given = {"124.WChaMax": full, "124.WChaMax_SF": power, "124.InOutWRte_SF": 2, "124.OutWRte": rate, "124.InWRte": -rate}
    for name, value in given.items():
        registers[chain.places[name].address] = value & 0xFFFF
    device = built(pcs_sunspec, monkeypatch, Registers(registers))
    run(device._discover())
    inp = device._image.inp
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
def test_one_value_of_a_table_that_cannot_be_true_costs_itself(
    monkeypatch: pytest.MonkeyPatch, registers: "dict[int, int]", slot: int
) -> None:
    client = Registers(table_registers())
    device = built(generic_modbus, monkeypatch, client, table=PCS_TABLE)
    inp = device._image.inp

    async def measure() -> None:
        for block in device._blocks:
            block.due = 0
        await device._read_due(0)

    run(measure())
    assert inp[im.SEQ_PCS] == 1 and inp[slot] != im.NO_VALUE
    client.registers.update(registers)
    run(measure())
    assert inp[im.SEQ_PCS] == 2 and inp[slot] == im.NO_VALUE and inp[im.PCS_P] == 1000
    named = {im.PCS_TEMP: "register 2 ", im.PCS_DC_V: "register 3 ", im.PCS_HZ: "register 4 "}[slot]
    assert registers[4] == NAN[0] or named in device.counters()["last_error"]
    client.registers.update(table_registers())
    run(measure())
    assert inp[slot] != im.NO_VALUE


@pytest.mark.parametrize("registers", [table_registers(power=0x8000), table_registers(state=7), {**table_registers(), 6: 65535}])
def test_without_power_state_or_rating_the_measurement_is_none(
    monkeypatch: pytest.MonkeyPatch, registers: "dict[int, int]"
) -> None:
    device = built(generic_modbus, monkeypatch, Registers(registers), table=PCS_TABLE)
    run(device._read_due(device._blocks[0].due))
    assert device._image.inp[im.SEQ_PCS] == 0


# ---- a week without an error --------------------------------------------------------------------------------------


class Ticks:
    """In the place of a module's `time`: the milliseconds that a test says."""

    ms = 0

    def ticks_ms(self) -> int:
        return self.ms & 0x3FFFFFFF

    def ticks_add(self, a: int, b: int) -> int:
        return (a + b) & 0x3FFFFFFF

    def ticks_diff(self, a: int, b: int) -> int:
        return ((a - b + 0x20000000) & 0x3FFFFFFF) - 0x20000000


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> Ticks:
    clock = Ticks()
    for module in (pcs_sunspec, pcs_dialect, pcs_der, pcs_inverter, generic_modbus, generic_writer, sunspec):
        monkeypatch.setattr(module, "time", clock)
    return clock


WRITES = [{"from": "CMD_P", "address": 40, "type": "int32"}, {"value": 3, "address": 42}]


async def goes_on(device: Any, client: Registers, ticks: Ticks, task: Any, away: bool = False) -> "list[int]":
    """Control and writer run while a fortnight passes in steps of twelve hours; how much was written around each."""
    now = device._image.now
    counts = []

    async def while_control_runs(ms: int) -> None:
        for _ in range(ms // 100):
            ticks.ms += 100
            now[im.CMD_SEQ] += 1
            await asyncio.sleep_ms(0)  # type: ignore[attr-defined]
            await asyncio.sleep_ms(0)  # type: ignore[attr-defined]
            await asyncio.sleep_ms(0)  # type: ignore[attr-defined]

    writer = asyncio.create_task(task)
    now[im.CMD_RUN], now[im.CMD_P] = 1, 5000
    await while_control_runs(3000)
    for step in range(28):
        ticks.ms += 12 * 3600000  # within which all went on as before
        if away:
            client.refuse = (lambda address, count: 4) if step < 20 else (lambda address, count: 0)
        before = len(client.written)
        now[im.CMD_P] += 10
        await while_control_runs(1500)
        counts.append(len(client.written) - before)
    writer.cancel()
    return counts


def test_an_inverter_is_commanded_however_long_nothing_went_wrong(monkeypatch: pytest.MonkeyPatch, ticks: Ticks) -> None:
    """Ticks wrap after 12.4 days, and what lies 6.2 days back looks like the future."""
    monkeypatch.setattr(pcs_sunspec, "_LOOK_MS", 0)
    for peer in (older.Peer(), newer.Peer()):
        chain = peer.chain
        client = Registers({chain.base + i: word for i, word in enumerate(chain.registers)})
        device = built(pcs_sunspec, monkeypatch, client)

        async def story(device: Any = device, client: Registers = client) -> "list[int]":
            await device._discover()
            return await goes_on(device, client, ticks, device._command_for_ever())

        counts = run(story())
        assert min(counts) >= 2, counts


@pytest.mark.parametrize("away", [False, True])
def test_a_box_is_commanded_however_long_nothing_went_wrong_or_it_was_away(
    monkeypatch: pytest.MonkeyPatch, ticks: Ticks, away: bool
) -> None:
    monkeypatch.setattr(generic_writer, "_LOOK_MS", 0)
    client = Registers({0: 0})
    device = built(generic_modbus, monkeypatch, client, table={"reads": [{"slot": "METER_P", "address": 0}], "writes": WRITES})
    counts = run(goes_on(device, client, ticks, device._writer.run(), away))
    assert min(counts[21:]) >= 2 and (away or min(counts) >= 2), counts


# ---- constants that live in flash ---------------------------------------------------------------------------------

FLASH = [{"value": 3, "address": 42}, {"from": "CMD_P", "address": 40, "type": "int32"}]
PARTS = [
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


async def commanded(device: Any, ticks: Ticks, seconds: int) -> None:
    """Control and writer run so long, the power changing all the time."""
    now = device._image.now
    now[im.CMD_RUN] = 1
    for i in range(seconds * 5):
        ticks.ms += 200
        now[im.CMD_SEQ] += 1
        now[im.CMD_P] = 1000 + i
        for _ in range(4):
            await asyncio.sleep_ms(0)  # type: ignore[attr-defined]


def constants(client: Registers) -> int:
    return len([1 for address, _ in client.written if address == 42])


@pytest.mark.parametrize("writes", [FLASH, PARTS])
@pytest.mark.parametrize("code", [2, 4, 6])
def test_a_register_that_is_refused_does_not_wear_out_another_ones_flash(
    monkeypatch: pytest.MonkeyPatch, ticks: Ticks, writes: "list[dict[str, Any]]", code: int
) -> None:
    """constants-again-and-again: 10 times a second it was written, for ever, because something else was refused."""
    monkeypatch.setattr(generic_writer, "_LOOK_MS", 0)
    client = Registers({0: 0})
    client.refuse = lambda address, count: code if address == 40 else 0
    table = {"reads": [{"slot": "METER_P", "address": 0}], "writes": writes}
    device = built(generic_modbus, monkeypatch, client, table=table)

    async def story() -> None:
        writer = asyncio.create_task(device._writer.run())
        await commanded(device, ticks, 300)
        assert 2 <= constants(client) <= 5
        before = constants(client)
        for _ in range(24):
            ticks.ms += 3600000
            await commanded(device, ticks, 3)
        assert constants(client) - before <= 10, "in a day"
        client.refuse = lambda address, count: 0
        await commanded(device, ticks, 5)
        assert [1 for address, _ in client.written if address == 40]
        before = constants(client)
        await commanded(device, ticks, 100)
        assert constants(client) == before
        writer.cancel()

    run(story())


def test_after_lost_answers_a_constant_is_written_again_at_most_once_a_minute_and_ever_more_seldom(
    monkeypatch: pytest.MonkeyPatch, ticks: Ticks
) -> None:
    monkeypatch.setattr(generic_writer, "_LOOK_MS", 0)
    client = Silent({0: 0})
    table = {"reads": [{"slot": "METER_P", "address": 0}], "writes": FLASH}
    device = built(generic_modbus, monkeypatch, client, table=table)

    async def story() -> None:
        writer = asyncio.create_task(device._writer.run())
        await commanded(device, ticks, 100)
        assert constants(client) == 1
        client.lose = lambda address: True  # it is away, perhaps it starts anew
        await commanded(device, ticks, 10)
        client.lose = lambda address: False
        await commanded(device, ticks, 2)
        assert constants(client) == 2
        client.lose = lambda address: address == 40  # or only one of its registers never answers
        await commanded(device, ticks, 300)
        assert 3 <= constants(client) <= 6
        client.lose = lambda address: False
        await commanded(device, ticks, 500)
        before = constants(client)
        await commanded(device, ticks, 300)
        assert constants(client) == before
        client.connections += 1  # a new connection is a new device
        await commanded(device, ticks, 1)
        assert constants(client) == before + 1
        writer.cancel()

    run(story())


@pytest.mark.parametrize("code", [1, 2, 3, 4])
def test_a_setting_that_is_refused_keeps_no_setpoint_back(
    monkeypatch: pytest.MonkeyPatch, ticks: Ticks, capsys: pytest.CaptureFixture[str], code: int
) -> None:
    monkeypatch.setattr(pcs_sunspec, "_LOOK_MS", 0)
    chain = older.Peer(ChaGriSet=0).chain
    client = Registers({chain.base + i: word for i, word in enumerate(chain.registers)})
    place = chain.places["124.ChaGriSet"].address
    client.refuse = lambda address, count: code if address == place else 0
    device = built(pcs_sunspec, monkeypatch, client, set_grid_charging=True)

    async def story() -> None:
        await device._discover()
        writer = asyncio.create_task(device._command_for_ever())
        await commanded(device, ticks, 2)
        device._image.now[im.CMD_P] = -9000
        device._image.now[im.CMD_SEQ] += 1
        ticks.ms += 200
        await asyncio.sleep_ms(5)  # type: ignore[attr-defined]
        writer.cancel()

    monkeypatch.setitem(device._options, "control_timeout_ms", 10000)
    run(story())
    assert chain.places["124.OutWRte"].address in [address for address, values in client.written if values[0] & 0x8000]
    said = [line for line in capsys.readouterr().out.splitlines() if "ChaGriSet" in line]
    assert len(said) == 1 and "cannot be written" in said[0], said


@pytest.mark.parametrize("stays", [True, False])
def test_a_setting_that_bounces_back_is_written_seldom_and_said(
    monkeypatch: pytest.MonkeyPatch, ticks: Ticks, capsys: pytest.CaptureFixture[str], stays: bool
) -> None:
    """ChaGriSet, which the option lets the driver change: a device may set it to PV again by itself."""
    monkeypatch.setattr(pcs_sunspec, "_LOOK_MS", 0)
    chain = older.Peer(ChaGriSet=0).chain
    client = Registers({chain.base + i: word for i, word in enumerate(chain.registers)})
    place = chain.places["124.ChaGriSet"].address
    write = client.write_registers

    async def bounce(*given: Any, **more: Any) -> None:
        await write(*given, **more)
        if not stays:
            client.registers[place] = 0

    monkeypatch.setattr(client, "write_registers", bounce)
    device = built(pcs_sunspec, monkeypatch, client, set_grid_charging=True)
    times: list[int] = []

    async def story() -> None:
        await device._discover()
        now = device._image.now
        writer = asyncio.create_task(device._command_for_ever())
        now[im.CMD_RUN] = 1
        for i in range(3000):
            ticks.ms += 200
            now[im.CMD_SEQ] += 1
            now[im.CMD_P] = -1000 - 50 * i
            for _ in range(3):
                await asyncio.sleep_ms(0)  # type: ignore[attr-defined]
            times.append(len([1 for address, _ in client.written if address == place]))
        writer.cancel()

    run(story())
    assert times[20] == 1 and times[-1] == (1 if stays else times[-1]) and times[-1] <= 6, times[-1]
    rates = [values for address, values in client.written if address == chain.places["124.OutWRte"].address]
    assert len(rates) > 500, "it is commanded all the same"
    said = [line for line in capsys.readouterr().out.splitlines() if "ChaGriSet" in line]
    assert len(said) == (0 if stays else 1) and (stays or "does not stay" in said[0]), said


@pytest.mark.parametrize("peer, point", [("older", "123.Conn"), ("newer", "715.OpCtl"), ("newer", "715.ControllerHb")])
@pytest.mark.parametrize("code", [1, 2, 3, 4])
def test_a_refused_part_beside_the_power_is_said_and_keeps_no_setpoint_back(
    monkeypatch: pytest.MonkeyPatch, ticks: Ticks, capsys: pytest.CaptureFixture[str], peer: str, point: str, code: int
) -> None:
    """timer-not-writable: the setpoint is written all the same, and the device is not flooded with it."""
    monkeypatch.setattr(pcs_sunspec, "_LOOK_MS", 0)
    chain = (older if peer == "older" else newer).Peer().chain
    client = Registers({chain.base + i: word for i, word in enumerate(chain.registers)})
    place = chain.places[point].address
    tried: list[int] = []

    def refuse(address: int, count: int) -> int:
        if address == place and count <= 2:
            tried.append(address)
            return code
        return 0

    device = built(pcs_sunspec, monkeypatch, client)
    setpoint = chain.places["124.OutWRte" if peer == "older" else "704.WSet"].address

    async def story() -> None:
        await device._discover()
        client.refuse = refuse
        writer = asyncio.create_task(device._command_for_ever())
        now = device._image.now
        now[im.CMD_RUN], now[im.CMD_P] = 1, 7000
        for _ in range(300):
            ticks.ms += 100
            now[im.CMD_SEQ] += 1
            for _ in range(3):
                await asyncio.sleep_ms(0)  # type: ignore[attr-defined]
        writer.cancel()

    run(story())
    assert [1 for address, values in client.written if address <= setpoint < address + len(values)]
    assert 1 <= len(tried) <= 40, "once a second at most"
    assert len(client.written) < 30 * 8, "in 30 s"
    said = [line for line in capsys.readouterr().out.splitlines() if "cannot be written" in line]
    assert len(said) == 1 and point.split(".")[1] in said[0] and str(place) in said[0], said


@pytest.mark.parametrize("writes", [FLASH, PARTS])
@pytest.mark.parametrize("code", [1, 2, 3, 4])
def test_a_constant_that_is_refused_keeps_no_setpoint_back(
    monkeypatch: pytest.MonkeyPatch,
    ticks: Ticks,
    capsys: pytest.CaptureFixture[str],
    writes: "list[dict[str, Any]]",
    code: int,
) -> None:
    monkeypatch.setattr(generic_writer, "_LOOK_MS", 0)
    client = Registers({0: 0})
    tried: list[int] = []

    def refuse(address: int, count: int) -> int:
        tried.extend([address] if address == 42 else [])
        return code if address == 42 else 0

    client.refuse = refuse
    device = built(generic_modbus, monkeypatch, client, table={"reads": [{"slot": "METER_P", "address": 0}], "writes": writes})

    async def story() -> None:
        writer = asyncio.create_task(device._writer.run())
        await commanded(device, ticks, 300)
        assert len(tried) <= 6 and device._image.now[im.CMD_P] - (client.registers[40] << 16 | client.registers[41]) <= 2
        client.refuse = lambda address, count: 0
        await commanded(device, ticks, 600)
        assert client.registers[42] == 3, "it is tried again"
        writer.cancel()

    run(story())
    said = [line for line in capsys.readouterr().out.splitlines() if "register 42 cannot be written" in line]
    assert len(said) == 1, said


# ---- a register that is not there ---------------------------------------------------------------------------------


@pytest.mark.parametrize("missing, heard", [(2, True), (3, True), (4, True), (0, False), (1, False), (6, False)])
@pytest.mark.parametrize("apart", [False, True])
def test_a_register_that_is_not_there_costs_its_value_alone_where_the_others_do_without(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: int, heard: bool, apart: bool
) -> None:
    registers = table_registers()
    del registers[missing]
    table = {**PCS_TABLE, "gap": 0}
    if apart:  # each row its own request
        table["reads"] = [{**row, "function": 3 + n % 2} for n, row in enumerate(PCS_TABLE["reads"])]
    device = built(generic_modbus, monkeypatch, Registers(registers), table=table)
    inp = device._image.inp

    async def measure() -> None:
        for _ in range(3):
            for block in device._blocks:
                block.due = 0
            await device._read_due(0)

    run(measure())
    assert (inp[im.SEQ_PCS] >= 2) == heard
    if heard:
        slot = {2: im.PCS_TEMP, 3: im.PCS_DC_V, 4: im.PCS_HZ}[missing]
        assert inp[slot] == im.NO_VALUE and inp[im.PCS_P] == 1000
        said = [line for line in capsys.readouterr().out.splitlines() if f"register {missing} " in line]
        assert len(said) == 1 and "left out" in said[0], said
