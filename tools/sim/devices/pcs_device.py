"""The PCS on the wire: SunSpec models 1, 701 to 704 and 713 to 715 over the physics of the inverter.

Signs as SunSpec has them: 701 W is positive for generation (discharge), 704 WSet is negative for charging.
"""

import math
import random
from collections.abc import Callable
from typing import Any

from pymodbus.constants import ExcCodes

from tools.sim.devices.sunspec_chain import Chain
from tools.sim.measure import A_SF, HZ_SF, TMP_SF, V_SF, W_SF, Gauss, InverterSensors, amps
from tools.sim.physics import pcs as physics
from tools.sim.physics.banks import Inverter
from tools.sim.physics.plant import Plant

_INV_STATE = {
    physics.OFF: 0,
    physics.STARTING: 2,
    physics.STANDBY: 7,
    physics.RUNNING: 3,
    physics.FAULT: 6,
}
_THROTTLED = 4
_ALARM_GRID_DISCONNECT = 1 << 4
_STOP, _START, _ENTER_STANDBY, _EXIT_STANDBY = range(4)
_ROOT3 = math.sqrt(3.0)
# The points of the writable models that act; the others are not implemented here and say so.
_WRITABLE = (
    "702.WMax", "702.WChaRteMax", "702.WDisChaRteMax", "703.ES", "703.ESDlyTms",
    "704.WSetEna", "704.WSetMod", "704.WSet", "704.WSetRvrt", "704.WSetPct", "704.WSetEnaRvrt", "704.WSetRvrtTms",
    "715.ControllerHb", "715.AlarmReset", "715.OpCtl",
)


def models(plant: Plant | Inverter) -> list[tuple[int, dict[str, Any]]]:
    """The chain of models with their constant values (raw, as on the wire)."""
    rated = round(plant.pcs.rated_w / 10)
    common = {"Mn": "Simulated", "Md": "PCS 100", "Opt": "", "Vr": "1.0", "SN": "SIM-PCS-1", "DA": 1}
    return [
        (1, common),
        (701, {
            "ACType": 2, "DERMode": 1, "A_SF": A_SF, "V_SF": V_SF, "Hz_SF": HZ_SF, "W_SF": W_SF, "PF_SF": -3,
            "VA_SF": W_SF, "Var_SF": W_SF, "TotWh_SF": 0, "TotVarh_SF": 0, "Tmp_SF": TMP_SF,
        }),
        (702, {
            "WMaxRtg": rated, "WChaRteMaxRtg": rated, "WDisChaRteMaxRtg": rated, "VAMaxRtg": rated,
            "VNomRtg": 4000, "AMaxRtg": 1500, "CtrlModes": 2, "WMax": rated, "WChaRteMax": rated,
            "WDisChaRteMax": rated, "W_SF": W_SF, "PF_SF": -3, "VA_SF": W_SF, "Var_SF": W_SF, "V_SF": V_SF, "A_SF": A_SF, "S_SF": 0,
        }),
        (703, {"ES": 1, "ESVHi": 1100, "ESVLo": 900, "ESHzHi": 51000, "ESHzLo": 49000,
               "ESDlyTms": round(plant.pcs.start_s), "V_SF": -1, "Hz_SF": -3}),
        (704, {"WSetEna": 0, "WSetMod": 1, "WSet": 0, "WSetRvrt": 0, "WSetPct": 0, "WSetEnaRvrt": 0,
               "WSetRvrtTms": 0, "WSetRvrtRem": 0, "AntiIslEna": 1, "PF_SF": -3, "WMaxLimPct_SF": -1, "WSet_SF": 0,
               "WSetPct_SF": -1, "VarSet_SF": 1, "VarSetPct_SF": -1}),
        (713, {"Sta": 0, "WH_SF": 1, "Pct_SF": 0}),
        (714, {"PrtAlrms": 0, "NPrt": 1, "DCA_SF": -1, "DCV_SF": -1, "DCW_SF": 1, "DCWH_SF": 0, "Tmp_SF": -1,
               "Prt": [{"PrtTyp": 1, "ID": 1, "IDStr": "BATTERY", "DCSta": 0}]}),
        (715, {"LocRemCtl": 0, "DERHb": 0, "ControllerHb": 0, "AlarmReset": 0,
               "OpCtl": _START if plant.pcs.run else _STOP}),
    ]


class PcsDevice:
    """Between the registers and the physics.  `on_setpoint(watts)` hears every setpoint that comes into force."""

    def __init__(
        self, plant: Plant | Inverter, on_setpoint: Callable[[float], None] | None = None, rng: random.Random | None = None
    ) -> None:
        self.plant = plant
        noise = Gauss(rng or random.Random(1), plant.options.measurement_noise)
        self._sensors = InverterSensors(plant, plant.pcs, plant.pack, noise)
        self.chain = Chain(models(plant))
        self.on_setpoint = on_setpoint
        self.heartbeats = 0
        self.setpoints = 0
        self._allowed: set[int] = set()
        for name in _WRITABLE:
            place = self.chain.places[name]
            self._allowed.update(range(place.address, place.address + place.length))
        self.refresh()

    def refresh(self) -> None:
        """Bring the registers up to date with the physics."""
        self._refresh_ac()
        put = self.chain.put
        plant, pcs = self.plant, self.plant.pcs
        charge, discharge = pcs.limits_w()
        put("702.WChaRteMax", charge)
        put("702.WDisChaRteMax", discharge)
        put("704.WSet", pcs.setpoint_w)
        put("704.WSetEna", pcs.enabled)
        put("704.WSetRvrtRem", math.ceil(pcs.revert_left_s))
        put("713.WHRtg", plant.options.energy_kwh * 1000)
        put("713.WHAvail", plant.pack.stored_wh())
        put("713.SoC", max(0, min(100, int(plant.pack.soc * 100 + 0.5))))
        put("713.SoH", 100)
        current = plant.pack.current_a
        voltage = self._sensors.dc_volts()
        for path in ("714", "714.Prt.0"):
            put(path + ".DCA", current)
            put(path + ".DCW", current * voltage)
        put("714.Prt.0.DCV", voltage)
        put("714.Prt.0.Tmp", plant.pack.temperature_c)
        put("715.DERHb", int(plant.time_s))

    def _refresh_ac(self) -> None:
        put = self.chain.put
        plant, pcs = self.plant, self.plant.pcs
        volts, hz, power = self._sensors.volts(), self._sensors.hertz(), self._sensors.watts()
        charge, discharge = pcs.limits_w()
        throttled = min(charge, discharge) < 0.999 * pcs.rated_w
        state = _INV_STATE[pcs.state]
        put("701.St", 0 if pcs.state in (physics.OFF, physics.FAULT) else 1)
        put("701.InvSt", _THROTTLED if throttled and pcs.state == physics.RUNNING else state)
        put("701.ConnSt", 1 if self._sensors.sees_grid() else 0)
        put("701.Alrm", pcs.alarm | (0 if plant.grid_present else _ALARM_GRID_DISCONNECT))
        put("701.DERMode", 1 if plant.grid_present else 2)
        put("701.W", power)
        put("701.VA", abs(power))
        put("701.Var", 0)
        put("701.PF", 1.0 if power >= 0 else -1.0)
        put("701.A", amps(abs(power), volts))
        put("701.LLV", volts)
        put("701.LNV", volts / _ROOT3)
        put("701.Hz", hz)
        put("701.TotWhInj", pcs.wh_out)
        put("701.TotWhAbs", pcs.wh_in)
        put("701.TmpCab", pcs.ambient_c + 5.0)
        put("701.TmpSnk", pcs.sink_c)
        put("701.ThrotPct", 100.0 * min(charge, discharge) / pcs.rated_w)

    def written(self, address: int, count: int) -> ExcCodes | None:
        """A write has arrived in the registers: let it act, or refuse it."""
        if any(a not in self._allowed for a in range(address, address + count)):
            return ExcCodes.ILLEGAL_VALUE
        chain, pcs = self.chain, self.plant.pcs

        def hit(*names: str) -> bool:
            return any(chain.touches(name, address, count) for name in names)

        if hit("704.WSetRvrt", "704.WSetEnaRvrt", "704.WSetRvrtTms"):
            pcs.revert_to_w = chain.get("704.WSetRvrt")
            pcs.revert_enabled = chain.raw("704.WSetEnaRvrt") == 1
            pcs.revert_after_s = chain.get("704.WSetRvrtTms")
        if hit("704.WSet", "704.WSetEna", "704.WSetMod", "704.WSetPct"):
            refusal = self._setpoint()
            if refusal is not None:
                return refusal
        if hit("715.ControllerHb"):
            self.heartbeats += 1
            pcs.heard()
        if hit("715.OpCtl", "703.ES", "703.ESDlyTms"):
            return self._operate()
        if hit("715.AlarmReset") and chain.raw("715.AlarmReset") == 1:
            chain.put("715.AlarmReset", 0)
        if hit("702.WMax", "702.WChaRteMax", "702.WDisChaRteMax"):
            most = min(chain.get("702.WMax"), pcs.rated_w)
            pcs.charge_fraction = min(chain.get("702.WChaRteMax"), most) / pcs.rated_w
            pcs.discharge_fraction = min(chain.get("702.WDisChaRteMax"), most) / pcs.rated_w
        return None

    def _setpoint(self) -> ExcCodes | None:
        chain, pcs = self.chain, self.plant.pcs
        mode, enable = chain.raw("704.WSetMod"), chain.raw("704.WSetEna")
        if mode not in (0, 1) or enable not in (0, 1):
            return ExcCodes.ILLEGAL_VALUE
        watts = chain.get("704.WSet") if mode == 1 else chain.get("704.WSetPct") / 100.0 * pcs.rated_w
        self.setpoints += 1
        pcs.command(watts, enable == 1)
        if self.on_setpoint is not None:
            self.on_setpoint(watts if enable == 1 else 0.0)
        return None

    def _operate(self) -> ExcCodes | None:
        chain, pcs = self.chain, self.plant.pcs
        control = chain.raw("715.OpCtl")
        if control > _EXIT_STANDBY or chain.raw("703.ES") not in (0, 1):
            return ExcCodes.ILLEGAL_VALUE
        pcs.run = control in (_START, _EXIT_STANDBY) and chain.raw("703.ES") == 1
        pcs.start_s = max(0.1, chain.get("703.ESDlyTms"))
        return None
