"""The calendar on a running site: schedules move power, the clock is set by console and EMS, and both survive a cut."""

import ast
import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from pymodbus.client import ModbusTcpClient

from tools.ports import free_port
from tools.sim.board.board import Board
from tools.sim.site import Site

ROOT = Path(__file__).resolve().parents[2]
ENTRY = "ScheduleEntry(hour=3, mode=Mode.CHARGE, power_setpoint=-30, duration_minutes=60)"


class Rig:
    """A site and a board joined; `ask` types a console line and gives its answer as a Python value."""

    def __init__(self, site: Any, board: Board) -> None:
        self.site = site
        self.board = board

    async def ask(self, line: str) -> Any:
        seen = len(self.board.lines)
        await self.board.send(line)
        for _ in range(500):
            for text in list(self.board.lines)[seen:]:
                if text.startswith("= "):
                    try:
                        return ast.literal_eval(text[2:])
                    except (ValueError, SyntaxError):
                        return text[2:]  # an object's repr
                assert not text.startswith("! "), f"{line}: {text}"
            await asyncio.sleep(0.01)
        raise AssertionError(f"no answer to {line}; the console said {list(self.board.lines)[seen:]}")

    async def until(self, line: str, holds: Callable[[Any], bool], seconds: float = 40) -> Any:
        answer = None
        for _ in range(int(seconds / 0.25)):
            answer = await self.ask(line)
            if holds(answer):
                return answer
            await asyncio.sleep(0.25)
        raise AssertionError(f"{line} is still {answer!r} after {seconds} s")

    async def up(self) -> None:
        await self.board.wait_line("pcs: ", 15)


def play(tmp_path: Path, story: Callable[[Rig], Awaitable[None]], **clock: Any) -> None:
    """Starts site and board with a clock section, lets the story happen, stops both."""

    async def run() -> None:
        site = Site(seed=1)
        await site.start()
        content = site.site_json()
        content["clock"] = {"zone": "Europe/Berlin", "ntp": "", **clock}
        content["storage"] = {"place": "data"}
        board = Board(ROOT, state_dir=tmp_path, site=content)
        site.wire(board)
        await board.start()
        rig = Rig(site, board)
        try:
            await rig.up()
            await story(rig)
        finally:
            await board.stop()
            await site.stop()

    asyncio.run(run())


def test_wlan_untouched_by_a_site_with_a_clock_and_without_wifi(tmp_path: Path) -> None:
    """wlan-untouched: to touch the Wi-Fi driver starts it, and without a wifi section it fails for ever."""
    io = {"type": "io_board", "contactor_pin": 25, "estop_pin": 34}
    content = {"schema": 1, "devices": {"io": io}, "clock": {"zone": "Europe/Berlin"}, "storage": {"place": "data"}}

    async def run() -> None:
        board = Board(ROOT, state_dir=tmp_path, site=content)
        await board.start()
        rig = Rig(None, board)
        try:
            await board.wait_line("control begins", 15)
            assert (await rig.ask("clock.report()"))["zone"].startswith("CET")
            await rig.ask("import sys")
            names = ("network", "firmware.wifi", "firmware.ntp_rounds")
            assert await rig.ask(f"[name for name in {names} if name in sys.modules]") == []
        finally:
            await board.stop()

    asyncio.run(run())


def test_an_entry_charges_in_its_window_and_goes_on_after_a_power_cut(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await rig.ask("pm.start()")
        assert await rig.ask(f"pm.add_schedule({ENTRY})") == 0
        assert await rig.ask("pm.upcoming(3)") == [], "no clock, no promise"
        await asyncio.sleep(1.5)
        assert (await rig.ask("pm.claims()")) == [], "a clock that was never set starts nothing"
        await rig.ask("clock.set_text('2026-11-22 03:30:00')")
        await rig.until("pm.stats()['power']", lambda kw: kw is not None and kw < -29)
        claims = await rig.ask("pm.claims()")
        assert [claim["source"] for claim in claims] == ["schedule"] and 1700 < claims[0]["seconds_left"] < 1810
        assert [row["start"] for row in await rig.ask("pm.upcoming(2)")] == ["2026-11-23 03:00 CET", "2026-11-24 03:00 CET"]
        counts = await rig.ask("[pm.events.counts[Event.SCHEDULE_STARTED], pm.events.counts[Event.CLOCK_SET]]")
        assert counts == [1, 1]
        assert await rig.ask("timeline.records.flush()") is True
        await rig.board.restart()
        await asyncio.sleep(2.0)
        await rig.up()
        await rig.board.wait_line("resume: started again", 5)
        assert len(str(await rig.ask("pm.schedules()"))) > 20, "the schedule came through the cut"
        await rig.ask("clock.set_text('2026-11-22 03:50:00')")
        await rig.until("pm.stats()['power']", lambda kw: kw is not None and kw < -29)
        left = (await rig.ask("pm.claims()"))[0]["seconds_left"]
        assert 500 < left < 610, "for the rest of its window, no longer"

    play(tmp_path, story)


def test_what_was_ordered_a_moment_before_a_restart_holds_behind_it(tmp_path: Path) -> None:
    """An end in order saves what waits; only a power cut costs what docs/time-and-storage.md says."""

    async def story(rig: Rig) -> None:
        board = rig.board
        await rig.ask("pm.start()")
        await rig.ask("clock.set_text('2026-11-22 12:00:00')")
        for hour in (3, 4):
            await rig.ask(f"pm.add_schedule(ScheduleEntry(hour={hour}, mode=Mode.CHARGE, power_setpoint=-30))")
        await rig.ask("pm.set_constant_power(60)")
        await rig.until("timeline.records.energy()['out_wh'] > 30", bool)
        before = await rig.ask("[row[2] for row in timeline.records.logged()][-4:]")
        await rig.ask("pm.delete_schedule(0)")
        await rig.ask("pm.enable_scheduling(False)")
        moved = await rig.ask("timeline.records.energy()['out_wh']")
        board.lines.clear()
        await rig.ask("__import__('machine').reset()")
        await board.wait_line("control begins", 20)
        assert await rig.ask("[entry.hour for _, entry in pm.schedules()], pm.scheduling_enabled") == ([4], False)
        assert await rig.ask("timeline.records.energy()['out_wh']") >= moved
        logged = await rig.ask("[row[2] for row in timeline.records.logged()]")
        assert logged[-1] == "BOOT" or "BOOT" in logged[-3:], logged
        assert all(name in logged for name in before), logged
        assert logged.count("MODE_CHANGE") >= 2, logged

        await rig.ask("pm.enable_scheduling(True)")
        await rig.ask("timeline.records.save_beside('full', lambda: (_ for _ in ()).throw(OSError(28)))")
        await rig.ask("timeline.records.changed_beside('full')")
        board.lines.clear()
        await rig.ask("__import__('machine').reset()")
        await board.wait_line("control begins", 20)
        assert any(line.startswith("end: records: NOT everything is stored: OSError: full") for line in board.lines)
        assert await rig.ask("pm.scheduling_enabled") is True, "all the rest is"

    play(tmp_path, story)


def test_a_power_cut_seconds_after_an_edit_an_emergency_and_a_limit_finds_them_all(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        board = rig.board
        await rig.ask("pm.start()")
        await rig.ask(f"pm.add_schedule({ENTRY})")
        await rig.ask(f"pm.add_schedule({ENTRY})")
        await asyncio.sleep(10)
        await rig.ask("pm.delete_schedule(0)")  # soon after a save
        await rig.ask("limit charge 5kW")
        await asyncio.sleep(8)
        await rig.ask("pm.emergency_shutdown()")  # soon after the boot's line
        await asyncio.sleep(2)
        board.lines.clear()
        await board.restart()
        await board.wait_line("control begins", 20)
        await board.wait_line("resume: bound to charge 5.0 kW", 5)
        assert await rig.ask("[(limit['owner'], limit['charge_kw']) for limit in pm.curtailments()]") == [("console", 5.0)]
        assert await rig.ask("[number for number, _ in pm.schedules()]") == [1]
        assert "EMERGENCY" in await rig.ask("[row[2] for row in timeline.records.logged()]")

    play(tmp_path, story)


def test_every_boot_is_in_the_log_before_control_begins(tmp_path: Path) -> None:
    """So that a board that starts again and again says so, and the search for free blocks is not left to operation."""

    async def story(rig: Rig) -> None:
        rig.board.lines.clear()
        await rig.board.restart()
        await rig.board.wait_line("control begins", 15)
        written = (rig.board.flash / "data" / "events").read_text()
        assert written.count('"BOOT"') == 2, written

    play(tmp_path, story)


def test_a_person_outranks_the_schedule_and_hands_back_to_it(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await rig.ask("pm.start()")
        await rig.ask(f"pm.add_schedule({ENTRY})")
        await rig.ask("clock.set_text('2026-11-22 03:30:00')")
        await rig.until("pm.stats()['power']", lambda kw: kw is not None and kw < -29)
        await rig.ask("pm.stop_operation()")
        await rig.until("pm.stats()['requested_by']", lambda source: source == "manual")
        await rig.until("pm.stats()['power']", lambda kw: kw is not None and abs(kw) < 0.5)
        await rig.ask("pm.resume()")
        await rig.until("pm.stats()['power']", lambda kw: kw is not None and kw < -29)
        await rig.ask("pm.enable_scheduling(False)")
        await rig.until("pm.claims()", lambda claims: claims == [])
        assert await rig.ask("pm.events.counts[Event.SCHEDULE_ENDED]") == 1

    play(tmp_path, story)


def test_an_ems_sets_the_clock_over_modbus_and_nonsense_is_refused(tmp_path: Path) -> None:
    port = free_port()

    async def story(rig: Rig) -> None:
        def talk() -> None:
            client = ModbusTcpClient("127.0.0.1", port=port)
            assert client.connect()
            before = client.read_holding_registers(0, count=4, device_id=1).registers
            assert before == [0, 0, 0, 65535], "unset"
            refused = client.write_registers(0, [0, 86400 & 0xFFFF], device_id=1)
            assert refused.isError() and refused.exception_code == 3, "1 January 2000 cannot be"
            half = client.write_registers(0, [12951], device_id=1)
            assert half.isError() and half.exception_code == 2, "half a time is none"
            seconds = 9822 * 86400 + 3 * 3600 + 1800  # 2026-11-22 03:30:00 UTC
            assert not client.write_registers(0, [seconds >> 16, seconds & 0xFFFF], device_id=1).isError()
            after = client.read_holding_registers(0, count=4, device_id=1).registers
            assert after[0] << 16 | after[1] in (seconds, seconds + 1)
            assert after[2] == 2 and after[3] <= 1100, "synced, within the second that the EMS gives"
            client.close()

        await asyncio.to_thread(talk)
        report = await rig.ask("clock.report()")
        assert report["source"] == "EMS" and report["local"].startswith("2026-11-22 04:30:0") and report["local"].endswith("CET")

    play(tmp_path, story, ems_port=port)


def test_a_damaged_file_is_named_and_the_version_before_is_used(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await rig.ask(f"pm.add_schedule({ENTRY})")
        await rig.ask("timeline.records.flush()")
        await rig.ask(f"pm.add_schedule({ENTRY})")
        await rig.ask("timeline.records.flush()")
        rig.board.kill()
        stored = rig.board.flash / "data" / "schedules.json"
        assert len(json.loads(stored.read_text())["entries"]) == 2
        stored.write_text(stored.read_text().replace("-30", "-99"))
        rig.board.lines.clear()
        await rig.board.restart()
        told = await rig.board.wait_line("storage: ", 10)
        assert "schedules.json" in told and "CRC" in told and "version before" in told
        await rig.up()
        assert (await rig.ask("len(pm.schedules())")) == 1, "the version before, whole"

    play(tmp_path, story)


def test_an_unknown_zone_is_named_with_the_nearest(tmp_path: Path) -> None:
    async def run() -> None:
        site = Site(seed=1)
        await site.start()
        content = site.site_json()
        content["clock"] = {"zone": "Europe/Berlim"}
        board = Board(ROOT, state_dir=tmp_path, site=content, env=site.env())
        await board.start()
        try:
            assert "clock.zone" in await board.wait_line("Europe/Berlim", 15)
        finally:
            await board.stop()
            await site.stop()

    asyncio.run(run())


def test_energy_faults_and_the_latched_emergency_survive_a_power_cut(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await rig.ask("pm.start()")
        await rig.until("pm.mode", lambda mode: mode == 1)
        await rig.ask("pm.set_constant_power(-90)")
        await rig.until("pm.stats()['energy_in_wh']", lambda wh: wh > 60, 20)
        rig.site.inject("estop")
        await rig.until("pm.is_emergency", lambda yes: yes is True)
        await rig.until("timeline.records.faults()", lambda faults: faults == {"emergency_stop": 1})
        await rig.ask("timeline.records.flush()")
        energy = await rig.ask("timeline.records.energy()")
        rig.site.clear("estop")
        await rig.board.restart()
        await asyncio.sleep(2.0)
        await rig.up()
        assert await rig.ask("pm.is_emergency") is True, "an emergency survives the cut"
        assert await rig.ask("timeline.records.faults()") == {"emergency_stop": 1}
        after = await rig.ask("timeline.records.energy()")
        assert after["in_wh"] >= energy["in_wh"] > 50
        await rig.until("pm.reset_emergency() if pm.is_emergency else pm.mode", lambda mode: mode == 0)
        assert await rig.ask("pm.is_emergency") is False
        await rig.board.restart()
        await asyncio.sleep(2.0)
        await rig.up()
        assert await rig.ask("pm.is_emergency") is False, "and so does its reset"

    play(tmp_path, story)
