"""Sees when each device's groups were measured: no image, of a device or of what is joined of several, holds them for younger."""

from typing import Any

from firmware import image as im
from tools.sim.virtual.banks import VirtualBanks

_ROUNDING_MS = 2
_WATCHED = (im.SEQ_BMS, im.SEQ_BMS_LIMITS, im.SEQ_PCS)


class BanksWitness:
    """Stands between the images and those who write to them."""

    def __init__(self, image: Any, site: VirtualBanks) -> None:
        self._plant = site.plant
        self._measured_s: dict[tuple[int, int], float] = {}
        self._images = []
        for own in {id(each): each for each in (*image.batteries, *image.inverters)}.values():
            self._images.append(own)
            own.heard = self._taking(own, own.heard)
        self._banks = [(bank, bank.batteries) for bank in image.banks if len(bank.batteries) > 1]

    def _taking(self, image: Any, write: Any) -> Any:
        def heard(seq: int) -> None:
            self._measured_s[id(image), seq] = self._plant.time_s
            write(seq)

        return heard

    def younger_than_true(self) -> str:
        """A group that an image holds for younger than it is, in words; "" if there is none."""
        time_s, measured = self._plant.time_s, self._measured_s
        for image in self._images:
            for seq in _WATCHED:
                at_s = measured.get((id(image), seq))
                true_ms = 0.0 if at_s is None else (time_s - at_s) * 1000
                if image.now[im.AGE + seq] + _ROUNDING_MS < true_ms:
                    return f"group {seq} of {image.name} is held to be {image.now[im.AGE + seq]} ms old, it is {true_ms:.0f}"
        for bank, batteries in self._banks:
            for seq in _WATCHED[:2]:
                at = [measured.get((id(own), seq)) for own in batteries]
                oldest = min((at_s for at_s in at if at_s is not None), default=time_s)
                if bank.now[im.AGE + seq] + _ROUNDING_MS < (time_s - oldest) * 1000:
                    return f"group {seq} of bank {bank.name} is held for younger than that of one of its batteries"
        return ""
