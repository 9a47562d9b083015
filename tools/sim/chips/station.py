"""Plain stations for the wire: one that tests script, and one that is any python-can bus."""

from __future__ import annotations

from collections import deque

import can

from tools.sim.chips import wire
from tools.sim.chips.errors import ErrorCounters
from tools.sim.chips.frame import Frame


class Station(wire.Node):
    """A well-behaved node: sends what `send` queues in that order, keeps what it hears in `heard`."""

    def __init__(self, bitrate: int = 500_000) -> None:
        self.bitrate = bitrate
        self.queue: deque[Frame] = deque()
        self.heard: list[Frame] = []
        self.arrived_us: list[float] = []
        self.errors = ErrorCounters()
        self.lost = 0
        self.present = True  # False: unplugged

    def send(self, *frames: Frame) -> None:
        """Queue frames; they go out back to back as the bus allows."""
        self.queue.extend(frames)
        self.wire.request()

    def wants(self) -> Frame | None:
        return self.queue[0] if self.queue and self.present and not self.errors.off else None

    def listens(self) -> bool:
        return self.present and not self.errors.off

    def acknowledges(self) -> bool:
        return self.listens()

    def destroys(self) -> bool:
        return self.listens() and not self.errors.passive

    def lost_arbitration(self, bit: int) -> None:
        self.lost += 1

    def transmitted(self, frame: Frame) -> None:
        self.queue.popleft()
        self.errors.sent()

    def transmit_failed(self, segment: int) -> None:
        self.errors.send_failed(segment == wire.IN_ACK)

    def received(self, frame: Frame) -> None:
        self.errors.heard()
        self.heard.append(frame)
        self.arrived_us.append(self.wire.now_us)

    def receive_failed(self, segment: int) -> None:
        self.errors.hear_failed()


class PythonCan(Station):
    """A python-can bus as a node of the wire: what its peers send goes out here, what is heard goes to them.

    `gap_us` is a rest after each frame it sends.
    """

    def __init__(self, bus: can.BusABC, bitrate: int = 500_000, gap_us: float = 0.0) -> None:
        super().__init__(bitrate)
        self.bus = bus
        self._gap_us = gap_us
        self._rest_until_us = 0.0

    def wants(self) -> Frame | None:
        return super().wants() if self.wire.now_us >= self._rest_until_us else None

    def transmitted(self, frame: Frame) -> None:
        super().transmitted(frame)
        if self._gap_us:
            self._rest_until_us = self.wire.now_us + self._gap_us
            self.wire.after_us(self._gap_us, self.wire.request)

    def pump(self) -> None:
        """Take over what python-can's peers have sent since the last call."""
        while (message := self.bus.recv(0)) is not None:
            if not message.is_error_frame:
                data = bytes(message.data)
                remote = message.is_remote_frame
                self.send(Frame(message.arbitration_id, data, message.is_extended_id, remote, message.dlc))

    def received(self, frame: Frame) -> None:
        super().received(frame)
        self.bus.send(
            can.Message(
                arbitration_id=frame.identifier,
                data=frame.data,
                dlc=frame.dlc,
                is_extended_id=frame.extended,
                is_remote_frame=frame.remote,
            )
        )
