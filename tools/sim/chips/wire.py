"""A CAN bus in virtual time: arbitration by the bits, acknowledgement, errors, nodes that joined at a wrong rate.

Frames take the bit times they take on a real wire (stuff bits and intermission included); what happens inside a
frame is decided as a whole at its end.  Nothing runs by itself: `run_us` moves time.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from tools.sim.chips.frame import Frame

INTERMISSION_BITS = 3
ERROR_BITS = 6 + 8 + INTERMISSION_BITS  # error flag, delimiter, intermission
IDLE_BITS = 11  # recessive bits that make one "bus free" for a node that recovers from bus-off

# Where in a frame an error was seen, as the SJA1000's error code capture numbers it.
IN_ID = 2
IN_DATA = 10
IN_CRC = 8
IN_ACK = 25
IN_EOF = 26


class Node:
    """One station on the wire.  Chips override what they need."""

    wire: Wire
    bitrate = 500_000
    recovering = False  # bus-off, and counting bus-free times to come back

    def wants(self) -> Frame | None:
        """The frame it would send if the bus were free now."""
        return None

    def listens(self) -> bool:
        """It takes part: it receives, and sees errors."""
        return True

    def acknowledges(self) -> bool:
        """It drives the acknowledge bit of a good frame."""
        return True

    def destroys(self) -> bool:
        """Its error flag is dominant (error-active and not just listening)."""
        return True

    def needs_ack(self) -> bool:
        """As a transmitter, it takes a missing acknowledgement for an error."""
        return True

    def lost_arbitration(self, bit: int) -> None:
        """Another node's id won at this bit of the arbitration field."""

    def transmitted(self, frame: Frame) -> None:
        """Its frame went out well."""

    def transmit_failed(self, segment: int) -> None:
        """Its frame was destroyed, or nobody acknowledged it (IN_ACK)."""

    def received(self, frame: Frame) -> None:
        """A good frame of another node."""

    def receive_failed(self, segment: int) -> None:
        """A frame of another node was destroyed."""

    def bus_free(self) -> None:
        """Eleven recessive bits have passed."""


class Wire:
    """The bus and its clock."""

    def __init__(self, bitrate: int = 500_000) -> None:
        self.bitrate = bitrate
        self.nodes: list[Node] = []
        self.now_us = 0.0
        self.frames = 0
        self.errors = 0
        self.faults: list[int] = []  # segments to destroy the next frames in, one a frame; 0: leave it whole
        self.silent_ack = False  # nobody acknowledges (the other nodes are off)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._busy = False
        self._free_since_us = 0.0

    def join(self, node: Node) -> None:
        """Connect a node."""
        node.wire = self
        self.nodes.append(node)

    def after_us(self, delay_us: float, call: Callable[[], None]) -> None:
        """Run call() that much later."""
        self._order += 1
        heapq.heappush(self._events, (self.now_us + delay_us, self._order, call))

    def every_us(self, period_us: float, call: Callable[[], None]) -> None:
        """Run call() for ever, as a timer does."""

        def again() -> None:
            self.after_us(period_us, again)
            call()

        self.after_us(period_us, again)

    def run_us(self, span_us: float) -> None:
        """Let time pass.  May be called from within an event, as by a driver that waits on its SPI bus."""
        end = self.now_us + span_us
        while self._events and self._events[0][0] <= end:
            at, _, call = heapq.heappop(self._events)
            self.now_us = max(self.now_us, at)
            call()
        self.now_us = max(self.now_us, end)

    def request(self) -> None:
        """A node has something to send; it goes out as soon as the bus is free."""
        if not self._busy:
            self._busy = True
            self.after_us(0, self._start)

    def bit_us(self, bits: float) -> float:
        """How long that many bits take."""
        return bits * 1e6 / self.bitrate

    def count_free(self, node: Node) -> None:
        """Tell `node` (bus_free()) of every eleven recessive bits from now on, as long as it is recovering."""
        self.after_us(self.bit_us(IDLE_BITS), lambda: self._free(node))

    def _free(self, node: Node) -> None:
        if not node.recovering:
            return
        # A frame on the wire ends with 8 recessive bits and the intermission: one bus-free each, told in _finish.
        if not self._busy:
            node.bus_free()
        self.count_free(node)

    def _start(self) -> None:
        offers = [(node, frame) for node in self.nodes if (frame := node.wants()) is not None]
        if not offers:
            self._busy = False
            return
        winner, frame = min(offers, key=lambda offer: offer[1].arbitration)
        clash = False
        for node, other in offers:
            if node is winner:
                continue
            pairs = zip(frame.arbitration, other.arbitration, strict=False)
            bit = next((i for i, (a, b) in enumerate(pairs) if a != b), -1)
            if bit >= 0:
                node.lost_arbitration(bit)
            else:
                clash = True  # the same id from two nodes: they part in the data
        segment = self._judge(winner, frame, clash)
        bits = frame.length_bits + INTERMISSION_BITS if not segment else frame.length_bits // 2 + ERROR_BITS
        rivals = [node for node, other in offers if clash and other.arbitration == frame.arbitration]
        self.after_us(self.bit_us(bits), lambda: self._finish(winner, rivals, frame, segment))

    def _judge(self, sender: Node, frame: Frame, clash: bool) -> int:
        """The segment in which the frame is destroyed, or 0."""
        planned = self.faults.pop(0) if self.faults else 0
        if planned or clash:
            return planned or IN_DATA
        others = [node for node in self.nodes if node is not sender and node.listens()]
        same = [node for node in others if abs(node.bitrate - sender.bitrate) * 200 < sender.bitrate]
        if any(node.destroys() for node in others if node not in same):
            return IN_ID
        if sender.needs_ack() and (self.silent_ack or not any(node.acknowledges() for node in same)):
            return IN_ACK
        return 0

    def _finish(self, sender: Node, rivals: list[Node], frame: Frame, segment: int) -> None:
        others = [node for node in self.nodes if node is not sender and node.listens()]
        if segment:
            self.errors += 1
            for node in {id(n): n for n in [sender, *rivals]}.values():
                node.transmit_failed(segment)
            for node in others:
                if node not in rivals and segment != IN_ACK:
                    node.receive_failed(segment)
        else:
            self.frames += 1
            sender.transmitted(frame)
            for node in others:
                if abs(node.bitrate - sender.bitrate) * 200 < sender.bitrate:
                    node.received(frame)
                else:
                    node.receive_failed(IN_ID)
        for node in self.nodes:
            if node.recovering:
                node.bus_free()
        self._start()
