"""site.json as its owner meets it: every error at once, nothing half saved, a broken one is safe and says what to do."""

import asyncio
import json
from pathlib import Path
from typing import Any

from tools.build import slots
from tools.check_site import errors_in
from tools.sim.board.board import Board
from tools.sim.site import Site

ROOT = Path(__file__).resolve().parents[2]

GOOD: dict[str, Any] = {
    "schema": 1,
    "name": "yard",
    "power": {"max_charge_power": 80, "min_soc": 15},
    "buses": {"can0": {"type": "can", "bitrate": 500000}},
    "devices": {
        "bms": {"type": "bms_pylontech", "bus": "can0"},
        "pcs": {"type": "pcs_sunspec", "host": "10.0.0.2"},
    },
}


def test_a_good_file_has_no_errors() -> None:
    assert errors_in(GOOD) == []


def test_every_error_of_the_whole_file_is_listed_at_once_with_value_and_range() -> None:
    bad = json.loads(json.dumps(GOOD))
    bad["power"] = {"max_charge_powr": 80, "min_soc": 120, "ramp_up": "fast", "grid_connection": "MAYBE"}
    bad["buses"]["can0"]["bitrate"] = 7
    bad["devices"]["bms"]["bus"] = "can9"
    bad["devices"]["pcs"] = {"type": "pcs_sunspec", "port": 99999}
    bad["devices"]["toaster"] = {"type": "toaster"}
    bad["clok"] = {}
    told = "\n".join(errors_in(bad))
    for words in (
        ("clok", "did you mean clock"),
        ("MAYBE", "INTERACTIVE"),
        ("buses.can0.bitrate = 7", "10000", "1000000"),
        ("devices.bms.bus = 'can9'", "can0"),
        ("devices.pcs.port = 99999", "1 to 65535"),
        ("toaster", "no such driver"),
    ):
        assert any(all(word in line for word in words) for line in told.splitlines()), (words, told)
    bad["power"].pop("grid_connection")
    told = "\n".join(errors_in(bad))
    for words in (("max_charge_powr", "did you mean max_charge_power"), ("min_soc = 120", "0 to 100"), ("ramp_up", "fast")):
        assert any(all(word in line for word in words) for line in told.splitlines()), (words, told)


def test_sections_of_the_wrong_kind_are_told_not_tripped_over() -> None:
    for section in ("buses", "devices"):
        wrongs: tuple[Any, ...] = (5, [], "x", {"a": 3})
        for wrong in wrongs:
            told = errors_in({**GOOD, section: wrong})
            assert any(line.startswith(section) for line in told), (section, wrong, told)


def test_a_broken_file_is_safe_standby_names_the_fault_and_offers_the_version_before(tmp_path: Path) -> None:
    async def run() -> None:
        site = Site(seed=1)
        await site.start()
        board = Board(ROOT, state_dir=tmp_path, site=site.site_json(), env=site.env())
        await board.start()
        try:
            await board.wait_line("pcs: ", 15)
            content = json.dumps(site.site_json())
            for name in ("first", "second"):  # saved twice, so there is a version before
                await board.send("__import__('json')")
                await board.send(f"save_site(dict({content.replace('true', 'True').replace('false', 'False')}, name='{name}'))")
                await asyncio.sleep(0.7)
            await board.send("save_site({'schema': 1, 'power': {'min_soc': 500}})")
            refused = await board.wait_line("min_soc = 500", 10)
            assert refused.startswith("! ConfigError") and "0 to 100" in refused
            stored = board.flash / "site.json"
            assert json.loads(stored.read_text())["name"] == "second", "what is refused is not saved"
            board.kill()
            stored.write_text(stored.read_text().replace("second", "sec0nd"))
            board.site = None
            board.lines.clear()
            await board.restart()
            told = await board.wait_line("site: ", 15)
            assert "site.json" in told and "CRC" in told and "version before is good" in told
            await board.wait_line("staying in STANDBY", 5)
            await board.send("pm.start()")
            await asyncio.sleep(1.0)
            await board.send(f"Mode.name(pm.mode), pm.image.now[{slots.constants()['CMD_CONTACTOR']}]")
            assert "('STANDBY', 0)" in await board.wait_line("('STANDBY'", 5), "no devices, no contactor"
            assert board.resets == ["PWRON_RESET"], "no boot loop"
            board.lines.clear()
            await board.send("restore_site()")
            await board.wait_line("= None", 5)
            assert json.loads(stored.read_text())["name"] == "first"
        finally:
            await board.stop()
            await site.stop()

    asyncio.run(run())


def test_the_example_of_the_docs_is_good() -> None:
    assert errors_in(json.loads((ROOT / "docs" / "site.example.json").read_text())) == []
