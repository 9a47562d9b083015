"""A chain of SunSpec models as one list of registers, laid out from pysunspec2's own model definitions."""

import struct
from typing import Any

from sunspec2 import device

BASE = 40000
_MARKER = [0x5375, 0x6E53]  # "SunS"
_END = [0xFFFF, 0]

# SunSpec type -> struct code
_CODES = {
    "int16": ">h",
    "uint16": ">H",
    "count": ">H",
    "acc16": ">H",
    "enum16": ">H",
    "bitfield16": ">H",
    "sunssf": ">h",
    "pad": ">H",
    "int32": ">i",
    "uint32": ">I",
    "acc32": ">I",
    "enum32": ">I",
    "bitfield32": ">I",
    "int64": ">q",
    "uint64": ">Q",
    "acc64": ">Q",
    "float32": ">f",
}


class Place:
    """Where one point is and how it is coded."""

    __slots__ = ("address", "code", "factor", "high", "length", "low", "scale", "writable")

    def __init__(self, address: int, length: int, kind: str, scale: int, writable: bool, factor: str = "") -> None:
        self.factor = factor  # name of its scale factor's point
        self.address = address
        self.length = length
        self.code = _CODES[kind]
        self.scale = scale
        self.writable = writable
        self.low, self.high = float("-inf"), float("inf")
        if kind == "float32":
            return
        bits = 16 * length
        # The end of the range is left to "not implemented": a value clipped to it would vanish.
        signed = self.code[1].islower()
        self.low = -(1 << (bits - 1)) + 1 if signed else 0
        self.high = (1 << (bits - 1)) - 1 if signed else (1 << bits) - 2


class Chain:
    """Models in a row from `base`.  Points are named "model.Point" or "model.Group.index.Point"."""

    def __init__(self, models: list[tuple[int, dict[str, Any]]], base: int = BASE) -> None:
        """`models`: (model id, initial raw values by point name, as pysunspec2 takes them)."""
        self.base = base
        self.places: dict[str, Place] = {}
        self.starts: dict[int, int] = {}
        self.edges: set[int] = set()  # addresses where a point begins: a read or write may only be cut here
        self.writable: set[int] = set()
        self.registers: list[int] = list(_MARKER)
        self.edges.add(base)
        for model_id, values in models:
            self._add(model_id, values)
        self.edges.update((self.end, self.end + 1))
        self.registers += _END
        self.edges.add(self.end)

    @property
    def end(self) -> int:
        """The address after the last register so far."""
        return self.base + len(self.registers)

    def put(self, name: str, value: float) -> None:
        """Store `value` (in the point's unit) at its scale factor, clipped to what its type can carry."""
        place = self.places[name]
        raw: float = value / 10.0**place.scale if place.scale else value
        if place.code != ">f":
            raw = round(min(max(raw, place.low), place.high))
        data = struct.pack(place.code, raw)
        start = place.address - self.base
        self.registers[start : start + place.length] = struct.unpack(f">{place.length}H", data)

    def rescale(self, factor: str, power: int) -> None:
        """Change a scale factor, and with it every value that stands in the registers at it, as one step."""
        values = {n: self.get(n) for n, place in self.places.items() if place.factor == factor and not self._is_absent(n)}
        place = self.places[factor]
        self.registers[place.address - self.base] = power & 0xFFFF
        for one in self.places.values():
            if one.factor == factor:
                one.scale = power
        for name, value in values.items():
            self.put(name, value)

    def _is_absent(self, name: str) -> bool:
        """The point is not implemented."""
        place = self.places[name]
        return self.raw(name) == (place.low - 1 if place.low else place.high + 1)

    def get(self, name: str) -> float:
        """The value of a point in its unit."""
        place = self.places[name]
        start = place.address - self.base
        data = struct.pack(f">{place.length}H", *self.registers[start : start + place.length])
        return struct.unpack(place.code, data)[0] * 10.0**place.scale

    def raw(self, name: str) -> int:
        """The value of a point as it stands in the registers, without its scale factor."""
        place = self.places[name]
        start = place.address - self.base
        data = struct.pack(f">{place.length}H", *self.registers[start : start + place.length])
        return struct.unpack(place.code, data)[0]

    def touches(self, name: str, address: int, count: int) -> bool:
        """True if the registers address .. address + count - 1 include part of the point."""
        place = self.places[name]
        return place.address < address + count and address < place.address + place.length

    def cuts_a_point(self, address: int, count: int) -> bool:
        """True if a request for these registers would begin or end inside a point."""
        return address not in self.edges or address + count not in self.edges

    def _add(self, model_id: int, values: dict[str, Any]) -> None:
        model = device.Model(model_id, data=values)
        if model.error_info:
            raise ValueError(f"SunSpec model {model_id}: {model.error_info.strip()}")
        start = self.end
        self.starts[model_id] = start
        data = model.get_mb()
        self._group(model, str(model_id), start, model)
        self.registers += struct.unpack(f">{len(data) // 2}H", data)

    def _group(self, group: device.Group, path: str, start: int, model: device.Model) -> None:
        for name, point in group.points.items():
            address = start + point.offset
            self.edges.add(address)
            writable = point.pdef.get("access") == "RW"
            if writable:
                self.writable.update(range(address, address + point.len))
            kind = point.pdef["type"]
            if kind in _CODES:
                scale = self._scale(point, group, model)
                factor = f"{path.split('.')[0]}.{point.sf}" if isinstance(point.sf, str) else ""
                self.places[f"{path}.{name}"] = Place(address, point.len, kind, scale, writable, factor)
        for name, inner in group.groups.items():
            for n, one in enumerate(inner if isinstance(inner, list) else [inner]):
                self._group(one, f"{path}.{name}.{n}" if isinstance(inner, list) else f"{path}.{name}", start, model)

    @staticmethod
    def _scale(point: device.Point, group: device.Group, model: device.Model) -> int:
        if point.sf_value is not None:
            return int(point.sf_value)
        if point.sf is None:
            return 0
        factor = group.points.get(point.sf) or model.points.get(point.sf)
        return int(factor.value) if factor is not None and factor.value is not None else 0
