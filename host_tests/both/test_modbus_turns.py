"""Whose turn it is on a connection that several ask over: a command waits behind no row of measurements, and stops none."""

import asyncio
from array import array

from modbus.client import PDU, Client, get16


class Wire(Client):
    """Answers every request, and notes its address."""

    def __init__(self):
        super().__init__()
        self.asked = []

    async def _exchange(self, slot, length):
        for _ in range(3):  # meanwhile the others come and wait
            await asyncio.sleep_ms(1)
        frame = slot.frame
        function = frame[PDU]
        address = get16(frame, PDU + 1)
        self.asked.append(("write" if function == 16 else "read", address))
        if function == 16:
            return 5
        frame[PDU + 1] = 2
        return 4


async def read(wire, address):
    await wire.read_registers(1, address, 1, array("H", (0,)))


async def prepare(wire, address):
    await wire.read_registers(1, address, 1, array("H", (0,)), to_write=True)


async def command(wire, address):
    await prepare(wire, address)
    await write(wire, address + 1)


async def write(wire, address):
    await wire.write_registers(1, address, array("H", (7,)), 1)


def order(*begun):
    """In which order the requests go out that are begun while one is on its way already."""

    async def main():
        wire = Wire()
        tasks = [asyncio.create_task(read(wire, 0))]
        await asyncio.sleep_ms(0)
        for ask, address in begun:
            tasks.append(asyncio.create_task(ask(wire, address)))
        for task in tasks:
            await task
        assert wire.asked[0] == ("read", 0)
        return [address for _, address in wire.asked[1:]]

    return asyncio.run(main())


def test_reads_take_their_turn_in_the_order_they_came():
    assert order((read, 1), (read, 2), (read, 3)) == [1, 2, 3]


def test_a_write_goes_before_the_reads_that_wait():
    assert order((read, 1), (read, 2), (write, 3)) == [3, 1, 2]


def test_writes_keep_their_order():
    assert order((read, 1), (write, 2), (write, 3), (read, 4)) == [2, 3, 1, 4]


def test_what_a_command_reads_first_goes_before_the_reads_that_wait_and_so_does_its_write():
    assert order((read, 1), (read, 2), (command, 3)) == [3, 4, 1, 2]


def test_behind_each_command_a_measurement_has_its_turn():
    async def commander(wire, address):
        for number in range(3):
            await command(wire, address + 10 * number)

    assert order((read, 1), (read, 2), (read, 3), (commander, 100)) == [100, 101, 1, 110, 111, 2, 120, 121, 3]


def test_one_that_only_ever_prepares_stops_no_measurement():
    async def preparer(wire, address):
        for number in range(3):
            await prepare(wire, address + number)

    assert order((read, 1), (read, 2), (preparer, 100)) == [100, 1, 101, 2, 102]


def test_whoever_writes_again_and_again_leaves_every_second_turn_to_those_who_measure():
    async def writer(wire, times):
        for _ in range(times):
            await write(wire, 100)

    async def reader(wire, address):
        for _ in range(3):
            await read(wire, address)

    async def main():
        wire = Wire()
        tasks = [asyncio.create_task(reader(wire, 1)), asyncio.create_task(reader(wire, 2)), asyncio.create_task(writer(wire, 20))]
        for task in tasks:
            await task
        return wire.asked

    asked = asyncio.run(main())
    reads = [at for at, (kind, _) in enumerate(asked) if kind == "read"]
    assert len(reads) == 6 and max(reads) <= 13, "six reads among the first of twenty writes"


def test_a_wait_that_is_given_up_leaves_the_turns_as_they_were():
    async def main():
        wire = Wire()
        first = asyncio.create_task(read(wire, 0))
        await asyncio.sleep_ms(0)
        given_up = asyncio.create_task(write(wire, 9))
        later = [asyncio.create_task(read(wire, 1)), asyncio.create_task(write(wire, 2))]
        await asyncio.sleep_ms(0)
        given_up.cancel()
        for task in [first] + later:
            await task
        await write(wire, 3)
        again = [asyncio.create_task(read(wire, 10))]
        await asyncio.sleep_ms(0)
        again += [asyncio.create_task(read(wire, 11)), asyncio.create_task(write(wire, 12)), asyncio.create_task(read(wire, 13))]
        for task in again:
            await task
        return [address for _, address in wire.asked]

    assert asyncio.run(main()) == [0, 2, 1, 3, 10, 12, 11, 13]
