"""What the sensors of a site say of its physics: noise, dead sides, resolution.  For the live site and for virtual time.

A quantity is measured when it is asked for, so whoever asks in another order draws other noise.  What a BMS measures is in
physics/bms.py, which protects its battery by it.
"""

import math
import random
from typing import Protocol

from tools.sim.physics.bms import TRIANGLE
from tools.sim.physics.pcs import NO_ISLAND, RUNNING, Pcs
from tools.sim.physics.plant import PlantOptions

# what sensors add (standard deviation)
NOISE_W = 20.0
NOISE_V = 0.15
NOISE_HZ = 0.002
NOISE_DC_V = 0.1
# the resolution of inverter and meter, as powers of ten
W_SF = 1
V_SF = A_SF = TMP_SF = -1
HZ_SF = -3
METER_HZ_SF = -2
STEP_W = 10**W_SF

_ROOT3 = 3.0**0.5


def amps(watts: float, volts: float) -> float:
    """What flows in each of three phases; 0 where there is no voltage."""
    return watts / (_ROOT3 * volts) if volts else 0.0


class Gauss:
    """Noise as it is, of sensors that are asked ten times a second."""

    def __init__(self, rng: random.Random, share: float = 1.0) -> None:
        """share: 1 as real sensors have it, 0 none."""
        self.share = share
        self.random = rng

    def live(self, value: float, sigma: float) -> float:
        """A true value as its sensor gives it, zero too."""
        return value + self.random.gauss(0.0, sigma * self.share)

    def of(self, value: float, sigma: float) -> float:
        """The same of what can be dead: then it reads exactly 0."""
        return self.live(value, sigma) if value else 0.0


class Triangle(Gauss):
    """Noise enough, and a quarter of the cost, for virtual time; the seeds of its runs know no noise around zero."""

    def live(self, value: float, sigma: float) -> float:
        """As Gauss's."""
        if not value or not self.share:
            return value
        rnd = self.random.random
        return value + (rnd() + rnd() - 1.0) * TRIANGLE * sigma * self.share


class DcSide(Protocol):
    """What an inverter has at its DC terminals: a pack, or a bank of them."""

    voltage_v: float
    current_a: float


class Grid(Protocol):
    """Where a site meets the grid."""

    options: PlantOptions

    @property
    def grid_present(self) -> bool:
        """Whether there is a grid."""

    @property
    def grid_v(self) -> float:
        """V between two phases."""

    @property
    def grid_hz(self) -> float:
        """Hz."""

    @property
    def grid_w(self) -> float:
        """W, + import."""


class InverterSensors:
    """What an inverter measures."""

    def __init__(self, grid: Grid, pcs: Pcs, dc: DcSide, noise: Gauss, as_device: bool = True) -> None:
        """as_device: False as the seeds of the first soaks know it, no island's voltage and the grid seen through an open relay."""
        self.grid = grid
        self.pcs = pcs
        self.dc = dc
        self._noise = noise
        self._as_device = as_device

    def _forms(self) -> bool:
        return self._as_device and self.pcs.state == RUNNING and self.pcs.island != NO_ISLAND

    def volts(self) -> float:
        """Between two phases."""
        grid = self.grid
        if grid.grid_present:
            return self._noise.of(grid.grid_v, NOISE_V)
        return self._noise.of(grid.options.grid_v, NOISE_V) if self._forms() else 0.0

    def hertz(self) -> float:
        """Of the grid, or of the island that it forms."""
        grid = self.grid
        if grid.grid_present:
            return self._noise.of(grid.grid_hz, NOISE_HZ)
        return self._noise.of(grid.options.grid_hz, NOISE_HZ) if self._forms() else 0.0

    def sees_grid(self) -> bool:
        """Whether it is connected to the grid: its own relay is open while it does not run."""
        return self.grid.grid_present and (not self._as_device or self.pcs.state == RUNNING)

    def watts(self) -> float:
        """AC, positive is discharge."""
        return self._noise.of(self.pcs.power_w, NOISE_W)

    def dc_volts(self) -> float:
        """Behind open contactors the DC side is dead."""
        return self._noise.of(self.dc.voltage_v, NOISE_DC_V) if self.pcs.dc_present else 0.0


# Which phase's current transformer, and which way round, sits behind each phase's voltage: of L1, L2, L3.
Wiring = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
WIRED = ((0, 1), (1, 1), (2, 1))
TURNED = ((0, -1), (1, -1), (2, -1))  # all three face the other way
ONE_TURNED = ((0, -1), (1, 1), (2, 1))
SWAPPED = ((1, 1), (0, 1), (2, 1))  # L1 and L2 have each other's


class MeterSensors:
    """What the meter at the point of connection measures; dead where the grid is gone."""

    def __init__(self, grid: Grid, noise: Gauss) -> None:
        self.grid = grid
        self.wiring: Wiring = WIRED
        self._noise = noise

    def shares(self) -> tuple[float, float, float]:
        """Of a phase's power what each phase measures: 1, unless current transformers are not where they belong."""
        first, second, third = (way * math.cos(math.tau / 3 * (at - phase)) for phase, (at, way) in enumerate(self.wiring))
        return first, second, third

    def volts(self) -> float:
        """Between two phases."""
        return self._noise.live(self.grid.grid_v, NOISE_V) if self.grid.grid_present else 0.0

    def watts(self) -> float:
        """Positive is import."""
        seen_w = self.grid.grid_w if self.wiring is WIRED else self.grid.grid_w * sum(self.shares()) / 3
        return self._noise.live(seen_w, NOISE_W) if self.grid.grid_present else 0.0

    def hertz(self) -> float:
        """Of the grid."""
        return self._noise.live(self.grid.grid_hz, NOISE_HZ) if self.grid.grid_present else 0.0
