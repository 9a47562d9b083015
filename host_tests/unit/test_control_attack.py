"""Two EMSs, on SunSpec and on CAN, whose every write may come at any time, against a person: what must hold whatever they do."""

from __future__ import annotations

import random
from array import array
from functools import cache
from typing import Any

import pytest

from firmware import PowerError, remote
from firmware import image as im
from firmware.ems import access, allowing
from firmware.ems import tables as t
from firmware.modes import Mode
from firmware.services import ems_frames as fr
from host_tests.both import emscan
from host_tests.both.emscan import BASE as CAN_BASE
from host_tests.both.emscan import Rig
from host_tests.both.emsrig import BASE, Ems, Refused
from host_tests.both.plant import Plant
from tools.generate import gen_ems

OFF, READ, CONTROL, SERVICE = range(4)
WORDS = (0, 1, 2, 3, 5, 0x7FFF, 0x8000, 0xFFFF, 0xFFFE, 10000, 10001, 0xD8F0, 0xEC78, 2000)


COMMANDS = (  # where the register is kept, words: what real clients write, and what acts later than it was written
    (t.CONN_TMS, [2, 0]), (t.CONN_TMS, [9]), (t.CONN, [0]), (t.CONN, [1]), (t.OLD_PCT, [3000, 0, 2, 0, 1]), (t.OLD_ENA, [0]),
    (t.STOR_MOD, [2]), (t.STOR_MOD, [3]), (t.OUT_RATE, [0xEC78, 1000, 0, 3]), (t.OUT_RATE, [0]), (t.FROM_GRID, [0]), (t.ES, [0]),
    (t.ES, [1]), (t.LIM_ENA, [1, 2000, 0, 1, 0]), (t.LIM_ENA, [1, 2000, 1000, 1, 0, 3]), (t.SET_ENA, [1, 1, 0, 9000]),
    (t.SET_ENA, [1, 1, 0, 9000, 0xFFFF, 0xD8F0, 0, 0, 1, 0, 2]), (t.SET_ENA, [0]), (t.RAMP, [5]), (t.OP_CTL, [0]),
    (t.OP_CTL, [2]), (t.OP_CTL, [1]), (t.ALARM_RESET, [1]), (t.RSV_MAX, [4000]), (t.RSV_MIN, [8000]), (t.SET_OP, [2]),
)  # fmt: skip


class App:
    """As much of the application as access looks at."""

    def __init__(self, pm: Any) -> None:
        self.pm = pm
        self.services: dict[str, Any] = {}


class Site:
    """A plant with an EMS by SunSpec of several clients and one on CAN, all in its time."""

    def __init__(self) -> None:
        self.plant = Plant(ramp_up=100.0).ready()
        self.pm = self.plant.pm
        self.can = Rig(plant=self.plant, lifetime_ms=3000, window_ms=2000)
        with self.can:
            access.time = remote.time
        options: dict[str, Any] = {row[0]: row[2] for row in allowing.OPTIONS}
        self.gate = access.Access({**options, "commands_per_s": 1000, "seat_s": 5}, 5, App(self.pm))
        self.gate.roles = {"ReadOnlySunSpec": READ, "GridServiceSunSpec": CONTROL, "SuperAdministratorSunSpec": SERVICE}
        self.connect(0, "127.0.0.1", "SuperAdministratorSunSpec")
        self.connect(1, "127.0.0.2", "GridServiceSunSpec")
        self.connect(2, "127.0.0.3", "ReadOnlySunSpec")
        self.connect(3, "127.0.0.4", "an expired one")
        self.connect(4, "127.0.0.1", "GridServiceSunSpec")
        self.ems = Ems(self.plant, access=self.gate, silence_s=20)
        self.configured = list(self.pm.image.par)

    def connect(self, client: int, address: str, role: str) -> None:
        """A connection with a certificate's role."""
        self.gate.opened(client, address, role)

    def words_at(self, at: int, count: int) -> list[int]:
        """Registers of the chain, as they are read."""
        words = array("H", bytes(2 * count))
        self.ems.chain.read(at, count, words)
        return list(words)

    def step(self, ms: int = 50) -> None:
        """One cycle, and the services between two."""
        self.plant.cycle(ms)
        with self.can:
            self.can.service.look(self.plant.ms)
        self.ems.control.step(ms)

    def write(self, client: int, address: int, words: list[int], unit: int = 1) -> int:
        """The exception code, 0 for none; what is refused has changed no register."""
        self.ems.server.client = client
        before = list(self.ems.chain.registers)
        head = bytes((16, address >> 8, address & 255, 0, len(words), 2 * len(words)))
        with self.can:
            self.gate.asked(client, self.plant.ms)
            try:
                self.ems.ask(head + b"".join(word.to_bytes(2, "big") for word in words), unit)
            except Refused as refused:
                assert list(self.ems.chain.registers) == before
                return refused.code
        return 0


@cache
def writable() -> list[gen_ems.Place]:
    """Every point that somebody may write."""
    return [p for p in gen_ems.layout()[0] if p.access == "RW" and gen_ems.rights_of(p)[0] != "SAME" and p.model >= 120]


# ---- every point, every role, every state ----------------------------------------------------------------------------

STATES = ("at rest", "local", "MAINTENANCE", "EMERGENCY", "the seat is CAN's")


def _expected(place: gen_ems.Place, role: int, state: str) -> int:
    _, group, least = gen_ems.rights_of(place)
    if role < least or state in ("local", "MAINTENANCE"):
        return 1
    if state == "EMERGENCY" and group not in ("BEAT", "RESET", "RESET_BATTERY"):
        return 6
    return 6 if state == "the seat is CAN's" and group != "BEAT" else 0


@pytest.mark.parametrize("state", STATES)
def test_every_point_times_every_role_in_every_state(state: str) -> None:
    site = Site()
    if state == "local":
        site.pm.remote.set_local(True)
    elif state == "MAINTENANCE":
        site.pm.stop()
        for _ in range(80):
            site.step()
        site.pm.set_mode(Mode.MAINTENANCE)
    elif state == "EMERGENCY":
        site.pm.emergency_shutdown()
    else:
        site.step()
    for counter in range(2 if state == "the seat is CAN's" else 0):
        site.can.receive(CAN_BASE, emscan.setpoint(counter, 5000))
    orders, mode = site.pm.arbiter.orders, site.pm.mode
    for place in writable():
        words = site.words_at(place.at, place.size)
        for client in (0, 1, 2, 3):
            role = (SERVICE, CONTROL, READ, OFF)[client]
            code = site.write(client, BASE + place.at, words, (1, 126)[client & 1])
            assert code == _expected(place, role, state), (place.model, place.name, role)
            with site.can:
                site.gate.closed(client)  # the next one may have the seat
            site.connect(client, f"127.0.0.{client + 1}", _ROLES[client])
    if state in ("local", "MAINTENANCE"):
        for _ in range(5):
            site.step()
        assert (site.pm.arbiter.orders, site.pm.mode) == (orders, mode)
    assert site.pm.curtailments() == [] and all(one["owner"] == "ems can" for one in site.pm.claims())


_ROLES = ("SuperAdministratorSunSpec", "GridServiceSunSpec", "ReadOnlySunSpec", "an expired one")


@pytest.mark.parametrize(("state", "result"), [(s, r) for s, r in zip(STATES[1:4], (11, 13, 12), strict=True)])
def test_the_frames_on_can_are_refused_in_the_same_states(state: str, result: int) -> None:
    site = Site()
    if state == "MAINTENANCE":
        site.pm.stop()
        for _ in range(80):
            site.step()
        site.pm.set_mode(Mode.MAINTENANCE)
    elif state == "EMERGENCY":
        site.pm.emergency_shutdown()
    else:
        site.pm.remote.set_local(True)
    for counter in range(3):
        site.can.receive(CAN_BASE, emscan.setpoint(counter, 5000))
        site.can.receive(CAN_BASE + 1, emscan.bounds(counter, 0, 0))
    counters = site.can.service.counters()
    words = fr.RESULTS.split("\n")[result]
    assert counters["accepted"] == 0 and counters["setpoint"] == counters["limits"] == words
    assert site.pm.claims() == [] and site.pm.curtailments() == [] and site.pm.remote.controller != "can0"


# ---- anything, in any order --------------------------------------------------------------------------------------------


class Story:
    """One random sequence, and what must be true after each of its cycles."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.site = Site()
        self.pm = self.site.pm
        self.counter = [0, 0]
        self.sent: list[tuple[int, bytes]] = []
        self.may_run = True  # nobody has stopped it, or somebody who may has started it since
        self.paused = False
        self.done: list[str] = []

    def run(self, actions: int) -> None:
        """So many, each followed by some time."""
        kinds = (self.sunspec, self.sunspec, self.sunspec, self.can, self.can, self.person, self.line)
        for _ in range(actions):
            self.rng.choice(kinds)()
            for _ in range(self.rng.choice((0, 1, 1, 2, 10, 40))):
                self.site.step()
                self.check()

    # ---- what may happen ----------------------------------------------------------------------------------------

    def sunspec(self) -> None:
        rng = self.rng
        if rng.random() < 0.5:
            kept, words = rng.choice(COMMANDS)
            place = next(p for p in writable() if self.site.ems.chain.kept(p.at) == kept)
            at = place.at
        else:
            place = rng.choice(writable())
            at = place.at + rng.choice((0, 0, 0, 0, -1, 1))
            words = self.site.words_at(at, rng.randrange(1, 6)) if rng.random() < 0.3 else []
            words = words or [rng.choice(WORDS) for _ in range(rng.choice((1, place.size, place.size, 3)))]
        client = rng.choice((0, 0, 0, 1, 2, 3, 4))
        before = self.pm.mode
        code = self.site.write(client, BASE + at, words)
        self.done.append(f"{client} {place.model}.{place.name} {words} -> {code}")
        assert code in (0, 1, 2, 3, 6) and (client not in (2, 3) or code == 1 or code == 2)
        touched = {p.name: words[p.at - at] for p in writable() if at <= p.at < at + len(words)}
        starts = touched.get("OpCtl") == 1 or touched.get("SetOp") == 1 or touched.get("AlarmReset") == 1 or "AlmRst" in touched
        if code == 0 and (starts and before != Mode.EMERGENCY):
            self.may_run = True  # it says start, and has the rights to

    def can(self) -> None:
        rng = self.rng
        which = rng.randrange(2)
        if rng.random() < 0.2 and self.sent:
            frame = rng.choice(self.sent)  # a replay
        else:
            self.counter[which] = (self.counter[which] + rng.choice((1, 1, 1, 1, 2, 5))) % 15
            enable = int(rng.random() < 0.8)
            if which:
                data = emscan.bounds(self.counter[1], rng.choice((None, 0, 5000)), rng.choice((None, 0, 90000)), enable)
            else:
                data = emscan.setpoint(self.counter[0], rng.choice((0, 5000, -20000, 100001, -0x800000)), enable)
            if rng.random() < 0.1:
                data = data[:5] + bytes((data[5] ^ 1,)) + data[6:]
            frame = (CAN_BASE + which, data)
            self.sent.append(frame)
        self.site.can.receive(*frame)
        self.done.append(f"can {frame[0]:x} {frame[1].hex()}")

    def person(self) -> None:
        what = self.rng.choice(("stop", "start", "pause", "resume", "local", "give", "emergency", "reset", "service", "standby"))
        self.done.append(what)
        try:
            if what == "stop":
                self.pm.stop()
                self.may_run = False
            elif what == "start":
                self.pm.start()
                self.may_run = True
            elif what == "pause":
                self.pm.stop_operation()
            elif what == "resume":
                self.pm.resume()
            elif what in ("local", "give"):
                self.pm.remote.set_local(what == "local")
            elif what == "emergency":
                self.pm.emergency_shutdown()
                self.may_run = False
            elif what == "reset":
                self.pm.reset_emergency()
                self.may_run = False
            elif what == "service":
                self.pm.set_mode(Mode.MAINTENANCE)
                self.may_run = False
            elif self.pm.mode == Mode.MAINTENANCE:
                self.pm.stop()
                self.may_run = False
        except PowerError:
            pass

    def line(self) -> None:
        """A connection ends or begins, its client asks something, or all is still for a while."""
        what = self.rng.choice(("close", "ask", "ask", "still"))
        client = self.rng.randrange(5)
        self.done.append(f"{what} {client}")
        if what == "close":
            self.site.gate.closed(client)
            self.site.connect(client, f"127.0.0.{self.rng.randrange(1, 5)}", (*_ROLES, "GridServiceSunSpec")[client])
        elif what == "ask":
            self.site.ems.server.client = client
            with self.site.can:
                self.site.gate.asked(client, self.site.plant.ms)
                if client != 3:
                    self.site.ems.read(BASE, 2)
        else:
            for _ in range(self.rng.choice((30, 130, 430))):
                self.site.step()
                self.check()

    # ---- what must hold ------------------------------------------------------------------------------------------

    def check(self) -> None:
        pm = self.pm
        par = pm.image.par
        configured = self.site.configured
        remote = [one for one in pm.claims() if one["source"] == "remote"]
        owners = {one["owner"] for one in remote} | {one["owner"] for one in pm.curtailments()}
        told = "\n".join(self.done[-12:])
        assert len({owner == "ems can" for owner in owners}) <= 1, f"two control: {owners}\n{told}"
        for slot in range(im.N_PAR):
            if slot in (im.PAR_RAMP_UP, im.PAR_GRID_CHG):
                assert 0 <= par[slot] <= configured[slot], told
            elif not im.OP_P_CHG <= slot <= im.EMS_P_DIS:
                assert par[slot] == configured[slot], (slot, told)
        if pm.is_local or pm.mode in (Mode.MAINTENANCE, Mode.EMERGENCY):
            assert remote == [] and "ems can" not in owners, told
        if pm.is_local or pm.mode == Mode.MAINTENANCE:
            assert owners == set() and par[im.PAR_RAMP_UP] == configured[im.PAR_RAMP_UP], told
            assert par[im.PAR_GRID_CHG] == configured[im.PAR_GRID_CHG], told
        if not self.may_run and pm.image.now[im.ORDER] == im.ORDER_START and not pm.is_emergency:
            raise AssertionError("somebody has started what a person had stopped:\n" + told)
        for one in remote:
            assert -configured[im.PAR_P_CHG] <= one["kw"] * 1000 <= configured[im.PAR_P_DIS], told
        assert self.site.ems.server.count.last_error == ""


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_in_whatever_order(seed: int) -> None:
    story = Story(seed)
    story.run(60)
    site = story.site
    for _ in range(1700):  # all have gone
        site.step()
    story.check()
    left = [one["owner"] for one in [*site.pm.claims(), *site.pm.curtailments()] if one["owner"].startswith("ems")]
    registers = site.ems.chain.registers
    own = site.ems.chain.own
    long = max(registers[t.OLD_TMS], registers[t.RATE_TMS], own[t.O_SET_REM], own[t.O_LIM_REM]) > 80
    on = site.pm.image.now[im.ORDER] == im.ORDER_START and site.pm.mode != Mode.EMERGENCY
    assert registers[t.SET_OP] == (1 if on else 2) and registers[t.OP_CTL] in (((1, 3) if on else (0,)) + (2,)), story.done[-12:]
    assert registers[t.CONN] == 1 or not on, story.done[-12:]
    held = (registers[t.ES] == 0) + 2 * (registers[t.OP_CTL] == 2)
    assert site.pm.held & 3 == held, story.done[-12:]
    still = held or long or any(owner.endswith("reversion value") for owner in left)
    assert left == [] or still, (left, story.done[-12:])
    assert not site.pm.remote.controller or site.pm.remote.controller == "local"
