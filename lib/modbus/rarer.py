"""The rarer requests of a Modbus client: bits, mask write, read and write in one, device identification.

They take the client they go through; a program that needs none of them leaves this file in flash:

    from modbus import rarer
    await rarer.read_bits(client, 1, 0, 16, bits)
"""

from micropython import const
from notice import readable

from modbus.client import PDU, check_range, get16, put16

_MOST_PARTS = const(16)  # of a device identification


async def read_bits(client, unit: int, address: int, count: int, out, function: int = 1) -> None:
    """Read `count` (1 to 2000) bits into out[0:count] as 0 or 1; function 1 coils, 2 discrete inputs."""
    check_range("count", count, 1, min(2000, 16 * client.registers))
    slot = client.free_slot() or await client.acquire()
    try:
        frame = slot.frame
        frame[PDU] = function
        put16(frame, PDU + 1, address)
        put16(frame, PDU + 3, count)
        length = await client.transact(slot, unit, 5)
        if length != 2 + (count + 7) // 8 or frame[PDU + 1] != length - 2:
            client.refuse("%d bits asked for, %d bytes came" % (count, length - 2))
        for i in range(count):
            out[i] = frame[PDU + 2 + (i >> 3)] >> (i & 7) & 1
    finally:
        client.release(slot)


async def write_coil(client, unit: int, address: int, on: bool) -> None:
    """Switch one coil (function 5)."""
    await client.write_register(unit, address, 0xFF00 if on else 0, 5)


async def write_coils(client, unit: int, address: int, values, count: int) -> None:
    """Switch `count` (1 to 1968) coils from `address` on to the truth of values[0:count] (function 15)."""
    check_range("count", count, 1, min(1968, 16 * client.registers))
    slot = client.free_slot() or await client.acquire()
    try:
        frame = slot.frame
        size = (count + 7) // 8
        frame[PDU] = 15
        put16(frame, PDU + 1, address)
        put16(frame, PDU + 3, count)
        frame[PDU + 5] = size
        for i in range(size):
            frame[PDU + 6 + i] = 0
        for i in range(count):
            if values[i]:
                frame[PDU + 6 + (i >> 3)] |= 1 << (i & 7)
        client.check_echo(slot, await client.transact(slot, unit, 6 + size), unit, 15, address, count)
    finally:
        client.release(slot)


async def mask_write(client, unit: int, address: int, keep: int, flip: int) -> None:
    """Change bits of one holding register: (old & keep) | (flip & ~keep) (function 22)."""
    slot = client.free_slot() or await client.acquire()
    try:
        frame = slot.frame
        frame[PDU] = 22
        put16(frame, PDU + 1, address)
        put16(frame, PDU + 3, keep)
        put16(frame, PDU + 5, flip)
        length = await client.transact(slot, unit, 7)
        if length and (length != 7 or get16(frame, PDU + 3) != keep or get16(frame, PDU + 5) != flip):
            client.refuse("function 22 at %d answered for something else" % address)
    finally:
        client.release(slot)


async def read_write(client, unit: int, address: int, count: int, out, write_at: int, values, writes: int) -> None:
    """Write values[0:writes] (1 to 121) at `write_at`, then read `count` registers into out (function 23)."""
    check_range("count", count, 1, client.registers)
    check_range("writes", writes, 1, min(121, client.registers))
    slot = client.free_slot() or await client.acquire()
    try:
        frame = slot.frame
        frame[PDU] = 23
        put16(frame, PDU + 1, address)
        put16(frame, PDU + 3, count)
        put16(frame, PDU + 5, write_at)
        put16(frame, PDU + 7, writes)
        frame[PDU + 9] = 2 * writes
        for i in range(writes):
            put16(frame, PDU + 10 + 2 * i, values[i])
        client.take_registers(slot, await client.transact(slot, unit, 10 + 2 * writes), count, out)
    finally:
        client.release(slot)


async def identify(client, unit: int, category: int = 1) -> dict:
    """The device's identification: texts by object id (function 43/14), ASCII by the standard.

    category: 1 basic, 2 regular, 3 extended.
    """
    check_range("category", category, 1, 3)
    texts = {}
    wanted = 0
    slot = client.free_slot() or await client.acquire()
    try:
        for _ in range(_MOST_PARTS):
            frame = slot.frame
            slot.intact = True
            frame[PDU] = 43
            frame[PDU + 1] = 14
            frame[PDU + 2] = category
            frame[PDU + 3] = wanted
            length = await client.transact(slot, unit, 4)
            if length < 7 or not _texts(frame, PDU + length, texts):
                client.refuse("function 43 answered with objects that overrun the frame")
            if frame[PDU + 4] != 0xFF or frame[PDU + 5] <= wanted:
                break
            wanted = frame[PDU + 5]
    finally:
        client.release(slot)
    return texts


def _texts(frame, end: int, texts: dict) -> bool:
    at = PDU + 7
    for _ in range(frame[PDU + 6]):
        if at + 2 > end or at + 2 + frame[at + 1] > end:
            return False
        texts[frame[at]] = readable(frame[at + 2 : at + 2 + frame[at + 1]])
        at += 2 + frame[at + 1]
    return True
