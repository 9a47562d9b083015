"""A random site of several batteries and inverters: how they hang together, what each bank may, what the site may."""

import random
from typing import Any, NamedTuple

from tools.sim.physics.banks import MOST, BankLayout


class Shape(NamedTuple):
    """layouts: of the plant; power: PowerConfig's fields of the site; powers: of each bank by name; options: PlantOptions'."""

    layouts: tuple[BankLayout, ...]
    power: dict[str, Any]
    powers: dict[str, dict[str, Any]]
    options: dict[str, Any]
    meter: bool
    pv: bool


def _spread(rng: random.Random, banks: int) -> list[int]:
    """How many devices of a kind each bank has: at least one, at most MOST together."""
    each = [1] * banks
    while sum(each) < MOST and rng.random() < 0.5:
        each[rng.randrange(banks)] += 1
    return each


def shape_of(rng: random.Random) -> Shape:
    """1 to 4 banks, with 1 to 4 batteries and inverters in all."""
    count = rng.choice((1, 2, 2, 2, 3, 3, 4))
    batteries, inverters = _spread(rng, count), _spread(rng, count)
    power = _site(rng, sum(inverters))
    layouts, powers = [], {}
    for name, packs, each in zip("abcd", batteries, inverters, strict=False):
        powers[name] = own = _bank(rng, each)
        merged = {**power, **own}
        options = {
            "energy_kwh": merged["module_energy"] * 13,
            "soc": rng.uniform(5.0, 99.0),
            "pcs_kw": rng.choice((100.0, 100.0, 50.0)),
            "pcs_tau_s": rng.choice((0.05, 0.1, 0.3, 0.6)),
            "current_max_a": rng.choice((165.0, 165.0, 80.0)),
        }
        names = tuple(f"bms_{name}{n}" for n in range(packs)), tuple(f"pcs_{name}{n}" for n in range(each))
        layouts.append(BankLayout(name, *names, options))
    site = {
        "soc_rounding": power["soc_rounding"],
        "pcs_island": rng.choice(("off", "off", "follow", "form")),
        "load_kw": rng.choice((0.0, rng.uniform(0.0, 200.0))),
        "pv_kw": rng.choice((0.0, 0.0, rng.uniform(0.0, 100.0))),
        "measurement_noise": rng.choice((0.0, 1.0, 1.0)),
    }
    return Shape(tuple(layouts), power, powers, site, rng.random() < 0.8, rng.random() < 0.4)


def _site(rng: random.Random, inverters: int) -> dict[str, Any]:
    most = 100.0 * inverters
    return {
        "grid_connection": rng.choice((0, 1, 2, 2, 2, 2, 3)),
        "max_charge_power": rng.choice((most, most, rng.uniform(10.0, most))),
        "max_discharge_power": rng.choice((most, most, rng.uniform(10.0, most))),
        "max_grid_export_power": rng.choice((most, most, 0.0, rng.uniform(0.0, most))),
        "min_soc": rng.choice((20.0, 20.0, 5.0, rng.uniform(0.0, 30.0))),
        "max_soc": rng.choice((90.0, 90.0, 100.0, rng.uniform(70.0, 100.0))),
        "allow_grid_charging": rng.random() < 0.8,
        "allow_grid_export": rng.random() < 0.8,
        "auto_restart": rng.random() < 0.9,
        "restart_limit": rng.choice((100, 100, 5, 2)),
        "restart_delay": rng.choice((0.0, 1.0, 2.0)),
        "module_energy": rng.choice((1.0, 4.0, 16.0)),  # kWh: small ones reach the ends of the SoC
        "ramp_up": rng.choice((0.1, 1.0, 20.0, 20.0, 1000.0, rng.uniform(0.1, 50.0))),
        "ramp_down": rng.choice((0.1, 1.0, 50.0, 50.0, 1000.0, rng.uniform(0.1, 50.0))),
        "soc_taper": rng.choice((0.1, 2.0, 2.0, 5.0)),
        "soc_rounding": rng.choice(("nearest", "down")),
        "resume": rng.random() < 0.8,
        "resume_manual": rng.random() < 0.3,
    }


def _bank(rng: random.Random, inverters: int) -> dict[str, Any]:
    """What a bank's power section says otherwise than the site's; its powers always."""
    most = 100.0 * inverters
    own: dict[str, Any] = {
        "max_charge_power": rng.choice((most, most, rng.uniform(10.0, most))),
        "max_discharge_power": rng.choice((most, most, rng.uniform(10.0, most))),
    }
    if rng.random() < 0.3:
        own["module_energy"] = rng.choice((1.0, 4.0, 16.0))
    if rng.random() < 0.3:
        own["min_soc"], own["max_soc"] = rng.uniform(0.0, 30.0), rng.uniform(70.0, 100.0)
    if rng.random() < 0.2:
        own["restart_limit"] = rng.choice((100, 2))
    return own
