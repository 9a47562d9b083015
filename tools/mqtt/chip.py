"""What MQTT costs a board at the chip's speed: a site with a broker, without one, and with one that is away, beside each other.

    python -m tools.mqtt.chip --profile own-image --seconds 60

While power flows and lines are typed, commands come over MQTT and the state goes out each second.  Prints the figures as a table.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho

from tools.bench.bars import profiles
from tools.bench.bars.prepared import prepare
from tools.bench.bars.profiles import Judged
from tools.bench.bars.story import SITE, JudgedSession, load
from tools.interpreters import chosen
from tools.mqtt.broker import Broker
from tools.ports import free_port
from tools.run import ROOT
from tools.sim.board.board import Board
from tools.sim.shipped import ShippedSite

RUNS = ("without", "with", "away")
FIGURES = (
    "heap_live", "heap_spare", "heap_largest", "gap_ms_max", "gap_ms_p999", "gap_chip_ms", "gap_chip_by", "gap_causes", "cycles",
    "step_ms_max", "problems",
)  # fmt: skip
COMMAND_S = 3.0


async def commands(port: int, told: dict[str, int]) -> None:
    """A setpoint and a question now and then, as Home Assistant sends them; `told` counts what came back."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    topics = {"bess/+/answer": "answers", "bess/+/state": "states", "bess/+/event": "events"}

    def came(_client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        kind = "".join(name for topic, name in topics.items() if paho.topic_matches_sub(topic, message.topic))
        told[kind] = told.get(kind, 0) + 1
        told["topic"] = message.topic.rsplit("/", 1)[0]  # type: ignore[assignment]

    client.on_message = came
    client.connect("127.0.0.1", port)
    client.subscribe([(topic, 1) for topic in topics])
    client.loop_start()
    try:
        number = 0
        while True:
            await asyncio.sleep(COMMAND_S)
            if "topic" in told:
                number += 1
                order = {"do": "lifetime", "minutes": 1 + number % 9, "id": number}
                client.publish(f"{told['topic']}/command", json.dumps(order), 1)
                told["asked"] = number
    finally:
        client.loop_stop()


async def play(judged: Judged, run: str, seconds: float, paced: bool, scratch: Path) -> dict[str, Any]:
    """One run; its figures."""
    port = free_port()
    broker = Broker(scratch / f"broker-{run}", port)
    told: dict[str, int] = {}
    state = scratch / run
    profile = judged.board
    site = ShippedSite(ROOT / profile.site, **SITE)
    await site.start()
    await prepare(ROOT, state, profile, site, judged.schedules)
    await site.stop()
    site = ShippedSite(ROOT / profile.site, **SITE)
    if run != "without":
        own = {"type": "mqtt", "host": "127.0.0.1", "port": port, "access": "control", "interval_s": 1}
        site.services = {"mqtt": own}
    tasks = []
    if run == "with":
        await broker.start()
        tasks.append(asyncio.create_task(commands(port, told)))
    command = None if paced else list(chosen("32").command)
    board = Board(ROOT, state_dir=state, site=None, interpreter=command, profile=profile)
    session = JudgedSession(site, board, judged, load, seconds)
    try:
        await session.play()
        return {**session.summary(), **{f"mqtt_{name}": count for name, count in told.items()}}
    except RuntimeError as error:
        return {"failure": str(error), **session.summary()}
    finally:
        for task in tasks:
            task.cancel()
        await session.close()
        await broker.kill()


def main() -> int:
    """Command line entry."""
    parser = argparse.ArgumentParser(prog="python -m tools.mqtt.chip", description=__doc__)
    parser.add_argument("--profile", default="own-image", choices=list(profiles.ALL))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--fast", action="store_true", help="at full speed: counts only")
    parser.add_argument("--run", choices=RUNS, help="only this one")
    arguments = parser.parse_args()
    judged = profiles.named(arguments.profile)
    with tempfile.TemporaryDirectory() as scratch:
        for run in [arguments.run] if arguments.run else RUNS:
            found = asyncio.run(play(judged, run, arguments.seconds, not arguments.fast, Path(scratch)))
            print(run)
            for name, value in found.items():
                if name in FIGURES or name.startswith(("mqtt_", "failure", "heap")):
                    print(f"    {name:18} {value}")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
