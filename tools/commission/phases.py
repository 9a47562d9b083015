"""What a SunSpec meter shows of each phase: the firmware does not need it, and reads it along with the registers beside it."""

import struct

from tools.commission.bench import Bench
from tools.commission.wire import Refused

NAMES = ("L1", "L2", "L3")
# registers of the phases' powers in models 201 to 204, from the model's identifier on, and behind them their scale factor
# (of 211 to 214, floats, they lie behind what is read)
_FIRST, _FACTOR = 19, 22
_INTEGERS = range(201, 205)
_NONE = 0x8000  # not implemented
_READS = 3


async def begin(bench: Bench) -> str:
    """The name of a meter whose phases can be read; "" where there is none."""
    name, options = bench.device("meter")
    return name if options.get("type") == "meter_sunspec" and await once(bench, name) else ""


async def kilowatts(bench: Bench, name: str) -> list[float]:
    """The power of each phase, kW, the mean of a few readings; [] where the meter does not give it."""
    found = [values for _ in range(_READS) if (values := await once(bench, name))]
    return [sum(column) / len(found) for column in zip(*found, strict=True)] if found else []


async def once(bench: Bench, name: str) -> list[float]:
    """One reading, as it came last."""
    device = f"app.site.devices[{name!r}]"
    try:
        if await bench.console.ask(f"{device}.model") not in _INTEGERS:
            return []
        words = await bench.console.ask(f"list({device}.sun.registers[{_FIRST}:{_FACTOR + 1}])")
    except Refused:
        return []
    return meant(words) if isinstance(words, list) else []


def meant(words: list[int]) -> list[float]:
    """kW of three phases from these registers; [] where one is not implemented."""
    if len(words) != _FACTOR + 1 - _FIRST or _NONE in words:
        return []
    *powers, factor = struct.unpack(">4h", struct.pack(">4H", *words))
    return [float(power * 10.0**factor / 1000) for power in powers] if -10 <= factor <= 10 else []
