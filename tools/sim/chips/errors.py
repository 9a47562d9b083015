"""The two error counters of a CAN node and what they make of it (ISO 11898-1, fault confinement)."""


class ErrorCounters:
    """TEC, REC and the bus-off condition."""

    def __init__(self) -> None:
        self.tec = 0
        self.rec = 0
        self.off = False

    @property
    def passive(self) -> bool:
        """Its error flags are recessive."""
        return self.tec > 127 or self.rec > 127

    def sent(self) -> None:
        """A frame went out."""
        self.tec = max(0, self.tec - 1)

    def heard(self) -> None:
        """A good frame came in."""
        self.rec = 119 if self.rec > 127 else max(0, self.rec - 1)

    def send_failed(self, unacknowledged: bool) -> None:
        """A frame of its own was destroyed; an error-passive node alone on the bus does not count it."""
        if unacknowledged and self.passive:
            return
        self.tec += 8
        if self.tec > 255:
            self.off = True

    def hear_failed(self) -> None:
        """A frame of another node was destroyed."""
        self.rec = min(255, self.rec + 1)
