"""The site's endpoints answer clients that nobody here wrote: pysunspec2, pymodbus, python-can."""

import struct
import time
from collections.abc import Iterator
from typing import Any

import can
import pytest
import sunspec2.modbus.client as sunspec
from pymodbus.client import ModbusTcpClient

from host_tests.site.live_site import LiveSite, Running, live_site

BASE = 40000


@pytest.fixture(scope="module")
def site() -> Iterator[LiveSite]:
    """One site for the tests that leave it as they found it: contactors closed, 20 kW of load, 5 kW of sun."""
    with live_site(load_kw=20.0, pv_kw=5.0, pcs_start_s=0.1, measurement_noise=0.0) as live:
        live.call(live.site.set_contactor, True)
        live.until(lambda t: t["pcs_state"] == "RUNNING")
        yield live


def scan(port: int) -> sunspec.SunSpecModbusClientDeviceTCP:
    device = sunspec.SunSpecModbusClientDeviceTCP(slave_id=1, ipaddr="127.0.0.1", ipport=port, timeout=2)
    device.scan()
    return device


def set_power(device: sunspec.SunSpecModbusClientDeviceTCP, watts: int) -> None:
    controls = device.models[704][0]
    controls.WSetEna.value = 1
    controls.WSetEna.write()
    controls.WSet.cvalue = watts
    controls.WSet.write()


def ask(bus: can.BusABC, what: int, seconds: float = 0.3) -> dict[int, bytes]:
    """Poll the BMS; its answers by identifier."""
    bus.send(can.Message(arbitration_id=0x4200, is_extended_id=True, data=bytes([what]) + bytes(7)))
    answers = {}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        message = bus.recv(0.05)
        if message is not None:
            answers[message.arbitration_id] = bytes(message.data)
    return answers


def join(live: Running[Any], bitrate: int = 500_000, bus: str = "can") -> can.BusABC:
    channel = f"socket://127.0.0.1:{live.ports[bus]}"
    return can.Bus(interface="slcan", channel=channel, bitrate=bitrate, sleep_after_open=0)


def test_pcs_chain_scans_clean(site: LiveSite) -> None:
    device = scan(site.ports["pcs"])
    assert [m.model_id for m in device.model_list] == [1, 701, 702, 703, 704, 713, 714, 715]
    assert [m.error_info for m in device.model_list] == [""] * 8
    assert device.models[1][0].Md.value == "PCS 100"
    assert device.models[702][0].WMaxRtg.cvalue == 100_000
    assert device.models[701][0].W_SF.value >= 1
    device.close()


@pytest.mark.parametrize("model", [203, 213])
def test_meter_chain_scans_clean_and_import_is_positive(model: int) -> None:
    with live_site(load_kw=30.0, meter_model=model, measurement_noise=0.0) as live:
        device = scan(live.ports["meter"])
        assert [m.model_id for m in device.model_list] == [1, model]
        assert all(m.error_info == "" for m in device.model_list)
        meter = device.models[model][0]
        assert meter.W.cvalue == pytest.approx(30_000, abs=10)
        assert meter.Hz.cvalue == pytest.approx(50.0, abs=0.01)
        assert meter.PPV.cvalue == pytest.approx(400.0, abs=0.1)
        live.call(live.site.set, "pv_kw", 50.0)
        live.until(lambda t: t["grid_kw"] < 0)
        meter.read()
        assert meter.W.cvalue == pytest.approx(-20_000, abs=10)
        device.close()


def test_what_is_not_implemented_says_so(site: LiveSite) -> None:
    device = scan(site.ports["pcs"])
    assert device.models[701][0].TmpTrns.value is None
    assert device.models[704][0].VarSet.value is None
    assert device.models[702][0].WOvrExtRtg.value is None
    device.close()


@pytest.mark.parametrize("watts", [60_000, -40_000])
def test_setpoint_written_by_pysunspec2_moves_power(site: LiveSite, watts: int) -> None:
    device = scan(site.ports["pcs"])
    set_power(device, watts)
    truth = site.until(lambda t: abs(t["pcs_kw"] * 1000 - watts) < 300)
    ac, dc = device.models[701][0], device.models[714][0]
    ac.read()
    dc.read()
    assert ac.W.cvalue == pytest.approx(watts, abs=500)
    assert ac.InvSt.value == 3 and ac.ConnSt.value == 1
    assert dc.Prt[0].DCV.cvalue == pytest.approx(truth["voltage"], abs=1.0)
    assert dc.Prt[0].DCA.cvalue == pytest.approx(truth["current"], abs=2.0)
    assert (dc.DCW.cvalue > 0) == (watts > 0)
    set_power(device, 0)
    site.until(lambda t: t["pcs_kw"] == 0)
    device.close()


def test_meter_and_pcs_agree_on_the_balance(site: LiveSite) -> None:
    pcs, meter = scan(site.ports["pcs"]), scan(site.ports["meter"])
    set_power(pcs, 35_000)
    site.until(lambda t: abs(t["pcs_kw"] - 35) < 0.05)
    meter.models[203][0].read()
    assert meter.models[203][0].W.cvalue == pytest.approx(20_000 - 5_000 - 35_000, abs=100)
    set_power(pcs, 0)
    site.until(lambda t: t["pcs_kw"] == 0)
    pcs.close()
    meter.close()


def test_pcs_watchdog_takes_an_abandoned_setpoint_to_zero() -> None:
    with live_site(pcs_watchdog_s=1.5, pcs_start_s=0.1) as live:
        live.call(live.site.set_contactor, True)
        live.until(lambda t: t["pcs_state"] == "RUNNING")
        device = scan(live.ports["pcs"])
        set_power(device, 50_000)
        live.until(lambda t: t["pcs_kw"] > 45)
        heartbeat = device.models[715][0].ControllerHb
        for beat in range(1, 6):  # alive as long as the heartbeat changes
            time.sleep(0.4)
            heartbeat.value = beat
            heartbeat.write()
        assert live.truth()["pcs_kw"] > 45
        truth = live.until(lambda t: t["pcs_kw"] == 0, 6)
        assert truth["pcs_watchdog"] and truth["pcs_watchdog_trips"] == 1
        device.models[704][0].read()
        assert device.models[704][0].WSet.cvalue == 0
        set_power(device, 10_000)
        live.until(lambda t: t["pcs_kw"] > 9)
        device.close()


def test_stop_and_start_commands_act(site: LiveSite) -> None:
    device = scan(site.ports["pcs"])
    control = device.models[715][0]
    control.OpCtl.value = 0
    control.OpCtl.write()
    site.until(lambda t: t["pcs_state"] == "OFF")
    control.OpCtl.value = 1
    control.OpCtl.write()
    site.until(lambda t: t["pcs_state"] == "RUNNING")
    device.close()


def test_pymodbus_client_meets_the_rules_of_the_map(site: LiveSite) -> None:
    """A request may not cut a point in two, write what is read-only, or write what is not implemented."""
    chain = site.site.pcs.chain
    client = ModbusTcpClient("127.0.0.1", port=site.ports["pcs"])
    assert client.connect()
    assert client.read_holding_registers(BASE, count=2, device_id=1).registers == [0x5375, 0x6E53]
    hz = chain.places["701.Hz"].address
    assert client.read_holding_registers(hz, count=2, device_id=1).registers == [0, 50_000]
    assert client.read_holding_registers(hz + 1, count=1, device_id=1).exception_code == 2
    assert client.read_holding_registers(hz - 1, count=2, device_id=1).exception_code == 2
    power = chain.places["701.W"].address
    assert client.write_register(power, 5, device_id=1).exception_code == 2
    var = chain.places["704.VarSetEna"].address
    assert client.write_register(var, 1, device_id=1).exception_code == 3
    enable = chain.places["704.WSetEna"].address
    assert client.write_register(enable, 7, device_id=1).exception_code == 3
    assert client.read_holding_registers(enable, count=1, device_id=1).registers[0] in (0, 1)
    assert client.read_input_registers(hz, count=2, device_id=1).exception_code == 1
    client.close()


def test_bms_answers_a_poll_with_true_whole_percent_values(site: LiveSite) -> None:
    bus = join(site)
    answers = ask(bus, 0)
    truth = site.truth()
    assert sorted(answers) == [0x4210 + 0x10 * n for n in range(9)]
    volts, amps, celsius, soc, soh = struct.unpack("<HHHBB", answers[0x4210])
    assert volts / 10 == pytest.approx(truth["voltage"], abs=0.3)
    assert (amps - 30_000) / 10 == pytest.approx(-truth["current"], abs=0.5)
    assert (celsius - 1000) / 10 == pytest.approx(truth["temperature"], abs=0.2)
    assert soc == round(truth["soc"]) and soh == 100
    v_max, v_min, charge, discharge = struct.unpack("<HHHH", answers[0x4220])
    assert (v_max, v_min) == (7020, 5720)
    assert (charge, discharge) == (30_000 + 1650, 30_000 + 1650)
    high, low, *_ = struct.unpack("<HHHH", answers[0x4230])
    assert 3000 < low <= high < 3400
    assert answers[0x4280] == bytes(8)
    equipment = ask(bus, 2)
    assert struct.unpack("<HBBHH", equipment[0x7320])[:4] == (195, 13, 15, 624)
    assert (equipment[0x7330] + equipment[0x7340]).strip() == b"SIMULATED LFP"
    bus.shutdown()


def test_bms_says_nothing_unasked_and_charging_is_positive_on_its_bus(site: LiveSite) -> None:
    device = scan(site.ports["pcs"])
    set_power(device, -50_000)
    site.until(lambda t: t["pcs_kw"] < -49)
    bus = join(site)
    assert bus.recv(0.4) is None
    answers = ask(bus, 0)
    current = (struct.unpack("<H", answers[0x4210][2:4])[0] - 30_000) / 10
    assert current == pytest.approx(-site.truth()["current"], abs=2.0) and current > 60
    assert answers[0x4250][0] & 7 == 1  # charging
    set_power(device, 0)
    site.until(lambda t: t["pcs_kw"] == 0)
    bus.shutdown()
    device.close()


def test_other_bms_dialects_are_options() -> None:
    with live_site(bms_address=3, discharge_limit_negative=True) as live:
        bus = join(live)
        answers = ask(bus, 0)
        assert 0x4213 in answers and 0x4210 not in answers
        assert struct.unpack("<HHHH", answers[0x4223])[3] == 30_000 - 1650
        bus.shutdown()


def test_nodes_of_another_bit_rate_do_not_hear_each_other(site: LiveSite) -> None:
    slow = join(site, 250_000)
    before = site.site.hub.mismatched
    assert ask(slow, 0) == {}
    assert site.site.hub.mismatched > before
    slow.shutdown()
