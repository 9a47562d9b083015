"""What a board has counted, from what it sends and prints, by the names that the JSON of `make run` has."""

import re
from typing import Any

_BLOCK_BYTES = 16  # of the heap on a 32-bit chip
_PRINTED = (  # what micropython.mem_info() and qstr_info() print
    re.compile(r"mem: total=\d+, current=\d+, peak=\d+"),
    re.compile(r"stack: \d+ out of \d+"),
    re.compile(r"GC: total: (?P<total>\d+), used: (?P<used>\d+), free: (?P<free>\d+)"),
    re.compile(r" ?No\. of 1-blocks: \d+, 2-blocks: \d+, max blk sz: \d+, max free sz: (?P<largest>\d+)"),
    re.compile(
        r"qstr pool: n_pool=\d+, n_qstr=(?P<names>\d+), n_str_data_bytes=(?P<letters>\d+), n_total_bytes=(?P<names_bytes>\d+)"
    ),
)
_PLACES = ("reads", "programs", "erases", "store_reads", "imports", "opens")  # of sim_flash.counts, twice: now and when booted


def take_printed(line: str, into: dict[str, int]) -> str:
    """Takes the map of the heap out of a console line, if that is what it holds; what is left of the line."""
    for pattern in _PRINTED:
        found = pattern.search(line)
        if found:
            into.update({name: int(value) for name, value in found.groupdict().items()})
            return line[: found.start()]
    return line


def named(sent: dict[str, Any], printed: dict[str, int], instruments: int = 0, names: int = 0) -> dict[str, Any]:
    """The figures by name.  Bytes of heap live there that would not on a chip: the `instruments` with what they hold
    for constants, and the `names` that a frozen image has in flash.

    flash_reads, imports and opens are those of operation; store_reads, flash_writes and flash_erases those of stores.
    """
    figures: dict[str, Any] = dict(sent.get("watch", {}))
    watch = figures.pop("weight", 0)
    if "live" in sent:
        figures["heap_live"] = sent["live"] - instruments - watch - names
        figures["heap_spare"] = printed.get("free", 0) + watch
        figures["heap_largest"] = printed.get("largest", 0) * _BLOCK_BYTES
        figures["names"] = printed.get("names")
    if "constants" in sent:
        figures["heap_constants_given_back"] = sent["constants"]
        figures["names_of_paths"] = sent["loaded"]
    if "pool" in sent:
        size, code, wifi, third, free = sent["pool"]
        figures.update(pool=size, pool_code=code, pool_wifi=wifi, pool_free=free, heap_third_area=bool(third))
    if "flash" in sent:
        now = dict(zip(_PLACES, sent["flash"][:6], strict=True))
        boot = dict(zip(_PLACES, sent["flash"][6:12], strict=True))
        figures["boot_ms"] = sent["flash"][12] or None
        figures["boot_accesses"] = boot["imports"] + boot["opens"]
        begun = boot if figures["boot_ms"] else now  # nothing of it was operation
        figures["boot_flash_ops"] = begun["reads"] + begun["programs"] + begun["erases"]
        since = {name: now[name] - begun[name] for name in _PLACES}
        figures.update(
            flash_reads=since["reads"] - since["store_reads"], store_reads=since["store_reads"],
            flash_writes=since["programs"], flash_erases=since["erases"], imports=since["imports"], opens=since["opens"],
        )
    return figures
