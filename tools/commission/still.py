"""Steps in which nothing moves: who the board is, what was left behind, the clock, the buses, the sensors at rest."""

import asyncio
import contextlib
import hashlib
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools.commission import figures, judge
from tools.commission.bench import Bench, mean
from tools.commission.outcome import DoesNotApply, Failed, Figure
from tools.commission.wire import Console, Refused

ROOT = Path(__file__).resolve().parents[2]
POLLS = 1000
LOST_SHARE = 0.001
LOOK_S = 8.0
CLOCK_S = 3.0
REST_S = 5.0
# what is defined at the console once, each line under its 1,024 bytes
_HELPERS = (
    "import os, sys, hashlib, binascii, machine",
    "from firmware import image as im",
    "from firmware.generation import STAMP as _stamp",
    r"exec('def _hash(p):\n h=hashlib.sha256()\n with open(p,\'rb\') as f:\n  while 1:\n   b=f.read(512)\n   if not b: break\n"
    r"   h.update(b)\n return binascii.hexlify(h.digest()).decode()\n')",
    r"exec('def _text(p,at,n):\n with open(p,\'rb\') as f:\n  f.seek(at)\n  return f.read(n)\n')",
)
_TREES = ("firmware", "lib")
_TOPS = ("boot.py", "main.py")
_PIECE = 512  # bytes of a file in one answer
_IS_FOLDER = 0x4000


async def helpers(console: Console) -> None:
    """Define at the console what the steps ask with."""
    for line in _HELPERS:
        await console.ask(line)


async def simulated(console: Console) -> bool:
    """Whether what answers is the firmware on a computer, by its own words: no chip calls itself so."""
    return str(await console.ask("sys.platform")) != "esp32"


async def text_of(console: Console, path: str) -> bytes:
    """A file of the board.  Refused where there is none."""
    found = b""
    while True:
        piece = await console.ask(f"_text({path!r},{len(found)},{_PIECE})")
        if not isinstance(piece, bytes):
            raise Refused(f"{path} is answered with {piece!r}")
        found += piece
        if len(piece) < _PIECE:
            return found


async def tables(console: Console, site: dict[str, Any]) -> dict[str, Any]:
    """The tables that devices name as files, as the board has them; those that are inside an image as the project has them."""
    found, folder = {}, await root(console)
    for name, options in site.get("devices", {}).items():
        path = options.get("table")
        if not isinstance(path, str):
            continue
        try:
            found[name] = json.loads(await text_of(console, folder + path))
        except (Refused, ValueError):
            own = ROOT / path
            found[name] = json.loads(own.read_text()) if own.is_file() else {}
    return found


async def root(console: Console) -> str:
    """The folder of what runs, with its slash, as the board names it: that of its site file."""
    folder, slash, _ = str(await console.ask("app.path")).rpartition("/")
    return folder + slash


async def site_file(console: Console) -> bytes:
    """The board's site.json.  Refused where there is none."""
    return await text_of(console, str(await console.ask("app.path")))


def parsed(content: bytes) -> dict[str, Any]:
    """A site file without the check sum that a board seals it with: it is that of this text, and no key of a site."""
    site: dict[str, Any] = json.loads(content)
    site.pop("crc", None)
    return site


async def _files(console: Console, folder: str) -> list[str]:
    entries = await console.ask(f"[e[:2] for e in os.ilistdir({folder!r})]")
    if not isinstance(entries, list):
        raise Refused(f"the folder {folder} is longer than an answer")
    found = []
    for name, kind in sorted(entries):
        path = f"{folder}/{name}"
        found += await _files(console, path) if kind & _IS_FOLDER else [path]
    return found


async def software(console: Console) -> dict[str, Any]:
    """What runs on the board: the hash of each of its program files, and of all of them."""
    folder = await root(console)
    paths = list(_TOPS)
    for tree in _TREES:
        with contextlib.suppress(Refused):  # an image of our own has them inside it
            paths += await _files(console, folder + tree)
    hashes = await console.ask_all([f"_hash({path!r})" for path in paths])
    found = zip(paths, hashes, strict=True)
    files = {path.removeprefix(folder): digest for path, digest in found if not isinstance(digest, Refused)}
    whole = hashlib.sha256("".join(f"{path} {files[path]}\n" for path in sorted(files)).encode()).hexdigest()
    return {"files": len(files), "sha256": whole, "stamp": await console.ask("_stamp"), "each": files}


async def identity(bench: Bench) -> None:
    """Which board, which interpreter, which firmware, which site file."""
    console = bench.console
    found = bench.software or await software(console)
    note = bench.note
    note("chip's own number", (await console.ask("binascii.hexlify(machine.unique_id()).decode()")))
    name, version, machine = await console.ask("[sys.implementation[0], sys.implementation[1][:3], sys.implementation[2]]")
    note("interpreter", f"{'MicroPython' if name == 'micropython' else name} {'.'.join(str(part) for part in version)}")
    note("runs on", "a computer: SIMULATED, no board" if await simulated(console) else str(machine))
    note("firmware", "as the sources are, not a numbered build" if found["stamp"] == "sources" else str(found["stamp"]))
    note("program files", found["files"] or "in the image")
    if found["files"]:
        note("SHA-256 over all of them", found["sha256"])
    content = await site_file(console)
    running = str(await console.ask("app.site.name"))
    note("site", running)
    note("SHA-256 of site.json", hashlib.sha256(content).hexdigest())
    errors = await console.ask("app.site.errors")
    if errors:
        raise Failed(f"the site file is refused: {errors}", "mend it, save_site() and restart: docs/console.md")
    if json.loads(content) != bench.site:
        raise Failed("site.json has changed since commissioning began", "begin again")
    if running != bench.site.get("name", running):
        raise Failed(f"the board runs the site {running!r}, site.json names {bench.site.get('name')!r}", "restart the board")


async def leftovers(bench: Bench) -> None:
    """Nothing that somebody has set for a while, and forgotten: limits, claims, pauses, service mode, the monitor of another."""
    console = bench.console
    found = []
    relays = bench.services("relays")
    for limit in await console.ask("pm.curtailments()"):
        if str(limit["owner"]).partition(":")[0] in relays:
            continue  # the grid operator's, and there for good
        ends = "no end" if limit["seconds_left"] is None else f"{limit['seconds_left']:g} s left"
        found.append(
            (f"a limit of {limit['owner']}: discharge {_kw(limit['discharge_kw'])}, charge {_kw(limit['charge_kw'])}, {ends}",
             f"pm.limit({limit['owner']!r})")
        )  # fmt: skip
    for claim in await console.ask("pm.claims()"):
        if claim["source"] not in ("idle", "schedule"):
            found.append((f"a claim of {claim['source']} ({claim.get('owner') or 'nobody named'}): {claim['kw']:g} kW",
                          f"pm.release({claim['source']!r})" if claim["source"] != "manual" else "pm.resume()"))  # fmt: skip
    mode = (await bench.state()).get("mode")
    if mode == "MAINTENANCE":
        found.append(("the mode MAINTENANCE", "pm.set_mode(Mode.STANDBY)"))
    if mode == "EMERGENCY":
        found.append((f"an emergency: {await console.ask('pm.emergency_reason')}", "find its cause, then pm.reset_emergency()"))
    if await console.ask("pm.scheduling_enabled") is False:
        found.append(("the schedule is switched off", "pm.enable_scheduling(True)"))
    bench.note("values forced, limits, claims and modes that somebody has left behind", len(found), "", "0", not found)
    if found:
        told = "; ".join(text for text, _ in found)
        raise Failed(f"somebody has left behind: {told}", "at the console: " + "; ".join(line for _, line in found))


def _kw(value: float | None) -> str:
    return "free" if value is None else f"{value:g} kW"


async def clock(bench: Bench) -> None:
    """The board's time beside this computer's."""
    console = bench.console
    report = await _clock(console)
    if report is None:
        raise DoesNotApply('the site has no clock (no "clock" or "storage" section, docs/time-and-storage.md)')
    if report.get("state") == "UNSET":
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        await console.ask(f"clock.set_text('{now}Z')")
        bench.note("it was not set", "set from this computer")
        report = await _clock(console) or {}
    before = time.time()
    report = await _clock(console) or {}
    now_s = (before + time.time()) / 2
    board_s = datetime.strptime(str(report["utc"]), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp() + 0.5
    off = board_s - now_s
    bench.note("time zone", str(report.get("zone")))
    bench.note("source", str(report.get("source")))
    bench.note("off by", off, "s", f"within {CLOCK_S:g} s of UTC", abs(off) <= CLOCK_S)
    if abs(off) > CLOCK_S:
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        raise Failed(
            f"the clock is {judge.hours(off)} (source {report.get('source')}, zone {report.get('zone')})",
            f"clock.set_text('{now}Z') at the console, and look at what sets it (docs/time-and-storage.md)",
        )


async def _clock(console: Console) -> dict[str, Any] | None:
    try:
        report = await console.ask("clock.report()")
    except Refused:
        return None
    return report if isinstance(report, dict) else None


# ---- the buses ---------------------------------------------------------------------------------------------
_BAD = ("timeouts", "crc_errors", "exceptions", "rejected", "send_errors", "send_failed", "overruns", "bus_off", "reconnects")


async def polls(bench: Bench) -> None:
    """Whether every device answers, without an error; from here on answers are counted."""
    console = bench.console
    before = await console.ask("devices()")
    bench.counts, bench.counted_since = before, time.monotonic()
    await asyncio.sleep(LOOK_S)
    after = await console.ask("devices()")
    state = await bench.state()
    if "two_batteries" in (state.get("faults") or []):
        raise Failed(f"two batteries answer on one bus, at one address: {await bench.why()}",
                     "give each its own address or its own bus, and name both in site.json (docs/can.md)")  # fmt: skip
    silent = []
    for name, options in bench.site.get("devices", {}).items():
        count, bad, of = _growth(before, after, name)
        frames = f"{count} answers, {bad} errors in {LOOK_S:g} s"
        bench.note(name, frames, "", "answers, and no errors", count > 0 and not bad)
        if options.get("type") != "io_board" and count == 0:
            silent.append(
                f"{name} ({options.get('type')}, {_how(options)}): {of.get('last_error') or of.get('note') or 'nothing comes'}"
            )
        elif bad:
            silent.append(f"{name}: {bad} errors in {LOOK_S:g} s: {of.get('last_error') or of.get('note') or ''}")
    if silent:
        raise Failed("not every device answers: " + "; ".join(silent),
                     "wiring, termination, bit rate, address and options in site.json: docs/troubleshooting.md")  # fmt: skip


def _how(options: dict[str, Any]) -> str:
    keys = ("bus", "host", "port", "unit", "address", "variant")
    told = [f"{key} {options[key]}" for key in keys if key in options]
    if str(options.get("type")) == "bms_pylontech" and "address" not in options:
        told.append("address 0")
    return ", ".join(told)


def _growth(before: dict[str, Any], after: dict[str, Any], name: str) -> tuple[int, int, dict[str, Any]]:
    """Answers and errors of a device or bus meanwhile, and its counters."""
    old, new = before.get(name, {}), after.get(name, {})
    return new.get("frames", 0) - old.get("frames", 0), sum(new.get(key, 0) - old.get(key, 0) for key in _BAD), new


async def thousand(bench: Bench) -> None:
    """A thousand answers of every bus and of every Modbus device of its own, counted since the step before, few of them bad."""
    since = "since the step that every device answers"
    if not bench.counts:
        bench.counts, bench.counted_since = await bench.console.ask("devices()"), time.monotonic()
        since = "since this step began"
    own = [name for name, options in bench.site.get("devices", {}).items() if options.get("host")]
    names = [*bench.site.get("buses", {}), *own]
    slowest: list[tuple[str, int]] = []
    told = 0.0
    while True:
        now = await bench.console.ask("devices()")
        slowest = [(name, _growth(bench.counts, now, name)[0]) for name in names]
        missing = [(name, count) for name, count in slowest if count < POLLS]
        if not missing:
            break
        passed = time.monotonic() - bench.counted_since
        if passed > 60 and min(count for _, count in missing) * 60 < passed:
            raise Failed(f"{missing[0][0]} gives {missing[0][1]} answers in {passed:.0f} s", "docs/troubleshooting.md")
        if time.monotonic() - told > 20:
            told = time.monotonic()
            bench.hand.say("counting: " + ", ".join(f"{name} {count} of {POLLS}" for name, count in missing))
        await asyncio.sleep(2.0)
    bench.note(f"counted {since}, while the other steps went on", time.monotonic() - bench.counted_since, "s")
    worst = []
    for name in names:
        count, bad, of = _growth(bench.counts, now, name)
        lost = bad / max(1, count + bad)
        bench.outcome.figures.append(
            Figure(name, f"{count} answers, {bad} errors", "", f"at most {LOST_SHARE:.1%} errors", lost <= LOST_SHARE)
        )
        if lost > LOST_SHARE:
            worst.append(f"{name}: {bad} of {count + bad} are bad ({lost:.1%}): {of.get('last_error') or of.get('note') or ''}")
    if worst:
        raise Failed("; ".join(worst), "termination, shields, earth, another device of the same address: docs/troubleshooting.md")


# ---- at rest -----------------------------------------------------------------------------------------------
async def rest(bench: Bench) -> None:
    """What the sensors say while nothing flows: no power, voltages that agree, cells near each other, contactors open."""
    began = time.monotonic()
    while time.monotonic() - began < REST_S:
        await bench.console.next_sample()
    means = mean([sample.state for sample in bench.console.since(began)])
    stats = await bench.console.ask("pm.stats()")
    wrong = await _contactor(bench)
    batteries = stats.get("batteries") if bench.bank else None
    if batteries:  # of all that the site has, in the board's order
        own = [name for bank in bench.banks for name in bank.batteries]
        of_bank = bench.bank.batteries if bench.bank else []
        each = [(name, values) for name, values in zip(own, batteries, strict=True) if name in of_bank]
    else:
        each = [("", {**stats, "voltage": means.get("v"), "soc": means.get("soc")})]
    wrong += _powers(bench, means)
    for name, values in each:
        wrong += _battery(bench, values, f"{name}: " if batteries else "")
    wrong += _grid(bench, means, stats)
    faults = [fault for fault in await bench.console.ask("pm.faults()") if fault["active"]]
    if bench.bank:  # what another has is said in its own turn
        faults = [fault for fault in faults if fault.get("bank") in (None, bench.bank.name)]
    bench.note("active faults", ", ".join(fault["name"] for fault in faults) or "none", "", "none", not faults)
    bench.plot("at rest", began, {"p": "inverter", "grid_p": "grid", "load_p": "load"})
    if wrong:
        _, advice, patch = wrong[0]
        raise Failed("; ".join(entry[0] for entry in wrong), advice or "docs/troubleshooting.md", patch)
    if faults:
        raise Failed("; ".join(f"{fault['name']}: {fault.get('detail', fault['severity'])}" for fault in faults),
                     "docs/troubleshooting.md")  # fmt: skip


Wrong = list[tuple[str, str, dict[str, Any]]]  # text, advice, entries of site.json


async def _contactor(bench: Bench) -> Wrong:
    name, options = bench.device("io_board")
    if options.get("feedback_pin", -1) < 0:
        bench.note("contactor feedback", "not wired")
        return []
    wanted, is_closed = await bench.raw("CMD_CONTACTOR", "IO_CONTACTOR")
    bench.note("contactor feedback", "closed" if is_closed else "open", "", "as commanded", wanted == is_closed)
    if wanted == is_closed:
        return []
    other = 1 - int(options.get("feedback_level", 1))
    return [(f"the contactor's feedback is inverted: it says {'closed' if is_closed else 'open'} while the contactors are "
             f"commanded {'closed' if wanted else 'open'} (or they are welded: look at them first)",
             f"once the contactors are seen to be open: \"feedback_level\": {other} for {name}, or the other contact",
             {f"devices.{name}.feedback_level": other})]  # fmt: skip


def _powers(bench: Bench, means: dict[str, float]) -> Wrong:
    wrong: Wrong = []
    most = max(0.3, bench.rated_kw * 0.01)
    if not bench.at_most("inverter's power at rest, either way", abs(means.get("p", 0.0)), most, "kW"):
        wrong.append((f"the inverter shows {means['p']:.2f} kW at rest", "its scale and its address", {}))
    amps = bench.power("contactor_break_current", 5.0) / 2
    if not bench.at_most("battery's current at rest, either way", abs(means.get("i", 0.0)), amps, "A"):
        wrong.append((f"the battery shows {means['i']:.1f} A at rest", "current_offset and current_max of the BMS", {}))
    return wrong


def _battery(bench: Bench, stats: dict[str, Any], who: str) -> Wrong:
    """Of one; who: its name where there are several."""
    wrong: Wrong = []
    cells = bench.power("module_count", 13) * bench.power("cells_per_module", 15)
    volts = stats.get("voltage")
    if volts is None:
        return [(f"{who}the battery reports no voltage", "", {})]
    for name, cell in (("lowest cell", stats.get("cell_min")), ("highest cell", stats.get("cell_max"))):
        if cell is None:
            continue
        off = cell * cells - volts
        bound = f"within 3 % of {volts:.1f} V, the battery's own voltage"
        what = f"{who}voltage of the {name}, times {cells:g} cells in series"
        bench.note(what, cell * cells, "V", bound, abs(off) <= 0.03 * volts)
        if abs(off) > 0.03 * volts:
            wrong.append((f"{who}{name} {cell:.3f} V x {cells:g} cells is {cell * cells:.0f} V, the battery reports {volts:.0f} V",
                          "module_count and cells_per_module in site.json", {}))  # fmt: skip
    spread = 1000 * ((stats.get("cell_max") or 0) - (stats.get("cell_min") or 0))
    if not bench.at_most(f"{who}cells part by", spread, 100, "mV"):
        wrong.append((f"{who}the cells part by {spread:.0f} mV", "charge and balance the battery first", {}))
    low, high = bench.power("min_soc", 20), bench.power("max_soc", 90)
    soc = stats.get("soc") or 0.0
    fits = low + 5 <= soc <= high - 5
    bench.note(f"{who}state of charge", soc, "%", f"{figures.between(low + 5, high - 5, '%')}, to move both ways", fits)
    if not fits:
        advice = "charge or discharge it first: pm.start(), pm.start_charging(50)"
        wrong.append((f"{who}the state of charge is {soc:.1f} %", advice, {}))
    return wrong


def _grid(bench: Bench, means: dict[str, float], stats: dict[str, Any]) -> Wrong:
    wrong: Wrong = []
    for key, name, unit, wanted, share in (
        ("grid_voltage", "grid voltage", "V", bench.power("grid_voltage", 400), 0.1),
        ("grid_frequency", "grid frequency", "Hz", bench.power("grid_frequency", 50), 0.01),
    ):
        value = stats.get(key)
        if value is None:
            continue
        bench.note(name, value, unit, f"within {share * 100:g} % of {wanted:g} {unit}", abs(value - wanted) <= share * wanted)
        if abs(value - wanted) > share * wanted:
            advice = "the scale of the meter's row, or grid_voltage in site.json (line to line)"
            wrong.append((f"the {name} reads {value:g} {unit}, nominal is {wanted:g} {unit}", advice, {}))
    if "grid_p" in means:
        bench.note("power at the point of connection (+ is import)", means["grid_p"], "kW")
    return wrong
