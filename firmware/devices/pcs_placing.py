"""Placing a PCS dialect's slower blocks, which happens when the device is discovered: not kept in the heap after it."""

import time

from modbus import ModbusRefused


async def add_slow(dialect, table: tuple, period_ms: int, take) -> None:
    """Read a block now and every period_ms; one that the device lists but refuses is left out."""
    sun = dialect.sun
    try:
        block = await sun.block(table)
        if block is not None and await sun.read(block):
            take()
            dialect.slow.append([block, period_ms, time.ticks_add(time.ticks_ms(), period_ms), take])
    except ModbusRefused as error:
        sun.note(error)
