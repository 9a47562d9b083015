"""MQTT between the whole firmware on the simulated board and a real mosquitto, watched and commanded by another's client."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from tools import pki
from tools.interpreters import Interpreter
from tools.mqtt import broker as brokers
from tools.mqtt.rig import TOPIC, Rig, until

Story = Callable[[Rig], Coroutine[Any, Any, None]]


def play(interpreter: Interpreter, folder: Path, story: Story, settings: str = "allow_anonymous true", **options: Any) -> None:
    """The simulated site with a broker; connected, started, and at rest."""
    if brokers.program() is None:
        pytest.skip("mosquitto is NOT there, so no broker was asked: run `make setup`")

    async def run() -> None:
        async with Rig(folder, list(interpreter.command), settings, **options) as rig:
            await story(rig)

    asyncio.run(run())


def passwords(folder: Path) -> str:
    """Settings with a file of passwords as mosquitto has it: one user."""
    salt = b"salt of test"  # of 12 bytes, as mosquitto wants it
    hashed = hashlib.pbkdf2_hmac("sha512", brokers.PASSWORD.encode(), salt, 101)
    file = folder / "passwords"
    file.write_text(f"{brokers.USER}:$7$101${base64.b64encode(salt).decode()}${base64.b64encode(hashed).decode()}\n")
    return f"allow_anonymous false\npassword_file {file}"


def secured(folder: Path) -> str:
    """Settings of a broker behind TLS with a certificate of its own; its authority is where the board looks for it."""
    pki.make(folder / "pki", ["127.0.0.1"])
    board = folder / "pki" / "board"
    key = serialization.load_der_private_key((board / "server_key.der").read_bytes(), None)
    pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server_key.pem").write_bytes(key.private_bytes(*pem))
    (folder / "server.pem").write_text(ssl.DER_cert_to_PEM_cert((board / "server.der").read_bytes()))
    (folder / "keys").mkdir()
    (folder / "keys" / "mqtt_authority.der").write_bytes((board / "authority.der").read_bytes())
    return f"allow_anonymous true\ncertfile {folder}/server.pem\nkeyfile {folder}/server_key.pem"


async def commands(rig: Rig) -> None:
    """A setpoint moves the battery and ends by itself; what is retained, or cannot be, is refused in words."""
    found = await rig.watcher.ask(do="power", kw=-12.5, minutes=0.2)
    assert found["ok"] and found["says"] == "-12.5 kW for 12 s, then it ends by itself"
    await until(lambda: abs(rig.site.truth()["pcs_kw"] + 12.5) < 0.5, "it charges")
    await until(lambda: rig.watcher.state["requested_by"] == "remote", "the state says so")
    assert "asked by remote (mqtt)" in rig.watcher.state["reason"] and rig.watcher.state["controller"] == "mqtt"
    assert "allowed are -100.0 to 100.0 kW" in (await rig.watcher.ask(do="power", kw=500))["says"]
    await until(lambda: any(one["do"] == "ended" for one in rig.watcher.of("answer")), "that it ends is said")
    await until(lambda: abs(rig.site.truth()["pcs_kw"]) < 0.1 and rig.watcher.state["requested_by"] == "idle", "it has ended")
    number = rig.watcher.send(retain=True, do="power", kw=20)
    await rig.broker.kill(hard=False)
    await rig.broker.start()
    await until(lambda: any(one["id"] == number and not one["ok"] for one in rig.watcher.of("answer")), "retained is refused", 30)
    assert await rig.ask("mqtt.counters()['problem']") == "''"


async def killed(rig: Rig, times: int = 2) -> None:
    """A broker that dies: what was promised arrives, and the battery goes on as it was told to."""
    assert (await rig.watcher.ask(do="power", kw=20, minutes=5))["ok"]
    await until(lambda: abs(rig.site.truth()["pcs_kw"] - 20) < 0.5, "it discharges")
    for _ in range(times):
        await rig.broker.kill()
        rig.board.lines.clear()
        await rig.board.send("pm.limit('test', 10)")
        await asyncio.sleep(0.3)
        await rig.board.send("pm.limit('test')")
        await asyncio.sleep(0.2)
        await rig.broker.start()
        before = rig.fresh()
        await until(lambda start=before: rig.fresh() > start, "it is connected again", 30)  # type: ignore[misc]
    last = int(await rig.ask("pm.events.total"))
    await until(lambda: rig.events()[-1:] == [last], f"event {last}, of {rig.events()}")
    assert rig.events() == list(range(rig.events()[0], last + 1))
    assert rig.watcher.of("event")[-1]["lost"] == 0
    await until(lambda: abs(rig.site.truth()["pcs_kw"] - 20) < 0.5, "it discharges as before")
    assert await rig.ask("app.restarts") == "{}"
    said = [line for line in rig.board.lines if "mqtt: no connection" in line]
    assert len(said) <= 2 * times


def discovered(rig: Rig) -> None:
    """One message has every component with a unique id, and its topics are those that are used."""
    (topic,) = [one.topic for one in rig.watcher.messages if one.topic.endswith("/config")][:1]
    told = json.loads(rig.watcher.last[topic])
    assert told["avty_t"] == f"{TOPIC}/status" and told["stat_t"] == f"{TOPIC}/state" and told["cmd_t"] == f"{TOPIC}/command"
    there = {key: one for key, one in told["cmps"].items() if len(one) > 1}
    assert {"pv_power", "pv_energy", "generator_power", "load_meter_power"} & set(there) == {"load_meter_power"} & set(there)
    for key, one in there.items():
        shown = one.get("val_tpl", "")
        named = shown.partition("value_json.")[2].split(" ")[0].strip("}")
        assert not named or named in rig.watcher.state, f"{key}: the state has no {named}"
    assert told["cmps"]["pv_power"] == {"p": "sensor"}, "a site without PV takes back what another had"


def test_a_site_is_seen_commanded_and_survives_its_broker(mp32: Interpreter, tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        state = rig.watcher.state
        await until(lambda: rig.watcher.state["limit_discharge"] > 0, "it may discharge")
        assert state["why_discharge"] and state["reason"] and state["soc"] == pytest.approx(50, abs=1)
        assert {"battery_charged", "grid_import", "claims"} - set(state) == {"claims"}
        discovered(rig)
        before = len([one for one in rig.watcher.messages if one.topic.endswith("/config")])
        rig.watcher.publish("homeassistant/status", b"online")
        await until(lambda: len([m for m in rig.watcher.messages if m.topic.endswith("/config")]) > before, "it is told again")
        await commands(rig)
        await killed(rig)
        rig.board.kill()
        await until(lambda: rig.watcher.last["status"] == b"offline", "the will is published", 30)

    play(mp32, tmp_path, story, passwords(tmp_path), user=brokers.USER, password=brokers.PASSWORD, keepalive_s=5)


def test_over_tls(mp64: Interpreter, tmp_path: Path) -> None:
    """A broker is believed that the site's authority has signed.  (The path of the keys has 64 characters at most.)"""

    async def story(rig: Rig) -> None:
        assert (await rig.watcher.ask(do="lifetime", minutes=5))["ok"]
        pki.make(rig.folder / "another", ["127.0.0.1"])
        other = (rig.folder / "another" / "board" / "authority.der").read_bytes()
        (rig.folder / "keys" / "mqtt_authority.der").write_bytes(other)
        await rig.board.stop()
        rig.board.lines.clear()
        await rig.board.start()
        await rig.board.wait_line(lambda line: "mqtt: no connection to 127.0.0.1: " in line, 30)
        assert (await rig.ask("mqtt.counters()['connections']")) == "0"

    authority = tmp_path / "pki" / "authority.pem"
    play(mp64, tmp_path, story, secured(tmp_path), tls=True, tls_folder=str(tmp_path / "keys"), authority=authority)
