"""A plant of several banks: batteries in parallel on one DC bus each, with the inverters that hang on it, on one AC site.

Currents of batteries in parallel share by voltage and resistance, so unequal ones move charge between them.  A battery and an
inverter look to their devices like a whole plant (Plant's names), so that the same devices speak for one and for several.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from tools.sim.physics.grid import Surroundings
from tools.sim.physics.pack import Pack
from tools.sim.physics.pcs import OFF, RUNNING, STANDBY
from tools.sim.physics.plant import BMS_STEP_S, CONTACTOR_S, PlantOptions

MOST = 4  # banks, and batteries and inverters of a site


class BankLayout(NamedTuple):
    """Who is in a bank, by name; options: PlantOptions' fields that differ from the site's."""

    name: str
    batteries: tuple[str, ...]
    inverters: tuple[str, ...]
    options: dict[str, Any]

    def without(self, names: Iterable[str]) -> "BankLayout":
        """The same, where the site's options of these names go before its own."""
        left = {name: value for name, value in self.options.items() if name not in set(names)}
        return self._replace(options=left)


def one_of_each(count: int) -> tuple[BankLayout, ...]:
    """So many banks of one battery and one inverter each."""
    return tuple(BankLayout(name, (f"bms_{name}",), (f"pcs_{name}",), {}) for name in "abcd"[:count])


class Battery:
    """A battery behind its own contactors, with its BMS; `options` and the rest are what its CAN node asks of a plant."""

    def __init__(self, name: str, options: PlantOptions, seed: int) -> None:
        self.name = name
        self.options = options
        self.pack = options.pack()
        self.bms = options.bms(self.pack, seed + 1)
        self.contactor_wanted = False
        self.contactor_closed = False
        self.contactor_stuck = False
        self._moving_s = 0.0
        self._bms_s = 0.0

    @property
    def joined(self) -> bool:
        """Whether it is on its DC bus."""
        return self.contactor_closed and self.bms.relay_closed and not self.bms.empty_open

    def move(self, dt_s: float) -> None:
        """The contactors follow the command, in their own time."""
        if self.contactor_wanted == self.contactor_closed or self.contactor_stuck:
            self._moving_s = 0.0
            return
        self._moving_s += dt_s
        if self._moving_s >= CONTACTOR_S:
            self._moving_s = 0.0
            self.contactor_closed = self.contactor_wanted

    def protect(self, dt_s: float) -> None:
        """The BMS looks at it."""
        self._bms_s += dt_s
        if self._bms_s >= BMS_STEP_S:
            self.bms.step(self._bms_s)
            self._bms_s = 0.0


class DcBus:
    """What an inverter sees at its DC terminals: the bank's voltage, its own current, the bank's charge."""

    def __init__(self, batteries: Sequence[Battery]) -> None:
        self._batteries = batteries
        self.voltage_v = batteries[0].pack.voltage_v
        self.current_a = 0.0

    @property
    def soc(self) -> float:
        """Mean of the batteries, weighted by what they hold; 1 is full."""
        packs = [one.pack for one in self._batteries]
        return sum(pack.soc * pack.capacity_ah for pack in packs) / sum(pack.capacity_ah for pack in packs)

    @property
    def temperature_c(self) -> float:
        """Of the hottest."""
        return max(one.pack.temperature_c for one in self._batteries)

    def stored_wh(self) -> float:
        """Of all of them."""
        return sum(one.pack.stored_wh() for one in self._batteries)


class Inverter:
    """An inverter on its bank's DC bus and on the site's AC side; what its Modbus device asks of a plant."""

    def __init__(self, name: str, options: PlantOptions, batteries: Sequence[Battery], site: Surroundings) -> None:
        self.name = name
        self.options = replace(options, energy_kwh=sum(one.options.energy_kwh for one in batteries))
        self.pcs = options.pcs()
        self.pack = DcBus(batteries)
        self._site = site

    @property
    def grid_present(self) -> bool:
        """As the site's."""
        return self._site.grid_present

    @property
    def grid_v(self) -> float:
        """As the site's."""
        return self._site.grid_v

    @property
    def grid_hz(self) -> float:
        """As the site's."""
        return self._site.grid_hz

    @property
    def grid_w(self) -> float:
        """As the site's."""
        return self._site.grid_w

    @property
    def time_s(self) -> float:
        """As the site's."""
        return self._site.time_s


class Bank:
    """Batteries and inverters on one DC bus; `pack` and `pcs` are them as one."""

    def __init__(self, layout: BankLayout, options: PlantOptions, site: Surroundings, seed: int) -> None:
        own = replace(options, **layout.options)
        self.name = layout.name
        self.batteries = [Battery(name, own, seed + 10 * n) for n, name in enumerate(layout.batteries)]
        self.inverters = [Inverter(name, own, self.batteries, site) for name in layout.inverters]
        self.pcs = AllInverters(self.inverters)
        self.pack = DcBus(self.batteries)
        self._site = site

    @property
    def time_s(self) -> float:
        """As the site's."""
        return self._site.time_s

    def step(self, dt_s: float, grid_present: bool, island_load_w: float) -> None:
        """Let time pass; island_load_w: what each inverter would have to carry without a grid."""
        joined = [one.pack for one in self.batteries if one.joined]
        conductance = sum(1.0 / pack.r0_ohm for pack in joined)
        short_a = sum(pack.emf_v / pack.r0_ohm for pack in joined)
        # Three quarters of the maximum-power point: no inverter works beyond it.
        most_w = 0.1875 * short_a * short_a / conductance / len(self.inverters) if joined else 0.0
        for one in self.inverters:
            one.pcs.dc_present = bool(joined)
            one.pcs.grid_present = grid_present
            one.pcs.step(dt_s, island_load_w, most_w)
        watts = sum(one.pcs.dc_power_w() for one in self.inverters)
        if joined:
            root = max(0.0, short_a * short_a - 4.0 * conductance * watts)
            volts = (short_a + math.sqrt(root)) / (2.0 * conductance)
        for battery in self.batteries:
            pack = battery.pack
            pack.step(dt_s, (pack.emf_v - volts) / pack.r0_ohm if battery.joined else 0.0)
            battery.protect(dt_s)
        self._bus(joined)

    def _bus(self, joined: list[Pack]) -> None:
        """What the inverters see of it."""
        packs = joined or [self.batteries[0].pack]
        volts = sum(pack.voltage_v for pack in packs) / len(packs)
        for one in self.inverters:
            one.pack.voltage_v = volts
            one.pack.current_a = one.pcs.dc_power_w() / volts if joined else 0.0
        self.pack.voltage_v = volts
        self.pack.current_a = sum(one.pack.current_a for one in self.batteries)


class AllInverters:
    """The inverters of a bank, or of the site, as one: sums."""

    def __init__(self, inverters: Sequence[Inverter]) -> None:
        self.each = [one.pcs for one in inverters]
        self.efficiency = self.each[0].efficiency
        self.rated_w = sum(pcs.rated_w for pcs in self.each)

    def _sum(self, name: str) -> float:
        return sum(getattr(pcs, name) for pcs in self.each)

    @property
    def power_w(self) -> float:
        """AC, + discharge."""
        return self._sum("power_w")

    @property
    def setpoint_w(self) -> float:
        """What they were told to do."""
        return self._sum("setpoint_w")

    @property
    def wh_in(self) -> float:
        """AC energy taken in."""
        return self._sum("wh_in")

    @property
    def wh_out(self) -> float:
        """AC energy given."""
        return self._sum("wh_out")

    @property
    def tripped(self) -> bool:
        """Whether the watchdog of one has."""
        return any(pcs.tripped for pcs in self.each)

    @property
    def watchdog_trips(self) -> int:
        """Of all."""
        return sum(pcs.watchdog_trips for pcs in self.each)

    @property
    def state(self) -> int:
        """That of the one that is furthest on; FAULT only if all are."""
        states = [pcs.state for pcs in self.each]
        return max((s for s in states if s in (RUNNING, STANDBY)), default=min(states, default=OFF))

    def in_force_w(self) -> float:
        """The setpoints that they follow now."""
        return sum(pcs.in_force_w() for pcs in self.each)

    def limits_w(self) -> tuple[float, float]:
        """(charge, discharge) power that they can take and give now."""
        limits = [pcs.limits_w() for pcs in self.each]
        return sum(charge for charge, _ in limits), sum(discharge for _, discharge in limits)


class BanksPlant(Surroundings):
    """The whole site.  `step(dt_s)` lets time pass; nothing else does.

    `batteries` and `inverters` are in the banks' order.  `contactor_wanted` is one output for all of them; whoever has an
    output for each sets it in the batteries.
    """

    def __init__(self, layouts: Sequence[BankLayout], options: PlantOptions | None = None, seed: int = 1) -> None:
        """Raises ValueError for a site that cannot be."""
        o = self.options = options or PlantOptions()
        super().__init__(seed, **o.surroundings())
        _check(layouts)
        self.banks = [Bank(layout, o, self, seed + 100 * n) for n, layout in enumerate(layouts)]
        self.batteries = [one for bank in self.banks for one in bank.batteries]
        self.inverters = [one for bank in self.banks for one in bank.inverters]
        self.pcs = AllInverters(self.inverters)
        self.pack = DcBus(self.batteries)
        self.balance(0.0, 0.0, False)

    def step(self, dt_s: float) -> None:
        """Let `dt_s` seconds pass."""
        self.pass_time(dt_s)
        for battery in self.batteries:
            battery.move(dt_s)
        running = sum(one.pcs.state == RUNNING for one in self.inverters) or 1
        share_w = self.net_load_w() / running
        for bank in self.banks:
            bank.step(dt_s, self.grid_present, share_w)
        self.balance(dt_s, self.pcs.power_w, any(one.pcs.state == RUNNING for one in self.inverters))
        self.pack.voltage_v = sum(bank.pack.voltage_v for bank in self.banks) / len(self.banks)
        self.pack.current_a = sum(one.pack.current_a for one in self.batteries)

    @property
    def contactor_wanted(self) -> bool:
        """Whether all are to close."""
        return all(one.contactor_wanted for one in self.batteries)

    @contactor_wanted.setter
    def contactor_wanted(self, on: bool) -> None:
        for one in self.batteries:
            one.contactor_wanted = on

    @property
    def contactor_closed(self) -> bool:
        """Whether all are."""
        return all(one.contactor_closed for one in self.batteries)

    def of(self, name: str) -> tuple[list[Battery], list[Inverter]]:
        """The batteries and inverters of a bank, the device of that name, or all ("").  Raises ValueError."""
        for bank in self.banks:
            if bank.name == name:
                return bank.batteries, bank.inverters
        batteries = [one for one in self.batteries if name in ("", one.name)]
        inverters = [one for one in self.inverters if name in ("", one.name)]
        if not batteries and not inverters:
            raise ValueError(f"{name!r} is no bank or device of this site; there are {', '.join(self.names())}")
        return batteries, inverters

    def names(self) -> list[str]:
        """Of banks, batteries and inverters."""
        banks = [bank.name for bank in self.banks]
        return banks + [battery.name for battery in self.batteries] + [inverter.name for inverter in self.inverters]

    def set(self, name: str, value: float, of: str = "") -> None:
        """As Plant's; of: a bank, a battery or an inverter alone."""
        batteries, inverters = self.of(of)
        packs = [one.pack for one in batteries]
        if name == "soc":
            for pack in packs:
                pack.rest(value)
        elif name == "temperature":
            for pack in packs:
                pack.temperature_c = value
        elif name == "ambient":
            for pack in packs:
                pack.ambient_c = value
            for one in inverters:
                one.pcs.ambient_c = value
        elif name == "pcs_derate":
            for one in inverters:
                one.pcs.charge_fraction = one.pcs.discharge_fraction = min(1.0, max(0.0, value))
        else:
            super().set(name, value)


def _check(layouts: Sequence[BankLayout]) -> None:
    names = [name for layout in layouts for name in (layout.name, *layout.batteries, *layout.inverters)]
    batteries = sum(len(layout.batteries) for layout in layouts)
    inverters = sum(len(layout.inverters) for layout in layouts)
    if not layouts or not all(layout.batteries and layout.inverters for layout in layouts):
        raise ValueError("a site has at least one bank, and a bank at least one battery and one inverter")
    if max(len(layouts), batteries, inverters) > MOST:
        raise ValueError(f"{len(layouts)} banks, {batteries} batteries, {inverters} inverters: at most {MOST} of each")
    if len(set(names)) != len(names):
        raise ValueError(f"a name stands twice: {', '.join(sorted(names))}")

