"""A Modbus client run under MicroPython for tests: one JSON request a line on stdin, one JSON answer a line.

argv: JSON {"tcp": port}, {"rtu_over_tcp": port} or {"uart": n, "baudrate": b}, "options": {...}.  A request is [method,
arguments ...]; for reads the answer is the list of values.  A list of requests under "together" runs at the same time.
"count" asks for the counters, "heap" for what the heap holds, "repeat" n times a request without printing.
"""

import asyncio
import gc
import json
import select
import sys
import time
from array import array

from modbus import ModbusError, rarer


def make(setup):
    options = setup.get("options", {})
    if "tcp" in setup:
        from modbus.tcp_client import TcpClient

        return TcpClient("127.0.0.1", setup["tcp"], **options)
    if "rtu_over_tcp" in setup:
        from modbus.rtu_over_tcp import RtuOverTcpClient

        return RtuOverTcpClient("127.0.0.1", setup["rtu_over_tcp"], **options)
    from machine import UART

    from modbus.rtu_client import RtuClient

    return RtuClient(UART(setup["uart"], setup["baudrate"], timeout=0), setup["baudrate"], **options)


async def call(client, method, *arguments):
    """A method of the client's, or one of the rarer requests."""
    if hasattr(client, method):
        return await getattr(client, method)(*arguments)
    return await getattr(rarer, method)(client, *arguments)


async def ask(client, request):
    try:
        method, *arguments = request
        if method in ("read_registers", "read_bits"):
            unit, address, count, function = arguments
            out = array("H", bytes(2 * count))
            await call(client, method, unit, address, count, out, function)
            return list(out)
        if method == "read_write":
            unit, read_at, count, write_at, values = arguments
            out = array("H", bytes(2 * count))
            await rarer.read_write(client, unit, read_at, count, out, write_at, values, len(values))
            return list(out)
        if method in ("write_registers", "write_coils"):
            unit, address, values = arguments
            await call(client, method, unit, address, values, len(values))
            return "done"
        if method == "identify":
            return await rarer.identify(client, *arguments)
        await call(client, method, *arguments)
        return "done"
    except (ModbusError, ValueError) as error:
        return {"error": type(error).__name__, "text": str(error)}


async def repeat(client, request, times, pause_ms):
    """How many were answered, and the median round trip in microseconds, from an idle line."""
    good = 0
    spent = []
    for _ in range(times):
        begun = time.ticks_us()
        if not isinstance(await ask(client, request), dict):
            good += 1
        spent.append(time.ticks_diff(time.ticks_us(), begun))
        await asyncio.sleep_ms(pause_ms)
    return {"good": good, "us": sorted(spent)[times // 2]}


async def obey(client, line):
    message = json.loads(line)
    if isinstance(message, list):
        return await ask(client, message)
    if "together" in message:
        return await asyncio.gather(*[ask(client, request) for request in message["together"]])
    if "count" in message:
        return client.count.as_dict()
    if "cancel" in message:
        task = asyncio.create_task(ask(client, message["cancel"]))
        await asyncio.sleep_ms(message["after_ms"])
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return "cancelled"
        return "too late"
    if "repeat" in message:
        return await repeat(client, message["request"], message["repeat"], message.get("pause_ms", 0))
    if "set" in message:
        for name, value in message["set"].items():
            setattr(client, name, value)
        return "done"
    gc.collect()
    return gc.mem_alloc()


async def main():
    client = make(json.loads(sys.argv[1]))
    poller = select.poll()
    poller.register(sys.stdin, select.POLLIN)
    print("ready")
    while True:
        for _ in poller.ipoll(0):
            line = sys.stdin.readline()
            if not line:
                return
            print(json.dumps(await obey(client, line)))
        await asyncio.sleep_ms(1)


asyncio.run(main())
