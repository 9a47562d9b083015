"""The whole plant: battery behind contactors, PCS, grid, load, PV, and the meter where the site meets the grid."""

from dataclasses import dataclass

from tools.sim.physics.bms import Bms
from tools.sim.physics.grid import PROFILED, Profile, Surroundings
from tools.sim.physics.pack import ENERGY_WH, MODULES, Pack
from tools.sim.physics.pcs import NO_ISLAND, RUNNING, Pcs

__all__ = ["PROFILED", "Plant", "PlantOptions", "Profile"]

CONTACTOR_S = 0.1  # closing and opening time
BMS_STEP_S = 0.1


@dataclass
class PlantOptions:
    """What a site is made of; every value has the default site's figure."""

    soc: float = 50.0  # %
    energy_kwh: float = ENERGY_WH / 1000
    modules: int = MODULES
    current_max_a: float = 165.0
    temperature_c: float = 25.0
    cell_spread_pct: float = 0.05
    coulombic: float = 0.999
    soc_rounding: str = "nearest"  # how the BMS makes whole percents: "nearest" or "down"
    pcs_kw: float = 100.0
    pcs_efficiency: float = 0.95
    pcs_tau_s: float = 0.1
    pcs_watchdog_s: float = 3.0
    pcs_start_s: float = 1.0
    pcs_island: str = NO_ISLAND  # "off", "form" or "follow"
    pcs_autostart: bool = True
    grid_hz: float = 50.0
    grid_v: float = 400.0
    load_kw: float = 0.0
    pv_kw: float = 0.0
    measurement_noise: float = 1.0  # of every sensor on the site; 0: none
    load_noise_kw: float = 0.0  # standard deviation of a slow random walk around the load

    def pack(self) -> Pack:
        """A battery of this kind, rested."""
        return Pack(self.soc, self.energy_kwh * 1000, self.modules, self.coulombic, self.temperature_c, self.cell_spread_pct)

    def bms(self, pack: Pack, seed: int) -> Bms:
        """That battery's BMS."""
        return Bms(pack, self.current_max_a, self.measurement_noise, seed, self.soc_rounding)

    def pcs(self) -> Pcs:
        """An inverter of this kind."""
        return Pcs(
            self.pcs_kw * 1000, self.pcs_efficiency, self.pcs_tau_s, self.pcs_watchdog_s, self.pcs_start_s, self.pcs_island,
            self.pcs_autostart,
        )

    def surroundings(self) -> dict[str, float]:
        """What Surroundings is made with."""
        return {name: getattr(self, name) for name in ("grid_hz", "grid_v", "load_kw", "pv_kw", "load_noise_kw")}


class Plant(Surroundings):
    """Everything that has physics.  `step(dt_s)` lets time pass; nothing else does."""

    __slots__ = (
        "options", "pack", "bms", "pcs", "contactor_wanted", "contactor_closed", "contactor_stuck", "_contactor_s", "_bms_s",
    )  # fmt: skip

    def __init__(self, options: PlantOptions | None = None, seed: int = 1) -> None:
        o = self.options = options or PlantOptions()
        super().__init__(seed, **o.surroundings())
        self.pack = o.pack()
        self.bms = o.bms(self.pack, seed + 1)
        self.pcs = o.pcs()
        self.contactor_wanted = False
        self.contactor_closed = False
        self.contactor_stuck = False
        self._contactor_s = 0.0
        self._bms_s = 0.0
        self.balance(0.0, 0.0, False)

    def step(self, dt_s: float) -> None:
        """Let `dt_s` seconds pass."""
        self.pass_time(dt_s)
        if self.contactor_wanted != self.contactor_closed:
            self._move_contactor(dt_s)
        pcs = self.pcs
        pack = self.pack
        closed = self.contactor_closed and self.bms.relay_closed and not self.bms.empty_open
        pcs.dc_present = closed
        pcs.grid_present = self.grid_present
        if pcs.state == 0 and not closed and self.grid_present:
            pcs.step(dt_s, 0.0, 0.0)
            pack.step(dt_s, 0.0)
        else:
            # Three quarters of the maximum-power point: no inverter works beyond it.
            dc_max_w = 0.1875 * pack.emf_v * pack.emf_v / pack.r0_ohm
            pcs.step(dt_s, self.net_load_w(), dc_max_w)
            pack.step(dt_s, pack.current_for(pcs.dc_power_w()) if closed else 0.0)
        self.balance(dt_s, pcs.power_w, pcs.state == RUNNING)
        self._bms_s += dt_s
        if self._bms_s >= BMS_STEP_S:
            self.bms.step(self._bms_s)
            self._bms_s = 0.0

    def _move_contactor(self, dt_s: float) -> None:
        if self.contactor_stuck:
            return
        self._contactor_s += dt_s
        if self._contactor_s >= CONTACTOR_S:
            self._contactor_s = 0.0
            self.contactor_closed = self.contactor_wanted

    def set(self, name: str, value: float) -> None:
        """As Surroundings's, and of battery and inverter: soc (%), temperature, ambient (degC), pcs_derate (0..1)."""
        if name == "soc":
            self.pack.rest(value)
        elif name == "temperature":
            self.pack.temperature_c = value
        elif name == "ambient":
            self.pack.ambient_c = self.pcs.ambient_c = value
        elif name == "pcs_derate":
            self.pcs.charge_fraction = self.pcs.discharge_fraction = min(1.0, max(0.0, value))
        else:
            super().set(name, value)
