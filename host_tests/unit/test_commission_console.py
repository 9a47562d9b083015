"""How commissioning speaks with a board's console: answers told from what else comes, PINs, its own command line."""

import asyncio

import pytest

from host_tests.unit.commission_ports import NoHand, Replies
from tools.commission import __main__ as program
from tools.commission.bench import Agreed, Bench
from tools.commission.people import Terminal
from tools.commission.wire import Console, Locked, Refused, Silent


def test_an_answer_is_told_from_what_else_comes() -> None:
    async def talk() -> None:
        port = Replies(
            ('{"event": "MODE_CHANGE", "data": "IDLE", "t": 12}', "not limited\r", "\x1b[2Kbattery: SoC 50.0 %", ">>> = None"),
            ('{"t": 3.5, "mode": "IDLE", "p": -1.5}', "= {'a': [1, 2.5], 'b': None}\r"),
            ("! PowerError: kw = 200: allowed are -100.0 to 100.0 kW",),
            ("= <App object at 7f>",),
        )
        console = Console(port)
        assert await console.lines("status()") == (["not limited", "battery: SoC 50.0 %"], "None")
        assert console.events[0][1:] == ("MODE_CHANGE", "IDLE")
        assert await console.ask("x") == {"a": [1, 2.5], "b": None}
        assert console.samples[0].state["p"] == -1.5
        with pytest.raises(Refused, match="allowed are"):
            await console.ask("pm.set_constant_power(200)")
        assert await console.ask("app") == "<App object at 7f>"
        with pytest.raises(Silent, match="no answer to 'why'"):
            await console.ask("why", timeout=0.05)
        port.answers += [(f"= {n}",) for n in range(9)]
        port.answers += [("! OSError: 2",), ("= 'end'",)]
        found = await console.ask_all(["a line"] * 11)
        assert found[:9] == list(range(9)) and isinstance(found[9], Refused) and found[10] == "end"

    asyncio.run(talk())


class Prompt(Replies):
    """A board that answers every line as soon as the loop turns."""

    async def send(self, line: str) -> None:
        asyncio.get_running_loop().call_soon(self.on_line, "= [1, 2]")


def test_whoever_watches_a_hand_comes_to_an_end_and_leaves_no_answer_behind() -> None:
    async def session() -> None:
        console = Console(Prompt())
        bench = Bench(console, {}, Agreed({}), simulated_hand := NoHand())
        for turns in range(100):
            async with asyncio.timeout(20), bench.watching("A", "B") as seen:
                assert len(seen) == 1, "how it was before anything is done"
                for _ in range(turns):
                    await asyncio.sleep(0)
            assert all(values == [1, 2] for _, values in seen)
            assert await console.ask("x") == [1, 2]
        assert simulated_hand.told == []

    asyncio.run(session())


class WithPin(Replies):
    """A board that runs nothing before the PIN has come."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []
        self.open_to = False

    async def send(self, line: str) -> None:
        self.sent.append(line)
        if line.startswith("login "):
            self.open_to = line == "login 4711x"
            self.on_line("= 'the role is service'" if self.open_to else "! PowerError: that is no PIN")
        else:
            self.on_line(f"= {line}" if self.open_to else "! PowerError: that needs the role service: login PIN first")


def test_a_console_that_wants_a_pin_gets_it_again_after_a_reset() -> None:
    async def talk() -> None:
        port = WithPin()
        console = Console(port)
        with pytest.raises(Locked, match="wants the service PIN"):
            await console.open()
        console.pin = "0000"
        with pytest.raises(Locked, match="that is no PIN"):
            await console.open()
        console.pin = "4711x"
        await console.open()
        port.open_to = False  # it was reset
        await console.wait_up(5)
        assert await console.ask("1") == 1 and port.sent.count("login 4711x") == 2

    asyncio.run(talk())


def test_who_is_at_no_terminal_is_told_where_the_pin_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: str) -> str:
        raise EOFError

    monkeypatch.delenv("CONSOLE_PIN", raising=False)
    monkeypatch.setattr("getpass.getpass", nobody)
    with pytest.raises(Locked, match="elsewhere CONSOLE_PIN says it"):
        asyncio.run(program.opened_by_pin(Console(WithPin()), Terminal()))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "PORT"),
        (["--sim", "--port", "x"], "SIM=1"),
        (["--sim", "--only", "nothing"], "identity"),
        (["--sim", "--plant", "nothing"], "meter_turned"),
        (["--port", "x", "--plant", "two_bms"], "--plant goes with a simulated cabinet alone: make commission SIM=1"),
        (["--port", "x", "--export-kw", "-1"], "0 to 1000"),
        (["--sim", "--site", "/nonexistent.json"], "cannot be read"),
    ],
)
def test_a_command_line_that_cannot_be_is_refused_with_what_can(given: list[str], words: str) -> None:
    errors = program.refused(program.arguments().parse_args(given))
    assert errors and words in " ".join(errors), errors
