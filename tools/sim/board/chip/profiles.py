"""The chips that the simulated board can run at the speed of, and where their figures come from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """One chip: million guest instructions a second, and what a collection's instructions cost (100: like the others)."""

    name: str
    mips: int
    gc_percent: int


PROFILES = {
    profile.name: profile
    for profile in (
        # 160 MHz, heap in its own RAM: a loop turn 3.9 us, a call with 3 arguments 11.7, a collection of 93 KB 7.0 ms
        Profile("esp32", mips=125, gc_percent=100),
        # 240 MHz, heap in octal PSRAM.  A collection reads all that lives and the whole table of blocks, past the cache:
        # docs/chip.md has the measurements, by others, that 300 comes from
        Profile("esp32s3", mips=190, gc_percent=300),
    )
}


def profile(name: str) -> Profile:
    """The profile of that name.  Raises ValueError."""
    if name not in PROFILES:
        raise ValueError(f"chip {name!r} (allowed: {', '.join(PROFILES)})")
    return PROFILES[name]
