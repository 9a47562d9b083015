"""The modes and the one transition table: what a person or a program may ask for, from each mode."""

from micropython import const

from firmware.names import Names


class Mode(Names):
    """What the system is doing."""

    STANDBY = 0  # powered, contactors open, no flow
    IDLE = 1  # connected, ready, 0 W
    CHARGE = 2
    DISCHARGE = 3
    EMERGENCY = 4  # latched: 0 W, contactors open, survives a reboot
    MAINTENANCE = 5  # service: only explicit low-level commands
    names = ("STANDBY", "IDLE", "CHARGE", "DISCHARGE", "EMERGENCY", "MAINTENANCE")


# rows: from; columns: to, in the order of Mode.  "y" allowed, "." already there, else the reason below.
_TABLE = const((
    # SICDEM
    ".yffyy",  # STANDBY
    "y.yyyy",  # IDLE
    "yy.yys",  # CHARGE
    "yyy.ys",  # DISCHARGE
    "rrrr.r",  # EMERGENCY
    "ymmmy.",  # MAINTENANCE
))

_LETTERS = const("fsrm")
_REASONS = const((  # in their order
    "start() it first",
    "stop the operation first (stop_operation or stop)",
    "only reset_emergency() leaves EMERGENCY, once its cause is gone",
    "MAINTENANCE leaves to STANDBY only",
))  # fmt: skip


def refusal(now: int, wanted: int) -> str:
    """Why the transition is refused; "" if it is allowed or already there."""
    cell = _TABLE[now][wanted]
    if cell in "y.":
        return ""
    return "%s to %s is refused: %s" % (Mode.name(now), Mode.name(wanted), _REASONS[_LETTERS.index(cell)])
