"""The simulated cabinet for SIM=1: site and board as `make run` has them, and the simulator's hand in place of a person's."""

import asyncio
import contextlib
import json
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.ports import free_port
from tools.sim import layout, mistakes
from tools.sim.banks_site import BanksSite
from tools.sim.board.board import Board
from tools.sim.shipped import ShippedSite
from tools.sim.site import Site

ROOT = Path(__file__).resolve().parents[2]
TWO_BANKS = ROOT / "docs/site.two.json"
EXPORT_KW = 60.0
LOAD_KW = 45.0
READY_S = 30.0
_LOOK_S = 0.05
_LATE_S = 0.25
# a site on which everything can be tried: the battery and the load let all of the inverter's power be reached
_PLANT = {"load_kw": LOAD_KW, "load_noise_kw": 0.1, "current_max_a": 200.0, "soc": 55.0}
# what a busy laptop holds up for two seconds is no lost device
_POWER = {"max_grid_export_power": EXPORT_KW, "pcs_timeout_ms": 3000, "meter_timeout_ms": 3000}
_CLOCK = {"zone": "Europe/Berlin", "ntp": ""}


_RELAYS = {
    "14a": {"input_pin": 32, "import_kw": 4.2},
    "no export": {"input_pin": 33, "contact": "opens", "export_kw": 0},
}
_RELAY_LEVELS = {32: 1, 33: 0}  # of the pins while nothing is limited: one contact closes for it, the other opens


def _ems(bus: str) -> dict[str, Any]:
    """The interfaces of an EMS, by which this computer may command."""
    return {
        "ems": {"type": "sunspec_server", "port": free_port(), "host": "127.0.0.1", "allow": {"127.0.0.0/8": "control"}},
        "ems can": {"type": "ems_can", "bus": bus, "control": True},
    }


class SimulatedSite(Site):
    """With a clock, the interfaces of an EMS, a grid operator's relays and the export that is agreed."""

    def __init__(self, seed: int, **options: Any) -> None:
        super().__init__(seed, **{**_PLANT, **options, "power": {**_POWER, **options.get("power", {})}})
        self.services = {**_ems("can0"), "operator": {"type": "relays", "inputs": _RELAYS}}

    def inputs(self) -> dict[int, int]:
        """Levels of the board's input pins, the operator's contacts among them."""
        return {**super().inputs(), **_RELAY_LEVELS}

    def site_json(self) -> dict[str, Any]:
        """The board's site.json."""
        content = super().site_json()
        content["clock"] = dict(_CLOCK)
        return content


def site(seed: int, file: Path | None = None) -> Site | BanksSite:
    """The simulated site, its own or as a site file has it."""
    if file and layout.several(json.loads(file.read_text())):
        waits = {name: _POWER[name] for name in ("pcs_timeout_ms", "meter_timeout_ms")}
        banks = BanksSite(file, seed, **_PLANT, power=waits)
        if "services" not in banks.content:
            banks.services = _ems(next(iter(banks.hubs)))
        return banks
    return ShippedSite(file, seed, False, **_PLANT) if file else SimulatedSite(seed)


def file_for(planted: list[str], file: Path | None) -> Path | None:
    """The site file that is wanted, or that these mistakes need.  ValueError where they need different ones."""
    kinds = {mistakes.MISTAKES[name].two for name in planted}
    if len(kinds) > 1:
        raise ValueError(f"--plant {', '.join(planted)}: some are of a site of two banks, some of one of one")
    return file or (TWO_BANKS if True in kinds else None)


class Cabinet:
    """Site and board; a Port of wire.py and the hand at it."""

    def __init__(self, site: Site | BanksSite, planted: list[str], say: Callable[[str], None], state: Path | None = None) -> None:
        """planted: names of tools.sim.mistakes; say: where a person reads.  ValueError for one there is not."""
        self.site = site
        self.typed = mistakes.plant(planted, self.site)
        self._say = say
        self.on_line: Callable[[str], None] = lambda line: None
        self._folder = None if state else tempfile.TemporaryDirectory(prefix="cabinet-")
        self._lates: deque[tuple[float, float]] = deque(maxlen=1000)  # (when, s): this computer gave the site no time
        self._watch: asyncio.Task[None] | None = None
        self.board = Board(ROOT, state_dir=state or Path(self._folder.name), site=None)  # type: ignore[union-attr]

    # ---- the port ----------------------------------------------------------------------------------------
    async def open(self) -> None:
        """Site and board up.  OSError where the board does not boot."""
        site, board = self.site, self.board
        await site.start()
        self._watch = asyncio.create_task(self._watch_time())
        board.site = site.board_json()
        board.on_line = lambda line: self.on_line(line)
        site.wire(board)
        await board.start()
        try:
            await board.wait_line("control begins", READY_S)
        except TimeoutError as error:
            raise OSError(f"the simulated board did not come up: {error}") from None
        await asyncio.sleep(2.0)  # what its devices say first

    async def send(self, line: str) -> None:
        """Type a line."""
        await self.board.send(line)

    async def close(self) -> None:
        """Both down."""
        if self._watch is not None:
            self._watch.cancel()
        self.board.on_line = None
        with contextlib.suppress(Exception):
            await self.board.stop()
        await self.site.stop()
        if self._folder is not None:
            self._folder.cleanup()

    def say(self, text: str) -> None:
        """Tell whoever reads."""
        self._say(text)

    async def _watch_time(self) -> None:
        """The site answers in this loop: what holds that up is, for the board, a device that is silent."""
        due = time.monotonic() + _LOOK_S
        while True:
            await asyncio.sleep(_LOOK_S)
            now = time.monotonic()
            if now - due > _LATE_S:
                self._lates.append((now, now - due))
            due = now + _LOOK_S

    def absent(self) -> str:
        """The simulator's hand is always there."""
        return ""

    def held_up(self) -> str:
        """How long this computer let the simulated devices wait."""
        if not self._lates:
            return ""
        at, worst = max(self._lates, key=lambda late: late[1])
        return (
            f"this computer held the simulated site up {len(self._lates)} times, by {worst:.1f} s at most, "
            f"{time.monotonic() - at:.0f} s ago: it may be why"
        )

    # ---- the hand ----------------------------------------------------------------------------------------
    async def do(self, text: str, acts: tuple[tuple[str, ...], ...]) -> bool:
        """As a person would do it."""
        self.say(f"   [the simulator's hand] {text}")
        for act in acts:
            await self._act(*act)
        return True

    async def _act(self, what: str, *words: str) -> None:
        match what, words:
            case "inject", (name, *of):
                self.site.inject(name, *(one for one in of if one in self.site.names()))
            case "clear", (name, *of):
                self.site.clear(name, *(one for one in of if one in self.site.names()))
            case "load", (kw,):
                self.site.set("load_kw", LOAD_KW if kw == "back" else max(0.0, float(kw) - 10))
            case "kill", ():
                self.board.kill()
            case "pin", (pin, level):
                self.board.set_pin(int(pin), int(level))
            case "wait", (seconds,):
                await asyncio.sleep(float(seconds))
            case "restart", _:
                self.board.lines.clear()
                await self.board.restart(words[0] if words else "PWRON_RESET")
            case _:
                raise ValueError(f"the simulator's hand cannot do {what} {' '.join(words)}")

    def agreed(self) -> dict[str, Any]:
        """What a simulated site's owner has been told: values of bench.Agreed."""
        found: dict[str, Any] = {"export_kw": float(self.site.power["max_grid_export_power"])}
        if "ems" in self.site.services:
            found["ems"] = f"127.0.0.1:{self.site.services['ems']['port']}"
            found["ems_can"] = f"slcan:socket://127.0.0.1:{self.site.ports['can']}"
        return found

