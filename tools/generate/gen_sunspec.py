"""Makes firmware/devices/sunspec_tables.py: where the points we read and write lie in the SunSpec models.

No register map is typed by hand: offsets, types and scale-factor registers come from the model definitions
that pysunspec2 carries, image slots from firmware/image.py; the driver's own values stand behind its inputs.
Run `python -m tools.generate.gen_sunspec` after a change; `--check` only says whether the file on disk is current (exit
code 1 if it is not).
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "firmware" / "devices" / "sunspec_tables.py"

TYPES = ("int16", "uint16", "int32", "uint32", "enum16", "bitfield16", "bitfield32", "float32", "acc32", "count", "sunssf")
NO_SCALE = 255


@dataclass
class Block:
    """Points of one model that are read together, with their scale factors and the model's id and length."""

    name: str
    model: int
    comment: str
    points: list[tuple[str, str, int]]  # point, image slot or scratch name, decimals of the slot's unit
    same_as: tuple[int, ...] = ()  # models whose points lie in the same places (checked)


@dataclass
class Writes:
    """Points of one model that a driver writes (or reads one by one): only their offsets are needed."""

    model: int
    points: dict[str, str] = field(default_factory=dict)  # constant's name -> point


# where a meter's values lie: they begin at 0 too, around the one that an inverter has as well
METER_PLACES = {"X_METER_P": 0, "X_METER_V": 1, "X_METER_I": 3, "X_METER_HZ": 4}
METER_POINTS = [
    ("A", "X_METER_I", 1),
    ("PPV", "X_METER_V", 1),
    ("PhV", "X_PHASE_V", 1),
    ("Hz", "X_METER_HZ", 3),
    ("W", "X_METER_P", 0),
]
INVERTER_POINTS = [
    ("A", "PCS_I", 1),
    ("PPVphAB", "PCS_V", 1),
    ("PhVphA", "X_PHASE_V", 1),
    ("W", "PCS_P", 0),
    ("Hz", "PCS_HZ", 3),
    ("VAr", "PCS_Q", 0),
    ("DCA", "PCS_DC_I", 1),
    ("DCV", "PCS_DC_V", 1),
    ("DCW", "PCS_DC_P", 0),
    ("TmpCab", "X_TMP_CAB", 1),
    ("TmpSnk", "X_TMP_SNK", 1),
    ("St", "X_STATE", 0),
    ("Evt1", "PCS_ALARM", 0),
]
BLOCKS = [
    Block(
        "PCS_AC",
        701,
        "AC measurement and state",
        [
            ("St", "X_ON", 0),
            ("InvSt", "X_STATE", 0),
            ("ConnSt", "PCS_GRID", 0),
            ("Alrm", "PCS_ALARM", 0),
            ("W", "PCS_P", 0),
            ("Var", "PCS_Q", 0),
            ("A", "PCS_I", 1),
            ("LLV", "PCS_V", 1),
            ("LNV", "X_PHASE_V", 1),
            ("Hz", "PCS_HZ", 3),
        ],
    ),
    Block("PCS_HEAT", 701, "temperatures", [("TmpCab", "X_TMP_CAB", 1), ("TmpSnk", "X_TMP_SNK", 1)]),
    Block(
        "PCS_CAPACITY",
        702,
        "ratings and the settings that derate them",
        [
            ("WMaxRtg", "X_W_RTG", 0),
            ("WChaRteMaxRtg", "X_CHG_RTG", 0),
            ("WDisChaRteMaxRtg", "X_DIS_RTG", 0),
            ("WMax", "X_W_MAX", 0),
            ("WChaRteMax", "X_CHG_MAX", 0),
            ("WDisChaRteMax", "X_DIS_MAX", 0),
            ("VAMaxRtg", "X_VA_RTG", 0),
            ("VAMax", "X_VA_MAX", 0),
        ],
    ),
    Block(
        "PCS_DC",
        714,
        "DC side: totals, and the voltage of the first port",
        [("DCA", "PCS_DC_I", 1), ("DCW", "PCS_DC_P", 0), ("Prt.DCV", "PCS_DC_V", 1)],
    ),
    Block(
        "PCS_SET",
        704,
        "the setpoint it follows",
        [
            ("WSetEna", "X_SET_ENA", 0),
            ("WSetMod", "X_SET_MOD", 0),
            ("WSet", "PCS_SETPOINT", 0),
            ("WSetEnaRvrt", "X_RVRT_ENA", 0),
            ("WSetRvrtTms", "X_RVRT_S", 0),
            ("WSet_SF", "X_SET_SF", 0),
        ],
    ),
    Block("INVERTER", 103, "an older inverter's measurement", INVERTER_POINTS, same_as=(101, 102)),
    Block("INVERTER_FLOAT", 113, "the same, floats", INVERTER_POINTS, same_as=(111, 112)),
    Block(
        "INVERTER_RATING",
        120,
        "its ratings",
        [
            ("WRtg", "X_W_RTG", 0),
            ("MaxChaRte", "X_CHG_RTG", 0),
            ("MaxDisChaRte", "X_DIS_RTG", 0),
            ("VARtg", "X_VA_RTG", 0),
            ("VArRtgQ1", "X_VAR_RTG", 0),
        ],
    ),
    Block("INVERTER_SETTING", 121, "the settings that derate it", [("WMax", "X_W_MAX", 0), ("VAMax", "X_VA_MAX", 0)]),
    Block(
        "REACTIVE",
        704,
        "the reactive setpoint it follows",
        [
            ("VarSetEna", "X_Q_ENA", 0),
            ("VarSetMod", "X_Q_MOD", 0),
            ("VarSet", "X_Q_SET", 0),
            ("VarSetRvrtTms", "X_Q_RVRT_S", 0),
            ("VarSet_SF", "X_Q_SF", 0),
        ],
    ),
    Block(
        "REACTIVE_OLDER",
        123,
        "the same of an older inverter, in percent",
        [
            ("VArWMaxPct", "X_Q_SET", 2),
            ("VArMaxPct", "X_Q_VAR_SET", 2),
            ("VArPct_RvrtTms", "X_Q_RVRT_S", 0),
            ("VArPct_Mod", "X_Q_MOD", 0),
            ("VArPct_Ena", "X_Q_ENA", 0),
            ("VArPct_SF", "X_Q_SF", 0),
        ],
    ),
    Block(
        "STORAGE",
        124,
        "its storage: limits in force",
        [
            ("WChaMax", "X_STOR_MAX", 0),
            ("StorCtl_Mod", "X_STOR_MOD", 0),
            ("OutWRte", "X_STOR_OUT", 2),
            ("InWRte", "X_STOR_IN", 2),
            ("InOutWRte_RvrtTms", "X_STOR_RVRT_S", 0),
            ("ChaGriSet", "X_STOR_GRID", 0),
            ("InOutWRte_SF", "X_STOR_SF", 0),
        ],
    ),
    Block("CONTROLS", 123, "its controls: only whether they are where they were", []),
    Block("CONTROLLER", 715, "control: the same", []),
    Block("METER_INT", 203, "meter, integers", METER_POINTS, same_as=(201, 202, 204)),
    Block("METER_FLOAT", 213, "meter, floats", METER_POINTS, same_as=(211, 212, 214)),
]

WRITES = [
    Writes(1, {"COMMON_MN": "Mn", "COMMON_MD": "Md", "COMMON_OPT": "Opt", "COMMON_VR": "Vr", "COMMON_SN": "SN", "COMMON_DA": "DA"}),
    Writes(
        704,
        {
            "WSET_ENA": "WSetEna",
            "WSET_MOD": "WSetMod",
            "WSET": "WSet",
            "WSET_RVRT": "WSetRvrt",
            "WSET_ENA_RVRT": "WSetEnaRvrt",
            "WSET_RVRT_TMS": "WSetRvrtTms",
            "VARSET_ENA": "VarSetEna",
            "VARSET": "VarSet",
            "VARSET_RVRT": "VarSetRvrt",
            "VARSET_ENA_RVRT": "VarSetEnaRvrt",
        },
    ),
    Writes(
        123,
        {
            "INVERTER_CONN": "Conn",
            "VAR_W_PCT": "VArWMaxPct",
            "VAR_MAX_PCT": "VArMaxPct",
            "VAR_RVRT": "VArPct_RvrtTms",
            "VAR_MOD": "VArPct_Mod",
        },
    ),
    Writes(
        124,
        {
            "STOR_MOD": "StorCtl_Mod",
            "STOR_OUT": "OutWRte",
            "STOR_RVRT": "InOutWRte_RvrtTms",
            "STOR_GRID": "ChaGriSet",
        },
    ),
    Writes(715, {"CONTROLLER_HB": "ControllerHb", "ALARM_RESET": "AlarmReset", "OP_CTL": "OpCtl"}),
]


def model_points(model: int) -> tuple[dict[str, tuple[int, str, int, str]], int]:
    """Points of a model by name (`Group.Point` for the first instance of a group): offset, type, size, scale factor."""
    text = (files("sunspec2") / "models" / "json" / f"model_{model}.json").read_text(encoding="utf-8")
    top = json.loads(text)["group"]
    points: dict[str, tuple[int, str, int, str]] = {}
    offset = 0
    for prefix, group in [("", top)] + [(g["name"] + ".", g) for g in top.get("groups", [])]:
        for point in group["points"]:
            points[prefix + point["name"]] = (offset, point["type"], point["size"], str(point.get("sf", "")))
            offset += point["size"]
        if prefix and group.get("groups"):
            break  # nothing beyond the first instance of a nested group has a fixed place
    return points, offset


def image_slots() -> dict[str, int]:
    """The slot constants of firmware/image.py."""
    tree = ast.parse((ROOT / "firmware" / "image.py").read_text(encoding="utf-8"))
    slots = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and isinstance(node.targets[0], ast.Name):
            argument = node.value.args[0]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, int):
                slots[node.targets[0].id] = argument.value
    return slots


def _own_place(number: int, slots: dict[str, int]) -> int:
    """Where a value that has no slot lies: in the places of the battery's, which no SunSpec device fills, then in the meter's,
    which no inverter fills."""
    battery = slots["PCS_STATE"]
    return number if number < battery else slots["METER_P"] + number - battery


def block_rows(block: Block, slots: dict[str, int], scratch: dict[str, int]) -> tuple[int, bytes]:
    """A block as the board wants it: how many registers it spans from the model's id on, rows of five bytes."""
    points, _ = model_points(block.model)
    rows = bytearray()
    span = 2  # id and length
    for name, target, decimals in block.points:
        offset, kind, size, scale = points[name]
        if target not in slots and target not in scratch:
            scratch[target] = _own_place(len(scratch), slots)
        has_factor = bool(scale) and not scale.lstrip("-").isdigit()
        where = points[scale][0] if has_factor else NO_SCALE
        span = max(span, offset + size, where + 1 if has_factor else 0)
        rows += bytes((offset, TYPES.index(kind), where, slots.get(target, scratch.get(target, 0)), decimals))
    if len(set(rows[3::5])) < len(block.points):
        raise SystemExit(f"{block.name}: two of its values lie in one place")
    return span, bytes(rows)


def generate() -> str:
    """The text of the module."""
    slots = image_slots() | METER_PLACES
    scratch: dict[str, int] = {}
    lines = []
    for block in BLOCKS:
        span, rows = block_rows(block, slots, scratch)
        for model in block.same_as:
            other = replace(block, model=model)
            if block_rows(other, slots, scratch) != (span, rows):
                raise SystemExit(f"model {model} is laid out differently from model {block.model}")
        models = ", ".join(str(n) for n in sorted((block.model, *block.same_as)))
        lines.append(f"# model {models}: {block.comment}")
        text = "".join(f"\\x{b:02x}" for b in rows)
        lines.append(f"{block.name} = const((")
        lines.append(f"    {block.model}, {span},")
        lines.extend(f'    b"{text[i : i + 100]}"' for i in range(0, max(1, len(text)), 100))
        lines[-1] += ","
        lines.append("))")
    head = [
        '"""Where points lie in the SunSpec models: generated by tools/generate/gen_sunspec.py, do not edit.',
        "",
        "A block is (model, how many registers it spans, rows), registers counted from the model's id; a row is",
        "five bytes: offset, type, place of its scale factor (255: none), slot (a battery's, and an inverter's behind its own: the",
        "driver's own values, X_*, of which a meter has nothing else), decimals of the slot's unit.",
        '"""',
        "",
        "from micropython import const",
        "",
    ]
    names = [f"{name} = const({value})" for name, value in scratch.items()]
    names += [f"{name} = const({value})" for name, value in METER_PLACES.items()]
    names.append(f"N_METER_VALUES = const({max(*METER_PLACES.values(), scratch['X_PHASE_V']) + 1})")
    names.append(f"N_VALUES = const({max(slots['METER_P'] - 1, *scratch.values()) + 1})")
    for writes in WRITES:
        points, _ = model_points(writes.model)
        names.append(f"# offsets in model {writes.model}")
        names.extend(f"{name} = const({points[point][0]})" for name, point in writes.points.items())
    names.append("# types of points")
    names.extend(f"T_{kind.upper()} = const({i})" for i, kind in enumerate(TYPES))
    return "\n".join(head + names + [""] + lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Writes the module, or with --check compares it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare; exit code 1 if the file is out of date")
    arguments = parser.parse_args(argv)
    text = generate()
    if arguments.check:
        current = TARGET.exists() and TARGET.read_text(encoding="utf-8") == text
        verdict = "current" if current else "OUT OF DATE: run python -m tools.generate.gen_sunspec"
        print(f"{TARGET.relative_to(ROOT)} is {verdict}")
        return 0 if current else 1
    TARGET.write_text(text, encoding="utf-8")
    print(f"wrote {TARGET.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
