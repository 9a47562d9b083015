"""Which inputs the kernels are tried with: one row a function, value ranges by slot name, seeded.

Values are what devices let through (their plausibility bounds, wide) plus NO_VALUE and the edges; parameters come from
random configurations that PowerConfig accepts, so every divisor and order the cycle relies on holds by validation.
"""

import random
import re
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from firmware import config, faults, image, parameters, requests
from firmware.errors import ConfigError
from tools.build import slots

FREE = image.FREE

# slot pattern: low, high, may be NO_VALUE.  The first that matches decides.
RANGES: tuple[tuple[str, int, int, bool], ...] = (
    (r"^UPTIME_MS", 0, 999, False),
    (r"BMS_ODD", 0, (1 << 21) - 1, False),
    (r"^READS_", 0, 2, False),
    (r"^DOUBT_(SLOT|VALUE|READ)", -1000, 6000, False),
    (r"^STILL_(LOW|HIGH)", -1_500_000, 1_500_000, True),
    (r"^SOC_ZERO_MS|^HOLD_CHG_MS", 0, 3_600_000, False),
    (r"^CURTAILED_BY", 0, 8, False),
    (r"^(BREACH|BROKE)$", 0, 63, False),
    (r"^PARTS_LOST", 0, 15, False),
    (r"^ARRIVED", 0, 31, False),
    (r"^BY_BANK", 0, 4, False),
    (r"^WAS_P|^BROKE_P", -4_000_000, 4_000_000, False),
    (r"^REST_(P|LIMIT)", 0, 4_000_000, False),
    (r"^GAPS", -30_000, 30_000, True),
    (r"^PATHS_P", 0, 0x3FFFFFFF, False),
    (r"^MISSING", 0, 16383, False),
    (r"^(MODE|TRIP|BOUND|ENDED)_S$", 0, 0x3FFFFFFF, False),
    (r"^ORDER", 0, 7, False),
    (r"^TRIPPED", 0, 0x3FFFFFFF, False),
    (r"^TRIPS", 0, 100, False),
    (r"^CAUSE", -1, 30, False),
    (r"^BOUND$", 0, 63, False),
    (r"^ENDED$", 0, 511, False),
    (r"^ODD_P$", 0, 3, False),
    (r"^ODD_I$", 0, 2, False),
    (r"^FORCED_P", 0, 50_000, False),
    (r"^DARK_P|^WAY_P", -0x3FFFFFFF, 0x3FFFFFFF, False),
    (r"^DARK_BY", 0, 15, False),
    (r"^ODD_I_CAME", 0, 33, False),
    (r"^METER_SEEN", -0x3FFFFFFF, 0x3FFFFFFF, True),
    (r"^METER_ANCHOR", -(1 << 28), 1 << 28, False),
    (r"^STILL_SOC$", 0, 10000, True),
    (r"^STILL_DRIFT$", 0, 20000, False),
    (r"^METER_SAID", 0, 0x3FFFFFFF, False),
    (r"^FRESH", 0, (1 << image.N_GROUPS) - 1, False),
    (r"^DOUBTS", 0, 0x3FFFFFFF, False),
    (r"_MS$", 0, 900_000_000, False),
    (r"SEQ_", 0, 0x3FFFFFFF, False),
    (r"BMS_SOC$|BMS_SOH", 0, 10000, True),
    (r"BMS_V|PCS_DC_V", 0, 15000, True),
    (r"BMS_I$|PCS_DC_I", -30000, 35535, True),
    (r"BMS_I_", 0, 400_000, True),  # of four in parallel
    (r"BMS_TEMP|CELL_T|PCS_TEMP", -1000, 2000, True),
    (r"CELL_V", 0, 6000, True),
    (r"BMS_STATUS|PCS_STATE", 0, 4, True),
    (r"BMS_REQUESTS", 0, 31, True),
    (r"BMS_PROTECT|BMS_ALARM", 0, (1 << 20) - 1, True),
    (r"PCS_GRID|IO_", 0, 1, True),
    (r"PCS_P_", 0, 2_000_000, True),
    (r"PCS_P$|METER_P|^FAULT_P$", -0x3FFFFFFF, 0x3FFFFFFF, True),  # whatever a driver lets through
    (r"PCS_S_MAX", 0, 2_000_000, True),
    (r"^CMD_Q", -1_000_000, 1_000_000, False),
    (r"PCS_SETPOINT|PCS_DC_P|PCS_Q", -1_500_000, 1_500_000, True),
    (r"PV_P|GEN_P|METER_LOAD_P", -0x3FFFFFFF, 0x3FFFFFFF, True),
    (r"NET_P|NET_LOW|NET_HIGH", -(1 << 29), 1 << 29, True),
    (r"LOAD_P", -(3 << 28), 3 << 28, True),
    (r"PCS_V|METER_V", 0, 12000, True),
    (r"_HZ", 0, 70000, True),
    (r"PCS_|METER_", 0, 32767, True),
    (r"SOC_REM", -2_000_000, 2_000_000, False),
    (r"SOC_DRIFT|SOC_KEEP_DRIFT", -20000, 20000, False),
    (r"SOC_LEAK", 0, 60000, False),
    (r"SOC_JUMP", 0, 10000, False),
    (r"SOC", 0, 10000, True),
    (r"GRID_OK", 0, 1, True),
    (r"CMD_CONTACTOR|CMD_RUN|CMD_BALANCE", 0, 1, False),
    (r"GATE|MODE|FLOW$|^ORDER", 0, 7, False),
    (r"FLOW_PATHS", 0, 127, False),
    (r"FAULTS|CONDITIONS", 0, (1 << len(faults.TABLE)) - 1, False),
    (r"REQUEST_P|TARGET_P|CMD_P|SLOW_P|^FAULT_CMD", -1_000_000, 1_000_000, False),
    (r"LIMIT_", 0, 1_000_000, False),
    (r"WHY_|REQUEST_BY", 0, 14, False),
    (r"RAMP_REM", 0, 999, False),
    (r"^DT$", 1, 1000, False),
    (r"E_IN_REM|E_OUT_REM", 0, 3_599_999, False),
    (r"STILL_SUM", 0, 0x3FFFFFFF, False),
    (r"UPTIME_S|_WH$|_TURNS$|COMMANDS|BREACHES|CMD_SEQ|WORST_P", 0, 0x3FFFFFFF, False),
)


def slot_names() -> dict[int, str]:
    """Slot of Image.now -> its name, from the table of points."""
    table = slots.read()
    found = {number: group[1] for number, group in enumerate(table.groups)}
    found.update({point.number: point.name for name in ("MEASURED", "MADE") for point in table.of(name)})
    return found


NAMES = slot_names()


def _value(rng: random.Random, low: int, high: int, nullable: bool) -> int:
    draw = rng.random()
    if nullable and draw < 0.08:
        return int(image.NO_VALUE)
    if draw < 0.16:
        return rng.choice((low, high, min(max(0, low), high)))
    if draw < 0.4:  # small values meet thresholds and signs more often
        return max(low, min(high, int(rng.gauss(0, 1) * 100)))
    return rng.randint(low, high)


@cache
def _range(name: str) -> tuple[int, int, bool]:
    for pattern, low, high, nullable in RANGES:
        if re.search(pattern, name):
            return low, high, nullable
    for point in slots.read().of("MEASURED"):
        if point.name == name and point.low is not None and point.high is not None:
            return point.low, point.high, True
    raise LookupError(f"slot {name} has no range in hot_inputs.RANGES, nor in points.py: add one")


@cache
def accepted_configurations() -> tuple[config.PowerConfig, ...]:
    """Random configurations that the firmware accepts; finding them takes tries, so all functions share these."""
    rng = random.Random(1)
    found: list[config.PowerConfig] = []
    while len(found) < 60:
        given: dict[str, object] = {}
        for key, kind, _default, low, high, _ in config.FIELDS:
            if isinstance(kind, tuple):
                given[key] = rng.choice(kind)
            elif kind == "bool":
                given[key] = rng.random() < 0.5
            elif rng.random() < 0.3:
                given[key] = rng.uniform(low, high) if kind == "float" else rng.randint(low, high)
        given["cycle_ms"] = rng.randrange(20, 1001, 10)
        try:
            found.append(config.PowerConfig(**given))
        except ConfigError:
            continue
    return tuple(found)


def make_par(rng: random.Random) -> array:
    """Parameters of such a configuration, with an operation and a curtailment that may be free."""
    accepted = rng.choice(accepted_configurations())
    par = array("i", [0] * image.N_PAR)
    parameters.apply(accepted.whole(), par, rng.randint(0, 31))
    for slot in range(image.OP_P_CHG, image.EMS_P_DIS + 1):
        limit = {image.OP_SOC_MIN: 10000, image.OP_SOC_MAX: 10000, image.OP_V_MAX: 15000, image.OP_V_MIN: 15000}
        par[slot] = FREE if rng.random() < 0.5 else rng.randint(0, limit.get(slot, 1_000_000))
    for slot in (image.OP_I_CHG, image.OP_I_DIS):
        par[slot] = FREE if rng.random() < 0.5 else rng.randint(0, 10000)
    return par


def make_img(rng: random.Random, par: array) -> array:
    """A state the cycle may be in, each slot for itself."""
    img = array("i", [0] * image.N_SLOTS)
    name = ""
    for slot in range(image.N_SLOTS):
        name = NAMES.get(slot, name)  # slots of one block carry the block's name
        if image.AGE <= slot < image.AGE + image.N_GROUPS:
            stale = par[image.PAR_STALE_BMS]
            img[slot] = rng.choice((0, 50, stale, stale + 1, 500, 501, 1000, 899_999_999, 900_000_050, image.AGE_NEVER))
        else:
            img[slot] = _value(rng, *_range(name)) if name else 0
    return img


def make_inp(rng: random.Random, img: array) -> array:
    """What devices have written: SEQ counters that moved or did not, and new values."""
    inp = array("i", img[: image.N_INPUTS])
    for slot in range(image.N_INPUTS):
        if rng.random() < 0.5:
            name = NAMES.get(slot, "")
            inp[slot] = _value(rng, *_range(name)) if name else 0
    return inp


def make_fault_rows(rng: random.Random) -> array:
    """The fault table's debounce numbers."""
    return array("H", faults.debounce_rows())


def make_fault_state(rng: random.Random) -> array:
    """Any state of the debounce counters."""
    state = array("H", [0] * (3 * len(faults.TABLE)))
    for at in range(0, len(state), 3):
        state[at] = rng.choice((0, 1, 2, 3, 65534, 65535))
        state[at + 1] = rng.choice((0, 50, 200, 1000, 5000, 60000, 65534, 65535))
        state[at + 2] = rng.choice((rng.randint(0, 65535), 65534, 65535))
    return state


def make_claims(rng: random.Random) -> array:
    """Any claim table, dead, dying and endless claims mixed."""
    table = array("i", requests.Claims().table)
    for at in range(0, len(table), requests.PARTS):
        table[at] = rng.choice((0, 1, 50, 51, 60_000, 0x3FFFFFFE, FREE))
        table[at + requests.WATTS] = rng.randint(-1_000_000, 1_000_000)
        table[at + requests.CAME] = rng.randint(0, 5)
        if at >= requests.IDLE * requests.PARTS:
            table[at + requests.SOURCE] = rng.randint(0, requests.IDLE - 1)
    return table


def make_curtailments(rng: random.Random) -> array:
    """Any limits with owners."""
    table = array("i", requests.Curtailments().table)
    for at in range(0, len(table), 3):
        table[at] = rng.choice((0, 0, 1, 50, 60_000, FREE))
        table[at + 1] = rng.choice((0, FREE, rng.randint(0, 1_000_000)))
        table[at + 2] = rng.choice((0, FREE, rng.randint(0, 1_000_000)))
    return table


@dataclass(frozen=True)
class Hot:
    """One function: its name and the kind of each argument (see `arguments`)."""

    name: str
    arguments: tuple[str, ...]


TABLE = (
    Hot("freeze", ("inp", "img", "dt")),
    Hot("doubt_zero_soc", ("img", "par")),
    Hot("confirm_trips", ("img", "par")),
    Hot("count_soc", ("img", "par")),
    Hot("settle_soc", ("img", "par")),
    Hot("grid_there", ("img", "par")),
    Hot("watch_meter", ("img", "par")),
    Hot("net_power", ("img", "par")),
    Hot("load_power", ("img", "par")),
    Hot("find_missing", ("img", "par")),
    Hot("battery_conditions", ("img", "par")),
    Hot("detect_frozen", ("img", "par")),
    Hot("lost_devices", ("img", "par")),
    Hot("judge_power", ("img", "par")),
    Hot("plant_conditions", ("img", "par")),
    Hot("debounce", ("img", "fault_rows", "fault_state", "faults")),
    Hot("least", ("curtailments", "img", "par", "limiters", "dt")),
    Hot("age_claims", ("claims", "places", "dt")),
    Hot("soc_row", ("img", "par")),
    Hot("temperature_row", ("img", "par")),
    Hot("headroom", ("img", "par")),
    Hot("current_rows", ("img", "par")),
    Hot("gate_rows", ("img", "par")),
    Hot("device_rows", ("img", "par")),
    Hot("grid_rows", ("img", "par")),
    Hot("binding", ("img", "par")),
    Hot("bms_ends", ("img", "par")),
    Hot("ramp", ("img", "par")),
    Hot("check_command", ("img", "par")),
    Hot("classes", ("img", "parts", "pars", "which", "some")),
    Hot("join", ("img", "parts", "which", "some", "rules", "rule_numbers")),
    Hot("state_of_charge", ("img", "par", "parts", "pars", "which", "weights", "some")),
    Hot("spread", ("img", "par", "parts", "pars", "some")),
    Hot("rest", ("parts", "some", "order", "dt")),
    Hot("add_limits", ("img", "parts", "pars", "some")),
    Hot("portions", ("img", "parts", "pars", "some", "how", "served")),
    Hot("take_portions", ("img", "parts", "pars", "some")),
    Hot("account", ("img", "par")),
    Hot("share_paths", ("img", "par")),
    Hot("name_flow", ("img", "par")),
)


Argument = array | list[array] | int
MOST = 3  # parts of a list: one less than there may be, as a case takes its time


def make_parts(rng: random.Random, par: array) -> list[array]:
    """Banks in any states; some are connected, with nothing to do."""
    found = [make_img(rng, par) for _ in range(MOST)]
    if rng.random() < 0.3:
        for img in found:
            img[image.MODE], img[image.CMD_RUN], img[image.TRIPS], img[image.ORDER] = rng.randint(1, 3), 1, 0, image.ORDER_START
    return found


def arguments(hot: Hot, rng: random.Random) -> list[Argument]:
    """One set of arguments for a call."""
    par = make_par(rng)
    img = make_img(rng, par)
    kinds: dict[str, Callable[[], Argument]] = {
        "par": lambda: par,
        "img": lambda: img,
        "inp": lambda: make_inp(rng, img),
        "parts": lambda: make_parts(rng, par),
        "pars": lambda: [make_par(rng) for _ in range(MOST)],
        "some": lambda: rng.randint(1, MOST),
        "which": lambda: array("i", [rng.randint(0, 31) for _ in range(MOST)]),
        "weights": lambda: array("i", [rng.randint(1, 9600) for _ in range(MOST)]),
        "rules": lambda: array("i", [n for slot in range(64) for n in (slot, 1 << rng.randint(0, 4), rng.randint(1, 9))]),
        "rule_numbers": lambda: 192,
        "served": lambda: rng.randint(0, 15),
        "order": lambda: rng.randint(0, 7),
        "how": lambda: rng.randint(0, 3),
        "dt": lambda: rng.choice((10, 20, 50, 1000, rng.randint(1, 1000))),
        "fault_rows": lambda: make_fault_rows(rng),
        "fault_state": lambda: make_fault_state(rng),
        "faults": lambda: len(faults.TABLE),
        "claims": lambda: make_claims(rng),
        "places": lambda: requests.PLACES,
        "curtailments": lambda: make_curtailments(rng),
        "limiters": lambda: requests.OWNERS,
    }
    return [kinds[kind]() for kind in hot.arguments]
