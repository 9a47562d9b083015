"""What the firmware weighs on a board: `make size` (ARGS=--json for one JSON object).

Bytes: the cross-compiled .mpy (x86, the word size of the ESP32).  Heap: what importing it costs on the 32-bit
interpreter, its own imports apart; names are kept in pools that grow in lumps, and the module that needs the next lump
shows it.  Profiles: core is what `import firmware` needs, devices and services what the files
in those folders need beyond that, app the rest of firmware/, lib whatever is left of lib/.
"""

import argparse
import ast
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tools import stage
from tools.interpreters import chosen
from tools.simboard import chiprom

ROOT = stage.ROOT
MEASURE = Path(__file__).parent / "onboard" / "heap_of.py"
STAND_IN = "package_init"
BUDGETS = {"core": 56 * 1024}  # bytes of heap: docs say 56 KB for the core without services
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
    known = set(sources)
    needs = {name: imports(ast.parse((ROOT / path).read_text()), known) for name, path in sources.items()}
    roots = {
        "core": ["firmware"],
        "devices": [name for name in sources if name.startswith("firmware.devices")],
        "services": [name for name in sources if name.startswith("firmware.services")],
        "app": [name for name in sources if name.startswith("firmware.")],
        "lib": [name for name in sources if not name.startswith("firmware")],
    }
    # a package's own __init__ runs before its modules, and firmware's imports half of them: measure those first
    needs["firmware"] = [name for name in needs["firmware"] if name != "firmware"]
    found: dict[str, str] = {}
    for profile in PROFILES:
        for name in closure(sorted(roots[profile]), needs):
            found.setdefault(name, profile)
    return found


def measure(names: list[str], flash: Path, rom: Path) -> dict[str, int]:
    """Heap bytes by module.  Raises RuntimeError when one cannot be imported."""
    # firmware/__init__ re-exports the core, so importing any module would pay for all of it: measured under another
    # name, last of its profile, beside an empty __init__
    (flash / "firmware" / "__init__.mpy").rename(flash / "firmware" / f"{STAND_IN}.mpy")
    (flash / "firmware" / "__init__.py").touch()
    imported = [f"firmware.{STAND_IN}" if name == "firmware" else name for name in names]
    command = [*chosen("32").command, "-X", "heapsize=1M", str(MEASURE), str(rom), *imported]
    env = {"SIM_UART1": "", "PATH": ""}
    done = subprocess.run(command, cwd=flash, capture_output=True, text=True, env=env, timeout=60)
    heap: dict[str, int] = {}
    for line in done.stdout.splitlines():
        name, _, rest = line.partition(" ")
        number, _, error = rest.partition(" ")
        if number.lstrip("-").isdigit():
            if int(number) < 0:
                raise RuntimeError(f"{name} cannot be imported: {error}")
            heap[name.removesuffix(f".{STAND_IN}")] = int(number)
    if done.returncode:
        raise RuntimeError(done.stdout[-500:] + done.stderr[-500:])
    return heap


def weigh() -> dict:
    """The whole report: modules, totals per profile, budgets."""
    with tempfile.TemporaryDirectory() as scratch:
        flash, rom = Path(scratch) / "flash", Path(scratch) / "rom"
        stage.stage(ROOT, flash, "x86")
        chiprom.build(rom, "x86")
        sources = {module_name(p): p for p in stage.device_files() if p.suffix == ".py" and len(p.parts) > 1}
        where = profiles(sources)
        sizes = {name: (flash / path.with_suffix(".mpy")).stat().st_size for name, path in sources.items()}
        heap = measure(list(where), flash, rom)
    modules: list[dict] = [
        {"module": name, "profile": profile, "mpy_bytes": sizes[name], "heap_bytes": heap[name]}
        for name, profile in where.items()
    ]
    totals = {}
    for profile in (*PROFILES, "all"):
        rows = [row for row in modules if profile in (row["profile"], "all")]
        totals[profile] = {
            "mpy_bytes": sum(row["mpy_bytes"] for row in rows),
            "heap_bytes": sum(row["heap_bytes"] for row in rows),
            "heap_budget": BUDGETS.get(profile),
        }
    return {"modules": modules, "totals": totals, "power_manager_instance_bytes": heap.get("PowerManager()")}


def over_budget(report: dict) -> list[str]:
    """A line for each profile that is over its budget."""
    return [
        f"{profile}: {total['heap_bytes']} bytes of heap, budget {total['heap_budget']}"
        for profile, total in report["totals"].items()
        if total["heap_budget"] and total["heap_bytes"] > total["heap_budget"]
    ]


def show(report: dict) -> None:
    """The report as a table."""
    table = Table(title="weight on a 32-bit board")
    for column in ("profile", "module", ".mpy bytes", "heap bytes"):
        table.add_column(column, justify="right" if "bytes" in column else "left")
    for row in sorted(report["modules"], key=lambda row: (PROFILES.index(row["profile"]), -row["heap_bytes"])):
        table.add_row(row["profile"], row["module"], str(row["mpy_bytes"]), str(row["heap_bytes"]))
    table.add_section()
    for profile, total in report["totals"].items():
        budget = f" of {total['heap_budget']}" if total["heap_budget"] else ""
        table.add_row(profile, "total", str(total["mpy_bytes"]), f"{total['heap_bytes']}{budget}")
    console = Console()
    console.print(table)
    console.print(f"one PowerManager: {report['power_manager_instance_bytes']} bytes of heap")


def main() -> int:
    """Prints the report; 1 when a profile is over its budget."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    arguments = parser.parse_args()
    report = weigh()
    if arguments.json:
        print(json.dumps(report))
    else:
        show(report)
    heavy = over_budget(report)
    for line in heavy:
        print(f"OVER BUDGET: {line}", file=sys.stderr)
    return 1 if heavy else 0


if __name__ == "__main__":
    sys.exit(main())
