"""The boards that are judged, with what each bears: the bars that differ from one to the other."""

from dataclasses import dataclass, replace

from tools.sim.board import profiles
from tools.sim.board.profiles import KB, Profile


@dataclass(frozen=True)
class Judged:
    """A board and its own bars; bytes of heap."""

    name: str
    title: str
    board: Profile
    schedules: int  # 0: no calendar
    live_most: int
    spare_least: int = 0
    largest_least: int = 0
    follows: bool = False  # an EMS's setpoints are played too


ALL = {
    one.name: one
    for one in (
        Judged("esp32s3", "S3 with PSRAM, stock image, files", profiles.named("esp32s3"), 16, live_most=220 * KB),
        Judged(
            "esp32s3-own", "S3 with PSRAM, own image, an operator's services", profiles.named("esp32s3", romfs=True), 16,
            live_most=280 * KB,
        ),
        Judged(
            "own-image", "no PSRAM, Wi-Fi, own image", profiles.named("esp32", romfs=True), 0,
            live_most=80 * KB, spare_least=12 * KB, largest_least=4 * KB, follows=True,
        ),
        Judged(
            "wired", "no PSRAM, wired, own image", profiles.named("esp32", romfs=True, wired=True), 0,
            live_most=130 * KB, follows=True,
        ),
    )
}  # fmt: skip


def named(name: str, heap: str | None = None) -> Judged:
    """A judged board.  With another heap it has no areas: what lives there takes nothing from ESP-IDF.

    ValueError for a name that there is not.
    """
    if name not in ALL:
        raise ValueError(f"profile {name!r}: allowed are {', '.join(ALL)}")
    found = ALL[name]
    return replace(found, board=replace(found.board, heap=profiles.heap_bytes(heap), areas=0)) if heap else found
