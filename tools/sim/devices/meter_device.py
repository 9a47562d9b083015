"""The meter at the point of connection: SunSpec model 203 (scaled integers) or 213 (floats), W positive for import."""

import math
import random
from typing import Any

from tools.sim.devices.pcs_device import NOISE_HZ, NOISE_V, NOISE_W
from tools.sim.devices.sunspec_chain import Chain
from tools.sim.physics.plant import Plant

_ROOT3 = math.sqrt(3.0)
_SCALES = {
    "A_SF": -1, "V_SF": -1, "Hz_SF": -2, "W_SF": 1, "VA_SF": 1, "VAR_SF": 1, "PF_SF": -2, "TotWh_SF": 0,
    "TotVAh_SF": 0, "TotVArh_SF": 0, "Evt": 0,
}


def models(model: int) -> list[tuple[int, dict[str, Any]]]:
    """Common model and the meter model 203 or 213."""
    if model not in (203, 213):
        raise ValueError(f"meter model {model} is not 203 or 213")
    common = {"Mn": "Simulated", "Md": "METER 3", "Opt": "", "Vr": "1.0", "SN": "SIM-METER-1", "DA": 1}
    return [(1, common), (model, _SCALES if model == 203 else {"Evt": 0})]


class MeterDevice:
    """Puts the plant's grid power into the meter's registers."""

    def __init__(self, plant: Plant, model: int = 203, rng: random.Random | None = None) -> None:
        self._random = rng or random.Random(1)
        self.plant = plant
        self.model = model
        self.chain = Chain(models(model))
        self.refresh()

    def refresh(self) -> None:
        """Bring the registers up to date with the physics."""
        plant = self.plant
        live = plant.grid_present
        gauss, noise = self._random.gauss, plant.options.measurement_noise
        volts = plant.grid_v + gauss(0.0, NOISE_V * noise) if live else 0.0
        watts = plant.grid_w + gauss(0.0, NOISE_W * noise) if live else 0.0
        hz = plant.grid_hz + gauss(0.0, NOISE_HZ * noise) if live else 0.0
        amps = watts / (_ROOT3 * volts) if volts else 0.0
        p = f"{self.model}."
        put = self.chain.put
        put(p + "A", 3 * amps)
        put(p + "W", watts)
        put(p + "VA", abs(watts))
        put(p + "VAR", 0)
        put(p + "PF", (1.0 if self.model == 213 else 100.0) if watts >= 0 else -100.0)
        put(p + "PhV", volts / _ROOT3)
        put(p + "PPV", volts)
        put(p + "Hz", hz)
        for phase, pair in (("A", "AB"), ("B", "BC"), ("C", "CA")):
            put(p + "Aph" + phase, amps)
            put(p + "Wph" + phase, watts / 3)
            put(p + "PhVph" + phase, volts / _ROOT3)
            put(p + ("PhVph" if self.model == 203 else "PPVph") + pair, volts)
        put(p + "TotWhImp", plant.import_wh)
        put(p + "TotWhExp", plant.export_wh)
