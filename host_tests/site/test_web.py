"""The web server at the whole simulated site: who may see and command what, and what a command does to the battery."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from host_tests import needs
from tools.ports import free_port
from tools.sim.board.board import Board
from tools.sim.site import Site

ROOT = Path(__file__).resolve().parents[2]
PINS = {"view": "2468", "operate": "1234", "service": "98765"}
ROLES = ("none", "view", "operate", "service")
TYPED = (
    "pin service 98765", "pin operate 1234", "pin view 2468", "clock 2026-11-28 12:00:00",
    "pm.add_schedule(ScheduleEntry(hour=1, mode=Mode.CHARGE, power_setpoint=-40, duration_minutes=240))",
)  # fmt: skip


class Page:
    """A browser that somebody is logged in with, or nobody."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookie = self.csrf = ""

    def ask(self, path: str, body: Any = None, **more: str) -> tuple[int, Any]:
        """Status and answer; headers can be given, or left out with ""."""
        headers = {"Content-Type": "application/json", "X-CSRF": self.csrf, "Cookie": self.cookie}
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, {k: v for k, v in headers.items() if v})
        try:
            answer = urllib.request.urlopen(asked, timeout=20)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            text = answer.read().decode()
            self.headers = answer.headers
        return answer.status, json.loads(text) if text[:1] in "{[" else text

    def login(self, role: str, pin: str = "") -> int:
        """The status."""
        status, answer = self.ask("/api/login", {"role": role, "pin": pin or PINS[role]})
        if status == 200:
            self.csrf = answer["csrf"]
            self.cookie = self.headers["Set-Cookie"].split(";")[0]
        return status

    def do(self, what: str, **given: Any) -> tuple[int, str]:
        """A command: its status, and what was said to it."""
        status, answer = self.ask("/api/command", {"do": what, "confirm": True, **given})
        return status, answer["says"] if status == 200 else answer["error"]

    def state(self) -> dict[str, Any]:
        """Everything."""
        status, answer = self.ask("/api/state")
        assert status == 200, answer
        return answer

    def until(self, key: str, low: float, high: float) -> None:
        """Wait until a number of the state is between these."""
        end = time.monotonic() + 40
        while not low <= (found := self.state())[key] <= high:
            assert time.monotonic() < end, (key, found)
            time.sleep(0.2)


class House:
    """A site with its board, in a loop of its own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.site = Site(1, load_kw=20.0, pv_kw=0.0)
        self.site.services = {
            "web": {
                "type": "web", "port": self.port, "host": "127.0.0.1", "commands_per_min": 200, "metrics": True,
                "names": "bess.example.com",
            },
            "calendar": {"type": "calendar", "zone": "Europe/Berlin"}, "records": {"type": "records"},
            "history": {"type": "history"},
        }  # fmt: skip
        self.folder = folder

    def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do that in the loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    async def start(self) -> None:
        """Both up, PINs set."""
        site = self.site
        await site.start()
        interpreter = list(needs.interpreter(32).command)
        self.board = board = Board(ROOT, state_dir=self.folder, site=site.board_json(), env=site.env(), interpreter=interpreter)
        board.on_pin = site.board_pin
        site.on_output = board.set_pin
        for pin, level in site.inputs().items():
            board.set_pin(pin, level)
        await board.start()
        await board.wait_line("control begins", 30)
        for line in TYPED:
            await board.send(line)
        await board.send("1 + 1")
        await board.wait_line("= 2", 20)

    async def type(self, line: str, answer: str) -> str:
        """A line at the console, and the line that answers it."""
        self.board.lines.clear()
        await self.board.send(line)
        return await self.board.wait_line(answer, 10)

    async def stop(self) -> None:
        """Both down."""
        await self.board.stop()
        await self.site.stop()


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with tempfile.TemporaryDirectory() as folder:
        found = House(Path(folder))
        try:
            found.call(found.start())
            yield found
        finally:
            found.call(found.stop())
            found.loop.call_soon_threadsafe(found.loop.stop)


@pytest.fixture(scope="module")
def pages(house: House) -> dict[str, Page]:
    """A page of each role."""
    found = {role: Page(house.port) for role in ROLES}
    for role in ROLES[1:]:
        assert found[role].login(role) == 200
    return found


ENTRY = {"hour": 2, "minute": 30, "mode": "CHARGE", "kw": -20, "minutes": 60}
ASKED: list[tuple[str, Any, str, int]] = [  # path, body, least role, status where it is allowed
    ("/api/session", None, "none", 200),
    ("/api/state", None, "view", 200),
    ("/api/events?count=5", None, "view", 200),
    ("/api/journal?count=5", None, "view", 200),
    ("/api/schedules", None, "view", 200),
    ("/api/history?kind=day", None, "view", 200),
    ("/api/history?kind=hour", None, "view", 400),
    ("/metrics", None, "view", 200),
    ("/api/config", None, "service", 200),
    ("/api/schedules/preview", {"entries": [ENTRY]}, "view", 200),
    ("/api/schedules", {"entries": [{**ENTRY, "hour": 30}]}, "operate", 400),
    ("/api/command", {"do": "scheduling", "on": True, "confirm": True}, "operate", 200),
    ("/api/command", {"do": "maintenance", "on": False, "confirm": True}, "service", 200),
    ("/api/config/check", {"site": {}}, "service", 400),
    ("/api/config", {"site": {}}, "service", 400),
]


@pytest.mark.parametrize(("path", "body", "least", "status"), ASKED)
def test_each_path_is_for_its_role_and_those_above(pages: dict[str, Page], path: str, body: Any, least: str, status: int) -> None:
    for role in ROLES:
        found, answer = pages[role].ask(path, body)
        if ROLES.index(role) >= ROLES.index(least):
            assert found == status, (role, answer)
        else:
            assert found == (401 if role == "none" else 403), (role, answer)
            assert answer["error"]


def test_who_changes_something_must_be_the_page_itself(house: House, pages: dict[str, Page]) -> None:
    page, order = pages["operate"], {"do": "scheduling", "on": True, "confirm": True}
    assert page.ask("/api/command", order)[0] == 200
    assert page.ask("/api/command", order, X_CSRF="")[0] == 403
    assert page.ask("/api/command", order, X_CSRF="0" * 16)[0] == 403
    assert page.ask("/api/command", order, X_CSRF=pages["service"].csrf)[0] == 403
    assert page.ask("/api/command", order, Origin="http://evil.example")[0] == 403
    assert page.ask("/api/command", order, Origin=f"http://127.0.0.1:{house.port}")[0] == 200
    assert page.ask("/api/command", order, Content_Type="text/plain")[0] == 415
    assert page.ask("/api/command", order, Content_Type="application/x-www-form-urlencoded")[0] == 415
    assert page.ask("/api/command", order, Cookie="")[0] == 401
    assert page.ask("/api/login", {"role": "operate", "pin": "1234"}, Origin="null")[0] == 403
    page.ask("/api/session")
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    fresh = Page(house.port)
    fresh.login("view")
    assert {"HttpOnly", "SameSite=Strict"} <= set(fresh.headers["Set-Cookie"].split("; "))
    assert fresh.ask("/api/logout", {})[1]["role"] == "none"
    assert fresh.ask("/api/state")[0] == 401


def test_a_page_of_another_name_that_says_our_address_is_not_ours(house: House, pages: dict[str, Page]) -> None:
    page = pages["operate"]
    for host in ("evil.example", "a.evil.example:8080", "192.168.1.20.evil.example", "bess.example.com.evil.example", "a.local.b"):
        assert page.ask("/api/session", Host=host)[0] == 403, host
        assert page.ask("/api/login", {"role": "operate", "pin": "0"}, Host=host, Origin="http://" + host)[0] == 403, host
    for host in ("192.168.1.20", "127.0.0.1:80", "bess", "localhost:8", "bess.local", "BESS.lan", "[fe80::1]", "bess.example.com"):
        assert page.ask("/api/session", Host=host)[0] == 200, host


def test_who_may_not_is_told_so_before_his_body_is_kept(house: House, pages: dict[str, Page]) -> None:
    head = "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    head += "Cookie: %s\r\nX-CSRF: %s\r\n\r\n"
    for role, path, size, status in (
        ("none", "/api/config", 16384, 401), ("operate", "/api/config/check", 16384, 403), ("none", "/api/schedules", 6144, 401),
        ("none", "/api/schedules/preview", 6144, 401), ("view", "/api/schedules", 6144, 403),
        ("service", "/api/config", 16385, 413),
    ):  # fmt: skip
        with socket.create_connection(("127.0.0.1", house.port), timeout=3) as sock:
            sock.sendall((head % (path, size, pages[role].cookie, pages[role].csrf)).encode())
            assert sock.recv(100).startswith(b"HTTP/1.1 %d" % status), (role, path)


def test_bodies_that_make_no_sense_are_explained(pages: dict[str, Page]) -> None:
    page = pages["service"]
    for body in (b"{", b"", b"\xff\xfe", b"[" * 900, b"nan", b'{"do": "start"', b"[1]", b'"start"', b"null", b"{}"):
        status, answer = page.ask("/api/command", body)
        assert (status, bool(answer["error"])) == (400, True), body
    for given, said in (
        ({"do": "fly"}, "allowed are start, stop, power"),
        ({"do": "start", "confirm": 1}, "confirm"),
        ({"do": "power", "kw": 5}, "minutes is missing"),
        ({"do": "power", "kw": 5, "minutes": 0}, "allowed are 1 to 1440"),
        ({"do": "power", "kw": 5, "minutes": 1.5}, "whole number"),
        ({"do": "power", "kw": "5", "minutes": 5}, "must be a number"),
        ({"do": "power", "kw": 1e300, "minutes": 5}, "allowed are -100.0 to 100.0 kW"),
        ({"do": "power", "kw": None, "minutes": 5}, "must be a number"),
        ({"do": "charge", "soc": 200, "minutes": 5}, "allowed are 0 to 90.0 %"),
        ({"do": "limit", "minutes": 5}, "discharge_kw or charge_kw"),
        ({"do": "scheduling", "on": "yes"}, "true or false"),
        ({"do": "clock", "time": "noon"}, "noon"),
        ({"do": "start", "sudo": 1}, "no such key"),
        ({"do": ["start"]}, "do"),
        ({"do": "charge", "soc": 80, "kw": 20, "minutes": 5}, "kw: charge has no such key"),
        ({"do": "limit", "charge_kw": 1000, "minutes": 5}, "charge_kw = 1000: allowed are 0 to 100.0 kW"),
    ):
        status, answer = page.ask("/api/command", {"confirm": True, **given})
        assert status == 400, (given, answer)
        assert said in answer["error"], (given, answer)
    for body in (b'"kw": 5,5', b'"kw": 5, "kw": 90', b'"kw" 5', b'"kw": 5,'):
        status, answer = page.ask("/api/command", b'{"do": "power", "confirm": true, "minutes": 5, %s}' % body)
        assert (status, "comma" in answer["error"]) == (400, True), (body, answer)
    deep = b"[" * 900 + b"]" * 900
    for path, body in (
        ("/api/command", b'{"do": "scheduling", "confirm": true, "on": %s}' % deep[450:-450]),
        ("/api/schedules/preview", b'{"entries": [{"mode": %s}]}' % (b"[" * 3000 + b"]" * 3000)),
        ("/api/schedules/preview", b'{"entries": [{"id": [], "mode": "IDLE"}]}'),
        ("/api/schedules/preview", b'{"entries": [{"id": {"a": 1}, "mode": "IDLE"}]}'),
        ("/api/config/check", b'{"site": {"power": %s}}' % (b"[" * 8000 + b"]" * 8000)),
    ):
        assert page.ask(path, body)[0] == 400, (path, body[:60])
    for path, status in (("/api/nothing", 404), ("/api/events?count=0", 400), ("/api/events?count=x", 400), ("/nothing.html", 404)):
        assert page.ask(path)[0] == status, path
    assert page.ask("/api/state", {})[0] == 405
    assert page.headers["Allow"] == "GET"


def test_a_command_moves_the_battery_and_what_is_commanded_ends(house: House, pages: dict[str, Page]) -> None:
    page = pages["operate"]
    assert page.do("start")[0] == 200
    page.until("soc", 1, 99)
    end = time.monotonic() + 40
    while page.do("power", kw=-20, minutes=1)[0] != 200:
        assert time.monotonic() < end
        time.sleep(0.3)
    page.until("battery_w", -21000, -19000)
    state = page.state()
    assert (state["by"], state["mode"], state["seat"]) == (
        "manual", "CHARGE", {"by": "web: operate 127.0.0.1", "local": False, "mine": True},
    )  # fmt: skip
    assert 0 < state["claims"][0]["left_s"] <= 60
    assert page.do("limit", charge_kw=5, minutes=2)[1] == "bound for 2 min"
    page.until("battery_w", -5500, -4500)
    state = page.state()
    assert state["limits"]["charge"]["w"] == 5000
    assert "web" in state["limits"]["charge"]["words"]
    assert "limited from the web: charge 5.0 kW" in state["overrides"][0]
    assert page.do("give_back")[1] == "given back"
    page.until("battery_w", -500, 500)
    assert (page.state()["claims"], page.state()["overrides"], page.state()["seat"]["by"]) == ([], [], "")
    assert page.do("charge", soc=80, minutes=10)[0] == 200
    assert page.state()["claims"][0]["left_s"] <= 600
    assert page.do("pause", minutes=1)[0] == 200
    page.until("battery_w", -500, 500)
    found = page.ask("/api/journal?count=100")[1]["lines"]
    assert ["WEB operate 127.0.0.1 limit", -5000, "information"] in [line[2:] for line in found]
    lines = [line[2] for line in found]
    for what in ("start", "power", "limit", "give_back", "charge", "pause"):
        assert f"WEB operate 127.0.0.1 {what}" in lines
    assert pages["view"].do("power", kw=5, minutes=1)[0] == 403


def test_a_command_that_is_refused_keeps_nobody_from_controlling(pages: dict[str, Page]) -> None:
    page = pages["operate"]
    assert page.do("give_back")[0] == 200
    for what, given in (("power", {"kw": 1e6}), ("charge", {"soc": 200}), ("discharge", {"kw": -5}), ("limit", {"charge_kw": "x"})):
        assert page.do(what, minutes=1440, **given)[0] == 400
        assert page.state()["seat"]["by"] == "", what
    assert page.do("pause", minutes=1)[0] == 200
    assert page.do("power", kw=1e6, minutes=1440)[0] == 400
    assert page.state()["seat"]["by"] == "web: operate 127.0.0.1", "what stood before stands"
    assert page.do("give_back")[0] == 200


def test_local_control_is_one_persons(house: House, pages: dict[str, Page]) -> None:
    page = pages["operate"]
    house.call(house.type("local(True)", "="))
    assert page.state()["seat"] == {"by": "local", "local": True, "mine": False}
    status, said = page.do("power", kw=5, minutes=1)
    assert (status, "a person at the console" in said) == (409, True)
    assert page.do("take", minutes=5)[0] == 409
    assert page.do("give_back")[0] == 200
    assert page.state()["seat"]["local"], "that is not the page's to give"
    house.call(house.type("local(False)", "="))
    assert page.do("take", minutes=5)[0] == 200
    assert page.state()["seat"] == {"by": "local", "local": True, "mine": True}
    assert "local control" in page.state()["overrides"][0]
    assert page.do("power", kw=5, minutes=1)[0] == 200
    assert page.do("give_back")[0] == 200
    assert not page.state()["seat"]["local"]


def test_the_emergency_is_latched_from_the_page_and_ended_there(pages: dict[str, Page]) -> None:
    page = pages["operate"]
    assert page.ask("/api/command", {"do": "emergency"})[0] == 400, "not without the question"
    assert page.do("emergency")[1].startswith("EMERGENCY: 0 W")
    state = page.state()
    assert (state["mode"], state["emergency"]) == ("EMERGENCY", "commanded by emergency_shutdown()")
    assert page.do("start")[0] == 409
    assert pages["view"].do("reset")[0] == 403
    assert page.do("reset")[0] == 200
    assert page.state()["mode"] == "STANDBY"


def test_the_journal_says_in_words_what_happened(pages: dict[str, Page]) -> None:
    page, end = pages["operate"], time.monotonic() + 10
    assert page.do("emergency")[0] == 200
    assert page.do("reset")[0] == 200
    wanted = [["BOOT", "power on", "information"], ["EMERGENCY", "commanded", "error"], ["MODE_CHANGE", "EMERGENCY", "information"]]
    while True:
        lines = [line[2:] for line in page.ask("/api/journal?count=500")[1]["lines"]]
        missing = [row for row in wanted if row not in lines]
        if not missing:
            return
        assert time.monotonic() < end, (missing, lines)
        time.sleep(0.3)


def test_a_schedule_is_taken_whole_or_not_at_all(house: House, pages: dict[str, Page]) -> None:
    page = pages["operate"]
    before = page.ask("/api/schedules")[1]
    assert [(one["hour"], one["mode"], one["kw"], one["minutes"]) for one in before["entries"]] == [(1, "CHARGE", -40.0, 240)]
    bad = [{"hour": 25, "mode": "CHARGE"}, ENTRY, {"mode": "SELL"}, {"mode": "IDLE", "kw": 3}, {"mode": "IDLE", "id": 99}, 7]
    bad += [{"mode": "CHARGE", "kw": -500}, {"mode": "DISCHARGE", "kw": 1, "minutes": 2000}]
    status, answer = page.ask("/api/schedules", {"entries": bad})
    assert (status, [line[:10] for line in answer["errors"]]) == (400, [f"entries[{i}]" for i in (0, 2, 3, 4, 5, 6, 7)])
    assert answer["errors"][5] == "entries[6]: kw = -500.0: allowed are -100.0 to 0 kW in CHARGE", "what the site may"
    assert answer["errors"][6] == "entries[7]: minutes = 2000: allowed are 1 to 1440 min"
    assert page.ask("/api/schedules/preview", {"entries": bad[6:7]})[0] == 400
    assert page.ask("/api/schedules", {"entries": [ENTRY] * 17})[0] == 400
    assert page.ask("/api/schedules")[1]["entries"] == before["entries"]
    status, after = page.ask("/api/schedules", {"entries": [*before["entries"], ENTRY], "rev": before["rev"]})
    assert (status, [one["id"] for one in after["entries"]]) == (200, [0, 1])
    assert [one["start"] for one in after["next"][:2]] == ["2026-11-29 01:00 CET", "2026-11-29 02:30 CET"]
    assert page.ask("/api/schedules", {"entries": [], "rev": before["rev"]})[0] == 409, "somebody else has changed it"
    status, seen = page.ask("/api/schedules/preview", {"entries": [{**ENTRY, "days": 1}], "count": 2})
    assert [one["start"] for one in seen["next"]] == ["2026-11-29 02:30 CET", "2026-12-06 02:30 CET"]
    assert page.ask("/api/schedules")[1]["entries"] == after["entries"], "only looked at"
    assert page.ask("/api/schedules", {"entries": after["entries"][1:]})[1]["entries"] == after["entries"][1:]
    large = {**ENTRY, "kw": -500, "mode": "CHARGE"}
    assert page.ask("/api/schedules", {"entries": [{**large, "enabled": False}]})[0] == 200, "it asks for nothing"
    assert page.ask("/api/schedules", {"entries": [large]})[0] == 400
    assert page.ask("/api/schedules", {"entries": after["entries"][1:]})[0] == 200
    seen = page.ask("/api/schedules")[1]
    house.call(house.type("pm.add_schedule(ScheduleEntry(hour=5, mode=Mode.IDLE))", "= "))
    assert page.ask("/api/schedules", {"entries": [], "rev": seen["rev"]})[0] == 409, "somebody at the console has changed it"
    seen = page.ask("/api/schedules")[1]
    assert page.ask("/api/schedules", {"entries": seen["entries"][:1], "rev": seen["rev"]})[0] == 200


def test_a_site_file_is_explained_stored_and_keeps_its_secrets(house: House, pages: dict[str, Page]) -> None:
    page = pages["service"]
    content = page.ask("/api/config")[1]["site"]
    assert content["wifi"]["password"] == "****"
    assert page.ask("/api/config/check", {"site": content}) == (200, {"ok": True})
    text = json.dumps({"site": content}, indent=1).encode()
    for wrong, said in (
        (text.replace(b'"min_soc"', b'"min_soc": 5, "min_soc"'), '"min_soc" stands twice in one object'),
        (text.replace(b",\n", b"\n", 1), "a comma is missing in front of"),
    ):
        for path in ("/api/config", "/api/config/check"):
            status, answer = page.ask(path, wrong)
            assert (status, said in answer["errors"][0], "line " in answer["errors"][0]) == (400, True, True), answer
    assert page.ask("/api/config")[1]["site"] == content
    content["power"]["max_soc"] = 300
    content["devices"]["x"] = {"type": "bms_nobody"}
    status, answer = page.ask("/api/config", {"site": content})
    assert status == 400
    assert answer["errors"][0] == "power.max_soc = 300: allowed are 0 to 100 %"
    assert "bms_nobody" in answer["errors"][1]
    del content["devices"]["x"]
    content["services"]["mqtt"] = {"type": "mqtt", "host": "10.0.0.1", "user": "me", "password": "****"}
    status, answer = page.ask("/api/config", {"site": content})
    assert (status, 'site.services.mqtt.password = "****"' in answer["error"]) == (400, True), "the broker would be told stars"
    del content["services"]["mqtt"]
    content["power"]["max_soc"] = 85
    assert page.ask("/api/config", {"site": content})[0] == 200
    stored = json.loads((house.folder / "flash" / "site.json").read_text())
    assert (stored["power"]["max_soc"], stored["wifi"]) == (85, house.site.board_json()["wifi"])
    assert page.ask("/api/config")[1]["site"]["power"]["max_soc"] == 85


def test_a_site_file_that_cannot_be_read_is_said(house: House, pages: dict[str, Page]) -> None:
    path = house.folder / "flash" / "site.json"
    kept = path.read_text()
    try:
        path.write_text("x")
        status, answer = pages["service"].ask("/api/config")
        assert (status, "cannot be read" in answer["error"]) == (409, True)
    finally:
        path.write_text(kept)


def test_streams_say_what_happens_and_end_with_their_login(house: House, pages: dict[str, Page]) -> None:
    page = Page(house.port)
    page.login("view")
    with socket.create_connection(("127.0.0.1", house.port), timeout=10) as sock, sock.makefile("rb") as lines:
        sock.sendall(f"GET /api/live HTTP/1.1\r\nHost: x\r\nCookie: {page.cookie}\r\n\r\n".encode())
        begun = time.monotonic()
        found: list[str] = []
        told = False
        while time.monotonic() - begun < 10 and not any("role" in line for line in found):
            line = lines.readline()
            if not line:
                break
            found.append(line.decode().strip())
            if found.count("event: state") == 2 and not told:
                told = True
                pages["operate"].do("clock", time="2026-11-28 12:30:00")
            if "CLOCK_SET" in found[-1]:
                page.ask("/api/logout", {})
    states = [json.loads(line[6:]) for line in found if line.startswith('data: {"t"')]
    assert len(states) >= 2
    assert (states[0]["mode"], states[0]["soc"] > 40) == ("STANDBY", True)
    events = [json.loads(line[6:]) for line in found if "CLOCK_SET" in line]
    assert events[0]["name"] == "CLOCK_SET"
    assert 'data: {"role": "none"}' in found
    with contextlib.closing(socket.create_connection(("127.0.0.1", house.port))):
        assert Page(house.port).ask("/api/live")[0] == 401


def test_a_pin_that_is_taken_away_ends_its_logins(house: House, pages: dict[str, Page]) -> None:
    page = Page(house.port)
    assert page.login("view") == 200
    assert page.ask("/api/state")[0] == 200
    house.call(house.type("pin view off", "= "))
    assert page.ask("/api/state")[0] == 401
    assert page.login("view", "2468") == 409
    assert page.ask("/api/session")[1]["logins"] == ["operate", "service"]
    assert pages["operate"].ask("/api/state")[0] == 200


def test_wrong_pins_are_held_off(house: House) -> None:
    page = Page(house.port)
    found = []
    for _ in range(4):
        found.append(page.login("operate", "0000"))
        time.sleep(1.1)
    assert found == [401, 401, 401, 429]
    assert int(page.headers["Retry-After"]) > 2
    assert page.ask("/api/session")[1]["wait_s"] > 1
    assert house.call(house.type("app.restarts", "=")) == "= {}"
