"""Steps about limits: that a limit that moves takes the power with it, and that the export never exceeds what is agreed."""

import time

from tools.commission import figures
from tools.commission.bench import LIFETIME_MIN, NO_VALUE, OWNER, Bench
from tools.commission.outcome import DoesNotApply, Failed, NotTested
from tools.commission.wire import Refused

FOLLOW_S = 3.0
BAND = 0.02  # of the rating


async def limits(bench: Bench) -> None:
    """Move a limit under the power each way: the power follows; what is beyond the configuration is refused."""
    await bench.start()
    began = time.monotonic()
    for way, place in ((1, "{low:g}, None"), (-1, "None, {low:g}")):
        high, low = bench.rated_kw * 0.2, bench.rated_kw * 0.1
        name = "discharge" if way > 0 else "charge"
        before = await bench.hold(way * high, 0.5)
        if abs(before["p"]) < 0.8 * high:
            raise NotTested(f"{name} of {high:g} kW is not reached ({before['p']:.1f} kW): {await bench.why()}")
        at = time.monotonic()
        await bench.console.ask(f"pm.limit({OWNER!r}, {place.format(low=low)}, 60)")
        band = BAND * bench.rated_kw + 0.1
        sample = await bench.until(lambda s, low=low, band=band: abs(s.get("p") or 0) <= low + band, FOLLOW_S,  # type: ignore[misc]
                                   f"{name} from {high:g} to a limit of {low:g} kW", moving=True)  # fmt: skip
        bench.at_most(f"{name}: the power is inside a limit that fell after", sample.at - at, FOLLOW_S, "s")
        held = await bench.hold(way * high, 1.0)
        bench.note(f"{name}: held at a limit of {low:g} kW", held["p"], "kW", figures.within(band, way * low, "kW", way=True),
                   abs(abs(held["p"]) - low) <= band)  # fmt: skip
        if abs(abs(held["p"]) - low) > band:
            raise Failed(f"{name} stays at {held['p']:.1f} kW under a limit of {low:g} kW", "the inverter's setpoint and its scale")
        await bench.console.ask(f"pm.limit({OWNER!r})")
    await bench.hold(0.0, 0.5)
    bench.plot("limits that move", began, {"cmd": "command", "p": "inverter", "req": "request"})
    if bench.bank:
        await _own_bounds(bench)
    beyond = max(bench.site_power("max_charge_power", 100), bench.site_power("max_discharge_power", 100)) + 1
    for kw in (beyond, -beyond):
        try:
            await bench.console.ask(f"pm.set_constant_power({kw:g}, {LIFETIME_MIN})")
        except Refused as error:
            bench.note(f"{kw:+g} kW commanded", "refused", "", "refused", "allowed" in str(error))
        else:
            await bench.console.ask("pm.set_constant_power(0)")
            raise Failed(f"{kw:+g} kW is accepted, the configuration allows {beyond - 1:g} kW")


async def _own_bounds(bench: Bench) -> None:
    """What the board lets a bank do is at most what its own section of site.json says."""
    state = await bench.state()
    for way, name in ((1, "max_discharge_power"), (-1, "max_charge_power")):
        limit, why = bench.limit(state, way)
        most = min(bench.power(name, 100.0), bench.site_power(name, 100.0))
        if not bench.at_most(f"limit by {why} ({'discharge' if way > 0 else 'charge'})", limit, most, "kW"):
            raise Failed(f"the bank may move {limit:g} kW, {most:g} kW are configured", f"{name} of the bank in site.json")


async def export(bench: Bench) -> None:
    """What is exported stays within what the grid operator allows, with the configured limit and no other."""
    agreed = bench.agreed.get("export_kw")
    if agreed is None:
        raise NotTested("nobody has said what export the grid operator allows: ARGS=\"--export-kw KW\"")
    agreed = float(agreed)
    power = bench.site.get("power", {})
    allowed = bench.power("allow_grid_export", 1) != 0 and power.get("grid_connection", 2) in (2, 3, "INTERACTIVE", "EXPORT")
    configured = bench.power("max_grid_export_power", 100.0) if allowed else 0.0
    bench.note("agreed", figures.told(agreed), "kW")
    bench.note("configured", figures.told(configured), "kW", figures.at_most(agreed, "kW"), configured <= agreed)
    if configured > agreed:
        said = "is missing in site.json" if "max_grid_export_power" not in power else "in site.json is too high"
        raise Failed(f"the export limit {said}: {configured:g} kW would be exported, {agreed:g} kW are agreed",
                     "max_grid_export_power (0, or allow_grid_export false: no export at all)",
                     {"power.max_grid_export_power": agreed} if allowed else {})  # fmt: skip
    if not bench.device("meter")[0]:
        raise NotTested("the site has no meter at the point of connection: the inverter's own power is taken for the export")
    most = bench.power("max_discharge_power", 100.0)
    sources = (await bench.raw("PV_P", "GEN_P")) != [NO_VALUE, NO_VALUE]
    if configured >= most and not sources:
        raise DoesNotApply(f"even without a load no more than {most:g} kW could be exported, {configured:g} kW are allowed")
    await bench.start()
    load = (await bench.hold(0.0))["grid_p"]
    if load > most - configured - 2:
        await bench.ask_for("less_load", kw=max(0, round(most - configured - 5)))
        load = (await bench.hold(0.0))["grid_p"]
    if load > most - configured - 1:
        raise NotTested(f"the site takes {load:.1f} kW: even {most:g} kW of discharge export less than {configured:g} kW")
    began = time.monotonic()
    held = await bench.hold(most, 3.0)
    worst = -min(s.state.get("grid_p") or 0.0 for s in bench.console.since(began))
    _, why = bench.limit(await bench.state(), most)
    await bench.hold(0.0, 0.5)
    bench.plot("export", began, {"cmd": "command", "grid_p": "grid, + import", "lim_dis": "limit of discharge"})
    band = max(0.5, 0.01 * most)
    bench.note("what bounds the discharge", why, "", "export", why in ("export", "grid_connection"))
    is_held = abs(-held["grid_p"] - configured) <= band
    bench.note("export at the meter (below 0: import)", -held["grid_p"], "kW", figures.within(band, configured, "kW"), is_held)
    bench.at_most("most export at the meter at any moment (below 0: import)", worst, configured + 2 * band, "kW")
    if -held["grid_p"] > agreed + band or worst > configured + 2 * band:
        raise Failed(
            f"{max(worst, -held['grid_p']):.1f} kW were exported, {configured:g} kW are configured",
            "the meter: its place, its sign",
        )
    if why not in ("export", "grid_connection"):
        raise NotTested(f"something else bounds the discharge: {why}")
    await bench.ask_for("load_back")
