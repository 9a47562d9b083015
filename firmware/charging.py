"""Charging: its parameters, the four methods, and when a charge is done.

The method shapes limits, it does not fight them: current and voltage of the parameters are limit rows, so the
constant-voltage phase is the pack-voltage row holding the voltage, and every other limit still intersects.
"""

from micropython import const

from firmware import image as im
from firmware import requests as rq
from firmware.checks import Checked
from firmware.image import parts
from firmware.names import Names

DONE_BAND = const(5)  # 0.01 %: the taper approaches the target for ever, this near is there
_SHORT_MS = const(100000)  # what is left of a pulse: 100 s at the steepest ramp are within 30 bits
_TAIL_MS = const(5000)  # the tail current must hold this long
_STAGES_MAX = const(8)
_NEAR_V = const(995)  # 0.1 %: the voltage counts as held from here


class ChargeMethod(Names):
    """How the battery is charged."""

    CC_CV = 0  # current-limited, then the voltage held until the tail current
    PULSED = 1  # current for `pulse_duty` % of `pulse_period`, then rest
    MULTI_STAGE = 2  # a table of SoC to current
    TRICKLE = 3  # a small current to the target
    names = ("CC_CV", "PULSED", "MULTI_STAGE", "TRICKLE")


class ChargeParams(Checked):
    """How to charge; 0 in a maximum means "as the battery and the configuration allow"."""

    WHERE = "charge"
    ROWS = (
        ("charge_current_max", "float", 0.0, 0, 1000, "A, 0: as the BMS allows"),
        ("charge_voltage_max", "float", 0.0, 0, 1500, "V of the pack, 0: as configuration and BMS allow"),
        ("charge_power_max", "float", 0.0, 0, 1000, "kW AC, 0: as configured"),
        ("method", "int", 0, 0, 3, "ChargeMethod: 0 CC_CV, 1 PULSED, 2 MULTI_STAGE, 3 TRICKLE"),
        ("enable_balancing", "bool", True, 0, 1, ""),
        ("timeout_minutes", "int", 0, 0, 10080, "min, 0: none"),
        ("target_soc", "float", 0.0, 0, 100, "%, 0: max_soc"),
        ("tail_current", "float", 0.0, 0, 1000, "A, 0: a twentieth of the capacity (C/20)"),
        ("pulse_period", "float", 60.0, 1, 3600, "s"),
        ("pulse_duty", "float", 80.0, 1, 99, "% of the period with current"),
        ("trickle_current", "float", 0.0, 0, 100, "A, 0: C/50"),
        ("stages", "any", (), 0, 0, "up to 8 pairs (SoC % up to which, 0.1 to 1000 A), SoC rising"),
    )

    def _check_together(self, fields: dict, errors: list) -> None:
        before, stages = 0.0, fields["stages"]
        if not _is_pairs(stages):
            raise ValueError("charge.stages = %r: must be a list of up to %d pairs (SoC %%, A)" % (stages, _STAGES_MAX))
        if len(stages) > _STAGES_MAX:
            errors.append("charge.stages: %d stages: allowed are 0 to %d" % (len(stages), _STAGES_MAX))
        for stage in stages:
            if len(stage) != 2 or not before < stage[0] <= 100 or not 0.1 <= stage[1] <= 1000:
                errors.append("charge.stages: %r: must be (SoC above %s, at most 100 %%; 0.1 to 1000 A)" % (stage, before))
                return
            before = stage[0]
        if fields["method"] == ChargeMethod.MULTI_STAGE and not stages:
            errors.append("charge.stages: is empty: MULTI_STAGE needs 1 to 8 pairs (SoC %, A)")


def _near(voltage: int) -> int:
    """From where a voltage counts as held.  Of the bound, as a thousand of a measurement that is NO_VALUE is no small integer."""
    return (voltage * _NEAR_V + 999) // 1000


def _is_pairs(stages) -> bool:
    """A list or tuple, and in it lists or tuples of numbers: what can be looked at without a TypeError."""
    return isinstance(stages, (list, tuple)) and all(
        isinstance(stage, (list, tuple)) and all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in stage)
        for stage in stages
    )


def _deciamps(amps: float, default: int) -> int:
    """A current of the parameters in 0.1 A; exactly 0 is the default, and less than 0.1 A is no current."""
    return default if amps == 0 else parts(amps, 10)


class Charger:
    """Runs one charge at a time.  `step` is called by the cycle: integers only, allocates nothing."""

    _stages: list | tuple = ()  # of the class, for hardly anybody gives any

    def __init__(self, params: ChargeParams, capacity_ah: float) -> None:
        self._method = params.method
        self._balance = 1 if params.enable_balancing else 0
        self._current = _deciamps(params.charge_current_max, im.FREE)
        self._tail = _deciamps(params.tail_current, max(1, int(capacity_ah / 2)))
        self._trickle = _deciamps(params.trickle_current, max(1, int(capacity_ah / 5)))
        self._period_ms = int(params.pulse_period * 1000)
        self._on_ms = int(params.pulse_period * params.pulse_duty * 10)
        self._voltage = params.charge_voltage_max
        self._flowed = False  # below the voltage that ends it: what then tapers is full
        if params.stages:
            self._stages = [(parts(soc, 100), parts(amps, 10)) for soc, amps in params.stages]
        self._phase_ms = 0
        self._falls = False  # the pulse's current is on its way to 0
        self._tail_ms = 0

    def begin(self) -> None:
        """A new charge starts."""
        self._phase_ms = 0
        self._falls = False
        self._tail_ms = 0
        self._flowed = False

    def go_on(self, before: "Charger") -> None:
        """A charge goes on with new parameters: parameters that are set every second begin nothing anew."""
        if self._method == before._method:
            self._phase_ms = before._phase_ms
            self._falls = before._falls
        if self._tail == before._tail:
            self._tail_ms = before._tail_ms
        if self._voltage == before._voltage:
            self._flowed = before._flowed

    def rest(self, par) -> None:
        """No method shapes the limits, until `step` does."""
        par[im.OP_I_CHG] = self._current
        par[im.OP_SOC_MAX] = im.FREE

    def step(self, now, par, watts: int, target: int) -> int:
        """This cycle's request in W (<= 0), setting OP_I_CHG for the method; `done` afterwards says if it is over."""
        par[im.OP_SOC_MAX] = target
        if target >= par[im.PAR_SOC_MAX]:
            par[im.OP_SOC_MAX] = im.FREE  # the ceiling itself bounds it, which a wanted full charge lifts
        now[im.CMD_BALANCE] = self._balance
        amps = self._current
        request = -watts
        method = self._method
        if method == 1:
            if self._rests(now, par):
                request = 0
            elif self._on_ms - self._phase_ms < _SHORT_MS:  # no higher than it can fall in what is left of the pulse
                request = max(request, -((self._on_ms - self._phase_ms) // 10 * (par[im.PAR_RAMP_DOWN] // 10) // 10))
        elif method == 2:
            amps = self._stage_current(now[im.SOC_HIGH])
        elif method == 3:
            if self._trickle < amps:
                amps = self._trickle
        par[im.OP_I_CHG] = amps
        return request

    def _rests(self, now, par) -> bool:
        """Whether the pulse is over: the current is to be 0 when the duty is, so it falls in time to get there by the ramp."""
        self._phase_ms += now[im.DT]
        if self._phase_ms >= self._period_ms:
            self._phase_ms %= self._period_ms
            self._falls = False
        falling_ms = -now[im.CMD_P] * 100 // par[im.PAR_RAMP_DOWN] * 10
        if self._on_ms - self._phase_ms <= falling_ms:
            self._falls = True
        return self._falls or self._phase_ms >= self._on_ms

    def _stage_current(self, soc: int) -> int:
        for stage in self._stages:
            if soc < stage[0]:
                return stage[1] if stage[1] < self._current else self._current
        return 0

    def done(self, now, par, target: int, batteries: list) -> int:
        """How it has ended, a requests.END_*: target, stages used up, the voltage held at the tail current; 0: it goes on.

        batteries, (now, par) each: of several each holds a voltage of its own.  One that was there before anything flowed is no
        sign of a full battery: it may be mistyped.
        """
        if target >= par[im.PAR_SOC_MAX] and now[im.BMS_REQUESTS] > 0 and now[im.BMS_REQUESTS] & im.BMS_REQ_FULL_CHARGE:
            target = 10000
        if now[im.SOC] != im.NO_VALUE and now[im.SOC_HIGH] >= target - DONE_BAND:
            return rq.END_TARGET
        if self._method == 2 and now[im.SOC_HIGH] >= self._stages[-1][0] and not par[im.OP_I_CHG]:
            return rq.END_STAGES  # of a charge: a constant power has none; and a current that is limited to 0 A is no end
        held = goes_on = False
        for its, own in batteries:
            if self._holds(its, own):
                held = True
            elif its[im.GATE] & im.GATE_CLOSED == 0 and its[im.LIMIT_CHG]:
                goes_on = True
        if self._method == 1 and (self._falls or self._phase_ms >= self._on_ms):
            return 0  # a pulse's rest says nothing
        if held and not goes_on and now[im.AGE + im.SEQ_BMS] <= par[im.PAR_STALE_BMS] and -self._tail <= now[im.BMS_I] <= 0:
            self._tail_ms += now[im.DT]
        else:
            self._tail_ms = 0
        if self._tail_ms < _TAIL_MS:
            return 0
        return rq.END_TAIL if self._flowed else rq.END_HIGH

    def _holds(self, now, par) -> bool:
        """A battery is at the voltage that ends a charge."""
        ceiling = par[im.PAR_V_MAX]
        if par[im.OP_V_MAX] < ceiling:
            ceiling = par[im.OP_V_MAX]
        volts = now[im.BMS_V]
        if 0 < volts - volts // 32 <= now[im.BMS_V_MAX] < ceiling:  # far below what it has is a stop, no voltage that is reached
            ceiling = now[im.BMS_V_MAX]
        if now[im.CMD_P] < 0 and volts <= ceiling:
            self._flowed = True
        # in a pack out of balance the fullest cell ends the charge
        return volts >= _near(ceiling) or now[im.CELL_V_MAX] >= _near(par[im.PAR_CELL_MAX])
