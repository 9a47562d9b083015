"""The simulated board is a board: it boots as one, resets as one, and a hung program is really cut off."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tools.interpreters import Interpreter
from tools.sim.board.board import Board

ECHO = """
import sys, select
p = select.poll(); p.register(sys.stdin, select.POLLIN)
print("ready")
while True:
    if p.poll(20):
        line = sys.stdin.readline().strip()
        try:
            print("=", repr(eval(line)))
        except Exception as e:
            print("!", type(e).__name__, e)
"""

Tree = Callable[..., Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Writes a tiny firmware: tree(main=..., boot=..., files={...}) gives its root."""

    def write(main: str = ECHO, boot: str = "", files: dict[str, str] | None = None) -> Path:
        root = tmp_path / "root"
        contents = {"main.py": main, "boot.py": boot, "firmware/__init__.py": "", "lib/helper.py": "X = 5\n"}
        contents.update(files or {})
        for name, text in contents.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        return root

    return write


def drive(board: Board, story: Callable[[Board], Coroutine[Any, Any, None]]) -> None:
    """Starts the board, lets the story happen, and always stops it."""

    async def run() -> None:
        await board.start()
        try:
            await story(board)
        finally:
            await board.stop()

    asyncio.run(run())


async def ask(board: Board, line: str, timeout: float = 10) -> str:
    """The answer to one console line of the ECHO program."""
    board.lines.clear()
    await board.send(line)
    return await board.wait_line(lambda text: text[:2] in ("= ", "! "), timeout)


def board_of(mp: Interpreter, root: Path, tmp_path: Path, **more: Any) -> Board:
    return Board(root, state_dir=tmp_path / "state", site={"name": "x"}, interpreter=list(mp.command), **more)


def test_boot_runs_before_main_in_the_flash_directory(mp: Interpreter, tree: Tree, tmp_path: Path) -> None:
    main = "import json, helper, firmware\nprint('main', json.load(open('site.json'))['name'], helper.X, FROM_BOOT)\n"
    board = board_of(mp, tree(main=main, boot="FROM_BOOT = 7\nprint('boot')\n"), tmp_path)

    async def story(board: Board) -> None:
        await board.wait_line("main x 5 7")
        assert list(board.lines)[:2] == ["boot", "main x 5 7"]
        while board.running:
            await asyncio.sleep(0.02)
        assert board.returncode == 0

    drive(board, story)


def test_console_answers_lines_and_leaves_the_input_unechoed(mp: Interpreter, tree: Tree, tmp_path: Path) -> None:
    async def story(board: Board) -> None:
        await board.wait_line("ready")
        assert await ask(board, "6 * 7") == "= 42"
        assert await ask(board, "nonsense") in ("! NameError name 'nonsense' isn't defined",)

    drive(board_of(mp, tree(), tmp_path), story)


def test_modules_are_cross_compiled_when_the_heap_is_limited(mp: Interpreter, tree: Tree, tmp_path: Path) -> None:
    viper = "import micropython\n@micropython.viper\ndef twice(x: int) -> int:\n    return x + x\n"
    root = tree(files={"firmware/hot.py": viper, "main.py": "import firmware.hot\n" + ECHO})
    board = board_of(mp, root, tmp_path, heap="96K")

    async def story(board: Board) -> None:
        await board.wait_line("ready")
        assert (board.flash / "firmware" / "hot.mpy").exists()
        assert not (board.flash / "firmware" / "hot.py").exists()
        assert (board.flash / "main.py").exists()
        assert await ask(board, "firmware.hot.twice(21)") == "= 42"
        answer = await ask(board, "__import__('gc').mem_free() + __import__('gc').mem_alloc()")
        assert 90_000 < int(answer[2:]) < 98_304  # all there is, the chip's own modules included

    drive(board, story)


def test_a_starved_watchdog_kills_and_restarts_with_its_cause(mp: Interpreter, tree: Tree, tmp_path: Path) -> None:
    main = """
import machine, time
print("cause", machine.reset_cause())
if machine.reset_cause() == machine.PWRON_RESET:
    dog = machine.WDT(timeout=300)
    for _ in range(8):
        time.sleep_ms(100)
        dog.feed()
    print("hangs")
    while True:
        pass
print("alive again")
"""
    board = board_of(mp, tree(main=main), tmp_path)

    async def story(board: Board) -> None:
        await board.wait_line("hangs")  # 800 ms of feeding outlived the 300 ms timeout
        await board.wait_line("alive again")
        assert board.resets == ["WDT_RESET"]
        assert "cause 3" in board.lines

    drive(board, story)


def test_a_program_that_ended_is_restarted_by_the_watchdog(mp64: Interpreter, tree: Tree, tmp_path: Path) -> None:
    main = "import machine\nprint('cause', machine.reset_cause())\nmachine.WDT(timeout=200)\n1 / 0\n"
    board = board_of(mp64, tree(main=main), tmp_path)

    async def story(board: Board) -> None:
        await board.wait_line("ZeroDivisionError")
        await board.wait_line("cause 3")

    drive(board, story)


@pytest.mark.parametrize(
    ("call", "cause", "number"), [("machine.reset()", "HARD_RESET", 2), ("machine.soft_reset()", "SOFT_RESET", 5)]
)
def test_reset_restarts_and_keeps_rtc_memory(
    mp: Interpreter, tree: Tree, tmp_path: Path, call: str, cause: str, number: int
) -> None:
    async def story(board: Board) -> None:
        await board.wait_line("ready")
        assert await ask(board, "machine.RTC().memory()") == "= b''"
        assert await ask(board, "machine.RTC().memory(b'latched')") == "= None"
        board.lines.clear()
        await board.send(call)
        await board.wait_line("ready")
        assert board.resets == [cause]
        assert await ask(board, "machine.reset_cause()") == f"= {number}"
        assert await ask(board, "machine.RTC().memory()") == "= b'latched'"

    drive(board_of(mp, tree(main="import machine\n" + ECHO), tmp_path), story)


def test_a_power_cut_forgets_rtc_but_not_flash_and_nvs(mp: Interpreter, tree: Tree, tmp_path: Path) -> None:
    async def story(board: Board) -> None:
        await board.wait_line("ready")
        await ask(board, "machine.RTC().memory(b'gone')")
        await ask(board, "machine.RTC().datetime((2026, 11, 22, 6, 10, 30, 0, 0))")
        assert (await ask(board, "machine.RTC().datetime()[:6]")) == "= (2026, 11, 22, 6, 10, 30)"
        await ask(board, "open('log.txt', 'w').write('kept')")
        await ask(board, "nvs.set_i32('count', -5), nvs.set_blob('name', b'abc'), nvs.commit()")
        await ask(board, "nvs.set_i32('count', 99)")  # never committed
        board.kill()
        await board.restart()
        board.lines.clear()
        await board.wait_line("ready")
        assert await ask(board, "machine.RTC().memory()") == "= b''"
        assert (await ask(board, "machine.RTC().datetime()[:3]")) == "= (2000, 1, 1)"
        assert await ask(board, "open('log.txt').read()") == "= 'kept'"
        assert await ask(board, "nvs.get_i32('count')") == "= -5"
        assert await ask(board, "nvs.get_i32('never')") == "! OSError (-4354, 'ESP_ERR_NVS_NOT_FOUND')"
        assert await ask(board, "nvs.get_blob('name', buf), buf") == "= (3, bytearray(b'abc\\x00\\x00'))"

    main = "import machine, esp32\nnvs = esp32.NVS('test')\nbuf = bytearray(5)\n" + ECHO
    drive(board_of(mp, tree(main=main), tmp_path), story)


def test_a_namespace_that_is_open_twice_is_one_storage(mp: Interpreter, tree: Tree, tmp_path: Path) -> None:
    """latch: as the emergency's memory and what would go on after a reset are, each with a handle of its own."""

    async def story(board: Board) -> None:
        await board.wait_line("ready")
        await ask(board, "one.set_i32('emergency', 1), one.commit()")
        await ask(board, "two.set_i32('resume', 2), two.commit()")
        assert await ask(board, "one.get_i32('resume'), two.get_i32('emergency')") == "= (2, 1)"
        await ask(board, "one.set_i32('emergency', 0), one.commit()")
        await ask(board, "two.set_i32('resume', 3), two.commit()")
        await ask(board, "other.set_i32('resume', 9), other.commit()")
        board.kill()
        await board.restart()
        board.lines.clear()
        await board.wait_line("ready")
        assert await ask(board, "one.get_i32('emergency'), one.get_i32('resume')") == "= (0, 3)"
        assert await ask(board, "other.get_i32('resume')") == "= 9", "another namespace is another storage"

    main = "import esp32\none = esp32.NVS('bess')\ntwo = esp32.NVS('bess')\nother = esp32.NVS('other')\n" + ECHO
    drive(board_of(mp, tree(main=main), tmp_path), story)


def test_pins_lead_outside_in_both_directions(mp: Interpreter, tree: Tree, tmp_path: Path) -> None:
    main = (
        "from machine import Pin\nedges = []\nout = Pin(25, Pin.OUT, value=0)\n"
        "stop = Pin(34, Pin.IN, Pin.PULL_UP)\nstop.irq(lambda p: edges.append(p.value()), Pin.IRQ_FALLING)\n" + ECHO
    )
    board = board_of(mp, tree(main=main), tmp_path)
    seen: list[tuple[int, int]] = []
    board.on_pin = lambda pin, level: seen.append((pin, level))

    async def story(board: Board) -> None:
        await board.wait_line("ready")
        assert await ask(board, "stop()") == "= 1"  # nobody drives it: the pull-up does
        board.set_pin(34, 0)
        await asyncio.sleep(0.05)
        assert await ask(board, "stop(), edges") == "= (0, [0])"
        board.set_pin(34, None)
        await asyncio.sleep(0.05)
        assert await ask(board, "stop(), edges") == "= (1, [0])"
        await ask(board, "out.on()")
        assert board.pin(25) == 1
        board.kill()  # a dead chip drives nothing: the contactor relay drops
        await asyncio.sleep(0.2)
        assert seen == [(25, 0), (25, 1), (25, 0)]
        assert board.pin(25) == 0

    drive(board, story)


def test_feeding_and_pin_writes_allocate_nothing(mp: Interpreter, tree: Tree, tmp_path: Path) -> None:
    main = """
import machine, micropython
dog = machine.WDT(timeout=5000)
pin = machine.Pin(2, machine.Pin.OUT)
stop = machine.Pin(4, machine.Pin.IN, machine.Pin.PULL_UP)
def work():
    for _ in range(500):
        dog.feed(); pin.value(1); pin.value(0); stop.value()
work()
micropython.heap_lock()
work()
micropython.heap_unlock()
print("no allocation")
machine.reset()
"""
    drive(board_of(mp, tree(main=main), tmp_path), lambda board: _said(board, "no allocation"))


async def _said(board: Board, text: str) -> None:
    await board.wait_line(text)


def test_wifi_station_joins_and_refuses_a_wrong_password(mp64: Interpreter, tree: Tree, tmp_path: Path) -> None:
    env = {"SIM_WIFI_SSID": "plant", "SIM_WIFI_PASSWORD": "secret", "SIM_WIFI_MS": "30"}
    main = "import network\nw = network.WLAN(network.STA_IF)\nw.active(True)\n" + ECHO

    async def story(board: Board) -> None:
        await board.wait_line("ready")
        await ask(board, "w.connect('plant', 'wrong')")
        await asyncio.sleep(0.1)
        assert await ask(board, "w.isconnected(), w.status() == network.STAT_WRONG_PASSWORD") == "= (False, True)"
        await ask(board, "w.connect('plant', 'secret')")
        await asyncio.sleep(0.1)
        assert await ask(board, "w.isconnected(), w.ifconfig()[0]") == "= (True, '127.0.0.1')"
        assert await ask(board, "network.WLAN(network.STA_IF).isconnected()") == "= True", "there is one station"

    drive(board_of(mp64, tree(main=main), tmp_path, env=env), story)


def test_an_empty_spi_and_i2c_bus_answers_enodev(mp64: Interpreter, tree: Tree, tmp_path: Path) -> None:
    async def story(board: Board) -> None:
        await board.wait_line("ready")
        assert await ask(board, "machine.SPI(1, 10000000).read(2)") == "! OSError [Errno 19] ENODEV"
        assert await ask(board, "machine.I2C(0).scan()") == "= []"
        assert await ask(board, "machine.I2C(0).readfrom(0x68, 7)") == "! OSError [Errno 19] ENODEV"

    drive(board_of(mp64, tree(main="import machine\n" + ECHO), tmp_path), story)


def test_uart_over_tcp_carries_bytes_both_ways(mp: Interpreter, tree: Tree, tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        main = "import machine\nu = machine.UART(1, 115200, tx=17, rx=16, rxbuf=32)\n" + ECHO
        board = board_of(mp, tree(main=main), tmp_path, env={"SIM_UART1": f"127.0.0.1:{port}"})

        async def story(board: Board) -> None:
            await board.wait_line("ready")
            peer, _ = listener.accept()
            with peer:
                assert await ask(board, "u.any(), u.read(4)") == "= (0, None)"
                peer.sendall(b"hello")
                await asyncio.sleep(0.05)
                assert await ask(board, "u.any(), u.read(3), u.read()") == "= (5, b'hel', b'lo')"
                peer.sendall(bytes(40))  # more than rxbuf holds: the rest is lost
                await asyncio.sleep(0.05)
                assert await ask(board, "u.any()") == "= 32"
                assert await ask(board, "u.write(bytes(115)), u.txdone()") == "= (115, False)"  # 10 ms on the wire
                await asyncio.sleep(0.05)
                assert await ask(board, "u.txdone()") == "= True"
                assert peer.recv(200) == bytes(115)

        drive(board, story)


def test_while_a_reset_starts_it_anew_it_is_waited_for_and_may_be_stopped(mp64: Interpreter, tree: Tree, tmp_path: Path) -> None:
    """Starting a process takes a moment, longer on a busy host: what is asked of the board then is asked of the one to come."""
    board = board_of(mp64, tree(), tmp_path)
    asked: list[asyncio.Task[Any]] = []

    def wait(_cause: str) -> None:
        board.lines.clear()
        asked.append(asyncio.create_task(board.wait_line("ready", 20)))

    def stop(_cause: str) -> None:
        asked.append(asyncio.create_task(board.stop()))

    async def story(board: Board) -> None:
        await board.wait_line("ready")
        for act in (wait, stop):
            board.on_reset = act
            await board.send("__import__('machine').reset()")
            while not asked:
                await asyncio.sleep(0.01)
            await asyncio.wait_for(asked.pop(), 25)
        assert board.is_off and board.resets == ["HARD_RESET", "HARD_RESET"]

    drive(board, story)


def test_unknown_reset_cause_and_pin_are_refused_by_name(mp64: Interpreter, tree: Tree, tmp_path: Path) -> None:
    board = board_of(mp64, tree(), tmp_path)

    async def story(board: Board) -> None:
        await board.wait_line("ready", 10)  # before, nothing takes the Ctrl-C of the end
        with pytest.raises(ValueError, match=r"'BROWNOUT'.*PWRON_RESET"):
            await board.restart("BROWNOUT")
        with pytest.raises(ValueError, match="pin 60"):
            board.set_pin(60, 1)

    drive(board, story)
