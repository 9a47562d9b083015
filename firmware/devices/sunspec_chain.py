"""The chain of models of a SunSpec device: which models, where, and which of them belong together.

A chain may hold several devices, each with a common model (1) in front, as inverters pass on the meters behind them.
"""

from micropython import const

from modbus import ModbusError

END = const(0xFFFF)
MOST_MODELS = const(64)  # a chain longer than this is a loop or rubbish
_COMMON = const(1)
_LAST = const(65534)


class NotSunSpec(ModbusError):
    """The device answers, but there is no "SunS" at any of the three places, or no chain of models behind it; or it has moved."""


class NeedsPerson(ModbusError):
    """The device answers and is understood, but cannot serve before a person decides or changes something."""


class Chain:
    """entries: (id, address of the id register, length) in the order of the chain; identity: who the device is."""

    def __init__(self) -> None:
        self.entries = []
        self.identity = ""
        self._part = []  # the entries that are one device
        self._index = -1  # which of several alike among them; -1: nobody said

    def add(self, model: int, address: int, length: int) -> None:
        """One more model.  Raises NotSunSpec if there cannot be such a one."""
        if model == 0 or address + 2 + length > _LAST:
            raise NotSunSpec("model %d of length %d at %d" % (model, length, address))
        self.entries.append((model, address, length))

    def first(self, model: int):
        """The first of its id, or None."""
        for entry in self.entries:
            if entry[0] == model:
                return entry
        return None

    def of_kind(self, kind: tuple) -> list:
        """The entries whose id is one of `kind`."""
        return [entry for entry in self.entries if entry[0] in kind]

    def has(self, model: int) -> bool:
        """There is such a model."""
        return self.first(model) is not None

    def common_before(self, entry: tuple):
        """The common model that names the device `entry` belongs to, or None."""
        common = None
        for one in self.entries:
            if one[0] == _COMMON:
                common = one
            if one is entry:
                break
        return common

    def most_alike(self) -> int:
        """How many models of one id there are at most, common ones left aside."""
        ids = [entry[0] for entry in self.entries if entry[0] != _COMMON]
        return max([ids.count(one) for one in ids]) if ids else 0

    def narrow(self, mains: list, chosen: int, number: int) -> int:
        """From now on `the` gives the models of one device: that of mains[chosen], from its common model to the next.

        number: which one to take of other models that come several times beside a main one that comes once; -1: nobody
        said.  Returns the id of mains[chosen].
        """
        main = mains[chosen]
        part = []
        for entry in self.entries:
            if entry[0] == _COMMON:
                if main in part:
                    break
                part = []
            part.append(entry)
        self._part = part
        beside = [entry for entry in mains if entry in part]
        self._index = beside.index(main) if len(beside) > 1 else number
        return main[0]

    def the(self, model: int):
        """The chosen device's model of this id, None if it has none.  Raises NeedsPerson if there are several to choose from."""
        alike = [entry for entry in self._part if entry[0] == model]
        if not alike:
            return None
        if len(alike) == 1:
            return alike[0]
        if 0 <= self._index < len(alike):
            return alike[self._index]
        places = ", ".join(["%d: at %d" % (i + 1, alike[i][1]) for i in range(len(alike))])
        raise NeedsPerson('%d models %d, say which with the option "which" (its number): %s' % (len(alike), model, places))
