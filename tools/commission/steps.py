"""The checklist, a row a step: what it is, what must have passed before, what a person is asked to do, and what does the work.

The order is the safe one: what stops the site is tried before power moves, little power before much.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tools.commission import bounds, contacts, ems_bus, faces, flows, inputs, losses, scales, still
from tools.commission.bench import Bench

Acts = tuple[tuple[str, ...], ...]
Hands = dict[str, tuple[str, Acts]]


class Step(NamedTuple):
    """A row.  hands: by name, what a person is asked to do, and what the simulator's hand does (a line of !help each)."""

    id: str
    title: str
    work: Callable[[Bench], Awaitable[None]]
    needs: tuple[str, ...] = ()  # steps that must have passed
    standby: bool = True  # it begins in STANDBY; False: as the step before has left it
    hands: Hands = {}
    each: str = ""  # of several banks, who is tried by itself: see Bench.turns


_PRESS: Hands = {
    "press": ("Press the emergency stop, and leave it pressed.", (("inject", "estop"),)),
    "release": ("Release the emergency stop.", (("clear", "estop"),)),
}
_LOAD: Hands = {
    "less_load": ("Switch loads off, until the site takes less than {kw} kW.", (("load", "{kw}"),)),
    "load_back": ("Switch the loads on again.", (("load", "back"),)),
}
_PLUG: Hands = {
    "unplug": ("Pull the data cable of {name} ({where}).", (("inject", "{act}", "{name}"),)),
    "plug": ("Plug the data cable of {name} in again.", (("clear", "{act}", "{name}"),)),
}
_GRID: Hands = {
    "grid_off": (
        "Open the switch at the point of connection: the site has no grid (board and devices stay supplied).",
        (("inject", "grid_lost"),),
    ),
    "grid_on": ("Close that switch again.", (("clear", "grid_lost"),)),
}
_CUT: Hands = {
    "cut": ("Take the board's supply away for five seconds, then give it back.", (("kill",), ("wait", "2"), ("restart",)))
}
_RELAYS: Hands = {
    "limit": ("{move} the grid operator's contact {contact} ({where}), and leave it so.", (("pin", "{pin}", "{level}"),)),
    "free": ("{move} it again ({contact}, {where}).", (("pin", "{pin}", "{level}"),)),
}
_RESET: Hands = {"reset": ("Press the board's reset button.", (("restart", "HARD_RESET"),))}

_SAFE = ("rest", "estop", "contactor")  # before anything moves more than a little
_RIGHT = (*_SAFE, "direction")

STEPS = (
    Step("identity", "Identity and hashes", still.identity, standby=False),
    Step("leftovers", "Service overrides left behind", still.leftovers, standby=False),
    Step("clock", "Clock", still.clock),
    Step("polls", "Every device answers", still.polls),
    Step("rest", "Sensors at rest", still.rest, ("polls",), each="bank"),
    Step("estop", "Emergency stop", inputs.estop, ("rest",), hands=_PRESS),
    Step("contactor", "Contactor and its feedback", inputs.contactor, ("rest", "estop"), each="io"),
    Step("direction", "Direction and phase of every meter and the inverter", flows.direction, _SAFE, each="bank"),
    Step("break_current", "The current that the contactors break", inputs.break_current, _RIGHT, each="bank"),
    Step("estop_power", "Emergency stop under power", inputs.estop_power, _RIGHT, hands=_PRESS),
    Step("response", "Step response", flows.response, _RIGHT, each="bank"),
    Step("scale", "Scale at 5, 25, 50 and 100 %", scales.scale, _RIGHT, each="bank"),
    Step("limits", "Limits that move", bounds.limits, _RIGHT, each="bank"),
    Step("export", "Export limit", bounds.export, _RIGHT, hands=_LOAD),
    Step("thousand", "1,000 answers of every bus", still.thousand, ("polls",)),
    Step("watchdog", "The inverter's own watchdog", losses.watchdog, _RIGHT, each="bank"),
    Step("loss", "Loss of each device", losses.loss, _RIGHT, hands=_PLUG, each="both"),
    Step("grid", "Loss of the grid", losses.grid, _RIGHT, hands=_GRID),
    Step("relays", "The grid operator's relays", contacts.relays, _RIGHT, hands=_RELAYS),
    Step("remote", "EMS on Modbus", faces.remote, _RIGHT),
    Step("ems_can", "EMS on CAN", ems_bus.ems_can, _RIGHT),
    Step("power_cut", "Power cut", faces.power_cut, _RIGHT, hands=_CUT),
    Step("reset", "Reset during an emergency", faces.reset, ("estop",), hands=_RESET),
    Step("handover", "Nothing of commissioning is left", still.leftovers),
)
BY_ID = {step.id: step for step in STEPS}
