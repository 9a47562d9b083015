"""The simulated board as one chip: its flash, its imports, its memory and what it counts.  Full speed: counts are the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from host_tests import needs
from tools.build import fits
from tools.interpreters import Interpreter
from tools.sim.board import chiprom, flash_image
from tools.sim.board.board import Board
from tools.sim.board.chip import record
from tools.sim.board.chip.profiles import profile
from tools.sim.board.profiles import Profile, named

# Answers console lines from within an event loop, as the firmware does, and feeds a watchdog.
SERVE = """
import asyncio, machine, select, sys
names = {}
dog = machine.WDT(timeout=20000)
async def serve():
    p = select.poll(); p.register(sys.stdin, select.POLLIN)
    print("ready")
    while True:
        await asyncio.sleep_ms(20)
        dog.feed()
        if p.poll(0):
            line = sys.stdin.readline().strip()
            try:
                if line.startswith("do "):
                    exec(line[3:], names); print("= done")
                else:
                    print("=", repr(eval(line, names)))
            except Exception as e:
                print("!", type(e).__name__, e)
asyncio.run(serve())
"""

VIPER = "import micropython\n@micropython.viper\ndef twice(x: int) -> int:\n    return x + x\n"
Tree = Callable[..., Path]
Story = Callable[[Board], Coroutine[Any, Any, None]]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Writes a tiny firmware: tree(files={...}) gives its root."""

    def write(main: str = SERVE, boot: str = "", files: dict[str, str] | None = None) -> Path:
        root = tmp_path / "root"
        contents = {"main.py": main, "boot.py": boot, "firmware/__init__.py": "", "lib/helper.py": "X = 5\n", **(files or {})}
        for name, text in contents.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        return root

    return write


def play(mp32: Interpreter | None, root: Path, state: Path, story: Story, profile: Profile | None = None, **more: Any) -> Board:
    """A board of that chip (at full speed, or without an interpreter at the chip's), the story, its end; gives the board."""
    profile = profile or named("esp32")
    command = list(mp32.command) if mp32 else None
    board = Board(root, state_dir=state, site={"name": "x"}, interpreter=command, profile=profile, **more)

    async def run() -> None:
        await board.start()
        try:
            await board.wait_line("ready", 20)
            await story(board)
        finally:
            await board.stop()

    asyncio.run(run())
    return board


async def ask(board: Board, line: str) -> str:
    """The answer to one line."""
    board.lines.clear()
    await board.send(line)
    return await board.wait_line(lambda text: text[:2] in ("= ", "! "), 10)


async def on_flash(board: Board) -> str:
    """What is in the root folder, without the mount points."""
    line = "' '.join(sorted(e[0] for e in os.ilistdir('/') if e[0] not in ('chip', 'dev', 'nvs', 'proc', 'rom')))"
    return (await ask(board, line))[3:-1]


async def done(board: Board, *lines: str) -> None:
    """Statements that must succeed."""
    for line in lines:
        assert await ask(board, f"do {line}") == "= done"


# ---- the file system ----


def test_files_last_through_reset_and_power_cut_and_come_back_to_the_host(mp32: Interpreter, tree: Tree, tmp_path: Path) -> None:
    async def story(board: Board) -> None:
        await done(board, "import os, json")
        assert await on_flash(board) == "boot.py firmware lib main.py site.json"
        assert await ask(board, "json.load(open('site.json'))") == "= {'name': 'x'}"
        await done(board, "f = open('log.txt', 'w'); f.write('kept'); f.close()", "os.mkdir('data')")
        await board.restart("SOFT_RESET")
        board.lines.clear()
        await board.wait_line("ready", 20)
        assert await ask(board, "open('log.txt').read()") == "= 'kept'"
        await done(board, "import os", "os.rename('log.txt', 'data/log.txt')", "f = open('half.txt', 'w'); f.write('never closed')")
        board.kill()

    board = play(mp32, tree(), tmp_path / "state", story)
    assert (board.flash / "data" / "log.txt").read_text() == "kept"
    assert not (board.flash / "log.txt").exists()
    assert (board.flash / "half.txt").read_bytes() == b"", "LittleFS has its name, as on a chip, and nothing in it"
    assert (board.flash / "lib" / "helper.mpy").exists()


def test_a_new_deploy_keeps_data_and_removes_what_is_no_more(mp32: Interpreter, tree: Tree, tmp_path: Path) -> None:
    async def first(board: Board) -> None:
        await done(board, "f = open('log.txt', 'w'); f.write('kept'); f.close()")

    async def second(board: Board) -> None:
        assert await ask(board, "open('log.txt').read()") == "= 'kept'"
        await done(board, "import helper")
        assert await ask(board, "helper.X") == "= 6"
        assert await ask(board, "__import__('gone')") == "! ImportError no module named 'gone'"

    root = tree(files={"firmware/gone.py": "", "lib/gone.py": ""})
    play(mp32, root, tmp_path / "state", first)
    (root / "lib" / "gone.py").unlink()
    (root / "lib" / "helper.py").write_text("X = 6\n")
    play(mp32, root, tmp_path / "state", second)


def test_one_file_is_put_on_a_flash_from_outside(tmp_path: Path) -> None:
    needs.interpreter(64)
    tree = tmp_path / "tree"
    (tree / "firmware").mkdir(parents=True)
    (tree / "firmware" / "app.mpy").write_bytes(bytes(5000))
    (tree / "main.py").write_text("x")
    image = tmp_path / "flash.img"
    flash_image.deploy(tree, image, 64 * 4096)
    flash_image.write(image, "data/site.json", b"{}")
    flash_image.unpack(image, tmp_path / "out")
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == {"firmware/app.mpy", "main.py", "data/site.json"}
    assert image.stat().st_size == 64 * 4096
    image.write_bytes(b"\0" * image.stat().st_size)
    with pytest.raises(flash_image.FlashError):
        flash_image.unpack(image, tmp_path / "out")


# ---- what reads it ----


async def reads_of(board: Board, statement: str) -> int:
    """Flash reads, in operation and no store's, of one statement."""
    before = await board.figures(heap=False)
    await done(board, statement)
    return int((await board.figures(heap=False))["flash_reads"] - before["flash_reads"])


def test_a_builtin_that_a_file_may_replace_is_looked_for_every_time(mp32: Interpreter, tree: Tree, tmp_path: Path) -> None:
    async def story(board: Board) -> None:
        first = await reads_of(board, "import json")
        assert first > 20
        for name in ("json", "time", "select", "socket", "machine", "array", "struct"):
            assert await reads_of(board, f"import {name}") == first, name
        for name in ("micropython", "gc", "sys", "network", "esp32", "utime", "asyncio"):
            assert await reads_of(board, f"import {name}") == 0, name
        await done(board, "import sys, machine, time")
        await done(board, "sys.modules['machine'] = machine; sys.modules['time'] = time")
        assert await reads_of(board, "import machine, time") == 0, "as on a chip: what is in sys.modules is not looked for"
        assert await ask(board, "machine.Pin.OUT, machine.reset_cause()") == "= (3, 1)"

    play(mp32, tree(), tmp_path / "state", story)


def test_what_read_flash_is_known_by_name_and_stores_apart(mp32: Interpreter, tree: Tree, tmp_path: Path) -> None:
    async def story(board: Board) -> None:
        figures = await board.figures(heap=False)
        assert figures["boot_flash_ops"] > 100 and figures["boot_ms"] >= 1
        assert figures["flash_reads"] == figures["imports"] == figures["opens"] == figures["flash_writes"] == 0
        booted = len(board.accesses)
        await done(board, "import outer", "open('site.json').read()")
        seen = board.accesses[booted:]
        assert [(kind, name) for kind, name, _ in seen] == [("import", "inner"), ("import", "outer"), ("open", "site.json")]
        figures = await board.figures(heap=False)
        assert figures["imports"] == 2 and figures["opens"] == 1
        assert figures["flash_reads"] >= sum(reads for _, _, reads in seen) > 0, "reading the opened file comes on top"
        assert figures["store_reads"] == figures["flash_writes"] == figures["flash_erases"] == 0
        before = figures["flash_reads"]
        await done(board, "f = open('log.txt', 'w'); f.write('x' * 9000); f.close()", "import uos; uos.remove('log.txt')")
        figures = await board.figures(heap=False)
        assert figures["flash_reads"] == before
        assert figures["store_reads"] > 0 and figures["flash_writes"] > 9000 // 4096 and figures["flash_erases"] >= 2

    root = tree(files={"lib/outer.py": "import inner\n", "lib/inner.py": "Y = 1\n"})
    play(mp32, root, tmp_path / "state", story)


def test_the_same_tree_boots_with_the_same_flash_operations(mp32: Interpreter, tree: Tree, tmp_path: Path) -> None:
    counted = []

    async def story(board: Board) -> None:
        counted.append((await board.figures(heap=False))["boot_flash_ops"])

    for number in (1, 2):
        play(mp32, tree(), tmp_path / f"state{number}", story)
    assert counted[0] == counted[1] > 0


def test_the_partition_is_found_and_larger_reads_are_fewer(mp32: Interpreter, tree: Tree, tmp_path: Path) -> None:
    async def story(board: Board) -> None:
        await done(board, "import esp32, vfs, os")
        assert await ask(board, "esp32.Partition.find(esp32.Partition.TYPE_APP)") == "= []"
        short = await reads_of(board, "os.stat('main.py')")
        await done(board, "flash = esp32.Partition.find(esp32.Partition.TYPE_DATA, label='vfs')[0]")
        await done(board, "vfs.umount('/'); vfs.mount(vfs.VfsLfs2(flash, readsize=256), '/')")
        assert 0 < await reads_of(board, "os.stat('main.py')") < short
        assert await ask(board, "open('site.json').read()[:1]") == "= '{'"

    play(mp32, tree(), tmp_path / "state", story)


# ---- memory ----


def test_sockets_come_out_of_a_counted_pool(mp32: Interpreter, tree: Tree, tmp_path: Path) -> None:
    async def story(board: Board) -> None:
        await done(board, "import socket; held = []")
        answers = [await ask(board, "held.append(socket.socket())") for _ in range(4)]
        assert answers == ["= None"] * 3 + ["! OSError [Errno 12] ENOMEM"]
        assert (await board.figures(heap=False))["pool_free"] == 1000
        await done(board, "held.pop().close()")
        assert await ask(board, "held.append(socket.socket())") == "= None", "a closed one gives its memory back"

    play(mp32, tree(), tmp_path / "state", story, replace(named("esp32"), pool=3 * 4096 + 1000))


def test_more_sockets_than_lwip_has_are_refused(mp32: Interpreter, tree: Tree, tmp_path: Path) -> None:
    async def story(board: Board) -> None:
        await done(board, "import socket; held = [socket.socket() for _ in range(16)]")
        assert (await ask(board, "socket.socket()")).startswith("! OSError")

    play(mp32, tree(), tmp_path / "state", story)


def test_wifi_is_paid_once_and_refused_without_memory(mp32: Interpreter, tree: Tree, tmp_path: Path) -> None:
    async def fits(board: Board) -> None:
        await done(board, "import network", "w = network.WLAN(network.STA_IF); v = network.WLAN(network.STA_IF)")
        figures = await board.figures(heap=False)
        assert (figures["pool_wifi"], figures["pool_free"]) == (60 * 1024, 96_000 - 60 * 1024)

    async def fits_not(board: Board) -> None:
        await done(board, "import network")
        assert (await ask(board, "network.WLAN(network.STA_IF)")).startswith("! OSError (257, 'ESP_ERR_NO_MEM')")

    play(mp32, tree(), tmp_path / "state", fits)
    play(mp32, tree(), tmp_path / "state", fits_not, replace(named("esp32"), pool=61_000))


def test_machine_code_comes_out_of_the_pool_for_ever(mp32: Interpreter, tree: Tree, tmp_path: Path) -> None:
    root = tree(files={"lib/one.py": VIPER, "lib/two.py": VIPER + VIPER.replace("twice", "again"), "lib/pack/__init__.py": VIPER})

    async def counted(board: Board) -> None:
        await done(board, "import sys, one; del sys.modules['one']; import one")
        once = (await board.figures(heap=False))["pool_code"]
        assert once > 0 and once % 2 == 0, "on a chip loading it again takes it again: nothing frees it but a reset"
        await done(board, "import pack")
        assert (await board.figures(heap=False))["pool_code"] == once // 2 * 3
        await board.restart("SOFT_RESET")
        board.lines.clear()
        await board.wait_line("ready", 20)
        assert (await board.figures(heap=False))["pool_code"] == 0

    async def spent(board: Board) -> None:
        await done(board, "import one")
        assert (await ask(board, "__import__('two')")).startswith("! MemoryError")
        await done(board, "import helper")
        assert await ask(board, "one.twice(4)") == "= 8"

    play(mp32, root, tmp_path / "state", counted)
    size = chiprom.code_sizes(root)["one"]
    play(mp32, root, tmp_path / "state", spent, replace(named("esp32"), pool=2 * size))


def test_a_heap_that_takes_its_third_area_takes_all_that_is_left(mp32: Interpreter, tree: Tree, tmp_path: Path) -> None:
    async def story(board: Board) -> None:
        await done(board, "import socket; s = socket.socket()", "big = bytearray(110000); big = None")
        assert await ask(board, "socket.socket().close()") == "= None", "garbage does not take it"
        await done(board, "big = bytearray(110000)")
        assert await ask(board, "socket.socket()") == "! OSError [Errno 12] ENOMEM"
        await done(board, "big = None; s.close()")
        assert await ask(board, "socket.socket()") == "! OSError [Errno 12] ENOMEM", "for ever"
        figures = await board.figures()
        assert figures["heap_third_area"] is True and figures["pool_free"] == 0 and figures["heap_live"] < 40_000

    play(mp32, tree(), tmp_path / "state", story)


def test_the_heap_is_the_profiles_and_what_measures_weighs_nothing(mp32: Interpreter, tree: Tree, tmp_path: Path) -> None:
    async def story(board: Board) -> None:
        figures = await board.figures()
        assert figures["heap_bytes"] == 160_000 and 0 < figures["heap_instruments_given_back"] < 14_000  # sockets too
        total = int((await ask(board, "__import__('gc').mem_free() + __import__('gc').mem_alloc()"))[2:])
        assert abs(total - 160_000 - figures["heap_instruments_given_back"]) < 6_000  # less what the heap's table takes
        assert 0 < figures["heap_live"] < 30_000 < figures["heap_largest"]
        again = await board.figures()
        assert abs(again["heap_live"] - figures["heap_live"]) < 500, "asking leaves nothing behind"
        assert figures["names"] > 50 and figures["names_frozen"] == 0
        assert 0 < figures["heap_names_given_back"] < fits.pool_bytes(figures["names"]), "pools for the names of what measures"

    play(mp32, tree(), tmp_path / "state", story)


# ---- our own image ----


def test_from_romfs_code_is_no_flash_read_and_names_are_given_back(mp32: Interpreter, tree: Tree, tmp_path: Path) -> None:
    async def story(board: Board) -> None:
        await done(board, "import sys, one, os, json")
        assert await ask(board, "sys.path") == "= ['', '.frozen', '/lib', '/rom', '/rom/lib']"
        assert await ask(board, "one.__file__") == "= '/rom/lib/one.mpy'"
        assert await on_flash(board) == "site.json", "boot.py and main.py are in the image too"
        reads = {name: count for _, name, count in board.accesses}
        assert reads["one"] == reads["json"], "no more than for a built-in: looked for in flash first, in vain"
        figures = await board.figures()
        assert figures["names_frozen"] >= 200 and figures["heap_names_given_back"] > 200 * 7
        assert figures["pool_code"] == 0, "frozen machine code stays in flash"
        before, live = figures["heap_constants_given_back"], figures["heap_live"]
        assert before > 200 * 2, "the table of one's names"
        await done(board, "import full")
        figures = await board.figures()
        given = figures["heap_constants_given_back"] - before
        assert 100 * 16 < given < 130 * 16 and figures["heap_live"] - live < 700, "a module's constants, once it is loaded"
        assert figures["heap_bytes"] == 112_000 and figures["heap_live"] < 30_000
        assert await ask(board, "id(bytearray(5000)) < id(__import__('sim_frozen').pieces[-1])") == "= True", "no search passes it"

    words = VIPER + "".join(f"def some_name_{number}(): pass\n" for number in range(200))
    profile = named("esp32", romfs=True)
    assert profile.romfs and profile.heap == 112_000
    texts = "TEXTS = (" + "".join(f"'text number {number}', " for number in range(100)) + ")\n"
    play(mp32, tree(files={"lib/one.py": words, "lib/full.py": texts}), tmp_path / "state", story, profile)


# ---- time ----


def test_a_timer_wakes_the_loop_and_callbacks_are_the_firmwares(mp32: Interpreter, tree: Tree, tmp_path: Path) -> None:
    main = """
import asyncio, machine
async def beat():
    flag = asyncio.ThreadSafeFlag()
    fired = []
    timer = machine.Timer(0, period=20, callback=lambda t: (fired.append(t), flag.set()))
    for _ in range(5):
        await flag.wait()
    timer.deinit()
    count = len(fired)
    await asyncio.sleep_ms(60)
    print("fired", count, fired[0] is timer, len(fired) - count)
    once = machine.Timer(-1)
    once.init(mode=machine.Timer.ONE_SHOT, period=5, callback=lambda t: flag.set())
    await flag.wait()
    try:
        await asyncio.wait_for_ms(flag.wait(), 50)
    except asyncio.TimeoutError:
        print("once")
    print("ready")
    while True:
        await asyncio.sleep_ms(20)
asyncio.run(beat())
"""

    async def story(board: Board) -> None:
        assert list(board.lines) == ["fired 5 True 0", "once", "ready"]

    play(mp32, tree(main=main), tmp_path / "state", story)
    fast = Board(tree(main=main), state_dir=tmp_path / "fast", site=None, interpreter=list(mp32.command))

    async def run() -> None:
        await fast.start()
        try:
            await fast.wait_line("ready", 10)
            assert list(fast.lines) == ["fired 5 True 0", "once", "ready"], "a fast board has the timer too"
        finally:
            await fast.stop()

    asyncio.run(run())


@pytest.mark.serial
def test_at_the_chips_speed_reads_take_the_flashs_time_and_the_surroundings_none(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs.chip("esp32")
    monkeypatch.delenv("MICROPYTHON", raising=False)

    async def story(board: Board) -> None:
        assert board._process is not None
        await done(board, "import machine; pin = machine.Pin(2, machine.Pin.OUT)", "import sim_pace")
        figures = await board.figures(heap=False)
        seen = record.read(board._process.pid)
        operations = figures["boot_flash_ops"] + figures["flash_reads"]
        shorter_us = seen.gc_counted / profile("esp32").mips - seen.gc_us  # collections pass over the chip's heap only
        assert seen.padded_us + shorter_us + 1 >= 85 * operations
        assert figures["collections"] == seen.collections
        start = "a = sim_pace.count()\nfor _ in range(200): pin.value(1)\nb = sim_pace.count()"
        await done(board, f"exec({start!r}, globals())")
        per_call = int((await ask(board, "(b - a) // 200"))[2:])
        assert per_call < 4000, "a loop turn and a call, without what the simulated pin does"

    play(None, tree(), tmp_path / "state", story)
    assert json.loads((tmp_path / "state" / "flash" / "site.json").read_text()) == {"name": "x"}


def test_what_nvs_keeps_lasts_through_a_power_cut(mp32: Interpreter, tree: Tree, tmp_path: Path) -> None:
    async def story(board: Board) -> None:
        await done(board, "import esp32; store = esp32.NVS('n')", "store.set_i32('k', 5); store.commit()")
        await done(board, "store.set_i32('k', 6); store.commit(); store.set_i32('k', 7)")
        await board.restart("PWRON_RESET")
        board.lines.clear()
        await board.wait_line("ready", 20)
        assert await ask(board, "__import__('esp32').NVS('n').get_i32('k')") == "= 6", "committed last"

    play(mp32, tree(), tmp_path / "state", story)
