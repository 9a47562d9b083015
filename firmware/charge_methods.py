"""The methods of charging: codes and names."""

from firmware.names import Names


class ChargeMethod(Names):
    """How the battery is charged."""

    CC_CV = 0  # current-limited, then the voltage held until the tail current
    PULSED = 1  # current for `pulse_duty` % of `pulse_period`, then rest
    MULTI_STAGE = 2  # a table of SoC to current
    TRICKLE = 3  # a small current to the target
    names = ("CC_CV", "PULSED", "MULTI_STAGE", "TRICKLE")
