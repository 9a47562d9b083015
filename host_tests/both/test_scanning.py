"""`scan` of a Modbus line: one at a time, as the devices have to be asked between its units."""

import asyncio

from firmware.errors import PowerError
from firmware.services import scanning
from modbus import ModbusRefused


class Line:
    """A Modbus line on which unit 2 refuses and the others say 7; it counts how many ask at once."""

    def __init__(self):
        self.asked = []

    async def read_registers(self, unit, _address, _count, into):
        self.asked.append(unit)
        await asyncio.sleep(0)
        if unit == 2:
            raise ModbusRefused(3, 2)
        into[0] = 7

    def forget(self, unit):
        pass


class Site:
    def __init__(self):
        self.buses = {"rs485": Line(), "other": Line()}
        self.devices = {}


def refused(site, name):
    try:
        scanning.begin(site, name, 1, 2, print)
    except PowerError as error:
        return str(error)
    return ""


def test_a_second_scan_is_refused_until_the_first_is_over():
    site = Site()
    said = []

    async def story():
        scanning.begin(site, "rs485", 1, 3, said.append)
        for name in ("rs485", "other"):
            assert "rs485 is under way" in refused(site, name), name
        for _ in range(200):
            await asyncio.sleep(0.02)
            if said and "scan of" in said[-1]:
                break
        scanning.begin(site, "other", 5, 5, said.append)
        for _ in range(100):
            await asyncio.sleep(0.02)
            if "scan of units 5" in said[-1]:
                break

    asyncio.run(story())
    assert site.buses["rs485"].asked == [1, 2, 3] and site.buses["other"].asked == [5]
    assert len(said) == 6 and "unit 1 answers: register 0 is 7" in said[0] and "3 answer" in said[3]
