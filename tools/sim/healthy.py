"""The one healthy site that everything simulated starts from: its physics, and the firmware's configuration for it.

What its devices report at rest, as numbers in an image: tools/healthy.py.
"""

from typing import Any

from tools.sim.physics.plant import Plant, PlantOptions

# firmware.PowerConfig's fields
POWER: dict[str, Any] = {
    "grid_connection": "INTERACTIVE",
    "module_count": 13,
    "system_voltage_nominal": 624.0,
    "max_charge_power": 100.0,
    "max_discharge_power": 100.0,
    "max_grid_export_power": 100.0,
    "min_soc": 20.0,
    "max_soc": 90.0,
    "allow_grid_charging": True,
    "allow_grid_export": True,
    "inverter_efficiency": 95.0,
    "auto_restart": True,
}


def plant(seed: int = 1, **options: Any) -> Plant:
    """The battery, inverter, grid and load of that site, or of one that differs from it by `options` (PlantOptions')."""
    return Plant(PlantOptions(**options), seed)
