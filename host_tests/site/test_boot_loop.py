"""boot-loop: whatever site.json is, the board comes up once, says what is wrong, stands by and can be talked to."""

import asyncio
import json
from pathlib import Path
from typing import Any

from tools.build import slots
from tools.interpreters import Interpreter
from tools.sim.board.board import Board
from tools.sim.healthy import POWER

ROOT = Path(__file__).resolve().parents[2]
METER = {"type": "generic_modbus", "host": "10.0.0.9"}
ROW = {"slot": "METER_P", "address": 1}


def site(**changed: Any) -> bytes:
    """The bytes of a site file."""
    return json.dumps({"schema": 1, "power": POWER, **changed}).encode()


# content, what is said of it
FILES: dict[str, tuple[bytes | None, str]] = {
    "power is a number": (site(power=5), "power = 5"),
    "a list": (b"[[]]", "must be an object"),
    "reads is no list": (site(devices={"m": {**METER, "table": {"reads": True}}}), "table.reads = True"),
    "a map that is none": (site(devices={"m": {**METER, "table": {"reads": [{**ROW, "map": ""}]}}}), "map = ''"),
    "a map of words": (site(devices={"m": {**METER, "table": {"reads": [{**ROW, "map": {"1": "x"}}]}}}), "map = "),
    "1 MB": (site(name="x" * 1000000), "at most 32768 are read"),
    "1 MB of nothing": (b" " * 1000000, "at most 32768 are read"),
    "nested": (site(power=None)[:-1] + b', "clock": ' + b"[" * 15000 + b"]" * 15000 + b"}", "site.json"),
    "latin-1": ('{"schema": 1, "name": "Hügel"}'.encode("latin-1"), "site.json"),
    "binary": (bytes(range(256)) * 8, "site.json"),
    "NUL bytes": (bytes(4096), "site.json"),
    "cut": (site()[:-20], "is no JSON"),
    "a comma missing": (site().replace(b', "power"', b'\n "power"'), 'line 2: a comma is missing in front of "power"'),
    "a key twice": (site()[:-1] + b', "power": {}}', '"power" stands twice in one object'),
    "empty": (b"", "site.json"),
    "a kind that is a list": (site(devices={"m": {"type": []}}, buses={"b": {"type": {}}}), "buses.b.type = {}"),
    "2000 unknown keys": (site(power={f"key{i}": i for i in range(2000)}), "no such key"),
    "a long key": (site(**{"x" * 30000: 1}), "site.xxx"),
    "a zone there is not": (site(clock={"zone": "Mars/Olympus"}), "Mars/Olympus"),
    "missing": (None, "there is no such file"),
}


def test_boot_loop_every_file_leads_to_standby_a_message_and_a_console(mp: Interpreter, tmp_path: Path) -> None:
    board = Board(ROOT, state_dir=tmp_path, site=None, interpreter=list(mp.command))

    async def run() -> None:
        await board.start()
        try:
            for name, (content, words) in FILES.items():
                path = board.flash / "site.json"
                path.unlink(missing_ok=True)
                if content is not None:
                    path.write_bytes(content)
                await told(name, words)
            path.unlink(missing_ok=True)
            path.mkdir()
            await told("a directory", "site.json")
            path.rmdir()
            assert set(board.resets) == {"PWRON_RESET"}, "nothing reset it but this test"
        finally:
            board.kill()
            await board.stop()

    async def told(name: str, words: str) -> None:
        board.lines.clear()
        await board.restart()
        said = await board.wait_line(lambda line: line.startswith("site: ") and words in line, 15)
        assert len(said) < 400, (name, said)
        await board.wait_line("control begins", 15)
        known = slots.constants()
        commanded = ", ".join(f"pm.image.now[{known[name]}]" for name in ("CMD_CONTACTOR", "CMD_P"))
        await board.send(f"pm.start(), Mode.name(pm.mode), {commanded}")
        said = await board.wait_line("'STANDBY', 0, 0)", 5)
        assert "accepted, waiting for: " in said, name
        fed, waited = board._supervisor.feeds, 0
        while board._supervisor.feeds == fed:
            assert waited < 200, f"{name}: the watchdog is fed"
            await asyncio.sleep(0.02)
            waited += 1
        assert sum(line.startswith("site: ") for line in board.lines) <= 25, (name, "no flood")

    asyncio.run(run())


def test_boot_loop_a_site_too_large_for_the_heap_says_so_and_stands_by(mp64: Interpreter, tmp_path: Path) -> None:
    """The heap is filled while the site is built, at every place in turn where that may happen."""
    main = """
import firmware.app as app
import firmware.{module} as where
def full(*_, **__):
    raise MemoryError("memory allocation failed, allocating 1280 bytes")
real = where.{name}
calls = []
def once(*given):
    calls.append(1)
    return full() if len(calls) == 1 else real(*given)
where.{name} = once
app.App("site.json").run()
"""
    for module, name in (
        ("app", "PowerManager"), ("services.console", "Service"), ("services.emergency_memory", "Latch"), ("app", "Metering"),
    ):  # fmt: skip
        root = tmp_path / name
        for part in ("boot.py", "firmware", "lib"):
            (root / part).parent.mkdir(parents=True, exist_ok=True)
            (root / part).symlink_to(ROOT / part)
        (root / "main.py").write_text(main.format(module=module, name=name))
        board = Board(root, state_dir=tmp_path / "state", site=json.loads(site()), interpreter=list(mp64.command))

        async def run(board: Board) -> None:
            await board.start()
            try:
                await board.wait_line("too large for this board's heap", 15)
                await board.wait_line("control begins", 15)
                await board.send("Mode.name(pm.mode)")
                await board.wait_line("= 'STANDBY'", 5)
                assert board.resets == []
            finally:
                await board.stop()

        asyncio.run(run(board))
