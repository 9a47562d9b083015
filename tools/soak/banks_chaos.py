"""The bad days of a site of several batteries and inverters: the same calls of the API, and faults in any of the devices."""

import random
from typing import Any

from firmware import image as im
from tools.sim.virtual.banks import VirtualBanks
from tools.soak.banks_watch import BanksWatch
from tools.soak.chaos import Chaos
from tools.soak.tiny import tiny
from tools.soak.wire import GROUPS, PLAUSIBLE, Wire
from tools.soak.wires import Wires

_OF_BATTERY = ("bms_silent", "bms_silent", "bms_frozen", "cell_over_voltage", "over_temperature")
_OF_INVERTER = ("pcs_silent", "pcs_silent", "pcs_refuses", "pcs_frozen", "pcs_fault", "pcs_fault")
_OF_SITE = ("meter_silent", "meter_frozen", "estop", "contactor_stuck", "grid_lost")
_LATCH = ("cell_over_voltage", "over_temperature")  # what one has is everybody's emergency
_MISLEADS_SITE = ("pcs_frozen", "pcs_silent", "pcs_refuses")  # of what flows through an inverter
_USUAL = {"temperature": 25.0, "grid_hz": 50.0, "grid_v": 400.0}
_UNUSUAL = {"temperature": (-25.0, 65.0), "grid_hz": (46.0, 53.0), "grid_v": (300.0, 500.0)}
# beyond every trip: one reading of it may be wrong
_WILD = {im.CELL_V_MAX: (3750, 5000), im.CELL_V_MIN: (500, 2300), im.CELL_T_MAX: (700, 1500), im.BMS_TEMP: (700, 1500)}


class BanksChaos(Chaos):
    """Faults are kept as "what@whom"; whom is a bank, a device or nothing for the site."""

    site: VirtualBanks  # type: ignore[assignment]
    wire: Wires  # type: ignore[assignment]
    watch: BanksWatch  # type: ignore[assignment]

    def __init__(self, manager: Any, site: VirtualBanks, wires: Wires, watch: BanksWatch, rng: random.Random, ticks: int) -> None:
        config = manager.config
        self._most_kw = max(config.max_charge_power, config.max_discharge_power)
        plant = site.plant
        self._bank_of = {one.name: bank.name for bank in plant.banks for one in bank.batteries}
        self._bank_of |= {one.name: bank.name for bank in plant.banks for one in bank.inverters}
        self._bank_of |= {bank.name: bank.name for bank in plant.banks}
        self._wrong_soc: set[str] = set()
        super().__init__(manager, site, wires, watch, rng, ticks)  # type: ignore[arg-type]

    def act(self, cycle: int) -> None:
        """See Chaos.act: more faults, since there are more devices that may have one."""
        kind = self.rng.random()
        if kind < 0.62:
            self._call()
        elif kind < 0.74:
            self._outside()
        else:
            self._fault(cycle)

    def _end(self, end: tuple[int, str]) -> None:
        self._ends.remove(end)
        self._note(f"{end[1]} ends")
        name, _, whom = end[1].partition("@")
        plant = self.site.plant
        if name == "wire":
            self.wire.each[whom].mend()
        elif name == "soc":
            self._battery(whom).bms.soc_error_pct = 0.0
            self._wrong_soc.discard(whom)
        elif name == "temperature":
            plant.set(name, _USUAL[name], whom)
        elif name in _USUAL:
            plant.set(name, _USUAL[name])
        else:
            self.site.clear(name, whom)

    def restarted(self, manager: Any, wire: Any, watch: Any, ticks: int) -> None:
        """See Chaos.restarted."""
        self._ends = [end for end in self._ends if not end[1].startswith("wire@")]
        super().restarted(manager, wire, watch, ticks)

    def _battery(self, name: str) -> Any:
        return next(one for one in self.site.plant.batteries if one.name == name)

    def _judge(self) -> None:
        """Who is in trouble, who is lied about."""
        watch, plant = self.watch, self.site.plant
        troubled = {self._bank_of[whom] for _, whom in self.site.active if whom}
        troubled |= {self._bank_of[name] for name, wire in self.wire.each.items() if name and wire.busy}
        troubled |= {self._bank_of[name] for name in self._wrong_soc}
        for _, end in self._ends:
            name, _, whom = end.partition("@")
            if name == "temperature":
                troubled.add(self._bank_of[whom])
        forming = not plant.grid_present and plant.banks[0].inverters[0].pcs.island == "form"
        watch.troubled = troubled
        watch.site_troubled = (
            any(not whom for _, whom in self.site.active)
            or any(name in _LATCH for name, _ in self.site.active)
            or self.wire.each[""].busy
            or any(end.split("@")[0] in ("grid_hz", "grid_v") for _, end in self._ends)
        )
        by_inverter = any(name in _MISLEADS_SITE for name, _ in self.site.active)
        by_inverter |= any(name.startswith("pcs") and wire.busy for name, wire in self.wire.each.items())
        watch.flow_misled = forming or by_inverter or self._site_lied_to()
        watch.inverter_lies = any(name == "pcs_frozen" for name, _ in self.site.active) or any(
            name.startswith("pcs") and wire.lies for name, wire in self.wire.each.items()
        )
        self.pcs_lies = by_inverter
        self.misleading = forming or self._site_lied_to()

    def _site_lied_to(self) -> bool:
        return self.wire.each[""].lies or any(name in ("meter_silent", "meter_frozen") for name, _ in self.site.active)

    def _may_be_calm(self, cycle: int) -> bool:
        return False

    # ---- the API --------------------------------------------------------------------------------------------
    def _kw(self) -> float:
        rng, most = self.rng, self._most_kw
        any_kw = rng.uniform(-1.1 * most, 1.1 * most)
        return rng.choice((0.0, 0.001, tiny(rng, True), 1.0, -1.0, any_kw, any_kw, any_kw, most, -most))

    # ---- the world ------------------------------------------------------------------------------------------
    def _outside(self) -> None:
        """Load, sun, a battery at another charge, an inverter that gives less."""
        rng, plant = self.rng, self.site.plant
        self.watch.quiet_ms = 0
        what = rng.choice(("load_kw", "load_kw", "pv_kw", "pv_kw", "soc", "soc", "pcs_derate", "pcs_derate"))
        whom = ""
        if what == "soc":
            bank = rng.choice(plant.banks)
            whom = bank.name
            value = rng.uniform(*rng.choice(((0.5, 100.0), (0.5, 4.0), (18.0, 24.0), (86.0, 92.0), (97.0, 100.0))))
            plant.set(what, value, whom)
            for battery in bank.batteries:
                battery.bms.reset()
            self.watch.disturbed(whom)
        elif what == "pcs_derate":
            whom = rng.choice(plant.inverters).name
            value = rng.choice((1.0, 1.0, rng.uniform(0.0, 1.0)))
            plant.set(what, value, whom)
        else:
            value = rng.choice((0.0, rng.uniform(0.0, 1.2 * self._most_kw)))
            plant.set(what, value)
        self._note(f"{what} of {whom or 'the site'} = {value}")

    def _fault(self, cycle: int) -> None:
        rng = self.rng
        if len(self._ends) >= 4:
            return
        until = cycle + int(rng.choice((1, 3, 30, 30, 100, 300, 800)) * rng.uniform(0.5, 2.0)) + 1
        kind = rng.random()
        if kind < 0.5:
            name = self._site_fault()
        elif kind < 0.6:
            name = self._weather()
        elif kind < 0.66:
            name = self._wrong_charge()
        else:
            name = self._cut()
        if name:
            self._ends.append((until, name))
            self._judge()

    def _site_fault(self) -> str:
        rng, plant = self.rng, self.site.plant
        kind = rng.random()
        if kind < 0.42:
            name, whom = rng.choice(_OF_BATTERY), rng.choice(plant.batteries).name
        elif kind < 0.84:
            name, whom = rng.choice(_OF_INVERTER), rng.choice(plant.inverters).name
        else:
            name, whom = rng.choice(_OF_SITE), ""
            if name.startswith("meter") and self.site.meter is None:
                return ""
        if (name, whom) in self.site.active:
            return ""
        self.site.inject(name, whom)
        self.played["fault of a device" if whom else "fault of the site"] += 1
        self._note(f"{name} of {whom or 'the site'} begins")
        return f"{name}@{whom}"

    def _weather(self) -> str:
        rng, plant = self.rng, self.site.plant
        name = rng.choice(tuple(_USUAL))
        value = rng.uniform(*_UNUSUAL[name])
        whom = rng.choice(plant.banks).name if name == "temperature" else ""
        if any(end == f"{name}@{whom}" for _, end in self._ends):
            return ""
        if whom:
            plant.set(name, value, whom)
        else:
            plant.set(name, value)
        self.played["heat, frost, grid"] += 1
        self._note(f"{name} of {whom or 'the site'} = {value}")
        return f"{name}@{whom}"

    def _wrong_charge(self) -> str:
        rng = self.rng
        battery = rng.choice(self.site.plant.batteries)
        if battery.name in self._wrong_soc:
            return ""
        battery.bms.soc_error_pct = rng.choice((-3.0, 3.0, rng.uniform(-40.0, 40.0)))
        self._wrong_soc.add(battery.name)
        self.played["wrong SoC"] += 1
        self._note(f"SoC of {battery.name} is off by {battery.bms.soc_error_pct} %")
        return f"soc@{battery.name}"

    def _cut(self) -> str:
        rng, wires = self.rng, self.wire
        name = rng.choice(tuple(wires.each))
        wire = wires.each[name]
        if wire.busy:
            return ""
        self._note(f"{name or 'the site'}: {self._spoil(wire, wires.groups[name])}")
        return f"wire@{name}"

    def _spoil(self, wire: Wire, groups: tuple[int, ...]) -> str:
        rng = self.rng
        group = rng.choice(groups)
        first, last = GROUPS[group]
        kind = rng.random()
        if kind < 0.15:
            wire.silence(group)
            return f"group {group} silent"
        if kind < 0.25:
            wire.freeze(group)
            return f"group {group} frozen"
        battery = group <= im.SEQ_BMS_FLAGS
        if battery and kind < 0.65:
            return self._odd(wire)
        if kind < 0.75:
            slot = rng.randrange(first, last)
            wire.refuse(slot)
            self.played["broken sensor"] += 1
            return f"the sensor of slot {slot} is broken"
        if battery and kind < 0.85:
            slot = rng.choice(tuple(_WILD))
            value = rng.randint(*_WILD[slot])
            wire.wild(slot, value)
            self.played["wild reading"] += 1
            return f"one reading of slot {slot} is {value}"
        slot = rng.randrange(first, last)
        low, high = PLAUSIBLE.get(slot, (0, 32767))
        value = rng.choice((low, high, min(high, max(low, 0)), rng.randint(low, high), im.NO_VALUE))
        wire.force(slot, value)
        return f"slot {slot} holds {value}"

    def _odd(self, wire: Wire) -> str:
        rng = self.rng
        kind = rng.randrange(5)
        if kind == 0:
            self.played["boot zeros"] += 1
            wire.boot()
            return "the BMS boots"
        if kind == 1:
            self.played["one protection"] += 1
            bit = 1 << rng.randrange(20)
            wire.force(im.BMS_PROTECT, bit)
            return f"protection {bit:#x}"
        if kind == 2:
            self.played["two batteries"] += 1
            wire.two_batteries(rng.randrange(2))
            return "two batteries on the bus"
        if kind == 3:
            self.played["limits 0"] += 1
            for slot in rng.choice(((im.BMS_I_CHG,), (im.BMS_I_DIS,), (im.BMS_I_CHG, im.BMS_I_DIS))):
                wire.force(slot, 0)
            return "the BMS gives no current"
        self.played["forbidden"] += 1
        bits = rng.choice((im.BMS_REQ_NO_CHARGE, im.BMS_REQ_NO_DISCHARGE, im.BMS_REQ_FORCE_CHARGE))
        wire.force(im.BMS_REQUESTS, bits)
        return f"requests {bits}"
