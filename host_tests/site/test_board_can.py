"""The simulated chip's machine.CAN keeps upstream's contract on a bus shared with python-can."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import can

from tools.interpreters import Interpreter
from tools.sim.board.board import Board
from tools.sim.devices.canhub import CanHub

MAIN = """
import sys, select
from machine import CAN
bus = CAN(0, 500000)
item = [0, memoryview(bytearray(8)), 0, 0]
def take():
    got = bus.recv(item)
    return got and (got[0], bytes(got[1]), got[2], got[3])
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


class Rig:
    """A board, a hub and a python-can node on it."""

    def __init__(self, board: Board, hub: CanHub, node: can.BusABC) -> None:
        self.board, self.hub, self.node = board, hub, node

    async def ask(self, line: str) -> str:
        self.board.lines.clear()
        await self.board.send(line)
        return (await self.board.wait_line(lambda text: text[:2] in ("= ", "! ")))[2:]

    async def send(self, *messages: can.Message) -> None:
        for message in messages:
            await asyncio.to_thread(self.node.send, message)
        await asyncio.sleep(0.05)

    async def recv(self) -> can.Message | None:
        return await asyncio.to_thread(self.node.recv, 2.0)


Story = Callable[[Rig], Coroutine[Any, Any, None]]


def on_a_bus(mp: Interpreter, tmp_path: Path, story: Story, main: str = MAIN) -> None:
    root = tmp_path / "root"
    (root / "firmware").mkdir(parents=True)
    (root / "lib").mkdir()
    (root / "main.py").write_text(main)

    async def run() -> None:
        hub = CanHub()
        port = await hub.start()
        env = {"SIM_CAN0": f"127.0.0.1:{port}"}
        board = Board(root, state_dir=tmp_path / "state", site=None, interpreter=list(mp.command), env=env)
        await board.start()
        channel = f"socket://127.0.0.1:{port}"
        node = await asyncio.to_thread(can.Bus, interface="slcan", channel=channel, bitrate=500000, sleep_after_open=0)
        try:
            await board.wait_line("ready")
            await story(Rig(board, hub, node))
        finally:
            await asyncio.to_thread(node.shutdown)
            await board.stop()
            await hub.stop()

    asyncio.run(run())


def test_frames_go_both_ways_with_id_data_and_flags(mp: Interpreter, tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await rig.ask("bus.set_filters(None)")
        await rig.send(
            can.Message(arbitration_id=0x1FFFFFFF, data=b"\x00\xff\x80", is_extended_id=True),
            can.Message(arbitration_id=0x351, data=b"", is_extended_id=False),
            can.Message(arbitration_id=0x42, dlc=4, is_remote_frame=True, is_extended_id=False),
        )
        assert await rig.ask("take()") == "(536870911, b'\\x00\\xff\\x80', 2, 0)"
        assert await rig.ask("take()") == "(849, b'', 0, 0)"
        assert await rig.ask("take()") == "(66, b'\\x00\\x00\\x00\\x00', 1, 0)"
        assert await rig.ask("take()") == "None"
        assert await rig.ask("bus.send(0x4200, b'\\x02abc', CAN.FLAG_EXT_ID)") in "012"
        frame = await rig.recv()
        assert frame is not None
        assert (frame.arbitration_id, bytes(frame.data), frame.is_extended_id) == (0x4200, b"\x02abc", True)

    on_a_bus(mp, tmp_path, story)


def test_nothing_comes_before_filters_are_set_and_then_what_matches(mp64: Interpreter, tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await rig.send(can.Message(arbitration_id=0x1, is_extended_id=False))
        assert await rig.ask("take()") == "None"
        await rig.ask("bus.set_filters([(0x4210, 0x1FFFFFF0, CAN.FLAG_EXT_ID), (0x305, 0x7FF, 0)])")
        await rig.send(
            can.Message(arbitration_id=0x4215, is_extended_id=True),
            can.Message(arbitration_id=0x4225, is_extended_id=True),
            can.Message(arbitration_id=0x305, is_extended_id=True),  # the number fits, the kind does not
            can.Message(arbitration_id=0x305, is_extended_id=False),
        )
        assert await rig.ask("take()[0], take()[0], take()") == "(16917, 773, None)"
        await rig.ask("bus.set_filters([])")
        await rig.send(can.Message(arbitration_id=0x305, is_extended_id=False))
        assert await rig.ask("take()") == "None"
        assert "ValueError" in await rig.ask("bus.set_filters([(0, 0, 0)] * 17)")

    on_a_bus(mp64, tmp_path, story)


def test_a_burst_beyond_the_queue_is_counted_as_overrun(mp64: Interpreter, tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await rig.ask("bus.set_filters(None)")
        await rig.send(*[can.Message(arbitration_id=i, data=bytes([i]), is_extended_id=False) for i in range(40)])
        assert await rig.ask("bus.get_counters()") == "[0, 0, 0, 0, 0, 0, 32, 8]"
        assert await rig.ask("[take()[0] for _ in range(31)] == list(range(31))") == "True"
        assert await rig.ask("take()[3]") == "1"  # RECV_ERR_FULL: the last that fitted
        await rig.send(can.Message(arbitration_id=99, is_extended_id=False))
        assert await rig.ask("take()") == "(99, b'', 0, 2)"  # RECV_ERR_OVERRUN: something was lost before it

    on_a_bus(mp64, tmp_path, story)


def test_receiving_into_the_same_list_allocates_nothing(mp: Interpreter, tmp_path: Path) -> None:
    main = MAIN.replace(
        'print("ready")',
        """
import micropython
def drain():
    count = 0
    while bus.recv(item):
        count += 1
    return count
def locked():
    micropython.heap_lock()
    try:
        return drain()
    finally:
        micropython.heap_unlock()
print("ready")""",
    )

    async def story(rig: Rig) -> None:
        await rig.ask("bus.set_filters(None)")
        frames = [can.Message(arbitration_id=0x4210 + i, data=bytes(range(i % 9))) for i in range(20)]
        await rig.send(*frames)
        assert await rig.ask("drain()") == "20"
        await rig.send(*frames)
        assert await rig.ask("locked()") == "20"

    on_a_bus(mp, tmp_path, story, main)


def test_a_bus_that_is_not_there_is_error_passive_and_comes_back(mp64: Interpreter, tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await rig.ask("bus.set_filters(None)")
        port = rig.hub.port
        await rig.hub.stop()
        await asyncio.sleep(0.1)
        assert await rig.ask("bus.state() == CAN.STATE_PASSIVE, bus.send(1, b'')") == "(True, None)"
        await rig.hub.start(port)
        for _ in range(60):
            if await rig.ask("bus.state() == CAN.STATE_ACTIVE") == "True":
                break
            await asyncio.sleep(0.1)
        assert await rig.ask("bus.state() == CAN.STATE_ACTIVE, bus.send(1, b'') is not None") == "(True, True)"

    on_a_bus(mp64, tmp_path, story)


def test_refused_frames_lead_to_bus_off_and_restart_leaves_it(mp64: Interpreter, tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await rig.ask("bus.set_filters(None)")
        for node in rig.hub.nodes:
            node.listen_only = True  # nobody acknowledges: the adapter answers every frame with an error
        answers = [await rig.ask("bus.send(1, b'')") for _ in range(34)]
        assert answers[0] in "012"
        await asyncio.sleep(0.05)
        assert await rig.ask("bus.state() == CAN.STATE_BUS_OFF") == "True"
        assert "OSError" in await rig.ask("bus.send(1, b'')")
        assert (await rig.ask("bus.get_counters()[2:5]")) == "[1, 1, 1]"
        for node in rig.hub.nodes:
            node.listen_only = False
        await rig.ask("bus.restart()")
        assert await rig.ask("bus.state() == CAN.STATE_ACTIVE, bus.send(1, b'') is not None") == "(True, True)"

    on_a_bus(mp64, tmp_path, story)


def test_loopback_mode_hears_itself_without_a_bus(mp64: Interpreter, tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await rig.ask("bus.init(250000, mode=CAN.MODE_SILENT_LOOPBACK)")
        await rig.ask("bus.set_filters(None)")
        await rig.ask("bus.send(0x123, b'self')")
        assert await rig.ask("take()") == "(291, b'self', 0, 0)"
        assert "ValueError" in await rig.ask("bus.init(123456)")

    on_a_bus(mp64, tmp_path, story)
