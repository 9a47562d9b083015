"""A Modbus server with a bank of registers, run under MicroPython as the peer of other people's clients.

argv: JSON {"tcp": port or absent, "uart": n or absent, "unit" and "also": units of the bank there, "baudrate": b,
"options": {...}}.  Prints the port and then, once a second, how much the heap has grown; the word "stop" on stdin ends it with
the counters.
"""

import asyncio
import gc
import json
import select
import sys

from modbus.bank import Bank

setup = json.loads(sys.argv[1])
bank = Bank(holding=2000, inputs=500, coils=2100, discretes=300)
for i in range(2000):
    bank.holding[i] = i
for i in range(500):
    bank.inputs[i] = 30000 + i
for i in range(300):
    bank.discretes[i] = (i % 3) == 0
IDENTITY = {0: "Maker", 1: "Code 1", 2: "1.2.3", 4: "Bank of registers"}


def make():
    options = setup.get("options", {})
    if "tcp" in setup:
        from modbus.tcp_server import TcpServer

        return TcpServer(bank, setup["tcp"], "127.0.0.1", identity=IDENTITY, **options)
    from machine import UART

    from modbus.rtu_server import RtuServer

    uart = UART(setup["uart"], setup["baudrate"], timeout=0)
    units = {setup.get("unit", 1): bank, setup.get("also", setup.get("unit", 1)): bank}
    return RtuServer(units, uart, setup["baudrate"], identity=IDENTITY, **options)


async def main():
    server = make()
    task = asyncio.create_task(server.run())
    await asyncio.sleep_ms(20)
    print(json.dumps({"ready": 1}))
    poller = select.poll()
    poller.register(sys.stdin, select.POLLIN)
    gc.collect()
    start = gc.mem_alloc()
    if setup.get("gc") == 0:
        gc.disable()
    while not task.done():
        if setup.get("tidy"):  # as ems_board.py
            gc.collect()
        for _ in poller.ipoll(0):
            line = sys.stdin.readline()
            if line.strip() == "heap":
                now = gc.mem_alloc()
                gc.collect()
                print(json.dumps({"raw": now - start, "kept": gc.mem_alloc() - start, "frames": server.count.frames}))
            else:
                print(json.dumps({"counters": server.count.as_dict()}))
                return
        await asyncio.sleep_ms(500 if setup.get("tidy") else 20)
    await task


asyncio.run(main())
