"""Runs under MicroPython: the story of mcp_story.py against a record of the SPI bus; see test_mcp2515_replay.py."""

import json
import sys

sys.path[:] = [sys.argv[1], sys.argv[1] + "/lib", ".frozen"]

from canbus.mcp2515 import MCP2515  # noqa: E402
from host_tests.both.mcp_story import story  # noqa: E402


class RecordedSpi:
    """Answers as the chip did; anything but the recorded bytes from the driver is an error."""

    def __init__(self, record):
        self.record = record
        self.at = 0

    def write_readinto(self, out, into):
        wanted, answer = self.record[self.at]
        if bytes(out).hex() != wanted:
            raise ValueError("transfer %d: %s instead of %s" % (self.at, bytes(out).hex(), wanted))
        self.at += 1
        for i in range(len(into)):
            into[i] = int(answer[2 * i : 2 * i + 2], 16)


class ChipSelect:
    def value(self, level):
        pass


with open(sys.argv[2]) as file:
    record = json.load(file)
spi = RecordedSpi(record)
seen = story(MCP2515(1, 500000, spi=spi, cs=ChipSelect()), lambda n: None)
print(json.dumps({"seen": seen, "transfers": spi.at}))
