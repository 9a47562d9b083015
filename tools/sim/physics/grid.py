"""What is around a site: the grid, loads, PV, and the balance at the point of connection.  Time passes in whoever has it."""

import random
from collections.abc import Sequence

PROFILED = ("load_kw", "pv_kw", "grid_hz", "grid_v")
Profile = Sequence[tuple[float, float]]


class Surroundings:
    """Grid, load and PV, each constant or after a profile; a power is W."""

    __slots__ = (
        "grid_hz", "grid_v", "grid_present", "load_w", "pv_w", "grid_w", "served_w", "unserved_wh", "import_wh", "export_wh",
        "time_s", "_random", "_profiles", "_noise_w", "_noise_on", "_sigma_w",
    )  # fmt: skip

    def __init__(self, seed: int, grid_hz: float, grid_v: float, load_kw: float, pv_kw: float, load_noise_kw: float) -> None:
        """load_noise_kw: standard deviation of a slow random walk around the load."""
        self.grid_hz = grid_hz
        self.grid_v = grid_v
        self.grid_present = True
        self.load_w = load_kw * 1000
        self.pv_w = pv_kw * 1000
        self.grid_w = 0.0  # at the point of connection, + import
        self.served_w = 0.0  # the load that is supplied
        self.unserved_wh = 0.0
        self.import_wh = 0.0
        self.export_wh = 0.0
        self.time_s = 0.0
        self._random = random.Random(seed)
        self._profiles: dict[str, Profile] = {}
        self._noise_w = 0.0
        self._sigma_w = load_noise_kw * 1000
        self._noise_on = load_noise_kw > 0.0

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

    def set(self, name: str, value: float) -> None:
        """Change one outside quantity: load_kw, pv_kw, grid_hz, grid_v, grid (0/1).  Unknown names raise ValueError."""
        if name == "load_kw":
            self.load_w = value * 1000
        elif name == "pv_kw":
            self.pv_w = value * 1000
        elif name == "grid_hz":
            self.grid_hz = value
        elif name == "grid_v":
            self.grid_v = value
        elif name == "grid":
            self.grid_present = bool(value)
        else:
            raise ValueError(
                f"{name!r} cannot be set; known: load_kw, pv_kw, grid_hz, grid_v, grid, soc, temperature, ambient, "
                "pcs_derate"
            )

    def pass_time(self, dt_s: float) -> None:
        """The clock goes on; profiles and the load's walk move."""
        self.time_s += dt_s
        if self._profiles:
            self._follow()
        if self._noise_on:
            self._walk(dt_s)

    def net_load_w(self) -> float:
        """Load less PV: what an island needs."""
        return self.load_w + self._noise_w - self.pv_w

    def balance(self, dt_s: float, power_w: float, forming: bool) -> None:
        """Power at the point of connection, with `power_w` from the inverters; forming: they make an island without a grid."""
        load = self.load_w + self._noise_w
        if load < 0.0:
            load = 0.0
        if self.grid_present:
            self.served_w = load
            self.grid_w = grid = load - self.pv_w - power_w
            if grid > 0.0:
                self.import_wh += grid * dt_s / 3600.0
            else:
                self.export_wh -= grid * dt_s / 3600.0
            return
        self.grid_w = 0.0
        # An island: PV works only while an inverter forms the grid, and what is missing is shed.
        supply = power_w + (self.pv_w if forming else 0.0)
        self.served_w = served = max(0.0, min(load, supply))
        self.unserved_wh += (load - served) * dt_s / 3600.0

    def _walk(self, dt_s: float) -> None:
        """A mean-reverting random walk of the load (time constant 10 s)."""
        share = min(1.0, dt_s / 10.0)
        self._noise_w += -self._noise_w * share + self._random.gauss(0.0, self._sigma_w) * (2.0 * share) ** 0.5

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
