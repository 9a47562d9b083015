"""Physics of the simulated site: plain floats, no I/O, no clock; time passes only in step(dt_s)."""

from tools.sim.physics.bms import Bms, BmsReport
from tools.sim.physics.pack import Pack
from tools.sim.physics.pcs import Pcs
from tools.sim.physics.plant import Plant, PlantOptions

__all__ = ["Bms", "BmsReport", "Pack", "Pcs", "Plant", "PlantOptions"]
