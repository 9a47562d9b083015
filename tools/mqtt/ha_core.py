"""A real Home Assistant without its pages: its core, registries and MQTT integration, commanded by JSON lines on stdin.

Runs under the Python that tools/mqtt/ha.py fetches, never under the project's.  One line is one question, and so is its answer:

    {"do": "states"}                                   every entity of MQTT: id, state, attributes, what its registry says
    {"do": "call", "domain": "number", "service": "set_value", "data": {...}}
    {"do": "reload"}                                   the integration is set up anew, with its birth message
    {"do": "end"}
"""

import asyncio
import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

from homeassistant import auth, bootstrap, config_entries, loader
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry, entity_registry
from homeassistant.setup import async_setup_component


async def started(folder: str, broker_port: int, http_port: int) -> HomeAssistant:
    """Home Assistant with the MQTT integration as its one config entry, connected to 127.0.0.1:broker_port."""
    Path(folder, "configuration.yaml").touch()
    hass = HomeAssistant(folder)
    hass.config.skip_pip = True
    loader.async_setup(hass)
    hass.config_entries = config_entries.ConfigEntries(hass, {})
    await loader.async_get_custom_components(hass)
    await bootstrap.async_load_base_functionality(hass)
    hass.auth = await auth.auth_manager_from_config(hass, [{"type": "homeassistant"}], [])
    await async_setup_component(hass, "homeassistant", {})
    await async_setup_component(hass, "http", {"http": {"server_host": ["127.0.0.1"], "server_port": http_port}})
    await hass.async_start()
    entry = config_entries.ConfigEntry(
        version=1, minor_version=2, domain="mqtt", title="broker", source="user", unique_id=None, options={},
        data={"broker": "127.0.0.1", "port": broker_port}, discovery_keys={}, subentries_data=None,
    )  # fmt: skip
    await hass.config_entries.async_add(entry)
    await hass.async_block_till_done()
    if entry.state is not config_entries.ConfigEntryState.LOADED:
        raise RuntimeError(f"mqtt: {entry.state}: {entry.reason}")
    return hass


def states(hass: HomeAssistant) -> dict[str, Any]:
    """What a person sees: entities by unique id, and devices."""
    entities = entity_registry.async_get(hass)
    found = {}
    for entry in entities.entities.values():
        if entry.platform != "mqtt":
            continue
        state = hass.states.get(entry.entity_id)
        found[entry.unique_id] = {
            "entity_id": entry.entity_id, "disabled": entry.disabled, "category": entry.entity_category,
            "class": entry.device_class or entry.original_device_class, "unit": entry.unit_of_measurement,
            "name": entry.original_name, "state": state and state.state, "attributes": dict(state.attributes) if state else {},
        }  # fmt: skip
    devices = [
        {"name": device.name, "maker": device.manufacturer, "ids": [name for _, name in device.identifiers]}
        for device in device_registry.async_get(hass).devices.values()
    ]
    return {"entities": found, "devices": devices}


async def answer(hass: HomeAssistant, asked: dict[str, Any]) -> Any:
    """What a line asks for."""
    match asked["do"]:
        case "states":
            return states(hass)
        case "call":
            await hass.services.async_call(asked["domain"], asked["service"], asked["data"], blocking=True)
            return "called"
        case "reload":
            entry = hass.config_entries.async_entries("mqtt")[0]
            return await hass.config_entries.async_reload(entry.entry_id)
    raise ValueError(asked["do"])


async def main(broker_port: int, http_port: int) -> None:
    """Answer until the input ends."""
    with tempfile.TemporaryDirectory() as folder:
        hass = await started(folder, broker_port, http_port)
        print(json.dumps("ready"), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            asked = json.loads(line)
            if asked["do"] == "end":
                break
            try:
                print(json.dumps(await answer(hass, asked), default=str), flush=True)
            except Exception as error:  # it is the answer
                print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
        await hass.async_stop(force=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
