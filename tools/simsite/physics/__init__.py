"""Physics of the simulated site: plain floats, no I/O, no clock; time passes only in step(dt_s)."""

from tools.simsite.physics.bms import Bms, BmsReport
from tools.simsite.physics.pack import Pack
from tools.simsite.physics.pcs import Pcs
from tools.simsite.physics.plant import Plant, PlantOptions

__all__ = ["Bms", "BmsReport", "Pack", "Pcs", "Plant", "PlantOptions"]
