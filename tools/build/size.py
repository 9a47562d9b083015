"""What the firmware weighs on a board: `make size` (ARGS=--json for one JSON object, ARGS=--write for tools/build/sizes.json).

On the 32-bit interpreter, whose words and objects are the ESP32's.  Of every module: its .mpy (x86); its code, which takes
heap when it comes from a file and none where it runs in place, from ROMFS or frozen; its names, kept for ever in pools that
double, and their text; its objects, which take heap from files and ROMFS, and the constants among them, which a frozen
image has in flash as well; and the peak, what importing it allocates while nothing is
collected.  Its own imports are apart.  With --write also what a part of a site (a driver, a bus, the calendar) costs on a
running board beyond its modules: see tools/build/live_heap.py.  tools/build/fits.py adds up from there.

Profiles: core is what `import firmware` needs, devices and services what the files in those folders need beyond that, app
the rest of firmware/, lib whatever is left of lib/.
"""

import argparse
import ast
import concurrent.futures
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tools import bms_tables
from tools.build import boardfile, fits, planned, romfs, stage
from tools.interpreters import chosen
from tools.sim.board import chiprom, mpyfile

ROOT = stage.ROOT
MEASURE = Path(__file__).parents[1] / "onboard" / "heap_of.py"
STAND_IN = "package_init"
GATHERERS = {"firmware": Path("firmware"), "canbus": Path("lib", "canbus")}
KEPT = fits.KEPT
KEYS = ("mpy_bytes", "code_bytes", "names", "name_bytes", "object_bytes", "constant_bytes", "peak_bytes")
HEADS = (".mpy", "code", "names", "their text", "objects", "of them constants", "peak", "from files")
BACKENDS = {"twai": "canbus.twai", "mcp2515": "canbus.mcp2515"}
GC_BLOCK = 16
# how far a module, and all of them, may be from what is kept
MODULE_BYTES, MODULE_SHARE, TOTAL_SHARE = 256, 0.08, 0.03
_QSTR_INFO = re.compile(r"n_qstr=(\d+), n_str_data_bytes=(\d+), n_total_bytes=(\d+)")
SCHEDULES = tuple(
    f"pm.add_schedule(ScheduleEntry(hour={hour}, mode=Mode.CHARGE, power_setpoint=-30, duration_minutes=60))" for hour in range(4)
)
PROFILES = ("core", "devices", "services", "app", "lib")


def module_name(path: Path) -> str:
    """firmware/devices/x.py -> firmware.devices.x; lib/modbus/__init__.py -> modbus."""
    parts = list(path.with_suffix("").parts)
    if parts[0] == "lib":
        parts = parts[1:]
    if parts[-1] == "__init__":
        parts = parts[:-1]
    return ".".join(parts)


def imports(tree: ast.Module, known: set[str]) -> list[str]:
    """The project's modules that a file imports when it is itself imported (not inside functions)."""
    found: list[str] = []
    for node in tree.body:
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [node.module]
        for name in names:
            while name and name not in known:
                name = name.rpartition(".")[0]
            if name:
                found.append(name)
    return found


def needs(modules: Iterable[str]) -> dict[str, list[str]]:
    """What each of the modules imports when it is imported, its package among it."""
    known = {name: path for path in stage.device_files() if (name := module_name(path)) in modules and path.suffix == ".py"}
    found = {}
    for name, path in known.items():
        package = name.rpartition(".")[0]
        first = [package] if package in known and package not in GATHERERS else []
        found[name] = [needed for needed in first + imports(ast.parse((ROOT / path).read_text()), set(known)) if needed != name]
    return found


def closure(start: list[str], needs: dict[str, list[str]]) -> list[str]:
    """start and everything it imports, imported first."""
    order: list[str] = []
    on_the_way: set[str] = set()

    def visit(name: str) -> None:
        if name in order or name in on_the_way:
            return
        on_the_way.add(name)
        for needed in needs[name]:
            visit(needed)
        order.append(name)

    for name in start:
        visit(name)
    return order


def profiles(sources: dict[str, Path]) -> dict[str, str]:
    """Module -> profile, in an order in which every module's imports come before it."""
    wanted = needs(sources)
    roots = {
        "core": ["firmware"],
        "devices": [name for name in sources if name.startswith("firmware.devices")],
        "services": [name for name in sources if name.startswith("firmware.services")],
        "app": [name for name in sources if name.startswith("firmware.")],
        "lib": [name for name in sources if not name.startswith("firmware")],
    }
    found: dict[str, str] = {}
    for profile in PROFILES:
        for name in closure(sorted(roots[profile]), wanted):
            found.setdefault(name, profile)
    return found


def _measured_as(name: str) -> str:
    """What to import for a module: a package that only gathers its files is measured beside an empty __init__."""
    return f"{name}.{STAND_IN}" if name in GATHERERS else name


def measure(names: list[str], flash: Path, rom: Path) -> dict[str, dict[str, int]]:
    """Figures by module.  Raises RuntimeError when one cannot be imported."""
    # importing any module of a package runs its __init__, and these import half the package: it would all be that module's
    for package in GATHERERS.values():
        (flash / package / "__init__.mpy").rename(flash / package / f"{STAND_IN}.mpy")
        (flash / package / "__init__.py").touch()
    image = romfs.build(flash, flash.parent / "romfs.img").path
    imported = [_measured_as(name) for name in names]
    from_files, in_place = (_import(imported, place, rom, flash) for place in (".", str(image)))
    figures = {}
    for name, (heap, peak, count, text) in from_files.items():
        objects = in_place[name][0]
        figures[name.removesuffix(f".{STAND_IN}")] = {
            "code_bytes": max(0, heap - objects - text),  # whole blocks: a few bytes below where there is hardly any
            "names": count,
            "name_bytes": text,
            "object_bytes": objects,
            "peak_bytes": peak,
        }
    return figures


def _import(names: list[str], place: str, rom: Path, flash: Path) -> dict[str, tuple[int, int, int, int]]:
    """By module: heap and peak without the pools of names, new names, bytes of their text."""
    command = [*chosen("32").command, "-X", "heapsize=2M", str(MEASURE), str(rom), place, *names]
    done = subprocess.run(command, cwd=flash, capture_output=True, text=True, env={"SIM_UART1": "", "PATH": ""}, timeout=60)
    found: dict[str, tuple[int, int, int, int]] = {}
    count = text = pools = 0
    module, heap, peak = "", 0, 0
    for line in done.stdout.splitlines():
        words = line.split(" ", 4)
        if words[0] == "module":
            module, heap, peak = words[1], int(words[2]), int(words[3]) if words[3].isdigit() else 0
            if heap < 0:
                raise RuntimeError(f"{module} cannot be imported: {' '.join(words[3:])}")
        elif match := _QSTR_INFO.search(line):
            before = count, text, pools
            count, text, total = (int(number) for number in match.groups())
            pools = total - text
            if module != "before":
                more = -(-(pools - before[2]) // GC_BLOCK) * GC_BLOCK
                found[module] = (heap - more, max(0, peak - more), count - before[0], text - before[1])
    if done.returncode:
        raise RuntimeError(done.stdout[-500:] + done.stderr[-500:])
    return found


def _stood_in(flash: Path, path: Path) -> Path:
    """Where a module is once measure() has put an empty one in its place."""
    aside = flash / path.parent / f"{STAND_IN}.mpy"
    return aside if path.stem == "__init__" and aside.exists() else flash / path


def weigh() -> dict:
    """Modules and totals per profile."""
    with tempfile.TemporaryDirectory() as scratch:
        flash, rom = Path(scratch) / "flash", Path(scratch) / "rom"
        stage.stage(ROOT, flash, "x86")
        chiprom.build(rom, "x86")
        sources = {module_name(p): p for p in stage.device_files() if p.suffix == ".py" and len(p.parts) > 1}
        where = profiles(sources)
        sizes = {name: (flash / path.with_suffix(".mpy")).stat().st_size for name, path in sources.items()}
        figures = measure(list(where), flash, rom)
        taken = {name: mpyfile.read(_stood_in(flash, path.with_suffix(".mpy"))) for name, path in sources.items()}
        can = mpyfile.read(rom / "sim_can.mpy")
    names: set[str] = set().union(*(module.names for module in taken.values()))
    for name in where:
        figures[name]["constant_bytes"] = min(taken[name].constant_bytes(names), figures[name]["object_bytes"])
    modules: dict[str, dict] = {
        name: {"profile": profile, "mpy_bytes": sizes[name], **figures[name]} for name, profile in where.items()
    }
    totals = {
        profile: {key: sum(row[key] for row in modules.values() if profile in (row["profile"], "all")) for key in KEYS}
        for profile in (*PROFILES, "all")
    }
    return {
        "modules": modules,
        "totals": totals,
        "power_manager_object_bytes": figures["PowerManager()"]["object_bytes"],
        "can_stand_in_bytes": fits.file_bytes(figures["machine.CAN"]),
        "can_stand_in_own_bytes": figures["machine.CAN"]["object_bytes"] - can.constant_bytes(names | can.names),
    }


# ---- parts of a site --------------------------------------------------------------------------------------------------


def variants() -> dict[str, tuple[dict, str, tuple[str, ...]]]:
    """Part -> (site with it, the part of which everything else of that site is, console lines)."""
    can = {"buses": {"can0": {"type": "can"}}}
    radio = {"wifi": {"ssid": "simulated"}}
    rtu = {"buses": {"rs485": {"type": "modbus_rtu"}}}
    table = {"reads": [{"slot": "PV_P", "address": 40000, "type": "uint16", "low": 0, "high": 200000}]}
    relays = {"type": "relays", "export_rated_kw": 50}
    contacts = {f"{i}": {"input_pin": pin, "export_percent": 30 * i} for i, pin in enumerate((13, 14, 32, 33))}
    bits = {f"{i}": {"bit": i, "export_percent": 30 * i} for i in range(4)}
    given: dict[str, dict] = {
        "pcs_sunspec": {"unit": 1}, "meter_sunspec": {"unit": 2}, "generic_modbus": {"unit": 1, "table": table},
    }  # fmt: skip
    made: dict[str, tuple[dict, str, tuple[str, ...]]] = {
        "core": ({}, "", ()),
        "bus can": (can, "core", ()),
        "bus modbus_rtu": (rtu, "core", ()),
        "device bms_pylontech": ({**can, "devices": {"x": {"type": "bms_pylontech", "bus": "can0"}}}, "bus can", ()),
        "device io_board": ({"devices": {"x": {"type": "io_board", "estop_pin": 34}}}, "core", ()),
        "wifi": (radio, "core", ()),
        "calendar": ({"clock": {"ntp": ""}, "storage": {"place": "data"}}, "core", ()),
        "calendar and wifi": ({**radio, "clock": {"ntp": ""}}, "calendar", ()),
        "clock.ntp": ({**radio, "clock": {"ntp": "host"}}, "calendar and wifi", ()),
        "clock.ems_port": ({"clock": {"ntp": "", "ems_port": 15020}}, "calendar", ()),
        "schedules": ({"clock": {"ntp": ""}}, "calendar", SCHEDULES),
        "service sunspec_server": ({"services": {"x": {"type": "sunspec_server"}}}, "core", ()),
        "service web": ({"services": {"x": {"type": "web", "public": "view"}}}, "core", ()),
        "service relays": ({"services": {"x": {**relays, "inputs": contacts}}}, "core", ()),
        "service relays, TCP": ({"services": {"x": {**relays, "host": "10.0.0.9", "inputs": bits}}}, "core", ()),
        "service ems_can": ({**can, "services": {"x": {"type": "ems_can", "bus": "can0", "control": True}}}, "bus can", ()),
    }
    # with all that is loaded for the tables that use it
    together = [{"from": "CMD_RUN", "address": 1}, {"from": "CMD_P", "address": 2, "type": "float32"}]
    writes = {**table, "writes": [{"value": 1, "address": 7}, {"together": together}]}
    generic = {"type": "generic_modbus", "table": table}
    made["table that writes"] = (
        {**rtu, "devices": {"x": {**generic, "bus": "rs485", "table": writes}}}, "device generic_modbus", ()
    )  # fmt: skip
    gateway = {**generic, "host": "10.0.0.9", "transport": "rtu_over_tcp"}
    made["transport rtu_over_tcp"] = ({"devices": {"x": gateway}}, "device generic_modbus, TCP", ())
    for module in bms_tables.makers().values():
        kind = module.__name__.rpartition(".")[2]
        every_ms = max(1000, next((row[2] for row in module.OPTIONS if row[0] == "period_ms"), 0))
        devices = {"x": {"type": kind, "bus": "can0"}}
        made[f"device {kind}"] = ({**can, "power": {"bms_period_ms": every_ms}, "devices": devices}, "bus can", ())
    for kind, options in given.items():
        made[f"device {kind}"] = ({**rtu, "devices": {"x": {"type": kind, "bus": "rs485", **options}}}, "bus modbus_rtu", ())
        unit = {**options, "unit": 1}
        made[f"device {kind}, TCP"] = ({"devices": {"x": {"type": kind, "host": "10.0.0.9", **unit}}}, "core", ())
    for part in ("device pcs_sunspec", "device pcs_sunspec, TCP"):  # as fits.parts_of names them
        site, base, typed = made[part]
        for spoken in DIALECTS:
            made[f"{part}, {spoken}"] = ({**site, "devices": {"x": {**site["devices"]["x"], "dialect": spoken}}}, base, typed)
    return made


DIALECTS = ("newer", "older")  # of an inverter that speaks SunSpec: the code of the other is not loaded


# need nothing of each other
TOGETHER = ("bus can", "bus modbus_rtu", "device io_board", "device meter_sunspec, TCP", "calendar")


def _together() -> dict:
    """A site of all of those: what each of them brings once, it has once."""
    made: dict = {}
    for i, part in enumerate(TOGETHER):
        for key, section in variants()[part][0].items():
            known = {f"x{i}": device for device in section.values()} if key == "devices" else section
            made.setdefault(key, {}).update(known)
    return made


def _shared(heaps: dict[str, int], together: int) -> int:
    """Bytes that each part but the first would count again: a table that grows, what the first device brings along."""
    core = heaps["core"]
    apart = core + sum(heaps[part] - core for part in TOGETHER)
    return max(0, apart - together) // (len(TOGETHER) - 1)


def _meter_of(part: str) -> str:
    """The part of a meter reached as that inverter is, of which everything else of the inverter's site in our own image is."""
    return "device meter_sunspec, TCP" if ", TCP" in part else "device meter_sunspec"


def _beside(site: dict, part: str) -> dict:
    """A site of an inverter alone, with a meter: loading it alone the interpreter's stack does not bear in our own image."""
    if not part.startswith("device pcs_sunspec"):
        return site
    reached = {key: site["devices"]["x"][key] for key in ("host", "bus") if key in site["devices"]["x"]}
    return {**site, "devices": {"m": {"type": "meter_sunspec", "unit": 2 if "bus" in reached else 1, **reached}, **site["devices"]}}


def parts(modules: dict[str, dict], can: tuple[int, int]) -> dict[str, dict]:
    """What each part of a site brings: modules, bytes and names of its own.  Runs some twenty seconds a part.

    own_bytes: those in our own image, where the simulated board takes off what is no part of a chip.  `can`: bytes of the
    simulated CAN controller, from files and in our own image.
    """
    from tools.build import live_heap

    parts = variants()
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        running = {part: pool.submit(live_heap.live, {"schema": 1, **site}, typed) for part, (site, _, typed) in parts.items()}
        in_image = {
            part: pool.submit(live_heap.live, {"schema": 1, **_beside(site, part)}, typed, True)
            for part, (site, _, typed) in parts.items()
        }
        all_at_once = [pool.submit(live_heap.live, {"schema": 1, **_together()}, (), ours) for ours in (False, True)]
        measured = {part: future.result() for part, future in running.items()}
        own = {part: future.result() for part, future in in_image.items()}
        together, together_own = (future.result() for future in all_at_once)
    shared = _shared({part: live.heap_bytes - live.pool_bytes for part, live in measured.items()},
                     together.heap_bytes - together.pool_bytes)  # fmt: skip
    shared_own = _shared({part: live.heap_bytes for part, live in own.items()}, together_own.heap_bytes)
    found: dict[str, dict] = {}
    for part, (_, base, _) in parts.items():
        live = measured[part]
        below = measured[base] if base else None
        brings = sorted(name for name in live.modules - (below.modules if below else set()) if name in modules)
        objects = live.heap_bytes - live.pool_bytes - sum(fits.file_bytes(modules[name]) for name in brings)
        names = len(live.names) - sum(modules[name]["names"] for name in brings)
        words = " ".join(sorted(name.replace(" ", "_") for name in live.names - measured["core"].names))
        if below:
            objects -= below.heap_bytes - below.pool_bytes
            names -= len(below.names)
        once = -1 if not base else 1 if base == "core" else 0  # with the core
        objects -= once * shared
        under = own[_meter_of(part) if "pcs_sunspec" in part else base] if base else None
        frozen = sum(
            fits.frozen_bytes(modules[name]) for name in own[part].modules - (under.modules if under else set()) if name in modules
        )
        less = under.heap_bytes if under else fits.pool_bytes(fits.OWN_NAMES)
        found[part] = {
            "on": base, "modules": brings, "object_bytes": objects, "names": names, "words": words,
            "own_bytes": own[part].heap_bytes - less - frozen - once * shared_own,
        }  # fmt: skip
    # the simulated board has but the port's own class, whose stand-in is not there when a back end of ours is
    for name, module in BACKENDS.items():
        brings = [needed for needed in closure([module], needs(modules)) if needed not in found["bus can"]["modules"]]
        found[f"backend {name}"] = {"on": "bus can", "modules": brings, "object_bytes": -can[0], "names": 0, "own_bytes": -can[1]}
    return found


def stale(report: dict, kept: dict) -> list[str]:
    """A line for each module whose figures in `kept` are no longer true, and for the sum."""
    new, old = report["modules"], kept["modules"]
    lines = [f"{name}: is not in it" for name in sorted(set(new) - set(old))]
    lines += [f"{name}: is gone" for name in sorted(set(old) - set(new))]
    for name in sorted(set(new) & set(old)):
        now, then = fits.file_bytes(new[name]), fits.file_bytes(old[name])
        if abs(now - then) > max(MODULE_BYTES, MODULE_SHARE * then):
            lines.append(f"{name}: {now} bytes of heap, it says {then}")
    now, then = (sum(fits.file_bytes(row) for row in table.values()) for table in (new, old))
    if abs(now - then) > TOTAL_SHARE * then:
        lines.append(f"all: {now} bytes of heap, it says {then}")
    return lines


# ---- what one sees ----------------------------------------------------------------------------------------------------


def show(report: dict) -> None:
    """The modules and profiles as a table."""
    table = Table(title="weight on a 32-bit board, bytes of heap")
    for column in ("profile", "module", *HEADS):
        table.add_column(column, justify="right" if column in HEADS else "left")
    rows = report["modules"].items()
    for name, row in sorted(rows, key=lambda item: (PROFILES.index(item[1]["profile"]), -fits.file_bytes(item[1]))):
        table.add_row(row["profile"], name, *_cells(row))
    table.add_section()
    for profile, total in report["totals"].items():
        table.add_row(profile, "total", *_cells(total))
    console = Console(width=max(Console().width, 110))
    console.print(table)
    console.print(f"one PowerManager: {report['power_manager_object_bytes']} bytes")


def _cells(row: dict) -> list[str]:
    return [str(row[key]) for key in KEYS] + [str(fits.file_bytes(row))]


def show_sites(sizes: dict) -> None:
    """The shipped sites on the boards they are for; and the full one in the image of our own, where it is too large."""
    for file, name, image in (*fits.SHIPPED, ("site.example.json", "generic_esp32", fits.OWN)):
        board = boardfile.load(name)
        site = boardfile.site_for(board, json.loads((ROOT / "docs" / file).read_text()))
        print("\n" + fits.weigh(board, site, image, sizes).as_text(f"docs/{file}"))


def main() -> int:
    """Prints the report; 1 when what is kept is stale and was not written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    parser.add_argument("--write", action="store_true", help=f"measure the parts of sites too, write {KEPT.name}, boards/README.md")
    arguments = parser.parse_args()
    report = weigh()
    if arguments.write:
        can = report["can_stand_in_bytes"], report["can_stand_in_own_bytes"]
        kept = {"modules": report["modules"], "parts": parts(report["modules"], can)}
        KEPT.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
        planned.write()
    sizes = fits.sizes()
    old = stale(report, sizes)
    if arguments.json:
        print(json.dumps({**report, "parts": sizes["parts"], "stale": old}))
    else:
        show(report)
        show_sites(sizes)
    for line in old:
        print(f"{KEPT.name} is stale (make size ARGS=--write): {line}", file=sys.stderr)
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main())
