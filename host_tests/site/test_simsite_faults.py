"""Every fault does what its description says, starts and stops, and is seen from the wire."""

import time

import pytest
from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException

from host_tests.site.live_site import LiveSite, live_site
from host_tests.site.test_simsite_wire import ask, join
from tools.sim.faults import FAULTS, WireFaults
from tools.sim.site import ESTOP_PIN, FEEDBACK_PIN, Site


def client(live: LiveSite, device: str = "pcs", timeout: float = 0.25) -> ModbusTcpClient:
    one = ModbusTcpClient("127.0.0.1", port=live.ports[device], timeout=timeout, retries=0)
    assert one.connect()
    return one


def answers(one: ModbusTcpClient, address: int = 40_000, count: int = 2) -> bool:
    try:
        return not one.read_holding_registers(address, count=count, device_id=1).isError()
    except ModbusException:
        return False


@pytest.mark.parametrize("device", ["pcs", "meter"])
def test_silent_device_keeps_its_connection_and_says_nothing(device: str) -> None:
    with live_site() as live:
        one = client(live, device)
        assert answers(one)
        live.call(live.site.inject, device + "_silent")
        assert not answers(one)
        live.call(live.site.clear, device + "_silent")
        one.close()
        one = client(live, device, 2)
        assert answers(one)
        one.close()


def test_silent_pcs_takes_no_setpoint_either() -> None:
    with live_site() as live:
        one = client(live)
        live.call(live.site.inject, "pcs_silent")
        with pytest.raises(ModbusException):
            one.write_registers(live.site.pcs.chain.places["704.WSet"].address, [0, 5000], device_id=1)
        assert live.truth()["setpoint_kw"] == 0
        one.close()


def test_refusing_pcs_answers_exception_4_and_keeps_its_setpoint() -> None:
    with live_site() as live:
        one = client(live, timeout=2)
        address = live.site.pcs.chain.places["704.WSet"].address
        assert not one.write_registers(address, [0, 5000], device_id=1).isError()
        live.call(live.site.inject, "pcs_refuses")
        assert one.write_registers(address, [0, 9000], device_id=1).exception_code == 4
        assert live.truth()["setpoint_kw"] == 5.0
        assert answers(one)
        live.call(live.site.clear, "pcs_refuses")
        assert not one.write_registers(address, [0, 9000], device_id=1).isError()
        one.close()


@pytest.mark.parametrize("device", ["pcs", "meter"])
def test_frozen_device_answers_with_old_values(device: str) -> None:
    with live_site(load_kw=10.0) as live:
        one = client(live, device, 2)
        chain = live.site.pcs.chain if device == "pcs" else live.site.meter.chain
        hz = chain.places["701.Hz" if device == "pcs" else "203.Hz"]
        before = one.read_holding_registers(hz.address, count=hz.length, device_id=1).registers
        live.call(live.site.inject, device + "_frozen")
        live.call(live.site.set, "grid_hz", 51.0)
        time.sleep(0.05)
        assert one.read_holding_registers(hz.address, count=hz.length, device_id=1).registers == before
        live.call(live.site.clear, device + "_frozen")
        assert one.read_holding_registers(hz.address, count=hz.length, device_id=1).registers != before
        one.close()


def test_slow_pcs_answers_late_and_with_the_right_transaction() -> None:
    with live_site(slow_s=0.3) as live:
        one = client(live, timeout=2)
        live.call(live.site.inject, "slow_pcs")
        begin = time.monotonic()
        assert answers(one)
        assert time.monotonic() - begin >= 0.29
        one.close()


@pytest.mark.parametrize("fault", ["bad_crc", "wrong_length"])
def test_disturbed_wire_spoils_a_share_of_the_answers(fault: str) -> None:
    import random

    wire = WireFaults(random.Random(3), share=0.25)
    setattr(wire, {"bad_crc": "bad_header", "wrong_length": "bad_length"}[fault], True)
    packet = bytes.fromhex("0001 0000 0007 01 03 04 5375 6e53".replace(" ", ""))
    spoilt = [wire.spoil(packet) for _ in range(400)]
    wrong = [p for p in spoilt if p != packet]
    assert 60 < len(wrong) < 140 and wire.spoilt == len(wrong)
    for damaged in wrong:
        assert len(damaged) == len(packet)
        length = int.from_bytes(damaged[4:6], "big")
        assert (damaged[:2] != packet[:2]) == (fault == "bad_crc")
        assert (length != len(packet) - 6) == (fault == "wrong_length")


def test_disturbed_wire_reaches_the_client_and_the_can_bus() -> None:
    with live_site(noise_share=1.0) as live:
        one = client(live)
        live.call(live.site.inject, "bad_crc")
        assert not answers(one)
        bus = join(live)
        assert ask(bus, 0) == {}
        live.call(live.site.clear, "bad_crc")
        live.call(live.site.inject, "wrong_length")
        lengths = {len(data) for data in ask(bus, 0).values()} | {len(d) for d in ask(bus, 0).values()}
        assert lengths and max(lengths) < 8
        bus.shutdown()
        one.close()


def test_bms_falls_silent_freezes_and_returns() -> None:
    with live_site() as live:
        bus = join(live)
        live.call(live.site.inject, "bms_silent")
        assert ask(bus, 0) == {}
        live.call(live.site.clear, "bms_silent")
        before = ask(bus, 0)[0x4210]
        live.call(live.site.inject, "bms_frozen")
        live.call(live.site.set, "soc", 70.0)
        assert ask(bus, 0)[0x4210] == before
        live.call(live.site.clear, "bms_frozen")
        assert ask(bus, 0)[0x4210][6] == 70
        bus.shutdown()


@pytest.mark.parametrize(
    ("fault", "bits", "forbidden"), [("cell_over_voltage", 0x02, b"\xaa\x00"), ("over_temperature", 0xA0, b"\xaa\xaa")]
)
def test_bms_protects_itself_and_says_so(fault: str, bits: int, forbidden: bytes) -> None:
    with live_site() as live:
        bus = join(live)
        live.call(live.site.inject, fault)
        time.sleep(1.0)
        got = ask(bus, 0)
        assert got[0x4250][6] == bits
        assert got[0x4280][:2] == forbidden
        live.call(live.site.clear, fault)
        time.sleep(0.4)
        got = ask(bus, 0)
        assert got[0x4250][6] == 0 and got[0x4280] == bytes(8)
        bus.shutdown()


def test_stuck_contactor_stays_and_its_feedback_tells() -> None:
    outputs: list[tuple[int, int]] = []
    with live_site() as live:
        live.site.on_output = lambda pin, level: outputs.append((pin, level))
        live.call(live.site.board_pin, 25, 1)
        live.until(lambda t: t["contactor"])
        live.call(live.site.inject, "contactor_stuck")
        live.call(live.site.board_pin, 25, 0)
        time.sleep(0.4)
        assert live.truth()["contactor"]
        live.call(live.site.clear, "contactor_stuck")
        live.until(lambda t: not t["contactor"])
        time.sleep(0.1)
    assert [level for pin, level in outputs if pin == FEEDBACK_PIN] == [0, 1, 0]


def test_emergency_stop_and_grid_loss_reach_their_inputs() -> None:
    site = Site()
    levels = []
    site.on_output = lambda pin, level: levels.append((pin, level))
    site.inject("estop")
    assert site.inputs()[ESTOP_PIN] == 1
    site.clear("estop")
    assert levels == [(ESTOP_PIN, 1), (ESTOP_PIN, 0)]
    site.inject("grid_lost")
    assert site.truth()["grid_v"] == 0 and not site.truth()["grid"]
    site.clear("grid_lost")
    assert site.truth()["grid_v"] == 400


def test_every_fault_can_be_started_and_stopped() -> None:
    site = Site()
    for name in FAULTS:
        site.inject(name)
        site.inject(name)
    assert site.active == list(FAULTS)
    for name in FAULTS:
        site.clear(name)
    assert site.active == []


def test_no_two_readings_of_a_live_site_are_the_same_unless_noise_is_off() -> None:
    def readings(noise: float) -> tuple[set[float], set[float], set[float]]:
        site = Site(load_kw=20.0, measurement_noise=noise)
        site.plant.contactor_wanted = True
        for _ in range(300):
            site.plant.step(0.01)
            site.plant.pcs.command(40_000)
        seen: tuple[set[float], set[float], set[float]] = (set(), set(), set())
        for _ in range(50):
            site.pcs.refresh()
            site.meter.refresh()
            seen[0].add(site.pcs.chain.get("701.W"))
            seen[1].add(site.meter.chain.get("203.W"))
            seen[2].add(site.plant.bms.report().voltage_v)
        return seen

    assert all(len(values) > 3 for values in readings(1.0))
    assert all(len(values) == 1 for values in readings(0.0))
    assert readings(1.0) == readings(1.0)


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="fault 'bms_quiet' is unknown; known: bms_silent"):
        Site().inject("bms_quiet")
    with pytest.raises(ValueError, match="site option 'sco' is unknown; known:"):
        Site(sco=1)
