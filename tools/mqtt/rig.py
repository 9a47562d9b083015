"""A simulated site with a board, a real broker between it and a watcher: what tests and bars of MQTT are made of."""

import asyncio
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho

from tools.mqtt.broker import Broker
from tools.ports import free_port
from tools.run import ROOT
from tools.sim.board.board import Board
from tools.sim.site import Site

TOPIC = "bess/test"
WAIT_S = 20.0


class Watcher:
    """Another client of the broker: keeps what comes, sends commands.  Its session outlives the broker."""

    def __init__(self, port: int, user: str = "", password: str = "", authority: Path | None = None) -> None:
        self._port = port
        self.messages: list[paho.MQTTMessage] = []
        self.last: dict[str, bytes] = {}  # by topic below TOPIC
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="watcher", clean_session=False)
        if authority is not None:
            self._client.tls_set(str(authority))
        if user:
            self._client.username_pw_set(user, password)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_message = self._came
        self._ready = threading.Event()
        self._client.on_connect = self._connected
        self._number = 0

    def _connected(self, client: paho.Client, *_: Any) -> None:
        client.subscribe([("bess/#", 1), ("homeassistant/#", 1)])
        self._ready.set()

    def _came(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        self.messages.append(message)
        self.last[message.topic.removeprefix(TOPIC + "/")] = message.payload

    def start(self) -> None:
        """Connect, and go on for good."""
        self._client.connect("127.0.0.1", self._port, keepalive=10)
        self._client.loop_start()
        if not self._ready.wait(WAIT_S):
            raise RuntimeError("the watcher does not reach the broker")

    def stop(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()

    def of(self, topic: str) -> list[dict[str, Any]]:
        """What has come on a topic below TOPIC, as JSON, in its order."""
        return [json.loads(one.payload) for one in self.messages if one.topic == f"{TOPIC}/{topic}"]

    @property
    def state(self) -> dict[str, Any]:
        """The last state."""
        found: dict[str, Any] = json.loads(self.last.get("state", b"{}"))
        return found

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        """At QoS 1, to any topic."""
        self._client.publish(topic, payload, 1, retain)

    def send(self, retain: bool = False, **order: Any) -> int:
        """A command; its id."""
        self._number += 1
        self.publish(f"{TOPIC}/command", json.dumps({**order, "id": self._number}).encode(), retain)
        return self._number

    def answer(self, number: int) -> dict[str, Any] | None:
        """The answer to a command, if it has come."""
        return next((one for one in self.of("answer") if one["id"] == number), None)

    async def ask(self, **order: Any) -> dict[str, Any]:
        """A command, and its answer."""
        number = self.send(**order)
        await until(lambda: self.answer(number) is not None, f"the answer to {order}")
        found = self.answer(number)
        assert found is not None
        return found


async def until(true: Callable[[], Any], what: str, seconds: float = WAIT_S) -> None:
    """Wait until it is true.  AssertionError where it does not become so."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        await asyncio.sleep(0.05)


class Rig:
    """Site, board, broker and watcher; started, and the board connected, inside `async with`."""

    def __init__(
        self,
        folder: Path,
        interpreter: list[str] | None = None,
        settings: str = "allow_anonymous true",
        authority: Path | None = None,
        **options: Any,
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.broker = Broker(folder / "broker", self.port, settings)
        self.site = Site()
        own = {"type": "mqtt", "host": "127.0.0.1", "port": self.port, "topic": TOPIC, "access": "control", "interval_s": 1}
        self.options = {**own, **options}
        self.watcher = Watcher(self.port, str(options.get("user", "")), str(options.get("password", "")), authority)
        self._interpreter = interpreter
        self.board: Board

    async def __aenter__(self) -> "Rig":
        await self.broker.start()
        self.watcher.start()
        await self.site.start()
        content = {**self.site.site_json(), "services": {"mqtt": self.options}}
        (self.folder / "flash").mkdir(exist_ok=True)
        self.board = Board(
            ROOT, state_dir=self.folder / "flash", site=content, interpreter=self._interpreter, env=self.site.env()
        )
        self.board.on_pin = self.site.board_pin
        self.site.on_output = self.board.set_pin
        for pin, level in self.site.inputs().items():
            self.board.set_pin(pin, level)
        await self.board.start()
        try:
            await self.board.wait_line("control begins", 30)
            await until(lambda: self.watcher.last.get("status") == b"online" and self.watcher.state, "the board is online")
            await self.board.send("pm.start()")
            await until(lambda: self.watcher.state.get("mode") == "IDLE", "it is started")
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_error: Any) -> None:
        self.watcher.stop()
        self.board.kill()
        await self.board.stop()
        await self.site.stop()
        await self.broker.kill()

    async def ask(self, line: str) -> str:
        """The console's answer."""
        self.board.lines.clear()
        await self.board.send(line)
        return (await self.board.wait_line(lambda text: text.startswith(("= ", "! ")), 10))[2:]

    def fresh(self) -> int:
        """States that have come from the board itself, not out of the broker's memory."""
        return sum(one.topic == f"{TOPIC}/state" and not one.retain for one in self.watcher.messages)

    def events(self) -> list[int]:
        """The numbers of the events that have come, each once."""
        return sorted({one["n"] for one in self.watcher.of("event")})
