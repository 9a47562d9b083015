"""A BMS that finds its state of charge anew, and a calm in which the manager has to make up its mind: by rule, or by a call.

Counted and reported part so that the counted one forbids what is asked for: at the floor for a discharge, at the
ceiling for a charge.  Nothing else happens meanwhile, or eleven minutes without a disturbance would never come; but a
sensor may be broken that costs nothing of what is asked for.
"""

import random
from typing import Any

from firmware.charging import ChargeParams
from firmware.discharging import DischargeParams
from firmware.errors import PowerError
from firmware.modes import Mode
from tools.soak.wire import COSTS, SENSORS, Wire

CALM_MS = 780000  # 30 s until it counts as quiet, 11 minutes, and some
LEAST_PERIOD_MS = 200  # with shorter cycles an era would be one calm
_REPORTED_MS = 5000  # the BMS has said it
_BROKEN_SHARE = 0.5  # so often a sensor is broken all the while
_ACCEPT_SHARE = 0.3  # so often a person accepts it
_KW = 20.0


class Recalibration:
    """One calm of one era.  `step` now and then; `over`: things may happen again."""

    def __init__(self, manager: Any, plant: Any, wire: Wire, rng: random.Random) -> None:
        self._manager = manager
        self._plant = plant
        self._wire = wire
        self.over = False
        self._begun_ms = -1
        self._jumped = False
        config = manager.config
        discharge = rng.random() < 0.5
        if config.min_soc < 6.0 or not config.allow_grid_export:
            discharge = False
        elif config.max_soc > 97.0 or not config.allow_grid_charging:
            discharge = True
        self._kw = _KW if discharge else -_KW
        self._counted = config.min_soc - rng.uniform(1.0, 4.0) if discharge else config.max_soc + rng.uniform(1.0, 2.5)
        self._found = rng.uniform(48.0, 60.0)
        direction = 1 if discharge else 2
        harmless = [slot for slot in SENSORS if not COSTS.get(slot, 0) & direction]
        self._broken = rng.choice(harmless) if rng.random() < _BROKEN_SHARE else -1
        self._accept_ms = rng.uniform(20000, 500000) if rng.random() < _ACCEPT_SHARE else CALM_MS

    def begin(self) -> str:
        """The calm begins: the ordinary world, and a battery near one of its ends."""
        plant = self._plant
        for name, value in (("load_kw", 10.0), ("pv_kw", 0.0), ("pcs_derate", 1.0), ("soc", self._counted)):
            plant.set(name, value)
        plant.bms.reset()
        manager = self._manager
        manager.set_grid_connection(2)
        for one in manager.curtailments():
            manager.limit(one["owner"])
        manager.set_charge_params(ChargeParams())
        manager.set_discharge_params(DischargeParams())
        manager.enable_scheduling(False)
        manager.resume()  # a person's pause too, which no release() ends
        manager.release("remote")
        if self._broken >= 0:
            self._wire.refuse(self._broken)
        return f"a calm begins at {self._counted:.1f} %, broken sensor {self._broken}"

    def step(self, now_ms: int, watch: Any) -> str:
        """Go on; what was done, in words, "" for nothing."""
        if self._begun_ms < 0:
            self._begun_ms = now_ms
            watch.quiet_ms = watch.honest_ms = 0
        passed = now_ms - self._begun_ms
        if passed > CALM_MS:
            self.over = True
            self._manager.release("remote")
            self._manager.enable_scheduling(True)
            return "the calm ends"
        if not self._jumped:
            if passed < _REPORTED_MS:
                return ""
            return self._jump(watch)
        self._ask()
        if passed > self._accept_ms:
            self._accept_ms = CALM_MS
            self._manager.accept_soc()
            watch.accepted = True
            return "accept_soc()"
        return ""

    def _jump(self, watch: Any) -> str:
        """What was counted is what the BMS said near the end; now it says something else."""
        self._jumped = True
        try:
            self._manager.accept_soc()
        except PowerError:
            pass  # nothing was ever reported: the first report is believed
        self._plant.set("soc", self._found)
        watch.quiet_ms = watch.honest_ms = 0
        return f"the BMS recalibrates to {self._found:.1f} %, {self._kw} kW are asked for"

    def _ask(self) -> None:
        manager = self._manager
        most = manager.config.max_discharge_power if self._kw > 0 else manager.config.max_charge_power
        try:
            if manager.mode == Mode.EMERGENCY:
                manager.reset_emergency()
            if manager.mode == Mode.MAINTENANCE:
                manager.stop()
            if manager.mode == Mode.STANDBY:
                manager.start()
            size = min(most, abs(self._kw))
            manager.claim("remote", size if self._kw > 0 else -size, 86400, "soak")
        except PowerError:
            pass  # not yet
