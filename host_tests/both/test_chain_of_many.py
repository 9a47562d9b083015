"""A chain of models with many devices in it, as a gateway of thirty meters has: what is said of it stays short."""

import asyncio

from firmware.devices.sunspec import SunSpec
from firmware.devices.sunspec_chain import NeedsPerson

_METERS = 30
_COMMON = 66  # registers behind the header
_LENGTH = 105


class Gateway:
    """Holds a common model with a name as long as there is space for, and a meter, thirty times over."""

    connections = 0
    registers = 125

    async def read_registers(self, unit, address, count, out, function=3, to_write=False):
        for i in range(count):
            out[i] = self._register(address - 40000 + i)

    def _register(self, at):
        if at < 2:
            return (0x5375, 0x6E53)[at]
        number, at = divmod(at - 2, _COMMON + _LENGTH + 4)
        if number >= _METERS:
            return 0xFFFF
        if at < 2:
            return (1, _COMMON)[at]
        if at < _COMMON + 2:
            return 0x4161 + number
        return (201, _LENGTH)[at - _COMMON - 2] if at < _COMMON + 4 else 0


def _chosen(which):
    """The number of the register at which the chosen one begins."""
    sun = SunSpec(Gateway(), 1, (), (), 44, 125, 125)
    asyncio.run(sun.discover())
    asyncio.run(sun.choose((201, 202), which))
    return sun.chain.the(201)[1]


def test_of_many_of_a_kind_some_are_listed_and_the_rest_counted():
    """All of them were five kilobytes in one piece, kept for as long as nobody decides, on a board that may have 27 free."""
    try:
        _chosen("")
    except NeedsPerson as error:
        text = str(error)
    assert "30 of one kind in this chain" in text and "1: model 201 at 40070" in text and "22 more" in text
    assert len(text) < 1600


def test_whichever_is_chosen_by_its_number_or_name_though_it_is_not_listed():
    place = 40002 + 25 * (_COMMON + _LENGTH + 4) + _COMMON + 2
    assert _chosen("26") == _chosen("zAzA") == place
