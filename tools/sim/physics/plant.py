"""The whole plant: battery behind contactors, PCS, grid, load, PV, and the meter where the site meets the grid."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tools.sim.physics.bms import Bms
from tools.sim.physics.pack import ENERGY_WH, MODULES, Pack
from tools.sim.physics.pcs import NO_ISLAND, Pcs

CONTACTOR_S = 0.1  # closing and opening time
BMS_STEP_S = 0.1
PROFILED = ("load_kw", "pv_kw", "grid_hz", "grid_v")
Profile = Sequence[tuple[float, float]]


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


class Plant:
    """Everything that has physics.  `step(dt_s)` lets time pass; nothing else does."""

    __slots__ = (
        "options", "pack", "bms", "pcs", "grid_hz", "grid_v", "grid_present", "load_w", "pv_w", "contactor_wanted",
        "contactor_closed", "contactor_stuck", "grid_w", "served_w", "unserved_wh", "import_wh", "export_wh",
        "time_s", "_random", "_profiles", "_noise_w", "_contactor_s", "_bms_s", "_noise_on",
    )

    def __init__(self, options: PlantOptions | None = None, seed: int = 1) -> None:
        o = self.options = options or PlantOptions()
        self.pack = Pack(o.soc, o.energy_kwh * 1000, o.modules, o.coulombic, o.temperature_c, o.cell_spread_pct)
        self.bms = Bms(self.pack, o.current_max_a, o.measurement_noise, seed + 1, o.soc_rounding)
        self.pcs = Pcs(
            o.pcs_kw * 1000, o.pcs_efficiency, o.pcs_tau_s, o.pcs_watchdog_s, o.pcs_start_s, o.pcs_island,
            o.pcs_autostart,
        )
        self.grid_hz = o.grid_hz
        self.grid_v = o.grid_v
        self.grid_present = True
        self.load_w = o.load_kw * 1000
        self.pv_w = o.pv_kw * 1000
        self.contactor_wanted = False
        self.contactor_closed = False
        self.contactor_stuck = False
        self.grid_w = 0.0  # at the point of connection, + import
        self.served_w = 0.0  # the load that is supplied
        self.unserved_wh = 0.0
        self.import_wh = 0.0
        self.export_wh = 0.0
        self.time_s = 0.0
        self._random = random.Random(seed)
        self._profiles: dict[str, Profile] = {}
        self._noise_w = 0.0
        self._noise_on = o.load_noise_kw > 0.0
        self._contactor_s = 0.0
        self._bms_s = 0.0
        self.pcs.grid_v = self.grid_v
        self._balance(0.0)

    def follow(self, name: str, profile: Profile) -> None:
        """Let `name` (load_kw, pv_kw, grid_hz or grid_v) follow `profile`: (second, value) points, linear between."""
        if name not in PROFILED:
            raise ValueError(f"profile {name!r} is not one of {', '.join(PROFILED)}")
        if not profile or any(b[0] <= a[0] for a, b in zip(profile, profile[1:], strict=False)):
            raise ValueError(f"profile {name!r}: seconds must rise from point to point")
        self._profiles[name] = tuple((float(t), float(v)) for t, v in profile)

    def hold(self, name: str) -> None:
        """Stop following a profile: the value stays where it is."""
        self._profiles.pop(name, None)

    def step(self, dt_s: float) -> None:
        """Let `dt_s` seconds pass."""
        self.time_s += dt_s
        if self._profiles:
            self._follow()
        if self._noise_on:
            self._walk(dt_s)
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
            pcs.step(dt_s, self.load_w + self._noise_w - self.pv_w, dc_max_w)
            pack.step(dt_s, pack.current_for(pcs.dc_power_w()) if closed else 0.0)
        self._balance(dt_s)
        self._bms_s += dt_s
        if self._bms_s >= BMS_STEP_S:
            self.bms.step(self._bms_s)
            self._bms_s = 0.0

    def _balance(self, dt_s: float) -> None:
        """Power at the point of connection, from what the load takes and the sources give."""
        load = self.load_w + self._noise_w
        if load < 0.0:
            load = 0.0
        if self.grid_present:
            self.served_w = load
            self.grid_w = grid = load - self.pv_w - self.pcs.power_w
            if grid > 0.0:
                self.import_wh += grid * dt_s / 3600.0
            else:
                self.export_wh -= grid * dt_s / 3600.0
            return
        self.grid_w = 0.0
        # An island: PV works only while the PCS forms the grid, and what is missing is shed.
        forming = self.pcs.state == 3
        supply = self.pcs.power_w + (self.pv_w if forming else 0.0)
        self.served_w = served = max(0.0, min(load, supply))
        self.unserved_wh += (load - served) * dt_s / 3600.0

    def _move_contactor(self, dt_s: float) -> None:
        if self.contactor_stuck:
            return
        self._contactor_s += dt_s
        if self._contactor_s >= CONTACTOR_S:
            self._contactor_s = 0.0
            self.contactor_closed = self.contactor_wanted

    def _walk(self, dt_s: float) -> None:
        """A mean-reverting random walk of the load (time constant 10 s)."""
        sigma = self.options.load_noise_kw * 1000
        share = min(1.0, dt_s / 10.0)
        self._noise_w += -self._noise_w * share + self._random.gauss(0.0, sigma) * (2.0 * share) ** 0.5

    def _follow(self) -> None:
        now = self.time_s
        for name, profile in self._profiles.items():
            value = profile[-1][1]
            if now <= profile[0][0]:
                value = profile[0][1]
            else:
                for (t0, v0), (t1, v1) in zip(profile, profile[1:], strict=False):
                    if now < t1:
                        value = v0 + (v1 - v0) * (now - t0) / (t1 - t0)
                        break
            self.set(name, value)

    def set(self, name: str, value: float) -> None:
        """Change one outside quantity: load_kw, pv_kw, grid_hz, grid_v, grid (0/1), soc (%), temperature (degC),
        ambient (degC), pcs_derate (0..1).  Unknown names raise ValueError."""
        if name == "load_kw":
            self.load_w = value * 1000
        elif name == "pv_kw":
            self.pv_w = value * 1000
        elif name == "grid_hz":
            self.grid_hz = value
        elif name == "grid_v":
            self.grid_v = self.pcs.grid_v = value
        elif name == "grid":
            self.grid_present = bool(value)
        elif name == "soc":
            self.pack.rest(value)
        elif name == "temperature":
            self.pack.temperature_c = value
        elif name == "ambient":
            self.pack.ambient_c = self.pcs.ambient_c = value
        elif name == "pcs_derate":
            self.pcs.charge_fraction = self.pcs.discharge_fraction = min(1.0, max(0.0, value))
        else:
            raise ValueError(
                f"{name!r} cannot be set; known: load_kw, pv_kw, grid_hz, grid_v, grid, soc, temperature, ambient, "
                "pcs_derate"
            )
