"""The bars themselves: what a run has shown against what it must, one row each."""

from dataclasses import dataclass
from typing import Any

from tools.bench.bars.profiles import Judged
from tools.sim.board.profiles import KB


@dataclass(frozen=True)
class Verdict:
    """One bar.  `passed` None: this run cannot tell."""

    bar: str
    seen: Any
    must: str
    passed: bool | None


def _most(bar: str, seen: float | None, most: float, unit: str = "") -> Verdict:
    return Verdict(bar, seen, f"<= {most:,g}{unit}", None if seen is None else seen <= most)


def _least(bar: str, seen: float | None, least: float, unit: str = "") -> Verdict:
    return Verdict(bar, seen, f">= {least:,g}{unit}", None if seen is None else seen >= least)


def _kb(value: int | None) -> float | None:
    return None if value is None else round(value / KB, 1)


def counts(figures: dict[str, Any]) -> list[Verdict]:
    """What holds at any speed."""
    nothing = [p for p in figures["problems"] if "MemoryError" in p]
    resets = [p for p in figures["problems"] if "restarted:" in p or "board ended" in p]
    rest = [p for p in figures["problems"] if p not in nothing and p not in resets]
    return [
        _most("worst violation", figures["worst_violation_w"], 0, " W"),
        _most("resets", len(resets), 0),
        _most("MemoryErrors", len(nothing), 0),
        _most("other problems", len(rest), 0),
        _most("flash_reads in operation", figures["flash_reads"], 0),
        _most("imports in operation", figures["imports"], 0),
        _most("opens in operation", figures["opens"], 0),
        _most("boot_flash_ops", figures["boot_flash_ops"], 15000),
        _most("erases between two cycles", figures["erases_between_cycles"], 1),
        _most("collections in a cycle", figures["collections_in_cycle"], 0),
    ]


def heap(figures: dict[str, Any], judged: Judged) -> list[Verdict]:
    """What lives, and what is left for a line."""
    found = [_most("heap_live", _kb(figures["heap_live"]), judged.live_most / KB, " KB")]
    if judged.spare_least:
        found.append(_least("free after the lines", _kb(figures["heap_spare"]), judged.spare_least / KB, " KB"))
        found.append(_least("largest free piece", _kb(figures["heap_largest"]), judged.largest_least / KB, " KB"))
    if not judged.board.areas:  # tens of ms each; in a small heap a large piece is looked for in vain now and then: 7 ms
        found.append(_most("collections nobody asked for", figures["collections_unasked"], 0))
    if judged.board.romfs and judged.board.heap <= judged.board.areas:  # with a radio: the third area is what it lives on
        taken = figures["heap_third_area"]
        found.append(Verdict("third area taken", taken, "no", None if taken is None else not taken))
    return found


def times(figures: dict[str, Any]) -> list[Verdict]:
    """What only a board at the chip's speed can tell; nothing where the host could not keep it."""
    kept = figures["clock_given_up_ms"] == 0
    found = [
        _most("gap_ms_max without an erase", figures["gap_chip_ms"][0], 120, " ms"),
        _most("boot_ms", figures["boot_ms"], 8000, " ms"),
        _most("watchdog unfed", figures["watchdog_unfed_ms_max"], 4000, " ms"),
    ]
    return found if kept else [Verdict(one.bar, one.seen, one.must, None) for one in found]


def load(figures: dict[str, Any], lines: int) -> list[Verdict]:
    """What the hundred lines and the emergency show."""
    cycles = figures["emergency_cycles"]
    cycles = None if cycles is None or cycles < 0 else cycles
    return [
        _least("lines answered", figures["answered"], lines),
        _least("mean power", figures["mean_kw"], 5, " kW"),
        Verdict("emergency: cycles to 0 W", cycles, "<= 2", cycles is not None and cycles <= 2),
    ]


def followed(figures: dict[str, Any]) -> list[Verdict]:
    """An inverter that follows each setpoint of an EMS."""
    seen = figures["followed"]
    return [
        _least("setpoints", seen.get("setpoints", 0), 5),
        _most("setpoints that were not written", seen.get("not_written"), 0),
        _most("setpoints that were not reached", len(seen["not_reached"]) if seen else None, 0),
        _most("first write of a setpoint", seen.get("first_write_s_max"), 1, " s"),
        _most("reached, beyond ramp, response and 10 cycles", seen.get("behind_s_max"), 0, " s"),
        _most("pcs_lost, pcs_not_following", sum(seen["faults"].values()) if seen else None, 0),
    ]


def hands(figures: dict[str, Any], calls: int) -> list[Verdict]:
    """Real mpremote while power flows: every answer right, and nothing that control would feel."""
    seen = figures["hands"]
    resets = [p for p in figures["problems"] if "restarted:" in p or "board ended" in p]
    rest = [p for p in figures["problems"] if p not in resets and "\x04" not in p]  # mpremote asks for files that there are not
    return [
        _most("worst violation", figures["worst_violation_w"], 0, " W"),
        _most("resets", len(resets), 0),
        _most("other problems", len(rest), 0),
        _least("calls of mpremote", seen.get("calls", 0), calls),
        _most("wrong answers", len(seen["wrong"]) if seen else None, 0),
        _least("mean power", figures["mean_kw"], 5, " kW"),
    ]
