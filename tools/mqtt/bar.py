"""`make mqtt`: the bars of MQTT: a real Home Assistant sees and commands the site; its broker is killed and started again 50 times.

    python -m tools.mqtt.bar --kills 50 --seed 1 [--without-ha]

Home Assistant and a Python for it are fetched the first time (tools/mqtt/ha.py).  Every finding is a line; the exit code says
whether there was any.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tools.interpreters import chosen
from tools.mqtt import ha
from tools.mqtt.rig import Rig, until
from tools.ports import free_port

# what must be there, with its class, unit and state class: of a site with a battery, an inverter and a meter
ENTITIES = {
    "soc": ("battery", "%", "measurement"),
    "power": ("power", "kW", "measurement"),
    "grid_power": ("power", "kW", "measurement"),
    "load_power": ("power", "kW", "measurement"),
    "limit_discharge": ("power", "kW", "measurement"),
    "limit_charge": ("power", "kW", "measurement"),
    "voltage": ("voltage", "V", "measurement"),
    "current": ("current", "A", "measurement"),
    "temperature": ("temperature", "\u00b0C", "measurement"),
    "grid_frequency": ("frequency", "Hz", "measurement"),
    "available_discharge": ("energy_storage", "kWh", "measurement"),
    "battery_charged": ("energy", "kWh", "total_increasing"),
    "battery_discharged": ("energy", "kWh", "total_increasing"),
    "grid_import": ("energy", "kWh", "total_increasing"),
    "grid_export": ("energy", "kWh", "total_increasing"),
    "setpoint": ("power", "kW", None),
    "lifetime": ("duration", "min", None),
    "fault": ("problem", None, None),
    "emergency_state": ("safety", None, None),
}
PLAIN = ("mode", "reason", "why_discharge", "why_charge", "controller", "asked", "start", "stop", "give_back", "emergency", "event")
GONE = ("pv_power", "pv_energy", "generator_power")  # this site has none
KW = 12.5


class Findings(list[str]):
    """What is not as it must be."""

    def unless(self, true: Any, what: str) -> None:
        """Keep and show it."""
        if not true:
            self.append(what)
            print(f"NOT SO: {what}", flush=True)


async def home_assistant(rig: Rig, found: Findings) -> None:
    """Entities with class and unit; a setpoint from there moves the battery and ends by itself; what is taken back is gone."""
    assistant = ha.HomeAssistant(rig.port, free_port())
    try:
        await assistant.start()
        await until(lambda: rig.watcher.last.get("homeassistant/status") == b"online", "Home Assistant says that it is there")
        await asyncio.sleep(4)
        entities = await assistant.entities()
        print(f"{len(entities)} entities", flush=True)
        for key, (kind, unit, counted) in ENTITIES.items():
            one = entities.get(key, {"class": None, "unit": None, "attributes": {}, "state": None})
            seen = (one["class"], one["unit"], one["attributes"].get("state_class"))
            found.unless(seen == (kind, unit, counted), f"{key}: {seen}, must be {(kind, unit, counted)}")
        for key in PLAIN:
            found.unless(key in entities, f"{key}: is not there")
        for key in GONE:
            found.unless(key not in entities, f"{key}: is there, and the site has none")
        dead = [key for key, one in entities.items() if one["state"] == "unavailable"]
        found.unless(not dead, f"unavailable: {dead}")
        await commanded(rig, assistant, entities, found)
        await taken_back(rig, assistant, found)
        wrong = [line for line in assistant.log().splitlines() if "homeassistant.components" in line and "discovery" in line]
        found.unless(not wrong, f"Home Assistant complains: {wrong[:5]}")
    finally:
        await assistant.stop()


async def commanded(rig: Rig, assistant: ha.HomeAssistant, entities: dict[str, Any], found: Findings) -> None:
    """As a person presses it."""

    async def do(domain: str, service: str, key: str, **given: Any) -> None:
        await assistant.ask(do="call", domain=domain, service=service, data={"entity_id": entities[key]["entity_id"], **given})

    await do("number", "set_value", "lifetime", value=1)
    begun = time.monotonic()
    await do("number", "set_value", "setpoint", value=KW)
    await until(lambda: abs(rig.site.truth()["pcs_kw"] - KW) < 0.5, "the setpoint moves the battery")
    await asyncio.sleep(2.5)
    seen = await assistant.entities()
    found.unless(float(seen["power"]["state"]) > KW - 1, f"it shows {seen['power']['state']} kW")
    found.unless(seen["controller"]["state"] == "mqtt ha", f"the controller is {seen['controller']['state']}")
    await until(lambda: abs(rig.site.truth()["pcs_kw"]) < 0.1, "it ends by itself", 90)
    took = time.monotonic() - begun
    found.unless(55 < took < 75, f"it ended after {took:.0f} s, a minute was asked for")
    print(f"a setpoint of {KW} kW from Home Assistant moved the battery and ended by itself after {took:.0f} s", flush=True)
    await do("select", "select_option", "asked", option="charge")
    await until(lambda: rig.site.truth()["pcs_kw"] < -20, "the mode charge charges")
    await do("button", "press", "give_back")
    await until(lambda: abs(rig.site.truth()["pcs_kw"]) < 0.1, "given back")
    await do("button", "press", "stop")
    await until(lambda: rig.watcher.state["mode"] == "STANDBY", "stopped")
    await do("button", "press", "start")
    await until(lambda: rig.watcher.state["mode"] == "IDLE", "started")
    await do("number", "set_value", "lifetime", value=15)
    commands = await rig.ask("[one['who'] for one in pm.remote.commands.listed()]")
    found.unless("mqtt ha" in commands, f"the journal knows only {commands}")


async def taken_back(rig: Rig, assistant: ha.HomeAssistant, found: Findings) -> None:
    """A site file that allows no commands any more takes what could be commanded back."""
    await rig.board.stop()
    site = {**rig.site.site_json(), "services": {"mqtt": {**rig.options, "access": "read"}}}
    rig.board.site = site
    before = sum(one.topic.endswith("/config") for one in rig.watcher.messages)
    await rig.board.start()
    await until(lambda: sum(one.topic.endswith("/config") for one in rig.watcher.messages) > before, "it is told anew", 60)
    await asyncio.sleep(3)
    entities = await assistant.entities()
    left = [key for key in ("setpoint", "asked", "start", "stop", "emergency") if key in entities]
    found.unless(not left, f"still there without control: {left}")
    found.unless("soc" in entities, "what stays is gone too")


async def kills(rig: Rig, times: int, seed: int, found: Findings) -> None:
    """The broker dies and comes back; commands go on, events happen, and the battery does what it was told."""
    luck = random.Random(seed)
    asked: list[int] = []
    assert (await rig.watcher.ask(do="power", kw=20, minutes=1000))["ok"]
    await until(lambda: abs(rig.site.truth()["pcs_kw"] - 20) < 0.5, "it discharges")
    heap = int(await rig.ask("(__import__('gc').collect(), __import__('gc').mem_alloc())[1]"))
    cycles = int(await rig.ask("pm.image.now[__import__('firmware.image').image.number_of('CMD_SEQ')]"))
    begun = time.monotonic()
    for i in range(times):
        for _ in range(luck.randint(0, 3)):
            asked.append(rig.watcher.send(do="limit", discharge_kw=luck.randint(50, 90), minutes=1000))
        await asyncio.sleep(luck.random() * 1.5)
        await rig.broker.kill(hard=luck.random() < 0.8)
        await rig.board.send(f"pm.limit('somebody', {luck.randint(5, 15)})")
        await asyncio.sleep(luck.random() * 3)
        await rig.board.send("pm.limit('somebody')")
        await asyncio.sleep(0.3)
        await rig.broker.start()
        before = rig.fresh()
        await until(lambda start=before: rig.fresh() > start, "it is connected again", 90)  # type: ignore[misc]
        if i % 10 == 9:
            print(f"{i + 1} kills", flush=True)
    last = int(await rig.ask("pm.events.total"))
    await until(lambda: rig.events()[-1:] == [last], f"event {last} has come", 60)
    missing = sorted(set(range(rig.events()[0], last + 1)) - set(rig.events()))
    lost = rig.watcher.of("event")[-1]["lost"]
    found.unless(not missing and not lost, f"events {missing} never came, {lost} lost")
    counted = await rig.ask("mqtt.counters()")
    answered = {one["id"] for one in rig.watcher.of("answer")}
    obeyed = int(await rig.ask("mqtt.counters()['accepted'] + mqtt.counters()['refused']"))
    found.unless(len(answered - {None}) >= obeyed, f"{obeyed} commands were carried out, {len(answered)} answered: {counted}")
    now = int(await rig.ask("(__import__('gc').collect(), __import__('gc').mem_alloc())[1]"))
    found.unless(now - heap < 4096, f"the heap has grown by {now - heap} bytes")
    passed = int(await rig.ask("pm.image.now[__import__('firmware.image').image.number_of('CMD_SEQ')]")) - cycles
    rate = passed / (time.monotonic() - begun)
    found.unless(19 < rate < 21, f"{rate:.2f} cycles a second")
    power = rig.site.truth()["pcs_kw"]
    found.unless(abs(power - 20) < 0.5, f"the battery gives {power:.1f} kW, 20 were asked for")
    found.unless(await rig.ask("app.restarts, app.stopped") == "({}, {})", "a service was restarted or stopped")
    print(f"{times} kills: {len(rig.events())} events came, {len(missing)} are missing", flush=True)
    print(f"{len(asked)} commands sent, {obeyed} arrived, {len(answered - {None})} answered", flush=True)
    print(f"heap {now - heap:+d} bytes, {rate:.2f} cycles a second; {counted}", flush=True)


async def play(times: int, seed: int, with_ha: bool) -> Findings:
    """Both bars on one site."""
    found = Findings()
    with tempfile.TemporaryDirectory() as folder:
        async with Rig(Path(folder), list(chosen("32").command)) as rig:
            if times:
                await kills(rig, times, seed, found)
            if with_ha:
                await rig.watcher.ask(do="give_back")
                await home_assistant(rig, found)
    return found


def main() -> int:
    """Command line entry."""
    parser = argparse.ArgumentParser(prog="make mqtt ARGS=...", description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="of the broker (default 50)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--without-ha", action="store_true", help="only the kills")
    arguments = parser.parse_args()
    if not arguments.without_ha:
        try:
            ha.fetch()
        except ha.NotThere as error:
            print(f"Home Assistant cannot be had: {error}", file=sys.stderr)
            return 1
    found = asyncio.run(play(arguments.kills, arguments.seed, not arguments.without_ha))
    print("\n".join(found) if found else "as it must be")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
