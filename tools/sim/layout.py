"""Which batteries and inverters a site file has, and in which banks: read as the firmware reads its "banks" section."""

from typing import Any

from tools.sim.healthy import POWER
from tools.sim.physics.banks import BankLayout
from tools.sim.physics.pack import ENERGY_WH, MODULES
from tools.sim.physics.plant import PlantOptions


def of_kind(content: dict[str, Any], kind: str) -> list[str]:
    """The names of the devices whose type begins so, in the file's order."""
    return [name for name, device in content.get("devices", {}).items() if str(device.get("type", "")).startswith(kind)]


def banks(content: dict[str, Any]) -> tuple[BankLayout, ...]:
    """The banks of a site file, with the physics that their power sections say; without the section, one of all there is.

    Raises ValueError where a bank names what is no device.
    """
    site = {**POWER, **content.get("power", {})}
    batteries, inverters = of_kind(content, "bms"), of_kind(content, "pcs")
    section = content.get("banks") or {"site": {"batteries": batteries, "inverters": inverters}}
    found = []
    for name, bank in section.items():
        for role, known in (("batteries", batteries), ("inverters", inverters)):
            for device in bank.get(role, []):
                if device not in known:
                    raise ValueError(f"banks.{name}.{role}: {device!r} is none of {', '.join(known) or 'none'}")
        power = {**site, **bank.get("power", {})}
        found.append(BankLayout(name, tuple(bank["batteries"]), tuple(bank["inverters"]), _physics(power, len(bank["inverters"]))))
    return tuple(found)


def several(content: dict[str, Any]) -> bool:
    """Whether a site file has more than one battery or inverter."""
    return max(len(of_kind(content, "bms")), len(of_kind(content, "pcs"))) > 1


def _physics(power: dict[str, Any], inverters: int) -> dict[str, Any]:
    """Options of the plant for each battery and each inverter of a bank with that power section."""
    modules = power.get("module_count", MODULES)
    found = {"modules": modules, "energy_kwh": modules * power.get("module_energy", ENERGY_WH / 1000 / MODULES)}
    each_kw = max(power["max_charge_power"], power["max_discharge_power"]) / inverters
    if each_kw > PlantOptions.pcs_kw:
        found["pcs_kw"] = each_kw
    return found
