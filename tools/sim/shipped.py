"""A site file, such as those that ship with the project, with the simulated site at its other ends.

Its buses, devices, limits and services stay as they are; addresses and the CAN back end become the simulator's.  A broker that
a service names is a real mosquitto of this machine, where there is one.
"""

import json
import struct
import tempfile
from pathlib import Path
from typing import Any

from tools.mqtt import broker as brokers
from tools.ports import free_port
from tools.sim.devices.rtu_line import RtuLine
from tools.sim.devices.sunspec_server import SunSpecServer
from tools.sim.physics.pack import ENERGY_WH, MODULES
from tools.sim.physics.plant import PlantOptions
from tools.sim.site import CONTACTOR_PIN, ESTOP_PIN, FEEDBACK_PIN, Site

_ON_NETWORK = ("web", "mqtt", "sunspec_server")  # types of services that serve, or call somebody
_PINS = {"estop_pin": ESTOP_PIN, "contactor_pin": CONTACTOR_PIN, "feedback_pin": FEEDBACK_PIN}  # of a file: those of a Site


class ShippedSite(Site):
    """The simulated site as that file describes it."""

    def __init__(self, file: Path, seed: int = 1, own_battery: bool = False, **options: Any) -> None:
        """`options`: Site's; own_battery: somebody else joins the CAN bus for a BMS that cannot be simulated.

        Raises ValueError for a device that cannot be simulated.
        """
        self.own_battery = own_battery
        self.content = json.loads(file.read_text())
        for section in ("power", "buses", "devices"):
            self.content.setdefault(section, {})
        given = {**self._battery(), **options, "power": {**self.content["power"], **options.get("power", {})}}
        super().__init__(seed, **given)
        self.bms.silent = "bms_address" not in given and any(d["type"].startswith("bms") for d in self.content["devices"].values())
        self.line: RtuLine | None = None
        self._uart = 1
        devices = self.content["devices"]
        io: dict[str, Any] = next((device for device in devices.values() if device["type"] == "io_board"), {})
        self._pins = {own: io[key] for key, own in _PINS.items() if io.get(key, -1) >= 0}
        for bus in self.content["buses"].values():
            if bus["type"] == "modbus_rtu":
                self.line = RtuLine(bus.get("baudrate", 9600))
                self._uart = bus.setdefault("id", 1)
            else:
                bus.update(backend="machine", id=0)
        self._broker: brokers.Broker | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._served = {  # ports of this machine's own, by service
            name: free_port() for name, service in self.content.get("services", {}).items() if service.get("type") in _ON_NETWORK
        }
        for name, device in devices.items():
            if device.get("bus") and self.content["buses"][device["bus"]]["type"] == "modbus_rtu":
                self._join(name, device)
            elif device.get("host") and device["type"] not in ("pcs_sunspec", "meter_sunspec"):
                raise ValueError(f"device {name}: {device['type']} cannot be simulated on the network")

    def _battery(self) -> dict[str, Any]:
        """Options of the plant that the file's power section and BMS decide."""
        power, found = self.content["power"], {}
        if "module_count" in power or "module_energy" in power:
            modules = power.get("module_count", MODULES)
            found = {"modules": modules, "energy_kwh": modules * power.get("module_energy", ENERGY_WH / 1000 / MODULES)}
        most = max(power.get("max_charge_power", 0), power.get("max_discharge_power", 0))
        if most > PlantOptions.pcs_kw:
            found["pcs_kw"] = most
        for name, device in self.content["devices"].items():
            if device["type"] == "bms_pylontech" and device.get("variant", "hv") == "hv":
                found["bms_address"] = device.get("address", 0)
            elif device["type"].startswith("bms") and not self.own_battery:
                raise ValueError(f"device {name}: only a bms_pylontech of the variant hv can be simulated")
        return found

    def _join(self, name: str, device: dict[str, Any]) -> None:
        """A device on the RS485 line."""
        assert self.line is not None
        if device["type"] in ("pcs_sunspec", "meter_sunspec"):
            self.line.add_server(device["unit"], self._server(device))
        elif device["type"] == "generic_modbus" and _slots(device) == ["PV_P"]:
            read = device["table"]["reads"][0]
            if read.get("type") != "float32":
                raise ValueError(f"device {name}: type {read.get('type', 'int16')} cannot be simulated (float32 can)")
            self.line.add_registers(device["unit"], lambda address, count: self._pv(read["address"], address, count), self.pv_meter)
        else:
            raise ValueError(f"device {name}: {device['type']} cannot be simulated on the RS485 line")

    def _server(self, device: dict[str, Any]) -> SunSpecServer:
        return self.pcs_server if device["type"] == "pcs_sunspec" else self.meter_server

    def _pv(self, wanted: int, address: int, count: int) -> list[int] | None:
        if (address, count) != (wanted, 2):
            return None
        return list(struct.unpack(">HH", struct.pack(">f", self.plant.pv_w)))

    async def start(self) -> None:
        """Open every endpoint."""
        await super().start()
        if self.line is not None:
            await self.line.start()
        port = next((self._served[name] for name in self._served if self._type(name) == "mqtt"), 0)
        if port and brokers.program() is not None:
            self._scratch = tempfile.TemporaryDirectory(prefix="broker-")
            self._broker = brokers.Broker(Path(self._scratch.name), port)
            await self._broker.start()

    async def stop(self) -> None:
        """Close them."""
        await super().stop()
        if self.line is not None:
            await self.line.stop()
        if self._broker is not None and self._scratch is not None:
            await self._broker.kill()
            self._scratch.cleanup()
            self._broker = self._scratch = None

    def _type(self, service: str) -> str:
        return str(self.content["services"][service]["type"])

    def site_json(self) -> dict[str, Any]:
        """The file with the simulator's addresses."""
        content = json.loads(json.dumps(self.content))
        on_network = False
        for device in content["devices"].values():
            if "host" in device:
                device.update(host="127.0.0.1", port=self._server(device).port, unit=1)
                on_network = True
        for name, port in self._served.items():
            content["services"][name].update(host="127.0.0.1", port=port)
            on_network = True
        if on_network:
            content["wifi"] = {"ssid": "simulated", "password": "simulated"}
        return self.with_ems(content)

    def env(self) -> dict[str, str]:
        """Where the simulated board finds its buses."""
        line = {f"SIM_UART{self._uart}": self.line.path} if self.line is not None else {}
        return {**super().env(), **line}

    def board_pin(self, pin: int, level: int) -> None:
        """An output pin of the board has changed."""
        if pin == self._pins.get(CONTACTOR_PIN):
            super().board_pin(CONTACTOR_PIN, level)

    def inputs(self) -> dict[int, int]:
        """Levels of the board's input pins."""
        return {self._pins[pin]: level for pin, level in super().inputs().items() if pin in self._pins}

    def _output(self, pin: int, level: int) -> None:
        if pin in self._pins:
            super()._output(self._pins[pin], level)


def _slots(device: dict[str, Any]) -> list[str]:
    """What the table of a generic_modbus device reads; nothing for one that is in a file of its own."""
    table = device["table"]
    return [read["slot"] for read in table["reads"]] if isinstance(table, dict) else []
