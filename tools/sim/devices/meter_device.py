"""The meter at the point of connection: SunSpec model 203 (scaled integers) or 213 (floats), W positive for import."""

import math
import random
from typing import Any

from tools.sim.devices.sunspec_chain import Chain
from tools.sim.measure import A_SF, METER_HZ_SF, V_SF, W_SF, Gauss, MeterSensors, amps
from tools.sim.physics.banks import BanksPlant
from tools.sim.physics.plant import Plant

_ROOT3 = math.sqrt(3.0)
_SCALES = {
    "A_SF": A_SF, "V_SF": V_SF, "Hz_SF": METER_HZ_SF, "W_SF": W_SF, "VA_SF": W_SF, "VAR_SF": W_SF, "PF_SF": -2, "TotWh_SF": 0,
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

    def __init__(self, plant: Plant | BanksPlant, model: int = 203, rng: random.Random | None = None) -> None:
        self.sensors = MeterSensors(plant, Gauss(rng or random.Random(1), plant.options.measurement_noise))
        self.plant = plant
        self.model = model
        self.chain = Chain(models(model))
        self.refresh()

    def refresh(self) -> None:
        """Bring the registers up to date with the physics."""
        plant = self.plant
        volts, watts, hz = self.sensors.volts(), self.sensors.watts(), self.sensors.hertz()
        current = amps(watts, volts)
        p = f"{self.model}."
        put = self.chain.put
        put(p + "A", 3 * current)
        put(p + "W", watts)
        put(p + "VA", abs(watts))
        put(p + "VAR", 0)
        put(p + "PF", (1.0 if self.model == 213 else 100.0) if watts >= 0 else -100.0)
        put(p + "PhV", volts / _ROOT3)
        put(p + "PPV", volts)
        put(p + "Hz", hz)
        shares = self.sensors.shares()
        for phase, pair, share in zip("ABC", ("AB", "BC", "CA"), shares, strict=True):
            put(p + "Aph" + phase, current)
            put(p + "Wph" + phase, watts / 3 if sum(shares) > 2.999 else plant.grid_w * share / 3)
            put(p + "PhVph" + phase, volts / _ROOT3)
            put(p + ("PhVph" if self.model == 203 else "PPVph") + pair, volts)
        put(p + "TotWhImp", plant.import_wh)
        put(p + "TotWhExp", plant.export_wh)
